/** The annotate page: mark the vertebra of each participant, one after the other. */

import { Refusal, get, send } from "./api";
import type { AnnotationCase, CurrentUser, LesionExtent, LevelledLesion, OtherLesion, SeriesChoice, StoredLesion, Worklist } from "./contracts";
import { element, replace } from "./dom";
import { History } from "./history";
import { Keys } from "./keys";
import { guard } from "./leaving";
import { proposals } from "./proposals";
import { Saver } from "./saver";
import { BoxTool } from "./viewer/box";
import { bindImageKeys } from "./viewer/commands";
import { fetchAhead, forget } from "./viewer/engine";
import { centreOf, nearestSlice } from "./viewer/geometry";
import { Pair, RAW } from "./viewer/pair";
import type { View } from "./viewer/pane";
import { pageOf, worklist } from "./worklist";

function open(id: string): Promise<AnnotationCase> {
  return get("/api/annotate/{participant_id}", { participant_id: id });
}

function ownLesion(id: string): Promise<StoredLesion> {
  return get("/api/annotate/{participant_id}/lesion", { participant_id: id });
}

/** The slice at which a study opens: the middle of the lesion, or of the series. */
function firstSlice({ pair }: AnnotationCase, marked: LesionExtent | undefined): number {
  return marked ? Math.round((marked.first_slice + marked.last_slice) / 2) : Math.floor((pair.t2w.positions_mm.length - 1) / 2);
}

export async function annotate(place: HTMLElement, user: CurrentUser, parts: string[]): Promise<void> {
  if (parts[0]) {
    // The study is requested together with the worklist, not after it; either may fail, and both are awaited.
    const study = open(parts[0]);
    study.catch(() => undefined);
    replace(place, element("h1", {}, parts[0]), element("p", { role: "status" }, "Opening the study …"));
    await Marking.open(place, await get("/api/annotate/worklist"), user, parts[0], study);
  } else await worklist(place, await get("/api/annotate/worklist"));
}

/** Participants being marked, one after the other on the same page. */
class Marking {
  private id = "";
  /** Counts the participants turned to: a late response belongs to one that has been left. */
  private turn = 0;
  /** The next study, fetched while the user looks at this one. */
  private ahead: { id: string; study: Promise<AnnotationCase> } | undefined;
  /** Position in this tab's history, so that a refused step back can be undone. */
  private step = 0;
  private leaving: Promise<boolean> | undefined;
  private isReturning = false;
  private readonly heading = element("h1");
  private readonly links = element("p");
  private readonly where = element("p", { class: "quiet", role: "status", "data-testid": "where" });
  private readonly pair = new Pair();
  private readonly history = new History();
  private readonly keys = new Keys();
  private readonly box = new BoxTool(this.pair, this.history);
  private readonly status = element("p", { class: "quiet", role: "status", "data-testid": "saved" });
  private readonly numbers = element("p", { "data-testid": "numbers" });
  private readonly level = element("select", { "aria-label": "Level of the vertebra" });
  private readonly anomaly = element("p", { class: "quiet" });
  private readonly others = element("div");
  private readonly did = element("p", { class: "quiet", role: "status", "data-testid": "did" });
  private readonly trouble = element("div", { role: "alert" });
  private readonly about = element("details", { "data-testid": "about" });
  private readonly saver: Saver<LevelledLesion>;
  private throughAlignment = true;
  /** The level as it was last set, and how often its list got the focus: all choices of one visit are one step to undo. */
  private chosen = "";
  private visits = 0;

  private constructor(
    private readonly list: Worklist,
    private readonly user: CurrentUser,
  ) {
    this.saver = new Saver<LevelledLesion>((marked, revision) => this.put(marked, revision), (message, isAlarm) => this.tell(message, isAlarm), () => this.stale());
  }

  static async open(place: HTMLElement, list: Worklist, user: CurrentUser, id: string, study: Promise<AnnotationCase>): Promise<void> {
    const marking = new Marking(list, user);
    marking.draw(place);
    marking.begin();
    await marking.turnTo(id, study);
  }

  private draw(place: HTMLElement): void {
    this.level.append(element("option", { value: "" }, "not counted"));
    for (const [level, isAnomaly] of this.list.levels) {
      this.level.append(element("option", { value: level }, isAnomaly ? `${level} (numbering variant)` : level));
    }
    this.level.addEventListener("focus", () => (this.visits += 1));
    this.level.addEventListener("change", () => this.levelChosen());
    // Arrow keys pass through several choices; only Enter ends the choice.
    this.level.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      this.pair.t2w.root.focus();
    });
    const button = (label: string, click: () => void): HTMLElement => element("button", { click }, label);
    const side = element(
      "aside",
      { class: "side", "aria-label": "Box and level" },
      this.heading,
      this.where,
      this.links,
      this.status,
      this.trouble,
      this.did,
      element("p", {}, button("Draw box (B)", () => this.box.arm()), " ", button("Undo", () => void this.history.undo()), " ", button("Redo", () => void this.history.redo())),
      this.numbers,
      element("p", {}, button("First slice ([)", () => void this.box.bound("first_slice")), " ", button("Last slice (])", () => void this.box.bound("last_slice"))),
      element("p", {}, element("label", {}, "Level (V) ", this.level)),
      this.anomaly,
      element("p", {}, button("T1W: registered or unregistered (T)", () => void this.switchMapping())),
      element("p", {}, button("Delete box", () => void this.box.change("box deleted", undefined))),
      element("h2", {}, "Other boxes"),
      element("p", {}, button("Show other boxes", () => void this.showOthers()), " ", button("Find vertebrae", () => void this.findVertebrae())),
      this.others,
      this.about,
      element("p", { class: "quiet" }, "Press ? for all keys"),
    );
    replace(place, element("div", { class: "sides" }, this.pair.root, side));
    bindImageKeys(this.keys, this.pair, this.history);
    this.box.bindKeys(this.keys);
    this.keys.add({ id: "mapping", label: "T1W registered, or unregistered", keys: ["T"], mode: "images", run: () => this.switchMapping() });
    this.keys.add({ id: "case.next", label: "Next participant", keys: ["PageDown"], mode: "images", run: () => this.leaveTo(1) });
    this.keys.add({ id: "case.previous", label: "Previous participant", keys: ["PageUp"], mode: "images", run: () => this.leaveTo(-1) });
    this.keys.add({ id: "level", label: "Choose the level", keys: ["V"], mode: "images", run: () => this.level.focus() });
    this.history.watch((message) => (this.did.textContent = message));
    this.box.watch(() => this.changed());
  }

  /** Follow the browser's history, and save the view when the page ends. */
  private begin(): void {
    this.step = (window.history.state as { step?: number } | null)?.step ?? 0;
    window.history.replaceState({ step: this.step }, "");
    window.addEventListener("popstate", (event) => void this.wentTo((event.state as { step?: number } | null)?.step));
    window.addEventListener("pagehide", () => this.keepView());
    window.addEventListener("beforeunload", () => this.keepView());
    guard(
      () => this.saver.isUnsaved,
      () => this.saver.flush(),
    );
  }

  private keepView(): void {
    if (this.pair.isReady) sessionStorage.setItem(`view ${this.id}`, JSON.stringify(this.pair.views));
  }

  /** Position in the worklist. */
  private get index(): number {
    return this.list.rows.findIndex((row) => row.participant_id === this.id);
  }

  /** Start with a participant as a new page would, with nothing left of the last one. */
  private async turnTo(id: string, study?: Promise<AnnotationCase>): Promise<void> {
    if (this.id) this.keepView();
    this.turn += 1;
    this.id = id;
    this.saver.turnTo(`${this.user.workspace} ${this.user.code} ${id}`);
    this.pair.clear();
    this.box.other = undefined;
    this.box.arm(false);
    this.history.clear();
    this.show(undefined);
    this.throughAlignment = true;
    for (const part of [this.did, this.others, this.about, this.trouble]) replace(part);
    this.about.open = false;
    document.title = `${id} · Annotate · spinefx`;
    const { rows } = this.list;
    this.heading.textContent = id;
    this.where.textContent = this.index < 0 ? "" : `Participant ${this.index + 1} of ${rows.length}`;
    const link = (label: string, by: number): HTMLElement | null => {
      const row = this.index < 0 ? undefined : rows[this.index + by];
      return row ? element("a", { href: pageOf(row.participant_id), click: (event: MouseEvent) => this.followed(event, by) }, label) : null;
    };
    replace(this.links, link("Previous", -1), " ", element("a", { href: "/annotate" }, "Worklist"), " ", link("Next", 1));
    this.pair.t2w.root.focus({ preventScroll: true });
    await this.load(study);
  }

  /** Follow a link to a neighbour without loading a page, unless it should open elsewhere. */
  private followed(event: MouseEvent, by: number): void {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    void this.leaveTo(by);
  }

  /** Show the study; if that fails, say why and what to do, and offer to retry. */
  private async load(study?: Promise<AnnotationCase>): Promise<void> {
    const { turn } = this;
    replace(this.trouble);
    this.tell("Opening the study …");
    try {
      await this.open(await (study ?? open(this.id)), turn);
    } catch (error) {
      if (turn !== this.turn) return;
      this.tell("This study could not be opened", true);
      this.pair.explain(() => "No images; see the panel for the reason");
      this.refuse(advice(error), ["Retry", () => this.load()], ["Worklist", () => location.assign("/annotate")]);
    }
  }

  private async open(found: AnnotationCase, turn: number): Promise<void> {
    if (turn !== this.turn) return forget(found.pair.t2w), forget(found.pair.t1w);
    const { lesion, revision } = found.own;
    // An unsaved change of this browser takes precedence over what the server holds, unless another page changed that.
    const kept = this.saver.begin(revision);
    const marked = kept ? kept.state : (lesion ?? undefined);
    const views = this.pair.t2w.isReady ? undefined : sessionStorage.getItem(`view ${this.id}`);
    this.explain(found.about);
    const { whole } = await this.pair.show(found.pair, this.pair.t2w.isReady ? undefined : firstSlice(found, marked), found.about.beside);
    if (turn !== this.turn) return;
    this.show(marked);
    if (views) await this.pair.restore(JSON.parse(views) as { t2w: View; t1w: View });
    if (turn !== this.turn) return;
    if (kept) {
      this.did.textContent = "Your unsaved change was restored";
      if (kept.isCurrent) this.saver.change(marked);
      else this.stale();
    } else this.tell(lesion ? "Your saved box" : "Not marked yet");
    await this.map();
    await whole;
    if (turn === this.turn) this.lookAhead();
  }

  /** Fetch the next study while the user looks at this one; what fails is requested again when it is needed. */
  private lookAhead(): void {
    const next = this.index < 0 ? undefined : this.list.rows[this.index + 1];
    if (!next || this.ahead?.id === next.participant_id) return;
    const study = open(next.participant_id);
    this.ahead = { id: next.participant_id, study };
    const fetched = study.then(async (found) => {
      const { t2w, t1w } = found.pair;
      const first = firstSlice(found, found.own.lesion ?? undefined);
      await Promise.all([fetchAhead(t2w, first), fetchAhead(t1w, nearestSlice(t1w, centreOf(t2w, first)).slice)]);
    });
    fetched.catch(() => undefined);
  }

  /** The study as it was fetched ahead, but with its present box; a study that was not fetched ahead is requested. */
  private async fetch(id: string): Promise<AnnotationCase> {
    const { ahead } = this;
    this.ahead = undefined;
    if (ahead?.id !== id) {
      ahead?.study.then(({ pair }) => (forget(pair.t2w), forget(pair.t1w)), () => undefined);
      return open(id);
    }
    const own = ownLesion(id);
    own.catch(() => undefined);
    const found = await ahead.study.catch(() => open(id));
    return { ...found, own: await own };
  }

  private show(marked: LevelledLesion | undefined): void {
    this.box.put(marked);
    this.setLevel(marked?.level ?? "");
    this.describe();
  }

  private refuse(reason: string, ...choices: [string, () => unknown][]): void {
    const buttons = choices.map(([label, click]) => element("button", { click: () => void click() }, label));
    replace(this.trouble, element("div", { class: "refusal" }, element("p", {}, reason), element("p", {}, ...buttons.flatMap((button) => [button, " "]))));
  }

  private explain({ t2w, t1w, refused }: SeriesChoice): void {
    replace(
      this.about,
      element("summary", {}, `Why these series (${refused.length} not used)`),
      element("p", {}, `T2W: ${t2w}. T1W: ${t1w}. Series are recognised by these times, not by their names.`),
      refused.length ? element("ul", {}, ...refused.map(({ series, reason }) => element("li", {}, `${series}: ${reason}`))) : null,
    );
  }

  private tell(message: string, isAlarm = false): void {
    this.status.textContent = message;
    this.status.classList.toggle("alarm", isAlarm);
  }

  private get marked(): LevelledLesion | undefined {
    const { lesion } = this.box;
    return lesion && { ...lesion, level: this.level.value };
  }

  private describe(): void {
    const { lesion } = this.box;
    const place = lesion?.box.centre_mm.map((mm) => mm.toFixed(1)).join(", ");
    this.numbers.textContent = lesion
      ? `Box ${lesion.box.side_mm.toFixed(1)} mm at L, P, S = ${place} mm; slices ${lesion.first_slice + 1} to ${lesion.last_slice + 1}`
      : "No box";
    const variant = this.list.levels.find(([level]) => level === this.level.value)?.[1];
    this.anomaly.textContent = variant ? "This level exists only in a numbering variant. It is saved and flagged." : "";
  }

  private levelChosen(): void {
    const [before, after] = [this.chosen, this.level.value];
    const to = (level: string) => () => {
      this.setLevel(level);
      this.changed();
    };
    this.history.remember({ label: after ? `level ${after}` : "level not counted", joins: `level ${this.visits}`, redo: to(after), undo: to(before) });
    to(after)();
  }

  private setLevel(level: string): void {
    this.level.value = level;
    this.chosen = level;
  }

  private changed(): void {
    this.describe();
    this.saver.change(this.marked);
    void this.map();
  }

  private async put(marked: LevelledLesion | undefined, revision: string): Promise<string> {
    const path = "/api/annotate/{participant_id}/lesion";
    const names = { participant_id: this.id };
    const own = marked ? await send("put", path, names, { ...marked, revision }) : await send("delete", path, names, { revision });
    replace(this.trouble);
    return own.revision;
  }

  /** Another page has changed this box: let the user choose which of the two to keep. */
  private stale(): void {
    this.tell("Not saved: another page has changed this box", true);
    const { turn } = this;
    const answer = async (take: (own: StoredLesion) => void): Promise<void> => {
      try {
        const own = await ownLesion(this.id);
        if (turn !== this.turn) return;
        replace(this.trouble);
        take(own);
      } catch (error) {
        this.refuse(advice(error), ["Retry", () => this.stale()]);
      }
    };
    const mine = this.marked;
    const show = (own: StoredLesion) => () => {
      this.saver.take(own.revision);
      this.show(own.lesion ?? undefined);
      this.tell(own.lesion ? "Showing the other page's box" : "No box: the other page deleted it");
      void this.map();
    };
    const back = (): void => {
      this.show(mine);
      this.saver.change(mine);
    };
    this.refuse(
      "Another page or window has saved a box for this participant since this page was loaded. Both boxes are kept until you choose.",
      ["Load the other page's box", () => answer((own) => void this.history.take({ label: "the other page's box loaded", redo: show(own), undo: back }))],
      ["Keep mine instead", () => answer((own) => (this.saver.take(own.revision), this.saver.change(this.marked)))],
    );
  }

  /** Register T1W at the box, or show it as its header places it. */
  private async map(): Promise<void> {
    const { lesion } = this.box;
    const { turn } = this;
    if (!lesion || !this.throughAlignment) return this.pair.through(RAW);
    try {
      const found = await send("post", "/api/annotate/{participant_id}/alignment", { participant_id: this.id }, lesion.box);
      if (turn !== this.turn || this.box.lesion !== lesion || !this.throughAlignment) return;
      await this.pair.through({ matrix: found.matrix, label: `T1W registered (${found.method})` });
    } catch (error) {
      if (turn !== this.turn || this.box.lesion !== lesion) return;
      const reason = error instanceof Refusal ? error.message : "it failed";
      await this.pair.through({ ...RAW, label: `${RAW.label}; no registration: ${reason}` });
    }
  }

  private async switchMapping(): Promise<void> {
    const to = (isThrough: boolean) => () => {
      this.throughAlignment = isThrough;
      return this.map();
    };
    const { throughAlignment } = this;
    await this.history.take({ label: throughAlignment ? "T1W unregistered" : "T1W registered", redo: to(!throughAlignment), undo: to(throughAlignment) });
  }

  private async showOthers(): Promise<void> {
    const { turn } = this;
    const { rows } = await get("/api/annotate/{participant_id}/others", { participant_id: this.id });
    if (turn === this.turn) this.propose(rows, rows.length ? [] : ["No other boxes of this participant."]);
  }

  /** Ask the localiser; its boxes are looked at and accepted one by one, as those of other annotators are. */
  private async findVertebrae(): Promise<void> {
    const { turn } = this;
    replace(this.others, element("p", { class: "quiet" }, "Looking for the vertebrae"));
    try {
      const { rows, notes } = await get("/api/annotate/{participant_id}/vertebrae", { participant_id: this.id });
      if (turn === this.turn) this.propose(rows, notes);
    } catch (error) {
      if (turn === this.turn) replace(this.others, element("p", { role: "alert" }, advice(error)));
    }
  }

  /** List boxes that the user has not drawn, below some sentences about them. */
  private propose(rows: readonly OtherLesion[], notes: readonly string[]): void {
    const name = (other: OtherLesion): string => `${other.kind === "model" ? "Model" : "By"} ${other.by}`;
    replace(this.others, ...proposals(rows, notes, name, (other) => this.look(other), (other) => void this.accept(other)));
  }

  private look(other: OtherLesion): void {
    this.box.other = this.box.other === other.lesion ? undefined : other.lesion;
    this.pair.repaint();
    void this.pair.t2w.go(Math.round((other.lesion.first_slice + other.lesion.last_slice) / 2));
  }

  private async accept(other: OtherLesion): Promise<void> {
    const { box, first_slice, last_slice, level } = other.lesion;
    const before = { lesion: this.box.lesion, level: this.level.value };
    const to = (lesion: LesionExtent | undefined, chosen: string) => () => {
      this.setLevel(chosen);
      this.box.set(lesion);
    };
    await this.history.take({
      label: `box of ${other.by} accepted`,
      redo: to({ box, first_slice, last_slice }, before.level || level),
      undo: to(before.lesion, before.level),
    });
  }

  /** Go to a neighbour in the worklist. */
  private async leaveTo(by: number): Promise<void> {
    const row = this.index < 0 ? undefined : this.list.rows[this.index + by];
    if (!row) return this.tell("No more participants");
    if (this.leaving) return;
    const go = (): void => {
      this.step += 1;
      window.history.pushState({ step: this.step }, "", pageOf(row.participant_id));
      void this.turnTo(row.participant_id, this.fetch(row.participant_id));
    };
    if (await this.mayLeave(go)) go();
  }

  /** The browser went back or forward; the address has changed already. */
  private async wentTo(step: number | undefined): Promise<void> {
    const id = decodeURIComponent(location.pathname.split("/")[2] ?? "");
    if (!id || step === undefined) return location.reload();
    if (id === this.id) {
      this.step = step;
      this.isReturning = false;
      return;
    }
    const go = (): void => {
      this.step = step;
      void this.turnTo(id, this.fetch(id));
    };
    const by = this.step - step;
    if (await this.mayLeave(() => window.history.go(-by))) return go();
    // The address goes back to the participant that stays.
    if (!this.isReturning) window.history.go(by);
    this.isReturning = true;
  }

  /** Save what is unsaved; if that fails, stay, say so, and offer to leave anyway. */
  private async mayLeave(go: () => void): Promise<boolean> {
    this.leaving ??= this.saver.flush().finally(() => (this.leaving = undefined));
    if (await this.leaving) return true;
    const leave = (): void => {
      this.saver.turnTo("");
      go();
    };
    this.refuse("Your last change is not saved yet, so this page stays here.", ["Keep it in this browser and continue", leave], ["Try again", async () => (await this.mayLeave(go)) && go()]);
    return false;
  }
}

/** An error, and what the user can do about it. */
function advice(error: unknown): string {
  if (!(error instanceof Refusal)) return "Something went wrong on this page. Reload it. If that does not help, report the problem.";
  const message = error.message.replace(/[.!]?$/, ".");
  if (!error.status) return `${message} Then press Retry.`;
  return error.status >= 500 ? `${message} The server failed; its terminal may show why. Then press Retry.` : message;
}

/** Mark the vertebra of each study, one study after the other. */

import { Refusal, get, send } from "./api";
import { element, replace } from "./dom";
import type { Me } from "./frame";
import { History } from "./history";
import { Keys } from "./keys";
import { guard } from "./leaving";
import { BoxTool, type Lesion } from "./viewer/box";
import { Saver } from "./saver";
import { bindImageKeys } from "./viewer/commands";
import { fetchAhead, forget } from "./viewer/engine";
import { type Box, type Matrix, type SeriesPair, centreOf, nearestSlice } from "./viewer/geometry";
import { Pair, RAW } from "./viewer/pair";
import type { View } from "./viewer/pane";
import { type Worklist, pageOf, worklist } from "./worklist";

type Marked = Lesion & { level: string };
interface Own {
  lesion: Marked | null;
  revision: string;
}

/** Why each series is shown where it is, and which others were not taken. */
interface About {
  t2w: string;
  t1w: string;
  refused: { series: string; reason: string }[];
  /** Kinds of image among these that make the study one of another kind. */
  beside: string[];
}

interface Study {
  pair: SeriesPair;
  own: Own;
  about: About;
}

interface Other {
  kind: "annotator" | "model";
  by: string;
  lesion: Marked;
}

function addressOf(id: string, what: "" | "/lesion" | "/alignment" | "/others" = ""): string {
  return `/api/annotate/${encodeURIComponent(id)}${what}`;
}

/** The slice with which a study opens: the middle of what is marked, or of the series. */
function firstSlice({ pair }: Study, marked: Lesion | undefined): number {
  return marked ? Math.round((marked.first_slice + marked.last_slice) / 2) : Math.floor((pair.t2w.positions_mm.length - 1) / 2);
}

export async function annotate(place: HTMLElement, me: Me, parts: string[]): Promise<void> {
  if (parts[0]) {
    // The images are asked for beside the worklist, not after it; both may fail, and each is awaited.
    const study = get<Study>(addressOf(parts[0]));
    study.catch(() => undefined);
    replace(place, element("h1", {}, parts[0]), element("p", { role: "status" }, "Opening the study …"));
    await Marking.open(place, await get<Worklist>("/api/annotate/worklist"), me, parts[0], study);
  } else await worklist(place, await get<Worklist>("/api/annotate/worklist"));
}

/** Studies being marked, one after the other on the same page. */
class Marking {
  private id = "";
  /** Counts what was turned to: an answer that comes late belongs to a study that has been left. */
  private turn = 0;
  /** The study that comes next, fetched while this one is looked at. */
  private ahead: { id: string; study: Promise<Study> } | undefined;
  /** Where in this tab's past the page stands, so that a way back that is refused can be taken back. */
  private step = 0;
  private leaving: Promise<boolean> | undefined;
  private isReturning = false;
  private readonly heading = element("h1");
  private readonly ways = element("p");
  private readonly where = element("p", { class: "said", role: "status", "data-testid": "where" });
  private readonly pair = new Pair();
  private readonly history = new History();
  private readonly keys = new Keys();
  private readonly box = new BoxTool(this.pair, this.history);
  private readonly said = element("p", { class: "said", role: "status", "data-testid": "saved" });
  private readonly numbers = element("p", { "data-testid": "numbers" });
  private readonly level = element("select", { "aria-label": "Level of the vertebra" });
  private readonly anomaly = element("p", { class: "said" });
  private readonly others = element("div");
  private readonly did = element("p", { class: "said", role: "status", "data-testid": "did" });
  private readonly trouble = element("div", { role: "alert" });
  private readonly about = element("details", { "data-testid": "about" });
  private readonly saver: Saver<Marked>;
  private throughAlignment = true;
  /** The level as it was last set, and how often its list was entered: choices of one visit are one step. */
  private chosen = "";
  private visits = 0;

  private constructor(
    private readonly list: Worklist,
    private readonly me: Me,
  ) {
    this.saver = new Saver<Marked>((marked, revision) => this.put(marked, revision), (words, isAlarm) => this.tell(words, isAlarm), () => this.stale());
  }

  static async open(place: HTMLElement, list: Worklist, me: Me, id: string, study: Promise<Study>): Promise<void> {
    const marking = new Marking(list, me);
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
    // A choice is made by arrow keys one after the other: only Enter says that it is made.
    this.level.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      this.pair.t2w.root.focus();
    });
    const button = (words: string, click: () => void): HTMLElement => element("button", { click }, words);
    const side = element(
      "aside",
      { class: "side", "aria-label": "Box and level" },
      this.heading,
      this.where,
      this.ways,
      this.said,
      this.trouble,
      this.did,
      element("p", {}, button("Draw box (B)", () => this.box.arm()), " ", button("Undo", () => void this.history.undo()), " ", button("Redo", () => void this.history.redo())),
      this.numbers,
      element("p", {}, button("Lesion begins here ([)", () => void this.box.bound("first_slice")), " ", button("ends here (])", () => void this.box.bound("last_slice"))),
      element("p", {}, element("label", {}, "Level (V) ", this.level)),
      this.anomaly,
      element("p", {}, button("T1W: registered or raw (T)", () => void this.switchMapping())),
      element("p", {}, button("Delete box", () => void this.box.change("box deleted", undefined))),
      element("h2", {}, "Proposals"),
      element("p", {}, button("Show others' boxes", () => void this.showOthers())),
      this.others,
      this.about,
      element("p", { class: "said" }, "? shows all keys"),
    );
    replace(place, element("div", { class: "sides" }, this.pair.root, side));
    bindImageKeys(this.keys, this.pair, this.history);
    this.box.bindKeys(this.keys);
    this.keys.add({ id: "mapping", words: "T1W through the registration, or raw", keys: ["T"], mode: "images", run: () => this.switchMapping() });
    this.keys.add({ id: "case.next", words: "Next study", keys: ["PageDown"], mode: "images", run: () => this.leaveTo(1) });
    this.keys.add({ id: "case.previous", words: "Previous study", keys: ["PageUp"], mode: "images", run: () => this.leaveTo(-1) });
    this.keys.add({ id: "level", words: "Choose the level", keys: ["V"], mode: "images", run: () => this.level.focus() });
    this.history.watch((said) => (this.did.textContent = said));
    this.box.watch(() => this.changed());
  }

  /** Heed what the browser tells of this page's past and end. */
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

  /** The study's place in the worklist. */
  private get index(): number {
    return this.list.rows.findIndex((row) => row.participant_id === this.id);
  }

  /** Begin with a study, as a page of its own would: nothing of the last one is left. */
  private async turnTo(id: string, study?: Promise<Study>): Promise<void> {
    if (this.id) this.keepView();
    this.turn += 1;
    this.id = id;
    this.saver.turnTo(`${this.me.workspace} ${this.me.code} ${id}`);
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
    this.where.textContent = this.index < 0 ? "" : `Study ${this.index + 1} of ${rows.length}`;
    const way = (words: string, by: number): HTMLElement | null => {
      const row = this.index < 0 ? undefined : rows[this.index + by];
      return row ? element("a", { href: pageOf(row.participant_id), click: (event: MouseEvent) => this.followed(event, by) }, words) : null;
    };
    replace(this.ways, way("Previous", -1), " ", element("a", { href: "/annotate" }, "Worklist"), " ", way("Next", 1));
    this.pair.t2w.root.focus({ preventScroll: true });
    await this.load(study);
  }

  /** A link to a neighbour stays on the page, unless it is to open elsewhere. */
  private followed(event: MouseEvent, by: number): void {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    void this.leaveTo(by);
  }

  /** Show the study; where that fails, say why and what to do, and ask again when told to. */
  private async load(study?: Promise<Study>): Promise<void> {
    const { turn } = this;
    replace(this.trouble);
    this.tell("Opening the study …");
    try {
      await this.open(await (study ?? get<Study>(addressOf(this.id))), turn);
    } catch (error) {
      if (turn !== this.turn) return;
      this.tell("This study is not open", true);
      for (const pane of this.pair.panes) if (!pane.isReady) pane.say("No images: the panel says why");
      this.refuse(advice(error), ["Retry", () => this.load()], ["Worklist", () => location.assign("/annotate")]);
    }
  }

  private async open(found: Study, turn: number): Promise<void> {
    if (turn !== this.turn) return forget(found.pair.t2w), forget(found.pair.t1w);
    const { lesion, revision } = found.own;
    // What was changed here and not saved goes before what the server holds, as long as nobody else changed that.
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
      this.did.textContent = "Your change that was not saved is here again";
      if (kept.isCurrent) this.saver.change(marked);
      else this.stale();
    } else this.tell(lesion ? "Your box, as saved" : "Not marked yet");
    await this.map();
    await whole;
    if (turn === this.turn) this.lookAhead();
  }

  /** Fetch the next study while this one is looked at; what fails now is asked for when it is wanted. */
  private lookAhead(): void {
    const next = this.index < 0 ? undefined : this.list.rows[this.index + 1];
    if (!next || this.ahead?.id === next.participant_id) return;
    const study = get<Study>(addressOf(next.participant_id));
    this.ahead = { id: next.participant_id, study };
    const fetched = study.then(async (found) => {
      const { t2w, t1w } = found.pair;
      const first = firstSlice(found, found.own.lesion ?? undefined);
      await Promise.all([fetchAhead(t2w, first), fetchAhead(t1w, nearestSlice(t1w, centreOf(t2w, first)).slice)]);
    });
    fetched.catch(() => undefined);
  }

  /** The study as it was fetched ahead, with its box as it is now; or all of it, where another one was fetched. */
  private async fetch(id: string): Promise<Study> {
    const { ahead } = this;
    this.ahead = undefined;
    if (ahead?.id !== id) {
      ahead?.study.then(({ pair }) => (forget(pair.t2w), forget(pair.t1w)), () => undefined);
      return get<Study>(addressOf(id));
    }
    const own = get<Own>(addressOf(id, "/lesion"));
    own.catch(() => undefined);
    const found = await ahead.study.catch(() => get<Study>(addressOf(id)));
    return { ...found, own: await own };
  }

  private show(marked: Marked | undefined): void {
    this.box.put(marked);
    this.setLevel(marked?.level ?? "");
    this.describe();
  }

  private refuse(words: string, ...ways: [string, () => unknown][]): void {
    const buttons = ways.map(([said, click]) => element("button", { click: () => void click() }, said));
    replace(this.trouble, element("div", { class: "refusal" }, element("p", {}, words), element("p", {}, ...buttons.flatMap((button) => [button, " "]))));
  }

  private explain({ t2w, t1w, refused }: About): void {
    replace(
      this.about,
      element("summary", {}, `Why these series (${refused.length} not taken)`),
      element("p", {}, `T2W: ${t2w}. T1W: ${t1w}. Told apart by these times, not by their names.`),
      refused.length ? element("ul", {}, ...refused.map(({ series, reason }) => element("li", {}, `${series}: ${reason}`))) : null,
    );
  }

  private tell(words: string, isAlarm = false): void {
    this.said.textContent = words;
    this.said.classList.toggle("alarm", isAlarm);
  }

  private get marked(): Marked | undefined {
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
    this.anomaly.textContent = variant ? "This level exists only in a numbering variant: it is kept, and flagged." : "";
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

  private async put(marked: Marked | undefined, revision: string): Promise<string> {
    const path = addressOf(this.id, "/lesion");
    const own = marked ? await send<Own>("PUT", path, { ...marked, revision }) : await send<Own>("DELETE", path, { revision });
    replace(this.trouble);
    return own.revision;
  }

  /** Another page saved this box meanwhile: which of the two stands is for the person to say. */
  private stale(): void {
    this.tell("Not saved: another page has changed this box", true);
    const { turn } = this;
    const answer = async (take: (own: Own) => void): Promise<void> => {
      try {
        const own = await get<Own>(addressOf(this.id, "/lesion"));
        if (turn !== this.turn) return;
        replace(this.trouble);
        take(own);
      } catch (error) {
        this.refuse(advice(error), ["Retry", () => this.stale()]);
      }
    };
    const mine = this.marked;
    const show = (own: Own) => () => {
      this.saver.take(own.revision);
      this.show(own.lesion ?? undefined);
      this.tell(own.lesion ? "The other page's box, as saved" : "No box: the other page deleted it");
      void this.map();
    };
    const back = (): void => {
      this.show(mine);
      this.saver.change(mine);
    };
    this.refuse(
      "Another page, or another window, saved a box for this study after this page had loaded it. Both boxes are safe until you choose.",
      ["Load the other page's box", () => answer((own) => void this.history.take({ label: "the other page's box loaded", redo: show(own), undo: back }))],
      ["Keep mine instead", () => answer((own) => (this.saver.take(own.revision), this.saver.change(this.marked)))],
    );
  }

  /** Bring T1W under the box, or show it as its header says. */
  private async map(): Promise<void> {
    const { lesion } = this.box;
    const { turn } = this;
    if (!lesion || !this.throughAlignment) return this.pair.through(RAW);
    const box: Box = lesion.box;
    try {
      const found = await send<{ matrix: Matrix; method: string; reason: string }>("POST", addressOf(this.id, "/alignment"), box);
      if (turn !== this.turn || this.box.lesion !== lesion || !this.throughAlignment) return;
      await this.pair.through({ matrix: found.matrix, label: `T1W through the registration (${found.method})` });
    } catch (error) {
      if (turn !== this.turn || this.box.lesion !== lesion) return;
      const why = error instanceof Refusal ? error.message : "it failed";
      await this.pair.through({ ...RAW, label: `${RAW.label}; no registration: ${why}` });
    }
  }

  private async switchMapping(): Promise<void> {
    const to = (isThrough: boolean) => () => {
      this.throughAlignment = isThrough;
      return this.map();
    };
    const { throughAlignment } = this;
    await this.history.take({ label: throughAlignment ? "T1W raw" : "T1W registered", redo: to(!throughAlignment), undo: to(throughAlignment) });
  }

  private async showOthers(): Promise<void> {
    const { turn } = this;
    const { rows } = await get<{ rows: Other[] }>(addressOf(this.id, "/others"));
    if (turn !== this.turn) return;
    if (!rows.length) return replace(this.others, element("p", {}, "Nobody else has marked this study."));
    replace(
      this.others,
      ...rows.map((other) =>
        element(
          "p",
          {},
          `${other.kind === "model" ? "Model" : "Annotator"} ${other.by}: ${other.lesion.box.side_mm.toFixed(1)} mm, slices ${other.lesion.first_slice + 1} to ${other.lesion.last_slice + 1} `,
          element("button", { click: () => this.look(other) }, "Look"),
          " ",
          element("button", { click: () => void this.accept(other) }, "Accept"),
        ),
      ),
    );
  }

  private look(other: Other): void {
    this.box.other = this.box.other === other.lesion ? undefined : other.lesion;
    this.pair.repaint();
    void this.pair.t2w.go(Math.round((other.lesion.first_slice + other.lesion.last_slice) / 2));
  }

  private async accept(other: Other): Promise<void> {
    const { box, first_slice, last_slice, level } = other.lesion;
    const before = { lesion: this.box.lesion, level: this.level.value };
    const to = (lesion: Lesion | undefined, chosen: string) => () => {
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
    if (!row) return this.tell("No further study");
    if (this.leaving) return;
    const go = (): void => {
      this.step += 1;
      window.history.pushState({ step: this.step }, "", pageOf(row.participant_id));
      void this.turnTo(row.participant_id, this.fetch(row.participant_id));
    };
    if (await this.mayLeave(go)) go();
  }

  /** The browser's own way back or on: the address has changed already. */
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
    // The address goes back to the study that stays.
    if (!this.isReturning) window.history.go(by);
    this.isReturning = true;
  }

  /** Save what is left to save; where that fails, stay, say so, and offer to go all the same. */
  private async mayLeave(go: () => void): Promise<boolean> {
    this.leaving ??= this.saver.flush().finally(() => (this.leaving = undefined));
    if (await this.leaving) return true;
    const leave = (): void => {
      this.saver.turnTo("");
      go();
    };
    this.refuse("The last change of this study is not saved yet, so this study stays here.", ["Leave it in this browser, and go on", leave], ["Try again", async () => (await this.mayLeave(go)) && go()]);
    return false;
  }
}

/** A refusal and what can be done about it. */
function advice(error: unknown): string {
  if (!(error instanceof Refusal)) return "Something in this page went wrong. Reload it; if it comes again, report it with the study's code.";
  const said = error.message.replace(/[.!]?$/, ".");
  if (!error.status) return `${said} Then press Retry.`;
  const isServers = error.status >= 500;
  return `${said} ${isServers ? "The server could not do it; its terminal may say why. Then press Retry." : "Open the study from the worklist."}`;
}

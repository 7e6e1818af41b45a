/** Mark the vertebra of each study: the worklist, then one study after the other. */

import { Refusal, get, send } from "./api";
import { element, replace } from "./dom";
import type { Me } from "./frame";
import { History } from "./history";
import { Keys } from "./keys";
import { guard } from "./leaving";
import { BoxTool, type Lesion } from "./viewer/box";
import { Saver } from "./saver";
import { bindImageKeys } from "./viewer/commands";
import type { Box, Matrix, SeriesPair } from "./viewer/geometry";
import { Pair, RAW } from "./viewer/pair";
import type { View } from "./viewer/pane";

interface Row {
  participant_id: string;
  status: string;
  level: string;
  annotators: number;
}

interface Worklist {
  levels: [string, boolean][];
  rows: Row[];
}

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

interface Agreement {
  participant_id: string;
  annotators: string[];
  iou: number;
  distance_mm: number;
  same_slices: boolean;
  same_level: boolean;
}

/** Rows shown at once; a worklist of thousands is narrowed by its search. */
const SHOWN = 300;

export async function annotate(place: HTMLElement, me: Me, parts: string[]): Promise<void> {
  if (parts[0]) {
    // The images are asked for beside the worklist, not after it; both may fail, and each is awaited.
    const study = get<Study>(`/api/annotate/${encodeURIComponent(parts[0])}`);
    study.catch(() => undefined);
    replace(place, element("h1", {}, parts[0]), element("p", { role: "status" }, "Opening the study …"));
    await Marking.open(place, await get<Worklist>("/api/annotate/worklist"), me, parts[0], study);
  } else await worklist(place, await get<Worklist>("/api/annotate/worklist"));
}

async function worklist(place: HTMLElement, { rows }: Worklist): Promise<void> {
  const body = element("tbody");
  const count = element("p", { class: "said", role: "status" });
  const search = element("input", { type: "search", "aria-label": "Find a study", placeholder: "Find a study" });
  const status = element("select", { "aria-label": "Status" });
  for (const words of ["all", "open", "marked", "marked by others"]) status.append(element("option", {}, words));
  const draw = (): void => {
    const found = rows.filter(
      (row) => row.participant_id.includes(search.value.trim()) && (status.value === "all" || row.status === status.value),
    );
    replace(body, ...found.slice(0, SHOWN).map(line));
    const done = rows.filter((row) => row.status === "marked").length;
    const more = found.length > SHOWN ? `; the first ${SHOWN} are shown, search to narrow` : "";
    count.textContent = `${found.length} of ${rows.length} studies${more}. You have marked ${done}.`;
  };
  search.addEventListener("input", draw);
  status.addEventListener("change", draw);
  const next = rows.find((row) => row.status !== "marked");
  replace(
    place,
    element("h1", {}, "Studies to mark"),
    element(
      "p",
      {},
      search,
      " ",
      status,
      " ",
      next ? element("a", { href: `/annotate/${next.participant_id}`, "data-testid": "next" }, `Go on with ${next.participant_id}`) : null,
    ),
    count,
    element(
      "table",
      { class: "wide" },
      element("thead", {}, element("tr", {}, ...["Study", "Status", "Level", "Marked by"].map((words) => element("th", { scope: "col" }, words)))),
      body,
    ),
    await agreement(),
  );
  draw();
}

function line(row: Row): HTMLElement {
  return element(
    "tr",
    {},
    element("td", {}, element("a", { href: `/annotate/${encodeURIComponent(row.participant_id)}` }, row.participant_id)),
    element("td", {}, row.status),
    element("td", {}, row.level),
    element("td", {}, row.annotators),
  );
}

async function agreement(): Promise<HTMLElement> {
  const { rows } = await get<{ rows: Agreement[] }>("/api/annotate/agreement");
  if (!rows.length) return element("p", { class: "said" }, "Where two annotators mark a study, their boxes are compared here.");
  const head = ["Study", "Annotators", "Intersection over union", "Centres apart", "Slices", "Level"];
  return element(
    "section",
    {},
    element("h2", {}, "Two annotators' boxes"),
    element(
      "table",
      { class: "wide" },
      element("thead", {}, element("tr", {}, ...head.map((words) => element("th", { scope: "col" }, words)))),
      element(
        "tbody",
        {},
        ...rows.map((row) =>
          element(
            "tr",
            {},
            element("td", {}, row.participant_id),
            element("td", {}, row.annotators.join(", ")),
            element("td", {}, row.iou.toFixed(2)),
            element("td", {}, `${row.distance_mm.toFixed(1)} mm`),
            element("td", {}, row.same_slices ? "the same" : "differ"),
            element("td", {}, row.same_level ? "the same" : "differ"),
          ),
        ),
      ),
    ),
  );
}

/** One study being marked. */
class Marking {
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
    private readonly id: string,
    private readonly list: Worklist,
    me: Me,
  ) {
    this.saver = new Saver<Marked>(`${me.workspace} ${me.code} ${id}`, (marked, revision) => this.put(marked, revision), (words, isAlarm) => this.tell(words, isAlarm), () => this.stale());
  }

  static async open(place: HTMLElement, list: Worklist, me: Me, id: string, study: Promise<Study>): Promise<void> {
    const marking = new Marking(id, list, me);
    marking.draw(place);
    await marking.load(study);
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
    const index = this.list.rows.findIndex((row) => row.participant_id === this.id);
    const step = (words: string, row: Row | undefined): HTMLElement | null =>
      row ? element("a", { href: `/annotate/${encodeURIComponent(row.participant_id)}` }, words) : null;
    const side = element(
      "aside",
      { class: "side", "aria-label": "Box and level" },
      element("h1", {}, this.id),
      element("p", {}, step("Previous", this.list.rows[index - 1]), " ", element("a", { href: "/annotate" }, "Worklist"), " ", step("Next", this.list.rows[index + 1])),
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
    this.keys.add({ id: "case.next", words: "Next study", keys: ["PageDown"], mode: "images", run: () => this.leaveTo(index + 1) });
    this.keys.add({ id: "case.previous", words: "Previous study", keys: ["PageUp"], mode: "images", run: () => this.leaveTo(index - 1) });
    this.keys.add({ id: "level", words: "Choose the level", keys: ["V"], mode: "images", run: () => this.level.focus() });
    this.history.watch((said) => (this.did.textContent = said));
    this.box.watch(() => this.changed());
    window.addEventListener("pagehide", () => this.keepView());
    window.addEventListener("beforeunload", () => this.keepView());
    guard(
      () => this.saver.isUnsaved,
      () => this.saver.flush(),
    );
  }

  private keepView(): void {
    if (this.pair.t2w.isReady && this.pair.t1w.isReady) sessionStorage.setItem(`view ${this.id}`, JSON.stringify(this.pair.views));
  }

  /** Show the study; where that fails, say why and what to do, and ask again when told to. */
  private async load(study?: Promise<Study>): Promise<void> {
    replace(this.trouble);
    this.tell("Opening the study …");
    try {
      await this.open(await (study ?? get<Study>(`/api/annotate/${encodeURIComponent(this.id)}`)));
    } catch (error) {
      this.tell("This study is not open", true);
      this.refuse(advice(error), ["Retry", () => this.load()], ["Worklist", () => location.assign("/annotate")]);
    }
  }

  private async open(found: Study): Promise<void> {
    const { lesion, revision } = found.own;
    // What was changed here and not saved goes before what the server holds, as long as nobody else changed that.
    const kept = this.saver.begin(revision);
    const marked = kept ? kept.state : (lesion ?? undefined);
    const middle = marked ? Math.round((marked.first_slice + marked.last_slice) / 2) : undefined;
    const views = this.pair.t2w.isReady ? undefined : sessionStorage.getItem(`view ${this.id}`);
    this.explain(found.about);
    await this.pair.show(found.pair, this.pair.t2w.isReady ? undefined : middle);
    this.show(marked);
    if (views) await this.pair.restore(JSON.parse(views) as { t2w: View; t1w: View });
    this.pair.t2w.root.focus();
    if (kept) {
      this.did.textContent = "Your change that was not saved is here again";
      if (kept.isCurrent) this.saver.change(marked);
      else this.stale();
    } else this.tell(lesion ? "Your box, as saved" : "Not marked yet");
    await this.map();
    // The server reads the next study while this one is looked at.
    const next = this.list.rows[this.list.rows.findIndex((row) => row.participant_id === this.id) + 1];
    if (next) get(`/api/annotate/${encodeURIComponent(next.participant_id)}`).catch(() => undefined);
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
    const path = `/api/annotate/${encodeURIComponent(this.id)}/lesion`;
    const own = marked ? await send<Own>("PUT", path, { ...marked, revision }) : await send<Own>("DELETE", path, { revision });
    replace(this.trouble);
    return own.revision;
  }

  /** Another page saved this box meanwhile: which of the two stands is for the person to say. */
  private stale(): void {
    this.tell("Not saved: another page has changed this box", true);
    const answer = async (take: (own: Own) => void): Promise<void> => {
      try {
        const { own } = await get<Study>(`/api/annotate/${encodeURIComponent(this.id)}`);
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
    if (!lesion || !this.throughAlignment) return this.pair.through(RAW);
    const box: Box = lesion.box;
    try {
      const found = await send<{ matrix: Matrix; method: string; reason: string }>("POST", `/api/annotate/${encodeURIComponent(this.id)}/alignment`, box);
      if (this.box.lesion !== lesion || !this.throughAlignment) return;
      await this.pair.through({ matrix: found.matrix, label: `T1W through the registration (${found.method})` });
    } catch (error) {
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
    const { rows } = await get<{ rows: Other[] }>(`/api/annotate/${encodeURIComponent(this.id)}/others`);
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

  private async leaveTo(index: number): Promise<void> {
    const row = this.list.rows[index];
    if (!row) return this.tell("No further study");
    if (await this.saver.flush()) location.assign(`/annotate/${encodeURIComponent(row.participant_id)}`);
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

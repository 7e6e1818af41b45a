/** Mark the vertebra of each study: the worklist, then one study after the other. */

import { Refusal, get, send } from "./api";
import { element, replace } from "./dom";
import type { Me } from "./frame";
import { History } from "./history";
import { Keys } from "./keys";
import { BoxTool, type Lesion } from "./viewer/box";
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
const SAVE_AFTER_MS = 300;

export async function annotate(place: HTMLElement, _me: Me, parts: string[]): Promise<void> {
  const list = await get<Worklist>("/api/annotate/worklist");
  if (parts[0]) await Marking.open(place, list, parts[0]);
  else await worklist(place, list);
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
    element("td", {}, element("a", { href: `/annotate/${row.participant_id}` }, row.participant_id)),
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
  private revision = "none";
  private timer: number | undefined;
  private saving: Promise<void> | undefined;
  private isUnsaved = false;
  private throughAlignment = true;

  private constructor(
    private readonly id: string,
    private readonly list: Worklist,
  ) {}

  static async open(place: HTMLElement, list: Worklist, id: string): Promise<void> {
    const marking = new Marking(id, list);
    marking.draw(place);
    await marking.load();
  }

  private draw(place: HTMLElement): void {
    this.level.append(element("option", { value: "" }, "not counted"));
    for (const [level, isAnomaly] of this.list.levels) {
      this.level.append(element("option", { value: level }, isAnomaly ? `${level} (numbering variant)` : level));
    }
    this.level.addEventListener("change", () => void this.levelChosen());
    const button = (words: string, click: () => void): HTMLElement => element("button", { click }, words);
    const index = this.list.rows.findIndex((row) => row.participant_id === this.id);
    const step = (words: string, row: Row | undefined): HTMLElement | null =>
      row ? element("a", { href: `/annotate/${row.participant_id}` }, words) : null;
    const side = element(
      "aside",
      { class: "side", "aria-label": "Box and level" },
      element("h1", {}, this.id),
      element("p", {}, step("Previous", this.list.rows[index - 1]), " ", element("a", { href: "/annotate" }, "Worklist"), " ", step("Next", this.list.rows[index + 1])),
      this.said,
      element("p", {}, button("Draw box (B)", () => this.box.arm()), " ", button("Undo", () => void this.history.undo()), " ", button("Redo", () => void this.history.redo())),
      this.numbers,
      element("p", {}, button("Lesion begins here ([)", () => void this.box.bound("first_slice")), " ", button("ends here (])", () => void this.box.bound("last_slice"))),
      element("p", {}, element("label", {}, "Level ", this.level)),
      this.anomaly,
      element("p", {}, button("T1W: registered or raw (T)", () => void this.switchMapping())),
      element("p", {}, button("Delete box", () => void this.box.change("box deleted", undefined))),
      element("h2", {}, "Proposals"),
      element("p", {}, button("Show others' boxes", () => void this.showOthers())),
      this.others,
      element("p", { class: "said" }, "? shows all keys"),
    );
    replace(place, element("div", { class: "sides" }, this.pair.root, side));
    bindImageKeys(this.keys, this.pair, this.history);
    this.box.bindKeys(this.keys);
    this.keys.add({ id: "mapping", words: "T1W through the registration, or raw", keys: ["T"], mode: "images", run: () => this.switchMapping() });
    this.keys.add({ id: "case.next", words: "Next study", keys: ["PageDown"], mode: "images", run: () => this.leaveTo(index + 1) });
    this.keys.add({ id: "case.previous", words: "Previous study", keys: ["PageUp"], mode: "images", run: () => this.leaveTo(index - 1) });
    this.keys.add({ id: "level", words: "Choose the level", keys: ["V"], mode: "images", run: () => this.level.focus() });
    this.history.watch((said) => this.tell(said));
    this.box.watch(() => this.changed());
    window.addEventListener("beforeunload", (event) => {
      sessionStorage.setItem(`view ${this.id}`, JSON.stringify(this.pair.views));
      if (this.isUnsaved) event.preventDefault();
    });
  }

  private async load(): Promise<void> {
    const found = await get<{ pair: SeriesPair; own: Own }>(`/api/annotate/${this.id}`);
    const { lesion, revision } = found.own;
    this.revision = revision;
    const middle = lesion ? Math.round((lesion.first_slice + lesion.last_slice) / 2) : undefined;
    await this.pair.show(found.pair, middle);
    this.box.put(lesion ?? undefined);
    this.level.value = lesion?.level ?? "";
    this.describe();
    const kept = sessionStorage.getItem(`view ${this.id}`);
    if (kept) await this.pair.restore(JSON.parse(kept) as { t2w: View; t1w: View });
    await this.map();
    this.tell(lesion ? "Your box, as saved" : "Not marked yet");
    this.pair.t2w.root.focus();
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

  private async levelChosen(): Promise<void> {
    this.changed();
    this.level.blur();
    this.pair.t2w.root.focus();
  }

  private changed(): void {
    this.describe();
    this.isUnsaved = true;
    this.tell("Saving …");
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.save(), SAVE_AFTER_MS);
    void this.map();
  }

  /** One save at a time, the newest state last. */
  private async save(): Promise<void> {
    await this.saving;
    this.saving = this.put();
    await this.saving;
  }

  private async put(): Promise<void> {
    const { marked } = this;
    try {
      const path = `/api/annotate/${this.id}/lesion`;
      const own = marked
        ? await send<Own>("PUT", path, { ...marked, revision: this.revision })
        : await send<Own>("DELETE", path, { revision: this.revision });
      this.revision = own.revision;
      this.isUnsaved = JSON.stringify(marked) !== JSON.stringify(this.marked);
      this.tell("Saved");
    } catch (error) {
      this.tell(error instanceof Refusal ? `Not saved: ${error.message}` : "Not saved", true);
    }
  }

  /** Bring T1W under the box, or show it as its header says. */
  private async map(): Promise<void> {
    const { lesion } = this.box;
    if (!lesion || !this.throughAlignment) return this.pair.through(RAW);
    const box: Box = lesion.box;
    try {
      const found = await send<{ matrix: Matrix; method: string; reason: string }>("POST", `/api/annotate/${this.id}/alignment`, box);
      if (this.box.lesion !== lesion || !this.throughAlignment) return;
      await this.pair.through({ matrix: found.matrix, label: `T1W through the registration (${found.method})` });
    } catch (error) {
      const why = error instanceof Refusal ? error.message : "it failed";
      await this.pair.through({ ...RAW, label: `${RAW.label}; no registration: ${why}` });
    }
  }

  private async switchMapping(): Promise<void> {
    this.throughAlignment = !this.throughAlignment;
    await this.map();
  }

  private async showOthers(): Promise<void> {
    const { rows } = await get<{ rows: Other[] }>(`/api/annotate/${this.id}/others`);
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
    if (!this.level.value) this.level.value = level;
    await this.box.change(`box of ${other.by} accepted`, { box, first_slice, last_slice });
  }

  private async leaveTo(index: number): Promise<void> {
    const row = this.list.rows[index];
    if (!row) return this.tell("No further study");
    window.clearTimeout(this.timer);
    if (this.isUnsaved) await this.save();
    if (!this.isUnsaved) location.assign(`/annotate/${row.participant_id}`);
  }
}

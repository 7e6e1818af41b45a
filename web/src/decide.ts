/** A second opinion on one study: open it, mark the vertebra, ask, and see why the answer is worth what it is worth. */

import { Refusal, get, send, upload } from "./api";
import { gather } from "./drop";
import { element, replace } from "./dom";
import type { Me } from "./frame";
import { History } from "./history";
import { Keys } from "./keys";
import { type Opinion, type Saliency, answerWords, cannotTell, opinionParts, saliencyPart } from "./opinion";
import { BoxTool, type Lesion } from "./viewer/box";
import { bindImageKeys } from "./viewer/commands";
import { type Matrix, type SeriesPair, cornersOf } from "./viewer/geometry";
import { Pair, RAW } from "./viewer/pair";

interface Overview {
  model: { recipe: string; models: number; digests: string[]; experiment: string; cases: number } | null;
  trouble: string;
  participants: string[];
  upload_bytes: number;
  can_print: boolean;
}

interface Opened {
  study: string;
  title: string;
  can_choose: boolean;
  series: { label: string; use: string; reason: string }[];
  refused_files: Record<string, number>;
  trouble: string;
  pair: SeriesPair | null;
}

type CannotTell = { cannot_tell: { kind: string; words: string; remedy: string; reason: string } };

/** A study is kept as long as its page says that it is there. */
const STILL_HERE_MS = 60_000;
const SHOWN = 300;

export async function decide(place: HTMLElement, me: Me, parts: string[]): Promise<void> {
  const overview = await get<Overview>("/api/decide");
  const [first, second] = parts;
  if (first === "opened" && second) await Deciding.open(place, me, overview, await get<Opened>(`/api/decide/opened/${second}`));
  else if (first) {
    replace(place, element("p", { role: "status" }, `Opening ${first} …`));
    await Deciding.open(place, me, overview, await send<Opened>("POST", `/api/decide/participants/${encodeURIComponent(first)}`));
  } else entrance(place, me, overview);
}

function modelWords({ model, trouble }: Overview): string {
  if (!model) return `No model: ${trouble}`;
  const who = model.models === 1 ? "1 model" : `${model.models} models`;
  const local = model.cases ? `held against ${model.cases} cases of experiment ${model.experiment}` : "without local cases to hold it against";
  return `Recipe ${model.recipe}, ${who} (${model.digests[0]!.slice(7, 19)} …), ${local}.`;
}

/** Nothing is open yet. */
function entrance(place: HTMLElement, me: Me, overview: Overview): void {
  const said = element("p", { class: "said", role: "status", "data-testid": "opening" });
  const bring = async (files: [string, File][]): Promise<void> => {
    const bytes = files.reduce((sum, [, file]) => sum + file.size, 0);
    const size = `${files.length} ${files.length === 1 ? "file" : "files"}, ${(bytes / 1e6).toFixed(1)} MB`;
    said.classList.remove("alarm");
    if (!files.length) return alarm("There is no file in what you dropped: give the folder that holds the images.");
    if (bytes > overview.upload_bytes) return alarm(`${size}: more than this server takes (${(overview.upload_bytes / 1e6).toFixed(0)} MB). Take out what is not MRI.`);
    said.textContent = `Sending and reading ${size} … This may take a minute.`;
    zone.setAttribute("aria-busy", "true");
    const form = new FormData();
    for (const [name, file] of files) form.append("files", file, name);
    try {
      const opened = await upload<Opened>("/api/decide/studies", form);
      window.history.replaceState(null, "", `/decide/opened/${opened.study}`);
      await Deciding.open(place, me, overview, opened);
    } catch (error) {
      alarm(error instanceof Refusal ? error.message : "The files could not be sent. Try again.");
    }
    zone.removeAttribute("aria-busy");
  };
  const take = async (dropped: DataTransfer): Promise<void> => {
    try {
      await bring(await gather(dropped));
    } catch {
      alarm("Something in what you dropped cannot be read: check that you may open its files.");
    }
  };
  const alarm = (words: string): void => {
    said.textContent = words;
    said.classList.add("alarm");
  };
  const picker = (words: string, isFolder: boolean): HTMLElement => {
    const field = element("input", {
      type: "file",
      multiple: true,
      webkitdirectory: isFolder,
      change: () => {
        // Nothing is chosen where the choice was called off.
        if (field.files?.length) void bring([...field.files].map((file) => [file.webkitRelativePath || file.name, file]));
      },
    });
    return element("label", {}, `${words} `, field);
  };
  const zone = element(
    "section",
    {
      class: "dropzone",
      "aria-label": "Drop a study here",
      "data-testid": "dropzone",
    },
    element("h2", {}, "Drop a study here"),
    element("p", {}, "A folder of DICOM files, a ZIP archive, or NIfTI files of one patient. They stay on this server and go when you close the study, or five minutes after you left."),
    element("p", {}, picker("Files or ZIP", false)),
    element("p", {}, picker("Folder", true)),
    said,
  );
  // Anywhere on the page, for a browser that gets a file beside the mark shows it, and the page is gone.
  const watch = (kind: "dragover" | "dragleave" | "drop", act: (event: DragEvent) => void): void =>
    window.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.toggle("over", kind === "dragover");
      if (zone.isConnected && !zone.hasAttribute("aria-busy")) act(event);
    });
  watch("dragover", () => undefined);
  watch("dragleave", () => undefined);
  watch("drop", (event) => void (event.dataTransfer && take(event.dataTransfer)));
  replace(
    place,
    element("h1", {}, "Second opinion"),
    element("p", { class: overview.model ? "said" : "alarm", "data-testid": "model" }, modelWords(overview)),
    zone,
    overview.participants.length ? ownCases(overview.participants) : null,
  );
}

function ownCases(names: string[]): HTMLElement {
  const list = element("ul", { class: "names" });
  const draw = (): void =>
    replace(
      list,
      ...names
        .filter((name) => name.includes(search.value.trim()))
        .slice(0, SHOWN)
        .map((name) => element("li", {}, element("a", { href: `/decide/${name}` }, name))),
    );
  const search = element("input", { type: "search", "aria-label": "Find a study", placeholder: "Find a study", input: draw });
  draw();
  return element(
    "section",
    {},
    element("h2", {}, "Or a study of this folder"),
    element("p", {}, "It is answered by the model that has not seen it. Whoever may read it blinded should not look here."),
    element("p", {}, search),
    list,
  );
}

/** One study open. */
class Deciding {
  private readonly pair = new Pair();
  private readonly history = new History();
  private readonly keys = new Keys();
  private readonly box = new BoxTool(this.pair, this.history);
  private readonly said = element("p", { class: "said", role: "status", "data-testid": "said" });
  private readonly numbers = element("p", { "data-testid": "numbers" });
  private readonly result = element("section", { "aria-label": "Answer", "aria-live": "polite" });
  private readonly maps = element("div");
  private readonly series = element("section", { "aria-label": "Series" });
  private opinion: Opinion | undefined;
  private asked = 0;
  private throughAlignment = true;

  private constructor(
    private readonly me: Me,
    private readonly overview: Overview,
    private opened: Opened,
  ) {}

  static async open(place: HTMLElement, me: Me, overview: Overview, opened: Opened): Promise<void> {
    const deciding = new Deciding(me, overview, opened);
    deciding.draw(place);
    await deciding.load();
  }

  private draw(place: HTMLElement): void {
    const button = (words: string, click: () => void, main = false): HTMLElement => element("button", { click, class: main ? "main" : undefined }, words);
    const side = element(
      "aside",
      { class: "side", "aria-label": "Box and answer" },
      element("h1", {}, this.opened.title),
      element("p", { class: "stamp" }, `Research use only${this.me.phantom ? " · phantom study" : ""}`),
      this.said,
      element("p", {}, button("Draw box (B)", () => this.box.arm()), " ", button("Undo", () => void this.history.undo()), " ", button("Redo", () => void this.history.redo())),
      this.numbers,
      element("p", {}, button("Lesion begins ([)", () => void this.box.bound("first_slice")), " ", button("ends (])", () => void this.box.bound("last_slice"))),
      element("p", {}, button("T1W: registered or raw (T)", () => void this.switchMapping())),
      element("p", {}, button("Ask the model (A)", () => void this.ask(), true)),
      this.result,
      this.maps,
      this.series,
      element("p", {}, button("Close this study", () => void this.close())),
      element("p", { class: "said" }, modelWords(this.overview)),
      element("p", { class: "said" }, "? shows all keys"),
    );
    replace(place, element("div", { class: "sides deciding" }, this.pair.root, side));
    bindImageKeys(this.keys, this.pair, this.history);
    this.box.bindKeys(this.keys);
    this.keys.add({ id: "mapping", words: "T1W through the registration, or raw", keys: ["T"], mode: "images", run: () => this.switchMapping() });
    this.keys.add({ id: "ask", words: "Ask the model", keys: ["A"], mode: "images", run: () => this.ask() });
    this.keys.add({ id: "saliency", words: "Where the model looks, on this slice", keys: ["S"], mode: "images", run: () => this.look() });
    this.history.watch((words) => this.tell(words));
    this.box.watch(() => this.changed());
    this.pair.t2w.paint((canvas) => this.paintAnswer(canvas));
    window.setInterval(() => void this.stillHere(), STILL_HERE_MS);
  }

  private async load(): Promise<void> {
    const { pair, trouble, study } = this.opened;
    this.listSeries();
    if (!pair) {
      replace(this.result, ...cannotTell({ words: "Without a sagittal T1W and a sagittal T2W series there is nothing to score.", remedy: "", reason: trouble }));
      return this.tell("No pair of series", true);
    }
    const kept = JSON.parse(sessionStorage.getItem(this.store) ?? "null") as Lesion | null;
    await this.pair.show(pair, kept ? Math.round((kept.first_slice + kept.last_slice) / 2) : undefined);
    this.box.put(kept ?? undefined);
    this.describe();
    await this.map();
    this.tell(study && kept ? "Your box, as it was" : "Mark the vertebra: a box on T2W, and the slices of the lesion");
    this.pair.t2w.root.focus();
  }

  /** A box is kept for a reload of this page, under a name that says nothing. */
  private get store(): string {
    return `decide ${location.pathname}`;
  }

  private tell(words: string, isAlarm = false): void {
    this.said.textContent = words;
    this.said.classList.toggle("alarm", isAlarm);
  }

  private describe(): void {
    const { lesion } = this.box;
    const place = lesion?.box.centre_mm.map((mm) => mm.toFixed(1)).join(", ");
    this.numbers.textContent = lesion
      ? `Box ${lesion.box.side_mm.toFixed(1)} mm at L, P, S = ${place} mm; slices ${lesion.first_slice + 1} to ${lesion.last_slice + 1}`
      : "No box";
  }

  private changed(): void {
    const hadAnswer = this.opinion !== undefined;
    this.forgetAnswer();
    this.describe();
    sessionStorage.setItem(this.store, JSON.stringify(this.box.lesion ?? null));
    if (hadAnswer) replace(this.result, element("p", { class: "alarm" }, "The box has changed: ask again (A)."));
    void this.map();
  }

  /** A number belongs to its box; without that box it goes. */
  private forgetAnswer(): void {
    this.asked += 1;
    this.opinion = undefined;
    replace(this.result);
    replace(this.maps);
    this.pair.repaint();
  }

  private get path(): string {
    return `/api/decide/opened/${this.opened.study}`;
  }

  private async map(): Promise<void> {
    const { lesion } = this.box;
    if (!lesion || !this.throughAlignment) return this.pair.through(RAW);
    try {
      const found = await send<{ matrix: Matrix; method: string }>("POST", `${this.path}/alignment`, lesion);
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

  private async ask(): Promise<void> {
    const { lesion } = this.box;
    if (!lesion) return this.tell("Mark the vertebra first (B)", true);
    this.forgetAnswer();
    const asked = this.asked;
    this.tell("Asking …");
    try {
      const found = await send<Opinion | CannotTell>("POST", "/api/decide/answer", { study: this.opened.study, ...lesion });
      if (asked !== this.asked) return;
      if ("cannot_tell" in found) {
        replace(this.result, ...cannotTell(found.cannot_tell));
        uncover(this.result);
        return this.tell("Cannot tell");
      }
      this.opinion = found;
      const go = (slice: number): void => void this.pair.t2w.go(slice);
      replace(this.result, ...opinionParts(found, go, this.overview.can_print));
      replace(
        this.maps,
        element("h2", {}, "Where the model looks"),
        element("p", {}, element("button", { click: () => void this.look() }, "On this slice (S)")),
      );
      this.pair.repaint();
      uncover(this.result);
      this.tell("Answered");
    } catch (error) {
      this.tell(error instanceof Refusal ? error.message : "No answer came. Try again.", true);
    }
  }

  /** Saliency of the slice that is shown, with its sanity check beside it. */
  private async look(): Promise<void> {
    const { opinion } = this;
    if (!opinion) return this.tell("Ask the model first (A)", true);
    const position = opinion.slices.findIndex((one) => one.slice === this.pair.t2w.slice);
    if (position < 0) return this.tell("This slice does not belong to the lesion", true);
    this.tell("Covering one place after the other …");
    try {
      const found = await send<Saliency>("POST", "/api/decide/saliency", { answer: opinion.answer, position });
      if (this.opinion !== opinion) return;
      this.maps.append(saliencyPart(found));
      uncover(this.maps);
      this.tell(`Map of slice ${found.slice + 1}`);
    } catch (error) {
      this.tell(error instanceof Refusal ? error.message : "No map came. Try again.", true);
    }
  }

  /** The number stands at its box. */
  private paintAnswer(canvas: SVGSVGElement): void {
    const { opinion } = this;
    const { lesion } = this.box;
    const { t2w } = this.pair;
    if (!opinion || !lesion || !t2w.series) return;
    const corners = cornersOf(t2w.series, lesion.box, t2w.slice).map((corner) => t2w.toScreen(corner));
    const [x, y] = [Math.min(...corners.map(([u]) => u)), Math.min(...corners.map(([, v]) => v))];
    canvas.append(answerWords(opinion, x, y - 6));
  }

  private listSeries(): void {
    const { series, refused_files, can_choose } = this.opened;
    const select = (use: string): HTMLSelectElement => {
      const made = element("select", { "aria-label": `Series to use as ${use}` });
      series.forEach((one, index) => made.append(element("option", { value: index, selected: one.use === use }, one.label)));
      return made;
    };
    const [t1w, t2w] = [select("T1W"), select("T2W")];
    const files = Object.entries(refused_files).map(([reason, count]) => element("li", {}, `${count} files not used: ${reason}`));
    replace(
      this.series,
      element("h2", {}, "Series"),
      element(
        "ul",
        { "data-testid": "series" },
        ...series.map((one) => element("li", {}, `${one.label}: ${one.use || "not used"}${one.reason ? `, ${one.reason}` : ""}`)),
        ...files,
      ),
      can_choose ? element("p", {}, element("label", {}, "T2W ", t2w), " ", element("label", {}, "T1W ", t1w)) : null,
      can_choose ? element("p", {}, element("button", { click: () => void this.choose(Number(t1w.value), Number(t2w.value)) }, "Use these two")) : null,
    );
  }

  private async choose(t1w: number, t2w: number): Promise<void> {
    this.tell("Reading the series …");
    this.forgetAnswer();
    try {
      this.opened = await send<Opened>("POST", `${this.path}/series`, { t1w, t2w });
      this.history.clear();
      await this.load();
    } catch (error) {
      this.tell(error instanceof Refusal ? error.message : "The series cannot be used", true);
    }
  }

  private async stillHere(): Promise<void> {
    try {
      await send("PUT", this.path);
    } catch (error) {
      this.tell(error instanceof Refusal ? error.message : "The study was closed", true);
    }
  }

  private async close(): Promise<void> {
    await send("DELETE", this.path);
    sessionStorage.removeItem(this.store);
    location.assign("/decide");
  }
}

/** Scroll the panel, and it alone, to one of its parts: the page's images stay where they are. */
function uncover(part: HTMLElement): void {
  const panel = part.closest<HTMLElement>(".side");
  if (panel) panel.scrollTop += part.getBoundingClientRect().top - panel.getBoundingClientRect().top;
}

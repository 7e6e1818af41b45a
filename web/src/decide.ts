/** The decide page: open a study, mark the vertebra, ask the model, and see how far its opinion can be trusted. */

import { Refusal, get, send, upload } from "./api";
import type { CurrentUser, DecideOverview, LesionExtent, OpenedStudy, OtherLesion, SecondOpinion, SeriesRequest } from "./contracts";
import { element, replace } from "./dom";
import { gather } from "./drop";
import { History } from "./history";
import { Keys } from "./keys";
import { cannotTell, numberAtBox, opinionParts, saliencyPart } from "./opinion";
import { proposals } from "./proposals";
import { signsPart } from "./signs";
import { BoxTool } from "./viewer/box";
import { bindImageKeys } from "./viewer/commands";
import { cornersOf } from "./viewer/geometry";
import { Pair, RAW } from "./viewer/pair";

/** A study stays open for as long as its page asks for it. */
const KEEP_OPEN_MS = 60_000;
const SHOWN = 300;

export async function decide(place: HTMLElement, user: CurrentUser, parts: string[]): Promise<void> {
  const overview = await get("/api/decide");
  const [first, second] = parts;
  if (first === "opened" && second) await Deciding.open(place, user, overview, await get("/api/decide/opened/{study}", { study: second }));
  else if (first) {
    replace(place, element("p", { role: "status" }, `Opening ${first} …`));
    await Deciding.open(place, user, overview, await send("post", "/api/decide/participants/{participant_id}", { participant_id: first }));
  } else entrance(place, user, overview);
}

function describeModel({ model, trouble }: DecideOverview): string {
  if (!model) return `No model: ${trouble}`;
  const who = model.models === 1 ? "1 model" : `${model.models} models`;
  const local = model.cases ? `compared with ${model.cases} cases of experiment ${model.experiment}` : "without local cases for comparison";
  return `Recipe ${model.recipe}, ${who} (${model.digests[0]!.slice(7, 19)} …), ${local}.`;
}

/** The page before a study is open. */
function entrance(place: HTMLElement, user: CurrentUser, overview: DecideOverview): void {
  const status = element("p", { class: "quiet", role: "status", "data-testid": "opening" });
  const bring = async (files: [string, File][]): Promise<void> => {
    const bytes = files.reduce((sum, [, file]) => sum + file.size, 0);
    const size = `${files.length} ${files.length === 1 ? "file" : "files"}, ${(bytes / 1e6).toFixed(1)} MB`;
    status.classList.remove("alarm");
    if (!files.length) return alarm("No files found. Drop the folder that holds the images.");
    if (bytes > overview.upload_bytes) return alarm(`${size} is more than this server accepts (${(overview.upload_bytes / 1e6).toFixed(0)} MB). Leave out what is not MRI.`);
    status.textContent = `Uploading and reading ${size} … This may take a minute.`;
    zone.setAttribute("aria-busy", "true");
    const form = new FormData();
    for (const [name, file] of files) form.append("files", file, name);
    try {
      const opened = await upload(form);
      window.history.replaceState(null, "", `/decide/opened/${opened.study}`);
      await Deciding.open(place, user, overview, opened);
    } catch (error) {
      alarm(error instanceof Refusal ? error.message : "The upload failed. Try again.");
    }
    zone.removeAttribute("aria-busy");
  };
  const take = async (dropped: DataTransfer): Promise<void> => {
    try {
      await bring(await gather(dropped));
    } catch {
      alarm("Some of these files cannot be read. Check that you may open them.");
    }
  };
  const alarm = (message: string): void => {
    status.textContent = message;
    status.classList.add("alarm");
  };
  const picker = (label: string, isFolder: boolean): HTMLElement => {
    const field = element("input", {
      type: "file",
      multiple: true,
      webkitdirectory: isFolder,
      change: () => {
        // Nothing is chosen when the dialog is cancelled.
        if (field.files?.length) void bring([...field.files].map((file) => [file.webkitRelativePath || file.name, file]));
      },
    });
    return element("label", {}, `${label} `, field);
  };
  const zone = element(
    "section",
    {
      class: "dropzone",
      "aria-label": "Drop a study here",
      "data-testid": "dropzone",
    },
    element("h2", {}, "Drop a study here"),
    element("p", {}, "A folder of DICOM files, a ZIP archive, or NIfTI files of one patient. The files stay on this server and are deleted when you close the study, or five minutes after you leave."),
    element("p", {}, picker("Files or ZIP", false)),
    element("p", {}, picker("Folder", true)),
    status,
  );
  // Anywhere on the page: a browser opens a file that is dropped beside the zone, and the page is gone.
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
    element("p", { class: overview.model ? "quiet" : "alarm", "data-testid": "model" }, describeModel(overview)),
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
  const search = element("input", { type: "search", "aria-label": "Find a participant", placeholder: "Find a participant", input: draw });
  draw();
  return element(
    "section",
    {},
    element("h2", {}, "Or open a participant"),
    element("p", {}, "The prediction comes from the model that was not trained on this case. Readers who may still read the case blinded should not open it here."),
    element("p", {}, search),
    list,
  );
}

/** One open study. */
class Deciding {
  private readonly pair = new Pair();
  private readonly history = new History();
  private readonly keys = new Keys();
  private readonly box = new BoxTool(this.pair, this.history);
  private readonly status = element("p", { class: "quiet", role: "status", "data-testid": "status" });
  private readonly numbers = element("p", { "data-testid": "numbers" });
  private readonly result = element("section", { "aria-label": "Opinion", "aria-live": "polite" });
  private readonly maps = element("div");
  private readonly signs = element("div");
  private readonly found = element("section", { "aria-label": "Found vertebrae" });
  private readonly series = element("section", { "aria-label": "Series" });
  private opinion: SecondOpinion | undefined;
  /** Counts the requests for an opinion: a late response is for a box that has changed. */
  private asked = 0;
  private throughAlignment = true;

  private constructor(
    private readonly user: CurrentUser,
    private readonly overview: DecideOverview,
    private opened: OpenedStudy,
  ) {}

  static async open(place: HTMLElement, user: CurrentUser, overview: DecideOverview, opened: OpenedStudy): Promise<void> {
    const deciding = new Deciding(user, overview, opened);
    deciding.draw(place);
    await deciding.load();
  }

  private draw(place: HTMLElement): void {
    const button = (label: string, click: () => void, main = false): HTMLElement => element("button", { click, class: main ? "main" : undefined }, label);
    const side = element(
      "aside",
      { class: "side", "aria-label": "Box and opinion" },
      element("h1", {}, this.opened.title),
      element("p", { class: "stamp" }, `${this.user.notice}${this.opened.phantom ? " Phantom study." : this.user.phantom ? " The local cases are phantoms: no figure applies to patients." : ""}`),
      this.status,
      element("p", {}, button("Draw box (B)", () => this.box.arm()), " ", button("Undo", () => void this.history.undo()), " ", button("Redo", () => void this.history.redo())),
      this.numbers,
      element("p", {}, button("First slice ([)", () => void this.box.bound("first_slice")), " ", button("Last slice (])", () => void this.box.bound("last_slice"))),
      element("p", {}, button("T1W: registered or unregistered (T)", () => void this.switchMapping())),
      element("p", {}, button("Find vertebrae (F)", () => void this.findVertebrae())),
      this.found,
      element("p", {}, button("Ask the model (A)", () => void this.ask(), true), " ", button("Read the signs (G)", () => void this.readSigns())),
      this.result,
      this.signs,
      this.maps,
      this.series,
      element("p", {}, button("Close this study", () => void this.close())),
      element("p", { class: "quiet" }, describeModel(this.overview)),
      element("p", { class: "quiet" }, "Press ? for all keys"),
    );
    replace(place, element("div", { class: "sides deciding" }, this.pair.root, side));
    bindImageKeys(this.keys, this.pair, this.history);
    this.box.bindKeys(this.keys);
    this.keys.add({ id: "mapping", label: "T1W registered, or unregistered", keys: ["T"], mode: "images", run: () => this.switchMapping() });
    this.keys.add({ id: "find", label: "Find the vertebrae", keys: ["F"], mode: "images", run: () => this.findVertebrae() });
    this.keys.add({ id: "ask", label: "Ask the model", keys: ["A"], mode: "images", run: () => this.ask() });
    this.keys.add({ id: "signs", label: "Read the fifteen signs", keys: ["G"], mode: "images", run: () => this.readSigns() });
    this.keys.add({ id: "saliency", label: "Map where the model looks on this slice", keys: ["S"], mode: "images", run: () => this.look() });
    this.history.watch((message) => this.tell(message));
    this.box.watch(() => this.changed());
    this.pair.t2w.paint((canvas) => this.paintNumber(canvas));
    window.setInterval(() => void this.keepOpen(), KEEP_OPEN_MS);
  }

  private async load(): Promise<void> {
    const { pair, study } = this.opened;
    this.listSeries();
    if (!pair) return this.showIncomplete();
    const kept = JSON.parse(sessionStorage.getItem(this.store) ?? "null") as LesionExtent | null;
    await this.pair.show(pair, kept ? Math.round((kept.first_slice + kept.last_slice) / 2) : undefined);
    this.box.put(kept ?? undefined);
    this.describe();
    await this.map();
    this.tell(study && kept ? "Your box was restored" : "Mark the vertebra: a box on T2W, and the slices of the lesion");
    this.pair.t2w.root.focus();
  }

  /** Show T2W alone, where there is one, and what is missing. */
  private async showIncomplete(): Promise<void> {
    const { alone, trouble, can_choose } = this.opened;
    const words = "Without every series that the model reads there is nothing to score.";
    const remedy = `Open a study that holds the missing series${can_choose ? ", or choose the series yourself in the list below" : ""}.`;
    replace(this.result, ...cannotTell({ words, remedy, reason: trouble }));
    this.tell(alone ? "T2W alone: another series is missing" : "No pair of series", true);
    if (!alone) this.pair.clear();
    if (alone) await this.pair.showAlone(alone);
    this.pair.explain((name) => (alone ? `No usable ${name} series; see the panel for the reason` : "No images; see the panel for the reason"));
  }

  /** The box is kept for a reload of this page, under a name that does not identify anyone. */
  private get store(): string {
    return `decide ${location.pathname}`;
  }

  private tell(message: string, isAlarm = false): void {
    this.status.textContent = message;
    this.status.classList.toggle("alarm", isAlarm);
  }

  private describe(): void {
    const { lesion } = this.box;
    const place = lesion?.box.centre_mm.map((mm) => mm.toFixed(1)).join(", ");
    this.numbers.textContent = lesion
      ? `Box ${lesion.box.side_mm.toFixed(1)} mm at L, P, S = ${place} mm; slices ${lesion.first_slice + 1} to ${lesion.last_slice + 1}`
      : "No box";
  }

  private changed(): void {
    const hadOpinion = this.opinion !== undefined;
    this.dropOpinion();
    this.describe();
    sessionStorage.setItem(this.store, JSON.stringify(this.box.lesion ?? null));
    if (hadOpinion) replace(this.result, element("p", { class: "alarm" }, "The box has changed. Ask the model again (A)."));
    void this.map();
  }

  /** A number is valid for its box only. */
  private dropOpinion(): void {
    this.asked += 1;
    this.opinion = undefined;
    replace(this.result);
    replace(this.maps);
    replace(this.signs);
    this.pair.repaint();
  }

  private get names(): { study: string } {
    return { study: this.opened.study };
  }

  private async map(): Promise<void> {
    const { lesion } = this.box;
    if (!lesion || !this.throughAlignment) return this.pair.through(RAW);
    try {
      const found = await send("post", "/api/decide/opened/{study}/alignment", this.names, lesion);
      if (this.box.lesion !== lesion || !this.throughAlignment) return;
      await this.pair.through({ matrix: found.matrix, label: `T1W registered (${found.method})` });
    } catch (error) {
      const reason = error instanceof Refusal ? error.message : "it failed";
      await this.pair.through({ ...RAW, label: `${RAW.label}; no registration: ${reason}` });
    }
  }

  private async switchMapping(): Promise<void> {
    this.throughAlignment = !this.throughAlignment;
    await this.map();
  }

  /** Offer the localiser's vertebrae: a click on the image, or the list, makes one the box. */
  private async findVertebrae(): Promise<void> {
    const { opened } = this;
    this.tell("Looking for the vertebrae …");
    try {
      const { rows, notes } = await get("/api/decide/opened/{study}/vertebrae", this.names);
      if (this.opened !== opened) return;
      this.box.offers = rows.map((row) => ({ lesion: row.lesion, take: () => void this.accept(row) }));
      replace(this.found, ...proposals(rows, notes, ({ by }) => by, (row) => this.show(row), (row) => void this.accept(row)));
      this.pair.repaint();
      this.tell(rows.length ? "Click a vertebra to mark it" : "No vertebrae were found");
    } catch (error) {
      this.tell(error instanceof Refusal ? error.message : "The vertebrae could not be looked for. Try again.", true);
    }
  }

  private show({ lesion }: OtherLesion): void {
    void this.pair.t2w.go(Math.round((lesion.first_slice + lesion.last_slice) / 2));
  }

  /** Make a found vertebra the box, which can be corrected like one drawn by hand. */
  private async accept({ lesion: { box, first_slice, last_slice }, by }: OtherLesion): Promise<void> {
    this.withdraw();
    await this.box.change(`box of ${by} taken`, { box, first_slice, last_slice });
  }

  private withdraw(): void {
    this.box.offers = [];
    replace(this.found);
  }

  private async ask(): Promise<void> {
    const { lesion } = this.box;
    if (!lesion) return this.tell("Mark the vertebra first (B)", true);
    this.dropOpinion();
    const asked = this.asked;
    this.tell("Asking the model …");
    try {
      const found = await send("post", "/api/decide/opinion", undefined, { study: this.opened.study, ...lesion });
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
      this.tell("The model's opinion is shown");
    } catch (error) {
      this.tell(error instanceof Refusal ? error.message : "The model did not answer. Try again.", true);
    }
  }

  /** Read the fifteen signs, whatever the box model says. */
  private async readSigns(): Promise<void> {
    const { lesion } = this.box;
    if (!lesion) return this.tell("Mark the vertebra first (B)", true);
    const asked = this.asked;
    this.tell("Reading the signs …");
    try {
      const found = await send("post", "/api/decide/signs", undefined, { study: this.opened.study, ...lesion });
      if (asked !== this.asked) return;
      replace(this.signs, signsPart(found));
      uncover(this.signs);
      this.tell("cannot_tell" in found ? "Cannot tell" : "The signs are shown");
    } catch (error) {
      this.tell(error instanceof Refusal ? error.message : "The signs could not be read. Try again.", true);
    }
  }

  /** Map the saliency of the slice that is shown, with its checks. */
  private async look(): Promise<void> {
    const { opinion } = this;
    if (!opinion) return this.tell("Ask the model first (A)", true);
    const position = opinion.slices.findIndex((one) => one.slice === this.pair.t2w.slice);
    if (position < 0) return this.tell("This slice is not part of the lesion", true);
    this.tell("Computing the map …");
    try {
      const found = await send("post", "/api/decide/saliency", undefined, { opinion: opinion.opinion, position });
      if (this.opinion !== opinion) return;
      this.maps.append(saliencyPart(found));
      uncover(this.maps);
      this.tell(`Map of slice ${found.slice + 1}`);
    } catch (error) {
      this.tell(error instanceof Refusal ? error.message : "The map could not be computed. Try again.", true);
    }
  }

  /** Draw the number at its box. */
  private paintNumber(canvas: SVGSVGElement): void {
    const { opinion } = this;
    const { lesion } = this.box;
    const { t2w } = this.pair;
    if (!opinion || !lesion || !t2w.series) return;
    const corners = cornersOf(t2w.series, lesion.box, t2w.slice).map((corner) => t2w.toScreen(corner));
    const [x, y] = [Math.min(...corners.map(([u]) => u)), Math.min(...corners.map(([, v]) => v))];
    canvas.append(numberAtBox(opinion, x, y - 6));
  }

  private listSeries(): void {
    const { series, refused_files, can_choose, needed, notes } = this.opened;
    const select = (use: string): HTMLSelectElement => {
      const made = element("select", { "aria-label": `Series to use as ${use}` });
      series.forEach((one, index) => made.append(element("option", { value: index, selected: one.use === use }, `${one.label}: ${one.kind}`)));
      return made;
    };
    // T2W first, as everywhere on this page.
    const selects = new Map([...needed].sort((one, other) => Number(other === "T2W") - Number(one === "T2W")).map((use) => [use, select(use)]));
    const chosen = (use: string): number | undefined => (selects.has(use) ? Number(selects.get(use)!.value) : undefined);
    const files = Object.entries(refused_files).map(([reason, count]) => element("li", {}, `${count} files not used: ${reason}`));
    replace(
      this.series,
      element("h2", {}, "Series"),
      element(
        "ul",
        { "data-testid": "series" },
        ...series.map((one) => element("li", {}, `${one.label}: ${one.use || "not used"}${one.kind === one.use ? "" : `, shows ${one.kind}`}${one.reason ? `, ${one.reason}` : ""}`)),
        ...notes.map((note) => element("li", { "data-testid": "study-note" }, note)),
        ...files,
      ),
      can_choose ? element("p", {}, ...[...selects].map(([use, made]) => element("label", {}, `${use} `, made, " "))) : null,
      can_choose
        ? element(
            "p",
            {},
            element(
              "button",
              { click: () => void this.choose({ t1w: chosen("T1W")!, t2w: chosen("T2W")!, stir: chosen("STIR") ?? null }) },
              selects.size === 2 ? "Use these two" : "Use these series",
            ),
          )
        : null,
    );
  }

  private async choose(places: SeriesRequest): Promise<void> {
    this.tell("Reading the series …");
    this.dropOpinion();
    try {
      this.opened = await send("post", "/api/decide/opened/{study}/series", this.names, places);
      this.withdraw();
      this.history.clear();
      await this.load();
    } catch (error) {
      this.tell(error instanceof Refusal ? error.message : "These series cannot be used", true);
    }
  }

  private async keepOpen(): Promise<void> {
    try {
      await send("put", "/api/decide/opened/{study}", this.names);
    } catch (error) {
      this.tell(error instanceof Refusal ? error.message : "The study was closed", true);
    }
  }

  private async close(): Promise<void> {
    await send("delete", "/api/decide/opened/{study}", this.names);
    sessionStorage.removeItem(this.store);
    location.assign("/decide");
  }
}

/** Scroll the panel, and nothing but the panel, to one of its parts, so that the images stay where they are. */
function uncover(part: HTMLElement): void {
  const panel = part.closest<HTMLElement>(".side");
  if (panel) panel.scrollTop += part.getBoundingClientRect().top - panel.getBoundingClientRect().top;
}

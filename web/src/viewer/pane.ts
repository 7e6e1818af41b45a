/** One series on the screen: its slices, window, zoom, and the drawings on top. */

import { Refusal } from "../api";
import type { GreyWindow, SeriesImage } from "../contracts";
import { drawing, element } from "../dom";
import { type Camera, cameraOf } from "./camera";
import { type Library, type Viewport, forget, imageIds, library, outwards, pixelsOf } from "./engine";
import { type Point, distanceFrom } from "./geometry";

/** How a series is shown, whatever the slice. */
export interface Look {
  window: GreyWindow;
  zoom: number;
  pan: [number, number];
}

export interface View extends Look {
  slice: number;
}

/** Draws on a pane after each change of slice, zoom, pan or size. */
export type Painter = (canvas: SVGSVGElement, pane: Pane) => void;

const ZOOMS = { least: 0.2, most: 20 };
let number = 0;

/** A series whose first slice is loaded; the others are loading. */
export interface Begun {
  /** Resolves when all slices are loaded; rejects when a retry cannot help, which the pane then reports. */
  whole: Promise<void>;
}

export class Pane {
  readonly root: HTMLElement;
  readonly picture: HTMLDivElement;
  readonly overlay: SVGSVGElement;
  series: SeriesImage | undefined;
  private readonly id = `pane-${number++}`;
  private readonly caption = element("div", { class: "caption" });
  private readonly note = element("div", { class: "note", role: "status" });
  private readonly title: HTMLElement;
  /** What the series shows, and what it is used as where that is not the same. */
  private kind: string;
  private viewport: Viewport | undefined;
  private camera: Camera | undefined;
  /** Series whose pixels are held: the one that is shown, and those that were left while they were loading. */
  private held: SeriesImage[] = [];
  /** Counts the series requested: a late answer for an older one is ignored. */
  private turn = 0;
  /** Whether the whole image is shown, neither zoomed nor moved. */
  private isWhole = true;
  /** Counts changes of the pane's size: a look that was saved at another size no longer applies. */
  private sizes = 0;
  /** The slice that was requested last. */
  private wanted = 0;
  private readonly painters: Painter[] = [];
  private readonly watchers: (() => void)[] = [];

  constructor(readonly name: string) {
    this.picture = element("div", { class: "picture", "data-pane": name });
    this.overlay = drawing("svg", { class: "overlay", "aria-hidden": "true" });
    this.kind = name;
    this.title = element("div", { class: "title" }, name);
    this.root = element(
      "section",
      { class: "pane", "aria-label": `${name} image`, tabindex: 0 },
      this.picture,
      this.overlay,
      this.title,
      this.caption,
      this.note,
    );
    this.notify("Waiting for images");
  }

  /** Show nothing: the last study has been left. */
  clear(): void {
    this.turn += 1;
    this.series = undefined;
    this.picture.style.visibility = "hidden";
    this.overlay.replaceChildren();
    this.caption.textContent = "";
    this.entitle(this.name);
    for (const name of Object.keys(this.root.dataset)) delete this.root.dataset[name];
    this.root.removeAttribute("aria-busy");
    this.notify("Waiting for images");
  }

  /** Show a series: its first slice as soon as it is loaded, then all others, so that scrolling never waits.
   *
   * The pane reports what could not be loaded, with a button to retry; only errors that a retry cannot mend are
   * thrown. */
  async show(series: SeriesImage, slice: number): Promise<Begun> {
    const turn = ++this.turn;
    const { length: count } = imageIds(series);
    this.held.push(series);
    this.root.setAttribute("aria-busy", "true");
    this.notify(`Loading ${this.name}: 0 of ${count} slices`);
    const parts = await this.insist(turn, async () => (await pixelsOf(series, slice), library()));
    const left: Begun = { whole: Promise.resolve() };
    if (!parts || turn !== this.turn) return left;
    const ids = imageIds(series);
    this.series = undefined;
    this.viewport ??= this.open(parts);
    await this.viewport.setStack(ids, slice);
    if (turn !== this.turn) return left;
    // Zoom is relative to the pane as it is now, not as it was laid out when drawing began.
    this.camera ??= cameraOf(parts, this.viewport);
    this.camera.resize();
    this.camera.fit();
    this.isWhole = true;
    for (const one of this.held) if (one.handle !== series.handle) forget(one);
    this.held = [series];
    this.series = series;
    this.entitle(series.kind);
    this.wanted = slice;
    this.window = series.window;
    this.picture.style.visibility = "";
    this.root.dataset.series = series.handle;
    this.changed();
    const whole = this.fetchAll(turn, parts, series, slice);
    whole.catch(() => undefined); // the pane reports it, and so does whoever awaits it
    return { whole };
  }

  private async fetchAll(turn: number, { core }: Library, series: SeriesImage, first: number): Promise<void> {
    const ids = imageIds(series);
    const count = ids.length;
    let done = 1;
    let waiting = outwards(first, count).slice(1);
    const fetchOne = async (one: number): Promise<void> => {
      await pixelsOf(series, one);
      if (turn !== this.turn) return;
      await core.imageLoader.loadAndCacheImage(ids[one]!);
      waiting = waiting.filter((other) => other !== one);
      done += 1;
      if (turn === this.turn) this.notify(done < count ? `Loading ${this.name}: ${done} of ${count} slices` : "");
    };
    await this.insist(turn, async () => {
      const broken = (await Promise.allSettled(waiting.map(fetchOne))).find((one) => one.status === "rejected");
      if (broken) throw broken.reason;
    });
    if (turn !== this.turn) return;
    this.notify("");
    this.root.removeAttribute("aria-busy");
    this.painted();
  }

  get slice(): number {
    return this.viewport?.getCurrentImageIdIndex() ?? 0;
  }

  /** The slice that is shown, or will be as soon as it is loaded. */
  get coming(): number {
    return this.wanted;
  }

  /** Go to a slice; beyond the ends, stay at the end. */
  async go(slice: number): Promise<void> {
    if (!this.series || !this.viewport) return;
    const wanted = Math.max(0, Math.min(this.series.positions_mm.length - 1, slice));
    this.wanted = wanted;
    if (wanted === this.slice) return;
    const { turn } = this;
    try {
      // Cornerstone is asked for a slice only once its pixels are here, because the pane itself reports failures and retries.
      await pixelsOf(this.series, wanted);
    } catch {
      if (this.wanted === wanted) this.wanted = this.slice;
      return;
    }
    if (this.wanted !== wanted || turn !== this.turn) return;
    const { look, sizes } = this;
    await this.viewport.setImageIdIndex(wanted);
    if (turn !== this.turn) return;
    if (sizes === this.sizes) this.keep(look);
    this.changed();
  }

  get window(): GreyWindow {
    const range = this.viewport?.getProperties().voiRange;
    return range ? { low: range.lower, high: range.upper } : { low: 0, high: 1 };
  }

  set window(window: GreyWindow) {
    this.viewport?.setProperties({ voiRange: { lower: window.low, upper: window.high } });
    this.viewport?.render();
  }

  get look(): Look {
    return { window: this.window, zoom: this.camera?.zoom ?? 1, pan: this.camera?.pan ?? [0, 0] };
  }

  /** Change how the series is shown. */
  lookAt(look: Look): void {
    this.keep(look);
    this.isWhole = Math.abs(look.zoom - 1) < 1e-3 && Math.hypot(...look.pan) < 1.5;
    this.viewport?.render();
    this.changed();
  }

  get view(): View {
    return { slice: this.slice, ...this.look };
  }

  /** Restore slice, window, zoom and pan. */
  async restore(view: View): Promise<void> {
    await this.go(view.slice);
    this.lookAt(view);
  }

  /** Show the whole image with its default window. */
  reset(): void {
    if (!this.series || !this.camera) return;
    this.camera.fit();
    this.isWhole = true;
    this.window = this.series.window;
    this.changed();
  }

  magnify(factor: number): void {
    const { look } = this;
    this.lookAt({ ...look, zoom: Math.min(ZOOMS.most, Math.max(ZOOMS.least, look.zoom * factor)) });
  }

  /** Position on the pane of a place in the patient, in CSS pixels from the upper left corner. */
  toScreen(place: Point): [number, number] {
    return this.camera!.toScreen(place);
  }

  /** Place in the patient of a point of the pane, on the slice that is shown. */
  toPatient(x: number, y: number): Point {
    return this.camera!.toPatient(x, y);
  }

  get isReady(): boolean {
    return this.series !== undefined;
  }

  /** Register what draws on the pane whenever it changes. */
  paint(painter: Painter): void {
    this.painters.push(painter);
    this.painted();
  }

  /** Call back after every change of the view. */
  watch(watcher: () => void): void {
    this.watchers.push(watcher);
  }

  /** Show a note on the pane; an empty one removes it. */
  notify(text: string): void {
    this.note.textContent = text;
  }

  /** Show beside the pane's name how it is linked. */
  label(text: string): void {
    this.title.textContent = text ? `${this.kind} · ${text}` : this.kind;
  }

  private entitle(kind: string): void {
    this.kind = kind.startsWith(this.name) ? kind : `${kind}, used as ${this.name}`;
    this.root.setAttribute("aria-label", `${this.kind} image`);
    this.label("");
  }

  /** Draw again, because a painter's data have changed. */
  painted(): void {
    this.overlay.replaceChildren();
    if (!this.series || !this.viewport) return;
    this.describe(this.series);
    for (const painter of this.painters) painter(this.overlay, this);
  }

  private keep({ window, zoom, pan }: Look): void {
    const now = this.window;
    if (now.low !== window.low || now.high !== window.high) this.window = window;
    this.camera?.move(zoom, pan);
  }

  private changed(): void {
    this.painted();
    for (const watcher of this.watchers) watcher();
  }

  /** Retry what may fail until it succeeds, or until another series is requested. */
  private async insist<Result>(turn: number, work: () => Promise<Result>): Promise<Result | undefined> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (turn !== this.turn) return undefined;
        const isLasting = !(error instanceof Refusal) || error.status === 401 || error.status === 403;
        const reason = error instanceof Refusal ? error.message : `${this.name} cannot be shown.`;
        if (isLasting) {
          this.notify(reason);
          throw error;
        }
        await new Promise<void>((again) => {
          const button = element("button", { click: () => again() }, `Retry ${this.name}`);
          this.note.replaceChildren(`${this.name} is not complete. ${reason} `, button);
        });
        this.notify(`Loading ${this.name} again`);
      }
    }
  }

  private describe(series: SeriesImage): void {
    const { low, high } = this.window;
    const height = distanceFrom(series, this.slice, [0, 0, 0]) * -1;
    this.caption.textContent =
      `slice ${this.slice + 1} of ${series.positions_mm.length} · ${height.toFixed(1)} mm · ` +
      `window ${Math.round(high - low)} at ${Math.round((high + low) / 2)}`;
    this.root.dataset.slice = String(this.slice);
    this.root.dataset.height = height.toFixed(3);
    this.root.dataset.low = low.toFixed(2);
    this.root.dataset.high = high.toFixed(2);
    this.root.dataset.zoom = (this.camera?.zoom ?? 1).toFixed(3);
  }

  private open({ core, engine }: Library): Viewport {
    engine.enableElement({ viewportId: this.id, type: core.Enums.ViewportType.STACK, element: this.picture });
    this.picture.addEventListener(core.Enums.Events.IMAGE_RENDERED, () => this.painted());
    this.picture.addEventListener("contextmenu", (event) => event.preventDefault());
    new ResizeObserver(() => {
      this.sizes += 1;
      this.camera?.resize();
      // A whole image still fits the pane; a zoomed or moved one keeps its size.
      if (this.isWhole && this.series) this.camera?.fit();
      this.viewport?.render();
      this.painted();
    }).observe(this.picture);
    return engine.getViewport(this.id) as Viewport;
  }
}

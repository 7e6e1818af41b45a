/** One series on the screen: its slices, window, zoom, and the drawings that lie on it. */

import { drawing, element } from "../dom";
import { Refusal } from "../api";
import { core, forget, imageIds, renderingEngine, tools } from "./engine";
import { type Point, type Series, distanceFrom } from "./geometry";

export interface Window {
  low: number;
  high: number;
}

export interface View {
  slice: number;
  window: Window;
  zoom: number;
  pan: [number, number];
}

/** What draws on a pane: called after each change of slice, zoom, pan or size. */
export type Painter = (canvas: SVGSVGElement, pane: Pane) => void;

let number = 0;

export class Pane {
  readonly root: HTMLElement;
  readonly picture: HTMLDivElement;
  readonly overlay: SVGSVGElement;
  series: Series | undefined;
  private readonly id = `pane-${number++}`;
  private readonly caption = element("div", { class: "caption" });
  private readonly note = element("div", { class: "note", role: "status" });
  private readonly title: HTMLElement;
  private viewport: core.Types.IStackViewport | undefined;
  private readonly painters: Painter[] = [];
  private readonly watchers: (() => void)[] = [];

  constructor(readonly name: string) {
    this.picture = element("div", { class: "picture", "data-pane": name });
    this.overlay = drawing("svg", { class: "overlay", "aria-hidden": "true" });
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
    this.say("Waiting for images");
  }

  /** Show a series; every slice is fetched at once, so that scrolling never waits. */
  async show(series: Series, slice: number): Promise<void> {
    const engine = await renderingEngine();
    if (this.series && this.series.handle !== series.handle) forget(this.series);
    this.series = undefined;
    const ids = imageIds(series);
    if (!this.viewport) {
      engine.enableElement({ viewportId: this.id, type: core.Enums.ViewportType.STACK, element: this.picture });
      this.viewport = engine.getViewport(this.id) as core.Types.IStackViewport;
      this.picture.addEventListener(core.Enums.Events.IMAGE_RENDERED, () => this.painted());
      this.picture.addEventListener("contextmenu", (event) => event.preventDefault());
      new ResizeObserver(() => {
        engine.resize(true, true);
        this.painted();
      }).observe(this.picture);
      this.bindMouse(engine.id);
    }
    this.say(`Loading ${this.name}: 0 of ${ids.length} slices`);
    let done = 0;
    const first = ids[slice]!;
    try {
      await core.imageLoader.loadAndCacheImage(first);
      await this.viewport.setStack(ids, slice);
      this.series = series;
      this.window = series.window;
      const waiting = ids.map(async (id) => {
        await core.imageLoader.loadAndCacheImage(id);
        done += 1;
        this.say(done < ids.length ? `Loading ${this.name}: ${done} of ${ids.length} slices` : "");
      });
      await Promise.all(waiting);
    } catch (error) {
      this.say(error instanceof Refusal ? error.message : `${this.name} cannot be shown. Reload the page to try again.`);
      throw error;
    }
    this.painted();
  }

  get slice(): number {
    return this.viewport?.getCurrentImageIdIndex() ?? 0;
  }

  /** Go to a slice; beyond the ends it stays at the end. */
  async go(slice: number): Promise<void> {
    if (!this.series || !this.viewport) return;
    const wanted = Math.max(0, Math.min(this.series.positions_mm.length - 1, slice));
    if (wanted === this.slice) return;
    const { window, zoom, pan } = this.view;
    await this.viewport.setImageIdIndex(wanted);
    this.window = window;
    this.viewport.setZoom(zoom);
    this.viewport.setPan(pan);
    this.viewport.render();
    this.changed();
  }

  get window(): Window {
    const range = this.viewport?.getProperties().voiRange;
    return range ? { low: range.lower, high: range.upper } : { low: 0, high: 1 };
  }

  set window(window: Window) {
    this.viewport?.setProperties({ voiRange: { lower: window.low, upper: window.high } });
    this.viewport?.render();
  }

  get view(): View {
    const pan = this.viewport?.getPan() ?? [0, 0];
    return { slice: this.slice, window: this.window, zoom: this.viewport?.getZoom() ?? 1, pan: [pan[0], pan[1]] };
  }

  /** Bring back slice, window, zoom and place as they were. */
  async restore(view: View): Promise<void> {
    await this.go(view.slice);
    this.window = view.window;
    this.viewport?.setZoom(view.zoom);
    this.viewport?.setPan(view.pan);
    this.viewport?.render();
    this.changed();
  }

  /** Whole image, window as it came. */
  reset(): void {
    if (!this.series || !this.viewport) return;
    this.viewport.resetCamera();
    this.window = this.series.window;
    this.changed();
  }

  magnify(factor: number): void {
    if (!this.viewport) return;
    this.viewport.setZoom(Math.min(20, Math.max(0.2, this.viewport.getZoom() * factor)));
    this.viewport.render();
    this.changed();
  }

  /** Where a place in the patient is on the pane, in CSS pixels from its left upper corner. */
  toScreen(place: Point): [number, number] {
    const [x, y] = this.viewport!.worldToCanvas(place);
    return [x, y];
  }

  /** Where in the patient a point of the pane lies, on the slice that is shown. */
  toPatient(x: number, y: number): Point {
    const [left, posterior, superior] = this.viewport!.canvasToWorld([x, y]);
    return [left, posterior, superior];
  }

  get isReady(): boolean {
    return this.series !== undefined;
  }

  /** Draw on the pane whenever it changes. */
  paint(painter: Painter): void {
    this.painters.push(painter);
    this.painted();
  }

  /** Tell of every change of the view. */
  watch(watcher: () => void): void {
    this.watchers.push(watcher);
  }

  /** Words on the pane, for what a reader must know of it; empty takes them away. */
  say(words: string): void {
    this.note.textContent = words;
  }

  /** Draw again: a painter's data have changed. */
  painted(): void {
    this.overlay.replaceChildren();
    if (!this.series || !this.viewport) return;
    this.describe(this.series);
    for (const painter of this.painters) painter(this.overlay, this);
  }

  private changed(): void {
    this.painted();
    for (const watcher of this.watchers) watcher();
  }

  private describe(series: Series): void {
    const { low, high } = this.window;
    const height = distanceFrom(series, this.slice, [0, 0, 0]) * -1;
    this.caption.textContent =
      `slice ${this.slice + 1} of ${series.positions_mm.length} · ${height.toFixed(1)} mm · ` +
      `window ${Math.round(high - low)} at ${Math.round((high + low) / 2)}`;
    this.root.dataset.slice = String(this.slice);
    this.root.dataset.height = height.toFixed(3);
    this.root.dataset.low = low.toFixed(2);
    this.root.dataset.high = high.toFixed(2);
    this.root.dataset.zoom = this.view.zoom.toFixed(3);
  }

  private bindMouse(engine: string): void {
    const group = tools.ToolGroupManager.createToolGroup(this.id)!;
    const { Primary, Auxiliary, Secondary } = tools.Enums.MouseBindings;
    for (const [tool, button] of [
      [tools.WindowLevelTool, Primary],
      [tools.PanTool, Auxiliary],
      [tools.ZoomTool, Secondary],
    ] as const) {
      group.addTool(tool.toolName);
      group.setToolActive(tool.toolName, { bindings: [{ mouseButton: button }] });
    }
    group.addViewport(this.id, engine);
    // A drag that began here may end anywhere.
    this.picture.addEventListener("mousedown", () => {
      window.addEventListener("mouseup", () => this.changed(), { once: true });
    });
  }
}

/** The square box on T2W, its place on T1W, and how mouse and keys draw, move and resize it. */

import type { BoxShape, LesionExtent } from "../contracts";
import { drawing } from "../dom";
import type { History } from "../history";
import type { Keys } from "../keys";
import { type Point, along, between, cornersOf, dot } from "./geometry";
import type { Pair } from "./pair";
import type { Pane } from "./pane";

/** Shortest and longest side of a box, mm; the server's limits are the same. */
export const SIDES_MM = { smallest: 8, largest: 120 };

type Drag =
  | { kind: "draw"; from: Point; before: LesionExtent | undefined }
  | { kind: "move"; from: Point; before: LesionExtent }
  | { kind: "size"; anchor: Point; before: LesionExtent };

function same(one: LesionExtent | undefined, other: LesionExtent | undefined): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

function moved(lesion: LesionExtent, by: Point): LesionExtent {
  const [x, y, z] = lesion.box.centre_mm;
  return { ...lesion, box: { ...lesion.box, centre_mm: [x + by[0], y + by[1], z + by[2]] } };
}

/** A box that is offered on the image: a click takes it. */
export interface Offer {
  lesion: LesionExtent;
  take: () => void;
}

export class BoxTool {
  /** A box by someone else, shown beside the user's own. */
  other: LesionExtent | undefined;
  /** Boxes to choose from. */
  offers: readonly Offer[] = [];
  private marked: LesionExtent | undefined;
  private drag: Drag | undefined;
  private isArmed = false;
  private readonly watchers: ((lesion: LesionExtent | undefined) => void)[] = [];

  constructor(
    private readonly pair: Pair,
    private readonly history: History,
    private readonly isLocked: () => boolean = () => false,
  ) {
    for (const pane of pair.panes) pane.paint((canvas) => this.paint(canvas, pane));
    pair.onCancel(() => this.cancel());
    const { root } = pair.t2w;
    // In the capturing phase: a drag of a handle must not change the window as well.
    root.addEventListener("mousedown", (event) => this.press(event), true);
    window.addEventListener("mousemove", (event) => this.pull(event));
    window.addEventListener("mouseup", (event) => {
      if (event.button === 0) this.release();
    });
  }

  get lesion(): LesionExtent | undefined {
    return this.marked;
  }

  /** Put a lesion without a step to undo, as when a case is opened. */
  put(lesion: LesionExtent | undefined): void {
    this.marked = lesion;
    this.pair.repaint();
  }

  /** Call back after every change that should be saved; not while a drag is going on. */
  watch(watcher: (lesion: LesionExtent | undefined) => void): void {
    this.watchers.push(watcher);
  }

  /** Change the lesion, as a step that can be undone. */
  async change(label: string, after: LesionExtent | undefined): Promise<void> {
    const before = this.marked;
    if (this.isLocked() || same(before, after)) return;
    const to = (lesion: LesionExtent | undefined) => () => this.set(lesion);
    await this.history.take({ label, redo: to(after), undo: to(before) });
  }

  /** Let the next press on T2W draw a new box. */
  arm(isArmed = true): void {
    this.isArmed = isArmed && !this.isLocked() && this.pair.t2w.isReady;
    this.pair.t2w.root.classList.toggle("armed", this.isArmed);
  }

  bindKeys(keys: Keys): void {
    const nudge = (id: string, label: string, key: string, u: number, v: number) => ({
      id: `box.${id}`,
      label,
      keys: [key],
      mode: "images",
      run: () => this.nudge(u, v),
    });
    keys.add(
      { id: "box.draw", label: "Draw the box (drag on T2W); press again to put one in the middle", keys: ["B"], mode: "images", run: () => this.drawOrPut() },
      nudge("left", "Move the box one pixel to the left", "Alt+ArrowLeft", -1, 0),
      nudge("right", "Move the box one pixel to the right", "Alt+ArrowRight", 1, 0),
      nudge("up", "Move the box up by one pixel", "Alt+ArrowUp", 0, -1),
      nudge("down", "Move the box down by one pixel", "Alt+ArrowDown", 0, 1),
      { id: "box.larger", label: "Larger box", keys: ["Alt+Shift+ArrowUp"], mode: "images", run: () => this.resize(1) },
      { id: "box.smaller", label: "Smaller box", keys: ["Alt+Shift+ArrowDown"], mode: "images", run: () => this.resize(-1) },
      { id: "box.first", label: "First slice of the lesion", keys: ["["], mode: "images", run: () => this.bound("first_slice") },
      { id: "box.last", label: "Last slice of the lesion", keys: ["]"], mode: "images", run: () => this.bound("last_slice") },
      { id: "box.delete", label: "Delete the box", keys: ["Delete", "Backspace"], mode: "images", run: () => this.change("box deleted", undefined) },
    );
  }

  private async drawOrPut(): Promise<void> {
    if (!this.isArmed) return this.arm();
    this.arm(false);
    if (!this.pair.t2w.isReady || this.isLocked()) return;
    const { picture } = this.pair.t2w;
    const centre = this.pair.t2w.toPatient(picture.clientWidth / 2, picture.clientHeight / 2);
    await this.change("box drawn", this.around({ centre_mm: centre, side_mm: 40 }));
  }

  /** A lesion around a new box; its slices stay as they are, or begin with the one shown. */
  private around(box: BoxShape): LesionExtent {
    const { slice } = this.pair.t2w;
    const { first_slice, last_slice } = this.marked ?? { first_slice: slice, last_slice: slice };
    return { box, first_slice, last_slice };
  }

  private async nudge(u: number, v: number): Promise<void> {
    const { series } = this.pair.t2w;
    if (!series || !this.marked) return;
    const across = along([0, 0, 0], series.row_cosines, u * series.column_spacing_mm);
    await this.change("box moved", moved(this.marked, along(across, series.column_cosines, v * series.row_spacing_mm)));
  }

  private async resize(pixels: number): Promise<void> {
    const { series } = this.pair.t2w;
    if (!series || !this.marked) return;
    const side_mm = this.limited(this.marked.box.side_mm + 2 * pixels * series.row_spacing_mm);
    await this.change("box resized", { ...this.marked, box: { ...this.marked.box, side_mm } });
  }

  /** Make the slice that is shown the first or the last of the lesion. */
  async bound(which: "first_slice" | "last_slice"): Promise<void> {
    if (!this.marked) return;
    const { slice } = this.pair.t2w;
    const after = { ...this.marked, [which]: slice };
    // The first slice never lies behind the last: setting one may move the other.
    if (after.first_slice > after.last_slice) after[which === "first_slice" ? "last_slice" : "first_slice"] = slice;
    await this.change(which === "first_slice" ? "first slice set" : "last slice set", after);
  }

  private limited(side: number): number {
    return Math.max(SIDES_MM.smallest, Math.min(SIDES_MM.largest, side));
  }

  /** Change the lesion and call back, without recording a step to undo. */
  set(lesion: LesionExtent | undefined): void {
    this.put(lesion);
    for (const watcher of this.watchers) watcher(lesion);
  }

  private place(event: MouseEvent): Point {
    const edge = this.pair.t2w.picture.getBoundingClientRect();
    return this.pair.t2w.toPatient(event.clientX - edge.left, event.clientY - edge.top);
  }

  private press(event: MouseEvent): void {
    const { t2w } = this.pair;
    const target = event.target as Element;
    // Other buttons, and Shift and Ctrl, always pan and zoom.
    if (event.button !== 0 || event.shiftKey || event.ctrlKey || event.metaKey || target.closest("button")) return;
    if (!t2w.series || this.isLocked()) return;
    const from = this.place(event);
    if (this.isArmed) this.drag = { kind: "draw", from, before: this.marked };
    else if (this.marked && target.classList.contains("handle")) {
      const corners = cornersOf(t2w.series, this.marked.box, t2w.slice);
      const opposite = (Number(target.getAttribute("data-corner")) + 2) % 4;
      this.drag = { kind: "size", anchor: corners[opposite]!, before: this.marked };
    } else if (this.marked && target.classList.contains("grip")) this.drag = { kind: "move", from, before: this.marked };
    else if (target.classList.contains("offered")) this.offers[Number(target.getAttribute("data-offer"))]!.take();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private pull(event: MouseEvent): void {
    const { drag } = this;
    if (!drag) return;
    const place = this.place(event);
    if (drag.kind === "move") this.put(moved(drag.before, between(drag.from, place)));
    else this.put(this.stretched(drag.kind === "size" ? drag.anchor : drag.from, place, drag.before));
  }

  /** The square from a fixed corner towards the mouse. */
  private stretched(anchor: Point, place: Point, before: LesionExtent | undefined): LesionExtent {
    const { row_cosines, column_cosines } = this.pair.t2w.series!;
    const [u, v] = [dot(row_cosines, between(anchor, place)), dot(column_cosines, between(anchor, place))];
    const side = this.limited(Math.max(Math.abs(u), Math.abs(v)));
    const across = along(anchor, row_cosines, (Math.sign(u) || 1) * (side / 2));
    const box = { centre_mm: along(across, column_cosines, (Math.sign(v) || 1) * (side / 2)), side_mm: side };
    return before ? { ...before, box } : this.around(box);
  }

  private release(): void {
    const { drag, marked } = this;
    if (!drag) return;
    this.drag = undefined;
    this.arm(false);
    if (same(drag.before, marked)) return;
    const label = drag.kind === "move" ? "box moved" : drag.kind === "size" ? "box resized" : "box drawn";
    this.history.remember({ label, redo: () => this.set(marked), undo: () => this.set(drag.before) });
    for (const watcher of this.watchers) watcher(marked);
  }

  /** Stop drawing, and put a box that is being dragged back where it was. */
  private cancel(): void {
    const { drag } = this;
    this.drag = undefined;
    this.arm(false);
    if (drag) this.put(drag.before);
  }

  private paint(canvas: SVGSVGElement, pane: Pane): void {
    if (!this.pair.t2w.series) return;
    // Below the user's own box, whose handles stay within reach.
    if (pane === this.pair.t2w) this.offers.forEach(({ lesion }, place) => {
      this.outline(canvas, pane, lesion, "box offered");
      canvas.lastElementChild!.setAttribute("data-offer", String(place));
    });
    if (this.other) this.outline(canvas, pane, this.other, "box other");
    if (!this.marked) return;
    const { t2w } = this.pair;
    const corners = this.outline(canvas, pane, this.marked, "box");
    if (pane !== t2w || this.isLocked()) return;
    const [first] = corners;
    const size = Math.abs(corners[2]![0] - first![0]);
    canvas.append(drawing("rect", { class: "grip", x: Math.min(first![0], corners[2]![0]), y: Math.min(first![1], corners[2]![1]), width: size, height: size }));
    corners.forEach(([x, y], corner) =>
      canvas.append(drawing("circle", { class: "handle", cx: x, cy: y, r: 6, "data-corner": corner })),
    );
  }

  private outline(canvas: SVGSVGElement, pane: Pane, lesion: LesionExtent, kind: string): [number, number][] {
    const { t2w } = this.pair;
    const slice = t2w.slice;
    const isIn = slice >= lesion.first_slice && slice <= lesion.last_slice;
    const places = cornersOf(t2w.series!, lesion.box, slice).map((corner) => (pane === t2w ? corner : this.pair.toT1w(corner)));
    const corners = places.map((place) => pane.toScreen(place));
    const points = corners.map((corner) => corner.join(",")).join(" ");
    canvas.append(
      drawing("polygon", { class: `${kind}${isIn ? "" : " elsewhere"}`, points, "data-in": String(isIn), "data-testid": `box-${pane.name}` }),
    );
    return corners;
  }
}

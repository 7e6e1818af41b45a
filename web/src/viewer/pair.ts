/** T2W and T1W side by side, scrolled together by the position of their slices in the patient. */

import type { ImagePair, SeriesImage } from "../contracts";
import { drawing, element } from "../dom";
import { library } from "./engine";
import {
  IDENTITY,
  type Matrix,
  type Point,
  apply,
  between,
  centreOf,
  dot,
  inverse,
  nearestSlice,
  normalOf,
  planesAgree,
  sliceStep,
} from "./geometry";
import { type Side, hang, leftOf, protocolOf } from "./hanging";
import { crossing, paintMarks } from "./marks";
import { type Begun, Pane, type View } from "./pane";

/** How T1W is mapped onto T2W, and how the page describes it. */
export interface Overlay {
  /** T2W millimetres to T1W millimetres. */
  matrix: Matrix;
  label: string;
}

/** How the two panes scroll together; undo restores all of it. */
export interface Linking {
  isLinked: boolean;
  /** Shift of T1W that the user chose where no frame of reference is shared, mm. */
  handShift: Point | undefined;
}

export const RAW: Overlay = { matrix: IDENTITY, label: "T1W placed by its header" };

/** The geometry of a series as one string, which is the same whenever the same study is requested. */
function placesOf({ positions_mm, row_cosines, column_cosines, row_spacing_mm, column_spacing_mm, rows, columns }: SeriesImage): string {
  return JSON.stringify([positions_mm, row_cosines, column_cosines, row_spacing_mm, column_spacing_mm, rows, columns]);
}

/** A series moved by a mapping. */
function placed(series: SeriesImage, through: (place: Point) => Point): SeriesImage {
  const origin = through([0, 0, 0]);
  const turned = (direction: Point): Point => between(origin, through(direction));
  return {
    ...series,
    positions_mm: series.positions_mm.map(through),
    row_cosines: turned(series.row_cosines),
    column_cosines: turned(series.column_cosines),
  };
}

export class Pair {
  readonly t2w = new Pane("T2W");
  readonly t1w = new Pane("T1W");
  readonly root: HTMLElement;
  /** The row below the images: the state of both, and buttons. */
  readonly foot: HTMLElement;
  private readonly state = element("span", { role: "status", "data-testid": "sync" });
  private overlay: Overlay = RAW;
  private linkage: Linking = { isLinked: true, handShift: undefined };
  private cursor: { pane: Pane; place: Point } | undefined;
  private sharesFrame = true;
  private active: Pane = this.t2w;
  private readonly cancellers: (() => void)[] = [];
  /** The kind of study that is shown, for which the sides are remembered. */
  private protocol = "";
  private left: Side = "T2W";
  /** The pane that the user scrolled, and the one that is following it and must not lead in turn. */
  private leader: Pane = this.t2w;
  private follower: Pane | undefined;

  constructor() {
    // Load the renderer before the first slice is needed; a pane reports it when that fails.
    library().catch(() => undefined);
    this.foot = element("div", { class: "sync" }, this.state);
    this.root = element("div", { class: "pair" }, this.t2w.root, this.t1w.root, this.foot);
    for (const pane of this.panes) {
      pane.root.addEventListener("pointerdown", () => this.activate(pane));
      pane.root.addEventListener("focus", () => this.activate(pane));
      pane.root.addEventListener("pointermove", (event) => this.point(pane, event));
      pane.root.addEventListener("pointerleave", () => this.point(pane, undefined));
      pane.paint(paintMarks);
      pane.paint((canvas) => this.paintCrossing(canvas, pane));
      pane.paint((canvas) => this.paintCursor(canvas, pane));
      pane.watch(() => {
        if (this.follower !== pane) void this.follow(pane);
      });
    }
  }

  get panes(): [Pane, Pane] {
    return [this.t2w, this.t1w];
  }

  get isReady(): boolean {
    return this.panes.every((pane) => pane.isReady);
  }

  get linked(): boolean {
    return this.linkage.isLinked;
  }

  get linking(): Linking {
    return this.linkage;
  }

  get current(): Pane {
    return this.active;
  }

  /** Show a study at a T2W slice, by default its middle one; resolves when the first slice of each series is loaded.
   *
   * Whether the panes scroll together stays as it was. Series with the same geometry as before, as when a study is
   * requested again, keep slice, window, zoom and a manual link as well. The planes and the study's other images
   * decide which kind of study it is, and thus which series is on the left. */
  async show(pair: ImagePair, slice?: number, others: string[] = []): Promise<Begun> {
    const { t2w, t1w } = this;
    this.protocol = protocolOf(pair, others);
    this.placeLeft(leftOf(this.protocol));
    const views = t2w.series && t1w.series && placesOf(t2w.series) === placesOf(pair.t2w) && placesOf(t1w.series) === placesOf(pair.t1w) ? this.views : undefined;
    this.sharesFrame = pair.shared_frame;
    if (!views) {
      this.linkage = { ...this.linkage, handShift: undefined };
      this.overlay = RAW;
    }
    const first = slice ?? views?.t2w.slice ?? Math.floor((pair.t2w.positions_mm.length - 1) / 2);
    const start = nearestSlice(pair.t1w, centreOf(pair.t2w, first)).slice;
    const begun = await Promise.all([t2w.show(pair.t2w, first), t1w.show(pair.t1w, start)]);
    if (views) await this.restore({ t2w: { ...views.t2w, slice: first }, t1w: views.t1w });
    await this.follow(t2w);
    this.repaint();
    const whole = Promise.all(begun.map((one) => one.whole)).then(() => undefined);
    whole.catch(() => undefined); // the panes report it
    return { whole };
  }

  /** Show T2W where it is all that a study has. */
  async showAlone(series: SeriesImage): Promise<void> {
    this.t1w.clear();
    this.overlay = RAW;
    const { whole } = await this.t2w.show(series, Math.floor((series.positions_mm.length - 1) / 2));
    this.repaint();
    await whole;
  }

  /** Say on each pane without a series why it is empty. */
  explain(reason: (name: string) => string): void {
    for (const pane of this.panes) if (!pane.isReady) pane.notify(reason(pane.name));
  }

  /** Show nothing, and start the next study afresh: linked, both series side by side. */
  clear(): void {
    this.cancel();
    this.cursor = undefined;
    this.overlay = RAW;
    this.linkage = { isLinked: true, handShift: undefined };
    for (const pane of this.panes) {
      pane.clear();
      pane.label("");
      pane.root.classList.remove("alone", "away");
    }
    this.state.textContent = "";
    this.activate(this.t2w);
  }

  /** Map T1W by an alignment, or by its header. */
  async through(overlay: Overlay): Promise<void> {
    this.overlay = overlay;
    await this.follow(this.t2w);
    this.repaint();
  }

  get mapping(): Overlay {
    return this.overlay;
  }

  /** The T1W place that belongs to a T2W place. */
  toT1w(place: Point): Point {
    const shift = this.linkage.handShift ?? [0, 0, 0];
    const moved = apply(this.overlay.matrix, place);
    return [moved[0] + shift[0], moved[1] + shift[1], moved[2] + shift[2]];
  }

  /** The T2W place that belongs to a T1W place. */
  toT2w(place: Point): Point {
    const shift = this.linkage.handShift ?? [0, 0, 0];
    return apply(inverse(this.overlay.matrix), between(shift as Point, place));
  }

  /** Scroll the active pane by some slices. */
  async scroll(steps: number): Promise<void> {
    await this.active.go(this.active.coming + steps);
  }

  async toEnd(which: "first" | "last"): Promise<void> {
    await this.active.go(which === "first" ? 0 : (this.active.series?.positions_mm.length ?? 1) - 1);
  }

  /** Call back when the user cancels a drag or drawing. */
  onCancel(canceller: () => void): void {
    this.cancellers.push(canceller);
  }

  cancel(): void {
    for (const canceller of this.cancellers) canceller();
  }

  activate(pane: Pane): void {
    this.active = pane;
    for (const one of this.panes) one.root.classList.toggle("active", one === pane);
  }

  other(): void {
    const next = this.active === this.t2w ? this.t1w : this.t2w;
    next.root.focus();
    this.activate(next);
  }

  /** The series on the left (0) or on the right (1). */
  side(place: 0 | 1): void {
    const pane = (place === 0) === (this.left === "T2W") ? this.t2w : this.t1w;
    pane.root.focus();
    this.activate(pane);
  }

  /** Move the focus from the images to the panel beside them, and back. */
  leave(): void {
    const beside = this.root.parentElement?.querySelector<HTMLElement>("aside");
    if (!beside || !this.root.contains(document.activeElement)) return this.active.root.focus();
    beside.tabIndex = -1;
    beside.focus();
  }

  reset(): void {
    for (const pane of this.panes) pane.reset();
  }

  /** Let the panes scroll together, or separately. */
  async link(isLinked: boolean): Promise<void> {
    await this.setLinking({ ...this.linkage, isLinked });
  }

  /** Treat what the two panes show now as the same place, for series that share no frame of reference. */
  async linkHere(): Promise<void> {
    const { t2w, t1w } = this;
    if (!t2w.series || !t1w.series) return;
    const wanted = apply(this.overlay.matrix, centreOf(t2w.series, t2w.slice));
    const normal = normalOf(t1w.series);
    const mm = dot(normal, between(wanted, centreOf(t1w.series, t1w.slice)));
    await this.setLinking({ isLinked: true, handShift: [normal[0] * mm, normal[1] * mm, normal[2] * mm] });
  }

  async setLinking(linking: Linking): Promise<void> {
    this.linkage = linking;
    await this.follow(this.t2w);
    this.repaint();
  }

  /** One series alone, or both again. */
  maximise(pane: Pane): void {
    const isAlone = pane.root.classList.contains("alone");
    for (const one of this.panes) {
      one.root.classList.toggle("alone", one === pane && !isAlone);
      one.root.classList.toggle("away", one !== pane && !isAlone);
    }
    this.activate(pane);
  }

  /** The series on the left. */
  get leftSide(): Side {
    return this.left;
  }

  /** Put a series on the left, now and in every study of this kind. */
  hang(left: Side): void {
    hang(this.protocol, left);
    this.placeLeft(left);
  }

  private placeLeft(left: Side): void {
    this.left = left;
    this.root.classList.toggle("swapped", left === "T1W");
  }

  get views(): { t2w: View; t1w: View } {
    return { t2w: this.t2w.view, t1w: this.t1w.view };
  }

  async restore(views: { t2w: View; t1w: View }): Promise<void> {
    await this.t2w.restore(views.t2w);
    await this.t1w.restore(views.t1w);
  }

  repaint(): void {
    for (const pane of this.panes) pane.painted();
    this.describe();
  }

  /** Scroll the other pane to the slice nearest to the one that moved, and again if that one moves in the meantime. */
  private async follow(moved: Pane): Promise<void> {
    this.leader = moved;
    if (this.follower) return;
    let led: [Pane, number] | undefined;
    while (!led || led[0] !== this.leader || led[1] !== this.leader.slice) {
      led = [this.leader, this.leader.slice];
      await this.bringAlong(this.leader);
    }
    this.describe();
  }

  private async bringAlong(leader: Pane): Promise<void> {
    const { t2w, t1w } = this;
    if (!t2w.series || !t1w.series || !this.linked || !planesAgree(t2w.series, t1w.series)) return;
    const place = centreOf(leader.series!, leader.slice);
    const other = leader === t2w ? t1w : t2w;
    this.follower = other;
    try {
      await other.go(nearestSlice(other.series!, leader === t2w ? this.toT1w(place) : this.toT2w(place)).slice);
    } finally {
      this.follower = undefined;
    }
  }

  private describe(): void {
    const { t2w, t1w } = this;
    if (!t2w.series || !t1w.series) return;
    const parts: string[] = [];
    let gap = 0;
    if (!planesAgree(t2w.series, t1w.series)) parts.push("Not linked: the series were acquired in different planes");
    else if (!this.linkage.isLinked) parts.push("Not linked: the series scroll separately (L)");
    else {
      const centre = this.toT1w(centreOf(t2w.series, t2w.slice));
      const nearest = nearestSlice(t1w.series, centre);
      gap = nearest.gap_mm;
      parts.push(this.linkage.handShift ? "Linked, aligned manually" : "Linked by position");
      if (gap > sliceStep(t1w.series) / 2 + 1e-6) parts.push(`no T1W slice within ${gap.toFixed(1)} mm`);
    }
    if (!this.sharesFrame && !this.linkage.handShift) parts.push("no shared frame of reference: scroll both series to the same place, then press J");
    parts.push(this.overlay.label);
    this.state.textContent = parts.join(" · ");
    this.state.dataset.gap = gap.toFixed(3);
    this.state.dataset.linked = String(this.linkage.isLinked);
    const isTogether = this.linkage.isLinked && planesAgree(t2w.series, t1w.series);
    for (const pane of this.panes) pane.label(!isTogether ? "not linked" : this.linkage.handShift ? "linked manually" : "linked");
  }

  private point(pane: Pane, event: PointerEvent | undefined): void {
    if (event && pane.isReady) {
      const edge = pane.picture.getBoundingClientRect();
      this.cursor = { pane, place: pane.toPatient(event.clientX - edge.left, event.clientY - edge.top) };
    } else this.cursor = undefined;
    for (const one of this.panes) if (one !== pane) one.painted();
  }

  /** Where the planes cross, a dashed line with the name of the other series' slice. */
  private paintCrossing(canvas: SVGSVGElement, pane: Pane): void {
    const { t2w, t1w } = this;
    if (!t2w.series || !t1w.series || !(this.sharesFrame || this.linkage.handShift)) return;
    const isT1w = pane === t1w;
    const through = (place: Point): Point => (isT1w ? this.toT1w(place) : this.toT2w(place));
    const other = isT1w ? t2w : t1w;
    const line = crossing(pane.series!, pane.slice, placed(other.series!, through), other.slice);
    if (!line) return;
    const [[x1, y1], [x2, y2]] = [pane.toScreen(line[0]), pane.toScreen(line[1])];
    canvas.append(drawing("line", { class: "crossing", x1, y1, x2, y2, "data-testid": `crossing-${pane.name}` }));
    const { clientWidth: width, clientHeight: height } = pane.picture;
    // The name is where the line is sure to be on the pane.
    const share = Math.abs(x2 - x1) > Math.abs(y2 - y1) ? (width * 0.7 - x1) / (x2 - x1) : (height * 0.3 - y1) / (y2 - y1);
    canvas.append(drawing("text", { class: "mark", x: x1 + (x2 - x1) * share + 5, y: y1 + (y2 - y1) * share - 5 }, `${other.name} slice ${other.slice + 1}`));
  }

  /** The place under the mouse, shown in the other pane. */
  private paintCursor(canvas: SVGSVGElement, pane: Pane): void {
    if (!this.cursor || this.cursor.pane === pane) return;
    const place = pane === this.t1w ? this.toT1w(this.cursor.place) : this.toT2w(this.cursor.place);
    const [x, y] = pane.toScreen(place);
    canvas.append(
      drawing("path", { class: "cursor", d: `M${x - 9} ${y}h6M${x + 3} ${y}h6M${x} ${y - 9}v6M${x} ${y + 3}v6` }),
    );
  }
}

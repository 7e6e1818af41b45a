/** T2W and T1W side by side, scrolled together by where their slices lie in the patient. */

import { drawing, element } from "../dom";
import {
  IDENTITY,
  type Matrix,
  type Point,
  type SeriesPair,
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
import { Pane, type View } from "./pane";

/** How T1W is brought under T2W, and in which words that is said. */
export interface Overlay {
  /** T2W millimetres to T1W millimetres. */
  matrix: Matrix;
  label: string;
}

export const RAW: Overlay = { matrix: IDENTITY, label: "T1W as its header places it" };

export class Pair {
  readonly t2w = new Pane("T2W");
  readonly t1w = new Pane("T1W");
  readonly root: HTMLElement;
  private readonly state = element("div", { class: "sync", role: "status", "data-testid": "sync" });
  private overlay: Overlay = RAW;
  private isLinked = true;
  /** Steps that the T1W stack is shifted by hand where no frame of reference is shared, mm along the normal. */
  private handShift: Point | undefined;
  private cursor: { pane: Pane; place: Point } | undefined;
  private sharesFrame = true;
  private active: Pane = this.t2w;
  /** The pane that a person moved; the one that follows must not lead it back. */
  private leads = true;

  constructor() {
    this.root = element("div", { class: "pair" }, this.t2w.root, this.t1w.root, this.state);
    for (const pane of this.panes) {
      pane.root.addEventListener("wheel", (event) => this.wheel(pane, event), { passive: false });
      pane.root.addEventListener("pointerdown", () => this.activate(pane));
      pane.root.addEventListener("focus", () => this.activate(pane));
      pane.root.addEventListener("pointermove", (event) => this.point(pane, event));
      pane.root.addEventListener("pointerleave", () => this.point(pane, undefined));
      pane.paint((canvas) => this.paintCursor(canvas, pane));
      pane.watch(() => {
        if (this.leads) void this.follow(pane);
      });
    }
  }

  get panes(): [Pane, Pane] {
    return [this.t2w, this.t1w];
  }

  get linked(): boolean {
    return this.isLinked;
  }

  get current(): Pane {
    return this.active;
  }

  /** Show a study from a T2W slice on, by default its middle one. */
  async show(pair: SeriesPair, slice?: number): Promise<void> {
    this.sharesFrame = pair.shared_frame;
    this.handShift = undefined;
    this.overlay = RAW;
    const first = slice ?? Math.floor((pair.t2w.positions_mm.length - 1) / 2);
    const start = nearestSlice(pair.t1w, centreOf(pair.t2w, first)).slice;
    await Promise.all([this.t2w.show(pair.t2w, first), this.t1w.show(pair.t1w, start)]);
    await this.follow(this.t2w);
    this.describe();
  }

  /** Look at T1W through an alignment, or as its header says. */
  async through(overlay: Overlay): Promise<void> {
    this.overlay = overlay;
    await this.follow(this.t2w);
    this.repaint();
  }

  get mapping(): Overlay {
    return this.overlay;
  }

  /** Where a T2W place lies in the T1W image. */
  toT1w(place: Point): Point {
    const shift = this.handShift ?? [0, 0, 0];
    const moved = apply(this.overlay.matrix, place);
    return [moved[0] + shift[0], moved[1] + shift[1], moved[2] + shift[2]];
  }

  /** Where a T1W place lies in the T2W image. */
  toT2w(place: Point): Point {
    const shift = this.handShift ?? [0, 0, 0];
    return apply(inverse(this.overlay.matrix), between(shift as Point, place));
  }

  /** Scroll the active pane by some slices. */
  async scroll(steps: number): Promise<void> {
    await this.active.go(this.active.slice + steps);
  }

  async toEnd(which: "first" | "last"): Promise<void> {
    await this.active.go(which === "first" ? 0 : (this.active.series?.positions_mm.length ?? 1) - 1);
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

  reset(): void {
    for (const pane of this.panes) pane.reset();
  }

  /** Let the panes scroll together, or each by itself. */
  async link(isLinked: boolean): Promise<void> {
    this.isLinked = isLinked;
    if (isLinked) await this.follow(this.t2w);
    this.describe();
  }

  /** Take what the two panes show now as the same place: for series that share no frame of reference. */
  async linkHere(): Promise<void> {
    if (!this.t2w.series || !this.t1w.series) return;
    const wanted = apply(this.overlay.matrix, centreOf(this.t2w.series, this.t2w.slice));
    const normal = normalOf(this.t1w.series);
    const mm = dot(normal, between(wanted, centreOf(this.t1w.series, this.t1w.slice)));
    this.handShift = [normal[0] * mm, normal[1] * mm, normal[2] * mm];
    await this.link(true);
    this.repaint();
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

  private wheel(pane: Pane, event: WheelEvent): void {
    event.preventDefault();
    if (event.ctrlKey) {
      pane.magnify(event.deltaY < 0 ? 1.1 : 1 / 1.1);
      return;
    }
    this.activate(pane);
    void this.scroll(Math.sign(event.deltaY) * (event.shiftKey ? 3 : 1));
  }

  /** Bring the other pane to the slice nearest to the one that moved. */
  private async follow(moved: Pane): Promise<void> {
    const { t2w, t1w } = this;
    if (!t2w.series || !t1w.series || !this.isLinked || !planesAgree(t2w.series, t1w.series)) {
      this.describe();
      return;
    }
    const place = centreOf(moved.series!, moved.slice);
    this.leads = false;
    try {
      if (moved === t2w) await t1w.go(nearestSlice(t1w.series, this.toT1w(place)).slice);
      else await t2w.go(nearestSlice(t2w.series, this.toT2w(place)).slice);
    } finally {
      this.leads = true;
    }
    this.describe();
  }

  private describe(): void {
    const { t2w, t1w } = this;
    if (!t2w.series || !t1w.series) return;
    const words: string[] = [];
    let gap = 0;
    if (!planesAgree(t2w.series, t1w.series)) words.push("Not linked: the series were cut in different planes");
    else if (!this.isLinked) words.push("Not linked: each series scrolls by itself (L)");
    else {
      const centre = this.toT1w(centreOf(t2w.series, t2w.slice));
      const nearest = nearestSlice(t1w.series, centre);
      gap = nearest.gap_mm;
      words.push(this.handShift ? "Linked, aligned by hand" : "Linked by position");
      if (gap > sliceStep(t1w.series) / 2 + 1e-6) words.push(`no T1W slice within ${gap.toFixed(1)} mm`);
    }
    if (!this.sharesFrame && !this.handShift) words.push("no shared frame of reference: scroll both to the same place, then press J");
    words.push(this.overlay.label);
    this.state.textContent = words.join(" · ");
    this.state.dataset.gap = gap.toFixed(3);
    this.state.dataset.linked = String(this.isLinked);
  }

  private point(pane: Pane, event: PointerEvent | undefined): void {
    if (event && pane.isReady) {
      const edge = pane.picture.getBoundingClientRect();
      this.cursor = { pane, place: pane.toPatient(event.clientX - edge.left, event.clientY - edge.top) };
    } else this.cursor = undefined;
    for (const one of this.panes) if (one !== pane) one.painted();
  }

  /** The place under the mouse, shown in the other pane: the reference mark of two series of one plane. */
  private paintCursor(canvas: SVGSVGElement, pane: Pane): void {
    if (!this.cursor || this.cursor.pane === pane) return;
    const place = pane === this.t1w ? this.toT1w(this.cursor.place) : this.toT2w(this.cursor.place);
    const [x, y] = pane.toScreen(place);
    canvas.append(
      drawing("path", { class: "cursor", d: `M${x - 9} ${y}h6M${x + 3} ${y}h6M${x} ${y - 9}v6M${x} ${y + 3}v6` }),
    );
  }
}

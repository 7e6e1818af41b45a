/** Where an image lies on its pane, in the same terms whether cornerstone draws with WebGL or, without it, on the CPU.
 *
 * On the CPU, cornerstone measures zoom relative to stored pixels, expresses pan as a place in the patient, is off by
 * half a stored pixel, and forgets the screen's pixel ratio when the pane is resized. */

import { type Library, type Viewport } from "./engine";
import { type Point, along } from "./geometry";

export interface Camera {
  /** Relative to the whole image fitting the pane. */
  readonly zoom: number;
  /** CSS pixels from the middle of the pane to the middle of the image. */
  readonly pan: [number, number];
  move(zoom: number, pan: [number, number]): void;
  /** Show the whole image. */
  fit(): void;
  /** Adapt to a new size of the pane. */
  resize(): void;
  /** Position on the pane of a place in the patient, in CSS pixels from the upper left corner. */
  toScreen(place: Point): [number, number];
  /** Place in the patient of a point of the pane, on the slice that is shown. */
  toPatient(x: number, y: number): Point;
}

export function cameraOf({ core, engine }: Library, viewport: Viewport): Camera {
  return core.getShouldUseCPURendering() ? new ProcessorCamera(viewport) : new GraphicsCamera(engine, viewport);
}

class GraphicsCamera implements Camera {
  constructor(
    private readonly engine: Library["engine"],
    private readonly viewport: Viewport,
  ) {}

  get zoom(): number {
    return this.viewport.getZoom();
  }

  get pan(): [number, number] {
    const [right, down] = this.viewport.getPan();
    return [right, down];
  }

  /** Set only what differs: cornerstone keeps most of it when the slice changes. */
  move(zoom: number, pan: [number, number]): void {
    if (this.zoom !== zoom) this.viewport.setZoom(zoom);
    this.viewport.setPan(pan);
  }

  fit(): void {
    this.viewport.resetCamera();
  }

  resize(): void {
    this.engine.resize(true, true);
  }

  toScreen(place: Point): [number, number] {
    const [x, y] = this.viewport.worldToCanvas(place);
    return [x, y];
  }

  toPatient(x: number, y: number): Point {
    const [left, posterior, superior] = this.viewport.canvasToWorld([x, y]);
    return [left, posterior, superior];
  }
}

class ProcessorCamera implements Camera {
  constructor(private readonly viewport: Viewport) {}

  get zoom(): number {
    return this.viewport.getZoom() / this.whole;
  }

  get pan(): [number, number] {
    const { rows, columns } = this.grid;
    const [x, y] = this.toScreen(this.shifted(this.origin, (columns - 1) / 2, (rows - 1) / 2));
    const [middleX, middleY] = this.middle;
    return [x - middleX, y - middleY];
  }

  move(zoom: number, pan: [number, number]): void {
    if (this.zoom !== zoom) this.viewport.setCamera({ scale: zoom * this.whole });
    const [right, down] = this.pan;
    const [x, y] = this.middle;
    const focalPoint = this.viewport.canvasToWorld([x - (pan[0] - right), y - (pan[1] - down)]);
    this.viewport.setCamera({ focalPoint });
  }

  fit(): void {
    this.viewport.resetCamera();
  }

  resize(): void {
    const { canvas, element } = this.viewport;
    const [width, height] = [element.clientWidth, element.clientHeight].map((side) => Math.round(side * devicePixelRatio)) as [number, number];
    // A hidden pane has no size; keep the last one.
    if (!width || !height || (canvas.width === width && canvas.height === height)) return;
    // Like WebGL's camera, keep the millimetres from top to bottom.
    const scale = (this.viewport.getZoom() * height) / canvas.height;
    Object.assign(canvas, { width, height });
    this.viewport.setCamera({ scale });
  }

  toScreen(place: Point): [number, number] {
    const [x, y] = this.viewport.worldToCanvas(this.shifted(place, 0.5, 0.5));
    return [x, y];
  }

  toPatient(x: number, y: number): Point {
    const [left, posterior, superior] = this.viewport.canvasToWorld([x, y]);
    return this.shifted([left, posterior, superior], -0.5, -0.5);
  }

  /** The slice's stored pixels: number, spacing in mm, and directions in the patient. */
  private get grid(): { columns: number; rows: number; column_mm: number; row_mm: number; across: Point; down: Point } {
    const { dimensions, spacing, direction } = this.viewport.getImageData();
    const [across, down] = [direction.slice(0, 3) as Point, direction.slice(3, 6) as Point];
    return { columns: dimensions[0], rows: dimensions[1], column_mm: spacing[0], row_mm: spacing[1], across, down };
  }

  private get origin(): Point {
    const [left, posterior, superior] = this.viewport.getImageData().origin;
    return [left, posterior, superior];
  }

  private get middle(): [number, number] {
    const { width, height } = this.viewport.canvas;
    return [width / devicePixelRatio / 2, height / devicePixelRatio / 2];
  }

  /** Cornerstone's zoom at which the image just fits the pane. */
  private get whole(): number {
    const { columns, rows, column_mm, row_mm } = this.grid;
    const { width, height } = this.viewport.canvas;
    return Math.min(width / (columns * column_mm), height / (rows * row_mm)) * Math.min(column_mm, row_mm);
  }

  /** A place shifted by some stored pixels. */
  private shifted(place: Point, columns: number, rows: number): Point {
    const { across, down, column_mm, row_mm } = this.grid;
    return along(along(place, across, columns * column_mm), down, rows * row_mm);
  }
}

import { beforeEach, expect, test, vi } from "vitest";
import { type Camera, cameraOf } from "../src/viewer/camera";
import type { Library, Viewport } from "../src/viewer/engine";
import { type Point, along, between, dot } from "../src/viewer/geometry";

const ACROSS: Point = [0, 1, 0];
const DOWN: Point = [0, 0, -1];
const ORIGIN: Point = [5, -20, 30];
const [COLUMNS, ROWS, COLUMN_MM, ROW_MM] = [30, 40, 0.5, 0.8];

/** Cornerstone's CPU viewport, reduced to what the camera relies on: half a stored pixel off, zoom in stored pixels. */
function processorViewport(width: number, height: number): Viewport {
  const canvas = { width: width * devicePixelRatio, height: height * devicePixelRatio };
  const element = { clientWidth: width, clientHeight: height };
  let scale = 1;
  let focalPoint: Point = [0, 0, 0];
  const pixelsPerMm = (): number => scale / Math.min(COLUMN_MM, ROW_MM) / devicePixelRatio;
  const halfPixel = (place: Point, sign: number): Point => along(along(place, ACROSS, (sign * COLUMN_MM) / 2), DOWN, (sign * ROW_MM) / 2);
  const middle = (): [number, number] => [canvas.width / devicePixelRatio / 2, canvas.height / devicePixelRatio / 2];
  const fake = {
    canvas,
    element,
    getZoom: () => scale,
    getImageData: () => ({ dimensions: [COLUMNS, ROWS, 1], spacing: [COLUMN_MM, ROW_MM, 4], direction: [...ACROSS, ...DOWN, 1, 0, 0], origin: ORIGIN }),
    setCamera: (change: { scale?: number; focalPoint?: Point }) => {
      scale = change.scale ?? scale;
      focalPoint = change.focalPoint ?? focalPoint;
    },
    resetCamera: () => {
      scale = Math.min(canvas.width / (COLUMNS * COLUMN_MM), canvas.height / (ROWS * ROW_MM)) * Math.min(COLUMN_MM, ROW_MM);
      focalPoint = along(along(ORIGIN, ACROSS, (COLUMNS / 2) * COLUMN_MM), DOWN, (ROWS / 2) * ROW_MM);
    },
    worldToCanvas: (place: Point) => {
      const off = between(focalPoint, place);
      const [x, y] = middle();
      return [x + dot(off, ACROSS) * pixelsPerMm(), y + dot(off, DOWN) * pixelsPerMm()];
    },
    canvasToWorld: ([x, y]: [number, number]) => {
      const [middleX, middleY] = middle();
      return along(along(focalPoint, ACROSS, (x - middleX) / pixelsPerMm()), DOWN, (y - middleY) / pixelsPerMm());
    },
    halfPixel,
  };
  return fake as unknown as Viewport;
}

function opened(width: number, height: number): { camera: Camera; viewport: Viewport } {
  const library = { core: { getShouldUseCPURendering: () => true }, engine: {} } as unknown as Library;
  const viewport = processorViewport(width, height);
  const camera = cameraOf(library, viewport);
  camera.fit();
  return { camera, viewport };
}

beforeEach(() => vi.stubGlobal("devicePixelRatio", 2));

test("the whole image fits the pane, its middle in the middle", () => {
  const { camera } = opened(400, 320);
  expect(camera.zoom).toBeCloseTo(1);
  camera.pan.forEach((pixels) => expect(pixels).toBeCloseTo(0));
  const [left, top] = camera.toScreen(ORIGIN);
  // 40 rows of 0.8 mm over 320 pixels: 10 pixels per mm, and the first pixel's centre half a pixel inside.
  expect(top).toBeCloseTo(0.4 * 10);
  expect(left).toBeCloseTo(200 - 15 * 5 + 0.25 * 10);
});

test("a place in the patient and its position on the pane are each other's inverse, however the view is moved", () => {
  const { camera } = opened(300, 500);
  for (const [zoom, pan] of [[1, [0, 0]], [2.5, [40, -30]], [0.4, [-10, 15]]] as [number, [number, number]][]) {
    camera.move(zoom, pan);
    expect(camera.zoom).toBeCloseTo(zoom);
    camera.pan.forEach((pixels, axis) => expect(pixels).toBeCloseTo(pan[axis]!));
    const place = along(along(ORIGIN, ACROSS, 3.1), DOWN, 7.7);
    const back = camera.toPatient(...camera.toScreen(place));
    back.forEach((mm, axis) => expect(mm).toBeCloseTo(place[axis]!));
  }
});

test("a pane of another size keeps the millimetres from top to bottom, and a hidden one changes nothing", () => {
  const { camera, viewport } = opened(400, 320);
  camera.move(2, [0, 0]);
  const height = (): number => camera.toPatient(0, 0)[2] - camera.toPatient(0, viewport.element.clientHeight)[2];
  const before = height();
  Object.assign(viewport.element, { clientWidth: 800, clientHeight: 640 });
  camera.resize();
  expect(height()).toBeCloseTo(before);
  expect(viewport.canvas.width).toBe(1600);
  Object.assign(viewport.element, { clientWidth: 0, clientHeight: 0 });
  camera.resize();
  expect(viewport.canvas.width).toBe(1600);
});

test("with WebGL the camera asks cornerstone, and sets only what differs", () => {
  const calls: string[] = [];
  let zoom = 1;
  const viewport = {
    getZoom: () => zoom,
    setZoom: (value: number) => ((zoom = value), calls.push("zoom")),
    getPan: () => [3, 4, 0],
    setPan: () => calls.push("pan"),
    resetCamera: () => calls.push("fit"),
  } as unknown as Viewport;
  const engine = { resize: () => calls.push("resize") };
  const camera = cameraOf({ core: { getShouldUseCPURendering: () => false }, engine } as unknown as Library, viewport);
  expect(camera.pan).toEqual([3, 4]);
  camera.move(1, [0, 0]);
  camera.move(2, [0, 0]);
  camera.fit();
  camera.resize();
  expect(calls).toEqual(["pan", "zoom", "pan", "fit", "resize"]);
});

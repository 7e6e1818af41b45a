/** The only module that imports cornerstone: it renders, and loads slices from our server. */

import type * as cornerstone from "@cornerstonejs/core";
import { Refusal, slicePixels } from "../api";
import type { SeriesImage } from "../contracts";

export type Core = typeof cornerstone;
export type Viewport = cornerstone.Types.IStackViewport;

export interface Library {
  core: Core;
  engine: cornerstone.RenderingEngine;
}

const SCHEME = "spinefx";
const known = new Map<string, SeriesImage>();
const arriving = new Map<string, Promise<Uint16Array>>();
let started: Promise<Library> | undefined;
let drawing: Core | undefined;

/** Start rendering once, while the first slices are loading; without WebGL, cornerstone falls back to the CPU. */
export function library(): Promise<Library> {
  started ??= start();
  started.catch(() => (started = undefined));
  return started;
}

async function start(): Promise<Library> {
  const core = await import("@cornerstonejs/core").catch(() => {
    throw new Refusal(0, "Offline", "The image viewer could not be loaded.");
  });
  core.init();
  drawing = core;
  core.imageLoader.registerImageLoader(SCHEME, (imageId: string) => ({ promise: load(core, imageId) }));
  core.metaData.addProvider(describe, 1000);
  return { core, engine: new core.RenderingEngine("spinefx") };
}

/** Cornerstone's names for the slices of a series, in order of position. */
export function imageIds(series: SeriesImage): string[] {
  known.set(series.handle, series);
  return series.positions_mm.map((_, slice) => `${SCHEME}:${series.handle}/${slice}`);
}

/** Drop a series' pixels, and free their memory. */
export function forget(series: SeriesImage): void {
  for (const imageId of imageIds(series)) {
    arriving.delete(imageId);
    if (drawing?.cache.getImageLoadObject(imageId)) drawing.cache.removeImageLoadObject(imageId);
  }
  known.delete(series.handle);
}

/** Slices in the order in which a reader reaches them, starting from one. */
export function outwards(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, slice) => slice).sort((one, other) => Math.abs(one - from) - Math.abs(other - from));
}

/** Fetch a series before it is shown, slice by slice from the one that will be shown first, unless it is dropped in the meantime. */
export async function fetchAhead(series: SeriesImage, first: number): Promise<void> {
  imageIds(series);
  for (const slice of outwards(first, series.positions_mm.length)) {
    if (!known.has(series.handle)) return;
    await pixelsOf(series, slice);
  }
}

/** Stored numbers of a slice, requested once; a request that failed can be repeated. */
export function pixelsOf(series: SeriesImage, slice: number): Promise<Uint16Array> {
  const name = `${SCHEME}:${series.handle}/${slice}`;
  let pixels = arriving.get(name);
  if (!pixels) {
    pixels = slicePixels(series.handle, slice).then((found) => {
      if (found.length === series.rows * series.columns) return found;
      throw new Refusal(0, "Truncated", `Slice ${slice + 1} is incomplete.`);
    });
    arriving.set(name, pixels);
    pixels.catch(() => arriving.delete(name));
  }
  return pixels;
}

function parse(imageId: string): { series: SeriesImage; slice: number } {
  const [handle, slice] = imageId.slice(SCHEME.length + 1).split("/") as [string, string];
  const series = known.get(handle);
  if (!series) throw new Error("This series is not open");
  return { series, slice: Number(slice) };
}

async function load(core: Core, imageId: string): Promise<cornerstone.Types.IImage> {
  const { series, slice } = parse(imageId);
  const pixels = await pixelsOf(series, slice);
  let [low, high] = [65535, 0];
  for (const value of pixels) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const { slope, intercept, window } = series;
  const image = {
    imageId,
    minPixelValue: low,
    maxPixelValue: high,
    slope,
    intercept,
    windowCenter: [(window.low + window.high) / 2],
    windowWidth: [Math.max(window.high - window.low, 1e-6)],
    voiLUTFunction: core.Enums.VOILUTFunctionType.LINEAR,
    rows: series.rows,
    columns: series.columns,
    height: series.rows,
    width: series.columns,
    color: false,
    rgba: false,
    numberOfComponents: 1,
    columnPixelSpacing: series.column_spacing_mm,
    rowPixelSpacing: series.row_spacing_mm,
    invert: false,
    photometricInterpretation: "MONOCHROME2",
    sizeInBytes: pixels.byteLength,
    dataType: "Uint16Array",
    getPixelData: () => pixels,
    imageFrame: {},
  };
  return image as unknown as cornerstone.Types.IImage;
}

function describe(kind: string, imageId: unknown): unknown {
  if (typeof imageId !== "string" || !imageId.startsWith(`${SCHEME}:`)) return undefined;
  const { series, slice } = parse(imageId);
  switch (kind) {
    case "imagePlaneModule":
      return {
        // Each series gets a frame of its own: our alignment, not cornerstone, decides what lies on what.
        frameOfReferenceUID: series.handle,
        rows: series.rows,
        columns: series.columns,
        imageOrientationPatient: [...series.row_cosines, ...series.column_cosines],
        rowCosines: series.row_cosines,
        columnCosines: series.column_cosines,
        imagePositionPatient: series.positions_mm[slice],
        rowPixelSpacing: series.row_spacing_mm,
        columnPixelSpacing: series.column_spacing_mm,
        usingDefaultValues: false,
      };
    case "imagePixelModule":
      return {
        samplesPerPixel: 1,
        photometricInterpretation: "MONOCHROME2",
        rows: series.rows,
        columns: series.columns,
        bitsAllocated: 16,
        bitsStored: 16,
        highBit: 15,
        pixelRepresentation: 0,
      };
    case "generalSeriesModule":
      return { modality: "MR", seriesInstanceUID: series.handle, seriesNumber: 1 };
    case "modalityLutModule":
      return { rescaleSlope: series.slope, rescaleIntercept: series.intercept };
    case "voiLutModule":
      return {
        windowCenter: [(series.window.low + series.window.high) / 2],
        windowWidth: [series.window.high - series.window.low],
      };
    default:
      return undefined;
  }
}

/** Cornerstone's one home: rendering, and the way our server's slices reach it. */

import * as core from "@cornerstonejs/core";
import * as tools from "@cornerstonejs/tools";
import { slicePixels } from "../api";
import type { Series } from "./geometry";

export { core, tools };

const SCHEME = "spinefx";
const known = new Map<string, Series>();
let started: Promise<core.RenderingEngine> | undefined;

/** Start rendering once; without WebGL cornerstone draws on the CPU by itself. */
export function renderingEngine(): Promise<core.RenderingEngine> {
  started ??= start();
  return started;
}

async function start(): Promise<core.RenderingEngine> {
  core.init();
  tools.init();
  for (const tool of [tools.WindowLevelTool, tools.PanTool, tools.ZoomTool]) tools.addTool(tool);
  core.imageLoader.registerImageLoader(SCHEME, (imageId: string) => ({ promise: load(imageId) }));
  core.metaData.addProvider(describe, 1000);
  return new core.RenderingEngine("spinefx");
}

/** Names of a series' slices for cornerstone, in order of position. */
export function imageIds(series: Series): string[] {
  known.set(series.handle, series);
  return series.positions_mm.map((_, slice) => `${SCHEME}:${series.handle}/${slice}`);
}

/** Forget a series' pixels, and free their memory. */
export function forget(series: Series): void {
  for (const imageId of imageIds(series)) {
    if (core.cache.getImageLoadObject(imageId)) core.cache.removeImageLoadObject(imageId);
  }
  known.delete(series.handle);
}

function parse(imageId: string): { series: Series; slice: number } {
  const [handle, slice] = imageId.slice(SCHEME.length + 1).split("/") as [string, string];
  const series = known.get(handle);
  if (!series) throw new Error("a slice of a series that is not open");
  return { series, slice: Number(slice) };
}

async function load(imageId: string): Promise<core.Types.IImage> {
  const { series, slice } = parse(imageId);
  const pixels = await slicePixels(series.handle, slice);
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
  return image as unknown as core.Types.IImage;
}

function describe(kind: string, imageId: unknown): unknown {
  if (typeof imageId !== "string" || !imageId.startsWith(`${SCHEME}:`)) return undefined;
  const { series, slice } = parse(imageId);
  switch (kind) {
    case "imagePlaneModule":
      return {
        // Each series has its own frame here: what lies on what is for our alignment to say, not for cornerstone.
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

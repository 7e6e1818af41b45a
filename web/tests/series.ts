/** Series for the tests: sagittal, as the server describes them. */

import type { SeriesImage } from "../src/contracts";
import { type Point, cross } from "../src/viewer/geometry";

/** Numbers between 0 and 1, the same in every run. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function unit(place: Point): Point {
  const size = Math.hypot(...place);
  return [place[0] / size, place[1] / size, place[2] / size];
}

/** A sagittal series, optionally turned, of slices at these distances along its normal. */
export function sagittal(heights_mm: number[], more: Partial<SeriesImage> = {}): SeriesImage {
  const row_cosines = more.row_cosines ?? [0, 1, 0];
  const column_cosines = more.column_cosines ?? [0, 0, -1];
  const normal = cross(row_cosines, column_cosines);
  return {
    handle: "a",
    weighting: "T2w",
    kind: "T2W",
    rows: 40,
    columns: 30,
    row_spacing_mm: 0.8,
    column_spacing_mm: 0.5,
    row_cosines,
    column_cosines,
    positions_mm: heights_mm.map((mm): Point => [5 + normal[0] * mm, -20 + normal[1] * mm, 30 + normal[2] * mm]),
    frame: "a",
    slope: 1,
    intercept: 0,
    window: { low: 0, high: 100 },
    ...more,
  };
}

/** Directions of rows and columns, turned at random. */
export function turned(random: () => number): { row_cosines: Point; column_cosines: Point } {
  const row_cosines = unit([random() - 0.5, 1, random() - 0.5]);
  const normal = unit(cross(row_cosines, [random() - 0.5, random() - 0.5, -1]));
  return { row_cosines, column_cosines: cross(normal, row_cosines) };
}

/** Where pixels lie in the patient: LPS millimetres, as the server sends them. */

import type { BoxShape, SeriesImage, SeriesMapping } from "../contracts";

export type Point = BoxShape["centre_mm"];
export type Matrix = SeriesMapping["matrix"];

export const IDENTITY: Matrix = [
  [1, 0, 0, 0],
  [0, 1, 0, 0],
  [0, 0, 1, 0],
  [0, 0, 0, 1],
];

export function dot(a: Point, b: Point): number {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

export function along(start: Point, direction: Point, mm: number): Point {
  return [start[0] + direction[0] * mm, start[1] + direction[1] * mm, start[2] + direction[2] * mm];
}

export function between(from: Point, to: Point): Point {
  return [to[0] - from[0], to[1] - from[1], to[2] - from[2]];
}

export function cross(a: Point, b: Point): Point {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

export function apply(matrix: Matrix, place: Point): Point {
  const row = (number: number): number => {
    const [x, y, z, shift] = matrix[number] as [number, number, number, number];
    return x * place[0] + y * place[1] + z * place[2] + shift;
  };
  return [row(0), row(1), row(2)];
}

/** The inverse of a rigid or affine matrix. */
export function inverse(matrix: Matrix): Matrix {
  const [a, b, c] = matrix as [number[], number[], number[], number[]];
  const [p, q, r] = [0, 1, 2].map((column): Point => [a[column]!, b[column]!, c[column]!]) as [Point, Point, Point];
  const volume = dot(p, cross(q, r));
  const rows = [cross(q, r), cross(r, p), cross(p, q)].map(
    (one): Point => [one[0] / volume, one[1] / volume, one[2] / volume],
  );
  const shift: Point = [a[3]!, b[3]!, c[3]!];
  return [...rows.map((one) => [...one, -dot(one, shift)]), [0, 0, 0, 1]];
}

export function normalOf(series: SeriesImage): Point {
  return cross(series.row_cosines, series.column_cosines);
}

/** Distance of a place from a slice, along the slice's normal, mm. */
export function distanceFrom(series: SeriesImage, slice: number, place: Point): number {
  return dot(normalOf(series), between(series.positions_mm[slice]!, place));
}

/** Largest distance between neighbouring slices, mm. */
export function sliceStep(series: SeriesImage): number {
  const heights = series.positions_mm.map((place) => dot(normalOf(series), place));
  return Math.max(0, ...heights.slice(1).map((height, index) => Math.abs(height - heights[index]!)));
}

export function centreOf(series: SeriesImage, slice: number): Point {
  const down = along(series.positions_mm[slice]!, series.column_cosines, ((series.rows - 1) / 2) * series.row_spacing_mm);
  return along(down, series.row_cosines, ((series.columns - 1) / 2) * series.column_spacing_mm);
}

/** The slice nearest to a place, and its distance, which a reader must know about. */
export function nearestSlice(series: SeriesImage, place: Point): { slice: number; gap_mm: number } {
  let best = { slice: 0, gap_mm: Infinity };
  series.positions_mm.forEach((_, slice) => {
    const gap = Math.abs(distanceFrom(series, slice, place));
    if (gap < best.gap_mm) best = { slice, gap_mm: gap };
  });
  return best;
}

/** Whether two series were acquired in the same plane, within ten degrees. */
export function planesAgree(one: SeriesImage, other: SeriesImage): boolean {
  return Math.abs(dot(normalOf(one), normalOf(other))) > Math.cos((10 * Math.PI) / 180);
}

/** Corners of a box projected onto a slice, in drawing order. */
export function cornersOf(series: SeriesImage, box: BoxShape, slice: number): Point[] {
  const height = distanceFrom(series, slice, box.centre_mm);
  const centre = along(box.centre_mm, normalOf(series), -height);
  const half = box.side_mm / 2;
  return [
    [-1, -1],
    [1, -1],
    [1, 1],
    [-1, 1],
  ].map(([u, v]) => along(along(centre, series.row_cosines, u! * half), series.column_cosines, v! * half));
}

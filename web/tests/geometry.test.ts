import { describe, expect, test } from "vitest";
import { type Matrix, type Point, IDENTITY, along, apply, between, centreOf, cornersOf, cross, distanceFrom, dot, inverse, nearestSlice, normalOf, planesAgree, sliceStep } from "../src/viewer/geometry";
import { randomNumbers, sagittal, turned } from "./series";

function near(found: Point, expected: Point): void {
  found.forEach((mm, axis) => expect(mm).toBeCloseTo(expected[axis]!, 6));
}

describe("matrices", () => {
  test("a matrix and its inverse cancel each other, also when they scale and shear", () => {
    const random = randomNumbers(1);
    for (let turn = 0; turn < 200; turn++) {
      const matrix: Matrix = [0, 1, 2].map((row) => [0, 1, 2, 3].map((column) => (row === column ? 1 : 0) + (random() - 0.5) * (column < 3 ? 0.6 : 80)));
      matrix.push([0, 0, 0, 1]);
      const place: Point = [random() * 100, random() * 100, random() * 100];
      near(apply(inverse(matrix), apply(matrix, place)), place);
      near(apply(matrix, apply(inverse(matrix), place)), place);
    }
  });

  test("the identity moves nothing", () => near(apply(IDENTITY, [1, -2, 3]), [1, -2, 3]));
});

describe("slices", () => {
  test("the nearest slice and its distance are those of a search over all slices", () => {
    const random = randomNumbers(2);
    for (let turn = 0; turn < 100; turn++) {
      const heights = [...Array(9).keys()].map((slice) => slice * 4 + random());
      const series = sagittal(heights, turned(random));
      const height = random() * 40 - 4;
      const place = along(along(series.positions_mm[0]!, normalOf(series), height - heights[0]!), series.row_cosines, random() * 30);
      const distances = heights.map((one) => Math.abs(one - height));
      const { slice, gap_mm } = nearestSlice(series, place);
      expect(gap_mm).toBeCloseTo(Math.min(...distances), 6);
      expect(distances[slice]).toBeCloseTo(gap_mm, 6);
      expect(distanceFrom(series, slice, place)).toBeCloseTo(height - heights[slice]!, 6);
    }
  });

  test("the slice step is the largest distance between neighbours, in either order", () => {
    expect(sliceStep(sagittal([0, 4, 9, 13]))).toBeCloseTo(5);
    expect(sliceStep(sagittal([13, 9, 4, 0]))).toBeCloseTo(5);
    expect(sliceStep(sagittal([7]))).toBe(0);
  });

  test("the centre of a slice lies halfway between its first and last pixel", () => {
    const series = sagittal([0, 4]);
    const last = along(along(series.positions_mm[1]!, series.row_cosines, 29 * 0.5), series.column_cosines, 39 * 0.8);
    const halfway = between([0, 0, 0], series.positions_mm[1]!).map((mm, axis) => (mm + last[axis]!) / 2) as Point;
    near(centreOf(series, 1), halfway);
  });

  test("planes agree within ten degrees, whichever way the slices are counted", () => {
    const at = (degrees: number): Point => [Math.sin((degrees * Math.PI) / 180), Math.cos((degrees * Math.PI) / 180), 0];
    const series = sagittal([0, 4]);
    expect(planesAgree(series, sagittal([0, 4], { row_cosines: at(9) }))).toBe(true);
    expect(planesAgree(series, sagittal([0, 4], { row_cosines: at(11) }))).toBe(false);
    expect(planesAgree(series, sagittal([0, 4], { row_cosines: [0, -1, 0] }))).toBe(true);
  });
});

test("the corners of a box lie in the slice, around the box's centre, a side apart", () => {
  const random = randomNumbers(3);
  for (let turn = 0; turn < 50; turn++) {
    const series = sagittal([0, 4, 8], turned(random));
    const box = { centre_mm: [random() * 9, random() * 9, random() * 9] as Point, side_mm: 20 + random() * 20 };
    const corners = cornersOf(series, box, 2);
    corners.forEach((corner, index) => {
      expect(distanceFrom(series, 2, corner)).toBeCloseTo(0, 6);
      const edge = between(corner, corners[(index + 1) % 4]!);
      expect(Math.hypot(...edge)).toBeCloseTo(box.side_mm, 6);
    });
    const middle = corners.reduce((sum, corner) => along(sum, corner, 0.25), [0, 0, 0] as Point);
    const off = between(box.centre_mm, middle);
    expect(Math.hypot(...cross(off, normalOf(series)))).toBeCloseTo(0, 6);
    expect(dot(between(corners[0]!, corners[1]!), series.row_cosines)).toBeCloseTo(box.side_mm, 6);
  }
});

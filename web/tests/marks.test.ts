import { expect, test } from "vitest";
import { distanceFrom } from "../src/viewer/geometry";
import { crossing, lettersOf } from "../src/viewer/marks";
import { randomNumbers, sagittal, turned } from "./series";

test.each([
  [[1, 0, 0], "L"],
  [[-1, 0, 0], "R"],
  [[0, -2, 0], "A"],
  [[0, 1, 1.5], "SP"],
  [[0, 0.1, -1], "I"],
  [[0.9, -1, 1.1], "SAL"],
] as const)("the direction %j is written %s", (direction, letters) => {
  expect(lettersOf([...direction])).toBe(letters);
});

test("parallel planes have no crossing, and other planes cross in a line that lies in both", () => {
  const random = randomNumbers(4);
  const shown = sagittal([0, 4, 8]);
  expect(crossing(shown, 1, sagittal([0, 4, 8]), 0)).toBeUndefined();
  let crossings = 0;
  for (let turn = 0; turn < 50; turn++) {
    const other = sagittal([0, 5, 10], turned(random));
    const line = crossing(shown, 1, other, 2);
    if (!line) continue;
    crossings += 1;
    for (const place of line) {
      expect(distanceFrom(shown, 1, place)).toBeCloseTo(0, 4);
      expect(distanceFrom(other, 2, place)).toBeCloseTo(0, 4);
    }
  }
  expect(crossings).toBeGreaterThan(25);
});

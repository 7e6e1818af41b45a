/** What is drawn on every image: directions at its edges, a scale in millimetres, and the line where the other series crosses it. */

import type { SeriesImage } from "../contracts";
import { drawing } from "../dom";
import { type Point, along, between, cross, distanceFrom, dot, normalOf } from "./geometry";
import type { Pane } from "./pane";

/** Lengths of the scale bar, mm; the longest that fits is drawn. */
const LENGTHS_MM = [100, 50, 20, 10, 5, 2, 1];
const LONGEST_SHARE = 0.3;
const LETTERS: [string, string][] = [
  ["L", "R"],
  ["P", "A"],
  ["S", "I"],
];

/** Letters of a direction in the patient (LPS), its largest component first, as on film; components below a quarter are left out. */
export function lettersOf(direction: Point): string {
  const size = Math.hypot(...direction) || 1;
  return direction
    .map((part, axis) => ({ share: Math.abs(part) / size, letter: LETTERS[axis]![part < 0 ? 1 : 0] }))
    .filter(({ share }) => share > 0.25)
    .sort((one, other) => other.share - one.share)
    .map(({ letter }) => letter)
    .join("");
}

/** Letters at the edges and a scale bar. */
export function paintMarks(canvas: SVGSVGElement, pane: Pane): void {
  const { clientWidth: width, clientHeight: height } = pane.picture;
  if (!width || !height) return;
  const corner = pane.toPatient(0, 0);
  const right = between(corner, pane.toPatient(100, 0));
  const down = between(corner, pane.toPatient(0, 100));
  const back = ([x, y, z]: Point): Point => [-x, -y, -z];
  const places: [Point, number, number][] = [
    [back(right), 10, height / 2],
    [right, width - 22, height / 2],
    [back(down), width / 2, 20],
    [down, width / 2, height - 34],
  ];
  for (const [direction, x, y] of places) canvas.append(drawing("text", { class: "mark", x, y }, lettersOf(direction)));
  const pixels = 100 / Math.hypot(...down);
  const length = LENGTHS_MM.find((mm) => mm * pixels <= height * LONGEST_SHARE) ?? LENGTHS_MM.at(-1)!;
  const [x, top] = [width - 14, height * 0.62];
  const bottom = top + length * pixels;
  canvas.append(
    drawing("path", { class: "scale", d: `M${x - 6} ${top}h12M${x} ${top}V${bottom}M${x - 6} ${bottom}h12`, "data-mm": length, "data-testid": `scale-${pane.name}` }),
    drawing("text", { class: "mark end", x: x - 10, y: (top + bottom) / 2 + 5 }, `${length} mm`),
  );
}

/** The line where another series' slice crosses the slice shown, as two places on it; none where the planes are parallel. */
export function crossing(shown: SeriesImage, slice: number, other: SeriesImage, otherSlice: number): [Point, Point] | undefined {
  const [one, two] = [normalOf(shown), normalOf(other)];
  const direction = cross(one, two);
  const size = dot(direction, direction);
  // Planes within ten degrees count as parallel; the linked cursor is shown instead of a line.
  if (size < Math.sin((10 * Math.PI) / 180) ** 2) return undefined;
  const from = shown.positions_mm[slice]!;
  // A step in the shown plane, straight towards the other plane.
  const towards = cross(direction, one);
  const reach = -distanceFrom(other, otherSlice, from) / dot(towards, two);
  const start = along(from, towards, reach);
  const unit: Point = [direction[0] / Math.sqrt(size), direction[1] / Math.sqrt(size), direction[2] / Math.sqrt(size)];
  return [along(start, unit, -1000), along(start, unit, 1000)];
}

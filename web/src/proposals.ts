/** Boxes that the user has not drawn: looked at on the image, and accepted one by one. */

import type { OtherLesion } from "./contracts";
import { element } from "./dom";

/** List proposed boxes below some sentences about them. */
export function proposals(
  rows: readonly OtherLesion[],
  notes: readonly string[],
  name: (other: OtherLesion) => string,
  look: (other: OtherLesion) => void,
  accept: (other: OtherLesion) => void,
): HTMLElement[] {
  return [
    ...notes.map((note) => element("p", { class: "quiet" }, note)),
    ...rows.map((other) =>
      element(
        "p",
        {},
        `${name(other)}: ${other.lesion.box.side_mm.toFixed(1)} mm, slices ${other.lesion.first_slice + 1} to ${other.lesion.last_slice + 1} `,
        element("button", { click: () => look(other) }, "Look"),
        " ",
        element("button", { click: () => accept(other) }, "Accept"),
      ),
    ),
  ];
}

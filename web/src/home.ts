/** The first page: what can be done here. */

import { element, replace } from "./dom";
import type { Me } from "./frame";

const WHAT: [string, string, string][] = [
  ["annotate", "Annotate", "Mark the fractured vertebra of each study: a box on T2W, the slices of the lesion, the level."],
  ["read", "Read", "Score the fifteen signs and give a diagnosis, blinded, without and with the model."],
  ["decide", "Decide", "Open one study, mark the vertebra, and see the model's probability and when not to trust it."],
  ["teach", "Teach", "Your own confusions, sign by sign, with the cases to look at again."],
];

export function home(place: HTMLElement, me: Me): void {
  const cards = WHAT.map(([path, title, words]) =>
    element("a", { class: "card", href: `/${path}` }, element("h2", {}, title), element("p", {}, words)),
  );
  replace(place, element("h1", {}, `Study ${me.workspace}`), element("div", { class: "cards" }, ...cards));
}

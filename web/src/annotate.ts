/** Mark the vertebra of each study. */

import { get } from "./api";
import { element, replace } from "./dom";
import type { Me } from "./frame";
import { History } from "./history";
import { Keys } from "./keys";
import { bindImageKeys } from "./viewer/commands";
import type { SeriesPair } from "./viewer/geometry";
import { Pair } from "./viewer/pair";

export async function annotate(place: HTMLElement, _me: Me, parts: string[]): Promise<void> {
  const pair = new Pair();
  const keys = new Keys();
  bindImageKeys(keys, pair, new History());
  replace(place, element("div", { class: "sides" }, pair.root, element("aside", { class: "side" }, "…")));
  await pair.show(await get<SeriesPair>(`/api/studies/${parts[0] ?? "sub-001"}/pair`));
}

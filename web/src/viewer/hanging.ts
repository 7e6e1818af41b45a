/** Which series stands on the left, remembered for each kind of study; kept in this browser. */

import { type SeriesPair, normalOf } from "./geometry";

export type Side = "T2W" | "T1W";

const STORE = "spinefx.hangings";
const USUAL: Side = "T2W";
const PLANES = ["sagittal", "coronal", "axial"];

/** Name a kind of study by the planes of its pair and what else it offers: a study with STIR is another kind than a plain one. */
export function protocolOf(pair: SeriesPair, others: string[]): string {
  const plane = (series: SeriesPair["t2w"]): string => {
    const parts = normalOf(series).map(Math.abs);
    return PLANES[parts.indexOf(Math.max(...parts))]!;
  };
  return [`${plane(pair.t2w)} T2W`, `${plane(pair.t1w)} T1W`, ...[...new Set(others)].sort()].join(", ");
}

/** All that is remembered; what cannot be read is as good as nothing. */
function kept(): Record<string, unknown> {
  try {
    return (JSON.parse(localStorage.getItem(STORE) ?? "{}") ?? {}) as Record<string, unknown>;
  } catch {
    return {};
  }
}

export function leftOf(protocol: string): Side {
  const found = kept()[protocol];
  return found === "T2W" || found === "T1W" ? found : USUAL;
}

/** Remember a side for a kind of study; other kinds keep theirs, another page's choices too. */
export function hang(protocol: string, left: Side): void {
  localStorage.setItem(STORE, JSON.stringify({ ...kept(), [protocol]: left }));
}

/** Every kind of study as it came. */
export function forgetHangings(): void {
  localStorage.removeItem(STORE);
}

/** Which series is on the left, remembered in this browser for each kind of study. */

import type { ImagePair, SeriesImage } from "../contracts";
import { normalOf } from "./geometry";

export type Side = "T2W" | "T1W";

const STORE = "spinefx.hangings";
const USUAL: Side = "T2W";
const PLANES = ["sagittal", "coronal", "axial"];

/** Name a kind of study by the planes of its pair and its other images: a study with STIR is of another kind than one without. */
export function protocolOf(pair: ImagePair, others: string[]): string {
  const plane = (series: SeriesImage): string => {
    const parts = normalOf(series).map(Math.abs);
    return PLANES[parts.indexOf(Math.max(...parts))]!;
  };
  return [`${plane(pair.t2w)} T2W`, `${plane(pair.t1w)} T1W`, ...[...new Set(others)].sort()].join(", ");
}

/** Everything that is remembered; nothing where the store cannot be read. */
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

/** Remember a side for a kind of study; other kinds keep theirs, and so do choices made on another page. */
export function hang(protocol: string, left: Side): void {
  localStorage.setItem(STORE, JSON.stringify({ ...kept(), [protocol]: left }));
}

/** Forget the choices for every kind of study. */
export function forgetHangings(): void {
  localStorage.removeItem(STORE);
}

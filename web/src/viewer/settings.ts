/** What each mouse button does, and what else a person sets once for all studies; kept in this browser. */

import { element } from "../dom";
import { type Side, forgetHangings } from "./hanging";

export type Deed = "window" | "pan" | "zoom" | "slices";

export interface Settings {
  left: Deed;
  middle: Deed;
  right: Deed;
  /** Which way the mouse changes the window's width, the other way its middle. */
  width: "across" | "upright";
  /** Whether moving right, or up, widens the window. */
  forward: "wider" | "narrower";
  /** Whether moving up, or right, makes the image brighter. */
  upward: "brighter" | "darker";
  doubleClick: "maximise" | "nothing";
  /** Arrow keys to the left and right change the series, as in OHIF. */
  arrows: "nothing" | "series";
}

const RADIOLOGY: Settings = {
  left: "window",
  middle: "pan",
  right: "zoom",
  width: "across",
  forward: "wider",
  upward: "brighter",
  doubleClick: "maximise",
  arrows: "nothing",
};

type Buttons = Pick<Settings, "left" | "middle" | "right">;
const MOUSE: Buttons = { left: RADIOLOGY.left, middle: RADIOLOGY.middle, right: RADIOLOGY.right };
/** What a PACS' hands expect: the left button scrolls, the right one changes the window. */
const PACS: Buttons = { left: "slices", middle: "pan", right: "window" };

const STORE = "spinefx.settings";
const DEEDS: [string, string][] = [
  ["window", "window"],
  ["pan", "pan"],
  ["zoom", "zoom"],
  ["slices", "scroll slices"],
];
const FIELDS: [keyof Settings, string, [string, string][]][] = [
  ["left", "Drag with the left button", DEEDS],
  ["middle", "Drag with the middle button", DEEDS],
  ["right", "Drag with the right button", DEEDS],
  ["width", "Window's width (contrast)", [["across", "left and right; brightness up and down"], ["upright", "up and down; brightness left and right"]]],
  ["forward", "Moving right (or up)", [["wider", "widens the window: softer"], ["narrower", "narrows the window: more contrast"]]],
  ["upward", "Moving up (or right)", [["brighter", "makes it brighter"], ["darker", "makes it darker"]]],
  ["doubleClick", "Double click", [["maximise", "shows one series alone, or both again"], ["nothing", "does nothing"]]],
  ["arrows", "Arrow keys left and right", [["nothing", "do nothing"], ["series", "change the series"]]],
];

let present: Settings | undefined;

/** What is set now; anything unknown in the store is passed over. */
export function settings(): Settings {
  if (present) return present;
  const found: Settings = { ...RADIOLOGY };
  let kept: Record<string, unknown> = {};
  try {
    kept = (JSON.parse(localStorage.getItem(STORE) ?? "{}") ?? {}) as Record<string, unknown>;
  } catch {
    // A store that cannot be read is as good as none.
  }
  for (const [name, , choices] of FIELDS) {
    const choice = choices.find(([value]) => value === kept[name]);
    if (choice) Object.assign(found, { [name]: choice[0] });
  }
  present = found;
  return found;
}

export function set(change: Partial<Settings>): void {
  present = { ...settings(), ...change };
  localStorage.setItem(STORE, JSON.stringify(present));
}

/** What hangs, and can be hung otherwise for all studies of its kind. */
export interface Hung {
  readonly standsLeft: Side;
  hang(left: Side): void;
}

/** Ask what each button does, and how studies of this kind hang. */
export function openSettings(hung: Hung): void {
  const dialog = element("dialog", { class: "help", "aria-label": "Settings" });
  const fields = new Map<keyof Settings, HTMLSelectElement>();
  const show = (): void => {
    for (const [name, field] of fields) field.value = settings()[name];
    left.value = hung.standsLeft;
  };
  const sides: Side[] = ["T2W", "T1W"];
  const left = element("select", { change: () => hung.hang(left.value as Side) }, ...sides.map((side) => element("option", {}, side)));
  const row = (words: string, field: HTMLSelectElement): HTMLElement => {
    field.setAttribute("aria-label", words);
    return element("tr", {}, element("th", { scope: "row" }, words), element("td", {}, field));
  };
  const rows = FIELDS.map(([name, words, choices]) => {
    const field = element(
      "select",
      { change: () => set({ [name]: field.value }) },
      ...choices.map(([value, said]) => element("option", { value }, said)),
    );
    fields.set(name, field);
    return row(words, field);
  });
  const button = (words: string, click: () => void): HTMLElement => element("button", { click: () => (click(), show()) }, words);
  const asTheyCame = (): void => {
    set(RADIOLOGY);
    hung.hang("T2W");
    forgetHangings();
  };
  dialog.append(
    element("h2", {}, "Mouse and settings"),
    element("p", {}, button("As radiology viewers", () => set(MOUSE)), " ", button("PACS-like: left scrolls", () => set(PACS)), " ", button("All as they came", asTheyCame)),
    element("table", {}, element("tbody", {}, ...rows, row("Series on the left, in studies of this kind", left))),
    element("p", { class: "said" }, "Always: the wheel scrolls slices, Shift with the left button pans, Ctrl with the left button or the wheel zooms. Kept in this browser."),
    element("p", {}, element("button", { click: () => dialog.close(), autofocus: true }, "Close")),
  );
  show();
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

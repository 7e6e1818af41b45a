/** What each mouse button does, and other settings that hold for all studies; kept in this browser. */

import { element } from "../dom";
import { type Side, forgetHangings } from "./hanging";

export type MouseAction = "window" | "pan" | "zoom" | "slices";

export interface Settings {
  left: MouseAction;
  middle: MouseAction;
  right: MouseAction;
  /** Direction of the mouse that changes the window's width; the other direction changes its level. */
  width: "across" | "upright";
  /** Whether moving right (or up) widens the window. */
  forward: "wider" | "narrower";
  /** Whether moving up (or right) makes the image brighter. */
  upward: "brighter" | "darker";
  doubleClick: "maximise" | "nothing";
  /** Whether the left and right arrow keys change the series, as in OHIF. */
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
/** As in many PACS viewers: the left button scrolls, the right button changes the window. */
const PACS: Buttons = { left: "slices", middle: "pan", right: "window" };

const STORE = "spinefx.settings";
const ACTIONS: [string, string][] = [
  ["window", "window"],
  ["pan", "pan"],
  ["zoom", "zoom"],
  ["slices", "scroll slices"],
];
const FIELDS: [keyof Settings, string, [string, string][]][] = [
  ["left", "Drag with the left button", ACTIONS],
  ["middle", "Drag with the middle button", ACTIONS],
  ["right", "Drag with the right button", ACTIONS],
  ["width", "Window width (contrast)", [["across", "left and right; brightness up and down"], ["upright", "up and down; brightness left and right"]]],
  ["forward", "Moving right (or up)", [["wider", "widens the window: softer"], ["narrower", "narrows the window: more contrast"]]],
  ["upward", "Moving up (or right)", [["brighter", "makes it brighter"], ["darker", "makes it darker"]]],
  ["doubleClick", "Double-click", [["maximise", "shows one series alone, or both again"], ["nothing", "does nothing"]]],
  ["arrows", "Left and right arrow keys", [["nothing", "do nothing"], ["series", "change the series"]]],
];

let present: Settings | undefined;

/** The present settings; anything unknown in the store is ignored. */
export function settings(): Settings {
  if (present) return present;
  const found: Settings = { ...RADIOLOGY };
  let kept: Record<string, unknown> = {};
  try {
    kept = (JSON.parse(localStorage.getItem(STORE) ?? "{}") ?? {}) as Record<string, unknown>;
  } catch {
    // A store that cannot be read is treated as empty.
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

/** What shows two series side by side, and can swap them for all studies of their kind. */
export interface Hung {
  readonly leftSide: Side;
  hang(left: Side): void;
}

/** Let the user choose what each button does, and which series is on the left in studies of this kind. */
export function openSettings(hung: Hung): void {
  const dialog = element("dialog", { class: "help", "aria-label": "Settings" });
  const fields = new Map<keyof Settings, HTMLSelectElement>();
  const show = (): void => {
    for (const [name, field] of fields) field.value = settings()[name];
    left.value = hung.leftSide;
  };
  const sides: Side[] = ["T2W", "T1W"];
  const left = element("select", { change: () => hung.hang(left.value as Side) }, ...sides.map((side) => element("option", {}, side)));
  const row = (label: string, field: HTMLSelectElement): HTMLElement => {
    field.setAttribute("aria-label", label);
    return element("tr", {}, element("th", { scope: "row" }, label), element("td", {}, field));
  };
  const rows = FIELDS.map(([name, label, choices]) => {
    const field = element(
      "select",
      { change: () => set({ [name]: field.value }) },
      ...choices.map(([value, text]) => element("option", { value }, text)),
    );
    fields.set(name, field);
    return row(label, field);
  });
  const button = (label: string, click: () => void): HTMLElement => element("button", { click: () => (click(), show()) }, label);
  const restore = (): void => {
    set(RADIOLOGY);
    hung.hang("T2W");
    forgetHangings();
  };
  dialog.append(
    element("h2", {}, "Mouse and settings"),
    element("p", {}, button("Like radiology viewers", () => set(MOUSE)), " ", button("Like a PACS: left button scrolls", () => set(PACS)), " ", button("Restore defaults", restore)),
    element("table", {}, element("tbody", {}, ...rows, row("Series on the left, in studies of this kind", left))),
    element("p", { class: "quiet" }, "In every setting, the wheel scrolls, Shift with the left button pans, and Ctrl with the left button or the wheel zooms. Settings are kept in this browser."),
    element("p", {}, element("button", { click: () => dialog.close(), autofocus: true }, "Close")),
  );
  show();
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

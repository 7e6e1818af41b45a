/** What each mouse button does, and what else a person sets once for all studies; kept in this browser. */

import { element } from "../dom";

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
  /** Which series stands on the left. */
  first: "T2W" | "T1W";
}

export const RADIOLOGY: Settings = {
  left: "window",
  middle: "pan",
  right: "zoom",
  width: "across",
  forward: "wider",
  upward: "brighter",
  doubleClick: "maximise",
  arrows: "nothing",
  first: "T2W",
};

/** What a PACS' hands expect: the left button scrolls, the right one changes the window. */
export const PACS: Pick<Settings, "left" | "middle" | "right"> = { left: "slices", middle: "pan", right: "window" };

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
  ["first", "Series on the left", [["T2W", "T2W"], ["T1W", "T1W"]]],
];

let present: Settings | undefined;
const watchers: (() => void)[] = [];

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
  for (const watcher of watchers) watcher();
}

/** Tell of each change, and at once of what is set. */
export function watchSettings(watcher: () => void): void {
  watchers.push(watcher);
  watcher();
}

/** Ask what each button does. */
export function openSettings(): void {
  const dialog = element("dialog", { class: "help", "aria-label": "Settings" });
  const fields = new Map<keyof Settings, HTMLSelectElement>();
  const show = (): void => {
    for (const [name, field] of fields) field.value = settings()[name];
  };
  const rows = FIELDS.map(([name, words, choices]) => {
    const field = element(
      "select",
      { "aria-label": words, change: () => set({ [name]: field.value }) },
      ...choices.map(([value, said]) => element("option", { value }, said)),
    );
    fields.set(name, field);
    return element("tr", {}, element("th", { scope: "row" }, words), element("td", {}, field));
  });
  const preset = (words: string, change: Partial<Settings>): HTMLElement => element("button", { click: () => (set(change), show()) }, words);
  const { left, middle, right } = RADIOLOGY;
  dialog.append(
    element("h2", {}, "Mouse and settings"),
    element("p", {}, preset("As radiology viewers", { left, middle, right }), " ", preset("PACS-like: left scrolls", PACS), " ", preset("All as they came", RADIOLOGY)),
    element("table", {}, element("tbody", {}, ...rows)),
    element("p", { class: "said" }, "Always: the wheel scrolls slices, Shift with the left button pans, Ctrl with the left button or the wheel zooms. Kept in this browser."),
    element("p", {}, element("button", { click: () => dialog.close(), autofocus: true }, "Close")),
  );
  show();
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

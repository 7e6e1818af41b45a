/** The keys that every page with images shares: what radiologists' hands know. */

import type { Command, Keys } from "../keys";
import type { History } from "../history";
import { element } from "../dom";
import { Hands, lookStep } from "./hands";
import type { Side } from "./hanging";
import type { Linking, Pair } from "./pair";
import type { Window } from "./pane";
import { openSettings, set, settings } from "./settings";

const PRESETS: [string, (window: Window) => Window][] = [
  ["As it came", (whole) => whole],
  ["Softer", ({ low, high }) => ({ low, high: low + (high - low) * 1.4 })],
  ["Harder", ({ low, high }) => ({ low: low + (high - low) * 0.1, high: low + (high - low) * 0.7 })],
  ["Marrow", ({ low, high }) => ({ low: low + (high - low) * 0.05, high: low + (high - low) * 0.5 })],
  ["Fluid", ({ low, high }) => ({ low: low + (high - low) * 0.3, high: low + (high - low) * 1.2 })],
];

/** Bind the mouse, and the keys of scrolling, windows, zoom and linking; buttons for help and settings stand below the images. */
export function bindImageKeys(keys: Keys, pair: Pair, history: History): void {
  new Hands(pair, history);
  pair.foot.append(
    element("button", { click: () => keys.help() }, "Keys (?)"),
    element("button", { click: () => openSettings(pair) }, "Settings (,)"),
  );
  for (const pane of pair.panes) pane.root.setAttribute("aria-description", "Tab changes the series, F6 leaves the images, ? shows all keys");
  const isInImages = (): boolean => pair.root.contains(document.activeElement);
  const magnified = (factor: number): void => {
    const { current } = pair;
    if (!current.isReady) return;
    const before = current.look;
    current.magnify(factor);
    lookStep(history, current, factor > 1 ? "larger" : "smaller", before);
  };
  /** Both panes as they came; undo brings back how each was looked at. */
  const reset = async (): Promise<void> => {
    if (!pair.isReady) return;
    const looks = pair.panes.map((pane) => pane.look);
    const undo = (): void => pair.panes.forEach((pane, index) => pane.lookAt(looks[index]!));
    await history.take({ label: "view reset", redo: () => pair.reset(), undo });
  };
  const cancel = (): void => {
    pair.cancel();
    if (document.activeElement?.matches("select, input, textarea")) pair.current.root.focus();
  };
  const windowing = (): void => {
    pair.cancel();
    set({ left: "window" });
    history.say("The left button changes the window");
  };
  const swapped = async (): Promise<void> => {
    const { standsLeft } = pair;
    const to = (left: Side) => () => pair.hang(left);
    await history.take({ label: "series changed sides", redo: to(standsLeft === "T2W" ? "T1W" : "T2W"), undo: to(standsLeft) });
  };
  /** Change how the panes scroll together, as a step. */
  const linked = async (label: string, change: () => Promise<void>): Promise<void> => {
    if (!pair.isReady) return;
    const before = pair.linking;
    await change();
    const after = pair.linking;
    const set = (linking: Linking) => () => pair.setLinking(linking);
    history.remember({ label, redo: set(after), undo: set(before) });
  };
  const steps = (id: string, words: string, names: string[], by: number): Command => ({
    id,
    words,
    keys: names,
    mode: "images",
    run: () => pair.scroll(by),
  });
  keys.add(
    steps("slice.previous", "Previous slice", ["ArrowUp"], -1),
    steps("slice.next", "Next slice", ["ArrowDown"], 1),
    steps("slice.back", "Three slices back", ["Shift+ArrowUp"], -3),
    steps("slice.on", "Three slices on", ["Shift+ArrowDown"], 3),
    { id: "slice.first", words: "First slice", keys: ["Home"], mode: "images", run: () => pair.toEnd("first") },
    { id: "slice.last", words: "Last slice", keys: ["End"], mode: "images", run: () => pair.toEnd("last") },
    { id: "pane.other", words: "Other series (in the images; elsewhere Tab goes on as always)", keys: ["Tab"], mode: "images", when: isInImages, run: () => pair.other() },
    ...(["ArrowLeft", "ArrowRight"] as const).map((key): Command => ({
      id: `pane.${key === "ArrowLeft" ? "left" : "right"}`,
      words: `Series on the ${key === "ArrowLeft" ? "left" : "right"} (where the settings say so)`,
      keys: [key],
      mode: "images",
      when: () => settings().arrows === "series",
      run: () => pair.side(key === "ArrowLeft" ? 0 : 1),
    })),
    { id: "leave", words: "From the images to the panel beside them, and back", keys: ["F6"], mode: "any", run: () => pair.leave() },
    { id: "pane.alone", words: "One series alone, or both", keys: ["Z"], mode: "images", run: () => pair.maximise(pair.current) },
    { id: "pane.swap", words: "Series change sides, in all studies of this kind", keys: ["X"], mode: "images", run: swapped },
    { id: "zoom.in", words: "Larger", keys: ["+"], mode: "images", run: () => magnified(1.25) },
    { id: "zoom.out", words: "Smaller", keys: ["-"], mode: "images", run: () => magnified(0.8) },
    { id: "hand.window", words: "The left button changes the window", keys: ["W"], mode: "images", run: windowing },
    { id: "cancel", words: "Leave drawing, or what the mouse is doing", keys: ["Escape"], mode: "images", run: cancel },
    { id: "view.reset", words: "Whole image, window as it came", keys: ["Space", "="], mode: "images", run: reset },
    { id: "link", words: "Scroll together, or each by itself", keys: ["L"], mode: "images", run: () => linked(pair.linked ? "series scroll apart" : "series scroll together", () => pair.link(!pair.linked)) },
    { id: "link.here", words: "Scroll together from these two slices on", keys: ["J"], mode: "images", run: () => linked("linked by hand", () => pair.linkHere()) },
    { id: "settings", words: "Mouse and settings", keys: [","], mode: "any", run: () => openSettings(pair) },
    { id: "undo", words: "Undo", keys: ["Ctrl+Z"], mode: "any", run: () => history.undo() },
    { id: "redo", words: "Do again", keys: ["Ctrl+Shift+Z", "Ctrl+Y"], mode: "any", run: () => history.redo() },
    ...PRESETS.map(([words, change], index): Command => ({
      id: `window.${index + 1}`,
      words: `Window: ${words.toLowerCase()}`,
      keys: [String(index + 1)],
      mode: "images",
      run: () => {
        const { current } = pair;
        if (!current.isReady) return;
        const before = current.look;
        current.lookAt({ ...before, window: change(current.series!.window) });
        lookStep(history, current, `window ${words.toLowerCase()}`, before);
      },
    })),
  );
}

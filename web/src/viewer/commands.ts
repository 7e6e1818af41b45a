/** The keys that every page with images shares: what radiologists' hands know. */

import type { Command, Keys } from "../keys";
import type { History } from "../history";
import type { Pair } from "./pair";
import type { Window } from "./pane";

const PRESETS: [string, (window: Window) => Window][] = [
  ["As it came", (whole) => whole],
  ["Softer", ({ low, high }) => ({ low, high: low + (high - low) * 1.4 })],
  ["Harder", ({ low, high }) => ({ low: low + (high - low) * 0.1, high: low + (high - low) * 0.7 })],
  ["Marrow", ({ low, high }) => ({ low: low + (high - low) * 0.05, high: low + (high - low) * 0.5 })],
  ["Fluid", ({ low, high }) => ({ low: low + (high - low) * 0.3, high: low + (high - low) * 1.2 })],
];

/** Bind scrolling, windows, zoom and linking. */
export function bindImageKeys(keys: Keys, pair: Pair, history: History): void {
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
    { id: "pane.other", words: "Other series", keys: ["Tab"], mode: "images", run: () => pair.other() },
    { id: "zoom.in", words: "Larger", keys: ["+"], mode: "images", run: () => pair.current.magnify(1.25) },
    { id: "zoom.out", words: "Smaller", keys: ["-"], mode: "images", run: () => pair.current.magnify(0.8) },
    { id: "view.reset", words: "Whole image, window as it came", keys: ["Space", "="], mode: "images", run: () => pair.reset() },
    { id: "link", words: "Scroll together, or each by itself", keys: ["L"], mode: "images", run: () => pair.link(!pair.linked) },
    { id: "link.here", words: "Scroll together from these two slices on", keys: ["J"], mode: "images", run: () => pair.linkHere() },
    { id: "undo", words: "Undo", keys: ["Ctrl+Z"], mode: "any", run: () => history.undo() },
    { id: "redo", words: "Do again", keys: ["Ctrl+Shift+Z", "Ctrl+Y"], mode: "any", run: () => history.redo() },
    ...PRESETS.map(([words, change], index): Command => ({
      id: `window.${index + 1}`,
      words: `Window: ${words.toLowerCase()}`,
      keys: [String(index + 1)],
      mode: "images",
      run: () => {
        const { current } = pair;
        const before = current.window;
        const after = change(current.series!.window);
        const set = (window: Window) => () => {
          current.window = window;
          current.painted();
        };
        return history.take({ label: `window ${words.toLowerCase()}`, redo: set(after), undo: set(before) });
      },
    })),
  );
}

/** The keys that every page with images shares, as radiologists know them. */

import type { GreyWindow } from "../contracts";
import { element } from "../dom";
import type { History } from "../history";
import type { Command, Keys } from "../keys";
import type { Side } from "./hanging";
import { Mouse, lookStep } from "./mouse";
import type { Linking, Pair } from "./pair";
import { openSettings, set, settings } from "./settings";

const PRESETS: [string, (window: GreyWindow) => GreyWindow][] = [
  ["Default", (whole) => whole],
  ["Softer", ({ low, high }) => ({ low, high: low + (high - low) * 1.4 })],
  ["Harder", ({ low, high }) => ({ low: low + (high - low) * 0.1, high: low + (high - low) * 0.7 })],
  ["Marrow", ({ low, high }) => ({ low: low + (high - low) * 0.05, high: low + (high - low) * 0.5 })],
  ["Fluid", ({ low, high }) => ({ low: low + (high - low) * 0.3, high: low + (high - low) * 1.2 })],
];

/** Bind the mouse and the keys for scrolling, windows, zoom and linking, and put buttons for keys and settings below the images. */
export function bindImageKeys(keys: Keys, pair: Pair, history: History): void {
  new Mouse(pair, history);
  pair.foot.append(
    element("button", { click: () => keys.help() }, "Keys (?)"),
    element("button", { click: () => openSettings(pair) }, "Settings (,)"),
  );
  for (const pane of pair.panes) pane.root.setAttribute("aria-description", "Tab switches to the other series, F6 leaves the images, ? shows all keys");
  const isInImages = (): boolean => pair.root.contains(document.activeElement);
  const magnified = (factor: number): void => {
    const { current } = pair;
    if (!current.isReady) return;
    const before = current.look;
    current.magnify(factor);
    lookStep(history, current, factor > 1 ? "zoomed in" : "zoomed out", before);
  };
  /** Show both series as they opened; undo restores how each was shown. */
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
    history.announce("The left button changes the window");
  };
  const swapped = async (): Promise<void> => {
    const { leftSide } = pair;
    const to = (left: Side) => () => pair.hang(left);
    await history.take({ label: "sides swapped", redo: to(leftSide === "T2W" ? "T1W" : "T2W"), undo: to(leftSide) });
  };
  /** Change how the panes scroll together, as a step to undo. */
  const linked = async (label: string, change: () => Promise<void>): Promise<void> => {
    if (!pair.isReady) return;
    const before = pair.linking;
    await change();
    const after = pair.linking;
    const set = (linking: Linking) => () => pair.setLinking(linking);
    history.remember({ label, redo: set(after), undo: set(before) });
  };
  const steps = (id: string, label: string, names: string[], by: number): Command => ({
    id,
    label,
    keys: names,
    mode: "images",
    run: () => pair.scroll(by),
  });
  keys.add(
    steps("slice.previous", "Previous slice", ["ArrowUp"], -1),
    steps("slice.next", "Next slice", ["ArrowDown"], 1),
    steps("slice.back", "Three slices back", ["Shift+ArrowUp"], -3),
    steps("slice.on", "Three slices forward", ["Shift+ArrowDown"], 3),
    { id: "slice.first", label: "First slice", keys: ["Home"], mode: "images", run: () => pair.toEnd("first") },
    { id: "slice.last", label: "Last slice", keys: ["End"], mode: "images", run: () => pair.toEnd("last") },
    { id: "pane.other", label: "Switch to the other series (within the images)", keys: ["Tab"], mode: "images", when: isInImages, run: () => pair.other() },
    ...(["ArrowLeft", "ArrowRight"] as const).map((key): Command => ({
      id: `pane.${key === "ArrowLeft" ? "left" : "right"}`,
      label: `Series on the ${key === "ArrowLeft" ? "left" : "right"} (if enabled in the settings)`,
      keys: [key],
      mode: "images",
      when: () => settings().arrows === "series",
      run: () => pair.side(key === "ArrowLeft" ? 0 : 1),
    })),
    { id: "leave", label: "Go from the images to the panel beside them, and back", keys: ["F6"], mode: "any", run: () => pair.leave() },
    { id: "pane.alone", label: "Show one series alone, or both", keys: ["Z"], mode: "images", run: () => pair.maximise(pair.current) },
    { id: "pane.swap", label: "Swap sides, in all studies of this kind", keys: ["X"], mode: "images", run: swapped },
    { id: "zoom.in", label: "Zoom in", keys: ["+"], mode: "images", run: () => magnified(1.25) },
    { id: "zoom.out", label: "Zoom out", keys: ["-"], mode: "images", run: () => magnified(0.8) },
    { id: "hand.window", label: "Let the left button change the window", keys: ["W"], mode: "images", run: windowing },
    { id: "cancel", label: "Stop drawing or dragging", keys: ["Escape"], mode: "images", run: cancel },
    { id: "view.reset", label: "Whole image, default window", keys: ["Space", "="], mode: "images", run: reset },
    { id: "link", label: "Scroll together, or separately", keys: ["L"], mode: "images", run: () => linked(pair.linked ? "series unlinked" : "series linked", () => pair.link(!pair.linked)) },
    { id: "link.here", label: "Scroll together from these two slices", keys: ["J"], mode: "images", run: () => linked("linked manually", () => pair.linkHere()) },
    { id: "settings", label: "Mouse and settings", keys: [","], mode: "any", run: () => openSettings(pair) },
    { id: "undo", label: "Undo", keys: ["Ctrl+Z"], mode: "any", run: () => history.undo() },
    { id: "redo", label: "Redo", keys: ["Ctrl+Shift+Z", "Ctrl+Y"], mode: "any", run: () => history.redo() },
    ...PRESETS.map(([label, change], index): Command => ({
      id: `window.${index + 1}`,
      label: `Window: ${label.toLowerCase()}`,
      keys: [String(index + 1)],
      mode: "images",
      run: () => {
        const { current } = pair;
        if (!current.isReady) return;
        const before = current.look;
        current.lookAt({ ...before, window: change(current.series!.window) });
        lookStep(history, current, `window ${label.toLowerCase()}`, before);
      },
    })),
  );
}

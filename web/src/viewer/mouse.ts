/** The mouse on the images: window, pan, zoom and slices by the buttons that the settings name; every drag can be undone. */

import type { History } from "../history";
import type { Pair } from "./pair";
import type { Look, Pane } from "./pane";
import { type MouseAction, settings } from "./settings";

/** Screen pixels of a drag that move one slice, that double the zoom, and that span the initial window. */
const PIXELS = { slice: 12, double: 120, window: 300 };
const NAMES: Record<MouseAction, string> = { window: "window changed", pan: "image moved", zoom: "zoom changed", slices: "" };
/** Turns of the wheel within this time are undone as one step. */
const TOGETHER_MS = 700;

interface Drag {
  pane: Pane;
  action: MouseAction;
  button: number;
  x: number;
  y: number;
  look: Look;
  slice: number;
}

/** Record a change of a pane's look as a step to undo; consecutive steps with the same `joins` count as one. */
export function lookStep(history: History, pane: Pane, label: string, before: Look, joins?: string): void {
  const after = pane.look;
  if (JSON.stringify(before) === JSON.stringify(after)) return;
  history.remember({ label, joins, redo: () => pane.lookAt(after), undo: () => pane.lookAt(before) });
}

export class Mouse {
  private drag: Drag | undefined;
  private turned = 0;
  private turns = 0;

  constructor(
    private readonly pair: Pair,
    private readonly history: History,
  ) {
    for (const pane of pair.panes) {
      pane.root.addEventListener("mousedown", (event) => this.press(pane, event));
      pane.root.addEventListener("wheel", (event) => this.wheel(pane, event), { passive: false });
      pane.root.addEventListener("dblclick", (event) => {
        if (!(event.target as Element).closest("button") && settings().doubleClick === "maximise") pair.maximise(pane);
      });
    }
    pair.onCancel(() => this.cancel());
    // In the capturing phase, before the box's own listener: a box that is drawn while the image moves follows the image.
    window.addEventListener("mousemove", (event) => this.pull(event), true);
    window.addEventListener("mouseup", (event) => this.release(event), true);
  }

  private press(pane: Pane, event: MouseEvent): void {
    if (this.drag || !pane.isReady || (event.target as Element).closest("button")) return;
    const action = actionOf(event);
    if (!action) return;
    // The browser would scroll the page or select text; the pane still takes the focus.
    event.preventDefault();
    pane.root.focus({ preventScroll: true });
    this.drag = { pane, action, button: event.button, x: event.clientX, y: event.clientY, look: pane.look, slice: pane.slice };
  }

  private pull(event: MouseEvent): void {
    if (!this.drag) return;
    const { pane, action, x, y, look, slice } = this.drag;
    const [right, down] = [event.clientX - x, event.clientY - y];
    if (action === "slices") void pane.go(slice + Math.trunc(down / PIXELS.slice));
    else if (action === "pan") pane.lookAt({ ...look, pan: [look.pan[0] + right, look.pan[1] + down] });
    else if (action === "zoom") {
      pane.lookAt(look);
      pane.magnify(2 ** (-down / PIXELS.double));
    } else pane.lookAt({ ...look, window: windowed(look, pane, right, -down) });
  }

  private release(event: MouseEvent): void {
    const { drag } = this;
    if (!drag || event.button !== drag.button) return;
    this.drag = undefined;
    if (drag.action !== "slices") lookStep(this.history, drag.pane, NAMES[drag.action], drag.look);
  }

  /** Stop a drag, and take back what it did. */
  private cancel(): void {
    const { drag } = this;
    this.drag = undefined;
    if (!drag?.pane.isReady) return;
    if (drag.action === "slices") void drag.pane.go(drag.slice);
    else drag.pane.lookAt(drag.look);
  }

  private wheel(pane: Pane, event: WheelEvent): void {
    event.preventDefault();
    const steps = Math.sign(event.deltaY || event.deltaX);
    this.pair.activate(pane);
    if (!event.ctrlKey) return void this.pair.scroll(steps * (event.shiftKey ? 3 : 1));
    if (!pane.isReady) return;
    const before = pane.look;
    pane.magnify(1.1 ** -steps);
    if (event.timeStamp - this.turned > TOGETHER_MS) this.turns += 1;
    this.turned = event.timeStamp;
    lookStep(this.history, pane, NAMES.zoom, before, `wheel ${this.turns} ${pane.name}`);
  }
}

function actionOf(event: MouseEvent): MouseAction | undefined {
  const { left, middle, right } = settings();
  if (event.button === 0 && event.shiftKey) return "pan";
  if (event.button === 0 && (event.ctrlKey || event.metaKey)) return "zoom";
  return [left, middle, right][event.button];
}

/** The window after a drag: one direction changes its width, the other its level, in fractions of the initial window. */
function windowed({ window }: Look, pane: Pane, right: number, up: number): Look["window"] {
  const { width, forward, upward } = settings();
  const initial = pane.series!.window;
  const unit = (initial.high - initial.low) / PIXELS.window;
  const [wide, bright] = width === "across" ? [right, up] : [up, right];
  const spread = (window.high - window.low) / 2 + ((forward === "wider" ? 1 : -1) * wide * unit) / 2;
  const half = Math.max(spread, unit / 2);
  const middle = (window.high + window.low) / 2 - (upward === "brighter" ? 1 : -1) * bright * unit;
  return { low: middle - half, high: middle + half };
}

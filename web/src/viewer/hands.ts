/** The mouse on the images: window, pan, zoom and slices by each button, as set; every drag can be undone. */

import type { History } from "../history";
import type { Pair } from "./pair";
import type { Look, Pane } from "./pane";
import { type Deed, settings } from "./settings";

/** Screen pixels of a drag that go to the next slice, that double the zoom, and that span the window as it came. */
const PIXELS = { slice: 12, double: 120, window: 300 };
const NAMES: Record<Deed, string> = { window: "window changed", pan: "image moved", zoom: "zoom changed", slices: "" };
/** Turns of a wheel within this time are one step to undo. */
const TOGETHER_MS = 700;

interface Drag {
  pane: Pane;
  deed: Deed;
  button: number;
  x: number;
  y: number;
  look: Look;
  slice: number;
}

/** Change how a pane is looked at, as a step that can be undone; steps that join one another count as one. */
export function lookStep(history: History, pane: Pane, label: string, before: Look, joins?: string): void {
  const after = pane.look;
  if (JSON.stringify(before) === JSON.stringify(after)) return;
  history.remember({ label, joins, redo: () => pane.lookAt(after), undo: () => pane.lookAt(before) });
}

export class Hands {
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
    // Before the box's own listener: a box that is drawn while the image moves is drawn on the moved image.
    window.addEventListener("mousemove", (event) => this.pull(event), true);
    window.addEventListener("mouseup", (event) => this.release(event), true);
  }

  private press(pane: Pane, event: MouseEvent): void {
    if (this.drag || !pane.isReady || (event.target as Element).closest("button")) return;
    const deed = deedOf(event);
    if (!deed) return;
    // A middle press would scroll the page, a left one mark its text; the pane still takes the focus.
    event.preventDefault();
    pane.root.focus({ preventScroll: true });
    this.drag = { pane, deed, button: event.button, x: event.clientX, y: event.clientY, look: pane.look, slice: pane.slice };
  }

  private pull(event: MouseEvent): void {
    if (!this.drag) return;
    const { pane, deed, x, y, look, slice } = this.drag;
    const [right, down] = [event.clientX - x, event.clientY - y];
    if (deed === "slices") void pane.go(slice + Math.trunc(down / PIXELS.slice));
    else if (deed === "pan") pane.lookAt({ ...look, pan: [look.pan[0] + right, look.pan[1] + down] });
    else if (deed === "zoom") {
      pane.lookAt(look);
      pane.magnify(2 ** (-down / PIXELS.double));
    } else pane.lookAt({ ...look, window: windowed(look, pane, right, -down) });
  }

  private release(event: MouseEvent): void {
    const { drag } = this;
    if (!drag || event.button !== drag.button) return;
    this.drag = undefined;
    if (drag.deed !== "slices") lookStep(this.history, drag.pane, NAMES[drag.deed], drag.look);
  }

  /** Leave a drag, and what it did. */
  private cancel(): void {
    const { drag } = this;
    this.drag = undefined;
    if (!drag?.pane.isReady) return;
    if (drag.deed === "slices") void drag.pane.go(drag.slice);
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

function deedOf(event: MouseEvent): Deed | undefined {
  const { left, middle, right } = settings();
  if (event.button === 0 && event.shiftKey) return "pan";
  if (event.button === 0 && (event.ctrlKey || event.metaKey)) return "zoom";
  return [left, middle, right][event.button];
}

/** The window after a drag: one way its width, the other its middle, in shares of the window that the image came with. */
function windowed({ window }: Look, pane: Pane, right: number, up: number): Look["window"] {
  const { width, forward, upward } = settings();
  const came = pane.series!.window;
  const unit = (came.high - came.low) / PIXELS.window;
  const [wide, bright] = width === "across" ? [right, up] : [up, right];
  const spread = (window.high - window.low) / 2 + ((forward === "wider" ? 1 : -1) * wide * unit) / 2;
  const half = Math.max(spread, unit / 2);
  const middle = (window.high + window.low) / 2 - (upward === "brighter" ? 1 : -1) * bright * unit;
  return { low: middle - half, high: middle + half };
}

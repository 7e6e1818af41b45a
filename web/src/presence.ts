/** Whether the reader is looking at the page, reported to the server, whose clock measures the time. */

import { send } from "./api";
import type { Presence as State } from "./contracts";

const IDLE_AFTER_MS = 60_000;
const BEAT_MS = 30_000;

/** Which case of which session is being read. */
export interface CasePath {
  study: string;
  session: number;
  handle: string;
}

export class PresenceReport {
  isPaused = false;
  private reported: State = "visible";
  private lastTouch = Date.now();

  constructor(private path: CasePath) {
    const touch = (): void => {
      this.lastTouch = Date.now();
      if (this.reported === "idle") this.report();
    };
    for (const kind of ["keydown", "pointerdown", "pointermove", "wheel"]) window.addEventListener(kind, touch, { passive: true });
    document.addEventListener("visibilitychange", () => this.report());
    window.setInterval(() => {
      if (this.state === "visible" || this.state !== this.reported) this.report();
    }, BEAT_MS);
  }

  /** Report on another case from now on; opening it counts as looking. */
  turnTo(path: CasePath): void {
    this.path = path;
    this.isPaused = false;
    this.lastTouch = Date.now();
    this.reported = "visible";
    if (this.state !== this.reported) this.report();
  }

  /** Pause, or resume. */
  pause(isPaused: boolean): void {
    this.isPaused = isPaused;
    this.lastTouch = Date.now();
    this.report();
  }

  /** Report that nobody is looking any more; the next report says when somebody is back. */
  async leave(): Promise<void> {
    this.reported = "hidden";
    await this.sent();
  }

  private get state(): State {
    if (this.isPaused) return "paused";
    if (document.visibilityState === "hidden") return "hidden";
    return Date.now() - this.lastTouch > IDLE_AFTER_MS ? "idle" : "visible";
  }

  private report(): void {
    this.reported = this.state;
    void this.sent();
  }

  /** A lost report costs nothing: the server counts silence as idle. */
  private async sent(): Promise<void> {
    await send("post", "/api/read/{study}/{session}/{handle}/presence", { ...this.path }, { presence: this.reported }).catch(() => undefined);
  }
}

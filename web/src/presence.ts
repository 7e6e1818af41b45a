/** Whether the reader looks: told to the server, whose clock measures. */

import { send } from "./api";

type State = "visible" | "idle" | "hidden" | "paused";

const IDLE_AFTER_MS = 60_000;
const BEAT_MS = 30_000;

export class Presence {
  isPaused = false;
  private told: State = "visible";
  private lastTouch = Date.now();

  constructor(private path: string) {
    const touch = (): void => {
      this.lastTouch = Date.now();
      if (this.told === "idle") this.tell();
    };
    for (const kind of ["keydown", "pointerdown", "pointermove", "wheel"]) window.addEventListener(kind, touch, { passive: true });
    document.addEventListener("visibilitychange", () => this.tell());
    window.setInterval(() => {
      if (this.state === "visible" || this.state !== this.told) this.tell();
    }, BEAT_MS);
  }

  /** Tell of another case from now on; its opening counts as looking. */
  turnTo(path: string): void {
    this.path = path;
    this.isPaused = false;
    this.lastTouch = Date.now();
    this.told = "visible";
    if (this.state !== this.told) this.tell();
  }

  /** Pause, or go on. */
  pause(isPaused: boolean): void {
    this.isPaused = isPaused;
    this.lastTouch = Date.now();
    this.tell();
  }

  /** Say that nobody looks from now on; who comes back is seen by the next word. */
  async leave(): Promise<void> {
    this.told = "hidden";
    await send("POST", this.path, { presence: this.told }).catch(() => undefined);
  }

  private get state(): State {
    if (this.isPaused) return "paused";
    if (document.visibilityState === "hidden") return "hidden";
    return Date.now() - this.lastTouch > IDLE_AFTER_MS ? "idle" : "visible";
  }

  private tell(): void {
    this.told = this.state;
    // A lost message costs nothing: silence counts as idle.
    void send("POST", this.path, { presence: this.told }).catch(() => undefined);
  }
}

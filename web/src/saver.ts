/** Saving without a button: soon after each change, with retries while the server is away, and never over another page's change. */

import { Refusal } from "./api";

const AFTER_MS = 300;
const PAUSES_MS = [1000, 2000, 4000, 8000, 15000, 30000];

/** A change that an earlier page could not save. */
export interface Kept<State> {
  state: State | undefined;
  /** Whether the server still holds the revision that the change was made to. */
  isCurrent: boolean;
}

export class Saver<State> {
  /** Name under which an unsaved change is kept in this browser. */
  private name = "";
  private state: State | undefined;
  private revision = "none";
  private timer: number | undefined;
  private saving: Promise<void> | undefined;
  private failures = 0;
  private isStale = false;
  private unsaved = false;
  /** Counts the things turned to: a late response belongs to one that has been left. */
  private turn = 0;

  constructor(
    /** Sends a state, and returns its revision. */
    private readonly put: (state: State | undefined, revision: string) => Promise<string>,
    private readonly tell: (message: string, isAlarm?: boolean) => void,
    /** Called when another page has saved in the meantime. */
    private readonly stale: () => void,
  ) {
    window.addEventListener("online", () => this.failures && void this.save());
  }

  get isUnsaved(): boolean {
    return this.unsaved;
  }

  /** Turn to something else to save. Unsaved changes of the last one stay in this browser and are no longer sent. */
  turnTo(name: string): void {
    window.clearTimeout(this.timer);
    this.turn += 1;
    this.name = name;
    this.state = undefined;
    this.unsaved = false;
    this.isStale = false;
    this.failures = 0;
  }

  /** Start from what the server holds; returns a change that an earlier page could not save. */
  begin(revision: string): Kept<State> | undefined {
    const found = this.unsaved ? JSON.stringify({ state: this.state, revision: this.revision }) : localStorage.getItem(this.key);
    this.take(revision);
    if (found === null) return undefined;
    try {
      const kept = JSON.parse(found) as { state?: State; revision: string };
      const isCurrent = kept.revision === revision;
      this.state = kept.state;
      this.unsaved = true;
      this.isStale = !isCurrent;
      localStorage.setItem(this.key, found);
      return { state: kept.state, isCurrent };
    } catch {
      return undefined;
    }
  }

  /** Accept what the server holds; nothing is left to save. */
  take(revision: string): void {
    this.revision = revision;
    this.isStale = false;
    this.failures = 0;
    this.done();
  }

  /** Keep a new state, and send it soon. */
  change(state: State | undefined): void {
    this.state = state;
    this.unsaved = true;
    localStorage.setItem(this.key, JSON.stringify({ state, revision: this.revision }));
    if (this.isStale) return this.stale();
    this.tell("Saving …");
    this.later(AFTER_MS);
  }

  /** Send now; resolves to whether everything is saved. */
  async flush(): Promise<boolean> {
    if (this.unsaved && !this.isStale) await this.save();
    return !this.unsaved;
  }

  private get key(): string {
    return `spinefx.unsaved ${this.name}`;
  }

  private done(): void {
    this.unsaved = false;
    window.clearTimeout(this.timer);
    localStorage.removeItem(this.key);
  }

  private later(pause: number): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.save(), pause);
  }

  /** Send one state at a time, the newest last. */
  private async save(): Promise<void> {
    window.clearTimeout(this.timer);
    await this.saving;
    if (!this.unsaved || this.isStale) return;
    this.saving = this.send();
    await this.saving;
  }

  private async send(): Promise<void> {
    const { state, turn, key } = this;
    const kept = localStorage.getItem(key);
    try {
      const revision = await this.put(state, this.revision);
      if (turn !== this.turn) {
        if (localStorage.getItem(key) === kept) localStorage.removeItem(key);
        return;
      }
      this.revision = revision;
      this.failures = 0;
      if (state === this.state) {
        this.done();
        this.tell("Saved");
      }
    } catch (error) {
      if (turn === this.turn) this.failed(error);
    }
  }

  private failed(error: unknown): void {
    if (!(error instanceof Refusal)) return this.tell("Not saved", true);
    if (error.kind === "StaleError") {
      this.isStale = true;
      return this.stale();
    }
    // Content that the server refuses must be changed first; a server that is away comes back.
    if (error.status !== 0 && error.status < 500) return this.tell(`Not saved: ${error.message}`, true);
    const pause = PAUSES_MS[Math.min(this.failures, PAUSES_MS.length - 1)]!;
    this.failures += 1;
    this.tell(`Not saved: ${error.message} The change is kept in this browser and sent again every ${pause / 1000} s.`, true);
    this.later(pause);
  }
}

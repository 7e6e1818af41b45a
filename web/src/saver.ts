/** Saving without a button: soon after each change, again and again while the server is away, and never over another's. */

import { Refusal } from "./api";

const AFTER_MS = 300;
const PAUSES_MS = [1000, 2000, 4000, 8000, 15000, 30000];

/** What was changed and not saved, as a page before this one left it. */
export interface Kept<State> {
  state: State | undefined;
  /** Whether the server still holds what the change began from. */
  isCurrent: boolean;
}

export class Saver<State> {
  /** Name under which an unsaved change waits in this browser. */
  private name = "";
  private state: State | undefined;
  private revision = "none";
  private timer: number | undefined;
  private saving: Promise<void> | undefined;
  private failures = 0;
  private isStale = false;
  private unsaved = false;
  /** Counts what was turned to: an answer that comes late speaks for what has been left. */
  private turn = 0;

  constructor(
    /** Sends a state, and gives back its revision. */
    private readonly put: (state: State | undefined, revision: string) => Promise<string>,
    private readonly tell: (words: string, isAlarm?: boolean) => void,
    /** Somebody else saved meanwhile. */
    private readonly stale: () => void,
  ) {
    window.addEventListener("online", () => this.failures && void this.save());
  }

  get isUnsaved(): boolean {
    return this.unsaved;
  }

  /** Turn to another thing to save. What was not saved of the last one stays in this browser, and is sent no more. */
  turnTo(name: string): void {
    window.clearTimeout(this.timer);
    this.turn += 1;
    this.name = name;
    this.state = undefined;
    this.unsaved = false;
    this.isStale = false;
    this.failures = 0;
  }

  /** Begin from what the server holds; gives a change that an earlier page could not save. */
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

  /** What the server holds is known and taken; nothing is left to save. */
  take(revision: string): void {
    this.revision = revision;
    this.isStale = false;
    this.failures = 0;
    this.done();
  }

  /** Keep a state from now on, and send it soon. */
  change(state: State | undefined): void {
    this.state = state;
    this.unsaved = true;
    localStorage.setItem(this.key, JSON.stringify({ state, revision: this.revision }));
    if (this.isStale) return this.stale();
    this.tell("Saving …");
    this.later(AFTER_MS);
  }

  /** Send now; whether all is saved. */
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

  /** One at a time, the newest state last. */
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
    // A refusal of the content stands until it is changed; a server that is away comes back.
    if (error.status !== 0 && error.status < 500) return this.tell(`Not saved: ${error.message}`, true);
    const pause = PAUSES_MS[Math.min(this.failures, PAUSES_MS.length - 1)]!;
    this.failures += 1;
    this.tell(`Not saved: ${error.message} It is kept here, and sent again every ${pause / 1000} s until the server takes it.`, true);
    this.later(pause);
  }
}

/** Undo and redo of any change that can be done forwards and backwards. */

export interface Step {
  /** What the step did, for the status line. */
  label: string;
  /** Consecutive steps with the same value here are undone as one, such as turns of the wheel. */
  joins?: string | undefined;
  redo: () => void | Promise<void>;
  undo: () => void | Promise<void>;
}

const LONGEST = 200;

export class History {
  private readonly done: Step[] = [];
  private readonly undone: Step[] = [];
  private readonly watchers: ((message: string) => void)[] = [];

  /** Do a step, and record it. */
  async take(step: Step): Promise<void> {
    await step.redo();
    this.remember(step);
  }

  /** Record a step that is already done, such as a drag. */
  remember(step: Step): void {
    const last = this.done.at(-1);
    if (step.joins !== undefined && last?.joins === step.joins && !this.undone.length) last.redo = step.redo;
    else this.done.push(step);
    if (this.done.length > LONGEST) this.done.shift();
    this.undone.length = 0;
    this.announce(step.label);
  }

  async undo(): Promise<void> {
    const step = this.done.pop();
    if (!step) return this.announce("Nothing to undo");
    await step.undo();
    this.undone.push(step);
    this.announce(`Undone: ${step.label}`);
  }

  async redo(): Promise<void> {
    const step = this.undone.pop();
    if (!step) return this.announce("Nothing to redo");
    await step.redo();
    this.done.push(step);
    this.announce(`Redone: ${step.label}`);
  }

  /** Start afresh, as for another case. */
  clear(): void {
    this.done.length = 0;
    this.undone.length = 0;
  }

  watch(watcher: (message: string) => void): void {
    this.watchers.push(watcher);
  }

  /** Tell the watchers something without recording a step. */
  announce(message: string): void {
    for (const watcher of this.watchers) watcher(message);
  }
}

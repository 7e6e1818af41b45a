/** Undo and redo of anything that can be said as two ways of doing: forward and back. */

export interface Step {
  /** What the step did, for the status line. */
  label: string;
  /** Steps in a row with the same word here are undone as one, as the turns of a wheel are. */
  joins?: string | undefined;
  redo: () => void | Promise<void>;
  undo: () => void | Promise<void>;
}

const LONGEST = 200;

export class History {
  private readonly done: Step[] = [];
  private readonly undone: Step[] = [];
  private readonly watchers: ((said: string) => void)[] = [];

  /** Do a step, and remember it. */
  async take(step: Step): Promise<void> {
    await step.redo();
    this.remember(step);
  }

  /** Remember a step that was done already, as a drag is. */
  remember(step: Step): void {
    const last = this.done.at(-1);
    if (step.joins !== undefined && last?.joins === step.joins && !this.undone.length) last.redo = step.redo;
    else this.done.push(step);
    if (this.done.length > LONGEST) this.done.shift();
    this.undone.length = 0;
    this.say(step.label);
  }

  async undo(): Promise<void> {
    const step = this.done.pop();
    if (!step) return this.say("Nothing to undo");
    await step.undo();
    this.undone.push(step);
    this.say(`Undone: ${step.label}`);
  }

  async redo(): Promise<void> {
    const step = this.undone.pop();
    if (!step) return this.say("Nothing to redo");
    await step.redo();
    this.done.push(step);
    this.say(`Done again: ${step.label}`);
  }

  /** Begin anew, as for another case. */
  clear(): void {
    this.done.length = 0;
    this.undone.length = 0;
  }

  watch(watcher: (said: string) => void): void {
    this.watchers.push(watcher);
  }

  /** Tell whoever watches; no step is remembered. */
  say(said: string): void {
    for (const watcher of this.watchers) watcher(said);
  }
}

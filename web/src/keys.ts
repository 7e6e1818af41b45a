/** Keyboard shortcuts: one table that users can change, that detects conflicts, and that "?" shows. */

import { element } from "./dom";

export interface Command {
  /** Name under which a user's own keys are stored. */
  id: string;
  /** What it does, for the help. */
  label: string;
  /** Keys as written in the help, such as "Ctrl+Z". */
  keys: string[];
  /** Commands of the same mode must not share a key; only one mode is active at a time. */
  mode: string;
  /** Where this returns false, the browser handles the key. */
  when?: () => boolean;
  run: (event: KeyboardEvent) => void | Promise<void>;
}

const STORE = "spinefx.keys";
/** Input fields in which keys are text. */
const TYPING = new Set(["text", "search", "number", "password", "email", "url"]);

/** Name a key press as the table does. */
export function keyName(event: KeyboardEvent): string {
  const name = event.key === " " ? "Space" : event.key.length === 1 ? event.key.toUpperCase() : event.key;
  const isSign = event.key.length === 1 && event.key.toUpperCase() === event.key.toLowerCase();
  return [event.ctrlKey || event.metaKey ? "Ctrl" : "", event.altKey ? "Alt" : "", event.shiftKey && !isSign ? "Shift" : "", name]
    .filter(Boolean)
    .join("+");
}

function isTyping(target: EventTarget | null): boolean {
  if (target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  if (target instanceof HTMLInputElement) return TYPING.has(target.type);
  return target instanceof HTMLElement && target.isContentEditable;
}

/** Whether the focused element needs the key itself, as a button needs Space and a choice its arrows. */
function isOwn(target: EventTarget | null, key: string): boolean {
  if (!(target instanceof Element)) return false;
  if (target instanceof HTMLInputElement) return key === "Space" || key.startsWith("Arrow");
  return target.matches("button, a[href], summary") && (key === "Space" || key === "Enter");
}

export class Keys {
  mode = "images";
  private readonly commands: Command[] = [];
  private readonly own: Record<string, string[]> = JSON.parse(localStorage.getItem(STORE) ?? "{}") as Record<string, string[]>;
  private readonly dialog = element("dialog", { class: "help", "aria-label": "Keys" });
  private readonly listener = (event: KeyboardEvent): void => this.pressed(event);

  constructor() {
    // On the window and in the capturing phase, so that keys work wherever the focus is.
    window.addEventListener("keydown", this.listener, true);
    document.body.append(this.dialog);
    this.add({ id: "help", label: "Show these keys", keys: ["?"], mode: "any", run: () => this.help() });
  }

  add(...commands: Command[]): void {
    for (const command of commands) {
      const clash = this.clashOf(command, this.keysOf(command));
      if (clash) throw new Error(`${command.id} and ${clash.id} share a key`);
      this.commands.push(command);
    }
  }

  /** Remove the keys from the page. */
  close(): void {
    window.removeEventListener("keydown", this.listener, true);
    this.dialog.remove();
  }

  keysOf(command: Command): string[] {
    return this.own[command.id] ?? command.keys;
  }

  /** Give a command other keys; where another command has one of them, change nothing and return that command. */
  rebind(id: string, keys: string[]): Command | undefined {
    const command = this.commands.find((one) => one.id === id)!;
    const clash = this.clashOf(command, keys);
    if (clash) return clash;
    this.own[id] = keys;
    localStorage.setItem(STORE, JSON.stringify(this.own));
    return undefined;
  }

  /** Restore the default keys. */
  restore(): void {
    for (const id of Object.keys(this.own)) delete this.own[id];
    localStorage.removeItem(STORE);
  }

  private clashOf(command: Command, keys: string[]): Command | undefined {
    const meets = (mode: string): boolean => mode === command.mode || mode === "any" || command.mode === "any";
    return this.commands.find(
      (other) => other.id !== command.id && meets(other.mode) && this.keysOf(other).some((key) => keys.includes(key)),
    );
  }

  private pressed(event: KeyboardEvent): void {
    const key = keyName(event);
    if (document.querySelector("dialog[open]")) return;
    if (isTyping(event.target) && key !== "Escape" && !/^F\d+$/.test(key)) return;
    if (isOwn(event.target, key) && this.mode === "images") return;
    const command = this.commands.find(
      (one) => (one.mode === "any" || one.mode === this.mode) && this.keysOf(one).includes(key) && one.when?.() !== false,
    );
    if (!command) return;
    event.preventDefault();
    event.stopPropagation();
    void command.run(event);
  }

  help(): void {
    const status = element("span", { role: "status" });
    const rows = this.commands.map((command) => {
      const field = element("input", {
        type: "text",
        value: this.keysOf(command).join(", "),
        "aria-label": `Keys for: ${command.label}`,
        change: (event: Event) => {
          const keys = (event.target as HTMLInputElement).value.split(",").map((one) => one.trim()).filter(Boolean);
          const clash = this.rebind(command.id, keys);
          status.textContent = clash ? `Already used by: ${clash.label}` : `Saved: ${command.label}`;
        },
      });
      return element("tr", {}, element("th", { scope: "row" }, command.label), element("td", {}, field));
    });
    this.dialog.replaceChildren(
      element("h2", {}, "Keys"),
      element("p", {}, "To change keys, type others, separated by commas. They are kept in this browser."),
      element(
        "p",
        { class: "sticky" },
        element("button", { click: () => this.dialog.close(), autofocus: true }, "Close"),
        " ",
        element("button", { click: () => (this.restore(), this.dialog.close(), this.help()) }, "Restore defaults"),
        " ",
        status,
      ),
      element("table", {}, element("tbody", {}, ...rows)),
    );
    this.dialog.showModal();
  }
}

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Command, Keys, keyName } from "../src/keys";

let keys: Keys;
let ran: string[];

function command(id: string, names: string[], mode = "images", more: Partial<Command> = {}): Command {
  return { id, label: id, keys: names, mode, run: () => void ran.push(id), ...more };
}

function press(key: string, target: EventTarget = document.body, more: KeyboardEventInit = {}): KeyboardEvent {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
  target.dispatchEvent(event);
  return event;
}

beforeEach(() => {
  localStorage.clear();
  ran = [];
  keys = new Keys();
});
afterEach(() => {
  keys.close();
  document.body.replaceChildren();
});

describe("names of keys", () => {
  test.each([
    [{ key: "b" }, "B"],
    [{ key: "B", shiftKey: true }, "Shift+B"],
    [{ key: "z", ctrlKey: true }, "Ctrl+Z"],
    [{ key: "z", metaKey: true }, "Ctrl+Z"],
    [{ key: "Z", ctrlKey: true, shiftKey: true }, "Ctrl+Shift+Z"],
    [{ key: "ArrowUp", altKey: true, shiftKey: true }, "Alt+Shift+ArrowUp"],
    [{ key: " " }, "Space"],
    [{ key: "?", shiftKey: true }, "?"],
    [{ key: "+", shiftKey: true }, "+"],
  ])("%j is %s", (init, name) => expect(keyName(new KeyboardEvent("keydown", init))).toBe(name));
});

test("a key runs the command of the active mode, and nothing else sees it", () => {
  keys.add(command("next", ["N"]), command("no", ["N"], "form"));
  expect(press("n").defaultPrevented).toBe(true);
  keys.mode = "form";
  press("n");
  expect(ran).toEqual(["next", "no"]);
  expect(press("q").defaultPrevented).toBe(false);
});

test("two commands that are active at the same time cannot share a key", () => {
  keys.add(command("next", ["N", "ArrowDown"]));
  expect(() => keys.add(command("other", ["ArrowDown"]))).toThrow("other and next share a key");
  expect(() => keys.add(command("any", ["N"], "any"))).toThrow("share a key");
  keys.add(command("form", ["N"], "form"));
});

test("users change keys unless they are taken, and the change survives a reload", () => {
  keys.add(command("next", ["N"]), command("link", ["L"]));
  expect(keys.rebind("next", ["L"])?.id).toBe("link");
  expect(keys.rebind("next", ["K", "J"])).toBeUndefined();
  press("n");
  press("k");
  expect(ran).toEqual(["next"]);
  keys.close();
  keys = new Keys();
  keys.add(command("next", ["N"]));
  press("j");
  expect(ran).toEqual(["next", "next"]);
  keys.restore();
  press("n");
  expect(ran).toHaveLength(3);
});

test("while the user types, keys are text, except Escape and function keys", () => {
  keys.add(command("next", ["N"]), command("cancel", ["Escape"]), command("leave", ["F6"], "any"));
  const field = document.body.appendChild(document.createElement("input"));
  expect(press("n", field).defaultPrevented).toBe(false);
  press("Escape", field);
  press("F6", field);
  expect(ran).toEqual(["cancel", "leave"]);
});

test("a focused button keeps Space and Enter, and a choice its arrows", () => {
  keys.add(command("reset", ["Space"]), command("next", ["ArrowDown"]));
  const button = document.body.appendChild(document.createElement("button"));
  const slider = document.body.appendChild(Object.assign(document.createElement("input"), { type: "range" }));
  press(" ", button);
  press("ArrowDown", slider);
  expect(ran).toEqual([]);
  press("ArrowDown", button);
  expect(ran).toEqual(["next"]);
});

test("a command that does not apply leaves the key to the browser", () => {
  keys.add(command("tab", ["Tab"], "images", { when: () => false }));
  expect(press("Tab").defaultPrevented).toBe(false);
});

import { beforeEach, expect, test } from "vitest";
import { History, type Step } from "../src/history";

let history: History;
let value: number;
let messages: string[];

/** A step that sets the value. */
function to(after: number, joins?: string): Step {
  const before = value;
  return { label: `to ${after}`, joins, redo: () => void (value = after), undo: () => void (value = before) };
}

beforeEach(() => {
  history = new History();
  value = 0;
  messages = [];
  history.watch((message) => messages.push(message));
});

test("steps are undone and redone in order, and a new step forgets what was undone", async () => {
  await history.take(to(1));
  await history.take(to(2));
  await history.undo();
  expect(value).toBe(1);
  await history.undo();
  await history.undo();
  expect(value).toBe(0);
  expect(messages.at(-1)).toBe("Nothing to undo");
  await history.redo();
  expect(value).toBe(1);
  await history.take(to(5));
  await history.redo();
  expect(value).toBe(5);
  expect(messages.at(-1)).toBe("Nothing to redo");
});

test("consecutive steps that join are undone as one, and another step ends them", async () => {
  for (const turn of [1, 2, 3]) await history.take(to(turn, "wheel 1"));
  await history.take(to(7));
  await history.take(to(8, "wheel 1"));
  await history.undo();
  expect(value).toBe(7);
  await history.undo();
  expect(value).toBe(3);
  await history.undo();
  expect(value).toBe(0);
  await history.redo();
  expect(value).toBe(3);
});

test("a step joins nothing after an undo", async () => {
  await history.take(to(1, "wheel"));
  await history.take(to(2));
  await history.undo();
  await history.take(to(3, "wheel"));
  await history.undo();
  expect(value).toBe(1);
});

test("a step that fails is not recorded", async () => {
  const failing = { label: "fails", redo: () => Promise.reject(new Error("no")), undo: () => undefined };
  await expect(history.take(failing)).rejects.toThrow("no");
  await history.undo();
  expect(messages.at(-1)).toBe("Nothing to undo");
});

test("the last two hundred steps are kept", async () => {
  for (let step = 1; step <= 250; step++) await history.take(to(step));
  for (let step = 0; step < 250; step++) await history.undo();
  expect(value).toBe(50);
});

test("after a clear there is nothing to undo or redo", async () => {
  await history.take(to(1));
  await history.undo();
  history.clear();
  await history.redo();
  await history.undo();
  expect(value).toBe(0);
});

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Refusal } from "../src/api";
import { Saver } from "../src/saver";

interface Sent {
  state: string | undefined;
  revision: string;
}

let sent: Sent[];
let trouble: Refusal | undefined;
let messages: [string, boolean][];
let stale: number;

/** A saver of words; the server's revision counts what was saved. */
function saver(name = "sub-001"): Saver<string> {
  const made = new Saver<string>(
    async (state, revision) => {
      sent.push({ state, revision });
      if (trouble) throw trouble;
      return String(sent.length);
    },
    (message, isAlarm = false) => messages.push([message, isAlarm]),
    () => (stale += 1),
  );
  made.turnTo(name);
  return made;
}

function alarms(): string[] {
  return messages.filter(([, isAlarm]) => isAlarm).map(([message]) => message);
}

beforeEach(() => {
  vi.useFakeTimers();
  localStorage.clear();
  [sent, messages, stale, trouble] = [[], [], 0, undefined];
});
afterEach(() => vi.useRealTimers());

test("changes in quick succession are sent once, with the last state and the known revision", async () => {
  const one = saver();
  one.begin("7");
  for (const state of ["a", "b", "c"]) one.change(state);
  expect(one.isUnsaved).toBe(true);
  await vi.advanceTimersByTimeAsync(400);
  expect(sent).toEqual([{ state: "c", revision: "7" }]);
  expect(one.isUnsaved).toBe(false);
  one.change("d");
  await vi.advanceTimersByTimeAsync(400);
  expect(sent[1]).toEqual({ state: "d", revision: "1" });
  expect(localStorage.length).toBe(0);
});

test("while the server is away the change is kept and sent again, at growing intervals", async () => {
  const one = saver();
  one.begin("none");
  trouble = new Refusal(0, "Offline", "The server does not answer.");
  one.change("a");
  await vi.advanceTimersByTimeAsync(300 + 1000 + 2000 + 10);
  expect(sent).toHaveLength(3);
  expect(alarms()[0]).toMatch(/Not saved: The server does not answer.*every 1 s/);
  expect(localStorage.length).toBe(1);
  trouble = undefined;
  await vi.advanceTimersByTimeAsync(4000);
  expect(one.isUnsaved).toBe(false);
  expect(messages.at(-1)).toEqual(["Saved", false]);
});

test("content that the server refuses is not sent again until it is changed", async () => {
  const one = saver();
  one.begin("none");
  trouble = new Refusal(422, "BoxError", "a box of 3 mm");
  one.change("a");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(sent).toHaveLength(1);
  expect(alarms()).toEqual(["Not saved: a box of 3 mm"]);
  trouble = undefined;
  one.change("b");
  await vi.advanceTimersByTimeAsync(400);
  expect(one.isUnsaved).toBe(false);
});

test("another page's change is never overwritten unseen", async () => {
  const one = saver();
  one.begin("none");
  trouble = new Refusal(409, "StaleError", "changed");
  one.change("mine");
  await vi.advanceTimersByTimeAsync(400);
  expect(stale).toBe(1);
  one.change("mine again");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(sent).toHaveLength(1);
  trouble = undefined;
  one.take("9");
  one.change("mine again");
  await vi.advanceTimersByTimeAsync(400);
  expect(sent[1]).toEqual({ state: "mine again", revision: "9" });
});

test("a change that a closed page could not save is restored, and marked if the server has moved on", async () => {
  const closed = saver();
  closed.begin("3");
  trouble = new Refusal(0, "Offline", "away");
  closed.change("unsaved");
  await vi.advanceTimersByTimeAsync(400);
  expect(saver().begin("3")).toEqual({ state: "unsaved", isCurrent: true });
  expect(saver().begin("4")).toEqual({ state: "unsaved", isCurrent: false });
  expect(saver("sub-002").begin("3")).toBeUndefined();
});

test("a deletion is a state as well", async () => {
  const one = saver();
  one.begin("3");
  one.change(undefined);
  await vi.advanceTimersByTimeAsync(400);
  expect(sent).toEqual([{ state: undefined, revision: "3" }]);
});

test("what cannot be read in the browser's store is as good as nothing", () => {
  localStorage.setItem("spinefx.unsaved sub-001", "{");
  expect(saver().begin("3")).toBeUndefined();
});

test("flush sends at once and says whether everything is saved", async () => {
  const one = saver();
  one.begin("none");
  one.change("a");
  expect(await one.flush()).toBe(true);
  expect(sent).toHaveLength(1);
  trouble = new Refusal(500, "InternalError", "broken");
  one.change("b");
  expect(await one.flush()).toBe(false);
  one.turnTo("");
});

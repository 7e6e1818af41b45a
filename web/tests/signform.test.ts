import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Score } from "../src/contracts";
import { Keys } from "../src/keys";
import { type Scores, SignForm } from "../src/signform";

const SIGNS = [...Array(15).keys()].map((number) => ({ identifier: `sign${number + 1}`, label: `Sign ${number + 1}`, definition: "When to score it." }));
let keys: Keys;
let form: SignForm;
let scores: Scores;
let left: () => void;

function press(...names: string[]): void {
  for (const key of names) document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
}

beforeEach(() => {
  localStorage.clear();
  keys = new Keys();
  [scores, left] = [{}, vi.fn()];
  form = new SignForm(SIGNS, keys, () => scores, (sign, score: Score) => void (scores = { ...scores, [sign.identifier]: score }), () => left());
  document.body.append(form.root);
});
afterEach(() => (keys.close(), document.body.replaceChildren()));

test("all fifteen signs are scored by two keys each, and then the images have the keys again", () => {
  press("f");
  for (const _ of SIGNS) press("y", "Enter");
  expect(form.done).toBe(15);
  expect(left).toHaveBeenCalledOnce();
  expect(keys.mode).toBe("images");
});

test("two digits choose a row beyond the ninth, and a third starts afresh", () => {
  press("f", "1", "2", "u");
  expect(scores).toEqual({ sign12: "u" });
  press("1", "6", "n");
  expect(scores).toEqual({ sign12: "u", sign6: "n" });
  press("0", "y");
  expect(scores).toEqual({ sign12: "u", sign6: "y" });
});

test("the form is entered at the first sign that is not scored", () => {
  scores = { sign1: "y", sign2: "n" };
  press("f", "u");
  expect(scores).toEqual({ sign1: "y", sign2: "n", sign3: "u" });
});

test("the arrows stop at the ends", () => {
  press("f", "ArrowUp", "y", ...Array<string>(30).fill("ArrowDown"), "n");
  expect(scores).toEqual({ sign1: "y", sign15: "n" });
});

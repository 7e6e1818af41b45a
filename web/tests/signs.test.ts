import { expect, test } from "vitest";
import type { SignRow } from "../src/contracts";
import { answered, byWeight, percent, push, signsPart } from "../src/signs";

const row = (identifier: string, log_odds: number, probability: number | null = 0.5): SignRow => ({ identifier, label: identifier, log_odds, probability, answer: null });

test("a sign says which way it pushes and how far", () => {
  expect(push(1.26)).toBe("▲ malignant 1.3");
  expect(push(-0.8)).toBe("▼ benign 0.8");
  expect(push(0.01)).toBe("no effect");
});

test("no probability is shown as certain", () => {
  expect([0, 0.004, 0.006, 0.5, 0.994, 0.996, 1].map(percent)).toEqual(["<1%", "<1%", "1%", "50%", "99%", ">99%", ">99%"]);
});

test("the same answer again takes it back, another replaces it", () => {
  expect(answered({}, "a", "y")).toEqual({ a: "y" });
  expect(answered({ a: "y" }, "a", "n")).toEqual({ a: "n" });
  expect(answered({ a: "y", b: "u" }, "a", "y")).toEqual({ b: "u" });
});

test("the heaviest sign comes first, whichever way it pushes", () => {
  expect(byWeight([row("a", 0.2), row("b", -3), row("c", 1)]).map((one) => one.identifier)).toEqual(["b", "c", "a"]);
});

test("a reading without a number says why, and shows no number", () => {
  const why = { kind: "BoxError", words: "The box does not lie on the image.", reason: "outside", remedy: "Mark it again." };
  const part = signsPart({ cannot_tell: why });
  expect(part.textContent).toContain("Cannot tell");
  expect(part.textContent).not.toContain("%");
});

test("a sign that was not assessed is not shown as absent", () => {
  const part = signsPart({
    probability: 0.7,
    diagnosis: "malignant",
    threshold: 0.5,
    log_odds_without_signs: -1,
    signs: [row("skip", 0, null)],
    check_next: "",
    name: "x",
    vertebrae: [],
    flags: ["Skip lesions were not looked for."],
    taught_with: "phantoms only",
    left_out: [],
    digest: "sha256:0",
    note: "Research use only.",
  });
  expect(part.querySelector("li")?.textContent).toContain("not assessed");
  expect(part.querySelector("[data-testid=signs-number]")?.textContent).toBe("70%");
  expect(part.textContent).toContain("Skip lesions were not looked for.");
});

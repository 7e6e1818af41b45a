import { expect, test } from "vitest";
import type { SaliencyReply, SecondOpinion } from "../src/contracts";
import { cannotTell, opinionParts, saliencyPart } from "../src/opinion";

const PLAIN: SecondOpinion = {
  opinion: "name",
  given: "now",
  spinefx: "0",
  note: "Research use only.",
  patient: { probability: 0.912, corrected_probability: 0.84, diagnosis: "malignant", threshold: 0.5, threshold_on: "corrected", rule: "max", by_model: [] },
  slices: [{ slice: 7, probability: 0.5, corrected_probability: 0.4 }],
  lesion: { centre_mm: [0, 0, 0], side_mm: 30, first_slice: 7, last_slice: 7 },
  flags: [],
  registration: null,
  model: { digests: ["sha256:a"], engine: { name: "onnxruntime", version: "1" }, recipe: "quick", recipe_digest: "b", cohort_digest: "c", optimistic: "", initialisation: "", prior_inflation: 1 },
  answered_by: "One model answers.",
  phantom: true,
  probability: null,
  spread: null,
  threshold: { value: 0.5, on: "corrected", diagnosis: "malignant", sensitivity: null, specificity: null },
  histogram: null,
  nearest: [],
  nearest_by: "",
  quality: [],
  not_checked: [], training_case: "no",
  cautions: [],
  stamps: [],
};

function shown(change: Partial<SecondOpinion>, canPrint = true): HTMLElement {
  const place = document.createElement("section");
  place.append(...opinionParts({ ...PLAIN, ...change }, () => undefined, canPrint));
  return place;
}

test("without local cases the number is marked as not calibrated, and nothing is compared", () => {
  const place = shown({});
  expect(place.querySelector("[data-testid=number]")?.textContent).toBe("84%, not calibrated");
  expect(place.querySelector("[data-testid=own-number]")?.textContent).toBe("Model's own: 84% (as trained 91%).");
  expect(place.textContent).toContain("no local cases to compare the input with");
  expect(place.textContent).not.toContain("Registration");
  expect(place.querySelectorAll("figure")).toHaveLength(0);
});

test("what lies outside the cohort's range is an alarm, by name", () => {
  const inside = { what: "Side of the box, mm", value: 30, cases: 40, state: "in range", low: 25, high: 50 } as const;
  const place = shown({ quality: [inside, { ...inside, what: "Repetition time, ms", value: 9000, state: "outside" }] });
  const quality = place.querySelector("[data-testid=quality]")!;
  expect(quality.textContent).toBe("Outside the cohort's range: Repetition time, ms.");
  expect(quality.classList.contains("alarm")).toBe(true);
  expect(place.textContent).toContain("25 to 50");
  expect(shown({ quality: [inside] }).textContent).toContain("All measures (1) are within the cohort's range.");
});

test("each registered series is named where there are several", () => {
  const record = { method: "rigid", similarity_before: 1, similarity_after: 2, largest_motion_mm: 0, rotation_deg: 0, same_frame_of_reference: true, reason: "rigid, 2 mm", matrix: [] };
  expect(shown({ registration: record }).textContent).toContain("Registration: rigid, 2 mm");
  expect(shown({ registration: record, registrations: { t1w: record, stir: { ...record, reason: "by header" } } }).textContent).toContain("Registration: T1W, rigid, 2 mm; STIR, by header");
});

test("the report is linked as a page, and as PDF where the server can print", () => {
  const links = (place: HTMLElement): (string | null)[] => [...place.querySelectorAll("a")].map((link) => link.getAttribute("href"));
  expect(links(shown({}))).toEqual(["/api/decide/opinions/name/report", "/api/decide/opinions/name/report.pdf"]);
  expect(links(shown({}, false))).toEqual(["/api/decide/opinions/name/report"]);
});

test("a refusal shows no number", () => {
  const place = document.createElement("section");
  place.append(...cannotTell({ words: "The box misses.", remedy: "Draw it again.", reason: "Placement." }));
  expect(place.textContent).toBe("Cannot tellThe box misses.Draw it again.Placement.");
});

test("a map is drawn over both series, signed where it is strong, and judged by its checks", () => {
  const values = [[0.5, -1], [0, 0.2]];
  const found: SaliencyReply = { slice: 3, values, shuffled: values, unlearned: values, passes: false, checks: [{ passes: false, said: "It shows habits." }], verdict: "Do not read this map.", models: 1, picture: "p" };
  const part = saliencyPart(found);
  expect(part.querySelectorAll(".wide-map rect")).toHaveLength(8);
  expect([...part.querySelectorAll(".wide-map text")].map((sign) => sign.textContent)).toEqual(["+", "−", "+", "−"]);
  expect(part.querySelector("[data-testid=verdict]")?.classList.contains("alarm")).toBe(true);
  expect(part.querySelector("[data-testid=check]")?.textContent).toBe("Failed. It shows habits.");
});

/** How an answer is shown: the number with its interval and its box, the local cases, the input, the maps. */

import { drawing, element } from "./dom";

interface Group {
  counts: number[];
  cases: number;
  below: number;
}

interface Line {
  what: string;
  value: number;
  cases: number;
  state: string;
  low?: number;
  high?: number;
}

interface Proven {
  case: string;
  diagnosis: string;
  truth_source: string;
  probability: number;
  likeness: number;
  picture: string;
  sheet?: string;
}

export interface Opinion {
  answer: string;
  patient: { probability: number; corrected_probability: number };
  slices: { slice: number; probability: number; corrected_probability: number }[];
  probability: { text: string; said: string; slope: string } | null;
  spread: { low: number; high: number; models: number } | null;
  threshold: { value: number; on: string; diagnosis: string; sensitivity: string | null; specificity: string | null };
  histogram: { bins: number; place: number; benign: Group; malignant: Group } | null;
  nearest: Proven[];
  nearest_by: string;
  quality: Line[];
  cautions: string[];
  stamps: string[];
  flags: string[];
  registration: { reason: string };
  answered_by: string;
  model: { digests: string[]; recipe: string; recipe_digest: string; cohort_digest: string; engine: { name: string; version: string } };
  note: string;
}

export interface Saliency {
  slice: number;
  values: number[][];
  shuffled: number[][];
  unlearned: number[][];
  passes: boolean;
  checks: { passes: boolean; said: string }[];
  verdict: string;
  picture: string;
  models: number;
}

const percent = (value: number): string => `${(100 * value).toFixed(0)}%`;

/** Headline: calibrated where it can be, and said where it is not. */
function headline(opinion: Opinion): string {
  return opinion.probability?.text ?? `${percent(opinion.patient.corrected_probability)}, not calibrated`;
}

/** The number as it stands at the box. */
export function answerWords(opinion: Opinion, x: number, y: number): SVGElement {
  return drawing("text", { class: "answer", x, y, "data-testid": "number-at-box" }, headline(opinion));
}

export function cannotTell(why: { words: string; remedy: string; reason: string }): HTMLElement[] {
  return [
    element("h2", { "data-testid": "cannot-tell" }, "Cannot tell"),
    element("p", {}, element("strong", {}, why.words)),
    ...(why.remedy ? [element("p", { "data-testid": "remedy" }, why.remedy)] : []),
    element("p", { class: "said", "data-testid": "reason" }, why.reason),
  ];
}

export function opinionParts(opinion: Opinion, go: (slice: number) => void, canPrint: boolean): HTMLElement[] {
  const { patient, probability, spread, threshold } = opinion;
  const local = threshold.sensitivity ? ` In this cohort: sensitivity ${threshold.sensitivity}, specificity ${threshold.specificity}.` : "";
  const models = spread ? ` Its ${spread.models} models say ${percent(spread.low)} to ${percent(spread.high)}.` : "";
  const report = `/api/decide/answers/${opinion.answer}/report`;
  return [
    element("h2", {}, "Probability of malignancy"),
    element("p", { class: "number", "data-testid": "number" }, headline(opinion)),
    element("p", { "data-testid": "answered-by" }, opinion.answered_by),
    probability ? element("details", {}, element("summary", {}, "What the interval is"), element("p", {}, `${probability.said} Slope ${probability.slope}.`)) : element("p", {}, "Too few local cases to calibrate on."),
    element(
      "p",
      { "data-testid": "own-number" },
      `Model's own: ${percent(patient.corrected_probability)} (as trained ${percent(patient.probability)}).${models}`,
    ),
    element("p", {}, `At the threshold of ${threshold.value} on the ${threshold.on} probability: ${threshold.diagnosis}.${local}`),
    ...[...opinion.cautions, ...opinion.stamps].map((words) => element("p", { class: "alarm" }, words)),
    table(
      ["Slice", "Probability", "As trained"],
      opinion.slices.map((one) => [
        element("button", { click: () => go(one.slice) }, one.slice + 1),
        percent(one.corrected_probability),
        percent(one.probability),
      ]),
    ),
    ...histogram(opinion),
    ...nearest(opinion),
    ...quality(opinion),
    element(
      "p",
      {},
      element("a", { href: report, target: "_blank", rel: "noopener" }, "Report for print"),
      " ",
      canPrint ? element("a", { href: `${report}.pdf` }, "as PDF") : "(PDF needs the extra spinefx[pdf])",
    ),
    element("details", {}, element("summary", {}, "Model"), ...identity(opinion)),
    element("p", { class: "notice" }, opinion.note),
  ];
}

function table(head: string[], rows: (string | number | Node)[][]): HTMLElement {
  return element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...head.map((words) => element("th", { scope: "col" }, words)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))))),
  );
}

function histogram({ histogram: found }: Opinion): HTMLElement[] {
  if (!found) return [];
  const chart = (name: "benign" | "malignant"): HTMLElement => {
    const { counts, cases, below } = found[name];
    const most = Math.max(1, ...counts);
    const words = `${cases} ${name}: ${below} below this answer`;
    const drawn = drawing("svg", { viewBox: "0 0 280 62", class: "histogram", role: "img", "aria-label": words });
    counts.forEach((count, bin) => {
      const width = 280 / found.bins;
      drawn.append(drawing("rect", { class: name, x: bin * width + 1, y: 56 - (52 * count) / most, width: width - 2, height: (52 * count) / most }));
    });
    drawn.append(drawing("path", { class: "here", d: `M${280 * found.place} 0V60` }));
    return element("figure", {}, drawn, element("figcaption", { "data-testid": `below-${name}` }, words));
  };
  return [
    element("h2", {}, "Among the local cases"),
    chart("benign"),
    chart("malignant"),
    element("p", { class: "said" }, "From 0 to 100%, each case answered by a model that had not seen it; the line is this answer."),
  ];
}

function nearest({ nearest: cases, nearest_by }: Opinion): HTMLElement[] {
  if (!cases.length) return [];
  const one = (found: Proven): HTMLElement => {
    const words = `${found.diagnosis} (${found.truth_source}), ${found.case}: model ${percent(found.probability)}, likeness ${found.likeness.toFixed(2)}`;
    const picture = element("img", { src: `/api/decide/pictures/${found.picture}`, alt: `T2W and T1W of a ${found.diagnosis} case`, class: "tile" });
    const linked = found.sheet ? element("a", { href: `/api/decide/pictures/${found.sheet}`, target: "_blank", rel: "noopener" }, picture) : picture;
    return element("figure", { "data-testid": "proven" }, linked, element("figcaption", {}, words));
  };
  return [element("h2", {}, "Nearest proven cases"), element("p", { class: "said" }, nearest_by), ...cases.map(one)];
}

function quality({ quality: lines, flags, registration }: Opinion): HTMLElement[] {
  const outside = lines.filter((line) => line.state === "outside");
  const compared = lines.filter((line) => line.state !== "unknown");
  const words = !compared.length
    ? "There are no local cases to compare the input with."
    : outside.length
      ? `Outside the cohort's range: ${outside.map((line) => line.what).join("; ")}.`
      : `All ${compared.length} measures lie in the cohort's range.`;
  const range = (line: Line): string => (line.low === undefined ? "" : `${show(line.low)} to ${show(line.high!)}`);
  return [
    element("h2", {}, "Quality of the input"),
    element("p", { class: outside.length ? "alarm" : "", "data-testid": "quality" }, words),
    ...flags.map((flag) => element("p", { class: "alarm" }, flag)),
    element("p", {}, `Registration: ${registration.reason}`),
    element(
      "details",
      {},
      element("summary", {}, "All measures"),
      table(["Measure", "Here", "Cohort (1 to 99%)", ""], lines.map((line) => [line.what, show(line.value), range(line), line.state])),
    ),
  ];
}

const show = (value: number): string => String(Number(value.toPrecision(4)));

function identity({ model, answered_by }: Opinion): HTMLElement[] {
  return [
    element("p", {}, answered_by),
    element("p", {}, `Recipe ${model.recipe}; ${model.engine.name} ${model.engine.version}`),
    ...[model.recipe_digest, model.cohort_digest, ...model.digests].map((digest) => element("p", { class: "digest" }, digest)),
  ];
}

/** A map over the patch, beside it what is left of it without the image and without what was learned, and what follows. */
export function saliencyPart(found: Saliency): HTMLElement {
  const size = found.values.length;
  const over = drawing("svg", { viewBox: `0 0 ${2 * size} ${size}`, class: "map wide-map", role: "img", "aria-label": "Map over T2W and T1W" });
  over.append(drawing("image", { href: `/api/decide/pictures/${found.picture}`, width: 2 * size, height: size, preserveAspectRatio: "none" }));
  over.append(...cells(found.values, 0, 0.55), ...cells(found.values, size, 0.55));
  const control = (values: number[][], words: string): HTMLElement => {
    const drawn = drawing("svg", { viewBox: `0 0 ${size} ${size}`, class: "map", role: "img", "aria-label": `Map of the ${words}` });
    drawn.append(...cells(values, 0, 1));
    return element("div", {}, drawn, element("small", {}, words));
  };
  const models = `${found.models} ${found.models === 1 ? "model" : "models"}`;
  return element(
    "figure",
    { "data-testid": "saliency" },
    element("figcaption", {}, `Slice ${found.slice + 1}, ${models}: + speaks for malignant, − against.`),
    over,
    element("div", { class: "controls" }, control(found.shuffled, "shuffled image"), control(found.unlearned, "shuffled weights")),
    element("p", { class: found.passes ? "" : "alarm", "data-testid": "verdict" }, element("strong", {}, found.verdict)),
    element(
      "ul",
      { class: "checks" },
      ...found.checks.map((check) => element("li", { "data-testid": "check" }, element("strong", {}, check.passes ? "Passed" : "Failed"), `. ${check.said}`)),
    ),
  );
}

function cells(values: number[][], shift: number, strongest: number): SVGElement[] {
  const most = Math.max(1e-3, ...values.flat().map(Math.abs));
  return values.flatMap((row, y) =>
    row.flatMap((value, x) => {
      const share = Math.abs(value) / most;
      const cell: SVGElement[] = [
        drawing("rect", { class: value > 0 ? "for" : "against", x: x + shift, y, width: 1, height: 1, "fill-opacity": (strongest * share).toFixed(3) }),
      ];
      // The sign is written too, for colour alone does not reach everybody.
      if (share >= 0.5) cell.push(drawing("text", { class: "sign", x: x + shift + 0.5, y: y + 0.72 }, value > 0 ? "+" : "−"));
      return cell;
    }),
  );
}

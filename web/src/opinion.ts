/** How an opinion is shown: the number with its interval and its box, the local cases, the input, the maps. */

import { type PathsOf, addressOf } from "./api";
import type { InputMeasure, NearestCase, SaliencyReply, SecondOpinion, WhyNot } from "./contracts";
import { drawing, element, table } from "./dom";

const REPORT = "/api/decide/opinions/{name}/report" satisfies PathsOf<"get">;
const REPORT_PDF = "/api/decide/opinions/{name}/report.pdf" satisfies PathsOf<"get">;
const PICTURE = "/api/decide/pictures/{name}" satisfies PathsOf<"get">;

const percent = (value: number): string => `${(100 * value).toFixed(0)}%`;

/** The probability, calibrated if possible, and marked where it is not. */
function headline(opinion: SecondOpinion): string {
  return opinion.probability?.text ?? `${percent(opinion.patient.corrected_probability)}, not calibrated`;
}

/** The number as it is drawn at the box. */
export function numberAtBox(opinion: SecondOpinion, x: number, y: number): SVGElement {
  return drawing("text", { class: "box-number", x, y, "data-testid": "number-at-box" }, headline(opinion));
}

export function cannotTell(why: Omit<WhyNot, "kind">): HTMLElement[] {
  return [
    element("h2", { "data-testid": "cannot-tell" }, "Cannot tell"),
    element("p", {}, element("strong", {}, why.words)),
    ...(why.remedy ? [element("p", { "data-testid": "remedy" }, why.remedy)] : []),
    element("p", { class: "quiet", "data-testid": "reason" }, why.reason),
  ];
}

export function opinionParts(opinion: SecondOpinion, go: (slice: number) => void, canPrint: boolean): HTMLElement[] {
  const { patient, probability, spread, threshold } = opinion;
  const local = threshold.sensitivity ? ` In this cohort: sensitivity ${threshold.sensitivity}, specificity ${threshold.specificity}.` : "";
  const models = spread ? ` Its ${spread.models} models range from ${percent(spread.low)} to ${percent(spread.high)}.` : "";
  const names = { name: opinion.opinion };
  return [
    element("h2", {}, "Probability of malignancy"),
    element("p", { class: "number", "data-testid": "number" }, headline(opinion)),
    element("p", { "data-testid": "answered-by" }, opinion.answered_by),
    probability ? element("details", {}, element("summary", {}, "What the interval means"), element("p", {}, `${probability.said} Slope ${probability.slope}.`)) : element("p", {}, "There are too few local cases for a calibration."),
    element(
      "p",
      { "data-testid": "own-number" },
      `Model's own: ${percent(patient.corrected_probability)} (as trained ${percent(patient.probability)}).${models}`,
    ),
    element("p", {}, `At the threshold of ${threshold.value} on the ${threshold.on} probability: ${threshold.diagnosis}.${local}`),
    ...[...opinion.cautions, ...opinion.stamps].map((caution) => element("p", { class: "alarm" }, caution)),
    table(
      "",
      ["Slice", "Probability", "As trained"],
      opinion.slices.map((one) => [
        element("button", { click: () => go(one.slice) }, one.slice + 1),
        percent(one.corrected_probability),
        percent(one.probability),
      ]),
      "",
    ),
    ...histogram(opinion),
    ...nearest(opinion),
    ...quality(opinion),
    element(
      "p",
      {},
      element("a", { href: addressOf(REPORT, names), target: "_blank", rel: "noopener" }, "Printable report"),
      " ",
      canPrint ? element("a", { href: addressOf(REPORT_PDF, names) }, "as PDF") : "(for PDF, install spinefx[pdf] on the server)",
    ),
    element("details", {}, element("summary", {}, "Model"), ...identity(opinion)),
    element("p", { class: "notice" }, opinion.note),
  ];
}

function histogram({ histogram: found }: SecondOpinion): HTMLElement[] {
  if (!found) return [];
  const chart = (name: "benign" | "malignant"): HTMLElement => {
    const { counts, cases, below } = found[name];
    const most = Math.max(1, ...counts);
    const caption = `${cases} ${name}: ${below} below this probability`;
    const drawn = drawing("svg", { viewBox: "0 0 280 62", class: "histogram", role: "img", "aria-label": caption });
    counts.forEach((count, bin) => {
      const width = 280 / found.bins;
      drawn.append(drawing("rect", { class: name, x: bin * width + 1, y: 56 - (52 * count) / most, width: width - 2, height: (52 * count) / most }));
    });
    drawn.append(drawing("path", { class: "here", d: `M${280 * found.place} 0V60` }));
    return element("figure", {}, drawn, element("figcaption", { "data-testid": `below-${name}` }, caption));
  };
  return [
    element("h2", {}, "Compared with local cases"),
    chart("benign"),
    chart("malignant"),
    element("p", { class: "quiet" }, "From 0 to 100%. Each case is predicted by a model that was not trained on it; the line marks this probability."),
  ];
}

function nearest({ nearest: cases, nearest_by }: SecondOpinion): HTMLElement[] {
  if (!cases.length) return [];
  const one = (found: NearestCase): HTMLElement => {
    const caption = `${found.diagnosis} (${found.truth_source}), ${found.case}: model ${percent(found.probability)}, similarity ${found.likeness.toFixed(2)}`;
    const picture = element("img", { src: addressOf(PICTURE, { name: found.picture }), alt: `T2W and T1W of a ${found.diagnosis} case`, class: "tile" });
    const linked = found.sheet ? element("a", { href: addressOf(PICTURE, { name: found.sheet }), target: "_blank", rel: "noopener" }, picture) : picture;
    return element("figure", { "data-testid": "proven" }, linked, element("figcaption", {}, caption));
  };
  return [element("h2", {}, "Most similar proven cases"), element("p", { class: "quiet" }, nearest_by), ...cases.map(one)];
}

function quality({ quality: measures, flags, not_checked, registration, registrations }: SecondOpinion): HTMLElement[] {
  const outside = measures.filter((one) => one.state === "outside");
  const compared = measures.filter((one) => one.state !== "unknown");
  const summary = !compared.length
    ? "There are no local cases to compare the input with."
    : outside.length
      ? `Outside the cohort's range: ${outside.map((one) => one.what).join("; ")}.`
      : `All measures (${compared.length}) are within the cohort's range.`;
  const range = ({ low, high }: InputMeasure): string => (low == null || high == null ? "" : `${show(low)} to ${show(high)}`);
  const aligned = registrations ? Object.entries(registrations).map(([name, one]) => `${name.toUpperCase()}, ${one.reason}`).join("; ") : registration?.reason;
  return [
    element("h2", {}, "Input quality"),
    element("p", { class: outside.length ? "alarm" : "", "data-testid": "quality" }, summary),
    ...flags.map((flag) => element("p", { class: "alarm" }, flag)),
    ...not_checked.map((guard) => element("p", { class: "alarm", "data-testid": "not-checked" }, `Not checked: ${guard}`)),
    ...(aligned ? [element("p", {}, `Registration: ${aligned}`)] : []),
    element(
      "details",
      {},
      element("summary", {}, "All measures"),
      table("", ["Measure", "This study", "Cohort (1 to 99%)", ""], measures.map((one) => [one.what, show(one.value), range(one), one.state]), ""),
    ),
  ];
}

const show = (value: number): string => String(Number(value.toPrecision(4)));

function identity({ model, answered_by }: SecondOpinion): HTMLElement[] {
  return [
    element("p", {}, answered_by),
    element("p", {}, `Recipe ${model.recipe}; ${model.engine.name} ${model.engine.version}`),
    ...[model.recipe_digest, model.cohort_digest, ...model.digests].map((digest) => element("p", { class: "digest" }, digest)),
  ];
}

/** A map over the patch, the same map with the image and with the weights shuffled, and the verdict. */
export function saliencyPart(found: SaliencyReply): HTMLElement {
  const size = found.values.length;
  const over = drawing("svg", { viewBox: `0 0 ${2 * size} ${size}`, class: "map wide-map", role: "img", "aria-label": "Map over T2W and T1W" });
  over.append(drawing("image", { href: addressOf(PICTURE, { name: found.picture }), width: 2 * size, height: size, preserveAspectRatio: "none" }));
  over.append(...cells(found.values, 0, 0.55), ...cells(found.values, size, 0.55));
  const control = (values: number[][], label: string): HTMLElement => {
    const drawn = drawing("svg", { viewBox: `0 0 ${size} ${size}`, class: "map", role: "img", "aria-label": `Map of the ${label}` });
    drawn.append(...cells(values, 0, 1));
    return element("div", {}, drawn, element("small", {}, label));
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
      // The sign is written as well, because not everybody can tell the colours apart.
      if (share >= 0.5) cell.push(drawing("text", { class: "sign", x: x + shift + 0.5, y: y + 0.72 }, value > 0 ? "+" : "−"));
      return cell;
    }),
  );
}

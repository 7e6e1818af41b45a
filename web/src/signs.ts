/** The fifteen signs as the signs model reads them, each with its part in the answer, and each to be overruled. */

import { send } from "./api";
import type { CannotTell, SignReply, SignRow, SignsReply } from "./contracts";
import { element } from "./dom";
import { cannotTell } from "./opinion";

type Answer = "y" | "n" | "u";

const ANSWERS: readonly (readonly [Answer, string])[] = [
  ["y", "Yes"],
  ["n", "No"],
  ["u", "?"],
];
// How often a reader is wrong about a sign; the first takes them at their word.
const RELIABILITY: readonly (readonly [number, string])[] = [
  [0, "take my scores as they are"],
  [0.02, "I am wrong about 1 sign in 50"],
  [0.1, "I am wrong about 1 sign in 10"],
  [0.2, "I am wrong about 1 sign in 5"],
];

/** A probability in percent; never 0% or 100%, which nothing here is sure of. */
export function percent(value: number): string {
  const rounded = Math.round(100 * value);
  return rounded < 1 ? "<1%" : rounded > 99 ? ">99%" : `${rounded}%`;
}

/** What a sign does to the answer: an arrow, and the size of the step in log-odds. */
export function push(logOdds: number): string {
  if (Math.abs(logOdds) < 0.05) return "no effect";
  return `${logOdds > 0 ? "▲ malignant" : "▼ benign"} ${Math.abs(logOdds).toFixed(1)}`;
}

/** The answers after one more: the same answer again takes it back. */
export function answered(answers: Readonly<Record<string, Answer>>, sign: string, answer: Answer): Record<string, Answer> {
  const { [sign]: before, ...others } = answers;
  return before === answer ? others : { ...others, [sign]: answer };
}

/** Signs in the order of their weight in the answer, the heaviest first. */
export function byWeight(signs: readonly SignRow[]): SignRow[] {
  return [...signs].sort((one, other) => Math.abs(other.log_odds) - Math.abs(one.log_odds));
}

/** The section of the signs, which redraws itself whenever the reader scores one. */
export function signsPart(found: SignsReply | CannotTell): HTMLElement {
  if ("cannot_tell" in found) return element("section", { "data-testid": "signs" }, ...cannotTell(found.cannot_tell));
  const part = element("section", { "data-testid": "signs" });
  let answers: Record<string, Answer> = {};
  let errorRate = 0;

  const ask = async (): Promise<void> => {
    const reply = await send("post", "/api/decide/signs/overruled", undefined, { signs: found.name, answers, error_rate: errorRate });
    draw(reply);
  };

  const draw = (shown: SignReply): void => {
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.key : undefined;
    part.replaceChildren(...heading(found, shown), reliability(), signList(shown), ...others(found), ...small(found));
    if (focused) part.querySelector<HTMLElement>(`[data-key="${focused}"]`)?.focus();
  };

  const reliability = (): HTMLElement => {
    const choice = element(
      "select",
      {
        "data-testid": "reliability",
        "data-key": "reliability",
        change: (event: Event) => {
          errorRate = Number((event.target as HTMLSelectElement).value);
          void ask();
        },
      },
      ...RELIABILITY.map(([rate, words]) => element("option", { value: rate, selected: rate === errorRate }, words)),
    );
    return element("label", {}, "Your scores: ", choice);
  };

  const signList = (shown: SignReply): HTMLElement =>
    element(
      "ul",
      { class: "signs", "aria-label": "Signs, the heaviest first" },
      ...byWeight(shown.signs).map((one) =>
        element(
          "li",
          {},
          element("p", {}, element("strong", {}, one.probability === null ? "not assessed" : percent(one.probability)), ` ${one.label}`),
          element(
            "p",
            { role: "group", "aria-label": `Your score of: ${one.label}` },
            ...ANSWERS.map(([answer, words]) =>
              element(
                "button",
                {
                  "aria-pressed": String(one.answer === answer),
                  title: answer === "u" ? "Cannot be assessed" : undefined,
                  "data-key": `${one.identifier}-${answer}`,
                  "data-testid": `overrule-${one.identifier}-${answer}`,
                  click: () => {
                    answers = answered(answers, one.identifier, answer);
                    void ask();
                  },
                },
                words,
              ),
            ),
            element("span", { class: "quiet" }, push(one.log_odds)),
          ),
        ),
      ),
    );

  draw(found);
  return part;
}

function heading(found: SignsReply, shown: SignReply): HTMLElement[] {
  return [
    element("h2", {}, "Signs, and the answer through them"),
    element("p", { class: "number", "data-testid": "signs-number" }, percent(shown.probability)),
    element("p", {}, `Probability of malignancy; ${shown.diagnosis} at the threshold of ${shown.threshold}. Without any sign: ${percent(1 / (1 + Math.exp(-shown.log_odds_without_signs)))}.`),
    ...(shown.check_next ? [element("p", { "data-testid": "check-next" }, `Check next: ${shown.check_next}.`)] : []),
    element("p", { class: "notice" }, `Model: ${found.taught_with}. ${found.note}`),
  ];
}

function others(found: SignsReply): HTMLElement[] {
  const marked = found.vertebrae.filter((one) => one.state !== "normal");
  if (!found.vertebrae.length) return [];
  const said = marked.length
    ? marked.map((one) => `${one.level || "a vertebra without a name"}: ${one.state} (suspicious ${percent(one.suspicious)})`).join("; ")
    : "none looks changed";
  return [element("p", { "data-testid": "other-vertebrae" }, `Other vertebrae, ${found.vertebrae.length} read: ${said}.`)];
}

function small(found: SignsReply): HTMLElement[] {
  return [
    ...found.flags.map((flag) => element("p", { class: "alarm" }, flag)),
    ...(found.left_out.length ? [element("p", {}, `This model cannot read: ${found.left_out.join("; ")}.`)] : []),
  ];
}

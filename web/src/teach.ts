/** The teach page: what a reader confuses, sign by sign, and cases to learn from. */

import { get, send } from "./api";
import type { CaseImages, CurrentUser, Diagnosis, LesionExtent, SignContrast, TrainingResult } from "./contracts";
import { element, replace, table } from "./dom";
import { History } from "./history";
import { type Command, Keys } from "./keys";
import { SCORE_LABELS } from "./signform";
import { BoxTool } from "./viewer/box";
import { bindImageKeys } from "./viewer/commands";
import { fetchAhead } from "./viewer/engine";
import { Pair } from "./viewer/pair";

/** Cases of a training series. */
const SERIES = 8;

export async function teach(place: HTMLElement, user: CurrentUser, parts: string[]): Promise<void> {
  const [area, reader, first, second] = parts;
  if (area === "feedback" && reader && first) return look(place, reader, first);
  if (area === "series" && reader && first) return practise(place, reader, Number(first), Number(second ?? 0));
  const { readers } = await get("/api/teach");
  if (area === "feedback" && reader) return feedback(place, reader);
  if (!readers.length) {
    replace(
      place,
      element("h1", {}, "Learn from your readings"),
      element("p", {}, `${user.code} has not finished any readings in this workspace. Finish a session of a reader study, then come back.`),
    );
    return;
  }
  replace(
    place,
    element("h1", {}, "Learn from readings"),
    element("p", {}, "The feedback compares one reader's answers with the truth, sign by sign, as the paper does for its readers."),
    element("ul", {}, ...readers.map((one) => element("li", {}, element("a", { href: feedbackOf(one) }, one)))),
  );
}

/** Address of a reader's feedback, or of one case in it. */
function feedbackOf(reader: string, name = ""): string {
  return `/teach/feedback/${encodeURIComponent(reader)}${name && `/${encodeURIComponent(name)}`}`;
}

async function feedback(place: HTMLElement, reader: string): Promise<void> {
  const found = await get("/api/teach/feedback/{reader}", { reader });
  const link = (name: string): HTMLElement => element("a", { href: feedbackOf(reader, name) }, name);
  const { tp, tn, fn, fp } = found.counts;
  const contrasts = (rows: SignContrast[]): string[][] => rows.map((row) => [row.sign, row.wrong, row.right, row.p, row.p_holm]);
  const head = ["Sign", "Wrong cases", "Right cases", "Fisher's exact test", "after Holm's correction"];
  replace(
    place,
    element("h1", {}, `What ${reader} confuses`),
    element(
      "p",
      { "data-testid": "counts" },
      `${tp} of ${tp + fn} malignant and ${tn} of ${tn + fp} benign cases were correct: sensitivity ${found.sensitivity}, specificity ${found.specificity}.`,
    ),
    element("p", {}, found.reference ? `Signs as scored by ${found.reference}.` : "Errors cannot be compared with signs, because no signs are scored."),
    element("p", {}, element("button", { class: "main", click: () => void begin(reader) }, `Train on ${SERIES} cases like these`)),
    element("h2", {}, "Benign cases called malignant"),
    table(`${fp} false positives compared with ${tn} true negatives`, head, contrasts(found.false_positives)),
    element("h2", {}, "Malignant cases called benign"),
    table(`${fn} false negatives compared with ${tp} true positives`, head, contrasts(found.false_negatives)),
    found.agreement.length
      ? table(
          "Your scores of the signs compared with the reference",
          ["Sign", "Missed", "Seen where it is absent", "Cases", "Look at"],
          found.agreement.map((row) => [row.sign, row.missed, row.imagined, row.cases, element("span", {}, ...row.look_at.flatMap((name) => [link(name), " "]))]),
        )
      : null,
    element("h2", {}, "Cases to look at again"),
    element(
      "ul",
      { "data-testid": "again" },
      ...found.look_again.map((row) => element("li", {}, link(row.case), `: is ${row.truth}, was called ${row.answer}`)),
    ),
  );
}

async function begin(reader: string): Promise<void> {
  const { series } = await send("post", "/api/teach/series", undefined, { reader, cases: SERIES });
  location.assign(`/teach/series/${encodeURIComponent(reader)}/${series}`);
}

interface Bench {
  clear: () => void;
  show: (found: CaseImages) => Promise<void>;
}

/** Set up both series, with a box that cannot be moved. */
function bench(place: HTMLElement, side: HTMLElement, ...commands: Command[]): Bench {
  const pair = new Pair();
  const history = new History();
  const keys = new Keys();
  const box = new BoxTool(pair, history, () => true);
  bindImageKeys(keys, pair, history);
  keys.add(...commands);
  replace(place, element("div", { class: "sides" }, pair.root, side));
  const clear = (): void => {
    pair.clear();
    history.clear();
    box.put(undefined);
  };
  const show = async ({ pair: series, lesion, alignment }: CaseImages): Promise<void> => {
    pair.t2w.root.focus({ preventScroll: true });
    await pair.show(series, middleOf(lesion));
    box.put(lesion ?? undefined);
    if (alignment) await pair.through({ matrix: alignment.matrix, label: `T1W registered (${alignment.method})` });
  };
  return { clear, show };
}

function middleOf(lesion: LesionExtent | null): number | undefined {
  return lesion ? Math.round((lesion.first_slice + lesion.last_slice) / 2) : undefined;
}

function signTable({ signs }: Pick<TrainingResult, "signs">): HTMLElement | null {
  const { reference, own } = signs;
  if (!reference) return null;
  const rows = Object.entries(reference).map(([sign, score]) => {
    const mine = own?.[sign];
    const differs = mine !== undefined && mine !== score ? " (differs)" : "";
    return [sign.replaceAll("_", " "), SCORE_LABELS[score], mine === undefined ? "not scored" : `${SCORE_LABELS[mine]}${differs}`];
  });
  return table("Signs", ["Sign", "Reference", "You"], rows);
}

async function look(place: HTMLElement, reader: string, name: string): Promise<void> {
  const found = await get("/api/teach/feedback/{reader}/case/{case_id}", { reader, case_id: name });
  const side = element(
    "aside",
    { class: "side", "aria-label": "Solution" },
    element("h1", {}, found.case),
    element("p", {}, element("a", { href: feedbackOf(reader) }, "Back to the feedback")),
    element("p", { "data-testid": "solution" }, `This case is ${found.truth}; ${reader} called it ${found.answer}.`),
    signTable(found),
  );
  await bench(place, side).show(found);
}

/** A training series, starting at one of its cases; the next cases follow on the same page. */
async function practise(place: HTMLElement, reader: string, series: number, first: number): Promise<void> {
  let index = first;
  let ahead: Promise<CaseImages> | undefined;
  const caseAt = (one: number): Promise<CaseImages> => get("/api/teach/series/{number}/{place}", { number: series, place: one });
  const pageOf = (one: number): string => `/teach/series/${encodeURIComponent(reader)}/${series}/${one}`;
  const opened = await caseAt(first);
  const heading = element("h1");
  const result = element("div", { role: "status" });
  const draw = (): void => {
    heading.textContent = `Training case ${index + 1}`;
    replace(result);
    for (const button of buttons) button.disabled = false;
  };
  const next = async (event: Event): Promise<void> => {
    event.preventDefault();
    index += 1;
    window.history.pushState({}, "", pageOf(index));
    images.clear();
    draw();
    try {
      await images.show(await (ahead ?? caseAt(index)));
    } catch {
      location.reload();
    }
  };
  const answer = async (diagnosis: Diagnosis): Promise<void> => {
    for (const button of buttons) button.disabled = true;
    const names = { number: series, place: index, reader };
    const solution = await send("post", "/api/teach/series/{number}/{place}/{reader}", names, { diagnosis });
    // The next case is fetched while the user reads this one's solution.
    ahead = index + 1 < SERIES ? caseAt(index + 1) : undefined;
    ahead?.then(({ pair, lesion }) => fetchAhead(pair.t2w, middleOf(lesion) ?? 0)).catch(() => undefined);
    replace(result, ...solved(solution));
  };
  const solved = (solution: TrainingResult): (HTMLElement | null)[] => [
    element("p", { "data-testid": "feedback" }, `${solution.right ? "Correct" : "Wrong"}: this case is ${solution.truth}.`),
    index + 1 < SERIES ? element("p", {}, element("a", { href: pageOf(index + 1), click: (event: Event) => void next(event) }, "Next case (N)")) : null,
    element("p", {}, element("a", { href: feedbackOf(reader) }, "End the series and go back to the feedback")),
    signTable(solution),
  ];
  const buttons = (["benign", "malignant"] as const).map((diagnosis) => element("button", { click: () => void answer(diagnosis) }, diagnosis));
  const side = element(
    "aside",
    { class: "side", "aria-label": "Training" },
    heading,
    element("p", {}, "Benign (E) or malignant (M)?"),
    element("p", {}, buttons[0]!, " ", buttons[1]!),
    result,
  );
  const images = bench(
    place,
    side,
    { id: "teach.benign", label: "Benign", keys: ["E"], mode: "images", run: () => buttons[0]!.click() },
    { id: "teach.malignant", label: "Malignant", keys: ["M"], mode: "images", run: () => buttons[1]!.click() },
    { id: "teach.next", label: "Next case", keys: ["N"], mode: "images", run: () => result.querySelector("a")?.click() },
  );
  window.addEventListener("popstate", () => location.reload());
  draw();
  await images.show(opened);
}

/** A reader's own confusions, sign by sign, and cases to learn from. */

import { get, send } from "./api";
import { element, replace } from "./dom";
import type { Me } from "./frame";
import { History } from "./history";
import { type Command, Keys } from "./keys";
import { BoxTool, type Lesion as Marked } from "./viewer/box";
import { bindImageKeys } from "./viewer/commands";
import { fetchAhead } from "./viewer/engine";
import type { Matrix, SeriesPair } from "./viewer/geometry";
import { Pair } from "./viewer/pair";

interface Comparison {
  sign: string;
  wrong: string;
  right: string;
  p: string;
  p_holm: string;
}

interface Lesson {
  reader: string;
  reference: string;
  counts: { tp: number; tn: number; fn: number; fp: number };
  sensitivity: string;
  specificity: string;
  false_positives: Comparison[];
  false_negatives: Comparison[];
  agreement: { sign: string; missed: number; imagined: number; cases: number; look_at: string[] }[];
  look_again: { case: string; truth: string; answer: string }[];
}

interface Images {
  pair: SeriesPair;
  lesion: Marked;
  alignment: { matrix: Matrix; method: string } | null;
}

interface Solution {
  case: string;
  truth: string;
  answer: string;
  signs: Record<string, Record<string, string>>;
  right?: boolean;
}

const SERIES = 8;
const WORDS: Record<string, string> = { y: "yes", n: "no", u: "not assessable" };

export async function teach(place: HTMLElement, me: Me, parts: string[]): Promise<void> {
  const [what, reader, first, second] = parts;
  if (what === "lesson" && reader && first) return look(place, reader, first);
  if (what === "series" && reader && first) return practise(place, reader, Number(first), Number(second ?? 0));
  const { readers } = await get<{ readers: string[] }>("/api/teach");
  if (what === "lesson" && reader) return lesson(place, reader);
  if (!readers.length) {
    replace(
      place,
      element("h1", {}, "Learn from your readings"),
      element("p", {}, `No finished reading of ${me.code} is in this study yet. Finish a reading series, then come back.`),
    );
    return;
  }
  replace(
    place,
    element("h1", {}, "Learn from readings"),
    element("p", {}, "Each lesson sets one reader's answers against the truth, sign by sign, as the paper does for its readers."),
    element("ul", {}, ...readers.map((one) => element("li", {}, element("a", { href: `/teach/lesson/${encodeURIComponent(one)}` }, one)))),
  );
}

function table(caption: string, head: string[], rows: (string | number | Node)[][]): HTMLElement {
  return element(
    "table",
    { class: "wide" },
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...head.map((words) => element("th", { scope: "col" }, words)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))))),
  );
}

async function lesson(place: HTMLElement, reader: string): Promise<void> {
  const path = `/api/teach/lesson/${encodeURIComponent(reader)}`;
  const found = await get<Lesson>(path);
  const link = (name: string): HTMLElement => element("a", { href: `/teach/lesson/${encodeURIComponent(reader)}/${name}` }, name);
  const { tp, tn, fn, fp } = found.counts;
  const compared = (rows: Comparison[]): (string | Node)[][] => rows.map((row) => [row.sign, row.wrong, row.right, row.p, row.p_holm]);
  const head = ["Sign", "Wrong cases", "Right cases", "Fisher's exact test", "after Holm's correction"];
  replace(
    place,
    element("h1", {}, `What ${reader} confuses`),
    element("p", { "data-testid": "counts" }, `${tp} of ${tp + fn} malignant and ${tn} of ${tn + fp} benign cases were called rightly: sensitivity ${found.sensitivity}, specificity ${found.specificity}.`),
    element("p", {}, found.reference ? `Signs as scored by ${found.reference}.` : "Nobody has scored signs: errors are not set against them."),
    element(
      "p",
      {},
      element("button", { class: "main", click: () => void begin(reader) }, `Train on ${SERIES} cases drawn from these confusions`),
    ),
    element("h2", {}, "Benign cases called malignant"),
    table(`${fp} false positives against ${tn} true negatives`, head, compared(found.false_positives)),
    element("h2", {}, "Malignant cases called benign"),
    table(`${fn} false negatives against ${tp} true positives`, head, compared(found.false_negatives)),
    found.agreement.length
      ? table(
          "Your own scores of the signs beside the reference",
          ["Sign", "Not seen", "Seen where it is not", "Cases", "Look at"],
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
  const { series } = await send<{ series: number }>("POST", "/api/teach/series", { reader, cases: SERIES });
  location.assign(`/teach/series/${encodeURIComponent(reader)}/${series}`);
}

/** A place for both series with the box, which cannot be moved here; gives what shows a case there. */
function images(place: HTMLElement, side: HTMLElement, ...commands: Command[]): { clear: () => void; show: (found: Images) => Promise<void> } {
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
  const show = async ({ pair: series, lesion, alignment }: Images): Promise<void> => {
    pair.t2w.root.focus({ preventScroll: true });
    await pair.show(series, middleOf(lesion));
    box.put(lesion);
    if (alignment) await pair.through({ matrix: alignment.matrix, label: `T1W through the registration (${alignment.method})` });
  };
  return { clear, show };
}

function middleOf({ first_slice, last_slice }: Marked): number {
  return Math.round((first_slice + last_slice) / 2);
}

function signs(solution: Solution): HTMLElement | null {
  const { reference, own } = solution.signs;
  if (!reference) return null;
  const rows = Object.entries(reference).map(([sign, score]) => {
    const mine = own?.[sign];
    const differs = mine !== undefined && mine !== score ? " (differs)" : "";
    return [sign.replaceAll("_", " "), WORDS[score] ?? score, mine === undefined ? "not scored" : `${WORDS[mine] ?? mine}${differs}`];
  });
  return table("Signs", ["Sign", "Reference", "You"], rows);
}

async function look(place: HTMLElement, reader: string, name: string): Promise<void> {
  const found = await get<Images & Solution>(`/api/teach/lesson/${encodeURIComponent(reader)}/case/${encodeURIComponent(name)}`);
  const side = element(
    "aside",
    { class: "side", "aria-label": "Solution" },
    element("h1", {}, found.case),
    element("p", {}, element("a", { href: `/teach/lesson/${encodeURIComponent(reader)}` }, "Back to the lesson")),
    element("p", { "data-testid": "solution" }, `This case is ${found.truth}; ${reader} called it ${found.answer}.`),
    signs(found),
  );
  await images(place, side).show(found);
}

/** A training series from one of its cases on, each next one on the same page. */
async function practise(place: HTMLElement, reader: string, series: number, first: number): Promise<void> {
  let index = first;
  let ahead: Promise<Images> | undefined;
  const pathOf = (one: number): string => `/api/teach/series/${series}/${one}`;
  const pageOf = (one: number): string => `/teach/series/${encodeURIComponent(reader)}/${series}/${one}`;
  const opened = await get<Images>(pathOf(first));
  const heading = element("h1");
  const told = element("div", { role: "status" });
  const draw = (): void => {
    heading.textContent = `Training case ${index + 1}`;
    replace(told);
    for (const button of buttons) button.disabled = false;
  };
  const next = async (event: Event): Promise<void> => {
    event.preventDefault();
    index += 1;
    window.history.pushState({}, "", pageOf(index));
    bench.clear();
    draw();
    try {
      await bench.show(await (ahead ?? get<Images>(pathOf(index))));
    } catch {
      location.reload();
    }
  };
  const answer = async (diagnosis: string): Promise<void> => {
    for (const button of buttons) button.disabled = true;
    const solution = await send<Solution>("POST", `${pathOf(index)}/${encodeURIComponent(reader)}`, { diagnosis });
    // The next case is fetched while this one's solution is read.
    ahead = index + 1 < SERIES ? get<Images>(pathOf(index + 1)) : undefined;
    ahead?.then(({ pair, lesion }) => fetchAhead(pair.t2w, middleOf(lesion))).catch(() => undefined);
    replace(
      told,
      element("p", { "data-testid": "feedback" }, `${solution.right ? "Right" : "Not so"}: this case is ${solution.truth}.`),
      index + 1 < SERIES
        ? element("p", {}, element("a", { href: pageOf(index + 1), click: (event: Event) => void next(event) }, "Next case (N)"))
        : null,
      element("p", {}, element("a", { href: `/teach/lesson/${encodeURIComponent(reader)}` }, "End of the series: back to the lesson")),
      signs(solution),
    );
  };
  const buttons = ["benign", "malignant"].map((words) => element("button", { click: () => void answer(words) }, words));
  const side = element(
    "aside",
    { class: "side", "aria-label": "Training" },
    heading,
    element("p", {}, "Benign (E) or malignant (M)?"),
    element("p", {}, buttons[0]!, " ", buttons[1]!),
    told,
  );
  const bench = images(
    place,
    side,
    { id: "teach.benign", words: "Benign", keys: ["E"], mode: "images", run: () => buttons[0]!.click() },
    { id: "teach.malignant", words: "Malignant", keys: ["M"], mode: "images", run: () => buttons[1]!.click() },
    { id: "teach.next", words: "Next case", keys: ["N"], mode: "images", run: () => told.querySelector("a")?.click() },
  );
  window.addEventListener("popstate", () => location.reload());
  draw();
  await bench.show(opened);
}

/** What there is to mark, how far it is, and how well two annotators agree. */

import { get } from "./api";
import { element, replace } from "./dom";

interface Row {
  participant_id: string;
  status: string;
  level: string;
  annotators: number;
}

export interface Worklist {
  levels: [string, boolean][];
  rows: Row[];
}

interface Agreement {
  participant_id: string;
  annotators: string[];
  iou: number;
  distance_mm: number;
  same_slices: boolean;
  same_level: boolean;
}

/** Rows shown at once; a worklist of thousands is narrowed by its search. */
const SHOWN = 300;

export function pageOf(id: string): string {
  return `/annotate/${encodeURIComponent(id)}`;
}

export async function worklist(place: HTMLElement, { rows }: Worklist): Promise<void> {
  const body = element("tbody");
  const count = element("p", { class: "said", role: "status" });
  const search = element("input", { type: "search", "aria-label": "Find a study", placeholder: "Find a study" });
  const status = element("select", { "aria-label": "Status" });
  for (const words of ["all", "open", "marked", "marked by others"]) status.append(element("option", {}, words));
  const draw = (): void => {
    const found = rows.filter(
      (row) => row.participant_id.includes(search.value.trim()) && (status.value === "all" || row.status === status.value),
    );
    replace(body, ...found.slice(0, SHOWN).map(line));
    const done = rows.filter((row) => row.status === "marked").length;
    const more = found.length > SHOWN ? `; the first ${SHOWN} are shown, search to narrow` : "";
    count.textContent = `${found.length} of ${rows.length} studies${more}. You have marked ${done}.`;
  };
  search.addEventListener("input", draw);
  status.addEventListener("change", draw);
  const next = rows.find((row) => row.status !== "marked");
  replace(
    place,
    element("h1", {}, "Studies to mark"),
    element(
      "p",
      {},
      search,
      " ",
      status,
      " ",
      next ? element("a", { href: pageOf(next.participant_id), "data-testid": "next" }, `Go on with ${next.participant_id}`) : null,
    ),
    count,
    element(
      "table",
      { class: "wide" },
      element("thead", {}, element("tr", {}, ...["Study", "Status", "Level", "Marked by"].map((words) => element("th", { scope: "col" }, words)))),
      body,
    ),
    await agreement(),
  );
  draw();
}

function line(row: Row): HTMLElement {
  return element(
    "tr",
    {},
    element("td", {}, element("a", { href: pageOf(row.participant_id) }, row.participant_id)),
    element("td", {}, row.status),
    element("td", {}, row.level),
    element("td", {}, row.annotators),
  );
}

async function agreement(): Promise<HTMLElement> {
  const { rows } = await get<{ rows: Agreement[] }>("/api/annotate/agreement");
  if (!rows.length) return element("p", { class: "said" }, "Where two annotators mark a study, their boxes are compared here.");
  const head = ["Study", "Annotators", "Intersection over union", "Centres apart", "Slices", "Level"];
  return element(
    "section",
    {},
    element("h2", {}, "Two annotators' boxes"),
    element(
      "table",
      { class: "wide" },
      element("thead", {}, element("tr", {}, ...head.map((words) => element("th", { scope: "col" }, words)))),
      element(
        "tbody",
        {},
        ...rows.map((row) =>
          element(
            "tr",
            {},
            element("td", {}, row.participant_id),
            element("td", {}, row.annotators.join(", ")),
            element("td", {}, row.iou.toFixed(2)),
            element("td", {}, `${row.distance_mm.toFixed(1)} mm`),
            element("td", {}, row.same_slices ? "the same" : "differ"),
            element("td", {}, row.same_level ? "the same" : "differ"),
          ),
        ),
      ),
    ),
  );
}

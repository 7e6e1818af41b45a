/** The participants to mark, how far they are marked, and how well annotators agree. */

import { get } from "./api";
import type { Worklist, WorklistRow } from "./contracts";
import { element, replace, table } from "./dom";

/** Rows shown at once; search narrows a worklist of thousands. */
const SHOWN = 300;

export function pageOf(id: string): string {
  return `/annotate/${encodeURIComponent(id)}`;
}

export async function worklist(place: HTMLElement, { rows }: Worklist): Promise<void> {
  const body = element("tbody");
  const count = element("p", { class: "quiet", role: "status" });
  const search = element("input", { type: "search", "aria-label": "Find a participant", placeholder: "Find a participant" });
  const status = element("select", { "aria-label": "Status" });
  for (const choice of ["all", "open", "marked", "marked by others"]) status.append(element("option", {}, choice));
  const draw = (): void => {
    const found = rows.filter(
      (row) => row.participant_id.includes(search.value.trim()) && (status.value === "all" || row.status === status.value),
    );
    replace(body, ...found.slice(0, SHOWN).map(line));
    const done = rows.filter((row) => row.status === "marked").length;
    const more = found.length > SHOWN ? `; the first ${SHOWN} are shown, search to narrow the list` : "";
    count.textContent = `${found.length} of ${rows.length} participants${more}. You have marked ${done}.`;
  };
  search.addEventListener("input", draw);
  status.addEventListener("change", draw);
  const next = rows.find((row) => row.status !== "marked");
  replace(
    place,
    element("h1", {}, "Participants to mark"),
    element(
      "p",
      {},
      search,
      " ",
      status,
      " ",
      next ? element("a", { href: pageOf(next.participant_id), "data-testid": "next" }, `Continue with ${next.participant_id}`) : null,
    ),
    count,
    element(
      "table",
      { class: "wide" },
      element("thead", {}, element("tr", {}, ...["Participant", "Status", "Level", "Annotators"].map((title) => element("th", { scope: "col" }, title)))),
      body,
    ),
    await agreement(),
  );
  draw();
}

function line(row: WorklistRow): HTMLElement {
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
  const { rows } = await get("/api/annotate/agreement");
  if (!rows.length) return element("p", { class: "quiet" }, "Once two annotators have marked the same participant, their boxes are compared here.");
  return element(
    "section",
    {},
    element("h2", {}, "Agreement of annotators"),
    table(
      "",
      ["Participant", "Annotators", "Intersection over union", "Distance of centres", "Slices", "Level"],
      rows.map((row) => [
        row.participant_id,
        row.annotators.join(", "),
        row.iou.toFixed(2),
        `${row.distance_mm.toFixed(1)} mm`,
        row.same_slices ? "same" : "different",
        row.same_level ? "same" : "different",
      ]),
    ),
  );
}

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Worklist } from "../src/contracts";
import { worklist } from "../src/worklist";

let place: HTMLElement;
const list: Worklist = {
  levels: [["L1", false]],
  rows: [
    { participant_id: "sub-001", status: "marked", level: "L1", annotators: 1 },
    { participant_id: "sub-002", status: "open", level: "", annotators: 0 },
    { participant_id: "sub-012", status: "marked by others", level: "", annotators: 2 },
  ],
};

function agreement(rows: unknown[]): void {
  vi.stubGlobal("fetch", async () => new Response(JSON.stringify({ rows })));
}

function shown(): (string | null)[] {
  return [...place.querySelectorAll("table:first-of-type tbody tr td:first-child")].map((cell) => cell.textContent);
}

beforeEach(() => (place = document.body.appendChild(document.createElement("main"))));
afterEach(() => (vi.unstubAllGlobals(), document.body.replaceChildren()));

test("search and status narrow the list, and the first unmarked participant comes next", async () => {
  agreement([]);
  await worklist(place, list);
  expect(place.querySelector("[data-testid=next]")?.getAttribute("href")).toBe("/annotate/sub-002");
  expect(place.querySelector("[role=status]")?.textContent).toBe("3 of 3 participants. You have marked 1.");
  const search = place.querySelector("input")!;
  search.value = " 012 ";
  search.dispatchEvent(new Event("input"));
  expect(shown()).toEqual(["sub-012"]);
  search.value = "";
  const status = place.querySelector("select")!;
  status.value = "marked";
  status.dispatchEvent(new Event("change"));
  expect(shown()).toEqual(["sub-001"]);
});

test("of thousands of participants the first three hundred are shown", async () => {
  agreement([]);
  const rows = [...Array(5000).keys()].map((number) => ({ ...list.rows[1]!, participant_id: `sub-${number}` }));
  await worklist(place, { ...list, rows });
  expect(shown()).toHaveLength(300);
  expect(place.querySelector("[role=status]")?.textContent).toContain("the first 300 are shown");
});

test("agreement is a table with rounded numbers", async () => {
  agreement([{ participant_id: "sub-001", annotators: ["A1", "A2"], iou: 0.8449, distance_mm: 1.26, same_slices: true, same_level: false }]);
  await worklist(place, list);
  const cells = [...place.querySelectorAll("section td")].map((cell) => cell.textContent);
  expect(cells).toEqual(["sub-001", "A1, A2", "0.84", "1.3 mm", "same", "different"]);
});

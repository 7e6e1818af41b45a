/** Reader studies as their editor sees them: each reader's progress, and the export. */

import { Refusal, download, get } from "./api";
import type { StudyTable } from "./contracts";
import { element, replace, table } from "./dom";

export async function editing(): Promise<HTMLElement> {
  const { studies } = await get("/api/read-studies");
  if (!studies.length) {
    return element("p", { class: "quiet" }, "To add a reader study, run ", element("code", {}, "spinefx reader-study add"), " with its design file. It then appears here.");
  }
  return element("section", {}, element("h2", {}, "For the editor"), ...studies.map(one));
}

function one(study: StudyTable): HTMLElement {
  const status = element("p", { role: "status", class: "quiet" });
  const predictions = study.model ? `, predictions of ${study.model}` : "";
  return element(
    "section",
    {},
    table(
      `${study.study}: ${study.design.replace("_", " ")}, ${study.cases} cases${predictions}`,
      ["Reader", "Finished", "Of", "Early requests for the prediction"],
      study.readers.map((row) => [row.reader, row.done, row.of, row.early_requests]),
    ),
    element("p", {}, element("button", { click: () => void fetchExport(study.study, status) }, `Export ${study.study}`)),
    status,
  );
}

async function fetchExport(study: string, status: HTMLElement): Promise<void> {
  try {
    const packed = await download("/api/read-studies/{study}/export", { study });
    const address = URL.createObjectURL(packed);
    element("a", { href: address, download: `${study}.zip` }).click();
    replace(status, "Exported. The answers were also added to the workspace's tables, so that the report shows them.");
  } catch (error) {
    replace(status, error instanceof Refusal ? error.message : "The export failed. Try again.");
  }
}

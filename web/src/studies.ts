/** What an editor sees of reader studies: how far each reader is, and the export. */

import { Refusal, get, send } from "./api";
import { element, replace } from "./dom";

interface Study {
  study: string;
  design: string;
  cases: number;
  model: string;
  readers: { reader: string; done: number; of: number; early_requests: number }[];
}

export async function editing(): Promise<HTMLElement> {
  const { studies } = await get<{ studies: Study[] }>("/api/read-studies");
  if (!studies.length) return element("p", { class: "said" }, "Register a study from its design file on the command line; it appears here.");
  return element("section", {}, element("h2", {}, "For the editor"), ...studies.map(one));
}

function one(study: Study): HTMLElement {
  const said = element("p", { role: "status", class: "said" });
  const head = ["Reader", "Finished", "Of", "Model asked for too early"];
  return element(
    "section",
    {},
    element(
      "table",
      { class: "wide" },
      element("caption", {}, `${study.study}: ${study.design.replace("_", " ")}, ${study.cases} cases${study.model ? `, answers of ${study.model}` : ""}`),
      element("thead", {}, element("tr", {}, ...head.map((words) => element("th", { scope: "col" }, words)))),
      element(
        "tbody",
        {},
        ...study.readers.map((row) => element("tr", {}, ...[row.reader, row.done, row.of, row.early_requests].map((cell) => element("td", {}, cell)))),
      ),
    ),
    element("p", {}, element("button", { click: () => void fetchExport(study.study, said) }, `Export ${study.study}`)),
    said,
  );
}

async function fetchExport(study: string, said: HTMLElement): Promise<void> {
  try {
    const packed = await send<Blob>("POST", `/api/read-studies/${encodeURIComponent(study)}/export`, {}, "blob");
    const address = URL.createObjectURL(packed);
    element("a", { href: address, download: `${study}.zip` }).click();
    replace(said, "Exported; the answers stand in the study folder's tables too, so that the report shows them.");
  } catch (error) {
    replace(said, error instanceof Refusal ? error.message : "The export failed.");
  }
}

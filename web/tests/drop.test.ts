import { expect, test } from "vitest";
import { gather } from "../src/drop";

function file(path: string): FileSystemEntry {
  const content = new File(["x"], path.split("/").at(-1)!);
  return { isFile: true, fullPath: path, file: (resolve: (file: File) => void) => resolve(content) } as unknown as FileSystemEntry;
}

/** A folder whose reader returns its entries two at a time, as browsers return them in batches. */
function folder(...entries: FileSystemEntry[]): FileSystemEntry {
  const createReader = (): unknown => {
    const waiting = [...entries];
    return { readEntries: (resolve: (some: FileSystemEntry[]) => void) => resolve(waiting.splice(0, 2)) };
  };
  return { isFile: false, createReader } as unknown as FileSystemEntry;
}

function dropped(...entries: FileSystemEntry[]): DataTransfer {
  return { items: entries.map((entry) => ({ webkitGetAsEntry: () => entry })), files: [] } as unknown as DataTransfer;
}

test("every file of nested folders is found, with its path", async () => {
  const inner = folder(file("/study/1/a"), file("/study/1/b"), file("/study/1/c"));
  const found = await gather(dropped(folder(file("/study/x"), inner), file("/loose")));
  expect(found.map(([path]) => path)).toEqual(["study/x", "study/1/a", "study/1/b", "study/1/c", "loose"]);
  expect(found.every(([, one]) => one instanceof File)).toBe(true);
});

test("an empty folder holds nothing", async () => expect(await gather(dropped(folder()))).toEqual([]));

test("without entries the plain files are taken", async () => {
  const transfer = { items: [], files: [new File(["x"], "a.zip")] } as unknown as DataTransfer;
  expect((await gather(transfer)).map(([path]) => path)).toEqual(["a.zip"]);
});

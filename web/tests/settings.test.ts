import { beforeEach, expect, test, vi } from "vitest";

/** The module anew, as after a reload. */
async function reloaded(): Promise<typeof import("../src/viewer/settings")> {
  vi.resetModules();
  return import("../src/viewer/settings");
}

beforeEach(() => localStorage.clear());

test("the defaults are those of radiology viewers", async () => {
  const { settings } = await reloaded();
  expect(settings()).toMatchObject({ left: "window", middle: "pan", right: "zoom", doubleClick: "maximise", arrows: "nothing" });
});

test("a change survives a reload and leaves the rest as it is", async () => {
  (await reloaded()).set({ left: "slices" });
  const { settings } = await reloaded();
  expect(settings()).toMatchObject({ left: "slices", right: "zoom" });
});

test.each(["{", "null", '{"left": "explode", "right": "pan", "unknown": 1}'])("of a store that holds %s only what is known counts", async (stored) => {
  localStorage.setItem("spinefx.settings", stored);
  const { settings } = await reloaded();
  expect(settings().left).toBe("window");
  expect(settings().right).toBe(stored.includes("pan") ? "pan" : "zoom");
  expect(settings()).not.toHaveProperty("unknown");
});

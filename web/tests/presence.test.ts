import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { PresenceReport } from "../src/presence";

let reports: string[];

beforeEach(() => {
  vi.useFakeTimers();
  reports = [];
  vi.stubGlobal("fetch", async (address: string, options: RequestInit) => {
    reports.push(`${address.split("/")[5]} ${(JSON.parse(String(options.body)) as { presence: string }).presence}`);
    return new Response("{}");
  });
});
afterEach(() => (vi.useRealTimers(), vi.unstubAllGlobals()));

test("a reader who does not touch the page for a minute is idle until they touch it", async () => {
  new PresenceReport({ study: "pilot", session: 1, handle: "a" });
  await vi.advanceTimersByTimeAsync(95_000);
  expect(reports).toEqual(["a visible", "a visible", "a idle"]);
  window.dispatchEvent(new Event("keydown"));
  expect(reports.at(-1)).toBe("a visible");
});

test("a pause is reported at once, and the next case starts without it", async () => {
  const report = new PresenceReport({ study: "pilot", session: 1, handle: "a" });
  report.pause(true);
  expect(report.isPaused).toBe(true);
  expect(reports.at(-1)).toBe("a paused");
  report.turnTo({ study: "pilot", session: 1, handle: "b" });
  expect(report.isPaused).toBe(false);
  await report.leave();
  expect(reports.at(-1)).toBe("b hidden");
});

import { afterEach, expect, test, vi } from "vitest";
import { Refusal, SIGNED_OUT, addressOf, get, send, slicePixels } from "../src/api";

/** Answer every request in the same way; returns what was requested. */
function answering(status: number, body: BodyInit, type = "application/json"): [string, RequestInit][] {
  const requests: [string, RequestInit][] = [];
  vi.stubGlobal("fetch", async (address: string, options: RequestInit) => {
    requests.push([address, options]);
    return new Response(body, { status, headers: { "content-type": type } });
  });
  return requests;
}

afterEach(() => vi.unstubAllGlobals());

test("names are filled into a path so that they stay one part of it", () => {
  expect(addressOf("/api/annotate/{participant_id}/lesion", { participant_id: "../sub 1?" })).toBe("/api/annotate/..%2Fsub%201%3F/lesion");
  expect(addressOf("/api/read/{study}/{session}", { study: "pilot", session: 2 })).toBe("/api/read/pilot/2");
});

test("JSON goes out and comes back", async () => {
  const requests = answering(200, '{"kept": true}');
  const names = { study: "pilot", session: 1, handle: "h" };
  const { kept } = await send("put", "/api/read/{study}/{session}/{handle}/draft", names, { confidence: 3 });
  expect(kept).toBe(true);
  expect(requests[0]![0]).toBe("/api/read/pilot/1/h/draft");
  expect(requests[0]![1]).toMatchObject({ method: "PUT", body: '{"confidence":3}', credentials: "same-origin" });
});

test("an error carries the server's name and message", async () => {
  answering(422, '{"error": "BoxError", "message": "a box of 3 mm"}');
  await expect(get("/api/me")).rejects.toMatchObject({ status: 422, kind: "BoxError", message: "a box of 3 mm" });
  answering(500, "not JSON");
  await expect(get("/api/me")).rejects.toMatchObject({ status: 500, message: "The server answered with status 500." });
});

test("a server that is away is an error with status 0", async () => {
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("failed")));
  await expect(get("/api/me")).rejects.toMatchObject({ status: 0, kind: "Offline" });
  await expect(get("/api/me")).rejects.toBeInstanceOf(Refusal);
});

test("the window hears when nobody is signed in any more", async () => {
  const heard = vi.fn();
  window.addEventListener(SIGNED_OUT, heard);
  answering(401, "{}");
  await expect(get("/api/me")).rejects.toMatchObject({ status: 401 });
  expect(heard).toHaveBeenCalledOnce();
  window.removeEventListener(SIGNED_OUT, heard);
});

test("half a number at the end of broken pixels is dropped", async () => {
  answering(200, new Uint8Array([1, 0, 2, 1, 9]), "application/octet-stream");
  expect([...(await slicePixels("a", 3))]).toEqual([1, 258]);
});

// Never run: these calls are here for the compiler, which must refuse the wrong ones.
export async function calls(): Promise<void> {
  const user = await get("/api/me");
  user.roles satisfies ("reader" | "annotator" | "editor")[];
  const { pair } = await get("/api/annotate/{participant_id}", { participant_id: "sub-001" });
  pair.t2w.window.low satisfies number;
  // @ts-expect-error an unknown path
  await get("/api/nothing");
  // @ts-expect-error a path without its name
  await get("/api/annotate/{participant_id}");
  // @ts-expect-error a path without this method
  await get("/api/leave");
  // @ts-expect-error a body with another field
  await send("post", "/api/enter", undefined, { tokens: "a" });
}

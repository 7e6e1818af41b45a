/** The server's answers: JSON by route, pixels by slice, and refusals as words that a reader can act on. */

/** Told to the window when an answer needs somebody who is signed in, and nobody is. */
export const SIGNED_OUT = "spinefx.signed-out";

export class Refusal extends Error {
  constructor(
    readonly status: number,
    /** Name of the error, such as BoxError. */
    readonly kind: string,
    message: string,
  ) {
    super(message);
  }
}

async function answered(path: string, options: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { ...options, credentials: "same-origin", cache: "no-store" });
  } catch {
    throw new Refusal(0, "Offline", "The server does not answer. Start `spinefx serve` again; nothing was lost here.");
  }
  if (response.ok) return response;
  if (response.status === 401) window.dispatchEvent(new Event(SIGNED_OUT));
  const said = (await response.json().catch(() => ({}))) as { error?: string; message?: string };
  throw new Refusal(response.status, said.error ?? "Refused", said.message ?? `The server said ${response.status}.`);
}

/** Ask for a JSON answer. */
export async function get<Answer>(path: string): Promise<Answer> {
  return (await (await answered(path, { method: "GET" })).json()) as Answer;
}

/** Send JSON, and take JSON (or a file) back. */
export async function send<Answer>(
  method: "POST" | "PUT" | "DELETE",
  path: string,
  body: unknown = {},
  back: "json" | "blob" = "json",
): Promise<Answer> {
  const headers = { "Content-Type": "application/json" };
  return (await (await answered(path, { method, headers, body: JSON.stringify(body) }))[back]()) as Answer;
}

/** Send files as they are. */
export async function upload<Answer>(path: string, form: FormData): Promise<Answer> {
  return (await (await answered(path, { method: "POST", body: form })).json()) as Answer;
}

/** Stored numbers of one slice, row by row. */
export async function slicePixels(handle: string, slice: number): Promise<Uint16Array> {
  const response = await answered(`/api/images/${handle}/slices/${slice}`, { method: "GET" });
  // The connection may break while the numbers come; half a number is none.
  const bytes = await response.arrayBuffer().catch(() => new ArrayBuffer(0));
  return new Uint16Array(bytes.slice(0, bytes.byteLength - (bytes.byteLength % 2)));
}

/** Calls to the server, typed by path: JSON, files and pixels back, and errors as messages that a user can act on. */

import type { OpenAPI3 } from "openapi-typescript";
import type { ErrorMessage, OpenedStudy, paths } from "./contracts";

/** Sent to the window when a call needs a signed-in user and there is none. */
export const SIGNED_OUT = "spinefx.signed-out";

type Method = "get" | "put" | "post" | "delete";
type Operation<Path extends keyof paths, Verb extends Method> = NonNullable<paths[Path][Verb]>;
/** Paths that have an operation with this method. */
export type PathsOf<Verb extends Method> = {
  [Path in keyof paths]: [Operation<Path, Verb>] extends [never] ? never : Path;
}[keyof paths];
type Names<Call> = Call extends { parameters: { path: infer Named } } ? Named : undefined;
type Body<Call> = Call extends { requestBody: { content: { "application/json": infer Given } } } ? Given : undefined;
/** What an operation returns as JSON. */
type Answer<Call> = Call extends { responses: { 200: { content: { "application/json": infer Given } } } } ? Given : never;
type GivenNames<Call> = Names<Call> extends undefined ? [names?: undefined] : [names: Names<Call>];
type Given<Call> = Body<Call> extends undefined ? GivenNames<Call> : [names: Names<Call>, body: Body<Call>];

/** An error of the server, or of the way to it. */
export class Refusal extends Error {
  constructor(
    /** HTTP status; 0 when no answer came. */
    readonly status: number,
    /** Name of the error, such as BoxError. */
    readonly kind: string,
    message: string,
  ) {
    super(message);
  }
}

/** Fill in the names of a path: addressOf("/api/annotate/{participant_id}", { participant_id: "sub-001" }). */
export function addressOf(path: string, names: Record<string, string | number> = {}): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(names[name])));
}

async function answered(address: string, options: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address, { ...options, credentials: "same-origin", cache: "no-store" });
  } catch {
    throw new Refusal(0, "Offline", "The server does not answer. Start `spinefx serve` again. Your work on this page is kept.");
  }
  if (response.ok) return response;
  if (response.status === 401) window.dispatchEvent(new Event(SIGNED_OUT));
  const { error, message } = (await response.json().catch(() => ({}))) as Partial<ErrorMessage>;
  throw new Refusal(response.status, error ?? "Refused", message ?? `The server answered with status ${response.status}.`);
}

function sent(method: Method, path: string, names: unknown, body: unknown): Promise<Response> {
  const address = addressOf(path, names as Record<string, string | number> | undefined);
  const headers = { "Content-Type": "application/json" };
  return answered(address, { method: method.toUpperCase(), headers, body: JSON.stringify(body ?? {}) });
}

/** Get JSON. */
export async function get<Path extends PathsOf<"get">>(path: Path, ...[names]: GivenNames<Operation<Path, "get">>): Promise<Answer<Operation<Path, "get">>> {
  const response = await answered(addressOf(path, names as Record<string, string | number> | undefined), { method: "GET" });
  return (await response.json()) as Answer<Operation<Path, "get">>;
}

/** Send JSON, and get JSON back. */
export async function send<Verb extends "put" | "post" | "delete", Path extends PathsOf<Verb>>(
  method: Verb,
  path: Path,
  ...[names, body]: Given<Operation<Path, Verb>>
): Promise<Answer<Operation<Path, Verb>>> {
  return (await (await sent(method, path, names, body)).json()) as Answer<Operation<Path, Verb>>;
}

/** Ask for a file to be made. */
export async function download(path: "/api/read-studies/{study}/export", names: { study: string }): Promise<Blob> {
  return (await sent("post", path, names, undefined)).blob();
}

/** Upload the files of a study. */
export async function upload(form: FormData): Promise<OpenedStudy> {
  return (await (await answered("/api/decide/studies" satisfies PathsOf<"post">, { method: "POST", body: form })).json()) as OpenedStudy;
}

/** Stored numbers of one slice, row by row. */
export async function slicePixels(name: string, index: number): Promise<Uint16Array> {
  const path = "/api/images/{name}/slices/{index}" satisfies PathsOf<"get">;
  const response = await answered(addressOf(path, { name, index }), { method: "GET" });
  // The connection may break while the numbers arrive; an odd last byte is half a number.
  const bytes = await response.arrayBuffer().catch(() => new ArrayBuffer(0));
  return new Uint16Array(bytes.slice(0, bytes.byteLength - (bytes.byteLength % 2)));
}

/** The description of all routes, which is what the types of this module are generated from. */
export async function description(): Promise<OpenAPI3> {
  return (await (await answered("/api/openapi.json", { method: "GET" })).json()) as OpenAPI3;
}

/** Leaving: what a page has not sent yet is sent first, or the person is asked; and who was signed out elsewhere comes back. */

import { Refusal, send } from "./api";

interface Work {
  isUnsaved: () => boolean;
  save: () => Promise<unknown>;
  /** What is to be told before the person is gone. */
  leave: () => Promise<unknown>;
}

let work: Work | undefined;
let isLeaving = false;

/** Say what this page would lose, and how it is saved. */
export function guard(isUnsaved: Work["isUnsaved"], save: Work["save"], leave: Work["leave"] = async () => undefined): void {
  work = { isUnsaved, save, leave };
  window.addEventListener("beforeunload", (event) => {
    if (isUnsaved() && !isLeaving) event.preventDefault();
  });
}

/** Send what was kept back while nobody was signed in. */
export async function resume(): Promise<void> {
  await work?.save();
}

/** End the session on the server, then show the entrance. */
export async function signOut(): Promise<void> {
  await work?.save();
  if (work?.isUnsaved() && !window.confirm("What you changed last could not be saved yet. Sign out all the same?")) return;
  await work?.leave();
  try {
    await send("POST", "/api/leave");
  } catch (error) {
    return window.alert(`You are still signed in. ${error instanceof Refusal ? error.message : "Try again."}`);
  }
  leaveTo("/");
}

/** Go without a further question. */
export function leaveTo(path: string): void {
  isLeaving = true;
  location.assign(path);
}

/** Leaving a page: unsaved work is sent first, or the user is asked; and a user who was signed out may come back. */

import { Refusal, send } from "./api";

interface Work {
  isUnsaved: () => boolean;
  save: () => Promise<unknown>;
  /** Called before the user signs out. */
  leave: () => Promise<unknown>;
}

let work: Work | undefined;
let isLeaving = false;

/** Register what this page would lose, and how to save it. */
export function guard(isUnsaved: Work["isUnsaved"], save: Work["save"], leave: Work["leave"] = async () => undefined): void {
  work = { isUnsaved, save, leave };
  window.addEventListener("beforeunload", (event) => {
    if (isUnsaved() && !isLeaving) event.preventDefault();
  });
}

/** Save what could not be saved while the user was signed out. */
export async function resume(): Promise<void> {
  await work?.save();
}

/** End the session on the server, then show the sign-in page. */
export async function signOut(): Promise<void> {
  await work?.save();
  if (work?.isUnsaved() && !window.confirm("Your last change is not saved yet. Sign out anyway?")) return;
  await work?.leave();
  try {
    await send("post", "/api/leave");
  } catch (error) {
    return window.alert(`You are still signed in. ${error instanceof Refusal ? error.message : "Try again."}`);
  }
  leaveTo("/");
}

/** Go to another page without asking. */
export function leaveTo(path: string): void {
  isLeaving = true;
  location.assign(path);
}

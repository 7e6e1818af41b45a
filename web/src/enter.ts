/** Signing in, with nothing but a token. */

import { info } from "../openapi.json";
import { Refusal, send } from "./api";
import { element, replace } from "./dom";
import { leaveTo, resume } from "./leaving";

/** Ask for the token, then open the page that was requested. */
export function enter(root: HTMLElement): void {
  const { form, token } = tokenForm(() => location.reload());
  replace(
    root,
    element(
      "main",
      { class: "trouble", id: "main" },
      element("h1", {}, "Sign in"),
      form,
      element("p", { class: "notice" }, info.summary),
    ),
  );
  token.focus();
}

/** Cover a page whose user was signed out in the meantime; once they sign in again, they continue where they were. */
export function enterAgain(root: HTMLElement, code: string): void {
  if (root.inert) return;
  const cover = element("dialog", { class: "entrance", "aria-labelledby": "again" });
  const { form, token } = tokenForm((entered) => {
    // Another user must not see this user's work.
    if (entered !== code) return leaveTo(location.href);
    root.inert = false;
    root.style.visibility = "";
    cover.remove();
    void resume();
  });
  replace(
    cover,
    element("h1", { id: "again" }, "Sign in again"),
    element("p", {}, `${code} was signed out. Unsaved work is kept behind this page until ${code} signs in again. If another user signs in here, it is lost.`),
    form,
  );
  root.inert = true;
  root.style.visibility = "hidden";
  document.body.append(cover);
  // Escape always closes a dialog; this one opens again.
  cover.addEventListener("close", () => root.inert && cover.showModal());
  cover.showModal();
  token.focus();
}

function tokenForm(entered: (code: string) => void): { form: HTMLFormElement; token: HTMLInputElement } {
  const trouble = element("p", { role: "alert", class: "alarm" });
  const token = element("input", { type: "password", id: "token", name: "token", autocomplete: "off", required: true, maxlength: 200 });
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    trouble.textContent = "";
    try {
      entered((await send("post", "/api/enter", undefined, { token: token.value.trim() })).code);
    } catch (error) {
      trouble.textContent = error instanceof Refusal ? error.message : "Signing in failed. Try again.";
      token.select();
    }
  };
  const form = element(
    "form",
    { submit: (event: SubmitEvent) => void submit(event) },
    element("p", {}, element("label", { for: "token" }, "The token that your editor gave you")),
    element("p", {}, token),
    element("p", {}, element("button", { class: "main" }, "Sign in")),
    trouble,
  );
  return { form, token };
}

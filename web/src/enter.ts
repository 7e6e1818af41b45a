/** Where one signs in: a token, and nothing else. */

import { Refusal, send } from "./api";
import { element, replace } from "./dom";
import { leaveTo, resume } from "./leaving";

/** Ask for the token, then go on to the page that was wanted. */
export function enter(root: HTMLElement): void {
  const { form, token } = entrance(() => location.reload());
  replace(
    root,
    element(
      "main",
      { class: "trouble", id: "main" },
      element("h1", {}, "Sign in"),
      form,
      element("p", { class: "notice" }, "Research use only, not a medical device."),
    ),
  );
  token.focus();
}

/** Hide a page whose person was signed out meanwhile, until they are back: then they go on where they were. */
export function enterAgain(root: HTMLElement, code: string): void {
  if (root.inert) return;
  const cover = element("dialog", { class: "entrance", "aria-labelledby": "again" });
  const { form, token } = entrance((person) => {
    // A page with somebody else's work on it is not for whoever came instead.
    if (person !== code) return leaveTo(location.href);
    root.inert = false;
    root.style.visibility = "";
    cover.remove();
    void resume();
  });
  replace(
    cover,
    element("h1", { id: "again" }, "Sign in again"),
    element("p", {}, `${code} was signed out. What was not sent yet waits behind this page until ${code} is back; when somebody else enters, it is gone.`),
    form,
  );
  root.inert = true;
  root.style.visibility = "hidden";
  document.body.append(cover);
  // Escape closes a dialog whatever the page says; this one comes back.
  cover.addEventListener("close", () => root.inert && cover.showModal());
  cover.showModal();
  token.focus();
}

function entrance(entered: (code: string) => void): { form: HTMLFormElement; token: HTMLInputElement } {
  const said = element("p", { role: "alert", class: "alarm" });
  const token = element("input", { type: "password", id: "token", name: "token", autocomplete: "off", required: true, maxlength: 200 });
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    said.textContent = "";
    try {
      entered((await send<{ code: string }>("POST", "/api/enter", { token: token.value.trim() })).code);
    } catch (error) {
      said.textContent = error instanceof Refusal ? error.message : "That did not work. Try again.";
      token.select();
    }
  };
  const form = element(
    "form",
    { submit: (event: SubmitEvent) => void submit(event) },
    element("p", {}, element("label", { for: "token" }, "The token that the study's editor gave you")),
    element("p", {}, token),
    element("p", {}, element("button", { class: "main" }, "Enter")),
    said,
  );
  return { form, token };
}

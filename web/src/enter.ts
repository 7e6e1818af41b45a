/** Where one signs in: a token, and nothing else. */

import { Refusal, send } from "./api";
import { element, replace } from "./dom";

/** Ask for the token, then go on to the page that was wanted. */
export function enter(root: HTMLElement): void {
  const said = element("p", { role: "alert", class: "alarm" });
  const token = element("input", { type: "password", id: "token", name: "token", autocomplete: "off", required: true, maxlength: 200 });
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    said.textContent = "";
    try {
      await send("POST", "/api/enter", { token: token.value.trim() });
      location.reload();
    } catch (error) {
      said.textContent = error instanceof Refusal ? error.message : "That did not work. Try again.";
      token.select();
    }
  };
  replace(
    root,
    element(
      "main",
      { class: "trouble", id: "main" },
      element("h1", {}, "Sign in"),
      element(
        "form",
        { submit: (event: SubmitEvent) => void submit(event) },
        element("p", {}, element("label", { for: "token" }, "The token that the study's editor gave you")),
        element("p", {}, token),
        element("p", {}, element("button", { class: "main" }, "Enter")),
        said,
      ),
      element("p", { class: "notice" }, "Research use only, not a medical device."),
    ),
  );
  token.focus();
}

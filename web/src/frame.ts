/** What stands round every page: where one is, who one is, and what this is not. */

import { element, replace } from "./dom";
import { signOut } from "./leaving";

export interface Me {
  /** Code of the person, never a name. */
  code: string;
  roles: string[];
  /** Whether they came in with a token, and so can sign out. */
  signed_in: boolean;
  workspace: string;
  /** Whether the study's truth is a phantom's. */
  phantom: boolean;
  version: string;
  notice: string;
}

const DOORS: [string, string, string][] = [
  ["annotate", "Annotate", "annotator"],
  ["read", "Read", "reader"],
  ["decide", "Decide", "reader"],
  ["teach", "Teach", "reader"],
];

/** Draw the frame, and give the place that is the page's own. */
export function frame(root: HTMLElement, me: Me, here: string): HTMLElement {
  const main = element("main", { id: "main" });
  const doors = DOORS.filter(([, , role]) => me.roles.includes(role) || me.roles.includes("editor"));
  const links = doors.map(([path, words]) =>
    element("a", { href: `/${path}`, "aria-current": path === here ? "page" : undefined }, words),
  );
  replace(
    root,
    element("a", { class: "skip", href: "#main" }, "To the content"),
    element(
      "header",
      { class: "bar" },
      element("a", { href: "/", class: "brand" }, "spinefx"),
      element("nav", { "aria-label": "Pages" }, ...links),
      element("span", { class: "who" }, `${me.workspace}${me.phantom ? " (phantom)" : ""} · ${me.code}`),
      me.signed_in ? element("button", { click: () => void signOut() }, "Sign out") : null,
    ),
    main,
    element("footer", { class: "bar notice" }, `${me.notice} spinefx ${me.version} · `, element("a", { href: "/api/" }, "addresses for programs")),
  );
  return main;
}

export { DOORS };

/** The frame around every page: links, who is signed in, and what this software is not. */

import type { CurrentUser } from "./contracts";
import { element, replace } from "./dom";
import { signOut } from "./leaving";
import type { Page } from "./pages";

/** Draw the frame, and return the element that belongs to the page. */
export function frame(root: HTMLElement, user: CurrentUser, pages: Page[], current: string): HTMLElement {
  const main = element("main", { id: "main" });
  const links = pages.map(({ path, title }) =>
    element("a", { href: `/${path}`, "aria-current": path === current ? "page" : undefined }, title),
  );
  replace(
    root,
    element("a", { class: "skip", href: "#main" }, "Skip to the content"),
    element(
      "header",
      { class: "bar" },
      element("a", { href: "/", class: "brand" }, "spinefx"),
      element("nav", { "aria-label": "Pages" }, ...links),
      element("span", { class: "who" }, `${user.workspace}${user.phantom ? " (phantom)" : ""} · ${user.code}`),
      user.signed_in ? element("button", { click: () => void signOut() }, "Sign out") : null,
    ),
    main,
    element("footer", { class: "bar notice" }, `${user.notice} spinefx ${user.version} · `, element("a", { href: "/api/" }, "API")),
  );
  return main;
}

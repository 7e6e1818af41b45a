/** The first page: what can be done here. */

import type { CurrentUser } from "./contracts";
import { element, replace } from "./dom";
import type { Page } from "./pages";

export function home(place: HTMLElement, user: CurrentUser, pages: Page[]): void {
  const cards = pages.map(({ path, title, link }) =>
    element("a", { class: "card", href: `/${path}` }, element("h2", {}, title), element("p", {}, link?.summary)),
  );
  replace(place, element("h1", {}, user.workspace), element("div", { class: "cards" }, ...cards));
}

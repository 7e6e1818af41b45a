/** The one list of pages: a new page is entered here, and gets its address, its link, its card and its title. */

import { annotate } from "./annotate";
import type { CurrentUser, Role } from "./contracts";
import { decide } from "./decide";
import { home } from "./home";
import { read } from "./read";
import { routes } from "./routes";
import { teach } from "./teach";

export interface Page {
  /** First part of the address. */
  path: string;
  title: string;
  /** Draws the page; `parts` are the further parts of the address. */
  show: (place: HTMLElement, user: CurrentUser, parts: string[]) => void | Promise<void>;
  /** Present for pages that the header and the home page link to. */
  link?: {
    /** Who sees the link; editors see all of them. */
    role: Role;
    summary: string;
  };
}

export const PAGES: Page[] = [
  { path: "", title: "", show: (place, user) => home(place, user, linked(user)) },
  {
    path: "annotate",
    title: "Annotate",
    show: annotate,
    link: { role: "annotator", summary: "Mark the fractured vertebra of each participant: a box on T2W, the slices of the lesion, the level." },
  },
  {
    path: "read",
    title: "Read",
    show: read,
    link: { role: "reader", summary: "Score the fifteen signs and give a diagnosis, blinded, without and with the model." },
  },
  {
    path: "decide",
    title: "Decide",
    show: decide,
    link: { role: "reader", summary: "Open one study, mark the vertebra, and see the model's probability and when not to trust it." },
  },
  {
    path: "teach",
    title: "Teach",
    show: teach,
    link: { role: "reader", summary: "See what you confuse, sign by sign, with the cases to look at again." },
  },
  { path: "api", title: "API", show: routes },
];

/** Pages that a user sees links to. */
export function linked(user: CurrentUser): Page[] {
  return PAGES.filter(({ link }) => link && (user.roles.includes(link.role) || user.roles.includes("editor")));
}

/** Which page belongs to which address. */

import { Refusal, SIGNED_OUT, get } from "./api";
import { element, replace } from "./dom";
import { home } from "./home";
import { DOORS, type Me, frame } from "./frame";
import { annotate } from "./annotate";
import { decide } from "./decide";
import { enter, enterAgain } from "./enter";
import { read } from "./read";
import { routes } from "./routes";
import { teach } from "./teach";

type Page = (place: HTMLElement, me: Me, parts: string[]) => void | Promise<void>;

const PAGES: Record<string, Page> = { "": home, annotate, api: routes, decide, read, teach };

async function start(): Promise<void> {
  const [name = "", ...parts] = location.pathname.split("/").filter(Boolean);
  const root = document.getElementById("page")!;
  try {
    const me = await get<Me>("/api/me");
    window.addEventListener(SIGNED_OUT, () => enterAgain(root, me.code));
    const place = frame(root, me, name);
    const page = PAGES[name];
    const title = DOORS.find(([path]) => path === name)?.[1];
    if (title) document.title = `${title} · spinefx`;
    if (page) await page(place, me, parts.map(decodeURIComponent));
    else replace(place, element("h1", {}, "There is no such page"), element("p", {}, element("a", { href: "/" }, "To the first page")));
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) return enter(root);
    replace(
      root,
      element(
        "main",
        { class: "trouble" },
        element("h1", {}, "This page cannot be shown"),
        element("p", { role: "alert" }, error instanceof Error ? error.message : "Something went wrong."),
        element("button", { click: () => location.reload() }, "Try again"),
      ),
    );
  }
}

// A page that the browser kept for the way back may be of somebody who has signed out.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
void start();

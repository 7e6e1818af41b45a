/** Show the page that belongs to the address. */

import { Refusal, SIGNED_OUT, get } from "./api";
import { element, replace } from "./dom";
import { enter, enterAgain } from "./enter";
import { frame } from "./frame";
import { PAGES, linked } from "./pages";

async function start(): Promise<void> {
  const [path = "", ...parts] = location.pathname.split("/").filter(Boolean);
  const root = document.getElementById("page")!;
  try {
    const user = await get("/api/me");
    window.addEventListener(SIGNED_OUT, () => enterAgain(root, user.code));
    const place = frame(root, user, linked(user), path);
    const page = PAGES.find((one) => one.path === path);
    if (page?.title) document.title = `${page.title} · spinefx`;
    if (page) await page.show(place, user, parts.map(decodeURIComponent));
    else replace(place, element("h1", {}, "Page not found"), element("p", {}, element("a", { href: "/" }, "Go to the home page")));
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

// A page that the browser kept for its back button may belong to a user who has signed out.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
void start();

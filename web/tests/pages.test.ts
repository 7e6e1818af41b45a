import { expect, test } from "vitest";
import type { CurrentUser, Role } from "../src/contracts";
import { frame } from "../src/frame";
import { home } from "../src/home";
import { PAGES, linked } from "../src/pages";

function user(...roles: Role[]): CurrentUser {
  return { code: "R1", roles, signed_in: true, workspace: "demo", phantom: true, version: "0", notice: "Research use only." };
}

test.each([
  [["annotator"], ["annotate"]],
  [["reader"], ["read", "decide", "teach"]],
  [["editor"], ["annotate", "read", "decide", "teach"]],
  [[], []],
] as [Role[], string[]][])("roles %j see links to %j", (roles, paths) => {
  expect(linked(user(...roles)).map((page) => page.path)).toEqual(paths);
});

test("header and home page link to the same pages", () => {
  const root = document.body.appendChild(document.createElement("div"));
  const place = frame(root, user("reader"), linked(user("reader")), "read");
  home(place, user("reader"), linked(user("reader")));
  const addresses = (selector: string): (string | null)[] => [...root.querySelectorAll(selector)].map((one) => one.getAttribute("href"));
  expect(addresses("nav a")).toEqual(addresses("a.card"));
  expect(root.querySelector("[aria-current]")?.textContent).toBe("Read");
  expect(root.querySelector(".who")?.textContent).toBe("demo (phantom) · R1");
});

test("each page has an address of its own", () => {
  expect(new Set(PAGES.map((page) => page.path)).size).toBe(PAGES.length);
});

/** Elements made from text, never from markup: data are shown, not run. */

type Child = Node | string | number | null | undefined;
type Attributes = Record<string, string | number | boolean | ((event: never) => void) | undefined>;

/** Make an element. Functions become listeners, `true` an empty attribute, `false` and `undefined` no attribute. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  dress(made, attributes);
  fill(made, ...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** Make an SVG element in the same way. */
export function drawing<Name extends keyof SVGElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[Name] {
  const made = document.createElementNS(SVG, name);
  dress(made, attributes);
  fill(made, ...children);
  return made;
}

/** Replace an element's children. */
export function replace(parent: Element, ...children: Child[]): void {
  parent.replaceChildren();
  fill(parent, ...children);
}

function dress(made: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value as unknown as EventListener);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined) made.setAttribute(name, String(value));
  }
}

function fill(parent: Element, ...children: Child[]): void {
  for (const child of children) if (child !== null && child !== undefined) parent.append(child instanceof Node ? child : String(child));
}

type Cell = Node | string | number;

/** Make a table; an empty caption is left out. */
export function table(caption: string, head: string[], rows: Cell[][], className = "wide"): HTMLTableElement {
  return element(
    "table",
    { class: className || undefined },
    caption ? element("caption", {}, caption) : null,
    element("thead", {}, element("tr", {}, ...head.map((title) => element("th", { scope: "col" }, title)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))))),
  );
}

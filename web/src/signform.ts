/// <reference types="vite/client" />
/** The fifteen signs: yes, no or not assessable, by keys or mouse, each with its definition and a picture. */

import type { Score, SignDefinition } from "./contracts";
import { element, replace } from "./dom";
import type { Command, Keys } from "./keys";

export type Scores = Record<string, Score>;

export const SCORE_LABELS: Record<Score, string> = { y: "yes", n: "no", u: "not assessable" };
const CHOICES = Object.entries(SCORE_LABELS).map(([score, label]) => [score as Score, score.toUpperCase(), label] as const);
const PICTURES = import.meta.glob<string>("./signs/*.png", { eager: true, query: "?url", import: "default" });

export class SignForm {
  readonly root = element("section", { class: "signs", "aria-label": "Signs" });
  private readonly rows: HTMLElement[] = [];
  private readonly definition = element("div", { class: "sign-definition", "aria-live": "polite" });
  private row = 0;
  /** Digits typed so far, for rows beyond the ninth. */
  private digits = "";

  constructor(
    private readonly signs: SignDefinition[],
    private readonly keys: Keys,
    private readonly scores: () => Scores,
    private readonly score: (sign: SignDefinition, score: Score) => void,
    private readonly left: () => void,
  ) {
    const list = element("div", { class: "sign-rows" });
    signs.forEach((sign, index) => {
      const row = element(
        "div",
        { class: "sign-row", role: "radiogroup", "aria-label": sign.label, click: () => this.pick(index) },
        element("span", { class: "sign-name" }, `${index + 1}. ${sign.label}`),
        ...CHOICES.map(([value, letter, label]) =>
          element("button", { type: "button", role: "radio", "aria-label": label, "data-score": value, click: () => (this.pick(index), this.score(sign, value)) }, letter),
        ),
      );
      this.rows.push(row);
      list.append(row);
    });
    replace(this.root, element("h2", {}, "Signs (F)"), this.definition, list);
    this.bind();
    this.draw();
  }

  get count(): number {
    return this.signs.length;
  }

  /** How many signs are scored. */
  get done(): number {
    return this.signs.filter((sign) => this.scores()[sign.identifier]).length;
  }

  /** Enter the form at a row, by default the first that is not scored. */
  enter(index = Math.max(0, this.signs.findIndex((sign) => !this.scores()[sign.identifier]))): void {
    this.keys.mode = "form";
    this.root.classList.add("on");
    this.pick(index);
  }

  /** Start another case: at the first sign, with the focus outside the form. */
  start(): void {
    this.leaveQuietly();
    this.row = 0;
    replace(this.definition);
    this.draw();
  }

  leave(): void {
    this.leaveQuietly();
    this.left();
  }

  /** Leave the form without moving the focus. */
  leaveQuietly(): void {
    this.keys.mode = "images";
    this.root.classList.remove("on");
  }

  draw(): void {
    this.rows.forEach((row, index) => {
      const present = this.scores()[this.signs[index]!.identifier];
      row.classList.toggle("here", index === this.row);
      row.classList.toggle("scored", present !== undefined);
      if (index === this.row) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
      for (const button of row.querySelectorAll("button")) button.setAttribute("aria-checked", String(button.dataset.score === present));
    });
  }

  private bind(): void {
    const key = (id: string, label: string, keys: string[], run: Command["run"]): Command => ({ id: `form.${id}`, label, keys, mode: "form", run });
    const step = (by: number) => () => this.pick(this.row + by);
    this.keys.add(
      { id: "form.enter", label: "Enter the form of signs", keys: ["F"], mode: "images", when: () => this.root.isConnected, run: () => this.enter() },
      key("previous", "Previous sign", ["ArrowUp"], step(-1)),
      key("next", "Next sign", ["ArrowDown"], step(1)),
      key("on", "Next sign; after the last one, back to the images", ["Enter"], () => (this.row + 1 < this.signs.length ? this.pick(this.row + 1) : this.leave())),
      key("leave", "Back to the images", ["Escape"], () => this.leave()),
      ...CHOICES.map(([value, letter, label]) => key(value, `Sign: ${label}`, [letter], () => this.scoreHere(value))),
      key("digits", "Sign by its number", [..."0123456789"], (event) => this.digit(event.key)),
    );
  }

  private digit(digit: string): void {
    const joined = Number(this.digits + digit);
    const chosen = joined >= 1 && joined <= this.signs.length ? joined : Number(digit);
    if (chosen < 1) return;
    this.pick(chosen - 1);
    this.digits = String(chosen);
  }

  private scoreHere(value: Score): void {
    this.digits = "";
    this.score(this.signs[this.row]!, value);
  }

  private pick(index: number): void {
    this.digits = "";
    this.row = Math.max(0, Math.min(this.signs.length - 1, index));
    const sign = this.signs[this.row]!;
    const picture = PICTURES[`./signs/${sign.identifier}.png`];
    replace(
      this.definition,
      picture ? element("img", { src: picture, alt: "Phantom with this sign: T1W left, T2W right", width: 404, height: 240 }) : null,
      element("p", {}, element("strong", {}, sign.label), `. ${sign.definition}`),
    );
    this.draw();
    this.rows[this.row]!.scrollIntoView({ block: "nearest" });
  }
}

/** The read page: score the signs of blinded cases, answer, seal, and see the model's prediction where the design shows it. */

import { Refusal, get, send } from "./api";
import type { CurrentUser, DesignKind, Diagnosis, ModelPrediction, OpenedCase, ReadingCase, ReadingOverview, Score, SessionProgress, SignDefinition, Step } from "./contracts";
import { element, replace } from "./dom";
import { History } from "./history";
import { Keys } from "./keys";
import { guard } from "./leaving";
import { type CasePath, PresenceReport } from "./presence";
import { SCORE_LABELS, type Scores, SignForm } from "./signform";
import { editing } from "./studies";
import { BoxTool } from "./viewer/box";
import { bindImageKeys } from "./viewer/commands";
import { Pair } from "./viewer/pair";

interface Form {
  diagnosis: Diagnosis | null;
  confidence: number | null;
  signs: Scores;
  comment: string;
}

const SAVE_AFTER_MS = 400;
/** Pause before a draft is sent again that the server could not store. */
const RETRY_MS = 3000;
const BLANK: Form = { diagnosis: null, confidence: null, signs: {}, comment: "" };
const DESIGNS: Record<DesignKind, string> = {
  unaided: "Without a model.",
  second_read: "You answer, see the model's prediction, and answer again.",
  crossover: "Two sessions; you read each case once without and once with the model.",
};

type SessionPath = Omit<CasePath, "handle">;

export async function read(place: HTMLElement, user: CurrentUser, parts: string[]): Promise<void> {
  const overview = await get("/api/read");
  const [study, session] = parts;
  if (!study || !session) return list(place, user, overview);
  const path = { study, session: Number(session) };
  const found = await get("/api/read/{study}/{session}", path);
  if (found.case) return Reading.begin(place, path, found.case, overview.signs);
  replace(
    place,
    element("h1", {}, "This session is finished"),
    element("p", {}, "All your answers are sealed. Thank you."),
    element("p", {}, element("a", { href: "/read" }, "Back to your studies")),
  );
}

async function list(place: HTMLElement, user: CurrentUser, { studies }: ReadingOverview): Promise<void> {
  const session = (study: string, one: SessionProgress): HTMLElement => {
    const label = `Session ${one.session}: ${one.done} of ${one.cases} cases`;
    const link = element("a", { href: `/read/${study}/${one.session}`, "data-testid": "go" }, one.done ? "Continue" : "Begin");
    const state = one.done === one.cases ? "finished" : one.closed || link;
    return element("li", {}, label, " ", element("progress", { value: one.done, max: one.cases, "aria-label": label }), " ", state);
  };
  replace(
    place,
    element("h1", {}, "Reader studies"),
    studies.length ? null : element("p", {}, `${user.code} is not in any reader study.`),
    ...studies.map((one) =>
      element(
        "section",
        { class: "card" },
        element("h2", {}, one.study),
        element("p", {}, DESIGNS[one.design]),
        element("ul", {}, ...one.sessions.map((each) => session(one.study, each))),
      ),
    ),
    user.roles.includes("editor") ? await editing() : null,
  );
}

/** Cases being read, one after the other on the same page. */
class Reading {
  private readonly pair = new Pair();
  private readonly history = new History();
  private readonly keys = new Keys();
  private readonly box = new BoxTool(this.pair, this.history, () => true);
  private readonly presence: PresenceReport;
  private readonly status = element("p", { class: "quiet", role: "status", "data-testid": "status" });
  private readonly choices: HTMLButtonElement[];
  private readonly confidence = element("input", { type: "range", min: 0, max: 100, step: 1, "aria-label": "Confidence that it is malignant, 0 to 100" });
  private readonly percent = element("output", { "data-testid": "confidence" });
  private readonly comment = element("input", { type: "text", maxlength: 200, "aria-label": "Comment (optional)", placeholder: "Comment (optional)" });
  private readonly prediction = element("div", { "aria-live": "polite" });
  private readonly sealButton = element("button", { class: "main", click: () => void this.seal() });
  private readonly pauseButton = element("button", { click: () => this.pause() }, "Pause (P)");
  private readonly heading = element("h1");
  private readonly progress = element("progress");
  private readonly signsPlace = element("div");
  private signs: SignForm | undefined;
  private form: Form = { ...BLANK };
  private step: Step;
  private typed = "";
  private key = newKey();
  private timer: number | undefined;
  private saving: Promise<void> = Promise.resolve();
  private isUnsaved = false;
  private isRefused = false;
  private isBusy = false;

  private constructor(
    private readonly session: SessionPath,
    private opened: OpenedCase,
    private readonly list: SignDefinition[],
  ) {
    this.step = opened.step;
    this.presence = new PresenceReport(this.path);
    this.choices = (["benign", "malignant"] as const).map((diagnosis) =>
      element("button", { type: "button", role: "radio", "data-diagnosis": diagnosis, click: () => void this.choose(diagnosis) }, diagnosis === "benign" ? "Benign (E)" : "Malignant (M)"),
    );
  }

  static async begin(place: HTMLElement, session: SessionPath, found: ReadingCase, signs: SignDefinition[]): Promise<void> {
    replace(place, element("p", { role: "status" }, "Opening the case …"));
    const reading = new Reading(session, await opening(session, found), signs);
    reading.draw(place);
    reading.bind();
    await reading.show();
  }

  private get path(): CasePath {
    return { ...this.session, handle: this.opened.handle };
  }

  /** Read the case whose turn it is. Nothing of it is requested before the last one is sealed. */
  private async next(): Promise<void> {
    this.pair.clear();
    this.box.other = undefined;
    this.box.put(undefined);
    replace(this.prediction);
    this.tell("Opening the next case …");
    try {
      const { case: found } = await get("/api/read/{study}/{session}", this.session);
      // A new page reports the end of the session, and any trouble on the way.
      if (!found) return location.reload();
      this.opened = await opening(this.session, found);
    } catch {
      return location.reload();
    }
    this.step = this.opened.step;
    this.form = { ...BLANK };
    this.keys.mode = "images";
    this.history.clear();
    this.presence.turnTo(this.path);
    await this.show();
  }

  private get isFirst(): boolean {
    return this.step === "new" || this.step === "open";
  }

  /** Signs are part of the first answer only. */
  private get asksSigns(): boolean {
    return this.signs !== undefined && this.isFirst;
  }

  private draw(place: HTMLElement): void {
    const side = element(
      "aside",
      { class: "side", "aria-label": "Answer" },
      this.heading,
      this.progress,
      this.status,
      this.prediction,
      element("div", { role: "radiogroup", "aria-label": "Diagnosis", class: "choices" }, ...this.choices),
      element("p", { class: "confidence" }, element("label", {}, "Malignant, 0 to 100 (C) ", this.confidence), " ", this.percent),
      this.signsPlace,
      element("p", {}, this.comment),
      element("p", { class: "sticky" }, this.sealButton, " ", this.pauseButton),
      element("p", { class: "quiet" }, "Press ? for all keys · ", element("a", { href: "/read" }, "Leave")),
    );
    replace(place, element("div", { class: "sides reading" }, this.pair.root, side));
  }

  /** Show the opened case, with its form as it was left. */
  private async show(): Promise<void> {
    const { opened } = this;
    const { lesion, place, of } = opened;
    this.heading.textContent = this.name;
    for (const [name, value] of Object.entries({ value: place - 1, max: of, "aria-label": `${place - 1} of ${of} cases finished` })) this.progress.setAttribute(name, String(value));
    if (opened.signs && this.isFirst) {
      this.signs ??= new SignForm(this.list, this.keys, () => this.form.signs, (sign, score) => void this.score(sign, score), () => this.pair.t2w.root.focus());
      replace(this.signsPlace, this.signs.root);
      this.signs.start();
    } else replace(this.signsPlace);
    this.pair.t2w.root.focus({ preventScroll: true });
    this.restore();
    await this.pair.show(opened.pair, lesion ? Math.round((lesion.first_slice + lesion.last_slice) / 2) : undefined);
    this.box.put(lesion ?? undefined);
    if (opened.alignment) await this.pair.through({ matrix: opened.alignment.matrix, label: `T1W registered (${opened.alignment.method})` });
    if (this.step === "sealed") await this.reveal();
    else if (opened.model) this.showPrediction(opened.model);
  }

  /** Fill in the form as it was left, or from the sealed answer, which a revision starts from. */
  private restore(): void {
    const { draft, own } = this.opened;
    if (own) this.form = { ...this.form, diagnosis: own.diagnosis, confidence: own.confidence, comment: own.comment };
    if (draft) this.form = { ...this.form, ...draft };
    this.comment.value = this.form.comment;
    this.showForm();
    this.tell(draft ? "Your unfinished answer was restored" : `${this.name}: not answered yet`);
  }

  private get name(): string {
    const { practice, place, of } = this.opened;
    return `${practice ? "Practice case" : "Case"} ${place} of ${of}`;
  }

  private bind(): void {
    const { keys } = this;
    bindImageKeys(keys, this.pair, this.history);
    const key = (id: string, label: string, names: string[], mode: string, run: (event: KeyboardEvent) => void) => ({ id: `read.${id}`, label, keys: names, mode, run });
    keys.add(
      key("benign", "Benign", ["E"], "any", () => void this.choose("benign")),
      key("malignant", "Malignant", ["M"], "any", () => void this.choose("malignant")),
      key("confidence", "Enter the confidence", ["C"], "any", () => this.confidence.focus()),
      key("seal", "Seal the answer", ["Ctrl+Enter"], "any", () => void this.seal()),
      key("pause", "Pause, or resume", ["P"], "any", () => this.pause()),
      key("digits", "Confidence, digit by digit", [..."0123456789"], "confidence", (event) => void this.digit(event.key)),
      key("less", "Lower confidence", ["ArrowDown", "ArrowLeft"], "confidence", () => void this.setConfidence((this.form.confidence ?? 50) - 1)),
      key("more", "Higher confidence", ["ArrowUp", "ArrowRight"], "confidence", () => void this.setConfidence((this.form.confidence ?? 50) + 1)),
      key("confirm", "Confidence entered; back to the images", ["Enter", "Escape"], "confidence", () => this.pair.t2w.root.focus()),
    );
    this.confidence.addEventListener("focus", () => {
      this.signs?.leaveQuietly();
      keys.mode = "confidence";
      this.typed = "";
    });
    this.confidence.addEventListener("blur", () => {
      if (keys.mode === "confidence") keys.mode = "images";
    });
    this.confidence.addEventListener("input", () => void this.setConfidence(Number(this.confidence.value)));
    this.comment.addEventListener("input", () => this.changed({ comment: this.comment.value }));
    this.comment.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.pair.t2w.root.focus();
      if (event.key === "Enter" && event.ctrlKey) void this.seal();
    });
    this.history.watch((message) => this.tell(message));
    guard(
      () => this.isUnsaved,
      () => this.save(),
      () => this.presence.leave(),
    );
  }

  private tell(message: string, isAlarm = false): void {
    this.status.textContent = message;
    this.status.classList.toggle("alarm", isAlarm);
  }

  private showForm(): void {
    const { diagnosis, confidence } = this.form;
    for (const button of this.choices) {
      const isChosen = button.dataset.diagnosis === diagnosis;
      button.setAttribute("aria-checked", String(isChosen));
      button.classList.toggle("chosen", isChosen);
    }
    this.confidence.value = String(confidence ?? 50);
    this.confidence.classList.toggle("unset", confidence === null);
    this.percent.textContent = confidence === null ? "not set" : `${confidence}`;
    this.sealButton.textContent = this.isFirst ? "Seal the answer (Ctrl+Enter)" : "Seal the final answer (Ctrl+Enter)";
    this.signs?.draw();
  }

  /** Change the form, as a step to undo. */
  private async change(label: string, after: Partial<Form>): Promise<void> {
    if (this.presence.isPaused || this.step === "done") return;
    const before = this.form;
    await this.history.take({ label, redo: () => this.changed(after), undo: () => this.changed(before) });
  }

  private changed(change: Partial<Form>): void {
    this.form = { ...this.form, ...change };
    this.isUnsaved = true;
    this.status.dataset.kept = "false";
    this.showForm();
    this.later(SAVE_AFTER_MS);
  }

  private later(pause: number): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.save(), pause);
  }

  private choose(diagnosis: Diagnosis): Promise<void> {
    return this.change(diagnosis, { diagnosis });
  }

  private setConfidence(confidence: number): Promise<void> {
    const kept = Math.max(0, Math.min(100, confidence));
    return this.change(`confidence ${kept}`, { confidence: kept });
  }

  private digit(digit: string): Promise<void> {
    const joined = Number(this.typed + digit);
    this.typed = String(joined <= 100 ? joined : Number(digit));
    return this.setConfidence(Number(this.typed));
  }

  private score(sign: SignDefinition, score: Score): Promise<void> {
    return this.change(`${sign.label.split(" (")[0]}: ${SCORE_LABELS[score]}`, { signs: { ...this.form.signs, [sign.identifier]: score } });
  }

  private async save(): Promise<void> {
    await this.saving;
    if (!this.isUnsaved || this.isBusy) return;
    const sent = this.form;
    this.saving = send("put", "/api/read/{study}/{session}/{handle}/draft", this.path, sent).then(
      () => {
        this.isUnsaved = this.form !== sent;
        this.status.dataset.kept = String(!this.isUnsaved);
        if (this.isRefused) this.tell("Saved");
        this.isRefused = false;
      },
      (error: unknown) => {
        this.isRefused = true;
        this.tell(error instanceof Refusal ? `Not saved yet: ${error.message}` : "Not saved yet", true);
        // A server or database that is away will come back.
        if (error instanceof Refusal && (error.status === 0 || error.status >= 500)) this.later(RETRY_MS);
      },
    );
    await this.saving;
  }

  private get missing(): string {
    const { diagnosis, confidence } = this.form;
    if (!diagnosis) return "First choose benign (E) or malignant (M).";
    if (confidence === null) return "First set the confidence (C).";
    const open = this.asksSigns ? this.signs!.count - this.signs!.done : 0;
    return open ? `${open} signs are not scored yet (F).` : "";
  }

  private async seal(): Promise<void> {
    if (this.isBusy || this.presence.isPaused || this.step === "done") return;
    if (this.step === "sealed") return this.reveal();
    const { missing, form: { diagnosis, confidence, signs, comment } } = this;
    if (missing || diagnosis === null || confidence === null) return this.tell(missing, true);
    this.isBusy = true;
    window.clearTimeout(this.timer);
    await this.saving;
    try {
      const answer = { diagnosis, confidence, comment: comment.trim(), signs: this.asksSigns ? signs : null, key: this.key };
      const found = await send("post", `/api/read/{study}/{session}/{handle}/${this.isFirst ? "seal" : "revise"}`, this.path, answer);
      this.isUnsaved = false;
      this.step = found.step;
      this.key = newKey();
      if (this.step === "sealed") await this.reveal();
    } catch (error) {
      return this.tell(error instanceof Refusal ? `Not sealed: ${error.message}` : "Not sealed", true);
    } finally {
      this.isBusy = false;
    }
    // A fast reader does not wait for the images of this case.
    if (this.step === "done") await this.next();
  }

  private async reveal(): Promise<void> {
    try {
      const model = await send("post", "/api/read/{study}/{session}/{handle}/reveal", this.path);
      this.step = "revealed";
      this.history.clear();
      this.showPrediction(model);
    } catch (error) {
      const reason = error instanceof Refusal ? error.message : "";
      this.tell(`Your answer is sealed, but the model's prediction cannot be shown yet. ${reason} Press Ctrl+Enter to try again.`, true);
    }
  }

  private showPrediction(model: ModelPrediction): void {
    this.signs?.leaveQuietly();
    replace(this.signsPlace);
    this.keys.mode = "images";
    // The box that the prediction is for replaces the one that the case opened with.
    this.box.other = model.lesion;
    this.box.put(undefined);
    const number = (value: number): string => value.toFixed(2);
    const slice = ([index, probability]: [number, number]): HTMLElement =>
      element(
        "tr",
        {},
        element("td", {}, element("button", { click: () => void this.pair.t2w.go(index) }, `T2W slice ${index + 1}`)),
        element("td", {}, number(probability)),
        element("td", {}, element("meter", { min: 0, max: 1, value: probability, "aria-label": `Probability ${number(probability)}` })),
      );
    replace(
      this.prediction,
      element("h2", {}, "The model's prediction"),
      element("p", { "data-testid": "model" }, `${model.diagnosis}, probability of malignancy ${number(model.probability)}`),
      element("table", {}, element("caption", {}, `By slice, for the blue box (${model.model})`), element("tbody", {}, ...model.slices.map(slice))),
      element("p", {}, "Your first answer is sealed. Keep or change it below, then seal your final answer."),
    );
    this.showForm();
    this.tell("The model's prediction is shown");
  }

  private pause(): void {
    const isPaused = !this.presence.isPaused;
    this.presence.pause(isPaused);
    this.pair.root.style.visibility = isPaused ? "hidden" : "";
    this.pauseButton.textContent = isPaused ? "Resume (P)" : "Pause (P)";
    this.tell(isPaused ? "Paused: the images are hidden, and the time does not count" : "Resumed");
  }
}

function opening(session: SessionPath, { handle }: ReadingCase): Promise<OpenedCase> {
  return send("post", "/api/read/{study}/{session}/{handle}/open", { ...session, handle });
}

/** A key for one answer, so that sending it twice does not make a second answer. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Read cases of a study, blinded: score the signs, answer, seal; then see the model where the design shows it. */

import { Refusal, get, send } from "./api";
import { element, replace } from "./dom";
import type { Me } from "./frame";
import { History } from "./history";
import { Keys } from "./keys";
import { guard } from "./leaving";
import { Presence } from "./presence";
import { SCORE_WORDS, type Score, type Scores, type Sign, SignForm } from "./signform";
import { editing } from "./studies";
import { BoxTool, type Lesion } from "./viewer/box";
import { bindImageKeys } from "./viewer/commands";
import type { Matrix, SeriesPair } from "./viewer/geometry";
import { Pair } from "./viewer/pair";

interface Overview {
  signs: Sign[];
  studies: { study: string; design: string; sessions: { session: number; cases: number; done: number; closed: string }[] }[];
}

type Diagnosis = "benign" | "malignant";

interface Form {
  diagnosis: Diagnosis | null;
  confidence: number | null;
  signs: Scores;
  comment: string;
}

type Own = { diagnosis: Diagnosis; confidence: number; comment: string; digest: string; entry: number };

interface Case {
  handle: string;
  place: number;
  of: number;
  practice: boolean;
  step: "new" | "open" | "sealed" | "revealed" | "done";
  draft: Form | null;
  own: Own | null;
}

interface Model {
  probability: number;
  diagnosis: Diagnosis;
  slices: [number, number][];
  model: string;
  lesion: Lesion;
}

interface Opened extends Case {
  pair: SeriesPair;
  alignment: { matrix: Matrix; method: string } | null;
  lesion: Lesion | null;
  signs: boolean;
  model: Model | null;
}

const SAVE_AFTER_MS = 400;
/** How soon a form is sent again that the server could not take. */
const AGAIN_MS = 3000;
const BLANK: Form = { diagnosis: null, confidence: null, signs: {}, comment: "" };
const DESIGNS: Record<string, string> = {
  unaided: "without a model",
  second_read: "your answer first, then the model's, then yours again",
  crossover: "two sessions, each case once without and once with the model",
};

export async function read(place: HTMLElement, me: Me, parts: string[]): Promise<void> {
  const overview = await get<Overview>("/api/read");
  const [study, session] = parts;
  if (!study || !session) return list(place, me, overview);
  const path = `/api/read/${encodeURIComponent(study)}/${encodeURIComponent(session)}`;
  const found = await get<{ case: Case | null }>(path);
  if (found.case) return Reading.begin(place, path, found.case, overview.signs);
  replace(
    place,
    element("h1", {}, "This session is finished"),
    element("p", {}, "Every case has its sealed answer. Thank you."),
    element("p", {}, element("a", { href: "/read" }, "To your studies")),
  );
}

async function list(place: HTMLElement, me: Me, { studies }: Overview): Promise<void> {
  const session = (study: string, one: Overview["studies"][0]["sessions"][0]): HTMLElement => {
    const words = `Session ${one.session}: ${one.done} of ${one.cases} cases`;
    const link = element("a", { href: `/read/${study}/${one.session}`, "data-testid": "go" }, one.done ? "Go on" : "Begin");
    const state = one.done === one.cases ? "finished" : one.closed || link;
    return element("li", {}, words, " ", element("progress", { value: one.done, max: one.cases, "aria-label": words }), " ", state);
  };
  replace(
    place,
    element("h1", {}, "Reader studies"),
    studies.length ? null : element("p", {}, `No reader study waits for ${me.code}.`),
    ...studies.map((one) =>
      element(
        "section",
        { class: "card" },
        element("h2", {}, one.study),
        element("p", {}, DESIGNS[one.design]),
        element("ul", {}, ...one.sessions.map((each) => session(one.study, each))),
      ),
    ),
    me.roles.includes("editor") ? await editing() : null,
  );
}

/** Cases being read, one after the other on the same page. */
class Reading {
  private readonly pair = new Pair();
  private readonly history = new History();
  private readonly keys = new Keys();
  private readonly box = new BoxTool(this.pair, this.history, () => true);
  private readonly presence: Presence;
  private readonly said = element("p", { class: "said", role: "status", "data-testid": "said" });
  private readonly choices: HTMLButtonElement[];
  private readonly confidence = element("input", { type: "range", min: 0, max: 100, step: 1, "aria-label": "Confidence that it is malignant, 0 to 100" });
  private readonly percent = element("output", { "data-testid": "confidence" });
  private readonly comment = element("input", { type: "text", maxlength: 200, "aria-label": "Comment, if you want one", placeholder: "Comment, if you want one" });
  private readonly told = element("div", { "aria-live": "polite" });
  private readonly sealButton = element("button", { class: "main", click: () => void this.seal() });
  private readonly pauseButton = element("button", { click: () => this.pause() }, "Pause (P)");
  private readonly heading = element("h1");
  private readonly progress = element("progress");
  private readonly signsPlace = element("div");
  private signs: SignForm | undefined;
  private form: Form = { ...BLANK };
  private step: Case["step"];
  private typed = "";
  private key = newKey();
  private timer: number | undefined;
  private saving: Promise<void> = Promise.resolve();
  private isUnsaved = false;
  private isRefused = false;
  private isBusy = false;

  private constructor(
    private readonly session: string,
    private opened: Opened,
    private readonly list: Sign[],
  ) {
    this.step = opened.step;
    this.presence = new Presence(`${this.path}/presence`);
    this.choices = (["benign", "malignant"] as const).map((words) =>
      element("button", { type: "button", role: "radio", "data-diagnosis": words, click: () => void this.choose(words) }, words === "benign" ? "Benign (E)" : "Malignant (M)"),
    );
  }

  static async begin(place: HTMLElement, session: string, found: Case, signs: Sign[]): Promise<void> {
    replace(place, element("p", { role: "status" }, "Opening the case …"));
    const reading = new Reading(session, await opening(session, found), signs);
    reading.draw(place);
    reading.bind();
    await reading.show();
  }

  private get path(): string {
    return `${this.session}/${this.opened.handle}`;
  }

  /** Read the case whose turn it is now. Nothing of it is asked for before the last one is sealed. */
  private async next(): Promise<void> {
    this.pair.clear();
    this.box.other = undefined;
    this.box.put(undefined);
    replace(this.told);
    this.tell("Opening the next case …");
    try {
      const { case: found } = await get<{ case: Case | null }>(this.session);
      // The end of the session, and any trouble on the way, are for a new page to tell.
      if (!found) return location.reload();
      this.opened = await opening(this.session, found);
    } catch {
      return location.reload();
    }
    this.step = this.opened.step;
    this.form = { ...BLANK };
    this.keys.mode = "images";
    this.history.clear();
    this.presence.turnTo(`${this.path}/presence`);
    await this.show();
  }

  private get isFirst(): boolean {
    return this.step === "new" || this.step === "open";
  }

  /** Signs belong to the first answer. */
  private get asksSigns(): boolean {
    return this.signs !== undefined && this.isFirst;
  }

  private draw(place: HTMLElement): void {
    const side = element(
      "aside",
      { class: "side", "aria-label": "Answer" },
      this.heading,
      this.progress,
      this.said,
      this.told,
      element("div", { role: "radiogroup", "aria-label": "Diagnosis", class: "choices" }, ...this.choices),
      element("p", { class: "sure" }, element("label", {}, "Malignant, 0 to 100 (C) ", this.confidence), " ", this.percent),
      this.signsPlace,
      element("p", {}, this.comment),
      element("p", { class: "stays" }, this.sealButton, " ", this.pauseButton),
      element("p", { class: "said" }, "? shows all keys · ", element("a", { href: "/read" }, "Leave")),
    );
    replace(place, element("div", { class: "sides reading" }, this.pair.root, side));
  }

  /** Show the case that was opened, with its form as it was left. */
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
    if (opened.alignment) await this.pair.through({ matrix: opened.alignment.matrix, label: `T1W through the registration (${opened.alignment.method})` });
    if (this.step === "sealed") await this.reveal();
    else if (opened.model) this.showModel(opened.model);
  }

  /** The form as it was left, or the sealed answer to begin a revision from. */
  private restore(): void {
    const { draft, own } = this.opened;
    if (own) this.form = { ...this.form, diagnosis: own.diagnosis, confidence: own.confidence, comment: own.comment };
    if (draft) this.form = { ...this.form, ...draft };
    this.comment.value = this.form.comment;
    this.showForm();
    this.tell(draft ? "Your unfinished answer, as you left it" : `${this.name}: not answered yet`);
  }

  private get name(): string {
    const { practice, place, of } = this.opened;
    return `${practice ? "Practice case" : "Case"} ${place} of ${of}`;
  }

  private bind(): void {
    const { keys } = this;
    bindImageKeys(keys, this.pair, this.history);
    const key = (id: string, words: string, names: string[], mode: string, run: (event: KeyboardEvent) => void) => ({ id: `read.${id}`, words, keys: names, mode, run });
    keys.add(
      key("benign", "Benign", ["E"], "any", () => void this.choose("benign")),
      key("malignant", "Malignant", ["M"], "any", () => void this.choose("malignant")),
      key("confidence", "Type the confidence", ["C"], "any", () => this.confidence.focus()),
      key("seal", "Seal the answer", ["Ctrl+Enter"], "any", () => void this.seal()),
      key("pause", "Pause, or go on", ["P"], "any", () => this.pause()),
      key("digits", "Confidence, digit by digit", [..."0123456789"], "confidence", (event) => void this.digit(event.key)),
      key("less", "Less sure", ["ArrowDown", "ArrowLeft"], "confidence", () => void this.sure((this.form.confidence ?? 50) - 1)),
      key("more", "More sure", ["ArrowUp", "ArrowRight"], "confidence", () => void this.sure((this.form.confidence ?? 50) + 1)),
      key("sure", "Confidence is said", ["Enter", "Escape"], "confidence", () => this.pair.t2w.root.focus()),
    );
    this.confidence.addEventListener("focus", () => {
      this.signs?.leaveQuietly();
      keys.mode = "confidence";
      this.typed = "";
    });
    this.confidence.addEventListener("blur", () => {
      if (keys.mode === "confidence") keys.mode = "images";
    });
    this.confidence.addEventListener("input", () => void this.sure(Number(this.confidence.value)));
    this.comment.addEventListener("input", () => this.changed({ comment: this.comment.value }));
    this.comment.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.pair.t2w.root.focus();
      if (event.key === "Enter" && event.ctrlKey) void this.seal();
    });
    this.history.watch((said) => this.tell(said));
    guard(
      () => this.isUnsaved,
      () => this.save(),
      () => this.presence.leave(),
    );
  }

  private tell(words: string, isAlarm = false): void {
    this.said.textContent = words;
    this.said.classList.toggle("alarm", isAlarm);
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
    this.percent.textContent = confidence === null ? "not said" : `${confidence}`;
    this.sealButton.textContent = this.isFirst ? "Seal the answer (Ctrl+Enter)" : "Seal the answer after the model's (Ctrl+Enter)";
    this.signs?.draw();
  }

  /** Change the form, as a step that can be undone. */
  private async change(label: string, after: Partial<Form>): Promise<void> {
    if (this.presence.isPaused || this.step === "done") return;
    const before = this.form;
    await this.history.take({ label, redo: () => this.changed(after), undo: () => this.changed(before) });
  }

  private changed(news: Partial<Form>): void {
    this.form = { ...this.form, ...news };
    this.isUnsaved = true;
    this.said.dataset.kept = "false";
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

  private sure(confidence: number): Promise<void> {
    const kept = Math.max(0, Math.min(100, confidence));
    return this.change(`confidence ${kept}`, { confidence: kept });
  }

  private digit(digit: string): Promise<void> {
    const joined = Number(this.typed + digit);
    this.typed = String(joined <= 100 ? joined : Number(digit));
    return this.sure(Number(this.typed));
  }

  private score(sign: Sign, score: Score): Promise<void> {
    return this.change(`${sign.label.split(" (")[0]}: ${SCORE_WORDS[score]}`, { signs: { ...this.form.signs, [sign.identifier]: score } });
  }

  private async save(): Promise<void> {
    await this.saving;
    if (!this.isUnsaved || this.isBusy) return;
    const sent = this.form;
    this.saving = send("PUT", `${this.path}/draft`, sent).then(
      () => {
        this.isUnsaved = this.form !== sent;
        this.said.dataset.kept = String(!this.isUnsaved);
        if (this.isRefused) this.tell("Kept");
        this.isRefused = false;
      },
      (error: unknown) => {
        this.isRefused = true;
        this.tell(error instanceof Refusal ? `Not kept yet: ${error.message}` : "Not kept yet", true);
        // A server or a database that is away comes back.
        if (error instanceof Refusal && (error.status === 0 || error.status >= 500)) this.later(AGAIN_MS);
      },
    );
    await this.saving;
  }

  private get missing(): string {
    const { diagnosis, confidence } = this.form;
    if (!diagnosis) return "Say benign (E) or malignant (M) first.";
    if (confidence === null) return "Say how sure you are first (C).";
    const open = this.asksSigns ? this.signs!.count - this.signs!.done : 0;
    return open ? `${open} signs are not scored yet (F).` : "";
  }

  private async seal(): Promise<void> {
    if (this.isBusy || this.presence.isPaused || this.step === "done") return;
    if (this.step === "sealed") return this.reveal();
    if (this.missing) return this.tell(this.missing, true);
    this.isBusy = true;
    window.clearTimeout(this.timer);
    await this.saving;
    const { signs, ...rest } = this.form;
    try {
      const answer = { ...rest, comment: rest.comment.trim(), signs: this.asksSigns ? signs : null, key: this.key };
      const found = await send<Case>("POST", `${this.path}/${this.isFirst ? "seal" : "revise"}`, answer);
      this.isUnsaved = false;
      this.step = found.step;
      this.key = newKey();
      if (this.step === "sealed") await this.reveal();
    } catch (error) {
      return this.tell(error instanceof Refusal ? `Not sealed: ${error.message}` : "Not sealed", true);
    } finally {
      this.isBusy = false;
    }
    // Whoever reads faster than images come is not made to wait.
    if (this.step === "done") await this.next();
  }

  private async reveal(): Promise<void> {
    try {
      const model = await send<Model>("POST", `${this.path}/reveal`);
      this.step = "revealed";
      this.history.clear();
      this.showModel(model);
    } catch (error) {
      const why = error instanceof Refusal ? error.message : "";
      this.tell(`Your answer is sealed; the model's cannot be shown yet. ${why} Press Ctrl+Enter to ask again.`, true);
    }
  }

  private showModel(model: Model): void {
    this.signs?.leaveQuietly();
    replace(this.signsPlace);
    this.keys.mode = "images";
    // The box that the number belongs to takes the place of the one that was asked about.
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
      this.told,
      element("h2", {}, "The model's answer"),
      element("p", { "data-testid": "model" }, `${model.diagnosis}, probability of malignancy ${number(model.probability)}`),
      element("table", {}, element("caption", {}, `By slice, in the box drawn in blue (${model.model})`), element("tbody", {}, ...model.slices.map(slice))),
      element("p", {}, "Your first answer is sealed. Change it below, or leave it, and seal again."),
    );
    this.showForm();
    this.tell("The model's answer is shown");
  }

  private pause(): void {
    const isPaused = !this.presence.isPaused;
    this.presence.pause(isPaused);
    this.pair.root.style.visibility = isPaused ? "hidden" : "";
    this.pauseButton.textContent = isPaused ? "Go on (P)" : "Pause (P)";
    this.tell(isPaused ? "Paused: the images are hidden, and no reading time counts" : "Going on");
  }
}

function opening(session: string, { handle }: Case): Promise<Opened> {
  return send<Opened>("POST", `${session}/${handle}/open`);
}

/** A name for one answer, so that sending it twice is no second answer. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

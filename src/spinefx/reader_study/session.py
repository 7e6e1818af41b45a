"""A reader's sessions: open a case, seal an answer, see the model, revise; as a fold over the log's entries.

Nothing is kept but the log. Where two pages write at once, the entry with the lower number stands: every state below is
what the entries say in their order, so no lock is needed, neither within a server nor between several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from spinefx.errors import AccessError, InputError, StaleError
from spinefx.reader_study.answer import Answer
from spinefx.reader_study.assistance import ModelAnswer
from spinefx.reader_study.clock import Clock, Presence, Stopwatch, Times
from spinefx.reader_study.log import Entry, Log
from spinefx.reader_study.study import RegisteredStudy, Task, registered_studies
from spinefx.vocabulary import Arm
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions

__all__ = ["CaseState", "Phase", "Sealed", "Session", "Step", "case_states", "unfinished_cases"]

CASE_OPENED, DRAFT_SAVED, ANSWER_SEALED = "case.opened", "draft.saved", "answer.sealed"
MODEL_REVEALED, MODEL_REFUSED, PRESENCE_TOLD = "model.revealed", "model.refused", "presence.told"
LONGEST_KEY = 64
# By how much the wall clock may run ahead of the monotonic one before it counts as set forward.
CLOCK_SLACK = timedelta(hours=1)


class Phase(StrEnum):
    """Which of a case's answers."""

    FIRST = "first"
    REVISED = "revised"


class Step(StrEnum):
    """How far a case has come."""

    NEW = "new"
    OPEN = "open"
    SEALED = "sealed"
    REVEALED = "revealed"
    DONE = "done"


@dataclass(frozen=True)
class Sealed:
    """An answer that stands.

    Parameters
    ----------
    answer : Answer
    number : int
        Of the log's entry.
    written : str
        The server's date.
    times : Times
        Spent on it.
    """

    answer: Answer
    number: int
    written: str
    times: Times


@dataclass
class CaseState:
    """What happened with one case, taken in entry by entry.

    Parameters
    ----------
    task : Task
    is_open : bool
    draft : dict or None
        The unfinished form, as the page sent it.
    first, revised : Sealed or None
    shown : dict or None
        The model's answer as it was shown, and whether it was turned round.
    refusals : int
        How often the model's answer was asked for too early.
    """

    task: Task
    is_open: bool = False
    draft: dict[str, Any] | None = None
    first: Sealed | None = None
    revised: Sealed | None = None
    shown: dict[str, Any] | None = None
    refusals: int = 0
    _watch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def step(self) -> Step:
        """How far the case has come."""
        if self.first is None:
            return Step.OPEN if self.is_open else Step.NEW
        if self.task.arm is Arm.UNAIDED or self.revised is not None:
            return Step.DONE
        return Step.SEALED if self.shown is None else Step.REVEALED

    def sealed(self, phase: Phase) -> Sealed | None:
        """Give the answer of a phase.

        Parameters
        ----------
        phase : Phase

        Returns
        -------
        Sealed or None
        """
        return self.first if phase is Phase.FIRST else self.revised

    def take(self, entry: Entry) -> None:
        """Take in what happened next; what comes too late or twice changes nothing.

        Parameters
        ----------
        entry : Entry
        """
        content, step = entry.content, self.step
        presence = {CASE_OPENED: Presence.VISIBLE, MODEL_REVEALED: Presence.VISIBLE}.get(entry.kind)
        if entry.kind == PRESENCE_TOLD:
            presence = Presence(content["presence"])
        if step not in {Step.SEALED, Step.DONE} or entry.kind == MODEL_REVEALED:
            self._watch.tell(content["process"], content["at_ms"], presence)
        if entry.kind == CASE_OPENED:
            self.is_open = True
        elif entry.kind == DRAFT_SAVED and step in {Step.OPEN, Step.REVEALED}:
            self.draft = dict(content["draft"])
        elif entry.kind == MODEL_REFUSED:
            self.refusals += 1
        elif entry.kind == MODEL_REVEALED and step is Step.SEALED:
            self.shown = dict(content["shown"])
        elif entry.kind == ANSWER_SEALED and step is _step_for(Phase(content["phase"])):
            sealed = Sealed(Answer.from_json(content["answer"]), entry.number, entry.written, self._watch.stop())
            self.draft = None
            if content["phase"] == Phase.FIRST:
                self.first = sealed
            else:
                self.revised = sealed


def case_states(entries: Iterable[Entry], tasks: Iterable[Task]) -> dict[str, CaseState]:
    """Fold entries to the states of cases.

    Parameters
    ----------
    entries : iterable of Entry
        Of one reader and study, in order.
    tasks : iterable of Task

    Returns
    -------
    dict of str to CaseState
        By handle, in the order of the tasks.
    """
    states = {task.handle: CaseState(task) for task in tasks}
    for entry in entries:
        state = states.get(str(entry.content.get("handle")))
        if state is not None:
            state.take(entry)
    return states


@dataclass(frozen=True)
class Session:
    """One reader at one session of a study.

    Parameters
    ----------
    log : Log
    trial : RegisteredStudy
    reader : str
        Code.
    session : int
        From 1.
    clock : Clock
    """

    log: Log
    trial: RegisteredStudy
    reader: str
    session: int
    clock: Clock

    def states(self) -> dict[str, CaseState]:
        """Read how far each case of the session has come.

        Returns
        -------
        dict of str to CaseState
            By handle, in reading order.

        Raises
        ------
        AccessError
            For somebody who does not read here.
        """
        return case_states(self._entries(), self.trial.tasks(self.reader, self.session))

    def current(self) -> CaseState | None:
        """Find the case to be read now.

        Returns
        -------
        CaseState or None
            None when the session is finished.
        """
        return _first_undone(self.states())

    def opens(self) -> datetime | None:
        """Tell when the session may begin.

        Returns
        -------
        datetime or None
            None where there is nothing to wait for, or the session before is not finished.
        """
        if self.session == 1:
            return None
        last = self._last_of_earlier(self._entries())
        return None if last is None else last + timedelta(days=self.trial.design.washout_days)

    def refuse_unless_open(self) -> None:
        """Check that the session may be read now.

        Raises
        ------
        AccessError
            Before the earlier session is finished, before the washout is over, and when the server's clock was moved.
        """
        if self.session == 1:
            return
        earlier = Session(self.log, self.trial, self.reader, self.session - 1, self.clock)
        if earlier.current() is not None:
            raise AccessError("the session before is not finished", remedy="Finish it first.")
        entries, now = self._entries(), self.clock.now()
        self._refuse_moved_clock(entries, now)
        last = self._last_of_earlier(entries)
        opens = None if last is None else last + timedelta(days=self.trial.design.washout_days)
        if opens is not None and now < opens:
            raise AccessError(f"this session opens on {opens:%Y-%m-%d}, after the washout", remedy="Come back then.")

    def open(self, handle: str) -> CaseState:
        """Open the case that is to be read now, or open it again.

        Parameters
        ----------
        handle : str

        Returns
        -------
        CaseState

        Raises
        ------
        AccessError
            For a case that is not this reader's.
        StaleError
            For one that is finished, or whose turn has not come.
        """
        self._current(handle)
        self._append(CASE_OPENED, handle)
        return self._find(handle)

    def save_draft(self, handle: str, draft: Mapping[str, Any]) -> None:
        """Keep the unfinished form.

        Parameters
        ----------
        handle : str
        draft : mapping
            JSON values.

        Raises
        ------
        AccessError
        StaleError
            When the answer is sealed already.
        """
        if self._current(handle).step not in {Step.OPEN, Step.REVEALED}:
            raise StaleError("this answer is sealed; the form was not kept", remedy="Load the page again.")
        self._append(DRAFT_SAVED, handle, draft=dict(draft))

    def tell_presence(self, handle: str, presence: Presence) -> None:
        """Note whether the reader looks; it means nothing once a case is finished.

        Parameters
        ----------
        handle : str
        presence : Presence

        Raises
        ------
        AccessError
        """
        if self._find(handle).step in {Step.OPEN, Step.REVEALED}:
            self._append(PRESENCE_TOLD, handle, presence=str(presence))

    def seal(self, handle: str, phase: Phase, key: str, answer: Answer) -> CaseState:
        """Seal an answer; once this returns it is on the disk.

        Parameters
        ----------
        handle : str
        phase : Phase
        key : str
            Drawn by the page for this answer, so that sending it again is no second answer.
        answer : Answer

        Returns
        -------
        CaseState

        Raises
        ------
        AccessError
            For a revision before the model's answer was shown.
        InputError
            When signs are missing or were not asked for.
        StaleError
            For a second answer that differs: the first one stands.
        """
        if not 0 < len(key) <= LONGEST_KEY:
            raise InputError("an answer without a key", allowed=f"1 to {LONGEST_KEY} characters")
        states = self.states()
        state = _picked(states, handle)
        if state.sealed(phase) is None:
            self._refuse_unready(states, state, phase)
            wants_signs = self.trial.design.signs and phase is Phase.FIRST
            if (answer.signs is not None) != wants_signs:
                raise InputError(
                    "signs are missing" if wants_signs else "signs that were not asked for",
                    allowed="all fifteen" if wants_signs else "none",
                )
            content = {"phase": str(phase), "key": key, "answer": answer.to_json(), "digest": answer.digest}
            self._append(ANSWER_SEALED, handle, **content)
            state = self._find(handle)
        sealed = state.sealed(phase)
        # Another page may have been quicker: what stands is what the log says.
        if sealed is None or sealed.answer.digest != answer.digest:
            raise StaleError(
                "this case has a sealed answer already, and it stands; the other one was not stored",
                remedy="Load the page again.",
            )
        return state

    def reveal(self, handle: str, answer_of: Callable[[str], ModelAnswer]) -> dict[str, Any]:
        """Show the model's answer, once the reader's own is sealed.

        Parameters
        ----------
        handle : str
        answer_of : callable
            Gives the model's answer by case; asked only once it may be.

        Returns
        -------
        dict
            What is shown; the same each time.

        Raises
        ------
        AccessError
            Before the seal, and where no model is shown. The attempt is logged.
        """
        state = self._find(handle)
        if state.first is None or state.task.arm is Arm.UNAIDED:
            self._append(MODEL_REFUSED, handle)
            raise AccessError("the model's answer is not to be seen, or not yet", remedy="Seal your own answer first.")
        if state.shown is None:
            case = state.task.case_id
            is_turned = not state.task.is_practice and self.trial.is_perturbed(self.reader, case)
            answer = answer_of(case)
            shown = (answer.flipped() if is_turned else answer).to_json() | {"perturbed": is_turned}
            self._append(MODEL_REVEALED, handle, shown=shown)
            state = self._find(handle)
        if state.shown is None:
            raise StaleError("the case has moved on meanwhile", remedy="Load the page again.")
        return {key: value for key, value in state.shown.items() if key != "perturbed"}

    def _entries(self) -> list[Entry]:
        return self.log.entries(subject=self.trial.subject(self.reader))

    def _find(self, handle: str) -> CaseState:
        return _picked(self.states(), handle)

    def _current(self, handle: str) -> CaseState:
        states = self.states()
        state = _picked(states, handle)
        self._refuse_other(states, state)
        return state

    def _refuse_other(self, states: dict[str, CaseState], state: CaseState) -> None:
        self.refuse_unless_open()
        if state is not _first_undone(states):
            words = "this case is finished" if state.step is Step.DONE else "this case's turn has not come"
            raise StaleError(words, remedy="Cases are read in their order: go on with the present one.")

    def _refuse_unready(self, states: dict[str, CaseState], state: CaseState, phase: Phase) -> None:
        self._refuse_other(states, state)
        if state.step is not _step_for(phase):
            if phase is Phase.REVISED:
                raise AccessError("the model's answer was not shown yet", remedy="Seal your own answer first.")
            raise StaleError("the case was not opened", remedy="Open it first.")

    def _append(self, kind: str, handle: str, **content: Any) -> None:
        stamped = {"session": self.session, "handle": handle, **content, **self.clock.stamp()}
        self.log.append(kind, self.reader, self.trial.subject(self.reader), stamped)

    def _last_of_earlier(self, entries: list[Entry]) -> datetime | None:
        dates = [_date(entry) for entry in entries if entry.content["session"] < self.session]
        return max(dates, default=None)

    def _refuse_moved_clock(self, entries: list[Entry], now: datetime) -> None:
        """A date that lies before what was written, or that ran ahead of the time that passed, proves no washout."""
        remedy = "Set the server's clock right, then come back."
        if now < max(map(_date, entries), default=now):
            raise AccessError("the server's clock was set back", remedy=remedy)
        for entry in entries:
            if entry.content["process"] == self.clock.process:
                passed = timedelta(milliseconds=self.clock.elapsed_ms() - entry.content["at_ms"])
                if now - _date(entry) > passed + CLOCK_SLACK:
                    raise AccessError("the server's clock was set forward", remedy=remedy)


def unfinished_cases(log: Log, workspace: Workspace, reader: str) -> frozenset[str]:
    """List the cases whose truth a reader must not see yet: all those of studies that the reader has not finished.

    Parameters
    ----------
    log : Log
    workspace : Workspace
    reader : str
        Code.

    Returns
    -------
    frozenset of str
        With every other case of the same participants, since the diagnosis is the participant's. Cases that were read
        already stay in it until the whole study is finished: a reader who is told on the way reads otherwise.
    """
    found: set[str] = set()
    for trial in registered_studies(log).values():
        if reader not in trial.design.readers:
            continue
        entries = log.entries(subject=trial.subject(reader))
        tasks = [task for number in range(trial.design.sessions) for task in trial.tasks(reader, number + 1)]
        if any(state.step is not Step.DONE for state in case_states(entries, tasks).values()):
            found.update(task.case_id for task in tasks)
    records = read_lesions(workspace) if found else ()
    people = {record.participant_id for record in records if record.case_id in found}
    return frozenset(found | {record.case_id for record in records if record.participant_id in people})


def _first_undone(states: Mapping[str, CaseState]) -> CaseState | None:
    return next((state for state in states.values() if state.step is not Step.DONE), None)


def _picked(states: Mapping[str, CaseState], handle: str) -> CaseState:
    state = states.get(handle)
    if state is None:
        raise AccessError("no such case for you", remedy="Go back to your list of studies.")
    return state


def _step_for(phase: Phase) -> Step:
    return Step.OPEN if phase is Phase.FIRST else Step.REVEALED


def _date(entry: Entry) -> datetime:
    return datetime.fromisoformat(entry.written)

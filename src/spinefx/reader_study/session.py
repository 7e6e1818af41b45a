"""A reader's sessions: open a case, seal an answer, see the model's answer, revise; a fold over the log's entries.

Nothing is stored but the log. Where two pages write at once, the entry with the lower number wins: every state follows
from the entries in their order, so no lock is needed, neither within a server nor between several.
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
# How far the wall clock may run ahead of the monotonic one before it counts as set forward.
CLOCK_SLACK = timedelta(hours=1)


class Phase(StrEnum):
    """The answer before the model is shown, or the one after."""

    FIRST = "first"
    REVISED = "revised"


class Step(StrEnum):
    """Progress of a case."""

    NEW = "new"
    OPEN = "open"
    SEALED = "sealed"
    REVEALED = "revealed"
    DONE = "done"


@dataclass(frozen=True)
class Sealed:
    """A sealed answer.

    Parameters
    ----------
    answer : Answer
    number : int
        Number of the log entry.
    written : str
        Date and time of the server.
    times : Times
        Time spent on it.
    """

    answer: Answer
    number: int
    written: str
    times: Times


@dataclass
class CaseState:
    """The state of one case, built entry by entry.

    Parameters
    ----------
    task : Task
    is_open : bool
    draft : dict or None
        The unfinished form, as the page sent it.
    first, revised : Sealed or None
    shown : dict or None
        The model's answer as shown, and whether it was flipped.
    refusals : int
        Number of requests for the model's answer before it could be shown.
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
        """Progress of the case."""
        if self.first is None:
            return Step.OPEN if self.is_open else Step.NEW
        if self.task.arm is Arm.UNAIDED or self.revised is not None:
            return Step.DONE
        return Step.SEALED if self.shown is None else Step.REVEALED

    def sealed(self, phase: Phase) -> Sealed | None:
        """Return the sealed answer of a phase.

        Parameters
        ----------
        phase : Phase

        Returns
        -------
        Sealed or None
        """
        return self.first if phase is Phase.FIRST else self.revised

    def take(self, entry: Entry) -> None:
        """Apply the next entry; an entry that comes too late or twice changes nothing.

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
    """Fold entries into the states of cases.

    Parameters
    ----------
    entries : iterable of Entry
        Entries of one reader and study, in order.
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
    """One session of one reader in a reader study.

    Parameters
    ----------
    log : Log
    study : RegisteredStudy
    reader : str
        Code.
    session : int
        From 1.
    clock : Clock
    """

    log: Log
    study: RegisteredStudy
    reader: str
    session: int
    clock: Clock

    def states(self) -> dict[str, CaseState]:
        """Read the state of each case of the session.

        Returns
        -------
        dict of str to CaseState
            By handle, in reading order.

        Raises
        ------
        AccessError
            When the user is not a reader of the study.
        """
        return case_states(self._entries(), self.study.tasks(self.reader, self.session))

    def current(self) -> CaseState | None:
        """Find the case to read next.

        Returns
        -------
        CaseState or None
            None when the session is finished.
        """
        return _first_undone(self.states())

    def opens(self) -> datetime | None:
        """Return when the session may begin.

        Returns
        -------
        datetime or None
            None where there is no waiting time, or the previous session is not finished.
        """
        if self.session == 1:
            return None
        last = self._last_of_earlier(self._entries())
        return None if last is None else last + timedelta(days=self.study.design.washout_days)

    def refuse_unless_open(self) -> None:
        """Refuse a session that may not be read yet.

        Raises
        ------
        AccessError
            Before the previous session is finished or the washout is over, and when the server's clock was changed.
        """
        if self.session == 1:
            return
        earlier = Session(self.log, self.study, self.reader, self.session - 1, self.clock)
        if earlier.current() is not None:
            raise AccessError("The previous session is not finished", remedy="Finish it first.")
        entries, now = self._entries(), self.clock.now()
        self._refuse_moved_clock(entries, now)
        last = self._last_of_earlier(entries)
        opens = None if last is None else last + timedelta(days=self.study.design.washout_days)
        if opens is not None and now < opens:
            raise AccessError(f"This session opens on {opens:%Y-%m-%d}, after the washout", remedy="Come back then.")

    def open(self, handle: str) -> CaseState:
        """Open the case to read next, or open it again.

        Parameters
        ----------
        handle : str

        Returns
        -------
        CaseState

        Raises
        ------
        AccessError
            When the case is not one of this reader's.
        StaleError
            When the case is finished, or not next in order.
        """
        self._current(handle)
        self._append(CASE_OPENED, handle)
        return self._find(handle)

    def save_draft(self, handle: str, draft: Mapping[str, Any]) -> None:
        """Save the unfinished form.

        Parameters
        ----------
        handle : str
        draft : mapping
            JSON values.

        Raises
        ------
        AccessError
        StaleError
            When the answer is already sealed.
        """
        if self._current(handle).step not in {Step.OPEN, Step.REVEALED}:
            raise StaleError("This answer is sealed; the form was not saved", remedy="Reload the page.")
        self._append(DRAFT_SAVED, handle, draft=dict(draft))

    def tell_presence(self, handle: str, presence: Presence) -> None:
        """Record whether the reader is present; without effect once a case is finished.

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
            Random text that the page draws for this answer, so that a repeated request is not a second answer.
        answer : Answer

        Returns
        -------
        CaseState

        Raises
        ------
        AccessError
            When a revision comes before the model's answer was shown.
        InputError
            When signs are missing, or the design does not ask for them.
        StaleError
            When a different answer is already sealed.
        """
        if not 0 < len(key) <= LONGEST_KEY:
            raise InputError("The answer has no key", allowed=f"a key of 1 to {LONGEST_KEY} characters")
        states = self.states()
        state = _picked(states, handle)
        if state.sealed(phase) is None:
            self._refuse_unready(states, state, phase)
            wants_signs = self.study.design.signs and phase is Phase.FIRST
            if (answer.signs is not None) != wants_signs:
                raise InputError(
                    "The signs are missing" if wants_signs else "This study does not ask for signs",
                    allowed="all fifteen signs" if wants_signs else "an answer without signs",
                )
            content = {"phase": str(phase), "key": key, "answer": answer.to_json(), "digest": answer.digest}
            self._append(ANSWER_SEALED, handle, **content)
            state = self._find(handle)
        sealed = state.sealed(phase)
        # Another page may have been faster; the log decides.
        if sealed is None or sealed.answer.digest != answer.digest:
            raise StaleError(
                "This case already has a sealed answer; the other answer was not stored", remedy="Reload the page."
            )
        return state

    def reveal(self, handle: str, answer_of: Callable[[str], ModelAnswer]) -> dict[str, Any]:
        """Show the model's answer once the reader's own is sealed.

        Parameters
        ----------
        handle : str
        answer_of : callable
            Returns the model's answer for a case; called only when the answer may be shown.

        Returns
        -------
        dict
            What is shown; the same every time.

        Raises
        ------
        AccessError
            Before the reader's own answer is sealed, and where the design shows no model. The attempt is logged.
        """
        state = self._find(handle)
        if state.first is None or state.task.arm is Arm.UNAIDED:
            self._append(MODEL_REFUSED, handle)
            raise AccessError("Hidden until you have submitted your answer", remedy="Submit your own answer first.")
        if state.shown is None:
            case = state.task.case_id
            is_turned = not state.task.is_practice and self.study.is_perturbed(self.reader, case)
            answer = answer_of(case)
            shown = (answer.flipped() if is_turned else answer).to_json() | {"perturbed": is_turned}
            self._append(MODEL_REVEALED, handle, shown=shown)
            state = self._find(handle)
        if state.shown is None:
            raise StaleError("Edit conflict: the case has changed", remedy="Reload the page.")
        return {key: value for key, value in state.shown.items() if key != "perturbed"}

    def _entries(self) -> list[Entry]:
        return self.log.entries(subject=self.study.subject(self.reader))

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
            words = "This case is finished" if state.step is Step.DONE else "This case is not next in order"
            raise StaleError(words, remedy="Continue with the current case: cases are read in order.")

    def _refuse_unready(self, states: dict[str, CaseState], state: CaseState, phase: Phase) -> None:
        self._refuse_other(states, state)
        if state.step is not _step_for(phase):
            if phase is Phase.REVISED:
                raise AccessError("The model's answer has not been shown yet", remedy="Submit your own answer first.")
            raise StaleError("The case has not been opened", remedy="Open it first.")

    def _append(self, kind: str, handle: str, **content: Any) -> None:
        stamped = {"session": self.session, "handle": handle, **content, **self.clock.stamp()}
        self.log.append(kind, self.reader, self.study.subject(self.reader), stamped)

    def _last_of_earlier(self, entries: list[Entry]) -> datetime | None:
        dates = [_date(entry) for entry in entries if entry.content["session"] < self.session]
        return max(dates, default=None)

    def _refuse_moved_clock(self, entries: list[Entry], now: datetime) -> None:
        """Refuse a clock that was set back, or ran ahead of the time that passed: it proves no washout."""
        remedy = "Ask an administrator to correct the server's clock."
        if now < max(map(_date, entries), default=now):
            raise AccessError("The server's clock was set back", remedy=remedy)
        for entry in entries:
            if entry.content["process"] == self.clock.process:
                passed = timedelta(milliseconds=self.clock.elapsed_ms() - entry.content["at_ms"])
                if now - _date(entry) > passed + CLOCK_SLACK:
                    raise AccessError("The server's clock was set forward", remedy=remedy)


def unfinished_cases(log: Log, workspace: Workspace, reader: str) -> frozenset[str]:
    """List the cases whose truth a reader must not see yet: those of reader studies that the reader has not finished.

    Parameters
    ----------
    log : Log
    workspace : Workspace
    reader : str
        Code.

    Returns
    -------
    frozenset of str
        Includes every other case of the same participants, who share a diagnosis. Cases that have been read stay in it
        until the whole study is finished: readers who learn the truth on the way read differently.
    """
    found: set[str] = set()
    for study in registered_studies(log).values():
        if reader not in study.design.readers:
            continue
        entries = log.entries(subject=study.subject(reader))
        tasks = [task for number in range(study.design.sessions) for task in study.tasks(reader, number + 1)]
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
        raise AccessError("Not found", remedy="Go back to your list of studies.")
    return state


def _step_for(phase: Phase) -> Step:
    return Step.OPEN if phase is Phase.FIRST else Step.REVEALED


def _date(entry: Entry) -> datetime:
    return datetime.fromisoformat(entry.written)

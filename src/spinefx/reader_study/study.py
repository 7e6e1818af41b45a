"""Registered reader studies, as the log records them: which cases are read by whom, and in which order."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from spinefx.cases.cohort import Case
from spinefx.errors import AccessError, DesignError
from spinefx.files import canonical_json, digest_of
from spinefx.reader_study.assistance import ModelPin
from spinefx.reader_study.design import StudyDesign
from spinefx.reader_study.log import Entry, Log
from spinefx.reader_study.order import arms_of, perturbed_cases, reading_order
from spinefx.vocabulary import Arm

__all__ = ["RegisteredStudy", "Task", "find_study", "mark_of", "register_study", "registered_studies"]

REGISTERED = "study.registered"
# A second registration of the same study may only add to these.
GROWING = ("cases", "readers")


@dataclass(frozen=True)
class Task:
    """One case, to be read by one reader in one session.

    Parameters
    ----------
    handle : str
        Name of the task on the page; reveals neither the case nor whether two readers have the same one.
    session : int
        From 1.
    place, of : int
        Position, as in "case 7 of 40".
    is_practice : bool
    case_id : str
    arm : Arm
    """

    handle: str
    session: int
    place: int
    of: int
    is_practice: bool
    case_id: str
    arm: Arm


@dataclass(frozen=True)
class RegisteredStudy:
    """A registered reader study.

    Parameters
    ----------
    design : StudyDesign
        Including its seed.
    generations : tuple of tuple of str
        Cases in the order in which they joined.
    model : ModelPin or None
    key : str
        Random key drawn at registration, from which handles are derived.
    marks : mapping of str to str
        Result of :func:`mark_of` for each case when it joined: every reader must see the same images and box.
    """

    design: StudyDesign
    generations: tuple[tuple[str, ...], ...]
    model: ModelPin | None
    key: str
    marks: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.design.name

    @property
    def seed(self) -> int:
        """Seed of all random draws."""
        return self.design.seed or 0

    @cached_property
    def cases(self) -> tuple[str, ...]:
        """All cases except practice cases."""
        return tuple(case for cases in self.generations for case in cases)

    def subject(self, reader: str) -> str:
        """Return the subject under which the log holds a reader's entries.

        Parameters
        ----------
        reader : str

        Returns
        -------
        str
        """
        return f"{self.name}/{reader}"

    def tasks(self, reader: str, session: int) -> tuple[Task, ...]:
        """List a reader's tasks in a session, in order; practice cases come first.

        Parameters
        ----------
        reader : str
        session : int
            From 1.

        Returns
        -------
        tuple of Task

        Raises
        ------
        AccessError
            When the user is not a reader of the study, or the design has no such session.
        """
        if reader not in self.design.readers or not 1 <= session <= self.design.sessions:
            raise AccessError("Not found", remedy="Go back to your list of studies.")
        order = reading_order(self.seed, reader, session, self.generations)
        arms = arms_of(self.design.design, self.seed, reader, self.generations)
        practice = self.design.practice if session == 1 else ()
        aided = Arm.AIDED if self.design.is_aided else Arm.UNAIDED
        return (
            *(self._task(reader, session, place, practice, case, aided) for place, case in enumerate(practice, 1)),
            *(
                self._task(reader, session, place, order, case, arms[case][session - 1])
                for place, case in enumerate(order, 1)
            ),
        )

    def is_perturbed(self, reader: str, case: str) -> bool:
        """Return whether a reader sees the model's answer to a case flipped.

        Parameters
        ----------
        reader, case : str

        Returns
        -------
        bool
        """
        return case in perturbed_cases(self.seed, reader, self.generations, self.design.perturbed_share)

    def _task(self, reader: str, session: int, place: int, among: tuple[str, ...], case: str, arm: Arm) -> Task:
        handle = digest_of("\0".join((self.key, reader, str(session), case)))[7:27]
        return Task(handle, session, place, len(among), case in self.design.practice, case, arm)


def mark_of(case: Case) -> str:
    """Return a digest of what a reader sees of a case: its images and its marked vertebra.

    Parameters
    ----------
    case : Case

    Returns
    -------
    str
        The truth is not part of it.
    """
    lesion = case.lesion
    place = [*lesion.box.centre_mm, lesion.box.side_mm, lesion.first_slice, lesion.last_slice]
    return digest_of(canonical_json([case.images_digest, *place]))


def registered_studies(log: Log) -> dict[str, RegisteredStudy]:
    """Read all registered studies from the log.

    Parameters
    ----------
    log : Log

    Returns
    -------
    dict of str to RegisteredStudy
        By name.
    """
    found: dict[str, RegisteredStudy] = {}
    for entry in log.entries(kind=REGISTERED):
        found[entry.subject] = _taken(found.get(entry.subject), entry)
    return found


def find_study(log: Log, name: str) -> RegisteredStudy:
    """Find a registered study by name.

    Parameters
    ----------
    log : Log
    name : str

    Returns
    -------
    RegisteredStudy

    Raises
    ------
    AccessError
    """
    found = registered_studies(log).get(name)
    if found is None:
        raise AccessError("There is no such reader study", remedy="Go back to your list of studies.")
    return found


def register_study(
    log: Log, design: StudyDesign, model: ModelPin | None, marks: Mapping[str, str], *, by: str
) -> RegisteredStudy:
    """Register a reader study, or add cases or readers to a registered one.

    Parameters
    ----------
    log : Log
    design : StudyDesign
        With every case named.
    model : ModelPin or None
    marks : mapping of str to str
        Result of :func:`mark_of` for each case.
    by : str
        Code of the user who registers it.

    Returns
    -------
    RegisteredStudy

    Raises
    ------
    DesignError
        When the study is already registered and anything but added cases and readers differs.
    """
    if not design.cases:
        raise DesignError("the study has no case", where="design", allowed="one case or more")
    present = registered_studies(log).get(design.name)
    if present is None:
        seed = secrets.randbelow(2**31) if design.seed is None else design.seed
        added, key = design.cases, secrets.token_hex(16)
    else:
        seed = present.seed if design.seed is None else design.seed
        added, key = tuple(case for case in design.cases if case not in present.cases), present.key
    design = replace(design, seed=seed)
    if present is not None:
        _refuse_change(present, design, model)
        if design.readers == present.design.readers and not added:
            return present
    content = {
        "design": design.to_mapping(),
        "added": list(added),
        "model": None if model is None else asdict(model),
        "key": key,
        "marks": dict(marks),
    }
    log.append(REGISTERED, by, design.name, content)
    return find_study(log, design.name)


def _taken(present: RegisteredStudy | None, entry: Entry) -> RegisteredStudy:
    content: Mapping[str, Any] = entry.content
    model = None if content["model"] is None else ModelPin(**content["model"])
    earlier = present.generations if present else ()
    known = {case for cases in earlier for case in cases}
    added = tuple(case for case in content["added"] if case not in known)
    generations = (*earlier, added) if added else earlier
    marks = {**content["marks"], **(present.marks if present else {})}
    return RegisteredStudy(StudyDesign.from_mapping(content["design"]), generations, model, content["key"], marks)


def _refuse_change(present: RegisteredStudy, design: StudyDesign, model: ModelPin | None) -> None:
    old, new = present.design.to_mapping(), design.to_mapping()
    changed = [key for key in old if key not in GROWING and old[key] != new[key]]
    if changed or model != present.model:
        raise DesignError(
            f"{changed[0] if changed else 'model'} differs from what study {design.name} was registered with",
            where="design",
            allowed="additional cases and readers only",
            remedy="Register a different study under another name.",
        )
    for key, old_ones in (("cases", present.cases), ("readers", present.design.readers)):
        gone = [one for one in old_ones if one not in getattr(design, key)]
        if gone:
            raise DesignError(
                f"{key} lacks {gone[0]}, which is registered", where="design", allowed=f"all registered {key}"
            )

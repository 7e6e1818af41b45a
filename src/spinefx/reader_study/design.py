"""The design of a reader study: one self-contained TOML file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from spinefx.documents import check_keys, read_toml
from spinefx.errors import DesignError

__all__ = ["DesignKind", "StudyDesign"]

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
READER = re.compile(r"[A-Za-z0-9_]{1,40}")
CASE = re.compile(r"[^\W_][\w .+-]{0,79}")
EXPERIMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,40}")
NEEDED = ("name", "design", "readers")


class DesignKind(StrEnum):
    """The order in which cases are read without and with the model."""

    UNAIDED = "unaided"
    SECOND_READ = "second_read"
    CROSSOVER = "crossover"


@dataclass(frozen=True, kw_only=True)
class StudyDesign:
    """The design of a reader study.

    Parameters
    ----------
    name : str
        1 to 40 of a-z, 0-9, - and _.
    design : DesignKind
        ``unaided``: no model. ``second_read``: each case is answered, the model's answer is shown, the answer may be
        revised. ``crossover``: two sessions, each case once without and once with the model.
    readers : tuple of str
        Codes of the readers.
    cases : tuple of str
        Case identifiers; empty for all cases of the cohort except practice cases.
    practice : tuple of str
        Cases that are read first and excluded from the results.
    experiment : str
        Experiment whose out-of-fold predictions are shown; empty for ``unaided``.
    signs : bool
        Whether readers score the fifteen signs.
    box : bool
        Whether the box around the vertebra in question is drawn.
    washout_days : int
        Days between the two sessions of a crossover, 0 to 730; four weeks are usual.
    perturbed_share : float
        Share of aided cases, 0 to 0.5, in which the model's answer is flipped to measure how readers follow a wrong
        answer. The log records which answers were flipped when they were shown.
    seed : int or None
        Seed of the case order; with None, one is drawn when the study is registered.

    Raises
    ------
    DesignError
        For a value out of range, and for values that contradict each other.
    """

    name: str
    design: DesignKind
    readers: tuple[str, ...]
    cases: tuple[str, ...] = ()
    practice: tuple[str, ...] = ()
    experiment: str = ""
    signs: bool = True
    box: bool = True
    washout_days: int = 28
    perturbed_share: float = 0.0
    seed: int | None = None

    def __post_init__(self) -> None:
        _refuse(self.name, bool(NAME.fullmatch(self.name)), "name", "1 to 40 of a-z, 0-9, - and _")
        for key, pattern, words in (
            ("readers", READER, "codes"),
            ("cases", CASE, "cases"),
            ("practice", CASE, "cases"),
        ):
            values = getattr(self, key)
            is_plain = all(pattern.fullmatch(value) for value in values) and len(set(values)) == len(values)
            _refuse(values, is_plain, key, f"{words} of letters and digits, each once")
        _refuse(self.readers, bool(self.readers), "readers", "at least one")
        _refuse(self.washout_days, 0 <= self.washout_days <= 730, "washout_days", "0 to 730")
        _refuse(self.perturbed_share, 0 <= self.perturbed_share <= 0.5, "perturbed_share", "0 to 0.5")
        _refuse(self.seed, self.seed is None or 0 <= self.seed < 2**31, "seed", "0 to 2147483647")
        self._refuse_contradictions()

    @property
    def sessions(self) -> int:
        """Number of sessions in which each reader reads all cases."""
        return 2 if self.design is DesignKind.CROSSOVER else 1

    @property
    def is_aided(self) -> bool:
        """Whether the design shows a model's answers."""
        return self.design is not DesignKind.UNAIDED

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a design from a TOML file.

        Parameters
        ----------
        path : Path

        Returns
        -------
        StudyDesign

        Raises
        ------
        DesignError
        """
        return cls.from_mapping(read_toml(path, DesignError))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Return the design that plain values describe, as a file or the log holds them.

        Parameters
        ----------
        values : mapping
            ``cases`` may be the word ``all``.

        Returns
        -------
        StudyDesign

        Raises
        ------
        DesignError
            For an unknown key (with the most similar known one), a missing key, or a value of another type.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        check_keys(values, known, DesignError, where="design", needed=NEEDED)
        plain = dict(values)
        if plain.get("cases") == "all":
            plain["cases"] = []
        return cls(**{key: _as_kind(key, value) for key, value in plain.items()})

    def to_mapping(self) -> dict[str, Any]:
        """Return the design as plain values.

        Returns
        -------
        dict
            ``StudyDesign.from_mapping(design.to_mapping()) == design``.
        """
        values = dataclasses.asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    def _refuse_contradictions(self) -> None:
        both = set(self.cases) & set(self.practice)
        if both:
            raise DesignError(
                f"{sorted(both)[0]!r} is both a case and a practice case", where="design", allowed="one of the two"
            )
        if self.is_aided != bool(self.experiment):
            found = "no experiment" if self.is_aided else f"experiment = {self.experiment!r}"
            wanted = "the experiment whose answers are shown" if self.is_aided else "no experiment: no model is shown"
            raise DesignError(f"{found} in a design of kind {self.design.value!r}", where="design", allowed=wanted)
        if self.experiment:
            is_plain = bool(EXPERIMENT.fullmatch(self.experiment))
            _refuse(self.experiment, is_plain, "experiment", "up to 41 letters, digits, _ and -")
        if self.perturbed_share and not self.is_aided:
            raise DesignError("perturbed_share needs a design that shows a model", where="design", allowed="0")


def _refuse(value: object, is_right: bool, key: str, allowed: str) -> None:
    if not is_right:
        raise DesignError(f"{key} = {value!r}"[:200], where="design", allowed=allowed)


def _as_kind(key: str, value: Any) -> Any:
    """Check the type of a value from a file, and return it as the field holds it."""
    if key in {"readers", "cases", "practice"}:
        is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
        _refuse(value, is_list, key, "a list of strings" + (", or 'all'" if key == "cases" else ""))
        return tuple(value)
    if key == "design":
        _refuse(value, value in set(DesignKind), key, ", ".join(DesignKind))
        return DesignKind(value)
    if key in {"signs", "box"}:
        _refuse(value, isinstance(value, bool), key, "true, false")
    elif key in {"name", "experiment"}:
        _refuse(value, isinstance(value, str), key, "a string")
    elif not (key == "seed" and value is None):
        is_number = isinstance(value, int | float if key == "perturbed_share" else int) and not isinstance(value, bool)
        _refuse(value, is_number, key, "a number")
        return float(value) if key == "perturbed_share" else value
    return value

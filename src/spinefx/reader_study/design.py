"""What a reader study is to be: one TOML file, complete in itself."""

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
    """How readings without and with the model follow each other."""

    UNAIDED = "unaided"
    SECOND_READ = "second_read"
    CROSSOVER = "crossover"


@dataclass(frozen=True, kw_only=True)
class StudyDesign:
    """A reader study as planned.

    Parameters
    ----------
    name : str
        1 to 40 of a-z, 0-9, - and _.
    design : DesignKind
        ``unaided``: no model. ``second_read``: each case is answered, the model's answer is shown, the answer may be
        revised. ``crossover``: two sessions, each case once without and once with the model.
    readers : tuple of str
        Codes of who reads.
    cases : tuple of str
        Case identifiers; empty for all of the cohort that are not practice.
    practice : tuple of str
        Cases read first, which count nowhere.
    experiment : str
        Whose out-of-fold predictions are shown; empty for ``unaided``.
    signs : bool
        Whether the fifteen signs are asked for.
    box : bool
        Whether the marked vertebra's box is drawn; it is what is asked about.
    washout_days : int
        Between the two sessions of a crossover, 0 to 730. Four weeks are usual.
    perturbed_share : float
        Share of aided cases, 0 to 0.5, whose model answer is turned round, to measure how far readers follow a wrong
        one. Which ones is recorded when they are shown.
    seed : int or None
        Where the order of cases starts; None draws one when the study is registered.

    Raises
    ------
    DesignError
        For a value out of range, and for what contradicts itself.
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
            _refuse(values, is_plain, key, f"{words} in plain letters and digits, each once")
        _refuse(self.readers, bool(self.readers), "readers", "at least one")
        _refuse(self.washout_days, 0 <= self.washout_days <= 730, "washout_days", "0 to 730")
        _refuse(self.perturbed_share, 0 <= self.perturbed_share <= 0.5, "perturbed_share", "0 to 0.5")
        _refuse(self.seed, self.seed is None or 0 <= self.seed < 2**31, "seed", "0 to 2147483647")
        self._refuse_contradictions()

    @property
    def sessions(self) -> int:
        """How often each reader sits down to all cases."""
        return 2 if self.design is DesignKind.CROSSOVER else 1

    @property
    def is_aided(self) -> bool:
        """Whether a model's answers are shown at all."""
        return self.design is not DesignKind.UNAIDED

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a design from its file.

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
        """Make a design of plain values, as a file or the log holds them.

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
            For an unknown key (with the nearest name), a missing one, or a value of another kind.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        check_keys(values, known, DesignError, where="design", needed=NEEDED)
        plain = dict(values)
        if plain.get("cases") == "all":
            plain["cases"] = []
        return cls(**{key: _as_kind(key, value) for key, value in plain.items()})

    def to_mapping(self) -> dict[str, Any]:
        """Give plain values.

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
                f"{sorted(both)[0]!r} is a case and a practice case", where="design", allowed="one of both"
            )
        if self.is_aided != bool(self.experiment):
            found = "no experiment" if self.is_aided else f"experiment = {self.experiment!r}"
            wanted = "the experiment whose answers are shown" if self.is_aided else "none: no model is shown"
            raise DesignError(f"{found} in a design {self.design.value!r}", where="design", allowed=wanted)
        if self.experiment:
            is_plain = bool(EXPERIMENT.fullmatch(self.experiment))
            _refuse(self.experiment, is_plain, "experiment", "up to 41 letters, digits, _ and -")
        if self.perturbed_share and not self.is_aided:
            raise DesignError("perturbed_share in a design without a model", where="design", allowed="0")


def _refuse(value: object, is_right: bool, key: str, allowed: str) -> None:
    if not is_right:
        raise DesignError(f"{key} = {value!r}"[:200], where="design", allowed=allowed)


def _as_kind(key: str, value: Any) -> Any:
    """A file's value as the field has it; nothing is converted that a file can say itself."""
    if key in {"readers", "cases", "practice"}:
        is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
        _refuse(value, is_list, key, "a list of texts" + (", or 'all'" if key == "cases" else ""))
        return tuple(value)
    if key == "design":
        _refuse(value, value in set(DesignKind), key, ", ".join(DesignKind))
        return DesignKind(value)
    if key in {"signs", "box"}:
        _refuse(value, isinstance(value, bool), key, "true, false")
    elif key in {"name", "experiment"}:
        _refuse(value, isinstance(value, str), key, "a text")
    elif not (key == "seed" and value is None):
        is_number = isinstance(value, int | float if key == "perturbed_share" else int) and not isinstance(value, bool)
        _refuse(value, is_number, key, "a number")
        return float(value) if key == "perturbed_share" else value
    return value

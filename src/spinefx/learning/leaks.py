"""The leak audit: what a cross-validation used, compared with what it was allowed to use.

A ledger records every draw and every fit of a fold as it happens; the audit reads the ledgers, not the intentions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spinefx.cases.patch import Jitter, PatchStack
from spinefx.errors import LeakError
from spinefx.learning.augmentation import PatchBank
from spinefx.learning.folds import Fold
from spinefx.learning.recipe import Recipe

__all__ = [
    "EARLY_STOPPING",
    "AuditCheck",
    "AuditReport",
    "Fitted",
    "FoldFacts",
    "Ledger",
    "Side",
    "audit_folds",
    "audit_run",
]

# How the ledger names the choice of an epoch by a watched loss: the one fit on test data that a recipe may declare.
EARLY_STOPPING = "early stopping"


@dataclass(frozen=True)
class Fitted:
    """Something that was learned from data.

    Parameters
    ----------
    name : str
        ``weights``, ``early stopping``, a threshold, a statistic.
    case_ids : tuple of str
        The cases it was learned from; empty for what comes from the recipe alone, or from each patch by itself.
    """

    name: str
    case_ids: tuple[str, ...]


@dataclass(frozen=True)
class FoldFacts:
    """What one fold used.

    Parameters
    ----------
    fold : int
    draws, jittered : mapping of str to mapping of str to int
        By side and case: patches drawn, and how many of them were changed by a jitter.
    fitted : tuple of Fitted
    """

    fold: int
    draws: Mapping[str, Mapping[str, int]]
    jittered: Mapping[str, Mapping[str, int]]
    fitted: tuple[Fitted, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file.

        Returns
        -------
        dict
        """
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FoldFacts:
        """Read what :meth:`to_json` wrote.

        Parameters
        ----------
        values : mapping

        Returns
        -------
        FoldFacts
        """
        fitted = tuple(Fitted(entry["name"], tuple(entry["case_ids"])) for entry in values["fitted"])
        return cls(int(values["fold"]), values["draws"], values["jittered"], fitted)


class Ledger:
    """Records what one fold uses, as it happens.

    Parameters
    ----------
    fold : int
    """

    def __init__(self, fold: int) -> None:
        self._fold = fold
        self._draws: dict[str, Counter[str]] = {}
        self._jittered: dict[str, Counter[str]] = {}
        self._fitted: dict[str, set[str]] = {}

    def restore(self, facts: FoldFacts) -> None:
        """Continue the records of an interrupted fold.

        Parameters
        ----------
        facts : FoldFacts
            They replace everything recorded so far.
        """
        self._draws = {side: Counter(counts) for side, counts in facts.draws.items()}
        self._jittered = {side: Counter(counts) for side, counts in facts.jittered.items()}
        self._fitted = {entry.name: set(entry.case_ids) for entry in facts.fitted}

    def record_draws(self, side: str, case_ids: Sequence[str], jitters: Sequence[Jitter]) -> None:
        """Record patches that were drawn.

        Parameters
        ----------
        side : {'training', 'inner', 'test'}
        case_ids : sequence of str
            One per patch.
        jitters : sequence of Jitter
            One per patch.
        """
        self._draws.setdefault(side, Counter()).update(case_ids)
        moved = [case for case, jitter in zip(case_ids, jitters, strict=True) if not jitter.is_identity]
        self._jittered.setdefault(side, Counter()).update(moved)

    def record_fit(self, name: str, case_ids: Iterable[str]) -> None:
        """Record that something was learned from cases.

        Parameters
        ----------
        name : str
        case_ids : iterable of str
        """
        self._fitted.setdefault(name, set()).update(case_ids)

    @property
    def facts(self) -> FoldFacts:
        """Everything recorded so far, in an order that does not depend on time."""
        return FoldFacts(
            self._fold,
            {side: dict(sorted(counts.items())) for side, counts in sorted(self._draws.items())},
            {side: dict(sorted(counts.items())) for side, counts in sorted(self._jittered.items())},
            tuple(Fitted(name, tuple(sorted(cases))) for name, cases in sorted(self._fitted.items())),
        )


class Side:
    """One side of a fold: the only access of training and testing to patches, which records every draw.

    Parameters
    ----------
    name : {'training', 'inner', 'test'}
    bank : PatchBank
        Source voxels of the whole cohort.
    participants : sequence of str
    malignant : mapping of str to bool
        By case.
    ledger : Ledger

    Attributes
    ----------
    numbers : ndarray of int64, shape (n,)
        Sample numbers in the bank.
    malignant : ndarray of bool, shape (n,)
    keys : ndarray of uint64, shape (n,)
        Identify the samples in random draws.
    """

    def __init__(
        self, name: str, bank: PatchBank, participants: Sequence[str], malignant: Mapping[str, bool], ledger: Ledger
    ) -> None:
        self.name = name
        self.numbers = bank.numbers_of(participants)
        self.samples = tuple(bank.samples[number] for number in self.numbers)
        self.malignant = np.array([malignant[sample.case_id] for sample in self.samples], dtype=bool)
        self.keys = np.array([sample.key for sample in self.samples], dtype=np.uint64)
        self.bank = bank
        self.ledger = ledger

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the patches, and so of what is trained on them."""
        return self.bank.dtype

    def answers(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the labels of samples.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)

        Returns
        -------
        Tensor, shape (n,)
            1 where malignant.
        """
        return torch.from_numpy(self.malignant[rows]).to(self.dtype)

    def draw(self, rows: NDArray[np.int64], jitters: Sequence[Jitter] | None = None) -> torch.Tensor:
        """Return patches of this side.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)
            Places in :attr:`samples`.
        jitters : sequence of Jitter, optional
            None changes nothing.

        Returns
        -------
        Tensor, shape (n, channel, size, size)
        """
        jitters = [Jitter()] * len(rows) if jitters is None else jitters
        self.record_draws(rows, jitters)
        return self.bank.draw(self.numbers[rows], jitters)

    def record_draws(self, rows: NDArray[np.int64], jitters: Sequence[Jitter]) -> None:
        """Record patches of this side that are drawn elsewhere, on a GPU.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)
        jitters : sequence of Jitter, length n
        """
        self.ledger.record_draws(self.name, self.case_ids(rows), jitters)

    def record_fit(self, name: str, rows: NDArray[np.int64]) -> None:
        """Record that something was learned from samples of this side.

        Parameters
        ----------
        name : str
        rows : ndarray of int64, shape (n,)
        """
        self.ledger.record_fit(name, self.case_ids(rows))

    def case_ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the cases of samples.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)

        Returns
        -------
        list of str
        """
        return [self.samples[row].case_id for row in rows]


@dataclass(frozen=True)
class AuditCheck:
    """One question of the audit and its answer.

    Parameters
    ----------
    name : str
    compared : int
        How many comparisons were made.
    findings : tuple of str
        Leaks; empty where there are none.
    declared : tuple of str
        Leaks that the recipe allows and every output states.
    worst : float or None
        The value nearest to a finding (a correlation), where the check has one.
    """

    name: str
    compared: int
    findings: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    worst: float | None = None

    @property
    def passed(self) -> bool:
        """Whether there are no leaks except declared ones."""
        return not self.findings


@dataclass(frozen=True)
class AuditReport:
    """All answers of the audit.

    Parameters
    ----------
    checks : tuple of AuditCheck
    """

    checks: tuple[AuditCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def raise_for_leaks(self) -> None:
        """Raise an error if a leak was found.

        Raises
        ------
        LeakError
            Naming the first check that failed and its first finding.
        """
        for check in self.checks:
            if check.findings:
                more = f" (and {len(check.findings) - 1} more)" if len(check.findings) > 1 else ""
                raise LeakError(
                    f"{check.name}: {check.findings[0]}{more}",
                    remedy="Do not trust any score of this run; remove the leak and train again.",
                )

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file.

        Returns
        -------
        dict
        """
        return {"passed": self.passed, "checks": [asdict(check) | {"passed": check.passed} for check in self.checks]}


def audit_folds(folds: Sequence[Fold], participants: Iterable[str]) -> AuditCheck:
    """Check that every participant is on one side of each fold, and is tested once.

    Parameters
    ----------
    folds : sequence of Fold
    participants : iterable of str
        All of the cohort.

    Returns
    -------
    AuditCheck
    """
    findings = []
    everyone = sorted(set(participants))
    for fold in folds:
        sides = Counter[str]()
        for members in (fold.training, fold.inner, fold.test):
            sides.update(set(members))
        findings += [f"{who} is on two sides of {fold.label}" for who, count in sorted(sides.items()) if count > 1]
    tested = Counter(who for fold in folds for who in fold.test)
    findings += [f"{who} is tested {tested[who]} times" for who in everyone if tested[who] != 1]
    return AuditCheck("participant on two sides, as split", len(everyone) * len(folds), tuple(findings))


def audit_run(
    folds: Sequence[Fold], facts: Sequence[FoldFacts], stacks: Sequence[PatchStack], recipe: Recipe
) -> tuple[AuditCheck, ...]:
    """Check what the folds used.

    Parameters
    ----------
    folds : sequence of Fold
    facts : sequence of FoldFacts
        One per fold, in the same order.
    stacks : sequence of PatchStack
        All of the cohort.
    recipe : Recipe
        Declares which leak it allows.

    Returns
    -------
    tuple of AuditCheck
    """
    pairs = list(zip(folds, facts, strict=True))
    participant_of = {stack.case_id: stack.participant_id for stack in stacks}
    return (
        _check_sides(pairs, participant_of),
        _check_copies(pairs),
        _check_fits(pairs, participant_of, recipe),
        _check_test_seen_once(pairs, stacks, recipe),
    )


_Pairs = Sequence[tuple[Fold, FoldFacts]]


def _check_sides(pairs: _Pairs, participant_of: Mapping[str, str]) -> AuditCheck:
    findings, compared = [], 0
    for fold, facts in pairs:
        for side, cases in facts.draws.items():
            members = sorted({participant_of[case] for case in cases})
            compared += len(members)
            findings += [
                f"{who} was drawn as {side} in {fold.label} but belongs to {fold.side_of(who) or 'no side'}"
                for who in members
                if fold.side_of(who) != side
            ]
    return AuditCheck("participant on two sides, as drawn", compared, tuple(findings))


def _check_copies(pairs: _Pairs) -> AuditCheck:
    findings, compared = [], 0
    for fold, facts in pairs:
        for side, cases in facts.jittered.items():
            if side == "training":
                continue
            compared += sum(facts.draws[side].values())
            findings += [
                f"{count} augmented patches of {case} on the {side} side of {fold.label}"
                for case, count in cases.items()
                if count
            ]
    return AuditCheck("augmented copy outside training", compared, tuple(findings))


def _check_fits(pairs: _Pairs, participant_of: Mapping[str, str], recipe: Recipe) -> AuditCheck:
    findings: list[str] = []
    declared: list[str] = []
    compared = 0
    for fold, facts in pairs:
        for fitted in facts.fitted:
            compared += 1
            seen = sorted({participant_of[case] for case in fitted.case_ids} & set(fold.test))
            if not seen:
                continue
            sentence = f"{fitted.name} of {fold.label} learnt from {len(seen)} test participants ({seen[0]} first)"
            is_declared = fitted.name == EARLY_STOPPING and bool(recipe.optimistic)
            (declared if is_declared else findings).append(sentence)
    return AuditCheck("fitted on test data", compared, tuple(findings), tuple(declared))


def _check_test_seen_once(pairs: _Pairs, stacks: Sequence[PatchStack], recipe: Recipe) -> AuditCheck:
    findings: list[str] = []
    declared: list[str] = []
    compared = 0
    for fold, facts in pairs:
        drawn = facts.draws.get("test", {})
        for stack in stacks:
            if stack.participant_id not in fold.test:
                continue
            compared += 1
            count, slices = drawn.get(stack.case_id, 0), len(stack.slices)
            if count != slices:
                sentence = f"{stack.case_id} of {fold.label} was drawn {count} times for its {slices} slices"
                (declared if recipe.optimistic and count > slices else findings).append(sentence)
    return AuditCheck("test fold not seen exactly once", compared, tuple(findings), tuple(declared))

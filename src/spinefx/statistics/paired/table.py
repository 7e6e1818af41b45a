"""The paired table: what two readers of the same cases diagnosed correctly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spinefx.errors import InputError
from spinefx.statistics.accuracy import check_truth
from spinefx.statistics.estimate import Estimate, wilson
from spinefx.vocabulary import Diagnosis

__all__ = ["PairedAccuracy", "PairedTable"]


@dataclass(frozen=True)
class PairedTable:
    """Correct diagnoses of two readers of the same cases.

    Parameters
    ----------
    both, first_only, second_only, neither : int
        Cases that both readers, only the first, only the second, or neither diagnosed correctly.
    left_out : int
        Cases that only one reader has read; they are in none of the cells.

    Raises
    ------
    InputError
        If a count is negative.
    """

    both: int
    first_only: int
    second_only: int
    neither: int
    left_out: int = 0

    def __post_init__(self) -> None:
        if min(*self.cells, self.left_out) < 0:
            raise InputError(f"a negative count in {self}", where="paired table", allowed="0 or more")

    @classmethod
    def of(
        cls,
        first: Mapping[str, Diagnosis],
        second: Mapping[str, Diagnosis],
        truth: Mapping[str, Diagnosis],
        among: Diagnosis | None = None,
    ) -> PairedTable:
        """Count two readers' diagnoses case by case.

        Parameters
        ----------
        first, second : mapping of str to Diagnosis
            By case. Cases that only one reader has read are counted as left out.
        truth : mapping of str to Diagnosis
            By case.
        among : Diagnosis, optional
            Malignant for sensitivity, benign for specificity; by default all cases, for accuracy.

        Returns
        -------
        PairedTable

        Raises
        ------
        InputError
            If a diagnosed case has no truth.
        """
        check_truth([*first, *second], truth)
        wanted = {case for case in (*first, *second) if among is None or truth[case] == among}
        shared = [case for case in wanted if case in first and case in second]
        correct = [(first[case] == truth[case], second[case] == truth[case]) for case in shared]
        both, first_only, second_only, neither = (
            correct.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))
        )
        return cls(both, first_only, second_only, neither, left_out=len(wanted) - len(shared))

    @property
    def cells(self) -> tuple[int, int, int, int]:
        """The four counts."""
        return self.both, self.first_only, self.second_only, self.neither

    @property
    def n(self) -> int:
        """Number of cases that both readers have read."""
        return sum(self.cells)

    @property
    def correct(self) -> tuple[int, int]:
        """Cases that the first, and the second, diagnosed correctly."""
        return self.both + self.first_only, self.both + self.second_only

    @property
    def discordant(self) -> int:
        """Number of cases that exactly one reader diagnosed correctly."""
        return self.first_only + self.second_only

    @property
    def swapped(self) -> PairedTable:
        """The same table with the readers exchanged."""
        return PairedTable(self.both, self.second_only, self.first_only, self.neither, self.left_out)

    @property
    def first(self) -> Estimate:
        """Proportion that the first diagnosed correctly, with Wilson's interval."""
        return wilson(self.correct[0], self.n)

    @property
    def second(self) -> Estimate:
        """Proportion that the second diagnosed correctly, with Wilson's interval."""
        return wilson(self.correct[1], self.n)


@dataclass(frozen=True)
class PairedAccuracy:
    """The paired tables of two readers within malignant and within benign cases.

    Parameters
    ----------
    malignant, benign : PairedTable
    """

    malignant: PairedTable
    benign: PairedTable

    @classmethod
    def of(
        cls, first: Mapping[str, Diagnosis], second: Mapping[str, Diagnosis], truth: Mapping[str, Diagnosis]
    ) -> PairedAccuracy:
        """Count two readers' diagnoses within each class.

        Parameters
        ----------
        first, second, truth : mapping of str to Diagnosis
            By case.

        Returns
        -------
        PairedAccuracy

        Raises
        ------
        InputError
            If a diagnosed case has no truth.
        """
        return cls(
            PairedTable.of(first, second, truth, Diagnosis.MALIGNANT),
            PairedTable.of(first, second, truth, Diagnosis.BENIGN),
        )

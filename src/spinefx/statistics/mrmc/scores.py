"""The data of a reader study: scores by modality, reader and case, and the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components

from spinefx.errors import InputError, TableError
from spinefx.statistics.inputs import columns_of, readings_from, truth_from
from spinefx.statistics.ratings import finite_ratings, malignant_from
from spinefx.statistics.readings import benefit_readings
from spinefx.vocabulary import Diagnosis

__all__ = ["SMALLEST_CLASS", "Design", "Endpoint", "ReaderStudy", "StudyCounts"]

Endpoint = Literal["auc", "sensitivity", "specificity"]
# Fewest malignant, and benign, cases on which readers with different cases are compared.
SMALLEST_CLASS = 5


class Design(StrEnum):
    """Design of a reader study, as recognised from its data."""

    FACTORIAL = "factorial"
    CASES_IN_READERS = "cases nested in readers"
    CASES_IN_MODALITIES = "cases nested in modalities"
    SPLIT_PLOT = "split plot: blocks of readers, each with its own cases"
    READERS_IN_MODALITIES = "readers nested in modalities"
    ARBITRARY = "arbitrary"


@dataclass(frozen=True)
class StudyCounts:
    """Size of a reader study.

    Parameters
    ----------
    modalities, readers, malignant, benign : int
    readings : int
        Number of scores.
    missing : int
        Number of scores lacking for a fully crossed study of these readers, modalities and cases.
    """

    modalities: int
    readers: int
    malignant: int
    benign: int
    readings: int
    missing: int

    def __str__(self) -> str:
        return f"{self.readers} readers, {self.malignant} malignant and {self.benign} benign cases"


@dataclass(frozen=True, eq=False)
class ReaderStudy:
    """Scores of a multi-reader, multi-case study.

    Parameters
    ----------
    scores : ndarray of float64, shape (modality, reader, case)
        Higher means more likely malignant; NaN if there is no reading.
    malignant : ndarray of bool, shape (case,)
    modalities, readers, cases : tuple of str
        Names along the axes, each of them unique.

    Raises
    ------
    TableError
        If shapes and names disagree, a name occurs twice, a score is infinite, or a modality, reader or case has no
        reading.
    """

    scores: NDArray[np.float64]
    malignant: NDArray[np.bool_]
    modalities: tuple[str, ...]
    readers: tuple[str, ...]
    cases: tuple[str, ...]

    def __post_init__(self) -> None:
        axes = {"modality": self.modalities, "reader": self.readers, "case": self.cases}
        wanted = tuple(len(names) for names in axes.values())
        if self.scores.shape != wanted or self.malignant.shape != wanted[2:]:
            found = f"scores of shape {self.scores.shape} and {self.malignant.size} truths"
            raise TableError(found, allowed=f"{wanted} and {wanted[2]} for these modalities, readers, cases")
        if np.isinf(self.scores).any():
            raise TableError("an infinite score", allowed="finite scores, or NaN if there is no reading")
        read = ~np.isnan(self.scores)
        for axis, (kind, names) in enumerate(axes.items()):
            if len(set(names)) < len(names):
                raise TableError(f"a {kind} that occurs twice", allowed="unique names")
            unread = ~read.any(axis=tuple({0, 1, 2} - {axis}))
            if unread.any() or not names:
                # A position instead of the name, which may be a patient's.
                where = f"{kind} {int(np.argmax(unread)) + 1} of {len(names)}, in order of appearance" if names else ""
                raise TableError(
                    f"a {kind} without a reading", where=where, allowed="one or more", remedy="Leave it out."
                )

    @classmethod
    def from_columns(
        cls,
        *,
        reader: Sequence[object],
        case: Sequence[object],
        malignant: ArrayLike,
        score: ArrayLike,
        modality: Sequence[object] | None = None,
    ) -> ReaderStudy:
        """Create a study from the columns of a long table with one row per reading.

        Parameters
        ----------
        reader, case : sequence
            Names or numbers, shape (row,); the order of first appearance is kept.
        malignant : array_like, shape (row,)
            Truth of the row's case: ``malignant`` and ``benign``, True and False, or 1 and 0.
        score : array_like, shape (row,)
            NaN counts as missing. Minus infinity is the lowest rating (a case without a mark, as in RJafroc).
        modality : sequence or None
            None if there is only one.

        Returns
        -------
        ReaderStudy

        Raises
        ------
        TableError
            If the columns differ in length, a reading occurs twice, a case has two truths, or a score or a truth is not
            valid.
        """
        values, truth = finite_ratings(_numbers(score)), malignant_from(malignant)
        columns = [["all"] * values.size if modality is None else list(modality), list(reader), list(case)]
        if {len(column) for column in columns} | {truth.size} != {values.size}:
            raise TableError("columns of unequal length", allowed="one row per reading")
        names, places = zip(*(_numbered(column) for column in columns), strict=True)
        scores = np.full([len(of_axis) for of_axis in names], np.nan)
        flat = np.ravel_multi_index(places, scores.shape) if values.size else np.empty(0, int)
        order = np.argsort(flat, kind="stable")
        repeated = order[1:][flat[order][1:] == flat[order][:-1]]
        if repeated.size:
            # Rows instead of cells, which may hold the names of readers and patients.
            both = sorted(int(row) + 1 for row in np.flatnonzero(flat == flat[repeated[0]])[:2])
            where = f"rows {both[0]} and {both[1]}, counted from 1"
            raise TableError("a reading that occurs twice (modality, reader, case)", where=where, allowed="each once")
        scores.flat[flat] = values
        of_case = np.zeros(len(names[2]), bool)
        of_case[places[2]] = truth
        conflicting = np.flatnonzero(of_case[places[2]] != truth)
        if conflicting.size:
            row = int(conflicting[0])
            other = int(np.flatnonzero((places[2] == places[2][row]) & (truth != truth[row]))[0])
            where = f"rows {min(row, other) + 1} and {max(row, other) + 1}, counted from 1"
            raise TableError("a case with two truths", where=where, allowed="one truth per case")
        return cls(scores, of_case, *names)

    @classmethod
    def from_table(
        cls,
        table: object,
        *,
        reader: str = "reader_id",
        case: str = "case_id",
        score: str = "score",
        malignant: str = "malignant",
        modality: str | None = None,
    ) -> ReaderStudy:
        """Create a study from a long table with one row per reading, by the names of its columns.

        Parameters
        ----------
        table : DataFrame or other table
            As for :func:`spinefx.statistics.inputs.columns_of`; numbers may be given as text.
        reader, case, score, malignant : str
            Names of columns; ``score`` may have missing cells, ``malignant`` holds ``malignant`` and
            ``benign``, True and False, or 1 and 0.
        modality : str or None
            None if there is only one.

        Returns
        -------
        ReaderStudy

        Raises
        ------
        TableError
            As for :meth:`from_columns`; or if a column is missing.
        """
        needed = [reader, case, malignant, *([modality] if modality else [])]
        key = [reader, case, *([modality] if modality else [])]
        columns = columns_of(table, required=needed, key=key, where="readings")
        if score not in columns:
            raise TableError(
                f"no column {score}", where="readings", allowed=f"the columns {', '.join((*needed, score))}"
            )
        with _named_by_table():
            return cls.from_columns(
                reader=columns[reader],
                case=columns[case],
                malignant=_truths(columns[malignant]),
                score=_numbers([np.nan if value is None else value for value in columns[score]]),
                modality=columns[modality] if modality else None,
            )

    @classmethod
    def from_readings(
        cls,
        readings: object,
        truth: object,
        score: Literal["confidence", "diagnosis"] = "confidence",
        *,
        arms: Sequence[str] | None = None,
    ) -> ReaderStudy:
        """Create a study from readings, whose arms become the modalities.

        Parameters
        ----------
        readings : table, or iterable of Reading
            Readings of cases without a truth are left out; see :func:`spinefx.statistics.inputs.readings_from`.
        truth : table, or mapping of str to Diagnosis
            By case; see :func:`spinefx.statistics.inputs.truth_from`.
        score : {'confidence', 'diagnosis'}
            The confidence, if given; or the diagnosis as 1 for malignant and 0 for benign, to be analysed as
            sensitivity or specificity at a threshold of 0.5.
        arms : sequence of str, optional
            The arms to keep; by default unaided and aided, as
            :func:`spinefx.statistics.readings.benefit_readings` returns them. Perturbed readings, in which the model's
            answer was flipped on purpose, must be asked for by name.

        Returns
        -------
        ReaderStudy
        """
        of_case = truth_from(truth)
        listed = readings_from(readings)
        chosen = benefit_readings(listed) if arms is None else [one for one in listed if one.arm in set(arms)]
        kept = [reading for reading in chosen if reading.case_id in of_case]
        malignant = [reading.diagnosis == Diagnosis.MALIGNANT for reading in kept]
        confidence = [np.nan if reading.confidence is None else reading.confidence for reading in kept]
        return cls.from_columns(
            reader=[reading.reader_id for reading in kept],
            modality=[str(reading.arm) for reading in kept],
            case=[reading.case_id for reading in kept],
            malignant=[of_case[reading.case_id] == Diagnosis.MALIGNANT for reading in kept],
            score=confidence if score == "confidence" else malignant,
        )

    def only(self, *, readers: Sequence[str] | None = None, modalities: Sequence[str] | None = None) -> ReaderStudy:
        """Return the study of some readers or modalities, in the order given, without cases that none of them read.

        Parameters
        ----------
        readers, modalities : sequence of str or None
            None keeps all.

        Returns
        -------
        ReaderStudy

        Raises
        ------
        InputError
            If a name is not in the study.
        """
        kept_readers = self.readers if readers is None else tuple(readers)
        kept_modalities = self.modalities if modalities is None else tuple(modalities)
        unknown = [*(set(kept_readers) - set(self.readers)), *(set(kept_modalities) - set(self.modalities))]
        if unknown:
            raise InputError(f"no readings of {min(unknown)!r}", allowed=", ".join((*self.readers, *self.modalities)))
        rows = [self.modalities.index(name) for name in kept_modalities]
        scores = self.scores[rows][:, [self.readers.index(name) for name in kept_readers]]
        read = np.asarray(np.isfinite(scores).any(axis=(0, 1)), bool)
        cases = tuple(name for name, was_read in zip(self.cases, read, strict=True) if was_read)
        return ReaderStudy(scores[..., read], self.malignant[read], kept_modalities, kept_readers, cases)

    def on_shared_cases(self, *, floor: int = SMALLEST_CLASS, keep: Sequence[str] = ()) -> tuple[ReaderStudy, str]:
        """Return the study of the cases that all its readers read with all their modalities.

        Parameters
        ----------
        floor : int
            Smallest number of malignant, and of benign, cases for a comparison.
        keep : sequence of str
            Readers who are never left out, such as a model.

        Returns
        -------
        study : ReaderStudy
            Without readers who read fewer than ``floor`` cases of either class in common with the readers kept, or
            fewer than half of the cases of the reader with the most.
        note : str
            Which readers and how many cases were left out; empty if none were.

        Raises
        ------
        InputError
            If fewer than ``floor`` cases of either class are left.
        """
        if not set(keep) <= set(self.readers):
            raise InputError("no readings of a reader to keep", where="comparison of readers", allowed="their readings")
        own = self._fully_read
        must = [self.readers.index(name) for name in keep]
        common: NDArray[np.bool_] = np.asarray(own[must].all(axis=0), bool)
        sizes = (own & common).sum(axis=1)
        largest = max((size for n, size in enumerate(sizes) if n not in must), default=0)
        kept = list(must)
        for n in sorted(set(range(len(self.readers))) - set(must), key=lambda n: -int(sizes[n])):
            shared = np.asarray(common & own[n], bool)
            if 2 * sizes[n] >= largest and min(shared[self.malignant].sum(), shared[~self.malignant].sum()) >= floor:
                common = shared
                kept.append(n)
        malignant, benign = int(common[self.malignant].sum()), int(common[~self.malignant].sum())
        if min(malignant, benign) < floor or len(kept) == len(must) < len(self.readers):
            found = f"{malignant} malignant and {benign} benign cases" if len(kept) > len(must) else "no such reader"
            raise InputError(
                f"{found} in common",
                where="comparison of readers",
                allowed=f"{floor} or more cases of each class that all readers compared read",
            )
        names = tuple(self.readers[n] for n in sorted(kept))
        dropped = [self.readers[n] for n in range(len(self.readers)) if n not in kept]
        used = np.asarray(self.cells[:, sorted(kept)].any(axis=1), bool)
        study = ReaderStudy(
            self.scores[used][:, sorted(kept)][..., common],
            self.malignant[common],
            tuple(name for name, is_used in zip(self.modalities, used, strict=True) if is_used),
            names,
            tuple(self.cases[n] for n in np.flatnonzero(common)),
        )
        notes = []
        if dropped:
            notes.append(_left_out(dropped, floor))
        if not common.all():
            notes.append(
                f"Compared on the {malignant} malignant and {benign} benign cases that all of them read, of "
                f"{common.size} cases."
            )
        return study, " ".join(notes)

    def on_enough_cases(self, *, floor: int = SMALLEST_CLASS) -> tuple[ReaderStudy, str]:
        """Return the study of the readings whose reader read the case with all modalities that they used.

        Parameters
        ----------
        floor : int
            Smallest number of malignant, and of benign, such cases per reader.

        Returns
        -------
        study : ReaderStudy
            Without readers who have fewer than ``floor`` such cases of either class, or fewer than half of those of
            the reader with the most. Unchanged if no reader read any case twice, as with cases nested in modalities.
        note : str
            Which readers and how many readings were left out; empty if none were.

        Raises
        ------
        InputError
            If no reader is left.
        """
        own = self._fully_read
        sizes = own.sum(axis=1)
        if not sizes.any():
            return self, ""
        smallest = np.minimum(own[:, self.malignant].sum(axis=1), own[:, ~self.malignant].sum(axis=1))
        kept = [n for n in range(len(self.readers)) if smallest[n] >= floor and 2 * sizes[n] >= sizes.max()]
        if not kept:
            raise InputError(
                "no reader with enough cases in all arms",
                where="comparison of arms",
                allowed=f"{floor} or more cases of each class that a reader read in all arms",
            )
        scores = np.where(own, self.scores, np.nan)[:, kept]
        read = np.asarray(np.isfinite(scores).any(axis=(0, 1)), bool)
        cases = tuple(name for name, was_read in zip(self.cases, read, strict=True) if was_read)
        names = tuple(self.readers[n] for n in kept)
        study = ReaderStudy(scores[..., read], self.malignant[read], self.modalities, names, cases)
        dropped = [name for name in self.readers if name not in names]
        single = int(np.isfinite(self.scores[:, kept]).sum() - np.isfinite(scores).sum())
        notes = [_left_out(dropped, floor)] if dropped else []
        if single:
            notes.append(f"Left out: {single} readings of cases that their reader did not read in every arm.")
        return study, " ".join(notes)

    @property
    def _fully_read(self) -> NDArray[np.bool_]:
        """Whether a reader read a case with every modality that they used, shape (reader, case)."""
        cells = self.cells
        return np.array([np.isfinite(self.scores[cells[:, n], n]).all(axis=0) for n in range(len(self.readers))])

    @property
    def cells(self) -> NDArray[np.bool_]:
        """Whether a reader has read any case with a modality, shape (modality, reader)."""
        return np.asarray(np.isfinite(self.scores).any(axis=2), bool)

    @property
    def counts(self) -> StudyCounts:
        """Numbers of modalities, readers, cases by class, and present and missing readings."""
        readings = int(np.isfinite(self.scores).sum())
        malignant = int(self.malignant.sum())
        return StudyCounts(
            len(self.modalities),
            len(self.readers),
            malignant,
            len(self.cases) - malignant,
            readings,
            self.scores.size - readings,
        )

    @property
    def reader_blocks(self) -> NDArray[np.intp]:
        """Index of the block of each reader, shape (reader,); a block is linked by cases that its readers share."""
        by_reader = np.isfinite(self.scores).any(axis=0).astype(float)
        return np.asarray(connected_components(by_reader @ by_reader.T, directed=False)[1], np.intp)

    @property
    def design(self) -> Design:
        """Design of the study."""
        read, cells = np.isfinite(self.scores), self.cells
        if cells.all():
            if len(self.readers) > 1 and read.any(axis=0).sum(axis=0).max() == 1:
                return Design.CASES_IN_READERS
            if len(self.modalities) > 1 and read.any(axis=1).sum(axis=0).max() == 1:
                return Design.CASES_IN_MODALITIES
            return Design.SPLIT_PLOT if self.reader_blocks.max() > 0 else Design.FACTORIAL
        return Design.READERS_IN_MODALITIES if cells.sum(axis=0).max() == 1 else Design.ARBITRARY


@contextmanager
def _named_by_table() -> Iterator[None]:
    """Name the table instead of a reader or a case, whose cell may hold a patient's name."""
    try:
        yield
    except TableError as error:
        raise TableError(error.found, where="readings", allowed=error.allowed, remedy=error.remedy) from error


def _truths(column: Sequence[object]) -> Any:
    """Return the truths of a table, whose numbers a file writes as texts."""
    if any(isinstance(one, str) and one.strip()[:1].isalpha() for one in column):
        return [{"true": True, "false": False}.get(str(one).strip().lower(), one) for one in column]
    try:
        return np.asarray(column, float)
    except (TypeError, ValueError) as error:
        raise TableError("a truth that is not a number", allowed="malignant and benign, or 1 and 0") from error


def _left_out(names: Sequence[str], floor: int) -> str:
    return (
        f"Left out: {', '.join(names)}, with fewer than {floor} cases of a class to compare or less than half as many "
        "cases as the reader with the most."
    )


def _numbers(score: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(score, float)
    except (TypeError, ValueError) as error:
        raise TableError("a score that is not a number", allowed="numbers, or NaN if missing") from error


def _numbered(column: Sequence[object]) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Return the names in order of first appearance, and the index of the name of each row."""
    texts = [str(value) for value in column]
    place = {name: number for number, name in enumerate(dict.fromkeys(texts))}
    return tuple(place), np.fromiter((place[text] for text in texts), np.intp, len(texts))

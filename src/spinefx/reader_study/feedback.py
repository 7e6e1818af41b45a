"""Feedback for a reader: errors by sign, and a series of cases to learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from spinefx.cases.cohort import Case
from spinefx.errors import InputError
from spinefx.statistics.accuracy import Confusion
from spinefx.statistics.readings import diagnoses_by_reader
from spinefx.statistics.signs import SignComparison, error_analysis, reference_reader, scores_by_case
from spinefx.vocabulary import SIGNS, Diagnosis, Score
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort, read_readings, read_signs

__all__ = ["Feedback", "SignAgreement", "feedback", "readers_of", "training_series"]


@dataclass(frozen=True)
class SignAgreement:
    """Agreement of a reader with the reference on one sign.

    Parameters
    ----------
    identifier : str
    label : str
    missed : tuple of str
        Cases in which the reference reports the sign and the reader does not.
    imagined : tuple of str
        Cases in which the reader reports the sign and the reference does not.
    cases : int
        Number of cases in which both could assess it.
    """

    identifier: str
    label: str
    missed: tuple[str, ...]
    imagined: tuple[str, ...]
    cases: int


@dataclass(frozen=True)
class Feedback:
    """Feedback on the cases that a reader has read.

    Parameters
    ----------
    reader : str
        Name as in the report; the aided arm counts as a reader of its own.
    reference : str
        Reader whose sign scores serve as the reference; empty where nobody scored signs.
    truth : mapping of str to Diagnosis
        Truth of the cases that were read.
    answers : mapping of str to Diagnosis
    confusion : Confusion
    false_positives, false_negatives : tuple of SignComparison
        Signs compared between wrong and right answers, among benign and among malignant cases.
    agreement : tuple of SignAgreement
        Empty where the reader scored no signs.
    """

    reader: str
    reference: str
    truth: Mapping[str, Diagnosis]
    answers: Mapping[str, Diagnosis]
    confusion: Confusion
    false_positives: tuple[SignComparison, ...]
    false_negatives: tuple[SignComparison, ...]
    agreement: tuple[SignAgreement, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """Cases with a wrong answer, in alphabetical order."""
        return tuple(sorted(case for case, answer in self.answers.items() if answer != self.truth[case]))


def readers_of(workspace: Workspace) -> tuple[str, ...]:
    """List the readers who have read cases of known truth.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    tuple of str
    """
    return tuple(diagnoses_by_reader(read_readings(workspace), _truth(workspace)))


def feedback(workspace: Workspace, reader: str, *, may_see: Callable[[str], bool] = lambda case: True) -> Feedback:
    """Compare a reader's answers with the truth, by sign (Yeh 2022, Error analysis).

    Parameters
    ----------
    workspace : Workspace
    reader : str
        One of :func:`readers_of`.
    may_see : callable
        Returns whether the truth of a case may be shown; other cases are left out.

    Returns
    -------
    Feedback

    Raises
    ------
    InputError
        When the reader has read no case whose truth may be shown.
    """
    truth = {case: answer for case, answer in _truth(workspace).items() if may_see(case)}
    answers = diagnoses_by_reader(read_readings(workspace), truth).get(reader)
    if not answers:
        raise InputError(f"There is no finished reading by {reader}", remedy="Finish a reader study first.")
    truth = {case: truth[case] for case in answers}
    signs = [one for one in read_signs(workspace) if one.case_id in truth]
    own = {one.case_id: one.scores for one in signs if one.reader_id == reader.removesuffix(", aided")}
    reference = reference_reader(signs)
    scores = scores_by_case(signs, reference) if reference else {}
    false_positives, false_negatives = error_analysis(scores, answers, truth)
    return Feedback(
        reader,
        reference,
        truth,
        answers,
        Confusion.of(answers, truth),
        false_positives,
        false_negatives,
        _agreement(own, scores) if reference != reader else (),
    )


def training_series(workspace: Workspace, found: Feedback, count: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Draw cases of the kind that the reader gets wrong.

    Parameters
    ----------
    workspace : Workspace
    found : Feedback
    count : int
        Number of cases; fewer are drawn where the cohort has no more.
    rng : numpy.random.Generator

    Returns
    -------
    tuple of str
        Half from each class where there are enough. The reader's errors, and cases with the signs that go with errors,
        are most likely. The order is random.

    Raises
    ------
    InputError
        For a count below 2.
    """
    if count < 2:
        raise InputError(f"A series of {count} cases is too short", allowed="2 cases or more")
    signs = read_signs(workspace)
    scores = scores_by_case(signs, found.reference) if found.reference else {}
    weights = {
        Diagnosis.BENIGN: _tempting(found.false_positives),
        Diagnosis.MALIGNANT: _tempting(found.false_negatives),
    }
    drawn: list[str] = []
    for diagnosis, wanted in ((Diagnosis.BENIGN, count - count // 2), (Diagnosis.MALIGNANT, count // 2)):
        cases = sorted(case for case, answer in found.truth.items() if answer == diagnosis)
        if not cases:
            continue
        merit = np.array([_merit(case, found, scores.get(case, {}), weights[diagnosis]) for case in cases])
        picked = rng.choice(len(cases), size=min(wanted, len(cases)), replace=False, p=merit / merit.sum())
        drawn += [cases[place] for place in picked]
    return tuple(drawn[place] for place in rng.permutation(len(drawn)))


def _truth(workspace: Workspace) -> dict[str, Diagnosis]:
    cases: tuple[Case, ...] = read_cohort(workspace).cases
    return {case.case_id: case.diagnosis for case in cases}


def _agreement(
    own: Mapping[str, Mapping[str, Score]], reference: Mapping[str, Mapping[str, Score]]
) -> tuple[SignAgreement, ...]:
    both = sorted(set(own) & set(reference))
    rows = []
    for sign in SIGNS if both else ():
        pairs = [(case, own[case][sign.identifier], reference[case][sign.identifier]) for case in both]
        pairs = [pair for pair in pairs if Score.NOT_ASSESSABLE not in pair[1:]]
        missed = tuple(case for case, mine, theirs in pairs if mine == Score.NO and theirs == Score.YES)
        imagined = tuple(case for case, mine, theirs in pairs if mine == Score.YES and theirs == Score.NO)
        rows.append(SignAgreement(sign.identifier, sign.label, missed, imagined, len(pairs)))
    return tuple(rows)


def _tempting(comparisons: tuple[SignComparison, ...]) -> dict[str, float]:
    """Return by how much more (below zero: less) often each sign is present when the reader errs."""
    return {
        one.identifier: one.first.value - one.second.value
        for one in comparisons
        if np.isfinite(one.first.value) and np.isfinite(one.second.value)
    }


def _merit(case: str, found: Feedback, seen: Mapping[str, Score], weights: Mapping[str, float]) -> float:
    pulled = sum(weight if seen.get(name) == Score.YES else -weight for name, weight in weights.items() if seen)
    is_wrong = found.answers[case] != found.truth[case]
    return float(np.exp(np.clip(pulled, -3, 3)) * (4 if is_wrong else 1))

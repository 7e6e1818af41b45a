"""The teach page: feedback on a reader's own answers, and training series."""

from __future__ import annotations

from pydantic import Field

from spinefx.app.contracts.base import RequestBody, ResponseBody
from spinefx.app.contracts.images import CaseImages
from spinefx.vocabulary import Diagnosis, Score

__all__ = [
    "AnswerCounts",
    "CaseSolution",
    "FeedbackReaders",
    "ReaderFeedback",
    "SignContrast",
    "SignDisagreement",
    "SolvedCase",
    "TrainingAnswer",
    "TrainingRequest",
    "TrainingResult",
    "TrainingSeries",
    "WrongCase",
]


class TrainingRequest(RequestBody):
    """Whose feedback to draw a training series from, and how long it should be."""

    reader: str = Field(max_length=60)
    cases: int = Field(8, ge=2, le=60)


class TrainingAnswer(RequestBody):
    """The learner's diagnosis of a training case."""

    diagnosis: Diagnosis


class FeedbackReaders(ResponseBody):
    """Readers whose feedback the user may see."""

    readers: list[str]


class AnswerCounts(ResponseBody):
    """True and false positives and negatives; malignant is positive."""

    tp: int
    tn: int
    fn: int
    fp: int


class SignContrast(ResponseBody):
    """How often a sign was present where the reader was wrong, and where the reader was right.

    Parameters
    ----------
    sign : str
        Label of the sign.
    wrong, right : str
        Share with its interval and counts.
    p, p_holm : str
        Fisher's exact test, and the same after Holm's correction.
    """

    sign: str
    wrong: str
    right: str
    p: str
    p_holm: str


class SignDisagreement(ResponseBody):
    """Where a reader scores a sign otherwise than the reference.

    Parameters
    ----------
    sign : str
        Label of the sign.
    missed, imagined : int
        Cases that have the sign by the reference alone, and by the reader alone.
    cases : int
        Cases that both could assess.
    look_at : list of str
        Cases worth another look.
    """

    sign: str
    missed: int
    imagined: int
    cases: int
    look_at: list[str]


class WrongCase(ResponseBody):
    """A case that the reader called wrongly."""

    case: str
    truth: Diagnosis
    answer: Diagnosis


class ReaderFeedback(ResponseBody):
    """A reader's answers against the truth, sign by sign.

    Parameters
    ----------
    reader : str
    reference : str
        Who scored the signs that count as present; empty where nobody did.
    counts : AnswerCounts
    sensitivity, specificity : str
        With interval and counts.
    false_positives, false_negatives : list of SignContrast
    agreement : list of SignDisagreement
        Empty where the reader scored no signs.
    look_again : list of WrongCase
    """

    reader: str
    reference: str
    counts: AnswerCounts
    sensitivity: str
    specificity: str
    false_positives: list[SignContrast]
    false_negatives: list[SignContrast]
    agreement: list[SignDisagreement]
    look_again: list[WrongCase]


class CaseSolution(ResponseBody):
    """What a case is, and what the reader called it.

    Parameters
    ----------
    case : str
    truth, answer : Diagnosis
    signs : dict
        ``reference`` and ``own``, as far as each was scored: score by sign.
    """

    case: str
    truth: Diagnosis
    answer: Diagnosis
    signs: dict[str, dict[str, Score]]


class SolvedCase(CaseImages, CaseSolution):
    """A case with its solution."""


class TrainingSeries(ResponseBody):
    """A training series that has begun.

    Parameters
    ----------
    series : int
        Its number.
    cases : int
        How many it holds; fewer than requested where the workspace has no more.
    """

    series: int
    cases: int


class TrainingResult(CaseSolution):
    """The solution of a training case, and whether the learner was right."""

    right: bool

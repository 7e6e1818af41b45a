"""The decide page's signs: what the signs model reads, and what a reader makes of it."""

from __future__ import annotations

from pydantic import Field

from spinefx.app.contracts.base import RequestBody, ResponseBody
from spinefx.vocabulary import Diagnosis, Score

__all__ = ["OverruledSigns", "SignReply", "SignRow", "SignsReply", "VertebraRow"]


class OverruledSigns(RequestBody):
    """A reader's own scores of signs that the model has read.

    Parameters
    ----------
    signs : str
        Name of the reading that is overruled.
    answers : dict of str to Score
        By sign; signs without an answer stay as the model reads them.
    error_rate : float
        Share of signs that this reader is known to score wrongly; 0 takes them at their word.
    """

    signs: str = Field(max_length=40)
    answers: dict[str, Score] = Field(max_length=15)
    error_rate: float = Field(default=0.0, ge=0, le=0.5)


class SignRow(ResponseBody):
    """One sign: its probability, and what it adds to the log-odds of malignancy.

    Parameters
    ----------
    identifier, label : str
    probability : float or None
        None where it was not assessed.
    log_odds : float
    answer : Score or None
        The reader's own score.
    """

    identifier: str
    label: str
    probability: float | None
    log_odds: float
    answer: Score | None = None


class VertebraRow(ResponseBody):
    """An unmarked vertebra, and the probability that it is suspicious.

    Parameters
    ----------
    level : str
        Empty where it has no name.
    centre_mm : list of float
    state : str
    suspicious : float
    """

    level: str
    centre_mm: list[float]
    state: str
    suspicious: float


class SignReply(ResponseBody):
    """The diagnosis through the signs.

    Parameters
    ----------
    probability : float
        Of malignancy.
    diagnosis : Diagnosis
    threshold : float
    log_odds_without_signs : float
    signs : list of SignRow
        All fifteen, in the order of the vocabulary.
    check_next : str
        Label of the sign whose check is expected to change most; empty where all are checked.
    """

    probability: float
    diagnosis: Diagnosis
    threshold: float
    log_odds_without_signs: float
    signs: list[SignRow]
    check_next: str


class SignsReply(SignReply):
    """What the signs model reads in one marked vertebra.

    Parameters
    ----------
    name : str
        By which it can be overruled.
    vertebrae : list of VertebraRow
    flags : list of str
    taught_with : str
    left_out : list of str
        Labels of signs that the model cannot read.
    digest : str
    note : str
    """

    name: str
    vertebrae: list[VertebraRow]
    flags: list[str]
    taught_with: str
    left_out: list[str]
    digest: str
    note: str

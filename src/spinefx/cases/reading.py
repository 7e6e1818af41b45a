"""Diagnoses of a case by readers and by models: from here on a model is one more reader."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinefx.errors import InputError
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Diagnosis, Score

__all__ = ["Prediction", "Reading", "SignScores", "correct_prior", "patient_probability", "patient_readings"]

PATIENT_SCORES = ("max", "mean", "noisy_or")


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for one slice.

    Parameters
    ----------
    case_id, participant_id : str
    slice_index : int
        Slice of the T2W volume.
    probability : float
        Of malignancy, as the network returns it, 0 to 1.
    corrected_probability : float
        The same, corrected for the class odds that the training copies changed, 0 to 1.
    fold : int
        Number of the fold whose model predicted, from 1; 0 outside cross-validation.
    model_digest : str
        Digest of the model that predicted.

    Raises
    ------
    InputError
        When a probability is outside 0 to 1.
    """

    case_id: str
    participant_id: str
    slice_index: int
    probability: float
    corrected_probability: float
    fold: int
    model_digest: str

    def __post_init__(self) -> None:
        for value in (self.probability, self.corrected_probability):
            if not 0.0 <= value <= 1.0:
                raise InputError(f"a probability of {value}", where=self.case_id, allowed="0 to 1")


@dataclass(frozen=True)
class Reading:
    """One reader's diagnosis of one case.

    Parameters
    ----------
    case_id, reader_id : str
    arm : Arm
    diagnosis : Diagnosis
    confidence : float or None
        That the fracture is malignant, 0 to 100; for a model 100 times its probability.
    seconds : float or None
        Reading time.

    Raises
    ------
    InputError
        When confidence or time is out of range.
    """

    case_id: str
    reader_id: str
    arm: Arm
    diagnosis: Diagnosis
    confidence: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.confidence is not None and not 0 <= self.confidence <= 100:
            raise InputError(f"a confidence of {self.confidence:g}", where=self.case_id, allowed="0 to 100, or empty")
        if self.seconds is not None and not 0 <= self.seconds < float("inf"):
            raise InputError(f"a reading time of {self.seconds:g} s", where=self.case_id, allowed="0 or more, or empty")


@dataclass(frozen=True)
class SignScores:
    """One reader's scores of the fifteen signs of one case.

    Parameters
    ----------
    case_id, reader_id : str
    scores : mapping of str to Score
        By sign identifier; all fifteen.

    Raises
    ------
    InputError
        Naming the signs that are missing or unknown.
    """

    case_id: str
    reader_id: str
    scores: Mapping[str, Score]

    def __post_init__(self) -> None:
        missing = [name for name in SIGN_IDENTIFIERS if name not in self.scores]
        unknown = sorted(set(self.scores) - set(SIGN_IDENTIFIERS))
        if missing or unknown:
            found = f"signs missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
            raise InputError(found, where=self.case_id, allowed="the fifteen identifiers, each once")


def correct_prior(probability: ArrayLike, inflation: float) -> NDArray[np.float64]:
    """Correct probabilities for the class odds that training copies changed (protocol row 6).

    Parameters
    ----------
    probability : array_like
        As the network returns it, 0 to 1.
    inflation : float
        How many times the copies multiplied the odds of malignancy; above 0.

    Returns
    -------
    ndarray of float64
        The probability whose odds are ``inflation`` times smaller: 0.5 becomes 1/3 where malignant slices were copied
        twice as often.
    """
    raw = np.asarray(probability, dtype=np.float64)
    corrected: NDArray[np.float64] = raw / (raw + inflation * (1 - raw))
    return corrected


def patient_probability(slice_probabilities: Iterable[float], rule: str = "max") -> float:
    """Combine the slices of one patient into one probability (protocol row 18).

    Parameters
    ----------
    slice_probabilities : iterable of float
        0 to 1; at least one.
    rule : {'max', 'mean', 'noisy_or'}
        ``max`` is the paper's.

    Returns
    -------
    float

    Raises
    ------
    InputError
        For no slices or an unknown rule.
    """
    values = np.fromiter(slice_probabilities, float)
    if values.size == 0:
        raise InputError("no slice probabilities", allowed="at least one per patient")
    if rule == "max":
        return float(values.max())
    if rule == "mean":
        return float(values.mean())
    if rule == "noisy_or":
        return float(1 - np.prod(1 - values))
    raise InputError(f"the patient score {rule!r}", allowed=", ".join(PATIENT_SCORES))


def patient_readings(
    predictions: Iterable[Prediction],
    *,
    reader_id: str,
    rule: str = "max",
    threshold: float = 0.5,
    corrected: bool = False,
) -> tuple[Reading, ...]:
    """Return one reading per case from the predictions of its slices.

    Parameters
    ----------
    predictions : iterable of Prediction
    reader_id : str
        The model's name beside the human readers.
    rule : {'max', 'mean', 'noisy_or'}
    threshold : float
        At or above it the diagnosis is malignant (Yeh 2022, Evaluation using cross-validation).
    corrected : bool
        Whether the probabilities are the prior-corrected ones (protocol row 6).

    Returns
    -------
    tuple of Reading
        Ordered by case; ``confidence`` is 100 times the patient's probability.
    """
    slices: dict[str, list[float]] = defaultdict(list)
    for prediction in predictions:
        slices[prediction.case_id].append(prediction.corrected_probability if corrected else prediction.probability)
    readings = []
    for case_id in sorted(slices):
        probability = patient_probability(slices[case_id], rule)
        diagnosis = Diagnosis.MALIGNANT if probability >= threshold else Diagnosis.BENIGN
        readings.append(Reading(case_id, reader_id, Arm.UNAIDED, diagnosis, confidence=100 * probability))
    return tuple(readings)

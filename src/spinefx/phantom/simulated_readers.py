"""Simulated readers: each perceives the fifteen true signs with errors and decides by what was perceived.

They stand in for the three readers of Yeh 2022, Table 2, so that a phantom cohort exercises everything that readers'
answers feed. Their parameters were found by trial and model no person.

A reader's log odds of malignancy are a logistic model of the perceived signs. The weights are the log likelihood ratios
of Table 1's counts with half a case added to each cell, because a sign that one class never shows would otherwise weigh
infinitely. A sign that is not assessable weighs nothing. The ratios are added as if signs were independent, which they
are not, so every reader applies only part of the sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from spinefx.errors import RecipeError
from spinefx.phantom.random_streams import CaseDraw, Stream
from spinefx.phantom.sign_rules import PATIENTS, TABLE_1
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis, Score

__all__ = ["READERS", "SimulatedReader", "SimulatedReading", "read_case", "readings_of"]

_OF_MALIGNANT, _OF_BENIGN = PATIENTS[Diagnosis.MALIGNANT], PATIENTS[Diagnosis.BENIGN]
_MALIGNANT, _BENIGN = (
    np.array([TABLE_1[kind][sign] for sign in SIGN_IDENTIFIERS]) for kind in (Diagnosis.MALIGNANT, Diagnosis.BENIGN)
)
_WHEN_SEEN = np.log((_MALIGNANT + 0.5) / (_OF_MALIGNANT + 1) * (_OF_BENIGN + 1) / (_BENIGN + 0.5))
_WHEN_ABSENT = np.log(
    (_OF_MALIGNANT + 0.5 - _MALIGNANT) / (_OF_MALIGNANT + 1) * (_OF_BENIGN + 1) / (_OF_BENIGN + 0.5 - _BENIGN)
)


@dataclass(frozen=True)
class SimulatedReader:
    """The parameters of one reader.

    Parameters
    ----------
    reader_id : str
    miss_rate, false_alarm_rate, not_assessable_rate : float
        Probability, for each sign independently, that a present sign is scored absent, that an absent one is scored
        present, and that the sign is scored "not assessable".
    evidence_weight : float
        Share of the signs' log likelihood ratios that the reader applies, 0 to 1.
    bias : float
        Log odds added to every case; positive values favour malignant.
    gestalt : float
        What experience adds beyond the signs: log odds towards the truth, in every case. The reader is told, in effect,
        part of the answer, because the senior of Table 2 is better than the fifteen signs allow (accuracy 0.97 at
        best). No rendered feature stands behind it.
    variability : float
        Standard deviation of the log odds between cases of equal signs.
    seconds : tuple of float, length 2
        Median time of a reading, and the standard deviation of the logarithm of the time.
    rates_by_sign : mapping of str to tuple of float, optional
        Other probabilities (missed, false alarm) for single signs.
    bias_by_sign : mapping of str to float, optional
        Log odds added where a sign is scored present, against its true weight: mistaken beliefs.

    Raises
    ------
    RecipeError
        For a probability or weight outside 0 to 1, a negative spread, a median time of 0, or an unknown sign.
    """

    reader_id: str
    miss_rate: float
    false_alarm_rate: float
    not_assessable_rate: float
    evidence_weight: float
    bias: float
    gestalt: float
    variability: float
    seconds: tuple[float, float]
    rates_by_sign: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    bias_by_sign: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shares = (
            self.miss_rate,
            self.false_alarm_rate,
            self.not_assessable_rate,
            self.evidence_weight,
            *(c for pair in self.rates_by_sign.values() for c in pair),
        )
        for share in shares:
            if not 0 <= share <= 1:
                raise RecipeError(f"probability or weight {share:g}", where=self.reader_id, allowed="0 to 1")
        if not (self.variability >= 0 and self.seconds[0] > 0 and self.seconds[1] >= 0):
            raise RecipeError(
                f"variability = {self.variability:g}, seconds = {self.seconds}",
                where=self.reader_id,
                allowed="spreads of 0 or more, a median time above 0",
            )
        unknown = sorted({*self.rates_by_sign, *self.bias_by_sign} - set(SIGN_IDENTIFIERS))
        if unknown:
            raise RecipeError(f"unknown signs: {', '.join(unknown)}", where=self.reader_id, allowed="the fifteen")


@dataclass(frozen=True)
class SimulatedReading:
    """One simulated reader's answers on one case.

    Parameters
    ----------
    scores : mapping of str to Score
        By sign identifier; complete.
    log_odds : float
        Log odds of malignancy, which alone determine diagnosis and confidence.
    seconds : float
        Reading time.
    """

    scores: Mapping[str, Score]
    log_odds: float
    seconds: float

    @property
    def diagnosis(self) -> Diagnosis:
        """Return malignant where the log odds are positive, else benign."""
        return Diagnosis.MALIGNANT if self.log_odds > 0 else Diagnosis.BENIGN

    @property
    def confidence(self) -> int:
        """Return the confidence from 0 (benign) to 100 (malignant), always on the diagnosis' side of 50."""
        percent = round(100 / (1 + float(np.exp(-self.log_odds))))
        return max(percent, 51) if self.diagnosis is Diagnosis.MALIGNANT else min(percent, 49)


READERS: tuple[SimulatedReader, ...] = (
    SimulatedReader(
        "msk_senior",
        miss_rate=0.015,
        false_alarm_rate=0.01,
        not_assessable_rate=0.005,
        evidence_weight=0.5,
        bias=-1.5,
        gestalt=3.1,
        variability=2.5,
        seconds=(55.0, 0.35),
    ),
    SimulatedReader(
        "resident_r4",
        miss_rate=0.04,
        false_alarm_rate=0.04,
        not_assessable_rate=0.02,
        evidence_weight=0.5,
        bias=-0.7,
        gestalt=2.0,
        variability=2.0,
        seconds=(85.0, 0.40),
    ),
    SimulatedReader(
        "resident_r1",
        miss_rate=0.20,
        false_alarm_rate=0.05,
        not_assessable_rate=0.06,
        evidence_weight=0.2,
        bias=-1.25,
        gestalt=0.0,
        variability=0.8,
        seconds=(120.0, 0.45),
        rates_by_sign={
            "homogeneous_marrow": (0.25, 0.05),
            "band_pattern_oedema": (0.20, 0.20),
            "diffuse_signal_change": (0.20, 0.20),
            # Findings outside the vertebral body are easily overlooked.
            **dict.fromkeys(SIGN_IDENTIFIERS[-3:], (0.35, 0.05)),
        },
        # Counts of Yeh 2022: of 54 false positives 20 diffuse, 24 band, 6 homogeneous; of 86 true negatives 11, 20, 42.
        bias_by_sign={"homogeneous_marrow": -1.2, "band_pattern_oedema": 3.0, "diffuse_signal_change": 2.0},
    ),
)
"""Stand-ins for the readers of the study, with 28, 4 and 1 years of experience.

Tuned by trial to Table 2 and, for the first-year resident, to the paper's error analysis: this reader takes diffuse and
band-like change for tumour, relies on homogeneous marrow, and often misses findings outside the vertebral body.
``benchmarks/simulated_readers.py`` measures how close they come.
"""


def read_case(
    reader: SimulatedReader, diagnosis: Diagnosis, signs: Mapping[str, bool], rng: np.random.Generator
) -> SimulatedReading:
    """Simulate one reading of one case.

    Parameters
    ----------
    reader : SimulatedReader
    diagnosis : Diagnosis
        The truth, which only the reader's ``gestalt`` uses.
    signs : mapping of str to bool
        The true signs, all fifteen.
    rng : numpy.random.Generator
        Every reader draws the same number of values.

    Returns
    -------
    SimulatedReading
        Signs are perceived independently, so the scores may combine signs that exclude each other.
    """
    present = np.array([signs[name] for name in SIGN_IDENTIFIERS])
    rates = [reader.rates_by_sign.get(name, (reader.miss_rate, reader.false_alarm_rate)) for name in SIGN_IDENTIFIERS]
    miss_rate, false_alarm_rate = np.array(rates).T
    error, doubt = rng.random((2, present.size))
    noise, pace = rng.standard_normal(2)
    seen = np.where(present, error >= miss_rate, error < false_alarm_rate)
    assessed = doubt >= reader.not_assessable_rate
    beliefs = np.array([reader.bias_by_sign.get(name, 0.0) for name in SIGN_IDENTIFIERS])
    weights = np.where(seen, reader.evidence_weight * _WHEN_SEEN + beliefs, reader.evidence_weight * _WHEN_ABSENT)
    towards_truth = reader.gestalt if diagnosis is Diagnosis.MALIGNANT else -reader.gestalt
    answers = np.where(assessed, np.where(seen, Score.YES, Score.NO), Score.NOT_ASSESSABLE)
    median, spread = reader.seconds
    return SimulatedReading(
        scores={name: Score(answer) for name, answer in zip(SIGN_IDENTIFIERS, answers, strict=True)},
        log_odds=float(weights[assessed].sum() + reader.bias + towards_truth + reader.variability * noise),
        seconds=float(median * np.exp(spread * pace)),
    )


def readings_of(draw: CaseDraw) -> dict[str, SimulatedReading]:
    """Simulate the readings of one patient by every reader.

    Parameters
    ----------
    draw : CaseDraw

    Returns
    -------
    dict of str to SimulatedReading
        By reader, in the order of :data:`READERS`; the same for the same draw.
    """
    rng = draw.settings.generator(draw.number, Stream.READINGS)
    return {reader.reader_id: read_case(reader, draw.diagnosis, draw.lesion.signs, rng) for reader in READERS}

"""Simulated readers: each sees the fifteen true signs, not always rightly, and judges by what was seen.

They stand in for the three readers of Yeh 2022, Table 2, so that everything made for readers can be tried on a phantom
cohort. They are settings found by trial, no model of any person.

A reader's log odds of malignancy are a logistic model of the perceived signs. The weights are the log likelihood ratios
of Table 1's counts, half a case added to each cell: signs that one class never shows would else weigh infinitely much.
A sign that is not assessable weighs nothing. The ratios are added as if signs were independent, which they are not, so
every reader trusts only part of the sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from spinefx.errors import RecipeError
from spinefx.phantom.random_streams import CaseDraw, Stream
from spinefx.phantom.rules import PATIENTS, TABLE_1
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
    """One reader's habits.

    Parameters
    ----------
    reader_id : str
    missed, imagined, unsure : float
        Chance, for each sign on its own, that a present one is scored absent, that an absent one is scored present, and
        that the score is "not assessable" whatever was seen.
    trust : float
        How much of the signs' log likelihood ratios the reader applies, 0 to 1.
    lean : float
        Log odds added to every case; above 0 towards malignant.
    gestalt : float
        What experience adds beyond the signs: log odds towards the truth, in every case. The reader is told, in effect,
        part of the answer, because the senior of Table 2 is better than the fifteen signs allow (accuracy 0.97 at
        best). No rendered feature stands behind it.
    wavering : float
        Standard deviation of the log odds from case to case, all else equal.
    seconds : tuple of float, length 2
        Median time of a reading, and the standard deviation of its logarithm.
    slips : mapping of str to tuple of float, optional
        Other chances (missed, imagined) for these signs.
    pulls : mapping of str to float, optional
        Log odds added where the sign is scored present, against what the sign means: a reader's mistaken beliefs.

    Raises
    ------
    RecipeError
        For a chance or trust outside 0 to 1, a negative spread, a median time of 0 or an unknown sign.
    """

    reader_id: str
    missed: float
    imagined: float
    unsure: float
    trust: float
    lean: float
    gestalt: float
    wavering: float
    seconds: tuple[float, float]
    slips: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    pulls: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shares = (
            self.missed,
            self.imagined,
            self.unsure,
            self.trust,
            *(c for pair in self.slips.values() for c in pair),
        )
        for share in shares:
            if not 0 <= share <= 1:
                raise RecipeError(f"a chance or trust of {share:g}", where=self.reader_id, allowed="0 to 1")
        if not (self.wavering >= 0 and self.seconds[0] > 0 and self.seconds[1] >= 0):
            raise RecipeError(
                f"wavering {self.wavering:g}, seconds {self.seconds}",
                where=self.reader_id,
                allowed="spreads of 0 or more, a median time above 0",
            )
        unknown = sorted({*self.slips, *self.pulls} - set(SIGN_IDENTIFIERS))
        if unknown:
            raise RecipeError(f"unknown signs: {', '.join(unknown)}", where=self.reader_id, allowed="the fifteen")


@dataclass(frozen=True)
class SimulatedReading:
    """What one reader says of one case.

    Parameters
    ----------
    scores : mapping of str to Score
        By sign identifier; complete.
    log_odds : float
        Of malignancy, as the reader feels them: diagnosis and confidence follow from nothing else.
    seconds : float
        Time taken.
    """

    scores: Mapping[str, Score]
    log_odds: float
    seconds: float

    @property
    def diagnosis(self) -> Diagnosis:
        """Malignant where the log odds are above 0."""
        return Diagnosis.MALIGNANT if self.log_odds > 0 else Diagnosis.BENIGN

    @property
    def confidence(self) -> int:
        """0 (surely benign) to 100 (surely malignant): the logistic of the log odds, never on the other side of 50."""
        percent = round(100 / (1 + float(np.exp(-self.log_odds))))
        return max(percent, 51) if self.diagnosis is Diagnosis.MALIGNANT else min(percent, 49)


READERS: tuple[SimulatedReader, ...] = (
    SimulatedReader(
        "msk_senior",
        missed=0.015,
        imagined=0.01,
        unsure=0.005,
        trust=0.5,
        lean=-1.5,
        gestalt=3.1,
        wavering=2.5,
        seconds=(55.0, 0.35),
    ),
    SimulatedReader(
        "resident_r4",
        missed=0.04,
        imagined=0.04,
        unsure=0.02,
        trust=0.5,
        lean=-0.7,
        gestalt=2.0,
        wavering=2.0,
        seconds=(85.0, 0.40),
    ),
    SimulatedReader(
        "resident_r1",
        missed=0.20,
        imagined=0.05,
        unsure=0.06,
        trust=0.2,
        lean=-1.25,
        gestalt=0.0,
        wavering=0.8,
        seconds=(120.0, 0.45),
        slips={
            "homogeneous_marrow": (0.25, 0.05),
            "band_pattern_oedema": (0.20, 0.20),
            "diffuse_signal_change": (0.20, 0.20),
            # What lies outside the vertebral body is easily overlooked.
            **dict.fromkeys(SIGN_IDENTIFIERS[-3:], (0.35, 0.05)),
        },
        # Counts of Yeh 2022: of 54 false positives 20 diffuse, 24 band, 6 homogeneous; of 86 true negatives 11, 20, 42.
        pulls={"homogeneous_marrow": -1.2, "band_pattern_oedema": 3.0, "diffuse_signal_change": 2.0},
    ),
)
"""Stand-ins for the readers of the study, with 28, 4 and 1 years of training.

Set by trial to come near Table 2 and, for the first-year resident, near the error analysis: he takes diffuse and band
marrow for tumour, relies on homogeneous marrow, and often misses what lies outside the vertebral body.
``benchmarks/simulated_readers.py`` measures all of it.
"""


def read_case(
    reader: SimulatedReader, diagnosis: Diagnosis, signs: Mapping[str, bool], rng: np.random.Generator
) -> SimulatedReading:
    """Read one case.

    Parameters
    ----------
    reader : SimulatedReader
    diagnosis : Diagnosis
        The truth; only the reader's ``gestalt`` looks at it.
    signs : mapping of str to bool
        The true signs, all fifteen.
    rng : numpy.random.Generator
        The same number of values is taken whoever reads.

    Returns
    -------
    SimulatedReading
        Signs are perceived each on its own, so scores may hold what cannot go together in truth.
    """
    present = np.array([signs[name] for name in SIGN_IDENTIFIERS])
    chances = [reader.slips.get(name, (reader.missed, reader.imagined)) for name in SIGN_IDENTIFIERS]
    missed, imagined = np.array(chances).T
    slip, doubt = rng.random((2, present.size))
    mood, pace = rng.standard_normal(2)
    seen = np.where(present, slip >= missed, slip < imagined)
    assessed = doubt >= reader.unsure
    pulls = np.array([reader.pulls.get(name, 0.0) for name in SIGN_IDENTIFIERS])
    weights = np.where(seen, reader.trust * _WHEN_SEEN + pulls, reader.trust * _WHEN_ABSENT)
    towards_truth = reader.gestalt if diagnosis is Diagnosis.MALIGNANT else -reader.gestalt
    answers = np.where(assessed, np.where(seen, Score.YES, Score.NO), Score.NOT_ASSESSABLE)
    median, spread = reader.seconds
    return SimulatedReading(
        scores={name: Score(answer) for name, answer in zip(SIGN_IDENTIFIERS, answers, strict=True)},
        log_odds=float(weights[assessed].sum() + reader.lean + towards_truth + reader.wavering * mood),
        seconds=float(median * np.exp(spread * pace)),
    )


def readings_of(draw: CaseDraw) -> dict[str, SimulatedReading]:
    """Let every simulated reader read one patient of a cohort.

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

"""Simulated readers: people who see the true signs, not always rightly, with the accuracy of Yeh 2022, Table 2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinefx.vocabulary import Diagnosis

__all__ = ["READERS", "SimulatedReader", "read_case"]


@dataclass(frozen=True)
class SimulatedReader:
    """One reader's habits.

    Parameters
    ----------
    reader_id : str
    sensitivity, specificity : float
        Chance of the right answer in malignant and in benign cases.
    pulls : dict of str to float
        How much each sign of a benign case multiplies the odds of calling it malignant. What the reader calls too
        often is set against what is called less, so that ``specificity`` holds over the cohort.
    seconds : tuple of float, length 2
        Median time of a reading, and the spread of its logarithm.
    """

    reader_id: str
    sensitivity: float
    specificity: float
    pulls: dict[str, float]
    seconds: tuple[float, float]


READERS: tuple[SimulatedReader, ...] = (
    SimulatedReader("msk_senior", 47 / 50, 139 / 140, {}, (55.0, 0.35)),
    SimulatedReader("resident_r4", 47 / 50, 135 / 140, {}, (85.0, 0.40)),
    # Counts of Yeh 2022: of 54 false positives 20 diffuse, 24 band, 6 homogeneous; of 86 true negatives 11, 20, 42.
    SimulatedReader(
        "resident_r1",
        39 / 50,
        86 / 140,
        {"diffuse_signal_change": 20 / 31, "band_pattern_oedema": 24 / 44, "homogeneous_marrow": 6 / 48},
        (120.0, 0.45),
    ),
)
"""The three readers of the study: years of training 28, 4 and 1.

A pull is the share of benign cases with that marrow that the reader called malignant; marrow kinds exclude each other,
and cases with none of them (17 of 140, of which 4 were called) take the rest.
"""

_REST = 4 / 17


def read_case(
    reader: SimulatedReader, diagnosis: Diagnosis, signs: dict[str, bool], rng: np.random.Generator
) -> tuple[Diagnosis, int, float]:
    """Read one case.

    Parameters
    ----------
    reader : SimulatedReader
    diagnosis : Diagnosis
        The truth.
    signs : dict of str to bool
        The true signs.
    rng : numpy.random.Generator

    Returns
    -------
    diagnosis : Diagnosis
        The reader's.
    confidence : int
        0 (surely benign) to 100 (surely malignant).
    seconds : float
        Time taken.
    """
    chance, strength, pace = rng.random(), rng.random(), rng.standard_normal()
    if diagnosis is Diagnosis.MALIGNANT:
        called = chance < reader.sensitivity
    elif reader.pulls:
        share = next((pull for sign, pull in reader.pulls.items() if signs[sign]), _REST)
        called = chance < share
    else:
        called = chance < 1 - reader.specificity
    right = called == (diagnosis is Diagnosis.MALIGNANT)
    # Surer when right; never on the other side of the answer given.
    distance = 50 * (strength**0.5 if right else strength**1.5)
    confidence = round(50 + distance if called else 50 - distance)
    confidence = max(confidence, 51) if called else min(confidence, 49)
    median, spread = reader.seconds
    return Diagnosis.MALIGNANT if called else Diagnosis.BENIGN, confidence, float(median * np.exp(spread * pace))

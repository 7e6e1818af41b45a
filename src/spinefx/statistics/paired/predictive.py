"""Predictive values and likelihood ratios of two readers of the same cases, compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.estimate import Estimate, Pairing, PValue, delta_variance, normal_quantile, normal_test
from spinefx.statistics.paired.table import PairedAccuracy

__all__ = ["compare_likelihood_ratios", "compare_predictive_values", "relative_predictive_values"]

SCORE_NAMES = {"wgs": "weighted generalised score", "gs": "generalised score"}


@dataclass(frozen=True)
class _Calls:
    """Cases given one diagnosis by both readers, by the first only and by the second only, correctly or not."""

    correct: tuple[int, int, int]
    incorrect: tuple[int, int, int]

    @classmethod
    def of(cls, pair: PairedAccuracy, measure: str) -> _Calls:
        """Count malignant calls (``ppv``) or benign ones (``npv``)."""
        own, other = (pair.malignant, pair.benign) if measure == "ppv" else (pair.benign, pair.malignant)
        # In the other class, a reader who alone is correct is the only one not to give this diagnosis.
        return cls((own.both, own.first_only, own.second_only), (other.neither, other.second_only, other.first_only))

    @property
    def cells(self) -> NDArray[np.float64]:
        """The six counts, correct ones first."""
        return np.array([*self.correct, *self.incorrect], float)

    @property
    def totals(self) -> tuple[int, int]:
        """How often each reader gave the diagnosis."""
        (both, first, second), (both_wrong, first_wrong, second_wrong) = self.correct, self.incorrect
        return both + first + both_wrong + first_wrong, both + second + both_wrong + second_wrong


def compare_predictive_values(
    pair: PairedAccuracy, method: str = "wgs", confidence: float = 0.95
) -> tuple[PValue, PValue]:
    """Test whether two readers have equal predictive values.

    Parameters
    ----------
    pair : PairedAccuracy
    method : {'wgs', 'gs'}
        Weighted generalised score test (Kosinski AS. Stat Med 2013;32:964-977), or the generalised score test that it
        improves on (Leisenring W et al. Biometrics 2000;56:345-351).
    confidence : float

    Returns
    -------
    ppv, npv : PValue
        Of the difference, first minus second, with an interval by the delta method; without a p-value, and with a note,
        if a reader never gave the diagnosis or the diagnosis was always correct. Predictive values hold at this
        cohort's prevalence.

    Raises
    ------
    InputError
        If the method is unknown.
    """
    if method not in SCORE_NAMES:
        raise InputError(f"score test {method!r}", allowed=", ".join(SCORE_NAMES))
    ppv, npv = (_score_test(pair, measure, method, confidence) for measure in ("ppv", "npv"))
    return ppv, npv


def relative_predictive_values(pair: PairedAccuracy, confidence: float = 0.95) -> tuple[PValue, PValue]:
    """Test the ratios of two readers' predictive values, first over second.

    Parameters
    ----------
    pair : PairedAccuracy
    confidence : float

    Returns
    -------
    ppv, npv : PValue
        With intervals symmetric on the log scale; without a p-value, and with a note, if a ratio is 0, infinite or
        undefined.

    Notes
    -----
    Moskowitz CS, Pepe MS. Clin Trials 2006;3:272-279.
    """
    ppv, npv = (_ratio_test(pair, measure, confidence) for measure in ("ppv", "npv"))
    return ppv, npv


def compare_likelihood_ratios(pair: PairedAccuracy, confidence: float = 0.95) -> tuple[PValue, PValue]:
    """Test the ratios of two readers' likelihood ratios, first over second.

    Parameters
    ----------
    pair : PairedAccuracy
    confidence : float

    Returns
    -------
    positive, negative : PValue
        With intervals symmetric on the log scale; without a p-value, and with a note, if a ratio is 0, infinite or
        undefined. Unlike predictive values they do not depend on the prevalence.

    Notes
    -----
    Gu W, Pepe MS. Int J Biostat 2009;5:26.
    """
    malignant, benign = pair.malignant, pair.benign
    n = malignant.n + benign.n
    results = []
    for name, malignant_calls, benign_calls in (
        (
            "LR+",
            (malignant.both, malignant.first_only, malignant.second_only),
            (benign.neither, benign.second_only, benign.first_only),
        ),
        (
            "LR-",
            (malignant.neither, malignant.second_only, malignant.first_only),
            (benign.both, benign.first_only, benign.second_only),
        ),
    ):
        (both, first, second), (both_b, first_b, second_b) = malignant_calls, benign_calls
        # Calls of the first and of the second reader, in malignant and in benign cases.
        counts = np.array([both + first, both + second, both_b + first_b, both_b + second_b], float)
        quantity = f"ratio of {name}, first over second"
        if not counts.all():
            results.append(_missing("likelihood ratio regression", quantity, n, "a likelihood ratio is 0 or infinite"))
            continue
        value = counts[0] / counts[1] / (counts[2] / counts[3])
        variance = (first + second) / (counts[0] * counts[1]) + (first_b + second_b) / (counts[2] * counts[3])
        results.append(_log_ratio_test("likelihood ratio regression", quantity, n, value, variance, confidence))
    return results[0], results[1]


def _score_test(pair: PairedAccuracy, measure: str, method: str, confidence: float) -> PValue:
    calls, name = _Calls.of(pair, measure), SCORE_NAMES[method]
    n, quantity = pair.malignant.n + pair.benign.n, f"difference of {measure.upper()}, first minus second"
    n1, n2 = calls.totals
    if min(n1, n2) == 0:
        return _missing(name, quantity, n, "a reader never gave this diagnosis")
    cells = calls.cells
    difference = _values(cells)[0] - _values(cells)[1]
    variance = delta_variance(lambda c: complex(np.subtract(*_values(c))), cells)
    half_width = normal_quantile(confidence) * np.sqrt(variance)
    low, high = max(-1.0, float(difference - half_width)), min(1.0, float(difference + half_width))
    estimate = Estimate(float(difference), low, high)
    pooled = float((_values(cells)[0] * n1 + _values(cells)[1] * n2) / (n1 + n2))
    correct, incorrect = np.array(calls.correct, float), np.array(calls.incorrect, float)
    if method == "wgs":
        shared = (correct[0] * (1 - pooled) ** 2 + incorrect[0] * pooled**2) / (n1 + n2)
        squared = difference**2
        variance = (pooled * (1 - pooled) - 2 * shared) * (1 / n1 + 1 / n2)
    else:
        # Each case contributes its residual, weighted by the readers who gave the diagnosis.
        fraction = n2 / (n1 + n2)
        weights = np.array([1 - 2 * fraction, -fraction, 1 - fraction])
        squared = float(correct @ weights) ** 2
        variance = float((correct * (1 - pooled) ** 2 + incorrect * pooled**2) @ weights**2)
    if variance < 1e-15:
        note = "the readers never differ in this diagnosis, or it was always correct"
        return PValue(1.0 if difference == 0 else np.nan, name, quantity, estimate, n, Pairing.PAIRED, note=note)
    statistic = float(squared / variance)
    p = float(stats.chi2.sf(statistic, 1))
    return PValue(p, name, quantity, estimate, n, Pairing.PAIRED, statistic=statistic, df=1.0)


def _ratio_test(pair: PairedAccuracy, measure: str, confidence: float) -> PValue:
    calls, name = _Calls.of(pair, measure), "relative predictive value"
    n, quantity = pair.malignant.n + pair.benign.n, f"ratio of {measure.upper()}, first over second"
    cells = calls.cells
    if min(calls.totals) == 0 or min(cells[0] + cells[1], cells[0] + cells[2]) == 0:
        return _missing(name, quantity, n, "a reader never gave this diagnosis, or never correctly")
    first, second = _values(cells)
    variance = delta_variance(lambda c: complex(np.subtract(*np.log(_values(c)))), cells)
    return _log_ratio_test(name, quantity, n, float(first / second), variance, confidence)


def _values(cells: NDArray[Any]) -> NDArray[Any]:
    """Return the predictive values of the first and of the second reader."""
    both, first, second, both_wrong, first_wrong, second_wrong = cells
    return np.array(
        [
            (both + first) / (both + first + both_wrong + first_wrong),
            (both + second) / (both + second + both_wrong + second_wrong),
        ]
    )


def _log_ratio_test(name: str, quantity: str, n: int, value: float, variance: float, confidence: float) -> PValue:
    error = np.sqrt(variance)
    if error < 1e-12:
        note = "the readers never differ in this diagnosis"
        return PValue(1.0, name, quantity, Estimate(value, value, value), n, Pairing.PAIRED, note=note)
    factor, statistic = np.exp(normal_quantile(confidence) * error), float(np.log(value) / error)
    estimate = Estimate(float(value), float(value / factor), float(value * factor))
    return PValue(normal_test(statistic), name, quantity, estimate, n, Pairing.PAIRED, statistic=statistic)


def _missing(name: str, quantity: str, n: int, note: str) -> PValue:
    estimate = Estimate(np.nan, np.nan, np.nan, note=note)
    return PValue(np.nan, name, quantity, estimate, n, Pairing.PAIRED, note=note)

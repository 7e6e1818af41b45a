"""Two readers of the same cases compared by what their answers mean: predictive values and likelihood ratios."""

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
    """Cases given one answer by both readers, by the first alone and by the second alone: rightly and wrongly."""

    right: tuple[int, int, int]
    wrong: tuple[int, int, int]

    @classmethod
    def of(cls, pair: PairedAccuracy, answer: str) -> _Calls:
        """Count malignant calls (``ppv``) or benign ones (``npv``)."""
        own, other = (pair.malignant, pair.benign) if answer == "ppv" else (pair.benign, pair.malignant)
        # Who alone is right in the other class has alone not given this answer.
        return cls((own.both, own.first_only, own.second_only), (other.neither, other.second_only, other.first_only))

    @property
    def cells(self) -> NDArray[np.float64]:
        """Both kinds in one row of six."""
        return np.array([*self.right, *self.wrong], float)

    @property
    def totals(self) -> tuple[int, int]:
        """How often each reader gave the answer."""
        (both, first, second), (both_wrong, first_wrong, second_wrong) = self.right, self.wrong
        return both + first + both_wrong + first_wrong, both + second + both_wrong + second_wrong


def compare_predictive_values(
    pair: PairedAccuracy, method: str = "wgs", confidence: float = 0.95
) -> tuple[PValue, PValue]:
    """Test whether two readers' answers are equally often true.

    Parameters
    ----------
    pair : PairedAccuracy
    method : {'wgs', 'gs'}
        Weighted generalised score (Kosinski AS. Stat Med 2013;32:964-977), or the generalised score that it improves on
        (Leisenring W et al. Biometrics 2000;56:345-351).
    confidence : float

    Returns
    -------
    ppv, npv : PValue
        Of the difference, first minus second, with an interval by the delta method; without a p, and with the reason,
        where a reader never gave the answer or every answer was right. Predictive values are those of this cohort's
        prevalence.

    Raises
    ------
    InputError
        For an unknown method.
    """
    if method not in SCORE_NAMES:
        raise InputError(f"the score {method!r}", allowed=", ".join(SCORE_NAMES))
    ppv, npv = (_score_test(pair, answer, method, confidence) for answer in ("ppv", "npv"))
    return ppv, npv


def relative_predictive_values(pair: PairedAccuracy, confidence: float = 0.95) -> tuple[PValue, PValue]:
    """Ratios of two readers' predictive values, first over second (Moskowitz CS, Pepe MS. Clin Trials 2006;3:272-279).

    Parameters
    ----------
    pair : PairedAccuracy
    confidence : float

    Returns
    -------
    ppv, npv : PValue
        With intervals on the log scale; without a p, and with the reason, where a ratio is 0, infinite or undefined.
    """
    ppv, npv = (_ratio_test(pair, answer, confidence) for answer in ("ppv", "npv"))
    return ppv, npv


def compare_likelihood_ratios(pair: PairedAccuracy, confidence: float = 0.95) -> tuple[PValue, PValue]:
    """Ratios of two readers' likelihood ratios, first over second (Gu W, Pepe MS. Int J Biostat 2009;5:26).

    Parameters
    ----------
    pair : PairedAccuracy
    confidence : float

    Returns
    -------
    positive, negative : PValue
        With intervals on the log scale; without a p, and with the reason, where a ratio is 0, infinite or undefined.
        Unlike predictive values they do not depend on the prevalence.
    """
    malignant, benign = pair.malignant, pair.benign
    n = malignant.n + benign.n
    results = []
    for name, yes, no in (
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
        # Given so by the first and by the second reader, in malignant and in benign cases.
        counts = np.array([yes[0] + yes[1], yes[0] + yes[2], no[0] + no[1], no[0] + no[2]], float)
        quantity = f"ratio of {name}, first over second"
        if not counts.all():
            results.append(_absent("likelihood ratio regression", quantity, n, "a likelihood ratio of 0 or infinity"))
            continue
        value = counts[0] / counts[1] / (counts[2] / counts[3])
        variance = (yes[1] + yes[2]) / (counts[0] * counts[1]) + (no[1] + no[2]) / (counts[2] * counts[3])
        results.append(_log_ratio_test("likelihood ratio regression", quantity, n, value, variance, confidence))
    return results[0], results[1]


def _score_test(pair: PairedAccuracy, answer: str, method: str, confidence: float) -> PValue:
    calls, name = _Calls.of(pair, answer), SCORE_NAMES[method]
    n, quantity = pair.malignant.n + pair.benign.n, f"difference of {answer.upper()}, first minus second"
    n1, n2 = calls.totals
    if min(n1, n2) == 0:
        return _absent(name, quantity, n, "a reader never gave this answer")
    cells = calls.cells
    difference = _values(cells)[0] - _values(cells)[1]
    reach = normal_quantile(confidence) * np.sqrt(delta_variance(lambda c: complex(np.subtract(*_values(c))), cells))
    low, high = max(-1.0, float(difference - reach)), min(1.0, float(difference + reach))
    estimate = Estimate(float(difference), low, high)
    pooled = float((_values(cells)[0] * n1 + _values(cells)[1] * n2) / (n1 + n2))
    right, wrong = np.array(calls.right, float), np.array(calls.wrong, float)
    if method == "wgs":
        shared = (right[0] * (1 - pooled) ** 2 + wrong[0] * pooled**2) / (n1 + n2)
        squared = difference**2
        variance = (pooled * (1 - pooled) - 2 * shared) * (1 / n1 + 1 / n2)
    else:
        # Each case adds its residual times how far its answers lean to the second reader.
        lean = n2 / (n1 + n2)
        weights = np.array([1 - 2 * lean, -lean, 1 - lean])
        squared = float(right @ weights) ** 2
        variance = float((right * (1 - pooled) ** 2 + wrong * pooled**2) @ weights**2)
    if variance < 1e-15:
        note = "the two never differ in this answer, or it was always right"
        return PValue(1.0 if difference == 0 else np.nan, name, quantity, estimate, n, Pairing.PAIRED, note=note)
    statistic = float(squared / variance)
    p = float(stats.chi2.sf(statistic, 1))
    return PValue(p, name, quantity, estimate, n, Pairing.PAIRED, statistic=statistic, df=1.0)


def _ratio_test(pair: PairedAccuracy, answer: str, confidence: float) -> PValue:
    calls, name = _Calls.of(pair, answer), "relative predictive value"
    n, quantity = pair.malignant.n + pair.benign.n, f"ratio of {answer.upper()}, first over second"
    cells = calls.cells
    if min(calls.totals) == 0 or min(cells[0] + cells[1], cells[0] + cells[2]) == 0:
        return _absent(name, quantity, n, "a reader never gave this answer, or never rightly")
    first, second = _values(cells)
    variance = delta_variance(lambda c: complex(np.subtract(*np.log(_values(c)))), cells)
    return _log_ratio_test(name, quantity, n, float(first / second), variance, confidence)


def _values(cells: NDArray[Any]) -> NDArray[Any]:
    """Predictive value of the first and of the second reader."""
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
        note = "the two never differ in this answer"
        return PValue(1.0, name, quantity, Estimate(value, value, value), n, Pairing.PAIRED, note=note)
    factor, statistic = np.exp(normal_quantile(confidence) * error), float(np.log(value) / error)
    estimate = Estimate(float(value), float(value / factor), float(value * factor))
    return PValue(normal_test(statistic), name, quantity, estimate, n, Pairing.PAIRED, statistic=statistic)


def _absent(name: str, quantity: str, n: int, note: str) -> PValue:
    estimate = Estimate(np.nan, np.nan, np.nan, note=note)
    return PValue(np.nan, name, quantity, estimate, n, Pairing.PAIRED, note=note)

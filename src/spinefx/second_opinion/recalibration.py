"""Logistic recalibration of a model on the cases of one site, with the interval of the fitted curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinefx.statistics.estimate import Estimate, normal_quantile
from spinefx.statistics.logistic import LogisticFit, fit_logistic

__all__ = ["Recalibration"]

# A probability of 0 or 1 has no logit; it is moved this far from it.
SMALLEST = 1e-6


@dataclass(frozen=True, eq=False)
class Recalibration:
    """Logistic recalibration of a model on out-of-fold predictions for the cases of one site.

    Parameters
    ----------
    fit : LogisticFit
        Fit of malignancy on the logit of the out-of-fold probability, with Firth's penalty.
    n, malignant : int
        Numbers of cases of the fit.
    """

    fit: LogisticFit
    n: int
    malignant: int

    @classmethod
    def of(cls, probabilities: ArrayLike, malignant: NDArray[np.bool_]) -> Recalibration:
        """Fit on predictions for cases of known truth.

        Parameters
        ----------
        probabilities : array_like, shape (case,)
            Out-of-fold, prior-corrected, 0 to 1.
        malignant : ndarray of bool, shape (case,)

        Returns
        -------
        Recalibration
        """
        logits = np.array([[_logit(float(one))] for one in np.asarray(probabilities)])
        return cls(fit_logistic(logits, malignant, "firth"), int(malignant.size), int(malignant.sum()))

    @property
    def slope(self) -> Estimate:
        """Slope of the logit with its Wald interval; if that includes 0, the model may be uninformative here."""
        value, reach = float(self.fit.coefficients[1]), normal_quantile(0.95) * float(self.fit.standard_errors[1])
        return Estimate(value, value - reach, value + reach)

    def at(self, probability: float) -> Estimate:
        """Return the expected share of malignant cases among those with this probability.

        Parameters
        ----------
        probability : float
            Prior-corrected, 0 to 1.

        Returns
        -------
        Estimate
            With the 95% confidence interval of the fitted curve at this point. It describes the uncertainty of the
            curve, not what sets this patient apart.
        """
        place = np.array([1.0, _logit(probability)])
        centre = float(place @ self.fit.coefficients)
        reach = normal_quantile(0.95) * float(np.sqrt(place @ self.fit.covariance @ place))
        value, low, high = (float(1 / (1 + np.exp(-logit))) for logit in (centre, centre - reach, centre + reach))
        return Estimate(value, low, high)


def _logit(probability: float) -> float:
    kept = min(max(probability, SMALLEST), 1 - SMALLEST)
    return float(np.log(kept / (1 - kept)))

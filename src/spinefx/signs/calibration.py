"""From the networks' evidence to calibrated log-odds of each sign, learned on cases that the networks had not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import InputError
from spinefx.statistics.logistic import fit_logistic
from spinefx.vocabulary import SIGN_IDENTIFIERS

__all__ = ["FEWEST_EACH", "SignCalibration", "noisy_or"]

# With fewer cases of either kind, only the level of a sign's evidence is corrected, not its scale.
FEWEST_EACH = 5
SIGNS = len(SIGN_IDENTIFIERS)
# Chance of a focus in a vertebra that no network suspects, and the bounds of the suspicion itself.
LEAK, LEAST = 0.01, 1e-4


@dataclass(frozen=True, eq=False)
class SignCalibration:
    """A straight line for each sign, from the networks' log-odds to calibrated ones.

    Parameters
    ----------
    slopes, intercepts : ndarray of float64, shape (15,)
        NaN for a sign that is left out.
    positives, assessed : tuple of int, length 15
        Cases that showed each sign, and cases in which it was assessed.
    """

    slopes: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    positives: tuple[int, ...]
    assessed: tuple[int, ...]

    @property
    def left_out(self) -> tuple[str, ...]:
        """Signs that no case showed, or every case: nothing could be learned about them."""
        return tuple(sign for sign, slope in zip(SIGN_IDENTIFIERS, self.slopes, strict=True) if np.isnan(slope))

    @classmethod
    def fit(cls, logits: NDArray[np.float64], signs: NDArray[np.float64]) -> SignCalibration:
        """Fit each sign's line by Firth's logistic regression.

        Parameters
        ----------
        logits : ndarray of float64, shape (case, 15)
            From networks that had not seen the case; NaN where nothing could be read.
        signs : ndarray of float64, shape (case, 15)
            1, 0, or NaN where a sign was not assessed.

        Returns
        -------
        SignCalibration

        Raises
        ------
        InputError
            When every sign would be left out.
        """
        slopes, intercepts = np.full(SIGNS, np.nan), np.full(SIGNS, np.nan)
        positives, assessed = [], []
        for place in range(SIGNS):
            known = ~np.isnan(signs[:, place]) & ~np.isnan(logits[:, place])
            shown, evidence = signs[known, place] > 0, logits[known, place]
            positives.append(int(shown.sum()))
            assessed.append(int(known.sum()))
            fewest = min(positives[-1], assessed[-1] - positives[-1])
            if fewest == 0:
                continue
            slopes[place] = 1.0
            if fewest >= FEWEST_EACH:
                fit = fit_logistic(evidence[:, None], shown)
                intercepts[place], slopes[place] = fit.coefficients
            if fewest < FEWEST_EACH or slopes[place] <= 0:  # evidence that misleads is not turned round
                slopes[place] = 1.0 if fewest < FEWEST_EACH else 0.0
                shift = slopes[place] * evidence
                intercepts[place] = fit_logistic(np.zeros((len(shown), 0)), shown, offset=shift).coefficients[0]
        if np.isnan(slopes).all():
            raise InputError("signs that are the same in all cases", allowed="cases with and without a sign")
        return cls(slopes, intercepts, tuple(positives), tuple(assessed))

    def apply(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated log-odds.

        Parameters
        ----------
        logits : ndarray of float64, shape (case, 15)

        Returns
        -------
        ndarray of float64, shape (case, 15)
            NaN for a sign that was left out or not assessed.
        """
        return logits * self.slopes + self.intercepts

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a model's card.

        Returns
        -------
        dict
        """
        return {
            sign: None
            if np.isnan(self.slopes[place])
            else {"slope": _short(self.slopes[place]), "intercept": _short(self.intercepts[place])}
            | {"positives": self.positives[place], "assessed": self.assessed[place]}
            for place, sign in enumerate(SIGN_IDENTIFIERS)
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SignCalibration:
        """Read what :meth:`to_json` wrote.

        Parameters
        ----------
        values : mapping

        Returns
        -------
        SignCalibration

        Raises
        ------
        KeyError, TypeError, ValueError
            For anything else.
        """
        lines = [values[sign] or {} for sign in SIGN_IDENTIFIERS]
        numbers = {key: np.array([float(one.get(key, "nan")) for one in lines]) for key in ("slope", "intercept")}
        counts = {key: tuple(int(one.get(key, 0)) for one in lines) for key in ("positives", "assessed")}
        return cls(numbers["slope"], numbers["intercept"], counts["positives"], counts["assessed"])


def noisy_or(suspicions: NDArray[np.float64]) -> float:
    """Return the log-odds that at least one vertebra holds a focus.

    Parameters
    ----------
    suspicions : ndarray of float64, shape (vertebra,)
        Probability that each is suspicious.

    Returns
    -------
    float
        NaN where no vertebra could be read.
    """
    if not len(suspicions):
        return float("nan")
    none = np.log1p(-np.clip(suspicions, LEAST, 1 - LEAST)).sum() + np.log1p(-LEAK)
    return float(np.log(-np.expm1(none)) - none)


def _short(value: float) -> float:
    return float(f"{float(value):.8g}")

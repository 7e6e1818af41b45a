"""The diagnosis from the signs: two models, of which the better is kept, and what each sign contributes.

Both are fitted, after the networks are finished, to probabilities of signs in patients whom the networks had not seen.
Networks that are taught signs and diagnosis together leak the diagnosis through the signs (Mahinpei 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import InputError
from spinefx.signs.states import GROUPS, coherent, completed
from spinefx.statistics.logistic import fit_logistic
from spinefx.vocabulary import SIGN_IDENTIFIERS

__all__ = ["BayesHead", "DiagnosisHead", "LogisticHead", "choose_head", "head_from_json"]

_Floats = NDArray[np.float64]
SIGNS = len(SIGN_IDENTIFIERS)
# Cases that each state of a group is taken to have been seen in beforehand, spread as it is in both classes together.
PRIOR_CASES = 4.0
INNER_FOLDS = 5


class DiagnosisHead(Protocol):
    """A model of the diagnosis given the signs."""

    @property
    def name(self) -> str:
        """Its name in cards, tables and texts."""

    def contributions(self, logits: _Floats) -> tuple[_Floats, float]:
        """Return what each sign adds to the log-odds of malignancy, and what they start from.

        Parameters
        ----------
        logits : ndarray of float64, shape (case, 15)
            Calibrated log-odds of each sign; NaN where a sign was not assessed.

        Returns
        -------
        ndarray of float64, shape (case, 15)
        float
            The log-odds without any sign.
        """

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a model's card."""


@dataclass(frozen=True, eq=False)
class LogisticHead:
    """Firth's logistic regression on the coherent probabilities of the signs.

    Parameters
    ----------
    base : ndarray of float64, shape (15,)
        Mean probability of each sign among the cases of the fit; it stands for a sign that was not assessed.
    coefficients : ndarray of float64, shape (15,)
    start : float
        Log-odds of a case whose every sign has its mean.
    """

    base: _Floats
    coefficients: _Floats
    start: float
    name = "logistic"

    @classmethod
    def fit(cls, logits: _Floats, malignant: NDArray[np.bool_]) -> LogisticHead:
        """Fit the head.

        Parameters
        ----------
        logits : ndarray of float64, shape (case, 15)
        malignant : ndarray of bool, shape (case,)

        Returns
        -------
        LogisticHead

        Raises
        ------
        InputError
            For cases of one class.
        """
        features, means = _filled(logits)
        fit = fit_logistic(features - means, malignant)
        return cls(means, fit.coefficients[1:], float(fit.coefficients[0]))

    def contributions(self, logits: _Floats) -> tuple[_Floats, float]:
        """Return what each sign adds to the log-odds; see :class:`DiagnosisHead`.

        Parameters
        ----------
        logits : ndarray of float64, shape (case, 15)

        Returns
        -------
        ndarray of float64, shape (case, 15)
        float
        """
        features = np.where(np.isnan(logits), self.base, coherent(completed(logits, self.base)))
        return (features - self.base) * self.coefficients, self.start

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a model's card.

        Returns
        -------
        dict
        """
        return {
            "name": self.name,
            "base": _listed(self.base),
            "coefficients": _listed(self.coefficients),
            "start": self.start,
        }


@dataclass(frozen=True, eq=False)
class BayesHead:
    """A small Bayes network: the diagnosis causes the state of each group of signs, and pixels show the state.

    Parameters
    ----------
    base : ndarray of float64, shape (15,)
        Share of the cases of the fit that show each sign; dividing by its odds turns a network's odds into evidence.
    tables : mapping of str to ndarray of float64, shape (2, state)
        By group: the probability of each state in benign and in malignant cases.
    start : float
        Log-odds of malignancy before any sign is looked at.

    Notes
    -----
    Groups are independent given the diagnosis. An unassessed sign is summed over, not set to absent.
    """

    base: _Floats
    tables: Mapping[str, _Floats]
    start: float
    name = "bayes"

    @classmethod
    def fit(cls, logits: _Floats, malignant: NDArray[np.bool_]) -> BayesHead:
        """Fit the head by expectation-maximisation: states are not known, only how well each fits the pixels.

        Parameters
        ----------
        logits : ndarray of float64, shape (case, 15)
        malignant : ndarray of bool, shape (case,)

        Returns
        -------
        BayesHead

        Raises
        ------
        InputError
            For cases of one class.
        """
        if not 0 < malignant.sum() < len(malignant):
            raise InputError("cases of one class", where="diagnosis from signs", allowed="malignant and benign cases")
        base = np.clip(_filled(logits)[1], 1e-3, 1 - 1e-3)
        evidence = _evidence(logits, base)
        tables = {}
        for group in GROUPS:
            fits = np.exp(_steady(group.weights(evidence)))
            table = np.full((2, len(group.states)), 1 / len(group.states))
            for _ in range(50):
                shares = fits * table[malignant.astype(int)]
                shares /= shares.sum(axis=1, keepdims=True)
                counts = np.stack([shares[~malignant].sum(axis=0), shares[malignant].sum(axis=0)])
                counts += PRIOR_CASES * counts.sum(axis=0) / counts.sum()
                table = counts / counts.sum(axis=1, keepdims=True)
            tables[group.name] = table
        odds = (malignant.sum() + 0.5) / ((~malignant).sum() + 0.5)
        return cls(base, tables, float(np.log(odds)))

    def contributions(self, logits: _Floats) -> tuple[_Floats, float]:
        """Return what each sign adds to the log-odds; see :class:`DiagnosisHead`.

        Parameters
        ----------
        logits : ndarray of float64, shape (case, 15)

        Returns
        -------
        ndarray of float64, shape (case, 15)
            Within a group of signs that exclude each other, signs are added in the order of the vocabulary.
        float
        """
        evidence = _evidence(logits, self.base)
        parts = np.zeros_like(evidence)
        for group in GROUPS:
            told = np.zeros(len(evidence))
            known = np.zeros_like(evidence)
            for place in group.places:
                known[:, place] = evidence[:, place]
                fits = np.exp(_steady(group.weights(known)))
                benign, malignant = (fits @ row for row in self.tables[group.name])
                total = np.log(malignant) - np.log(benign)
                parts[:, place], told = total - told, total
        return parts, self.start

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a model's card.

        Returns
        -------
        dict
        """
        tables = {name: [_listed(row) for row in table] for name, table in self.tables.items()}
        return {"name": self.name, "base": _listed(self.base), "tables": tables, "start": self.start}


HEADS: tuple[type[LogisticHead] | type[BayesHead], ...] = (LogisticHead, BayesHead)


def choose_head(
    logits: _Floats, malignant: NDArray[np.bool_], groups: NDArray[np.int64]
) -> tuple[LogisticHead | BayesHead, dict[str, float]]:
    """Keep the head that predicts held-out cases better, fitted to all.

    Parameters
    ----------
    logits : ndarray of float64, shape (case, 15)
        From networks that had not seen the case.
    malignant : ndarray of bool, shape (case,)
    groups : ndarray of int, shape (case,)
        Cases of one number are held out together: those of one patient.

    Returns
    -------
    LogisticHead or BayesHead
    dict of str to float
        Mean log-loss of each head on held-out cases, nats.

    Raises
    ------
    InputError
        For cases of one class.
    """
    losses = {}
    numbers = np.unique(groups)
    for head in HEADS:
        terms = np.full(len(malignant), np.nan)
        for held in np.array_split(np.random.default_rng(16).permutation(numbers), min(INNER_FOLDS, len(numbers))):
            out = np.isin(groups, held)
            if 0 < malignant[~out].sum() < (~out).sum():
                parts, start = head.fit(logits[~out], malignant[~out]).contributions(logits[out])
                signed = (parts.sum(axis=1) + start) * np.where(malignant[out], 1, -1)
                terms[out] = np.logaddexp(0, -signed)
        losses[head.name] = float(np.nanmean(terms))
    best = min(HEADS, key=lambda head: losses[head.name])
    return best.fit(logits, malignant), losses


def head_from_json(values: Mapping[str, Any]) -> LogisticHead | BayesHead:
    """Read a head from a model's card.

    Parameters
    ----------
    values : mapping
        As :meth:`DiagnosisHead.to_json` returns it.

    Returns
    -------
    LogisticHead or BayesHead

    Raises
    ------
    KeyError, TypeError, ValueError
        For anything else.
    """
    if values["name"] == LogisticHead.name:
        return LogisticHead(_row(values["base"]), _row(values["coefficients"]), float(values["start"]))
    if values["name"] != BayesHead.name:
        raise ValueError("a head of another name")
    tables = {group.name: np.array(values["tables"][group.name], float) for group in GROUPS}
    if any(tables[group.name].shape != (2, len(group.states)) for group in GROUPS):
        raise ValueError("tables of other states")
    return BayesHead(_row(values["base"]), tables, float(values["start"]))


def _filled(logits: _Floats) -> tuple[_Floats, _Floats]:
    """Return coherent probabilities with means for unassessed signs, and the means."""
    unknown = np.isnan(logits)
    rough = np.where(unknown, np.nan, 1 / (1 + np.exp(-np.clip(logits, -30, 30))))
    known = (~unknown).sum(axis=0)
    means = np.where(known > 0, np.nansum(rough, axis=0) / np.maximum(known, 1), 0.0)
    features = np.where(unknown, means, coherent(completed(logits, means)))
    return features, features.mean(axis=0)


def _evidence(logits: _Floats, base: _Floats) -> _Floats:
    """Return the log-likelihood ratio of each sign: a network's log-odds less those of the sign's frequency."""
    return np.where(np.isnan(logits), 0.0, logits - np.log(base / (1 - base)))


def _steady(weights: _Floats) -> _Floats:
    steady: _Floats = weights - weights.max(axis=1, keepdims=True)
    return steady


def _listed(row: _Floats) -> list[float]:
    return [float(f"{value:.8g}") for value in row]


def _row(values: Any) -> _Floats:
    row = np.array(values, float)
    if row.shape != (SIGNS,) or not np.isfinite(row).all():
        raise ValueError("not fifteen numbers")
    return row

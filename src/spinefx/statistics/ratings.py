"""Ratings and truths as numbers: infinite ratings keep their rank, and truths may be words."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinefx.errors import TableError
from spinefx.vocabulary import Diagnosis

__all__ = ["finite_ratings", "malignant_from"]

WORDS = {
    **dict.fromkeys((Diagnosis.MALIGNANT.value, "true", "1", "1.0"), True),
    **dict.fromkeys((Diagnosis.BENIGN.value, "false", "0", "0.0"), False),
}


def finite_ratings(ratings: ArrayLike) -> NDArray[np.float64]:
    """Return ratings in which an infinite one has become the next number beyond the finite ones.

    Parameters
    ----------
    ratings : array_like
        Minus infinity is the rating of a case without a mark, as in RJafroc; NaN is a missing rating.

    Returns
    -------
    ndarray of float64
        Of the same shape and order; NaN stays NaN.
    """
    values = np.asarray(ratings, float)
    infinite = np.isinf(values)
    if not infinite.any():
        return values
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    beyond = np.where(values > 0, np.nextafter(high, np.inf), np.nextafter(low, -np.inf))
    return np.where(infinite, beyond, values)


def malignant_from(truth: ArrayLike) -> NDArray[np.bool_]:
    """Return whether each case is malignant.

    Parameters
    ----------
    truth : array_like, shape (case,)
        ``malignant`` and ``benign``, or True and False, or 1 and 0, or these as texts.

    Returns
    -------
    ndarray of bool, shape (case,)

    Raises
    ------
    TableError
        If a truth is none of these.
    """
    values = np.asarray(truth)
    if values.dtype.kind in "biuf":
        known = np.isin(values, (0, 1))
        found = values == 1
    else:
        words = [WORDS.get(str(one).strip().lower()) for one in values.ravel()]
        known = np.array([one is not None for one in words], bool)
        found = np.array([bool(one) for one in words], bool).reshape(values.shape)
    if not known.all():
        raise TableError("a truth that is not binary", allowed="malignant and benign, True and False, or 1 and 0")
    return np.asarray(found, bool)

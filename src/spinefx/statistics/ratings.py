"""Ratings and truths as numbers: minus infinity keeps its rank, and truths may be words."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinefx.errors import TableError
from spinefx.vocabulary import Diagnosis

__all__ = ["finite_ratings", "malignant_from"]

WORDS = {Diagnosis.MALIGNANT.value: True, Diagnosis.BENIGN.value: False}


def finite_ratings(ratings: ArrayLike) -> NDArray[np.float64]:
    """Return ratings in which minus infinity has become the next number below the finite ones.

    Parameters
    ----------
    ratings : array_like
        Minus infinity is the rating of a case without a mark, as in RJafroc; NaN is a missing rating.

    Returns
    -------
    ndarray of float64
        Of the same shape and order; NaN and plus infinity, which is no rating, stay.
    """
    values = np.asarray(ratings, float)
    finite = values[np.isfinite(values)]
    lowest = float(finite.min()) if finite.size else 0.0
    return np.where(np.isneginf(values), np.nextafter(lowest, -np.inf), values)


def malignant_from(truth: ArrayLike) -> NDArray[np.bool_]:
    """Return whether each case is malignant.

    Parameters
    ----------
    truth : array_like, shape (case,)
        ``malignant`` and ``benign``, or True and False, or 1 and 0.

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

"""Signs that exclude each other: one coherent state from separate probabilities.

A body cannot be wedged and compressed as a whole, nor be free of collapse and collapsed; its marrow cannot be unchanged
and swollen. Networks score each sign by itself. Here their odds are multiplied over the states that are possible, and
summed again, so that certainty about one sign moves its rivals and no other sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinefx.vocabulary import SIGN_IDENTIFIERS

__all__ = ["GROUPS", "SignGroup", "coherent", "completed", "rivals_of"]

# Certainty beyond this adds nothing but overflow.
FARTHEST_LOGIT = 12.0


@dataclass(frozen=True, eq=False)
class SignGroup:
    """Signs that are read together.

    Parameters
    ----------
    name : str
    signs : tuple of str
        Their identifiers.
    states : ndarray of bool, shape (state, sign)
        The combinations that are possible.
    """

    name: str
    signs: tuple[str, ...]
    states: NDArray[np.bool_]

    @property
    def places(self) -> list[int]:
        """Places of the signs among the fifteen."""
        return [SIGN_IDENTIFIERS.index(sign) for sign in self.signs]

    def weights(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithm of how well each state fits the odds of the signs, up to a constant.

        Parameters
        ----------
        logits : ndarray of float64, shape (case, 15)

        Returns
        -------
        ndarray of float64, shape (case, state)
        """
        held = np.clip(logits[:, self.places], -FARTHEST_LOGIT, FARTHEST_LOGIT)
        weights: NDArray[np.float64] = held @ self.states.T.astype(float)
        return weights


def _group(name: str, signs: tuple[str, ...], *states: tuple[int, ...]) -> SignGroup:
    return SignGroup(name, signs, np.array(states, bool))


_SHAPE = ("absence_of_collapse", "anterior_wedge", "entire_body_compression", "central_concave")
_MARROW = ("homogeneous_marrow", "band_pattern_oedema", "diffuse_signal_change")
# A reader may score none of a group: a body that is a little lower, marrow that is patchy.
GROUPS: tuple[SignGroup, ...] = (
    _group(
        "shape",
        _SHAPE,
        *((0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 1, 0, 1), (0, 0, 1, 0), (0, 0, 1, 1), (0, 0, 0, 1)),
    ),
    _group("marrow", _MARROW, (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)),
    *(_group(sign, (sign,), (0,), (1,)) for sign in SIGN_IDENTIFIERS if sign not in (*_SHAPE, *_MARROW)),
)


def coherent(logits: ArrayLike) -> NDArray[np.float64]:
    """Return the probability of each sign, given that only possible states occur.

    Parameters
    ----------
    logits : array_like, shape (case, 15)
        Log-odds of each sign by itself; an infinite one is certain.

    Returns
    -------
    ndarray of float64, shape (case, 15)
    """
    given = np.asarray(logits, float)
    probabilities = np.empty_like(given)
    for group in GROUPS:
        weights = group.weights(given)
        shares = np.exp(weights - weights.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        probabilities[:, group.places] = shares @ group.states
    return probabilities


def completed(logits: ArrayLike, base: ArrayLike) -> NDArray[np.float64]:
    """Return log-odds in which a sign that was not assessed has the odds of its frequency.

    Parameters
    ----------
    logits : array_like, shape (case, 15)
        NaN where a sign was not assessed.
    base : array_like, shape (15,)
        Share of cases that show each sign.

    Returns
    -------
    ndarray of float64, shape (case, 15)
    """
    share = np.clip(np.asarray(base, float), 1e-3, 1 - 1e-3)
    given = np.asarray(logits, float)
    return np.where(np.isnan(given), np.log(share / (1 - share)), given)


def rivals_of(sign: str) -> tuple[str, ...]:
    """Return the signs that one sign excludes.

    Parameters
    ----------
    sign : str
        Identifier of one of the fifteen.

    Returns
    -------
    tuple of str
    """
    group = next(one for one in GROUPS if sign in one.signs)
    beside: NDArray[np.bool_] = np.any(group.states[group.states[:, group.signs.index(sign)]], axis=0)
    return tuple(other for other, may in zip(group.signs, beside.tolist(), strict=True) if not may)

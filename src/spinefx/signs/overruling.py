"""A reader who overrules signs, and how far the reader is to be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import InputError
from spinefx.signs.diagnosis import BayesHead, LogisticHead
from spinefx.signs.states import coherent, completed
from spinefx.vocabulary import SIGN_IDENTIFIERS, Score

__all__ = ["CERTAIN", "SignVerdict", "overruled", "verdict"]

# Log-odds that stand for a reader who is taken at their word.
CERTAIN = 9.0


@dataclass(frozen=True, eq=False)
class SignVerdict:
    """The signs of one case, and the diagnosis that follows from them.

    Parameters
    ----------
    probability : float
        Of malignancy.
    signs : mapping of str to float or None
        Probability of each sign; None where it was not assessed.
    contributions : mapping of str to float
        What each sign adds to the log-odds of malignancy.
    start : float
        Log-odds of malignancy before any sign.
    check_next : str or None
        The unconfirmed sign whose check is expected to move the log-odds most: uncertainty times weight.
    """

    probability: float
    signs: Mapping[str, float | None]
    contributions: Mapping[str, float]
    start: float
    check_next: str | None = None


def overruled(
    logits: NDArray[np.float64], answers: Mapping[str, Score], error_rate: float = 0.0
) -> NDArray[np.float64]:
    """Return the log-odds of the signs after a reader has scored some of them.

    Parameters
    ----------
    logits : ndarray of float64, shape (15,)
        Calibrated; NaN where a sign was not assessed.
    answers : mapping of str to Score
        By sign.
    error_rate : float
        Share of signs that this reader is known to score wrongly, 0 to 0.5. At 0 the reader is taken at their word;
        otherwise reader and networks are weighed by what each is worth.

    Returns
    -------
    ndarray of float64, shape (15,)
        A sign that cannot be assessed becomes NaN: its networks' evidence is withdrawn as well.

    Raises
    ------
    InputError
        For an unknown sign or an error rate out of range.
    """
    if not 0 <= error_rate <= 0.5:
        raise InputError(f"a reader's error rate of {error_rate:.3g}", allowed="0 to 0.5")
    changed = np.array(logits, float)
    for sign, answer in answers.items():
        if sign not in SIGN_IDENTIFIERS:
            raise InputError("an unknown sign", allowed=", ".join(SIGN_IDENTIFIERS))
        place = SIGN_IDENTIFIERS.index(sign)
        if answer is Score.NOT_ASSESSABLE:
            changed[place] = np.nan
            continue
        side = 1.0 if answer is Score.YES else -1.0
        if error_rate == 0:
            changed[place] = side * CERTAIN
        else:
            known = 0.0 if np.isnan(changed[place]) else changed[place]
            changed[place] = known + side * np.log((1 - error_rate) / error_rate)
    return changed


def verdict(
    head: LogisticHead | BayesHead, logits: NDArray[np.float64], answers: Mapping[str, Score] | None = None
) -> SignVerdict:
    """Return the diagnosis that follows from the signs.

    Parameters
    ----------
    head : LogisticHead or BayesHead
    logits : ndarray of float64, shape (15,)
        As :func:`overruled` returns them.
    answers : mapping of str to Score, optional
        Signs that a reader has scored; they are not suggested for a check.

    Returns
    -------
    SignVerdict
    """
    parts, start = head.contributions(logits[None])
    total = float(parts.sum()) + start
    known = ~np.isnan(logits)
    shown = coherent(completed(logits[None], head.base))[0]
    signs = {sign: float(shown[place]) if known[place] else None for place, sign in enumerate(SIGN_IDENTIFIERS)}
    return SignVerdict(
        probability=float(1 / (1 + np.exp(-total))),
        signs=signs,
        contributions={sign: float(parts[0, place]) for place, sign in enumerate(SIGN_IDENTIFIERS)},
        start=start,
        check_next=_check_next(head, logits, total, set(answers or {})),
    )


def _check_next(
    head: LogisticHead | BayesHead, logits: NDArray[np.float64], total: float, checked: set[str]
) -> str | None:
    """Return the sign whose check moves the log-odds most, on average over its two answers."""
    places = [
        place for place, sign in enumerate(SIGN_IDENTIFIERS) if sign not in checked and not np.isnan(logits[place])
    ]
    if not places:
        return None
    asked = np.repeat(logits[None], 2 * len(places), axis=0)
    for row, place in enumerate(places):
        asked[2 * row, place], asked[2 * row + 1, place] = CERTAIN, -CERTAIN
    parts, start = head.contributions(asked)
    moved = np.abs(parts.sum(axis=1) + start - total).reshape(-1, 2)
    share = coherent(completed(logits[None], head.base))[0][places]
    expected = share * moved[:, 0] + (1 - share) * moved[:, 1]
    return SIGN_IDENTIFIERS[places[int(np.argmax(expected))]]

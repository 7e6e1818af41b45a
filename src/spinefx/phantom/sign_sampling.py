"""Deal chosen signs more often than Table 1 has them, with the weight of each patient that restores its margins.

The joint law of the signs is tilted: the probability of a combination is multiplied by a factor for each chosen sign
that it shows. Combinations that the rules exclude stay excluded. A patient's weight is the probability of the patient's
signs under Table 1 over that under the tilted law (importance sampling).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.sign_rules import DRAWN_SIGNS, MARROWS, SHAPES, cell_signs, chance, joint
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis

__all__ = ["SignLaw", "sign_law", "tilted_draw"]

_Reals = NDArray[np.float64]


class SignLaw:
    """The joint law of shape, marrow and all signs in one class.

    Parameters
    ----------
    cells : ndarray of int, shape (n,)
        Shape (slowest) and marrow of each combination.
    signs : ndarray of bool, shape (n, 15)
    probability : ndarray, shape (n,)
        Sums to one.
    """

    def __init__(self, cells: NDArray[np.int64], signs: NDArray[np.bool_], probability: _Reals) -> None:
        self.cells, self.signs, self.probability = cells, signs, probability


@lru_cache(maxsize=2)
def sign_law(diagnosis: Diagnosis) -> SignLaw:
    """Return the joint law of the signs in one class, combination by combination.

    Parameters
    ----------
    diagnosis : Diagnosis

    Returns
    -------
    SignLaw
        Combinations of probability above zero; margins as in Table 1, to within 0.3% of the patients.
    """
    cells, rows, probability = [], [], []
    for cell, share in enumerate(joint(diagnosis).ravel()):
        shape, marrow = SHAPES[cell // len(MARROWS)], MARROWS[cell % len(MARROWS)]
        found: list[tuple[dict[str, bool], float]] = [({}, float(share))] if share > 0 else []
        for sign in DRAWN_SIGNS:
            found = [
                ({**has, sign: yes}, whole * part)
                for has, whole in found
                for yes, part in _outcomes(chance(diagnosis, sign, shape, marrow, has))
            ]
        for has, whole in found:
            signs = cell_signs(shape, marrow) | has
            cells.append(cell)
            rows.append([signs[sign] for sign in SIGN_IDENTIFIERS])
            probability.append(whole)
    return SignLaw(np.array(cells), np.array(rows, bool), np.array(probability) / sum(probability))


def _outcomes(chance_of_sign: float) -> list[tuple[bool, float]]:
    return [(yes, part) for yes, part in ((False, 1 - chance_of_sign), (True, chance_of_sign)) if part > 0]


def tilted_draw(
    diagnosis: Diagnosis, signs: tuple[str, ...], factor: float, patients: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_], _Reals]:
    """Draw the signs of all patients of a class, some of the signs more often than Table 1 has them.

    Parameters
    ----------
    diagnosis : Diagnosis
    signs : tuple of str
        Signs to deal more often.
    factor : float
        What the odds of each of them are multiplied by.
    patients : int
    rng : numpy.random.Generator

    Returns
    -------
    cells : ndarray of int, shape (patients,)
        Shape (slowest) and marrow.
    has : ndarray of bool, shape (patients, 15)
    weights : ndarray, shape (patients,)
        Their expectation is one; weighted shares of the signs are those of Table 1 within sampling error.
    """
    law = sign_law(diagnosis)
    chosen = np.isin(SIGN_IDENTIFIERS, signs)
    tilt = factor ** law.signs[:, chosen].sum(axis=1)
    dealt = law.probability * tilt
    scale = dealt.sum()
    # Systematic sampling over combinations in random order: counts differ from their expectation by less than one.
    order = rng.permutation(len(dealt))
    edges = np.cumsum(dealt[order]) / scale
    places = (np.arange(patients) + rng.random()) / max(patients, 1)
    picked = order[np.minimum(np.searchsorted(edges, places, side="right"), len(order) - 1)]
    picked = rng.permutation(picked)
    return law.cells[picked], law.signs[picked], scale / tilt[picked]

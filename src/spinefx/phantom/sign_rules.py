"""Which of the fifteen signs occur together, and how often: the counts of Yeh 2022, Table 1, and the joint rules.

A lesion has one shape category and one marrow category. Seven signs follow from these two; the other eight are drawn
given them.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from itertools import combinations
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import RecipeError
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis

__all__ = ["DRAWN_SIGNS", "MARROWS", "PATIENTS", "SHAPES", "TABLE_1", "allowed_cells", "cell_signs", "chance", "joint"]

SHAPES = ("none", "wedge", "wedge_concave", "entire", "entire_concave", "concave")
MARROWS = ("homogeneous", "band", "diffuse", "partial", "nodules")
PATIENTS = {Diagnosis.BENIGN: 140, Diagnosis.MALIGNANT: 50}
_SHAPE_COUNTS = {Diagnosis.BENIGN: (3, 49, 28, 29, 25, 6), Diagnosis.MALIGNANT: (17, 4, 3, 15, 10, 1)}
_MARROW_COUNTS = {Diagnosis.BENIGN: (48, 44, 31, 17, 0), Diagnosis.MALIGNANT: (0, 2, 44, 0, 4)}

TABLE_1: MappingProxyType[Diagnosis, dict[str, int]] = MappingProxyType(
    {
        Diagnosis.BENIGN: dict(
            zip(SIGN_IDENTIFIERS, (3, 77, 54, 59, 48, 37, 44, 14, 8, 31, 0, 19, 1, 0, 8), strict=True)
        ),
        Diagnosis.MALIGNANT: dict(
            zip(SIGN_IDENTIFIERS, (17, 7, 25, 14, 0, 0, 2, 5, 1, 44, 11, 16, 22, 5, 39), strict=True)
        ),
    }
)
"""Number of 140 benign and of 50 malignant patients who show each sign."""

DRAWN_SIGNS = (
    "nodular_lesion",
    "dark_line_band",
    "dark_patch",
    "fluid_necrotic_cleft",
    "ap_protrusion",
    "epidural_paraspinal_mass",
    "pedicle_posterior_element",
    "skip_lesions",
)
"""Signs drawn given shape and marrow, in this order: the mass depends on the protrusion, the pedicle on the mass."""

_AFFINITY = 1.8
# Ahn 2016: band oedema accompanies wedges, diffuse change crush fractures, globular change biconcave bodies.
_PARTNERS = {"band": "wedge", "diffuse": "entire", "partial": "concave"}
_EXCLUSIONS = {
    "absence_of_collapse": (
        *("anterior_wedge", "entire_body_compression", "central_concave"),
        *("homogeneous_marrow", "fluid_necrotic_cleft"),
    ),
    "anterior_wedge": ("entire_body_compression",),
    "homogeneous_marrow": (
        *("band_pattern_oedema", "diffuse_signal_change", "nodular_lesion"),
        *("fluid_necrotic_cleft", "epidural_paraspinal_mass"),
    ),
    "band_pattern_oedema": ("diffuse_signal_change",),
}
# Probabilities in benign lesions, by marrow and by shape.
_LINE = {"homogeneous": 0.05, "band": 0.45, "diffuse": 0.26, "partial": 0.40}
_PATCH = {"homogeneous": 0.06, "band": 0.08, "diffuse": 0.10, "partial": 0.27}
_CLEFT = {"homogeneous": 0.0, "band": 0.07, "diffuse": 0.12, "partial": 0.07}
_BENIGN_BULGE = {"entire": 0.22, "entire_concave": 0.22, "wedge": 0.08, "wedge_concave": 0.08, "concave": 0.15}


def cell_signs(shape: str, marrow: str) -> dict[str, bool]:
    """Return the signs that follow from shape and marrow.

    Parameters
    ----------
    shape : str
        One of :data:`SHAPES`.
    marrow : str
        One of :data:`MARROWS`.

    Returns
    -------
    dict of str to bool
        Seven of the fifteen signs.
    """
    return {
        "absence_of_collapse": shape == "none",
        "anterior_wedge": shape.startswith("wedge"),
        "entire_body_compression": shape.startswith("entire"),
        "central_concave": shape.endswith("concave"),
        "homogeneous_marrow": marrow == "homogeneous",
        "band_pattern_oedema": marrow == "band",
        "diffuse_signal_change": marrow == "diffuse",
    }


def _exclude(one: str, other: str) -> bool:
    return other in _EXCLUSIONS.get(one, ()) or one in _EXCLUSIONS.get(other, ())


@cache
def joint(diagnosis: Diagnosis) -> NDArray[np.float64]:
    """Return the probability of each shape (row) with each marrow (column), by iterative proportional fitting.

    Parameters
    ----------
    diagnosis : Diagnosis

    Returns
    -------
    ndarray, shape (6, 5)
        Sums to one; its margins are those of Table 1.
    """
    table = np.ones((len(SHAPES), len(MARROWS)))
    for row, shape in enumerate(SHAPES):
        for column, marrow in enumerate(MARROWS):
            if _PARTNERS.get(marrow, "-") in shape:
                table[row, column] = _AFFINITY
    table[SHAPES.index("none"), MARROWS.index("homogeneous")] = 0.0
    rows, columns = np.array(_SHAPE_COUNTS[diagnosis], float), np.array(_MARROW_COUNTS[diagnosis], float)
    for _ in range(200):
        table *= (rows / table.sum(axis=1))[:, None]
        table *= columns / np.maximum(table.sum(axis=0), 1e-300)
    table /= table.sum()
    table.setflags(write=False)
    return table


@cache
def allowed_cells(force: tuple[str, ...], forbid: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return the combinations of shape and marrow that remain when signs are forced or forbidden.

    Parameters
    ----------
    force, forbid : tuple of str
        Identifiers of signs.

    Returns
    -------
    ndarray of bool, shape (6, 5)

    Raises
    ------
    RecipeError
        For an unknown sign, a sign both forced and forbidden, signs that exclude each other, or no combination left.
    """
    for sign in (*force, *forbid):
        if sign not in SIGN_IDENTIFIERS:
            raise RecipeError(f"unknown sign {sign!r}", where="phantom dials", allowed=", ".join(SIGN_IDENTIFIERS))
    if both := sorted(set(force) & set(forbid)):
        raise RecipeError(f"{both[0]} is both forced and forbidden", where="phantom dials", allowed="one of the two")
    for one, other in combinations(force, 2):
        if _exclude(one, other):
            raise RecipeError(
                f"{one} and {other} are both forced but exclude each other",
                where="phantom dials",
                allowed="one of them",
            )
    left = np.array([[_allowed(shape, marrow, force, forbid) for marrow in MARROWS] for shape in SHAPES])
    if not left.any():
        raise RecipeError(
            "no combination of shape and marrow satisfies the forced and forbidden signs",
            where="phantom dials",
            remedy=f"Forbid fewer or force other signs; forced: {_listed(force)}; forbidden: {_listed(forbid)}.",
        )
    left.setflags(write=False)
    return left


def _listed(signs: Collection[str]) -> str:
    return ", ".join(signs) or "none"


def _allowed(shape: str, marrow: str, force: Collection[str], forbid: Collection[str]) -> bool:
    signs = cell_signs(shape, marrow)
    if marrow == "nodules":
        signs["nodular_lesion"] = True
    present = {sign for sign, yes in signs.items() if yes}
    wanted = present | set(force)
    return (
        not present & set(forbid)
        and all(signs[sign] for sign in force if sign in signs)
        and not any(_exclude(one, other) for one, other in combinations(sorted(wanted), 2))
    )


def chance(diagnosis: Diagnosis, sign: str, shape: str, marrow: str, has: dict[str, bool]) -> float:
    """Return the probability of one of :data:`DRAWN_SIGNS`, given the categories and the signs drawn before.

    Parameters
    ----------
    diagnosis : Diagnosis
    sign : str
    shape, marrow : str
    has : dict of str to bool
        Signs drawn before this one.

    Returns
    -------
    float
        0 where another sign excludes it.
    """
    present = [name for name, yes in (cell_signs(shape, marrow) | has).items() if yes]
    if any(_exclude(sign, name) for name in present):
        return 0.0
    if diagnosis is Diagnosis.BENIGN:
        return {
            "dark_line_band": _LINE.get(marrow, 0.0),
            "dark_patch": _PATCH.get(marrow, 0.0),
            "fluid_necrotic_cleft": _CLEFT.get(marrow, 0.0),
            "ap_protrusion": _BENIGN_BULGE.get(shape, 0.0),
            "epidural_paraspinal_mass": 0.0133 if marrow in {"band", "diffuse"} else 0.0,
            "skip_lesions": 0.057,
        }.get(sign, 0.0)
    return {
        "nodular_lesion": 1.0 if marrow == "nodules" else 0.16,
        "dark_patch": 0.10,
        "fluid_necrotic_cleft": 0.03,
        "ap_protrusion": 0.25 if shape == "none" else 0.355,
        "epidural_paraspinal_mass": 0.70 if has.get("ap_protrusion") else 0.32,
        "pedicle_posterior_element": 0.18 if has.get("epidural_paraspinal_mass") else 0.037,
        "skip_lesions": 0.78,
    }.get(sign, 0.0)

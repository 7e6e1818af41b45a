"""The appearance of a lesion: the numbers behind each of its signs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.sign_assignment import SignAssignment
from spinefx.phantom.vertebra import Deformity
from spinefx.vocabulary import Diagnosis

__all__ = ["LesionDraw", "draw_lesion"]


@dataclass(frozen=True)
class LesionDraw:
    """All that is drawn about one lesion.

    Parameters
    ----------
    diagnosis : Diagnosis
    signs : dict of str to bool
        The fifteen signs.
    shape, marrow : str
        Joint categories, of :data:`spinefx.phantom.sign_rules.SHAPES` and
        :data:`spinefx.phantom.sign_rules.MARROWS`.
    deformity : Deformity
    residual_fat : float
        Fat fraction that remains where the marrow is fully replaced.
    amplitude, covered, heterogeneity : float
        Degree, extent (share of the body) and unevenness of marrow replacement.
    spared : tuple of float, length 3
        Direction (lateral, depth, height) that is spared longest; in ``partial`` marrow, the centre of the patch.
    band_share : float
        Share of the height that a band takes, from the upper end plate where positive, from the lower where negative.
    line : tuple of float, length 4
        Thickness (mm), distance from the end plate (share of the height), length (share of the depth), phase.
    cement : bool
        Whether the dark patch is cement rather than sclerosis.
    patch : tuple of float, length 4
        Centre (depth and height in half extents), radius (share of the depth), remaining signal.
    cleft : tuple of float, length 3
        Thickness (mm), length (share of the depth), 1 where it holds gas.
    nodules : tuple of tuple
        Centre (lateral, depth and height in half extents), radius (share of 0.62 depth), relative water signal.
    epidural : tuple of float, length 3
        Thickness (share of the depth of the canal), extent beyond the body (share of its height), side (-1, 0, 1).
    paraspinal_mm : float
        Thickness of the mass anterior to the body.
    pedicle : tuple of float, length 3
        Side (-1, 1, or 0 for none), expansion, 1 where the spinous process is involved.
    skips : int
        Number of skip lesions.
    """

    diagnosis: Diagnosis
    signs: dict[str, bool]
    shape: str
    marrow: str
    deformity: Deformity
    residual_fat: float
    amplitude: float
    covered: float
    heterogeneity: float
    spared: tuple[float, float, float]
    band_share: float
    line: tuple[float, float, float, float]
    cement: bool
    patch: tuple[float, float, float, float]
    cleft: tuple[float, float, float]
    nodules: tuple[tuple[float, float, float, float, float], ...]
    epidural: tuple[float, float, float]
    paraspinal_mm: float
    pedicle: tuple[float, float, float]
    skips: int


def draw_lesion(assignment: SignAssignment, difficulty: float, rng: np.random.Generator) -> LesionDraw:
    """Draw the numbers that render a lesion of given signs.

    Parameters
    ----------
    assignment : SignAssignment
    difficulty : float
        0 to 1; moves the residual fat of oedema and tumour towards each other.
    rng : numpy.random.Generator

    Returns
    -------
    LesionDraw
    """
    signs, marrow = assignment.signs, assignment.marrow
    malignant = assignment.diagnosis is Diagnosis.MALIGNANT
    if malignant:
        fat = rng.normal(0.04 + 0.06 * difficulty, 0.03 + 0.05 * difficulty)
    else:
        fat = rng.normal(0.24 - 0.13 * difficulty, 0.065)
    spared = rng.standard_normal(3)
    spared /= np.linalg.norm(spared)
    low = 0.82 if malignant else 0.80
    side = 1.0 if rng.random() < 0.78 else -1.0
    partial = marrow == "partial"
    mass = signs["epidural_paraspinal_mass"]
    return LesionDraw(
        diagnosis=assignment.diagnosis,
        signs=signs,
        shape=assignment.shape,
        marrow=marrow,
        residual_fat=float(np.clip(fat, 0.0, 0.45)),
        amplitude=float(rng.uniform(0.82, 1.0)),
        covered=float(rng.uniform(0.35, 0.62) if partial else rng.uniform(low + 0.02, 1.05 if malignant else 1.0)),
        heterogeneity=float(rng.uniform(0.07, 0.26) if malignant else rng.uniform(0.04, 0.20)),
        spared=_triple(spared),
        band_share=side * float(rng.uniform(0.43, 0.65)),
        line=(rng.uniform(1.4, 2.5), rng.uniform(0.28, 0.50), rng.uniform(0.50, 0.92), rng.uniform(0, 6.28)),
        cement=assignment.cement,
        patch=_patch(assignment.cement, rng),
        cleft=(rng.uniform(3, 5), rng.uniform(0.35, 0.7), float(rng.random() < 0.2 and not malignant)),
        nodules=_nodules(signs["nodular_lesion"], marrow, rng),
        epidural=_epidural(mass, malignant, rng),
        paraspinal_mm=_paraspinal(mass and malignant, rng),
        pedicle=_pedicle(signs["pedicle_posterior_element"], rng),
        skips=_skips(signs["skip_lesions"], malignant, rng),
        # Drawn last, because shapes need different numbers: a lesion of another shape is otherwise the same.
        deformity=_deformity(assignment.shape, signs["ap_protrusion"], malignant, rng),
    )


def _deformity(shape: str, protruding: bool, malignant: bool, rng: np.random.Generator) -> Deformity:
    anterior = posterior = central = 0.0
    if shape == "none":
        anterior, posterior = rng.uniform(0, 0.05), rng.uniform(0, 0.02)
    if shape.startswith("wedge"):
        anterior, posterior = rng.uniform(0.22, 0.52), rng.uniform(0, 0.07)
    if shape.startswith("entire"):
        anterior, posterior = rng.uniform(0.28, 0.60), rng.uniform(0.22, 0.45)
    if shape.endswith("concave"):
        central = rng.uniform(0.28, 0.45) if shape == "concave" else rng.uniform(0.14, 0.32)
    # The losses together must leave a visible body.
    central = min(central, 0.66 - (anterior + posterior) / 2)
    corner = rng.random() < (0.25 if malignant else 0.70)
    bulge = rng.uniform(3, 6)
    return Deformity(
        anterior=float(anterior),
        posterior=float(posterior),
        central=float(max(central, 0.0)),
        upper_share=float(rng.uniform(0.65, 1.0)),
        exponent=float(rng.uniform(0.9, 2.0)),
        bulge_mm=float(bulge) if protruding else 0.0,
        bulge_height=1.0 if corner else 0.0,
    )


def _patch(cement: bool, rng: np.random.Generator) -> tuple[float, float, float, float]:
    centre = rng.uniform([-0.35, -0.3], [0.35, 0.3])
    return float(centre[0]), float(centre[1]), float(rng.uniform(0.24, 0.36)), 0.07 if cement else 0.38


def _nodules(
    present: bool, marrow: str, rng: np.random.Generator
) -> tuple[tuple[float, float, float, float, float], ...]:
    count = int(rng.integers(1, 3))
    centres = rng.uniform([-0.35, -0.5, -0.35], [0.35, 0.5, 0.35], (2, 3))
    radii = rng.uniform(0.22, 0.36, 2)
    contrast = 1 + rng.choice([-1.0, 1.0], 2) * rng.uniform(0.18, 0.30, 2)
    if not present:
        return ()
    lone = marrow != "diffuse"
    return tuple(
        (*_triple(centres[item]), float(radii[item]), 1.0 if lone else float(contrast[item])) for item in range(count)
    )


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _epidural(present: bool, malignant: bool, rng: np.random.Generator) -> tuple[float, float, float]:
    share, reach, side = rng.uniform(0.26, 0.5), rng.uniform(0.65, 1.15), rng.choice([-1.0, 0.0, 1.0])
    if not present:
        return 0.0, 0.0, 0.0
    return float(share if malignant else 0.6 * share), float(reach), float(side)


def _paraspinal(present: bool, rng: np.random.Generator) -> float:
    thickness = rng.uniform(5, 12)
    return float(thickness) if present else 0.0


def _pedicle(present: bool, rng: np.random.Generator) -> tuple[float, float, float]:
    side, expansion, spinous = rng.choice([-1.0, 1.0]), rng.uniform(1.15, 1.5), rng.random() < 0.55
    return (float(side), float(expansion), float(spinous)) if present else (0.0, 1.0, 0.0)


def _skips(present: bool, malignant: bool, rng: np.random.Generator) -> int:
    count = int(rng.integers(1, 5))
    if not present:
        return 0
    return count if malignant else 1

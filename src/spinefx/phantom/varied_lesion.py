"""Lesions beyond the typical ones: each sign in the range of forms that radiologists describe."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from spinefx.phantom.lesion import LesionDraw
from spinefx.phantom.varied_deformity import draw_varied_deformity
from spinefx.vocabulary import Diagnosis

__all__ = ["VariedLesion", "vary_lesion"]

_STYLES = ("plain", "rim", "target")


@dataclass(frozen=True)
class VariedLesion(LesionDraw):
    """A lesion whose signs take any of their forms.

    Parameters
    ----------
    line_below : bool
        Whether the dark line lies above the lower end plate instead of below the upper one.
    line_centre, line_slope, line_waves : float
        Its middle along the depth (half extents); its slope, and the amplitude of its waves (shares of the height).
    line_gap : tuple of float, length 2
        Centre and half width of the gap in a broken line (half extents); the half width is 0 where it is whole.
    band_bow, band_softness : float
        Curvature of the band's edge and its width, shares of the height; 0 is straight.
    patches : tuple of tuple
        Dark patches: centre (lateral, depth and height in half extents), radius (share of the depth), remaining signal.
    ragged : float
        Irregularity of the outline of patches and nodules.
    cleft_place : str
        ``upper`` or ``lower``, along that end plate, or ``central``.
    cleft_along : float
        Middle of the cleft along the depth, half extents.
    nodule_styles : tuple of str
        ``plain``, ``rim`` (bright on T2W) or ``target`` (a fatty centre), one for each nodule.
    diffuse_form : str
        ``corner``, which spares one; ``patchy``, which leaves islands; or ``complete``.
    epidural_half_mm : float
        Half the width of the epidural mass.
    lateral_mass : tuple of float, length 2
        Side (-1, 1, or 0 for none) and radius (mm) of a paraspinal mass beside the body.
    cortex_erased : bool
        Whether the masses have eroded the cortex that they lie on.
    both_pedicles : bool
    """

    line_below: bool
    line_centre: float
    line_slope: float
    line_waves: float
    line_gap: tuple[float, float]
    band_bow: float
    band_softness: float
    patches: tuple[tuple[float, float, float, float, float], ...]
    ragged: float
    cleft_place: str
    cleft_along: float
    nodule_styles: tuple[str, ...]
    diffuse_form: str
    epidural_half_mm: float
    lateral_mass: tuple[float, float]
    cortex_erased: bool
    both_pedicles: bool


def vary_lesion(lesion: LesionDraw, rng: np.random.Generator) -> VariedLesion:
    """Draw other forms of the signs of a lesion.

    Parameters
    ----------
    lesion : LesionDraw
        The typical lesion; its signs, categories and residual fat remain.
    rng : numpy.random.Generator

    Returns
    -------
    VariedLesion
    """
    signs, malignant = lesion.signs, lesion.diagnosis is Diagnosis.MALIGNANT
    known = {item.name: getattr(lesion, item.name) for item in fields(LesionDraw)}
    # Every part is drawn whatever the signs, so that one sign does not change the form of another.
    drawn = (
        _line(rng)
        | _band(rng)
        | _patches(lesion, rng)
        | _cleft(malignant, rng)
        | _nodules(lesion, rng)
        | _masses(signs["epidural_paraspinal_mass"], malignant, rng)
        | _pedicles(signs["pedicle_posterior_element"], rng)
        | {
            "amplitude": float(rng.uniform(0.72, 1.0)),
            "heterogeneity": float(rng.uniform(0.02, 0.35)),
            "diffuse_form": str(rng.choice(["corner", "patchy", "complete"], p=[0.45, 0.3, 0.25])),
            "deformity": draw_varied_deformity(lesion.shape, signs["ap_protrusion"], malignant, rng),
        }
    )
    return VariedLesion(**(known | drawn))


def _line(rng: np.random.Generator) -> dict[str, Any]:
    # Along the end plate, where impacted trabeculae lie, or deeper in the body.
    level = rng.uniform(0.28, 0.50) if rng.random() < 0.55 else rng.uniform(0.05, 0.28)
    length = rng.uniform(0.35, 0.95)
    form = str(rng.choice(["straight", "wavy", "oblique", "broken"]))
    room = 0.95 - length
    centre = rng.uniform(-room, room)
    slope, waves, gap = rng.uniform(0.06, 0.16) * rng.choice([-1, 1]), rng.uniform(0.02, 0.06), rng.uniform(0.10, 0.20)
    gap_centre = centre + rng.uniform(-0.4, 0.4) * length
    return {
        "line": (rng.uniform(0.9, 3.0), level, length, rng.uniform(0, 6.28)),
        "line_below": bool(rng.random() < 0.3),
        "line_centre": float(centre),
        "line_slope": float(slope if form == "oblique" else 0.0),
        "line_waves": float(waves if form in {"wavy", "broken"} else 0.0),
        "line_gap": (float(gap_centre), float(gap if form == "broken" and length > 0.5 else 0.0)),
    }


def _band(rng: np.random.Generator) -> dict[str, Any]:
    side = 1.0 if rng.random() < 0.6 else -1.0
    curved = rng.random() < 0.5
    return {
        "band_share": side * float(rng.uniform(0.25, 0.70)),
        "band_bow": float(rng.uniform(-0.2, 0.2)) if curved else 0.0,
        "band_softness": float(rng.uniform(0.05, 0.22)),
    }


def _patches(lesion: LesionDraw, rng: np.random.Generator) -> dict[str, Any]:
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))
    centres = rng.uniform([-0.3, -0.65, -0.6], [0.3, 0.65, 0.6], (3, 3))
    radii = rng.uniform(0.15, 0.36, 3)
    radii[1:] *= 0.7
    left = 0.07 if lesion.cement else float(rng.uniform(0.2, 0.5))
    patches = tuple(
        (float(x), float(y), float(z), float(radius), left)
        for (x, y, z), radius in zip(centres[:count], radii[:count], strict=True)
    )
    _, along, up, radius, _ = patches[0]
    return {"patches": patches, "patch": (along, up, radius, left), "ragged": float(rng.uniform(0.1, 0.4))}


def _cleft(malignant: bool, rng: np.random.Generator) -> dict[str, Any]:
    place = str(rng.choice(["upper", "lower", "central"], p=[0.6, 0.2, 0.2]))
    return {
        "cleft": (rng.uniform(1.5, 6.0), rng.uniform(0.3, 0.85), float(rng.random() < 0.25 and not malignant)),
        "cleft_place": "central" if malignant else place,
        "cleft_along": float(rng.uniform(-0.3, 0.1)),
    }


def _nodules(lesion: LesionDraw, rng: np.random.Generator) -> dict[str, Any]:
    count = int(rng.choice([1, 2, 3, 4, 5], p=[0.35, 0.25, 0.2, 0.1, 0.1]))
    centres = rng.uniform([-0.4, -0.65, -0.6], [0.4, 0.65, 0.6], (5, 3))
    centres[0, 0] *= 0.4  # at least one near the midline
    radii = np.exp(rng.uniform(np.log(0.11), np.log(0.40), 5))
    radii[0] = max(radii[0], 0.16)
    contrast = 1 + rng.choice([-1.0, 1.0], 5) * rng.uniform(0.18, 0.35, 5)
    styles = rng.choice(_STYLES, 5, p=[0.6, 0.25, 0.15])
    if not lesion.signs["nodular_lesion"]:
        return {"nodules": (), "nodule_styles": ()}
    lone = lesion.marrow != "diffuse"
    nodules = tuple(
        (float(x), float(y), float(z), float(radii[index]), 1.0 if lone else float(contrast[index]))
        for index, (x, y, z) in enumerate(centres[:count])
    )
    return {"nodules": nodules, "nodule_styles": tuple(map(str, styles[:count]))}


def _masses(present: bool, malignant: bool, rng: np.random.Generator) -> dict[str, Any]:
    parts = rng.random(3) < [0.75, 0.45, 0.35]  # epidural, anterior, beside the body
    if not parts.any() or not malignant:  # a haematoma of a benign fracture is epidural and thin
        parts = np.array([True, False, False])
    share, reach, side = rng.uniform(0.2, 0.55), rng.uniform(0.5, 1.4), rng.choice([-1.0, 0.0, 1.0])
    anterior, radius, flank = rng.uniform(3, 15), rng.uniform(7, 20), rng.choice([-1.0, 1.0])
    half = rng.uniform(6.0, 8.5) if side else rng.uniform(8.0, 11.5)
    erased = bool(rng.random() < 0.6)
    thick = share if malignant else 0.6 * share
    return {
        "epidural": (float(thick), float(reach), float(1.8 * side)) if present and parts[0] else (0.0, 0.0, 0.0),
        "epidural_half_mm": float(half),
        "paraspinal_mm": float(anterior) if present and parts[1] else 0.0,
        "lateral_mass": (float(flank), float(radius)) if present and parts[2] else (0.0, 0.0),
        "cortex_erased": erased and malignant,
    }


def _pedicles(present: bool, rng: np.random.Generator) -> dict[str, Any]:
    side, expanded, spinous = rng.choice([-1.0, 1.0]), rng.random() < 0.6, rng.random() < 0.45
    expansion, both = rng.uniform(1.12, 1.6), bool(rng.random() < 0.3)
    return {
        "pedicle": (float(side), float(expansion) if expanded else 1.0, float(spinous)) if present else (0.0, 1.0, 0.0),
        "both_pedicles": both and present,
    }

"""The clearest phantom of each sign and distractor, with the point that shows it, for the gallery and the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import RecipeError
from spinefx.phantom.case import spine_of
from spinefx.phantom.lesion import LesionDraw
from spinefx.phantom.random_streams import CaseDraw, PhantomSettings, draw_case
from spinefx.phantom.vertebra import Deformity, Vertebra
from spinefx.phantom.vertebral_bodies import FocalChange
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis

__all__ = ["DISTRACTORS", "clearest_case", "place_of"]

DISTRACTORS = ("haemangioma", "schmorl", "modic1", "modic2", "modic3", "healed_fracture", "osteophyte")
"""Findings that both classes show equally and that no sign counts."""

# Patients of the default cohort; the second has large osteophytes at L3.
_PATIENT, _OSTEOPHYTE_PATIENT = 15, 61
_SOUND = Deformity(anterior=0.01, posterior=0.0)
_COLLAPSED = Deformity(anterior=0.30, posterior=0.03, upper_share=0.85)
# For each sign: whether its clearest case is malignant, the deformity, the marrow, and other lesion parameters.
_CLEAREST: dict[str, tuple[bool, Deformity, str, dict[str, Any]]] = {
    "absence_of_collapse": (True, _SOUND, "diffuse", {}),
    "anterior_wedge": (False, Deformity(anterior=0.48, posterior=0.02, upper_share=0.9), "homogeneous", {}),
    "entire_body_compression": (False, Deformity(anterior=0.52, posterior=0.40, upper_share=0.8), "homogeneous", {}),
    "central_concave": (False, Deformity(central=0.42, upper_share=0.7, exponent=1.1), "homogeneous", {}),
    "homogeneous_marrow": (False, _COLLAPSED, "homogeneous", {}),
    "dark_line_band": (False, _COLLAPSED, "homogeneous", {"line": (2.4, 0.42, 0.85, 1.2)}),
    "band_pattern_oedema": (False, _COLLAPSED, "band", {"band_share": 0.50}),
    "dark_patch": (False, _COLLAPSED, "homogeneous", {"patch": (-0.1, 0.0, 0.30, 0.07)}),
    "fluid_necrotic_cleft": (False, _COLLAPSED, "band", {"cleft": (4.5, 0.60, 0.0), "band_share": 0.6}),
    "diffuse_signal_change": (True, _COLLAPSED, "diffuse", {}),
    "nodular_lesion": (True, _SOUND, "nodules", {"nodules": ((0.0, 0.1, 0.0, 0.36, 1.0),)}),
    "ap_protrusion": (True, Deformity(anterior=0.30, posterior=0.24, bulge_mm=6.0), "diffuse", {}),
    "epidural_paraspinal_mass": (True, _SOUND, "diffuse", {"epidural": (0.48, 1.0, 0.0), "paraspinal_mm": 11.0}),
    "pedicle_posterior_element": (True, _SOUND, "diffuse", {"pedicle": (1.0, 1.45, 1.0)}),
    "skip_lesions": (True, _SOUND, "diffuse", {"skips": 1}),
}


def clearest_case(name: str) -> CaseDraw:
    """Return a patient with one conspicuous sign or distractor.

    Parameters
    ----------
    name : str
        One of the fifteen identifiers or of :data:`DISTRACTORS`.

    Returns
    -------
    CaseDraw
        The same patient each time, lying still, at 512 x 512; with no other focal change. A distractor sits one level
        below an intact lesion vertebra.

    Raises
    ------
    RecipeError
        For another name.
    """
    base = draw_case(
        PhantomSettings(motion=0.0, vendor="ge"), _OSTEOPHYTE_PATIENT if name == "osteophyte" else _PATIENT
    )
    # The middle slice lies in the midsagittal plane.
    middles = {series: (0.0, *place[1:]) for series, place in base.field_mm.items()}
    straight = dict.fromkeys(base.oblique_deg, (0.0, 0.0, 0.0))
    t1w, t2w = (replace(series, saturation=0.3, slices=15) for series in (base.t1w, base.t2w))
    base = replace(base, spots=(), healed={}, t1w=t1w, t2w=t2w, field_mm=middles, oblique_deg=straight)
    # Fatty distractors need marrow with less fat, replaced marrow needs neighbours with more.
    base = replace(base, habitus=replace(base.habitus, marrow_fat=0.38 if name in DISTRACTORS else 0.5))
    if name in DISTRACTORS:
        return _with_distractor(base, name)
    if name not in _CLEAREST:
        raise RecipeError(
            f"unknown sign {name!r}", where="phantom", allowed=", ".join((*SIGN_IDENTIFIERS, *DISTRACTORS))
        )
    malignant, deformity, marrow, more = _CLEAREST[name]
    lesion = _lesion(base.lesion, malignant, deformity, marrow, name, more)
    spots = (FocalChange("L4", "metastasis", (0.0, -0.1, 0.1), 9.0, 0.03),) if name == "skip_lesions" else ()
    return replace(base, diagnosis=lesion.diagnosis, lesion=lesion, spots=spots)


def _lesion(
    base: LesionDraw, malignant: bool, deformity: Deformity, marrow: str, name: str, more: dict[str, Any]
) -> LesionDraw:
    signs = dict.fromkeys(SIGN_IDENTIFIERS, False) | {
        "homogeneous_marrow": marrow == "homogeneous",
        "band_pattern_oedema": marrow == "band",
        "diffuse_signal_change": marrow == "diffuse",
        "absence_of_collapse": deformity is _SOUND,
        "anterior_wedge": deformity is _COLLAPSED,
        name: True,
    }
    plain: dict[str, Any] = {
        "nodules": (),
        "epidural": (0.0, 0.0, 0.0),
        "paraspinal_mm": 0.0,
        "pedicle": (0.0, 1.0, 0.0),
        "skips": 0,
        "covered": 1.05,
        "amplitude": 1.0,
        "heterogeneity": 0.08,
        "residual_fat": 0.04 if malignant else 0.12,
    }
    diagnosis = Diagnosis.MALIGNANT if malignant else Diagnosis.BENIGN
    return replace(
        base, diagnosis=diagnosis, signs=signs, shape="", marrow=marrow, deformity=deformity, **(plain | more)
    )


def _with_distractor(base: CaseDraw, name: str) -> CaseDraw:
    sound = _lesion(base.lesion, False, _SOUND, "homogeneous", "absence_of_collapse", {})
    draw = replace(base, diagnosis=Diagnosis.BENIGN, lesion=sound)
    below = _below(draw)
    if name == "healed_fracture":
        return replace(draw, healed={below: Deformity(anterior=0.40, posterior=0.06, central=0.1, upper_share=0.9)})
    if name == "osteophyte":
        return draw
    centre = (0.0, 0.0, 0.1) if name == "haemangioma" else (0.0, 0.1, 1.0)
    return replace(draw, spots=(FocalChange(below, name, centre, 9.0, 0.2),))


def _below(draw: CaseDraw) -> str:
    return f"L{int(draw.level[1:]) + 1}"


def place_of(draw: CaseDraw, name: str) -> NDArray[np.float64]:
    """Return the point that shows a sign or a distractor best.

    Parameters
    ----------
    draw : CaseDraw
        A patient with this sign or distractor.
    name : str
        One of the fifteen identifiers or of :data:`DISTRACTORS`.

    Returns
    -------
    ndarray, shape (3,)
        Patient coordinates during T2W, millimetres.

    Raises
    ------
    RecipeError
        For another name.
    """
    spine = spine_of(draw)
    table = np.array(draw.table_mm)
    if name in {"skip_lesions", *DISTRACTORS}:
        level = draw.spots[0].level if draw.spots else _below(draw)
        item = spine.vertebrae[spine.find(level) or 0]
        elsewhere: NDArray[np.float64] = item.world(_elsewhere(draw, name, item)) + table
        return elsewhere
    if name not in _PLACES:
        raise RecipeError(
            f"unknown sign {name!r}", where="phantom", allowed=", ".join((*SIGN_IDENTIFIERS, *DISTRACTORS))
        )
    item = spine.lesion_vertebra
    place: NDArray[np.float64] = item.world(_PLACES[name](draw.lesion, item)) + table
    return place


def _elsewhere(draw: CaseDraw, name: str, item: Vertebra) -> NDArray[np.float64]:
    if name == "osteophyte":
        return np.array([0.0, -item.depth_mm / 2 - 0.5 * item.osteophyte_mm, _plate(item, -item.depth_mm / 2) - 1])
    if name == "healed_fracture":
        return np.array([0.0, -0.3 * item.depth_mm, _plate(item, -0.3 * item.depth_mm)])
    (spot,) = draw.spots
    half = np.array([item.width_mm, item.depth_mm, item.height_mm]) / 2
    place: NDArray[np.float64] = half * spot.centre
    if abs(spot.centre[2]) == 1:
        place[2] = _plate(item, place[1]) - 0.3 * spot.radius_mm
    return place


def _plate(item: Vertebra, depth_mm: float) -> float:
    """Height of the upper end plate in the midline, millimetres."""
    return float(item.end_plates(np.zeros(1, np.float32), np.full(1, depth_mm, np.float32))[1][0])


def _inside(item: Vertebra, depth_mm: float, share: float) -> NDArray[np.float64]:
    """Point in the midline, at a share of the height above the lower end plate."""
    lower, upper = item.end_plates(np.zeros(1, np.float32), np.full(1, depth_mm, np.float32))
    return np.array([0.0, depth_mm, float(lower[0] + share * (upper[0] - lower[0]))])


def _bulge(lesion: LesionDraw, item: Vertebra) -> NDArray[np.float64]:
    height = 0.31 * item.deformity.bulge_height * item.height_mm
    _, back = item.walls(np.zeros(1, np.float32), np.full(1, height, np.float32))
    return np.array([0.0, float(back[0]), height])


def _cleft(lesion: LesionDraw, item: Vertebra) -> NDArray[np.float64]:
    if lesion.diagnosis is Diagnosis.MALIGNANT:
        return np.zeros(3)
    depth = -0.12 * item.depth_mm
    return np.array([0.0, depth, _plate(item, depth) - 1.8 - lesion.cleft[0] / 2])


def _mass(lesion: LesionDraw, item: Vertebra) -> NDArray[np.float64]:
    return np.array([0.0, item.depth_mm / 2 + 0.4 * lesion.epidural[0] * item.canal_mm, 0.0])


def _pedicle(lesion: LesionDraw, item: Vertebra) -> NDArray[np.float64]:
    return np.array([15.5 * lesion.pedicle[0], item.depth_mm / 2 + 0.5 * item.canal_mm, 0.19 * item.height_mm])


_PLACES: dict[str, Callable[[LesionDraw, Vertebra], NDArray[np.float64]]] = {
    "absence_of_collapse": lambda _, item: _inside(item, -0.2 * item.depth_mm, 1.0),
    "anterior_wedge": lambda _, item: _inside(item, -0.42 * item.depth_mm, 1.0),
    "entire_body_compression": lambda _, item: _inside(item, 0.0, 1.0),
    "central_concave": lambda _, item: _inside(item, 0.0, 1.0),
    "homogeneous_marrow": lambda _, item: _inside(item, 0.0, 0.5),
    "dark_line_band": lambda lesion, item: _inside(
        item, 0.0, 1 - lesion.line[1] + 0.05 * np.sin(lesion.line[3]) + 0.03 * np.sin(2 * lesion.line[3])
    ),
    "band_pattern_oedema": lambda lesion, item: _inside(
        item, 0.0, 1 - lesion.band_share / 2 if lesion.band_share > 0 else -lesion.band_share / 2
    ),
    "dark_patch": lambda lesion, item: _inside(item, lesion.patch[0] * item.depth_mm / 2, 0.5 + lesion.patch[1] / 2),
    "fluid_necrotic_cleft": _cleft,
    "diffuse_signal_change": lambda _, item: _inside(item, 0.0, 0.5),
    "nodular_lesion": lambda lesion, item: (
        np.array(lesion.nodules[0][:3]) * (item.width_mm / 2, item.depth_mm / 2, item.height_mm * 0.4)
    ),
    "ap_protrusion": _bulge,
    "epidural_paraspinal_mass": _mass,
    "pedicle_posterior_element": _pedicle,
}

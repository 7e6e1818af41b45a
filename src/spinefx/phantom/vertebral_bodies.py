"""Vertebral bodies: cortex, marrow, focal changes, and the lesion inside one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.canvas import Canvas, Region, Texture, coverage
from spinefx.phantom.habitus import Habitus
from spinefx.phantom.label_codes import Structure
from spinefx.phantom.lesion import LesionDraw
from spinefx.phantom.lesion_marrow import Marrow, apply_lesion, cleft_coverage, replace_share
from spinefx.phantom.spine import Spine
from spinefx.phantom.tissue import BONE_VOLUME, TissueSignals, disc_nucleus
from spinefx.phantom.vertebra import Vertebra

__all__ = ["FocalChange", "inside_body", "paint_bodies"]

_Floats = NDArray[Any]  # of float32, which is precise enough and faster than float64
_KEEP = np.float32(1 - BONE_VOLUME)
_SKIPS = ("metastasis", "replacement", "focus")


@dataclass(frozen=True)
class FocalChange:
    """A focal change in one vertebral body, other than the lesion.

    Parameters
    ----------
    level : str
    kind : str
        ``haemangioma``, ``metastasis``, ``replacement``, ``modic1``, ``modic2``, ``modic3``, ``schmorl``, ``focus``, or
        ``irradiated``, which is all marrow between two straight edges.
    centre : tuple of float, length 3
        Lateral, depth and height in half extents of the body.
    radius_mm : float
    residual_fat : float
        Fat fraction at its centre.
    """

    level: str
    kind: str
    centre: tuple[float, float, float]
    radius_mm: float
    residual_fat: float


def paint_bodies(
    canvas: Canvas,
    spine: Spine,
    habitus: Habitus,
    texture: Texture,
    signals: TissueSignals,
    lesion: LesionDraw,
    spots: tuple[FocalChange, ...],
) -> None:
    """Paint all vertebral bodies: the cortex, then the marrow with its focal changes.

    Parameters
    ----------
    canvas : Canvas
        Painted in place.
    spine : Spine
    habitus : Habitus
    texture : Texture
    signals : TissueSignals
    lesion : LesionDraw
        The lesion of the target vertebra.
    spots : tuple of FocalChange
    """
    for index, item in enumerate(spine.vertebrae):
        half_depth = item.depth_mm / 2 + item.osteophyte_mm + item.deformity.bulge_mm + 3.5
        half_height = item.height_mm * 0.56 + 3
        half_width = item.width_mm / 2 + 2
        region = canvas.box(item, (-half_width, -half_depth, -half_height), (half_width, half_depth, half_height))
        if region is None:
            continue
        place = region.local(item)
        inside = inside_body(item, place)
        marrow = _normal_marrow(region, item, place, habitus, texture, signals, index)
        nodes = [spot for spot in spots if spot.level == item.level and spot.kind == "schmorl"]
        for spot in spots:
            if spot.level == item.level and spot.kind != "schmorl":
                changed = _apply_spot(marrow, region, spot, item, place, texture, signals)
                if spot.kind in _SKIPS:
                    canvas.mark_sign(region, changed * coverage(inside - 0.9, canvas.pixel_mm), "skip_lesions")
        if index == spine.target:
            apply_lesion(marrow, region, lesion, item, place, texture, signals)
        cortex = 0.9
        whole = coverage(inside, canvas.pixel_mm)
        # Segmental vessels run around the body at mid-height, just outside the cortex.
        if item.level[0] in "TL":
            vessel = coverage(1.1 - np.hypot(inside + 1.9, place[2]), 1.0) * (place[1] < 0.3 * item.depth_mm)
            canvas.blend(region, vessel * 0.7, 0.02, 0.0)
        canvas.blend(region, whole, *signals.pair("cortex"))
        canvas.mark(region, whole, Structure.BODY, index)
        own = signals.water("marrow_water")
        water = _KEEP * (1 - marrow.fat) * (own + marrow.share * (marrow.foreign - own)) * marrow.gain
        fat = _KEEP * marrow.fat * signals.fat * marrow.gain
        inner = coverage(inside - cortex, canvas.pixel_mm)
        canvas.blend(region, inner, water, fat)
        for spot in nodes:
            _paint_node(canvas, region, spot, item, place, texture, signals)
        if index == spine.target:
            canvas.mark(region, inner * marrow.changed, Structure.LESION, index)
            for sign, alpha in marrow.by_sign.items():
                canvas.mark_sign(region, inner * alpha, sign)
            cleft = cleft_coverage(region, lesion, item, place, inside, texture)
            if cleft is not None:
                canvas.blend(region, cleft, signals.water("fluid") * (0.03 if lesion.cleft[2] else 1.0), 0.0)
                canvas.mark(region, cleft, Structure.LESION, index)
                canvas.mark_sign(region, cleft, "fluid_necrotic_cleft")


def inside_body(item: Vertebra, place: tuple[_Floats, _Floats, _Floats]) -> _Floats:
    """Return the signed distance to the surface of a body, which has rounded corners.

    Parameters
    ----------
    item : Vertebra
    place : tuple of ndarray, any one shape
        Lateral, depth and height in the vertebra's own frame, millimetres.

    Returns
    -------
    ndarray of the same shape
        Positive inside, approximately millimetres.
    """
    side, depth, height = place
    lower, upper = item.end_plates(side, depth)
    front, back = item.walls(side, height)
    plates = np.minimum(upper - height, height - lower)
    # The lateral walls are concave between the end plates.
    rise = np.clip(height * np.float32(2 / item.height_mm), -1, 1)
    flank = np.float32(item.width_mm / 2) - np.abs(side) - 2.2 * (1 - rise * rise)
    walls = np.minimum(np.minimum(depth - front, back - depth), flank)
    radius = np.float32(1.5)
    corner = radius - np.hypot(np.minimum(plates, radius) - radius, np.minimum(walls, radius) - radius)
    result: _Floats = np.where((plates < radius) & (walls < radius), corner, np.minimum(plates, walls))
    return result


def _normal_marrow(
    region: Region,
    item: Vertebra,
    place: tuple[_Floats, _Floats, _Floats],
    habitus: Habitus,
    texture: Texture,
    signals: TissueSignals,
    index: int,
) -> Marrow:
    side, depth, height = place
    coarse = texture.sample(region, 9.0 * habitus.grain, 0)
    fine = texture.sample(region, 3.2 * habitus.grain, 1)
    grain = texture.sample(region, 1.5 * habitus.grain, 14, (1.0, 1.0, 0.7))  # trabeculae run vertically
    level = 0.35 * np.sin(12.9898 * (index + 1) + 78.233 * habitus.marrow_fat)  # an offset of the whole body
    fat = habitus.marrow_fat + habitus.marrow_texture * (0.45 * coarse + 0.45 * fine + 0.95 * grain + level)
    # The basivertebral vein enters posteriorly, and fat surrounds it.
    half = item.depth_mm / 2
    vein = np.hypot((depth - 0.95 * half) / (0.42 * half), height / 2.6) + np.abs(side) / 9
    fat = fat + 0.10 * np.exp(-np.square(np.hypot((depth - 0.5 * half) / half, height / 7)))
    share = np.clip(1.3 - 1.3 * vein, 0, 0.75).astype(np.float32)
    fat = np.clip(fat, 0.03, 0.95) * (1 - 0.8 * share)
    foreign = np.full_like(share, signals.water("fluid"))
    return Marrow(fat.astype(np.float32), share, foreign, np.ones_like(share), np.zeros_like(share))


def _apply_spot(
    marrow: Marrow,
    region: Region,
    spot: FocalChange,
    item: Vertebra,
    place: tuple[_Floats, _Floats, _Floats],
    texture: Texture,
    signals: TissueSignals,
) -> _Floats:
    """Apply a focal change to the marrow and return its coverage."""
    side, depth, height = place
    half = item.width_mm / 2, item.depth_mm / 2, item.height_mm / 2
    centre = [share * extent for share, extent in zip(spot.centre, half, strict=True)]
    wobble = texture.sample(region, 5.0, 6)
    distance = np.sqrt((side - centre[0]) ** 2 + (depth - centre[1]) ** 2 + (height - centre[2]) ** 2)
    inside = np.float32(spot.radius_mm) * (1 + 0.16 * wobble) - distance
    if spot.kind.startswith("modic"):
        lower, upper = item.end_plates(side, depth)
        under = upper - height if spot.centre[2] > 0 else height - lower
        along = np.abs(depth - np.float32(centre[1]))
        inside = np.minimum(spot.radius_mm * 0.75 - under, spot.radius_mm * 1.5 - along) + 1.2 * wobble
    if spot.kind == "replacement":
        inside = np.float32(6) + 2 * wobble
    if spot.kind == "irradiated":
        inside = np.float32(spot.radius_mm) - np.abs(height - centre[2])
    tissue, fat, strength, softness = {
        "haemangioma": ("haemangioma", 0.62 + 0.2 * spot.residual_fat, 0.9, 1.5),
        "metastasis": ("lytic", spot.residual_fat, 0.95, 1.5),
        "replacement": ("lytic", spot.residual_fat, 0.92, 1.5),
        "irradiated": ("marrow_water", spot.residual_fat, 1.0, 1.5),
        "focus": ("oedema", spot.residual_fat, 0.8, 2.0),
        "modic1": ("oedema", 0.5 * spot.residual_fat + 0.05, 0.85, 2.5),
        "modic2": ("marrow_water", 0.88, 0.9, 2.5),
        "modic3": ("blastic", 0.08, 0.85, 2.5),
    }[spot.kind]
    alpha = coverage(inside, softness)
    replace_share(marrow, alpha * np.float32(strength), fat, signals.water(tissue))
    return alpha


def _paint_node(
    canvas: Canvas,
    region: Region,
    spot: FocalChange,
    item: Vertebra,
    place: tuple[_Floats, _Floats, _Floats],
    texture: Texture,
    signals: TissueSignals,
) -> None:
    """Paint a Schmorl node: disc material herniated through an end plate, with a sclerotic rim."""
    side, depth, height = place
    lower, upper = item.end_plates(side, depth)
    under = upper - height if spot.centre[2] > 0 else height - lower
    x, y = spot.centre[0] * item.width_mm / 2, spot.centre[1] * item.depth_mm / 2
    broad = np.hypot(side - np.float32(x), depth - np.float32(y))
    node = np.float32(0.6 * spot.radius_mm) * (1 + 0.12 * texture.sample(region, 5.0, 6)) - np.hypot(broad, under)
    bounds = coverage(under + 1.5, 1.0)
    canvas.blend(region, coverage(node + 1.2, 1.0) * bounds, *signals.pair("cortex"))
    nucleus = 0.6 * signals.water(disc_nucleus(item.disc_grade)) + 0.4 * signals.water("annulus")
    canvas.blend(region, coverage(node, 1.2) * bounds, nucleus, 0.0)

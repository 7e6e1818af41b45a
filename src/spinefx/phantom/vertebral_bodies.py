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
from spinefx.phantom.spine import Spine
from spinefx.phantom.tissue import BONE_VOLUME, TissueSignals, disc_nucleus
from spinefx.phantom.vertebra import Vertebra

__all__ = ["FocalChange", "paint_bodies"]

_Floats = NDArray[Any]  # of float32, which is precise enough and faster than float64
_KEEP = np.float32(1 - BONE_VOLUME)


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


@dataclass
class _Marrow:
    """Composition of the marrow of one region.

    Fat fraction, share and signal of water that is not marrow's own, signal factor, and degree of change by the lesion.
    """

    fat: _Floats
    share: _Floats
    foreign: _Floats
    gain: _Floats
    changed: _Floats


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
        inside = _inside(item, place)
        marrow = _normal_marrow(region, item, place, habitus, texture, signals, index)
        nodes = [spot for spot in spots if spot.level == item.level and spot.kind == "schmorl"]
        for spot in spots:
            if spot.level == item.level and spot.kind != "schmorl":
                _apply_spot(marrow, region, spot, item, place, texture, signals)
        if index == spine.target:
            _apply_lesion(marrow, region, lesion, item, place, texture, signals)
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
            alpha = _cleft(region, lesion, item, place, inside, texture)
            if alpha is not None:
                canvas.blend(region, alpha, signals.water("fluid") * (0.03 if lesion.cleft[2] else 1.0), 0.0)
                canvas.mark(region, alpha, Structure.LESION, index)


def _inside(item: Vertebra, place: tuple[_Floats, _Floats, _Floats]) -> _Floats:
    """Signed distance to the surface of the body, positive inside, with rounded corners."""
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
) -> _Marrow:
    side, depth, height = place
    coarse = texture.sample(region, 9.0, 0)
    fine = texture.sample(region, 3.2, 1)
    grain = texture.sample(region, 1.5, 14, (1.0, 1.0, 0.7))  # trabeculae run vertically
    level = 0.35 * np.sin(12.9898 * (index + 1) + 78.233 * habitus.marrow_fat)  # an offset of the whole body
    fat = habitus.marrow_fat + habitus.marrow_texture * (0.45 * coarse + 0.45 * fine + 0.95 * grain + level)
    # The basivertebral vein enters posteriorly, and fat surrounds it.
    half = item.depth_mm / 2
    vein = np.hypot((depth - 0.95 * half) / (0.42 * half), height / 2.6) + np.abs(side) / 9
    fat = fat + 0.10 * np.exp(-np.square(np.hypot((depth - 0.5 * half) / half, height / 7)))
    share = np.clip(1.3 - 1.3 * vein, 0, 0.75).astype(np.float32)
    fat = np.clip(fat, 0.03, 0.95) * (1 - 0.8 * share)
    foreign = np.full_like(share, signals.water("fluid"))
    return _Marrow(fat.astype(np.float32), share, foreign, np.ones_like(share), np.zeros_like(share))


def _replace(marrow: _Marrow, alpha: _Floats, fat: float, water: float) -> None:
    """Replace a share alpha of the marrow by tissue of another fat fraction and another water."""
    # About a tenth of the marrow's texture remains, because no tissue is uniform.
    marrow.fat += alpha * (np.float32(fat) + np.float32(0.12) * (marrow.fat - marrow.fat.mean()) - marrow.fat)
    np.maximum(marrow.fat, 0, out=marrow.fat)
    left = (1 - alpha) * marrow.share
    marrow.share = left + alpha
    marrow.foreign = (left * marrow.foreign + alpha * np.float32(water)) / np.maximum(marrow.share, np.float32(1e-6))


def _note(marrow: _Marrow, alpha: _Floats) -> None:
    """Record where the lesion has changed the marrow."""
    np.maximum(marrow.changed, alpha, out=marrow.changed)


def _apply_spot(
    marrow: _Marrow,
    region: Region,
    spot: FocalChange,
    item: Vertebra,
    place: tuple[_Floats, _Floats, _Floats],
    texture: Texture,
    signals: TissueSignals,
) -> None:
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
    _replace(marrow, coverage(inside, softness) * np.float32(strength), fat, signals.water(tissue))


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


def _apply_lesion(
    marrow: _Marrow,
    region: Region,
    lesion: LesionDraw,
    item: Vertebra,
    place: tuple[_Floats, _Floats, _Floats],
    texture: Texture,
    signals: TissueSignals,
) -> None:
    """Apply the lesion to the marrow: replacement or oedema, nodules, dark line and dark patch."""
    side, depth, height = place
    lower, upper = item.end_plates(side, depth)
    span = np.maximum(upper - lower, 3.0)
    level = np.clip((height - lower) / span, 0, 1)
    amount = _amount(region, lesion, item, place, level, texture)
    malignant = lesion.diagnosis.value == "malignant"
    if lesion.marrow != "homogeneous" and lesion.marrow != "nodules":
        uneven = 1 - lesion.heterogeneity * np.abs(texture.sample(region, 6.5, 7))
        alpha = np.clip(amount * np.float32(lesion.amplitude) * uneven, 0, 1).astype(np.float32)
        _replace(marrow, alpha, lesion.residual_fat, signals.water("lytic" if malignant else "oedema"))
        _note(marrow, amount)
    half = item.width_mm / 2, item.depth_mm / 2, item.height_mm * 0.4
    for *centre, radius, contrast in lesion.nodules:
        offset = [share * extent for share, extent in zip(centre, half, strict=True)]
        wobble = texture.sample(region, 7.0, 8)
        distance = np.sqrt((side - offset[0]) ** 2 + (depth - offset[1]) ** 2 + (1.15 * (height - offset[2])) ** 2)
        inside = np.float32(radius * 0.62 * item.depth_mm) * (1 + 0.15 * wobble) - distance
        alpha = coverage(inside, 1.3)
        _replace(marrow, alpha, lesion.residual_fat * 0.5, signals.water("nodule") * contrast)
        _note(marrow, alpha)
    if lesion.signs["dark_line_band"]:
        line = _line(lesion, item, place, (upper - height) / span, span)
        marrow.gain *= 1 - 0.72 * line
        _note(marrow, line)
    if lesion.signs["dark_patch"]:
        along, up, radius, left = lesion.patch
        wobble = texture.sample(region, 5.5, 9)
        level_mm = (level - 0.5 - up / 2) * span
        distance = np.hypot(np.hypot(depth - along * item.depth_mm / 2, side * 0.7), level_mm * 1.1)
        size = np.minimum(radius * item.depth_mm, 0.48 * span)
        blob = coverage(size * (1 + 0.25 * wobble) - distance, 1.5)
        marrow.gain *= 1 - np.float32(1 - left) * blob
        _note(marrow, blob)


def _amount(
    region: Region,
    lesion: LesionDraw,
    item: Vertebra,
    place: tuple[_Floats, _Floats, _Floats],
    level: _Floats,
    texture: Texture,
) -> _Floats:
    """Degree to which the marrow is changed, 0 to 1."""
    side, depth, _ = place
    wobble = texture.sample(region, 8.0, 10)
    if lesion.marrow == "band":
        share = abs(lesion.band_share)
        distance = (1 - level) if lesion.band_share > 0 else level
        result: _Floats = coverage((share - distance) + 0.05 * wobble, 0.14)
        return result
    across, along = side / (item.width_mm / 2), depth / (item.depth_mm / 2)
    up = 2 * level - 1
    if lesion.marrow == "partial":
        # A patch around a point, large enough to cover the given share of the body.
        reach = 1.28 * lesion.covered ** (1 / 2)
        x, y, z = (0.75 * value for value in lesion.spared)
        distance = np.sqrt(0.5 * (across - 0.6 * x) ** 2 + (along - y) ** 2 + (up - z) ** 2)
        return coverage(reach - distance + 0.14 * wobble, 0.35)
    # Diffuse change covers all but a corner, in the direction that is spared longest.
    x, y, z = lesion.spared
    norm = float(np.hypot(y, z)) or 1.0
    corner = (along * y + up * z) / norm + 0.15 * across * x + 0.12 * wobble
    limit = np.interp(lesion.covered, [0.78, 0.9, 0.97, 1.0, 1.05], [0.62, 0.88, 1.12, 1.3, 2.0])
    return coverage(np.float32(limit) - corner, 0.25)


def _line(
    lesion: LesionDraw,
    item: Vertebra,
    place: tuple[_Floats, _Floats, _Floats],
    depth_share: _Floats,
    span: _Floats,
) -> _Floats:
    thickness, level, length, phase = lesion.line
    side, depth, _ = place
    along = depth / (item.depth_mm / 2)
    wave = 0.05 * np.sin(4.2 * along + phase) + 0.03 * np.sin(9.1 * along + 2 * phase + 0.1 * side)
    distance = np.abs(depth_share - level + wave) * span
    start = 0.12 * np.sin(phase)
    ends = (length - np.abs(along - start)) * item.depth_mm / 2
    return coverage(np.minimum(thickness / 2 - distance, ends), 0.8)


def _cleft(
    region: Region,
    lesion: LesionDraw,
    item: Vertebra,
    place: tuple[_Floats, _Floats, _Floats],
    inside: _Floats,
    texture: Texture,
) -> _Floats | None:
    """Coverage by the cleft, which holds fluid, gas or necrosis; None without one."""
    if not lesion.signs["fluid_necrotic_cleft"]:
        return None
    side, depth, height = place
    thickness, length, _ = lesion.cleft
    if lesion.diagnosis.value == "malignant":
        wobble = texture.sample(region, 5.0, 11)
        distance = np.sqrt(depth**2 + (0.6 * side) ** 2 + height**2)
        cavity = np.float32(0.17 * item.depth_mm) * (1 + 0.4 * wobble) - distance
    else:
        lower, upper = item.end_plates(side, depth)
        half = np.minimum(
            np.float32(thickness / 2), 0.2 * (upper - lower)
        )  # a flat body leaves room for a thin cleft only
        reach = np.float32(length * item.depth_mm / 2)
        along = np.hypot(depth + np.float32(0.12 * item.depth_mm), 0.6 * side) / reach
        # A lens with tapering ends and slightly uneven surfaces.
        thick = half * np.sqrt(np.maximum(1 - np.square(np.square(along)), 0)) + 0.25 * texture.sample(region, 5.0, 11)
        cavity = np.minimum(thick - np.abs(upper - height - 1.8 - half), (1 - along) * reach)
    return coverage(cavity, 0.8) * coverage(inside - 1, 1.0)

"""Posterior elements: pedicles, articular processes, laminae and spinous processes, with ligaments and foramina."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.canvas import Canvas, Region, Texture, coverage
from spinefx.phantom.habitus import Habitus
from spinefx.phantom.label_codes import Structure
from spinefx.phantom.spine import Spine
from spinefx.phantom.tissue import BONE_VOLUME, TissueSignals
from spinefx.phantom.vertebra import Vertebra

__all__ = ["paint_posterior_elements", "posterior_bone"]

_Floats = NDArray[Any]  # of float32, which is precise enough and faster than float64
_Place = tuple[_Floats, _Floats, _Floats]
_KEEP = np.float32(1 - BONE_VOLUME)


def paint_posterior_elements(
    canvas: Canvas, spine: Spine, habitus: Habitus, texture: Texture, signals: TissueSignals
) -> None:
    """Paint pedicles, articular processes, laminae, spinous processes, ligaments and the nerve roots in the foramina.

    Parameters
    ----------
    canvas : Canvas
        Painted in place.
    spine : Spine
    habitus : Habitus
    texture : Texture
    signals : TissueSignals
    """
    for index, item in enumerate(spine.vertebrae):
        if item.sacral:
            continue
        if item.level == "C2":
            _paint_atlas(canvas, item, index, habitus, signals)
        half, tall = item.depth_mm / 2, item.height_mm
        low = 1.5 if item.level[0] == "T" else 1.25
        # Two boxes, because only the spinous process extends far posteriorly.
        for paint, low_mm, high_mm in (
            (_paint_arch, (-22, half - 4, -1.2 * tall - 2), (22, half + item.canal_mm + 13, 0.85 * tall)),
            (
                _paint_midline,
                (-6, half + item.canal_mm - 4, -low * tall - 4),
                (6, half + item.canal_mm + 36, 0.3 * tall),
            ),
        ):
            region = canvas.box(item, low_mm, high_mm)
            if region is not None:
                side, depth, height = region.local(item)
                paint(canvas, region, (side, depth - half, height), (item, index), habitus, texture, signals)


def _paint_arch(
    canvas: Canvas,
    region: Region,
    place: _Place,
    owner: tuple[Vertebra, int],
    habitus: Habitus,
    texture: Texture,
    signals: TissueSignals,
) -> None:
    item, _ = owner
    _paint_foramen(canvas, region, place, item, signals)
    _paint_between_laminae(canvas, region, place, item, habitus, signals)
    pedicle = _pedicle(place, item)
    bone = np.maximum(pedicle, np.maximum(_joint(place, item), _lamina(place, item)))
    marrow = _paint_bone(canvas, region, bone, owner, habitus, texture, signals)
    # The marrow of body and pedicle is continuous: no cortical line separates them.
    junction = np.minimum(pedicle - 1.2, 3.5 - np.abs(place[1] + 0.5))
    canvas.blend(region, coverage(junction, 1.2), *marrow)


def _paint_midline(
    canvas: Canvas,
    region: Region,
    place: _Place,
    owner: tuple[Vertebra, int],
    habitus: Habitus,
    texture: Texture,
    signals: TissueSignals,
) -> None:
    # With the lamina, because no cortex separates it from the spinous process.
    bone = np.maximum(_lamina(place, owner[0]), _spinous(place, owner[0]))
    _paint_bone(canvas, region, bone, owner, habitus, texture, signals)


def _paint_bone(
    canvas: Canvas,
    region: Region,
    bone: _Floats,
    owner: tuple[Vertebra, int],
    habitus: Habitus,
    texture: Texture,
    signals: TissueSignals,
) -> tuple[_Floats, _Floats]:
    """Paint cortex and marrow; return the water and fat of the marrow."""
    mottle = texture.sample(region, 5.5, 5)
    bone = bone + 0.5 * mottle
    fat = np.clip(habitus.marrow_fat + 0.08 + habitus.marrow_texture * mottle, 0, 1)
    alpha = coverage(bone, canvas.pixel_mm)
    canvas.blend(region, alpha, *signals.pair("cortex"))
    canvas.mark(region, alpha, Structure.POSTERIOR, owner[1])
    marrow = _KEEP * (1 - fat) * signals.water("marrow_water"), _KEEP * fat * signals.fat
    canvas.blend(region, coverage(bone - 0.9, canvas.pixel_mm), *marrow)
    return marrow


def _paint_atlas(canvas: Canvas, item: Vertebra, index: int, habitus: Habitus, signals: TissueSignals) -> None:
    """Paint the dens of C2, and the anterior and posterior arch of C1."""
    top, half, reach = item.height_mm / 2, item.depth_mm / 2, item.canal_mm + 10
    region = canvas.box(item, (-12, -half - 8, top - 6), (12, half + reach, top + 22))
    if region is None:
        return
    side, depth, height = region.local(item)
    up = np.clip(height - np.float32(top - 4), 0, 15)
    beyond = np.maximum(np.abs(height - np.float32(top + 3.5)) - 7.5, 0)
    dens = 5.2 - 0.06 * up - np.sqrt(side * side + np.square(depth - 0.5) + beyond * beyond)
    middle = height - np.float32(top + 6.5)
    arch = np.maximum(
        np.minimum(3.4 - np.hypot(depth + 8.6, 0.7 * middle), 9 - np.abs(side)),
        np.minimum(3.6 - np.hypot(depth - np.float32(half + item.canal_mm + 3.0), middle), 9 - np.abs(side)),
    )
    fat = np.float32(_KEEP * habitus.marrow_fat)
    water = _KEEP - fat
    for bone, kind in ((arch, Structure.NOTHING), (dens, Structure.BODY)):
        alpha = coverage(bone, canvas.pixel_mm)
        canvas.blend(region, alpha, *signals.pair("cortex"))
        canvas.mark(region, alpha, kind, index)
        inner = coverage(bone - 0.9, canvas.pixel_mm)
        canvas.blend(region, inner, water * signals.water("marrow_water"), fat * signals.fat)


def _half_canal(item: Vertebra) -> float:
    return 11.5 if item.level[0] == "L" else 10.5


def _rod(
    place: tuple[_Floats, _Floats], start: tuple[float, float], end: tuple[float, float], radii: tuple[float, float]
) -> _Floats:
    """Signed distance to a tapering rod with round ends in the sagittal plane, positive inside."""
    across, up = end[0] - start[0], end[1] - start[1]
    behind, height = place[0] - np.float32(start[0]), place[1] - np.float32(start[1])
    part = np.clip((behind * np.float32(across) + height * np.float32(up)) / np.float32(across**2 + up**2), 0, 1)
    distance = np.hypot(behind - part * np.float32(across), height - part * np.float32(up))
    result: _Floats = np.float32(radii[0]) + np.float32(radii[1] - radii[0]) * part - distance
    return result


def _pedicle(place: _Place, item: Vertebra) -> _Floats:
    """Signed distance to both pedicles, which are narrow in the middle and widen at both ends."""
    side, behind, height = place
    middle = np.float32(0.42 * item.canal_mm)
    waist = np.square((behind - middle) / middle)
    tall = np.float32(item.height_mm) * np.minimum(0.21 + 0.09 * waist, 0.34)
    radial = np.hypot((np.abs(side) - np.float32(_half_canal(item) + 4)) / 4.8, (height - 0.19 * item.height_mm) / tall)
    result: _Floats = np.minimum((1 - radial) * 4.8, np.minimum(behind + 2.5, 0.9 * item.canal_mm - behind))
    return result


def posterior_bone(place: tuple[NDArray[Any], NDArray[Any], NDArray[Any]], item: Vertebra) -> NDArray[Any]:
    """Return the signed distance to pedicles, articular processes, lamina and spinous process.

    Parameters
    ----------
    place : tuple of ndarray
        Lateral position, distance behind the posterior wall, and height in the vertebra's own frame; millimetres.
    item : Vertebra

    Returns
    -------
    ndarray
        Positive inside, approximately millimetres.
    """
    arch = np.maximum(_pedicle(place, item), _joint(place, item))
    result: NDArray[Any] = np.maximum(arch, np.maximum(_lamina(place, item), _spinous(place, item)))
    return result


def _joint(place: _Place, item: Vertebra) -> _Floats:
    """Signed distance to the articular processes of both sides."""
    side, behind, height = place
    tall, canal = item.height_mm, item.canal_mm
    thick = 0.17 * tall
    seen = (behind, height)
    upper = _rod(seen, (canal * 0.92, 0.05 * tall), (canal * 0.80, 0.68 * tall), (thick + 0.8, 0.72 * thick))
    lower = _rod(seen, (canal + 1.5, 0.0), (canal + 6.0, -0.88 * tall), (thick, 0.9 * thick))
    result: _Floats = np.minimum(
        np.maximum(upper, lower), 5.5 - np.abs(np.abs(side) - np.float32(_half_canal(item) + 4))
    )
    return result


def _lamina(place: _Place, item: Vertebra) -> _Floats:
    """Signed distance to the laminae, which slope anteriorly towards the sides."""
    side, behind, height = place
    tall, canal = item.height_mm, item.canal_mm
    aside = np.abs(side)
    seen = (behind + np.float32(0.35) * aside, height)
    lamina = _rod(seen, (canal + 2.8, 0.0), (canal + 6.5, -0.46 * tall), (0.12 * tall, 0.16 * tall))
    result: _Floats = np.minimum(lamina, np.float32(_half_canal(item) + 3) - aside)
    return result


def _spinous(place: _Place, item: Vertebra) -> _Floats:
    """Signed distance to the spinous process."""
    seen = _spinous_seen(place[1:], item)
    result: _Floats = np.minimum(seen, np.float32(3.8) - np.abs(place[0]))
    return result


def _spinous_seen(seen: tuple[_Floats, _Floats], item: Vertebra) -> _Floats:
    """Signed distance to the spinous process in the sagittal plane: a broad plate when lumbar, a rod above."""
    tall, canal = item.height_mm, item.canal_mm
    start = (canal + 4.0, -0.24 * tall)
    if item.level[0] != "L":
        number = int(item.level[1:])
        cervical = item.level[0] == "C"
        drop = 0.45 if cervical else float(np.interp(number, [1, 6, 9, 12], [0.5, 1.15, 0.95, 0.3]))
        length = (26.0 if number in {2, 7} else 17.0) if cervical else 25.0
        radius = 0.30 * tall if cervical else 0.20 * tall
        return _rod(seen, start, (canal + length, -0.24 * tall - drop * tall), (radius, 1.1 * radius))
    behind, height = seen
    length = 12.5
    middle = behind - np.float32(canal + 16)
    level = height + np.float32(0.36 * tall) + 0.12 * middle
    # Taller at its tip, with rounded corners.
    half = np.float32(0.30 * tall) * (0.92 + 0.012 * middle)
    corner = np.float32(5.0)
    out = np.maximum(np.abs(middle) - length + corner, 0), np.maximum(np.abs(level) - half + corner, 0)
    flat = np.minimum(length - np.abs(middle), half - np.abs(level))
    result: _Floats = np.minimum(flat, corner - np.hypot(*out))
    return result


def _paint_foramen(canvas: Canvas, region: Region, place: _Place, item: Vertebra, signals: TissueSignals) -> None:
    """Paint the nerve root with its ganglion below the pedicle, and foraminal veins."""
    side, behind, height = place
    aside = np.abs(side)
    size = 2.7 if item.level[0] == "L" else 1.9
    low = height + np.float32(0.34 * item.height_mm) - (aside - 14) * 0.3
    root = size - np.hypot(behind - np.float32(0.40 * item.canal_mm), 0.85 * low)
    beside = coverage(aside - 10, 2.0)
    canvas.blend(region, coverage(root, 1.0) * beside, *signals.pair("roots"))
    vein = 1.1 - np.hypot(behind - np.float32(0.22 * item.canal_mm), low - 2.6)
    other = 0.9 - np.hypot(behind - np.float32(0.34 * item.canal_mm), low + 4.6)
    canvas.blend(region, coverage(np.maximum(vein, other), 1.0) * beside * 0.5, 0.02, 0.0)


def _paint_between_laminae(
    canvas: Canvas, region: Region, place: _Place, item: Vertebra, habitus: Habitus, signals: TissueSignals
) -> None:
    """Paint the ligamentum flavum to the next lamina, and the posterior epidural fat pad that indents the sac."""
    side, behind, height = place
    tall, canal = item.height_mm, item.canal_mm
    back = behind + 0.35 * np.abs(side)
    # Pads differ between levels: some are thick, some almost absent.
    pad_mm = (
        (0.9 + 0.5 * np.sin(37.0 * item.height_mm))
        * (1.2 + 2.6 * habitus.epidural_fat)
        * (1.0 if item.level[0] == "L" else 0.55)
    )
    part = np.clip((height + np.float32(0.80 * tall)) / np.float32(0.34 * tall), -1.2, 1.2)
    pad = np.float32(pad_mm) * (1 - part * part) - np.abs(back - canal - 0.8 - 1.6 * part)
    pad = np.minimum(pad, 6.5 - np.abs(side))
    canvas.blend(region, coverage(pad + 0.5, 1.0) * 0.6, *signals.pair("ligament"))
    alpha = coverage(pad, 1.2)
    canvas.blend(region, alpha, *signals.pair("fat"))
    canvas.mark(region, alpha, Structure.NOTHING)
    yellow = _rod((back, height), (canal + 3.2, -0.45 * tall), (canal + 1.6, -1.15 * tall), (1.7, 1.4))
    yellow = np.minimum(yellow, 10.5 - np.abs(side))
    canvas.blend(region, coverage(yellow, 1.0) * 0.9, *signals.pair("flavum"))

"""The marrow of varied lesions: degree of change, dark lines, dark patches, nodules and clefts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.canvas import Region, Texture, coverage
from spinefx.phantom.varied_lesion import VariedLesion
from spinefx.phantom.vertebra import Vertebra

__all__ = ["varied_amount", "varied_cleft", "varied_line", "varied_patches"]

_Floats = NDArray[Any]  # of float32, which is precise enough and faster than float64
_Place = tuple[_Floats, _Floats, _Floats]


def varied_amount(
    region: Region, lesion: VariedLesion, item: Vertebra, place: _Place, level: _Floats, texture: Texture
) -> _Floats | None:
    """Return the degree to which the marrow is changed by a band or by diffuse change.

    Parameters
    ----------
    region : Region
    lesion : VariedLesion
    item : Vertebra
    place : tuple of ndarray, shape of the region
        Lateral, depth and height in the vertebra's own frame, millimetres.
    level : ndarray
        Height above the lower end plate, as a share of the distance between the end plates.
    texture : Texture

    Returns
    -------
    ndarray or None
        0 to 1; None where the typical form is meant.
    """
    along = place[1] / np.float32(item.depth_mm / 2)
    if lesion.marrow == "band":
        distance = (1 - level) if lesion.band_share > 0 else level
        edge = np.float32(abs(lesion.band_share)) + np.float32(lesion.band_bow) * (0.5 - along * along)
        wobble = texture.sample(region, 8.0, 10)
        return coverage(edge + 0.04 * wobble - distance, lesion.band_softness)
    if lesion.marrow == "diffuse" and lesion.diffuse_form == "complete":
        return np.ones_like(level)
    if lesion.marrow == "diffuse" and lesion.diffuse_form == "patchy":
        # Islands of fat remain in about a sixth of the body.
        return coverage(texture.sample(region, 7.0, 10) + 1.0, 0.5)
    return None


def varied_line(lesion: VariedLesion, item: Vertebra, place: _Place, level: _Floats, span: _Floats) -> _Floats:
    """Return the coverage by the dark line: straight, wavy, oblique or broken, along an end plate or deeper.

    Parameters
    ----------
    lesion : VariedLesion
    item : Vertebra
    place : tuple of ndarray
        Lateral, depth and height in the vertebra's own frame, millimetres.
    level : ndarray
        Height above the lower end plate, as a share of the distance between the end plates.
    span : ndarray
        That distance, millimetres.

    Returns
    -------
    ndarray
        0 to 1.
    """
    thickness, share, length, phase = lesion.line
    side, depth, _ = place
    along = depth / np.float32(item.depth_mm / 2)
    below = (level if lesion.line_below else 1 - level) * span
    waves = np.sin(4.2 * along + phase) + 0.6 * np.sin(9.1 * along + 2 * phase + 0.1 * side)
    course = share + lesion.line_waves * waves + lesion.line_slope * (along - lesion.line_centre)
    # Clear of the cortex, from which it could not be told apart.
    course_mm = np.maximum(course * span, np.float32(thickness / 2 + 2.2))
    ends = (length - np.abs(along - np.float32(lesion.line_centre))) * np.float32(item.depth_mm / 2)
    centre, half = lesion.line_gap
    if half > 0:
        ends = np.minimum(ends, (np.abs(along - np.float32(centre)) - half) * np.float32(item.depth_mm / 2))
    return coverage(np.minimum(thickness / 2 - np.abs(below - course_mm), ends), 0.7)


def varied_patches(
    region: Region, lesion: VariedLesion, item: Vertebra, place: _Place, level: _Floats, span: _Floats, texture: Texture
) -> list[tuple[_Floats, float]]:
    """Return the coverage by each dark patch, and the signal that remains in it.

    Parameters
    ----------
    region, lesion, item, place, level, span, texture
        As :func:`varied_amount` and :func:`varied_line` take them.

    Returns
    -------
    list of (ndarray, float)
    """
    side, depth, _ = place
    wobble = texture.sample(region, 4.5, 9)
    found = []
    for across, along, up, radius, left in lesion.patches:
        size = np.minimum(np.float32(radius * item.depth_mm), 0.48 * span)
        rise = (level - np.float32(0.5 + 0.4 * up)) * span
        away = np.hypot(depth - along * item.depth_mm / 2, 0.7 * (side - across * item.width_mm / 2))
        found.append((coverage(size * (1 + lesion.ragged * wobble) - np.hypot(away, 1.1 * rise), 1.2), left))
    return found


def varied_cleft(region: Region, lesion: VariedLesion, item: Vertebra, place: _Place, texture: Texture) -> _Floats:
    """Return the signed distance to the surface of the cleft, positive inside.

    Parameters
    ----------
    region, lesion, item, place, texture
        As :func:`varied_amount` takes them.

    Returns
    -------
    ndarray
        Approximately millimetres.
    """
    side, depth, height = place
    thickness, length, _ = lesion.cleft
    lower, upper = item.end_plates(side, depth)
    wobble = texture.sample(region, 5.0, 11)
    middle = (lower + upper) / 2
    away = depth - np.float32(lesion.cleft_along * item.depth_mm / 2)
    if lesion.diagnosis.value == "malignant":
        distance = np.sqrt(away**2 + (0.6 * side) ** 2 + (height - middle) ** 2)
        size = np.float32((0.10 + 0.12 * length) * item.depth_mm)
        cavity: _Floats = np.minimum(size, 0.4 * (upper - lower)) * (1 + 0.4 * wobble) - distance
        return cavity
    half = np.minimum(np.float32(thickness / 2), 0.25 * (upper - lower))
    reach = np.float32(length * item.depth_mm / 2)
    along = np.hypot(away, 0.6 * side) / reach
    thick = half * np.sqrt(np.maximum(1 - np.square(np.square(along)), 0)) + 0.25 * wobble
    centre = {"upper": upper - 1.8 - half, "lower": lower + 1.8 + half}.get(lesion.cleft_place, middle)
    slit: _Floats = np.minimum(thick - np.abs(height - centre), (1 - along) * reach)
    return slit

"""The lesion inside a vertebral body: how it changes the composition of the marrow, and where each sign lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.canvas import Region, Texture, coverage
from spinefx.phantom.lesion import LesionDraw
from spinefx.phantom.tissue import TissueSignals
from spinefx.phantom.varied_lesion import VariedLesion
from spinefx.phantom.varied_marrow import varied_amount, varied_cleft, varied_line, varied_patches
from spinefx.phantom.vertebra import Vertebra

__all__ = ["Marrow", "apply_lesion", "cleft_coverage", "replace_share"]

_Floats = NDArray[Any]  # of float32, which is precise enough and faster than float64
_SIGN_OF = {"band": "band_pattern_oedema", "diffuse": "diffuse_signal_change"}


@dataclass
class Marrow:
    """Composition of the marrow of one region.

    Fat fraction, share and signal of water that is not marrow's own, signal factor, degree of change by the lesion, and
    that by each of its signs.
    """

    fat: _Floats
    share: _Floats
    foreign: _Floats
    gain: _Floats
    changed: _Floats
    by_sign: dict[str, _Floats] = field(default_factory=dict)


def replace_share(marrow: Marrow, alpha: _Floats, fat: float, water: float) -> None:
    """Replace a share of the marrow by tissue of another fat fraction and another water.

    Parameters
    ----------
    marrow : Marrow
        Changed in place.
    alpha : ndarray, shape of the region
        Share that is replaced, 0 to 1.
    fat : float
        Fat fraction of the tissue.
    water : float
        Signal of its water.
    """
    # About a tenth of the marrow's texture remains, because no tissue is uniform.
    marrow.fat += alpha * (np.float32(fat) + np.float32(0.12) * (marrow.fat - marrow.fat.mean()) - marrow.fat)
    np.maximum(marrow.fat, 0, out=marrow.fat)
    left = (1 - alpha) * marrow.share
    marrow.share = left + alpha
    marrow.foreign = (left * marrow.foreign + alpha * np.float32(water)) / np.maximum(marrow.share, np.float32(1e-6))


def _note(marrow: Marrow, alpha: _Floats, sign: str = "") -> None:
    """Record where the lesion has changed the marrow, and by which sign."""
    np.maximum(marrow.changed, alpha, out=marrow.changed)
    if sign:
        known = marrow.by_sign.get(sign)
        marrow.by_sign[sign] = alpha if known is None else np.maximum(known, alpha)


def apply_lesion(
    marrow: Marrow,
    region: Region,
    lesion: LesionDraw,
    item: Vertebra,
    place: tuple[_Floats, _Floats, _Floats],
    texture: Texture,
    signals: TissueSignals,
) -> None:
    """Apply the lesion to the marrow: replacement or oedema, nodules, dark line and dark patch.

    Parameters
    ----------
    marrow : Marrow
        Changed in place.
    region : Region
    lesion : LesionDraw
    item : Vertebra
        The vertebra that carries the lesion.
    place : tuple of ndarray, shape of the region
        Lateral, depth and height in the vertebra's own frame, millimetres.
    texture : Texture
    signals : TissueSignals
    """
    side, depth, height = place
    lower, upper = item.end_plates(side, depth)
    span = np.maximum(upper - lower, 3.0)
    level = np.clip((height - lower) / span, 0, 1)
    amount = _amount(region, lesion, item, place, level, texture)
    malignant = lesion.diagnosis.value == "malignant"
    if lesion.marrow != "homogeneous" and lesion.marrow != "nodules":
        uneven = 1 - lesion.heterogeneity * np.abs(texture.sample(region, 6.5, 7))
        alpha = np.clip(amount * np.float32(lesion.amplitude) * uneven, 0, 1).astype(np.float32)
        replace_share(marrow, alpha, lesion.residual_fat, signals.water("lytic" if malignant else "oedema"))
        _note(
            marrow, amount, {"band": "band_pattern_oedema", "diffuse": "diffuse_signal_change"}.get(lesion.marrow, "")
        )
    _apply_nodules(marrow, region, lesion, item, place, texture, signals)
    if lesion.signs["dark_line_band"]:
        if isinstance(lesion, VariedLesion):
            line = varied_line(lesion, item, place, level, span)
        else:
            line = _line(lesion, item, place, (upper - height) / span, span)
        marrow.gain *= 1 - 0.72 * line
        _note(marrow, line, "dark_line_band")
    if lesion.signs["dark_patch"]:
        if isinstance(lesion, VariedLesion):
            patches = varied_patches(region, lesion, item, place, level, span, texture)
        else:
            patches = [_patch(region, lesion, item, place, level, span, texture)]
        for blob, left in patches:
            marrow.gain *= 1 - np.float32(1 - left) * blob
            _note(marrow, blob, "dark_patch")


def _apply_nodules(
    marrow: Marrow,
    region: Region,
    lesion: LesionDraw,
    item: Vertebra,
    place: tuple[_Floats, _Floats, _Floats],
    texture: Texture,
    signals: TissueSignals,
) -> None:
    side, depth, height = place
    half = item.width_mm / 2, item.depth_mm / 2, item.height_mm * 0.4
    for index, (*centre, radius, contrast) in enumerate(lesion.nodules):
        offset = [share * extent for share, extent in zip(centre, half, strict=True)]
        wobble = texture.sample(region, 7.0, 8)
        if isinstance(lesion, VariedLesion):  # in what is left of the body
            lower, upper = item.end_plates(np.zeros(1, np.float32), np.full(1, offset[1], np.float32))
            offset[2] = float((upper[0] + lower[0]) / 2 + centre[2] * 0.4 * (upper[0] - lower[0]))
        distance = np.sqrt((side - offset[0]) ** 2 + (depth - offset[1]) ** 2 + (1.15 * (height - offset[2])) ** 2)
        ragged = lesion.ragged if isinstance(lesion, VariedLesion) else 0.15
        inside = np.float32(radius * 0.62 * item.depth_mm) * (1 + ragged * wobble) - distance
        alpha = coverage(inside, 1.3)
        replace_share(marrow, alpha, lesion.residual_fat * 0.5, signals.water("nodule") * contrast)
        style = lesion.nodule_styles[index] if isinstance(lesion, VariedLesion) else "plain"
        if style == "rim":
            replace_share(marrow, alpha * coverage(1.8 - inside, 1.0), 0.02, 0.6 * signals.water("fluid"))
        if style == "target":
            core = coverage(inside - np.float32(0.6 * radius * 0.62 * item.depth_mm), 1.3)
            replace_share(marrow, core * np.float32(0.8), 0.8, signals.water("marrow_water"))
        _note(marrow, alpha, "nodular_lesion")


def _patch(
    region: Region,
    lesion: LesionDraw,
    item: Vertebra,
    place: tuple[_Floats, _Floats, _Floats],
    level: _Floats,
    span: _Floats,
    texture: Texture,
) -> tuple[_Floats, float]:
    """Coverage by the dark patch, and the signal that remains in it."""
    side, depth, _ = place
    along, up, radius, left = lesion.patch
    wobble = texture.sample(region, 5.5, 9)
    level_mm = (level - 0.5 - up / 2) * span
    distance = np.hypot(np.hypot(depth - along * item.depth_mm / 2, side * 0.7), level_mm * 1.1)
    size = np.minimum(radius * item.depth_mm, 0.48 * span)
    return coverage(size * (1 + 0.25 * wobble) - distance, 1.5), left


def _amount(
    region: Region,
    lesion: LesionDraw,
    item: Vertebra,
    place: tuple[_Floats, _Floats, _Floats],
    level: _Floats,
    texture: Texture,
) -> _Floats:
    """Degree to which the marrow is changed, 0 to 1."""
    if isinstance(lesion, VariedLesion):
        varied = varied_amount(region, lesion, item, place, level, texture)
        if varied is not None:
            return varied
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


def cleft_coverage(
    region: Region,
    lesion: LesionDraw,
    item: Vertebra,
    place: tuple[_Floats, _Floats, _Floats],
    inside: _Floats,
    texture: Texture,
) -> _Floats | None:
    """Return the coverage by the cleft, which holds fluid, gas or necrosis.

    Parameters
    ----------
    region, lesion, item, place, texture
        As :func:`apply_lesion` takes them.
    inside : ndarray, shape of the region
        Signed distance to the surface of the body, positive inside, millimetres.

    Returns
    -------
    ndarray or None
        0 to 1; None without a cleft.
    """
    if not lesion.signs["fluid_necrotic_cleft"]:
        return None
    if isinstance(lesion, VariedLesion):
        return coverage(varied_cleft(region, lesion, item, place, texture), 0.8) * coverage(inside - 1, 1.0)
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

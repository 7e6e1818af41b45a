"""The spinal canal: epidural fat, thecal sac, cord and nerve roots."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.canal_coordinates import (
    BEHIND_BODY,
    CANAL_FRONT,
    CANAL_LATERAL,
    canal_coordinates,
    canal_profile,
    level_index,
)
from spinefx.phantom.canvas import Canvas, Region, Texture, coverage
from spinefx.phantom.habitus import Habitus
from spinefx.phantom.label_codes import Structure
from spinefx.phantom.lesion import LesionDraw
from spinefx.phantom.spine import Spine
from spinefx.phantom.tissue import TissueSignals
from spinefx.phantom.varied_lesion import VariedLesion
from spinefx.phantom.vertebra import Vertebra

__all__ = ["epidural_lens", "paint_canal"]

_Floats = NDArray[Any]  # of float32, which is precise enough and faster than float64
_BAND_ROWS = 32


def epidural_lens(lesion: LesionDraw, item: Vertebra, side: NDArray[Any], height: NDArray[Any]) -> NDArray[Any]:
    """Return the thickness of the mass between body and thecal sac: a lens that the midline septum divides in two.

    Parameters
    ----------
    lesion : LesionDraw
    item : Vertebra
        The vertebra that carries the lesion.
    side, height : ndarray, any one shape
        Millimetres in the vertebra's own frame.

    Returns
    -------
    ndarray of the same shape
        Millimetres; 0 without a mass, and beyond its ends.
    """
    share, length, offset = lesion.epidural
    half_length = length * (item.height_mm * 0.5 + 4) + 2
    hump = np.sqrt(np.maximum(1 - np.square(height / half_length), 0))
    half_width = lesion.epidural_half_mm if isinstance(lesion, VariedLesion) else 11
    hump = hump * np.sqrt(np.maximum(1 - np.square((side - 3 * offset) / half_width), 0))
    result: NDArray[Any] = share * item.canal_mm * hump * (1 - 0.28 * np.exp(-np.square(side / 2.2)))
    return result


def paint_canal(
    canvas: Canvas, spine: Spine, habitus: Habitus, texture: Texture, signals: TissueSignals, lesion: LesionDraw
) -> None:
    """Paint epidural fat, thecal sac, cord and nerve roots.

    Parameters
    ----------
    canvas : Canvas
        Painted in place.
    spine : Spine
    habitus : Habitus
    texture : Texture
    signals : TissueSignals
    lesion : LesionDraw
        Its mass and the bulge of the posterior wall displace sac and cord.
    """
    heights = canvas.whole().corners()[:, 2]
    z = np.arange(max(heights.min(), spine.sac_end_mm - 30), heights.max() + 4, 4.0)
    middle, front = canal_profile(spine, z, CANAL_LATERAL, CANAL_FRONT)
    corners = [np.stack([middle + x, front + y, z], -1) for x in (-24, 24) for y in (-6, 26)]
    # In bands, because most of one block around a whole curved canal would be other tissue.
    for region in canvas.bands(np.concatenate(corners), _BAND_ROWS):
        _paint_canal_piece(canvas, region, spine, habitus, texture, signals, lesion)


def _pushed(spine: Spine, lateral: _Floats, z: _Floats, lesion: LesionDraw) -> _Floats:
    """How far the lesion extends behind the posterior wall, millimetres."""
    item = spine.lesion_vertebra
    height = (z - np.float32(item.centre_mm[2])) * np.float32(1 / item.axes[2][2])
    reach = item.walls(lateral, height)[1] - np.float32(item.depth_mm / 2)
    reach = np.maximum(reach, 0) * np.clip(4.5 - 5 * np.abs(height) / np.float32(item.height_mm), 0, 1)
    result: _Floats = reach + epidural_lens(lesion, item, lateral, height)
    return result


def _paint_canal_piece(
    canvas: Canvas,
    region: Region,
    spine: Spine,
    habitus: Habitus,
    texture: Texture,
    signals: TissueSignals,
    lesion: LesionDraw,
) -> None:
    aside, behind, canal, z = canal_coordinates(spine, region)
    (body,) = canal_profile(spine, z, BEHIND_BODY)
    fullness = np.float32(habitus.epidural_fat)
    front_gap = 0.8 + (0.5 + 1.3 * fullness) * body  # veins and fat lie behind the body, not behind the disc
    if lesion.epidural[0] > 0 or spine.lesion_vertebra.deformity.bulge_mm > 0:
        front_gap = np.maximum(front_gap, np.minimum(_pushed(spine, aside, z, lesion) + 0.4, 0.75 * canal))
    back_gap = 0.7 + canal * (0.04 + 0.13 * fullness)
    sac_half, sac_middle = (canal - front_gap - back_gap) / 2, (canal + front_gap - back_gap) / 2
    # Within a slice only the lateral distance changes enough to matter.
    lateral = region.spine()[0] - region.spread(canal_profile(spine, z, CANAL_LATERAL)[0])
    smooth = (behind, canal, z, body, sac_half, sac_middle)
    behind, canal, z, body, sac_half, sac_middle = (region.spread(item) for item in smooth)
    pixel = canvas.pixel_mm
    half = canal / 2
    aside = np.abs(lateral)
    # Canal and foramina are filled with fat first; bone is painted over it later.
    back = canal * np.float32(0.97) - np.maximum(aside - 7, 0) * np.float32(1.1)
    space = np.minimum(np.minimum(behind + 0.5, np.maximum(back, half) - behind), 18 - aside)
    water, fat = signals.pair("fat")
    canvas.blend(region, coverage(space, 1.5), water, fat * (1 - 0.22 * coverage(aside - 10, 3.0)))  # with veins
    tube = half * (1 - np.hypot(aside / 11.5, (behind - half) / half))
    sac = sac_half * (1 - np.hypot(aside / 9.5, (behind - sac_middle) / sac_half))
    sac = np.minimum(sac, (z - np.float32(spine.sac_end_mm)) * 0.4)
    alpha = coverage(sac, pixel)
    canvas.blend(region, coverage(sac + 0.7, pixel) * (tube > -1), *signals.pair("ligament"))
    canvas.blend(region, alpha, *signals.pair("csf"))
    level = level_index(spine, z)
    canvas.mark(region, alpha, Structure.CANAL, level)
    _paint_nerves(canvas, region, (lateral, behind, z), (sac_half, sac_middle, alpha), spine, texture, signals, level)
    # Posterior longitudinal ligament and cortex form the dark line between body and sac.
    line = coverage(0.7 - np.abs(behind - 0.3 - 0.6 * body), pixel) * coverage(9 - aside, 2.0)
    canvas.blend(region, line * 0.8, *signals.pair("ligament"))


def _paint_nerves(
    canvas: Canvas,
    region: Region,
    place: tuple[_Floats, _Floats, _Floats],
    sac: tuple[_Floats, _Floats, _Floats],
    spine: Spine,
    texture: Texture,
    signals: TissueSignals,
    level: NDArray[np.int32],
) -> None:
    lateral, behind, z = place
    sac_half, sac_middle, inside = sac
    pixel = canvas.pixel_mm
    above = z - np.float32(spine.conus_mm)
    swell = np.exp(-(((above - 35) / 30) ** 2))
    radius = np.clip((above + 14) / 14, 0, 1) * (3.1 + 0.8 * swell)
    # In a supine patient the cord lies anteriorly in the kyphosis and posteriorly near the conus.
    middle = sac_middle + np.clip((60 - above) / 60, -0.6, 1) * 1.1
    flat = np.maximum(
        radius / np.maximum(np.minimum(radius, sac_half - 0.2), 1.0), 1
    )  # the cord flattens where the sac is narrow
    cord = radius - np.hypot(lateral / 1.25, (behind - middle) * flat)
    if signals.sequence.kind == "fse" and float(above.max()) > 0:
        # Pulsating fluid behind the thoracic cord loses signal on fast spin echo (Lisanti 2007).
        swirl = texture.sample(region, 8.0, 13, (1.0, 1.6, 0.5))
        void = coverage(swirl + 0.3, 1.2) * np.clip((behind - middle) / 3, 0, 1) * np.clip((above - 15) / 40, 0, 1)
        canvas.blend(region, void * inside * np.float32(spine.flow_void), 0.0, 0.0)
    # The roots of the cauda equina lie posteriorly in the sac and become fewer caudally.
    if float(above.min()) < 22:
        strands = texture.sample(region, 3.4, 1, (2.2, 1.6, 0.12))
        share = np.clip((behind - sac_middle + 0.45 * sac_half) / sac_half, 0, 1) * np.clip((22 - above) / 20, 0, 1)
        thinning = np.clip(1.05 + above / 220, 0.25, 1)
        roots = np.clip(strands * 0.35 + 0.55, 0, 1) * share * thinning * inside
        canvas.blend(region, roots * 0.9, *signals.pair("roots"))
    alpha = coverage(cord, pixel) * (radius > 0.05)
    canvas.blend(region, alpha, *signals.pair("cord"))
    canvas.mark(region, alpha, Structure.CORD, level)

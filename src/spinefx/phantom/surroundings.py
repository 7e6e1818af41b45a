"""What touches the vertebral bodies: the canal with all that it holds, and the discs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.anatomy import Spine, Vertebra
from spinefx.phantom.canvas import Canvas, Region, Texture, coverage
from spinefx.phantom.course import BEHIND_BODY, FRONT, MIDDLE, along, behind_wall, owner
from spinefx.phantom.lesion import LesionDraw
from spinefx.phantom.structure import Kind
from spinefx.phantom.tissue import Palette, disc_nucleus

__all__ = ["Habitus", "epidural_lens", "paint_canal", "paint_discs"]

_Floats = NDArray[Any]  # of float32: doubles would be slow, and nothing needs them
_BAND_ROWS = 32


@dataclass(frozen=True)
class Habitus:
    """A patient's soft tissues and marrow.

    Parameters
    ----------
    marrow_fat : float
        Fat fraction of normal marrow.
    marrow_texture : float
        Standard deviation of the fat fraction between spots of marrow.
    muscle_fat : float
        Share of back muscle that is fat streaks.
    skin_mm : float
        Distance from the bodies' back walls, smoothed, to the skin.
    subcutaneous_mm : float
        Thickness of the fat under the skin.
    epidural_fat : float
        0 to 1, how full of fat the epidural space is.
    front_mm : float
        Distance from the bodies' front to the front of the trunk.
    """

    marrow_fat: float
    marrow_texture: float
    muscle_fat: float
    skin_mm: float
    subcutaneous_mm: float
    epidural_fat: float
    front_mm: float


def epidural_lens(lesion: LesionDraw, item: Vertebra, side: NDArray[Any], height: NDArray[Any]) -> NDArray[Any]:
    """Thickness of the mass between body and sac: a lens that the midline septum ties down into two lobes.

    Parameters
    ----------
    lesion : LesionDraw
    item : Vertebra
        That carries the lesion.
    side, height : ndarray, any one shape
        Millimetres in the vertebra's own frame.

    Returns
    -------
    ndarray of the same shape
        Millimetres; 0 without a mass and beyond its ends.
    """
    share, length, offset = lesion.epidural
    half_length = length * (item.height_mm * 0.5 + 4) + 2
    hump = np.sqrt(np.maximum(1 - np.square(height / half_length), 0))
    hump = hump * np.sqrt(np.maximum(1 - np.square((side - 3 * offset) / 11), 0))
    result: NDArray[Any] = share * item.canal_mm * hump * (1 - 0.28 * np.exp(-np.square(side / 2.2)))
    return result


def paint_canal(
    canvas: Canvas, spine: Spine, habitus: Habitus, texture: Texture, palette: Palette, lesion: LesionDraw
) -> None:
    """Paint epidural fat, dural sac, cord and roots.

    Parameters
    ----------
    canvas : Canvas
        Painted in place.
    spine : Spine
    habitus : Habitus
    texture : Texture
    palette : Palette
    lesion : LesionDraw
        Its mass and the body's bulge push sac and cord back.
    """
    heights = canvas.whole().corners()[:, 2]
    z = np.arange(max(heights.min(), spine.sac_end_mm - 30), heights.max() + 4, 4.0)
    middle, front = along(spine, z, MIDDLE, FRONT)
    corners = [np.stack([middle + x, front + y, z], -1) for x in (-24, 24) for y in (-6, 26)]
    # In bands, since a block round the whole of a curved canal would be mostly something else.
    for region in canvas.bands(np.concatenate(corners), _BAND_ROWS):
        _paint_canal_piece(canvas, region, spine, habitus, texture, palette, lesion)


def _pushed(spine: Spine, lateral: _Floats, z: _Floats, lesion: LesionDraw) -> _Floats:
    """How far the lesion reaches behind the bodies' back walls."""
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
    palette: Palette,
    lesion: LesionDraw,
) -> None:
    aside, behind, canal, z = behind_wall(spine, region)
    (body,) = along(spine, z, BEHIND_BODY)
    fullness = np.float32(habitus.epidural_fat)
    front_gap = 0.8 + (0.5 + 1.3 * fullness) * body  # veins and fat behind the body, none behind the disc
    if lesion.epidural[0] > 0 or spine.lesion_vertebra.deformity.bulge_mm > 0:
        front_gap = np.maximum(front_gap, np.minimum(_pushed(spine, aside, z, lesion) + 0.4, 0.75 * canal))
    back_gap = 0.7 + canal * (0.04 + 0.13 * fullness)
    sac_half, sac_middle = (canal - front_gap - back_gap) / 2, (canal + front_gap - back_gap) / 2
    # All but the distance to the side hardly changes within a slice.
    lateral = region.spine()[0] - region.spread(along(spine, z, MIDDLE)[0])
    smooth = (behind, canal, z, body, sac_half, sac_middle)
    behind, canal, z, body, sac_half, sac_middle = (region.spread(item) for item in smooth)
    pixel = canvas.pixel_mm
    half = canal / 2
    aside = np.abs(lateral)
    # The canal and, beside it, the foramina: fat at first; bone comes over it later.
    back = canal * np.float32(0.97) - np.maximum(aside - 7, 0) * np.float32(1.1)
    space = np.minimum(np.minimum(behind + 0.5, np.maximum(back, half) - behind), 18 - aside)
    water, fat = palette.pair("fat")
    canvas.blend(region, coverage(space, 1.5), water, fat * (1 - 0.22 * coverage(aside - 10, 3.0)))  # veins among it
    tube = half * (1 - np.hypot(aside / 11.5, (behind - half) / half))
    sac = sac_half * (1 - np.hypot(aside / 9.5, (behind - sac_middle) / sac_half))
    sac = np.minimum(sac, (z - np.float32(spine.sac_end_mm)) * 0.4)
    alpha = coverage(sac, pixel)
    canvas.blend(region, coverage(sac + 0.7, pixel) * (tube > -1), *palette.pair("ligament"))
    canvas.blend(region, alpha, *palette.pair("csf"))
    level = owner(spine, z)
    canvas.mark(region, alpha, Kind.CANAL, level)
    _paint_nerves(canvas, region, (lateral, behind, z), (sac_half, sac_middle, alpha), spine, texture, palette, level)
    # Posterior longitudinal ligament and cortex: the dark line between body and sac.
    line = coverage(0.7 - np.abs(behind - 0.3 - 0.6 * body), pixel) * coverage(9 - aside, 2.0)
    canvas.blend(region, line * 0.8, *palette.pair("ligament"))


def _paint_nerves(
    canvas: Canvas,
    region: Region,
    place: tuple[_Floats, _Floats, _Floats],
    sac: tuple[_Floats, _Floats, _Floats],
    spine: Spine,
    texture: Texture,
    palette: Palette,
    level: NDArray[np.int32],
) -> None:
    lateral, behind, z = place
    sac_half, sac_middle, inside = sac
    pixel = canvas.pixel_mm
    above = z - np.float32(spine.conus_mm)
    swell = np.exp(-(((above - 35) / 30) ** 2))
    radius = np.clip((above + 14) / 14, 0, 1) * (3.1 + 0.8 * swell)
    # The cord hugs the front of the canal in the kyphosis and drops back towards the conus (supine).
    middle = sac_middle + np.clip((60 - above) / 60, -0.6, 1) * 1.1
    flat = np.maximum(radius / np.maximum(np.minimum(radius, sac_half - 0.2), 1.0), 1)  # where the sac is too narrow
    cord = radius - np.hypot(lateral / 1.25, (behind - middle) * flat)
    if palette.sequence.kind == "fse" and float(above.max()) > 0:
        # Fluid that pulses behind the thoracic cord loses its signal on echo trains (Lisanti 2007).
        swirl = texture.sample(region, 8.0, 13, (1.0, 1.6, 0.5))
        void = coverage(swirl + 0.3, 1.2) * np.clip((behind - middle) / 3, 0, 1) * np.clip((above - 15) / 40, 0, 1)
        canvas.blend(region, void * inside * np.float32(spine.flow_void), 0.0, 0.0)
    # Roots: strands that lie at the back of the sac, thinning out downwards.
    if float(above.min()) < 22:
        strands = texture.sample(region, 3.4, 1, (2.2, 1.6, 0.12))
        share = np.clip((behind - sac_middle + 0.45 * sac_half) / sac_half, 0, 1) * np.clip((22 - above) / 20, 0, 1)
        thinning = np.clip(1.05 + above / 220, 0.25, 1)
        roots = np.clip(strands * 0.35 + 0.55, 0, 1) * share * thinning * inside
        canvas.blend(region, roots * 0.9, *palette.pair("roots"))
    alpha = coverage(cord, pixel) * (radius > 0.05)
    canvas.blend(region, alpha, *palette.pair("cord"))
    canvas.mark(region, alpha, Kind.CORD, level)


def paint_discs(canvas: Canvas, spine: Spine, texture: Texture, palette: Palette) -> None:
    """Paint the disc below every vertebra; bodies are painted over them afterwards.

    Parameters
    ----------
    canvas : Canvas
        Painted in place.
    spine : Spine
    texture : Texture
    palette : Palette
    """
    for index, (upper, lower) in enumerate(pairwise(spine.vertebrae)):
        half_depth = max(upper.depth_mm, lower.depth_mm) / 2 + upper.disc_bulge_mm + 3
        half_width = max(upper.width_mm, lower.width_mm) / 2 + 2
        low = -upper.height_mm / 2 - upper.disc_mm - lower.height_mm * 0.5
        region = canvas.box(upper, (-half_width, -half_depth, low), (half_width, half_depth, -upper.height_mm * 0.1))
        if region is not None:
            _paint_disc(canvas, region, (upper, lower), index, texture, palette)


def _paint_disc(
    canvas: Canvas, region: Region, pair: tuple[Vertebra, Vertebra], index: int, texture: Texture, palette: Palette
) -> None:
    upper, lower = pair
    pixel = canvas.pixel_mm
    side, depth, height = region.local(upper)
    side_low, depth_low, height_low = region.local(lower)
    above = upper.plates(side, depth)[0] - height
    below = height_low - lower.plates(side_low, depth_low)[1]
    gap = np.maximum(above + below, 0.5)
    share = np.clip(below / gap, 0, 1)
    middle = (depth + depth_low) / 2
    half = (upper.depth_mm + lower.depth_mm) / 4
    across = np.clip(np.abs(side) / (upper.width_mm / 2), 0, 1)
    rim = half * np.sqrt(1 - across * across * across)
    swell = 1 - (2 * share - 1) ** 2
    front = rim + 0.8 * swell + middle
    back = np.minimum(rim, half * 0.97) + np.float32(0.3 + upper.disc_bulge_mm) * swell - middle
    # Between the bodies only: a slab that reached into them would show beside a collapsed one.
    inside = np.minimum(np.minimum(front, back), np.minimum(above, below) + 1.2)
    whole = coverage(inside, pixel)
    canvas.blend(region, whole, *palette.pair("annulus"))
    canvas.mark(region, whole, Kind.DISC, index)
    nucleus = disc_nucleus(upper.disc_grade)
    wobble = texture.sample(region, 6.0, 4)
    rise = 2 * share - 1
    # A lens between the end plates, thick rings of annulus before and behind it.
    radial = np.square((middle - 0.03 * half) / (0.72 * half)) + np.square(0.9 * across)
    core = 1 - np.sqrt(radial + 0.9 * np.square(np.square(rise))) + np.float32(0.03 + 0.035 * upper.disc_grade) * wobble
    alpha = coverage(core * np.clip(gap, 3, 12) * 0.6 - 0.3, 2.6) * np.float32(1.0 - 0.09 * (upper.disc_grade - 1))
    water, annulus = palette.water(nucleus), palette.water("annulus")
    # The cleft of middle age: a dark line across the middle, thicker in the centre.
    line = np.float32(np.clip(0.5 - abs(upper.disc_grade - 2.6) * 0.35, 0, 1))
    cleft = np.exp(-np.square((rise + 0.15 * wobble) / 0.2)) * line * coverage(0.42 - radial, 0.5)
    canvas.blend(region, alpha * whole, water - (water - annulus) * cleft, 0.0)

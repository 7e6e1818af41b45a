"""Everything round the vertebral bodies: trunk, canal, discs and posterior elements, painted from far to near."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.anatomy import Spine, Vertebra
from spinefx.phantom.canvas import Canvas, Palette, Region, Texture, coverage
from spinefx.phantom.tissue import BONE_VOLUME, disc_nucleus

__all__ = ["Habitus", "paint_canal", "paint_discs", "paint_posterior_elements", "paint_trunk", "posterior_bone"]

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


def _knots(spine: Spine, z: _Floats, column: int) -> _Floats:
    """Interpolate a property of the canal by height."""
    table = spine.knots[:, column].astype(np.float32)
    low, step = float(spine.knots[0, 0]), float(spine.knots[1, 0] - spine.knots[0, 0])
    place = np.clip((z - np.float32(low)) * np.float32(1 / step), 0, len(table) - 1.001)
    index = place.astype(np.int32)
    part = place - index.astype(np.float32)  # a bare difference would be of double precision, and slow
    result: _Floats = table[index] * (1 - part) + table[index + 1] * part
    return result


def _behind_wall(spine: Spine, region: Region) -> tuple[_Floats, _Floats, _Floats, _Floats]:
    """Distance lateral of the canal's middle, distance behind its front wall, its depth, and the height.

    All but the first hardly change within a slice, so they are worked out once for each.
    """
    _, y, z = region.spine_of_slices()
    behind = (y - _knots(spine, z, 2)) * _knots(spine, z, 4)
    middle, canal = _knots(spine, z, 1), _knots(spine, z, 3)
    return region.spine()[0] - region.spread(middle), region.spread(behind), region.spread(canal), region.spread(z)


def paint_trunk(canvas: Canvas, spine: Spine, habitus: Habitus, texture: Texture, palette: Palette) -> None:
    """Paint air, skin, fat, muscle, vessels and viscera.

    Parameters
    ----------
    canvas : Canvas
        Painted in place.
    spine : Spine
    habitus : Habitus
    texture : Texture
    palette : Palette
    """
    whole = canvas.whole()
    lateral, behind, canal, z = _behind_wall(spine, whole)
    y = whole.spine()[1]
    envelope = _knots(spine, z, 6)
    coarse = texture.sample(whole, 13.0, 2)
    strands = texture.sample(whole, 3.6, 3, (1.0, 1.2, 0.3))
    water, fat = palette.pair("bowel")
    fat_water, fat_fat = palette.pair("fat")
    # Viscera: a mottle of bowel and fat below the diaphragm, lung above it.
    mottle = coverage(coarse * 5 + strands, 7.0)
    canvas.blend(whole, np.ones(1, np.float32), water * 0.85, fat)
    canvas.blend(whole, mottle * 0.9, fat_water, fat_fat)
    diaphragm = _height_of(spine, "T12") + 12 + 0.12 * (y - envelope + 60) + 5 * coarse
    canvas.blend(whole, coverage(z - diaphragm, 3.0), *palette.pair("lung"))
    _paint_in_front(canvas, whole, (lateral, behind, z), spine, palette, coarse)
    # Back muscle behind and beside the bodies, psoas in front of the lumbar transverse processes, streaked with fat.
    muscle = coverage(behind + 6 + 0.12 * lateral * lateral * (np.abs(lateral) > 18), 4.0)
    psoas = coverage(14 - np.hypot(np.abs(lateral) - 34, (behind + 16) * 0.6), 2.0) * (z < _height_of(spine, "T12"))
    flesh = np.maximum(muscle, psoas)
    water, fat = palette.pair("muscle")
    canvas.blend(whole, flesh, water * (1 + 0.06 * coarse), fat)
    streaks = coverage(strands + 0.7 * coarse - np.float32(2.0 - 2.4 * habitus.muscle_fat), 1.6) * flesh
    canvas.blend(whole, streaks * 0.75, fat_water, fat_fat)
    _paint_back(canvas, whole, (lateral, behind, canal, y - envelope), habitus, palette, coarse)
    # The front of the trunk and the air beyond it.
    front = y - envelope + np.float32(36 + habitus.front_mm) + 4 * np.sin(z / 60)
    canvas.blend(whole, coverage(16 - front, 2.0), fat_water, fat_fat)
    canvas.blend(whole, coverage(-front, 2.0), 0.0, 0.0)


def _height_of(spine: Spine, level: str) -> float:
    index = spine.find(level)
    return float(spine.vertebrae[index].centre_mm[2]) if index is not None else 0.0


def _paint_in_front(
    canvas: Canvas,
    whole: Region,
    place: tuple[_Floats, _Floats, _Floats],
    spine: Spine,
    palette: Palette,
    coarse: _Floats,
) -> None:
    """Paint fat and the great vessels before the bodies: flow voids with a wall, aorta left and vena cava right."""
    lateral, behind, z = place
    ahead = -behind - _knots(spine, z, 5)  # of the bodies' front
    near = coverage(ahead + 18, 4.0) * coverage(7 - ahead + 5 * coarse, 4.0) * coverage(30 - np.abs(lateral), 4.0)
    canvas.blend(whole, near * np.clip(0.6 + 0.2 * coarse, 0, 1), *palette.pair("fat"))
    for side, radius, forward in ((9.0, 10.0, 16.0), (-13.0, 9.0, 19.0)):
        centre = forward + 4 * np.sin(z / 70 + side)
        inside = radius - np.hypot(lateral - side, ahead - centre)
        canvas.blend(whole, coverage(inside, 2.0), *palette.pair("muscle"))
        canvas.blend(whole, coverage(inside - 1.2, 1.5), 0.02, 0.0)


def _paint_back(
    canvas: Canvas,
    whole: Region,
    place: tuple[_Floats, _Floats, _Floats, _Floats],
    habitus: Habitus,
    palette: Palette,
    coarse: _Floats,
) -> None:
    """Paint the ligament between spinous processes, the fat under the skin, the skin, and the air behind it."""
    lateral, behind, canal, beyond = place
    between = coverage(2.6 - np.abs(lateral), 2.0) * coverage(behind - canal - 3, 2.0)
    water, fat = palette.pair("flavum")
    canvas.blend(whole, between * np.clip(0.6 + 0.15 * coarse, 0, 1), water, fat + 0.3 * palette.fat)
    skin = np.float32(habitus.skin_mm) - beyond
    fascia = np.maximum(behind - canal - 34, np.float32(habitus.subcutaneous_mm) - skin)
    fat_water, fat_fat = palette.pair("fat")
    canvas.blend(whole, coverage(fascia, 1.5), fat_water, fat_fat * (0.97 + 0.03 * coarse))
    canvas.blend(whole, coverage(0.9 - np.abs(fascia), 1.0) * 0.6, *palette.pair("ligament"))
    edge = 1.3 * canvas.pixel_mm
    canvas.blend(whole, coverage(2.0 - skin, edge), *palette.pair("skin"))
    canvas.blend(whole, coverage(-skin, edge), 0.0, 0.0)


def paint_canal(canvas: Canvas, spine: Spine, habitus: Habitus, texture: Texture, palette: Palette) -> None:
    """Paint epidural fat, dural sac, cord and roots.

    Parameters
    ----------
    canvas : Canvas
        Painted in place.
    spine : Spine
    habitus : Habitus
    texture : Texture
    palette : Palette
    """
    wall = spine.knots[:, [1, 2, 0]]
    corners = np.concatenate([wall + np.array([x, y, 0]) for x in (-24, 24) for y in (-6, 26)])
    # In bands, since a block round the whole of a curved canal would be mostly something else.
    for region in canvas.bands(corners, _BAND_ROWS):
        _paint_canal_piece(canvas, region, spine, habitus, texture, palette)


def _paint_canal_piece(
    canvas: Canvas, region: Region, spine: Spine, habitus: Habitus, texture: Texture, palette: Palette
) -> None:
    lateral, behind, canal, z = _behind_wall(spine, region)
    pixel = canvas.pixel_mm
    half = canal / 2
    aside = np.abs(lateral)
    # The canal and, beside it, the foramina: all fat at first; bone comes over it later.
    space = np.minimum(np.minimum(behind + 0.5, canal * 0.95 - behind), 19 - aside)
    canvas.blend(region, coverage(space, 1.5), *palette.pair("fat"))
    tube = half * (1 - np.hypot(aside / 11.5, (behind - half) / half))
    sac_half = half * (0.99 - 0.13 * habitus.epidural_fat) - 0.6
    sac_middle = half - 0.12 * habitus.epidural_fat * half
    sac = sac_half * (1 - np.hypot(aside / 9.5, (behind - sac_middle) / sac_half))
    sac = np.minimum(sac, (z - np.float32(spine.sac_end_mm)) * 0.4)
    alpha = coverage(sac, pixel)
    canvas.blend(region, coverage(sac + 0.7, pixel) * (tube > -1), *palette.pair("ligament"))
    canvas.blend(region, alpha, *palette.pair("csf"))
    _paint_nerves(canvas, region, (lateral, behind, z), (sac_half, sac_middle, alpha), spine, texture, palette)
    # Posterior longitudinal ligament and cortex: the dark line between body and sac.
    line = coverage(0.75 - np.abs(behind - 0.5), pixel) * coverage(9 - aside, 2.0)
    canvas.blend(region, line * 0.8, *palette.pair("ligament"))


def _paint_nerves(
    canvas: Canvas,
    region: Region,
    place: tuple[_Floats, _Floats, _Floats],
    sac: tuple[_Floats, _Floats, _Floats],
    spine: Spine,
    texture: Texture,
    palette: Palette,
) -> None:
    lateral, behind, z = place
    sac_half, sac_middle, inside = sac
    pixel = canvas.pixel_mm
    above = z - np.float32(spine.conus_mm)
    swell = np.exp(-(((above - 35) / 30) ** 2))
    radius = np.clip((above + 14) / 14, 0, 1) * (3.1 + 0.8 * swell)
    # The cord hugs the front of the canal in the kyphosis and drops back towards the conus (supine).
    middle = sac_middle + np.clip((60 - above) / 60, -0.6, 1) * 1.1
    cord = radius - np.hypot(lateral / 1.25, behind - middle)
    # Roots: strands that lie at the back of the sac, thinning out downwards.
    strands = texture.sample(region, 3.4, 1, (2.2, 1.6, 0.12))
    share = np.clip((behind - sac_middle + 0.45 * sac_half) / sac_half, 0, 1) * np.clip((22 - above) / 20, 0, 1)
    thinning = np.clip(1.05 + above / 220, 0.25, 1)
    roots = np.clip(strands * 0.35 + 0.55, 0, 1) * share * thinning * inside
    canvas.blend(region, roots * 0.9, *palette.pair("roots"))
    canvas.blend(region, coverage(cord, pixel) * (radius > 0.05), *palette.pair("cord"))


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
    for upper, lower in zip(spine.vertebrae, spine.vertebrae[1:], strict=False):
        half_depth = max(upper.depth_mm, lower.depth_mm) / 2 + upper.disc_bulge_mm + 3
        half_width = max(upper.width_mm, lower.width_mm) / 2 + 2
        low = -upper.height_mm / 2 - upper.disc_mm - lower.height_mm * 0.5
        region = canvas.box(upper, (-half_width, -half_depth, low), (half_width, half_depth, -upper.height_mm * 0.1))
        if region is not None:
            _paint_disc(canvas, region, upper, lower, texture, palette)


def _paint_disc(
    canvas: Canvas, region: Region, upper: Vertebra, lower: Vertebra, texture: Texture, palette: Palette
) -> None:
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
    canvas.blend(region, coverage(inside, pixel), *palette.pair("annulus"))
    nucleus = disc_nucleus(upper.disc_grade)
    wobble = 0.10 * texture.sample(region, 6.0, 4)
    radial = np.hypot((middle - 0.06 * half) / (0.74 * half), 0.9 * across) + wobble
    core = np.minimum(1 - radial, 1.25 - 1.25 * np.abs(2 * share - 1)) * 4
    alpha = coverage(core, 1.1) * np.float32(1.0 - 0.09 * (upper.disc_grade - 1))
    water = palette.water(nucleus)
    annulus = palette.water("annulus")
    cleft = np.exp(-(((share - 0.5) / 0.10) ** 2)) * np.float32(np.clip(0.62 - abs(upper.disc_grade - 2.3) * 0.3, 0, 1))
    canvas.blend(region, alpha * coverage(inside, pixel), water - (water - annulus) * cleft * 0.7, 0.0)


def paint_posterior_elements(
    canvas: Canvas, spine: Spine, habitus: Habitus, texture: Texture, palette: Palette
) -> None:
    """Paint pedicles, articular masses, laminae, spinous processes and the roots in the foramina.

    Parameters
    ----------
    canvas : Canvas
        Painted in place.
    spine : Spine
    habitus : Habitus
    texture : Texture
    palette : Palette
    """
    for item in spine.vertebrae:
        if item.sacral:
            continue
        reach = item.canal_mm + 38
        region = canvas.box(
            item,
            (-22, item.depth_mm / 2 - 4, -1.3 * item.height_mm - 6),
            (22, item.depth_mm / 2 + reach, 0.7 * item.height_mm),
        )
        if region is None:
            continue
        side, depth, height = region.local(item)
        behind, rise = depth - item.depth_mm / 2, height / item.height_mm
        aside = np.abs(side)
        half_canal = 10.5 if item.level[0] != "L" else 11.5
        _paint_root(canvas, region, (aside, behind, rise), item, palette)
        wobble = texture.sample(region, 7.0, 6)
        bone = posterior_bone((side, behind, rise), item, half_canal) + 0.7 * wobble
        fat = np.clip(habitus.marrow_fat + 0.08 + 0.6 * habitus.marrow_texture * texture.sample(region, 5.0, 5), 0, 1)
        canvas.blend(region, coverage(bone, canvas.pixel_mm), *palette.pair("cortex"))
        inner = coverage(bone - 1.0, canvas.pixel_mm)
        keep = np.float32(1 - BONE_VOLUME)
        canvas.blend(region, inner, keep * (1 - fat) * palette.water("marrow_water"), keep * fat * palette.fat)
        _open_pedicle(canvas, region, (aside, behind, rise), half_canal, habitus, palette)


def posterior_bone(place: tuple[_Floats, _Floats, _Floats], item: Vertebra, half_canal_mm: float) -> _Floats:
    """Signed distance to pedicles, articular masses, lamina and spinous process.

    Parameters
    ----------
    place : tuple of ndarray
        Lateral and behind the body's back wall (mm), and height over the body's height.
    item : Vertebra
    half_canal_mm : float
        Half the canal's width.

    Returns
    -------
    ndarray
        Positive inside, roughly millimetres.
    """
    side, behind, rise = place
    aside = np.abs(side)
    height = item.height_mm
    canal = item.canal_mm
    pedicle = 1 - np.hypot((aside - half_canal_mm - 4) / 5.0, (rise - 0.18) / 0.31)
    pedicle = np.minimum(pedicle * 4.5, np.minimum(behind + 2.5, canal * 0.85 - behind))
    slant = behind - canal * 0.95 - 6 + 5 * (rise + 0.2)
    mass = np.minimum(6.0 - np.abs(slant), 5.5 - np.abs(aside - half_canal_mm - 4))
    mass = np.minimum(mass, (0.72 - np.abs(rise + 0.28)) * height * 0.6)
    lamina = np.minimum(3.2 - np.abs(behind - canal - 3.2 + 7 * (rise + 0.3)), half_canal_mm + 2 - aside)
    lamina = np.minimum(lamina, (0.30 - np.abs(rise + 0.28)) * height)
    down = 0.30 if item.level[0] == "L" else 0.85
    centre = -0.28 - down * (behind - canal - 3) / height * 0.5
    tall = 0.30 if item.level[0] == "L" else 0.20
    length = (behind - canal - 17) / 15.0
    spinous = np.minimum((tall * (1 - 0.35 * np.square(length * length)) - np.abs(rise - centre)) * height, 3.4 - aside)
    spinous = np.minimum(spinous, 15 * (1 - np.abs(length)))
    result: _Floats = np.maximum(np.maximum(pedicle, mass), np.maximum(lamina, spinous))
    return result


def _paint_root(
    canvas: Canvas, region: Region, place: tuple[_Floats, _Floats, _Floats], item: Vertebra, palette: Palette
) -> None:
    aside, behind, rise = place
    height = item.height_mm
    root = 2.4 - np.hypot(behind - 0.42 * item.canal_mm, (rise + 0.30) * height - (aside - 14) * 0.3)
    alpha = coverage(root, 1.2) * coverage(aside - 10, 2.0)
    canvas.blend(region, alpha, *palette.pair("roots"))


def _open_pedicle(
    canvas: Canvas,
    region: Region,
    place: tuple[_Floats, _Floats, _Floats],
    half_canal_mm: float,
    habitus: Habitus,
    palette: Palette,
) -> None:
    """Let marrow run from the body into the pedicle without a cortical line between them."""
    aside, behind, rise = place
    opening = np.minimum(3.2 - np.abs(aside - half_canal_mm - 4), 3.0 - np.abs(behind + 0.5))
    opening = np.minimum(opening, (0.20 - np.abs(rise - 0.18)) * 20)
    keep, fat = 1 - BONE_VOLUME, habitus.marrow_fat + 0.05
    alpha = coverage(opening, 1.2)
    canvas.blend(region, alpha, keep * (1 - fat) * palette.water("marrow_water"), keep * fat * palette.fat)

"""What lies behind the spine: muscle in bundles, ligaments between the spinous processes, fat, skin, and the air."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.anatomy import Spine
from spinefx.phantom.canvas import Canvas, Region, Texture, coverage
from spinefx.phantom.course import ENVELOPE, FRONT, MIDDLE, along, behind_wall
from spinefx.phantom.surroundings import Habitus
from spinefx.phantom.tissue import Palette

__all__ = ["paint_back"]

_Floats = NDArray[Any]  # of float32: doubles would be slow, and nothing needs them
_BAND_ROWS = 64
_FASCIA_MM = 34.0  # behind the canal: where the tips of the spinous processes end
# Bundles of muscle run from the spine down and outwards: coordinates along them change slowly.
_BUNDLES = np.array([[0.9, 0.0, 0.12], [0.0, 1.0, -0.22], [0.0, 0.06, 0.2]])


def paint_back(canvas: Canvas, spine: Spine, habitus: Habitus, texture: Texture, palette: Palette) -> None:
    """Paint soft tissue behind the bodies' back walls, as far as the air.

    Parameters
    ----------
    canvas : Canvas
        Painted in place; each slice's thin slices alike.
    spine : Spine
    habitus : Habitus
    texture : Texture
    palette : Palette
    """
    heights = canvas.whole().corners()[:, 2]
    z = np.arange(heights.min(), heights.max() + 4, 4.0)
    middle, front, envelope = along(spine, z, MIDDLE, FRONT, ENVELOPE)
    points = [
        np.stack([middle + side, y, z], -1)
        for side in (-200, 200)
        for y in (front - 22, envelope + habitus.skin_mm + 12)
    ]
    for region in canvas.bands(np.concatenate(points), _BAND_ROWS):
        _paint_piece(canvas, region, spine, habitus, texture, palette)


def _paint_piece(
    canvas: Canvas, region: Region, spine: Spine, habitus: Habitus, texture: Texture, palette: Palette
) -> None:
    lateral, behind, canal, z = behind_wall(spine, region)
    surface = np.float32(habitus.skin_mm) + 1.5 * np.sin(z / 37) + 0.8 * np.sin(z / 13 + 1)
    skin = surface + along(spine, z, ENVELOPE)[0] - region.spine_of_slices()[1]
    pixel = canvas.pixel_mm
    aside = np.abs(lateral)
    strands = texture.sample(region, 3.1, 3, _BUNDLES, thin=False)
    coarse = texture.sample(region, 12.0, 2, thin=False)
    fat_water, fat_fat = palette.pair("fat")
    water, lipid = palette.pair("muscle")
    # Between bundles a thin layer of fat; in fatty muscle whole bundles of it.
    layers = coverage(np.float32(0.2 + 0.6 * habitus.muscle_fat) - np.abs(strands + 0.4 * coarse), 0.5)
    clumps = coverage(strands + 0.6 * coarse - np.float32(2.4 - 2.6 * habitus.muscle_fat), 1.4)
    share = np.clip(0.45 * layers * np.clip(0.6 + 0.5 * coarse, 0.15, 1) + 0.7 * clumps, 0, 0.9)
    # In the midline ligaments between the spinous processes, streaked with fat.
    midline = coverage(4.0 - aside, 3.0) * coverage(behind - canal - 2, 2.0)
    share = share + midline * (np.clip(0.38 + 0.08 * strands + 0.18 * coarse, 0.05, 0.85) - share)
    flesh = coverage(behind + 5 + np.clip(aside - 18, 0, 10), 3.0)
    base = water * (1 + 0.05 * coarse) * (1 - 0.30 * midline)
    canvas.blend_slices(region, flesh, base + share * (fat_water - base), lipid + share * (fat_fat - lipid))
    fascia = np.maximum(behind - canal - np.float32(_FASCIA_MM), np.float32(habitus.subcutaneous_mm) - skin)
    # Lobules of fat, parted by septa, and one sheet of fascia halfway.
    net = texture.sample(region, 3.4, 5, (1.0, 1.0, 0.55), thin=False)
    septa = coverage(0.08 - np.abs(net), 0.3) * np.clip(0.5 + 0.5 * strands, 0, 1)
    sheet = coverage(0.4 - np.abs(skin - np.float32(0.55 * habitus.subcutaneous_mm) - coarse), 1.0)
    dim = (1 - 0.35 * np.maximum(septa, 0.6 * sheet)) * (0.96 + 0.03 * coarse)
    fibrous = coverage(0.9 - np.abs(fascia), pixel) * 0.8
    cover = coverage(fascia, 1.2)
    rind = coverage(2.0 - skin, 1.3 * pixel)
    canvas.blend_slices(region, cover, fat_water * dim, fat_fat * dim)
    canvas.blend_slices(region, fibrous, *palette.pair("ligament"))
    canvas.blend_slices(region, rind, *palette.pair("skin"))
    canvas.blend_slices(region, coverage(-skin, 1.3 * pixel), 0.0, 0.0)

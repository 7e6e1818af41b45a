"""Soft tissue behind the spine: paraspinal muscles, interspinous ligaments, subcutaneous fat, skin, and the air."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.canal_coordinates import (
    CANAL_FRONT,
    CANAL_LATERAL,
    SMOOTHED_FRONT,
    canal_coordinates,
    canal_profile,
)
from spinefx.phantom.canvas import Canvas, Region, Texture, coverage
from spinefx.phantom.habitus import Habitus
from spinefx.phantom.spine import Spine
from spinefx.phantom.tissue import TissueSignals

__all__ = ["paint_posterior_soft_tissue"]

_Floats = NDArray[Any]  # of float32, which is precise enough and faster than float64
_BAND_ROWS = 64
_FASCIA_MM = 34.0  # depth of the fascia behind the canal, at the tips of the spinous processes
# Muscle bundles run caudally and laterally from the spine: the texture is elongated along them.
_BUNDLES = np.array([[0.9, 0.0, 0.12], [0.0, 1.0, -0.22], [0.0, 0.06, 0.2]])


def paint_posterior_soft_tissue(
    canvas: Canvas, spine: Spine, habitus: Habitus, texture: Texture, signals: TissueSignals
) -> None:
    """Paint soft tissue behind the posterior walls of the bodies, as far as the air.

    Parameters
    ----------
    canvas : Canvas
        Painted in place, equally in all thin slices of a slice.
    spine : Spine
    habitus : Habitus
    texture : Texture
    signals : TissueSignals
    """
    heights = canvas.whole().corners()[:, 2]
    z = np.arange(heights.min(), heights.max() + 4, 4.0)
    middle, front, envelope = canal_profile(spine, z, CANAL_LATERAL, CANAL_FRONT, SMOOTHED_FRONT)
    points = [
        np.stack([middle + side, y, z], -1)
        for side in (-200, 200)
        for y in (front - 22, envelope + habitus.skin_mm + 12)
    ]
    for region in canvas.bands(np.concatenate(points), _BAND_ROWS):
        _paint_piece(canvas, region, spine, habitus, texture, signals)


def _paint_piece(
    canvas: Canvas, region: Region, spine: Spine, habitus: Habitus, texture: Texture, signals: TissueSignals
) -> None:
    lateral, behind, canal, z = canal_coordinates(spine, region)
    surface = np.float32(habitus.skin_mm) + 1.5 * np.sin(z / 37) + 0.8 * np.sin(z / 13 + 1)
    skin = surface + canal_profile(spine, z, SMOOTHED_FRONT)[0] - region.spine_of_slices()[1]
    pixel = canvas.pixel_mm
    aside = np.abs(lateral)
    strands = texture.sample(region, 3.1, 3, _BUNDLES, thin=False)
    coarse = texture.sample(region, 12.0, 2, thin=False)
    fat_water, fat_fat = signals.pair("fat")
    water, lipid = signals.pair("muscle")
    # Thin layers of fat between the bundles; in fatty muscle, whole bundles of fat.
    layers = coverage(np.float32(0.2 + 0.6 * habitus.muscle_fat) - np.abs(strands + 0.4 * coarse), 0.5)
    clumps = coverage(strands + 0.6 * coarse - np.float32(2.4 - 2.6 * habitus.muscle_fat), 1.4)
    share = np.clip(0.45 * layers * np.clip(0.6 + 0.5 * coarse, 0.15, 1) + 0.7 * clumps, 0, 0.9)
    # Interspinous ligaments in the midline, streaked with fat.
    midline = coverage(4.0 - aside, 3.0) * coverage(behind - canal - 2, 2.0)
    share = share + midline * (np.clip(0.38 + 0.08 * strands + 0.18 * coarse, 0.05, 0.85) - share)
    flesh = coverage(behind + 5 + np.clip(aside - 18, 0, 10), 3.0)
    base = water * (1 + 0.05 * coarse) * (1 - 0.30 * midline)
    canvas.blend_slices(region, flesh, base + share * (fat_water - base), lipid + share * (fat_fat - lipid))
    fascia = np.maximum(behind - canal - np.float32(_FASCIA_MM), np.float32(habitus.subcutaneous_mm) - skin)
    # Fat lobules separated by septa, with one layer of fascia halfway.
    net = texture.sample(region, 3.4, 5, (1.0, 1.0, 0.55), thin=False)
    septa = coverage(0.08 - np.abs(net), 0.3) * np.clip(0.5 + 0.5 * strands, 0, 1)
    sheet = coverage(0.4 - np.abs(skin - np.float32(0.55 * habitus.subcutaneous_mm) - coarse), 1.0)
    dim = (1 - 0.35 * np.maximum(septa, 0.6 * sheet)) * (0.96 + 0.03 * coarse)
    fibrous = coverage(0.9 - np.abs(fascia), pixel) * 0.8
    cover = coverage(fascia, 1.2)
    rind = coverage(2.0 - skin, 1.3 * pixel)
    canvas.blend_slices(region, cover, fat_water * dim, fat_fat * dim)
    canvas.blend_slices(region, fibrous, *signals.pair("ligament"))
    canvas.blend_slices(region, rind, *signals.pair("skin"))
    canvas.blend_slices(region, coverage(-skin, 1.3 * pixel), 0.0, 0.0)

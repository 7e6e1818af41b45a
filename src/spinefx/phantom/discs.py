"""Intervertebral discs: annulus, nucleus and the intranuclear cleft."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from spinefx.phantom.canvas import Canvas, Region, Texture, coverage
from spinefx.phantom.label_codes import Structure
from spinefx.phantom.spine import Spine
from spinefx.phantom.tissue import TissueSignals, disc_nucleus
from spinefx.phantom.varied_deformity import VariedDeformity
from spinefx.phantom.vertebra import Vertebra

__all__ = ["paint_discs"]


def paint_discs(canvas: Canvas, spine: Spine, texture: Texture, signals: TissueSignals) -> None:
    """Paint the disc below every vertebra; the bodies are painted over it afterwards.

    Parameters
    ----------
    canvas : Canvas
        Painted in place.
    spine : Spine
    texture : Texture
    signals : TissueSignals
    """
    for index, (upper, lower) in enumerate(pairwise(spine.vertebrae)):
        half_depth = max(upper.depth_mm, lower.depth_mm) / 2 + upper.disc_bulge_mm + 3
        half_width = max(upper.width_mm, lower.width_mm) / 2 + 2
        low = -upper.height_mm / 2 - upper.disc_mm - lower.height_mm * 0.5
        high = -upper.height_mm * 0.1
        # A disc follows an end plate that has sunk beyond the middle of its body.
        if isinstance(upper.deformity, VariedDeformity):
            high = upper.height_mm * 0.35
        if isinstance(lower.deformity, VariedDeformity):
            low -= lower.height_mm * 0.35
        region = canvas.box(upper, (-half_width, -half_depth, low), (half_width, half_depth, high))
        if region is not None:
            _paint_disc(canvas, region, (upper, lower), index, texture, signals)


def _paint_disc(
    canvas: Canvas,
    region: Region,
    pair: tuple[Vertebra, Vertebra],
    index: int,
    texture: Texture,
    signals: TissueSignals,
) -> None:
    upper, lower = pair
    pixel = canvas.pixel_mm
    side, depth, height = region.local(upper)
    side_low, depth_low, height_low = region.local(lower)
    above = upper.end_plates(side, depth)[0] - height
    below = height_low - lower.end_plates(side_low, depth_low)[1]
    gap = np.maximum(above + below, 0.5)
    share = np.clip(below / gap, 0, 1)
    middle = (depth + depth_low) / 2
    half = (upper.depth_mm + lower.depth_mm) / 4
    across = np.clip(np.abs(side) / (upper.width_mm / 2), 0, 1)
    rim = half * np.sqrt(1 - across * across * across)
    swell = 1 - (2 * share - 1) ** 2
    front = rim + 0.8 * swell + middle
    back = np.minimum(rim, half * 0.97) + np.float32(0.3 + upper.disc_bulge_mm) * swell - middle
    # Between the bodies only: a disc that extended into them would show beside a collapsed body.
    inside = np.minimum(np.minimum(front, back), np.minimum(above, below) + 1.2)
    whole = coverage(inside, pixel)
    canvas.blend(region, whole, *signals.pair("annulus"))
    canvas.mark(region, whole, Structure.DISC, index)
    nucleus = disc_nucleus(upper.disc_grade)
    wobble = texture.sample(region, 6.0, 4)
    rise = 2 * share - 1
    # The nucleus is a lens between the end plates, with thick annulus anterior and posterior to it.
    radial = np.square((middle - 0.03 * half) / (0.72 * half)) + np.square(0.9 * across)
    core = 1 - np.sqrt(radial + 0.9 * np.square(np.square(rise))) + np.float32(0.03 + 0.035 * upper.disc_grade) * wobble
    alpha = coverage(core * np.clip(gap, 3, 12) * 0.6 - 0.3, 2.6) * np.float32(1.0 - 0.09 * (upper.disc_grade - 1))
    water, annulus = signals.water(nucleus), signals.water("annulus")
    # The intranuclear cleft of middle age: a dark horizontal line, thicker in the centre.
    line = np.float32(np.clip(0.5 - abs(upper.disc_grade - 2.6) * 0.35, 0, 1))
    cleft = np.exp(-np.square((rise + 0.15 * wobble) / 0.2)) * line * coverage(0.42 - radial, 0.5)
    canvas.blend(region, alpha * whole, water - (water - annulus) * cleft, 0.0)

"""What the lesion does outside its body: epidural and paraspinal mass, pedicle and posterior elements."""

from __future__ import annotations

import numpy as np

from spinefx.phantom.anatomy import Spine
from spinefx.phantom.canvas import Canvas, Texture, coverage
from spinefx.phantom.lesion import LesionDraw
from spinefx.phantom.posterior import posterior_bone
from spinefx.phantom.structure import Kind
from spinefx.phantom.surroundings import epidural_lens
from spinefx.phantom.tissue import Palette

__all__ = ["paint_masses"]


def paint_masses(canvas: Canvas, spine: Spine, texture: Texture, palette: Palette, lesion: LesionDraw) -> None:
    """Paint what the lesion does outside its body: epidural and paraspinal mass, pedicle and posterior elements.

    Parameters
    ----------
    canvas : Canvas
        Painted in place.
    spine : Spine
    texture : Texture
    palette : Palette
    lesion : LesionDraw
    """
    item = spine.lesion_vertebra
    reach = 1.4 * item.height_mm + 8
    half = item.depth_mm / 2
    region = canvas.box(item, (-26, -half - 16, -reach), (26, half + item.canal_mm + 34, reach))
    if region is None:
        return
    side, depth, height = region.local(item)
    malignant = lesion.diagnosis.value == "malignant"
    tissue = "lytic" if malignant else "blood"
    water = palette.water(tissue) * 1.02
    mottle = (1 + 0.10 * texture.sample(region, 5.0, 12)) * np.float32(water)
    if lesion.epidural[0] > 0:
        lens = epidural_lens(lesion, item, side, height)
        _, wall = item.walls(side, height)
        # It lies on the back wall, whose cortex it has eaten.
        wall = np.maximum(wall, half - 1.5)
        inside = np.minimum(lens - (depth - np.maximum(wall, half)), depth - wall + 0.6)
        alpha = coverage(inside, 1.0) * (lens > 0.2)
        canvas.blend(region, alpha, mottle, 0.0)
        canvas.mark(region, alpha, Kind.MASS, spine.target)
    if lesion.paraspinal_mm > 0:
        hump = np.sqrt(np.maximum(1 - np.square(height / (0.75 * item.height_mm)), 0))
        waist, _ = item.walls(side, np.zeros_like(height))  # lips would give the mass ears
        front, _ = item.walls(side, height)
        inside = np.minimum(lesion.paraspinal_mm * hump - (waist - depth), front - depth + 0.4)
        alpha = coverage(inside, 1.2) * (hump > 0.02)
        canvas.blend(region, alpha, mottle, 0.0)
        canvas.mark(region, alpha, Kind.MASS, spine.target)
    direction, expansion, spinous = lesion.pedicle
    if direction != 0:
        behind = depth - half
        place = (side / np.float32(expansion**0.5), behind / np.float32(expansion**0.5), height / np.float32(expansion))
        bone = posterior_bone(place, item)
        part = coverage(side * np.float32(direction) - 4, 2.0)
        if spinous:
            part = np.maximum(part, coverage(behind - item.canal_mm - 2, 2.0) * coverage(5 - np.abs(side), 2.0))
        alpha = coverage(bone + 0.8, 1.2) * part
        canvas.blend(region, alpha, mottle, 0.02 * palette.fat)
        canvas.mark(region, alpha, Kind.MASS, spine.target)

"""Extension of the lesion beyond the vertebral body: epidural and paraspinal mass, pedicle and posterior elements."""

from __future__ import annotations

import numpy as np

from spinefx.phantom.canal import epidural_lens
from spinefx.phantom.canvas import Canvas, Texture, coverage
from spinefx.phantom.label_codes import Structure
from spinefx.phantom.lesion import LesionDraw
from spinefx.phantom.posterior_elements import posterior_bone
from spinefx.phantom.spine import Spine
from spinefx.phantom.tissue import TissueSignals

__all__ = ["paint_lesion_extension"]


def paint_lesion_extension(
    canvas: Canvas, spine: Spine, texture: Texture, signals: TissueSignals, lesion: LesionDraw
) -> None:
    """Paint the epidural and paraspinal mass, and replaced pedicles and posterior elements.

    Parameters
    ----------
    canvas : Canvas
        Painted in place.
    spine : Spine
    texture : Texture
    signals : TissueSignals
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
    water = signals.water(tissue) * 1.02
    mottle = (1 + 0.10 * texture.sample(region, 5.0, 12)) * np.float32(water)
    if lesion.epidural[0] > 0:
        lens = epidural_lens(lesion, item, side, height)
        _, wall = item.walls(side, height)
        # The mass lies on the posterior wall and has eroded its cortex.
        wall = np.maximum(wall, half - 1.5)
        inside = np.minimum(lens - (depth - np.maximum(wall, half)), depth - wall + 0.6)
        alpha = coverage(inside, 1.0) * (lens > 0.2)
        canvas.blend(region, alpha, mottle, 0.0)
        canvas.mark(region, alpha, Structure.MASS, spine.target)
    if lesion.paraspinal_mm > 0:
        hump = np.sqrt(np.maximum(1 - np.square(height / (0.75 * item.height_mm)), 0))
        waist, _ = item.walls(side, np.zeros_like(height))  # osteophytes would shape the mass
        front, _ = item.walls(side, height)
        inside = np.minimum(lesion.paraspinal_mm * hump - (waist - depth), front - depth + 0.4)
        alpha = coverage(inside, 1.2) * (hump > 0.02)
        canvas.blend(region, alpha, mottle, 0.0)
        canvas.mark(region, alpha, Structure.MASS, spine.target)
    direction, expansion, spinous = lesion.pedicle
    if direction != 0:
        behind = depth - half
        place = (side / np.float32(expansion**0.5), behind / np.float32(expansion**0.5), height / np.float32(expansion))
        bone = posterior_bone(place, item)
        part = coverage(side * np.float32(direction) - 4, 2.0)
        if spinous:
            part = np.maximum(part, coverage(behind - item.canal_mm - 2, 2.0) * coverage(5 - np.abs(side), 2.0))
        alpha = coverage(bone + 0.8, 1.2) * part
        canvas.blend(region, alpha, mottle, 0.02 * signals.fat)
        canvas.mark(region, alpha, Structure.MASS, spine.target)

"""Extension of the lesion beyond the vertebral body: epidural and paraspinal mass, pedicle and posterior elements."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.canal import epidural_lens
from spinefx.phantom.canvas import Canvas, Region, Texture, coverage
from spinefx.phantom.label_codes import Structure
from spinefx.phantom.lesion import LesionDraw
from spinefx.phantom.posterior_elements import posterior_bone
from spinefx.phantom.spine import Spine
from spinefx.phantom.tissue import TissueSignals
from spinefx.phantom.varied_lesion import VariedLesion
from spinefx.phantom.vertebra import Vertebra

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
    varied = lesion if isinstance(lesion, VariedLesion) else None
    wide = item.width_mm / 2 + 1.4 * varied.lateral_mass[1] + 2 if varied and varied.lateral_mass[1] > 0 else 26
    region = canvas.box(item, (-wide, -half - (20 if varied else 16), -reach), (wide, half + item.canal_mm + 34, reach))
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
        eroded = 0.6 if varied is None or varied.cortex_erased else -0.2
        inside = np.minimum(lens - (depth - np.maximum(wall, half)), depth - wall + eroded)
        alpha = coverage(inside, 1.0) * (lens > 0.2)
        canvas.blend(region, alpha, mottle, 0.0)
        canvas.mark(region, alpha, Structure.MASS, spine.target)
        canvas.mark_sign(region, alpha, "epidural_paraspinal_mass")
    if lesion.paraspinal_mm > 0:
        hump = np.sqrt(np.maximum(1 - np.square(height / (0.75 * item.height_mm)), 0))
        waist, _ = item.walls(side, np.zeros_like(height))  # osteophytes would shape the mass
        front, _ = item.walls(side, height)
        inside = np.minimum(lesion.paraspinal_mm * hump - (waist - depth), front - depth + 0.4)
        alpha = coverage(inside, 1.2) * (hump > 0.02)
        canvas.blend(region, alpha, mottle, 0.0)
        canvas.mark(region, alpha, Structure.MASS, spine.target)
        canvas.mark_sign(region, alpha, "epidural_paraspinal_mass")
    if varied and varied.lateral_mass[1] > 0:
        alpha = _lateral_mass(region, varied, item)
        canvas.blend(region, alpha, mottle, 0.0)
        canvas.mark(region, alpha, Structure.MASS, spine.target)
        canvas.mark_sign(region, alpha, "epidural_paraspinal_mass")
    direction, expansion, spinous = lesion.pedicle
    if direction != 0:
        behind = depth - half
        place = (side / np.float32(expansion**0.5), behind / np.float32(expansion**0.5), height / np.float32(expansion))
        bone = posterior_bone(place, item)
        aside = np.abs(side) if varied and varied.both_pedicles else side * np.float32(direction)
        part = coverage(aside - 4, 2.0)
        if spinous:
            part = np.maximum(part, coverage(behind - item.canal_mm - 2, 2.0) * coverage(5 - np.abs(side), 2.0))
        alpha = coverage(bone + 0.8, 1.2) * part
        canvas.blend(region, alpha, mottle, 0.02 * signals.fat)
        canvas.mark(region, alpha, Structure.MASS, spine.target)
        canvas.mark_sign(region, alpha, "pedicle_posterior_element")


def _lateral_mass(region: Region, lesion: VariedLesion, item: Vertebra) -> NDArray[Any]:
    """Coverage by a mass beside the body: an ellipsoid on its flank, outside the body."""
    side, depth, height = region.local(item)
    direction, radius = lesion.lateral_mass
    away = side * np.float32(direction) - np.float32(item.width_mm / 2 + 0.3 * radius)
    far = np.sqrt(np.square(away / 0.9) + np.square(depth - 0.1 * item.depth_mm) + np.square(height / 1.25))
    front, back = item.walls(side, height)
    body = np.minimum(np.float32(item.width_mm / 2 - 1.5) - np.abs(side), np.minimum(depth - front, back - depth))
    edge = 0.4 if lesion.cortex_erased else -0.4
    return coverage(np.minimum(np.float32(radius) - far, edge - body), 1.2)

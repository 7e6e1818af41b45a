"""Soft tissue in front of the spine: viscera, lungs, heart, great vessels and the anterior body wall.

In a patient most of it is blurred by motion and suppressed by a saturation band, so the shapes are simple and the grid
is coarse.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.canal_coordinates import BODY_DEPTH, SMOOTHED_FRONT, canal_coordinates, canal_profile, level_height
from spinefx.phantom.canvas import Canvas, Region, Texture, coverage
from spinefx.phantom.habitus import Habitus
from spinefx.phantom.spine import Spine
from spinefx.phantom.tissue import TissueSignals

__all__ = ["paint_anterior_soft_tissue"]

_Floats = NDArray[Any]  # of float32, which is precise enough and faster than float64
_WALL_MM = 34.0  # from the smoothed posterior walls to the anterior walls, from where Habitus.front_mm counts


def paint_anterior_soft_tissue(
    canvas: Canvas, spine: Spine, habitus: Habitus, texture: Texture, signals: TissueSignals
) -> None:
    """Paint everything in front of and beside the spine.

    Parameters
    ----------
    canvas : Canvas
        Painted in place.
    spine : Spine
    habitus : Habitus
    texture : Texture
    signals : TissueSignals
    """
    whole = canvas.whole()
    lateral, behind, _, z = canal_coordinates(spine, whole)
    depth, envelope = canal_profile(spine, z, BODY_DEPTH, SMOOTHED_FRONT)
    ahead = -behind - depth  # of the bodies' front
    front = _wall_of(whole, envelope, z, habitus)
    coarse = texture.sample(whole, 20.0, 2)
    place = (lateral, ahead, z)
    _paint_abdomen(canvas, whole, place, spine, texture, signals, coarse)
    _paint_pelvis(canvas, whole, place, spine, signals, coarse)
    _paint_thorax(canvas, whole, place, spine, texture, signals, coarse)
    _paint_beside_bodies(canvas, whole, place, spine, habitus, texture, signals)
    _paint_vessels(canvas, whole, place, spine, signals, coarse)
    # The anterior body wall: muscle under fat and skin, then air.
    canvas.blend(whole, coverage(26 - front, 3.0), *signals.pair("muscle"))
    canvas.blend(whole, coverage(17 + 2 * coarse - front, 2.0), *signals.pair("fat"))
    canvas.blend(whole, coverage(1.5 - np.abs(front), 2.0), *signals.pair("skin"))
    behind_skin = whole.spine_of_slices()[1] - envelope - np.float32(habitus.skin_mm)
    canvas.blend(whole, coverage(np.maximum(-front, behind_skin - 3), 2.0), 0.0, 0.0)


def _wall_of(whole: Region, envelope: _Floats, z: _Floats, habitus: Habitus) -> _Floats:
    """Depth below the anterior surface of the trunk."""
    y = whole.spine_of_slices()[1]
    result: _Floats = y - envelope + np.float32(_WALL_MM + habitus.front_mm) + 4 * np.sin(z / 60)
    return result


def _ellipsoid(
    place: tuple[_Floats, _Floats, _Floats], centre: tuple[float, float, float], radii: tuple[float, float, float]
) -> _Floats:
    """Signed distance to an ellipsoid, roughly millimetres, positive inside."""
    x, y, z = (
        np.square((axis - np.float32(at)) / np.float32(r)) for axis, at, r in zip(place, centre, radii, strict=True)
    )
    result: _Floats = (1 - np.sqrt(x + y + z)) * np.float32(min(radii))
    return result


def _paint_abdomen(
    canvas: Canvas,
    whole: Region,
    place: tuple[_Floats, _Floats, _Floats],
    spine: Spine,
    texture: Texture,
    signals: TissueSignals,
    coarse: _Floats,
) -> None:
    """Paint mesenteric fat with bowel loops, liver and stomach."""
    fat = signals.pair("fat")
    canvas.blend(whole, np.ones(1, np.float32), fat[0], fat[1] * (0.92 + 0.04 * coarse))
    loops = texture.sample(whole, 15.0, 3)
    held = texture.sample(whole, 26.0, 4)
    inside = 7 * (loops + 0.25)
    canvas.blend(whole, coverage(inside, 2.5), *signals.pair("muscle"))
    water, lipid = signals.pair("bowel")
    content = water * (0.75 + 0.2 * coarse) + (signals.water("fluid") - water) * coverage(held - 1.1, 0.4)
    gas = coverage(-1.0 - held, 0.4)
    canvas.blend(whole, coverage(inside - 2.5, 2.5), content * (1 - gas), lipid * (1 - gas))
    top = level_height(spine, "T12")
    liver = _ellipsoid(place, (-48, 72, top + 4), (74, 62, 82)) + 2 * coarse
    vessels = coverage(texture.sample(whole, 8.0, 5) - 1.7, 0.4)
    water, lipid = signals.pair("liver")
    canvas.blend(whole, coverage(liver, 2.5), water * (1 - 0.7 * vessels), lipid)
    stomach = _ellipsoid(place, (34, 62, top - 2), (34, 30, 44)) + 2 * coarse
    canvas.blend(whole, coverage(stomach, 2.5), *signals.pair("muscle"))
    canvas.blend(whole, coverage(stomach - 4, 2.5), content * (1 - gas), 0.0)


def _paint_pelvis(
    canvas: Canvas,
    whole: Region,
    place: tuple[_Floats, _Floats, _Floats],
    spine: Spine,
    signals: TissueSignals,
    coarse: _Floats,
) -> None:
    """Paint presacral fat, rectum, one pelvic organ and the bladder."""
    lateral, ahead, z = place
    low = level_height(spine, "S2")
    if float(z.min()) > low + 30:
        return
    water, lipid = signals.pair("fat")
    canvas.blend(whole, coverage(low + 20 - z + 0.4 * ahead, 5.0), water, lipid * (0.85 + 0.06 * coarse))
    rectum = 11 + 2 * np.sin(z / 14) - np.hypot(ahead - 22, lateral * 0.8)
    rectum = np.minimum(rectum, low - 4 - z)
    canvas.blend(whole, coverage(rectum, 2.0), *signals.pair("muscle"))
    held = np.clip(0.45 + 0.4 * np.sin(z / 13) + 0.2 * coarse, 0, 1)
    canvas.blend(whole, coverage(rectum - 3, 2.0), signals.water("bowel") * held, 0.0)
    water, lipid = signals.pair("bowel")
    canvas.blend(whole, coverage(low - 88 - z + 6 * coarse, 8.0), *signals.pair("muscle"))
    organ = _ellipsoid(place, (0, 54, low - 42), (26, 19, 30)) + 2 * coarse
    canvas.blend(whole, coverage(organ, 2.5), water * (0.8 + 0.15 * coarse), lipid)
    bladder = _ellipsoid(place, (0, 92, low - 56), (38, 24, 30)) + 1.5 * coarse
    canvas.blend(whole, coverage(bladder + 2.5, 2.0), *signals.pair("muscle"))
    canvas.blend(whole, coverage(bladder, 2.0), signals.water("fluid"), 0.0)


def _paint_thorax(
    canvas: Canvas,
    whole: Region,
    place: tuple[_Floats, _Floats, _Floats],
    spine: Spine,
    texture: Texture,
    signals: TissueSignals,
    coarse: _Floats,
) -> None:
    """Paint the lungs above a domed diaphragm, and the mediastinum: heart, trachea and oesophagus."""
    lateral, ahead, z = place
    foot = level_height(spine, "T12")
    if float(z.max()) < foot:
        return
    dome = foot + 4 + 52 * (1 - np.square((ahead - 72) / 76)) + 2 * coarse
    vessels = np.maximum(texture.sample(whole, 9.0, 1) - 1.2, 0)
    canvas.blend(whole, coverage(z - dome + 3, 2.5), *signals.pair("muscle"))
    canvas.blend(whole, coverage(z - dome, 2.5), signals.water("lung") * (0.7 + 0.8 * vessels), 0.0)
    # Mediastinal fat, which widens anteriorly, and the heart.
    between = coverage(15 + 0.28 * ahead - np.abs(lateral + 2), 4.0) * coverage(z - dome - 2, 4.0)
    water, fat = signals.pair("fat")
    canvas.blend(whole, between, water + 0.3 * signals.water("muscle"), 0.6 * fat * (1 + 0.2 * coarse))
    heart = _ellipsoid(place, (16, 66, level_height(spine, "T9") + 14), (52, 42, 50)) + 2 * coarse
    canvas.blend(whole, coverage(heart + 2, 2.5) * coverage(z - dome - 2, 3.0), *signals.pair("fat"))
    heart = np.minimum(heart, z - dome - 5)
    canvas.blend(whole, coverage(heart, 2.5), *signals.pair("muscle"))
    septum = np.abs(lateral - 8 + 0.4 * (ahead - 60)) - 5
    chambers = np.minimum(heart - 8, septum)
    canvas.blend(whole, coverage(chambers, 3.0), 0.25 * signals.water("blood"), 0.0)
    carina = level_height(spine, "T5")
    trachea = np.minimum(8.5 - np.hypot(lateral, ahead - 26), 0.3 * (z - carina))
    canvas.blend(whole, coverage(trachea, 2.0), 0.0, 0.0)
    oesophagus = np.minimum(6 - np.hypot((lateral - 3) * 0.7, ahead - 11), z - level_height(spine, "T10"))
    canvas.blend(whole, coverage(oesophagus, 2.0), *signals.pair("muscle"))


def _paint_beside_bodies(
    canvas: Canvas,
    whole: Region,
    place: tuple[_Floats, _Floats, _Floats],
    spine: Spine,
    habitus: Habitus,
    texture: Texture,
    signals: TissueSignals,
) -> None:
    """Paint prevertebral fat, the diaphragmatic crura, and psoas, which thickens caudally and is streaked with fat."""
    lateral, ahead, z = place
    aside = np.abs(lateral)
    low, high = level_height(spine, "L4"), level_height(spine, "T12")
    fat = signals.pair("fat")
    # In the chest the lungs extend posteriorly beside the bodies.
    width = 14 + 14 * np.clip((high + 25 - z) / 30, 0, 1)
    near = coverage(3.5 + 2 * np.sin(z / 23) - ahead, 2.5) * coverage(width - aside, 4.0)
    canvas.blend(whole, near * 0.8, *fat)
    crus = np.minimum(np.minimum(3.2 - np.abs(ahead - 5), 13 - aside), (z - low - 20) * 0.3)
    crus = np.minimum(crus, (high + 25 - z) * 0.3)
    canvas.blend(whole, coverage(crus, 2.0), *signals.pair("muscle"))
    down = np.clip((high - 6 - z) / (high - low), 0, 1.25)
    psoas = 21 * np.sqrt(down) - np.hypot(aside - 26 - 9 * down, (ahead + 18 - 6 * down) * 0.75)
    canvas.blend(whole, coverage(psoas + 2, 2.5) * (down > 0), *fat)
    strands = texture.sample(whole, 5.0, 3, (1.0, 1.2, 0.25))
    streak = coverage(strands - np.float32(2.1 - 1.6 * habitus.muscle_fat), 0.8) * 0.6
    water, lipid = signals.pair("muscle")
    canvas.blend(whole, coverage(psoas, 2.0) * (down > 0), water * (1 - streak), lipid + streak * fat[1])


def _paint_vessels(
    canvas: Canvas,
    whole: Region,
    place: tuple[_Floats, _Floats, _Floats],
    spine: Spine,
    signals: TissueSignals,
    coarse: _Floats,
) -> None:
    """Paint the aorta and the inferior vena cava as flow voids with a wall, down to their bifurcation."""
    lateral, ahead, z = place
    for side, radius, near, end, top in ((13.0, 9.5, 13.0, "L4", None), (-17.0, 9.5, 15.0, "L5", "T8")):
        low = level_height(spine, end)
        below = np.maximum(low - z, 0)  # below the bifurcation a branch leaves the midline
        taper = np.where(below > 0, 0.6, 1.0)
        if top is not None:
            taper = taper * np.clip((level_height(spine, top) - z) / 14, 0, 1)
        centre = near + 2.5 * np.sin(z / 60 + side)
        middle = side + 2 * np.sin(z / 45) + np.float32(0.5 * np.sign(side)) * below
        inside = np.float32(radius) * np.sqrt(taper) - np.hypot(lateral - middle, ahead - centre - 0.2 * below)
        shown = taper > 0
        canvas.blend(whole, coverage(inside + 1.5, 2.5) * shown, *signals.pair("muscle"))
        slow = 0.04 if top is None else 0.10 + 0.05 * coarse
        canvas.blend(whole, coverage(inside, 2.0) * shown, slow * signals.water("csf"), 0.0)
    # The superior mesenteric artery arises anteriorly and descends in front of the aorta.
    origin = level_height(spine, "L1")
    path = 26 + 10 * np.clip((origin - z) / 40, 0, 1)
    artery = 3.5 - np.hypot(lateral - 5, ahead - path)
    shown = coverage(np.minimum(origin + 3 - z, z - origin + 60), 8.0)
    canvas.blend(whole, coverage(artery, 2.5) * shown, 0.02, 0.0)

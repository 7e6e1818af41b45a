"""What lies before the spine: viscera, lungs, heart, great vessels and the wall of the trunk, painted from far to near.

Most of it is blurred by motion and lies under a saturation band, so shapes are simple and the grid is coarse.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.anatomy import Spine
from spinefx.phantom.canvas import Canvas, Region, Texture, coverage
from spinefx.phantom.course import BODY_DEPTH, ENVELOPE, along, behind_wall, height_of
from spinefx.phantom.surroundings import Habitus
from spinefx.phantom.tissue import Palette

__all__ = ["paint_trunk"]

_Floats = NDArray[Any]  # of float32: doubles would be slow, and nothing needs them
_WALL_MM = 34.0  # from the bodies' smoothed back walls to where the depth before the bodies begins


def paint_trunk(canvas: Canvas, spine: Spine, habitus: Habitus, texture: Texture, palette: Palette) -> None:
    """Paint everything in front of the spine, and muscle for the rest.

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
    lateral, behind, _, z = behind_wall(spine, whole)
    depth, envelope = along(spine, z, BODY_DEPTH, ENVELOPE)
    ahead = -behind - depth  # of the bodies' front
    front = _wall_of(whole, envelope, z, habitus)
    coarse = texture.sample(whole, 20.0, 2)
    place = (lateral, ahead, z)
    _paint_abdomen(canvas, whole, place, spine, texture, palette, coarse)
    _paint_pelvis(canvas, whole, place, spine, palette, coarse)
    _paint_thorax(canvas, whole, place, spine, texture, palette, coarse)
    _paint_beside_bodies(canvas, whole, place, spine, habitus, texture, palette)
    _paint_vessels(canvas, whole, place, spine, palette, coarse)
    # The wall of the trunk: muscle under fat, then air.
    canvas.blend(whole, coverage(26 - front, 3.0), *palette.pair("muscle"))
    canvas.blend(whole, coverage(17 + 2 * coarse - front, 2.0), *palette.pair("fat"))
    canvas.blend(whole, coverage(1.5 - np.abs(front), 2.0), *palette.pair("skin"))
    behind_skin = whole.spine_of_slices()[1] - envelope - np.float32(habitus.skin_mm)
    canvas.blend(whole, coverage(np.maximum(-front, behind_skin - 3), 2.0), 0.0, 0.0)


def _wall_of(whole: Region, envelope: _Floats, z: _Floats, habitus: Habitus) -> _Floats:
    """Depth under the front of the trunk."""
    y = whole.spine_of_slices()[1]
    result: _Floats = y - envelope + np.float32(_WALL_MM + habitus.front_mm) + 4 * np.sin(z / 60)
    return result


def _ball(
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
    palette: Palette,
    coarse: _Floats,
) -> None:
    """Paint mesenteric fat with loops of bowel in it, liver and stomach."""
    fat = palette.pair("fat")
    canvas.blend(whole, np.ones(1, np.float32), fat[0], fat[1] * (0.92 + 0.04 * coarse))
    loops = texture.sample(whole, 15.0, 3)
    held = texture.sample(whole, 26.0, 4)
    inside = 7 * (loops + 0.25)
    canvas.blend(whole, coverage(inside, 2.5), *palette.pair("muscle"))
    water, lipid = palette.pair("bowel")
    content = water * (0.75 + 0.2 * coarse) + (palette.water("fluid") - water) * coverage(held - 1.1, 0.4)
    gas = coverage(-1.0 - held, 0.4)
    canvas.blend(whole, coverage(inside - 2.5, 2.5), content * (1 - gas), lipid * (1 - gas))
    top = height_of(spine, "T12")
    liver = _ball(place, (-48, 72, top + 4), (74, 62, 82)) + 2 * coarse
    vessels = coverage(texture.sample(whole, 8.0, 5) - 1.7, 0.4)
    water, lipid = palette.pair("liver")
    canvas.blend(whole, coverage(liver, 2.5), water * (1 - 0.7 * vessels), lipid)
    stomach = _ball(place, (34, 62, top - 2), (34, 30, 44)) + 2 * coarse
    canvas.blend(whole, coverage(stomach, 2.5), *palette.pair("muscle"))
    canvas.blend(whole, coverage(stomach - 4, 2.5), content * (1 - gas), 0.0)


def _paint_pelvis(
    canvas: Canvas,
    whole: Region,
    place: tuple[_Floats, _Floats, _Floats],
    spine: Spine,
    palette: Palette,
    coarse: _Floats,
) -> None:
    """Paint fat before the sacrum, rectum, an organ of the pelvis, and the bladder."""
    lateral, ahead, z = place
    low = height_of(spine, "S2")
    if float(z.min()) > low + 30:
        return
    water, lipid = palette.pair("fat")
    canvas.blend(whole, coverage(low + 20 - z + 0.4 * ahead, 5.0), water, lipid * (0.85 + 0.06 * coarse))
    rectum = 11 + 2 * np.sin(z / 14) - np.hypot(ahead - 22, lateral * 0.8)
    rectum = np.minimum(rectum, low - 4 - z)
    canvas.blend(whole, coverage(rectum, 2.0), *palette.pair("muscle"))
    held = np.clip(0.45 + 0.4 * np.sin(z / 13) + 0.2 * coarse, 0, 1)
    canvas.blend(whole, coverage(rectum - 3, 2.0), palette.water("bowel") * held, 0.0)
    water, lipid = palette.pair("bowel")
    canvas.blend(whole, coverage(low - 88 - z + 6 * coarse, 8.0), *palette.pair("muscle"))
    organ = _ball(place, (0, 54, low - 42), (26, 19, 30)) + 2 * coarse
    canvas.blend(whole, coverage(organ, 2.5), water * (0.8 + 0.15 * coarse), lipid)
    bladder = _ball(place, (0, 92, low - 56), (38, 24, 30)) + 1.5 * coarse
    canvas.blend(whole, coverage(bladder + 2.5, 2.0), *palette.pair("muscle"))
    canvas.blend(whole, coverage(bladder, 2.0), palette.water("fluid"), 0.0)


def _paint_thorax(
    canvas: Canvas,
    whole: Region,
    place: tuple[_Floats, _Floats, _Floats],
    spine: Spine,
    texture: Texture,
    palette: Palette,
    coarse: _Floats,
) -> None:
    """Paint the lungs over a domed diaphragm, and between them the mediastinum: heart, airway and gullet."""
    lateral, ahead, z = place
    foot = height_of(spine, "T12")
    if float(z.max()) < foot:
        return
    dome = foot + 4 + 52 * (1 - np.square((ahead - 72) / 76)) + 2 * coarse
    vessels = np.maximum(texture.sample(whole, 9.0, 1) - 1.2, 0)
    canvas.blend(whole, coverage(z - dome + 3, 2.5), *palette.pair("muscle"))
    canvas.blend(whole, coverage(z - dome, 2.5), palette.water("lung") * (0.7 + 0.8 * vessels), 0.0)
    # Between the lungs: fat, wider towards the front, and the heart.
    between = coverage(15 + 0.28 * ahead - np.abs(lateral + 2), 4.0) * coverage(z - dome - 2, 4.0)
    water, fat = palette.pair("fat")
    canvas.blend(whole, between, water + 0.3 * palette.water("muscle"), 0.6 * fat * (1 + 0.2 * coarse))
    heart = _ball(place, (16, 66, height_of(spine, "T9") + 14), (52, 42, 50)) + 2 * coarse
    canvas.blend(whole, coverage(heart + 2, 2.5) * coverage(z - dome - 2, 3.0), *palette.pair("fat"))
    heart = np.minimum(heart, z - dome - 5)
    canvas.blend(whole, coverage(heart, 2.5), *palette.pair("muscle"))
    septum = np.abs(lateral - 8 + 0.4 * (ahead - 60)) - 5
    chambers = np.minimum(heart - 8, septum)
    canvas.blend(whole, coverage(chambers, 3.0), 0.25 * palette.water("blood"), 0.0)
    fork = height_of(spine, "T5")
    airway = np.minimum(8.5 - np.hypot(lateral, ahead - 26), 0.3 * (z - fork))
    canvas.blend(whole, coverage(airway, 2.0), 0.0, 0.0)
    gullet = np.minimum(6 - np.hypot((lateral - 3) * 0.7, ahead - 11), z - height_of(spine, "T10"))
    canvas.blend(whole, coverage(gullet, 2.0), *palette.pair("muscle"))


def _paint_beside_bodies(
    canvas: Canvas,
    whole: Region,
    place: tuple[_Floats, _Floats, _Floats],
    spine: Spine,
    habitus: Habitus,
    texture: Texture,
    palette: Palette,
) -> None:
    """Paint fat round the bodies, the crura, and psoas, which thickens downwards and is streaked with fat."""
    lateral, ahead, z = place
    aside = np.abs(lateral)
    low, high = height_of(spine, "L4"), height_of(spine, "T12")
    fat = palette.pair("fat")
    # In the chest the lungs reach back beside the bodies.
    width = 14 + 14 * np.clip((high + 25 - z) / 30, 0, 1)
    near = coverage(3.5 + 2 * np.sin(z / 23) - ahead, 2.5) * coverage(width - aside, 4.0)
    canvas.blend(whole, near * 0.8, *fat)
    crus = np.minimum(np.minimum(3.2 - np.abs(ahead - 5), 13 - aside), (z - low - 20) * 0.3)
    crus = np.minimum(crus, (high + 25 - z) * 0.3)
    canvas.blend(whole, coverage(crus, 2.0), *palette.pair("muscle"))
    down = np.clip((high - 6 - z) / (high - low), 0, 1.25)
    psoas = 21 * np.sqrt(down) - np.hypot(aside - 26 - 9 * down, (ahead + 18 - 6 * down) * 0.75)
    canvas.blend(whole, coverage(psoas + 2, 2.5) * (down > 0), *fat)
    strands = texture.sample(whole, 5.0, 3, (1.0, 1.2, 0.25))
    streak = coverage(strands - np.float32(2.1 - 1.6 * habitus.muscle_fat), 0.8) * 0.6
    water, lipid = palette.pair("muscle")
    canvas.blend(whole, coverage(psoas, 2.0) * (down > 0), water * (1 - streak), lipid + streak * fat[1])


def _paint_vessels(
    canvas: Canvas,
    whole: Region,
    place: tuple[_Floats, _Floats, _Floats],
    spine: Spine,
    palette: Palette,
    coarse: _Floats,
) -> None:
    """Paint aorta and vena cava as flow voids with a wall; they end where they fork."""
    lateral, ahead, z = place
    for side, radius, near, end, top in ((13.0, 9.5, 13.0, "L4", None), (-17.0, 9.5, 15.0, "L5", "T8")):
        low = height_of(spine, end)
        below = np.maximum(low - z, 0)  # past the fork a branch leaves the midline
        taper = np.where(below > 0, 0.6, 1.0)
        if top is not None:
            taper = taper * np.clip((height_of(spine, top) - z) / 14, 0, 1)
        centre = near + 2.5 * np.sin(z / 60 + side)
        middle = side + 2 * np.sin(z / 45) + np.float32(0.5 * np.sign(side)) * below
        inside = np.float32(radius) * np.sqrt(taper) - np.hypot(lateral - middle, ahead - centre - 0.2 * below)
        shown = taper > 0
        canvas.blend(whole, coverage(inside + 1.5, 2.5) * shown, *palette.pair("muscle"))
        slow = 0.04 if top is None else 0.10 + 0.05 * coarse
        canvas.blend(whole, coverage(inside, 2.0) * shown, slow * palette.water("csf"), 0.0)
    # The artery to the gut leaves forward and runs down before the aorta.
    origin = height_of(spine, "L1")
    path = 26 + 10 * np.clip((origin - z) / 40, 0, 1)
    artery = 3.5 - np.hypot(lateral - 5, ahead - path)
    shown = coverage(np.minimum(origin + 3 - z, z - origin + 60), 8.0)
    canvas.blend(whole, coverage(artery, 2.5) * shown, 0.02, 0.0)

"""The contact sheet: one picture a case, by which a radiologist can check box, registration and patches.

Home of Pillow.
"""

from __future__ import annotations

import io
import textwrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spinefx.cases.lesion import Lesion
from spinefx.cases.patch import CHANNELS, PatchStack
from spinefx.imaging.registration import Alignment
from spinefx.imaging.volume import Slices

__all__ = ["contact_sheet"]

VIEW = 420  # pixels along each side of a whole-slice view
TILE = 132  # pixels along each side of a patch channel
GAP = 8
BACKGROUND, TEXT, QUIET = (17, 20, 24), (232, 236, 240), (150, 158, 168)
BOX_COLOUR, MAPPED_COLOUR = (255, 196, 60), (92, 208, 255)
# Fractions of the z-scored grey range shown; the same for every channel, so that sheets compare.
PATCH_WINDOW = (-2.5, 2.5)


def contact_sheet(
    lesion: Lesion, t1w: Slices, t2w: Slices, alignment: Alignment, stack: PatchStack, *, stamp: str = ""
) -> bytes:
    """Draw box on T2W, the mapped box on T1W, and the six channels of each lesion slice.

    Parameters
    ----------
    lesion : Lesion
    t1w, t2w : Slices
    alignment : Alignment
    stack : PatchStack
    stamp : str
        Said in the title, for instance ``phantom``.

    Returns
    -------
    bytes
        PNG; the same input gives the same bytes.
    """
    width = max(2 * VIEW + 3 * GAP, 6 * TILE + 7 * GAP)
    notes = textwrap.wrap("; ".join([alignment.reason, *stack.flags]), 128)
    heading = 30 + 16 * len(notes)
    height = heading + VIEW + 28 + len(stack.slices) * (TILE + 22) + GAP
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    title = " · ".join(filter(None, [stack.case_id, lesion.level, stamp.upper(), "research use only"]))
    draw.text((GAP, GAP), title, TEXT, _font(15))
    for number, line in enumerate(notes):
        draw.text((GAP, 30 + 16 * number), line, QUIET, _font(12))
    centre = lesion.slices[len(lesion.slices) // 2]
    _draw_views(sheet, draw, (lesion, t1w, t2w, alignment, stack), centre, heading)
    top = heading + VIEW + 28
    for position, slice_index in enumerate(stack.slices):
        _draw_channels(sheet, draw, stack, position, f"T2W slice {slice_index}", top + position * (TILE + 22))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _draw_views(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    case: tuple[Lesion, Slices, Slices, Alignment, PatchStack],
    centre: int,
    top: int,
) -> None:
    lesion, t1w, t2w, alignment, stack = case
    corners_mm = _corners_mm(lesion, t2w, centre, stack.side_mm)
    t1w_corners = alignment.apply(corners_mm)
    t1w_slice = int(np.clip(round(float(t1w.to_index(t1w_corners.mean(axis=0))[0])), 0, t1w.shape[0] - 1))
    views = (
        (t2w, centre, corners_mm, BOX_COLOUR, f"T2W slice {centre}, marked box"),
        (t1w, t1w_slice, t1w_corners, MAPPED_COLOUR, f"T1W slice {t1w_slice}, mapped box ({alignment.method})"),
    )
    for number, (volume, index, corners, colour, caption) in enumerate(views):
        left = GAP + number * (VIEW + GAP)
        picture, scale, offset = _whole_slice(volume, index)
        sheet.paste(picture, (left, top))
        rows_columns = volume.to_index(corners)[:, 1:]
        outline = [
            (left + offset[1] + (column + 0.5) * scale[1], top + offset[0] + (row + 0.5) * scale[0])
            for row, column in rows_columns
        ]
        draw.line([*outline, outline[0]], fill=colour, width=2)
        draw.text((left, top + VIEW + 4), caption, colour, _font(13))


def _draw_channels(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, stack: PatchStack, position: int, caption: str, top: int
) -> None:
    patch = stack.cut(position)
    low, high = PATCH_WINDOW
    for channel, name in enumerate(CHANNELS):
        grey = np.clip((patch.array[channel] - low) / (high - low), 0, 1)
        picture = Image.fromarray((255 * grey).astype(np.uint8)).resize((TILE, TILE), Image.Resampling.BICUBIC)
        left = GAP + channel * (TILE + GAP)
        sheet.paste(picture, (left, top))
        draw.text((left, top + TILE + 2), f"{name}" if channel else f"{name}   {caption}", QUIET, _font(12))


def _corners_mm(lesion: Lesion, t2w: Slices, slice_index: int, side_mm: float) -> NDArray[np.float64]:
    """Corners of the box on one slice, going round, shape (4, 3), LPS."""
    _, row, column = t2w.to_index(lesion.box.centre_mm)
    half = side_mm / 2 / np.asarray(t2w.spacing_mm[1:])
    turns = ((-1, -1), (-1, 1), (1, 1), (1, -1))
    return t2w.to_mm([[slice_index, row + down * half[0], column + right * half[1]] for down, right in turns])


def _whole_slice(volume: Slices, index: int) -> tuple[Image.Image, tuple[float, float], tuple[float, float]]:
    """A slice in a square view at its true proportions; view pixels a voxel, and where it begins (row, column)."""
    array = volume.slab(index, index).array[0]
    low, high = np.percentile(array, (1, 99.5))
    grey = np.clip((array - low) / max(high - low, 1e-6), 0, 1)
    extent_mm = (array.shape[0] * volume.spacing_mm[1], array.shape[1] * volume.spacing_mm[2])
    per_mm = VIEW / max(extent_mm)
    height, width = (max(1, round(extent * per_mm)) for extent in extent_mm)
    picture = Image.new("RGB", (VIEW, VIEW), (0, 0, 0))
    resized = Image.fromarray((255 * grey).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    offset = ((VIEW - height) // 2, (VIEW - width) // 2)
    picture.paste(resized.convert("RGB"), (offset[1], offset[0]))
    return picture, (height / array.shape[0], width / array.shape[1]), offset


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)

"""The contact sheet: one picture per case, on which a radiologist can check box, registration and patches.

Home of Pillow.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spinefx.cases.alignment import AlignedSeries
from spinefx.cases.lesion import Lesion
from spinefx.cases.patch import PatchSettings, PatchStack
from spinefx.imaging.volume import Slices
from spinefx.vocabulary import MARKED

__all__ = ["centre_picture", "contact_sheet"]

VIEW = 420  # pixels along each side of a whole-slice view
TILE = 132  # pixels along each side of a patch channel
GAP = 8
BACKGROUND, TEXT, QUIET = (17, 20, 24), (232, 236, 240), (150, 158, 168)
BOX_COLOUR, MAPPED_COLOUR = (255, 196, 60), (92, 208, 255)
# Range of z-scores shown, the same for every channel, so that sheets can be compared.
PATCH_WINDOW = (-2.5, 2.5)


def contact_sheet(lesion: Lesion, series: Sequence[AlignedSeries], stack: PatchStack, *, stamp: str = "") -> bytes:
    """Draw the box on T2W, the mapped box on every other series, and the channels of each lesion slice.

    Parameters
    ----------
    lesion : Lesion
    series : sequence of AlignedSeries
        What the patches were cut from.
    stack : PatchStack
    stamp : str
        Written in the title, for instance ``phantom``.

    Returns
    -------
    bytes
        PNG; the same input gives the same bytes.
    """
    shown = [one for one in series if one.weighting in stack.settings.sequences]
    shown.sort(key=lambda one: one.weighting is not MARKED)
    width = max(len(shown) * (VIEW + GAP) + GAP, len(stack.settings.channels) * (TILE + GAP) + GAP)
    reasons = [one.alignment.reason for one in shown if one.alignment is not None]
    notes = textwrap.wrap("; ".join([*reasons, *stack.flags]), 128)
    heading = 30 + 16 * len(notes)
    height = heading + VIEW + 28 + len(stack.slices) * (TILE + 22) + GAP
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    title = " · ".join(filter(None, [stack.case_id, lesion.level, stamp.upper(), "research use only"]))
    draw.text((GAP, GAP), title, TEXT, _font(15))
    for number, line in enumerate(notes):
        draw.text((GAP, 30 + 16 * number), line, QUIET, _font(12))
    _draw_views(sheet, draw, lesion, shown, stack.side_mm, heading)
    top = heading + VIEW + 28
    for position, slice_index in enumerate(stack.slices):
        caption = f"{MARKED.label} slice {slice_index}"
        _draw_channels(sheet, draw, stack, position, caption, top + position * (TILE + 22))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def centre_picture(patch: NDArray[np.float32], settings: PatchSettings) -> bytes:
    """Draw the lesion slice itself, T2W first and the other series beside it, without neighbours or text.

    Parameters
    ----------
    patch : ndarray of float32, shape (channel, size, size)
    settings : PatchSettings
        That the patch was cut with.

    Returns
    -------
    bytes
        PNG; a square for each series.
    """
    shown = sorted(settings.sequences, key=lambda sequence: sequence is not MARKED)
    picture = Image.new("L", (len(shown) * TILE, TILE))
    for place, sequence in enumerate(shown):
        picture.paste(_channel(patch[settings.centre_of(sequence)]), (place * TILE, 0))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _draw_views(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    lesion: Lesion,
    shown: Sequence[AlignedSeries],
    side_mm: float,
    top: int,
) -> None:
    centre = lesion.slices[len(lesion.slices) // 2]
    corners_mm = _corners_mm(lesion, shown[0].voxels, centre, side_mm)
    for number, one in enumerate(shown):
        corners, index, colour = corners_mm, centre, BOX_COLOUR
        said = "marked box"
        if one.alignment is not None:
            corners, colour = one.alignment.apply(corners_mm), MAPPED_COLOUR
            place = float(one.voxels.to_index(corners.mean(axis=0))[0])
            index = int(np.clip(round(place), 0, one.voxels.shape[0] - 1))
            said = f"mapped box ({one.alignment.method})"
        left = GAP + number * (VIEW + GAP)
        picture, scale, offset = _whole_slice(one.voxels, index)
        sheet.paste(picture, (left, top))
        rows_columns = one.voxels.to_index(corners)[:, 1:]
        outline = [
            (left + offset[1] + (column + 0.5) * scale[1], top + offset[0] + (row + 0.5) * scale[0])
            for row, column in rows_columns
        ]
        draw.line([*outline, outline[0]], fill=colour, width=2)
        draw.text((left, top + VIEW + 4), f"{one.weighting.label} slice {index}, {said}", colour, _font(13))


def _draw_channels(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, stack: PatchStack, position: int, caption: str, top: int
) -> None:
    patch = stack.cut(position)
    for channel, name in enumerate(stack.settings.channels):
        left = GAP + channel * (TILE + GAP)
        sheet.paste(_channel(patch.array[channel]), (left, top))
        draw.text((left, top + TILE + 2), f"{name}" if channel else f"{name}   {caption}", QUIET, _font(12))


def _channel(values: NDArray[np.float32]) -> Image.Image:
    low, high = PATCH_WINDOW
    grey = np.clip((values - low) / (high - low), 0, 1)
    return Image.fromarray((255 * grey).astype(np.uint8)).resize((TILE, TILE), Image.Resampling.BICUBIC)


def _corners_mm(lesion: Lesion, t2w: Slices, slice_index: int, side_mm: float) -> NDArray[np.float64]:
    """Return the corners of the box on one slice, in order around it, shape (4, 3), LPS."""
    _, row, column = t2w.to_index(lesion.box.centre_mm)
    half = side_mm / 2 / np.asarray(t2w.spacing_mm[1:])
    turns = ((-1, -1), (-1, 1), (1, 1), (1, -1))
    return t2w.to_mm([[slice_index, row + down * half[0], column + right * half[1]] for down, right in turns])


def _whole_slice(volume: Slices, index: int) -> tuple[Image.Image, tuple[float, float], tuple[float, float]]:
    """Return a slice in a square view at true proportions, view pixels per voxel, and its offset (row, column)."""
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

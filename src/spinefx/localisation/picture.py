"""A picture of a located spine: each vertebra's square and name on the slice nearest to its centre."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spinefx.imaging.volume import Slices
from spinefx.localisation.labels import TissueClass
from spinefx.localisation.spine import LocatedSpine, LocatedVertebra
from spinefx.vocabulary import RESEARCH_USE_ONLY

__all__ = ["spine_picture"]

HEIGHT, MOST_VIEWS = 640, 3
GAP, HEADING, LINE = 8, 44, 16
BACKGROUND, TEXT, QUIET = (17, 20, 24), (232, 236, 240), (150, 158, 168)
NAMED, UNNAMED, MARKED = (255, 196, 60), (150, 158, 168), (255, 96, 88)
TINTS = {
    TissueClass.BODY: (80, 160, 255),
    TissueClass.S1: (190, 120, 255),
    TissueClass.SACRUM: (120, 90, 190),
    TissueClass.DISC: (70, 200, 140),
    TissueClass.CANAL: (240, 120, 160),
    TissueClass.POSTERIOR: (230, 180, 120),
    TissueClass.C2: (120, 220, 255),
}
OPACITY = 0.28


def spine_picture(
    volume: Slices,
    spine: LocatedSpine,
    classes: NDArray[np.integer] | None = None,
    *,
    series: str = "",
    marked: int | None = None,
    colours: Sequence[tuple[int, int, int] | None] = (),
    legend: str = "",
    stamp: str = "",
) -> bytes:
    """Draw the vertebrae on up to three slices.

    Parameters
    ----------
    volume : Slices
        The series that was searched.
    spine : LocatedSpine
    classes : ndarray of int, shape (slice, row, column), optional
        Masks to tint the slices with.
    series : str, optional
        Name of the series without identifiers, for the title.
    marked : int, optional
        Position of a vertebra to draw in another colour, such as the proposed index lesion.
    colours : sequence of (int, int, int) or None, optional
        Colour of each vertebra instead of the usual ones; grey for None.
    legend : str, optional
        What the colours mean.
    stamp : str, optional
        Written in the title, for instance ``phantom``.

    Returns
    -------
    bytes
        PNG; the same input gives the same bytes.
    """
    indices = np.array([volume.to_index(vertebra.centre_mm) for vertebra in spine.vertebrae]).reshape(-1, 3)
    shown = _shown_slices(indices[:, 0], volume.shape[0])
    rows_mm, columns_mm = (side * step for side, step in zip(volume.shape[1:], volume.spacing_mm[1:], strict=True))
    width = max(1, round(HEIGHT * columns_mm / rows_mm))
    lines = [*filter(None, [legend]), *spine.notes, *([spine.convention.sentence] if spine.vertebrae else [])]
    full = max(len(shown) * (width + GAP) + GAP, 480)
    sheet = Image.new("RGB", (full, HEADING + HEIGHT + (len(lines) + 1) * LINE + GAP), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), " · ".join(filter(None, [series, stamp.upper()])), TEXT, _font(13))
    for place, number in enumerate(shown):
        left = GAP + place * (width + GAP)
        sheet.paste(_view(volume, number, classes, (width, HEIGHT)), (left, HEADING))
        draw.text((left, HEADING - LINE), f"slice {number}", QUIET, _font(12))
        for position, index in enumerate(indices):
            if int(np.argmin(np.abs(np.array(shown) - index[0]))) == place:
                centre = (
                    np.array((left, HEADING))
                    + (index[:0:-1] + 0.5) * np.array(volume.spacing_mm[:0:-1]) * HEIGHT / rows_mm
                )
                colour = MARKED if position == marked else NAMED if spine.vertebrae[position].named else UNNAMED
                if colours:
                    colour = colours[position] or UNNAMED
                _draw_vertebra(draw, spine.vertebrae[position], position, centre, HEIGHT / rows_mm, colour)
    for number, line in enumerate([*lines, RESEARCH_USE_ONLY]):
        draw.text((GAP, HEADING + HEIGHT + 4 + number * LINE), line, QUIET, _font(12))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _draw_vertebra(
    draw: ImageDraw.ImageDraw,
    vertebra: LocatedVertebra,
    position: int,
    centre: NDArray[np.float64],
    per_mm: float,
    colour: tuple[int, int, int],
) -> None:
    half = vertebra.box_side_mm * per_mm / 2
    x, y = (float(place) for place in centre)
    draw.rectangle((x - half, y - half, x + half, y + half), outline=colour, width=2)
    name = f"{vertebra.level or position + 1}  {vertebra.confidence:.0%}"
    draw.text((x - half + 4, y - half + 2), name, colour, _font(13), stroke_width=2, stroke_fill=BACKGROUND)


def _shown_slices(centres: NDArray[np.float64], slices: int) -> list[int]:
    """Return up to three slices: the middle one, or those that lie nearest to centres which leave it."""
    if not len(centres):
        return [slices // 2]
    found = np.clip(np.rint(np.quantile(centres, np.linspace(0.1, 0.9, MOST_VIEWS))), 0, slices - 1)
    return sorted({int(number) for number in found})


def _view(volume: Slices, number: int, classes: NDArray[np.integer] | None, size: tuple[int, int]) -> Image.Image:
    array = volume.slab(number, number).array[0]
    low, high = np.percentile(array, (1, 99.5))
    grey = (255 * np.clip((array - low) / max(float(high - low), 1e-6), 0, 1)).astype(np.uint8)
    picture = Image.fromarray(grey).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    if classes is None:
        return picture
    tint = np.zeros((*array.shape, 3), np.uint8)
    for kind, colour in TINTS.items():
        tint[classes[number] == kind] = colour
    covered = Image.fromarray((255 * OPACITY * tint.any(axis=2)).astype(np.uint8)).resize(
        size, Image.Resampling.NEAREST
    )
    picture.paste(Image.fromarray(tint).resize(size, Image.Resampling.NEAREST), (0, 0), covered)
    return picture


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)

"""The contact sheet shows the box where the box is."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from spinefx.cases.alignment import AlignedSeries
from spinefx.cases.cutting import cut_patches
from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.sheet import BOX_COLOUR, GAP, MAPPED_COLOUR, VIEW, contact_sheet
from spinefx.imaging.registration import Alignment
from spinefx.imaging.volume import Volume
from spinefx.vocabulary import Weighting

AFFINE = np.array([[-4.0, 0, 0, 20], [0, 0, 1.0, -50], [0, -1.0, 0, 50], [0, 0, 0, 1]])


def extent_of(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:  # type: ignore[type-arg]
    """First and last row and column in which a colour is drawn."""
    rows, columns = np.nonzero((picture == colour).all(axis=2))
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_box_and_mapped_box_are_drawn_where_they_are() -> None:
    rng = np.random.default_rng(0)
    t2w = Volume(rng.random((9, 101, 101)) + 1, AFFINE)
    t1w = Volume(rng.random((9, 101, 101)) + 1, AFFINE)
    matrix = np.eye(4)
    matrix[2, 3] = 10.0  # the patient moved 10 mm towards the head between the series
    alignment = Alignment(matrix, "rigid", 0.1, 0.2, 10.0, 0.0, True, "moved on purpose")
    lesion = Lesion(Box((4.0, 0.0, 0.0), 30.0), 3, 5, "L1")
    series = (AlignedSeries(Weighting.T1W, t1w, alignment), AlignedSeries(Weighting.T2W, t2w))
    stack = cut_patches(lesion, series, case_id="sub-001", participant_id="sub-001")
    data = contact_sheet(lesion, series, stack, stamp="phantom")
    assert data == contact_sheet(lesion, series, stack, stamp="phantom")
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    heading = 30 + 16  # title and one line of notes
    views = picture[heading : heading + VIEW]
    scale = VIEW / 101
    for colour, left, row_mm in ((BOX_COLOUR, GAP, 0.0), (MAPPED_COLOUR, 2 * GAP + VIEW, -10.0)):
        top, bottom, first, last = extent_of(views, colour)
        assert abs((top + bottom) / 2 - (50.5 + row_mm) * scale) < 3
        assert abs((first + last) / 2 - left - 50.5 * scale) < 3
        assert abs((bottom - top) - 30 * scale) < 4

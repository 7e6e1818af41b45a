"""Images, boxes and the mapping between two series, as every page shows them; LPS millimetres throughout."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from spinefx.app.contracts.base import RequestBody, ResponseBody
from spinefx.cases.lesion import Box, Lesion

__all__ = [
    "BoxShape",
    "CaseImages",
    "ExplainedMapping",
    "GreyWindow",
    "ImagePair",
    "LesionExtent",
    "Point",
    "SeriesImage",
    "SeriesMapping",
]

Point = tuple[float, float, float]


class BoxShape(RequestBody):
    """A square in the plane of the T2W slices.

    Parameters
    ----------
    centre_mm : tuple of float, length 3
        LPS.
    side_mm : float
    """

    centre_mm: Point
    side_mm: float

    @classmethod
    def of(cls, box: Box) -> BoxShape:
        """Return the shape of a box.

        Parameters
        ----------
        box : Box

        Returns
        -------
        BoxShape
        """
        return cls(centre_mm=box.centre_mm, side_mm=box.side_mm)

    def to_box(self) -> Box:
        """Return the box, or refuse a shape that is none.

        Returns
        -------
        Box

        Raises
        ------
        BoxError
        """
        return Box(self.centre_mm, self.side_mm)


class LesionExtent(RequestBody):
    """A box and the T2W slices that hold the lesion.

    Parameters
    ----------
    box : BoxShape
    first_slice, last_slice : int
        Both included; slices are ordered by position and counted from 0.
    """

    box: BoxShape
    first_slice: int = Field(ge=0)
    last_slice: int = Field(ge=0)

    @classmethod
    def of(cls, lesion: Lesion) -> LesionExtent:
        """Return the extent of a lesion.

        Parameters
        ----------
        lesion : Lesion

        Returns
        -------
        LesionExtent
        """
        return cls(box=BoxShape.of(lesion.box), first_slice=lesion.first_slice, last_slice=lesion.last_slice)


class GreyWindow(ResponseBody):
    """The range of signal that is drawn from black to white."""

    low: float
    high: float


class SeriesImage(ResponseBody):
    """One series, its slices ordered by position.

    Parameters
    ----------
    handle : str
        Random name under which the pixels are fetched; it says nothing about the patient.
    weighting : str
    kind : str
        What the series shows, which is the title of its pane: ``T2W``, or what else is known of it.
    rows, columns : int
    row_spacing_mm, column_spacing_mm : float
        Distance between neighbouring rows, and between neighbouring columns.
    row_cosines, column_cosines : tuple of float, length 3
        Direction in which the column index grows, and in which the row index grows.
    positions_mm : list of tuple of float
        Centre of each slice's first pixel.
    frame : {'a', 'b'}
        Series with the same letter share a frame of reference; the identifier itself could be traced.
    slope, intercept : float
        Signal is the stored number times the slope, plus the intercept.
    window : GreyWindow
        With which the image opens.
    """

    handle: str
    weighting: str
    kind: str
    rows: int
    columns: int
    row_spacing_mm: float
    column_spacing_mm: float
    row_cosines: Point
    column_cosines: Point
    positions_mm: list[Point]
    frame: Literal["a", "b"]
    slope: float
    intercept: float
    window: GreyWindow


class ImagePair(ResponseBody):
    """T2W and T1W of one study.

    Parameters
    ----------
    t2w, t1w : SeriesImage
    shared_frame : bool
        Whether both name the same frame of reference.
    """

    t2w: SeriesImage
    t1w: SeriesImage
    shared_frame: bool


class SeriesMapping(ResponseBody):
    """Where T1W lies relative to T2W.

    Parameters
    ----------
    matrix : list of list of float
        4 x 4, from T2W millimetres to T1W millimetres.
    method : str
        How it was found; see :func:`spinefx.imaging.registration.align`.
    """

    matrix: list[list[float]]
    method: str


class ExplainedMapping(SeriesMapping):
    """A mapping, and why this method was accepted."""

    reason: str


class CaseImages(ResponseBody):
    """A marked case as readers and learners see it.

    Parameters
    ----------
    pair : ImagePair
    alignment : SeriesMapping or None
        None where the series could not be aligned.
    lesion : LesionExtent or None
        None where the study's design hides the box.
    """

    pair: ImagePair
    alignment: SeriesMapping | None
    lesion: LesionExtent | None

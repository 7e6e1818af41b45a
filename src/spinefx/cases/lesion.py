"""The marked vertebra: a square box on the T2W series and the slices that hold the lesion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from spinefx.errors import BoxError
from spinefx.vocabulary import LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from spinefx.imaging.volume import Slices

__all__ = ["FLIPPED", "SIDE_LIMITS_MM", "Box", "Lesion", "box_agreement"]

# A C3 body is about 14 mm high, an L4 body with a mass about 70 mm across; a box beyond these limits is a slip.
SIDE_LIMITS_MM = (8.0, 120.0)
# Places closer than this, in sides of the box, are the same vertebra.
SAME_PLACE = 0.25
FLIPPED = (
    "With left and posterior negated, the box fits the image as well or better. It may be in RAS millimetres, as some "
    "viewers show them, where LPS is expected. Look at the picture of the box (--sheet), and correct the signs if they "
    "are wrong."
)


@dataclass(frozen=True)
class Box:
    """A square round a vertebral body, in the plane of the T2W slices.

    Parameters
    ----------
    centre_mm : tuple of float, length 3
        LPS, millimetres, in the T2W series' patient frame.
    side_mm : float
        Length of each side, millimetres; 8 to 120.

    Raises
    ------
    BoxError
        When a number is not finite or the side is out of range.
    """

    centre_mm: tuple[float, float, float]
    side_mm: float

    def __post_init__(self) -> None:
        if len(self.centre_mm) != 3 or not np.isfinite([*self.centre_mm, self.side_mm]).all():
            raise BoxError(
                "a box whose centre or side is not a finite number",
                allowed="a centre (left, posterior, superior) and a side in mm",
            )
        low, high = SIDE_LIMITS_MM
        if not low <= self.side_mm <= high:
            raise BoxError(f"a box with a side of {self.side_mm:.4g} mm", allowed=f"a side of {low:g} to {high:g} mm")


@dataclass(frozen=True)
class Lesion:
    """One abnormal vertebra as a user marked it.

    Parameters
    ----------
    box : Box
    first_slice, last_slice : int
        Slices of the T2W volume (ordered by position) that hold the lesion, both included.
    level : str, optional
        One of :data:`spinefx.vocabulary.LEVELS`; empty where the level was not determined.

    Raises
    ------
    BoxError
        When the slices are not an ascending range or the level is unknown.
    """

    box: Box
    first_slice: int
    last_slice: int
    level: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.first_slice <= self.last_slice:
            raise BoxError(
                f"lesion slices {self.first_slice} to {self.last_slice}", allowed="0 <= first_slice <= last_slice"
            )
        if self.level and self.level not in LEVELS:
            raise BoxError("an unknown vertebral level", allowed="C1 to C7, T1 to T13, L1 to L6, S1 to S5")

    @property
    def slices(self) -> tuple[int, ...]:
        """Slice numbers that hold the lesion, ascending."""
        return tuple(range(self.first_slice, self.last_slice + 1))

    def flipped(self, marked: Slices, *, slices_follow: bool = False) -> Lesion | None:
        """Return the lesion with left and posterior negated, which is where a box in RAS millimetres belongs.

        Parameters
        ----------
        marked : Slices
            The series that the box was marked on.
        slices_follow : bool
            Whether the slices were derived from the box, and move with it. Slices that were given stay as they are.

        Returns
        -------
        Lesion or None
            None where that place is the same vertebra, or does not lie in the series on the lesion's slices.
        """
        left, posterior, superior = self.box.centre_mm
        if 2 * float(np.hypot(left, posterior)) < SAME_PLACE * self.box.side_mm:
            return None
        box, first, last = Box((-left, -posterior, superior), self.box.side_mm), self.first_slice, self.last_slice
        if slices_follow:
            middle, end = round(float(marked.to_index(box.centre_mm)[0])), marked.shape[0] - 1
            first, last = (min(max(0, middle + away), end) for away in (-(last - first) // 2, (last - first) // 2))
        try:
            other = replace(self, box=box, first_slice=first, last_slice=last)
            other.check_inside(marked)
        except BoxError:
            return None
        return other

    def check_inside(self, marked: Slices) -> None:
        """Refuse a lesion that does not lie in the series it was marked on.

        Parameters
        ----------
        marked : Slices

        Raises
        ------
        BoxError
            When a slice is outside the stack, the box's centre is off the image, or the box is off the lesion's slices.
        """
        slices, rows, columns = marked.shape
        if self.last_slice >= slices:
            raise BoxError(
                f"lesion slice {self.last_slice} lies outside the T2W stack",
                allowed=f"0 to {slices - 1}",
                remedy="Count the slices from 0, beginning at the patient's left.",
            )
        slice_, row, column = (float(value) for value in marked.to_index(self.box.centre_mm))
        if not (-0.5 <= row <= rows - 0.5 and -0.5 <= column <= columns - 0.5):
            raise BoxError(
                f"the box's centre lies off the T2W image (row {row:.1f}, column {column:.1f})",
                allowed=f"rows 0 to {rows - 1}, columns 0 to {columns - 1}",
                remedy="Check that box and image belong together, and that millimetres are LPS.",
            )
        if not self.first_slice - 1 <= slice_ <= self.last_slice + 1:
            raise BoxError(
                f"the box's centre lies on slice {slice_:.1f}, away from the lesion's slices",
                allowed=f"slices {self.first_slice} to {self.last_slice}, or one slice beyond",
                remedy="Check that box and slices belong together, and that millimetres are LPS.",
            )


def box_agreement(one: Box, other: Box, directions: NDArray[np.float64]) -> dict[str, float]:
    """Compare two boxes that were marked on the same series.

    Parameters
    ----------
    one, other : Box
    directions : ndarray of float64, shape (3, 3)
        Unit vectors of the series' slice, row and column axes as columns, LPS.

    Returns
    -------
    dict of str to float
        ``iou``, intersection over union within the plane, 0 to 1, and ``distance_mm`` between the centres within the
        plane.
    """
    apart = np.abs(directions[:, 1:].T @ (np.array(other.centre_mm) - np.array(one.centre_mm)))
    sides = np.array([one.side_mm, other.side_mm])
    shared = np.clip(np.minimum(sides.sum() / 2 - apart, sides.min()), 0, None)
    overlap = float(shared.prod())
    union = float((sides**2).sum()) - overlap
    return {"iou": overlap / union, "distance_mm": float(np.linalg.norm(apart))}

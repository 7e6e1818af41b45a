"""Images put in order: which of them make one stack, in which order, and what speaks against it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from spinefx.imaging.volume import plane_of_normal
from spinefx.vocabulary import Plane

__all__ = [
    "Placed",
    "fault_of_stack",
    "order_along_normal",
    "plane_of_stack",
    "rounding_of",
    "split_repeats",
    "stack_affine",
]

SAME_PLACE_MM = 0.01
GAP_TOLERANCE = 0.01
PARALLEL_TOLERANCE = 1e-3
MAX_LISTED = 3
# Rounded positions explain no more than this share of a step, each way.
MOST_ROUNDING = 0.125


class Placed(Protocol):
    """Anything with a shape and a place in the patient."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def affine(self) -> NDArray[np.float64]:
        """Maps (0, row, column, 1) to LPS millimetres; the slice axis is the unit normal."""


P = TypeVar("P", bound=Placed)


def order_along_normal(images: Sequence[P]) -> list[P]:
    """Order images by their position along the normal of the first; never by a number that someone typed.

    Parameters
    ----------
    images : sequence of Placed

    Returns
    -------
    list of Placed
        Slices run along the cross product of column and row axes; images at the same place keep their order.
    """
    normal = _normal(images)
    return sorted(images, key=lambda image: float(image.affine[:3, 3] @ normal))


def plane_of_stack(images: Sequence[Placed]) -> Plane:
    """Name the plane of a stack.

    Parameters
    ----------
    images : sequence of Placed

    Returns
    -------
    Plane
        ``mixed`` where the images are not parallel.
    """
    normals = np.array([image.affine[:3, 0] for image in images])
    if (np.abs(normals @ normals[0]) < 1 - PARALLEL_TOLERANCE).any():
        return Plane.MIXED
    return plane_of_normal(normals[0])


def split_repeats(images: Sequence[P], keys: Sequence[Callable[[P], Hashable]]) -> list[list[P]]:
    """Split a series that holds one place several times (echoes, image types, dynamics) into stacks that do not.

    Parameters
    ----------
    images : sequence of Placed
    keys : sequence of functions
        What may tell the stacks apart, tried in turn.

    Returns
    -------
    list of lists
        One list where no place repeats, or where no key tells the repeats apart.
    """
    stacks = [list(images)]
    if not _repeats(images):
        return stacks
    for key in keys:
        split: list[list[P]] = []
        for stack in stacks:
            groups: dict[Hashable, list[P]] = {}
            if _repeats(stack):
                for image in stack:
                    groups.setdefault(key(image), []).append(image)
            split += list(groups.values()) or [stack]
        stacks = split
    return [list(images)] if any(_repeats(stack) for stack in stacks) else stacks


def rounding_of(written_steps_mm: Iterable[float]) -> float:
    """Return how far written positions may lie from the true ones.

    Parameters
    ----------
    written_steps_mm : iterable of float
        Unit of the last decimal place of each image's position.

    Returns
    -------
    float
        Millimetres, along any direction. The finest image counts, because trailing zeros are often dropped.
    """
    return 0.5 * math.sqrt(3) * min(written_steps_mm, default=0.0)


def fault_of_stack(images: Sequence[Placed], rounding_mm: float = 0.0) -> str:
    """Say why ordered images make no stack: mixed, sheared, doubled, or with gaps.

    Parameters
    ----------
    images : sequence of Placed
        Ordered along the normal.
    rounding_mm : float
        How far a written position may lie from the true one (:func:`rounding_of`). Steps that differ by no more than
        that explains are even; a quarter of a step is never explained away, so that no missing slice is overlooked.

    Returns
    -------
    str
        One sentence with the gaps or doubled places listed; empty where nothing speaks against the stack.
    """
    shapes = Counter(image.shape for image in images)
    if len(shapes) > 1:
        return f"images of {len(shapes)} sizes in one series"
    first = images[0].affine[:3, :3]
    if plane_of_stack(images) is Plane.MIXED or any(
        np.abs(image.affine[:3, :3] - first).max() > PARALLEL_TOLERANCE * np.abs(first).max() for image in images
    ):
        return "images of several orientations or pixel spacings in one series"
    positions = _positions(images)
    steps = np.diff(positions)
    rounding_mm = min(rounding_mm, MOST_ROUNDING * float(np.median(steps))) if len(steps) else 0.0
    doubled = sorted({round(float(positions[index]), 1) for index, step in enumerate(steps) if step < SAME_PLACE_MM})
    if doubled:
        listed = ", ".join(f"{position} mm" for position in doubled[:MAX_LISTED])
        places = "1 place is" if len(doubled) == 1 else f"{len(doubled)} places are"
        return (
            f"{places} there more than once with different content (at {listed}{', ...' * (len(doubled) > MAX_LISTED)})"
        )
    if len(steps) == 0:
        return ""
    gaps = "" if _is_even(positions, rounding_mm) else _gaps(positions, steps)
    return gaps or _shear(images, positions, rounding_mm)


def stack_affine(images: Sequence[Placed], rounding_mm: float = 0.0) -> NDArray[np.float64]:
    """Build the affine of a stack without fault.

    Parameters
    ----------
    images : sequence of Placed
        Ordered along the normal.
    rounding_mm : float
        As for :func:`fault_of_stack`. Slices whose positions were rounded are stacked exactly along their normal.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        Maps (slice, row, column, 1) to LPS millimetres; a single image keeps its unit normal.
    """
    affine = images[0].affine.copy()
    if len(images) > 1:
        step = (images[-1].affine[:3, 3] - images[0].affine[:3, 3]) / (len(images) - 1)
        normal = affine[:3, 0]
        affine[:3, 0] = (step @ normal) * normal if rounding_mm > SAME_PLACE_MM else step
    return affine


def _normal(images: Sequence[Placed]) -> NDArray[np.float64]:
    """Choose the direction in which slices count up: sagittal ones to the patient's right, as Volume.to_sagittal()."""
    normals: list[NDArray[np.float64]] = [image.affine[:3, 0] for image in images]
    normal = max(normals, key=lambda each: np.round(each, 6).tolist())
    return -normal if plane_of_normal(normal) is Plane.SAGITTAL and normal[0] > 0 else normal


def _positions(images: Sequence[Placed]) -> NDArray[np.float64]:
    normal = _normal(images)
    return np.array([image.affine[:3, 3] @ normal for image in images])


def _repeats(images: Sequence[Placed]) -> bool:
    if plane_of_stack(images) is Plane.MIXED:
        return False
    steps = np.diff(np.sort(_positions(images)))
    return bool((steps < SAME_PLACE_MM).any())


def _is_even(positions: NDArray[np.float64], rounding_mm: float) -> bool:
    """Return whether rounding alone explains how positions differ from even ones."""
    even = np.linspace(positions[0], positions[-1], len(positions))
    # Both ends, which set the even positions, are rounded themselves.
    return bool(rounding_mm > SAME_PLACE_MM and np.abs(positions - even).max() <= 2 * rounding_mm)


def _gaps(positions: NDArray[np.float64], steps: NDArray[np.float64]) -> str:
    usual = float(np.median(steps))
    # Positions are written with a few digits: a hundredth of a millimetre is no gap.
    odd = [index for index, step in enumerate(steps) if abs(step - usual) > max(GAP_TOLERANCE * usual, SAME_PLACE_MM)]
    if not odd:
        return ""
    told = []
    for index in odd[:MAX_LISTED]:
        missing = round(steps[index] / usual) - 1
        place = f"{positions[index]:.1f} and {positions[index + 1]:.1f} mm"
        if missing >= 1 and abs(steps[index] / usual - missing - 1) < 0.1:
            slices = f"slice {index + 2} is" if missing == 1 else f"slices {index + 2} to {index + 1 + missing} are"
            told.append(f"{slices} missing between {place}")
        else:
            told.append(f"{steps[index]:.2f} mm between {place} where {usual:.2f} mm is usual")
    more = f", and {len(odd) - MAX_LISTED} more" if len(odd) > MAX_LISTED else ""
    return f"uneven gaps: {', '.join(told)}{more}"


def _shear(images: Sequence[Placed], positions: NDArray[np.float64], rounding_mm: float) -> str:
    origins = np.array([image.affine[:3, 3] for image in images])
    step = (origins[-1] - origins[0]) / (len(images) - 1)
    direction = step / np.linalg.norm(step)
    lean = max(
        abs(float(direction @ images[0].affine[:3, axis])) / np.linalg.norm(images[0].affine[:3, axis])
        for axis in (1, 2)
    )
    off_line = origins - origins[0] - np.arange(len(images))[:, None] * step
    usual = float(np.median(np.diff(positions)))
    allowed_lean = PARALLEL_TOLERANCE + 2 * rounding_mm / float(np.linalg.norm(origins[-1] - origins[0]))
    allowed_off = max(0.02 * usual, 5 * SAME_PLACE_MM, 2 * rounding_mm)
    if lean > allowed_lean or np.linalg.norm(off_line, axis=1).max() > allowed_off:
        return "slices that are shifted against one another, not stacked along their normal"
    return ""

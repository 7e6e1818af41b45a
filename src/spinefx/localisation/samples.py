"""What the network is taught with: slices of labelled stacks, bent, turned and cut as real fields are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional

from spinefx.imaging.volume import Volume
from spinefx.localisation.corruption import corrupt, recolour
from spinefx.localisation.labels import VERTEBRAL, CodeTable, TissueClass
from spinefx.localisation.working_grid import PIXEL_MM, WorkingGrid, local_contrast

__all__ = ["OFFSET_MM", "TeachingSample", "TeachingStack", "draw_sample", "known_centres", "labelled_stack"]

OFFSET_MM = 10.0
"""Unit of the offsets that the network computes."""

_HEAT_MM, _HEAT_SLICE_MM = 4.5, 7.0
_KNOWN_MM = 7.0  # radius about a known centre in which a pixel is taken for body where only centres are known
_TURN_DEG, _BEND_MM = 14.0, 9.0


@dataclass(frozen=True, eq=False)
class TeachingStack:
    """A stack on the working grid, with what is known about it.

    Parameters
    ----------
    images : ndarray of float16, shape (slice, row, column)
        Intensities, about 1 where the stack is bright.
    classes : ndarray of int8, shape (slice, row, column)
        Values of :class:`~spinefx.localisation.labels.TissueClass`; -1 where the class is not known.
    owners : ndarray of int8, shape (slice, row, column)
        1 plus the index in ``centres`` of the vertebra that a pixel belongs to; 0 for none.
    centres : ndarray of float64, shape (vertebra, 3)
        Slice, row and column of the centre of every vertebra down to S1, inside the field or outside.
    slice_mm : float
        Distance between slices.
    """

    images: NDArray[np.float16]
    classes: NDArray[np.int8]
    owners: NDArray[np.int8]
    centres: NDArray[np.float64]
    slice_mm: float

    @property
    def complete(self) -> bool:
        """Return whether the class of most pixels is known, so that tissues can be given other intensities."""
        return bool((self.classes >= 0).mean() > 0.5)


def labelled_stack(
    volume: Volume, labels: Volume, table: CodeTable, centres_mm: Mapping[str, ArrayLike]
) -> TeachingStack:
    """Prepare a stack whose every voxel has a label.

    Parameters
    ----------
    volume : Volume
    labels : Volume
        On the same grid; codes as ``table`` names them.
    table : CodeTable
    centres_mm : mapping of str to array_like, shape (3,)
        Centre of the vertebral body of every level, LPS millimetres.

    Returns
    -------
    TeachingStack
    """
    grid, codes = WorkingGrid.of(volume), WorkingGrid.of(labels, order=0)
    names = [name for name in centres_mm if name not in ("S2", "S3", "S4", "S5")]
    numbers = {level: 1 + names.index(level) if level in names else 0 for level in table.levels}
    lookup = np.array([0, *(numbers[level] for level in table.levels)], np.int8)
    return TeachingStack(
        images=_scaled(grid.images),
        classes=table.classes_of(codes.images),
        owners=lookup[table.levels_of(codes.images)],
        centres=grid.to_index(np.array([centres_mm[name] for name in names], float).reshape(-1, 3)),
        slice_mm=grid.slice_mm,
    )


def known_centres(volume: Volume, centres_mm: Mapping[str, ArrayLike]) -> TeachingStack:
    """Prepare a stack of which only the centres of some vertebrae are known.

    Parameters
    ----------
    volume : Volume
    centres_mm : mapping of str to array_like, shape (3,)
        By level, LPS millimetres.

    Returns
    -------
    TeachingStack
        Pixels near a centre count as body, those behind them are unknown, and training does not look at them.
    """
    grid = WorkingGrid.of(volume)
    centres = grid.to_index(np.array(list(centres_mm.values()), float).reshape(-1, 3))
    classes = np.full(grid.images.shape, -1, np.int8)
    owners = np.zeros(grid.images.shape, np.int8)
    index = np.indices(grid.images.shape)
    for number, (level, centre) in enumerate(zip(centres_mm, centres, strict=True), start=1):
        slices, rows, columns = (index[axis] - centre[axis] for axis in range(3))
        near = np.hypot(rows, columns) * PIXEL_MM < _KNOWN_MM
        near &= np.abs(slices) * grid.slice_mm < _KNOWN_MM
        classes[near] = {"S1": TissueClass.S1, "C2": TissueClass.C2}.get(level, TissueClass.BODY)
        owners[near] = number
    return TeachingStack(_scaled(grid.images), classes, owners, centres, grid.slice_mm)


def _scaled(images: NDArray[np.float32]) -> NDArray[np.float16]:
    low, high = np.percentile(images, [0.5, 99.5])
    scaled = (images - low) / np.float32(max(float(high - low), 1e-6))
    return np.asarray(np.clip(scaled, -0.2, 2.5), np.float16)


@dataclass(frozen=True, eq=False)
class TeachingSample:
    """One slice with its neighbours, and what the network should answer.

    Parameters
    ----------
    images : ndarray of float32, shape (3, side, side)
        After :func:`~spinefx.localisation.working_grid.local_contrast`.
    classes : ndarray of int8, shape (side, side)
        -1 where unknown.
    offsets : ndarray of float32, shape (3, side, side)
        Row, column and slice to the centre of the vertebra, in units of :data:`OFFSET_MM`.
    votes : ndarray of bool, shape (side, side)
        Where ``offsets`` hold.
    heat : ndarray of float32, shape (side, side)
        0 to 1, near a centre; -1 where unknown.
    """

    images: NDArray[np.float32]
    classes: NDArray[np.int8]
    offsets: NDArray[np.float32]
    votes: NDArray[np.bool_]
    heat: NDArray[np.float32]


def draw_sample(stack: TeachingStack, side: int, rng: np.random.Generator) -> TeachingSample:
    """Draw a slice of a stack, turned, bent, stretched, cut and corrupted.

    Parameters
    ----------
    stack : TeachingStack
    side : int
        Rows and columns of the sample.
    rng : numpy.random.Generator

    Returns
    -------
    TeachingSample
    """
    index, step = _draw_slice(stack, rng)
    last = len(stack.images) - 1
    three = [min(max(index + offset * step, 0), last) for offset in (-1, 0, 1)]
    warp = _Warp.draw(stack, index, side, rng)
    images = warp.images(stack.images[three].astype(np.float32), rng)
    classes = warp.labels(stack.classes[three], -2)
    owners = warp.labels(stack.owners[three[1] : three[1] + 1], 0)[0]
    outside = classes[1] == -2
    classes[classes == -2] = TissueClass.BACKGROUND
    if stack.complete and rng.random() < 0.5:
        images = recolour(images, classes, owners, rng)
    images = local_contrast(corrupt(images, classes if stack.complete else None, rng))

    centres = warp.to_sample(stack.centres[:, 1:])
    depth_mm = (stack.centres[:, 0] - index) * stack.slice_mm * (1 if step > 0 else -1)
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    table = np.vstack([np.zeros(3), np.column_stack([centres * PIXEL_MM, depth_mm])]).astype(np.float32)
    target = table[owners]
    offsets = np.stack([target[..., 0] - rows * PIXEL_MM, target[..., 1] - columns * PIXEL_MM, target[..., 2]])
    middle = classes[1]
    middle[outside & (not stack.complete)] = -1
    votes = np.isin(middle, VERTEBRAL) & (owners > 0)
    return TeachingSample(
        images, middle, np.asarray(offsets / OFFSET_MM, np.float32), votes, _heat(stack, centres, depth_mm, middle)
    )


def _draw_slice(stack: TeachingStack, rng: np.random.Generator) -> tuple[int, int]:
    """Draw a slice, mostly one with vertebral bodies, and the signed distance to its neighbours."""
    count = len(stack.images)
    area = (stack.owners > 0).sum(axis=(1, 2)).astype(float)
    weights = area**0.5 + 0.12 * (area.max() ** 0.5) + 1e-9
    index = int(rng.choice(count, p=weights / weights.sum()))
    step = 2 if stack.slice_mm < 4.6 and rng.random() < 0.15 else 1
    return index, step if rng.random() < 0.5 else -step


def _heat(
    stack: TeachingStack, centres: NDArray[np.float64], depth_mm: NDArray[np.float64], classes: NDArray[np.int8]
) -> NDArray[np.float32]:
    side = len(classes)
    heat = np.zeros((side, side), np.float32)
    reach = int(3 * _HEAT_MM / PIXEL_MM) + 1
    for (row, column), depth in zip(centres, depth_mm, strict=True):
        if not (0 <= row < side and 0 <= column < side) or abs(depth) > 3 * _HEAT_SLICE_MM:
            continue
        top, left = max(int(row) - reach, 0), max(int(column) - reach, 0)
        part = heat[top : int(row) + reach + 1, left : int(column) + reach + 1]
        rows, columns = np.ogrid[: part.shape[0], : part.shape[1]]
        squared = ((rows + top - row) ** 2 + (columns + left - column) ** 2) * (PIXEL_MM / _HEAT_MM) ** 2
        np.maximum(part, np.exp(-0.5 * (squared + (depth / _HEAT_SLICE_MM) ** 2)), out=part)
    if not stack.complete:
        heat[classes < 0] = -1
    return heat


@dataclass(frozen=True, eq=False)
class _Warp:
    """A map from pixels of the sample to pixels of the stack: turned, stretched, bent and moved.

    ``matrix`` and ``shift`` are the affine part; the sample is bent along rows and columns by two sines.
    """

    side: int
    matrix: NDArray[np.float64]
    shift: NDArray[np.float64]
    bends: NDArray[np.float64]  # amplitude, frequency, phase of the displacement of rows and of columns

    @classmethod
    def draw(cls, stack: TeachingStack, index: int, side: int, rng: np.random.Generator) -> _Warp:
        turn = np.deg2rad(rng.uniform(-_TURN_DEG, _TURN_DEG) if rng.random() < 0.8 else 0.0)
        scale = np.exp(rng.uniform(-0.24, 0.24) + rng.uniform(-0.07, 0.07, 2))
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        matrix = rotation @ np.diag(scale)
        bends = np.column_stack(
            [
                rng.uniform(0, _BEND_MM / PIXEL_MM, 2) * (rng.random() < 0.6),
                2 * np.pi / (rng.uniform(110, 330, 2) / PIXEL_MM),
                rng.uniform(0, 2 * np.pi, 2),
            ]
        )
        middle = _draw_middle(stack, index, side, rng)
        return cls(side, matrix, middle - matrix @ np.array([side / 2, side / 2]), bends)

    def _bend(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Displacement at places of the sample, shape (..., 2): rows by column, columns by row."""
        amplitude, frequency, phase = self.bends.T
        bent: NDArray[np.float64] = amplitude * np.sin(frequency * places[..., ::-1] + phase)
        return bent

    def to_sample(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map places of the stack, shape (n, 2), to the sample."""
        inverse = np.linalg.inv(self.matrix)
        found = (places - self.shift) @ inverse.T
        for _ in range(8):
            found = (places - self.shift - self._bend(found)) @ inverse.T
        return found

    def _field(self, shape: tuple[int, ...], moved: ArrayLike = 0.0) -> torch.Tensor:
        index = np.moveaxis(np.indices((self.side, self.side), float), 0, -1)
        places = index @ self.matrix.T + self.shift + self._bend(index) + np.asarray(moved)
        scaled = 2 * places / np.maximum(np.array(shape[-2:]) - 1, 1) - 1
        return torch.from_numpy(np.ascontiguousarray(scaled[None, ..., ::-1], np.float32))

    def images(self, images: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Cut three slices, the outer ones a little out of place, as a patient moves; black outside the stack."""
        moved = rng.normal(0, 0.5, (2, 2)) * (rng.random() < 0.4)
        return np.concatenate(
            [
                _cut(images[place : place + 1], self._field(images.shape, shift), "bilinear")
                for place, shift in enumerate([moved[0], np.zeros(2), moved[1]])
            ]
        )

    def labels(self, labels: NDArray[np.int8], outside: int) -> NDArray[np.int8]:
        """Cut labels; ``outside`` where the stack has none."""
        above = labels.astype(np.float32) - outside
        return np.rint(_cut(above, self._field(labels.shape), "nearest") + outside).astype(np.int8)


def _cut(images: NDArray[np.float32], field: torch.Tensor, mode: str) -> NDArray[np.float32]:
    cut: NDArray[np.float32] = functional.grid_sample(
        torch.from_numpy(np.ascontiguousarray(images))[None], field, mode=mode, align_corners=True
    )[0].numpy()
    return cut


def _draw_middle(stack: TeachingStack, index: int, side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw where the sample is centred: often so that the sacrum or C2 is seen, sometimes so that it just is not."""
    shape = np.array(stack.images.shape[1:])
    free = rng.uniform(0.3, 0.7, 2) * shape
    anchors = np.isin(stack.classes[index], (TissueClass.S1, TissueClass.C2))
    if not anchors.any() or rng.random() < 0.3:
        bodies = np.argwhere(stack.owners[index] > 0)
        if len(bodies) and rng.random() < 0.8:
            free = bodies[rng.integers(len(bodies))] + rng.normal(0, 0.12 * side, 2)
        return np.asarray(free, np.float64)
    anchor = np.mean(np.argwhere(anchors), axis=0)
    upper = (stack.classes[index] == TissueClass.C2).any()
    away = rng.uniform(0.05, 0.62) * side * (1 if upper else -1)
    middle: NDArray[np.float64] = anchor + np.array([away, rng.normal(0, 0.15 * side)])
    return middle

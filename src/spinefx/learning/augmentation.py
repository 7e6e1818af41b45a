"""Batches of patches, sampled straight from source voxels in one interpolation.

Box, registration, neighbouring slices and jitter are composed into one matrix first. The same patches as
:meth:`spinefx.cases.patch.PatchStack.cut` gives, many at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spinefx.cases.patch import CHANNELS, Jitter, PatchStack, patch_grid
from spinefx.errors import InputError, PatchError
from spinefx.learning.draws import sample_key

__all__ = ["PatchBank", "Sample"]

# A slice position this near to an integer is that slice: the T2W planes of an unrotated box need no second slice.
SLICE_TOLERANCE = 1e-6
# Pixels of patches sampled together: few enough that coordinates and source planes stay in the processor's cache.
CHUNK_PIXELS = 8 * 64 * 64


@dataclass(frozen=True)
class Sample:
    """One lesion slice of one case.

    Parameters
    ----------
    case_id, participant_id : str
    slice_index : int
        Slice of the T2W volume.
    position : int
        Which of its stack's slices it is, from 0.
    """

    case_id: str
    participant_id: str
    slice_index: int
    position: int

    @property
    def key(self) -> int:
        """Number that names the slice in random draws, 64 bits."""
        return sample_key(self.case_id, self.slice_index)


class PatchBank:
    """Source voxels of many cases in one block of memory, to sample batches of patches from.

    Parameters
    ----------
    stacks : sequence of PatchStack
        At least one; case ids unique.
    size : int
        Pixels along each side of a patch.

    Attributes
    ----------
    samples : tuple of Sample
        Every lesion slice, in the order of the stacks; its place is its number below.

    Raises
    ------
    InputError
        For no stacks or a case given twice.
    """

    def __init__(self, stacks: Sequence[PatchStack], size: int) -> None:
        if not stacks or len({stack.case_id for stack in stacks}) != len(stacks):
            raise InputError(f"{len(stacks)} patch stacks", allowed="one or more, each case once")
        self.samples = tuple(
            Sample(stack.case_id, stack.participant_id, slice_index, position)
            for stack in stacks
            for position, slice_index in enumerate(stack.slices)
        )
        self._stacks = tuple(stacks)
        self._size = size
        self._case = np.repeat(np.arange(len(stacks)), [len(stack.slices) for stack in stacks])
        self._matrices = np.concatenate([stack.matrices for stack in stacks])
        self._t1w = _Voxels([stack.t1w for stack in stacks])
        self._t2w = _Voxels([stack.t2w for stack in stacks])
        self._originals: dict[int, Tensor] = {}

    def numbers_of(self, participants: Sequence[str]) -> NDArray[np.int64]:
        """Find the samples of some participants.

        Parameters
        ----------
        participants : sequence of str
            Participant ids.

        Returns
        -------
        ndarray of int64, shape (n,)
            Sample numbers, increasing.
        """
        wanted = set(participants)
        found = [number for number, sample in enumerate(self.samples) if sample.participant_id in wanted]
        return np.array(found, dtype=np.int64)

    def draw(self, numbers: NDArray[np.int64], jitters: Sequence[Jitter]) -> Tensor:
        """Give one patch a number, each with its jitter.

        Parameters
        ----------
        numbers : ndarray of int64, shape (n,)
            Sample numbers.
        jitters : sequence of Jitter, length n
            The jitter that changes nothing gives exactly what :meth:`PatchStack.cut` gives.

        Returns
        -------
        Tensor of float32, shape (n, 6, size, size)
            Mean 0 and standard deviation 1 in each channel.

        Raises
        ------
        PatchError
            When a channel holds one grey level only.
        """
        moved = np.array([not jitter.is_identity for jitter in jitters], dtype=bool)
        if moved.all():
            return self.sample(numbers, jitters)
        patches = torch.empty((len(numbers), len(CHANNELS), self._size, self._size))
        if moved.any():
            moving = [jitter for jitter, is_moved in zip(jitters, moved, strict=True) if is_moved]
            patches[torch.from_numpy(moved)] = self.sample(numbers[moved], moving)
        for place in np.flatnonzero(~moved):
            patches[place] = self._original(int(numbers[place]))
        return patches

    def sample(self, numbers: NDArray[np.int64], jitters: Sequence[Jitter]) -> Tensor:
        """Sample patches by interpolation, the unchanged ones too.

        Parameters
        ----------
        numbers : ndarray of int64, shape (n,)
        jitters : sequence of Jitter, length n

        Returns
        -------
        Tensor of float32, shape (n, 6, size, size)
            Within 1e-4 of :meth:`PatchStack.cut`.

        Raises
        ------
        PatchError
        """
        views = np.stack([jitter.matrix() for jitter in jitters])
        matrices = self._matrices[numbers] @ views[:, None]
        cases = self._case[numbers]
        patches = torch.empty((len(numbers), len(CHANNELS), self._size, self._size))
        chunk = max(1, CHUNK_PIXELS // self._size**2)
        for start in range(0, len(numbers), chunk):
            part = slice(start, start + chunk)
            patches[part, :3] = self._t1w.sample(cases[part], matrices[part, :3], self._size)
            patches[part, 3:] = self._t2w.sample(cases[part], matrices[part, 3:], self._size)
        return self._normalised(patches, numbers)

    def _original(self, number: int) -> Tensor:
        if number not in self._originals:
            patch = self._stacks[self._case[number]].cut(self.samples[number].position, size=self._size)
            self._originals[number] = torch.from_numpy(patch.array)
        return self._originals[number]

    def _normalised(self, patches: Tensor, numbers: NDArray[np.int64]) -> Tensor:
        count, channels = patches.shape[:2]
        flattened = patches.reshape(count, channels, -1)
        normalised, mean, inverse = torch.native_layer_norm(flattened, flattened.shape[-1:], None, None, 0.0)
        flat = (1 / inverse <= 1e-6 * (1 + mean.abs())).nonzero()
        if len(flat):
            sample = self.samples[int(numbers[flat[0, 0]])]
            raise PatchError(
                f"channel {CHANNELS[int(flat[0, 1])]} of slice {sample.slice_index} holds one grey level only",
                where=sample.case_id,
                remedy="Check that the box lies on tissue in both series.",
            )
        return normalised.reshape(patches.shape)


class _Voxels:
    """Crops of one weighting, padded once to a common shape by repeating their edges, as sampling would do anyway."""

    def __init__(self, crops: Sequence[NDArray[np.float32]]) -> None:
        shape = np.max([crop.shape for crop in crops], axis=0)
        padded = [
            np.pad(crop, [(0, int(more)) for more in shape - np.array(crop.shape)], mode="edge") for crop in crops
        ]
        self._array = torch.from_numpy(np.stack(padded).astype(np.float32, copy=False))

    def sample(self, cases: NDArray[np.int64], matrices: NDArray[np.float64], size: int) -> Tensor:
        """Trilinear samples as bilinear ones in the few slices that a patch crosses, blended by distance.

        The planar kernel is vectorised where the cubic one is not: about eight times faster on a CPU.
        """
        count, planes = matrices.shape[:2]
        depth, rows, columns = self._array.shape[1:]
        first, crossed = _slices_crossed(matrices, size, depth)
        wanted = np.minimum(first[..., None] + np.arange(crossed), depth - 1)
        # Whole slices by their place among all: one copy of memory each.
        places = torch.from_numpy((cases[:, None, None] * depth + wanted).ravel())
        sources = self._array.flatten(0, 1).index_select(0, places)
        along_slice, grid = _coordinates(matrices, first, (rows, columns), size)
        values = functional.grid_sample(
            sources.reshape(count * planes, crossed, rows, columns),
            grid,
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        ).reshape(count, planes, crossed, size, size)
        if crossed == 1:
            return values[:, :, 0]
        start = torch.from_numpy(first)[..., None, None].to(torch.float32)
        inside = torch.maximum(torch.minimum(along_slice, depth - 1 - start), -start)
        blended = torch.zeros_like(inside)
        for step in range(crossed):
            blended.addcmul_(values[:, :, step], (inside - step).abs_().neg_().add_(1).clamp_(min=0))
        return blended


def _slices_crossed(matrices: NDArray[np.float64], size: int, depth: int) -> tuple[NDArray[np.int64], int]:
    """First slice that each plane touches, shape (n, plane), and the largest number of slices any of them touches."""
    edge = patch_grid(size)[-1]
    corners = np.array([[u, v, 1.0] for u in (-edge, edge) for v in (-edge, edge)])
    heights = np.clip(matrices[..., 0, :] @ corners.T, 0, depth - 1)
    first = np.floor(heights.min(axis=-1) + SLICE_TOLERANCE).astype(np.int64)
    last = np.ceil(heights.max(axis=-1) - SLICE_TOLERANCE).astype(np.int64)
    return first, int((last - first).max()) + 1


def _coordinates(
    matrices: NDArray[np.float64], first: NDArray[np.int64], extent: tuple[int, int], size: int
) -> tuple[Tensor, Tensor]:
    """Slices above the first, shape (n, plane, size, size), and the grid (column, row) in the kernel's -1 to 1."""
    above = matrices[..., 0, :].copy()
    above[..., 2] -= first
    in_plane = matrices[..., (2, 1), :] * (2 / np.maximum(np.array(extent[::-1]) - 1, 1))[:, None]
    in_plane[..., 2] -= 1
    axis = torch.from_numpy(patch_grid(size).astype(np.float32))
    lines = torch.from_numpy(above.astype(np.float32))[..., None, None, :]
    slices = (lines[..., 0] * axis[:, None] + lines[..., 2]) + lines[..., 1] * axis
    turned = torch.from_numpy(in_plane.astype(np.float32)).reshape(-1, 2, 3)[..., None]
    # Sums of a row's and a column's part; columns and rows of a grid stay apart, as the kernel reads them fastest.
    grid = (turned[:, :, 0] * axis)[..., None] + (turned[:, :, 1] * axis)[..., None, :]
    grid = grid.add_(turned[:, :, 2, None]).permute(0, 2, 3, 1)
    return slices, grid

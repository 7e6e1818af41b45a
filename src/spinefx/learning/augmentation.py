"""Batches of patches, sampled straight from source voxels in one interpolation.

Box, registration, neighbouring slices and jitter are composed into one matrix first. The same patches as
:meth:`spinefx.cases.patch.PatchStack.cut` gives, many at a time.
"""

from __future__ import annotations

import copy
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

__all__ = ["Looks", "PatchBank", "Sample", "Voxels", "normalised"]

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
    dtype : torch.dtype
        Of voxels, patches and whatever is trained on them; double precision is for proofs that two routes are one.

    Attributes
    ----------
    samples : tuple of Sample
        Every lesion slice, in the order of the stacks; its place is its number below.
    t1w, t2w : Voxels
        Source voxels.
    case : ndarray of int64, shape (sample,)
        Place of each sample's case in the source voxels.

    Raises
    ------
    InputError
        For no stacks or a case given twice.
    """

    def __init__(self, stacks: Sequence[PatchStack], size: int, dtype: torch.dtype = torch.float32) -> None:
        if not stacks or len({stack.case_id for stack in stacks}) != len(stacks):
            raise InputError(f"{len(stacks)} patch stacks", allowed="one or more, each case once")
        self.samples = tuple(
            Sample(stack.case_id, stack.participant_id, slice_index, position)
            for stack in stacks
            for position, slice_index in enumerate(stack.slices)
        )
        self.size, self.dtype = size, dtype
        self.case = np.repeat(np.arange(len(stacks)), [len(stack.slices) for stack in stacks])
        self.t1w = Voxels([stack.t1w for stack in stacks], dtype)
        self.t2w = Voxels([stack.t2w for stack in stacks], dtype)
        self._stacks = tuple(stacks)
        self._matrices = np.concatenate([stack.matrices for stack in stacks])
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
        Tensor, shape (n, 6, size, size)
            Mean 0 and standard deviation 1 in each channel.

        Raises
        ------
        PatchError
            When a channel holds one grey level only.
        """
        moved = np.array([not jitter.is_identity for jitter in jitters], dtype=bool)
        if moved.all():
            return self.sample(numbers, jitters)
        patches = torch.empty((len(numbers), len(CHANNELS), self.size, self.size), dtype=self.dtype)
        if moved.any():
            moving = [jitter for jitter, is_moved in zip(jitters, moved, strict=True) if is_moved]
            patches[torch.from_numpy(moved)] = self.sample(numbers[moved], moving)
        for place in np.flatnonzero(~moved):
            patches[place] = self.original(int(numbers[place]))
        return patches

    def sample(self, numbers: NDArray[np.int64], jitters: Sequence[Jitter]) -> Tensor:
        """Sample patches by interpolation, the unchanged ones too.

        Parameters
        ----------
        numbers : ndarray of int64, shape (n,)
        jitters : sequence of Jitter, length n

        Returns
        -------
        Tensor, shape (n, 6, size, size)
            Within 1e-4 of :meth:`PatchStack.cut`.

        Raises
        ------
        PatchError
        """
        matrices = self.matrices(numbers, jitters)
        cases = torch.from_numpy(self.case[numbers])
        axis = torch.from_numpy(patch_grid(self.size)).to(self.dtype)
        patches = torch.empty((len(numbers), len(CHANNELS), self.size, self.size), dtype=self.dtype)
        chunk = max(1, CHUNK_PIXELS // self.size**2)
        for start in range(0, len(numbers), chunk):
            part = slice(start, start + chunk)
            for voxels, channels in ((self.t1w, slice(0, 3)), (self.t2w, slice(3, 6))):
                looks, crossed = voxels.looks(matrices[part, channels], self.size)
                patches[part, channels] = voxels.read(cases[part], looks, crossed, axis)
        changed, is_flat = normalised(patches)
        if is_flat.any():
            number, channel = (int(value) for value in is_flat.nonzero()[0])
            sample = self.samples[int(numbers[number])]
            raise PatchError(
                f"channel {CHANNELS[channel]} of slice {sample.slice_index} holds one grey level only",
                where=sample.case_id,
                remedy="Check that the box lies on tissue in both series.",
            )
        return changed

    def matrices(self, numbers: NDArray[np.int64], jitters: Sequence[Jitter]) -> NDArray[np.float64]:
        """Compose box, registration, neighbouring slice and jitter.

        Parameters
        ----------
        numbers : ndarray of int64, shape (n,)
        jitters : sequence of Jitter, length n

        Returns
        -------
        ndarray of float64, shape (n, 6, 3, 3)
            From (u, v, 1) of the patch plane to source voxels.
        """
        views = np.stack([jitter.matrix() for jitter in jitters])
        composed: NDArray[np.float64] = self._matrices[numbers] @ views[:, None]
        return composed

    def original(self, number: int) -> Tensor:
        """Give the unchanged patch of one sample, exactly as :meth:`PatchStack.cut` does.

        Parameters
        ----------
        number : int

        Returns
        -------
        Tensor, shape (6, size, size)
        """
        if number not in self._originals:
            patch = self._stacks[self.case[number]].cut(self.samples[number].position, size=self.size)
            self._originals[number] = torch.from_numpy(patch.array).to(self.dtype)
        return self._originals[number]


def normalised(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Bring each channel of each patch to mean 0 and standard deviation 1.

    Parameters
    ----------
    patches : Tensor, shape (n, 6, size, size)

    Returns
    -------
    Tensor, shape (n, 6, size, size)
    Tensor of bool, shape (n, 6)
        Whether the channel holds one grey level only, so that its numbers are none.
    """
    count, channels = patches.shape[:2]
    flattened = patches.reshape(count, channels, -1)
    changed, mean, inverse = torch.native_layer_norm(flattened, flattened.shape[-1:], None, None, 0.0)
    is_flat = (1 / inverse <= 1e-6 * (1 + mean.abs()))[..., 0]
    return changed.reshape(patches.shape), is_flat


@dataclass(frozen=True, eq=False)
class Looks:
    """Where patches of one weighting are read: all that sampling needs to know of box, registration and jitter.

    Parameters
    ----------
    first : Tensor of int64, shape (n, plane)
        First slice that each plane touches.
    above : Tensor, shape (n, plane, 3)
        From (u, v, 1) to slices above the first.
    in_plane : Tensor, shape (n, plane, 2, 3)
        From (u, v, 1) to (column, row), from -1 to 1 over the voxels.
    """

    first: Tensor
    above: Tensor
    in_plane: Tensor


class Voxels:
    """Crops of one weighting, padded once to a common shape by repeating their edges, as sampling would do anyway.

    Parameters
    ----------
    crops : sequence of ndarray of float32, shape (slice, row, column)
        One a case.
    dtype : torch.dtype

    Attributes
    ----------
    array : Tensor, shape (case, slice, row, column)
        It may be moved to another device.
    """

    def __init__(self, crops: Sequence[NDArray[np.float32]], dtype: torch.dtype) -> None:
        shape = np.max([crop.shape for crop in crops], axis=0)
        padded = [
            np.pad(crop, [(0, int(more)) for more in shape - np.array(crop.shape)], mode="edge") for crop in crops
        ]
        self.array = torch.from_numpy(np.stack(padded)).to(dtype)

    def to(self, device: str) -> Voxels:
        """Give the same voxels on a device.

        Parameters
        ----------
        device : str

        Returns
        -------
        Voxels
        """
        moved = copy.copy(self)
        moved.array = self.array.to(device)
        return moved

    def most_crossed(self, matrices: NDArray[np.float64], size: int, scale: float) -> int:
        """Bound the slices that any jitter of a plane crosses.

        Parameters
        ----------
        matrices : ndarray of float64, shape (n, plane, 3, 3)
            Of unchanged patches.
        size : int
        scale : float
            Largest scale of a jitter.

        Returns
        -------
        int
        """
        edge = float(patch_grid(size)[-1])
        span = 2 * edge * scale * np.sqrt(2) * np.linalg.norm(matrices[..., 0, :2], axis=-1)
        height = matrices[..., 0, 2]
        # A plane along the slices stays on its slice however it is shifted, scaled and turned within itself.
        is_level = 2 * span + np.abs(height - np.round(height)) <= SLICE_TOLERANCE
        most = np.where(is_level, 1, np.ceil(span) + 2).max()
        return min(int(most), self.array.shape[1])

    def looks(self, matrices: NDArray[np.float64], size: int) -> tuple[Looks, int]:
        """Say where patches are read.

        Parameters
        ----------
        matrices : ndarray of float64, shape (n, plane, 3, 3)
            From (u, v, 1) to (slice, row, column).
        size : int
            Pixels along each side of a patch.

        Returns
        -------
        Looks
        int
            The largest number of slices that any plane crosses.
        """
        depth, rows, columns = self.array.shape[1:]
        first, crossed = _slices_crossed(matrices, size, depth)
        above = matrices[..., 0, :].copy()
        above[..., 2] -= first
        in_plane = matrices[..., (2, 1), :] * (2 / np.maximum(np.array([columns, rows]) - 1, 1))[:, None]
        in_plane[..., 2] -= 1
        parts = (torch.from_numpy(part).to(self.array.dtype) for part in (above, in_plane))
        return Looks(torch.from_numpy(first), *parts), crossed

    def read(self, cases: Tensor, looks: Looks, crossed: int, axis: Tensor) -> Tensor:
        """Sample patches: trilinear samples as bilinear ones in the few slices that a patch crosses, by distance.

        The planar kernel is vectorised where the cubic one is not: about eight times faster on a CPU. On a GPU the
        shapes do not depend on the numbers, so that a CUDA graph can hold it.

        Parameters
        ----------
        cases : Tensor of int64, shape (n,)
        looks : Looks
        crossed : int
            Slices read a plane; more than a plane crosses changes nothing.
        axis : Tensor, shape (size,)
            As :func:`spinefx.cases.patch.patch_grid` gives it.

        Returns
        -------
        Tensor, shape (n, plane, size, size)
            Not yet normalised.
        """
        depth, rows, columns = self.array.shape[1:]
        count, planes = looks.first.shape
        size = len(axis)
        steps = torch.arange(crossed, device=self.array.device)
        wanted = (looks.first[..., None] + steps).clamp(max=depth - 1)
        # Whole slices by their place among all: one copy of memory each.
        sources = self.array.flatten(0, 1).index_select(0, (cases[:, None, None] * depth + wanted).flatten())
        # Sums of a row's and a column's part; columns and rows of a grid stay apart, as the kernel reads them fastest.
        turned = looks.in_plane.reshape(-1, 2, 3)[..., None]
        grid = (turned[:, :, 0] * axis)[..., None] + (turned[:, :, 1] * axis)[..., None, :]
        grid = grid.add_(turned[:, :, 2, None]).permute(0, 2, 3, 1)
        values = functional.grid_sample(
            sources.reshape(count * planes, crossed, rows, columns),
            grid,
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        ).reshape(count, planes, crossed, size, size)
        if crossed == 1:
            return values[:, :, 0]
        lines = looks.above[..., None, None, :]
        along_slice = (lines[..., 0] * axis[:, None] + lines[..., 2]) + lines[..., 1] * axis
        start = looks.first[..., None, None].to(axis.dtype)
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

"""Batches of patches, sampled from source voxels, each direction interpolated once.

Box, registration, neighbouring slices and jitter are composed into one matrix first. The patches are those of
:meth:`spinefx.cases.patch.PatchStack.cut`, many at a time.
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

from spinefx.cases.patch import Jitter, PatchStack, jitter_matrices, patch_grid
from spinefx.errors import InputError, PatchError
from spinefx.learning.random_streams import sample_key

__all__ = ["PatchBank", "Planes", "Sample", "normalised"]

# Channels whose views differ by less, in half widths of the plane, are read at the same places.
SAME_VIEW = 1e-9
# Pixels of patches sampled together: few enough that coordinates and source planes stay in the processor's cache.
CHUNK_PIXELS = 16 * 64 * 64


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
        At least one; case ids unique, all of the same sequences and neighbours.
    size : int
        Pixels along each side of a patch.
    dtype : torch.dtype
        Of voxels, patches and whatever is trained on them; double precision serves to prove that two routes agree.

    Attributes
    ----------
    samples : tuple of Sample
        Every lesion slice, in the order of the stacks; methods take a sample's place here as its number.
    channels : tuple of str
        Names of a patch's channels.
    sources : tuple of Planes
        Of each series, in the order of its channels.

    Raises
    ------
    InputError
        For no stacks, a case that occurs twice, or stacks with different channels.
    PatchError
        For a box that is perpendicular to its series' slices.
    """

    def __init__(self, stacks: Sequence[PatchStack], size: int, dtype: torch.dtype = torch.float32) -> None:
        if not stacks or len({stack.case_id for stack in stacks}) != len(stacks):
            raise InputError(f"{len(stacks)} patch stacks", allowed="one or more, each case once")
        self.channels = stacks[0].settings.channels
        if any(stack.settings.channels != self.channels for stack in stacks):
            raise InputError("patch stacks with different channels", allowed="the same sequences and neighbours")
        self.samples = tuple(
            Sample(stack.case_id, stack.participant_id, slice_index, position)
            for stack in stacks
            for position, slice_index in enumerate(stack.slices)
        )
        self.size, self.dtype = size, dtype
        self.sources = tuple(Planes(stacks, place, dtype) for place in range(len(stacks[0].sources)))
        self._stacks = tuple(stacks)
        self._stack_of = np.repeat(np.arange(len(stacks)), [len(stack.slices) for stack in stacks])
        self._originals: dict[int, Tensor] = {}

    def numbers_of(self, participants: Sequence[str]) -> NDArray[np.int64]:
        """Return the sample numbers of some participants.

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
        """Return one patch for each number, with its jitter.

        Parameters
        ----------
        numbers : ndarray of int64, shape (n,)
            Sample numbers.
        jitters : sequence of Jitter, length n
            The identity returns exactly what :meth:`PatchStack.cut` returns.

        Returns
        -------
        Tensor, shape (n, channel, size, size)
            Mean 0 and standard deviation 1 in each channel.

        Raises
        ------
        PatchError
            When a channel holds one grey level only.
        """
        moved = np.array([not jitter.is_identity for jitter in jitters], dtype=bool)
        if moved.all():
            return self.sample(numbers, jitters)
        patches = torch.empty((len(numbers), len(self.channels), self.size, self.size), dtype=self.dtype)
        if moved.any():
            moving = [jitter for jitter, is_moved in zip(jitters, moved, strict=True) if is_moved]
            patches[torch.from_numpy(moved)] = self.sample(numbers[moved], moving)
        for place in np.flatnonzero(~moved):
            patches[place] = self.original(int(numbers[place]))
        return patches

    def sample(self, numbers: NDArray[np.int64], jitters: Sequence[Jitter]) -> Tensor:
        """Sample patches by interpolation, also those that no jitter changes.

        Parameters
        ----------
        numbers : ndarray of int64, shape (n,)
        jitters : sequence of Jitter, length n

        Returns
        -------
        Tensor, shape (n, channel, size, size)
            As :meth:`PatchStack.cut` returns them: T2W within 1e-4, other series as near as :class:`Planes` says.

        Raises
        ------
        PatchError
        """
        changes = jitter_matrices(jitters)
        views = [planes.jittered(numbers, changes) for planes in self.sources]
        width = len(self.channels) // len(self.sources)
        wanted = torch.from_numpy(numbers)
        axis = torch.from_numpy(patch_grid(self.size)).to(self.dtype)
        patches = torch.empty((len(numbers), len(self.channels), self.size, self.size), dtype=self.dtype)
        chunk = max(1, CHUNK_PIXELS // self.size**2)
        for start in range(0, len(numbers), chunk):
            part = slice(start, start + chunk)
            for place, planes in enumerate(self.sources):
                read = planes.read(wanted[part], views[place][part], axis)
                patches[part, width * place : width * (place + 1)], is_flat = normalised(read)
                if is_flat.any():
                    number, channel = (int(value) for value in is_flat.nonzero()[0])
                    sample = self.samples[int(numbers[start + number])]
                    name = self.channels[width * place + channel]
                    raise PatchError(
                        f"channel {name} of slice {sample.slice_index} holds one grey level only",
                        where=sample.case_id,
                        remedy="Check that the box lies on tissue in every series.",
                    )
        return patches

    def original(self, number: int) -> Tensor:
        """Return the unchanged patch of one sample, exactly as :meth:`PatchStack.cut` does.

        Parameters
        ----------
        number : int

        Returns
        -------
        Tensor, shape (channel, size, size)
        """
        if number not in self._originals:
            patch = self._stacks[self._stack_of[number]].cut(self.samples[number].position, size=self.size)
            self._originals[number] = torch.from_numpy(patch.array).to(self.dtype)
        return self._originals[number]


def normalised(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Bring each channel of each patch to mean 0 and standard deviation 1.

    Parameters
    ----------
    patches : Tensor, shape (n, channels, size, size)

    Returns
    -------
    Tensor, shape (n, channels, size, size)
    Tensor of bool, shape (n, channels)
        Whether the channel holds one grey level only, so that its values are not finite.
    """
    count, channels = patches.shape[:2]
    flattened = patches.reshape(count, channels, -1)
    changed, mean, inverse = torch.native_layer_norm(flattened, flattened.shape[-1:], None, None, 0.0)
    is_flat = (inverse * (1 + mean.abs()) >= 1e6)[..., 0]
    return changed.reshape(patches.shape), is_flat


class Planes:
    """The planes of one series that patches lie in, each on the series' own pixels.

    A registration turns a T1W plane a little out of the slices it was taken in. Its jitters all stay in it, so what
    lies between slices is interpolated once, pixel by pixel of the source; a jitter then interpolates within the plane.
    No direction is interpolated twice. Against trilinear sampling of every patch pixel this moves, within one source
    pixel, where the slices are mixed: nothing for a plane along the slices, and thousandths of a standard deviation
    for one turned as registration turns it.

    Parameters
    ----------
    stacks : sequence of PatchStack
    place : int
        Which of the stacks' sources, from 0.
    dtype : torch.dtype

    Attributes
    ----------
    array : Tensor, shape (plane, row, column)
        Padded to a common shape by repeating their edges, as sampling would do anyway.
    of_sample : Tensor of int64, shape (sample, channel)
        Place of each channel's plane.
    views : ndarray of float64, shape (sample, channel or 1, 2, 3)
        From (u, v, 1) to (column, row) from -1 to 1 over the plane; one where all channels share it.

    Raises
    ------
    PatchError
        For a box that is perpendicular to its series' slices.
    """

    def __init__(self, stacks: Sequence[PatchStack], place: int, dtype: torch.dtype) -> None:
        planes: list[NDArray[np.float32]] = []
        of_sample = []
        sources = [stack.sources[place] for stack in stacks]
        for stack, source in zip(stacks, sources, strict=True):
            heights = _heights(source.matrices, stack.case_id).reshape(-1, 3)
            # Neighbouring lesion slices share planes: each is kept once.
            distinct, places = np.unique(heights.round(6), axis=0, return_inverse=True)
            of_sample.append(len(planes) + places.reshape(source.matrices.shape[:2]))
            planes += [_plane(source.voxels, height) for height in distinct]
        rows, columns = np.max([plane.shape for plane in planes], axis=0)
        self.array = torch.empty((len(planes), int(rows), int(columns)), dtype=dtype)
        for number, plane in enumerate(planes):
            missing = [(0, int(most) - have) for most, have in zip((rows, columns), plane.shape, strict=True)]
            self.array[number] = torch.from_numpy(np.pad(plane, missing, mode="edge"))
        self.of_sample = torch.from_numpy(np.concatenate(of_sample))
        matrices = np.concatenate([source.matrices for source in sources])
        views = matrices[..., (2, 1), :] * (2 / np.maximum(np.array([columns, rows]) - 1, 1))[:, None]
        views[..., 2] -= 1
        self.views = views[:, :1] if np.abs(views - views[:, :1]).max() <= SAME_VIEW else views

    def to(self, device: str) -> Planes:
        """Return the same planes on a device.

        Parameters
        ----------
        device : str

        Returns
        -------
        Planes
        """
        moved = copy.copy(self)
        moved.array, moved.of_sample = self.array.to(device), self.of_sample.to(device)
        return moved

    def jittered(self, numbers: NDArray[np.int64], jitters: NDArray[np.float64]) -> Tensor:
        """Return where patches are read.

        Parameters
        ----------
        numbers : ndarray of int64, shape (n,)
            Sample numbers.
        jitters : ndarray of float64, shape (n, 3, 3)
            As :meth:`Jitter.matrix` returns them.

        Returns
        -------
        Tensor, shape (n, channel or 1, 2, 3)
        """
        return torch.from_numpy(self.views[numbers] @ jitters[:, None]).to(self.array.dtype)

    def read(self, numbers: Tensor, views: Tensor, axis: Tensor) -> Tensor:
        """Sample patches by bilinear interpolation within their planes.

        Shapes do not depend on the numbers, so that a CUDA graph can capture the call.

        Parameters
        ----------
        numbers : Tensor of int64, shape (n,)
        views : Tensor, shape (n, channel or 1, 2, 3)
            As :meth:`jittered` returns them.
        axis : Tensor, shape (size,)
            As :func:`spinefx.cases.patch.patch_grid` returns it.

        Returns
        -------
        Tensor, shape (n, channel, size, size)
            Not yet normalised.
        """
        size = len(axis)
        # Whole planes by their place among all: one copy of memory each.
        sources = self.array.index_select(0, self.of_sample.index_select(0, numbers).flatten())
        # Sums of a row's and a column's part; columns and rows of a grid stay apart, as the kernel reads them fastest.
        turned = views.reshape(-1, 2, 3)[..., None]
        down, across = turned[:, :, 0] * axis + turned[:, :, 2], turned[:, :, 1] * axis
        grid = (down[..., None] + across[..., None, :]).permute(0, 2, 3, 1)
        return functional.grid_sample(
            sources.reshape(len(turned), -1, *self.array.shape[1:]),
            grid,
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        ).reshape(len(numbers), -1, size, size)


def _heights(matrices: NDArray[np.float64], case_id: str) -> NDArray[np.float64]:
    """Return the slice at which each plane passes a pixel, as factors of (row, column, 1); shape (..., 3)."""
    in_plane = matrices.copy()
    in_plane[..., 0, :], in_plane[..., 1:, :] = (0, 0, 1), matrices[..., 1:, :]
    # The box's area in pixels of the slices; almost zero where it is perpendicular to them.
    if (np.abs(np.linalg.det(in_plane)) < 1).any():
        raise PatchError(
            "a box that is perpendicular to its series' slices", where=case_id, allowed="series of similar orientation"
        )
    heights: NDArray[np.float64] = (matrices[..., :1, :] @ np.linalg.inv(in_plane))[..., 0, (1, 2, 0)]
    return heights


def _plane(crop: NDArray[np.float32], height: NDArray[np.float64]) -> NDArray[np.float32]:
    """Mix, at each pixel, the two slices that a plane passes between; beyond the stack repeat its last slice."""
    depth, rows, columns = crop.shape
    passes: NDArray[np.float64] = height[0] * np.arange(rows)[:, None] + height[1] * np.arange(columns) + height[2]
    at = passes.clip(0, depth - 1).astype(np.float32)
    plane = np.zeros((rows, columns), np.float32)
    for place in range(int(np.floor(at.min())), int(np.ceil(at.max())) + 1):
        plane += crop[place] * np.maximum(1 - np.abs(at - place), 0)
    return plane

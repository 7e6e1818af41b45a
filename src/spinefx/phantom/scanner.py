"""MR acquisition: from water and fat to magnitude images, by coil, saturation band, ghosts, k-space and noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from spinefx.phantom.tissue import Sequence, TissueSignals

__all__ = ["FAT_OFFSET_HZ_PER_T", "Coil", "Protocol", "acquire", "acquisition_grid", "image_affine"]

FAT_OFFSET_HZ_PER_T = 220.0 / 1.5
"""Frequency offset of fat below water, hertz per tesla: 3.4 parts per million."""

_TRAIN_DECAY = 0.35
_Floats = NDArray[Any]  # of float32, which is precise enough and faster than float64


@dataclass(frozen=True)
class Coil:
    """Receive sensitivity of a spine coil in the table.

    Parameters
    ----------
    depth_mm : float
        Depth at which the signal halves.
    length_mm : float
        Distance from the centre at which the sensitivity has fallen to 1/e at both ends.
    ripple, ripple_phase : float
        Amplitude and phase of the variation between coil elements.
    correction : float
        0 to 1: exponent of the intensity correction, which divides the image by the sensitivity.
    """

    depth_mm: float
    length_mm: float
    ripple: float
    ripple_phase: float
    correction: float

    @classmethod
    def uniform(cls) -> Coil:
        """Return a coil of uniform sensitivity."""
        return cls(depth_mm=1e6, length_mm=1e6, ripple=0.0, ripple_phase=0.0, correction=0.0)

    def sensitivity(self, behind_mm: _Floats, above_mm: _Floats) -> _Floats:
        """Return the sensitivity relative to that at the lesion.

        Parameters
        ----------
        behind_mm, above_mm : ndarray
            Distance from the lesion, posterior and superior, millimetres.
        """
        deep = np.maximum(60 - behind_mm, 0) / self.depth_mm
        reference = 1 + (60 / self.depth_mm) ** 2
        ends = np.exp(-np.square(np.square(above_mm / self.length_mm)))
        wave = 1 + self.ripple * np.sin(above_mm / 22 + self.ripple_phase)
        result: _Floats = (reference / (1 + deep * deep) * ends * wave).astype(np.float32)
        return result


@dataclass(frozen=True)
class Protocol:
    """The acquisition of one series.

    Parameters
    ----------
    sequence : Sequence
    description : str
    samples : tuple of int, length 2
        Acquired samples along frequency and phase.
    matrix : int
        Side of the reconstructed image.
    fov_mm : float
        Side of the square field of view.
    slices : int
    spacing_mm, thickness_mm : float
        Distance between slice centres, and thickness of a slice.
    bandwidth_hz : float
        Hertz per pixel along frequency.
    fat_offset_hz : float
        Frequency offset of fat below water; 0 for no chemical shift.
    frequency_axis : str
        ``SI`` or ``AP``.
    polarity : int
        1 or -1, sign of the frequency gradient.
    noise : float
        Standard deviation of the real and the imaginary noise over the reference signal; 0 for none.
    saturation : float
        Signal that remains in the anterior saturation band; 1 for no band.
    saturation_mm : float
        Distance from the centre of the lesion forward to the edge of the band.
    ghost : float
        Signal of the ghosts over that of the anterior tissue which causes them.
    ghost_shift : float
        Displacement of the ghosts along phase, as a share of the field of view.
    gain : float
        Stored value of the reference signal.
    thin : int
        Thin slices rendered for each slice; averaging them gives partial volume.
    painted : int
        Side of the rendered grid; a larger number of acquired samples adds noise but no detail.
    filter_edge, filter_width : float
        Radius at which the Fermi filter of k-space halves the signal, and its width, as shares of the sampled radius.
    reverse : bool
        Whether instance numbers run from left to right instead of from right to left.
    """

    sequence: Sequence
    description: str
    samples: tuple[int, int]
    matrix: int
    fov_mm: float
    slices: int
    spacing_mm: float
    thickness_mm: float
    bandwidth_hz: float
    fat_offset_hz: float
    frequency_axis: str
    polarity: int
    noise: float
    saturation: float
    saturation_mm: float
    ghost: float
    ghost_shift: float
    gain: float
    thin: int
    painted: int
    filter_edge: float
    filter_width: float
    reverse: bool

    @property
    def fat_shift_mm(self) -> float:
        """Return the displacement of fat along the frequency axis, positive towards higher rows or columns."""
        if self.sequence.kind == "stir":
            return 0.0
        return self.polarity * self.fat_offset_hz / self.bandwidth_hz * self.fov_mm / self.samples[0]


def acquisition_grid(
    protocol: Protocol, affine: NDArray[np.float64]
) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Return the shape and affine of the thin slices to render for a series.

    Parameters
    ----------
    protocol : Protocol
    affine : ndarray, shape (4, 4)
        Index of the reconstructed image -> any frame, millimetres.

    Returns
    -------
    shape : tuple of int
    affine : ndarray, shape (4, 4)
        Index of the thin slices -> the same frame.

    Notes
    -----
    Zero filling does not move the first sample, so the rendered and the reconstructed grid share it. The thin slices
    divide the distance between slices, including the gap, because the profile of a real slice extends into it.
    """
    side, thin = protocol.painted, protocol.thin
    step = 1 / thin
    change = np.diag([step, protocol.matrix / side, protocol.matrix / side, 1.0])
    change[0, 3] = -step * (thin - 1) / 2
    return (protocol.slices * thin, side, side), affine @ change


def image_affine(protocol: Protocol, centre_mm: NDArray[np.float64], turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the affine of a reconstructed stack: slices towards R, rows towards I, columns towards P, then rotated.

    Parameters
    ----------
    protocol : Protocol
    centre_mm : ndarray, shape (3,)
        Middle of the field of view, LPS.
    turn : ndarray, shape (3, 3)
        Rotation of the planes.

    Returns
    -------
    ndarray, shape (4, 4)
    """
    pixel = protocol.fov_mm / protocol.matrix
    axes = turn @ np.array([[-1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
    affine = np.eye(4)
    affine[:3, :3] = axes * [protocol.spacing_mm, pixel, pixel]
    sample = protocol.fov_mm / protocol.painted
    first = np.array([(protocol.slices - 1) / 2, *(2 * [(protocol.fov_mm - sample) / 2 / pixel])])
    affine[:3, 3] = centre_mm - affine[:3, :3] @ first
    return affine


def acquire(
    protocol: Protocol,
    coil: Coil,
    planes: tuple[_Floats, _Floats],
    place: tuple[_Floats, _Floats],
    rng: np.random.Generator,
) -> _Floats:
    """Acquire and reconstruct one slice from its water and fat.

    Parameters
    ----------
    protocol : Protocol
    coil : Coil
    planes : tuple of ndarray, shape (samples, samples)
        Water and fat signal.
    place : tuple of ndarray of the same shape
        Distance behind and above the centre of the lesion, millimetres.
    rng : numpy.random.Generator
        Source of the noise.

    Returns
    -------
    ndarray of float32, shape (matrix, matrix)
        0 to 65535.
    """
    reference = TissueSignals(protocol.sequence).reference
    behind, above = place
    gain = coil.sensitivity(behind, above)
    # Far in front of the band's edge the exponential would overflow.
    ahead = np.minimum(-(behind + protocol.saturation_mm) / 3, 80)
    band = protocol.saturation + (1 - protocol.saturation) / (1 + np.exp(ahead))
    gain = gain * band.astype(np.float32)
    water, fat = planes[0] * gain, planes[1] * gain
    if protocol.ghost > 0:
        moving = water * (behind < -protocol.saturation_mm + 10)
        water = water + protocol.ghost * _repeated(moving, protocol)
    shape = protocol.samples if protocol.frequency_axis == "SI" else protocol.samples[::-1]
    scale = protocol.noise * reference / np.sqrt(shape[0] * shape[1])
    kspace = rng.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0] * np.float32(scale)
    known = _kspace(protocol, water, fat)
    top, left = ((size - part) // 2 for size, part in zip(shape, known.shape, strict=True))
    kspace[top : top + known.shape[0], left : left + known.shape[1]] += known
    image = np.abs(_zero_filled(kspace, protocol.matrix))
    if coil.correction > 0:
        image = image * _correction(coil, place, protocol.matrix)
    stored: _Floats = np.clip(image * np.float32(protocol.gain / reference), 0, 65535).astype(np.float32)
    return stored


def _repeated(image: _Floats, protocol: Protocol) -> _Floats:
    axis = 1 if protocol.frequency_axis == "SI" else 0
    shift = round(protocol.ghost_shift * image.shape[axis])
    result: _Floats = np.roll(image, shift, axis=axis) + 0.5 * np.roll(image, -2 * shift, axis=axis)
    return result


def _kspace(protocol: Protocol, water: _Floats, fat: _Floats) -> NDArray[np.complex64]:
    """Sample k-space in image order (rows, columns), with the zero frequency in the middle."""
    side = water.shape[0]
    frequency, phase = (min(samples, side) for samples in protocol.samples)
    kept = (np.arange(phase) - phase // 2) % side
    every = (np.arange(frequency) - frequency // 2) % side
    rows, columns = (every, kept) if protocol.frequency_axis == "SI" else (kept, every)
    cut = np.ix_(rows, columns)
    sample_mm = protocol.fov_mm / side
    cycles = fft.fftfreq(side)[every] * (protocol.fat_shift_mm / sample_mm)
    ramp = np.exp(-2j * np.pi * cycles).astype(np.complex64)
    ramp = ramp[:, None] if protocol.frequency_axis == "SI" else ramp[None, :]
    # Two real images in one transform: its Hermitian part belongs to water, its anti-Hermitian part to fat.
    both = fft.fft2(water + 1j * fat)
    mirrored = np.conj(np.roll(both[::-1, ::-1], 1, axis=(0, 1)))
    of_water, of_fat = (both + mirrored)[cut], (both - mirrored)[cut]
    total = (of_water - 1j * of_fat * ramp) / np.float32(2 * side * side)
    result: NDArray[np.complex64] = (total * _filter(protocol, len(rows), len(columns))).astype(np.complex64)
    return result


@lru_cache(maxsize=16)
def _filter(protocol: Protocol, rows: int, columns: int) -> _Floats:
    """Combine a mild Fermi filter with the decay of the echo train along phase."""
    size = protocol.samples if protocol.frequency_axis == "SI" else protocol.samples[::-1]
    down = np.abs(np.arange(rows) - rows // 2) / (size[0] / 2)
    right = np.abs(np.arange(columns) - columns // 2) / (size[1] / 2)
    radius = np.hypot(down[:, None], right[None, :])
    weight = 1 / (1 + np.exp((radius - protocol.filter_edge) / protocol.filter_width))
    if protocol.sequence.train_length > 1:
        along = right[None, :] if protocol.frequency_axis == "SI" else down[:, None]
        weight = weight * np.exp(-_TRAIN_DECAY * along)
    return weight.astype(np.float32)


def _zero_filled(kspace: NDArray[np.complex64], matrix: int) -> NDArray[np.complex64]:
    whole = np.zeros((matrix, matrix), np.complex64)
    rows = (np.arange(kspace.shape[0]) - kspace.shape[0] // 2) % matrix
    columns = (np.arange(kspace.shape[1]) - kspace.shape[1] // 2) % matrix
    whole[np.ix_(rows, columns)] = kspace
    result: NDArray[np.complex64] = fft.ifft2(whole, overwrite_x=True) * np.float32(matrix * matrix)
    return result


def _correction(coil: Coil, place: tuple[_Floats, _Floats], matrix: int) -> _Floats:
    """Return the intensity correction; sensitivity is smooth, so it is interpolated linearly from a coarse grid."""
    nodes, stretch = _stretching(place[0].shape[0], matrix)
    grid = np.ix_(nodes, nodes)
    values = np.maximum(coil.sensitivity(place[0][grid], place[1][grid]), 0.02) ** -coil.correction
    result: _Floats = stretch @ values.astype(np.float32) @ stretch.T
    return result


@lru_cache(maxsize=16)
def _stretching(size: int, matrix: int) -> tuple[NDArray[np.int64], _Floats]:
    """Return nodes among ``size`` samples, and the matrix that interpolates from them to ``matrix`` samples."""
    nodes = np.unique(np.rint(np.linspace(0, size - 1, 33)).astype(np.int64))
    target = np.arange(matrix) * (size / matrix)
    weights = np.stack([np.interp(target, nodes, unit) for unit in np.eye(len(nodes))], axis=1)
    return nodes, weights.astype(np.float32)

"""From water and fat to a series: coil, saturation, ghosts, k-space, noise, magnitude."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from spinefx.phantom.tissue import Palette, Sequence

__all__ = ["FAT_OFFSET_HZ_PER_T", "Coil", "Protocol", "acquire", "acquisition_grid", "image_affine"]

FAT_OFFSET_HZ_PER_T = 220.0 / 1.5
"""How much slower fat precesses than water, per tesla: 3.4 parts per million."""

_TRAIN_DECAY = 0.35
_Floats = NDArray[Any]  # of float32: doubles would be slow, and nothing needs them


@dataclass(frozen=True)
class Coil:
    """Receive sensitivity of a coil in the table.

    Parameters
    ----------
    depth_mm : float
        Depth at which the signal halves.
    length_mm : float
        Distance from the middle at which the signal has fallen off at the ends.
    ripple, ripple_phase : float
        Unevenness from element to element.
    correction : float
        0 to 1: exponent by which the vendor divided the sensitivity out again.
    """

    depth_mm: float
    length_mm: float
    ripple: float
    ripple_phase: float
    correction: float

    @classmethod
    def even(cls) -> Coil:
        """A coil that sees all places alike."""
        return cls(depth_mm=1e6, length_mm=1e6, ripple=0.0, ripple_phase=0.0, correction=0.0)

    def sensitivity(self, behind_mm: _Floats, above_mm: _Floats) -> _Floats:
        """Sensitivity relative to the lesion's place.

        Parameters
        ----------
        behind_mm, above_mm : ndarray
            Distance from the lesion, posterior and superior.
        """
        deep = np.maximum(60 - behind_mm, 0) / self.depth_mm
        reference = 1 + (60 / self.depth_mm) ** 2
        ends = np.exp(-np.square(np.square(above_mm / self.length_mm)))
        wave = 1 + self.ripple * np.sin(above_mm / 22 + self.ripple_phase)
        result: _Floats = (reference / (1 + deep * deep) * ends * wave).astype(np.float32)
        return result


@dataclass(frozen=True)
class Protocol:
    """One series' acquisition.

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
        Between slice centres, and of each slice.
    bandwidth_hz : float
        Hertz a pixel along frequency.
    fat_offset_hz : float
        How much slower fat precesses than water; 0 for no chemical shift.
    frequency_axis : str
        ``SI`` or ``AP``.
    polarity : int
        1 or -1, of the frequency gradient.
    noise : float
        Standard deviation of each part of the complex noise over the palette's reference signal; 0 for none.
    saturation : float
        Signal left in the anterior saturation band; 1 for no band.
    saturation_mm : float
        Where the band begins, in front of the lesion's centre.
    ghost : float
        Share of the anterior tissue that is repeated along phase.
    ghost_shift : float
        By what share of the field.
    gain : float
        Stored value of the reference signal.
    thin : int
        Thin slices painted for each slice; their mean is the partial volume.
    painted : int
        Side of the painted grid: finer samples than this add noise but no detail.
    filter_edge, filter_width : float
        Where the Fermi filter of k-space halves the signal, and how softly, as shares of the sampled radius.
    reverse : bool
        Instance numbers run from right to left when False.
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
        """How far fat is displaced along the frequency axis, signed: towards higher rows or columns when positive."""
        if self.sequence.kind == "stir":
            return 0.0
        return self.polarity * self.fat_offset_hz / self.bandwidth_hz * self.fov_mm / self.samples[0]


def acquisition_grid(
    protocol: Protocol, affine: NDArray[np.float64]
) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Shape and affine of the thin slices to paint for a series.

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
    Zero filling keeps the first sample where it is, so painted and reconstructed grids share it. Thin slices share out
    the distance between slices, the gap included: the profile of a real slice has flanks that reach into it.
    """
    side, thin = protocol.painted, protocol.thin
    step = 1 / thin
    change = np.diag([step, protocol.matrix / side, protocol.matrix / side, 1.0])
    change[0, 3] = -step * (thin - 1) / 2
    return (protocol.slices * thin, side, side), affine @ change


def image_affine(protocol: Protocol, centre_mm: NDArray[np.float64], turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Affine of the reconstructed stack: slices towards R, rows towards I, columns towards P, then turned.

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
    """Turn one slice's water and fat into its stored image.

    Parameters
    ----------
    protocol : Protocol
    coil : Coil
    planes : tuple of ndarray, shape (samples, samples)
        Water and fat signal.
    place : tuple of ndarray of the same shape
        Distance behind and above the lesion's centre, millimetres.
    rng : numpy.random.Generator
        Noise.

    Returns
    -------
    ndarray of float32, shape (matrix, matrix)
        0 to 65535.
    """
    reference = Palette(protocol.sequence).reference
    behind, above = place
    gain = coil.sensitivity(behind, above)
    band = protocol.saturation + (1 - protocol.saturation) / (1 + np.exp(-(behind + protocol.saturation_mm) / 3))
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
    """Samples of k-space in image order (rows, columns), zero frequency in the middle."""
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
    # Two real planes in one transform: the even part of the result is the water's, the odd part the fat's.
    both = fft.fft2(water + 1j * fat)
    mirrored = np.conj(np.roll(both[::-1, ::-1], 1, axis=(0, 1)))
    of_water, of_fat = (both + mirrored)[cut], (both - mirrored)[cut]
    total = (of_water - 1j * of_fat * ramp) / np.float32(2 * side * side)
    result: NDArray[np.complex64] = (total * _filter(protocol, len(rows), len(columns))).astype(np.complex64)
    return result


@lru_cache(maxsize=16)
def _filter(protocol: Protocol, rows: int, columns: int) -> _Floats:
    """Mild Fermi filter, and the decay of an echo train along phase."""
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
    """Divide by a power of the sensitivity; it is smooth, so a coarse copy stretched by lines serves."""
    nodes, stretch = _stretching(place[0].shape[0], matrix)
    grid = np.ix_(nodes, nodes)
    values = np.maximum(coil.sensitivity(place[0][grid], place[1][grid]), 0.02) ** -coil.correction
    result: _Floats = stretch @ values.astype(np.float32) @ stretch.T
    return result


@lru_cache(maxsize=16)
def _stretching(size: int, matrix: int) -> tuple[NDArray[np.int64], _Floats]:
    """Nodes among ``size`` samples, and the matrix of linear interpolation from them to ``matrix`` samples."""
    nodes = np.unique(np.rint(np.linspace(0, size - 1, 33)).astype(np.int64))
    target = np.arange(matrix) * (size / matrix)
    weights = np.stack([np.interp(target, nodes, unit) for unit in np.eye(len(nodes))], axis=1)
    return nodes, weights.astype(np.float32)

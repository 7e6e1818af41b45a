"""Other intensities for the tissues of a sample, and the faults that scanners and exports add."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinefx.localisation.labels import TissueClass

__all__ = ["corrupt", "recolour"]

_Images = NDArray[np.float32]


def recolour(images: _Images, classes: NDArray[np.int8], owners: NDArray[np.int8], rng: np.random.Generator) -> _Images:
    """Give every tissue another intensity and keep its texture, so that shape alone tells what it is.

    Parameters
    ----------
    images : ndarray of float32, shape (3, row, column)
    classes : ndarray of int8, shape (3, row, column)
        Values of :class:`~spinefx.localisation.labels.TissueClass`; -1 counts as background.
    owners : ndarray of int8, shape (row, column)
        Which vertebra a pixel of the middle slice belongs to; 0 for none.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32, shape (3, row, column)
        Body, S1, sacrum and C2 share one intensity, apart from a little variation from vertebra to vertebra.
    """
    known = np.maximum(classes, 0)
    count = np.bincount(known.ravel(), minlength=len(TissueClass)).astype(float)
    total = np.bincount(known.ravel(), weights=images.ravel().astype(float), minlength=len(TissueClass))
    old = total / np.maximum(count, 1)
    new = rng.uniform(0.05, 1.0, len(TissueClass))
    texture = rng.uniform(0.25, 1.3, len(TissueClass)) * rng.choice([1, 1, 1, -1], len(TissueClass))
    for bone in (TissueClass.S1, TissueClass.SACRUM, TissueClass.C2):
        new[bone] = new[TissueClass.BODY] * rng.uniform(0.85, 1.15)
        texture[bone] = texture[TissueClass.BODY] = abs(texture[TissueClass.BODY])
    vertebra = 1 + rng.normal(0, 0.1, int(owners.max(initial=0)) + 1) * (rng.random() < 0.7)
    gain = np.where(owners > 0, vertebra[owners], 1.0)
    changed = (new[known] * gain + texture[known] * (images - old[known])).astype(np.float32)
    background = known == TissueClass.BACKGROUND
    if rng.random() < 0.5:  # soft tissue keeps its anatomy, on another scale of grey
        knots = rng.uniform(0, 1, 6)
        changed[background] = np.interp(images[background], np.linspace(0, 1.2, 6), knots)
    soft = ndimage.gaussian_filter(changed, (0, *[rng.uniform(0.3, 0.8)] * 2))
    return np.asarray(soft, np.float32)


def corrupt(images: _Images, classes: NDArray[np.int8] | None, rng: np.random.Generator) -> _Images:
    """Add what real images have and phantoms have not: other organs, shading, blur, noise, ghosts, margins.

    Parameters
    ----------
    images : ndarray of float32, shape (3, row, column)
    classes : ndarray of int8, shape (3, row, column), or None
        None where they are not known; the background then stays as it is.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32, shape (3, row, column)
    """
    result = np.array(images, np.float32)
    if classes is not None:
        if rng.random() < 0.75:
            _add_organs(result, classes == TissueClass.BACKGROUND, rng)
        _change_brightness(result, classes, rng)
    result = _blur(result, rng)
    result *= _shading(result.shape[1:], rng)
    if rng.random() < 0.25:
        ghost = np.roll(result, int(rng.integers(12, 70)), axis=int(rng.integers(1, 3)))
        result += np.float32(rng.uniform(0.03, 0.15)) * ghost
    low, high = float(result.min()), float(result.max())
    scaled = (result - low) / max(high - low, 1e-6)
    scaled = scaled ** np.float32(np.exp(rng.uniform(np.log(0.5), np.log(1.7))))
    if rng.random() < 0.5:
        scaled += rng.normal(0, rng.uniform(0.005, 0.05), scaled.shape).astype(np.float32)
    if rng.random() < 0.08:
        scaled = 1 - scaled
    if rng.random() < 0.4:
        _add_margins(scaled, rng)
    return np.asarray(scaled, np.float32)


def _add_organs(images: _Images, background: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Paint ellipses and smooth patches into the background, some of them of a body's size and in rows."""
    rows, columns = np.ogrid[: images.shape[1], : images.shape[2]]
    for _ in range(int(rng.integers(0, 14))):
        row, column = rng.uniform(0, images.shape[1]), rng.uniform(0, images.shape[2])
        long, short = np.exp(rng.uniform(np.log(4), np.log(34), 2))
        angle = rng.uniform(0, np.pi)
        along = (rows - row) * np.cos(angle) + (columns - column) * np.sin(angle)
        across = (columns - column) * np.cos(angle) - (rows - row) * np.sin(angle)
        power = rng.choice([2, 2, 4])
        inside = np.abs(along / long) ** power + np.abs(across / short) ** power
        alpha = np.clip((1 - inside) * rng.uniform(1, 8), 0, 1) * rng.uniform(0.4, 1)
        value = rng.uniform(0, 1.1)
        rim = rng.uniform(0, 1) if rng.random() < 0.3 else value
        paint = np.where(inside > 0.65, rim, value)
        for place, image in enumerate(images):
            weight = alpha * background[place] * (rng.random() > 0.15)
            image += (weight * (paint - image)).astype(np.float32)
    if rng.random() < 0.5:
        few = rng.normal(0, rng.uniform(0.03, 0.25), (1, *rng.integers(5, 30, 2)))
        noise = _stretched(few[0], images.shape[1:])
        images += background * noise * np.maximum(images, 0.2)


def _change_brightness(images: _Images, classes: NDArray[np.int8], rng: np.random.Generator) -> None:
    gains = np.exp(rng.normal(0, 0.22, len(TissueClass)))
    gains[[TissueClass.S1, TissueClass.SACRUM, TissueClass.C2]] = gains[TissueClass.BODY]
    gain = gains.astype(np.float32)[np.maximum(classes, 0)]
    images *= ndimage.gaussian_filter(gain, (0, 0.7, 0.7))


def _blur(images: _Images, rng: np.random.Generator) -> _Images:
    if rng.random() < 0.3:  # low resolution
        coarse = rng.uniform(1.3, 2.8, 2) * [1, 1]
        small = ndimage.zoom(images, (1, *(1 / coarse)), order=1)
        return np.stack([_stretched(image, images.shape[1:]) for image in small])
    if rng.random() < 0.5:
        return np.asarray(ndimage.gaussian_filter(images, (0, *rng.uniform(0, 0.9, 2))), np.float32)
    return images


def _shading(shape: tuple[int, ...], rng: np.random.Generator) -> _Images:
    strength = rng.uniform(0, 0.7)
    field = _stretched(rng.normal(0, strength, rng.integers(2, 6, 2)), shape)
    if rng.random() < 0.35:  # a saturation band, or a surface coil that does not reach further
        columns = np.arange(shape[1])
        edge = rng.uniform(0.05, 0.5) * shape[1]
        field = field - np.float32(rng.uniform(0.5, 3)) / (1 + np.exp((columns - edge) / rng.uniform(2, 14)))
    return np.exp(field).astype(np.float32)


def _add_margins(images: _Images, rng: np.random.Generator) -> None:
    """Blacken strips at the edges, as padded exports have them."""
    value = np.float32(rng.choice([0.0, 0.0, images.min()]))
    for axis in (1, 2):
        size = images.shape[axis]
        low, high = (int(rng.uniform(0, 0.16) * size) * (rng.random() < 0.5) for _ in range(2))
        moved = np.moveaxis(images, axis, 0)
        moved[:low] = value
        moved[size - high :] = value


def _stretched(few: NDArray[np.floating], shape: tuple[int, ...]) -> _Images:
    """Stretch a small map to a shape, linearly."""
    zoom = [(n - 1) / max(m - 1, 1) for m, n in zip(few.shape, shape, strict=True)]
    step = np.diag([1 / factor for factor in zoom])
    return np.asarray(
        ndimage.affine_transform(few, step, output_shape=tuple(shape), order=1, mode="nearest"), np.float32
    )

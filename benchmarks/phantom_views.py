"""What a phantom patient shows beside the lesion: headers, geometry, image corners, background, neighbours.

It also holds the shortcuts that `phantom_shortcuts.py` plants to show that each view would reveal them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue
from scipy import ndimage, stats

from spinefx.imaging.volume import Volume
from spinefx.phantom.case import PhantomCase
from spinefx.phantom.random_streams import CaseDraw
from spinefx.vocabulary import LEVELS

__all__ = [
    "Record",
    "background_features",
    "beside_features",
    "corner_features",
    "geometry_record",
    "header_record",
    "tabulate",
    "with_bright_marrow",
    "with_bright_pixel",
    "with_noise",
]

IDENTIFIERS = {"PatientID", "PatientName", "AccessionNumber", "StudyID", "PixelData"}
Floats = NDArray[Any]
Record = dict[str, float | str]


# Headers ----------------------------------------------------------------------------------------------------------


def header_record(series: Mapping[str, Sequence[Dataset]]) -> Record:
    """Return everything that one patient's headers state, except identifiers.

    Parameters
    ----------
    series : mapping of str to sequence of Dataset
        By folder, in the order of the files.

    Returns
    -------
    dict of str to float or str
        Where the files of a series differ, the values of the first and the last file.
    """
    found: Record = {}
    for name, datasets in series.items():
        found[f"{name} files"] = float(len(datasets))
        told = [_told(dataset) for dataset in datasets]
        for key in sorted(set().union(*told)):
            values = [one.get(key, "") for one in told]
            if len(set(values)) == 1:
                found[f"{name} {key}"] = values[0]
            else:
                found[f"{name} {key} first"], found[f"{name} {key} last"] = values[0], values[-1]
    return found


def _told(dataset: Dataset) -> Record:
    told: Record = {}
    for element in dataset:
        if element.VR == "UI" or element.keyword in IDENTIFIERS:
            continue
        values = list(element.value) if isinstance(element.value, MultiValue) else [element.value]
        for place, value in enumerate(values):
            told[f"{element.keyword or element.tag} {place}"] = _number_or_text(element.VR, value)
    return told


def _number_or_text(representation: str, value: Any) -> float | str:
    text = str(value or "")
    if representation == "DA" and text:
        return float(date(int(text[:4]), int(text[4:6]), int(text[6:8])).toordinal())
    if representation == "AS" and text:
        return float(text[:3])
    try:
        return float(value)
    except (TypeError, ValueError):
        return text


def tabulate(records: Sequence[Record]) -> tuple[tuple[str, ...], Floats]:
    """Convert records into one table: numbers unchanged, one indicator column per text, no constant columns.

    Parameters
    ----------
    records : sequence of dict

    Returns
    -------
    names : tuple of str
    table : ndarray, shape (patient, column)
    """
    columns: dict[str, list[float]] = {}
    for key in sorted(set().union(*records)):
        values = [one.get(key, "") for one in records]
        columns[key] = [value if isinstance(value, float) else 0.0 for value in values]
        for word in {value for value in values if isinstance(value, str)}:
            columns[f"{key} = {word}"] = [float(value == word) for value in values]
    kept = {name: column for name, column in columns.items() if min(column) < max(column)}
    return tuple(kept), np.array(list(kept.values())).T.reshape(len(records), -1)


# Geometry ---------------------------------------------------------------------------------------------------------


def geometry_record(draw: CaseDraw, truth: PhantomCase, volumes: Mapping[str, Volume]) -> Record:
    """Return counts, sizes and positions of the stacks and of the lesion vertebra, and the patient's motion.

    Parameters
    ----------
    draw : CaseDraw
    truth : PhantomCase
    volumes : mapping of str to Volume

    Returns
    -------
    dict of str to float or str
    """
    lesion = truth.vertebrae_mm[truth.level]
    found: Record = {"level": truth.level, "age": float(truth.age), "sex": truth.sex}
    found |= {"slices of the lesion": float(len(truth.lesion_slices)), "number": float(draw.number)}
    found["last digit"] = float(draw.number % 10)
    for name, volume in volumes.items():
        here = _place(truth, name, lesion)
        index = volume.to_index(here)
        numbers = {"shape": volume.shape, "spacing": volume.spacing_mm, "index": index}
        numbers |= {"share": index / np.array(volume.shape), "turn": volume.directions.ravel()}
        numbers |= {"middle": volume.to_mm((np.array(volume.shape) - 1) / 2) - here, "origin": volume.to_mm((0, 0, 0))}
        for kind, values in numbers.items():
            found |= {f"{name} {kind} {axis}": float(value) for axis, value in enumerate(values)}
    step = _place(truth, "t1w", lesion) - lesion
    found |= {f"step {axis}": float(value) for axis, value in enumerate(step)}
    found |= {"step": float(np.linalg.norm(step)), "turned": float(np.trace(truth.t2w_to_t1w[:3, :3]))}
    return found


def _place(truth: PhantomCase, series: str, places_mm: Floats) -> Floats:
    """Map positions from the T2W frame to that of a series, because the patient moved before T1W."""
    if series != "t1w":
        return places_mm
    moved: Floats = places_mm @ truth.t2w_to_t1w[:3, :3].T + truth.t2w_to_t1w[:3, 3]
    return moved


# Images -----------------------------------------------------------------------------------------------------------


def corner_features(volumes: Mapping[str, Volume]) -> Floats:
    """Return features of the image corners, a sixteenth of the side each, of the first, middle and last slice.

    Parameters
    ----------
    volumes : mapping of str to Volume

    Returns
    -------
    ndarray, shape (feature,)
        Coarse pixels and the brightest one of each corner; then brightness, spread, shape and grain by series.
    """
    found = []
    for volume in volumes.values():
        slices, rows, _ = volume.shape
        side = max(4, rows // 16 // 4 * 4)
        parts = [slice(0, side), slice(-side, None)]
        corners = volume.array[np.ix_([0, slices // 2, slices - 1])].astype(float)
        corners = np.stack([corners[:, down, right] for down in parts for right in parts], axis=1)
        coarse = corners.reshape(3, 4, 4, side // 4, 4, side // 4).mean(axis=(3, 5))
        brightest, spread = corners.max(axis=(2, 3)).ravel(), corners.std(axis=(2, 3)).ravel()
        found += [coarse.ravel(), brightest, spread, brightest / (np.quantile(corners, 0.9, axis=(2, 3)).ravel() + 1)]
        found.append(_summary(corners.ravel(), np.abs(np.diff(corners, axis=3)).ravel()))
    return np.concatenate(found)


def _summary(values: Floats, grain: Floats) -> Floats:
    """Return brightness, spread, shape and grain of some pixels, most of them independent of the scanner's gain."""
    mean, spread = values.mean(), values.std()
    scale = max(spread, 1e-6)
    quantiles = np.quantile(values, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
    shape = [stats.skew(values) if spread > 1e-6 else 0.0, np.log(mean + 1), np.log(spread + 1)]
    rough = [np.log(grain.mean() + 1), grain.mean() / scale, np.median(grain) / scale, grain.mean() / max(mean, 1e-6)]
    return np.concatenate([(quantiles - mean) / scale, shape, rough])


def background_features(truth: PhantomCase, volumes: Mapping[str, Volume]) -> Floats:
    """Return features of tissue in front of and behind the spine, at least 12 mm from bone, canal and any mass.

    Looked up at places counted from the spine's own course, so that the edge of the mask does not tell its shape.

    Parameters
    ----------
    truth : PhantomCase
    volumes : mapping of str to Volume

    Returns
    -------
    ndarray, shape (feature,)
    """
    names = sorted(truth.vertebrae_mm, key=lambda name: float(truth.vertebrae_mm[name][2]))
    course = np.array([truth.vertebrae_mm[name] for name in names])
    reach = [np.linalg.norm(truth.canals_mm[name] - truth.vertebrae_mm[name]) for name in names]
    height = truth.vertebrae_mm[truth.level][2] + np.arange(-90, 91, 20.0)
    x, y, near = (np.interp(height, course[:, 2], part) for part in (course[:, 0], course[:, 1], reach))
    # The body's front wall lies some 8 mm behind `near` and a mass reaches 12 mm before it; spinous processes end some
    # 42 mm behind the canal's middle, and expanded ones 52.
    zones = (
        y[:, None] - near[:, None] - 16 - np.arange(0, 61, 12.0),
        y[:, None] + near[:, None] + 62 + np.arange(0, 33, 8.0),
    )
    found = []
    for depths in zones:
        aside = x[:, None, None] + np.array([-18.0, 0, 18.0])
        above = np.broadcast_to(height[:, None, None], (*depths.shape, 3))
        places = np.stack([np.broadcast_to(aside, above.shape), np.repeat(depths[..., None], 3, axis=2), above], -1)
        found += [_looked_at(volume, _place(truth, name, places))[0] for name, volume in volumes.items()]
    return np.concatenate(found)


def _looked_at(volume: Volume, places_mm: Floats) -> tuple[Floats, Floats]:
    """Return features of a series at some positions (relative brightness and a summary), and the brightness."""
    smooth = ndimage.uniform_filter(volume.array, (0, 3, 3))
    grain = ndimage.uniform_filter(np.abs(volume.array - smooth), (0, 3, 3))
    index = np.moveaxis(volume.to_index(places_mm), -1, 0)
    seen, rough = (ndimage.map_coordinates(part, index, order=1, mode="nearest") for part in (smooth, grain))
    inside = volume.contains(places_mm)
    seen = np.where(inside, seen / max(float(seen[inside].mean()), 1e-6), 0.0)
    brightness = float(smooth.mean())
    return np.concatenate([seen.ravel(), _summary(brightness * seen[inside], rough[inside])]), seen


def beside_features(truth: PhantomCase, volumes: Mapping[str, Volume]) -> Floats:
    """Return features of all but the lesion's body and what signs 1 to 12 change: its discs, canal and angulation.

    Other vertebrae (body, canal, posterior elements) are looked up in frames of their own, so that their places, which
    a collapsed body changes, are not seen; of the lesion's vertebra its pedicles and what lies before it.

    Parameters
    ----------
    truth : PhantomCase
    volumes : mapping of str to Volume

    Returns
    -------
    ndarray, shape (feature,)
    """
    names = [name for name in LEVELS if name in truth.vertebrae_mm]
    here = names.index(truth.level)
    others = [number for number in range(here - 6, here + 7) if 0 < number < len(names) - 1 and number != here]
    bodies = np.stack([_grid(truth, names, number, _BODY) for number in others])
    around = [_grid(truth, names, number, _AROUND) for number in others if abs(number - here) <= 3]
    own = [_grid(truth, names, here, shape) for shape in (_IN_FRONT, _PEDICLES)]
    found = [_layout(truth, names, here)]
    for name, volume in volumes.items():
        near = np.array([abs(number - here) <= 3 for number in others])
        places = _place(truth, name, np.concatenate([bodies[near].reshape(-1, 3), *around, *own]))
        found.append(_looked_at(volume, places)[0])
        where = _place(truth, name, bodies)
        seen = _looked_at(volume, where)[1].reshape(len(others), -1)
        seen = seen[volume.contains(where).all(axis=1)]
        for values in (
            seen.mean(axis=1),
            seen.std(axis=1),
            seen.min(axis=1),
        ):  # by body, sorted, because the order of the bodies carries no information
            found.append(np.append(np.sort(values)[[0, 1, -2, -1]], values.std()) / np.median(values))
    return np.concatenate(found)


# Lateral (mm), depth (shares of the distance to the canal's middle, then mm), height (shares of the next gap).
_BODY = ((-12.0, 0.0, 12.0), [(-0.45, 0), (-0.2, 0), (0.05, 0), (0.3, 0)], (-0.25, 0.0, 0.25))
_AROUND = ((-14.0, 0.0, 14.0), [(-1, -4), (1, -3), (1, 0), (1, 3), (1, 14), (1, 24), (1, 34)], (0.0,))
_IN_FRONT = ((-15.0, 0.0, 15.0), [(-1, -6), (-1, -1)], (0.0,))
_PEDICLES = ((-15.0, 15.0), [(1, -5), (1, 0), (1, 5)], (0.06, 0.12))


def _grid(truth: PhantomCase, names: Sequence[str], number: int, shape: tuple[Any, ...]) -> Floats:
    """Return positions around one vertebra, given in its own frame, shape (position, 3), T2W frame."""
    centre = truth.vertebrae_mm[names[number]]
    back = truth.canals_mm[names[number]] - centre
    reach = float(np.linalg.norm(back))
    back = back / reach
    left = np.array([1.0, 0, 0]) - back[0] * back
    left /= np.linalg.norm(left)
    up = np.cross(left, back)
    away = number + (1 if number > names.index(truth.level) else -1)
    gap = float(np.linalg.norm(truth.vertebrae_mm[names[away]] - centre))
    if number == names.index(truth.level):
        gap = 1.2 * reach
    sides, depths, levels = shape
    places = [
        centre + side * left + (share * reach + beyond) * back + level * gap * up
        for side in sides
        for share, beyond in depths
        for level in levels
    ]
    return np.array(places)


def _layout(truth: PhantomCase, names: Sequence[str], here: int) -> Floats:
    """Return distances and angles between neighbours, without pairs that include the lesion vertebra."""
    steps, turns = [], []
    for upper in range(max(here - 7, 0), min(here + 7, len(names) - 1)):
        if here in (upper, upper + 1):
            continue
        first, second = (truth.vertebrae_mm[names[number]] for number in (upper, upper + 1))
        backs = [truth.canals_mm[names[n]] - truth.vertebrae_mm[names[n]] for n in (upper, upper + 1)]
        angles = [np.arctan2(back[2], back[1]) for back in backs]
        steps.append(np.linalg.norm(first - second) / np.linalg.norm(backs[0]))
        turns.append(angles[0] - angles[1])
    found = [np.array([np.min(v), np.mean(v), np.max(v), np.std(v), np.ptp(np.diff(v))]) for v in (steps, turns)]
    return np.concatenate(found)


# Planted shortcuts ------------------------------------------------------------------------------------------------


def with_bright_pixel(volumes: Mapping[str, Volume]) -> dict[str, Volume]:
    """Plant a shortcut: one corner pixel of the middle T2W slice twice as bright as any other of the corner."""
    array = volumes["t2w"].array.copy()
    middle = array[len(array) // 2]
    middle[-1, -1] = 2 * middle[-12:, -12:].max()
    return {**volumes, "t2w": Volume(array, volumes["t2w"].affine)}


def with_noise(volumes: Mapping[str, Volume], rng: np.random.Generator, times: float = 1.6) -> dict[str, Volume]:
    """Plant a shortcut: noise of several times the strength, as from a worse scanner."""
    planted = {}
    for name, volume in volumes.items():
        grain = volume.array - ndimage.uniform_filter(volume.array, (0, 3, 3))
        size = np.sqrt(times**2 - 1) * np.median(np.abs(grain)) / 0.6745
        planted[name] = Volume(volume.array + size * rng.standard_normal(volume.shape), volume.affine)
    return planted


def with_bright_marrow(truth: PhantomCase, volumes: Mapping[str, Volume]) -> dict[str, Volume]:
    """Plant a shortcut: the middle of every vertebral body but the lesion's a quarter brighter on T2W."""
    volume = volumes["t2w"]
    array = volume.array.copy()
    half = np.array([1, *(9 / np.array(volume.spacing_mm[1:]))])
    for level, centre in truth.vertebrae_mm.items():
        index = volume.to_index(centre)
        block = (slice(max(round(a), 0), max(round(b) + 1, 0)) for a, b in zip(index - half, index + half, strict=True))
        array[tuple(block)] *= 1.25 if level != truth.level else 1.0
    return {**volumes, "t2w": Volume(array, volume.affine)}

"""Positions relative to the spinal canal, looked up by height in the table of the spine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.canvas import Region
from spinefx.phantom.spine import Spine

__all__ = [
    "BEHIND_BODY",
    "BODY_DEPTH",
    "CANAL_FRONT",
    "CANAL_LATERAL",
    "SMOOTHED_FRONT",
    "canal_coordinates",
    "canal_profile",
    "level_height",
    "level_index",
]

_Floats = NDArray[Any]  # of float32, which is precise enough and faster than float64

# Columns of Spine.canal_table.
CANAL_LATERAL, CANAL_FRONT, _CANAL, _COSINE, BODY_DEPTH, SMOOTHED_FRONT, BEHIND_BODY, _OWNER = range(1, 9)


def _places(spine: Spine, z: _Floats) -> _Floats:
    low, step = float(spine.canal_table[0, 0]), float(spine.canal_table[1, 0] - spine.canal_table[0, 0])
    result: _Floats = np.clip((z - np.float32(low)) * np.float32(1 / step), 0, len(spine.canal_table) - 1.001)
    return result


def canal_profile(spine: Spine, z: _Floats, *columns: int) -> tuple[_Floats, ...]:
    """Interpolate columns of the canal table by height.

    Parameters
    ----------
    spine : Spine
    z : ndarray
        Superior coordinate, spine frame, millimetres. Beyond its ends the table is continued by its last value.
    columns : int
        Of ``Spine.canal_table``, such as :data:`BODY_DEPTH` or :data:`BEHIND_BODY`.

    Returns
    -------
    tuple of ndarray, shape of ``z``
    """
    place = _places(spine, z)
    index = place.astype(np.int32)
    part = place - index.astype(np.float32)  # a plain difference would have double precision, which is slow
    result = []
    for column in columns:
        table = spine.canal_table[:, column].astype(np.float32)
        low = table[index]
        result.append(low + part * (np.append(np.diff(table), np.float32(0))[index]))
    return tuple(result)


def level_index(spine: Spine, z: _Floats) -> NDArray[np.int32]:
    """Return the index of the vertebra whose body, or disc below it, lies at a height of the canal.

    Parameters
    ----------
    spine : Spine
    z : ndarray
        Superior coordinate, spine frame, millimetres.

    Returns
    -------
    ndarray of int32, shape of ``z``
    """
    return spine.canal_table[:, _OWNER].astype(np.int32)[np.rint(_places(spine, z)).astype(np.int32)]


def canal_coordinates(spine: Spine, region: Region) -> tuple[_Floats, _Floats, _Floats, _Floats]:
    """Return positions relative to the canal, in the middle of every slice.

    Parameters
    ----------
    spine : Spine
    region : Region

    Returns
    -------
    lateral, behind, canal, z : ndarray, shape (slices, rows, columns)
        Distance to the left of the canal's midline, distance behind its anterior wall, depth of the canal, and superior
        coordinate; millimetres.
    """
    x, y, z = region.spine_of_slices()
    middle, front, canal, cosine = canal_profile(spine, z, CANAL_LATERAL, CANAL_FRONT, _CANAL, _COSINE)
    return x - middle, (y - front) * cosine, canal, z


def level_height(spine: Spine, level: str) -> float:
    """Return the superior coordinate of a level's centre, millimetres.

    Where a numbering variant lacks the level, that of the level above is returned.

    Parameters
    ----------
    spine : Spine
    level : str

    Returns
    -------
    float
    """
    index = spine.find(level)
    if index is None:  # four lumbar vertebrae: no L5
        index = spine.find(f"{level[0]}{int(level[1:]) - 1}")
    return float(spine.vertebrae[index or 0].centre_mm[2])

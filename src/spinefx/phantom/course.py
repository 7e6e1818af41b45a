"""How far a voxel lies from the canal: the spine's course as a table by height, looked up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.anatomy import Spine
from spinefx.phantom.canvas import Region

__all__ = ["BEHIND_BODY", "BODY_DEPTH", "ENVELOPE", "FRONT", "MIDDLE", "along", "behind_wall", "height_of", "owner"]

_Floats = NDArray[Any]  # of float32: doubles would be slow, and nothing needs them

# Columns of Spine.knots.
MIDDLE, FRONT, _CANAL, _COSINE, BODY_DEPTH, ENVELOPE, BEHIND_BODY, _OWNER = range(1, 9)


def _places(spine: Spine, z: _Floats) -> _Floats:
    low, step = float(spine.knots[0, 0]), float(spine.knots[1, 0] - spine.knots[0, 0])
    result: _Floats = np.clip((z - np.float32(low)) * np.float32(1 / step), 0, len(spine.knots) - 1.001)
    return result


def along(spine: Spine, z: _Floats, *columns: int) -> tuple[_Floats, ...]:
    """Interpolate properties of the canal by height.

    Parameters
    ----------
    spine : Spine
    z : ndarray
        Superior coordinate, spine frame, millimetres; beyond the ends the last value holds.
    columns : int
        Of ``Spine.knots``: :data:`BODY_DEPTH`, :data:`ENVELOPE`, :data:`BEHIND_BODY`.

    Returns
    -------
    tuple of ndarray, shape of ``z``
    """
    place = _places(spine, z)
    index = place.astype(np.int32)
    part = place - index.astype(np.float32)  # a bare difference would be of double precision, and slow
    result = []
    for column in columns:
        table = spine.knots[:, column].astype(np.float32)
        low = table[index]
        result.append(low + part * (np.append(np.diff(table), np.float32(0))[index]))
    return tuple(result)


def owner(spine: Spine, z: _Floats) -> NDArray[np.int32]:
    """Index of the vertebra whose body, or disc below it, lies at a height of the canal.

    Parameters
    ----------
    spine : Spine
    z : ndarray
        Superior coordinate, spine frame, millimetres.

    Returns
    -------
    ndarray of int32, shape of ``z``
    """
    return spine.knots[:, _OWNER].astype(np.int32)[np.rint(_places(spine, z)).astype(np.int32)]


def behind_wall(spine: Spine, region: Region) -> tuple[_Floats, _Floats, _Floats, _Floats]:
    """Place relative to the canal, in the middle of every slice.

    Parameters
    ----------
    spine : Spine
    region : Region

    Returns
    -------
    lateral, behind, canal, z : ndarray, shape (slices, rows, columns)
        Distance to the left of the canal's middle and behind its front wall, its depth, and the superior coordinate;
        millimetres.
    """
    x, y, z = region.spine_of_slices()
    middle, front, canal, cosine = along(spine, z, MIDDLE, FRONT, _CANAL, _COSINE)
    return x - middle, (y - front) * cosine, canal, z


def height_of(spine: Spine, level: str) -> float:
    """Superior coordinate of a level's centre, millimetres.

    Parameters
    ----------
    spine : Spine
    level : str

    Returns
    -------
    float
    """
    index = spine.find(level)
    return float(spine.vertebrae[index or 0].centre_mm[2])

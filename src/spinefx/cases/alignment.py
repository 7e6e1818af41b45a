"""Where a marked vertebra of the T2W series lies in the other series of its study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.lesion import Lesion
from spinefx.imaging.registration import Alignment, align
from spinefx.imaging.volume import Slices
from spinefx.vocabulary import MARKED, Weighting

__all__ = ["AlignedSeries", "align_lesion", "align_series", "alignment_record"]


@dataclass(frozen=True, eq=False)
class AlignedSeries:
    """One series of a case, and where the places of the marked series lie in it.

    Parameters
    ----------
    weighting : Weighting
    voxels : Slices
    alignment : Alignment or None
        From the marked series' millimetres to this one's; None for the marked series itself.
    """

    weighting: Weighting
    voxels: Slices
    alignment: Alignment | None = None

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Maps the marked series' (left, posterior, superior, 1) to this one's, millimetres; shape (4, 4)."""
        return np.eye(4) if self.alignment is None else self.alignment.matrix


def align_lesion(lesion: Lesion, marked: Slices, moving: Slices, *, method: str) -> Alignment:
    """Find where a lesion of the marked series lies in another series.

    Parameters
    ----------
    lesion : Lesion
        Inside ``marked``.
    marked, moving : Slices
    method : str
        As :func:`spinefx.imaging.registration.align` takes it.

    Returns
    -------
    Alignment

    Raises
    ------
    RegistrationError
    """
    return align(
        marked,
        moving,
        centre_mm=lesion.box.centre_mm,
        side_mm=lesion.box.side_mm,
        method=method,
        lesion_slices=(lesion.first_slice, lesion.last_slice),
    )


def align_series(lesion: Lesion, series: Mapping[Weighting, Slices], *, method: str) -> tuple[AlignedSeries, ...]:
    """Find where a lesion lies in every series of its study.

    Parameters
    ----------
    lesion : Lesion
        Marked on the T2W series.
    series : mapping of Weighting to Slices
        T2W among them.
    method : str
        As :func:`spinefx.imaging.registration.align` takes it.

    Returns
    -------
    tuple of AlignedSeries
        In the order of ``series``.

    Raises
    ------
    RegistrationError
    """
    marked = series[MARKED]
    return tuple(
        AlignedSeries(
            weighting,
            voxels,
            None if weighting is MARKED else align_lesion(lesion, marked, voxels, method=method),
        )
        for weighting, voxels in series.items()
    )


def alignment_record(aligned: AlignedSeries) -> dict[str, Any]:
    """Describe an alignment for JSON.

    Parameters
    ----------
    aligned : AlignedSeries

    Returns
    -------
    dict
        Empty for the marked series itself.
    """
    if aligned.alignment is None:
        return {}
    record = {name: value for name, value in vars(aligned.alignment).items() if name != "matrix"}
    matrix = [[round(float(value), 9) for value in row] for row in aligned.matrix]
    return record | {f"{MARKED.key}_mm_to_{aligned.weighting.key}_mm": matrix}

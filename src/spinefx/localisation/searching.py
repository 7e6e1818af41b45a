"""Which series of a study the vertebrae are looked for in, and what is found there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import SelectionError
from spinefx.imaging.rejection import search_objection
from spinefx.imaging.series import Series
from spinefx.imaging.study import Study
from spinefx.imaging.volume import Volume
from spinefx.localisation.spine import Convention, LocatedSpine
from spinefx.vocabulary import SEQUENCES, Weighting

__all__ = ["FoundSpine", "Localiser", "localiser_of", "search_study", "shipped_localiser"]

# Finds the vertebrae of a volume: the spine, and the class of every voxel on the volume's own grid.
Localiser = Callable[[Volume], tuple[LocatedSpine, NDArray[np.integer]]]
# Boxes are marked on T2W, so vertebrae are looked for there first.
PREFERRED = (Weighting.T2W, Weighting.T1W, *(one for one in SEQUENCES if one not in (Weighting.T2W, Weighting.T1W)))


@dataclass(frozen=True, eq=False)
class FoundSpine:
    """A located spine with the series and masks that it lies in.

    Parameters
    ----------
    spine : LocatedSpine
    series : Series or None
        None where no series of the study could be searched.
    volume : Volume or None
        The voxels of that series.
    classes : ndarray of int, shape (slice, row, column), or None
        Values of :class:`spinefx.localisation.labels.TissueClass`.
    """

    spine: LocatedSpine
    series: Series | None = None
    volume: Volume | None = None
    classes: NDArray[np.integer] | None = None

    @property
    def label(self) -> str:
        """Name of the series, without identifiers; empty where none was searched."""
        return "" if self.series is None else self.series.label


def search_study(study: Study, localiser: Localiser, *, uid: str | None = None) -> FoundSpine:
    """Find the vertebrae in the best sagittal series of a study.

    Parameters
    ----------
    study : Study
    localiser : callable
        See :data:`Localiser`.
    uid : str, optional
        UID of a series to search instead of the automatic choice.

    Returns
    -------
    FoundSpine
        Without vertebrae, and with the reasons as notes, where no series shows a sagittal spine.

    Raises
    ------
    SelectionError
        When the study has no series of the UID, or several, or one that cannot be searched.
    SeriesError, FileError, GeometryError
        When the series cannot be read.
    """
    objections = {series.uid: search_objection(series) for series in study.series}
    if uid is not None:
        series = _named(study, uid, objections)
    else:
        usable = [one for one in study.series if not objections[one.uid]]
        if not usable:
            notes = tuple(f"{one.label} was not searched: {objections[one.uid]}." for one in study.series)
            return FoundSpine(LocatedSpine((), Convention.UNNAMED, notes=notes))
        series = min(usable, key=_preference)
    volume = series.load()
    spine, classes = localiser(volume)
    return FoundSpine(spine, series, volume, classes)


def shipped_localiser() -> Localiser:
    """Return the localiser that comes with spinefx.

    Returns
    -------
    callable
        See :data:`Localiser`.
    """
    from spinefx.localisation.locating import locate  # deferred: it loads ONNX Runtime

    found: Localiser = locate
    return found


def localiser_of(weights: Path) -> Localiser:
    """Return a localiser that was taught further.

    Parameters
    ----------
    weights : Path
        Folder that ``spinefx train-localiser`` wrote.

    Returns
    -------
    callable
        See :data:`Localiser`.

    Raises
    ------
    ModelError
        When a file is missing, too large, or not the one that the card names.
    """
    from spinefx.localisation.inference import load_localiser  # deferred: they load ONNX Runtime
    from spinefx.localisation.locating import locate

    return partial(locate, model=load_localiser(weights))


def _preference(series: Series) -> tuple[object, ...]:
    """Rank a series; the least is the best."""
    known = PREFERRED.index(series.weighting) if series.weighting in PREFERRED else len(PREFERRED)
    doubted = bool(series.gradient_echo) or "DERIVED" in series.image_type
    pixel = round(float(np.prod(series.spacing_mm[1:])) ** 0.5, 1)
    return doubted, known, bool(series.fat_suppressed), -series.number_of_slices, pixel, series.number or 0, series.uid


def _named(study: Study, uid: str, objections: dict[str, str]) -> Series:
    wanted = uid.strip()
    found = [series for series in study.series if series.uid == wanted or series.uid.startswith(f"{wanted}#")]
    if len(found) != 1:
        raise SelectionError(
            f"{len(found)} series with the given UID", allowed="one series of the study", remedy="Check the UID."
        )
    if objections[found[0].uid]:
        raise SelectionError(f"the series cannot be searched: {objections[found[0].uid]}", where=found[0].label)
    return found[0]

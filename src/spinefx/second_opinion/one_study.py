"""Answer one marked vertebra of one study with models that are loaded, or refuse it by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spinefx.cases.lesion import Lesion
from spinefx.files import write_bytes
from spinefx.imaging.selection import SeriesSet, choose_series
from spinefx.imaging.study import open_study
from spinefx.imaging.volume import Slices
from spinefx.learning.model import TrainedModel
from spinefx.learning.scoring import score
from spinefx.vocabulary import MARKED, Weighting

__all__ = ["answer_study"]


def answer_study(
    models: tuple[TrainedModel, ...],
    study: Path,
    place: Callable[[Slices], Lesion],
    *,
    holding: Sequence[float] | None = None,
    series: Mapping[Weighting, str] | None = None,
    sheet: Path | None = None,
) -> dict[str, Any]:
    """Score one marked vertebra with loaded models.

    Parameters
    ----------
    models : tuple of TrainedModel
        As returned by :func:`spinefx.learning.scoring.load_models`.
    study : Path
        Folder, file, ZIP, DICOMDIR or NIfTI of one patient.
    place : callable
        Returns the lesion for the T2W slices; whether it lies inside them is checked here.
    holding : sequence of float, optional
        Centre of the box, LPS millimetres, where it is known beforehand: of several stations, the one that shows it is
        read.
    series : mapping of Weighting to str, optional
        UIDs of series to use instead of the automatic choice.
    sheet : Path, optional
        Where to write the contact sheet.

    Returns
    -------
    dict
        Ready for JSON; holds no identifier of the patient.

    Raises
    ------
    SpinefxError
        When the input is outside what the model accepts.
    """
    found = choose_series(open_study(study), models[0].card.settings.sequences, named=series, holding=holding)
    slices = found.slices()
    scored = score(models, place(slices[MARKED]), slices)
    if sheet is not None:
        from spinefx.cases.sheet import contact_sheet  # deferred: most answers draw nothing

        write_bytes(sheet, contact_sheet(scored.lesion, scored.series, scored.stack))
    return scored.to_json() | {"series": _series(found)}


def _series(found: SeriesSet) -> dict[str, Any]:
    refused = [{"series": one.label, "reason": one.reason} for one in found.refused]
    chosen = {weighting.key: series.label for weighting, series in found.chosen.items()}
    notes = [*found.overrides, *found.notes]
    return chosen | {"refused": refused} | ({"notes": notes} if notes else {})

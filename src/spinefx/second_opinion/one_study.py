"""Answer one marked vertebra of one study with models that are loaded, or refuse it by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from spinefx.cases.lesion import Lesion
from spinefx.cases.patch import PatchSettings
from spinefx.errors import ModelError, SpinefxError
from spinefx.files import write_bytes
from spinefx.imaging.selection import SeriesSet, choose_series
from spinefx.imaging.study import open_study
from spinefx.imaging.volume import Slices
from spinefx.learning.measures import image_measures
from spinefx.localisation.spine import LocatedSpine
from spinefx.second_opinion.models import Models, score_with
from spinefx.second_opinion.withheld import with_remedy
from spinefx.signs.model import SignPredictor
from spinefx.signs.whole_spine import score_spine
from spinefx.vocabulary import MARKED, Weighting

__all__ = ["answer_study", "answer_whole_spine"]


def answer_study(
    models: Models,
    study: Path,
    place: Callable[[Slices], Lesion],
    *,
    holding: Sequence[float] | None = None,
    series: Mapping[Weighting, str] | None = None,
    sheet: Path | None = None,
    find_spine: Callable[[Slices], LocatedSpine] | None = None,
) -> dict[str, Any]:
    """Score one marked vertebra with loaded models.

    Parameters
    ----------
    models : tuple
        As returned by :func:`spinefx.second_opinion.models.load_answering`.
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
        Where to write the contact sheet; of a refused study too, as far as T2W shows the box.
    find_spine : callable, optional
        Returns the vertebrae of the T2W slices, where they are known already; by default the localiser looks for them.

    Returns
    -------
    dict
        Ready for JSON; holds no identifier of the patient.

    Raises
    ------
    SpinefxError
        When the input is outside what the model accepts; the error names what to do.
    """
    try:
        found = choose_series(open_study(study), models[0].card.settings.sequences, named=series, holding=holding)
        slices = found.slices()
        lesion = place(slices[MARKED])
        spine = None if find_spine is None else partial(find_spine, slices[MARKED])
        try:
            scored = score_with(models, lesion, slices, measures=image_measures(found), find_spine=spine)
        except SpinefxError:
            if sheet is not None:
                _draw(sheet, lesion, slices, models[0].card.settings)
            raise
    except SpinefxError as error:
        raise with_remedy(error) from error
    if sheet is not None:
        from spinefx.cases.sheet import contact_sheet  # deferred: most answers draw nothing

        write_bytes(sheet, contact_sheet(scored.lesion, scored.series, scored.stack))
    return scored.to_json() | {"series": _series(found)}


def answer_whole_spine(
    models: Models, study: Path, *, series: Mapping[Weighting, str] | None = None, sheet: Path | None = None
) -> dict[str, Any]:
    """Read every vertebra of an unmarked study, and diagnose the most abnormal one.

    Parameters
    ----------
    models : tuple
        Of one signs model.
    study : Path
    series : mapping of Weighting to str, optional
        UIDs of series to use instead of the automatic choice.
    sheet : Path, optional
        Where to write the picture of the spine.

    Returns
    -------
    dict
        Ready for JSON; holds no identifier of the patient.

    Raises
    ------
    ModelError
        For a box model, which reads a marked vertebra alone.
    SpinefxError
        When the input is outside what the model accepts; the error names what to do.
    """
    model = models[0]
    if not isinstance(model, SignPredictor):
        raise ModelError(
            "a box model was asked for the whole spine", allowed="a signs model", remedy="Use the model named starter."
        )
    try:
        found = choose_series(open_study(study), model.card.settings.sequences, named=series)
        slices = found.slices()
        scored = score_spine(model, slices, measures=image_measures(found))
    except SpinefxError as error:
        raise with_remedy(error) from error
    if sheet is not None:
        write_bytes(sheet, scored.picture(slices[MARKED]))
    return scored.to_json() | {"series": _series(found)}


def _draw(sheet: Path, lesion: Lesion, slices: Mapping[Weighting, Slices], settings: PatchSettings) -> None:
    """Draw the box of a study that is refused: the picture often shows why."""
    from spinefx.cases.box_sheet import box_sheet  # deferred: most answers draw nothing

    picture = box_sheet(lesion, slices, settings, case_id="case")
    if picture is not None:
        write_bytes(sheet, picture)


def _series(found: SeriesSet) -> dict[str, Any]:
    refused = [{"series": one.label, "reason": one.reason} for one in found.refused]
    chosen = {weighting.key: series.label for weighting, series in found.chosen.items()}
    notes = [*found.overrides, *found.notes]
    return chosen | {"refused": refused} | ({"notes": notes} if notes else {})

"""One study, one marked vertebra, one answer: or a refusal by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spinefx.cases.lesion import Box, Lesion
from spinefx.errors import BoxError
from spinefx.files import write_bytes
from spinefx.imaging.selection import SeriesSet, choose_series
from spinefx.imaging.study import open_study
from spinefx.imaging.volume import Slices
from spinefx.learning.model import TrainedModel
from spinefx.learning.scoring import load_models, score
from spinefx.vocabulary import MARKED, Weighting

__all__ = ["answer_study", "predict"]


BOX_FORM = "left,posterior,superior,side"
NUMBER = r"[-+]?[0-9]+(?:\.[0-9]+)?"


def predict(
    model: Path,
    study: Path,
    *,
    slices: str | None = None,
    box: str | None = None,
    box_pixels: str | None = None,
    series: Mapping[Weighting, str] | None = None,
    sheet: Path | None = None,
    engine: str | None = None,
) -> dict[str, Any]:
    """Score one marked vertebra.

    Parameters
    ----------
    model : Path
        A model folder, or an experiment's, whose folds then answer together by their mean.
    study : Path
        Folder, file, ZIP, DICOMDIR or NIfTI of one patient.
    slices : str, optional
        ``6-8`` or ``7``, always needed: T2W slices that hold the lesion, ordered by position, from 0.
    box : str, optional
        ``left,posterior,superior,side``: centre and side, LPS millimetres.
    box_pixels : str, optional
        ``left,top,right,bottom`` on the middle lesion slice; pixel centres at integers. One of the two is needed.
    series : mapping of Weighting to str, optional
        UIDs of series to use whatever the program would choose.
    sheet : Path, optional
        Where to write the contact sheet.
    engine : {'onnxruntime', 'torch'}, optional
        As for :func:`load_models`.

    Returns
    -------
    dict
        Ready for JSON; no identifier of the patient in it.

    Raises
    ------
    SpinefxError
        By name, when the input is outside what the model accepts. No probability is given then.
    """
    return answer_study(
        load_models(model, engine=engine, one_study=True),
        study,
        lambda t2w: _lesion(slices, box, box_pixels, t2w),
        holding=None if box is None else _numbers(box, "--box", BOX_FORM)[:3],
        series=series,
        sheet=sheet,
    )


def answer_study(
    models: tuple[TrainedModel, ...],
    study: Path,
    place: Callable[[Slices], Lesion],
    *,
    holding: Sequence[float] | None = None,
    series: Mapping[Weighting, str] | None = None,
    sheet: Path | None = None,
) -> dict[str, Any]:
    """Score one marked vertebra with models that are loaded already.

    Parameters
    ----------
    models : tuple of TrainedModel
        As :func:`load_models` gives them.
    study : Path
    place : callable
        Gives the lesion on the T2W slices; it is checked here that it lies inside.
    holding : sequence of float, optional
        Centre of the box, LPS millimetres, where it is known beforehand: of several stations, the one that shows it is
        read.
    series, sheet
        As for :func:`predict`.

    Returns
    -------
    dict
        As :func:`predict` gives it.

    Raises
    ------
    SpinefxError
        By name, when the input is outside what the model accepts.
    """
    found = choose_series(open_study(study), models[0].card.settings.sequences, named=series, holding=holding)
    slices = found.slices()
    scored = score(models, place(slices[MARKED]), slices)
    if sheet is not None:
        from spinefx.cases.sheet import contact_sheet  # deferred: most answers draw nothing

        write_bytes(sheet, contact_sheet(scored.lesion, scored.series, scored.stack))
    return scored.to_json() | {"series": _series(found)}


def _lesion(slices: str | None, box: str | None, box_pixels: str | None, t2w: Slices) -> Lesion:
    found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", (slices or "").strip())
    if not found:
        raise BoxError(
            "no --slices" if slices is None else f"--slices {slices[:20]!r}",
            allowed="one number, or two with a hyphen: 6-8",
        )
    first, last = int(found[1]), int(found[2] or found[1])
    if (box is None) == (box_pixels is None):
        raise BoxError("no box, or two", allowed="--box in millimetres or --box-pixels")
    if box is not None:
        left, posterior, superior, side = _numbers(box, "--box", BOX_FORM)
        lesion = Lesion(Box((left, posterior, superior), side), first, last)
    else:
        lesion = Lesion(_box_from_pixels(box_pixels or "", (first + last) / 2, t2w), first, last)
    return lesion


def _box_from_pixels(text: str, middle: float, t2w: Slices) -> Box:
    left, top, right, bottom = _numbers(text, "--box-pixels", "left,top,right,bottom")
    if not (left < right and top < bottom):
        raise BoxError("a box without width or height", allowed="left < right and top < bottom")
    centre = t2w.to_mm((middle, (top + bottom) / 2, (left + right) / 2))
    side = max((bottom - top) * t2w.spacing_mm[1], (right - left) * t2w.spacing_mm[2])
    return Box((float(centre[0]), float(centre[1]), float(centre[2])), side)


def _numbers(text: str, flag: str, form: str) -> list[float]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(re.fullmatch(NUMBER, part) for part in parts):
        raise BoxError(f"{flag} {text[:40]!r}", allowed=f"four numbers: {form}")
    return [float(part) for part in parts]


def _series(found: SeriesSet) -> dict[str, Any]:
    refused = [{"series": one.label, "reason": one.reason} for one in found.refused]
    chosen = {weighting.key: series.label for weighting, series in found.chosen.items()}
    notes = [*found.overrides, *found.notes]
    return chosen | {"refused": refused} | ({"notes": notes} if notes else {})

"""Score one marked vertebra of one study, or those of a manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from spinefx.cases.lesion import Box, Lesion
from spinefx.errors import BoxError
from spinefx.imaging.volume import Slices
from spinefx.localisation.formats import name_to_json
from spinefx.localisation.searching import shipped_localiser
from spinefx.localisation.spine import LocatedSpine
from spinefx.second_opinion.many_studies import predict_many
from spinefx.second_opinion.models import load_answering
from spinefx.second_opinion.one_study import answer_study, answer_whole_spine
from spinefx.vocabulary import Weighting

__all__ = ["predict", "predict_many"]


BOX_FORM = "left,posterior,superior,side"
NUMBER = r"[-+]?[0-9]+(?:\.[0-9]+)?"


def predict(
    model: Path,
    study: Path,
    *,
    slices: str | None = None,
    box: str | None = None,
    box_pixels: str | None = None,
    level: str | None = None,
    whole_spine: bool = False,
    series: Mapping[Weighting, str] | None = None,
    sheet: Path | None = None,
    engine: str | None = None,
) -> dict[str, Any]:
    """Score one marked vertebra.

    Parameters
    ----------
    model : Path
        A model folder, or an experiment folder: then the mean of its folds' models answers; or ``starter``: the signs
        model that comes with spinefx.
    study : Path
        Folder, file, ZIP, DICOMDIR or NIfTI of one patient.
    slices : str, optional
        ``6-8`` or ``7``: T2W slices of the lesion, ordered by position, counted from 0. Needed with a box; with a
        level, by default the slice at the middle of the vertebra and one on either side.
    box : str, optional
        ``left,posterior,superior,side``: centre and side, LPS millimetres.
    box_pixels : str, optional
        ``left,top,right,bottom`` on the middle lesion slice; pixel centres are at integers.
    level : str, optional
        Name of the vertebra, such as ``L1``: the box is that of the vertebra that the localiser finds and names so. One
        of the three is needed.
    whole_spine : bool
        Read every vertebra and diagnose the most abnormal one, without a box; needs a signs model.
    series : mapping of Weighting to str, optional
        UIDs of series to use instead of the automatic choice.
    sheet : Path, optional
        Where to write the contact sheet; of a refused study too, as far as T2W shows the box.
    engine : {'onnxruntime', 'torch'}, optional
        See :func:`spinefx.learning.scoring.load_models`.

    Returns
    -------
    dict
        Ready for JSON; holds no identifier of the patient.

    Raises
    ------
    SpinefxError
        When the input is outside what the model accepts; there is no probability then, and the error's ``remedy``
        names what to do.
    """
    models = load_answering(model, engine=engine, one_study=True)
    if whole_spine:
        if any((box, box_pixels, level, slices)):
            raise BoxError("--whole-spine with a box, a level or slices", allowed="--whole-spine alone")
        return answer_whole_spine(models, study, series=series, sheet=sheet)
    if level is not None:
        _refuse_two(box, box_pixels, level)
        found: list[LocatedSpine] = []
        answer = answer_study(
            models,
            study,
            lambda t2w: _named_lesion(level, slices, t2w, found),
            series=series,
            sheet=sheet,
            find_spine=lambda t2w: found[0],
        )
        return answer | {"located": name_to_json(found[0], level.strip().upper())}
    return answer_study(
        models,
        study,
        lambda t2w: _lesion(slices, box, box_pixels, t2w),
        holding=None if box is None else _numbers(box, "--box", BOX_FORM)[:3],
        series=series,
        sheet=sheet,
    )


def _lesion(slices: str | None, box: str | None, box_pixels: str | None, t2w: Slices) -> Lesion:
    first, last = _slices(slices)
    _refuse_two(box, box_pixels)
    if box is not None:
        left, posterior, superior, side = _numbers(box, "--box", BOX_FORM)
        lesion = Lesion(Box((left, posterior, superior), side), first, last)
    else:
        lesion = Lesion(_box_from_pixels(box_pixels or "", (first + last) / 2, t2w), first, last)
    return lesion


def _named_lesion(level: str, slices: str | None, t2w: Slices, found: list[LocatedSpine]) -> Lesion:
    """Return the lesion of a named vertebra; ``found`` receives the spine that its name rests on."""
    given = None if slices is None else _slices(slices)
    spine, _ = shipped_localiser()(t2w.whole())
    found.append(spine)
    lesion = spine.at_level(level.strip().upper()).marked_on(t2w)
    return lesion if given is None else replace(lesion, first_slice=given[0], last_slice=given[1])


def _refuse_two(*places: str | None) -> None:
    if sum(place is not None for place in places) != 1:
        raise BoxError("Give exactly one of --box, --box-pixels and --level, or --whole-spine")


def _slices(text: str | None) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", (text or "").strip())
    if not found:
        raise BoxError(
            "--slices is missing" if text is None else f"--slices {text[:20]!r} is not a range of slices",
            allowed="one number, or two with a hyphen, such as 6-8",
        )
    return int(found[1]), int(found[2] or found[1])


def _box_from_pixels(text: str, middle: float, t2w: Slices) -> Box:
    left, top, right, bottom = _numbers(text, "--box-pixels", "left,top,right,bottom")
    if not (left < right and top < bottom):
        raise BoxError("The box has no width or height", allowed="left < right and top < bottom")
    centre = t2w.to_mm((middle, (top + bottom) / 2, (left + right) / 2))
    side = max((bottom - top) * t2w.spacing_mm[1], (right - left) * t2w.spacing_mm[2])
    return Box((float(centre[0]), float(centre[1]), float(centre[2])), side)


def _numbers(text: str, flag: str, form: str) -> list[float]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(re.fullmatch(NUMBER, part) for part in parts):
        raise BoxError(f"{flag} {text[:40]!r} is not a box", allowed=f"four numbers: {form}")
    return [float(part) for part in parts]

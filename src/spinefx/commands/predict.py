"""Score one marked vertebra of one study, or those of a manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spinefx.cases.lesion import Box, Lesion
from spinefx.errors import BoxError
from spinefx.imaging.volume import Slices
from spinefx.learning.scoring import load_models
from spinefx.second_opinion.many_studies import predict_many
from spinefx.second_opinion.one_study import answer_study
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
    series: Mapping[Weighting, str] | None = None,
    sheet: Path | None = None,
    engine: str | None = None,
) -> dict[str, Any]:
    """Score one marked vertebra.

    Parameters
    ----------
    model : Path
        A model folder, or an experiment folder: then the mean of its folds' models answers.
    study : Path
        Folder, file, ZIP, DICOMDIR or NIfTI of one patient.
    slices : str, optional
        ``6-8`` or ``7``, always needed: T2W slices of the lesion, ordered by position, counted from 0.
    box : str, optional
        ``left,posterior,superior,side``: centre and side, LPS millimetres.
    box_pixels : str, optional
        ``left,top,right,bottom`` on the middle lesion slice; pixel centres are at integers. One of the two is needed.
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
    return answer_study(
        load_models(model, engine=engine, one_study=True),
        study,
        lambda t2w: _lesion(slices, box, box_pixels, t2w),
        holding=None if box is None else _numbers(box, "--box", BOX_FORM)[:3],
        series=series,
        sheet=sheet,
    )


def _lesion(slices: str | None, box: str | None, box_pixels: str | None, t2w: Slices) -> Lesion:
    found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", (slices or "").strip())
    if not found:
        raise BoxError(
            "--slices is missing" if slices is None else f"--slices {slices[:20]!r} is not a range of slices",
            allowed="one number, or two with a hyphen, such as 6-8",
        )
    first, last = int(found[1]), int(found[2] or found[1])
    if (box is None) == (box_pixels is None):
        raise BoxError("Give exactly one of --box and --box-pixels")
    if box is not None:
        left, posterior, superior, side = _numbers(box, "--box", BOX_FORM)
        lesion = Lesion(Box((left, posterior, superior), side), first, last)
    else:
        lesion = Lesion(_box_from_pixels(box_pixels or "", (first + last) / 2, t2w), first, last)
    return lesion


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

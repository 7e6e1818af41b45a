"""One study, one marked vertebra, one answer: or a refusal by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from spinefx import __version__
from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.patch import PatchStack, cut_patches
from spinefx.cases.reading import Prediction, patient_probability
from spinefx.cases.sheet import contact_sheet
from spinefx.errors import BoxError, ModelError
from spinefx.files import write_bytes
from spinefx.imaging.registration import align
from spinefx.imaging.selection import SeriesPair, choose_pair
from spinefx.imaging.study import open_study
from spinefx.imaging.volume import Volume
from spinefx.learning.classifier import Classifier
from spinefx.learning.recipe import Recipe
from spinefx.verbs.patching import alignment_record
from spinefx.vocabulary import Diagnosis

__all__ = ["NOTE", "answer_study", "load_models", "predict"]

NOTE = "Research use only, not a medical device. A probability on images unlike the training cohort's means nothing."
NUMBER = r"[-+]?[0-9]+(?:\.[0-9]+)?"


def predict(
    model: Path,
    study: Path,
    *,
    slices: str | None = None,
    box: str | None = None,
    box_pixels: str | None = None,
    t1w_series: str | None = None,
    t2w_series: str | None = None,
    sheet: Path | None = None,
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
    t1w_series, t2w_series : str, optional
        Series UIDs to use whatever the program would choose.
    sheet : Path, optional
        Where to write the contact sheet.

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
        load_models(model),
        study,
        lambda t2w: _lesion(slices, box, box_pixels, t2w),
        t1w_series=t1w_series,
        t2w_series=t2w_series,
        sheet=sheet,
    )


def answer_study(
    classifiers: tuple[Classifier, ...],
    study: Path,
    place: Callable[[Volume], Lesion],
    *,
    t1w_series: str | None = None,
    t2w_series: str | None = None,
    sheet: Path | None = None,
) -> dict[str, Any]:
    """Score one marked vertebra with models that are loaded already.

    Parameters
    ----------
    classifiers : tuple of Classifier
        As :func:`load_models` gives them.
    study : Path
    place : callable
        Gives the lesion on the T2W volume; it is checked here that it lies inside.
    t1w_series, t2w_series, sheet
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
    recipe = classifiers[0].card.recipe
    settings = recipe.patch_settings
    pair = choose_pair(open_study(study), t1w_uid=t1w_series, t2w_uid=t2w_series)
    t1w, t2w = pair.t1w.load(), pair.t2w.load()
    lesion = place(t2w)
    lesion.check_inside(t2w)
    alignment = align(
        t2w, t1w, centre_mm=lesion.box.centre_mm, side_mm=lesion.box.side_mm, method=settings.registration
    )
    stack = cut_patches(lesion, t1w, t2w, alignment, case_id="case", participant_id="case", settings=settings)
    answers = [classifier.predict(stack) for classifier in classifiers]
    if sheet is not None:
        write_bytes(sheet, contact_sheet(lesion, t1w, t2w, alignment, stack))
    return {
        "spinefx": __version__,
        "note": NOTE,
        "patient": _patient(answers, recipe),
        "slices": _slices(stack, answers),
        "lesion": asdict(lesion.box) | {"first_slice": lesion.first_slice, "last_slice": lesion.last_slice},
        "flags": list(stack.flags),
        "registration": alignment_record(alignment),
        "series": _series(pair),
        "model": _model(classifiers),
    }


def load_models(folder: Path) -> tuple[Classifier, ...]:
    """Load a model, or all folds of an experiment.

    Parameters
    ----------
    folder : Path
        With ``model.json``, or with ``fold-*`` folders, or an experiment's folder.

    Returns
    -------
    tuple of Classifier

    Raises
    ------
    ModelError
        When there is none, or the folds are of different recipes or cohorts.
    """
    if (folder / "model.json").is_file():
        return (Classifier.load(folder),)
    inside = folder / "models" if (folder / "models").is_dir() else folder
    folds = sorted(path.parent for path in inside.glob("fold-*/model.json"))
    if not folds:
        raise ModelError(
            "no model (model.json is missing)",
            where=folder.name,
            allowed="a folder with model.json and weights.safetensors, or an experiment's folder",
        )
    models = tuple(Classifier.load(fold) for fold in folds)
    chains = {(one.card.recipe.digest, one.card.cohort_digest) for one in models}
    if len(chains) > 1:
        raise ModelError("folds of different recipes or cohorts", where=folder.name, allowed="those of one experiment")
    return models


def _lesion(slices: str | None, box: str | None, box_pixels: str | None, t2w: Volume) -> Lesion:
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
        left, posterior, superior, side = _numbers(box, "--box", "left,posterior,superior,side")
        lesion = Lesion(Box((left, posterior, superior), side), first, last)
    else:
        lesion = Lesion(_box_from_pixels(box_pixels or "", (first + last) / 2, t2w), first, last)
    return lesion


def _box_from_pixels(text: str, middle: float, t2w: Volume) -> Box:
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


def _patient(answers: list[tuple[Prediction, ...]], recipe: Recipe) -> dict[str, Any]:
    raw = [patient_probability([one.probability for one in each], recipe.patient_score) for each in answers]
    fixed = [patient_probability([one.corrected_probability for one in each], recipe.patient_score) for each in answers]
    decisive = float(np.mean(fixed if recipe.threshold_on == "corrected" else raw))
    return {
        "probability": float(np.mean(raw)),
        "corrected_probability": float(np.mean(fixed)),
        "diagnosis": str(Diagnosis.MALIGNANT if decisive >= recipe.threshold else Diagnosis.BENIGN),
        "threshold": recipe.threshold,
        "threshold_on": recipe.threshold_on,
        "rule": recipe.patient_score,
        "by_model": [{"probability": p, "corrected_probability": q} for p, q in zip(raw, fixed, strict=True)],
    }


def _slices(stack: PatchStack, answers: list[tuple[Prediction, ...]]) -> list[dict[str, Any]]:
    return [
        {
            "slice": index,
            "probability": float(np.mean([each[position].probability for each in answers])),
            "corrected_probability": float(np.mean([each[position].corrected_probability for each in answers])),
        }
        for position, index in enumerate(stack.slices)
    ]


def _series(pair: SeriesPair) -> dict[str, Any]:
    refused = [{"series": one.label, "reason": one.reason} for one in pair.refused]
    return {"t1w": pair.t1w.label, "t2w": pair.t2w.label, "refused": refused}


def _model(classifiers: tuple[Classifier, ...]) -> dict[str, Any]:
    card = classifiers[0].card
    return {
        "digests": [classifier.digest for classifier in classifiers],
        "recipe": card.recipe.name,
        "recipe_digest": card.recipe.digest,
        "cohort_digest": card.cohort_digest,
        "optimistic": card.recipe.optimistic,
        "initialisation": card.initialisation.said,
        "prior_inflation": card.recipe.inflation,
    }

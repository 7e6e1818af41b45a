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
from spinefx.errors import BoxError, MissingPackage, ModelError
from spinefx.files import write_bytes
from spinefx.imaging.registration import align
from spinefx.imaging.selection import SeriesPair, choose_pair
from spinefx.imaging.study import open_study
from spinefx.imaging.volume import Slices
from spinefx.learning.card import MODEL_FILE
from spinefx.learning.graph import Scorer, has_graph
from spinefx.learning.model import TrainedModel
from spinefx.learning.recipe import Recipe
from spinefx.verbs.patching import alignment_record
from spinefx.vocabulary import Diagnosis

__all__ = ["ENGINES", "NOTE", "answer_study", "load_models", "model_folders", "predict"]

ENGINES = ("onnxruntime", "torch")

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
    t1w_series, t2w_series : str, optional
        Series UIDs to use whatever the program would choose.
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
        t1w_series=t1w_series,
        t2w_series=t2w_series,
        sheet=sheet,
    )


def answer_study(
    models: tuple[TrainedModel, ...],
    study: Path,
    place: Callable[[Slices], Lesion],
    *,
    t1w_series: str | None = None,
    t2w_series: str | None = None,
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
    recipe = models[0].card.recipe
    settings = recipe.patch_settings
    pair = choose_pair(open_study(study), t1w_uid=t1w_series, t2w_uid=t2w_series)
    t1w, t2w = pair.t1w.slices(), pair.t2w.slices()
    lesion = place(t2w)
    lesion.check_inside(t2w)
    alignment = align(
        t2w,
        t1w,
        centre_mm=lesion.box.centre_mm,
        side_mm=lesion.box.side_mm,
        method=settings.registration,
        lesion_slices=(lesion.first_slice, lesion.last_slice),
    )
    stack = cut_patches(lesion, t1w, t2w, alignment, case_id="case", participant_id="case", settings=settings)
    answers = [one.predict(stack) for one in models]
    if sheet is not None:
        from spinefx.cases.sheet import contact_sheet  # deferred: most answers draw nothing

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
        "model": _model(models),
    }


def load_models(folder: Path, *, engine: str | None = None, one_study: bool = False) -> tuple[TrainedModel, ...]:
    """Load a model, or all folds of an experiment.

    Parameters
    ----------
    folder : Path
        With ``model.json``, or with ``fold-*`` folders, or an experiment's folder.
    engine : {'onnxruntime', 'torch'}, optional
        What computes; by default ONNX Runtime, or torch where a model has no graph and torch is installed.
    one_study : bool
        Start sooner and compute slower, see :meth:`Scorer.load`.

    Returns
    -------
    tuple of TrainedModel

    Raises
    ------
    ModelError
        When there is none, it has no graph, or the folds are of different recipes or cohorts.
    MissingPackage
        When torch is asked for and not installed.
    """
    if engine not in (None, *ENGINES):
        raise ModelError(f"engine {engine!r}", allowed=", ".join(ENGINES))
    folders = model_folders(folder)
    models: tuple[TrainedModel, ...]
    if engine != "torch" and all(has_graph(one) for one in folders):
        models = tuple(Scorer.load(one, one_study=one_study) for one in folders)
    else:
        models = _load_with_torch(folders, engine)
    chains = {(one.card.recipe.digest, one.card.cohort_digest) for one in models}
    if len(chains) > 1:
        raise ModelError("folds of different recipes or cohorts", where=folder.name, allowed="those of one experiment")
    return models


def _load_with_torch(folders: tuple[Path, ...], engine: str | None) -> tuple[TrainedModel, ...]:
    no_graph = ModelError(
        "a model without a graph (graph.json is missing)",
        where=next((one.name for one in folders if not has_graph(one)), ""),
        remedy="Run `spinefx export MODEL` where torch is installed.",
    )
    if engine == "onnxruntime":
        raise no_graph
    try:
        # Deferred, for torch takes a second to start and need not be there.
        from spinefx.learning.classifier import Classifier
    except ModuleNotFoundError as error:
        raise (MissingPackage.for_training("torch") if engine == "torch" else no_graph) from error
    return tuple(Classifier.load(one) for one in folders)


def model_folders(folder: Path) -> tuple[Path, ...]:
    """List the models of a folder: itself, or an experiment's folds.

    Parameters
    ----------
    folder : Path
        With ``model.json``, or with ``fold-*`` folders, or an experiment's folder.

    Returns
    -------
    tuple of Path

    Raises
    ------
    ModelError
        When there is none.
    """
    if (folder / MODEL_FILE).is_file():
        return (folder,)
    inside = folder / "models" if (folder / "models").is_dir() else folder
    folds = tuple(sorted(path.parent for path in inside.glob(f"fold-*/{MODEL_FILE}")))
    if not folds:
        raise ModelError(
            "no model (model.json is missing)",
            where=folder.name,
            allowed="a folder with model.json and its graph or weights, or an experiment's folder",
        )
    return folds


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
        left, posterior, superior, side = _numbers(box, "--box", "left,posterior,superior,side")
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


def _model(models: tuple[TrainedModel, ...]) -> dict[str, Any]:
    card = models[0].card
    return {
        "digests": [one.digest for one in models],
        "engine": models[0].engine,
        "recipe": card.recipe.name,
        "recipe_digest": card.recipe.digest,
        "cohort_digest": card.cohort_digest,
        "optimistic": card.recipe.optimistic,
        "initialisation": card.initialisation.said,
        "prior_inflation": card.recipe.inflation,
    }

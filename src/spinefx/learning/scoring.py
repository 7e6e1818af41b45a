"""Score one marked vertebra with trained models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx import __version__
from spinefx.cases.alignment import AlignedSeries, align_series, alignment_record
from spinefx.cases.cutting import cut_patches
from spinefx.cases.lesion import FLIPPED, Lesion
from spinefx.cases.patch import PatchSettings, PatchStack
from spinefx.cases.reading import Prediction, patient_probability
from spinefx.errors import InputError, MissingPackage, ModelError, RegistrationError
from spinefx.imaging.volume import Slices
from spinefx.learning.box_check import BoxPlace
from spinefx.learning.card import MODEL_FILE
from spinefx.learning.flipped_boxes import fits_flipped
from spinefx.learning.guards import Guards
from spinefx.learning.measures import voxel_measures
from spinefx.learning.model import TrainedModel
from spinefx.learning.networks import Network
from spinefx.learning.onnx_model import Scorer, has_graph
from spinefx.learning.recipe import Recipe
from spinefx.learning.training_slices import UNKNOWN, Familiarity, familiarity, familiarity_flag, slice_digests
from spinefx.vocabulary import MARKED, RESEARCH_USE_ONLY, Diagnosis, Weighting

__all__ = ["ENGINES", "NOTE", "Admitted", "Scored", "admit", "load_models", "model_folders", "score"]

ENGINES = ("onnxruntime", "torch")

NOTE = f"{RESEARCH_USE_ONLY} A probability on images unlike the training cohort's means nothing."


@dataclass(frozen=True, eq=False)
class Scored:
    """A lesion with every model's predictions.

    Parameters
    ----------
    models : tuple of TrainedModel
    lesion : Lesion
    series : tuple of AlignedSeries
        What the patches were cut from.
    stack : PatchStack
    answers : tuple of tuple of Prediction
        By model, then by slice.
    guards : Guards
        What the input was compared with.
    measures : mapping of str to float
        What was compared.
    cautions : tuple of str
        What the user should check about the box.
    place : BoxPlace or None
        Where the box lies among the vertebrae that were found in the series; None where that is not known.
    shown : tuple of str
        Digests of the lesion slices, see :func:`spinefx.learning.training_slices.slice_digests`.
    """

    models: tuple[TrainedModel, ...]
    lesion: Lesion
    series: tuple[AlignedSeries, ...]
    stack: PatchStack
    answers: tuple[tuple[Prediction, ...], ...]
    guards: Guards = field(default_factory=Guards)
    measures: Mapping[str, float] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()
    place: BoxPlace | None = None
    shown: tuple[str, ...] = ()

    @property
    def flags(self) -> list[str]:
        """What the user should know: a training case, edges repeated, measures no training case had, a doubtful box."""
        trained = familiarity_flag(self._trained_on, self.shown)
        flags = [*self.stack.flags, *self.guards.flags(self.measures), *self.cautions]
        return [trained, *flags] if trained else flags

    @property
    def familiarity(self) -> Familiarity:
        """Whether this case trained the models."""
        return familiarity(self._trained_on, self.shown)

    @property
    def not_checked(self) -> list[str]:
        """The guards that could not be applied, with the reason."""
        unknown = [UNKNOWN] if self.familiarity is Familiarity.UNKNOWN else []
        return [*self.guards.unavailable(self.measures, self.place), *unknown]

    @property
    def _trained_on(self) -> list[frozenset[str] | None]:
        return [one.card.trained_on for one in self.models]

    @property
    def recipe(self) -> Recipe:
        """The models' common recipe."""
        return self.models[0].card.recipe

    def to_json(self) -> dict[str, Any]:
        """Return the answer as plain values.

        Returns
        -------
        dict
            Ready for JSON; no identifier of the patient in it.
        """
        lesion = self.lesion
        registered = {one.weighting.key: alignment_record(one) for one in self.series if one.alignment is not None}
        answer = {
            "spinefx": __version__,
            "note": NOTE,
            "patient": _patient(self.answers, self.recipe),
            "slices": _slices(self.stack, self.answers),
            "lesion": asdict(lesion.box) | {"first_slice": lesion.first_slice, "last_slice": lesion.last_slice},
            "flags": self.flags,
            "quality": self.guards.quality(self.measures),
            "not_checked": self.not_checked,
            "training_case": str(self.familiarity),
            "registration": next(iter(registered.values()), None),
            "model": _model(self.models),
        }
        return answer if len(registered) < 2 else answer | {"registrations": registered}


def score(
    models: tuple[TrainedModel, ...],
    lesion: Lesion,
    series: Mapping[Weighting, Slices],
    *,
    aligned: Callable[[], Sequence[AlignedSeries]] | None = None,
    measures: Mapping[str, float] | None = None,
    guards: Guards | None = None,
    find_place: Callable[[], BoxPlace | None] = lambda: None,
) -> Scored:
    """Align, cut and score one lesion, or refuse it where the models' training cases looked different.

    Parameters
    ----------
    models : tuple of TrainedModel
        Of one recipe.
    lesion : Lesion
        Marked on the T2W series.
    series : mapping of Weighting to Slices
        At least those that the recipe names.
    aligned : callable, optional
        Returns the series as they were aligned for this lesion's box already; by default they are aligned as
        :func:`spinefx.cases.alignment.align_series` does it.
    measures : mapping of str to float, optional
        What the headers state, see :func:`spinefx.learning.measures.image_measures`; voxel sizes are measured here.
    guards : Guards, optional
        What the input is compared with; by default what the models' card records.
    find_place : callable, optional
        Returns where the box lies among the vertebrae of its series, or None where that is not known. It is asked where
        the guards doubt that the box lies on a vertebra. By default the
        rule that was learned from the training cases decides whether the box lies on a vertebra; see
        :func:`spinefx.second_opinion.scoring.score`, which asks the localiser.

    Returns
    -------
    Scored

    Raises
    ------
    BoxError, RegistrationError, PatchError, ModelError
    UnlikeTrainingError
        Where the images or the content of the box are far from every training case.
    MissedVertebraError
        Where the box lies on none of the vertebrae that were found, or does not seem to hold one at its centre.
    """
    settings = models[0].card.settings
    guards = guards or models[0].card.guards or Guards()
    let_in = admit(settings, guards, lesion, series, aligned=aligned, measures=measures, find_place=find_place)
    answers = tuple(one.predictions(let_in.stack, let_in.patches) for one in models)
    found = let_in.measures, let_in.cautions, let_in.place, let_in.shown
    return Scored(models, lesion, let_in.series, let_in.stack, answers, guards, *found)


@dataclass(frozen=True, eq=False)
class Admitted:
    """A lesion that a model's guards have let in.

    Parameters
    ----------
    series : tuple of AlignedSeries
    stack : PatchStack
    patches : ndarray of float32, shape (slice, channel, size, size)
    measures : mapping of str to float
        What was compared with the training cases.
    cautions : tuple of str
        What the user should check about the box.
    place : BoxPlace or None
        Where the box lies among the vertebrae of its series; None where that is not known, or was not asked.
    shown : tuple of str
        Digests of the lesion slices, see :func:`spinefx.learning.training_slices.slice_digests`.
    """

    series: tuple[AlignedSeries, ...]
    stack: PatchStack
    patches: NDArray[np.float32]
    measures: Mapping[str, float]
    cautions: tuple[str, ...]
    place: BoxPlace | None
    shown: tuple[str, ...]


def admit(
    settings: PatchSettings,
    guards: Guards,
    lesion: Lesion,
    series: Mapping[Weighting, Slices],
    *,
    aligned: Callable[[], Sequence[AlignedSeries]] | None = None,
    measures: Mapping[str, float] | None = None,
    find_place: Callable[[], BoxPlace | None] = lambda: None,
) -> Admitted:
    """Align and cut one lesion, or refuse it: every kind of model asks the same guards here.

    Parameters
    ----------
    settings : PatchSettings
        How the model's patches are cut.
    guards : Guards
    lesion, series, aligned, measures, find_place
        As for :func:`score`.

    Returns
    -------
    Admitted

    Raises
    ------
    BoxError, RegistrationError, PatchError
    UnlikeTrainingError, MissedVertebraError
        As :func:`score` raises them.
    """
    needed = {sequence: series[sequence] for sequence in settings.sequences if sequence in series}
    measured = voxel_measures(needed) | dict(measures or {})
    guards.refuse(measured)
    try:
        lesion.check_inside(series[MARKED])
        placed = aligned() if aligned else align_series(lesion, needed, method=settings.registration)
        stack = cut_patches(lesion, placed, case_id="case", participant_id="case", settings=settings)
        patches = np.stack([stack.cut(position).array for position in range(len(stack.slices))])
        measured |= guards.measure(stack)
        box_place = find_place() if guards.doubts(measured) else None
        guards.refuse(measured, box_place)
    except (InputError, RegistrationError) as error:
        if not fits_flipped(lesion, series[MARKED], settings, guards):
            raise
        remedy = f"{error.remedy} {FLIPPED}".strip()
        raise type(error)(error.found, where=error.where, allowed=error.allowed, remedy=remedy) from error
    cautions = [FLIPPED] if fits_flipped(lesion, series[MARKED], settings, guards) else []
    cautions += [] if box_place is None or not guards.misses(measured) else [box_place.sentence]
    shown = slice_digests(series[MARKED], lesion)
    return Admitted(tuple(placed), stack, patches, measured, tuple(cautions), box_place, shown)


def load_models(
    folder: Path, *, engine: str | None = None, one_study: bool = False, network: Network | None = None
) -> tuple[TrainedModel, ...]:
    """Load a model, or all folds of an experiment.

    Parameters
    ----------
    folder : Path
        With ``model.json``, or with ``fold-*`` folders, or an experiment's folder.
    engine : {'onnxruntime', 'torch'}, optional
        What computes; by default ONNX Runtime, or torch where a model has no graph and torch is installed.
    one_study : bool
        Start sooner and compute slower, see :meth:`Scorer.load`.
    network : Network, optional
        The network that the models' recipe names, where it is not one of this package and torch computes. ONNX Runtime
        needs nothing but the graph.

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
        models = _load_with_torch(folders, engine, network)
    chains = {(one.card.recipe.digest, one.card.cohort_digest) for one in models}
    if len(chains) > 1:
        raise ModelError("folds of different recipes or cohorts", where=folder.name, allowed="those of one experiment")
    return models


def _load_with_torch(
    folders: tuple[Path, ...], engine: str | None, network: Network | None
) -> tuple[TrainedModel, ...]:
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
    return tuple(Classifier.load(one, network) for one in folders)


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


def _patient(answers: Sequence[tuple[Prediction, ...]], recipe: Recipe) -> dict[str, Any]:
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


def _slices(stack: PatchStack, answers: Sequence[tuple[Prediction, ...]]) -> list[dict[str, Any]]:
    return [
        {
            "slice": index,
            "probability": float(np.mean([each[position].probability for each in answers])),
            "corrected_probability": float(np.mean([each[position].corrected_probability for each in answers])),
        }
        for position, index in enumerate(stack.slices)
    ]


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

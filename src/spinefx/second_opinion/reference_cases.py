"""Reference cases: the cases of a workspace, each with the prediction of a model that was not trained on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.cohort import Case
from spinefx.cases.reading import Prediction, patient_readings
from spinefx.errors import SpinefxError
from spinefx.imaging.selection import choose_series
from spinefx.imaging.study import open_study
from spinefx.learning.box_check import BoxViews
from spinefx.learning.guards import Guards
from spinefx.learning.measures import image_measures, patch_measures
from spinefx.learning.recipe import Recipe
from spinefx.second_opinion.recalibration import Recalibration
from spinefx.statistics.accuracy import Confusion
from spinefx.vocabulary import MARKED, VOXEL_DIGEST, Diagnosis, TruthSource
from spinefx.workspace.experiment import Experiment
from spinefx.workspace.layout import Workspace, read_json
from spinefx.workspace.records import read_cohort, sidecar_path
from spinefx.workspace.stacks import load_stack, source_digest, stack_is_current

__all__ = [
    "FEWEST_EACH",
    "LocalEvidence",
    "ProvenCase",
    "likeness",
    "newest_experiment",
    "read_evidence",
    "voxel_owners",
]

# Fewer cases of a class are too few for calibration.
FEWEST_EACH = 5


@dataclass(frozen=True, eq=False)
class ProvenCase:
    """A case of the workspace with an established diagnosis.

    Parameters
    ----------
    case_id, participant_id : str
    diagnosis : Diagnosis
    truth_source : TruthSource
    probability : float
        Prior-corrected probability of malignancy, by the model that was not trained on the case.
    answer : Diagnosis
        Diagnosis of the model at the threshold of the recipe.
    measures : mapping of str to float
        Measures of images, box and patch, see :mod:`spinefx.learning.measures`; may be empty.
    patch : ndarray of float32, shape (channel, size, size), or None
        Patch of the middle lesion slice; None where patches are missing or not current.
    """

    case_id: str
    participant_id: str
    diagnosis: Diagnosis
    truth_source: TruthSource
    probability: float
    answer: Diagnosis
    measures: Mapping[str, float] = field(default_factory=dict)
    patch: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class LocalEvidence:
    """The reference cases of a workspace, with the out-of-fold predictions of one experiment.

    Parameters
    ----------
    experiment : str
    cases : tuple of ProvenCase
    folds : mapping of str to int
        Test fold of each participant: the model of that fold was not trained on them.
    stale : bool
        Whether the cohort has changed since training.
    views : tuple of BoxViews
        Of the cases with current patches.
    """

    experiment: str
    cases: tuple[ProvenCase, ...]
    folds: Mapping[str, int]
    stale: bool
    views: tuple[BoxViews, ...] = ()

    def without(self, participant_id: str) -> LocalEvidence:
        """Return the evidence without a participant, who must not be their own reference.

        Parameters
        ----------
        participant_id : str

        Returns
        -------
        LocalEvidence
        """
        cases = tuple(case for case in self.cases if case.participant_id != participant_id)
        return replace(
            self, cases=cases, views=tuple(one for one in self.views if one.participant_id != participant_id)
        )

    @cached_property
    def guards(self) -> Guards:
        """What these cases look like."""
        return Guards.of([case.measures for case in self.cases], self.views)

    def probabilities(self, diagnosis: Diagnosis) -> list[float]:
        """Return the out-of-fold probabilities of one class.

        Parameters
        ----------
        diagnosis : Diagnosis

        Returns
        -------
        list of float
        """
        return [case.probability for case in self.cases if case.diagnosis == diagnosis]

    @property
    def confusion(self) -> Confusion:
        """Out-of-fold diagnoses at the threshold of the recipe, against the truth."""
        answers = {case.case_id: case.answer for case in self.cases}
        return Confusion.of(answers, {case.case_id: case.diagnosis for case in self.cases})

    @cached_property
    def recalibration(self) -> Recalibration | None:
        """Recalibration on these cases; None where a class has fewer than :data:`FEWEST_EACH`."""
        malignant = np.array([case.diagnosis == Diagnosis.MALIGNANT for case in self.cases], bool)
        count = int(malignant.sum())
        if min(count, malignant.size - count) < FEWEST_EACH:
            return None
        return Recalibration.of([case.probability for case in self.cases], malignant)

    def nearest(self, patch: NDArray[np.float32], diagnosis: Diagnosis, most: int) -> list[tuple[ProvenCase, float]]:
        """Find the reference cases of a class that are most similar to a patch.

        Parameters
        ----------
        patch : ndarray of float32, shape (channel, size, size)
        diagnosis : Diagnosis
        most : int

        Returns
        -------
        list of (ProvenCase, float)
            With their similarity, see :func:`likeness`; the most similar first.
        """
        found = [
            (case, likeness(case.patch, patch))
            for case in self.cases
            if case.patch is not None and case.diagnosis == diagnosis
        ]
        return sorted(found, key=lambda one: -one[1])[:most]


def likeness(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the similarity of two patches: the correlation of grey values, averaged over the channels.

    Parameters
    ----------
    one, other : ndarray of float32, shape (channel, size, size)
        Each channel of mean 0 and standard deviation 1.

    Returns
    -------
    float
        1 for identical patches, about 0 for unrelated ones.
    """
    return min(1.0, float(np.mean(one.astype(np.float64) * other))) if one.shape == other.shape else 0.0


def newest_experiment(workspace: Workspace) -> Experiment | None:
    """Find the newest finished experiment.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    Experiment or None
    """
    finished = [
        one
        for one in (Experiment(workspace.experiment_folder(name)) for name in workspace.experiment_names())
        if one.is_finished() and not one.reads_signs  # it is asked beside the box model, not instead
    ]
    return max(finished, key=lambda one: one.recipe_path.stat().st_mtime, default=None)


def read_evidence(
    workspace: Workspace, folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> LocalEvidence | None:
    """Read the out-of-fold predictions of an experiment for the cases of the workspace.

    Parameters
    ----------
    workspace : Workspace
    folder : Path
        Experiment folder; a single model folder has no out-of-fold predictions.
    progress : callable, optional
        Called with the number of cases done and the total.

    Returns
    -------
    LocalEvidence or None
        None for a single model folder, for an experiment on another workspace, whose participants have the same
        pseudonyms, and where no case was answered.

    Raises
    ------
    SpinefxError
        When a table is damaged.
    """
    experiment = Experiment(folder)
    if not experiment.is_finished():
        return None
    recipe, cohort = Recipe.load(experiment.recipe_path), read_cohort(workspace)
    stale = experiment.read_environment().get("cohort_digest") != cohort.digest
    if stale and folder.resolve().parent != (workspace.root / "experiments").resolve():
        return None
    predictions = _first_repeat(experiment, {case.case_id for case in cohort})
    answers = _readings(predictions, recipe, corrected=recipe.threshold_on == "corrected")
    corrected = _readings(predictions, recipe, corrected=True)
    cases, seen = [], []
    for done, case in enumerate(cohort, 1):
        if case.case_id in answers:
            measures, patch, views = _measured(workspace, case, recipe)
            seen += [] if views is None else [views]
            cases.append(
                ProvenCase(
                    case_id=case.case_id,
                    participant_id=case.participant_id,
                    diagnosis=case.diagnosis,
                    truth_source=case.truth_source,
                    probability=corrected[case.case_id][1],
                    answer=answers[case.case_id][0],
                    measures=measures,
                    patch=patch,
                )
            )
        if progress:
            progress(done, len(cohort))
    if not cases:
        return None
    return LocalEvidence(experiment.name, tuple(cases), experiment.read_test_folds(), stale, tuple(seen))


def voxel_owners(workspace: Workspace) -> dict[str, str]:
    """Return the participant of each image of the workspace, by its voxels.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    dict of str to str
        Participant by voxel digest, as recorded in the sidecars.
    """
    owners = {}
    for folder in workspace.participant_folders():
        for weighting in workspace.sequences:
            path = sidecar_path(workspace, folder.name, weighting)
            noted = read_json(path).get(VOXEL_DIGEST) if path.is_file() else None
            if isinstance(noted, str):
                owners[noted] = folder.name
    return owners


def _first_repeat(experiment: Experiment, known: set[str]) -> list[Prediction]:
    # An experiment folder answers with the models of its first repeat.
    return [one for repeat, one in experiment.read_predictions() if repeat == 1 and one.case_id in known]


def _readings(
    predictions: Sequence[Prediction], recipe: Recipe, *, corrected: bool
) -> dict[str, tuple[Diagnosis, float]]:
    readings = patient_readings(
        predictions, reader_id="model", rule=recipe.patient_score, threshold=recipe.threshold, corrected=corrected
    )
    return {one.case_id: (one.diagnosis, (one.confidence or 0.0) / 100) for one in readings}


def _measured(
    workspace: Workspace, case: Case, recipe: Recipe
) -> tuple[dict[str, float], NDArray[np.float32] | None, BoxViews | None]:
    """Return measures, middle patch and views of a case; what is missing is left out, as predictions do not need it."""
    settings = recipe.patch_settings
    folder = workspace.patches_folder(settings)
    try:
        study = open_study(workspace.image(case.participant_id, MARKED).parent)
        measures = image_measures(choose_series(study, settings.sequences))
        if not stack_is_current(folder, case.participant_id, case.case_id, source_digest(case, settings)):
            return measures, None, None
        stack = load_stack(folder, case.participant_id, case.case_id)
        patch = stack.cut(len(stack.slices) // 2).array
    except (SpinefxError, OSError):
        return {}, None, None
    return measures | patch_measures(stack, patch), patch, BoxViews.of(stack)

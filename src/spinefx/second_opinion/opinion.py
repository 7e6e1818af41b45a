"""The second opinion on one marked vertebra: a calibrated probability with local reference cases, or a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import LeakError, ModelError, WorkspaceError
from spinefx.imaging.volume import Volume
from spinefx.learning.guards import LIKENESS, Guards, TrainingRange
from spinefx.learning.model import TrainedModel
from spinefx.learning.networks import note_on
from spinefx.learning.scoring import Scored, load_models
from spinefx.second_opinion.reference_cases import (
    FEWEST_EACH,
    LocalEvidence,
    ProvenCase,
    newest_experiment,
    read_evidence,
    voxel_owners,
)
from spinefx.signs.model import is_sign_model
from spinefx.statistics.estimate import Estimate
from spinefx.vocabulary import Diagnosis, TruthSource
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort

__all__ = ["Opinion", "Panel", "load_panel", "second_opinion"]

BINS = 10
NEAREST = 3
# A patch this similar to that of a case is assumed to be that case.
SAME_PATCH = 0.98


@dataclass(frozen=True, eq=False)
class Panel:
    """The models that answer, with the evidence of the workspace on their answers.

    Parameters
    ----------
    models : tuple of TrainedModel
    evidence : LocalEvidence or None
        None where the out-of-fold predictions of the model are not available.
    cohort_digest : str
        Digest of the present cohort of the workspace; empty where there is none.
    phantom : bool
        Whether the cohort consists of phantoms.
    owners : mapping of str to str
        Participant of each image of the workspace, by voxel digest.
    """

    models: tuple[TrainedModel, ...]
    evidence: LocalEvidence | None
    cohort_digest: str
    phantom: bool
    owners: Mapping[str, str] = field(default_factory=dict)

    def recognise(self, *volumes: Volume) -> str | None:
        """Return whose images these are, so that no model judges a copy of a case it was trained on.

        Parameters
        ----------
        *volumes : Volume

        Returns
        -------
        str or None
            The participant of the workspace who has an image with the same voxels, if there is one.
        """
        return next((self.owners[one.voxel_digest] for one in volumes if one.voxel_digest in self.owners), None)

    def who_answers(self, participant_id: str | None) -> tuple[tuple[TrainedModel, ...], str]:
        """Choose the models that were not trained on a participant.

        Parameters
        ----------
        participant_id : str or None
            None for a study from outside the cohort.

        Returns
        -------
        models : tuple of TrainedModel
        said : str
            Which models they are and why, in one sentence.

        Raises
        ------
        LeakError
            When every available model may have been trained on the participant.
        """
        count = len(self.models)
        everyone = "Answered by one model." if count == 1 else f"Answered by the mean of {count} models."
        if participant_id is None:
            return self.models, everyone
        if self.evidence is not None and participant_id in self.evidence.folds:
            fold = self.evidence.folds[participant_id]
            chosen = tuple(one for one in self.models if one.card.fold == fold)
            if not chosen:
                raise _seen()
            return chosen, f"Answered by the fold-{fold} model, which was not trained on this case."
        if self.evidence is None and any(one.card.cohort_digest == self.cohort_digest for one in self.models):
            raise _seen()
        if self.evidence is None:
            return (
                self.models,
                f"{everyone} Trained on another cohort, which may include this patient.",
            )
        return self.models, f"{everyone} This case is not among the training cases."

    def guards(self, participant_id: str | None) -> Guards:
        """Return what input is compared with.

        Parameters
        ----------
        participant_id : str or None
            None for a study from outside the cohort.

        Returns
        -------
        Guards
            What the models' card records, or what the cases of the workspace look like where it records nothing. A
            participant is compared with the other participants.
        """
        evidence = self.evidence
        if evidence is not None and participant_id is not None and participant_id in evidence.folds:
            return evidence.without(participant_id).guards
        return self.models[0].card.guards or (Guards() if evidence is None else evidence.guards)

    def quality(self, scored: Scored, likeness: float | None) -> list[dict[str, Any]]:
        """Compare the input with the training cases, and with the nearest case of the workspace.

        Parameters
        ----------
        scored : Scored
        likeness : float or None
            To the nearest case of the workspace.

        Returns
        -------
        list of dict
            See :meth:`spinefx.learning.guards.Guards.quality`.
        """
        lines = scored.guards.quality(scored.measures)
        if likeness is None or self.evidence is None:
            return lines
        known = [case.measures[LIKENESS] for case in self.evidence.cases if LIKENESS in case.measures]
        ranges = {LIKENESS: TrainingRange.of(known)} if len(known) >= FEWEST_EACH else {}
        return lines + Guards(ranges).quality({LIKENESS: likeness})


@dataclass(frozen=True, eq=False)
class Opinion:
    """A second opinion.

    Parameters
    ----------
    scored : Scored
    content : dict
        Ready for JSON; holds no identifier of the patient.
    nearest : tuple of ProvenCase
        In the order of ``content["nearest"]``.
    """

    scored: Scored
    content: dict[str, Any]
    nearest: tuple[ProvenCase, ...]


def load_panel(workspace: Workspace, model: Path | None) -> Panel:
    """Load the models of a server once, with the evidence of the workspace.

    Parameters
    ----------
    workspace : Workspace
    model : Path or None
        Model folder or experiment folder; None takes the newest experiment of the workspace.

    Returns
    -------
    Panel

    Raises
    ------
    ModelError
        When a model cannot be loaded.
    WorkspaceError
        When no model is given and the workspace has no finished experiment.
    """
    if model is None:
        newest = newest_experiment(workspace)
        if newest is None:
            raise WorkspaceError(
                "There is no model yet", remedy="Run `spinefx train`, or start `spinefx serve` with --model."
            )
        model = newest.folder
    if is_sign_model(model):
        raise ModelError(
            "a signs model where a box model is needed",
            where=model.name,
            remedy="Leave out --model, or name an experiment: the Decide page reads the signs beside any box model.",
        )
    models = load_models(model)
    has_cohort = workspace.participants_table.is_file()
    cohort = read_cohort(workspace) if has_cohort else None
    phantom = cohort is not None and any(case.truth_source == TruthSource.PHANTOM for case in cohort)
    evidence = read_evidence(workspace, model) if has_cohort else None
    return Panel(models, _with_likeness(evidence), cohort.digest if cohort else "", phantom, voxel_owners(workspace))


def second_opinion(panel: Panel, scored: Scored, *, said: str, participant_id: str | None) -> Opinion:
    """Return the second opinion on a scored vertebra, with the reference cases of the workspace.

    Parameters
    ----------
    panel : Panel
    scored : Scored
        Scored by the models of :meth:`Panel.who_answers`.
    said : str
        Sentence on which models answered.
    participant_id : str or None
        The participant, if it is one; their own cases are left out of everything.

    Returns
    -------
    Opinion
    """
    evidence = panel.evidence
    if evidence is not None and participant_id is not None:
        evidence = evidence.without(participant_id)
    position = len(scored.stack.slices) // 2
    patch = scored.stack.cut(position).array
    found = [] if evidence is None else [one for d in Diagnosis for one in evidence.nearest(patch, d, NEAREST)]
    best = max((alike for _, alike in found), default=None)
    answer = scored.to_json()
    place = answer["patient"]["corrected_probability"]
    content = answer | {
        "answered_by": said,
        "phantom": panel.phantom,
        "probability": _calibrated(evidence, place),
        "spread": _spread(answer["patient"]["by_model"]),
        "threshold": _threshold(answer["patient"], evidence),
        "histogram": None if evidence is None else _histogram(evidence, place),
        "nearest": [_proven(case, alike) for case, alike in found],
        "nearest_by": "Chosen by similarity: correlation of grey values, averaged over the channels of the patch.",
        "quality": panel.quality(scored, best),
        "cautions": _cautions(panel, scored, best, participant_id),
        "stamps": _stamps(panel.models),
    }
    return Opinion(scored, content, tuple(case for case, _ in found))


def _seen() -> LeakError:
    return LeakError(
        "Every available model may have been trained on this participant",
        remedy="Serve the folder of the whole experiment, so that the model of the right fold can answer.",
    )


def _with_likeness(evidence: LocalEvidence | None) -> LocalEvidence | None:
    """Add to each case its similarity to its nearest neighbour, with which that of a new patch is compared."""
    if evidence is None:
        return None
    shown = [case for case in evidence.cases if case.patch is not None]
    if len({case.patch.shape for case in shown if case.patch is not None}) != 1:
        return evidence
    rows = np.stack([case.patch.ravel() for case in shown if case.patch is not None])
    owners = np.array([case.participant_id for case in shown])
    alike: NDArray[np.float64] = (rows @ rows.T / rows.shape[1]).astype(np.float64)
    alike[owners[:, None] == owners] = -1
    best = dict(zip((case.case_id for case in shown), alike.max(axis=1), strict=True))
    cases = tuple(
        replace(case, measures={**case.measures, LIKENESS: float(best[case.case_id])})
        if best.get(case.case_id, -1) > -1
        else case
        for case in evidence.cases
    )
    return replace(evidence, cases=cases)


def _calibrated(evidence: LocalEvidence | None, place: float) -> dict[str, Any] | None:
    """Return the calibrated probability with its interval, and what both mean in words."""
    found = None if evidence is None else evidence.recalibration
    if found is None:
        return None
    share = found.malignant / found.n
    slope = found.slope
    doubt = (
        " The interval of its slope includes 0: the model may be uninformative on these cases."
        if slope.low <= 0
        else ""
    )
    return _numbers(found.at(place)) | {
        "slope": str(slope),
        "said": (
            f"Logistic recalibration of the model's probability on {found.n} cases of this cohort, each answered by a "
            f"model that was not trained on it ({found.malignant} malignant, {100 * share:.0f}%). The interval is the "
            f"95% confidence interval of the fitted curve at this answer. It does not account for what sets this "
            f"patient apart, and applies where malignancy is as common as here.{doubt}"
        ),
    }


def _spread(by_model: list[dict[str, float]]) -> dict[str, Any] | None:
    values = [one["corrected_probability"] for one in by_model]
    if len(values) < 2:
        return None
    return {"low": min(values), "high": max(values), "models": len(values)}


def _threshold(patient: Mapping[str, Any], evidence: LocalEvidence | None) -> dict[str, Any]:
    kept = {"value": patient["threshold"], "on": patient["threshold_on"], "diagnosis": patient["diagnosis"]}
    if evidence is None or not evidence.cases:
        return kept | {"sensitivity": None, "specificity": None}
    counts = evidence.confusion
    return kept | {"sensitivity": str(counts.sensitivity), "specificity": str(counts.specificity)}


def _histogram(evidence: LocalEvidence, place: float) -> dict[str, Any]:
    """Return counts of out-of-fold probabilities in ten bins, and how many lie below this one."""
    found: dict[str, Any] = {"bins": BINS, "place": place}
    for diagnosis in Diagnosis:
        values = evidence.probabilities(diagnosis)
        counts, _ = np.histogram(values, bins=BINS, range=(0, 1))
        below = sum(value < place for value in values)
        found[str(diagnosis)] = {"counts": counts.tolist(), "cases": len(values), "below": below}
    return found


def _proven(case: ProvenCase, alike: float) -> dict[str, Any]:
    return {
        "case": case.case_id,
        "diagnosis": str(case.diagnosis),
        "truth_source": str(case.truth_source),
        "probability": case.probability,
        "likeness": alike,
    }


def _cautions(panel: Panel, scored: Scored, best: float | None, participant_id: str | None) -> list[str]:
    said = []
    evidence = panel.evidence
    if evidence is None:
        said.append("The out-of-fold predictions of the model are not available: nothing is calibrated or compared.")
    elif evidence.stale:
        said.append("The workspace has changed since this model was trained.")
    if evidence is not None and len(scored.models) > 1:
        said.append("The mean of several models is slightly less extreme than the single models in the histograms.")
    if best is not None and best > SAME_PATCH and participant_id is None:
        said.append("A case of the cohort looks the same. If it is this patient, the models were trained on it.")
    return said


def _stamps(models: tuple[TrainedModel, ...]) -> list[str]:
    recipe = models[0].card.recipe
    stamps = [f"Optimistic: {recipe.optimistic}."] if recipe.optimistic else []
    note = note_on(recipe.network)
    if note:
        stamps.append(f"The model is {recipe.network}, {note}.")
    return stamps


def _numbers(estimate: Estimate) -> dict[str, Any]:
    value, low, high = (100 * number for number in (estimate.value, estimate.low, estimate.high))
    text = f"{value:.0f}% [{low:.0f}, {high:.0f}]"
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "text": text}

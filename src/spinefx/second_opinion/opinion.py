"""A second opinion on one marked vertebra: a calibrated probability among the local cases, or *cannot tell* by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import LeakError, MissedVertebraError, UnlikeTrainingError, WorkspaceError
from spinefx.imaging.volume import Volume
from spinefx.learning.model import TrainedModel
from spinefx.learning.networks import note_on
from spinefx.learning.scoring import Scored, load_models
from spinefx.second_opinion.box_check import FALSE_REFUSALS
from spinefx.second_opinion.reference_cases import (
    FEWEST_EACH,
    PLACEMENT,
    LocalEvidence,
    ProvenCase,
    newest_experiment,
    patch_measures,
    read_evidence,
    voxel_owners,
)
from spinefx.statistics.estimate import Estimate
from spinefx.vocabulary import Diagnosis, TruthSource
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort

__all__ = ["Opinion", "Panel", "load_panel", "second_opinion"]

BINS = 10
NEAREST = 3
# Share of the cohort's values that a range spans, and how far beyond all of them nothing is answered any more.
RANGE = (0.01, 0.99)
HARD_FACTOR = 2.0
# Below this share of the least likeness within the cohort, a box shows something else than its cases do.
LEAST_LIKENESS = 0.75
# Headers round; a value this close to a range lies in it.
ROUNDING = 1e-3
# A patch this alike to a case's is taken for that case, whoever brought it.
SAME_PATCH = 0.98
LIKENESS = "likeness to the nearest case"
# Measures that only too little is wrong with.
MORE_IS_BETTER = {LIKENESS, PLACEMENT}


@dataclass(frozen=True, eq=False)
class Panel:
    """The models that answer, and what the study folder knows of their answers.

    Parameters
    ----------
    models : tuple of TrainedModel
    evidence : LocalEvidence or None
        None where the model's out-of-fold answers are not at hand.
    cohort_digest : str
        Of the study folder as it stands; empty where it has no cohort.
    phantom : bool
        Whether the study folder's truth is a phantom's.
    owners : mapping of str to str
        Participant of each image of the study folder, by the digest of its voxels.
    """

    models: tuple[TrainedModel, ...]
    evidence: LocalEvidence | None
    cohort_digest: str
    phantom: bool
    owners: Mapping[str, str] = field(default_factory=dict)

    def recognise(self, *volumes: Volume) -> str | None:
        """Tell whose images these are: a copy must not be answered by a model that has seen it.

        Parameters
        ----------
        *volumes : Volume

        Returns
        -------
        str or None
            A participant of the study folder, where one of the volumes has the voxels of one of theirs.
        """
        return next((self.owners[one.voxel_digest] for one in volumes if one.voxel_digest in self.owners), None)

    def who_answers(self, participant_id: str | None) -> tuple[tuple[TrainedModel, ...], str]:
        """Choose the models that have not seen a participant.

        Parameters
        ----------
        participant_id : str or None
            None for a study from outside the cohort.

        Returns
        -------
        models : tuple of TrainedModel
        said : str
            Which they are and why, one sentence.

        Raises
        ------
        LeakError
            When every model at hand may have been trained on the participant.
        """
        count = len(self.models)
        everyone = "One model answers." if count == 1 else f"The mean of {count} models answers."
        if participant_id is None:
            return self.models, everyone
        if self.evidence is not None and participant_id in self.evidence.folds:
            fold = self.evidence.folds[participant_id]
            chosen = tuple(one for one in self.models if one.card.fold == fold)
            if not chosen:
                raise _seen()
            return chosen, f"A case of this cohort: the model of fold {fold} answers alone, which has not seen it."
        if self.evidence is None and any(one.card.cohort_digest == self.cohort_digest for one in self.models):
            raise _seen()
        if self.evidence is None:
            return (
                self.models,
                f"{everyone} Of another cohort: whether it holds this patient is not known here.",
            )
        return self.models, f"{everyone} Their list of training cases does not name this one."

    def refuse_far(self, measures: Mapping[str, float]) -> None:
        """Refuse an input that lies far outside all that the cohort holds.

        Parameters
        ----------
        measures : mapping of str to float

        Raises
        ------
        UnlikeTrainingError
            For a length or a time below half the least, or above twice the greatest, of the cohort; and for a box whose
            content is like no case.
        MissedVertebraError
            For a box that is more like the cohort's boxes moved off their vertebra than like those on it.
        """
        placement = None if self.evidence is None else self.evidence.placement
        for name, value in measures.items():
            values = self._known(name)
            if len(values) < FEWEST_EACH:
                continue
            if name == PLACEMENT and placement is not None and value < placement.limit:
                raise MissedVertebraError(
                    f"{name}: {value:.2f}, where 1 is a box on a vertebra and -1 one that misses",
                    allowed=f"{placement.limit:.2f} and more, as {100 * (1 - FALSE_REFUSALS):.0f}% of good boxes have",
                    remedy="Draw the box so that the vertebral body fills its middle, and ask again. If it does, the "
                    "images differ from the cohort's.",
                )
            if name == LIKENESS and value < LEAST_LIKENESS * min(values):
                raise UnlikeTrainingError(
                    f"{name}: {value:.2f}",
                    allowed=f"{LEAST_LIKENESS * min(values):.2f} and more",
                    remedy="Check that the box fits the vertebra, and that the series show what the cohort's show.",
                )
            low, high = min(values) / HARD_FACTOR, max(values) * HARD_FACTOR
            if name.endswith((", mm", ", ms")) and not low <= value <= high:
                raise UnlikeTrainingError(
                    f"{name}: {value:.3g}", allowed=f"{low:.3g} to {high:.3g}, as the cohort's cases allow"
                )

    def quality(self, measures: Mapping[str, float]) -> list[dict[str, Any]]:
        """Set measures against the cohort's.

        Parameters
        ----------
        measures : mapping of str to float

        Returns
        -------
        list of dict
            One a measure: what, value, the range (1st to 99th percentile), cases, and state: ``in range``, ``outside``,
            or ``unknown`` where too few cases are there to compare with.
        """
        lines = []
        for name, value in measures.items():
            values = self._known(name)
            line: dict[str, Any] = {"what": name, "value": round(value, 4), "cases": len(values), "state": "unknown"}
            if len(values) >= FEWEST_EACH:
                low, high = (float(limit) for limit in np.quantile(values, RANGE))
                slack = ROUNDING * max(abs(low), abs(high))
                inside = low - slack <= value and (value <= high + slack or name in MORE_IS_BETTER)
                line |= {"low": round(low, 4), "high": round(high, 4), "state": "in range" if inside else "outside"}
            lines.append(line)
        return lines

    def _known(self, name: str) -> list[float]:
        cases = () if self.evidence is None else self.evidence.cases
        return [case.measures[name] for case in cases if name in case.measures]


@dataclass(frozen=True, eq=False)
class Opinion:
    """An answer with all that belongs beside it.

    Parameters
    ----------
    scored : Scored
    content : dict
        Ready for JSON; no identifier of the patient in it.
    nearest : tuple of ProvenCase
        In the order of ``content["nearest"]``.
    """

    scored: Scored
    content: dict[str, Any]
    nearest: tuple[ProvenCase, ...]


def load_panel(workspace: Workspace, model: Path | None) -> Panel:
    """Load the models of a server once, with the evidence of the study folder.

    Parameters
    ----------
    workspace : Workspace
    model : Path or None
        A model folder or an experiment's; None takes the study folder's newest experiment.

    Returns
    -------
    Panel

    Raises
    ------
    ModelError
        When a model cannot be loaded.
    WorkspaceError
        When no model is given and the study folder has no finished experiment.
    """
    if model is None:
        newest = newest_experiment(workspace)
        if newest is None:
            raise WorkspaceError(
                "there is no model yet", remedy="Run `spinefx train`, or start `spinefx serve` with --model."
            )
        model = newest.folder
    models = load_models(model)
    has_cohort = workspace.participants_table.is_file()
    cohort = read_cohort(workspace) if has_cohort else None
    phantom = cohort is not None and any(case.truth_source == TruthSource.PHANTOM for case in cohort)
    evidence = read_evidence(workspace, model) if has_cohort else None
    return Panel(models, _with_likeness(evidence), cohort.digest if cohort else "", phantom, voxel_owners(workspace))


def second_opinion(
    panel: Panel, scored: Scored, *, said: str, participant_id: str | None, measures: Mapping[str, float]
) -> Opinion:
    """Set an answer among the proven cases of the study folder.

    Parameters
    ----------
    panel : Panel
    scored : Scored
        By the models of :meth:`Panel.who_answers`.
    said : str
        Which models answered.
    participant_id : str or None
        Who it is, if a participant: their own cases are left out of everything.
    measures : mapping of str to float
        Of the images, see :func:`spinefx.second_opinion.reference_cases.image_measures`.

    Returns
    -------
    Opinion

    Raises
    ------
    UnlikeTrainingError
        When images or box lie far outside what the cohort holds; no number is given then.
    MissedVertebraError
        When the box does not seem to hold a vertebra in its middle.
    """
    evidence = panel.evidence
    if evidence is not None and participant_id is not None:
        evidence = evidence.without(participant_id)
    position = len(scored.stack.slices) // 2
    patch = scored.stack.cut(position).array
    measures = dict(measures) | patch_measures(scored.stack, patch)
    if evidence is not None and evidence.placement is not None:
        measures[PLACEMENT] = evidence.placement.score(scored.stack, participant_id)
    found = [] if evidence is None else [one for d in Diagnosis for one in evidence.nearest(patch, d, NEAREST)]
    best = max((alike for _, alike in found), default=None)
    if best is not None:
        measures[LIKENESS] = best
    panel.refuse_far(measures)
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
        "nearest_by": "Chosen by likeness: correlation of grey values, averaged over the channels of the patch.",
        "quality": panel.quality(measures),
        "cautions": _cautions(panel, scored, best, participant_id),
        "stamps": _stamps(panel.models),
    }
    return Opinion(scored, content, tuple(case for case, _ in found))


def _seen() -> LeakError:
    return LeakError(
        "every model at hand may have been trained on this participant",
        remedy="Serve the whole experiment's folder, so that the fold that has not seen it can answer.",
    )


def _with_likeness(evidence: LocalEvidence | None) -> LocalEvidence | None:
    """Add to each case how like its nearest neighbour it is: what an answer's own nearest case is held against."""
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
    """The calibrated probability with its interval, and in words what both are."""
    found = None if evidence is None else evidence.recalibration
    if found is None:
        return None
    share = found.malignant / found.n
    slope = found.slope
    doubt = (
        " Its slope's interval reaches 0: among these cases the model's answers may tell nothing."
        if slope.low <= 0
        else ""
    )
    return _numbers(found.at(place)) | {
        "slope": str(slope),
        "said": (
            f"Logistic recalibration of the model's probability on {found.n} cases of this cohort, each answered by a "
            f"model that had not seen it ({found.malignant} malignant, {100 * share:.0f}%). The interval is the 95% "
            f"confidence interval of that curve at this answer: it holds nothing of what sets this patient apart, and "
            f"holds where malignancy is as common as here.{doubt}"
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
    """Counts of out-of-fold probabilities in ten bins, and on which side of this one they lie."""
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
        said.append("The model's out-of-fold answers are not at hand: nothing is calibrated or compared.")
    elif evidence.stale:
        said.append("The study folder has changed since this model was trained.")
    if evidence is not None and len(scored.models) > 1:
        said.append("A mean of several models is a little less extreme than the single ones of the histograms.")
    if best is not None and best > SAME_PATCH and participant_id is None:
        said.append("A case of the cohort looks the same: if it is this patient, the models have seen it.")
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

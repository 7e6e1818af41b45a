"""The model's answers that readers are shown: out-of-fold ones, so that no model judges a case it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spinefx.cases.reading import Prediction, patient_readings
from spinefx.errors import DesignError, WorkspaceError
from spinefx.files import canonical_json, digest_of
from spinefx.vocabulary import Diagnosis
from spinefx.workspace.experiment import Experiment
from spinefx.workspace.layout import Workspace

__all__ = ["ModelAnswer", "ModelPin", "model_answers", "pin_model"]


@dataclass(frozen=True)
class ModelPin:
    """Which model a study shows, named so that it cannot change on the way.

    Parameters
    ----------
    experiment : str
    digest : str
        Over all its first repeat's predictions.
    rule : {'max', 'mean', 'noisy_or'}
        From slices to the patient.
    threshold : float
        From which the model calls a patient malignant.
    corrected : bool
        Whether the threshold applies to the corrected probability.
    """

    experiment: str
    digest: str
    rule: str
    threshold: float
    corrected: bool


@dataclass(frozen=True)
class ModelAnswer:
    """What a reader is shown of one case.

    Parameters
    ----------
    probability : float
        Of malignancy, corrected for the training copies, 0 to 1.
    diagnosis : Diagnosis
        What the model calls it.
    slices : tuple of (int, float)
        T2W slice and its corrected probability.
    model_digest : str
        Of the weights that answered.
    """

    probability: float
    diagnosis: Diagnosis
    slices: tuple[tuple[int, float], ...]
    model_digest: str

    def flipped(self) -> ModelAnswer:
        """Give the opposite answer, as surely.

        Returns
        -------
        ModelAnswer
        """
        other = Diagnosis.BENIGN if self.diagnosis is Diagnosis.MALIGNANT else Diagnosis.MALIGNANT
        return ModelAnswer(
            1 - self.probability, other, tuple((place, 1 - p) for place, p in self.slices), self.model_digest
        )

    def to_json(self) -> dict[str, Any]:
        """Give plain values.

        Returns
        -------
        dict
        """
        return {**vars(self), "diagnosis": str(self.diagnosis), "slices": [list(pair) for pair in self.slices]}


def pin_model(
    workspace: Workspace, experiment: str, cases: Mapping[str, str], *, rule: str, threshold: float, corrected: bool
) -> ModelPin:
    """Name an experiment's predictions as they are now.

    Parameters
    ----------
    workspace : Workspace
    experiment : str
    cases : mapping of str to str
        Participant by case; each must have been scored by a model that never saw the participant.
    rule : str
    threshold : float
    corrected : bool
        As of :class:`ModelPin`.

    Returns
    -------
    ModelPin

    Raises
    ------
    DesignError
        When a case has no out-of-fold prediction.
    WorkspaceError
        When the experiment is missing or not finished.
    """
    predictions = _first_repeat(workspace, experiment)
    # A fold of 0 is a model outside cross-validation, which may have seen anything.
    scored = {(one.case_id, one.participant_id) for one in predictions if one.fold >= 1}
    for case, participant in cases.items():
        if (case, participant) not in scored or any(one.case_id == case and one.fold < 1 for one in predictions):
            raise DesignError(
                f"{case} has no out-of-fold answer of experiment {experiment}",
                where="design",
                allowed="cases that the experiment's cross-validation held out",
            )
    return ModelPin(experiment, _digest(predictions), rule, threshold, corrected)


def model_answers(workspace: Workspace, pin: ModelPin) -> dict[str, ModelAnswer]:
    """Read what the pinned model says.

    Parameters
    ----------
    workspace : Workspace
    pin : ModelPin

    Returns
    -------
    dict of str to ModelAnswer
        By case.

    Raises
    ------
    WorkspaceError
        When the experiment's predictions are not those that were pinned.
    """
    predictions = _first_repeat(workspace, pin.experiment)
    if _digest(predictions) != pin.digest:
        raise WorkspaceError(
            "the model's answers were changed since the study was registered", remedy="Restore the experiment."
        )
    called = patient_readings(
        predictions, reader_id="model", rule=pin.rule, threshold=pin.threshold, corrected=pin.corrected
    )
    shown = patient_readings(predictions, reader_id="model", rule=pin.rule, corrected=True)
    slices: dict[str, list[Prediction]] = {}
    for one in predictions:
        slices.setdefault(one.case_id, []).append(one)
    return {
        call.case_id: ModelAnswer(
            (value.confidence or 0.0) / 100,
            call.diagnosis,
            tuple(sorted((one.slice_index, one.corrected_probability) for one in slices[call.case_id])),
            slices[call.case_id][0].model_digest,
        )
        for call, value in zip(called, shown, strict=True)
    }


def _first_repeat(workspace: Workspace, experiment: str) -> tuple[Prediction, ...]:
    found = Experiment.choose(workspace, experiment).read_predictions()
    return tuple(prediction for repeat, prediction in found if repeat == 1)


def _digest(predictions: tuple[Prediction, ...]) -> str:
    return digest_of(canonical_json([vars(one) for one in predictions]))

"""The model's predictions that readers are shown: out of fold, so that no model judges a case it was trained on."""

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
    """The model that a reader study shows, identified so that a later change is detected.

    Parameters
    ----------
    experiment : str
    digest : str
        Digest of all predictions of its first repeat.
    rule : {'max', 'mean', 'noisy_or'}
        How slice probabilities are combined for the patient.
    threshold : float
        Probability from which the model calls a patient malignant.
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
    """The model's prediction for one case, as a reader is shown it.

    Parameters
    ----------
    probability : float
        Probability of malignancy, corrected for the training copies, 0 to 1.
    diagnosis : Diagnosis
        The model's diagnosis.
    slices : tuple of (int, float)
        Each T2W slice with its corrected probability.
    model_digest : str
        Digest of the weights that made the prediction.
    """

    probability: float
    diagnosis: Diagnosis
    slices: tuple[tuple[int, float], ...]
    model_digest: str

    def flipped(self) -> ModelAnswer:
        """Return the opposite prediction with the same certainty.

        Returns
        -------
        ModelAnswer
        """
        other = Diagnosis.BENIGN if self.diagnosis is Diagnosis.MALIGNANT else Diagnosis.MALIGNANT
        return ModelAnswer(
            1 - self.probability, other, tuple((place, 1 - p) for place, p in self.slices), self.model_digest
        )

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as JSON values.

        Returns
        -------
        dict
        """
        return {**vars(self), "diagnosis": str(self.diagnosis), "slices": [list(pair) for pair in self.slices]}


def pin_model(
    workspace: Workspace, experiment: str, cases: Mapping[str, str], *, rule: str, threshold: float, corrected: bool
) -> ModelPin:
    """Pin an experiment's predictions as they are now.

    Parameters
    ----------
    workspace : Workspace
    experiment : str
    cases : mapping of str to str
        Participant of each case; each case must have a prediction by a model that never saw the participant.
    rule : str
    threshold : float
    corrected : bool
        See :class:`ModelPin`.

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
    # Fold 0 is a model outside cross-validation, which may have been trained on any case.
    scored = {(one.case_id, one.participant_id) for one in predictions if one.fold >= 1}
    for case, participant in cases.items():
        if (case, participant) not in scored or any(one.case_id == case and one.fold < 1 for one in predictions):
            raise DesignError(
                f"experiment {experiment} has no out-of-fold prediction for {case}",
                where="design",
                allowed="cases that the cross-validation of the experiment held out",
            )
    return ModelPin(experiment, _digest(predictions), rule, threshold, corrected)


def model_answers(workspace: Workspace, pin: ModelPin) -> dict[str, ModelAnswer]:
    """Read the pinned model's predictions.

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
        When the predictions have changed since they were pinned.
    """
    predictions = _first_repeat(workspace, pin.experiment)
    if _digest(predictions) != pin.digest:
        raise WorkspaceError(
            "The model's predictions have changed since the reader study was registered",
            remedy="Restore the experiment from a backup.",
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

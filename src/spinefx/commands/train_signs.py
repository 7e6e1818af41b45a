"""Cross-validate a signs model on the cases of a workspace whose signs were scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.alignment import align_series
from spinefx.cases.cohort import Case, Cohort
from spinefx.cases.reading import Prediction, patient_readings
from spinefx.commands.patch import patch
from spinefx.commands.train import TrainingOutcome
from spinefx.errors import InputError, SpinefxError
from spinefx.files import canonical_json, digest_of
from spinefx.learning.classifier import software_versions
from spinefx.learning.folds import split_folds
from spinefx.learning.guards import Guards
from spinefx.learning.recipe import Recipe
from spinefx.localisation.searching import shipped_localiser
from spinefx.processes.pool import map_items
from spinefx.signs.calibration import noisy_or
from spinefx.signs.crossvalidation import (
    Refinement,
    SignCases,
    SignCrossValidation,
    cross_validate_signs,
    describe_teaching,
    read_members,
    with_vertebrae,
)
from spinefx.signs.fitting import SignTeaching
from spinefx.signs.model import STARTER, SignCard, load_sign_model, weights_of, write_sign_model
from spinefx.signs.scoring import other_vertebrae
from spinefx.signs.views import BODY, SURROUNDINGS, SignViews, cut_other_vertebrae
from spinefx.statistics.signs import scores_by_case
from spinefx.tables.writing import write_tsv
from spinefx.vocabulary import MARKED, SIGN_IDENTIFIERS, Diagnosis, Score
from spinefx.workspace.experiment import Experiment
from spinefx.workspace.layout import Workspace, read_json, write_json
from spinefx.workspace.records import read_signs
from spinefx.workspace.stacks import load_stacks, recorded_measures, recorded_slice_digests
from spinefx.workspace.volumes import read_image

if TYPE_CHECKING:
    from spinefx.signs.network import SignNetwork

__all__ = ["SIGNS_RECIPE", "train_signs"]

SIGNS_RECIPE = "signs"
"""The word that asks for this model instead of a recipe's."""

# The reader whose scores are learned by default where several readers scored.
TRUTH_READER = "phantom_truth"
REFINED = SignTeaching(epochs=8, learning_rate=5e-4)
EVIDENCE_COLUMNS = ("case_id", "participant_id", "fold", *SIGN_IDENTIFIERS, "log_odds", "probability")


def train_signs(
    root: Path,
    *,
    name: str | None = None,
    start: Path | None = None,
    refinement: Refinement = "all",
    reader: str | None = None,
    teaching: SignTeaching | None = None,
    workers: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> TrainingOutcome:
    """Cross-validate a signs model, or continue an interrupted run; then teach the one that answers for new patients.

    Parameters
    ----------
    root : Path
        A workspace with boxes and ``signs.tsv``.
    name : str, optional
        Name of the experiment; ``signs`` by default.
    start : Path, optional
        A signs model to start from, such as ``starter``; random weights by default.
    refinement : {'frozen', 'last', 'all'}
        What the cases change of ``start``.
    reader : str, optional
        Whose scores are learned; needed where several readers scored.
    teaching : SignTeaching, optional
    workers : int
    progress : callable, optional

    Returns
    -------
    TrainingOutcome

    Raises
    ------
    InputError
        When no case, too few cases, or no case of one diagnosis has signs; each says what to do.
    WorkspaceError
    """
    workspace = Workspace.open(root)
    scores = _scores(workspace, reader)
    experiment = Experiment(workspace.experiment_folder(name or SIGNS_RECIPE))
    told = progress or (lambda label, done, total: None)
    for settings in (BODY, SURROUNDINGS):
        patch(root, settings, workers=workers, progress=partial(told, "patches"))
    cases, bodies = load_stacks(workspace, BODY)
    _, surroundings = load_stacks(workspace, SURROUNDINGS)
    kept = [place for place, case in enumerate(cases) if case.case_id in scores]
    chosen = Cohort(tuple(cases[place] for place in kept))
    skips = _skips(root, workspace, chosen.cases, experiment, workers, told)
    taught = SignCases(
        tuple(SignViews(bodies[place], surroundings[place]) for place in kept),
        np.array([_row(scores[case.case_id]) for case in chosen.cases]),
        np.array([case.diagnosis is Diagnosis.MALIGNANT for case in chosen.cases]),
        skips,
    )
    folds = split_folds(
        diagnoses := {case.participant_id: case.diagnosis for case in chosen.cases}, _dealing(diagnoses)
    )
    way = teaching or (SignTeaching() if start is None else REFINED)
    found, weights = cross_validate_signs(
        taught,
        folds,
        way,
        experiment.models_folder,
        data_digest=digest_of(canonical_json([chosen.digest, taught.signs.astype(str).tolist()])),
        start=None if start is None else _members(start),
        refinement=refinement,
        workers=workers,
        progress=told,
    )
    folder = workspace.patches_folder(BODY)
    measures = {one.case_id: recorded_measures(folder, one.participant_id, one.case_id) for one in chosen.cases}
    shown = [recorded_slice_digests(folder, one.participant_id, one.case_id) for one in chosen.cases]
    whole = with_vertebrae(weights, weights_of(Path(STARTER)))
    card = SignCard(
        describe_teaching(way, taught)
        | {"start": "random weights" if start is None else load_sign_model(start).digest, "refinement": refinement}
        | {"cohort_digest": chosen.digest, "software": software_versions(), "cautions": list(taught.cautions)},
        found.calibration,
        found.head,
        found.head_losses,
        Guards.of_stacks([one.body for one in taught.views], measures),
        digest_of(whole),
        frozenset(digest for one in shown for digest in one),
    )
    write_sign_model(experiment.models_folder / "whole", card, whole)
    _record(experiment, chosen, taught, found, card, way)
    return TrainingOutcome(experiment.name, len(folds), taught.cautions, "CPU")


def _scores(workspace: Workspace, reader: str | None) -> Mapping[str, Mapping[str, Score]]:
    """Return the sign scores that teach."""
    given = read_signs(workspace)
    if not given:
        raise InputError(
            "the workspace has no scores of the fifteen signs (signs.tsv)",
            remedy="Add a signs.csv with one row per case and ingest again, or use the model that comes with spinefx: "
            "spinefx predict starter STUDY.",
        )
    readers = {one.reader_id for one in given}
    chosen = TRUTH_READER if reader is None and len(readers) > 1 and TRUTH_READER in readers else reader
    return scores_by_case(given, chosen)


def _row(scores: Mapping[str, Score]) -> list[float]:
    numbers = {Score.YES: 1.0, Score.NO: 0.0, Score.NOT_ASSESSABLE: float("nan")}
    return [numbers[scores[sign]] for sign in SIGN_IDENTIFIERS]


def _dealing(diagnoses: Mapping[str, Diagnosis]) -> Recipe:
    """Return the recipe that deals the folds: those of the box models, so that both can be compared case by case."""
    answers = list(diagnoses.values())
    rarest = min(answers.count(one) for one in Diagnosis)
    plain = Recipe.preset("quick")
    return plain if rarest >= plain.folds else plain.changed(folds=max(2, rarest))


def _members(start: Path) -> dict[str, SignNetwork]:
    load_sign_model(start)  # its files are checked before they are trusted
    return read_members(weights_of(start))


def _skips(
    root: Path,
    workspace: Workspace,
    cases: Sequence[Case],
    experiment: Experiment,
    workers: int,
    told: Callable[[str, int, int], None],
) -> NDArray[np.float64]:
    """Return the log-odds that another vertebra of each case holds a focus; what is known already is kept."""
    path = experiment.models_folder / "vertebrae.json"
    model = load_sign_model()
    keys = {
        case.case_id: digest_of(canonical_json([case.images_digest, asdict(case.lesion), model.digest]))
        for case in cases
    }
    known: dict[str, Any] = read_json(path) if path.is_file() else {}
    todo = [case for case in cases if keys[case.case_id] not in known]
    found = map_items(
        partial(_suspicions, root), todo, workers=workers, progress=lambda done, total: told("vertebrae", done, total)
    )
    for case, suspicions in zip(todo, found, strict=True):
        known[keys[case.case_id]] = [] if isinstance(suspicions, SpinefxError) else suspicions
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, known)
    return np.array([noisy_or(np.array(known[keys[case.case_id]])) for case in cases])


def _suspicions(root: Path, case: Case) -> list[float]:
    """Return the probability that each other vertebra of a case is suspicious; runs in a worker process."""
    workspace = Workspace(root)
    series = {one: read_image(workspace, case.participant_id, one) for one in BODY.sequences}
    spine, _ = shipped_localiser()(series[MARKED])
    placed = align_series(case.lesion, series, method=BODY.registration)
    _, patches = cut_other_vertebrae([one.box for one in other_vertebrae(spine, case.lesion)], placed)
    return [float(row[-1]) for row in load_sign_model().networks.states_of(patches)]


def _record(
    experiment: Experiment,
    cohort: Cohort,
    taught: SignCases,
    found: SignCrossValidation,
    card: SignCard,
    teaching: SignTeaching,
) -> None:
    chances = 1 / (1 + np.exp(-found.log_odds))
    of = {participant: fold.number for fold in found.folds for participant in fold.test}
    predictions = [
        Prediction(
            case.case_id,
            case.participant_id,
            (case.lesion.first_slice + case.lesion.last_slice) // 2,
            float(chance),
            float(chance),
            of[case.participant_id],
            card.digest,
        )
        for case, chance in zip(cohort.cases, chances, strict=True)
    ]
    readings = patient_readings(predictions, reader_id=experiment.name, rule="mean", threshold=card.threshold)
    lines = [f"{key} = {value!r}" for key, value in asdict(teaching).items()]
    experiment.start("\n".join(["# A signs model; its way of teaching.", *lines]) + "\n")
    write_tsv(
        experiment.folder / "signs.tsv",
        EVIDENCE_COLUMNS,
        [
            (case.case_id, case.participant_id, of[case.participant_id], *map(_shown, logits), repr(odds), repr(chance))
            for case, logits, odds, chance in zip(
                cohort.cases, found.calibrated, map(float, found.log_odds), map(float, chances), strict=True
            )
        ],
    )
    experiment.finish(
        predictions=[(1, one) for one in predictions],
        readings=readings,
        folds=[(1, who, number, None) for who, number in sorted(of.items())],
        history=[],
        audit=[],
        environment={
            "recipe": SIGNS_RECIPE,
            "recipe_digest": card.digest,
            "cohort_digest": cohort.digest,
            "model_digests": [card.digest],
            "stamps": list(taught.cautions),
            "software": software_versions(),
            "route": "CPU",
        },
    )


def _shown(logit: float) -> str | None:
    """Return the probability of a sign; None where it was left out or not assessed."""
    return None if np.isnan(logit) else repr(float(1 / (1 + np.exp(-logit))))

"""Cross-validation by patient: each participant is tested once, by a model that has not seen them, and an audit."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from spinefx.cases.patch import PatchStack
from spinefx.cases.reading import Prediction
from spinefx.errors import InputError, ModelError, SpinefxError
from spinefx.files import write_text
from spinefx.learning.augmentation import PatchBank
from spinefx.learning.checkpoint import read_checkpoint
from spinefx.learning.classifier import Classifier
from spinefx.learning.device import Route, choose_route
from spinefx.learning.fitting import History, Run
from spinefx.learning.folds import Fold, split_folds
from spinefx.learning.guards import Guards
from spinefx.learning.leaks import AuditCheck, AuditReport, FoldFacts, Ledger, Side, audit_folds, audit_run
from spinefx.learning.lockstep import LockstepFold, fit_together
from spinefx.learning.network import build_network
from spinefx.learning.networks import Network, network_named
from spinefx.learning.onnx_layers import plan_of_network
from spinefx.learning.recipe import Recipe
from spinefx.learning.training import fit, reproducible
from spinefx.learning.training_data import (
    check_inputs,
    check_pixels,
    claim_folder,
    diagnosis_by_participant,
    digest_of_data,
)
from spinefx.processes.cluster import LOCAL, spread
from spinefx.processes.pool import share_out
from spinefx.vocabulary import Diagnosis

__all__ = ["CrossValidation", "FoldResult", "cross_validate", "train_folds"]

AUDIT_FILE, FOLD_FILE = "audit.json", "fold.json"
# On a GPU an epoch of ten folds takes seconds, as long as writing their checkpoints.
CHECKPOINT_SPACING_S = 120.0


@dataclass(frozen=True)
class FoldResult:
    """The result of one fold.

    Parameters
    ----------
    fold : int
    predictions : tuple of Prediction
        One per test slice.
    history : History
    facts : FoldFacts
    model_digest : str
    """

    fold: int
    predictions: tuple[Prediction, ...]
    history: History
    facts: FoldFacts
    model_digest: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file.

        Returns
        -------
        dict
        """
        return {
            "fold": self.fold,
            "model_digest": self.model_digest,
            "predictions": [asdict(prediction) for prediction in self.predictions],
            "history": self.history.to_json(),
            "facts": self.facts.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FoldResult:
        """Read what :meth:`to_json` wrote.

        Parameters
        ----------
        values : mapping

        Returns
        -------
        FoldResult
        """
        return cls(
            values["fold"],
            tuple(Prediction(**row) for row in values["predictions"]),
            History.from_json(values["history"]),
            FoldFacts.from_json(values["facts"]),
            values["model_digest"],
        )


@dataclass(frozen=True)
class CrossValidation:
    """A finished cross-validation.

    Parameters
    ----------
    recipe : Recipe
    cohort_digest : str
    folds : tuple of Fold
        Who trained, chose the epoch and was tested in each.
    results : tuple of FoldResult
        In the order of the folds.
    audit : AuditReport
        Passed: an audit that finds a leak raises instead.
    restarted : tuple of str
        Folds that were interrupted on another route or with other software, and started again.
    """

    recipe: Recipe
    cohort_digest: str
    folds: tuple[Fold, ...]
    results: tuple[FoldResult, ...]
    audit: AuditReport
    restarted: tuple[str, ...] = ()

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """One per slice, ordered by case and slice."""
        every = [prediction for result in self.results for prediction in result.predictions]
        return tuple(sorted(every, key=lambda one: (one.case_id, one.slice_index)))

    @property
    def optimistic(self) -> str:
        """Why the scores are better than new patients would see; empty for an honest recipe."""
        return self.recipe.optimistic


@dataclass(frozen=True, eq=False)
class _Experiment:
    """Everything that a fold needs, sent once to each worker."""

    stacks: tuple[PatchStack, ...]
    truth: Mapping[str, Diagnosis]
    recipe: Recipe
    folder: Path
    weights: Path | None
    cohort_digest: str
    data_digest: str
    route: Route
    network: Network | None
    guards: Guards
    slice_digests: Mapping[str, Collection[str]]

    @cached_property
    def bank(self) -> PatchBank:
        return PatchBank(self.stacks, self.recipe.patch_size)

    def folder_of(self, fold: Fold) -> Path:
        return self.folder / fold.label

    def begun_otherwise(self, fold: Fold) -> bool:
        """Return whether a fold was interrupted in a run that this one cannot resume."""
        run = self._prepare(fold)[0].run
        saved = read_checkpoint(run.checkpoint_path)
        return saved is not None and not run.may_continue(saved)

    def run_fold(self, fold: Fold, report: Callable[..., None]) -> None:
        """Train and test one fold by the plain loop."""
        job, test = self._prepare(fold)
        classifier, history = fit(
            job.training, job.watched, job.run, progress=lambda epoch, epochs: report(fold.label, epoch, epochs)
        )
        self._finish(fold, job, test, classifier, history)

    def run_together(self, folds: Sequence[Fold], report: Callable[..., None]) -> None:
        """Train folds in lockstep, and test each when it is finished."""
        jobs, tests = zip(*(self._prepare(fold) for fold in folds), strict=True)
        fit_together(
            jobs,
            self.route.device,
            finished=lambda place, *made: self._finish(folds[place], jobs[place], tests[place], *made),
            progress=lambda place, epoch, epochs: report(folds[place].label, epoch, epochs),
            spacing_s=CHECKPOINT_SPACING_S,
        )

    def _prepare(self, fold: Fold) -> tuple[LockstepFold, Side]:
        """Return the job of a fold (what trains, what chooses the epoch) and its test side."""
        ledger = Ledger(fold.number)
        malignant = {case: answer == Diagnosis.MALIGNANT for case, answer in self.truth.items()}
        training, inner, test = (
            Side(name, self.bank, members, malignant, ledger)
            for name, members in (("training", fold.training), ("inner", fold.inner), ("test", fold.test))
        )
        watched = {"inner_split": inner, "test_fold": test, "none": None}[self.recipe.early_stopping_on]
        folder, route = self.folder_of(fold), self.route.name
        digests = (self.cohort_digest, self.data_digest)
        card = (self.guards, self._trained_on(fold))
        run = Run(self.recipe, fold.number, *digests, folder, self.weights, route, self.network, *card)
        return LockstepFold(training, watched, run), test

    def _trained_on(self, fold: Fold) -> frozenset[str] | None:
        """Return the digests of the slices that a fold's model depends on; None unless every case records them."""
        spared = frozenset[str]() if self.recipe.early_stopping_on == "test_fold" else frozenset(fold.test)
        seen = [stack.case_id for stack in self.stacks if stack.participant_id not in spared]
        if not all(self.slice_digests.get(case) for case in seen):
            return None
        return frozenset(digest for case in seen for digest in self.slice_digests[case])

    def _finish(self, fold: Fold, job: LockstepFold, test: Side, classifier: Classifier, history: History) -> None:
        """Test one fold and save it. The result is written last, so that a fold without it is not finished."""
        ledger = test.ledger
        for constant in ("normalisation statistics", "patient score", "prior correction", "threshold"):
            ledger.record_fit(constant, ())  # each comes from the recipe, or from each patch by itself
        predictions = self._test(classifier, test)
        folder = self.folder_of(fold)
        classifier.save(folder)
        result = FoldResult(fold.number, predictions, history, ledger.facts, classifier.digest)
        write_text(folder / FOLD_FILE, json.dumps(result.to_json(), indent=1, ensure_ascii=False) + "\n")
        job.run.checkpoint_path.unlink(missing_ok=True)

    def run_fold_silently(self, fold: Fold) -> None:
        """Train and test one fold where no progress can be reported."""
        self.run_fold(fold, _say_nothing)

    def _test(self, classifier: Classifier, test: Side) -> tuple[Prediction, ...]:
        """Predict the test side case by case, as the model does at the point of use."""
        predictions: list[Prediction] = []
        case_ids = np.array([sample.case_id for sample in test.samples])
        with reproducible():
            for stack in self.stacks:
                rows = np.flatnonzero(case_ids == stack.case_id)
                if len(rows):
                    predictions += classifier.predictions(stack, test.draw(rows))
        return tuple(predictions)

    def finished(self, fold: Fold) -> FoldResult | None:
        """Return a fold's result, if it is there and belongs to the model beside it."""
        folder = self.folder_of(fold)
        try:
            result = FoldResult.from_json(json.loads((folder / FOLD_FILE).read_text("utf-8")))
            is_whole = Classifier.load(folder, self.network).digest == result.model_digest
        except (OSError, ValueError, KeyError, TypeError, InputError, ModelError):
            return None
        return result if is_whole else None


def cross_validate(
    stacks: Sequence[PatchStack],
    truth: Mapping[str, Diagnosis],
    recipe: Recipe,
    folder: Path,
    *,
    cohort_digest: str,
    workers: int = 1,
    weights: Path | None = None,
    route: Route | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    on: str = LOCAL,
    network: Network | None = None,
    measures: Mapping[str, Mapping[str, float]] | None = None,
    slice_digests: Mapping[str, Collection[str]] | None = None,
) -> CrossValidation:
    """Train one model per fold, predict its test patients, and audit the whole for leaks.

    Parameters
    ----------
    stacks : sequence of PatchStack
        One per case, cut with the recipe's settings, in any order.
    truth : mapping of str to Diagnosis
        By case.
    recipe : Recipe
    folder : Path
        Receives ``fold-01`` and so on, each with its model and the model's graph; an interrupted run resumes from
        what is there.
    cohort_digest : str
        Identifies the cohort in every model.
    workers : int
        Processes, one thread each. The result does not depend on their number; a GPU does not use them.
    weights : Path, optional
        Local file of ImageNet weights for the recipe's network.
    route : Route, optional
        Where to compute; the CPU by default. A fold that was interrupted on another route starts again.
    progress : callable, optional
        Called with (fold label, epoch, epochs) after each epoch, except on a cluster.
    on : str
        Where to train, as :func:`spinefx.processes.cluster.spread` takes it.
    network : Network, optional
        The network that the recipe names, where it is not one of :data:`spinefx.learning.networks.NETWORKS`.
    measures : mapping of str to mapping of str to float, optional
        Voxel sizes and times of each case's images, see :func:`spinefx.learning.measures.image_measures`. Every model
        records their ranges, and refuses images far outside them.
    slice_digests : mapping of str to collection of str, optional
        Digests of each case's lesion slices, see :func:`spinefx.learning.training_slices.slice_digests`. Every model
        records those that it was trained on, so that its answers on them are flagged.

    Returns
    -------
    CrossValidation

    Raises
    ------
    InputError
        When truth is missing, cases repeat, or patches were cut with other settings.
    RecipeError
        When a diagnosis has fewer patients than there are folds, or the recipe's network is not known.
    WorkspaceError
        When ``folder`` holds an experiment with another recipe or other data.
    LeakError
        When test data reached training; ``audit.json`` says where.
    """
    experiment, folds, checks = _begin(
        stacks, truth, recipe, folder, cohort_digest, weights, route, network, measures, slice_digests
    )
    restarted = _train(experiment, folds, workers, progress, on)
    results = tuple(_read_result(experiment, fold) for fold in folds)
    checks += audit_run(folds, [result.facts for result in results], experiment.stacks, recipe)
    report = _conclude(checks, folder)
    _write_missing_graphs([experiment.folder_of(fold) for fold in folds], network)
    return CrossValidation(recipe, cohort_digest, folds, results, report, restarted)


def train_folds(
    stacks: Sequence[PatchStack],
    truth: Mapping[str, Diagnosis],
    recipe: Recipe,
    folder: Path,
    *,
    cohort_digest: str,
    share: tuple[int, int],
    workers: int = 1,
    weights: Path | None = None,
    route: Route | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    on: str = LOCAL,
    network: Network | None = None,
    measures: Mapping[str, Mapping[str, float]] | None = None,
    slice_digests: Mapping[str, Collection[str]] | None = None,
) -> int:
    """Train a share of the folds as one of several jobs; :func:`cross_validate` joins and audits them.

    Parameters
    ----------
    stacks, truth, recipe, folder, cohort_digest, workers, weights, route, progress, on, network, measures,
    slice_digests
        As for :func:`cross_validate`.
    share : tuple of int
        Position and number: folds ``position::number`` are this job's.

    Returns
    -------
    int
        Folds that are not finished yet, by this job or another.

    Raises
    ------
    InputError, RecipeError, WorkspaceError, LeakError
        As :func:`cross_validate` does before training.
    """
    experiment, folds, _ = _begin(
        stacks, truth, recipe, folder, cohort_digest, weights, route, network, measures, slice_digests
    )
    _train(experiment, folds[share[0] :: share[1]], workers, progress, on)
    return sum(experiment.finished(fold) is None for fold in folds)


def _begin(
    stacks: Sequence[PatchStack],
    truth: Mapping[str, Diagnosis],
    recipe: Recipe,
    folder: Path,
    cohort_digest: str,
    weights: Path | None,
    route: Route | None,
    network: Network | None,
    measures: Mapping[str, Mapping[str, float]] | None,
    slice_digests: Mapping[str, Collection[str]] | None,
) -> tuple[_Experiment, tuple[Fold, ...], tuple[AuditCheck, ...]]:
    """Check everything that can be checked before training."""
    network_named(recipe.network, network)
    _refuse_unwritable(recipe, network)
    ordered = tuple(sorted(stacks, key=lambda stack: stack.case_id))
    check_inputs(ordered, truth, recipe, weights)
    answers = {stack.case_id: truth[stack.case_id] for stack in ordered}
    folds = split_folds(diagnosis_by_participant(ordered, answers), recipe)
    data_digest = digest_of_data(ordered, answers)
    claim_folder(folder, recipe, cohort_digest, data_digest, weights)
    checks: tuple[AuditCheck, ...] = (
        audit_folds(folds, (stack.participant_id for stack in ordered)),
        check_pixels(ordered, folds),
    )
    _conclude(checks, folder)
    route = route or choose_route("cpu")
    guards = Guards.of_stacks(ordered, measures or {})
    digests = (cohort_digest, data_digest)
    card = (guards, slice_digests or {})
    experiment = _Experiment(ordered, answers, recipe, folder, weights, *digests, route, network, *card)
    return experiment, folds, checks


def _train(
    experiment: _Experiment,
    folds: Sequence[Fold],
    workers: int,
    progress: Callable[[str, int, int], None] | None,
    on: str,
) -> tuple[str, ...]:
    """Train the folds that are not finished; return those that had started on another route or with other software."""
    todo = [fold for fold in folds if experiment.finished(fold) is None]
    restarted = tuple(fold.label for fold in todo if experiment.begun_otherwise(fold))
    told = progress or _say_nothing
    if on != LOCAL:
        for _, result in spread(experiment.run_fold_silently, todo, workers=workers, on=on):
            if isinstance(result, SpinefxError):
                raise result
    elif experiment.route.device == "cpu":
        share_out(experiment.run_fold, todo, workers=workers, report=told)
    else:
        for start in range(0, len(todo), experiment.route.folds_at_once):
            experiment.run_together(todo[start : start + experiment.route.folds_at_once], told)
    return restarted


def _write_missing_graphs(folders: Sequence[Path], network: Network | None) -> None:
    """Write the graphs by which models answer without torch."""
    try:
        from spinefx.learning.onnx_export import export_graph
        from spinefx.learning.onnx_model import graph_is_current
    except ModuleNotFoundError as error:
        if error.name not in {"onnx", "onnxruntime"}:
            raise
        return  # a machine that only trains may lack them; `spinefx export` writes the graphs elsewhere
    for folder in folders:
        if not graph_is_current(folder):
            export_graph(folder, network)


def _refuse_unwritable(recipe: Recipe, network: Network | None) -> None:
    """Refuse, before training, a network from outside this package whose graph could not be written afterwards."""
    if network is not None:
        plan_of_network(build_network(recipe, fold=0, network=network).eval())


def _say_nothing(label: str, epoch: int, epochs: int) -> None:
    """Ignore progress."""


def _read_result(experiment: _Experiment, fold: Fold) -> FoldResult:
    result = experiment.finished(fold)
    if result is None:
        raise ModelError(
            "the fold was trained, but its files are incomplete", where=fold.label, remedy="Run the same command again."
        )
    return result


def _conclude(checks: tuple[AuditCheck, ...], folder: Path) -> AuditReport:
    """Write the audit, and stop if it found a leak."""
    report = AuditReport(checks)
    write_text(folder / AUDIT_FILE, json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n")
    report.raise_for_leaks()
    return report

"""Cross-validation by patient: every participant answered once, by a model that never saw them, and the proof of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from spinefx.cases.patch import PatchStack
from spinefx.cases.reading import Prediction
from spinefx.errors import FileError, InputError, ModelError, SpinefxError, WorkspaceError
from spinefx.files import canonical_json, digest_of, write_text
from spinefx.learning.augmentation import PatchBank
from spinefx.learning.checkpoint import read_checkpoint
from spinefx.learning.classifier import Classifier
from spinefx.learning.device import Route, choose_route
from spinefx.learning.duplicates import TWIN_CORRELATION, find_twins
from spinefx.learning.fitting import History, Run
from spinefx.learning.folds import Fold, split_folds
from spinefx.learning.leaks import AuditCheck, AuditReport, FoldFacts, Ledger, Side, audit_folds, audit_run
from spinefx.learning.lockstep import LockstepFold, fit_together
from spinefx.learning.recipe import Recipe
from spinefx.learning.training import fit, reproducible
from spinefx.processes.cluster import LOCAL, spread
from spinefx.processes.pool import share_out
from spinefx.vocabulary import Diagnosis

__all__ = ["CrossValidation", "FoldResult", "cross_validate", "train_folds"]

SCHEMA = "spinefx cross-validation 1"
IDENTITY_FILE, AUDIT_FILE, FOLD_FILE = "crossvalidation.json", "audit.json", "fold.json"
# On a GPU an epoch of ten folds takes seconds, and so does writing their checkpoints.
CHECKPOINT_SPACING_S = 120.0


@dataclass(frozen=True)
class FoldResult:
    """What one fold gave.

    Parameters
    ----------
    fold : int
    predictions : tuple of Prediction
        One a test slice.
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
        """Give plain values for a JSON file.

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
        Who was on which side.
    results : tuple of FoldResult
        In the order of the folds.
    audit : AuditReport
        Passed, or it would not be here.
    restarted : tuple of str
        Folds that had been begun on another route, or with other software, and were begun again.
    """

    recipe: Recipe
    cohort_digest: str
    folds: tuple[Fold, ...]
    results: tuple[FoldResult, ...]
    audit: AuditReport
    restarted: tuple[str, ...] = ()

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """One a slice, ordered by case and slice."""
        every = [prediction for result in self.results for prediction in result.predictions]
        return tuple(sorted(every, key=lambda one: (one.case_id, one.slice_index)))

    @property
    def optimistic(self) -> str:
        """Why the scores are better than new patients would see; empty for an honest recipe."""
        return self.recipe.optimistic


@dataclass(frozen=True, eq=False)
class _Experiment:
    """Everything that a fold needs, sent once to each process."""

    stacks: tuple[PatchStack, ...]
    truth: Mapping[str, Diagnosis]
    recipe: Recipe
    folder: Path
    weights: Path | None
    cohort_digest: str
    data_digest: str
    route: Route

    @cached_property
    def bank(self) -> PatchBank:
        return PatchBank(self.stacks, self.recipe.patch_size)

    def folder_of(self, fold: Fold) -> Path:
        return self.folder / fold.label

    def begun_otherwise(self, fold: Fold) -> bool:
        """Tell whether a fold was cut off in a run that this one cannot go on from."""
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
        """Train folds in lockstep, and test each as it comes to its end."""
        jobs, tests = zip(*(self._prepare(fold) for fold in folds), strict=True)
        fit_together(
            jobs,
            self.route.device,
            finished=lambda place, *made: self._finish(folds[place], jobs[place], tests[place], *made),
            progress=lambda place, epoch, epochs: report(folds[place].label, epoch, epochs),
            spacing_s=CHECKPOINT_SPACING_S,
        )

    def _prepare(self, fold: Fold) -> tuple[LockstepFold, Side]:
        """Say what trains and what chooses the epoch, and beside them what tests."""
        ledger = Ledger(fold.number)
        malignant = {case: answer == Diagnosis.MALIGNANT for case, answer in self.truth.items()}
        training, inner, test = (
            Side(name, self.bank, members, malignant, ledger)
            for name, members in (("training", fold.training), ("inner", fold.inner), ("test", fold.test))
        )
        watched = {"inner_split": inner, "test_fold": test, "none": None}[self.recipe.early_stopping_on]
        folder, route = self.folder_of(fold), self.route.name
        run = Run(self.recipe, fold.number, self.cohort_digest, self.data_digest, folder, self.weights, route)
        return LockstepFold(training, watched, run), test

    def _finish(self, fold: Fold, job: LockstepFold, test: Side, classifier: Classifier, history: History) -> None:
        """Test one fold; its last file is the result, so that a fold without it is not finished."""
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
        """Do the same where nobody can be told of progress."""
        self.run_fold(fold, _say_nothing)

    def _test(self, classifier: Classifier, test: Side) -> tuple[Prediction, ...]:
        """Answer the test side case by case, as the model would at the point of use."""
        predictions: list[Prediction] = []
        case_ids = np.array([sample.case_id for sample in test.samples])
        with reproducible():
            for stack in self.stacks:
                rows = np.flatnonzero(case_ids == stack.case_id)
                if len(rows):
                    predictions += classifier.predictions(stack, test.draw(rows))
        return tuple(predictions)

    def finished(self, fold: Fold) -> FoldResult | None:
        """Read a fold's result, if it is there and belongs to the model beside it."""
        folder = self.folder_of(fold)
        try:
            result = FoldResult.from_json(json.loads((folder / FOLD_FILE).read_text("utf-8")))
            is_whole = Classifier.load(folder).digest == result.model_digest
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
) -> CrossValidation:
    """Train one model a fold, answer its test patients, and audit the whole for leaks.

    Parameters
    ----------
    stacks : sequence of PatchStack
        One a case, cut with the recipe's settings; their order does not matter.
    truth : mapping of str to Diagnosis
        By case.
    recipe : Recipe
    folder : Path
        Gets ``fold-01`` and so on, each with its model and the model's graph; an interrupted run goes on from what is
        there.
    cohort_digest : str
        Names the cohort in every model.
    workers : int
        Processes, one thread each. The result does not depend on it. A GPU has no use for them.
    weights : Path, optional
        Local ImageNet file in torchvision's format.
    route : Route, optional
        Where to compute; the CPU by default. A fold that was cut off on another route starts again.
    progress : callable, optional
        Told (fold label, epoch, epochs) after each epoch; on a cluster nobody is.
    on : str
        Where to train, as :func:`spinefx.processes.cluster.spread` takes it.

    Returns
    -------
    CrossValidation

    Raises
    ------
    InputError
        When truth is missing, cases repeat, or patches were cut with other settings.
    RecipeError
        When a diagnosis has fewer patients than there are folds.
    WorkspaceError
        When ``folder`` holds an experiment with another recipe or other data.
    LeakError
        When training data and test data met; ``audit.json`` says where.
    """
    experiment, folds, checks = _begin(stacks, truth, recipe, folder, cohort_digest, weights, route)
    restarted = _train(experiment, folds, workers, progress, on)
    results = tuple(_read_result(experiment, fold) for fold in folds)
    checks += audit_run(folds, [result.facts for result in results], experiment.stacks, recipe)
    report = _conclude(checks, folder)
    _write_missing_graphs([experiment.folder_of(fold) for fold in folds])
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
) -> int:
    """Train a share of the folds, for one of several jobs; :func:`cross_validate` joins and audits them.

    Parameters
    ----------
    stacks, truth, recipe, folder, cohort_digest, workers, weights, route, progress, on
        As for :func:`cross_validate`.
    share : tuple of int
        Position and number: folds ``position::number`` are this job's.

    Returns
    -------
    int
        Folds of the whole that are not finished, by this job or another.

    Raises
    ------
    InputError, RecipeError, WorkspaceError, LeakError
        As :func:`cross_validate` does before training.
    """
    experiment, folds, _ = _begin(stacks, truth, recipe, folder, cohort_digest, weights, route)
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
) -> tuple[_Experiment, tuple[Fold, ...], tuple[AuditCheck, ...]]:
    """Check everything that can be checked before training."""
    ordered = tuple(sorted(stacks, key=lambda stack: stack.case_id))
    _check_inputs(ordered, truth, recipe, weights)
    answers = {stack.case_id: truth[stack.case_id] for stack in ordered}
    folds = split_folds(_by_participant(ordered, answers), recipe)
    data_digest = _data_digest(ordered, answers)
    _claim(folder, recipe, cohort_digest, data_digest, weights)
    checks: tuple[AuditCheck, ...] = (
        audit_folds(folds, (stack.participant_id for stack in ordered)),
        _check_pixels(ordered, folds),
    )
    _conclude(checks, folder)
    route = route or choose_route("cpu")
    return _Experiment(ordered, answers, recipe, folder, weights, cohort_digest, data_digest, route), folds, checks


def _train(
    experiment: _Experiment,
    folds: Sequence[Fold],
    workers: int,
    progress: Callable[[str, int, int], None] | None,
    on: str,
) -> tuple[str, ...]:
    """Train the folds that are not finished; names those that another route or other software had begun."""
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


def _write_missing_graphs(folders: Sequence[Path]) -> None:
    """Give each model the graph by which it answers without torch."""
    try:
        from spinefx.learning.onnx_export import export_graph
        from spinefx.learning.onnx_model import graph_is_current
    except ModuleNotFoundError as error:
        if error.name not in {"onnx", "onnxruntime"}:
            raise
        return  # a machine that only trains may lack them; this command or `spinefx export` writes the graphs at home
    for folder in folders:
        if not graph_is_current(folder):
            export_graph(folder)


def _say_nothing(label: str, epoch: int, epochs: int) -> None:
    """Stand in where nobody wants to hear of progress."""


def _read_result(experiment: _Experiment, fold: Fold) -> FoldResult:
    result = experiment.finished(fold)
    if result is None:
        raise ModelError(
            "the fold was trained, but its files are not whole", where=fold.label, remedy="Run the same command again."
        )
    return result


def _check_inputs(
    stacks: Sequence[PatchStack], truth: Mapping[str, Diagnosis], recipe: Recipe, weights: Path | None
) -> None:
    case_ids = [stack.case_id for stack in stacks]
    doubled = sorted({case for case in case_ids if case_ids.count(case) > 1})
    if doubled:
        raise InputError("patches of this case are given twice", where=doubled[0])
    missing = [case for case in case_ids if case not in truth]
    if missing:
        raise InputError(
            f"no diagnosis for {len(missing)} cases ({missing[0]} first)", remedy="Add their truth, or leave them out."
        )
    for stack in stacks:
        if stack.settings != recipe.patch_settings:
            raise InputError(
                f"patches cut with {stack.settings}",
                where=stack.case_id,
                allowed=f"{recipe.patch_settings}, as the recipe says",
                remedy="Run `spinefx patch` with this recipe.",
            )
    if weights is not None and recipe.initialisation == "random":
        raise InputError(
            "an ImageNet file for a recipe with initialisation = 'random'",
            allowed="no file, or initialisation = 'imagenet'",
        )


def _by_participant(stacks: Sequence[PatchStack], truth: Mapping[str, Diagnosis]) -> dict[str, Diagnosis]:
    """Give each participant one diagnosis: malignant where any of their cases is."""
    people: dict[str, Diagnosis] = {}
    for stack in stacks:
        if people.get(stack.participant_id) != Diagnosis.MALIGNANT:
            people[stack.participant_id] = truth[stack.case_id]
    return people


def _data_digest(stacks: Sequence[PatchStack], truth: Mapping[str, Diagnosis]) -> str:
    found = hashlib.sha256()
    for stack in stacks:
        found.update(canonical_json([stack.case_id, stack.participant_id, stack.slices, truth[stack.case_id]]).encode())
        for array in (stack.t1w, stack.t2w, stack.matrices):
            found.update(canonical_json([str(array.dtype), array.shape]).encode())
            found.update(np.ascontiguousarray(array).tobytes())
    return f"sha256:{found.hexdigest()}"


def _claim(folder: Path, recipe: Recipe, cohort_digest: str, data_digest: str, weights: Path | None) -> None:
    """Write what this experiment is, or refuse a folder that holds another."""
    path = folder / IDENTITY_FILE
    identity = {
        "schema": SCHEMA,
        "recipe": recipe.to_mapping(),
        "cohort_digest": cohort_digest,
        "data_digest": data_digest,
        "imagenet_digest": "" if weights is None else _file_digest(weights),
    }
    try:
        before = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        write_text(path, json.dumps(identity, indent=2, ensure_ascii=False) + "\n")
        return
    except (OSError, ValueError) as error:
        raise WorkspaceError(f"an unreadable {IDENTITY_FILE}", where=folder.name, remedy=_START_AFRESH) from error
    changed = [key for key in identity if before.get(key) != identity[key] and key != "recipe"]
    was, now = before.get("recipe", {}), identity["recipe"]
    assert isinstance(now, dict)
    changed += [f"{key} (was {was.get(key)!r}, now {now[key]!r})" for key in now if was.get(key) != now[key]]
    if changed:
        raise WorkspaceError(
            f"an experiment that differs in {', '.join(changed)}", where=folder.name, remedy=_START_AFRESH
        )


_START_AFRESH = "Give the new experiment another name, or remove the old one."


def _file_digest(path: Path) -> str:
    try:
        return digest_of(path.read_bytes())
    except OSError as error:
        raise FileError("the weights file cannot be read", where=path.name) from error


def _check_pixels(stacks: Sequence[PatchStack], folds: Sequence[Fold]) -> AuditCheck:
    """Search for one patient under two names on two sides of any fold."""
    twins = find_twins(stacks)
    findings = [
        f"{twin.first} and {twin.second} show the same pixels (correlation {twin.correlation:.4f}, "
        f"above {TWIN_CORRELATION}) on two sides of a fold"
        for twin in twins
        if twin.is_copy
        and any(fold.side_of(twin.first_participant) != fold.side_of(twin.second_participant) for fold in folds)
    ]
    slices = sum(len(stack.slices) for stack in stacks)
    worst = max((twin.correlation for twin in twins), default=None)
    return AuditCheck("near-duplicate pixels across folds", slices * (slices - 1) // 2, tuple(findings), worst=worst)


def _conclude(checks: tuple[AuditCheck, ...], folder: Path) -> AuditReport:
    """Store the audit, and stop where it found a leak."""
    report = AuditReport(checks)
    write_text(folder / AUDIT_FILE, json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n")
    report.raise_for_leaks()
    return report

"""Cross-validate on the patches of a workspace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinefx.cases.cohort import Cohort
from spinefx.cases.reading import patient_readings
from spinefx.errors import InputError
from spinefx.learning.card import read_card
from spinefx.learning.classifier import software_versions
from spinefx.learning.crossvalidation import CrossValidation, cross_validate, train_folds
from spinefx.learning.device import choose_route
from spinefx.learning.leaks import AuditCheck
from spinefx.learning.networks import Network, network_named
from spinefx.learning.recipe import Recipe
from spinefx.processes.cluster import LOCAL, share_of
from spinefx.workspace.experiment import Experiment
from spinefx.workspace.layout import Workspace
from spinefx.workspace.stacks import load_stacks, recorded_measures, recorded_slice_digests

__all__ = ["TrainingOutcome", "train"]


@dataclass(frozen=True)
class TrainingOutcome:
    """A finished experiment, or the progress of an unfinished one.

    Parameters
    ----------
    name : str
    folds : int
        Number of folds in all repeats.
    stamps : tuple of str
        Statements that must accompany its figures.
    route : str
        Where it was computed, and why.
    left : int
        Folds that other jobs of an array still have to finish; until then the results are not joined.
    """

    name: str
    folds: int
    stamps: tuple[str, ...]
    route: str
    left: int = 0


def train(
    root: Path,
    recipe: str | Recipe,
    *,
    name: str | None = None,
    weights: Path | None = None,
    workers: int = 1,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
    shard: str | None = None,
    on: str = LOCAL,
    network: Network | None = None,
) -> TrainingOutcome:
    """Run a cross-validation, or continue an interrupted one.

    Parameters
    ----------
    root : Path
        A workspace with patches.
    recipe : str or Recipe
        Name of a preset, or path of a TOML file.
    name : str, optional
        Name of the experiment; by default that of the recipe.
    weights : Path, optional
        Local ImageNet weights in torchvision's format.
    workers : int
        Folds trained at once on a CPU; the results do not depend on it.
    device : {'auto', 'cpu', 'cuda'}
        Where to compute; ``auto`` uses a GPU where a working one is found.
    progress : callable, optional
        Called with the label of the fold, the epoch and the number of epochs.
    shard : str, optional
        ``i/n``: train every n-th fold, beginning with the i-th; the job that finishes the last one joins them.
    on : str
        Where to train, see :func:`spinefx.processes.cluster.spread`.
    network : Network, optional
        The network that the recipe names, where it is not one of :data:`spinefx.learning.networks.NETWORKS`.

    Returns
    -------
    TrainingOutcome

    Raises
    ------
    InputError, RecipeError, WorkspaceError, LeakError
    """
    chosen = Recipe.named(recipe) if isinstance(recipe, str) else recipe
    if on != LOCAL and device == "cuda":
        raise InputError("A cluster trains on CPUs only", allowed="either --device cuda or --on")
    route = choose_route(device if on == LOCAL else "cpu")
    workspace = Workspace.open(root)
    cases, stacks = load_stacks(workspace, chosen.patch_settings)
    cohort, folder = Cohort(cases), workspace.patches_folder(chosen.patch_settings)
    measures = {case.case_id: recorded_measures(folder, case.participant_id, case.case_id) for case in cases}
    shown = {case.case_id: recorded_slice_digests(folder, case.participant_id, case.case_id) for case in cases}
    experiment = Experiment(workspace.experiment_folder(name or chosen.name))
    jobs: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    common = {"workers": workers, "weights": weights, "route": route, "on": on, "network": network}
    for number in range(1, chosen.repeats + 1):
        folder = experiment.models_folder if number == 1 else experiment.models_folder / f"repeat-{number:02d}"
        told = _named(progress, number, chosen.repeats)
        given = (stacks, cohort.truth, chosen.repetition(number), folder)
        recorded: dict[str, Any] = {"cohort_digest": cohort.digest, "measures": measures, "slice_digests": shown}
        jobs.append((given, common | recorded | {"progress": told}))
    if shard is not None:
        left = sum(train_folds(*given, share=share_of(shard), **known) for given, known in jobs)
        if left:
            return TrainingOutcome(experiment.name, chosen.folds * chosen.repeats, (), route.said, left)
    runs = [cross_validate(*given, **known) for given, known in jobs]
    first = read_card(experiment.models_folder / runs[0].folds[0].label)
    stamps = _stamps(chosen, first.initialisation.said, network)
    restarted = sorted({label for run in runs for label in run.restarted})
    said = route.said + (
        f" Restarted because they were begun in another way: {', '.join(restarted)}." if restarted else ""
    )
    _record(experiment, chosen, cohort, runs, stamps, said)
    return TrainingOutcome(experiment.name, sum(len(run.folds) for run in runs), stamps, said)


def _stamps(recipe: Recipe, initialisation: str, network: Network | None) -> tuple[str, ...]:
    """List the statements that must accompany a recipe's figures."""
    stamps = [f"Optimistic: {recipe.optimistic}."] if recipe.optimistic else []
    note = network_named(recipe.network, network).note
    if note:
        stamps.append(f"Recipe {recipe.name!r} trains {recipe.network}, {note}.")
    if recipe.initialisation == "imagenet":
        stamps.append(f"Initialisation: {initialisation}.")
    return tuple(stamps)


def _named(
    progress: Callable[[str, int, int], None] | None, number: int, repeats: int
) -> Callable[[str, int, int], None] | None:
    if progress is None or repeats == 1:
        return progress
    return lambda label, epoch, epochs: progress(f"repeat {number} {label}", epoch, epochs)


def _record(
    experiment: Experiment,
    recipe: Recipe,
    cohort: Cohort,
    runs: Sequence[CrossValidation],
    stamps: Sequence[str],
    route: str,
) -> None:
    readings = patient_readings(
        runs[0].predictions,
        reader_id=experiment.name,
        rule=recipe.patient_score,
        threshold=recipe.threshold,
        corrected=recipe.threshold_on == "corrected",
    )
    experiment.start(recipe.dump())
    experiment.finish(
        predictions=[(number, one) for number, run in enumerate(runs, 1) for one in run.predictions],
        readings=readings,
        folds=[row for number, run in enumerate(runs, 1) for row in _fold_rows(number, run)],
        history=[row for number, run in enumerate(runs, 1) for row in _history_rows(number, run)],
        audit=[_audit_row(check) for run in runs for check in run.audit.checks],
        environment={
            "recipe": recipe.name,
            "recipe_digest": recipe.digest,
            "cohort_digest": cohort.digest,
            "model_digests": [result.model_digest for run in runs for result in run.results],
            "stamps": list(stamps),
            "software": software_versions(),
            "route": route,
        },
    )


def _fold_rows(number: int, run: CrossValidation) -> list[tuple[object, ...]]:
    inner: dict[str, list[str]] = {}
    for fold in run.folds:
        for who in fold.inner:
            inner.setdefault(who, []).append(str(fold.number))
    return [
        (number, who, fold.number, " ".join(inner.get(who, [])) or None)
        for fold in run.folds
        for who in sorted(fold.test)
    ]


def _history_rows(number: int, run: CrossValidation) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for result in run.results:
        for row in result.history.rows:
            kept = "yes" if row.epoch == result.history.kept_epoch else "no"
            rate = f"{row.learning_rate:.6g}"
            rows.append((number, result.fold, row.epoch, rate, row.training_loss, row.validation_loss, kept))
    return rows


def _audit_row(check: AuditCheck) -> tuple[str, str, int, str]:
    nearest = "" if check.worst is None else f", nearest to a finding {check.worst:.4f}"
    detail = "; ".join(check.declared) or f"{check.compared} compared{nearest}"
    return check.name, "declared leak" if check.declared else "passed", check.compared, detail

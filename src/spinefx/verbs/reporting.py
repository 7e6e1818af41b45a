"""From an experiment to its tables, curve and page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from spinefx import __version__
from spinefx.cases.reading import Reading, patient_readings
from spinefx.evidence.report import Finding, ReportContent, render_report
from spinefx.evidence.table import ResultTable
from spinefx.evidence.tables import ModelResult, performance_table
from spinefx.learning.recipe import Recipe
from spinefx.vocabulary import Diagnosis, TruthSource
from spinefx.workspace.experiment import Experiment
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import Participant, read_cohort, read_participants, read_readings
from spinefx.workspace.stacks import sheet_path

__all__ = ["WrittenReport", "report"]


@dataclass(frozen=True)
class WrittenReport:
    """A report on the disk.

    Parameters
    ----------
    page : Path
        The self-contained HTML page.
    table : ResultTable
        Per-patient diagnosis, for the terminal.
    stamps : tuple of str
    """

    page: Path
    table: ResultTable
    stamps: tuple[str, ...]


def report(root: Path, name: str | None = None) -> WrittenReport:
    """Write the report of one experiment, with the study folder's other finished ones beside it.

    Parameters
    ----------
    root : Path
    name : str, optional
        Not needed where there is one experiment only.

    Returns
    -------
    WrittenReport

    Raises
    ------
    WorkspaceError
        When there is no such experiment or it is not finished.
    """
    workspace = Workspace.open(root)
    experiment = Experiment.choose(workspace, name)
    cohort = read_cohort(workspace)
    participants = read_participants(workspace)
    phantom = any(case.truth_source == TruthSource.PHANTOM for case in cohort)
    models = [model for one in _finished(workspace, experiment) for model in _results(one)]
    readings = [reading for reading in read_readings(workspace) if reading.case_id in cohort.truth]
    recipe = Recipe.load(experiment.recipe_path)
    folder = workspace.patches_folder(recipe.patch_settings)
    sheets = {case.case_id: sheet_path(folder, case.participant_id, case.case_id) for case in cohort}
    stale = experiment.read_environment().get("cohort_digest") != cohort.digest
    content = ReportContent(
        title=f"spinefx: {experiment.name}",
        truth=cohort.truth,
        models=models,
        readings=readings,
        cohort=_cohort_table(participants, {case.participant_id for case in cohort}),
        audit=[Finding(check, result == "passed", detail) for check, result, detail in experiment.read_audit()],
        provenance=_provenance(experiment, recipe),
        sheets={case_id: path.read_bytes() for case_id, path in sheets.items() if path.is_file()},
        phantom=phantom,
        stale=stale,
    )
    page = experiment.write_report(render_report(content))
    stamps = (*(["Phantom: synthetic images; these figures say nothing about patients."] if phantom else []),)
    return WrittenReport(page, performance_table(cohort.truth, readings, models), stamps + models[0].stamps)


def _finished(workspace: Workspace, first: Experiment) -> list[Experiment]:
    others = [
        Experiment(workspace.experiment_folder(name)) for name in workspace.experiment_names() if name != first.name
    ]
    return [first, *(one for one in others if one.is_finished())]


def _results(experiment: Experiment) -> list[ModelResult]:
    """Give each repeat of an experiment as a model of its own."""
    recipe = Recipe.load(experiment.recipe_path)
    predictions = experiment.read_predictions()
    stamps = tuple(str(stamp) for stamp in experiment.read_environment().get("stamps", []))
    results = []
    for number in sorted({number for number, _ in predictions}):
        mine = tuple(prediction for of, prediction in predictions if of == number)
        label = experiment.name if number == 1 else f"{experiment.name}, repeat {number}"
        corrected = recipe.threshold_on == "corrected"
        readings: tuple[Reading, ...] = patient_readings(
            mine, reader_id=label, rule=recipe.patient_score, threshold=recipe.threshold, corrected=corrected
        )
        results.append(ModelResult(label, mine, readings, recipe.threshold, corrected, stamps))
    return results


def _cohort_table(participants: tuple[Participant, ...], with_case: set[str]) -> ResultTable:
    rows = []
    for diagnosis in Diagnosis:
        group = [person for person in participants if person.diagnosis == diagnosis]
        ages = [person.age for person in group if person.age is not None]
        sexes = Counter(person.sex or "unknown" for person in group)
        sources = Counter(str(person.truth_source) for person in group)
        rows.append(
            (
                str(diagnosis),
                len(group),
                sum(person.participant_id in with_case for person in group),
                f"{sum(ages) / len(ages):.1f} ({min(ages):.0f} to {max(ages):.0f})" if ages else "unknown",
                ", ".join(f"{count} {sex}" for sex, count in sorted(sexes.items())),
                ", ".join(f"{count} {source}" for source, count in sorted(sources.items())),
            )
        )
    columns = ("diagnosis", "participants", "with a marked vertebra", "mean age (range)", "sex", "truth by")
    return ResultTable("cohort", "Cohort", columns, tuple(rows))


def _provenance(experiment: Experiment, recipe: Recipe) -> dict[str, str]:
    environment = experiment.read_environment()
    software = ", ".join(f"{name} {version}" for name, version in environment.get("software", {}).items())
    said = {
        "recipe": f"{recipe.name} ({environment.get('recipe_digest')})",
        "cohort": str(environment.get("cohort_digest")),
        "models": ", ".join(str(digest)[7:19] for digest in environment.get("model_digests", [])),
        "trained with": software,
        "reported with": f"spinefx {__version__}",
    }
    return said | {f"recipe: {key}": str(value) for key, value in recipe.model_dump().items() if key != "name"}

"""Write the report of an experiment: tables, curves and one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spinefx import __version__
from spinefx.cases.cohort import Cohort
from spinefx.cases.patch import PatchSettings
from spinefx.cases.reading import Reading, patient_readings
from spinefx.errors import WorkspaceError
from spinefx.learning.recipe import Recipe
from spinefx.report.content import Finding, ParticipantSummary, ReportContent
from spinefx.report.document import PHANTOM_NOTICE, render_report
from spinefx.statistics.performance import ModelResult, performance_table
from spinefx.statistics.table import ResultTable
from spinefx.tables.rows import read_table
from spinefx.vocabulary import TruthSource
from spinefx.workspace.experiment import Experiment
from spinefx.workspace.layout import Workspace
from spinefx.workspace.located_boxes import read_located_boxes
from spinefx.workspace.records import read_cohort, read_participants, read_readings, read_signs
from spinefx.workspace.stacks import sheet_path

__all__ = ["WrittenReport", "write_report"]

# Another writer of tables is done within moments; an ingest is not.
WAIT_S = 10.0
# Folder of the report of a workspace without an experiment.
READERS = "readers"


@dataclass(frozen=True)
class WrittenReport:
    """A report on disk.

    Parameters
    ----------
    page : Path
        The self-contained HTML page.
    table : ResultTable
        Diagnosis per patient, for the terminal.
    stamps : tuple of str
    """

    page: Path
    table: ResultTable
    stamps: tuple[str, ...]


def write_report(root: Path, name: str | None = None) -> WrittenReport:
    """Write the report of one experiment, with the other finished experiments of the workspace for comparison.

    Parameters
    ----------
    root : Path
    name : str, optional
        Optional where there is only one experiment, and where there is none but there are readings: the report is then
        on the readers alone, and lies in the folder ``readers`` of the workspace.

    Returns
    -------
    WrittenReport

    Raises
    ------
    WorkspaceError
        When the experiment does not exist, is not finished, or has no prediction for any case.
    """
    workspace = Workspace.open(root)
    cohort = read_cohort(workspace)
    readings = read_readings(workspace)
    if name is None and readings and not workspace.experiment_names():
        experiment, models = Experiment(workspace.root / READERS), []
    else:
        experiment = Experiment.choose(workspace, name)
        models = [model for one in _finished(workspace, experiment) for model in _results(one, cohort)]
        if not models:
            found = f"there is no prediction for any of the {len(cohort)} cases of the workspace"
            raise WorkspaceError(found, where=experiment.name, remedy="Train again with `spinefx train`.")
    content = _content(workspace, experiment, cohort, models, readings)
    files = render_report(content)
    with workspace.writing(wait_s=WAIT_S):
        page = experiment.write_report(files)
    stamps = (PHANTOM_NOTICE,) if content.phantom else ()
    table = performance_table(cohort.truth, content.readings, content.named_models)
    return WrittenReport(page, table, stamps + (models[0].stamps if models else ()))


def _content(
    workspace: Workspace,
    experiment: Experiment,
    cohort: Cohort,
    models: Sequence[ModelResult],
    readings: Sequence[Reading],
) -> ReportContent:
    owners = {case.case_id: case.participant_id for case in cohort}
    content = ReportContent(
        title=f"spinefx: {experiment.name}",
        truth=cohort.truth,
        models=models,
        readings=readings,
        participants=[
            ParticipantSummary(one.participant_id, one.diagnosis, one.truth_source, one.age, one.sex, one.primary_tumor)
            for one in read_participants(workspace)
        ],
        owners=owners,
        levels={case.case_id: case.lesion.level for case in cohort},
        signs=read_signs(workspace),
        located=[(one.chosen_by, one.distance_mm, one.shared_slices > 0) for one in read_located_boxes(workspace)],
        refused=_refused(workspace),
        provenance={"reported with": f"spinefx {__version__}"},
        phantom=any(case.truth_source == TruthSource.PHANTOM for case in cohort),
    )
    if not models:
        return content
    recipe = _recipe(experiment)
    folder = workspace.patches_folder(recipe.patch_settings if recipe else PatchSettings())

    def sheet(case_id: str) -> bytes | None:
        path = sheet_path(folder, owners[case_id], case_id)
        return path.read_bytes() if path.is_file() else None

    return replace(
        content,
        audit=[Finding(check, result == "passed", detail) for check, result, detail in experiment.read_audit()],
        provenance=_provenance(experiment, recipe),
        sheet=sheet,
        sign_chances=experiment.read_sign_chances(),
        stale=experiment.read_environment().get("cohort_digest") != cohort.digest,
    )


def _recipe(experiment: Experiment) -> Recipe | None:
    """Return the recipe of a box model; a signs model has none."""
    return None if experiment.reads_signs else Recipe.load(experiment.recipe_path)


def _finished(workspace: Workspace, first: Experiment) -> list[Experiment]:
    others = [
        Experiment(workspace.experiment_folder(name)) for name in workspace.experiment_names() if name != first.name
    ]
    return [first, *(one for one in others if one.is_finished())]


def _results(experiment: Experiment, cohort: Cohort) -> list[ModelResult]:
    """Return each repeat of an experiment as a separate model, without cases that have left the workspace."""
    recipe = _recipe(experiment)
    # The diagnosis of a signs model is one number for each case, and its prior is that of the cohort.
    corrected = recipe is not None and recipe.threshold_on == "corrected"
    rule, threshold = (recipe.patient_score, recipe.threshold) if recipe else ("mean", 0.5)
    predictions = experiment.read_predictions()
    stamps = tuple(str(stamp) for stamp in experiment.read_environment().get("stamps", []))
    results = []
    for number in sorted({number for number, _ in predictions}):
        mine = tuple(
            prediction for of, prediction in predictions if of == number and prediction.case_id in cohort.truth
        )
        label = experiment.name if number == 1 else f"{experiment.name}, repeat {number}"
        readings: tuple[Reading, ...] = patient_readings(
            mine, reader_id=label, rule=rule, threshold=threshold, corrected=corrected
        )
        results.append(ModelResult(label, mine, readings, threshold, corrected, stamps, rule))
    return results


def _refused(workspace: Workspace) -> dict[str, int]:
    """Count the rejected series by reason, the most frequent first."""
    if not workspace.refused_series_table.exists():
        return {}
    rows = read_table(workspace.refused_series_table, required=("reason",)).rows
    return dict(Counter(row.text("reason") for row in rows).most_common())


def _provenance(experiment: Experiment, recipe: Recipe | None) -> dict[str, str]:
    environment = experiment.read_environment()
    software = ", ".join(f"{name} {version}" for name, version in environment.get("software", {}).items())
    said = {
        "recipe": f"{recipe.name if recipe else 'signs'} ({environment.get('recipe_digest')})",
        "cohort": str(environment.get("cohort_digest")),
        "models": ", ".join(str(digest)[7:19] for digest in environment.get("model_digests", [])),
        "trained with": software,
        "reported with": f"spinefx {__version__}",
    }
    values = {} if recipe is None else recipe.to_mapping()
    return said | {f"recipe: {key}": str(value) for key, value in values.items() if key != "name"}

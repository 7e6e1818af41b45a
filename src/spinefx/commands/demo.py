"""Run the whole experiment on a phantom cohort, from DICOM to the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spinefx.commands.ingest import ingest
from spinefx.commands.patch import patch
from spinefx.commands.propose import replace_boxes
from spinefx.commands.report import WrittenReport, write_report
from spinefx.commands.train import train
from spinefx.errors import WorkspaceError
from spinefx.files import canonical_json, write_text
from spinefx.learning.recipe import Recipe
from spinefx.phantom.cohort import PhantomSettings, write_cohort
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions

__all__ = ["demo"]


def demo(
    folder: Path,
    *,
    patients: int = 80,
    seed: int = 1,
    recipe: str = "quick",
    workers: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> WrittenReport:
    """Render, ingest, locate, patch, cross-validate and report; completed steps are not repeated.

    The boxes of every second patient are those that the localiser places at the patient's level; the report says how
    far they lie from the truth.

    Parameters
    ----------
    folder : Path
        Receives ``export`` (DICOM and tables, as from a hospital) and ``study`` (the workspace).
    patients : int
    seed : int
    recipe : str
    workers : int
    progress : callable, optional

    Returns
    -------
    WrittenReport

    Raises
    ------
    WorkspaceError
        When the folder holds anything else, or a demo with other settings.
    """
    chosen = Recipe.named(recipe)
    settings = PhantomSettings(patients=patients, seed=seed)
    export, study = folder / "export", folder / "study"
    _claim(folder, {"patients": patients, "seed": seed})
    tell = progress or (lambda step, done, total: None)
    write_cohort(export, settings, workers=workers, progress=lambda done, n: tell("rendering phantoms", done, n))
    if not Workspace.is_at(study) or not Workspace.open(study).participants_table.is_file():
        ingest(
            study,
            export,
            table=export / "cases.csv",
            signs=export / "signs.csv",
            readings=export / "readings.csv",
            workers=workers,
            progress=progress,
        )
    _locate_half(Workspace.open(study), workers, progress)
    patch(study, chosen.patch_settings, workers=workers, progress=lambda done, n: tell("cutting patches", done, n))
    outcome = train(study, chosen, workers=workers, progress=progress)
    return write_report(study, outcome.name)


def _locate_half(workspace: Workspace, workers: int, progress: Callable[[str, int, int], None] | None) -> None:
    """Replace the boxes of every second case by the localiser's, once."""
    if workspace.located_boxes_table.exists():
        return
    cases = sorted(record.case_id for record in read_lesions(workspace))
    replace_boxes(workspace, cases[::2], workers=workers, progress=progress)


def _claim(folder: Path, numbers: dict[str, int]) -> None:
    """Record the settings of the demo, or refuse a folder that holds another one."""
    marker = folder / "demo.json"
    if marker.is_file():
        if marker.read_text(encoding="utf-8").strip() != canonical_json(numbers):
            raise WorkspaceError(
                "the folder holds a demo with other settings", where=folder.name, remedy="Choose another folder."
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise WorkspaceError("the folder is not empty", where=folder.name, allowed="a new or empty folder")
    write_text(marker, canonical_json(numbers) + "\n")

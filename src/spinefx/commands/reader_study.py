"""Register a reader study, export its answers, check an export."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from spinefx.cases.reading import Reading, SignScores
from spinefx.errors import DesignError, WorkspaceError
from spinefx.learning.recipe import Recipe
from spinefx.reader_study.assistance import ModelPin, pin_model
from spinefx.reader_study.design import StudyDesign
from spinefx.reader_study.export import (
    check_export,
    check_files,
    check_signature,
    read_key,
    readings_of,
    signs_of,
    states_of,
    write_export,
)
from spinefx.reader_study.log import Log
from spinefx.reader_study.study import RegisteredStudy, find_study, mark_of, register_study
from spinefx.vocabulary import Arm
from spinefx.workspace.experiment import Experiment
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort, read_readings, read_signs, write_readings, write_signs

__all__ = ["ExportedStudy", "check", "export", "export_study", "open_log", "register", "register_design"]

# Another writer of tables is done within moments; an ingest is not.
WAIT_S = 10.0
Row = TypeVar("Row", Reading, SignScores)


@dataclass(frozen=True)
class ExportedStudy:
    """Summary of an export.

    Parameters
    ----------
    folder : Path
    readings, signs : int
        Rows that count; they are now also in the tables of the workspace.
    missing : int
        Readings that the design requires and that do not exist yet.
    """

    folder: Path
    readings: int
    signs: int
    missing: int


def open_log(workspace: Workspace, database: str = "") -> Log:
    """Open the log of a workspace.

    Parameters
    ----------
    workspace : Workspace
    database : str
        Address of the database; empty for the file in the workspace.

    Returns
    -------
    Log

    Raises
    ------
    WorkspaceError
    """
    return Log(database) if database else Log.beside(workspace.log_file)


def register(root: Path, design_file: Path, *, database: str = "", by: str = "local") -> RegisteredStudy:
    """Register the reader study of a design file, or add cases or readers to a registered one.

    Parameters
    ----------
    root : Path
        The workspace.
    design_file : Path
        TOML file.
    database : str
        Address of the log's database; empty for the file in the workspace.
    by : str
        Code of the user who registers it.

    Returns
    -------
    RegisteredStudy

    Raises
    ------
    DesignError
        When the design contradicts itself, the cohort, or the registered study.
    WorkspaceError
    """
    workspace = Workspace.open(root)
    design = StudyDesign.load(design_file)
    log = open_log(workspace, database)
    try:
        return register_design(workspace, log, design, by=by)
    finally:
        log.close()


def register_design(workspace: Workspace, log: Log, design: StudyDesign, *, by: str) -> RegisteredStudy:
    """Register a reader study.

    Parameters
    ----------
    workspace : Workspace
    log : Log
    design : StudyDesign
    by : str

    Returns
    -------
    RegisteredStudy

    Raises
    ------
    DesignError
    WorkspaceError
    """
    known = {case.case_id: case for case in read_cohort(workspace)}
    owners = {name: case.participant_id for name, case in known.items()}
    cases = design.cases or tuple(case for case in owners if case not in design.practice)
    design = replace(design, cases=cases)
    strangers = [case for case in (*cases, *design.practice) if case not in owners]
    if strangers:
        raise DesignError(
            f"{strangers[0]!r} is not a case of this workspace",
            where="design",
            allowed="cases with a diagnosis and a marked vertebra",
        )
    wanted = {case: owners[case] for case in (*cases, *design.practice)}
    marks = {name: mark_of(known[name]) for name in wanted}
    return register_study(log, design, _pin(workspace, design, wanted), marks, by=by)


def export(
    root: Path, name: str, folder: Path, *, database: str = "", by: str = "local", key_file: Path | None = None
) -> ExportedStudy:
    """Write a reader study's answers for analysis programs, and into the tables of the workspace.

    Parameters
    ----------
    root : Path
        The workspace.
    name : str
        Name of the reader study.
    folder : Path
        Where to write the files; new or empty.
    database : str
        Address of the log's database; empty for the file in the workspace.
    by : str
        Code of the user who exports.
    key_file : Path, optional
        File with the key that signs the export.

    Returns
    -------
    ExportedStudy

    Raises
    ------
    FileError
        When the key cannot be used; nothing is written.
    AccessError
        When there is no such reader study.
    LogError
        When the log has been altered.
    WorkspaceError
        When a table holds a different answer of the same reader to the same case; nothing is written.
    """
    workspace = Workspace.open(root)
    key = None if key_file is None else read_key(key_file)
    log = open_log(workspace, database)
    try:
        return export_study(workspace, log, name, folder, by=by, key=key)
    finally:
        log.close()


def check(folder: Path, root: Path | None = None, *, database: str = "", key_file: Path | None = None) -> int | None:
    """Check that an export is unchanged, by its digests, its signature and the log.

    Parameters
    ----------
    folder : Path
        As written by :func:`export`.
    root : Path, optional
        The workspace, to compare with its log.
    database : str
        Address of the log's database; empty for the file in the workspace.
    key_file : Path, optional
        File with the key that signed it.

    Returns
    -------
    int or None
        Number of log entries checked; None without a log.

    Raises
    ------
    FileError
        When the key cannot be used.
    LogError
        When anything disagrees, naming it.
    WorkspaceError
    """
    if key_file is not None:
        check_signature(folder, read_key(key_file))
    if root is None and not database:
        check_files(folder)
        return None
    log = Log(database) if database else Log.beside(Workspace.open(root or Path()).log_file)
    try:
        return check_export(folder, log)
    finally:
        log.close()


def export_study(
    workspace: Workspace, log: Log, name: str, folder: Path, *, by: str, key: bytes | None = None
) -> ExportedStudy:
    """Do the work of :func:`export` with an open workspace and log.

    Parameters
    ----------
    workspace : Workspace
    log : Log
    name : str
    folder : Path
    by : str
    key : bytes, optional

    Returns
    -------
    ExportedStudy

    Raises
    ------
    AccessError
    LogError
    WorkspaceError
    """
    study = find_study(log, name)
    states = states_of(log, study)
    with workspace.writing(wait_s=WAIT_S):
        # Both are checked before anything is written.
        _merged(_without_aided(workspace, readings_of(study, states)), readings_of(study, states), _reading_key)
        _merged(read_signs(workspace), signs_of(states), _signs_key)
        readings, signs = write_export(folder, log, study, read_cohort(workspace).truth, by=by, key=key)
        write_readings(workspace, _merged(_without_aided(workspace, readings), readings, _reading_key))
        write_signs(workspace, _merged(read_signs(workspace), signs, _signs_key))
    arms = 2 if study.design.is_aided else 1
    missing = arms * len(study.cases) * len(study.design.readers) - len(readings)
    return ExportedStudy(folder, len(readings), len(signs), missing)


def _pin(workspace: Workspace, design: StudyDesign, cases: dict[str, str]) -> ModelPin | None:
    if not design.is_aided:
        return None
    recipe = Recipe.load(Experiment.choose(workspace, design.experiment).recipe_path)
    return pin_model(
        workspace,
        design.experiment,
        cases,
        rule=recipe.patient_score,
        threshold=recipe.threshold,
        corrected=recipe.threshold_on == "corrected",
    )


def _without_aided(workspace: Workspace, readings: Iterable[Reading]) -> list[Reading]:
    """Return the readings of the workspace without perturbed ones that an earlier version exported as aided."""
    outdated = {replace(one, arm=Arm.AIDED) for one in readings if one.arm is Arm.PERTURBED}
    return [one for one in read_readings(workspace) if one not in outdated]


def _reading_key(row: Reading) -> tuple[str, ...]:
    return row.case_id, row.reader_id, str(row.arm)


def _signs_key(row: SignScores) -> tuple[str, ...]:
    return row.case_id, row.reader_id


def _merged(present: Iterable[Row], added: Iterable[Row], key: Callable[[Row], tuple[str, ...]]) -> list[Row]:
    rows = {key(row): row for row in present}
    for row in added:
        if rows.setdefault(key(row), row) != row:
            raise WorkspaceError(
                f"the tables of the workspace hold a different answer by {key(row)[1]}",
                where=key(row)[0],
                remedy="Remove those rows, or use another reader code in this study.",
            )
    return list(rows.values())

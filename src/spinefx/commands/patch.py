"""Align every case's series, cut its patches, draw its contact sheet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spinefx.cases.alignment import align_series, alignment_record
from spinefx.cases.cohort import Case
from spinefx.cases.cutting import cut_patches
from spinefx.cases.patch import PatchSettings
from spinefx.cases.sheet import contact_sheet
from spinefx.errors import InputError, SpinefxError
from spinefx.files import write_bytes
from spinefx.imaging.nifti import read_nifti
from spinefx.processes.pool import map_items
from spinefx.vocabulary import MARKED, TruthSource
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort
from spinefx.workspace.stacks import recorded_alignments, save_stack, sheet_path, source_digest, stack_is_current

__all__ = ["PatchReport", "patch"]


@dataclass(frozen=True)
class PatchReport:
    """What became of the cases.

    Parameters
    ----------
    folder : Path
        Where patches and contact sheets lie.
    cut, kept, slices : int
        Cases cut now, cases that were current already, patches in all.
    methods : tuple of str
        How each case was registered, in the order of cases.
    notes : tuple of str
        One line for each case that could not be cut.
    """

    folder: Path
    cut: int
    kept: int
    slices: int
    methods: tuple[str, ...]
    notes: tuple[str, ...]


def patch(
    root: Path,
    settings: PatchSettings | None = None,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> PatchReport:
    """Align, cut and draw; cases whose patches are current are left alone, so that a cut-off run goes on.

    Parameters
    ----------
    root : Path
        A study folder.
    settings : PatchSettings, optional
        The protocol's by default.
    workers : int
    progress : callable, optional

    Returns
    -------
    PatchReport

    Raises
    ------
    InputError
        When no case has a box, or none could be cut.
    """
    settings = settings or PatchSettings()
    workspace = Workspace.open(root)
    cases = list(read_cohort(workspace))
    if not cases:
        raise InputError("no marked vertebra in the study folder", remedy="Give boxes in cases.csv, or mark them.")
    folder = workspace.patches_folder(settings)
    jobs = [(root, case, settings) for case in cases if not _is_current(folder, case, settings)]
    outcomes = map_items(_patch_case, jobs, workers=workers, progress=progress)
    workspace.describe_derivative(folder, "spinefx patches", Settings=settings.to_json())
    notes = tuple(
        f"{job[1].case_id}: {o}" for job, o in zip(jobs, outcomes, strict=True) if isinstance(o, SpinefxError)
    )
    if len(notes) == len(cases):
        raise InputError("not one case could be cut", remedy=notes[0])
    failed = {job[1].case_id for job, outcome in zip(jobs, outcomes, strict=True) if isinstance(outcome, SpinefxError)}
    done = [case for case in cases if case.case_id not in failed]
    methods = tuple(_recorded_method(folder, case) for case in done)
    slices = sum(len(case.lesion.slices) for case in done)
    return PatchReport(folder, len(jobs) - len(notes), len(cases) - len(jobs), slices, methods, notes)


def _is_current(folder: Path, case: Case, settings: PatchSettings) -> bool:
    return stack_is_current(folder, case.participant_id, case.case_id, source_digest(case, settings))


def _patch_case(job: tuple[Path, Case, PatchSettings]) -> None:
    """Align and cut one case; runs in another process."""
    root, case, settings = job
    workspace = Workspace(root)
    lesion = case.lesion
    series = {}
    for weighting in settings.sequences:
        path = workspace.image(case.participant_id, weighting)
        if not path.is_file():
            raise InputError(
                f"no {weighting} image",
                where=case.participant_id,
                remedy=f"Ingest with --sequences {','.join(settings.sequences)}, or take a recipe without {weighting}.",
            )
        series[weighting] = read_nifti(path)
    lesion.check_inside(series[MARKED])
    aligned = align_series(lesion, series, method=settings.registration)
    stack = cut_patches(lesion, aligned, case_id=case.case_id, participant_id=case.participant_id, settings=settings)
    stamp = "phantom" if case.truth_source == TruthSource.PHANTOM else ""
    folder = workspace.patches_folder(settings)
    picture = contact_sheet(lesion, aligned, stack, stamp=stamp)
    write_bytes(sheet_path(folder, case.participant_id, case.case_id), picture)
    records = {str(one.weighting): alignment_record(one) for one in aligned if one.alignment is not None}
    save_stack(folder, stack, source_digest(case, settings), records)


def _recorded_method(folder: Path, case: Case) -> str:
    methods = [record["method"] for record in recorded_alignments(folder, case.participant_id, case.case_id).values()]
    return " and ".join(dict.fromkeys(methods)) or "none"

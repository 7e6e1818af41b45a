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
from spinefx.imaging.selection import choose_series
from spinefx.imaging.study import open_study
from spinefx.learning.measures import image_measures
from spinefx.learning.training_slices import slice_digests
from spinefx.processes.pool import map_items
from spinefx.vocabulary import MARKED, TruthSource
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort
from spinefx.workspace.stacks import recorded_alignments, save_stack, sheet_path, source_digest, stack_is_current
from spinefx.workspace.volumes import file_digests, read_image

__all__ = ["PatchReport", "patch"]


@dataclass(frozen=True)
class PatchReport:
    """Summary of the cut cases.

    Parameters
    ----------
    folder : Path
        Folder of patches and contact sheets.
    cut, kept, slices : int
        Numbers of cases cut now, cases that were already current, and patches of all cases.
    methods : tuple of str
        Registration method of each case, in the order of the cases.
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
    """Align, cut and draw every case; current patches are kept, so that an interrupted run continues.

    Parameters
    ----------
    root : Path
        The workspace.
    settings : PatchSettings, optional
        By default those of the protocol.
    workers : int
    progress : callable, optional

    Returns
    -------
    PatchReport

    Raises
    ------
    InputError
        When no case has a box, or no patches could be extracted.
    """
    settings = settings or PatchSettings()
    workspace = Workspace.open(root)
    cases = list(read_cohort(workspace))
    if not cases:
        raise InputError(
            "No vertebra is marked in the workspace", remedy="Add boxes to cases.csv, or mark them in the web app."
        )
    folder = workspace.patches_folder(settings)
    jobs = [(root, case, settings) for case in cases if not _is_current(folder, case, settings)]
    with workspace.writing():
        outcomes = map_items(_patch_case, jobs, workers=workers, progress=progress)
        workspace.describe_derivative(folder, "spinefx patches", Settings=settings.to_json())
    notes = tuple(
        f"{job[1].case_id}: {o}" for job, o in zip(jobs, outcomes, strict=True) if isinstance(o, SpinefxError)
    )
    if len(notes) == len(cases):
        raise InputError("No patches could be extracted", remedy=notes[0])
    failed = {job[1].case_id for job, outcome in zip(jobs, outcomes, strict=True) if isinstance(outcome, SpinefxError)}
    done = [case for case in cases if case.case_id not in failed]
    methods = tuple(_recorded_method(folder, case) for case in done)
    slices = sum(len(case.lesion.slices) for case in done)
    return PatchReport(folder, len(jobs) - len(notes), len(cases) - len(jobs), slices, methods, notes)


def _is_current(folder: Path, case: Case, settings: PatchSettings) -> bool:
    return stack_is_current(folder, case.participant_id, case.case_id, source_digest(case, settings))


def _patch_case(job: tuple[Path, Case, PatchSettings]) -> None:
    """Align and cut one case; runs in a worker process."""
    root, case, settings = job
    workspace = Workspace(root)
    lesion = case.lesion
    series = {}
    # Before the images are read: what is then read and found right is no older than these digests.
    files = file_digests(workspace, case.participant_id)
    for weighting in settings.sequences:
        path = workspace.image(case.participant_id, weighting)
        if not path.is_file():
            raise InputError(
                f"no {weighting} image",
                where=case.participant_id,
                remedy=f"Ingest with --sequences {','.join(settings.sequences)}, or take a recipe without {weighting}.",
            )
        series[weighting] = read_image(workspace, case.participant_id, weighting)
    lesion.check_inside(series[MARKED])
    aligned = align_series(lesion, series, method=settings.registration)
    stack = cut_patches(lesion, aligned, case_id=case.case_id, participant_id=case.participant_id, settings=settings)
    stamp = "phantom" if case.truth_source == TruthSource.PHANTOM else ""
    folder = workspace.patches_folder(settings)
    picture = contact_sheet(lesion, aligned, stack, stamp=stamp)
    write_bytes(sheet_path(folder, case.participant_id, case.case_id), picture)
    records = {str(one.weighting): alignment_record(one) for one in aligned if one.alignment is not None}
    study = open_study(workspace.image(case.participant_id, MARKED).parent)
    measures = image_measures(choose_series(study, settings.sequences))
    shown = slice_digests(series[MARKED], lesion)
    save_stack(folder, stack, source_digest(case, settings), records, files, measures, shown)


def _recorded_method(folder: Path, case: Case) -> str:
    methods = [record["method"] for record in recorded_alignments(folder, case.participant_id, case.case_id).values()]
    return " and ".join(dict.fromkeys(methods)) or "none"

"""Align every pair, cut every patch, draw every contact sheet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spinefx.cases.cohort import Case
from spinefx.cases.lesion import Lesion
from spinefx.cases.patch import PatchSettings, cut_patches
from spinefx.cases.sheet import contact_sheet
from spinefx.errors import InputError, SpinefxError
from spinefx.files import write_bytes
from spinefx.imaging.registration import Alignment, align
from spinefx.imaging.volume import Slices
from spinefx.parallel import map_items
from spinefx.vocabulary import TruthSource
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort
from spinefx.workspace.stacks import recorded_alignment, save_stack, sheet_path, source_digest, stack_is_current
from spinefx.workspace.volumes import file_digests, read_image

__all__ = ["PatchReport", "align_lesion", "alignment_record", "patch"]


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
    workspace.describe_derivative(folder, "spinefx patches", Settings=asdict(settings))
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


def align_lesion(lesion: Lesion, t2w: Slices, t1w: Slices, *, method: str) -> Alignment:
    """Find where a lesion of the T2W series lies in the T1W series.

    Parameters
    ----------
    lesion : Lesion
        Inside ``t2w``.
    t2w, t1w : Slices
    method : str
        As :func:`spinefx.imaging.registration.align` takes it.

    Returns
    -------
    Alignment

    Raises
    ------
    RegistrationError
    """
    return align(
        t2w,
        t1w,
        centre_mm=lesion.box.centre_mm,
        side_mm=lesion.box.side_mm,
        method=method,
        lesion_slices=(lesion.first_slice, lesion.last_slice),
    )


def alignment_record(alignment: Alignment) -> dict[str, Any]:
    """Describe an alignment for JSON.

    Parameters
    ----------
    alignment : Alignment

    Returns
    -------
    dict
    """
    record = {name: value for name, value in vars(alignment).items() if name != "matrix"}
    return record | {"t2w_mm_to_t1w_mm": [[round(float(value), 9) for value in row] for row in alignment.matrix]}


def _is_current(folder: Path, case: Case, settings: PatchSettings) -> bool:
    return stack_is_current(folder, case.participant_id, case.case_id, source_digest(case, settings))


def _patch_case(job: tuple[Path, Case, PatchSettings]) -> None:
    """Align and cut one case; runs in another process."""
    root, case, settings = job
    workspace = Workspace(root)
    # Before the images are read: what is read and found right is then no older than these digests.
    files = file_digests(workspace, case.participant_id)
    t1w, t2w = (read_image(workspace, case.participant_id, weighting) for weighting in ("T1w", "T2w"))
    lesion = case.lesion
    lesion.check_inside(t2w)
    alignment = align_lesion(lesion, t2w, t1w, method=settings.registration)
    stack = cut_patches(
        lesion, t1w, t2w, alignment, case_id=case.case_id, participant_id=case.participant_id, settings=settings
    )
    stamp = "phantom" if case.truth_source == TruthSource.PHANTOM else ""
    folder = workspace.patches_folder(settings)
    picture = contact_sheet(lesion, t1w, t2w, alignment, stack, stamp=stamp)
    write_bytes(sheet_path(folder, case.participant_id, case.case_id), picture)
    save_stack(folder, stack, source_digest(case, settings), alignment_record(alignment), files)


def _recorded_method(folder: Path, case: Case) -> str:
    return str(recorded_alignment(folder, case.participant_id, case.case_id)["method"])

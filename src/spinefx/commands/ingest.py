"""Ingest a hospital's export and its spreadsheet into a new workspace."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from spinefx.cases.box_sheet import box_sheet
from spinefx.cases.lesion import FLIPPED, Box, Lesion
from spinefx.cases.patch import PROTOCOL_SEQUENCES, PatchSettings
from spinefx.cases.reading import Reading, SignScores
from spinefx.commands.propose import propose_boxes
from spinefx.errors import BoxError, InputError, SelectionError, SpinefxError, TableError, WorkspaceError
from spinefx.files import canonical_json, digest_of, sweep, write_bytes, write_text
from spinefx.imaging.nifti import write_nifti
from spinefx.imaging.selection import RefusedSeries, SeriesSet, choose_series
from spinefx.imaging.study import Instance, RefusedFile, Series, Study, collapsed, scan
from spinefx.imaging.volume import Volume
from spinefx.learning.flipped_boxes import BoxPlaces, doubtful_boxes
from spinefx.processes.pool import map_items
from spinefx.tables.rows import Table
from spinefx.tables.writing import csv_text
from spinefx.vocabulary import MARKED, VOXEL_DIGEST, TruthSource, Weighting
from spinefx.workspace.enrolment import (
    Enrolment,
    EnrolmentTable,
    PixelBox,
    read_enrolment,
    read_hospital_readings,
    read_hospital_signs,
)
from spinefx.workspace.layout import Workspace, kept_sequences, read_json, write_json
from spinefx.workspace.records import (
    LesionRecord,
    Participant,
    SeriesDigest,
    write_images,
    write_lesions,
    write_participants,
    write_readings,
    write_refused_series,
    write_signs,
)

__all__ = ["IngestReport", "ingest"]

KEY_MODE = 0o600
UNDECLARED = "; its patient ID has letters beyond ASCII, and the images declare no character set (0008,0005)"
Progress = Callable[[str, int, int], None]
Value = TypeVar("Value")
# Workspace, patient, the patient's studies, and where the picture of the box goes.
Job = tuple[Path, Enrolment, tuple[Study, ...], Path | None]


@dataclass(frozen=True)
class IngestReport:
    """Summary of an ingest.

    Parameters
    ----------
    participants : int
        Participants with images in the workspace.
    lesions : int
        Participants with a marked vertebra.
    notes : tuple of str
        One line each: what did not match, what was rejected, what was left out. None contains a hospital identifier.
    refused_series : tuple of str
        Why each series that was not used was rejected; the workspace lists them by participant.
    """

    participants: int
    lesions: int
    notes: tuple[str, ...]
    refused_series: tuple[str, ...]


@dataclass(frozen=True)
class _Enrolled:
    participant: Participant
    lesion: LesionRecord | None
    images: tuple[SeriesDigest, ...]
    refused: tuple[RefusedSeries, ...]
    missing: tuple[Weighting, ...]
    notes: tuple[str, ...] = ()
    places: BoxPlaces | None = None


def ingest(
    root: Path,
    export: Path,
    *,
    table: Path,
    signs: Path | None = None,
    readings: Path | None = None,
    key: Path | None = None,
    sequences: Iterable[str] = PROTOCOL_SEQUENCES,
    workers: int = 1,
    show_paths: bool = False,
    locate: bool = False,
    sheet: Path | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Ingest an export into a new workspace; the same call completes an interrupted one.

    Parameters
    ----------
    root : Path
        The workspace to create; absent or empty.
    export : Path
        Folder, ZIP, DICOMDIR or NIfTI files.
    table : Path
        ``cases.csv``.
    signs, readings : Path, optional
        ``signs.csv`` and ``readings.csv``.
    key : Path, optional
        Where to write which participant is which patient; never inside the workspace. The file is written first, and
        only its owner may read it.
    sequences : iterable of str
        Series to keep of each participant. T1w and T2w are always kept; the others where a participant has them.
    workers : int
        Processes that convert images.
    show_paths : bool
        Name rejected files by path, which may contain patients' names, instead of by hash.
    locate : bool
        Find the vertebrae: propose a box where a row has a level but no box, and report boxes that lie elsewhere than
        their level. Proposals are not part of the cohort, see :func:`spinefx.commands.propose.propose_boxes`.
    sheet : Path, optional
        Folder for a picture of each box: the contact sheet, named by participant.
    progress : callable, optional
        Called with the name of the step, the number done and the total.

    Returns
    -------
    IngestReport

    Raises
    ------
    InputError
        When a table is wrong, or no patient's images can be used; the workspace then has no tables.
    WorkspaceError
        When the folder is in use, or the key file would lie inside it.
    """
    if key is not None and root.resolve() in (key.resolve(), *key.resolve().parents):
        raise WorkspaceError("the key file would lie inside the workspace", allowed="a path outside the workspace")
    sequences = kept_sequences(sequences)
    enrolment = read_enrolment(table)
    human_readings, readings_notes = _optional(read_hospital_readings, readings, enrolment)
    sign_scores, signs_notes = _optional(read_hospital_signs, signs, enrolment)
    found = scan(export, progress=progress and partial(progress, "reading headers"))
    studies = _match(enrolment, found.studies)
    notes = [_unused_columns(table.name, enrolment.extra_columns), *readings_notes, *signs_notes]
    tables = [path for path in (table, signs, readings) if path is not None]
    notes += _refused_files(found.refused, tables, show_paths)
    unmatched = _unmatched(table.name, enrolment, studies, found.studies)
    notes += unmatched
    jobs = [(root, one, tuple(studies[one.participant_id]), sheet) for one in enrolment.enrolments]
    jobs = [job for job in jobs if job[2]]
    if not jobs:
        raise InputError("no patient of the table was found in the export", remedy=" ".join(unmatched[:3]))
    is_new = not Workspace.is_at(root)
    workspace = Workspace.create(root, sequences)
    with workspace.writing():
        _claim(workspace, tables, found.studies)
        if key is not None:
            _write_key(key, enrolment)
        outcomes = map_items(
            _enrol, jobs, workers=workers, progress=progress and partial(progress, "converting images")
        )
        enrolled = [outcome for outcome in outcomes if isinstance(outcome, _Enrolled)]
        notes += _outcome_notes(table.name, jobs, outcomes)
        notes += [f"{one.participant.participant_id}: {note}" for one in enrolled for note in one.notes]
        notes += _doubtful_notes(enrolled)
        if not enrolled:
            workspace.ingest_claim.unlink()
            if is_new:
                workspace.discard()
            raise InputError(
                "no patient's images can be used", remedy=" ".join(_outcome_notes(table.name, jobs, outcomes)[:3])
            )
        _write_tables(workspace, enrolled, human_readings, sign_scores)
        if locate:
            levels = {one.participant_id: one.level for one in enrolment.enrolments}
            notes += propose_boxes(workspace, levels, workers=workers, progress=progress)
        workspace.ingest_claim.unlink()
    return IngestReport(
        participants=len(enrolled),
        lesions=sum(one.lesion is not None for one in enrolled),
        notes=tuple(filter(None, notes)),
        refused_series=tuple(each.reason for one in enrolled for each in one.refused),
    )


def _claim(workspace: Workspace, tables: Sequence[Path], studies: Sequence[Study]) -> None:
    """Note what is ingested, or refuse a workspace that is complete or holds part of another ingest."""
    if workspace.participants_table.exists():
        raise WorkspaceError(
            "the workspace already has participants", where=workspace.root.name, allowed="a new or empty folder"
        )
    sources = [digest_of(path.read_bytes()) for path in tables]
    claim = {"sources": sources, "studies": digest_of(canonical_json([study.uid for study in studies]))}
    begun = any(workspace.participant_folders())
    if begun and not (workspace.ingest_claim.is_file() and read_json(workspace.ingest_claim) == claim):
        raise WorkspaceError(
            "the folder holds part of another, interrupted ingest",
            where=workspace.root.name,
            remedy="Repeat that command to complete it, or delete the folder and start again.",
        )
    sweep(workspace.root)
    write_json(workspace.ingest_claim, claim)


def _outcome_notes(table: str, jobs: Sequence[Job], outcomes: Sequence[object]) -> list[str]:
    """List the participants without usable images, each with the reason, and the series that others lack."""
    failed = [
        f"{job[1].participant_id} ({table}, row {job[1].row}): {outcome}"
        for job, outcome in zip(jobs, outcomes, strict=True)
        if isinstance(outcome, SpinefxError)
    ]
    lacking = [
        f"{one.participant.participant_id}: no usable {weighting} series"
        for one in outcomes
        if isinstance(one, _Enrolled)
        for weighting in one.missing
    ]
    return failed + lacking


def _doubtful_notes(enrolled: Sequence[_Enrolled]) -> list[str]:
    """Name the boxes that fit as well or better with left and posterior negated; equal doubts share a line."""
    seen = [(one.participant.participant_id, one.places) for one in enrolled if one.places is not None]
    doubts = doubtful_boxes([places for _, places in seen])
    named = [name for (name, _), doubt in zip(seen, doubts, strict=True) if doubt]
    return [f"{', '.join(named)}: {FLIPPED}"] if named else []


def _optional(
    read: Callable[[Path, Mapping[str, str]], tuple[list[Value], Table, list[str]]],
    path: Path | None,
    enrolment: EnrolmentTable,
) -> tuple[list[Value], list[str]]:
    """Read an optional table; list the rows and columns of it that are not used."""
    if path is None:
        return [], []
    values, table, notes = read(path, enrolment.participant_of)
    return values, [_unused_columns(path.name, table.extra_columns), *notes]


def _unused_columns(name: str, columns: Sequence[str]) -> str:
    # Column names are the hospital's; they are listed so that no column goes missing unnoticed. Cells are not.
    return f"{name}: columns not used: {', '.join(columns)}" if columns else ""


def _refused_files(refused: Sequence[RefusedFile], tables: Sequence[Path], show_paths: bool) -> list[str]:
    """List the rejected files; without paths, those with the same reason share a line."""
    own = {path.resolve() for path in tables}
    files = [file for file in refused if file.path.resolve() not in own]
    if show_paths:
        return [f"{file.path}: {file.reason}" for file in files]
    return collapsed(files)


def _match(enrolment: EnrolmentTable, studies: Sequence[Study]) -> dict[str, list[Study]]:
    """Find each participant's studies by PatientID, else by file names or the innermost folder that a row names."""
    found: dict[str, list[Study]] = defaultdict(list)
    by_key = {one.key: one.participant_id for one in enrolment.enrolments}
    by_patient = {by_key[study.patient_key] for study in studies if study.patient_key in by_key}
    for study in studies:
        # A study whose own PatientID is in the table is nobody else's, whatever folder it lies in.
        named = (study.patient_key,) if study.patient_key in by_key else (*study.folder_keys, study.folder_key)
        participant = next((by_key[key] for key in named if key in by_key), None)
        if participant and (study.patient_key in by_key or participant not in by_patient):
            found[participant].append(study)
    return {one.participant_id: found[one.participant_id] for one in enrolment.enrolments}


def _unmatched(
    table: str, enrolment: EnrolmentTable, matched: Mapping[str, Sequence[Study]], studies: Sequence[Study]
) -> list[str]:
    """List rows without images and studies without a row, each with the nearest of the other kind, if there is one."""
    used = {study.uid for group in matched.values() for study in group}
    left = {number: study for number, study in enumerate(studies, start=1) if study.uid not in used}
    rows = {one.row: one for one in enrolment.enrolments if not matched[one.participant_id]}
    near: dict[int, tuple[int, str]] = {}
    lines = []
    for row in sorted(rows):
        hints = enrolment.similar_keys[rows[row].participant_id]
        for number, study in left.items():
            for key in filter(None, (study.patient_key, *study.folder_keys, study.folder_key)):
                if key in hints:
                    near.setdefault(number, (row, hints[key]))
        numbers = [number for number, (other, _) in near.items() if other == row]
        line = f"{table}, row {row}: no images of this patient in the export"
        if numbers:
            line += f"; study {numbers[0]} has a patient ID that differs only {near[numbers[0]][1]}"
        elif rows[row].looks_shortened:
            line += "; the cell looks like a number that a spreadsheet has rounded. Format the column as text"
        lines.append(line)
    for number, study in left.items():
        line = f"study {number} of {len(studies)} ({len(study.series)} series): its patient is not in {table}"
        line += f"; row {near[number][0]} differs only {near[number][1]}" if number in near else ""
        for one in enrolment.enrolments:
            line += f"; in another character set, it is the patient of row {one.row}" * (one.key in study.alias_keys)
        lines.append(line + UNDECLARED * bool(study.alias_keys))
    return lines


def _enrol(job: Job) -> _Enrolled:
    """Convert one patient's series; runs in a worker process."""
    root, enrolment, studies, sheet = job
    workspace = Workspace(root)
    study, found = _usable_series(enrolment, studies, workspace.sequences)
    volumes = found.load()
    lesion = _lesion(enrolment, found.marked, volumes[MARKED])
    name = enrolment.participant_id
    if lesion is not None and sheet is not None:
        stamp = "phantom" if enrolment.truth_source == TruthSource.PHANTOM else ""
        picture = box_sheet(lesion, volumes, PatchSettings(), case_id=name, stamp=stamp)
        if picture is not None:
            write_bytes(sheet / f"{name}.png", picture)
    for weighting, volume in volumes.items():
        write_nifti(workspace.image(name, weighting), volume, _sidecar(found[weighting], volume))
    age = enrolment.age if enrolment.age is not None else study.age_years
    participant = Participant(
        participant_id=name,
        diagnosis=enrolment.diagnosis,
        truth_source=enrolment.truth_source,
        age=None if age is None else min(float(age), 90.0),
        sex=enrolment.sex or study.sex or "",
        primary_tumor=enrolment.primary_tumor,
    )
    record = None if lesion is None else LesionRecord(name, name, lesion, enrolment.annotator)
    missing = tuple(weighting for weighting in workspace.sequences if weighting not in found.chosen)
    images = tuple(SeriesDigest(name, str(weighting), volume.voxel_digest) for weighting, volume in volumes.items())
    notes = (*found.overrides, *found.notes)
    places = None if lesion is None else _places(lesion, enrolment, volumes[MARKED])
    return _Enrolled(participant, record, images, found.refused, missing, notes, places)


def _usable_series(
    enrolment: Enrolment, studies: Sequence[Study], sequences: Sequence[Weighting]
) -> tuple[Study, SeriesSet]:
    """Choose the study and its series: the study with the box's image, else the only one with usable series."""
    marked = [(study, series) for study in studies for series in study.series if _shows(series, enrolment.image)]
    if enrolment.image and not marked:
        raise TableError("box_sop_uid names no image of this patient", remedy="Check box_sop_uid.")
    patients = {study.patient_key for study in studies} - {""}
    if len(patients) > 1:
        raise SelectionError(
            f"images of {len(patients)} patients lie in this patient's folder",
            allowed="one patient",
            remedy="Name patients by their PatientID, or give each a folder.",
        )
    named = ({MARKED: marked[0][1].uid} if marked else {}) | dict(enrolment.series)
    holding = enrolment.box.centre_mm if isinstance(enrolment.box, Box) else None
    further = [sequence for sequence in sequences if sequence not in PROTOCOL_SEQUENCES]
    usable, reasons = [], []
    for study in [marked[0][0]] if marked else studies:
        try:
            found = choose_series(study, PROTOCOL_SEQUENCES, optional=further, named=named, holding=holding)
            usable.append((study, found))
        except SelectionError as error:
            reasons.append(error)
    if len(usable) > 1:
        raise SelectionError(
            f"{len(usable)} studies have usable series", remedy="Name the image of the box (box_sop_uid), or a series."
        )
    if not usable and len(studies) > 1:
        kinds = "; ".join(f"study {number}: {', '.join(study.kinds)}" for number, study in enumerate(studies, start=1))
        raise SelectionError(
            f"none of this patient's {len(studies)} studies holds all series ({kinds}). {reasons[0]}",
            remedy="Series of two studies are read together only where they share a frame of reference.",
        )
    if not usable:
        raise reasons[0]
    return usable[0]


def _shows(series: Series, reference: str) -> bool:
    uid = reference.partition("/")[0]
    return bool(uid) and any(instance.is_called(uid) for instance in series.instances)


def _lesion(enrolment: Enrolment, series: Series, t2w: Volume) -> Lesion | None:
    if enrolment.box is None:
        return None
    box = enrolment.box
    if isinstance(box, PixelBox):
        box = _box_in_mm(box, _instance(series, enrolment.image))
    try:
        return _inside(box, enrolment, series, t2w)
    except BoxError as error:
        left, posterior, superior = box.centre_mm
        with contextlib.suppress(SpinefxError):
            _inside(Box((-left, -posterior, superior), box.side_mm), enrolment, series, t2w)
            remedy = f"{error.remedy} {FLIPPED}".strip()
            error = BoxError(error.found, where=error.where, allowed=error.allowed, remedy=remedy)
        raise error from None


def _places(lesion: Lesion, enrolment: Enrolment, t2w: Volume) -> BoxPlaces | None:
    """Look at a box and at its sign-flipped place; a box in pixels has no signs to be wrong."""
    in_mm = isinstance(enrolment.box, Box)
    other = lesion.flipped(t2w, slices_follow=not enrolment.lesion_images) if in_mm else None
    return BoxPlaces.of(lesion, other, t2w)


def _inside(box: Box, enrolment: Enrolment, series: Series, t2w: Volume) -> Lesion:
    """Return the lesion of a box, which must lie on the image and on the lesion's slices."""
    if enrolment.lesion_images:
        chosen = sorted({_slice_of(_instance(series, reference), t2w) for reference in enrolment.lesion_images})
        if chosen != list(range(chosen[0], chosen[-1] + 1)):
            raise TableError(f"the lesion images lie on slices {chosen}", allowed="adjacent slices")
    else:
        last = t2w.shape[0] - 1
        centre = round(float(np.clip(t2w.to_index(box.centre_mm)[0], 0, last)))
        chosen = [max(0, centre - 1), min(last, centre + 1)]
    lesion = Lesion(box, max(0, chosen[0]), chosen[-1], enrolment.level)
    lesion.check_inside(t2w)
    return lesion


def _instance(series: Series, reference: str) -> Instance:
    uid, _, frame = reference.partition("/")
    found = [one for one in series.instances if one.is_called(uid) and (not frame or one.frame == int(frame) - 1)]
    if len(found) != 1:
        problem = "an image is not in the T2W series" if not found else "the frame of a multi-frame image is missing"
        raise TableError(
            problem, allowed="a SOP instance UID of the T2W series; for multi-frame files UID/frame, from 1"
        )
    return found[0]


def _box_in_mm(box: PixelBox, instance: Instance) -> Box:
    """Convert a box in pixels of one image to a square in the patient, of the longer side."""
    affine = np.asarray(instance.affine)
    centre = affine @ [0, (box.top + box.bottom) / 2, (box.left + box.right) / 2, 1]
    height = (box.bottom - box.top) * float(np.linalg.norm(affine[:3, 1]))
    width = (box.right - box.left) * float(np.linalg.norm(affine[:3, 2]))
    return Box((float(centre[0]), float(centre[1]), float(centre[2])), max(height, width))


def _slice_of(instance: Instance, t2w: Volume) -> int:
    rows, columns = instance.shape
    centre = np.asarray(instance.affine) @ [0, (rows - 1) / 2, (columns - 1) / 2, 1]
    return round(float(t2w.to_index(centre[:3])[0]))


def _sidecar(series: Series, volume: Volume) -> dict[str, object]:
    times_ms = {
        "RepetitionTime": series.repetition_time_ms,
        "EchoTime": series.echo_time_ms,
        "InversionTime": series.inversion_time_ms,
    }
    seconds = {name: value / 1000 for name, value in times_ms.items() if value is not None}
    return seconds | {VOXEL_DIGEST: volume.voxel_digest}


def _write_tables(
    workspace: Workspace, enrolled: Sequence[_Enrolled], readings: Sequence[Reading], signs: Sequence[SignScores]
) -> None:
    known = {one.participant.participant_id for one in enrolled}
    refused = [(one.participant.participant_id, each.label, each.reason) for one in enrolled for each in one.refused]
    write_refused_series(workspace, refused)
    write_images(workspace, [digest for one in enrolled for digest in one.images])
    write_lesions(workspace, [one.lesion for one in enrolled if one.lesion is not None])
    if readings:
        write_readings(workspace, [reading for reading in readings if reading.case_id in known])
    if signs:
        write_signs(workspace, [scores for scores in signs if scores.case_id in known])
    # Last: its presence shows that the workspace is complete.
    write_participants(workspace, [one.participant for one in enrolled])


def _write_key(path: Path, enrolment: EnrolmentTable) -> None:
    """Write the key file, which only its owner may read; a file that holds anything else is never overwritten."""
    rows = [(one.participant_id, enrolment.hospital_names[one.participant_id], one.row) for one in enrolment.enrolments]
    text = csv_text(("participant_id", "patient", "row"), rows)
    if path.exists():
        if not path.is_file() or path.read_bytes() != text.encode("utf-8"):
            raise WorkspaceError(
                "the key file already exists with other content",
                where="--key",
                remedy="Give the path of a new file; the present file may be the key of another workspace.",
            )
        path.chmod(KEY_MODE)
        return
    write_text(path, text, mode=KEY_MODE)

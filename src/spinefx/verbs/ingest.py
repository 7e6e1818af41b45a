"""From a hospital's export and its spreadsheet to a study folder."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.reading import Reading, SignScores
from spinefx.errors import InputError, PairError, SpinefxError, TableError, WorkspaceError
from spinefx.files import write_text
from spinefx.imaging.nifti import write_nifti
from spinefx.imaging.selection import RefusedSeries, SeriesPair, choose_pair
from spinefx.imaging.study import Instance, Series, Study, scan
from spinefx.imaging.volume import Volume
from spinefx.parallel import map_items
from spinefx.verbs.enrolment import (
    Enrolment,
    EnrolmentTable,
    PixelBox,
    read_enrolment,
    read_hospital_readings,
    read_hospital_signs,
)
from spinefx.vocabulary import VOXEL_DIGEST
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import (
    LesionRecord,
    Participant,
    write_lesions,
    write_participants,
    write_readings,
    write_refused_series,
    write_signs,
)
from spinefx.workspace.tables import Row, Table

__all__ = ["IngestReport", "ingest"]

Progress = Callable[[str, int, int], None]
Value = TypeVar("Value")


@dataclass(frozen=True)
class IngestReport:
    """What became of an export.

    Parameters
    ----------
    participants : int
        Participants with images in the study folder.
    lesions : int
        Those of them with a marked vertebra.
    notes : tuple of str
        One line each: what did not match, what was refused, what was left out. No hospital identifier in any.
    refused_series : tuple of str
        Why each series beside the pairs was not used; the study folder lists them by participant.
    """

    participants: int
    lesions: int
    notes: tuple[str, ...]
    refused_series: tuple[str, ...]


@dataclass(frozen=True)
class _Enrolled:
    participant: Participant
    lesion: LesionRecord | None
    refused: tuple[RefusedSeries, ...]


def ingest(
    root: Path,
    export: Path,
    *,
    table: Path,
    signs: Path | None = None,
    readings: Path | None = None,
    key: Path | None = None,
    workers: int = 1,
    show_paths: bool = False,
    progress: Progress | None = None,
) -> IngestReport:
    """Bring an export into a new study folder.

    Parameters
    ----------
    root : Path
        Where the study folder is to be; absent or empty.
    export : Path
        Folder, ZIP, DICOMDIR or NIfTI files.
    table : Path
        ``cases.csv``.
    signs, readings : Path, optional
        ``signs.csv`` and ``readings.csv``.
    key : Path, optional
        Where to write who is who; never inside the study folder.
    workers : int
        Processes that convert images.
    show_paths : bool
        Name refused files by their paths, which may hold patients' names, instead of by hash.
    progress : callable, optional
        Called with the step's name, the number done and the number in all.

    Returns
    -------
    IngestReport

    Raises
    ------
    InputError
        When a table is wrong or nobody's images were usable; no table of the study folder has been written then.
    WorkspaceError
        When the place is taken, or the key would lie inside it.
    """
    if key is not None and root.resolve() in (key.resolve(), *key.resolve().parents):
        raise WorkspaceError("the key file would lie inside the study folder", allowed="a place apart from it")
    enrolment = read_enrolment(table)
    human_readings, readings_notes = _optional(read_hospital_readings, readings, enrolment)
    sign_scores, signs_notes = _optional(read_hospital_signs, signs, enrolment)
    found = scan(export, progress=progress and partial(progress, "reading headers"))
    studies = _match(enrolment, found.studies)
    jobs = [(root, person, tuple(studies[person.participant_id])) for person in enrolment.enrolments]
    jobs = [job for job in jobs if job[2]]
    notes = [_unused_columns(table.name, enrolment.extra_columns), *readings_notes, *signs_notes]
    tables = {path.resolve() for path in (table, signs, readings) if path is not None}
    refused = [file for file in found.refused if file.path.resolve() not in tables]
    notes += [f"{file.path if show_paths else file.label}: {file.reason}" for file in refused]
    notes += _unmatched(table.name, enrolment, studies, found.studies)
    if not jobs:
        raise InputError("no patient of the table was found in the export", remedy=" ".join(filter(None, notes[:3])))
    workspace = Workspace.create(root)
    if workspace.participants_table.exists():
        raise WorkspaceError("the study folder holds participants already", where=root.name, allowed="a new folder")
    outcomes = map_items(_enrol, jobs, workers=workers, progress=progress and partial(progress, "converting images"))
    enrolled = [outcome for outcome in outcomes if isinstance(outcome, _Enrolled)]
    notes += [
        f"{job[1].participant_id} (row {job[1].row} of {table.name}): {outcome}"
        for job, outcome in zip(jobs, outcomes, strict=True)
        if isinstance(outcome, SpinefxError)
    ]
    if not enrolled:
        raise InputError("no patient's images could be used", remedy=next(iter(filter(None, notes)), ""))
    write_refused_series(
        workspace,
        [(one.participant.participant_id, each.label, each.reason) for one in enrolled for each in one.refused],
    )
    _write_tables(workspace, enrolled, human_readings, sign_scores)
    if key is not None:
        _write_key(key, enrolment)
    return IngestReport(
        participants=len(enrolled),
        lesions=sum(one.lesion is not None for one in enrolled),
        notes=tuple(filter(None, notes)),
        refused_series=tuple(each.reason for one in enrolled for each in one.refused),
    )


def _optional(
    read: Callable[[Path, Mapping[str, str]], tuple[list[Value], Table, list[Row]]],
    path: Path | None,
    enrolment: EnrolmentTable,
) -> tuple[list[Value], list[str]]:
    """Read a table that may not be given; say which of its rows and columns go unused."""
    if path is None:
        return [], []
    values, table, strangers = read(path, enrolment.participant_of)
    rows = [f"{row.where}: a patient who is not in the table of cases" for row in strangers]
    return values, [_unused_columns(path.name, table.extra_columns), *rows]


def _unused_columns(name: str, columns: Sequence[str]) -> str:
    # The header's words are the hospital's; they are listed so that nobody wonders, the cells are not.
    return f"{name}: columns left out: {', '.join(columns)}" if columns else ""


def _match(enrolment: EnrolmentTable, studies: Sequence[Study]) -> dict[str, list[Study]]:
    """Find each participant's studies by PatientID, or by the top folder's name where no PatientID matches."""
    by_patient: dict[str, list[Study]] = defaultdict(list)
    by_folder: dict[str, list[Study]] = defaultdict(list)
    for study in studies:
        by_patient[study.patient_key].append(study)
        by_folder[study.folder_key].append(study)
    return {one.participant_id: by_patient.get(one.key) or by_folder.get(one.key, []) for one in enrolment.enrolments}


def _unmatched(
    table: str, enrolment: EnrolmentTable, matched: Mapping[str, Sequence[Study]], studies: Sequence[Study]
) -> list[str]:
    used = {study.uid for group in matched.values() for study in group}
    rows = sorted(one.row for one in enrolment.enrolments if not matched[one.participant_id])
    lines = [f"{table}, row {row}: no images of this patient in the export" for row in rows]
    for number, study in enumerate(studies, start=1):
        if study.uid not in used:
            lines.append(
                f"study {number} of {len(studies)} ({len(study.series)} series): its patient is not in {table}"
            )
    return lines


def _enrol(job: tuple[Path, Enrolment, tuple[Study, ...]]) -> _Enrolled:
    """Convert one patient's pair; runs in another process."""
    root, person, studies = job
    study, pair = _usable_pair(person, studies)
    t1w, t2w = pair.t1w.load(), pair.t2w.load()
    lesion = _lesion(person, pair, t2w)
    workspace = Workspace(root)
    for series, volume, weighting in ((pair.t1w, t1w, "T1w"), (pair.t2w, t2w, "T2w")):
        write_nifti(workspace.image(person.participant_id, weighting), volume, _sidecar(series, volume))
    age = person.age if person.age is not None else study.age_years
    participant = Participant(
        participant_id=person.participant_id,
        diagnosis=person.diagnosis,
        truth_source=person.truth_source,
        age=None if age is None else min(float(age), 90.0),
        sex=person.sex or study.sex or "",
        primary_tumor=person.primary_tumor,
    )
    name = person.participant_id
    record = None if lesion is None else LesionRecord(name, name, lesion, person.annotator)
    return _Enrolled(participant, record, pair.refused)


def _usable_pair(person: Enrolment, studies: Sequence[Study]) -> tuple[Study, SeriesPair]:
    """Choose the study and its pair: the study with the box's image, else the only one with a usable pair."""
    marked = [(study, series) for study in studies for series in study.series if _shows(series, person.image)]
    if person.image and not marked:
        raise TableError("the image of the box is not among the patient's images", remedy="Check box_sop_uid.")
    candidates = (
        [(marked[0][0], person.t2w_uid or marked[0][1].uid)] if marked else [(s, person.t2w_uid) for s in studies]
    )
    pairs, reasons = [], []
    for study, t2w_uid in candidates:
        try:
            pairs.append((study, choose_pair(study, t1w_uid=person.t1w_uid or None, t2w_uid=t2w_uid or None)))
        except PairError as error:
            reasons.append(error)
    if len(pairs) > 1:
        raise PairError(
            f"{len(pairs)} studies with a usable pair", remedy="Name the image of the box (box_sop_uid), or a series."
        )
    if not pairs:
        raise reasons[0]
    return pairs[0]


def _shows(series: Series, reference: str) -> bool:
    uid = reference.partition("/")[0]
    return bool(uid) and any(instance.sop_uid == uid for instance in series.instances)


def _lesion(person: Enrolment, pair: SeriesPair, t2w: Volume) -> Lesion | None:
    if person.box is None:
        return None
    box = person.box
    if isinstance(box, PixelBox):
        box = _box_in_mm(box, _instance(pair.t2w, person.image))
    if person.lesion_images:
        chosen = sorted({_slice_of(_instance(pair.t2w, reference), t2w) for reference in person.lesion_images})
        if chosen != list(range(chosen[0], chosen[-1] + 1)):
            raise TableError(f"lesion images on slices {chosen}", allowed="slices without a gap")
    else:
        centre = round(float(t2w.to_index(box.centre_mm)[0]))
        chosen = [max(0, centre - 1), min(t2w.shape[0] - 1, centre + 1)]
    lesion = Lesion(box, max(0, chosen[0]), chosen[-1], person.level)
    lesion.check_inside(t2w)
    return lesion


def _instance(series: Series, reference: str) -> Instance:
    uid, _, frame = reference.partition("/")
    found = [one for one in series.instances if one.sop_uid == uid and (not frame or one.frame == int(frame) - 1)]
    if len(found) != 1:
        problem = "an image that is not in the T2W series" if not found else "a multi-frame image without a frame"
        raise TableError(
            problem, allowed="a SOP instance UID of the T2W series; for multi-frame files UID/frame, from 1"
        )
    return found[0]


def _box_in_mm(box: PixelBox, instance: Instance) -> Box:
    """Turn pixels of one image into a square in the patient, by the longer side."""
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
    times_ms = {"RepetitionTime": series.repetition_time_ms, "EchoTime": series.echo_time_ms}
    seconds = {name: value / 1000 for name, value in times_ms.items() if value is not None}
    return seconds | {VOXEL_DIGEST: volume.voxel_digest}


def _write_tables(
    workspace: Workspace, enrolled: Sequence[_Enrolled], readings: Sequence[Reading], signs: Sequence[SignScores]
) -> None:
    known = {one.participant.participant_id for one in enrolled}
    write_lesions(workspace, [one.lesion for one in enrolled if one.lesion is not None])
    if readings:
        write_readings(workspace, [reading for reading in readings if reading.case_id in known])
    if signs:
        write_signs(workspace, [scores for scores in signs if scores.case_id in known])
    # Last: its presence says that the study folder is complete.
    write_participants(workspace, [one.participant for one in enrolled])


def _write_key(path: Path, enrolment: EnrolmentTable) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["participant_id", "patient", "row"])
    for one in enrolment.enrolments:
        writer.writerow([one.participant_id, enrolment.hospital_names[one.participant_id], one.row])
    write_text(path, text.getvalue())

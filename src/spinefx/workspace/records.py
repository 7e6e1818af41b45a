"""The tables of a workspace, and the cohort that they describe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from spinefx.cases.cohort import Case, Cohort
from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.patch import PROTOCOL_SEQUENCES
from spinefx.cases.reading import Reading, SignScores
from spinefx.errors import TableError, WorkspaceError
from spinefx.files import canonical_json, digest_of
from spinefx.tables.rows import Row, read_table
from spinefx.tables.writing import write_tsv
from spinefx.vocabulary import SIGN_IDENTIFIERS, VOXEL_DIGEST, Arm, Diagnosis, Score, TruthSource
from spinefx.workspace.columns import (
    BOX_COLUMNS,
    COLUMN_MEANINGS,
    IMAGE_COLUMNS,
    LESION_COLUMNS,
    PARTICIPANT_COLUMNS,
    READING_COLUMNS,
    SIGN_COLUMNS,
)
from spinefx.workspace.layout import Workspace, read_json, write_json

__all__ = [
    "LesionRecord",
    "Participant",
    "SeriesDigest",
    "images_digest",
    "lesion_of",
    "read_cohort",
    "read_images",
    "read_lesions",
    "read_participants",
    "read_proposals",
    "read_readings",
    "read_refused_series",
    "read_signs",
    "sidecar_path",
    "write_images",
    "write_lesions",
    "write_participants",
    "write_readings",
    "write_refused_series",
    "write_signs",
]


@dataclass(frozen=True)
class Participant:
    """One row of ``participants.tsv``.

    Parameters
    ----------
    participant_id : str
    diagnosis : Diagnosis
    truth_source : TruthSource
    age : float or None
        Years; 90 means 90 and above.
    sex, primary_tumor : str
        Empty where unknown.
    """

    participant_id: str
    diagnosis: Diagnosis
    truth_source: TruthSource
    age: float | None = None
    sex: str = ""
    primary_tumor: str = ""


@dataclass(frozen=True)
class LesionRecord:
    """One row of ``annotations/lesions.tsv``.

    Parameters
    ----------
    case_id, participant_id : str
    lesion : Lesion
    annotator : str
    """

    case_id: str
    participant_id: str
    lesion: Lesion
    annotator: str = ""


@dataclass(frozen=True)
class SeriesDigest:
    """One row of ``annotations/images.tsv``.

    Parameters
    ----------
    participant_id : str
    series : str
        Weighting, such as ``T1w``.
    voxel_sha256 : str
        Digest of the voxels.
    """

    participant_id: str
    series: str
    voxel_sha256: str


def read_participants(workspace: Workspace) -> tuple[Participant, ...]:
    """Read the participants.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    tuple of Participant

    Raises
    ------
    TableError
        For a missing table, a duplicate participant, or a cell out of range.
    """
    table = read_table(workspace.participants_table, required=PARTICIPANT_COLUMNS)
    table.refuse_duplicates("participant_id")
    return tuple(_participant(row) for row in table.rows)


def write_participants(workspace: Workspace, participants: Iterable[Participant]) -> None:
    """Write ``participants.tsv`` and the dictionary of its columns.

    Parameters
    ----------
    workspace : Workspace
    participants : iterable of Participant
    """
    rows = [(p.participant_id, p.age, p.sex, p.diagnosis, p.truth_source, p.primary_tumor) for p in participants]
    # The table last: its presence shows that the workspace is complete.
    write_json(workspace.participants_table.with_suffix(".json"), COLUMN_MEANINGS["participants"])
    write_tsv(workspace.participants_table, PARTICIPANT_COLUMNS, rows)


def read_lesions(workspace: Workspace) -> tuple[LesionRecord, ...]:
    """Read the marked vertebrae.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    tuple of LesionRecord
        Empty while there is no table.

    Raises
    ------
    TableError
    """
    return _read_boxes(workspace.lesions_table)


def read_proposals(workspace: Workspace) -> tuple[LesionRecord, ...]:
    """Read the boxes that a model proposes; none of them is part of the cohort until a person accepts it.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    tuple of LesionRecord
        Empty where there is no table; ``annotator`` names the model.

    Raises
    ------
    TableError
    """
    return _read_boxes(workspace.proposals_table)


def write_lesions(workspace: Workspace, records: Iterable[LesionRecord], *, proposed: bool = False) -> None:
    """Write ``lesions.tsv`` and the dictionary of its columns.

    Parameters
    ----------
    workspace : Workspace
    records : iterable of LesionRecord
    proposed : bool
        Write ``proposals.tsv`` instead: boxes that a model proposes, which ``annotator`` names.
    """
    path = workspace.proposals_table if proposed else workspace.lesions_table
    rows = []
    for record in records:
        box = record.lesion.box
        place = (*(round(float(value), 3) for value in box.centre_mm), round(float(box.side_mm), 3))
        slices = (record.lesion.first_slice, record.lesion.last_slice)
        rows.append((record.case_id, record.participant_id, record.lesion.level, *place, *slices, record.annotator))
    write_tsv(path, LESION_COLUMNS, rows)
    write_json(path.with_suffix(".json"), COLUMN_MEANINGS["lesions"])


def read_readings(workspace: Workspace) -> tuple[Reading, ...]:
    """Read the human readings.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    tuple of Reading
        Empty where there is no table.

    Raises
    ------
    TableError
    """
    if not workspace.readings_table.exists():
        return ()
    table = read_table(workspace.readings_table, required=READING_COLUMNS)
    table.refuse_duplicates("case_id", "reader_id", "arm")
    return tuple(_reading(row) for row in table.rows)


def write_readings(workspace: Workspace, readings: Iterable[Reading]) -> None:
    """Write ``readings.tsv`` and the dictionary of its columns.

    Parameters
    ----------
    workspace : Workspace
    readings : iterable of Reading
    """
    rows = [(r.case_id, r.reader_id, r.arm, r.diagnosis, r.confidence, r.seconds) for r in readings]
    write_tsv(workspace.readings_table, READING_COLUMNS, rows)
    write_json(workspace.readings_table.with_suffix(".json"), COLUMN_MEANINGS["readings"])


def write_images(workspace: Workspace, digests: Iterable[SeriesDigest]) -> None:
    """Write the digest of each ingested series.

    Parameters
    ----------
    workspace : Workspace
    digests : iterable of SeriesDigest
    """
    rows = [(one.participant_id, one.series, one.voxel_sha256) for one in digests]
    write_tsv(workspace.images_table, IMAGE_COLUMNS, rows)


def read_images(workspace: Workspace) -> tuple[SeriesDigest, ...]:
    """Read the digest of each ingested series.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    tuple of SeriesDigest
        Empty in a workspace of an earlier version, which has no such table.

    Raises
    ------
    TableError
    """
    if not workspace.images_table.exists():
        return ()
    table = read_table(workspace.images_table, required=IMAGE_COLUMNS)
    table.refuse_duplicates("participant_id", "series")
    return tuple(SeriesDigest(*(row.required(column) for column in IMAGE_COLUMNS)) for row in table.rows)


def write_refused_series(workspace: Workspace, rows: Iterable[tuple[str, str, str]]) -> None:
    """Write which series of each participant were rejected, and why.

    Parameters
    ----------
    workspace : Workspace
    rows : iterable of (participant, series label, reason)
        Labels contain no identifier.
    """
    write_tsv(workspace.refused_series_table, ("participant_id", "series", "reason"), rows)


def read_refused_series(workspace: Workspace, participant_id: str) -> tuple[tuple[str, str], ...]:
    """Read which series of a participant were rejected.

    Parameters
    ----------
    workspace : Workspace
    participant_id : str

    Returns
    -------
    tuple of (str, str)
        Label and reason; empty where there is no record of them.

    Raises
    ------
    TableError
    """
    if not workspace.refused_series_table.exists():
        return ()
    rows = read_table(workspace.refused_series_table, required=("participant_id", "series", "reason")).rows
    own = (row for row in rows if row.text("participant_id") == participant_id)
    return tuple((row.text("series"), row.text("reason")) for row in own)


def read_signs(workspace: Workspace) -> tuple[SignScores, ...]:
    """Read the sign scores.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    tuple of SignScores
        Empty where there is no table.

    Raises
    ------
    TableError
    """
    if not workspace.signs_table.exists():
        return ()
    table = read_table(workspace.signs_table, required=SIGN_COLUMNS)
    table.refuse_duplicates("case_id", "reader_id")
    words = [score.value for score in Score]
    return tuple(
        SignScores(
            row.required("case_id"),
            row.required("reader_id"),
            {name: row.choice(name, Score, words) for name in SIGN_IDENTIFIERS},
        )
        for row in table.rows
    )


def write_signs(workspace: Workspace, scores: Iterable[SignScores]) -> None:
    """Write ``signs.tsv`` and the dictionary of its columns.

    Parameters
    ----------
    workspace : Workspace
    scores : iterable of SignScores
    """
    rows = [(s.case_id, s.reader_id, *(s.scores[name] for name in SIGN_IDENTIFIERS)) for s in scores]
    write_tsv(workspace.signs_table, SIGN_COLUMNS, rows)
    write_json(workspace.signs_table.with_suffix(".json"), COLUMN_MEANINGS["signs"])


def images_digest(workspace: Workspace, participant_id: str) -> str:
    """Return the digest of a participant's series, from the voxel digests in their sidecars.

    Parameters
    ----------
    workspace : Workspace
    participant_id : str

    Returns
    -------
    str

    Raises
    ------
    WorkspaceError
        When a sidecar is missing, broken, or records no digest.
    """
    named = {}
    further = (weighting for weighting in workspace.images(participant_id) if weighting not in PROTOCOL_SEQUENCES)
    for weighting in (*PROTOCOL_SEQUENCES, *further):
        path = sidecar_path(workspace, participant_id, weighting)
        digest = read_json(path).get(VOXEL_DIGEST)
        if not isinstance(digest, str):
            raise WorkspaceError(
                f"no digest of the voxels ({VOXEL_DIGEST})", where=path.name, remedy="Ingest the participant again."
            )
        named[str(weighting)] = digest
    return digest_of(canonical_json(named))


def read_cohort(workspace: Workspace) -> Cohort:
    """Return the cohort of all participants with a marked vertebra.

    Where several annotators marked a case, the first row of the table counts.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    Cohort

    Raises
    ------
    TableError
        When a lesion belongs to no participant.
    """
    participants = {participant.participant_id: participant for participant in read_participants(workspace)}
    cases = []
    first = {record.case_id: record for record in reversed(read_lesions(workspace))}
    for record in reversed(first.values()):
        if record.participant_id not in participants:
            raise TableError(
                "a lesion of somebody who is not in participants.tsv",
                where=workspace.lesions_table.name,
            )
        participant = participants[record.participant_id]
        digest = images_digest(workspace, record.participant_id)
        cases.append(
            Case(
                record.case_id,
                record.participant_id,
                record.lesion,
                participant.diagnosis,
                participant.truth_source,
                digest,
            )
        )
    return Cohort(tuple(cases))


def lesion_of(row: Row) -> Lesion:
    """Return the marked vertebra of a row with the columns of ``lesions.tsv``.

    Parameters
    ----------
    row : Row
        All of ``centre_l_mm`` to ``last_slice``; ``level`` where known.

    Returns
    -------
    Lesion

    Raises
    ------
    TableError, BoxError
    """
    for column in BOX_COLUMNS:
        row.required(column)
    place = [row.number_in(column, -5000, 5000) or 0.0 for column in BOX_COLUMNS[:4]]
    first, last = (row.integer_in(column, 0, 5000) or 0 for column in BOX_COLUMNS[4:])
    return Lesion(Box((place[0], place[1], place[2]), place[3]), first, last, row.text("level"))


def sidecar_path(workspace: Workspace, participant_id: str, weighting: str) -> Path:
    """Return the path of a series' JSON sidecar.

    Parameters
    ----------
    workspace : Workspace
    participant_id : str
    weighting : str
        A :class:`spinefx.vocabulary.Weighting`.

    Returns
    -------
    Path
    """
    image = workspace.image(participant_id, weighting)
    return image.with_name(image.name.removesuffix(".nii.gz") + ".json")


def _read_boxes(path: Path) -> tuple[LesionRecord, ...]:
    if not path.exists():
        return ()
    table = read_table(path, required=LESION_COLUMNS)
    table.refuse_duplicates("case_id", "annotator")
    return tuple(row.checked(lambda row=row: _lesion_record(row)) for row in table.rows)  # type: ignore[misc]


def _participant(row: Row) -> Participant:
    return Participant(
        participant_id=row.required("participant_id"),
        diagnosis=row.choice("diagnosis", Diagnosis, Diagnosis),
        truth_source=row.choice("truth_source", TruthSource, TruthSource),
        age=row.number_in("age", 0, 120),
        sex=row.plain("sex"),
        primary_tumor=row.plain("primary_tumor"),
    )


def _lesion_record(row: Row) -> LesionRecord:
    return LesionRecord(row.required("case_id"), row.required("participant_id"), lesion_of(row), row.plain("annotator"))


def _reading(row: Row) -> Reading:
    return Reading(
        case_id=row.required("case_id"),
        reader_id=row.required("reader_id"),
        arm=row.choice("arm", Arm, Arm),
        diagnosis=row.choice("diagnosis", Diagnosis, Diagnosis),
        confidence=row.percent("confidence"),
        seconds=row.number_in("seconds", 0, 1e6),
    )

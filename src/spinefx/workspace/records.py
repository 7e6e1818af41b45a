"""The tables of a study folder, and the cohort that they make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinefx.cases.cohort import Case, Cohort
from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.reading import Reading, SignScores
from spinefx.errors import TableError, WorkspaceError
from spinefx.files import canonical_json, digest_of
from spinefx.vocabulary import SIGN_IDENTIFIERS, SIGNS, VOXEL_DIGEST, Arm, Diagnosis, Score, TruthSource
from spinefx.workspace.layout import Workspace, read_json, write_json
from spinefx.workspace.tables import Row, read_table, write_tsv

__all__ = [
    "BOX_COLUMNS",
    "LESION_COLUMNS",
    "LesionRecord",
    "Participant",
    "images_digest",
    "lesion_of",
    "read_cohort",
    "read_lesions",
    "read_participants",
    "read_proposals",
    "read_readings",
    "read_refused_series",
    "read_signs",
    "sidecar_path",
    "write_lesions",
    "write_participants",
    "write_readings",
    "write_refused_series",
    "write_signs",
]

PARTICIPANT_COLUMNS = ("participant_id", "age", "sex", "diagnosis", "truth_source", "primary_tumor")
BOX_COLUMNS = ("centre_l_mm", "centre_p_mm", "centre_s_mm", "side_mm", "first_slice", "last_slice")
LESION_COLUMNS = ("case_id", "participant_id", "level", *BOX_COLUMNS, "annotator")
READING_COLUMNS = ("case_id", "reader_id", "arm", "diagnosis", "confidence", "seconds")
SIGN_COLUMNS = ("case_id", "reader_id", *SIGN_IDENTIFIERS)
COLUMN_MEANINGS: dict[str, dict[str, Any]] = {
    "participants": {
        "participant_id": {"Description": "Pseudonym given at ingest; its order says nothing"},
        "age": {"Description": "Age at the examination; 90 stands for 90 and above", "Units": "years"},
        "sex": {
            "Description": "As the examination's header says",
            "Levels": {"F": "female", "M": "male", "O": "other"},
        },
        "diagnosis": {"Description": "The truth", "Levels": {"benign": "benign", "malignant": "malignant"}},
        "truth_source": {"Description": "How it was established", "Levels": {s.value: s.value for s in TruthSource}},
        "primary_tumor": {"Description": "Known primary tumour, in plain words"},
    },
    "lesions": {
        "level": {"Description": "Vertebral level, C1 to S5"},
        "centre_l_mm": {"Description": "Centre of the box, to the patient's left (DICOM)", "Units": "mm"},
        "centre_p_mm": {"Description": "Centre of the box, to the back (DICOM)", "Units": "mm"},
        "centre_s_mm": {"Description": "Centre of the box, to the head (DICOM)", "Units": "mm"},
        "side_mm": {"Description": "Side of the square box in the plane of the T2W slices", "Units": "mm"},
        "first_slice": {"Description": "First T2W slice of the lesion, from 0 along the stack as stored"},
        "last_slice": {"Description": "Last T2W slice of the lesion, included"},
        "annotator": {"Description": "Code of who marked the box"},
    },
    "readings": {
        "reader_id": {"Description": "Code of the reader"},
        "arm": {"Description": "Without or with the model", "Levels": {"unaided": "without", "aided": "with"}},
        "diagnosis": {"Description": "The reader's answer"},
        "confidence": {"Description": "That the fracture is malignant", "Units": "percent"},
        "seconds": {"Description": "Reading time", "Units": "s"},
    },
    "signs": {
        sign.identifier: {"Description": sign.label, "Levels": {"y": "yes", "n": "no", "u": "not assessable"}}
        for sign in SIGNS
    },
}


@dataclass(frozen=True)
class Participant:
    """One row of ``participants.tsv``.

    Parameters
    ----------
    participant_id : str
    diagnosis : Diagnosis
    truth_source : TruthSource
    age : float or None
        Years; 90 stands for 90 and above.
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


def read_participants(workspace: Workspace) -> tuple[Participant, ...]:
    """Read who takes part.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    tuple of Participant

    Raises
    ------
    TableError
        For a missing table, a doubled participant or a cell out of range.
    """
    table = read_table(workspace.participants_table, required=PARTICIPANT_COLUMNS)
    table.refuse_duplicates("participant_id")
    return tuple(_participant(row) for row in table.rows)


def write_participants(workspace: Workspace, participants: Iterable[Participant]) -> None:
    """Write ``participants.tsv`` and its dictionary.

    Parameters
    ----------
    workspace : Workspace
    participants : iterable of Participant
    """
    rows = [(p.participant_id, p.age, p.sex, p.diagnosis, p.truth_source, p.primary_tumor) for p in participants]
    write_tsv(workspace.participants_table, PARTICIPANT_COLUMNS, rows)
    write_json(workspace.participants_table.with_suffix(".json"), COLUMN_MEANINGS["participants"])


def read_lesions(workspace: Workspace) -> tuple[LesionRecord, ...]:
    """Read the marked vertebrae.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    tuple of LesionRecord
        Empty where no table exists yet.

    Raises
    ------
    TableError
    """
    return _read_boxes(workspace.lesions_table)


def read_proposals(workspace: Workspace) -> tuple[LesionRecord, ...]:
    """Read the boxes that a model proposes for people to accept or correct; none of them is in the cohort.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    tuple of LesionRecord
        Empty where no table exists; ``annotator`` names the model.

    Raises
    ------
    TableError
    """
    return _read_boxes(workspace.proposals_table)


def write_lesions(workspace: Workspace, records: Iterable[LesionRecord]) -> None:
    """Write ``lesions.tsv`` and its dictionary.

    Parameters
    ----------
    workspace : Workspace
    records : iterable of LesionRecord
    """
    rows = []
    for record in records:
        box = record.lesion.box
        place = (*(round(float(value), 3) for value in box.centre_mm), round(float(box.side_mm), 3))
        slices = (record.lesion.first_slice, record.lesion.last_slice)
        rows.append((record.case_id, record.participant_id, record.lesion.level, *place, *slices, record.annotator))
    write_tsv(workspace.lesions_table, LESION_COLUMNS, rows)
    write_json(workspace.lesions_table.with_suffix(".json"), COLUMN_MEANINGS["lesions"])


def read_readings(workspace: Workspace) -> tuple[Reading, ...]:
    """Read the human readings.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    tuple of Reading
        Empty where no table exists.

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
    """Write ``readings.tsv`` and its dictionary.

    Parameters
    ----------
    workspace : Workspace
    readings : iterable of Reading
    """
    rows = [(r.case_id, r.reader_id, r.arm, r.diagnosis, r.confidence, r.seconds) for r in readings]
    write_tsv(workspace.readings_table, READING_COLUMNS, rows)
    write_json(workspace.readings_table.with_suffix(".json"), COLUMN_MEANINGS["readings"])


def write_refused_series(workspace: Workspace, rows: Iterable[tuple[str, str, str]]) -> None:
    """Write which series of each participant were not used, and why.

    Parameters
    ----------
    workspace : Workspace
    rows : iterable of (participant, series label, reason)
        Labels hold no identifier.
    """
    write_tsv(workspace.refused_series_table, ("participant_id", "series", "reason"), rows)


def read_refused_series(workspace: Workspace, participant_id: str) -> tuple[tuple[str, str], ...]:
    """Read which series of a participant were not used.

    Parameters
    ----------
    workspace : Workspace
    participant_id : str

    Returns
    -------
    tuple of (str, str)
        Label and reason; empty where the study came without a record of them.

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
        Empty where no table exists.

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
    """Write ``signs.tsv`` and its dictionary.

    Parameters
    ----------
    workspace : Workspace
    scores : iterable of SignScores
    """
    rows = [(s.case_id, s.reader_id, *(s.scores[name] for name in SIGN_IDENTIFIERS)) for s in scores]
    write_tsv(workspace.signs_table, SIGN_COLUMNS, rows)
    write_json(workspace.signs_table.with_suffix(".json"), COLUMN_MEANINGS["signs"])


def images_digest(workspace: Workspace, participant_id: str) -> str:
    """Return the digest of a participant's two series, from the digests of their voxels that the sidecars record.

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
        When a sidecar is missing or records no digest.
    """
    named = {}
    for weighting in ("T1w", "T2w"):
        path = sidecar_path(workspace, participant_id, weighting)
        digest = read_json(path).get(VOXEL_DIGEST)
        if not isinstance(digest, str):
            raise WorkspaceError(
                f"no digest of the voxels ({VOXEL_DIGEST})", where=path.name, remedy="Ingest the participant again."
            )
        named[weighting] = digest
    return digest_of(canonical_json(named))


def read_cohort(workspace: Workspace) -> Cohort:
    """Join participants and lesions to the cohort; participants without a box are not in it.

    Where several annotators marked a case, the first row of the table stands for it.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    Cohort

    Raises
    ------
    TableError
        When a lesion belongs to nobody.
    """
    participants = {participant.participant_id: participant for participant in read_participants(workspace)}
    cases = []
    first = {record.case_id: record for record in reversed(read_lesions(workspace))}
    for record in reversed(first.values()):
        if record.participant_id not in participants:
            raise TableError(
                f"a lesion of {record.participant_id}, who is not in participants.tsv",
                where=workspace.lesions_table.name,
            )
        person = participants[record.participant_id]
        digest = images_digest(workspace, record.participant_id)
        cases.append(
            Case(record.case_id, record.participant_id, record.lesion, person.diagnosis, person.truth_source, digest)
        )
    return Cohort(tuple(cases))


def lesion_of(row: Row) -> Lesion:
    """Read a marked vertebra from a row with the columns of ``lesions.tsv``.

    Parameters
    ----------
    row : Row
        ``centre_l_mm`` to ``last_slice``, all given; ``level`` where known.

    Returns
    -------
    Lesion

    Raises
    ------
    TableError, BoxError
    """
    numbers = [row.number_in(name, -5000, 5000) for name in BOX_COLUMNS]
    if any(number is None for number in numbers):
        raise TableError("a box or slice number is missing", where=row.where)
    left, posterior, superior, side, first, last = (number for number in numbers if number is not None)
    if first != int(first) or last != int(last):
        raise TableError("a slice number that is no whole number", where=row.where)
    return Lesion(Box((left, posterior, superior), side), int(first), int(last), row.text("level"))


def sidecar_path(workspace: Workspace, participant_id: str, weighting: str) -> Path:
    """Give the place of a series' JSON sidecar.

    Parameters
    ----------
    workspace : Workspace
    participant_id : str
    weighting : {'T1w', 'T2w'}

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
        confidence=row.number_in("confidence", 0, 100),
        seconds=row.number_in("seconds", 0, 1e6),
    )

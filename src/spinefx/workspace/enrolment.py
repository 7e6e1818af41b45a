"""The hospital's tables from which a workspace is made: patients and boxes, human readings, sign scores.

``cases.csv`` names each patient as the hospital does. Names are replaced by pseudonyms as soon as they are read;
only the key file, if the user asks for one, contains them again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spinefx.cases.lesion import Box
from spinefx.cases.reading import Reading, SignScores
from spinefx.errors import TableError
from spinefx.imaging.study import pseudonym
from spinefx.tables.rows import Row, Table, read_table, yes_or_no
from spinefx.vocabulary import LEVELS, SEQUENCES, SIGN_IDENTIFIERS, Arm, Diagnosis, Score, TruthSource, Weighting

__all__ = ["Enrolment", "EnrolmentTable", "PixelBox", "read_enrolment", "read_hospital_readings", "read_hospital_signs"]

PIXEL_COLUMNS = ("box_left", "box_top", "box_right", "box_bottom")
MM_COLUMNS = ("box_l_mm", "box_p_mm", "box_s_mm", "box_side_mm")
SERIES_COLUMNS = {sequence: f"{sequence.key}_series_uid" for sequence in SEQUENCES}
OPTIONAL = (
    *("age", "sex", "primary_tumor", "level", "annotator", "box_sop_uid", *PIXEL_COLUMNS, *MM_COLUMNS),
    *("lesion_sop_uids", *SERIES_COLUMNS.values()),
)
IMAGE_REFERENCE = re.compile(r"[0-9.]{1,64}(/[1-9][0-9]{0,4})?")
NOT_ASSESSABLE = {"u", "not_assessable", "unknown"}
# A number that a spreadsheet has rounded to be shown, such as 4.711E+11.
SHORTENED = re.compile(r"[0-9]+([.,][0-9]+)?[eE][+]?[0-9]+")
LONGEST_NUMBER = 16


@dataclass(frozen=True)
class PixelBox:
    """A box drawn on one T2W image; pixel centres are at integers.

    Parameters
    ----------
    left, top, right, bottom : float
        Edges, in pixels.
    """

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Enrolment:
    """One patient of ``cases.csv``.

    Parameters
    ----------
    participant_id : str
        Pseudonym in the workspace, ``sub-001`` and so on.
    key : str
        Hash of the hospital's identifier, by which images are found.
    row : int
        Line in the table, for messages.
    diagnosis : Diagnosis
    truth_source : TruthSource
    age : float or None
        Years.
    sex, primary_tumor, level, annotator : str
    image : str
        T2W image with the box: SOP instance UID, for multi-frame files followed by ``/`` and the frame, from 1.
    box : PixelBox, Box or None
    lesion_images : tuple of str
        Images that show the lesion, written like ``image``.
    series : mapping of Weighting to str
        UIDs of series that the user chose.
    looks_shortened : bool
        Whether the patient's cell looks like a number that a spreadsheet has rounded.
    """

    participant_id: str
    key: str
    row: int
    diagnosis: Diagnosis
    truth_source: TruthSource
    age: float | None = None
    sex: str = ""
    primary_tumor: str = ""
    level: str = ""
    annotator: str = ""
    image: str = field(default="", repr=False)
    box: PixelBox | Box | None = None
    lesion_images: tuple[str, ...] = field(default=(), repr=False)
    series: Mapping[Weighting, str] = field(default_factory=dict, repr=False)
    looks_shortened: bool = False


@dataclass(frozen=True)
class EnrolmentTable:
    """The content of ``cases.csv``.

    Parameters
    ----------
    enrolments : tuple of Enrolment
        In the order of the participants.
    hospital_names : mapping of str to str
        Patient of each participant, as the table names them; only for the key file.
    similar_keys : mapping of str to mapping of str to str
        For each participant, hashes of identifiers that a spreadsheet or a person may have changed into the table's,
        each with how the two differ.
    extra_columns : tuple of str
        Columns that were not used.
    """

    enrolments: tuple[Enrolment, ...]
    hospital_names: Mapping[str, str] = field(repr=False)
    similar_keys: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    extra_columns: tuple[str, ...] = ()

    @property
    def participant_of(self) -> dict[str, str]:
        """Participant of each hash of a hospital identifier."""
        return {enrolment.key: enrolment.participant_id for enrolment in self.enrolments}


def read_enrolment(path: Path) -> EnrolmentTable:
    """Read ``cases.csv``.

    Parameters
    ----------
    path : Path

    Returns
    -------
    EnrolmentTable
        Participants are numbered in the order of the hashes of their identifiers, so that a number reveals neither
        the row nor the diagnosis.

    Raises
    ------
    TableError
        For a cell out of range, a duplicate patient or an empty table. Nothing has been written by then.
    """
    table = read_table(path, required=("patient", "diagnosis", "truth_source"), optional=OPTIONAL)
    if not table.rows:
        raise TableError("the table has no patient", where=path.name, allowed="one row per patient")
    table.refuse_duplicates("patient")
    rows = sorted(table.rows, key=lambda row: pseudonym(row.required("patient")))
    names = {row.number: f"sub-{number:03d}" for number, row in enumerate(rows, start=1)}
    enrolments = tuple(row.checked(lambda row=row: _enrolment(row, names[row.number])) for row in rows)  # type: ignore[misc]
    hospital = {names[row.number]: row.text("patient") for row in rows}
    similar = {participant: _similar_keys(name) for participant, name in hospital.items()}
    return EnrolmentTable(enrolments, hospital, similar, table.extra_columns)


def read_hospital_readings(path: Path, participant_of: Mapping[str, str]) -> tuple[list[Reading], Table, list[str]]:
    """Read ``readings.csv``, which names patients as ``cases.csv`` does.

    Parameters
    ----------
    path : Path
    participant_of : mapping of str to str
        Participant of each hash of a hospital identifier.

    Returns
    -------
    tuple
        Readings of known patients, the table, and notes on what was not used.

    Raises
    ------
    TableError
    """
    table = read_table(path, required=("patient", "reader_id", "arm", "diagnosis"), optional=("confidence", "seconds"))
    table.refuse_duplicates("patient", "reader_id", "arm")
    known, strangers = _split(table, participant_of)
    readings = [
        Reading(
            case_id=case_id,
            reader_id=_reader_id(row),
            arm=row.choice("arm", Arm, Arm),
            diagnosis=row.choice("diagnosis", Diagnosis, Diagnosis),
            confidence=row.percent("confidence"),
            seconds=row.number_in("seconds", 0, 1e6),
        )
        for case_id, row in known
    ]
    _refuse_fractions(known)
    return readings, table, strangers


def read_hospital_signs(path: Path, participant_of: Mapping[str, str]) -> tuple[list[SignScores], Table, list[str]]:
    """Read ``signs.csv``, which names patients as ``cases.csv`` does.

    Parameters
    ----------
    path : Path
    participant_of : mapping of str to str
        Participant of each hash of a hospital identifier.

    Returns
    -------
    tuple
        Scores of known patients, the table, and notes on what was not used.

    Raises
    ------
    TableError
    """
    table = read_table(path, required=("patient", "reader_id", *SIGN_IDENTIFIERS))
    table.refuse_duplicates("patient", "reader_id")
    known, notes = _split(table, participant_of)
    scores = [SignScores(case_id, _reader_id(row), _scores(row)) for case_id, row in known]
    blanks = sum(not row.text(name) for _, row in known for name in SIGN_IDENTIFIERS)
    if blanks:
        notes.append(f"{path.name}: {blanks} empty cells are taken as not assessable")
    return scores, table, notes


def _split(table: Table, participant_of: Mapping[str, str]) -> tuple[list[tuple[str, Row]], list[str]]:
    """Pair each row with its participant; note the rows of other patients."""
    known, notes = [], []
    for row in table.rows:
        participant = participant_of.get(pseudonym(row.required("patient")))
        if participant is None:
            notes.append(f"{row.where}: this patient is not in the table of cases")
        else:
            known.append((participant, row))
    return known, notes


def _refuse_fractions(known: Sequence[tuple[str, Row]]) -> None:
    """Refuse a reader whose confidences are all 0 or 1: they are fractions, or no confidences.

    The only reading of a reader may be of one percent.
    """
    given: dict[str, list[tuple[float, Row]]] = {}
    for _, row in known:
        value = row.percent("confidence")
        if value is not None:
            given.setdefault(row.text("reader_id"), []).append((value, row))
    for values in given.values():
        highest, row = max(values, key=lambda one: one[0])
        if highest == 1 and len(values) > 1:
            raise TableError(
                "no confidence of this reader is above 1, as if they were fractions of 1",
                where=row.where,
                allowed="percent, 0 to 100",
                remedy="Multiply fractions by 100, or leave the column empty.",
            )


def _similar_keys(name: str) -> dict[str, str]:
    """Return hashes of identifiers from which a spreadsheet or a person may have made this one, and how they differ."""
    changed: dict[str, str] = {}
    digits = re.sub(r"[.,]0+$", "", name)
    if digits.isascii() and digits.isdigit():
        for length in range(len(digits) + 1, LONGEST_NUMBER + 1):
            changed[digits.zfill(length)] = "by leading zeros"
        changed[digits.lstrip("0") or "0"] = "by leading zeros"
        changed[digits] = "by a decimal that a spreadsheet has added"
        changed[f"{digits}.0"] = "by a decimal that a spreadsheet has added"
    for other in (name.lower(), name.upper(), name.title()):
        changed.setdefault(other, "in upper and lower case")
    for form in ("NFC", "NFD", "NFKC"):
        changed.setdefault(unicodedata.normalize(form, name), "in the Unicode form of its letters")
    for joint in ("", " ", "-", "_"):
        changed.setdefault(re.sub(r"[\s_-]+", joint, name), "in spaces, hyphens or underscores")
    own = pseudonym(name)
    return {key: words for other, words in changed.items() if (key := pseudonym(other)) != own}


def _enrolment(row: Row, participant_id: str) -> Enrolment:
    level = row.text("level").upper()
    if level and level not in LEVELS:
        raise TableError("level is not a vertebral level", where=row.where, allowed="C1 to S5, or an empty cell")
    image, lesion_images = row.text("box_sop_uid"), tuple(row.text("lesion_sop_uids").split())
    for reference in (*([image] if image else []), *lesion_images):
        if not IMAGE_REFERENCE.fullmatch(reference):
            raise TableError("an image reference is not a UID", where=row.where, allowed="UID, or UID/frame")
    return Enrolment(
        participant_id=participant_id,
        key=pseudonym(row.required("patient")),
        row=row.number,
        diagnosis=row.choice("diagnosis", Diagnosis, Diagnosis),
        truth_source=row.choice("truth_source", TruthSource, TruthSource),
        age=row.number_in("age", 0, 120),
        sex=row.plain("sex").upper()[:1],
        primary_tumor=row.plain("primary_tumor"),
        level=level,
        annotator=row.plain("annotator"),
        image=image,
        box=_box(row),
        lesion_images=lesion_images,
        looks_shortened=SHORTENED.fullmatch(row.required("patient")) is not None,
        series={sequence: uid for sequence, column in SERIES_COLUMNS.items() if (uid := row.text(column))},
    )


def _box(row: Row) -> PixelBox | Box | None:
    pixels = [row.number_in(name, -1, 1e5) for name in PIXEL_COLUMNS]
    millimetres = [row.number_in(name, -5000, 5000) for name in MM_COLUMNS]
    given = [name for name, numbers in (("pixels", pixels), ("mm", millimetres)) if any(n is not None for n in numbers)]
    if len(given) == 2:
        raise TableError("the box is given in pixels and in mm", where=row.where, allowed="one of the two")
    if not given:
        return None
    numbers = [n for n in (pixels if given == ["pixels"] else millimetres) if n is not None]
    if len(numbers) < 4:
        columns = PIXEL_COLUMNS if given == ["pixels"] else MM_COLUMNS
        raise TableError("the box is incomplete", where=row.where, allowed=f"all of {', '.join(columns)}, or none")
    if given == ["mm"]:
        return Box((numbers[0], numbers[1], numbers[2]), numbers[3])
    left, top, right, bottom = numbers
    if not (left < right and top < bottom):
        raise TableError("the box has no width or height", where=row.where, allowed="left < right and top < bottom")
    if not row.text("box_sop_uid"):
        raise TableError(
            "box_sop_uid is missing", where=row.where, remedy="Name the T2W image on which the box was drawn."
        )
    return PixelBox(left, top, right, bottom)


def _reader_id(row: Row) -> str:
    row.required("reader_id")
    return row.plain("reader_id")


def _scores(row: Row) -> dict[str, Score]:
    if not any(row.text(name) for name in SIGN_IDENTIFIERS):
        raise TableError("no sign is scored", where=row.where, remedy="Score the signs, or delete the row.")
    return {name: _score(row, name) for name in SIGN_IDENTIFIERS}


def _score(row: Row, name: str) -> Score:
    """Read one sign; an empty cell means that it could not be assessed."""
    word = row.text(name)
    if not word or word.lower().replace(" ", "_") in NOT_ASSESSABLE:
        return Score.NOT_ASSESSABLE
    found = yes_or_no(word)
    if found is None:
        raise TableError(
            f"{name} is not one of the allowed words",
            where=row.where,
            allowed="1, y, yes or TRUE; 0, n, no or FALSE; u or an empty cell where not assessable",
        )
    return Score.YES if found else Score.NO

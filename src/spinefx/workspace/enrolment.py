"""The group's own tables: who is to take part, where the box is, and what the readers said.

``cases.csv`` names each patient as the hospital does. Names are turned into pseudonyms the moment they are read; only
the key file that the user asks for ever holds them again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spinefx.cases.lesion import Box
from spinefx.cases.reading import Reading, SignScores
from spinefx.errors import TableError
from spinefx.imaging.study import pseudonym
from spinefx.tables.rows import Row, Table, read_table
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
YES_NO = {"1": Score.YES, "0": Score.NO, "y": Score.YES, "n": Score.NO, "u": Score.NOT_ASSESSABLE}


@dataclass(frozen=True)
class PixelBox:
    """A box as it is drawn on one T2W image; pixel centres are at integers.

    Parameters
    ----------
    left, top, right, bottom : float
        Edges, pixels.
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
        The pseudonym of this study, ``sub-001`` and so on.
    key : str
        Pseudonym of the hospital's identifier, to find the images by.
    row : int
        Line in the table, for messages.
    diagnosis : Diagnosis
    truth_source : TruthSource
    age : float or None
        Years.
    sex, primary_tumor, level, annotator : str
    image : str
        The T2W image that the box lies on: SOP instance UID, for multi-frame files followed by ``/`` and the frame's
        number from 1.
    box : PixelBox, Box or None
    lesion_images : tuple of str
        Images that hold the lesion, written like ``image``.
    series : mapping of Weighting to str
        UIDs of series that the user chose.
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


@dataclass(frozen=True)
class EnrolmentTable:
    """``cases.csv`` as it was read.

    Parameters
    ----------
    enrolments : tuple of Enrolment
        In the order of the participants.
    hospital_names : mapping of str to str
        Participant to what the table calls the patient: for the key file alone.
    extra_columns : tuple of str
        Columns that were kept out.
    """

    enrolments: tuple[Enrolment, ...]
    hospital_names: Mapping[str, str] = field(repr=False)
    extra_columns: tuple[str, ...] = ()

    @property
    def participant_of(self) -> dict[str, str]:
        """Participant by the pseudonym of the hospital's identifier."""
        return {enrolment.key: enrolment.participant_id for enrolment in self.enrolments}


def read_enrolment(path: Path) -> EnrolmentTable:
    """Read ``cases.csv``.

    Parameters
    ----------
    path : Path

    Returns
    -------
    EnrolmentTable
        Participants are numbered in the order of their pseudonyms, so that a number tells neither the row nor the
        diagnosis.

    Raises
    ------
    TableError
        For any cell out of range, a doubled patient or an empty table; nothing has been written by then.
    """
    table = read_table(path, required=("patient", "diagnosis", "truth_source"), optional=OPTIONAL)
    if not table.rows:
        raise TableError("no patient", where=path.name, allowed="one row a patient")
    table.refuse_duplicates("patient")
    rows = sorted(table.rows, key=lambda row: pseudonym(row.required("patient")))
    names = {row.number: f"sub-{number:03d}" for number, row in enumerate(rows, start=1)}
    enrolments = tuple(row.checked(lambda row=row: _enrolment(row, names[row.number])) for row in rows)  # type: ignore[misc]
    hospital = {names[row.number]: row.text("patient") for row in rows}
    return EnrolmentTable(enrolments, hospital, table.extra_columns)


def read_hospital_readings(path: Path, participant_of: Mapping[str, str]) -> tuple[list[Reading], Table, list[Row]]:
    """Read ``readings.csv``, whose patients are named as in ``cases.csv``.

    Parameters
    ----------
    path : Path
    participant_of : mapping of str to str
        Participant by the pseudonym of the hospital's identifier.

    Returns
    -------
    tuple
        Readings of known patients, the table, and the rows of patients that nobody knows.

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
            confidence=row.number_in("confidence", 0, 100),
            seconds=row.number_in("seconds", 0, 1e6),
        )
        for case_id, row in known
    ]
    return readings, table, strangers


def read_hospital_signs(path: Path, participant_of: Mapping[str, str]) -> tuple[list[SignScores], Table, list[Row]]:
    """Read ``signs.csv``, whose patients are named as in ``cases.csv``.

    Parameters
    ----------
    path : Path
    participant_of : mapping of str to str
        Participant by the pseudonym of the hospital's identifier.

    Returns
    -------
    tuple
        Scores of known patients, the table, and the rows of patients that nobody knows.

    Raises
    ------
    TableError
    """
    table = read_table(path, required=("patient", "reader_id", *SIGN_IDENTIFIERS))
    table.refuse_duplicates("patient", "reader_id")
    known, strangers = _split(table, participant_of)
    scores = [
        SignScores(
            case_id,
            _reader_id(row),
            {name: row.choice(name, _score, ("0", "1", "y", "n", "u")) for name in SIGN_IDENTIFIERS},
        )
        for case_id, row in known
    ]
    return scores, table, strangers


def _split(table: Table, participant_of: Mapping[str, str]) -> tuple[list[tuple[str, Row]], list[Row]]:
    """Pair rows with their participants; the rest are strangers."""
    known, strangers = [], []
    for row in table.rows:
        participant = participant_of.get(pseudonym(row.required("patient")))
        if participant is None:
            strangers.append(row)
        else:
            known.append((participant, row))
    return known, strangers


def _enrolment(row: Row, participant_id: str) -> Enrolment:
    level = row.text("level").upper()
    if level and level not in LEVELS:
        raise TableError(f"level is {row.text('level')[:20]!r}", where=row.where, allowed="C1 to S5, or empty")
    image, lesion_images = row.text("box_sop_uid"), tuple(row.text("lesion_sop_uids").split())
    for reference in (*([image] if image else []), *lesion_images):
        if not IMAGE_REFERENCE.fullmatch(reference):
            raise TableError("an image reference that is no UID", where=row.where, allowed="UID, or UID/frame")
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
        series={sequence: uid for sequence, column in SERIES_COLUMNS.items() if (uid := row.text(column))},
    )


def _box(row: Row) -> PixelBox | Box | None:
    pixels = [row.number_in(name, -1, 1e5) for name in PIXEL_COLUMNS]
    millimetres = [row.number_in(name, -5000, 5000) for name in MM_COLUMNS]
    given = [name for name, numbers in (("pixels", pixels), ("mm", millimetres)) if any(n is not None for n in numbers)]
    if len(given) == 2:
        raise TableError("a box in pixels and one in mm", where=row.where, allowed="one of the two")
    if not given:
        return None
    numbers = [n for n in (pixels if given == ["pixels"] else millimetres) if n is not None]
    if len(numbers) < 4:
        columns = PIXEL_COLUMNS if given == ["pixels"] else MM_COLUMNS
        raise TableError("part of a box", where=row.where, allowed=f"all of {', '.join(columns)}, or none")
    if given == ["mm"]:
        return Box((numbers[0], numbers[1], numbers[2]), numbers[3])
    left, top, right, bottom = numbers
    if not (left < right and top < bottom):
        raise TableError("a box without width or height", where=row.where, allowed="left < right and top < bottom")
    if not row.text("box_sop_uid"):
        raise TableError(
            "a box in pixels without box_sop_uid", where=row.where, remedy="Name the T2W image it lies on."
        )
    return PixelBox(left, top, right, bottom)


def _reader_id(row: Row) -> str:
    row.required("reader_id")
    return row.plain("reader_id")


def _score(word: str) -> Score:
    if word not in YES_NO:
        raise ValueError(word)
    return YES_NO[word]

"""Rows of ``hostile.py`` about tables: spoilt CSV, TSV and XLSX files whose identifiers no message may repeat."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np

from hostile_row import Row, SkippedRow
from spinefx.errors import SpinefxError
from spinefx.second_opinion.manifest import Manifest
from spinefx.vocabulary import SIGN_IDENTIFIERS
from spinefx.workspace.columns import BOX_COLUMNS
from spinefx.workspace.enrolment import read_enrolment, read_hospital_readings, read_hospital_signs

SEED = 20250314
# What stands in the tables for a patient's name and number, and must not stand in any message.
PLANTED = ("Zwetschgenbaum", "QX7731905")
PATIENTS = 6
DIAGNOSES = ("benign", "malignant")


def identifier(number: int) -> str:
    """An identifier of a hospital."""
    return f"{PLANTED[1]}{number}"


def cases() -> list[list[str]]:
    """``cases.csv``, with a column for the name that nothing asks for."""
    head = ["patient", "name", "diagnosis", "truth_source", "age", "sex", "box_l_mm", "box_p_mm", "box_s_mm"]
    rows = [
        [identifier(number), f"{PLANTED[0]}^Eva", DIAGNOSES[number % 2], "biopsy", f"{50 + number}", "F", f"{number}.5"]
        for number in range(PATIENTS)
    ]
    return [[*head, "box_side_mm"], *([*row, "-71.25", "33", "30"] for row in rows)]


def readings() -> list[list[str]]:
    """``readings.csv``."""
    rows = [
        [identifier(number), "junior", "unaided", ("benign", "malignant")[number % 2], str(50 + number), "31.5"]
        for number in range(PATIENTS)
    ]
    return [["patient", "reader_id", "arm", "diagnosis", "confidence", "seconds"], *rows]


def signs() -> list[list[str]]:
    """``signs.csv``."""
    rows = [[identifier(number), "senior", *("yn"[number % 2] for _ in SIGN_IDENTIFIERS)] for number in range(PATIENTS)]
    return [["patient", "reader_id", *SIGN_IDENTIFIERS], *rows]


def manifest() -> list[list[str]]:
    """``manifest.tsv``."""
    head = ["case_id", "study", *BOX_COLUMNS]
    rows = [[f"case-{number}", PLANTED[0], "1.5", "-71", "33", "30", "3", "5"] for number in range(PATIENTS)]
    return [head, *rows]


READERS: dict[str, tuple[Callable[[], list[list[str]]], Callable[[Path], object]]] = {
    "cases": (cases, read_enrolment),
    "readings": (readings, lambda path: read_hospital_readings(path, read_participants())),
    "signs": (signs, lambda path: read_hospital_signs(path, read_participants())),
    "manifest": (manifest, lambda path: list(Manifest.open(path).studies())),
}
FORMATS = {"cases": ("csv", "xlsx"), "readings": ("csv", "tsv"), "signs": ("tsv",), "manifest": ("tsv",)}
CELLS = (
    "",
    "=1+1",
    "-",
    "NaN",
    "1e400",
    "9" * 5000,
    "0,5",
    "1.234,5",
    '"',
    "\x1b[31m",
    "\u202etxt",
    "\x00",
    "TRUE",
    "2.5",
)


@cache
def read_participants() -> dict[str, str]:
    """Return the participants that the intact table of cases makes."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases.csv"
        path.write_bytes(written(cases(), "csv"))
        return read_enrolment(path).participant_of


def written(rows: list[list[str]], ending: str) -> bytes:
    """Write a table in a format."""
    if ending == "xlsx":
        import openpyxl

        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(["" if "\x00" in cell or "\x1b" in cell else cell for cell in row])
        buffer = io.BytesIO()
        book.save(buffer)
        return buffer.getvalue()
    text = io.StringIO()
    csv.writer(text, delimiter="\t" if ending == "tsv" else ",", lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def spoilt(rows: list[list[str]], ending: str, rng: np.random.Generator) -> bytes:
    """Spoil a table: cells exchanged, emptied and replaced, rows and columns doubled and lost, bytes changed."""
    for _ in range(int(rng.integers(1, 4))):
        row, column = int(rng.integers(len(rows))), int(rng.integers(len(rows[0])))
        cell = min(column, len(rows[row]) - 1)
        match int(rng.integers(7)):
            case 0:
                rows[row][cell] = CELLS[int(rng.integers(len(CELLS)))]
            case 1:
                rows[row][cell] = PLANTED[int(rng.integers(2))]  # an identifier in any column
            case 2:
                rows.append(list(rows[row]))
            case 3:
                rows[row] = rows[row][: max(1, cell)]
            case 4:
                rows[row] = [*rows[row], PLANTED[0]]
            case 5:
                other = int(rng.integers(len(rows)))
                rows[row], rows[other] = rows[other], rows[row]
            case _:
                rows = [[*one[:cell], *one[cell + 1 :]] or [""] for one in rows]
    data = bytearray(written(rows, ending))
    for _ in range(int(rng.integers(0, 3))):
        place = int(rng.integers(len(data)))
        data[place : place + int(rng.integers(2))] = bytes(
            rng.integers(0, 256, int(rng.integers(1, 4)), dtype=np.uint8)
        )
    if rng.random() < 0.1:
        data = bytearray(
            bytes(data).decode("utf-8", "replace").encode(("utf-16", "cp1252")[int(rng.integers(2))], "replace")
        )
    return bytes(data)


def names_somebody(text: str) -> bool:
    """Return whether a text repeats a planted identifier."""
    return any(planted.casefold() in text.casefold() for planted in PLANTED)


def attempt(kind: str, ending: str, folder: Path, number: int) -> str:
    """Read a spoilt table; a message that repeats an identifier has escaped."""
    make, read = READERS[kind]
    path = folder / f"{kind}.{ending}"
    path.write_bytes(spoilt(make(), ending, np.random.default_rng([SEED, number])))
    try:
        found = read(path)
    except SpinefxError as error:
        if names_somebody(str(error)):
            raise RuntimeError(f"a message of {type(error).__name__} repeats an identifier") from None
        if any(not (letter.isprintable()) for letter in str(error)):
            raise RuntimeError("a message holds control characters") from None
        raise
    notes = found[2] if isinstance(found, tuple) and len(found) == 3 else []
    if any(names_somebody(note) for note in notes):
        raise RuntimeError("a note repeats an identifier")
    return "changed"


def prepare(kind: str, ending: str, folder: Path) -> None:
    """Check that the intact table is read."""
    if ending == "xlsx":
        try:
            import openpyxl  # noqa: F401
        except ModuleNotFoundError:
            raise SkippedRow("openpyxl (the extra xlsx) is not installed") from None
    make, read = READERS[kind]
    path = folder / f"{kind}.{ending}"
    path.write_bytes(written(make(), ending))
    read(path)


BOMBS: dict[str, Callable[[Path], object]] = {
    "sheet.xlsx": lambda path: write_swollen_workbook(path),
    "cell.csv": lambda path: path.write_bytes(b"patient,diagnosis,truth_source\n" + b"x" * (60 * 2**20)),
    "rows.csv": lambda path: path.write_bytes(b"patient,diagnosis,truth_source\n" + b"a,benign,biopsy\n" * 2_000_000),
    "columns.csv": lambda path: path.write_bytes(b"patient,diagnosis,truth_source" + b",x" * 10_000_000 + b"\n"),
}


def write_swollen_workbook(path: Path) -> None:
    """Write a workbook whose sheet inflates to 1 GiB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            for _ in range(1024):
                sheet.write(bytes(2**20))


def prepare_bombs(folder: Path) -> None:
    """Write every bomb."""
    for number, (ending, build) in enumerate(BOMBS.items()):
        build(folder / f"{number}.{ending}")


def read_bomb(folder: Path, number: int) -> str:
    """Read a bomb."""
    read_enrolment(next(folder.glob(f"{number}.*")))
    return "equal"


ROWS = (
    *(
        Row(
            f"table-{kind}-{ending}",
            4000 if ending != "xlsx" else 800,
            60,
            partial(prepare, kind, ending),
            partial(attempt, kind, ending),
            may_change=True,
        )
        for kind, endings in FORMATS.items()
        for ending in endings
    ),
    Row("table-bombs", len(BOMBS), len(BOMBS), prepare_bombs, read_bomb, alone=True),
)

"""Every door that reads a table: no message repeats a cell, and no fraction passes for a percentage."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from spinefx.commands.audit import read_claims
from spinefx.errors import SpinefxError
from spinefx.second_opinion.manifest import Manifest
from spinefx.statistics.inputs import readings_from, rows_of, signs_from, truth_from
from spinefx.statistics.mrmc.scores import ReaderStudy
from spinefx.vocabulary import SIGN_IDENTIFIERS
from spinefx.workspace.enrolment import read_enrolment, read_hospital_readings, read_hospital_signs
from spinefx.workspace.experiment import PREDICTION_COLUMNS, Experiment
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import (
    read_cohort,
    read_images,
    read_lesions,
    read_participants,
    read_readings,
    read_signs,
)

NAMES = ("DOE^JANE", "Mustermann, Erika 12.03.1961", "-Müller", "4711 0.5 Smith", "1e400", "\u202eenaJ")
Rows = list[dict[str, str]]


def written(path: Path, rows: Rows) -> Path:
    """Write a table with the separator of its ending."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
    return path


def in_workspace(name: str, read: Callable[[Workspace], object]) -> Callable[[Path, Rows], object]:
    def door(folder: Path, rows: Rows) -> object:
        written(folder / "study" / name, rows)
        return read(Workspace.open(folder / "study"))

    return door


def at_file(name: str, read: Callable[[Path], object]) -> Callable[[Path, Rows], object]:
    return lambda folder, rows: read(written(folder / name, rows))


def columns_of_rows(rows: Rows) -> dict[str, list[str]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


BOX = {
    "centre_l_mm": "1",
    "centre_p_mm": "2",
    "centre_s_mm": "3",
    "side_mm": "30",
    "first_slice": "6",
    "last_slice": "8",
}
SIGNS = dict.fromkeys(SIGN_IDENTIFIERS, "y")
READ = {"arm": "unaided", "diagnosis": "benign", "confidence": "20", "seconds": "9"}
CLAIM = {"claim": "A", "kind": "groups", "printed": "p = 0.5", "counts": "1/2 2/3"}


@dataclass(frozen=True)
class Door:
    """A door, one row that it takes, and the columns that name something which messages may name."""

    read: Callable[[Path, Rows], object]
    row: dict[str, str]
    key: str
    named: frozenset[str] = field(default_factory=frozenset)


PATIENT_OF: dict[str, str] = {}
PREDICTED = {"repeat": "1", "case_id": "a", "participant_id": "a", "slice": "7", "probability": "0.5"}
PREDICTED |= {"corrected_probability": "0.4", "fold": "1", "model_digest": "sha256:a"}
DOORS = {
    "truth": Door(at_file("t.csv", truth_from), {"case_id": "a", "diagnosis": "benign"}, "case_id"),
    "truth columns": Door(
        lambda _, rows: truth_from(columns_of_rows(rows)), {"case_id": "a", "diagnosis": "benign"}, "case_id"
    ),
    "readings": Door(at_file("r.tsv", readings_from), {"case_id": "a", "reader_id": "R", **READ}, "case_id"),
    "readings columns": Door(
        lambda _, rows: readings_from(columns_of_rows(rows)), {"case_id": "a", "reader_id": "R", **READ}, "case_id"
    ),
    "readings rows": Door(lambda _, rows: readings_from(rows), {"case_id": "a", "reader_id": "R", **READ}, "case_id"),
    "signs": Door(at_file("s.csv", signs_from), {"case_id": "a", "reader_id": "R", **SIGNS}, "case_id"),
    "any rows": Door(lambda _, rows: rows_of(rows, required=("case_id", "x")), {"case_id": "a", "x": "b"}, "case_id"),
    "reader study": Door(
        at_file("m.csv", ReaderStudy.from_table),
        {"reader_id": "R", "case_id": "a", "score": "3", "malignant": "1"},
        "case_id",
    ),
    "claims": Door(at_file("c.csv", read_claims), CLAIM, "claim", frozenset({"claim"})),
    "claims in JSON": Door(
        lambda folder, rows: (
            (folder / "c.json").write_text(json.dumps({"claims": rows})),
            read_claims(folder / "c.json"),
        ),
        CLAIM,
        "claim",
        frozenset({"claim"}),
    ),
    "manifest": Door(
        at_file("m.tsv", lambda path: list(Manifest.open(path).studies())),
        {"study": "s", "case_id": "a", **BOX, "level": "L1"},
        "case_id",
    ),
    "cases.csv": Door(
        at_file("cases.csv", read_enrolment),
        {
            "patient": "a",
            "diagnosis": "benign",
            "truth_source": "biopsy",
            "age": "60",
            "sex": "F",
            "box_l_mm": "1",
            "box_p_mm": "2",
            "box_s_mm": "3",
            "box_side_mm": "30",
            "level": "L1",
            "annotator": "A",
        },
        "patient",
    ),
    "readings.csv": Door(
        at_file("readings.csv", lambda path: read_hospital_readings(path, PATIENT_OF)),
        {"patient": "a", "reader_id": "R", **READ},
        "patient",
    ),
    "signs.csv": Door(
        at_file("signs.csv", lambda path: read_hospital_signs(path, PATIENT_OF)),
        {"patient": "a", "reader_id": "R", **SIGNS},
        "patient",
    ),
    "participants.tsv": Door(
        in_workspace("participants.tsv", read_participants),
        {
            "participant_id": "sub-001",
            "diagnosis": "benign",
            "truth_source": "biopsy",
            "age": "60",
            "sex": "F",
            "primary_tumor": "n/a",
        },
        "participant_id",
    ),
    "lesions.tsv": Door(
        in_workspace("annotations/lesions.tsv", lambda one: (read_lesions(one), read_cohort(one))),
        {"case_id": "sub-001", "participant_id": "sub-001", "level": "L1", **BOX, "annotator": "A"},
        "case_id",
    ),
    "readings.tsv": Door(
        in_workspace("annotations/readings.tsv", read_readings), {"case_id": "a", "reader_id": "R", **READ}, "case_id"
    ),
    "signs.tsv": Door(
        in_workspace("annotations/signs.tsv", read_signs), {"case_id": "a", "reader_id": "R", **SIGNS}, "case_id"
    ),
    "images.tsv": Door(
        in_workspace("annotations/images.tsv", read_images),
        {"participant_id": "sub-001", "series": "T2w", "voxel_sha256": "sha256:a"},
        "participant_id",
    ),
    "predictions.tsv": Door(
        lambda folder, rows: Experiment(written(folder / "predictions.tsv", rows).parent).read_predictions(),
        {name: PREDICTED[name] for name in PREDICTION_COLUMNS},
        "case_id",
    ),
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty workspace in it, whose tables each door writes again."""
    folder = tmp_path_factory.mktemp("doors")
    workspace = Workspace.create(folder / "study", ("T1w", "T2w"))
    (workspace.root / "annotations").mkdir(exist_ok=True)
    return folder


def spoilt(door: Door, name: str) -> Iterator[Rows]:
    """Put a name into each cell, in one row and in both rows of a pair, and into each column's name."""
    other = {column: f"{cell}2" if column == door.key else cell for column, cell in door.row.items()}
    for column in door.row:
        if column in door.named:
            continue
        yield [door.row | {column: name}, other]
        yield [door.row | {column: name}, door.row | {column: name}]
        yield [{(name if one == column else one): cell for one, cell in door.row.items()}]
    yield [door.row, door.row]


def refusal(door: Door, folder: Path, rows: Rows) -> str:
    """Return the message of the error, if there is one."""
    try:
        door.read(folder, rows)
    except SpinefxError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("door", DOORS)
def test_no_message_repeats_a_cell(opened: Path, door: str, name: str) -> None:
    refused = 0
    for rows in spoilt(DOORS[door], name):
        said = refusal(DOORS[door], opened, rows)
        refused += bool(said)
        told = [part for part in (name, *name.replace("^", " ").replace(",", " ").split()) if part in said]
        assert not [part for part in told if len(part) > 3], said
    assert refused, "nothing was wrong enough"
    shutil.rmtree(opened / "study" / "annotations")
    (opened / "study" / "annotations").mkdir()


@pytest.mark.parametrize("door", [name for name, one in DOORS.items() if "confidence" in one.row])
def test_no_fraction_passes_for_a_percentage(opened: Path, door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found, key = DOORS[door], DOORS[door].key
    from spinefx.imaging.study import pseudonym

    for name in ("a", "b", "c"):
        monkeypatch.setitem(PATIENT_OF, pseudonym(name), name)

    def read(*confidences: str) -> Any:
        cases = zip(("a", "b", "c"), confidences, strict=False)
        return found.read(opened, [found.row | {key: case, "confidence": one} for case, one in cases])

    read("0", "93", "100")
    read("", "50", "1")
    read("1")
    for fractions in (("0.93", "0.1", "0.5"), ("93", "0.93", "20"), ("0.93",), ("80", "20", "0.5")):
        with pytest.raises(SpinefxError) as refused:
            read(*fractions)
        assert "fraction" in str(refused.value)
        assert "Multiply" in refused.value.remedy

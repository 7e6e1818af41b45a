"""What comes out is what was sealed: in each program's format, in the study folder's tables, and in evidence."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinefx.cases.reading import Reading
from spinefx.errors import LogError, WorkspaceError
from spinefx.evidence.mrmc import mrmc
from spinefx.evidence.reader_study import ReaderStudy
from spinefx.trial.aid import model_answers
from spinefx.trial.answer import Answer
from spinefx.trial.design import DesignKind, StudyDesign
from spinefx.trial.export import check_export
from spinefx.trial.log import Log
from spinefx.trial.session import Phase, Sitting
from spinefx.trial.study import Trial
from spinefx.verbs.trials import export, export_study, register, register_design
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Diagnosis, Score
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort, read_readings, read_signs, write_readings
from spinefx.workspace.tables import read_table

from .conftest import CASES, Hands, probability_of, truth_of

READERS = ("R1", "R2", "R3")


def simulate(log: Log, tables: Workspace, hands: Hands, kind: DesignKind) -> tuple[Trial, list[Reading]]:
    """Readers who see the truth through noise and lean to the model; gives what they said, kept apart from the log."""
    experiment = "" if kind is DesignKind.UNAIDED else "quick"
    design = StudyDesign(
        name="pilot", design=kind, readers=READERS, experiment=experiment, seed=3, practice=("case11",), washout_days=0
    )
    trial = register_design(tables, log, design, by="E1")
    said: list[Reading] = []
    rng = np.random.default_rng(8)
    signs = {name: rng.choice(list(Score)) for name in SIGN_IDENTIFIERS}
    signs = {name: Score(str(score)) for name, score in signs.items()}
    for reader in READERS:
        for session in range(1, design.sessions + 1):
            sitting = Sitting(log, trial, reader, session, hands.clock())
            hands.pass_s(60)
            while (state := sitting.current()) is not None:
                said += read_one(sitting, state.task, tables, hands, rng, signs)
    return trial, said


def read_one(sitting: Sitting, task: Any, tables: Workspace, hands: Hands, rng: Any, signs: Any) -> list[Reading]:
    case, reader = task.case_id, sitting.reader
    sure = int(np.clip(50 + 25 * (1 if truth_of(case) is Diagnosis.MALIGNANT else -1) + rng.normal(0, 25), 0, 100))
    sitting.open(task.handle)
    hands.pass_s(12.5)
    first = Answer(Diagnosis.MALIGNANT if sure >= 50 else Diagnosis.BENIGN, sure, signs, "seen, and said")
    sitting.seal(task.handle, Phase.FIRST, "first", first)
    made = [Reading(case, reader, Arm.UNAIDED, first.diagnosis, float(sure), 12.5)]
    if task.arm is Arm.AIDED:
        pin = sitting.trial.model
        assert pin is not None
        shown = sitting.reveal(task.handle, lambda name: model_answers(tables, pin)[name])
        hands.pass_s(3.25)
        swayed = round((sure + 100 * shown["probability"]) / 2)
        second = Answer(Diagnosis.MALIGNANT if swayed >= 50 else Diagnosis.BENIGN, swayed)
        sitting.seal(task.handle, Phase.REVISED, "second", second)
        made.append(Reading(case, reader, Arm.AIDED, second.diagnosis, float(swayed), 15.75))
        if sitting.trial.design.design is DesignKind.CROSSOVER:
            made = made[1:]
    return [] if task.is_practice else made


def key(one: Reading) -> tuple[str, str, str]:
    return one.reader_id, one.case_id, str(one.arm)


def tsv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))


@pytest.mark.parametrize("kind", DesignKind)
def test_what_was_said_is_what_the_tables_hold(
    log: Log, tables: Workspace, hands: Hands, tmp_path: Path, kind: DesignKind
) -> None:
    trial, said = simulate(log, tables, hands, kind)
    done = export_study(tables, log, "pilot", tmp_path / "out", by="E1")
    assert done.missing == 0
    assert done.readings == len(said) == 11 * 3 * (1 if kind is DesignKind.UNAIDED else 2)
    assert sorted(read_readings(tables), key=key) == sorted(said, key=key)
    assert {(one.case_id, one.reader_id) for one in read_signs(tables)} == {
        (case, reader) for case in trial.cases for reader in READERS
    }
    assert check_export(tmp_path / "out", log) > 60
    again = export_study(tables, log, "pilot", tmp_path / "again", by="E1")
    assert again.readings == done.readings
    assert sorted(read_readings(tables), key=key) == sorted(said, key=key)


def test_each_format_gives_back_the_same_scores(log: Log, tables: Workspace, hands: Hands, tmp_path: Path) -> None:
    _, said = simulate(log, tables, hands, DesignKind.SECOND_READ)
    out = export_study(tables, log, "pilot", tmp_path / "out", by="E1").folder
    wanted = {key(one): one.confidence for one in said}
    truth = {case: int(truth_of(case) is Diagnosis.MALIGNANT) for case in CASES[:11]}
    rows = list(csv.DictReader((out / "imrmc.csv").read_text().splitlines()))
    assert {row["caseID"]: int(row["score"]) for row in rows if row["readerID"] == "truth"} == truth
    got = {(r["readerID"], r["caseID"], r["modalityID"]): float(r["score"]) for r in rows if r["readerID"] != "truth"}
    assert got == wanted
    long = read_table(out / "mrmcaov.tsv", required=("reader", "treatment", "case", "truth", "rating")).rows
    assert {(r.text("reader"), r.text("case"), r.text("treatment")): float(r.text("rating")) for r in long} == wanted
    assert all(int(row.text("truth")) == truth[row.text("case")] for row in long)
    names = {row["CaseID"]: row["study_case"] for row in tsv(out / "rjafroc_cases.tsv")}
    sheet = tsv(out / "rjafroc_truth.tsv")
    assert {names[row["CaseID"]]: int(row["LesionID"]) for row in sheet} == truth
    assert [row["Paradigm"] for row in sheet][:3] == ["ROC", "FCTRL", "n/a"]
    arms = {"1": "unaided", "2": "aided"}
    scored = {}
    for name in ("tp", "fp"):
        for row in tsv(out / f"rjafroc_{name}.tsv"):
            case = names[row["CaseID"]]
            assert truth[case] == (name == "tp")
            scored[row["ReaderID"], case, arms[row["ModalityID"]]] = float(row[f"{name.upper()}_Rating"])
    assert scored == wanted


def test_the_long_table_tells_the_whole_story(log: Log, tables: Workspace, hands: Hands, tmp_path: Path) -> None:
    simulate(log, tables, hands, DesignKind.CROSSOVER)
    out = export_study(tables, log, "pilot", tmp_path / "out", by="E1").folder
    meanings = json.loads((out / "readings.json").read_text())
    rows = read_table(out / "readings.tsv", required=tuple(meanings)).rows
    # Two sessions of 11 cases, half of them in two phases, and a practice case in two.
    assert len(rows) == 3 * (11 * 2 + 11 + 2)
    assert sum(row.text("practice") == "yes" for row in rows) == 6
    assert {row.text("comment") for row in rows if row.text("phase") == "first"} == {"seen, and said"}
    assert {float(row.text("active_s")) for row in rows if row.text("phase") == "first"} == {12.5}
    for row in rows:
        shown = row.text("model_probability")
        assert bool(shown) == (row.text("phase") == "revised")
        if shown:
            assert float(shown) == pytest.approx(probability_of(row.text("case_id")))
    numbers = [int(row.text("entry")) for row in rows]
    assert len(set(numbers)) == len(numbers)
    signs = read_table(out / "signs.tsv", required=("reader_id", "session", "case_id", *SIGN_IDENTIFIERS)).rows
    assert len(signs) == 3 * (11 * 2 + 1)


def test_evidence_finds_the_same_as_when_it_is_fed_directly(
    log: Log, tables: Workspace, hands: Hands, tmp_path: Path
) -> None:
    _, said = simulate(log, tables, hands, DesignKind.SECOND_READ)
    truth = read_cohort(tables).truth
    export_study(tables, log, "pilot", tmp_path / "out", by="E1")
    by_name = sorted(said, key=key)
    through = mrmc(ReaderStudy.from_readings(sorted(read_readings(tables), key=key), truth))
    directly = mrmc(ReaderStudy.from_readings(by_name, truth))
    assert through == directly
    assert through.differences[0].estimate != 0
    rows = list(csv.DictReader((tmp_path / "out" / "imrmc.csv").read_text().splitlines()))
    scores = sorted(
        (r for r in rows if r["readerID"] != "truth"), key=lambda r: (r["readerID"], r["caseID"], r["modalityID"])
    )
    malignant = {r["caseID"]: r["score"] == "1" for r in rows if r["readerID"] == "truth"}
    from_file = ReaderStudy.from_columns(
        reader=[r["readerID"] for r in scores],
        modality=[r["modalityID"] for r in scores],
        case=[r["caseID"] for r in scores],
        malignant=[malignant[r["caseID"]] for r in scores],
        score=[float(r["score"]) for r in scores],
    )
    assert mrmc(from_file) == directly


def test_an_export_that_was_changed_is_seen(log: Log, tables: Workspace, hands: Hands, tmp_path: Path) -> None:
    simulate(log, tables, hands, DesignKind.UNAIDED)
    out = export_study(tables, log, "pilot", tmp_path / "out", by="E1").folder
    whole = (out / "imrmc.csv").read_text()
    (out / "imrmc.csv").write_text(whole.replace("R1", "R9", 1))
    with pytest.raises(LogError, match=r"imrmc\.csv is not as it was exported"):
        check_export(out, log)
    (out / "imrmc.csv").write_text(whole)
    assert check_export(out, log) > 0
    manifest = (out / "study.json").read_text()
    (out / "study.json").write_text(manifest.replace('"entries": ', '"entries": 1'))
    with pytest.raises(LogError, match=r"study\.json is not one that this log gave out"):
        check_export(out, log)


def test_rows_of_others_stay_and_a_contradiction_is_refused_before_anything_is_written(
    log: Log, tables: Workspace, hands: Hands, tmp_path: Path
) -> None:
    _, said = simulate(log, tables, hands, DesignKind.UNAIDED)
    other = Reading("case00", "R9", Arm.UNAIDED, Diagnosis.BENIGN)
    write_readings(tables, [other, replace(said[0], confidence=1.0)])
    with pytest.raises(WorkspaceError, match="another answer of R1"):
        export_study(tables, log, "pilot", tmp_path / "out", by="E1")
    assert not (tmp_path / "out").exists()
    write_readings(tables, [other])
    export_study(tables, log, "pilot", tmp_path / "out", by="E1")
    assert read_readings(tables)[0] == other
    assert len(read_readings(tables)) == 1 + len(said)


def test_the_verbs_work_on_a_folder(tables: Workspace, tmp_path: Path) -> None:
    design = tmp_path / "design.toml"
    design.write_text('name = "pilot"\ndesign = "second_read"\nreaders = ["R1"]\ncases = "all"\nexperiment = "quick"\n')
    trial = register(tables.root, design)
    assert trial.cases == CASES
    done = export(tables.root, "pilot", tmp_path / "out")
    assert (done.readings, done.missing) == (0, 24)
    assert (tmp_path / "out" / "imrmc.csv").read_text().count("\n") == 13

"""Exports hold what was sealed: in each program's format, in the tables of the workspace, and in the statistics."""

from __future__ import annotations

import contextlib
import csv
import json
import secrets
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinefx.cases.reading import Reading
from spinefx.cli import app
from spinefx.commands.reader_study import check, export, export_study, register, register_design
from spinefx.errors import FileError, LogError, SpinefxError, WorkspaceError
from spinefx.reader_study.answer import Answer
from spinefx.reader_study.assistance import model_answers
from spinefx.reader_study.design import DesignKind, StudyDesign
from spinefx.reader_study.export import check_export, read_key
from spinefx.reader_study.log import Log
from spinefx.reader_study.session import Phase, Session
from spinefx.reader_study.study import RegisteredStudy
from spinefx.statistics.mrmc.anova import mrmc
from spinefx.statistics.mrmc.scores import ReaderStudy
from spinefx.tables.rows import read_table
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Diagnosis, Score
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort, read_readings, read_signs, write_readings, write_signs

from .conftest import CASES, Hands, probability_of, truth_of

READERS = ("R1", "R2", "R3")


def simulate(
    log: Log, tables: Workspace, hands: Hands, kind: DesignKind, perturbed_share: float = 0.0
) -> tuple[RegisteredStudy, list[Reading]]:
    """Simulate readers who see the truth through noise and lean towards the model; return their answers."""
    experiment = "" if kind is DesignKind.UNAIDED else "quick"
    design = StudyDesign(
        name="pilot",
        design=kind,
        readers=READERS,
        experiment=experiment,
        seed=3,
        practice=("case11",),
        washout_days=0,
        perturbed_share=perturbed_share,
    )
    study = register_design(tables, log, design, by="E1")
    said: list[Reading] = []
    rng = np.random.default_rng(8)
    signs = {name: rng.choice(list(Score)) for name in SIGN_IDENTIFIERS}
    signs = {name: Score(str(score)) for name, score in signs.items()}
    for reader in READERS:
        for session in range(1, design.sessions + 1):
            reading = Session(log, study, reader, session, hands.clock())
            hands.pass_s(60)
            while (state := reading.current()) is not None:
                said += read_one(reading, state.task, tables, hands, rng, signs)
    return study, said


def read_one(reading: Session, task: Any, tables: Workspace, hands: Hands, rng: Any, signs: Any) -> list[Reading]:
    case, reader = task.case_id, reading.reader
    sure = int(np.clip(50 + 25 * (1 if truth_of(case) is Diagnosis.MALIGNANT else -1) + rng.normal(0, 25), 0, 100))
    reading.open(task.handle)
    hands.pass_s(12.5)
    first = Answer(Diagnosis.MALIGNANT if sure >= 50 else Diagnosis.BENIGN, sure, signs, "seen, and said")
    reading.seal(task.handle, Phase.FIRST, "first", first)
    made = [Reading(case, reader, Arm.UNAIDED, first.diagnosis, float(sure), 12.5)]
    if task.arm is Arm.AIDED:
        pin = reading.study.model
        assert pin is not None
        shown = reading.reveal(task.handle, lambda name: model_answers(tables, pin)[name])
        hands.pass_s(3.25)
        swayed = round((sure + 100 * shown["probability"]) / 2)
        second = Answer(Diagnosis.MALIGNANT if swayed >= 50 else Diagnosis.BENIGN, swayed)
        reading.seal(task.handle, Phase.REVISED, "second", second)
        arm = Arm.PERTURBED if reading.study.is_perturbed(reader, case) and not task.is_practice else Arm.AIDED
        made.append(Reading(case, reader, arm, second.diagnosis, float(swayed), 15.75))
        if reading.study.design.design is DesignKind.CROSSOVER:
            made = made[1:]
    return [] if task.is_practice else made


def key(one: Reading) -> tuple[str, str, str]:
    return one.reader_id, one.case_id, str(one.arm)


def tsv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))


@pytest.mark.parametrize("kind", DesignKind)
def test_the_tables_hold_the_answers_that_were_given(
    log: Log, tables: Workspace, hands: Hands, tmp_path: Path, kind: DesignKind
) -> None:
    study, said = simulate(log, tables, hands, kind)
    done = export_study(tables, log, "pilot", tmp_path / "out", by="E1")
    assert done.missing == 0
    assert done.readings == len(said) == 11 * 3 * (1 if kind is DesignKind.UNAIDED else 2)
    assert sorted(read_readings(tables), key=key) == sorted(said, key=key)
    assert {(one.case_id, one.reader_id) for one in read_signs(tables)} == {
        (case, reader) for case in study.cases for reader in READERS
    }
    assert check_export(tmp_path / "out", log) > 60
    again = export_study(tables, log, "pilot", tmp_path / "again", by="E1")
    assert again.readings == done.readings
    assert sorted(read_readings(tables), key=key) == sorted(said, key=key)


def test_each_format_holds_the_same_scores(log: Log, tables: Workspace, hands: Hands, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("kind", [DesignKind.SECOND_READ, DesignKind.CROSSOVER])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_no_door_counts_an_answer_to_a_flipped_model_as_aided(
    log: Log, tables: Workspace, hands: Hands, tmp_path: Path, kind: DesignKind, share: float
) -> None:
    study, said = simulate(log, tables, hands, kind, share)
    out = export_study(tables, log, "pilot", tmp_path / "out", by="E1").folder
    flipped = {(reader, case) for reader in READERS for case in study.cases if study.is_perturbed(reader, case)}
    assert len(flipped) == 3 * round(11 * share)
    imrmc = [row for row in csv.DictReader((out / "imrmc.csv").read_text().splitlines()) if row["readerID"] != "truth"]
    long = [r for r in tsv(out / "readings.tsv") if r["phase"] == "revised" and r["practice"] == "no"]
    doors = {
        "iMRMC": {(r["readerID"], r["caseID"], r["modalityID"]) for r in imrmc},
        "MRMCaov": {(r["reader"], r["case"], r["treatment"]) for r in tsv(out / "mrmcaov.tsv")},
        "long table": {(r["reader_id"], r["case_id"], r["arm"]) for r in long},
        "workspace": {key(one) for one in read_readings(tables)},
    }
    for door, rows in doors.items():
        assert {row[:2] for row in rows if row[2] == "perturbed"} == flipped, door
        assert not flipped & {row[:2] for row in rows if row[2] == "aided"}, door
    names = {row["CaseID"]: row["study_case"] for row in tsv(out / "rjafroc_cases.tsv")}
    assert set(names.values()) == set(study.cases) - {case for _, case in flipped}
    kept = ReaderStudy.from_readings(read_readings(tables), read_cohort(tables).truth)
    assert set(kept.modalities) == {"unaided", "aided"}
    read = np.isfinite(kept.scores)
    assert (read[0] == read[1]).all()
    assert read[0].sum() == 3 * 11 - len(flipped)
    asked = ReaderStudy.from_readings(said, read_cohort(tables).truth, arms=["perturbed"]) if flipped else None
    assert asked is None or asked.counts.readings == len(flipped)


def test_answers_that_an_earlier_version_exported_as_aided_are_replaced(
    log: Log, tables: Workspace, hands: Hands, tmp_path: Path
) -> None:
    _, said = simulate(log, tables, hands, DesignKind.SECOND_READ, 0.25)
    write_readings(tables, [replace(one, arm=Arm.AIDED) if one.arm == Arm.PERTURBED else one for one in said])
    export_study(tables, log, "pilot", tmp_path / "out", by="E1")
    assert sorted(read_readings(tables), key=key) == sorted(said, key=key)


def test_the_long_table_is_complete(log: Log, tables: Workspace, hands: Hands, tmp_path: Path) -> None:
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


def test_statistics_are_the_same_from_an_export_as_from_the_answers(
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


def test_a_changed_export_is_detected(log: Log, tables: Workspace, hands: Hands, tmp_path: Path) -> None:
    simulate(log, tables, hands, DesignKind.UNAIDED)
    out = export_study(tables, log, "pilot", tmp_path / "out", by="E1").folder
    whole = (out / "imrmc.csv").read_text()
    (out / "imrmc.csv").write_text(whole.replace("R1", "R9", 1))
    with pytest.raises(LogError, match=r"imrmc\.csv has changed since it was exported"):
        check_export(out, log)
    (out / "imrmc.csv").write_text(whole)
    assert check_export(out, log) > 0
    manifest = (out / "study.json").read_text()
    (out / "study.json").write_text(manifest.replace('"entries": ', '"entries": 1'))
    with pytest.raises(LogError, match=r"study\.json was not exported from this log"):
        check_export(out, log)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return new_key(tmp_path / "pilot.key")


def new_key(path: Path) -> Path:
    path.write_text(secrets.token_hex(32) + "\n")
    path.chmod(0o600)
    return path


def spoil(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


@pytest.fixture
def signed(log: Log, tables: Workspace, hands: Hands, tmp_path: Path, key_file: Path) -> Path:
    """A signed export of a finished study."""
    simulate(log, tables, hands, DesignKind.UNAIDED)
    return export_study(tables, log, "pilot", tmp_path / "out", by="E1", key=read_key(key_file)).folder


def test_a_signed_export_names_user_and_time_and_passes_its_check(signed: Path, key_file: Path) -> None:
    assert check(signed, key_file=key_file) is None
    manifest = json.loads((signed / "study.json").read_text())
    assert manifest["exported"]["by"] == "E1"
    assert datetime.fromisoformat(manifest["exported"]["written"]).tzinfo is not None
    assert key_file.read_text().strip() not in "".join(path.read_text() for path in signed.iterdir())


def test_a_change_to_any_file_of_a_signed_export_is_named(signed: Path, key_file: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in signed.iterdir())
    assert len(names) == 12
    for name in names:
        for harm, words in ((spoil, "has changed since it was"), (Path.unlink, "missing|study.json cannot be read")):
            copy = tmp_path / "copy"
            shutil.copytree(signed, copy)
            harm(copy / name)
            wanted = "study.json" if name == "study.json.hmac" and harm is spoil else name
            with pytest.raises(LogError, match=words) as caught:
                check(copy, key_file=key_file)
            assert wanted in str(caught.value)
            shutil.rmtree(copy)
    (signed / "more.tsv").write_text("reader\n")
    with pytest.raises(LogError, match=r"more\.tsv is not part of the export"):
        check(signed, key_file=key_file)


def test_another_key_and_an_unsigned_export_are_refused(signed: Path, key_file: Path, tmp_path: Path) -> None:
    with pytest.raises(LogError, match="with another key"):
        check(signed, key_file=new_key(tmp_path / "other.key"))
    (signed / "study.json.hmac").write_bytes(b"hmac-sha256:\xff")
    with pytest.raises(LogError, match="with another key"):
        check(signed, key_file=key_file)
    (signed / "study.json.hmac").unlink()
    with pytest.raises(LogError, match=r"study\.json\.hmac is missing"):
        check(signed, key_file=key_file)
    assert check(signed) is None
    (signed / "study.json").write_text("{}")
    with pytest.raises(LogError, match="lists no files"):
        check(signed)


def test_only_the_key_detects_a_log_that_was_rewritten_as_a_whole(
    log: Log, tables: Workspace, hands: Hands, tmp_path: Path, signed: Path, key_file: Path
) -> None:
    kept = log.entries()
    with contextlib.closing(Log.beside(tmp_path / "forged.sqlite")) as forged:
        for entry in kept:
            content = dict(entry.content)
            if entry.kind == "answer.sealed":
                answer = Answer(Diagnosis.BENIGN, 1, content["answer"]["signs"], "forged")
                content |= {"answer": answer.to_json(), "digest": answer.digest}
            forged.append(entry.kind, entry.person, entry.subject, content)
        write_readings(tables, [])
        write_signs(tables, [])
        out = export_study(tables, forged, "pilot", tmp_path / "forged", by="E1").folder
        assert check_export(out, forged) > 60, "the forged log and its export agree"
        with pytest.raises(LogError, match="removed or replaced"):
            check_export(signed, forged)
    with pytest.raises(LogError, match=r"study\.json\.hmac is missing"):
        check(out, key_file=key_file)
    shutil.copy(signed / "study.json.hmac", out)
    with pytest.raises(LogError, match="has changed since it was signed"):
        check(out, key_file=key_file)


@pytest.mark.parametrize(
    ("mode", "text", "words"),
    [
        (0o600, "short", "the key has 5 bytes"),
        (0o644, "k" * 64, "other users can read"),
        (0o600, None, "the key cannot be read"),
    ],
)
def test_an_unusable_key_is_refused_before_anything_is_written(
    tables: Workspace, tmp_path: Path, mode: int, text: str | None, words: str
) -> None:
    path = tmp_path / "bad.key"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(FileError, match=words):
        export(tables.root, "pilot", tmp_path / "out", key_file=path)
    assert not (tmp_path / "out").exists()


def test_the_commands_sign_and_check(
    tables: Workspace, tmp_path: Path, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    design = tmp_path / "design.toml"
    design.write_text('name = "pilot"\ndesign = "unaided"\nreaders = ["R1"]\ncases = "all"\n')
    register(tables.root, design)
    out = tmp_path / "out"

    def run(*words: object) -> str:
        app([str(word) for word in words], result_action="return_value")
        return capsys.readouterr().out

    assert "0 readings" in run("reader-study", "export", tables.root, "pilot", out, "--key", key_file)
    assert "matches its signature" in run("reader-study", "check", out, "--key", key_file)
    assert "2 log entries are intact" in run("reader-study", "check", out, tables.root)
    assert "Only --key or the workspace can show" in run("reader-study", "check", out)
    with pytest.raises(SpinefxError, match="a new or empty folder"):
        run("reader-study", "export", tables.root, "pilot", out)


def test_other_rows_stay_and_a_contradiction_is_refused_before_anything_is_written(
    log: Log, tables: Workspace, hands: Hands, tmp_path: Path
) -> None:
    _, said = simulate(log, tables, hands, DesignKind.UNAIDED)
    other = Reading("case00", "R9", Arm.UNAIDED, Diagnosis.BENIGN)
    write_readings(tables, [other, replace(said[0], confidence=1.0)])
    with pytest.raises(WorkspaceError, match="a different answer by R1"):
        export_study(tables, log, "pilot", tmp_path / "out", by="E1")
    assert not (tmp_path / "out").exists()
    write_readings(tables, [other])
    export_study(tables, log, "pilot", tmp_path / "out", by="E1")
    assert read_readings(tables)[0] == other
    assert len(read_readings(tables)) == 1 + len(said)


def test_the_commands_work_on_a_workspace(tables: Workspace, tmp_path: Path) -> None:
    design = tmp_path / "design.toml"
    design.write_text('name = "pilot"\ndesign = "second_read"\nreaders = ["R1"]\ncases = "all"\nexperiment = "quick"\n')
    study = register(tables.root, design)
    assert study.cases == CASES
    done = export(tables.root, "pilot", tmp_path / "out")
    assert (done.readings, done.missing) == (0, 24)
    assert (tmp_path / "out" / "imrmc.csv").read_text().count("\n") == 13

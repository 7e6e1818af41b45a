"""Many studies as shards: none lost, none doubled, the same bytes whoever was killed on the way."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spinefx.cases.lesion import Box, Lesion
from spinefx.cli import main
from spinefx.commands.predict import predict
from spinefx.commands.train import train
from spinefx.errors import InputError, InterruptedWrite, ModelError, TableError, WorkspaceError
from spinefx.learning.recipe import Recipe
from spinefx.processes.pool import attempt
from spinefx.second_opinion import many_studies as shards
from spinefx.second_opinion.manifest import REQUIRED, Manifest, MarkedStudy
from spinefx.second_opinion.many_studies import Shard, cut, predict_many
from spinefx.workspace.columns import BOX_COLUMNS
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions

SECRET = "DOE^JANE_19500101"


def in_this_process(
    function: Callable[[Any], Any], items: Iterable[Any], *, workers: int, on: str
) -> Iterator[tuple[Any, Any]]:
    return ((item, attempt(function, item)) for item in items)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer in this process, where it is not the processes that are tested."""
    monkeypatch.setattr(shards, "spread", in_this_process)


@pytest.fixture(scope="module")
def model(trained: Path) -> Path:
    return trained / "experiments" / "quick" / "models" / "fold-01"


@pytest.fixture(scope="module")
def manifest(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine good rows and four that cannot be answered; the studies' folders bear a patient's name. Read only."""
    folder = tmp_path_factory.mktemp("archive")
    lines = ["\t".join(REQUIRED)]
    for number, record in enumerate(read_lesions(Workspace(trained)), 1):
        name = f"{SECRET}_{number}"
        shutil.copytree(trained / record.participant_id / "anat", folder / name)
        box = (*record.lesion.box.centre_mm, record.lesion.box.side_mm)
        place = [*(f"{value:.3f}" for value in box), str(record.lesion.first_slice), str(record.lesion.last_slice)]
        lines.append("\t".join([name, f"case-{number}", *place]))
        if number == 2:
            (folder / f"{SECRET}_broken").mkdir()
            for image in (folder / name).glob("*.nii.gz"):
                (folder / f"{SECRET}_broken" / image.name).write_bytes(image.read_bytes()[:500])
            lines.append("\t".join([f"{SECRET}_absent", "case-absent", *place]))
            lines.append("\t".join([f"{SECRET}_broken", "case-broken", *place]))
            lines.append("\t".join([name, "case-off", "0", "900", *place[2:]]))
            lines.append("\t".join([name, "case-beyond", *place[:4], "60", "61"]))
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.tsv"


@pytest.fixture(scope="module")
def whole(model: Path, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run on two processes. Read only."""
    out = tmp_path_factory.mktemp("whole") / "out"
    done = predict_many(model, manifest, out, shard_size=2, workers=2)
    assert (done.missing, done.notes) == (0, ())
    assert done.shards > 4
    return out


def bytes_of(out: Path) -> bytes:
    return (out / "predictions.tsv").read_bytes()


def rows_of(out: Path) -> dict[str, dict[str, str]]:
    with (out / "predictions.tsv").open() as file:
        return {row["case_id"]: row for row in csv.DictReader(file, delimiter="\t")}


def test_every_study_has_one_row_in_the_manifests_order(whole: Path, manifest: Path) -> None:
    with (whole / "predictions.tsv").open() as file:
        cases = [row["case_id"] for row in csv.DictReader(file, delimiter="\t")]
    assert cases == [study.case_id for study in Manifest.open(manifest).studies()]
    summary = json.loads((whole / "summary.json").read_text())
    assert (summary["studies"], summary["answered"]) == (13, 9)
    assert sum(summary["refused"].values()) == 4
    assert summary["cpu_seconds"] > 0


def test_a_row_holds_what_a_single_study_would_get(whole: Path, manifest: Path, model: Path) -> None:
    row, study = rows_of(whole)["case-3"], [one for one in Manifest.open(manifest).studies() if one.case_id == "case-3"]
    lesion = study[0].lesion
    box = ",".join(f"{value:.3f}" for value in (*lesion.box.centre_mm, lesion.box.side_mm))
    alone = predict(
        model, manifest.parent / study[0].study, box=box, slices=f"{lesion.first_slice}-{lesion.last_slice}"
    )
    patient = alone["patient"]
    assert float(row["probability"]) == pytest.approx(patient["probability"], abs=1e-6)
    assert float(row["corrected_probability"]) == pytest.approx(patient["corrected_probability"], abs=1e-6)
    assert (row["diagnosis"], float(row["threshold"])) == (patient["diagnosis"], patient["threshold"])
    assert int(row["n_slices"]) == len(alone["slices"])
    assert row["model_digest"] == alone["model"]["digests"][0]
    assert alone["registration"]["reason"] in row["registration"]


def test_cases_that_trained_the_model_are_named_in_the_table_the_summary_and_the_text(
    whole: Path, manifest: Path, model: Path, trained: Path
) -> None:
    tested = {row["participant_id"] for row in json.loads((model / "fold.json").read_text())["predictions"]}
    seen = {
        f"case-{number}"
        for number, record in enumerate(read_lesions(Workspace(trained)), 1)
        if record.participant_id not in tested
    }
    rows = {name: row for name, row in rows_of(whole).items() if row["error"] == "n/a"}
    assert {name for name, row in rows.items() if row["training_case"] == "yes"} == seen & set(rows)
    assert {row["training_case"] for row in rows.values()} == {"yes", "no"}
    assert all(("trained on this case" in row["flags"]) == (row["training_case"] == "yes") for row in rows.values())
    again = predict_many(model, manifest, whole, shard_size=2)
    assert set(again.training_cases) == seen & set(rows)
    assert f"{len(again.training_cases)} of 9 answers" in again.caution
    assert all(name in again.caution for name in again.training_cases)
    assert json.loads((whole / "summary.json").read_text())["training_cases"] == list(again.training_cases)


def test_a_study_that_cannot_be_answered_has_a_row_with_the_reason(whole: Path) -> None:
    rows = rows_of(whole)
    expected = {"absent": "FileError", "broken": "FileError", "off": "BoxError", "beyond": "BoxError"}
    for name, error in expected.items():
        row = rows[f"case-{name}"]
        assert (row["error"], row["probability"], row["diagnosis"]) == (error, "n/a", "n/a"), name
        assert len(row["reason"]) > 10


def test_no_output_holds_a_patients_name(whole: Path) -> None:
    for path in whole.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path.name
            assert b"/" + whole.parts[1].encode() + b"/" not in path.read_bytes(), path.name


def test_an_unforeseen_error_has_a_row_without_its_text(
    quick: None, model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise ValueError(SECRET)

    monkeypatch.setattr(shards, "answer_study", fail)
    assert predict_many(model, manifest, tmp_path).refused == {"InternalError": 13}
    assert SECRET.encode() not in bytes_of(tmp_path)
    assert rows_of(tmp_path)["case-1"]["reason"] == "ValueError"


def test_killed_processes_lose_nothing(model: Path, manifest: Path, whole: Path, tmp_path: Path) -> None:
    killed: list[int | None] = []

    def kill(step: str, done: int, total: int) -> None:
        if len(killed) < 2:
            victim = multiprocessing.active_children()[0]
            killed.append(victim.pid)
            os.kill(victim.pid or 0, signal.SIGKILL)

    done = predict_many(model, manifest, tmp_path, shard_size=2, workers=2, progress=kill)
    assert len(set(killed)) == 2
    assert done.missing == 0
    assert bytes_of(tmp_path) == bytes_of(whole)


def test_an_interrupted_run_continues_and_repeats_nothing(
    quick: None, model: Path, manifest: Path, whole: Path, tmp_path: Path
) -> None:
    def interrupt(step: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_many(model, manifest, tmp_path, shard_size=2, progress=interrupt)
    assert not (tmp_path / "predictions.tsv").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").glob("*.tsv")}
    assert len(before) == 3
    predict_many(model, manifest, tmp_path, shard_size=2)
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert bytes_of(tmp_path) == bytes_of(whole)


def test_jobs_of_an_array_complete_the_whole(
    quick: None, model: Path, manifest: Path, whole: Path, tmp_path: Path
) -> None:
    left = [predict_many(model, manifest, tmp_path, shard=f"{job}/3", shard_size=2).missing for job in (3, 1)]
    assert left[0] > left[1] > 0
    assert not (tmp_path / "predictions.tsv").exists()
    assert predict_many(model, manifest, tmp_path, shard="2/3", shard_size=2).missing == 0
    assert bytes_of(tmp_path) == bytes_of(whole)
    assert {path.name for path in (tmp_path / "shards").glob("*.tsv")} == {
        path.name for path in (whole / "shards").glob("*.tsv")
    }


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3"])
def test_an_invalid_share_is_refused(model: Path, manifest: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="i/n"):
        predict_many(model, manifest, tmp_path, shard=text)


def test_a_full_disk_leaves_no_incomplete_table(
    quick: None, model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if Path(target).suffix == ".tsv":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InterruptedWrite, match="No space left"):
        predict_many(model, manifest, tmp_path, shard_size=2)
    assert [path.suffix for path in (tmp_path / "shards").iterdir()] == [".json"]


def test_an_altered_table_of_a_shard_is_not_joined(
    quick: None, model: Path, manifest: Path, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole / "shards", tmp_path / "shards")
    first = sorted((tmp_path / "shards").glob("*.tsv"))[0]
    first.write_text(first.read_text().split("\n")[0] + "\n")
    with pytest.raises(WorkspaceError, match="does not have the cases of its shard"):
        predict_many(model, manifest, tmp_path, shard_size=2)
    assert not (tmp_path / "predictions.tsv").exists()


def test_a_case_in_two_rows_is_refused_before_any_work(model: Path, manifest: Path, tmp_path: Path) -> None:
    lines = manifest.read_text().splitlines()
    doubled = manifest.with_name("doubled.tsv")
    doubled.write_text("\n".join([*lines, lines[3]]) + "\n")
    with pytest.raises(TableError, match=r"row 15: case_id as in row 4"):
        predict_many(model, doubled, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("side_mm", "3000", "row 2: a box with a side of 3000 mm"),
        ("side_mm", "n/a", "row 2: side_mm is empty"),
        ("first_slice", "6.5", "row 2: first_slice is not a whole number"),
        ("case_id", "", "row 2: case_id is empty"),
        ("case_id", "=HYPERLINK(1)", "row 2: case_id holds characters"),
        ("study", "", "row 2: study is empty"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, column: str, cell: str, message: str) -> None:
    good = {"study": "a", "case_id": "one"} | dict(zip(BOX_COLUMNS, ("0", "0", "0", "30", "6", "8"), strict=True))
    for row in (good, good | {column: cell}):
        (tmp_path / "manifest.tsv").write_text("\t".join(row) + "\n" + "\t".join(row.values()) + "\n")
        studies = Manifest.open(tmp_path).studies()
        if row == good:
            assert list(studies) == [MarkedStudy("one", "a", Lesion(Box((0.0, 0.0, 0.0), 30.0), 6, 8))]
    with pytest.raises(TableError, match=message):
        list(studies)


def test_a_workspace_is_its_own_manifest(quick: None, model: Path, trained: Path, whole: Path, tmp_path: Path) -> None:
    assert predict_many(model, trained, tmp_path).answered == 9
    assert rows_of(tmp_path)["sub-001"]["probability"] == rows_of(whole)["case-1"]["probability"]


def test_another_model_removes_the_joined_table(
    quick: None, model: Path, manifest: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    assert predict_many(model.parents[1], manifest, out, shard="1/2", shard_size=2).missing > 0
    assert not (out / "predictions.tsv").exists()
    study = next(Manifest.open(manifest).studies())
    with pytest.raises(ModelError, match="models have changed"):
        shards.answer_shard(model, manifest.parent, Shard((study,), ("sha256:other",), "torch"))


@pytest.mark.parametrize("size", [1, 2, 16, 256])
def test_cuts_depend_on_the_rows(size: int) -> None:
    lesion = Lesion(Box((0.0, 0.0, 0.0), 30.0), 6, 8)
    studies = [MarkedStudy(f"case-{number}", "x", lesion) for number in range(size * 60)]
    pieces = list(cut(iter(studies), size))
    assert [study for piece in pieces for study in piece] == studies
    assert max(map(len, pieces)) <= 2 * size
    assert 0.75 * size <= len(studies) / len(pieces) <= 1.25 * size
    names = {Shard(piece, (), "torch").name for piece in pieces}
    assert len(names) == len(pieces)
    fewer = {Shard(piece, (), "torch").name for piece in cut(iter(studies[:7] + studies[8:]), size)}
    assert len(fewer - names) <= max(2, len(pieces) // 6)


def test_the_shell_distinguishes_one_study_from_many(
    model: Path, manifest: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anat = str(trained / "sub-001" / "anat")
    for arguments, message in (
        (
            (anat, "--out", str(tmp_path / "out")),
            "write a tab-separated table with the columns study, case_id, centre_l_mm",
        ),
        ((str(manifest),), "Many studies need --out"),
        ((str(manifest), "--out", str(tmp_path / "out"), "--slices", "6"), "no flags of a single study"),
        ((str(manifest), "--out", str(tmp_path / "out"), "--on", "dask://x"), "local, ray, or ray://host:port"),
        ((anat, "--box", "0,0,0,30"), "--slices is missing"),
    ):
        with pytest.raises(SystemExit) as end:
            main(["predict", str(model), *arguments])
        assert end.value.code == 1
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))


def test_the_shell_prints_how_many_were_answered(
    quick: None, model: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["predict", str(model), str(manifest.parent), "--out", str(tmp_path), "--workers", "1"])
    assert end.value.code in (0, None)
    assert "9 answered, 4 refused, 2 BoxError, 2 FileError" in capsys.readouterr().out


def test_folds_of_array_jobs_complete_the_experiment(patched: Path, trained: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(patched, study)
    recipe = Recipe.preset("quick").changed(folds=2, epochs=1, copies_benign=1, copies_malignant=2)
    first = train(study, recipe, shard="2/2")
    assert (first.left, first.folds) == (1, 2)
    folder = study / "experiments" / "quick"
    assert [path.name for path in (folder / "models").glob("fold-*")] == ["fold-02"]
    assert not (folder / "predictions.tsv").exists()
    assert train(study, recipe, shard="1/2").left == 0
    for name in ("predictions.tsv", "readings.tsv", "folds.tsv", "history.tsv", "audit.tsv"):
        assert (folder / name).read_bytes() == (trained / "experiments" / "quick" / name).read_bytes(), name

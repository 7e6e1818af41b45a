"""The whole story on phantoms: DICOM, tables, patches, training, report; with a numeric bar and a leak trap."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from spinefx.commands.ingest import ingest
from spinefx.commands.patch import patch
from spinefx.commands.report import write_report
from spinefx.commands.train import train
from spinefx.learning.recipe import Recipe
from spinefx.phantom.cohort import PhantomSettings, write_cohort
from spinefx.workspace.experiment import Experiment
from spinefx.workspace.layout import Workspace

PATIENTS, MALIGNANT = 30, 12
RECIPE = {"folds": 3, "epochs": 10, "copies_benign": 2, "copies_malignant": 3, "mixup_alpha": 0.4, "name": "story"}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study folder of thirty easy phantoms, patched. Read only."""
    folder = tmp_path_factory.mktemp("story")
    settings = PhantomSettings(patients=PATIENTS, seed=3, malignant=MALIGNANT, matrix=192, difficulty=0.0)
    write_cohort(folder / "export", settings)
    tables = {name: folder / "export" / f"{name}.csv" for name in ("signs", "readings")}
    ingest(folder / "study", folder / "export", table=folder / "export" / "cases.csv", **tables)
    patch(folder / "study")
    return folder / "study"


@pytest.fixture
def study(story: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "study"
    shutil.copytree(story, copy)
    return copy


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_from_dicom_to_a_report_that_beats_chance(study: Path) -> None:
    train(study, Recipe.preset("quick").changed(**RECIPE))
    written = write_report(study)
    rows = {row["reader"]: row for row in table_of(written.page.parent / "table2.tsv")}
    assert set(rows) == {"msk_senior", "resident_r4", "resident_r1", "story", "always benign"}
    assert rows["always benign"]["accuracy"] == f"{(PATIENTS - MALIGNANT) / PATIENTS:.6g}"
    assert float(rows["story"]["AUC"]) >= 0.75
    assert float(rows["story"]["AUC_low"]) > 0.5
    predictions = table_of(study / "experiments" / "story" / "predictions.tsv")
    assert len({row["case_id"] for row in predictions}) == PATIENTS
    folds = table_of(study / "experiments" / "story" / "folds.tsv")
    assert sorted(row["participant_id"] for row in folds) == sorted({row["participant_id"] for row in predictions})
    audit = table_of(study / "experiments" / "story" / "audit.tsv")
    assert audit
    assert {row["result"] for row in audit} == {"passed"}
    page = written.page.read_text(encoding="utf-8")
    assert "Phantom." in page
    assert "Not a medical device" in page
    assert "small_resnet" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert page.count("data:image/png") == sum(
        row["error"] != "n/a" for row in table_of(page_folder(study) / "cases.tsv")
    )


def page_folder(study: Path) -> Path:
    return study / "experiments" / "story" / "report"


def test_shuffled_labels_score_nothing(study: Path) -> None:
    """The leak trap: with the truth dealt anew, an honest pipeline cannot find it."""
    table = study / "participants.tsv"
    rows = table_of(table)
    diagnoses = [row["diagnosis"] for row in rows]
    moved = np.random.default_rng(1).permutation(diagnoses)
    lines = table.read_text().splitlines()
    swapped = [lines[0]]
    for line, old, new in zip(lines[1:], diagnoses, moved, strict=True):
        cells = line.split("\t")
        assert cells[3] == old
        cells[3] = new
        swapped.append("\t".join(cells))
    table.write_text("\n".join(swapped) + "\n")
    patch(study)
    train(study, Recipe.preset("quick").changed(**RECIPE))
    row = table_of(write_report(study).page.parent / "table2.tsv")[3]
    assert row["reader"] == "story"
    assert float(row["AUC_low"]) <= 0.5 <= float(row["AUC_high"])


def test_killed_in_the_middle_it_goes_on_to_the_same_table(study: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "story.toml"
    recipe.write_text(Recipe.preset("quick").changed(**RECIPE | {"epochs": 6}).dump(), encoding="utf-8")
    whole = tmp_path / "whole"
    shutil.copytree(study, whole)
    train(whole, str(recipe))
    command = [sys.executable, "-m", "spinefx", "train", str(study), "--recipe", str(recipe), "--workers", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    models = study / "experiments" / "story" / "models"
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (models / "fold-02").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it must be killed while it runs, or this test shows nothing"
    assert not Experiment(Workspace(study).experiment_folder("story")).is_finished()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    for name in ("predictions.tsv", "readings.tsv", "history.tsv", "folds.tsv"):
        done, wanted = (root / "experiments" / "story" / name for root in (study, whole))
        assert done.read_bytes() == wanted.read_bytes(), name
    tables = [(write_report(root).page.parent / "table2.tsv").read_bytes() for root in (study, whole)]
    assert tables[0] == tables[1]

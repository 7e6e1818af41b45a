"""A report shows what the workspace holds now, not what it held when the model was trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.reading import Prediction, Reading, SignScores
from spinefx.commands.report import write_report
from spinefx.errors import InterruptedWrite, WorkspaceError
from spinefx.files import digest_of
from spinefx.learning.recipe import Recipe
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Diagnosis, Score, TruthSource
from spinefx.workspace.experiment import Experiment
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import (
    LesionRecord,
    Participant,
    sidecar_path,
    write_lesions,
    write_participants,
    write_readings,
    write_refused_series,
    write_signs,
)

NAMES = [f"sub-{number:03d}" for number in range(1, 13)]
M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN


def truth_of(name: str) -> Diagnosis:
    return M if int(name[-3:]) <= 4 else B


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Twelve participants, the last without a marked vertebra any more; images are named only."""
    workspace = Workspace.create(tmp_path / "study")
    write_participants(workspace, [Participant(name, truth_of(name), TruthSource.BIOPSY, 70.0, "F") for name in NAMES])
    box = Box((0.0, 0.0, 0.0), 30.0)
    write_lesions(workspace, [LesionRecord(name, name, Lesion(box, 4, 5, "L1")) for name in NAMES[:-1]])
    write_readings(workspace, [Reading(name, "r1", Arm.UNAIDED, B, 20.0) for name in NAMES])
    write_signs(workspace, [SignScores(name, "r1", dict.fromkeys(SIGN_IDENTIFIERS, Score.NO)) for name in NAMES])
    write_refused_series(workspace, [(name, "series 1", "a localizer") for name in NAMES[:3]])
    for name in NAMES:
        for weighting in ("T1w", "T2w"):
            place = sidecar_path(workspace, name, weighting)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text('{"VoxelSha256": "0"}', encoding="utf-8")
    experiment = Experiment(workspace.experiment_folder("honest"))
    experiment.start(Recipe.preset("honest").dump())
    sure = {M: 0.9, B: 0.1}
    predictions = [
        (1, Prediction(name, name, index, sure[truth_of(name)], sure[truth_of(name)] / 2, place % 3 + 1, "sha256:0"))
        for place, name in enumerate(NAMES)
        for index in (4, 5)
    ]
    experiment.finish(
        predictions=predictions,
        readings=[],
        folds=[],
        history=[],
        audit=[("participant on two sides", "passed", 12, "12 compared")],
        environment={"recipe": "honest", "cohort_digest": "sha256:another"},
    )
    return workspace.root


def test_a_removed_case_is_in_no_figure(study: Path) -> None:
    written = write_report(study)
    rows = {row[0]: row for row in written.table.rows}
    assert [rows[name][2] for name in ("r1", "honest", "always benign")] == [11, 11, 11]
    page = written.page.read_text(encoding="utf-8")
    assert "Out of date." in page
    assert "No vertebra marked: 1 participants (0 malignant, 1 benign)" in page
    assert "3 for: a localizer" in page
    assert "Signs as scored by r1 (a reader) in 11 cases." in page
    assert "Phantom" not in page
    assert (written.page.parent / "roc.png").read_bytes().startswith(b"\x89PNG")


def test_a_missing_experiment_is_refused(study: Path) -> None:
    with pytest.raises(WorkspaceError, match="there is no experiment 'paper'"):
        write_report(study, "paper")


def test_a_new_report_removes_files_of_an_earlier_one_and_nothing_else(study: Path) -> None:
    workspace = Workspace.open(study)
    folder = write_report(study).page.parent
    before = {path.name for path in folder.iterdir()}
    assert {"comparison.tsv", "comparison.tex", "table1.tsv", "tables.docx", "files.tsv"} <= before
    (folder / "my notes.txt").write_text("mine", encoding="utf-8")
    (folder / "comparison.tex").write_text("changed by hand", encoding="utf-8")
    (study / "elsewhere.tsv").write_text("mine", encoding="utf-8")
    listed = (folder / "files.tsv").read_text(encoding="utf-8")
    outside = digest_of(b"mine")
    (folder / "files.tsv").write_text(f"{listed}../../../elsewhere.tsv\t{outside}\n", encoding="utf-8")
    write_readings(workspace, [])
    write_report(study)
    after = {path.name for path in folder.iterdir()}
    assert not {"comparison.tsv", "comparison_tests.tsv", "agreement.tsv"} & after
    assert {"report.html", "tables.docx", "table1.tsv", "my notes.txt", "comparison.tex"} <= after
    assert (study / "elsewhere.tsv").is_file()
    rows = [line.split("\t") for line in (folder / "files.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    assert {name for name, _ in rows} == after - {"my notes.txt", "comparison.tex", "files.tsv"}
    assert all(digest_of((folder / name).read_bytes()) == digest for name, digest in rows)


def test_the_next_report_tidies_up_after_an_interrupted_one(study: Path) -> None:
    experiment = Experiment(Workspace.open(study).experiment_folder("honest"))
    experiment.write_report({"report.html": b"1", "old.tsv": b"old"})
    (experiment.report_folder / "new.tsv").mkdir()
    with pytest.raises(InterruptedWrite):
        experiment.write_report({"report.html": b"2", "first.tsv": b"first", "new.tsv": b"new"})
    assert (experiment.report_folder / "report.html").read_bytes() == b"1"
    (experiment.report_folder / "new.tsv").rmdir()
    experiment.write_report({"report.html": b"3"})
    assert {path.name for path in experiment.report_folder.iterdir()} == {"report.html", "files.tsv"}


def test_a_workspace_with_readings_and_no_experiment_gets_a_report(study: Path) -> None:
    shutil.rmtree(study / "experiments")
    written = write_report(study)
    assert written.page == study / "readers" / "report" / "report.html"
    assert {row[0] for row in written.table.rows} == {"r1", "always benign"}
    with pytest.raises(WorkspaceError, match="no experiment 'honest'"):
        write_report(study, "honest")
    write_readings(Workspace.open(study), [])
    with pytest.raises(WorkspaceError, match="0 experiments"):
        write_report(study)

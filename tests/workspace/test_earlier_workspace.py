"""A workspace that version 0.1.0 wrote still opens: tables, images, experiment, log and export."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from spinefx.commands.check import check
from spinefx.commands.reader_study import check as check_export
from spinefx.commands.reader_study import export
from spinefx.commands.report import write_report
from spinefx.reader_study.answer import Answer
from spinefx.reader_study.clock import Clock
from spinefx.reader_study.log import Log
from spinefx.reader_study.session import Phase, Session, Step
from spinefx.reader_study.study import find_study
from spinefx.statistics.estimate import bare_p
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis, Score
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort, read_readings, read_refused_series, read_signs

EARLIER = Path(__file__).resolve().parents[1] / "data" / "workspace-0.1"


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A copy of the earlier workspace, beside its reader study's export."""
    shutil.copytree(EARLIER, tmp_path / "earlier")
    return tmp_path / "earlier" / "study"


def test_tables_and_images_are_read(earlier: Path) -> None:
    assert check(earlier) == ()
    workspace = Workspace.open(earlier)
    cohort = read_cohort(workspace)
    assert [case.case_id for case in cohort] == [f"sub-{number:03d}" for number in range(1, 7)]
    assert [case.diagnosis for case in cohort].count(Diagnosis.MALIGNANT) == 2
    assert {reading.reader_id for reading in read_readings(workspace)} == {"senior", "r1"}
    assert len(read_signs(workspace)) == 6 + 2
    assert read_refused_series(workspace, "sub-001") == (("series 3, coronal", "not sagittal"),)


def test_the_experiment_is_reported_with_the_same_tables(earlier: Path) -> None:
    written = write_report(earlier, "tiny")
    for name in ("table1.tsv", "table2.tsv", "cases.tsv"):
        now, then = (
            [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
            for path in (written.page.parent / name, EARLIER / "report" / name)
        )
        # That version rounded the p-values in its tables.
        rounded = {place for place, column in enumerate(then[0]) if column.startswith("p ")}
        shown = [
            [str(bare_p(float(cell))) if place in rounded and number else cell for place, cell in enumerate(row)]
            for number, row in enumerate(now)
        ]
        assert shown == then, name


def test_the_reader_study_goes_on_where_it_stopped(earlier: Path, tmp_path: Path) -> None:
    assert check_export(earlier.parent / "export", earlier) is not None
    workspace = Workspace.open(earlier)
    with contextlib.closing(Log.beside(workspace.log_file)) as log:
        before = log.verify()
        session = Session(log, find_study(log, "pilot"), "r1", 1, Clock())
        steps = [state.step for state in session.states().values()]
        assert steps == [Step.DONE] * 2 + [Step.OPEN] + [Step.NEW] * 3
        handle = list(session.states())[2]
        signs = dict.fromkeys(SIGN_IDENTIFIERS, Score.YES)
        session.seal(handle, Phase.FIRST, "key", Answer(Diagnosis.MALIGNANT, 90, signs))
        assert log.verify() == before + 1
    assert export(earlier, "pilot", tmp_path / "again").readings == 5

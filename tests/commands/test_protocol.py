"""The paper's experiment can be stopped anywhere and continued anywhere, and trains no finished fold again."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from spinefx.cases.cohort import Cohort
from spinefx.commands.ingest import ingest
from spinefx.commands.patch import patch
from spinefx.errors import LeakError, WorkspaceError
from spinefx.learning import crossvalidation
from spinefx.phantom.cohort import PhantomSettings, write_cohort
from spinefx.vocabulary import Diagnosis
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PHANTOM = PhantomSettings(patients=10, seed=5, malignant=4, matrix=128)


@pytest.fixture(scope="module")
def scripts() -> Iterator[Callable[[str], ModuleType]]:
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(BENCHMARKS)
        yield importlib.import_module


@pytest.fixture(scope="module")
def protocol(scripts: Callable[[str], ModuleType]) -> ModuleType:
    return scripts("protocol")


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantom patients with patches, where a bench keeps them. Read only."""
    folder = tmp_path_factory.mktemp("patients")
    export = folder / "export"
    write_cohort(export, PHANTOM)
    tables = {kind: export / f"{kind}.csv" for kind in ("signs", "readings")}
    ingest(folder / "study", export, table=export / "cases.csv", **tables)
    patch(folder / "study")
    return folder


@pytest.fixture
def bench(protocol: ModuleType, patients: Path, tmp_path: Path) -> Any:
    return bench_at(protocol, patients, tmp_path / "work", tmp_path / "results")


def bench_at(protocol: ModuleType, patients: Path, folder: Path, results: Path) -> Any:
    """A machine that has the patients and has trained nothing."""
    folder.mkdir()
    for name in ("export", "study"):
        (folder / name).symlink_to(patients / name)
    return protocol.Bench(folder, protocol.Kept(results), PHANTOM)


def jobs_of(protocol: ModuleType, *names: str) -> list[Any]:
    chosen = [one for one in protocol.smoke_series() if one.name in names]
    return [protocol.Job(one, number) for one in chosen for number in one.folds]


def work(bench: Any, jobs: list[Any], told: Callable[..., None] = lambda *_: None) -> None:
    """What `run` does, at the priority of the tests."""
    bench.prepare([job.series for job in jobs])
    for job in jobs:
        bench.train(job, told)


def scores(folder: Path) -> dict[str, Any]:
    """What the finished folds say, without what differs from run to run."""
    found = {}
    for path in sorted(folder.glob("*/fold-*.json")):
        values = json.loads(path.read_text("utf-8"))
        values.pop("epoch_seconds")
        found[f"{path.parent.name}/{path.stem}"] = values
    return found


@pytest.fixture(scope="module")
def whole(protocol: ModuleType, patients: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of an experiment that was never interrupted. Read only."""
    folder = tmp_path_factory.mktemp("whole")
    work(
        bench_at(protocol, patients, folder / "work", folder / "results"),
        jobs_of(protocol, "honest", "paper", "dealt-anew"),
    )
    return folder / "results"


def test_a_finished_fold_is_one_whole_file_with_its_proof(protocol: ModuleType, whole: Path) -> None:
    found = scores(whole)
    assert list(found) == ["dealt-anew/fold-01", *(f"{name}/fold-0{n}" for name in ("honest", "paper") for n in (1, 2))]
    for values in found.values():
        assert values["audit"]["of this fold"]["passed"]
        assert values["audit"]["before training"]["passed"]
        assert all(str(values[key]).startswith("sha256:") for key in values if key.endswith("_digest"))
        assert {row["case_id"] for row in values["predictions"]} == set(values["truth"])
        assert len(values["history"]["rows"]) == values["recipe"]["epochs"]
    tested = [case for n in (1, 2) for case in found[f"honest/fold-0{n}"]["truth"]]
    assert sorted(tested) == sorted(json.loads((whole / "cohort.json").read_text("utf-8"))["truth"])
    # Both recipes deal the patients alike, or their difference could not be paired by fold.
    assert found["honest/fold-01"]["truth"] == found["paper/fold-01"]["truth"]
    assert not list(whole.rglob(".part-*"))


def test_a_new_machine_trains_only_what_is_missing(
    protocol: ModuleType, patients: Path, whole: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    shutil.copytree(whole, results)
    (results / "paper" / "fold-02.json").unlink()
    bench = bench_at(protocol, patients, tmp_path / "work", results)
    trained: list[str] = []
    work(bench, jobs_of(protocol, "honest", "paper", "dealt-anew"), lambda label, *_: trained.append(label))
    assert set(trained) == {"paper/fold-02"}
    assert scores(results) == scores(whole)


@pytest.mark.parametrize("last", [1, 2])
def test_a_stop_after_an_epoch_loses_nothing(protocol: ModuleType, bench: Any, whole: Path, last: int) -> None:
    jobs = jobs_of(protocol, "honest")[:1]
    epochs: list[int] = []

    def stop(label: str, epoch: int, *_: object) -> None:
        epochs.append(epoch)
        if epoch == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(bench, jobs, stop)
    assert bench.kept.read(jobs[0]) is None
    work(bench, jobs, lambda label, epoch, *_: epochs.append(epoch))
    assert epochs == [1, 2]
    kept = bench.kept.read(jobs[0])
    assert set(kept["epoch_seconds"]) == {"1", "2"}
    assert scores(bench.kept.folder)["honest/fold-01"] == scores(whole)["honest/fold-01"]


def test_a_stop_between_training_and_keeping_trains_nothing_again(
    protocol: ModuleType, bench: Any, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_of(protocol, "honest")[:1]
    with monkeypatch.context() as broken:
        broken.setattr(protocol, "write_text", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        broken.setattr(protocol.Kept, "claim", lambda *_: None)
        broken.setattr(protocol.EpochClock, "tick", lambda *_: 0.0)
        with pytest.raises(KeyboardInterrupt):
            work(bench, jobs)
    monkeypatch.setattr(crossvalidation, "fit", None)  # whoever trains fails
    work(bench, jobs)
    assert scores(bench.kept.folder)["honest/fold-01"] == scores(whole)["honest/fold-01"]


def test_a_fold_that_fails_its_audit_is_not_kept(
    protocol: ModuleType, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_of(protocol, "honest")[:1]
    fold_of = protocol.fold_of

    def swapped(job: Any, truth: Any) -> Any:
        fold = fold_of(job, truth)
        return replace(fold, training=fold.test, test=fold.training)

    monkeypatch.setattr(protocol, "fold_of", swapped)
    with pytest.raises(LeakError):
        work(bench, jobs)
    assert not bench.kept.path_of(jobs[0]).exists()


def test_results_of_other_patients_recipes_or_no_results_are_refused(
    protocol: ModuleType, bench: Any, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, bench.kept.folder)
    honest = jobs_of(protocol, "honest")[0]
    other = replace(bench, phantom=replace(PHANTOM, seed=6))
    cohort = protocol.describe(Workspace.open(bench.study), other.phantom)
    with pytest.raises(WorkspaceError, match="phantom cohort"):
        other.kept.claim(cohort)
    changed = replace(honest, series=replace(honest.series, recipe=honest.series.recipe.changed(dropout=0.1)))
    with pytest.raises(WorkspaceError, match="of this recipe"):
        bench.kept.read(changed)
    path = bench.kept.path_of(honest)
    path.write_text(path.read_text("utf-8")[:-40], encoding="utf-8")
    with pytest.raises(WorkspaceError, match="damaged"):
        bench.kept.read(honest)


def test_dealing_anew_keeps_the_numbers_and_moves_the_diagnoses(protocol: ModuleType, patients: Path) -> None:
    cohort = read_cohort(Workspace.open(patients / "study"))
    dealt = protocol.deal_anew(cohort, 5)
    assert isinstance(dealt, Cohort)
    assert [dealt.count(one) for one in Diagnosis] == [cohort.count(one) for one in Diagnosis]
    assert dealt.truth != cohort.truth
    assert dealt.truth == protocol.deal_anew(cohort, 5).truth
    assert dealt.digest != cohort.digest


def test_the_plan_is_the_papers(protocol: ModuleType) -> None:
    planned = {one.name: one for one in protocol.planned_series()}
    for name in ("honest", "paper"):
        recipe = planned[name].recipe
        assert planned[name].folds == tuple(range(1, 11))
        assert (recipe.network, recipe.epochs, recipe.copies_benign, recipe.copies_malignant) == (
            "resnet50",
            100,
            20,
            40,
        )
        assert recipe.initialisation == "random"
    assert planned["honest"].recipe.optimistic == ""
    assert planned["paper"].recipe.optimistic
    assert planned["paper-100-epochs"].recipe.patience == 0
    assert len(planned) == len(protocol.planned_series())


def test_the_page_is_drawn_from_the_results_at_hand(scripts: Callable[[str], ModuleType], protocol: ModuleType) -> None:
    found = scripts("protocol_findings").Findings.read(protocol.Kept(protocol.KEPT), protocol.planned_series())
    page = scripts("protocol_page")
    assert page.PAGE.read_text("utf-8") == page.draw_page(found), "run benchmarks/protocol_page.py: the page is stale"


def drawn(scripts: Callable[[str], ModuleType], protocol: ModuleType, results: Path) -> dict[str, str]:
    """The page's sections by title."""
    found = scripts("protocol_findings").Findings.read(protocol.Kept(results), protocol.smoke_series())
    parts = scripts("protocol_page").draw_page(found).split("\n## ")
    return {part.partition("\n")[0]: part for part in parts}


def test_the_page_shows_partial_results_as_partial(
    scripts: Callable[[str], ModuleType], protocol: ModuleType, whole: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    empty = drawn(scripts, protocol, results)
    assert "No fold of this part is finished yet." in empty["Areas by fold and by slice"]
    shutil.copytree(whole, results)
    (results / "paper" / "fold-02.json").unlink()
    shutil.rmtree(results / "dealt-anew")
    page = drawn(scripts, protocol, results)
    assert page.keys() == empty.keys()
    tested = len(json.loads((whole / "paper" / "fold-01.json").read_text("utf-8"))["truth"])
    assert f"| paper (1 of 2 folds) | model | {tested} |" in page["Table 2, the paper's and ours"]
    assert f"| honest | model | {PHANTOM.patients} |" in page["Table 2, the paper's and ours"]
    assert "1 of 2 folds of `paper`" in page["What the paper's protocol adds"]
    assert "paper (1" not in page["The models and the simulated readers"]
    assert "finished yet" in page["Diagnoses dealt anew"]


def area(values: dict[str, Any], others: dict[str, Any]) -> float:
    """Area under the curve of two folds' patients, counted pair by pair."""
    best: dict[str, float] = {}
    for row in (*values["predictions"], *others["predictions"]):
        best[row["case_id"]] = max(best.get(row["case_id"], 0.0), row["probability"])
    truth = values["truth"] | others["truth"]
    pairs = [(a, b) for a in truth for b in truth if truth[a] == "malignant" and truth[b] == "benign"]
    return sum((best[a] > best[b]) + 0.5 * (best[a] == best[b]) for a, b in pairs) / len(pairs)


def test_the_page_agrees_with_a_count_by_hand(
    scripts: Callable[[str], ModuleType], protocol: ModuleType, whole: Path
) -> None:
    page, found = drawn(scripts, protocol, whole), scores(whole)
    areas = {name: area(*(found[f"{name}/fold-0{n}"] for n in (1, 2))) for name in ("honest", "paper")}
    for name in areas:
        (row,) = (line for line in page["Table 2, the paper's and ours"].splitlines() if line.startswith(f"| {name} |"))
        assert f"| {areas[name]:.3f} [" in row
    added = page["What the paper's protocol adds"]
    assert f"| AUC per patient | {areas['paper'] - areas['honest']:.3f} [" in added
    assert "2 of 2" in page["How much is finished"]


@pytest.mark.slow
def test_a_killed_run_continues_from_its_checkpoint(protocol: ModuleType, patients: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "protocol.py"), "--smoke", "--results", str(tmp_path / "results")]
    command += ["run", str(tmp_path / "work"), "--patients", "14"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert first.stdout is not None
    lines = iter(first.stdout.readline, "")
    assert any(line.startswith("honest/fold-02: epoch 1") for line in lines)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    again = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "honest/fold-01: epoch" not in again.stdout
    assert "honest/fold-02: epoch 1" not in again.stdout
    assert again.stdout.endswith("every fold is finished\n")

"""Plans say what the functions behind them say, in words and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spinefx.cli import main
from spinefx.commands.plan import OF_PILOT, USED, PlanOptions, plan
from spinefx.errors import InputError
from spinefx.statistics.evaluation import Evaluation
from spinefx.statistics.mrmc.power import mrmc_power, panel_sample_size
from spinefx.statistics.mrmc.roe_metz import RoeMetz


def test_the_papers_question_needs_81_malignant_patients(capsys: pytest.CaptureFixture[str]) -> None:
    """R1 against the model, 78% and 94%: shared errors at chance, exact test, power 0.80 (statistics of the audit)."""
    with pytest.raises(SystemExit) as end:
        main(["plan", "difference", "--first", "0.78", "--second", "0.94", "--share", "0.25"])
    assert end.value.code in (0, None)
    said = capsys.readouterr().out
    assert said.startswith("81 cases in the class of interest give a power of 0.80 to distinguish 0.78 from 0.94")
    assert "With 25% of patients in that class, recruit about 324." in said


@pytest.fixture
def pilot(tmp_path: Path) -> tuple[Path, Path]:
    """A pilot of three readers and a model, as tables of a workspace."""
    study = RoeMetz((1.2,), 0.02, 0.02).draw_panel(
        np.random.default_rng(0), model=1.6, readers=3, malignant=20, benign=20
    )
    lines = ["case_id\treader_id\tdiagnosis\tconfidence"]
    for reader, row in zip(study.readers, study.scores[0], strict=True):
        for case, score in zip(study.cases, row, strict=True):
            kind = "malignant" if score > 0.6 else "benign"
            lines.append(f"{case}\t{reader}\t{kind}\t{np.clip(50 + 15 * score, 0, 100):.3f}")
    truth = ["case_id\tdiagnosis"]
    truth += [
        f"{case}\t{'malignant' if kind else 'benign'}" for case, kind in zip(study.cases, study.malignant, strict=True)
    ]
    paths = tmp_path / "readings.tsv", tmp_path / "truth.tsv"
    for path, table in zip(paths, (lines, truth), strict=True):
        path.write_text("\n".join(table) + "\n", encoding="utf-8")
    return paths


def test_a_pilot_on_disk_is_planned_with_its_variances(pilot: tuple[Path, Path]) -> None:
    readings, truth = pilot
    options = {"pilot": readings, "truth": truth, "model": "model", "difference": 0.1}
    found = plan("panel", PlanOptions(**options, readers=8)).numbers  # type: ignore[arg-type]
    components = Evaluation.of(readings, truth).panel("model").components
    wanted = panel_sample_size(components, difference=0.1, readers=8)
    assert (found["cases"], found["power"]) == (wanted.cases, wanted.power)
    turned = plan("panel", PlanOptions(**options, cases=wanted.cases)).numbers  # type: ignore[arg-type]
    assert turned["readers"] == 8


def test_without_a_pilot_one_is_simulated_and_replays(capsys: pytest.CaptureFixture[str]) -> None:
    options = PlanOptions(first=0.8, second=0.88, readers=6, cases=150)
    answer = plan("modalities", options)
    assert answer == plan("modalities", options)
    assert isinstance(answer.numbers["power"], float)
    assert 0.3 < answer.numbers["power"] < 0.95
    more = plan("modalities", PlanOptions(first=0.8, second=0.88, readers=12, cases=150)).numbers["power"]
    assert more > answer.numbers["power"]  # type: ignore[operator]
    with pytest.raises(SystemExit):
        main(["plan", "modalities", "--first", "0.8", "--second", "0.88", "--readers", "6", "--cases", "150", "--json"])
    assert json.loads(capsys.readouterr().out) == answer.numbers


@pytest.mark.parametrize(
    ("question", "options", "message"),
    [
        ("difference", {"first": 0.8}, "--second is missing"),
        ("difference", {"first": 0.8, "second": 0.8}, "discordant proportions 0.16 and 0.16"),
        ("difference", {"first": 0.8, "second": 0.9, "cases": 0}, "of 0 cases"),
        ("difference", {"first": 0.8, "second": 0.9, "share": 0.0}, "the share is 0"),
        ("difference", {"first": 1.8, "second": 0.9}, "proportion 1.8"),
        ("non-inferiority", {"first": 0.8, "second": 0.8}, "--margin is missing"),
        ("non-inferiority", {"first": 0.8, "second": 0.9, "margin": 0.1}, "true difference -0.1"),
        ("panel", {"first": 0.8, "second": 0.9}, "Neither readers nor cases"),
        ("panel", {"first": 0.3, "second": 0.9, "readers": 4}, "The AUCs are"),
        ("panel", {"first": 0.8, "second": 0.9, "readers": 1, "cases": 50}, "1 readers and 50 cases"),
        ("panel", {"first": 0.8, "second": 0.9, "readers": 4, "spread": -1.0}, "the spread is -1"),
        ("panel", {"pilot": Path("x.tsv"), "truth": Path("y.tsv"), "readers": 4}, "The pilot needs --model"),
        ("modalities", {"pilot": Path("x.tsv"), "readers": 4}, "The pilot needs --truth"),
        ("modalities", {"first": 0.8, "second": 0.8, "readers": 4}, "a power of 0.05 with 4 readers"),
        ("modalities", {"first": 0.8, "second": 0.9, "cases": 100, "power": 1.0}, "power 1"),
        ("horoscope", {}, "Unknown question 'horoscope'"),
    ],
)
def test_impossible_plans_are_refused(question: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(question, PlanOptions(**options))  # type: ignore[arg-type]


def test_power_of_two_modalities_is_that_of_the_function() -> None:
    answer = plan("modalities", PlanOptions(first=0.8, second=0.88, readers=6, cases=150, analysis="FRRC")).numbers
    from spinefx.statistics.mrmc.components import VarianceComponents

    pilot = VarianceComponents(**answer["pilot"])  # type: ignore[arg-type]
    same = mrmc_power(pilot, difference=0.08, readers=6, cases=150, analysis="FRRC").power
    assert answer["power"] == pytest.approx(same)
    assert answer["df2"] is None


VALUES: dict[str, object] = {
    "first": 0.8,
    "second": 0.88,
    "dependence": 0.5,
    "margin": 0.1,
    "share": 0.4,
    "cases": 61,
    "readers": 7,
    "analysis": "FRRC",
    "spread": 0.01,
    "truth": Path("y.tsv"),
    "model": "net",
    "difference": 0.2,
}


@pytest.mark.parametrize("question", ["difference", "non-inferiority", "modalities", "panel"])
@pytest.mark.parametrize("name", sorted(VALUES))
def test_every_option_changes_the_plan_or_is_refused_by_name(question: str, name: str) -> None:
    given: dict[str, object] = {"first": 0.75, "second": 0.92}
    if question in ("modalities", "panel"):
        given |= {"readers": 12, "cases": 90}
    if question == "non-inferiority":
        given |= {"second": 0.76, "margin": 0.2}
    plain = plan(question, PlanOptions(**given))  # type: ignore[arg-type]
    options = PlanOptions(**(given | {name: VALUES[name]}))  # type: ignore[arg-type]
    if name in USED[question] - OF_PILOT:
        assert plan(question, options) != plain  # type: ignore[arg-type]
    else:
        with pytest.raises(InputError, match=f"--{name} given"):
            plan(question, options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("difference", {"first": 0.8, "second": 0.9, "cases": 60}),
        ("modalities", {"first": 0.8, "second": 0.9, "cases": 60, "readers": 5}),
    ],
)
def test_a_required_power_is_refused_where_the_power_is_the_answer(question: str, options: dict[str, object]) -> None:
    with pytest.raises(InputError, match="--power given"):
        plan(question, PlanOptions(**options, power=0.9))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["share", "spread", "dependence", "margin"])
def test_a_pilot_on_disk_refuses_the_options_of_a_simulated_one(pilot: tuple[Path, Path], name: str) -> None:
    given = {"pilot": pilot[0], "truth": pilot[1], "model": "model", "difference": 0.1, "readers": 8}
    with pytest.raises(InputError, match=f"--{name} given"):
        plan("panel", PlanOptions(**(given | {name: VALUES[name]})))  # type: ignore[arg-type]


def test_a_pilot_of_two_arms_is_planned_without_its_model(tmp_path: Path) -> None:
    study = RoeMetz((1.0, 1.4), 0.02, 0.02).draw(np.random.default_rng(0), readers=3, malignant=20, benign=20)
    names = ("unaided", "aided")
    rows = [
        f"{case}\t{reader}\t{arm}\t{'malignant' if score > 0.6 else 'benign'}\t{np.clip(50 + 15 * score, 0, 100):.3f}"
        for arm, by_reader in zip(names, study.scores, strict=True)
        for reader, row in zip(study.readers, by_reader, strict=True)
        for case, score in zip(study.cases, row, strict=True)
    ]
    model = [f"{case}\tnet\tunaided\tbenign\t{5 + n}" for n, case in enumerate(study.cases)]
    truth = [f"{c}\t{'malignant' if kind else 'benign'}" for c, kind in zip(study.cases, study.malignant, strict=True)]
    (tmp_path / "truth.tsv").write_text("case_id\tdiagnosis\n" + "\n".join(truth) + "\n", encoding="utf-8")
    plans = []
    for extra in ([], model):
        path = tmp_path / "readings.tsv"
        header = "case_id\treader_id\tarm\tdiagnosis\tconfidence\n"
        path.write_text(header + "\n".join([*extra, *rows]) + "\n", encoding="utf-8")
        options = {"pilot": path, "truth": tmp_path / "truth.tsv", "difference": 0.1, "readers": 8}
        plans.append(plan("modalities", PlanOptions(**options, model="net" if extra else None)))  # type: ignore[arg-type]
    assert plans[0] == plans[1]

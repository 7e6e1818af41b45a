"""Models have no part in comparisons over readers, and readers are compared on cases that all of them read."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from spinefx.cases.reading import Reading
from spinefx.errors import InputError
from spinefx.statistics.evaluation import Evaluation
from spinefx.statistics.mrmc.anova import mrmc
from spinefx.statistics.mrmc.scores import ReaderStudy
from spinefx.vocabulary import Arm, Diagnosis

M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN


def truth_of(malignant: int, benign: int) -> dict[str, Diagnosis]:
    return {f"c{n:03d}": M if n < malignant else B for n in range(malignant + benign)}


def readings_of(name: str, truth: dict[str, Diagnosis], seed: int, arm: Arm = Arm.UNAIDED) -> list[Reading]:
    rng = np.random.default_rng(seed)
    made = []
    for case, kind in truth.items():
        sure = float(np.clip(round(50 + (25 if kind is M else -25) + rng.normal(0, 30)), 0, 100))
        made.append(Reading(case, name, arm, M if sure >= 50 else B, sure))
    return made


def two_arms(truth: dict[str, Diagnosis], readers: int = 3) -> list[Reading]:
    return [
        one
        for n in range(readers)
        for place, arm in enumerate((Arm.UNAIDED, Arm.AIDED))
        for one in readings_of(f"R{n}", truth, 10 * n + place, arm)
    ]


@pytest.mark.parametrize("endpoint", ["auc", "sensitivity", "specificity"])
@pytest.mark.parametrize(
    ("arms", "declared"),
    [
        *(([arm], declared) for arm in (Arm.UNAIDED, Arm.AIDED) for declared in (True, False)),
        ([Arm.UNAIDED, Arm.AIDED], True),
    ],
)
def test_a_model_never_enters_the_comparison_of_arms(endpoint: str, arms: list[Arm], declared: bool) -> None:
    truth = truth_of(20, 20)
    humans = two_arms(truth)
    model = [one for arm in arms for one in readings_of("net", truth, 99, arm)]
    alone = Evaluation.of(humans, truth).mrmc(endpoint=endpoint)
    found = Evaluation.of([*model, *humans], truth, models=["net"] if declared else []).mrmc(endpoint=endpoint)
    assert replace(found, notes=()) == replace(alone, notes=())
    assert any("net" in note for note in found.notes)
    assert "net" in found.table.note


def test_the_refusal_of_an_arbitrary_design_says_to_leave_models_out() -> None:
    truth = truth_of(20, 20)
    study = ReaderStudy.from_readings([*readings_of("net", truth, 9), *two_arms(truth)], truth)
    with pytest.raises(InputError, match="Leave out the models"):
        mrmc(study)


def test_a_model_without_readings_is_refused() -> None:
    truth = truth_of(5, 5)
    with pytest.raises(InputError, match="no readings of 1 of the models"):
        Evaluation.of(two_arms(truth), truth, models=["net"])


def test_perturbed_readings_change_no_benefit() -> None:
    """A perfect model and readers who follow it: right where it is shown as it is, wrong where it is flipped."""
    truth = truth_of(20, 20)
    flip = {M: B, B: M}
    readings = []
    for n in range(3):
        readings += readings_of(f"R{n}", truth, n)
        for place, (case, kind) in enumerate(truth.items()):
            arm = Arm.PERTURBED if (place + n) % 4 == 0 else Arm.AIDED
            said = kind if arm is Arm.AIDED else flip[kind]
            readings.append(Reading(case, f"R{n}", arm, said, 90.0 if said is M else 10.0))
    evaluation = Evaluation.of(readings, truth)
    for endpoint in ("auc", "sensitivity", "specificity"):
        means = {one.label: one.estimate.value for one in evaluation.mrmc(endpoint=endpoint, analysis="FRRC").means}
        assert set(means) == {"unaided", "aided"}
        assert means["aided"] == 1
    rows = {row[0]: row for row in evaluation.performance.rows}
    columns = evaluation.performance.columns
    accuracy = columns.index("accuracy")
    assert rows["R0, aided"][accuracy].value == 1
    assert rows["R0, perturbed"][accuracy].value == 0


def test_a_small_pilot_does_not_join_the_panel_of_a_cohort() -> None:
    truth = truth_of(50, 140)
    pilot = {case: truth[case] for case in ("c000", "c001", "c060", "c061")}
    big = [one for n in range(3) for one in readings_of(f"R{n}", truth, n)]
    model = readings_of("net", truth, 99)
    small = [one for n in range(3) for one in readings_of(f"P{n}", pilot, 50 + n)]
    alone = Evaluation.of([*big, *model], truth).panel("net")
    found = Evaluation.of([*small, *big, *model], truth).panel("net")
    assert found.difference == alone.difference
    assert all(name in found.table.note for name in ("P0", "P1", "P2"))
    with pytest.raises(InputError, match="in common"):
        Evaluation.of([*small, *model], truth).panel("net")


@pytest.mark.parametrize("seed", range(5))
def test_a_panel_is_compared_on_the_cases_that_all_read(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = truth_of(40, 60)
    readings = readings_of("net", truth, 99)
    for n in range(4):
        read = {case: kind for case, kind in truth.items() if rng.random() > 0.1}
        readings += readings_of(f"R{n}", read, n)
    study = ReaderStudy.from_readings(readings, truth, arms=["unaided"])
    common, note = study.on_shared_cases(keep=["net"])
    assert not math.isnan(common.scores.sum())
    assert set(common.cases) == set.intersection(
        *({one.case_id for one in readings if one.reader_id == name} for name in common.readers)
    )
    assert f"{common.counts.malignant} malignant and {common.counts.benign} benign" in note
    found = Evaluation.of(readings, truth).panel("net")
    assert found.counts.malignant == common.counts.malignant
    assert note in found.table.note


def test_other_models_are_no_part_of_the_panel() -> None:
    truth = truth_of(20, 20)
    humans = [one for n in range(3) for one in readings_of(f"R{n}", truth, n)]
    nets = [one for n in range(2) for one in readings_of(f"net{n}", truth, 90 + n)]
    found = Evaluation.of([*humans, *nets], truth, models=["net0", "net1"]).panel("net0")
    alone = Evaluation.of([*humans, *nets[:40]], truth).panel("net0")
    assert found.difference == alone.difference
    assert "net1" in found.table.note

"""Reliance on a model: simulated followers are recovered, and every measure agrees with a count by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spinefx.errors import InputError
from spinefx.statistics.reliance import MEASURES, reliance


def follow(
    rng: np.random.Generator, share: float, readers: int, cases: int, own: float, model: float
) -> list[np.ndarray]:
    """Simulate readers who take the advice with a fixed probability, whatever it is."""
    truth = np.arange(cases) % 2
    first = np.where(rng.random((readers, cases)) < own, truth, 1 - truth)
    advice = np.where(rng.random(cases) < model, truth, 1 - truth)
    final = np.where(rng.random((readers, cases)) < share, advice, first)
    return [first, final, advice, truth]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_followers_are_recovered_within_two_points(share: float) -> None:
    found = reliance(*follow(np.random.default_rng(0), share, 40, 1000, 0.75, 0.7), draws=100).measures
    assert found["RAIR"].value == pytest.approx(share, abs=0.02)
    assert found["over-reliance"].value == pytest.approx(share, abs=0.02)
    assert found["RSR"].value == pytest.approx(1 - share, abs=0.02)
    assert found["under-reliance"].value == pytest.approx(1 - share, abs=0.02)
    # Those who agree at first agree afterwards; of the others, the share that follows.
    assert found["follow, advice wrong"].value == pytest.approx(0.25 + 0.75 * share, abs=0.02)
    assert found["follow, advice right"].value == pytest.approx(0.75 + 0.25 * share, abs=0.02)
    assert found["automation-bias rate"].value == pytest.approx(0.3 * 0.75 * share, abs=0.02)


def test_measures_agree_with_a_count_by_hand() -> None:
    truth = [1, 1, 1, 1, 0, 0, 0, 0]
    advice = [1, 1, 0, 0, 0, 0, 1, 1]
    first = [1, 0, 1, 0, 0, 1, 0, 0]
    final = [1, 1, 1, 0, 0, 1, 1, 0]
    found = {name: one.value for name, one in reliance([first], [final], advice, truth).measures.items()}
    assert found["RAIR"] == 1 / 2  # cases 2 and 6 were wrong with right advice; case 2 took it
    assert found["RSR"] == 2 / 3  # cases 3, 7 and 8 were right with wrong advice; case 7 gave way
    assert found["over-reliance"] == pytest.approx(1 / 3)
    assert found["under-reliance"] == 1 / 2
    assert found["helpful switches"] == found["harmful switches"] == found["automation-bias rate"] == 1 / 8
    assert found["follow, advice right"] == 3 / 4
    assert found["follow, advice wrong"] == 1 / 2
    assert found["agreement before"] == 3 / 8
    assert found["agreement after"] == 5 / 8
    assert found["complementarity"] == 5 / 8 - 5 / 8


def test_advice_may_differ_between_readers_and_missing_readings_do_not_count() -> None:
    rng = np.random.default_rng(1)
    first, final, advice, truth = follow(rng, 0.5, 3, 40, 0.7, 0.8)
    shown = np.where(rng.random((3, 40)) < 0.25, 1 - advice, advice)
    whole = reliance(first, final, shown, truth, draws=50).by_reader["reader 1"]
    alone = reliance(first[[0]], final[[0]], shown[0], truth, draws=50).measures
    assert {name: one.value for name, one in whole.items()} == {name: one.value for name, one in alone.items()}
    gaps = np.where(np.arange(40) < 10, np.nan, final[0])
    fewer = reliance(first[[0]], [gaps], shown[0], truth, draws=50)
    same = reliance(first[[0], 10:], final[[0], 10:], shown[0, 10:], truth[10:], draws=50)
    assert fewer.cases == 30
    assert all(
        fewer.measures[name].value == same.measures[name].value or math.isnan(same.measures[name].value)
        for name in MEASURES
    )


def test_a_measure_without_readings_says_so() -> None:
    found = reliance([[1, 0, 1]], [[1, 0, 1]], [1, 0, 1], [1, 0, 1], draws=20)
    assert math.isnan(found.measures["RSR"].value)
    assert found.measures["RSR"].note
    assert found.table.to_tsv().startswith("measure\treaders")


@pytest.mark.parametrize(
    "change", [{"first": [[2, 0]]}, {"advice": [1]}, {"truth": [0.5, 1]}, {"final": [[math.nan, math.nan]]}]
)
def test_answers_that_cannot_be_used_are_refused(change: dict[str, object]) -> None:
    given: dict[str, object] = {"first": [[1, 0]], "final": [[1, 0]], "advice": [1, 0], "truth": [1, 0]}
    with pytest.raises(InputError):
        reliance(**(given | change))  # type: ignore[arg-type]

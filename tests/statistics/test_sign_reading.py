"""How well a model reads signs: each by itself, rare ones with intervals, and none hidden in a mean."""

from __future__ import annotations

import numpy as np

from spinefx.statistics.delong import auc_estimate
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.sign_reading import RARE, sign_reading_table
from spinefx.vocabulary import SIGN_IDENTIFIERS, SIGNS, Score

COMMON, SELDOM, NEVER, LEFT_OUT = SIGN_IDENTIFIERS[:4]


def made(cases: int = 60) -> tuple[dict[str, dict[str, float | None]], dict[str, dict[str, Score]]]:
    rng = np.random.default_rng(6)
    chances: dict[str, dict[str, float | None]] = {}
    scores: dict[str, dict[str, Score]] = {}
    for number in range(cases):
        shown = {COMMON: number % 2 == 0, SELDOM: number < 3}
        row = {sign: Score.YES if shown.get(sign, False) else Score.NO for sign in SIGN_IDENTIFIERS}
        row[SIGN_IDENTIFIERS[5]] = Score.NOT_ASSESSABLE if number % 3 == 0 else row[SIGN_IDENTIFIERS[5]]
        scores[f"case-{number}"] = row
        chances[f"case-{number}"] = {
            sign: float(np.clip(0.3 + 0.35 * shown.get(sign, False) + rng.normal(0, 0.15), 0, 1))
            for sign in SIGN_IDENTIFIERS
        } | {LEFT_OUT: None}
    return chances, scores


def test_each_sign_has_a_row_and_only_common_ones_enter_the_mean() -> None:
    chances, scores = made()
    table = sign_reading_table(chances, scores)
    rows = {row[0]: row for row in table.rows}
    assert list(rows) == [sign.label for sign in SIGNS]
    label = {sign.identifier: sign.label for sign in SIGNS}
    expected = auc_estimate(
        [chances[case][COMMON] for case in chances], [scores[case][COMMON] is Score.YES for case in chances]
    )
    found = rows[label[COMMON]][3]
    assert isinstance(found, Estimate)
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert rows[label[SELDOM]][1] == 3 < RARE
    assert isinstance(rows[label[SELDOM]][3], Estimate), "a rare sign is shown with its interval"
    assert f"{expected.value:.3f} over 1 signs" in table.note
    for sign in (NEVER, LEFT_OUT):
        assert rows[label[sign]][3] is None


def test_signs_that_were_not_assessed_are_not_counted_as_absent() -> None:
    chances, scores = made()
    table = sign_reading_table(chances, scores)
    assert table.rows[5][2] == 40
    assert table.rows[0][2] == 60


def test_a_cohort_without_a_common_sign_has_no_mean() -> None:
    chances, scores = made(8)
    assert "not given" in sign_reading_table(chances, scores).note

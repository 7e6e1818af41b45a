"""Signs that exclude each other share one state."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spinefx.signs.states import GROUPS, coherent, completed, rivals_of
from spinefx.vocabulary import SIGN_IDENTIFIERS

PLACE = {sign: place for place, sign in enumerate(SIGN_IDENTIFIERS)}
EXCLUDED = [
    ("anterior_wedge", "entire_body_compression"),
    ("absence_of_collapse", "anterior_wedge"),
    ("absence_of_collapse", "central_concave"),
    ("homogeneous_marrow", "diffuse_signal_change"),
    ("band_pattern_oedema", "diffuse_signal_change"),
]


def drawn(count: int = 200) -> NDArray[np.float64]:
    return np.random.default_rng(7).normal(0, 3, (count, len(SIGN_IDENTIFIERS)))


def test_the_groups_cover_the_fifteen_signs_once() -> None:
    assert sorted(sign for group in GROUPS for sign in group.signs) == sorted(SIGN_IDENTIFIERS)


@pytest.mark.parametrize(("one", "other"), EXCLUDED)
def test_rivals_never_share_more_than_one_case(one: str, other: str) -> None:
    found = coherent(drawn())
    assert (found[:, PLACE[one]] + found[:, PLACE[other]] <= 1 + 1e-12).all()
    assert other in rivals_of(one)
    assert one in rivals_of(other)


def test_a_sign_alone_in_its_group_keeps_its_odds() -> None:
    logits = drawn()
    place = PLACE["nodular_lesion"]
    assert coherent(logits)[:, place] == pytest.approx(1 / (1 + np.exp(-logits[:, place])))
    assert rivals_of("nodular_lesion") == ()


def test_certainty_about_a_sign_empties_its_rivals_and_moves_nothing_else() -> None:
    logits = drawn()
    sure = logits.copy()
    sure[:, PLACE["anterior_wedge"]] = np.inf
    before, after = coherent(logits), coherent(sure)
    assert after[:, PLACE["anterior_wedge"]].min() > 0.9
    for rival in rivals_of("anterior_wedge"):
        assert (after[:, PLACE[rival]] <= before[:, PLACE[rival]] + 1e-12).all()
    others = [PLACE[sign] for group in GROUPS if group.name != "shape" for sign in group.signs]
    assert after[:, others] == pytest.approx(before[:, others])


def test_the_probabilities_are_those_of_the_states_counted_one_by_one() -> None:
    logits = drawn(20)
    shape = next(group for group in GROUPS if group.name == "shape")
    odds = np.exp(logits[:, shape.places])
    weights = np.stack([np.prod(np.where(state, odds, 1.0), axis=1) for state in shape.states], axis=1)
    expected = (weights / weights.sum(axis=1, keepdims=True)) @ shape.states
    assert coherent(logits)[:, shape.places] == pytest.approx(expected)


def test_a_sign_that_was_not_assessed_has_the_odds_of_its_frequency() -> None:
    logits = drawn(3)
    logits[0, 4] = np.nan
    base = np.full(len(SIGN_IDENTIFIERS), 0.2)
    filled = completed(logits, base)
    assert filled[0, 4] == pytest.approx(np.log(0.25))
    assert np.array_equal(np.delete(filled.ravel(), 4), np.delete(logits.ravel(), 4))

"""Each patient is assigned once, evenly by diagnosis, and in the same way whatever the order of the input."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinefx.errors import RecipeError
from spinefx.learning.folds import split_folds
from spinefx.learning.recipe import Recipe
from spinefx.vocabulary import Diagnosis

HONEST = Recipe.preset("honest")


def people(malignant: int, benign: int) -> dict[str, Diagnosis]:
    kinds = [Diagnosis.MALIGNANT] * malignant + [Diagnosis.BENIGN] * benign
    return {f"sub-{number:03d}": kind for number, kind in enumerate(kinds)}


@pytest.mark.parametrize("name", ["honest", "paper"])
def test_the_papers_cohort_has_5_and_14_per_fold(name: str) -> None:
    truth = people(50, 140)
    for fold in split_folds(truth, Recipe.preset(name)):
        assert Counter(truth[who] for who in fold.test) == {"malignant": 5, "benign": 14}
        inner = Counter(truth[who] for who in fold.inner)
        assert inner == ({"malignant": 5, "benign": 14} if name == "honest" else {})


@settings(max_examples=30, deadline=None)
@given(
    folds=st.integers(2, 8),
    extra=st.tuples(st.integers(2, 15), st.integers(2, 30)),
    seed=st.integers(0, 2**31 - 1),
    shuffle=st.randoms(use_true_random=False),
)
def test_folds_partition_patients(folds: int, extra: tuple[int, int], seed: int, shuffle: object) -> None:
    truth = people(folds + extra[0], folds + extra[1])
    recipe = HONEST.changed(folds=folds, seed=seed)
    dealt = split_folds(truth, recipe)
    items = list(truth.items())
    shuffle.shuffle(items)  # type: ignore[attr-defined]
    assert split_folds(dict(items), recipe) == dealt
    assert sorted(who for fold in dealt for who in fold.test) == sorted(truth)
    for fold in dealt:
        assert sorted((*fold.training, *fold.inner, *fold.test)) == sorted(truth)
        assert {truth[who] for who in fold.inner} == set(Diagnosis)
        assert {truth[who] for who in fold.training} == set(Diagnosis)
    for diagnosis in Diagnosis:
        counts = [sum(truth[who] == diagnosis for who in fold.test) for fold in dealt]
        assert max(counts) - min(counts) <= 1
    sizes = [len(fold.test) for fold in dealt]
    assert max(sizes) - min(sizes) <= 2


def test_another_seed_assigns_other_folds() -> None:
    truth = people(50, 140)
    first, second = (split_folds(truth, HONEST.changed(seed=seed)) for seed in (1, 2))
    assert [fold.test for fold in first] != [fold.test for fold in second]
    together = [len(set(one.test) & set(other.test)) for one in first for other in second]
    assert np.mean(together) == pytest.approx(1.9)  # as by chance: 19 x 19 / 190


def test_too_few_patients_are_refused_with_a_remedy() -> None:
    with pytest.raises(RecipeError, match=r"10 for 7 malignant patients.*2 to 7"):
        split_folds(people(7, 140), HONEST)
    with pytest.raises(RecipeError, match="benign"):
        split_folds(people(7, 0), HONEST.changed(folds=2))
    with pytest.raises(RecipeError, match="inner split"):
        split_folds(people(2, 2), HONEST.changed(folds=2))
    assert len(split_folds(people(2, 2), Recipe.preset("quick").changed(folds=2))) == 2

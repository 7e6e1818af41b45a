"""A case that trained a model is recognised by its pixels, whatever it is called and however it is stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.cases.lesion import Box, Lesion
from spinefx.imaging.volume import Volume
from spinefx.learning.training_slices import Familiarity, familiarity, familiarity_flag, slice_digests

DIGESTS = st.frozensets(st.text("0123456789abcdef", min_size=16, max_size=16), max_size=6)


def volume(seed: int) -> Volume:
    voxels = np.random.default_rng(seed).integers(0, 1000, (7, 8, 9)).astype(np.float32)
    return Volume(voxels, np.diag([4.0, 1.0, 1.0, 1.0]))


def lesion(first: int, last: int) -> Lesion:
    return Lesion(Box((8.0, 4.0, 4.0), 8.0), first, last)


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))
def test_two_extents_of_one_image_share_a_digest_per_shared_slice(a: int, b: int, c: int, d: int) -> None:
    image = volume(1)
    one, two = (min(a, b), max(a, b)), (min(c, d), max(c, d))
    shared = set(slice_digests(image, lesion(*one))) & set(slice_digests(image, lesion(*two)))
    assert len(shared) == max(0, min(one[1], two[1]) - max(one[0], two[0]) + 1)


def test_another_image_and_one_changed_voxel_are_another_slice() -> None:
    image = volume(1)
    changed = image.array.copy()
    changed[3, 2, 2] += 1
    own = set(slice_digests(image, lesion(3, 3)))
    assert own.isdisjoint(slice_digests(volume(2), lesion(0, 6)))
    assert own.isdisjoint(slice_digests(Volume(changed, image.affine), lesion(0, 6)))


def test_a_negative_zero_is_a_zero_and_a_slice_of_one_value_identifies_nothing() -> None:
    image = volume(1)
    zero, negative = image.array.copy(), image.array.copy()
    zero[3, 0], negative[3, 0] = 0.0, -0.0
    digests = [slice_digests(Volume(one, image.affine), lesion(3, 3)) for one in (zero, negative)]
    assert digests[0] == digests[1] != ()
    blank = image.array.copy()
    blank[3] = 5
    assert slice_digests(Volume(blank, image.affine), lesion(3, 3)) == ()


@given(st.lists(st.none() | DIGESTS, min_size=1, max_size=5), DIGESTS)
def test_a_case_is_new_only_where_every_model_records_its_slices_and_none_has_one_of_it(
    recorded: list[frozenset[str] | None], shown: frozenset[str]
) -> None:
    found, flag = familiarity(recorded, sorted(shown)), familiarity_flag(recorded, sorted(shown))
    seen = sum(one is not None and bool(one & shown) for one in recorded)
    if seen:
        assert found is Familiarity.TRAINED
        assert flag.startswith("The model was" if len(recorded) == 1 else f"{seen} of {len(recorded)} models were")
    else:
        assert found is (Familiarity.UNKNOWN if None in recorded else Familiarity.NEW)
        assert flag == ""


@pytest.mark.parametrize("models", [1, 3])
def test_the_flag_says_what_to_use_instead(models: int) -> None:
    assert "predictions.tsv" in familiarity_flag([frozenset({"a"})] * models, ["a"])

"""Boxes that miss are told from boxes on a vertebra, by a rule that knows only a cohort's own boxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spinefx.cases.patch import PatchSource, PatchStack
from spinefx.learning.box_check import FALSE_REFUSALS, FEWEST, BoxViews, Placement
from spinefx.vocabulary import Weighting

SIDE = 40
REACH = 32  # pixels from the box's centre, one a millimetre


def stack_of(number: int, back_mm: float = 0.0, up_mm: float = 0.0, noise: float = 0.5) -> PatchStack:
    """A bright square vertebra before a dark canal, among others of its kind, in noise; the box moved if need be."""
    rng = np.random.default_rng([number, 7])
    down, back = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1].astype(np.float64)
    down, back = down - up_mm, back + back_mm
    body = (abs(back + rng.normal(0, 1)) < 16) & (abs((down + rng.normal(0, 1) + 17) % 34 - 17) < 13)
    canal = (back > 19) & (back < 30)
    image = 1.0 * body - 1.0 * canal + noise * rng.standard_normal(down.shape)
    plane = np.array([[0, 0, 1.0], [SIDE, 0, REACH], [0, SIDE, REACH]])
    array = np.repeat(image[None], 3, axis=0).astype(np.float32)
    matrices = np.repeat(plane[None, None], 3, axis=1)
    name = f"sub-{number:03d}"
    return PatchStack(
        f"{name}_L1",
        name,
        (1,),
        tuple(PatchSource(one, array, matrices) for one in (Weighting.T1W, Weighting.T2W)),
        float(SIDE),
    )


def views_of(numbers: range) -> list[BoxViews]:
    found = [BoxViews.of(stack_of(number)) for number in numbers]
    assert all(one is not None for one in found)
    return [one for one in found if one is not None]


@pytest.fixture(scope="module")
def placement() -> Placement:
    found = Placement.of(views_of(range(60)))
    assert found is not None
    return found


@pytest.mark.parametrize("way", [(-30, 0), (-15, 0), (15, 0), (30, 0), (0, 15), (0, -15)])
def test_a_box_that_misses_is_distinguished_from_one_that_does_not(
    placement: Placement, way: tuple[float, float]
) -> None:
    strangers = range(100, 140)
    right = [placement.score(stack_of(number)) for number in strangers]
    missed = [placement.score(stack_of(number, *way)) for number in strangers]
    assert sum(score < placement.limit for score in right) <= 2
    assert sum(score < placement.limit for score in missed) >= 36


def test_a_box_on_the_next_vertebra_is_not_detected(placement: Placement) -> None:
    above = [placement.score(stack_of(number, up_mm=34)) for number in range(100, 140)]
    assert sum(score < placement.limit for score in above) <= 4


def test_the_limit_refuses_about_the_stated_share(placement: Placement) -> None:
    strangers = views_of(range(1000, 1150))
    again = np.concatenate([placement.whole.scores(one.again) for one in strangers])
    # 600 boxes of 150 strangers; three standard errors of a share of 150 are 4 points.
    assert np.mean(again < placement.limit) == pytest.approx(FALSE_REFUSALS, abs=0.04)


def test_a_participant_is_judged_by_the_rule_that_was_not_learned_from_them(placement: Placement) -> None:
    own = stack_of(7)
    assert placement.score(own, "sub-007") == pytest.approx(placement.own["sub-007_L1"])
    assert placement.score(own, "sub-007") != placement.score(own)
    assert placement.score(own, "sub-999") == placement.score(own)
    without = Placement.of([one for one in views_of(range(60)) if placement.part_of[one.participant_id] != 7])
    assert without is not None
    assert placement.score(own, "sub-007") == pytest.approx(without.score(own))


def test_few_participants_yield_no_rule_and_a_flat_case_is_left_out() -> None:
    assert Placement.of(views_of(range(FEWEST - 1))) is None
    assert Placement.of(views_of(range(FEWEST))) is not None
    whole = stack_of(1)
    t1w, t2w = whole.sources
    flat = replace(whole, sources=(replace(t1w, voxels=np.ones_like(t1w.voxels)), t2w))
    assert BoxViews.of(flat) is None


def test_the_rule_does_not_depend_on_the_order_of_the_cohort() -> None:
    views = views_of(range(20))
    one, other = Placement.of(views), Placement.of(views[::-1])
    assert one is not None
    assert other is not None
    assert one.limit == pytest.approx(other.limit, abs=1e-9)

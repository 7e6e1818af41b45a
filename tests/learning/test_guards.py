"""What a model remembers of its training cases: it travels in the card, and refuses what looks like none of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from spinefx.cases.patch import PatchSettings, PatchSource, PatchStack
from spinefx.errors import MissedVertebraError, UnlikeTrainingError
from spinefx.learning.box_check import BLOCKS, FEWEST, BoxPlace
from spinefx.learning.guards import CLEARLY_PLACED, PLACEMENT, TYPICAL, Guards, TrainingRange, view_likeness
from spinefx.vocabulary import Weighting

SETTINGS = PatchSettings()
Change = Callable[[PatchStack], PatchStack]


def scene(number: int, weighting: Weighting) -> NDArray[np.float32]:
    """A column of bodies with discs, a bright canal behind and noise; T1W and T2W differ in what is bright."""
    rng = np.random.default_rng([number, weighting is Weighting.T2W])
    rows, columns = np.meshgrid(np.arange(96), np.arange(96), indexing="ij")
    t2w = weighting is Weighting.T2W
    image = np.full((96, 96), 20.0)
    image[(columns > 28) & (columns < 68)] = 90 if t2w else 110
    image[(columns > 28) & (columns < 68) & ((rows - 48) % 36 > 15) & ((rows - 48) % 36 < 21)] = 160 if t2w else 40
    image[(columns >= 68) & (columns < 78)] = 260 if t2w else 50
    return (image + rng.normal(0, 8, (5, 96, 96))).astype(np.float32)


@cache
def stack_of(number: int) -> PatchStack:
    """A case whose box, 40 pixels wide, is centred on a body up to two pixels beside its middle."""
    rng = np.random.default_rng([7, number])
    row, column = 48 + rng.normal(0, 1.5, 2)
    matrices = np.zeros((1, 3, 3, 3))
    matrices[0, :, 0, 2] = (1, 2, 3)
    matrices[0, :, 1, 0] = matrices[0, :, 2, 1] = 40
    matrices[0, :, 1, 2], matrices[0, :, 2, 2] = row, column
    sources = tuple(PatchSource(one, scene(number, one), matrices) for one in SETTINGS.sequences)
    name = f"sub-{number:03d}"
    return PatchStack(name, name, (7,), sources, 40.0, settings=SETTINGS)


@cache
def learned(cases: int = 24) -> Guards:
    measures = {f"sub-{number:03d}": {"T2W pixel, mm": 0.8 + number / 100} for number in range(cases)}
    return Guards.of_stacks([stack_of(number) for number in range(cases)], measures)


def changed(voxels: Callable[[PatchSource, PatchSource], NDArray[np.float32]]) -> Change:
    def change(stack: PatchStack) -> PatchStack:
        first, second = stack.sources
        pairs = ((first, second), (second, first))
        return replace(stack, sources=tuple(replace(one, voxels=voxels(one, other)) for one, other in pairs))

    return change


def moved(rows: float, columns: float) -> Change:
    def change(stack: PatchStack) -> PatchStack:
        by = np.zeros((3, 3))
        by[1, 2], by[2, 2] = rows, columns
        return replace(stack, sources=tuple(replace(one, matrices=one.matrices + by) for one in stack.sources))

    return change


def test_a_card_gives_back_the_guards_to_the_last_bit() -> None:
    guards = learned()
    again = Guards.from_json(json.loads(json.dumps(guards.to_json())))
    assert again == guards
    assert again.measure(stack_of(99)) == guards.measure(stack_of(99))
    assert learned.__wrapped__() == guards


def test_new_cases_like_those_of_training_pass() -> None:
    for number in range(100, 120):
        learned().refuse({"T2W pixel, mm": 0.9} | learned().measure(stack_of(number)))


@pytest.mark.parametrize(
    "change",
    {
        "in front": moved(0, -30),
        "behind": moved(0, 30),
        "noise": changed(lambda one, _: np.random.default_rng(3).normal(0, 1, one.voxels.shape).astype(np.float32)),
        "swapped": changed(lambda _, other: other.voxels),
        "inverted": changed(lambda one, _: -one.voxels),
    }.values(),
    ids=("in front", "behind", "noise", "swapped", "inverted"),
)
def test_what_looks_like_no_training_case_is_refused(change: Change) -> None:
    for number in range(100, 110):
        with pytest.raises(UnlikeTrainingError) as refused:
            learned().refuse(learned().measure(change(stack_of(number))))
        assert refused.value.remedy


def test_a_box_off_its_vertebra_is_refused_as_such() -> None:
    measures = learned().measure(stack_of(100))
    assert measures[PLACEMENT] > 0 < measures[TYPICAL]
    limit = learned().placement
    assert limit is not None
    with pytest.raises(MissedVertebraError, match="Centre the box"):
        learned().refuse(measures | {PLACEMENT: limit.limit - 0.01})


def test_the_vertebrae_that_were_found_decide_before_the_learned_rule() -> None:
    measures = learned().measure(stack_of(100))
    limit = learned().placement
    assert limit is not None
    low = measures | {PLACEMENT: limit.limit - 0.01}
    learned().refuse(low, BoxPlace(True, "on L1"))
    with pytest.raises(MissedVertebraError, match=r"between L1 and L2\. Centre the box"):
        learned().refuse(measures, BoxPlace(False, "between L1 and L2."))
    # What the box shows is compared with the training cases in either case.
    typical = learned().typical
    assert typical is not None
    with pytest.raises(UnlikeTrainingError):
        learned().refuse(low | {TYPICAL: typical.limit - 0.01}, BoxPlace(True, "on L1"))


def test_the_vertebrae_are_looked_for_only_where_the_learned_rule_is_in_doubt() -> None:
    guards = learned()
    assert not guards.doubts({PLACEMENT: CLEARLY_PLACED})
    assert guards.doubts({PLACEMENT: CLEARLY_PLACED - 0.01})
    assert guards.doubts({}), "a box that was not compared is in doubt"
    assert learned(FEWEST - 1).doubts({PLACEMENT: 1.0}), "so is every box where there is no rule"
    assert guards.placement is not None
    assert guards.placement.limit < CLEARLY_PLACED


def test_too_few_participants_have_ranges_alone_and_say_so() -> None:
    few = learned(FEWEST - 1)
    assert few.placement is few.typical is None
    assert "T2W pixel, mm" in few.ranges
    assert PLACEMENT not in few.measure(stack_of(100))
    (said,) = few.unavailable({"T2W pixel, mm": 0.9})
    assert f"fewer than {FEWEST} participants" in said
    assert "on a vertebra" in said
    (said,) = few.unavailable({"T2W pixel, mm": 0.9}, BoxPlace(True, "on L1"))
    assert "on a vertebra" not in said
    missing = learned().unavailable({"T2W pixel, mm": 0.9, "T1W pixel, mm": 0.9})
    assert missing == ["T1W pixel, mm: the model does not record the training cases' values"]
    assert "Train it again" in Guards().unavailable({})[0]


@pytest.mark.parametrize(
    ("value", "refused"), [(0.1, False), (0.9, False), (2.1, False), (5.1, False), (5.3, True), (8.0, True)]
)
def test_pixels_may_be_finer_but_not_far_coarser(value: float, refused: bool) -> None:
    name = "T2W pixel, mm"
    if refused:
        with pytest.raises(UnlikeTrainingError, match="pixel"):
            learned().refuse({name: value})
    else:
        learned().refuse({name: value})
    assert bool(learned().flags({name: value})) == (value > 1.03)


def test_the_card_holds_one_view_for_all_cases_and_no_patch() -> None:
    typical = learned().typical
    assert typical is not None
    assert len(typical.view) == len(SETTINGS.channels) * BLOCKS**2
    mine = np.array(typical.view)
    assert view_likeness(mine, mine) == pytest.approx(1)
    assert view_likeness(mine, -mine) == pytest.approx(-1)
    assert set(learned().to_json()) == {"ranges", "placement", "typical"}


def test_a_range_holds_its_own_values() -> None:
    found = TrainingRange.of([3.0, 1.0, 2.0])
    assert (found.least, found.most) == (1.0, 3.0)
    assert all(found.holds(value, widest=True) for value in (1.0, 2.0, 3.0))
    assert not found.holds(3.1, widest=True)
    assert found.holds(3.1, PLACEMENT, widest=True), "only a low placement is unusual"
    assert found.holds(0.5, "T2W pixel, mm", widest=True), "finer pixels are smoothed down to the patch's own"
    assert not found.holds(3.1, "T2W pixel, mm", widest=True)
    assert not found.holds(0.5, "T2W echo time, ms", widest=True)

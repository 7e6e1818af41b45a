"""A located spine refuses impossible states, and one name by a person renames all of its vertebrae."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from spinefx.errors import BoxError, LevelError
from spinefx.localisation.spine import (
    Anomaly,
    Convention,
    LocatedSpine,
    LocatedVertebra,
    consecutive_levels,
    numbering_anomalies,
    rename,
)
from spinefx.phantom.levels import NUMBERINGS, level_rows

SPINES = {name: [level for level, _ in level_rows(name)] for name in ("usual", *NUMBERINGS)}


def located(levels: list[str | None], convention: Convention = Convention.SACRUM) -> LocatedSpine:
    vertebrae = tuple(
        LocatedVertebra(level, level is not None, 0.9, (1.0, 5.0, -30.0 * number), 40.0, 3, 9)
        for number, level in enumerate(levels)
    )
    anomalies = numbering_anomalies(level for level in levels if level)
    return LocatedSpine(vertebrae, convention, anomalies, ("A note.",))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"level": "L9"}, LevelError),
        ({"level": None}, LevelError),
        ({"named": False}, LevelError),
        ({"confidence": 1.01}, LevelError),
        ({"confidence": float("nan")}, LevelError),
        ({"centre_mm": (0.0, float("inf"), 0.0)}, BoxError),
        ({"box_side_mm": 3.0}, BoxError),
        ({"first_slice": 10}, BoxError),
        ({"first_slice": -1}, BoxError),
    ],
)
def test_a_vertebra_refuses_impossible_states(change: dict[str, object], error: type[Exception]) -> None:
    good = LocatedVertebra("L1", True, 0.9, (0.0, 0.0, 0.0), 40.0, 3, 9)
    with pytest.raises(error):
        replace(good, **change)  # type: ignore[arg-type]


def test_a_vertebra_is_also_a_box_and_a_lesion() -> None:
    lesion = LocatedVertebra("L1", True, 0.9, (0.0, 1.0, 2.0), 40.0, 3, 9).lesion
    assert (lesion.level, lesion.slices, lesion.box.side_mm) == ("L1", (3, 4, 5, 6, 7, 8, 9), 40.0)
    assert LocatedVertebra(None, False, 0.9, (0.0, 1.0, 2.0), 40.0, 3, 9).lesion.level == ""


def test_a_spine_refuses_impossible_states() -> None:
    spine = located(["L4", "L5", "S1"])
    first, second, third = spine.vertebrae
    for vertebrae in (
        (third, second, first),  # upside down
        (first, third),  # a gap
        (first, second, replace(third, level=None, named=False)),  # only some named
        (first, replace(second, centre_mm=first.centre_mm), third),  # two at one place
    ):
        with pytest.raises(LevelError):
            replace(spine, vertebrae=vertebrae)
    with pytest.raises(LevelError, match="does not fit"):
        replace(spine, convention=Convention.UNNAMED)
    with pytest.raises(LevelError, match="twice"):
        replace(spine, anomalies=(Anomaly.TRANSITIONAL,) * 2)
    with pytest.raises(LevelError, match="six_lumbar"):
        replace(located(["L5", "L6", "S1"]), anomalies=())
    with pytest.raises(LevelError, match="does not fit"):
        located([None, None], Convention.SACRUM)
    assert located([None, None], Convention.UNNAMED).levels == ()
    assert LocatedSpine((), Convention.UNNAMED).vertebrae == ()


def test_a_horizontal_sacrum_may_lift_the_last_centre_but_not_above_the_first() -> None:
    spine = located(["L4", "L5", "S1"])
    first, second, third = spine.vertebrae
    lifted = replace(third, centre_mm=(1.0, 40.0, second.centre_mm[2] + 2))
    assert replace(spine, vertebrae=(first, second, lifted)).levels == ("L4", "L5", "S1")


@pytest.mark.parametrize("numbering", SPINES)
def test_every_numbering_of_the_phantom_is_consecutive(numbering: str) -> None:
    levels = SPINES[numbering]
    assert consecutive_levels(levels)
    for number in range(1, len(levels) - 1):
        left_out = levels[:number] + levels[number + 1 :]
        assert not consecutive_levels(left_out) or "T13" in levels or "L6" in levels or levels[number] == "L5"
    assert not any(consecutive_levels((below, above)) for above, below in pairwise(levels))


@pytest.mark.parametrize("shift", [-2, -1, 1, 2])
def test_one_right_name_repairs_names_that_are_all_shifted(shift: int) -> None:
    truth = SPINES["usual"][12:22]
    wrong = located(list(SPINES["usual"][12 + shift : 22 + shift]))
    for position, level in enumerate(truth):
        mended = rename(wrong, position, level)
        assert list(mended.levels) == truth
        assert mended.convention is Convention.PERSON
        assert mended.notes == wrong.notes
        assert {one.confidence for one in mended.vertebrae} == {1.0}
        assert [one.centre_mm for one in mended.vertebrae] == [one.centre_mm for one in wrong.vertebrae]


def test_one_name_names_a_spine_without_names() -> None:
    spine = located([None] * 5, Convention.UNNAMED)
    assert rename(spine, 2, "T12").levels == ("T10", "T11", "T12", "L1", "L2")
    assert rename(spine, 2, "T13").levels == ("T11", "T12", "T13", "L1", "L2")
    assert rename(spine, 2, "T13").anomalies == (Anomaly.THIRTEEN_THORACIC,)
    assert rename(spine, 2, "L6").levels == ("L4", "L5", "L6", "S1", "S2")
    assert rename(spine, 2, "L6").anomalies == (Anomaly.SIX_LUMBAR,)


@pytest.mark.parametrize(("numbering", "kept"), [("six_lumbar", "L1"), ("four_lumbar", "T12")])
def test_a_sacrum_that_stays_yields_the_variant(numbering: str, kept: str) -> None:
    truth = SPINES[numbering][SPINES[numbering].index("T10") : SPINES[numbering].index("S2") + 1]
    counted = SPINES["usual"][: SPINES["usual"].index("S2") + 1][-len(truth) :]
    for position in range(truth.index(kept) + 1):
        assert list(rename(located(counted), position, truth[position], sacrum_stays=True).levels) == truth


def test_a_sacrum_that_stays_refuses_what_no_variant_explains() -> None:
    spine = located(["T12", "L1", "L2", "L3", "L4", "L5", "S1"])
    for position, level in ((0, "T10"), (0, "L2"), (6, "S2"), (3, "S1"), (5, "L3")):
        with pytest.raises(LevelError):
            rename(spine, position, level, sacrum_stays=True)
    with pytest.raises(LevelError, match="needs an S1"):
        rename(located(["L1", "L2"]), 0, "L2", sacrum_stays=True)
    assert rename(spine, 5, "L6", sacrum_stays=True).levels == ("L1", "L2", "L3", "L4", "L5", "L6", "S1")


def test_a_name_that_was_right_keeps_a_variant_and_a_wrong_one_drops_it() -> None:
    spine = located(["L4", "L5", "L6", "S1"])
    spine = replace(spine, anomalies=(*spine.anomalies, Anomaly.TRANSITIONAL))
    assert rename(spine, 0, "L4").levels == spine.levels
    assert set(rename(spine, 0, "L4").anomalies) == {Anomaly.SIX_LUMBAR, Anomaly.TRANSITIONAL}
    shifted = rename(spine, 2, "L5")
    assert (shifted.levels, shifted.anomalies) == (("L3", "L4", "L5", "S1"), (Anomaly.TRANSITIONAL,))


def test_names_that_lead_out_of_the_spine_are_refused() -> None:
    spine = located(["L4", "L5", "S1"])
    for position, level in ((2, "C2"), (0, "S4"), (3, "L1"), (-1, "L1"), (0, "L9")):
        with pytest.raises(LevelError):
            rename(spine, position, level)


def test_a_level_is_found_by_name_or_refused_with_the_reason() -> None:
    spine = located(["L4", "L5", "S1"])
    assert spine.at_level("L5") is spine.vertebrae[1]
    for one, reason in (
        (spine, "L4 to S1"),
        (located([None, None], Convention.UNNAMED), "no names"),
        (LocatedSpine((), Convention.UNNAMED), "no sagittal spine"),
    ):
        with pytest.raises(LevelError, match=reason):
            one.at_level("T12")
    with pytest.raises(LevelError, match="unknown"):
        spine.at_level("Q1")

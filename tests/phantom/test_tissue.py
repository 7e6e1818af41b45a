"""Signals against the design's table, computed there independently for SE 400/15 and FSE 3200/90."""

from __future__ import annotations

import pytest

from spinefx.errors import InputError
from spinefx.phantom.tissue import BONE_VOLUME, TISSUES, Palette, Pool, Sequence, disc_nucleus, fat_signal, water_signal

T1W = Sequence("se", 400, 15)
T2W = Sequence("fse", 3200, 90, train_length=16, echo_spacing_ms=10.5)


@pytest.mark.parametrize(
    ("tissue", "t1w", "t2w"),
    [
        ("marrow_water", 0.21, 0.10),
        ("fluid", 0.12, 0.56),
        ("csf", 0.09, 0.52),
        ("cord", 0.24, 0.29),
        ("roots", 0.23, 0.25),
        ("ligament", 0.09, 0.00),
        ("flavum", 0.17, 0.03),
        ("cortex", 0.01, 0.00),
        ("annulus", 0.15, 0.05),
        ("cement", 0.00, 0.00),
        ("blastic", 0.12, 0.06),
        ("blood", 0.36, 0.21),
    ],
)
def test_water_is_as_bright_as_the_table_says(tissue: str, t1w: float, t2w: float) -> None:
    assert water_signal(TISSUES[tissue], T1W) == pytest.approx(t1w, abs=0.02)
    assert water_signal(TISSUES[tissue], T2W) == pytest.approx(t2w, abs=0.045)


def test_fat_is_bright_on_both_and_gone_where_it_is_saturated() -> None:
    assert fat_signal(T1W) == pytest.approx(0.60, abs=0.02)
    assert fat_signal(T2W) == pytest.approx(0.47, abs=0.03)
    stir = Sequence("stir", 4000, 40, inversion_ms=150, train_length=10, echo_spacing_ms=9)
    assert fat_signal(stir) < 0.1 * fat_signal(Sequence("fse", 4000, 40, train_length=10, echo_spacing_ms=9))


@pytest.mark.parametrize(("fat", "t1w", "t2w"), [(0.30, 0.29, 0.19), (0.45, 0.34, 0.23), (0.60, 0.39, 0.28)])
def test_marrow_is_a_mix(fat: float, t1w: float, t2w: float) -> None:
    for sequence, expected in ((T1W, t1w), (T2W, t2w)):
        palette = Palette(sequence)
        mix = (1 - BONE_VOLUME) * ((1 - fat) * palette.water("marrow_water") + fat * palette.fat)
        assert mix == pytest.approx(expected, abs=0.025)


def test_contrast_follows_the_rules_of_the_eye() -> None:
    one, two = Palette(T1W), Palette(T2W)
    marrow = (1 - BONE_VOLUME) * (0.55 * one.water("marrow_water") + 0.45 * one.fat)
    assert marrow > one.water(disc_nucleus(3))  # the adult rule
    assert sum(two.pair("csf")) > two.fat > two.water(disc_nucleus(3)) > sum(two.pair("muscle"))
    tumour = (1 - BONE_VOLUME) * (0.92 * one.water("lytic") + 0.08 * one.fat)
    assert 0.5 < tumour / marrow < 0.8


def test_discs_darken_with_age_on_t2w() -> None:
    signals = [water_signal(disc_nucleus(grade), T2W) for grade in (1, 2, 3, 4, 5)]
    assert signals == sorted(signals, reverse=True)
    assert signals[0] == pytest.approx(0.48, abs=0.05)
    assert signals[4] == pytest.approx(0.07, abs=0.03)


def test_unknown_sequences_are_refused() -> None:
    with pytest.raises(InputError, match="se, fse, stir, gre"):
        Sequence("epi", 100, 10)
    assert water_signal(Pool(900, 40, 0.0), T1W) == 0

"""Signals against a table that was computed independently for SE 400/15 and FSE 3200/90."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spinefx.errors import InputError
from spinefx.phantom.tissue import (
    BONE_VOLUME,
    TISSUES,
    Pool,
    Sequence,
    TissueSignals,
    disc_nucleus,
    draw_random_contrast,
    fat_signal,
    water_signal,
)

T1W = Sequence("se", 400, 15)
T2W = Sequence("fse", 3200, 90, train_length=16, echo_spacing_ms=10.5)


TOLERANCE = 0.015


@pytest.mark.parametrize(
    ("tissue", "t1w", "t2w"),
    [
        ("marrow_water", 0.21, 0.10),
        ("fluid", 0.12, 0.56),
        ("csf", 0.09, 0.52),
        ("cord", 0.24, 0.29),
        ("roots", 0.23, 0.25),
        ("muscle", 0.19, 0.09),
        ("ligament", 0.09, 0.00),
        ("flavum", 0.17, 0.03),
        ("cortex", 0.01, 0.00),
        ("annulus", 0.15, 0.05),
        ("cement", 0.00, 0.00),
        ("blastic", 0.12, 0.06),
        ("blood", 0.36, 0.21),
        ("haemangioma", 0.28, 0.49),
    ],
)
def test_water_signal_matches_the_table(tissue: str, t1w: float, t2w: float) -> None:
    assert water_signal(TISSUES[tissue], T1W) == pytest.approx(t1w, abs=TOLERANCE)
    assert water_signal(TISSUES[tissue], T2W) == pytest.approx(t2w, abs=TOLERANCE)


def test_fat_is_bright_on_t1w_and_t2w_and_suppressed_on_stir() -> None:
    assert fat_signal(T1W) == pytest.approx(0.60, abs=TOLERANCE)
    assert fat_signal(T2W) == pytest.approx(0.47, abs=TOLERANCE)
    stir = Sequence("stir", 4000, 40, inversion_ms=150, train_length=10, echo_spacing_ms=9)
    plain = fat_signal(Sequence("fse", 4000, 40, train_length=10, echo_spacing_ms=9))
    assert fat_signal(stir) == pytest.approx(0.07 * plain, rel=1e-9)


@pytest.mark.parametrize(
    ("water", "fat", "t1w", "t2w"),
    [
        ("marrow_water", 0.30, 0.29, 0.19),
        ("marrow_water", 0.45, 0.34, 0.23),
        ("marrow_water", 0.60, 0.39, 0.28),
        ("marrow_water", 0.90, 0.49, 0.38),
        ("oedema", 0.12, 0.21, 0.30),
        ("lytic", 0.04, 0.21, 0.28),
    ],
)
def test_marrow_is_a_mixture_of_water_and_fat(water: str, fat: float, t1w: float, t2w: float) -> None:
    for sequence, expected in ((T1W, t1w), (T2W, t2w)):
        signals = TissueSignals(sequence)
        mix = (1 - BONE_VOLUME) * ((1 - fat) * signals.water(water) + fat * signals.fat)
        assert mix == pytest.approx(expected, abs=TOLERANCE)


def test_contrast_follows_clinical_rules() -> None:
    one, two = TissueSignals(T1W), TissueSignals(T2W)
    marrow = (1 - BONE_VOLUME) * (0.55 * one.water("marrow_water") + 0.45 * one.fat)
    assert marrow > one.water(disc_nucleus(3))  # in adults, marrow is brighter than disc on T1W
    assert sum(two.pair("csf")) > two.fat > two.water(disc_nucleus(3)) > sum(two.pair("muscle"))
    tumour = (1 - BONE_VOLUME) * (0.92 * one.water("lytic") + 0.08 * one.fat)
    assert 0.5 < tumour / marrow < 0.8


def test_degenerated_discs_are_darker_on_t2w() -> None:
    signals = [water_signal(disc_nucleus(grade), T2W) for grade in (1, 2, 3, 4, 5)]
    assert signals == sorted(signals, reverse=True)
    assert signals[0] == pytest.approx(0.48, abs=TOLERANCE)
    assert signals[4] == pytest.approx(0.07, abs=TOLERANCE)
    assert water_signal(disc_nucleus(1), T1W) == pytest.approx(0.23, abs=TOLERANCE)
    assert water_signal(disc_nucleus(5), T1W) == pytest.approx(0.17, abs=TOLERANCE)


def test_longer_t1_at_3_t_darkens_t1w_and_barely_changes_t2w() -> None:
    for tissue in ("muscle", "marrow_water", "annulus", "cord", "lytic"):
        high = replace(T1W, field_t=3.0)
        assert 0.75 < water_signal(TISSUES[tissue], high) / water_signal(TISSUES[tissue], T1W) < 0.95
        late = water_signal(TISSUES[tissue], replace(T2W, field_t=3.0)) / water_signal(TISSUES[tissue], T2W)
        assert 0.9 < late < 1.0
    assert water_signal(TISSUES["csf"], replace(T1W, field_t=3.0)) == water_signal(TISSUES["csf"], T1W)
    assert fat_signal(replace(T1W, field_t=3.0)) < fat_signal(T1W)


def test_random_contrast_sets_every_tissue_signal() -> None:
    brightness = draw_random_contrast(np.random.default_rng(1))
    signals = TissueSignals(replace(T1W, brightness=brightness))
    given = dict(brightness)
    assert set(TISSUES) < set(given)
    assert all(signals.water(tissue) == given[tissue] for tissue in TISSUES)
    assert signals.water("air") == 0
    assert len(set(given.values())) == len(given)
    assert signals.pair("fat") == pytest.approx((0.04 * given["fat"], 0.96 * signals.fat))
    assert signals.fat in given.values()
    ends = sorted([given["annulus"], given["fluid"]])
    assert ends[0] <= signals.water(disc_nucleus(2.7)) <= ends[1]
    assert brightness != draw_random_contrast(np.random.default_rng(2))
    # Some random contrasts break the clinical rules, which is their purpose.
    orders = [dict(draw_random_contrast(np.random.default_rng(n))) for n in range(20)]
    assert {one["marrow_water"] > one["csf"] for one in orders} == {True, False}


def test_unknown_sequences_are_refused() -> None:
    with pytest.raises(InputError, match="se, fse, stir, gre"):
        Sequence("epi", 100, 10)
    assert water_signal(Pool(900, 40, 0.0), T1W) == 0

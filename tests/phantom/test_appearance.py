"""Varied appearance and tied confounders: they reach the images, and nothing else depends on the class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spinefx.errors import RecipeError
from spinefx.phantom.case import render_case
from spinefx.phantom.cohort import _study_header
from spinefx.phantom.random_streams import CaseDraw, PhantomSettings, draw_case
from spinefx.vocabulary import Diagnosis

VARIED = PhantomSettings(patients=300, seed=4, malignant=0.5, appearance="varied", share_at_3_t=0.4)


def draws(settings: PhantomSettings, count: int = 300) -> list[CaseDraw]:
    return [draw_case(settings, number) for number in range(1, count + 1)]


def malignant(draw: CaseDraw) -> bool:
    return draw.diagnosis is Diagnosis.MALIGNANT


def test_appearance_covers_the_clinical_range() -> None:
    found = draws(VARIED)
    for name, low, high in (
        ("matrix", 220, 600),
        ("thickness_mm", 3.2, 4.8),
        ("noise", 1 / 50, 1 / 16),
        ("bandwidth_hz", 120, 280),
    ):
        values = [getattr(draw.t2w, name) for draw in found]
        assert min(values) < low < high < max(values), name
    assert all(192 <= draw.t2w.matrix <= 640 and max(draw.t2w.samples) <= draw.t2w.matrix for draw in found)
    assert {draw.t1w.sequence.kind for draw in found} == {"se", "fse"}
    assert np.mean([draw.t2w.sequence.field_t == 3 for draw in found]) == pytest.approx(0.4, abs=0.1)


def test_appearance_leaves_the_lesions_as_they_are() -> None:
    for one, other in zip(
        draws(VARIED, 20), draws(replace(VARIED, appearance="usual", share_at_3_t=0.0), 20), strict=True
    ):
        assert (one.lesion, one.spots, one.healed, one.level) == (other.lesion, other.spots, other.healed, other.level)


def test_appearance_does_not_depend_on_the_class() -> None:
    found = draws(VARIED)
    kind = np.array([malignant(draw) for draw in found])
    for values in (
        [draw.t2w.matrix for draw in found],
        [draw.t2w.sequence.echo_ms for draw in found],
        [draw.t2w.noise for draw in found],
        [draw.habitus.marrow_fat for draw in found],
        [draw.t2w.sequence.field_t for draw in found],
    ):
        column = np.array(values, float)
        gap = column[kind].mean() - column[~kind].mean()
        assert abs(gap) < 3.5 * column.std() * np.sqrt(4 / len(column))


def test_a_varied_acquisition_has_the_shape_that_its_protocol_states() -> None:
    draw = draw_case(replace(VARIED, matrix=128), 5)
    case = render_case(draw)
    for name in ("t1w", "t2w"):
        protocol = getattr(draw, name)
        assert getattr(case, name).shape == (protocol.slices, protocol.matrix, protocol.matrix)
    assert _study_header(draw).field_strength_t == draw.t2w.sequence.field_t


@pytest.mark.parametrize(("strength", "share"), [(1.0, 1.0), (-1.0, 0.0), (0.6, 0.8), (0.0, 0.5)])
def test_a_tied_confounder_follows_the_class_as_stated(strength: float, share: float) -> None:
    settings = PhantomSettings(
        patients=300, malignant=0.5, tied=("field_t", "vendor"), tie_strength=strength, share_at_3_t=0.5
    )
    found = draws(settings)
    agrees = np.mean([(draw.t2w.sequence.field_t == 3) == malignant(draw) for draw in found])
    assert agrees == pytest.approx(share, abs=0.1)
    with_class = [draw.vendor == ("siemens" if malignant(draw) else "ge") for draw in found]
    against = [draw.vendor == ("ge" if malignant(draw) else "siemens") for draw in found]
    assert np.mean(with_class) - np.mean(against) == pytest.approx(strength, abs=0.12)


def test_age_and_field_of_view_can_be_tied() -> None:
    found = draws(PhantomSettings(patients=200, malignant=0.5, tied=("age", "field_of_view")), 200)
    for draw in found:
        assert draw.t2w.fov_mm == (380 if malignant(draw) else 260)
    ages = {kind: np.mean([draw.age for draw in found if malignant(draw) == kind]) for kind in (True, False)}
    assert ages[True] - ages[False] == pytest.approx(22, abs=5)


def test_ties_do_not_change_what_is_not_tied() -> None:
    usual = PhantomSettings(patients=20)
    for one, other in zip(draws(replace(usual, tied=("field_t",)), 20), draws(usual, 20), strict=True):
        assert (one.age, one.lesion, one.vendor, one.spots) == (other.age, other.lesion, other.vendor, other.spots)


def test_an_unknown_confounder_is_refused_by_name() -> None:
    with pytest.raises(RecipeError, match="weight"):
        PhantomSettings(tied=("weight",))

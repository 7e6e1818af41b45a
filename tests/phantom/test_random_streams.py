"""Drawn patients: numbers match their signs, nothing else predicts the class, and every draw is reproducible."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from spinefx.errors import RecipeError
from spinefx.phantom.case import truth_of
from spinefx.phantom.lesion import LesionDraw, draw_lesion
from spinefx.phantom.random_streams import CaseDraw, PhantomSettings, draw_case
from spinefx.phantom.scanner import Coil
from spinefx.phantom.settings import ARTEFACTS, ByClass, Stream, case_number
from spinefx.phantom.sign_assignment import assign_signs
from spinefx.phantom.vendors import VENDORS
from spinefx.vocabulary import Diagnosis


@pytest.fixture(scope="module")
def draws() -> list[CaseDraw]:
    settings = PhantomSettings(patients=600, malignant=300, seed=3)
    return [draw_case(settings, number) for number in range(1, 601)]


def drawn(settings: PhantomSettings, count: int) -> list[CaseDraw]:
    return [draw_case(settings, number) for number in range(1, count + 1)]


def test_numbers_match_their_signs(draws: list[CaseDraw]) -> None:
    for lesion in (draw.lesion for draw in draws):
        signs, shape = lesion.signs, lesion.deformity
        assert (shape.posterior >= 0.22) == signs["entire_body_compression"]
        assert (shape.anterior >= 0.2) == (signs["anterior_wedge"] or signs["entire_body_compression"])
        assert (shape.bulge_mm > 0) == signs["ap_protrusion"]
        assert bool(lesion.nodules) == signs["nodular_lesion"]
        assert (lesion.epidural[0] > 0) == signs["epidural_paraspinal_mass"]
        assert (lesion.pedicle[0] != 0) == signs["pedicle_posterior_element"]
        assert (lesion.skips > 0) == signs["skip_lesions"]
        assert lesion.patch[3] == (0.07 if lesion.cement else 0.38)


def test_difficulty_moves_the_fat_fractions_together() -> None:
    def gap(difficulty: float) -> float:
        assignments = [assign_signs(PhantomSettings(patients=800, malignant=400), number) for number in range(1, 801)]
        lesions = [draw_lesion(one, difficulty, np.random.default_rng([4, n])) for n, one in enumerate(assignments)]
        means = [
            np.mean([lesion.residual_fat for lesion in lesions if lesion.diagnosis is kind])
            for kind in (Diagnosis.BENIGN, Diagnosis.MALIGNANT)
        ]
        return float(means[0] - means[1])

    assert gap(0.0) == pytest.approx(0.20, abs=0.02)
    assert gap(0.0) > gap(0.6) + 0.05 > gap(1.0) + 0.05


VALUES: list[Callable[[CaseDraw], float]] = [
    lambda d: d.t1w.noise,
    lambda d: d.t2w.noise,
    lambda d: d.t1w.slices,
    lambda d: d.t2w.slices,
    lambda d: d.t2w.gain,
    lambda d: d.t1w.sequence.repetition_ms,
    lambda d: d.t2w.sequence.echo_ms,
    lambda d: d.coil.depth_mm,
    lambda d: d.coil.correction,
    lambda d: d.t2w.bandwidth_hz,
    lambda d: d.t1w.ghost,
    lambda d: d.t2w.saturation,
    lambda d: d.t2w.frequency_axis == "SI",
    lambda d: list(VENDORS).index(d.vendor),
    lambda d: d.age,
    lambda d: d.sex == "F",
    lambda d: d.field_mm["t2w"][2],
    lambda d: d.oblique_deg["t2w"][1],
    lambda d: d.table_mm[1],
    lambda d: np.linalg.norm(d.motion_mm),
    lambda d: d.habitus.marrow_fat,
    lambda d: d.habitus.marrow_texture,
    lambda d: d.habitus.skin_mm,
    lambda d: int(d.level[1:]) + (12 if d.level[0] == "L" else 0),
    lambda d: sum(spot.kind == "haemangioma" for spot in d.spots),
    lambda d: sum(spot.kind.startswith("modic") for spot in d.spots),
    lambda d: len(d.healed),
    lambda d: d.lesion.cement,
    lambda d: int(d.study_date),
]


@pytest.mark.parametrize("value", VALUES)
def test_nothing_outside_table_1_predicts_the_class(value: Callable[[CaseDraw], float], draws: list[CaseDraw]) -> None:
    groups = [[float(value(draw)) for draw in draws if draw.diagnosis is kind] for kind in Diagnosis]
    assert stats.mannwhitneyu(*groups).pvalue > 0.001


def test_all_parameters_together_do_not_predict_the_class(draws: list[CaseDraw]) -> None:
    table = np.array([[float(value(draw)) for value in VALUES] for draw in draws])
    table = np.column_stack([(table - table.mean(axis=0)) / table.std(axis=0), np.ones(len(table))])
    truth = np.array([draw.diagnosis is Diagnosis.MALIGNANT for draw in draws])
    scores = np.empty(len(draws))
    for half in (slice(0, None, 2), slice(1, None, 2)):
        rest = np.ones(len(draws), bool)
        rest[half] = False
        scores[half] = table[half] @ np.linalg.lstsq(table[rest], truth[rest] - 0.5, rcond=None)[0]
    pairs = stats.mannwhitneyu(scores[truth], scores[~truth]).statistic / (truth.sum() * (~truth).sum())
    assert pairs == pytest.approx(0.5, abs=0.08)


def test_confounders_can_be_tied_to_the_class() -> None:
    settings = PhantomSettings(
        *(160, 2), malignant=80, healed=ByClass(0.6, 0.0), age_years=ByClass(75.0, 55.0), irradiation=ByClass(1.0, 0.0)
    )
    groups = {kind: [draw for draw in drawn(settings, 160) if draw.diagnosis is kind] for kind in Diagnosis}
    benign, malignant = groups[Diagnosis.BENIGN], groups[Diagnosis.MALIGNANT]
    assert np.mean([len(draw.healed) for draw in benign]) == pytest.approx(4 * 0.6, abs=0.4)
    assert not any(draw.healed for draw in malignant)
    assert np.mean([draw.age for draw in benign]) == pytest.approx(75, abs=4)
    assert np.mean([draw.age for draw in malignant]) == pytest.approx(55, abs=4)
    assert all(draw.irradiated for draw in benign)
    assert not any(draw.irradiated for draw in malignant)


def test_irradiated_marrow_forms_one_field_around_the_lesion() -> None:
    bodies = [f"T{n}" for n in range(1, 13)] + [f"L{n}" for n in range(1, 6)]
    for draw in drawn(PhantomSettings(patients=60, irradiation=ByClass(1, 1)), 60):
        field = [spot for spot in draw.spots if spot.kind == "irradiated"]
        places = [bodies.index(spot.level) for spot in field]
        assert places == list(range(places[0], places[-1] + 1))
        assert draw.level in {spot.level for spot in field}
        assert {spot.residual_fat for spot in field} == {field[0].residual_fat}
        assert 0.85 <= field[0].residual_fat <= 0.95
        edges = [spot for spot in field if spot.centre[2] != 0]
        assert all(spot in (field[0], field[-1]) for spot in edges)
        assert all(6 <= spot.radius_mm <= 14 for spot in edges)
        assert draw.level not in {spot.level for spot in edges}


def test_a_draw_depends_on_seed_and_number_alone() -> None:
    settings = PhantomSettings(patients=20, seed=7)
    assert draw_case(settings, 4) == draw_case(PhantomSettings(patients=20, seed=7), 4)
    assert draw_case(settings, 4).lesion != draw_case(PhantomSettings(patients=20, seed=8), 4).lesion
    assert draw_case(settings, 4).habitus != draw_case(settings, 5).habitus
    uids = {draw_case(settings, number).uid("t2w", index) for number in (4, 5) for index in (0, 1)}
    assert len(uids) == 4
    assert draw_case(settings, 4).uid("t2w", 0) in uids


def test_a_lesion_of_another_shape_is_otherwise_the_same() -> None:
    assignment = assign_signs(PhantomSettings(), 3)
    rng = [np.random.default_rng(5) for _ in range(2)]
    flat: LesionDraw = draw_lesion(replace(assignment, shape="entire_concave"), 0.6, rng[0])
    whole = draw_lesion(replace(assignment, shape="none"), 0.6, rng[1])
    assert replace(flat, shape="none", deformity=whole.deformity) == whole


def test_the_motion_dial_scales_the_motion() -> None:
    moving = drawn(PhantomSettings(patients=60), 60)
    still = drawn(PhantomSettings(patients=60, motion=0), 60)
    sizes = [np.linalg.norm(draw.motion_mm) for draw in moving]
    assert 0.5 < np.median(sizes) < 4
    assert max(np.abs(draw.motion_mm).max() for draw in moving) <= 8
    assert all(np.array_equal(draw.t2w_to_t1w, np.eye(4)) for draw in still)
    for draw in moving:
        assert draw.t2w_to_t1w[:3, :3] @ draw.t2w_to_t1w[:3, :3].T == pytest.approx(np.eye(3), abs=1e-12)


def test_series_differ_in_matrix_offset_plane_and_slice_order(draws: list[CaseDraw]) -> None:
    offsets = [draw.field_mm["t1w"][0] - draw.field_mm["t2w"][0] for draw in draws]
    assert np.std(offsets) > 1  # across the slices, so that T1W slices lie between T2W slices
    assert len({draw.t1w.matrix for draw in draws}) > 1
    assert len({draw.t1w.samples for draw in draws} | {draw.t2w.samples for draw in draws}) == 2 * len(VENDORS)
    assert {draw.t2w.reverse for draw in draws} == {draw.t1w.reverse for draw in draws} == {True, False}
    assert any(draw.t1w.reverse != draw.t2w.reverse for draw in draws)
    tilts = np.array([np.subtract(draw.oblique_deg["t1w"], draw.oblique_deg["t2w"]) for draw in draws])
    assert (tilts.std(axis=0) > 0.3).all()
    assert 1.5 < np.std([draw.oblique_deg["t2w"][2] for draw in draws]) < 3.5


def test_3_t_doubles_the_chemical_shift_and_lowers_the_noise() -> None:
    for low, high in zip(*(drawn(PhantomSettings(patients=9, field_t=field), 9) for field in (1.5, 3.0)), strict=True):
        for series in ("t1w", "t2w"):
            one, two = getattr(low, series), getattr(high, series)
            assert one.fat_offset_hz == pytest.approx(220)
            assert two.fat_offset_hz == pytest.approx(440)
            assert two.fat_shift_mm == pytest.approx(2 * one.fat_shift_mm)
            assert two.noise == pytest.approx(0.6 * one.noise)
            assert two.sequence == replace(one.sequence, field_t=3.0)
        assert low.lesion == high.lesion


def test_one_vendor_can_be_fixed() -> None:
    usual = drawn(PhantomSettings(patients=5), 5)
    for name, vendor in VENDORS.items():
        for draw, other in zip(drawn(PhantomSettings(patients=5, vendor=name), 5), usual, strict=True):
            assert draw.vendor == name
            assert draw.motion_mm == other.motion_mm  # the patient is the same
            assert draw.t1w.sequence == other.t1w.sequence
            assert draw.coil.depth_mm == other.coil.depth_mm
            assert draw.t2w.samples == vendor.t2w_samples
            assert draw.t1w.spacing_mm == vendor.spacing_mm
            assert draw.t2w.sequence.train_length == vendor.train_length
            assert vendor.t1w_hz[0] <= draw.t1w.bandwidth_hz <= vendor.t1w_hz[1]
    assert all("SPINEFX" in vendor.manufacturer and "-like" in vendor.manufacturer for vendor in VENDORS.values())


@pytest.mark.parametrize("name", ARTEFACTS)
def test_every_artefact_has_a_recorded_number_and_an_off_switch(name: str) -> None:
    numbers: dict[str, Callable[[CaseDraw], object]] = {
        "chemical_shift": lambda d: (d.t1w.fat_shift_mm, d.t2w.fat_offset_hz),
        "coil": lambda d: d.coil == Coil.uniform() or None,
        "ghosts": lambda d: (d.t1w.ghost, d.t2w.ghost, d.stir.ghost),
        "partial_volume": lambda d: d.t1w.thin * d.t2w.thin,
        "saturation_band": lambda d: (d.t1w.saturation, d.t2w.saturation),
        "zero_fill": lambda d: (d.t1w.samples == (d.t1w.matrix,) * 2) or None,
    }
    nothing = {"chemical_shift": (0, 0), "coil": True, "ghosts": (0, 0, 0), "partial_volume": 1, "zero_fill": True}
    nothing["saturation_band"] = (1, 1)
    plain = drawn(PhantomSettings(patients=12), 12)
    without = drawn(PhantomSettings(patients=12, without=(name,)), 12)
    assert all(numbers[name](draw) == nothing[name] for draw in without)
    assert any(numbers[name](draw) != nothing[name] for draw in plain)
    for other in set(ARTEFACTS) - {name, "zero_fill"}:
        if name != "zero_fill":
            assert [numbers[other](draw) for draw in without] == [numbers[other](draw) for draw in plain]


def test_random_contrast_changes_intensities_alone() -> None:
    for physics, random in zip(
        *(drawn(PhantomSettings(patients=4, contrast=contrast), 4) for contrast in ("physics", "random")), strict=True
    ):
        tables = [getattr(random, series).sequence.brightness for series in ("t1w", "t2w", "stir", "localizer")]
        assert len(set(tables)) == 4
        assert not physics.t1w.sequence.brightness
        here, there = ({**asdict(truth_of(draw)), "t2w_sop_uids": ()} for draw in (physics, random))
        assert str(here) == str(there)
        assert dict(json.loads(json.dumps(asdict(random.t1w)))["sequence"]["brightness"]).keys() >= {"csf", "muscle"}


@pytest.mark.parametrize(
    "wrong",
    [
        *({"patients": 0}, {"difficulty": 1.1}, {"malignant": 191}, {"malignant": 1.5}, {"matrix": 32}, {"noise": -1}),
        *({"seed": -1}, {"field_t": 7.0}, {"vendor": "hitachi"}, {"without": ("stripes",)}, {"contrast": "flat"}),
        *({"cement": ByClass(0, 2)}, {"healed": ByClass(-1, 0)}, {"age_years": ByClass(20, 60)}),
        *({"no_collapse": ByClass(0.5, 1.5)}, {"irradiation": ByClass(float("nan"), 0)}),
    ],
)
def test_dials_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="Expected: "):
        PhantomSettings(**wrong)  # type: ignore[arg-type]


def test_a_patient_outside_the_cohort_is_refused() -> None:
    with pytest.raises(RecipeError, match="1 to 3"):
        draw_case(PhantomSettings(patients=3), 4)


def test_case_names_and_numbers_are_inverse() -> None:
    assert [case_number(name) for name in ("phantom-001", "phantom-042", "phantom-10000")] == [1, 42, 10000]
    for wrong in ("phantom-1", "PHANTOM001", "phantom-", "phantom-0x1", "phantom-\u0661\u0661\u0661", "7"):
        with pytest.raises(RecipeError, match="phantom-017"):
            case_number(wrong)


def test_random_streams_are_independent() -> None:
    settings = PhantomSettings()
    firsts = {float(settings.generator(number, stream).random()) for number in range(1, 40) for stream in Stream}
    assert len(firsts) == 39 * len(Stream)


def test_skip_lesions_may_leave_few_levels_for_healed_fractures() -> None:
    settings = PhantomSettings(patients=300, malignant=0.5, force=("skip_lesions",), healed=ByClass(1, 1))
    draws = [draw_case(settings, number) for number in range(1, 301)]
    assert {len(draw.healed) for draw in draws} >= {2, 4}
    assert not any(
        set(draw.healed) & {spot.level for spot in draw.spots if spot.kind == "metastasis"} for draw in draws
    )

"""What is drawn: the margins of Table 1, nothing else that tells the class, and the same draw every time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from spinefx.errors import RecipeError
from spinefx.phantom.draws import CaseDraw, PhantomSettings, draw_case
from spinefx.phantom.lesion import LesionDraw, draw_lesion
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis

# Yeh 2022, Table 1: malignant of 50, benign of 140.
COUNTS = [(17, 3), (7, 77), (25, 54), (14, 59), (0, 48), (0, 37), (2, 44), (5, 14), (1, 8), (44, 31)]
COUNTS += [(11, 0), (16, 19), (22, 1), (5, 0), (39, 8)]
TABLE_1 = dict(zip(SIGN_IDENTIFIERS, COUNTS, strict=True))
DRAWS = 2000


@pytest.fixture(scope="module")
def lesions() -> dict[Diagnosis, list[LesionDraw]]:
    return {kind: [draw_lesion(kind, 0.6, np.random.default_rng([9, n])) for n in range(DRAWS)] for kind in Diagnosis}


@pytest.fixture(scope="module")
def draws() -> list[CaseDraw]:
    settings = PhantomSettings(patients=600, malignant=300, seed=3)
    return [draw_case(settings, number) for number in range(1, 601)]


@pytest.mark.parametrize("sign", SIGN_IDENTIFIERS)
def test_margins_are_those_of_table_1(sign: str, lesions: dict[Diagnosis, list[LesionDraw]]) -> None:
    for kind, count, total in zip((Diagnosis.MALIGNANT, Diagnosis.BENIGN), TABLE_1[sign], (50, 140), strict=True):
        share = np.mean([lesion.signs[sign] for lesion in lesions[kind]])
        assert share == pytest.approx(count / total, abs=0.03), kind


def test_signs_that_exclude_each_other_never_meet(lesions: dict[Diagnosis, list[LesionDraw]]) -> None:
    for lesion in (*lesions[Diagnosis.BENIGN], *lesions[Diagnosis.MALIGNANT]):
        signs = lesion.signs
        assert signs["anterior_wedge"] + signs["entire_body_compression"] + signs["absence_of_collapse"] <= 1
        assert signs["homogeneous_marrow"] + signs["band_pattern_oedema"] + signs["diffuse_signal_change"] <= 1
        assert not (signs["absence_of_collapse"] and (signs["homogeneous_marrow"] or signs["central_concave"]))


def test_numbers_match_their_signs(lesions: dict[Diagnosis, list[LesionDraw]]) -> None:
    for lesion in (*lesions[Diagnosis.BENIGN], *lesions[Diagnosis.MALIGNANT]):
        signs, shape = lesion.signs, lesion.deformity
        assert (shape.posterior >= 0.22) == signs["entire_body_compression"]
        assert (shape.anterior >= 0.2) == (signs["anterior_wedge"] or signs["entire_body_compression"])
        assert (shape.bulge_mm > 0) == signs["ap_protrusion"]
        assert bool(lesion.nodules) == signs["nodular_lesion"]
        assert (lesion.epidural[0] > 0) == signs["epidural_paraspinal_mass"]
        assert (lesion.pedicle[0] != 0) == signs["pedicle_posterior_element"]
        assert (lesion.skips > 0) == signs["skip_lesions"]


def test_difficulty_moves_the_fat_fractions_together() -> None:
    def gap(difficulty: float) -> float:
        means = [
            np.mean([draw_lesion(kind, difficulty, np.random.default_rng([4, n])).residual_fat for n in range(400)])
            for kind in (Diagnosis.BENIGN, Diagnosis.MALIGNANT)
        ]
        return float(means[0] - means[1])

    assert gap(0.0) == pytest.approx(0.20, abs=0.02)
    assert gap(0.0) > gap(0.6) + 0.05 > gap(1.0) + 0.05


@pytest.mark.parametrize(
    "value",
    [
        lambda d: d.t1w.noise,
        lambda d: d.t2w.noise,
        lambda d: d.t1w.slices,
        lambda d: d.t2w.slices,
        lambda d: d.t2w.gain,
        lambda d: d.t1w.sequence.repetition_ms,
        lambda d: d.t2w.sequence.echo_ms,
        lambda d: d.coil.depth_mm,
        lambda d: d.t2w.bandwidth_hz,
        lambda d: d.age,
        lambda d: d.sex == "F",
        lambda d: d.field_mm["t2w"][2],
        lambda d: d.table_mm[1],
        lambda d: np.linalg.norm(d.motion_mm),
        lambda d: d.habitus.marrow_fat,
        lambda d: d.habitus.marrow_texture,
        lambda d: int(d.level[1:]) + (12 if d.level[0] == "L" else 0),
        lambda d: sum(spot.kind == "haemangioma" for spot in d.spots),
        lambda d: int(d.study_date),
    ],
)
def test_nothing_outside_the_table_tells_the_class(value: Callable[[CaseDraw], float], draws: list[CaseDraw]) -> None:
    groups = [[float(value(draw)) for draw in draws if draw.diagnosis is kind] for kind in Diagnosis]
    assert stats.mannwhitneyu(*groups).pvalue > 0.001


def test_the_number_of_malignant_patients_is_exact() -> None:
    settings = PhantomSettings(patients=190)
    assert settings.malignant == 50
    kinds = [draw_case(settings, number).diagnosis for number in range(1, 191)]
    assert kinds.count(Diagnosis.MALIGNANT) == 50
    assert kinds != sorted(kinds)


def test_a_draw_depends_on_seed_and_number_alone() -> None:
    settings = PhantomSettings(patients=20, seed=7)
    assert draw_case(settings, 4) == draw_case(PhantomSettings(patients=20, seed=7), 4)
    assert draw_case(settings, 4).lesion != draw_case(PhantomSettings(patients=20, seed=8), 4).lesion
    assert draw_case(settings, 4).habitus != draw_case(settings, 5).habitus


def test_the_motion_dial_scales_the_motion() -> None:
    moving = [draw_case(PhantomSettings(patients=60), number) for number in range(1, 61)]
    still = [draw_case(PhantomSettings(patients=60, motion=0), number) for number in range(1, 61)]
    sizes = [np.linalg.norm(draw.motion_mm) for draw in moving]
    assert 0.5 < np.median(sizes) < 4
    assert max(np.abs(draw.motion_mm).max() for draw in moving) <= 8
    assert all(np.array_equal(draw.t2w_to_t1w, np.eye(4)) for draw in still)
    for draw in moving:
        assert draw.t2w_to_t1w[:3, :3] @ draw.t2w_to_t1w[:3, :3].T == pytest.approx(np.eye(3), abs=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [{"patients": 0}, {"difficulty": 1.1}, {"malignant": 191}, {"matrix": 32}, {"noise": -1}, {"seed": -1}],
)
def test_dials_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="allowed"):
        PhantomSettings(**wrong)  # type: ignore[arg-type]


def test_a_patient_outside_the_cohort_is_refused() -> None:
    with pytest.raises(RecipeError, match="1 to 3"):
        draw_case(PhantomSettings(patients=3), 4)

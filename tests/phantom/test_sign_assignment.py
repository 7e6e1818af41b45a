"""Signs of a whole cohort: exactly the counts of Table 1, the joint rules behind them, forced and forbidden signs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from spinefx.errors import RecipeError
from spinefx.phantom import sign_assignment
from spinefx.phantom.settings import ByClass, PhantomSettings
from spinefx.phantom.sign_assignment import SignAssignment, assign_signs
from spinefx.phantom.sign_rules import allowed_cells, joint
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis

# Yeh 2022, Table 1: malignant of 50, benign of 140.
COUNTS = [(17, 3), (7, 77), (25, 54), (14, 59), (0, 48), (0, 37), (2, 44), (5, 14), (1, 8), (44, 31)]
COUNTS += [(11, 0), (16, 19), (22, 1), (5, 0), (39, 8)]
BENIGN, MALIGNANT = Diagnosis.BENIGN, Diagnosis.MALIGNANT
SIZES = {MALIGNANT: 50, BENIGN: 140}
MANY = 5000
CLEFT = (0, 0.07, 0.12, 0.07)

# Never together, in any patient.
APART = [
    *combinations(("absence_of_collapse", "anterior_wedge", "entire_body_compression"), 2),
    *combinations(("homogeneous_marrow", "band_pattern_oedema", "diffuse_signal_change"), 2),
    ("absence_of_collapse", "central_concave"),
    ("absence_of_collapse", "homogeneous_marrow"),
    ("absence_of_collapse", "fluid_necrotic_cleft"),
    ("homogeneous_marrow", "nodular_lesion"),
    ("homogeneous_marrow", "fluid_necrotic_cleft"),
    ("homogeneous_marrow", "epidural_paraspinal_mass"),
]


def cohort(settings: PhantomSettings) -> dict[Diagnosis, list[SignAssignment]]:
    assigned = [assign_signs(settings, number) for number in range(1, settings.patients + 1)]
    return {kind: [patient for patient in assigned if patient.diagnosis is kind] for kind in Diagnosis}


def count(assigned: list[SignAssignment], sign: str) -> int:
    return sum(patient.signs[sign] for patient in assigned)


@pytest.fixture(scope="module")
def many() -> dict[Diagnosis, list[SignAssignment]]:
    return cohort(PhantomSettings(patients=2 * MANY, malignant=MANY, seed=9))


@pytest.mark.parametrize("seed", [0, 1, 7, 42, 2**40])
def test_counts_are_exactly_those_of_table_1(seed: int) -> None:
    assigned = cohort(PhantomSettings(seed=seed))
    assert {kind: len(found) for kind, found in assigned.items()} == SIZES
    for sign, (malignant, benign) in zip(SIGN_IDENTIFIERS, COUNTS, strict=True):
        assert (count(assigned[MALIGNANT], sign), count(assigned[BENIGN], sign)) == (malignant, benign), sign


@pytest.mark.parametrize("patients", [1, 9, 48, 95, 131, 380, 570])
def test_other_cohort_sizes_get_the_rounded_share(patients: int) -> None:
    assigned = cohort(PhantomSettings(patients=patients, seed=3))
    for sign, counts in zip(SIGN_IDENTIFIERS, COUNTS, strict=True):
        for kind, expected in zip((MALIGNANT, BENIGN), counts, strict=True):
            share = expected / SIZES[kind] * len(assigned[kind])
            assert abs(count(assigned[kind], sign) - share) < 1
            assert patients % 190 or count(assigned[kind], sign) == round(share)


def given(assigned: list[SignAssignment], sign: str, condition: Callable[[SignAssignment], bool]) -> float:
    return float(np.mean([patient.signs[sign] for patient in assigned if condition(patient)]))


@pytest.mark.parametrize(
    ("kind", "sign", "condition", "expected"),
    [
        *((BENIGN, "dark_line_band", ("marrow", m), p) for m, p in zip("hbdp", (0.05, 0.45, 0.26, 0.40), strict=True)),
        *(
            (BENIGN, "fluid_necrotic_cleft", ("marrow", m), p)
            for m, p in zip("hbdp", (0, 0.07, 0.12, 0.07), strict=True)
        ),
        *((BENIGN, "dark_patch", ("marrow", m), p) for m, p in zip("hbdp", (0.06, 0.08, 0.10, 0.27), strict=True)),
        *((BENIGN, "ap_protrusion", ("shape", s), p) for s, p in zip("ewcn", (0.22, 0.08, 0.15, 0), strict=True)),
        (BENIGN, "epidural_paraspinal_mass", ("marrow", "b"), 0.0133),
        (BENIGN, "epidural_paraspinal_mass", ("marrow", "p"), 0),
        (BENIGN, "skip_lesions", ("shape", "e"), 0.057),
        (MALIGNANT, "nodular_lesion", ("marrow", "n"), 1),
        (MALIGNANT, "nodular_lesion", ("marrow", "d"), 0.16),
        (MALIGNANT, "dark_patch", ("marrow", "d"), 0.10),
        (MALIGNANT, "fluid_necrotic_cleft", ("shape", "e"), 0.03),
        (MALIGNANT, "fluid_necrotic_cleft", ("shape", "n"), 0),
        (MALIGNANT, "ap_protrusion", ("shape", "n"), 0.25),
        (MALIGNANT, "ap_protrusion", ("shape", "w"), 0.355),
        (MALIGNANT, "epidural_paraspinal_mass", ("ap_protrusion", True), 0.70),
        (MALIGNANT, "epidural_paraspinal_mass", ("ap_protrusion", False), 0.32),
        (MALIGNANT, "pedicle_posterior_element", ("epidural_paraspinal_mass", True), 0.18),
        (MALIGNANT, "pedicle_posterior_element", ("epidural_paraspinal_mass", False), 0.037),
        (MALIGNANT, "skip_lesions", ("marrow", "d"), 0.78),
    ],
)
def test_joint_rules_hold_over_many_draws(
    kind: Diagnosis,
    sign: str,
    condition: tuple[str, object],
    expected: float,
    many: dict[Diagnosis, list[SignAssignment]],
) -> None:
    what, value = condition

    def chosen(patient: SignAssignment) -> bool:
        if what in SIGN_IDENTIFIERS:
            return patient.signs[what] is value
        return str(getattr(patient, what)).startswith(str(value))

    assert given(many[kind], sign, chosen) == pytest.approx(expected, abs=0.01)


def test_marrow_and_shape_are_associated(many: dict[Diagnosis, list[SignAssignment]]) -> None:
    def odds(shape: str, marrow: str, other_shape: str, other_marrow: str) -> float:
        def cell(one: str, two: str) -> int:
            return sum(patient.shape == one and patient.marrow == two for patient in many[BENIGN])

        return (cell(shape, marrow) * cell(other_shape, other_marrow)) / (
            cell(shape, other_marrow) * cell(other_shape, marrow)
        )

    assert odds("wedge", "band", "entire", "homogeneous") == pytest.approx(1.8, rel=0.03)
    assert odds("entire", "diffuse", "wedge", "homogeneous") == pytest.approx(1.8, rel=0.03)
    assert odds("entire_concave", "partial", "entire", "homogeneous") == pytest.approx(1.8, rel=0.06)


def test_cells_are_unbiased() -> None:
    """Controlled rounding favours no cell: over many cohorts each has its expected count."""
    total = np.zeros((6, 5))
    rounds = 300
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        counts = sign_assignment._cells(PhantomSettings(), BENIGN, 140, rng).reshape(6, 5)
        assert np.abs(counts - 140 * joint(BENIGN)).max() < 1
        total += counts
    assert np.abs(total / rounds - 140 * joint(BENIGN)).max() < 4.5 * 0.5 / np.sqrt(rounds)


def test_signs_that_exclude_each_other_never_occur_together(many: dict[Diagnosis, list[SignAssignment]]) -> None:
    for assigned in many.values():
        for one, other in APART:
            assert not any(patient.signs[one] and patient.signs[other] for patient in assigned), (one, other)


def test_an_assignment_depends_on_settings_and_number_alone() -> None:
    settings = PhantomSettings(patients=60, seed=7)
    forward = [assign_signs(settings, number) for number in range(1, 61)]
    sign_assignment._class_assignments.cache_clear()
    assert [assign_signs(settings, number) for number in range(60, 0, -1)] == forward[::-1]
    assert [
        assign_signs(replace(settings, noise=0, motion=0, difficulty=1), number) for number in range(1, 61)
    ] == forward
    assert [assign_signs(replace(settings, seed=8), number) for number in range(1, 61)] != forward


@pytest.mark.parametrize("sign", SIGN_IDENTIFIERS)
def test_any_sign_can_be_forced_or_forbidden_in_both_classes(sign: str) -> None:
    for settings in (PhantomSettings(force=(sign,)), PhantomSettings(forbid=(sign,))):
        for kind, assigned in cohort(settings).items():
            assert len(assigned) == SIZES[kind]
            assert count(assigned, sign) == (len(assigned) if settings.force else 0)
            for one, other in APART:
                assert not any(patient.signs[one] and patient.signs[other] for patient in assigned), (one, other)
            assert all(patient.marrow != "nodules" or patient.signs["nodular_lesion"] for patient in assigned)


@pytest.mark.parametrize("sign", ["dark_patch", "dark_line_band", "skip_lesions", "pedicle_posterior_element"])
def test_forcing_a_sign_does_not_change_independent_signs(sign: str) -> None:
    for free, forced in zip(
        cohort(PhantomSettings()).values(), cohort(PhantomSettings(force=(sign,))).values(), strict=True
    ):
        for one, other in zip(free, forced, strict=True):
            assert {**one.signs, sign: True} == other.signs
            assert (one.shape, one.marrow) == (other.shape, other.marrow)


@pytest.mark.parametrize(
    ("force", "forbid", "message"),
    [
        (("anterior_wedge", "entire_body_compression"), (), "anterior_wedge and entire_body_compression"),
        (
            ("nodular_lesion", "homogeneous_marrow"),
            (),
            "nodular_lesion and homogeneous_marrow are both forced but exclude",
        ),
        (("absence_of_collapse", "fluid_necrotic_cleft"), (), "exclude each other"),
        (("dark_patch",), ("dark_patch",), "dark_patch is both forced and forbidden"),
        (("dark_spot",), (), "force names 'dark_spot'.*dark_patch"),
        ((), ("absence_of_collapse", "anterior_wedge", "entire_body_compression", "central_concave"), "no combi"),
        (("fluid_necrotic_cleft",), ("anterior_wedge", "entire_body_compression", "central_concave"), "no combi"),
    ],
)
def test_impossible_combinations_are_refused_by_name(
    force: tuple[str, ...], forbid: tuple[str, ...], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        PhantomSettings(force=force, forbid=forbid)


def test_exactly_the_pairs_that_exclude_each_other_are_refused() -> None:
    apart = {frozenset(pair) for pair in APART}
    for pair in combinations(SIGN_IDENTIFIERS, 2):
        if frozenset(pair) in apart:
            with pytest.raises(RecipeError, match="exclude"):
                allowed_cells(pair, ())
        else:
            assert allowed_cells(pair, ()).any()


def test_cement_can_be_tied_to_the_class_or_freed_from_it() -> None:
    usual = cohort(PhantomSettings())
    assert [sum(patient.cement for patient in usual[kind]) for kind in (BENIGN, MALIGNANT)] == [8, 3]
    assert all(patient.signs["dark_patch"] for assigned in usual.values() for patient in assigned if patient.cement)
    tied = cohort(PhantomSettings(cement=ByClass(0.5, 0.0)))
    assert [sum(patient.cement for patient in tied[kind]) for kind in (BENIGN, MALIGNANT)] == [70, 0]
    assert count(tied[BENIGN], "dark_patch") == 70
    assert count(tied[MALIGNANT], "dark_patch") == 5
    few = cohort(PhantomSettings(cement=ByClass(0.0, 0.04)))
    assert [count(few[kind], "dark_patch") for kind in (BENIGN, MALIGNANT)] == [14, 5]
    none = cohort(PhantomSettings(cement=ByClass(1, 1), forbid=("dark_patch",)))
    assert not any(patient.cement or patient.signs["dark_patch"] for assigned in none.values() for patient in assigned)


def test_irradiation_separates_the_classes_unless_its_dial_is_turned() -> None:
    usual = cohort(PhantomSettings())
    assert [sum(patient.irradiated for patient in usual[kind]) for kind in (BENIGN, MALIGNANT)] == [0, 4]
    free = cohort(PhantomSettings(irradiation=ByClass(0.1, 0.1)))
    assert [sum(patient.irradiated for patient in free[kind]) for kind in (BENIGN, MALIGNANT)] == [14, 5]
    assert [patient.signs for patient in free[BENIGN]] == [patient.signs for patient in usual[BENIGN]]


@pytest.mark.parametrize(("benign", "malignant"), [(0.2, 0.2), (0.0, 0.0), (1.0, 0.5)])
def test_the_share_without_collapse_is_a_dial(benign: float, malignant: float) -> None:
    assigned = cohort(PhantomSettings(no_collapse=ByClass(benign, malignant)))
    for kind, share in ((BENIGN, benign), (MALIGNANT, malignant)):
        assert abs(count(assigned[kind], "absence_of_collapse") - share * SIZES[kind]) <= 3
        assert abs(count(assigned[kind], "skip_lesions") - (8 if kind is BENIGN else 39)) <= 1
    if benign < 1:
        wedges, crushed = (count(assigned[BENIGN], sign) for sign in ("anterior_wedge", "entire_body_compression"))
        assert wedges / crushed == pytest.approx(77 / 54, rel=0.12)


def test_malignant_patients_are_a_number_or_a_share() -> None:
    for given_as, expected in ((None, 50), (12, 12), (0, 0), (0.5, 95), (1.0, 190), (190, 190)):
        assert len(cohort(PhantomSettings(malignant=given_as))[MALIGNANT]) == expected

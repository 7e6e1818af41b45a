"""The cohort, and how the predictions of slices become a reading of the patient."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.cases.cohort import Case, Cohort
from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.reading import Prediction, Reading, SignScores, patient_probability, patient_readings
from spinefx.errors import InputError
from spinefx.vocabulary import SIGN_IDENTIFIERS, SIGNS, Arm, Diagnosis, Score, TruthSource, is_anomalous_level


def case(number: int, diagnosis: Diagnosis = Diagnosis.BENIGN) -> Case:
    lesion = Lesion(Box((0.0, 0.0, float(number)), 30.0), 4, 6, "L1")
    return Case(f"sub-{number:03d}", f"sub-{number:03d}", lesion, diagnosis, TruthSource.FOLLOW_UP, "sha256:0")


def test_a_cohort_orders_counts_and_names_its_cases() -> None:
    cohort = Cohort((case(2), case(1, Diagnosis.MALIGNANT)))
    assert [one.case_id for one in cohort] == ["sub-001", "sub-002"]
    assert (cohort.count(Diagnosis.MALIGNANT), cohort.count(Diagnosis.BENIGN), len(cohort)) == (1, 1, 2)
    assert cohort.digest == Cohort((case(1, Diagnosis.MALIGNANT), case(2))).digest
    moved = replace(case(2), lesion=Lesion(Box((0.1, 0.0, 2.0), 30.0), 4, 6, "L1"))
    for other in (moved, replace(case(2), images_digest="sha256:1"), replace(case(2), truth_source=TruthSource.BIOPSY)):
        assert Cohort((case(1, Diagnosis.MALIGNANT), other)).digest != cohort.digest


def test_repeated_cases_and_two_diagnoses_are_refused() -> None:
    with pytest.raises(InputError, match="case_id sub-001 occurs 2 times"):
        Cohort((case(1), case(1)))
    second = replace(case(1, Diagnosis.MALIGNANT), case_id="sub-001-b")
    with pytest.raises(InputError, match="two different diagnoses"):
        Cohort((case(1), second))


def prediction(case_id: str, slice_index: int, probability: float) -> Prediction:
    return Prediction(case_id, case_id, slice_index, probability, probability / 2, 1, "sha256:0")


def test_a_patient_has_the_probability_of_the_highest_slice() -> None:
    slices = [prediction("b", 3, 0.2), prediction("a", 1, 0.1), prediction("a", 2, 0.5), prediction("b", 4, 0.49)]
    first, second = patient_readings(slices, reader_id="model")
    assert (first.case_id, first.diagnosis, first.confidence) == ("a", Diagnosis.MALIGNANT, 50)
    assert (second.diagnosis, second.confidence) == (Diagnosis.BENIGN, 49)
    corrected = patient_readings(slices, reader_id="model", corrected=True)
    assert [reading.confidence for reading in corrected] == [25, 24.5]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_rules_from_slices_to_patient(values: list[float]) -> None:
    highest, mean, noisy = (patient_probability(values, rule) for rule in ("max", "mean", "noisy_or"))
    assert highest == max(values)
    assert min(values) - 1e-9 <= mean <= highest + 1e-9
    assert highest - 1e-9 <= noisy <= 1
    with pytest.raises(InputError, match="median"):
        patient_probability(values, "median")


def test_answers_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="probability"):
        prediction("a", 1, 1.2)
    with pytest.raises(InputError, match="confidence"):
        Reading("a", "r", Arm.UNAIDED, Diagnosis.BENIGN, confidence=101)
    with pytest.raises(InputError, match="reading time"):
        Reading("a", "r", Arm.UNAIDED, Diagnosis.BENIGN, seconds=-1)
    with pytest.raises(InputError, match="no slice probabilities"):
        patient_probability([])
    scores = dict.fromkeys(SIGN_IDENTIFIERS[1:], Score.NO)
    with pytest.raises(InputError, match=f"missing: {SIGN_IDENTIFIERS[0]}; unknown: none"):
        SignScores("a", "r", scores)


def test_the_signs_are_the_papers_fifteen() -> None:
    assert len(SIGNS) == 15
    assert [sign.identifier for sign in SIGNS if not sign.in_box] == [
        "epidural_paraspinal_mass",
        "pedicle_posterior_element",
        "skip_lesions",
    ]
    assert is_anomalous_level("L6")
    assert not is_anomalous_level("L5")

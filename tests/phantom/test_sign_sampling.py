"""Signs that are dealt more often: weights restore Table 1, and exclusions hold."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from spinefx.errors import RecipeError
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.settings import PhantomSettings
from spinefx.phantom.sign_assignment import SignAssignment, assign_signs
from spinefx.phantom.sign_rules import PATIENTS, TABLE_1
from spinefx.phantom.sign_sampling import sign_law
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis

RARE = ("fluid_necrotic_cleft", "nodular_lesion", "pedicle_posterior_element", "dark_patch")
SETTINGS = PhantomSettings(patients=4000, seed=2, malignant=0.5, oversample=RARE, oversample_factor=5.0)


@pytest.fixture(scope="module")
def assigned() -> dict[Diagnosis, list[SignAssignment]]:
    patients = [assign_signs(SETTINGS, number) for number in range(1, SETTINGS.patients + 1)]
    return {kind: [patient for patient in patients if patient.diagnosis is kind] for kind in Diagnosis}


@pytest.mark.parametrize("kind", list(Diagnosis))
def test_the_joint_law_has_the_margins_of_table_1(kind: Diagnosis) -> None:
    law = sign_law(kind)
    assert law.probability.sum() == pytest.approx(1)
    for column, sign in enumerate(SIGN_IDENTIFIERS):
        share = float(law.probability @ law.signs[:, column])
        assert share == pytest.approx(TABLE_1[kind][sign] / PATIENTS[kind], abs=0.008), sign


@pytest.mark.parametrize("kind", list(Diagnosis))
def test_weights_restore_table_1_within_sampling_error(
    assigned: dict[Diagnosis, list[SignAssignment]], kind: Diagnosis
) -> None:
    weights = np.array([patient.weight for patient in assigned[kind]])
    size = len(weights)
    assert weights.mean() == pytest.approx(1, abs=4 * weights.std() / np.sqrt(size) + 1e-9)
    for sign in SIGN_IDENTIFIERS:
        shown = np.array([patient.signs[sign] for patient in assigned[kind]], float)
        share = TABLE_1[kind][sign] / PATIENTS[kind]
        found = (weights * shown).sum() / weights.sum()
        error = np.sqrt((weights**2 * (shown - found) ** 2).sum()) / weights.sum()
        assert abs(found - share) < 4 * error + 0.008, sign
        if sign in RARE and 0 < share < 0.2:
            assert shown.mean() > 2 * share, sign


def test_exclusions_hold_where_signs_are_dealt_more_often(assigned: dict[Diagnosis, list[SignAssignment]]) -> None:
    for patient in (*assigned[Diagnosis.BENIGN], *assigned[Diagnosis.MALIGNANT]):
        signs = patient.signs
        assert not (signs["anterior_wedge"] and signs["entire_body_compression"])
        assert not (signs["homogeneous_marrow"] and (signs["nodular_lesion"] or signs["fluid_necrotic_cleft"]))
        assert not (signs["absence_of_collapse"] and signs["fluid_necrotic_cleft"])
        assert sum(signs[s] for s in ("homogeneous_marrow", "band_pattern_oedema", "diffuse_signal_change")) <= 1
        assert patient.signs["dark_patch"] or not patient.cement


def test_a_usual_cohort_has_weights_of_one_and_records_none(tmp_path: Path) -> None:
    assert assign_signs(PhantomSettings(), 3).weight == 1
    write_cohort(tmp_path / "cohort", PhantomSettings(patients=1, matrix=64), readers=False)
    assert not (tmp_path / "cohort" / "weights.csv").exists()
    truth = json.loads((tmp_path / "cohort" / "truth.json").read_text(encoding="utf-8"))
    assert "sampling_weight" not in truth["cases"][0]["drawn"]
    assert "oversample" not in truth["settings"]


def test_a_cohort_records_the_weight_of_every_patient(tmp_path: Path) -> None:
    settings = PhantomSettings(patients=2, matrix=64, oversample=RARE)
    write_cohort(tmp_path / "cohort", settings, readers=False)
    with (tmp_path / "cohort" / "weights.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    truth = json.loads((tmp_path / "cohort" / "truth.json").read_text(encoding="utf-8"))
    for number, (row, case) in enumerate(zip(rows, truth["cases"], strict=True), start=1):
        assert row["patient"] == case["truth"]["patient_id"]
        assert float(row["sampling_weight"]) == pytest.approx(assign_signs(settings, number).weight, rel=1e-5)
        assert case["drawn"]["sampling_weight"] == pytest.approx(assign_signs(settings, number).weight)


def test_signs_dealt_more_often_are_not_also_forced() -> None:
    with pytest.raises(RecipeError, match="oversample"):
        PhantomSettings(oversample=("dark_patch",), force=("dark_patch",))
    with pytest.raises(RecipeError, match="oversample"):
        PhantomSettings(oversample=("patch",))

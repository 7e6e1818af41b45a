"""Simulated readers: as accurate as those of Table 2, with the errors of the paper's novice, and reproducible."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spinefx.errors import RecipeError
from spinefx.phantom.random_streams import CaseDraw, PhantomSettings, draw_case
from spinefx.phantom.simulated_readers import READERS, SimulatedReader, SimulatedReading, read_case, readings_of
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis, Score

SEEDS, PATIENTS = 20, 190
BY_NAME = {reader.reader_id: reader for reader in READERS}
# Yeh 2022, Table 2: of 50 malignant and of 140 benign.
TABLE_2 = {"msk_senior": (47 / 50, 139 / 140), "resident_r4": (47 / 50, 135 / 140), "resident_r1": (39 / 50, 86 / 140)}
# The paper's error analysis of the first-year resident: shares of 54 false positives and of 86 true negatives.
ERROR_ANALYSIS = {
    "diffuse_signal_change": (20 / 54, 11 / 86),
    "band_pattern_oedema": (24 / 54, 20 / 86),
    "homogeneous_marrow": (6 / 54, 42 / 86),
}
# A reader who perceives every sign correctly and applies the likelihood ratios in full.
IDEAL = SimulatedReader("ideal", 0, 0, 0, evidence_weight=1, bias=0, gestalt=0, variability=0, seconds=(60, 0))
COUNTS = [(17, 3), (7, 77), (25, 54), (14, 59), (0, 48), (0, 37), (2, 44), (5, 14), (1, 8), (44, 31)]
COUNTS += [(11, 0), (16, 19), (22, 1), (5, 0), (39, 8)]


@pytest.fixture(scope="module")
def draws() -> list[CaseDraw]:
    """Twenty cohorts of 190 patients, one after the other."""
    return [
        draw_case(PhantomSettings(patients=PATIENTS, seed=seed), number)
        for seed in range(1, SEEDS + 1)
        for number in range(1, PATIENTS + 1)
    ]


@pytest.fixture(scope="module")
def read(draws: list[CaseDraw]) -> dict[str, list[SimulatedReading]]:
    """Every reader's readings of all patients."""
    readings = [readings_of(draw) for draw in draws]
    return {name: [of_case[name] for of_case in readings] for name in BY_NAME}


def malignant(draws: list[CaseDraw]) -> NDArray[np.bool_]:
    return np.array([draw.diagnosis is Diagnosis.MALIGNANT for draw in draws])


def called(readings: list[SimulatedReading]) -> NDArray[np.bool_]:
    return np.array([reading.diagnosis is Diagnosis.MALIGNANT for reading in readings])


def accuracy(reader: SimulatedReader, draws: list[CaseDraw]) -> float:
    rng = np.random.default_rng(3)
    readings = [read_case(reader, draw.diagnosis, draw.lesion.signs, rng) for draw in draws]
    return float((called(readings) == malignant(draws)).mean())


@pytest.mark.parametrize("name", TABLE_2)
def test_readers_are_as_accurate_as_those_of_table_2(
    name: str, draws: list[CaseDraw], read: dict[str, list[SimulatedReading]]
) -> None:
    truth, answers = (values.reshape(SEEDS, PATIENTS) for values in (malignant(draws), called(read[name])))
    sensitivity = np.mean([answer[true].mean() for true, answer in zip(truth, answers, strict=True)])
    specificity = np.mean([1 - answer[~true].mean() for true, answer in zip(truth, answers, strict=True)])
    assert (sensitivity, specificity) == pytest.approx(TABLE_2[name], abs=0.05)


def test_experience_raises_accuracy(draws: list[CaseDraw], read: dict[str, list[SimulatedReading]]) -> None:
    senior, fourth, first = ((called(read[name]) == malignant(draws)).mean() for name in TABLE_2)
    assert senior > fourth > first + 0.2
    assert senior > accuracy(replace(IDEAL, bias=np.log(50 / 140)), draws) > 0.93, (
        "signs alone do not explain the senior reader"
    )
    signs_alone = replace(
        BY_NAME["msk_senior"], gestalt=0.0, variability=0.0, bias=-1.0
    )  # the best bias without gestalt
    assert accuracy(signs_alone, draws) < senior - 0.01


@pytest.mark.parametrize("sign", ERROR_ANALYSIS)
def test_the_novice_errs_on_the_signs_of_the_papers_error_analysis(
    sign: str, draws: list[CaseDraw], read: dict[str, list[SimulatedReading]]
) -> None:
    answers, benign = called(read["resident_r1"]), ~malignant(draws)
    present = np.array([draw.lesion.signs[sign] for draw in draws])
    false_positive = present[benign & answers].mean()
    true_negative = present[benign & ~answers].mean()
    published = ERROR_ANALYSIS[sign]
    assert (false_positive > true_negative) == (published[0] > published[1])
    assert (false_positive, true_negative) == pytest.approx(published, abs=0.08)


@pytest.mark.parametrize("name", BY_NAME)
def test_signs_are_missed_and_falsely_seen_at_the_given_rates(
    name: str, draws: list[CaseDraw], read: dict[str, list[SimulatedReading]]
) -> None:
    reader = BY_NAME[name]
    scores = np.array([[reading.scores[sign] for sign in SIGN_IDENTIFIERS] for reading in read[name]])
    present = np.array([[draw.lesion.signs[sign] for sign in SIGN_IDENTIFIERS] for draw in draws])
    assessed = scores != Score.NOT_ASSESSABLE
    assert 1 - assessed.mean() == pytest.approx(reader.not_assessable_rate, rel=0.15)
    for column, sign in enumerate(SIGN_IDENTIFIERS):
        chances = reader.rates_by_sign.get(sign, (reader.miss_rate, reader.false_alarm_rate))
        for kind, wrong, chance in zip((True, False), (Score.NO, Score.YES), chances, strict=True):
            where = assessed[:, column] & (present[:, column] == kind)
            if where.any():
                spread = np.sqrt(chance * (1 - chance) / where.sum())
                assert (scores[where, column] == wrong).mean() == pytest.approx(
                    chance, abs=4.5 * spread + 1.5 / where.sum()
                ), sign


def test_log_odds_follow_the_counts_of_table_1(draws: list[CaseDraw]) -> None:
    for draw in draws[:40]:
        expected = 0.0
        for sign, (of_50, of_140) in zip(SIGN_IDENTIFIERS, COUNTS, strict=True):
            shares = (of_50 + 0.5) / 51, (of_140 + 0.5) / 141
            expected += np.log(shares[0] / shares[1] if draw.lesion.signs[sign] else (1 - shares[0]) / (1 - shares[1]))
        reading = read_case(IDEAL, draw.diagnosis, draw.lesion.signs, np.random.default_rng(0))
        assert reading.log_odds == pytest.approx(expected)
        assert reading.seconds == 60


def test_signs_that_are_not_assessable_weigh_nothing(draws: list[CaseDraw]) -> None:
    blind = replace(IDEAL, not_assessable_rate=1.0, bias=0.3, gestalt=0.5)
    for draw in draws[:20]:
        reading = read_case(blind, draw.diagnosis, draw.lesion.signs, np.random.default_rng(0))
        assert set(reading.scores.values()) == {Score.NOT_ASSESSABLE}
        assert reading.log_odds == pytest.approx(0.8 if draw.diagnosis is Diagnosis.MALIGNANT else -0.2)


def test_confidence_is_the_logistic_on_the_side_of_the_diagnosis(read: dict[str, list[SimulatedReading]]) -> None:
    for readings in read.values():
        ordered = sorted(readings, key=lambda reading: reading.log_odds)
        log_odds = np.array([reading.log_odds for reading in ordered])
        confidence = np.array([reading.confidence for reading in ordered])
        assert (np.diff(confidence) >= 0).all()
        assert np.abs(confidence - 100 / (1 + np.exp(-log_odds))).max() <= 1
        assert ((confidence > 50) == called(ordered)).all()
        assert 50 not in confidence
        assert len(set(confidence)) > 50
        assert min(reading.seconds for reading in ordered) > 0


def test_readers_agree_more_than_by_chance(draws: list[CaseDraw], read: dict[str, list[SimulatedReading]]) -> None:
    kappa = {}
    for one, other in combinations(BY_NAME, 2):
        a, b = called(read[one]), called(read[other])
        chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
        kappa[one, other] = ((a == b).mean() - chance) / (1 - chance)
    assert 0.7 < kappa["msk_senior", "resident_r4"] < 0.98
    assert 0.15 < kappa["msk_senior", "resident_r1"] < 0.6
    assert 0.15 < kappa["resident_r4", "resident_r1"] < 0.6


def test_the_same_seed_gives_the_same_readings(draws: list[CaseDraw]) -> None:
    again = draw_case(PhantomSettings(patients=PATIENTS, seed=1), 3)
    assert readings_of(again) == readings_of(draws[2])
    assert readings_of(again) != readings_of(draws[3])
    assert list(readings_of(again)) == list(TABLE_2)


def test_one_readers_parameters_do_not_affect_the_next_reader(draws: list[CaseDraw]) -> None:
    def second(first: SimulatedReader) -> SimulatedReading:
        rng = np.random.default_rng(8)
        read_case(first, draws[0].diagnosis, draws[0].lesion.signs, rng)
        return read_case(READERS[2], draws[0].diagnosis, draws[0].lesion.signs, rng)

    assert second(READERS[0]) == second(READERS[1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"miss_rate": 1.1}, "1.1"),
        ({"not_assessable_rate": -0.1}, "-0.1"),
        ({"evidence_weight": 2.0}, "2"),
        ({"rates_by_sign": {"skip_lesions": (0.1, float("nan"))}}, "nan"),
        ({"variability": -1.0}, "variability"),
        ({"seconds": (0.0, 0.3)}, "median time"),
        ({"bias_by_sign": {"skip_lesion": 1.0}}, "skip_lesion"),
    ],
)
def test_reader_parameters_out_of_range_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        replace(IDEAL, **wrong)  # type: ignore[arg-type]


def test_the_docs_show_the_recorded_figures() -> None:
    root = Path(__file__).resolve().parents[2]
    recorded = json.loads((root / "benchmarks" / "results" / "simulated_readers.json").read_text(encoding="utf-8"))
    page = (root / "docs" / "simulated-readers.md").read_text(encoding="utf-8")
    assert "\n".join("| " + " | ".join(row) + " |" for row in recorded["rows"]) in page

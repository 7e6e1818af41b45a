"""The diagnosis from the signs, its contributions, and what happens when a reader overrules a sign."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from spinefx.errors import InputError
from spinefx.phantom.settings import PhantomSettings
from spinefx.phantom.sign_assignment import assign_signs
from spinefx.signs.calibration import SignCalibration, noisy_or
from spinefx.signs.diagnosis import BayesHead, LogisticHead, choose_head, head_from_json
from spinefx.signs.overruling import CERTAIN, overruled, verdict
from spinefx.statistics.delong import auc_estimate
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis, Score

PLACE = {sign: place for place, sign in enumerate(SIGN_IDENTIFIERS)}
Head = type[LogisticHead] | type[BayesHead]
Cohort = tuple[NDArray[np.float64], NDArray[np.bool_]]


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    """Signs of 600 phantoms, dealt by the rules of the phantom, and who of them is malignant."""
    settings = PhantomSettings(patients=600, seed=1)
    dealt = [assign_signs(settings, number) for number in range(1, settings.patients + 1)]
    rows = [[float(one.signs[sign]) for sign in SIGN_IDENTIFIERS] for one in dealt]
    return np.array(rows), np.array([one.diagnosis is Diagnosis.MALIGNANT for one in dealt])


def seen(signs: NDArray[np.float64], separation: float = 3.0, seed: int = 5) -> NDArray[np.float64]:
    """Return calibrated log-odds of signs as an imperfect detector sees them."""
    noise = np.random.default_rng(seed).normal(0, 1, signs.shape)
    base = np.clip(signs.mean(axis=0), 0.01, 0.99)
    # Scores with unit variance about +-d / 2 have log-likelihood ratios d * score: calibrated by construction.
    return separation * ((signs - 0.5) * separation + noise) + np.log(base / (1 - base))


@pytest.mark.parametrize("kind", [LogisticHead, BayesHead])
def test_contributions_and_their_start_add_up_to_a_useful_answer(kind: Head, cohort: Cohort) -> None:
    signs, malignant = cohort
    taught, held = slice(0, None, 2), slice(1, None, 2)
    head = kind.fit(seen(signs)[taught], malignant[taught])
    parts, start = head.contributions(seen(signs, seed=6)[held])
    odds = parts.sum(axis=1) + start
    assert auc_estimate(odds, malignant[held]).value > 0.9
    again = head_from_json(json.loads(json.dumps(head.to_json())))
    same, same_start = again.contributions(seen(signs, seed=6)[held])
    assert same.sum(axis=1) + same_start == pytest.approx(odds, abs=1e-5)


@pytest.mark.parametrize("kind", [LogisticHead, BayesHead])
def test_without_any_sign_every_case_has_the_same_odds(kind: Head, cohort: Cohort) -> None:
    signs, malignant = cohort
    head = kind.fit(seen(signs), malignant)
    parts, _ = head.contributions(np.full((3, 15), np.nan))
    assert parts == pytest.approx(0, abs=1e-9)


def test_the_bayes_head_recovers_the_frequencies_of_certain_signs(cohort: Cohort) -> None:
    signs, malignant = cohort
    head = BayesHead.fit(np.where(signs > 0, CERTAIN, -CERTAIN), malignant)
    shares = head.tables["marrow"]
    diffuse = signs[:, PLACE["diffuse_signal_change"]]
    for row, members in enumerate((~malignant, malignant)):
        assert shares[row, -1] == pytest.approx(diffuse[members].mean(), abs=0.03)


def test_the_head_with_the_smaller_held_out_loss_is_kept(cohort: Cohort) -> None:
    signs, malignant = cohort
    head, losses = choose_head(seen(signs), malignant, np.arange(len(malignant)))
    assert set(losses) == {"logistic", "bayes"}
    assert head.name == min(losses, key=lambda name: losses[name])
    shuffled, worse = choose_head(
        seen(signs), np.random.default_rng(3).permutation(malignant), np.arange(len(malignant))
    )
    share = malignant.mean()
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert min(worse.values()) > entropy - 0.02, "diagnoses dealt anew are not foretold"
    assert shuffled.name in worse


@pytest.mark.parametrize("kind", [LogisticHead, BayesHead])
def test_cases_of_one_class_are_refused(kind: Head) -> None:
    with pytest.raises(InputError, match="cases of one class"):
        kind.fit(np.zeros((10, 15)), np.zeros(10, bool))


class TestOverruling:
    """One case of a cohort, seen by an imperfect detector."""

    @pytest.fixture(params=[LogisticHead, BayesHead])
    def head(self, request: pytest.FixtureRequest, cohort: Cohort) -> LogisticHead | BayesHead:
        signs, malignant = cohort
        found: LogisticHead | BayesHead = request.param.fit(seen(signs), malignant)
        return found

    def test_a_mass_makes_malignancy_likelier_and_its_absence_less(self, head: LogisticHead | BayesHead) -> None:
        logits = np.full(15, -1.0)
        sign = "epidural_paraspinal_mass"
        yes, no = (verdict(head, overruled(logits, {sign: answer})) for answer in (Score.YES, Score.NO))
        assert no.probability < verdict(head, logits).probability < yes.probability
        assert yes.signs[sign] == pytest.approx(1, abs=1e-3)
        assert no.signs[sign] == pytest.approx(0, abs=1e-3)

    def test_a_confirmed_sign_empties_its_rivals(self, head: LogisticHead | BayesHead) -> None:
        logits = np.full(15, -1.0)
        logits[PLACE["entire_body_compression"]] = 1.0
        found = verdict(head, overruled(logits, {"anterior_wedge": Score.YES}))
        assert (found.signs["entire_body_compression"] or 0) < 0.01

    def test_a_sign_that_cannot_be_assessed_is_left_out_not_denied(self, head: LogisticHead | BayesHead) -> None:
        logits = np.full(15, -1.0)
        logits[PLACE["skip_lesions"]] = 4.0
        found = verdict(head, overruled(logits, {"skip_lesions": Score.NOT_ASSESSABLE}))
        denied = verdict(head, overruled(logits, {"skip_lesions": Score.NO}))
        assert found.signs["skip_lesions"] is None
        assert denied.probability < found.probability < verdict(head, logits).probability

    def test_a_reader_who_is_often_wrong_moves_less(self, head: LogisticHead | BayesHead) -> None:
        logits = np.full(15, -1.0)
        moved = [
            verdict(head, overruled(logits, {"skip_lesions": Score.YES}, rate)).probability
            for rate in (0.0, 0.02, 0.2, 0.5)
        ]
        assert moved == sorted(moved, reverse=True)
        assert moved[-1] == pytest.approx(verdict(head, logits).probability)

    def test_what_to_check_next_is_uncertain_and_matters(self, head: LogisticHead | BayesHead) -> None:
        logits = np.full(15, -8.0)
        logits[PLACE["epidural_paraspinal_mass"]] = 0.0
        assert verdict(head, logits).check_next == "epidural_paraspinal_mass"
        answers = {"epidural_paraspinal_mass": Score.YES}
        assert verdict(head, overruled(logits, answers), answers).check_next != "epidural_paraspinal_mass"

    @pytest.mark.parametrize("rate", [-0.1, 0.6, float("nan")])
    def test_impossible_error_rates_are_refused(self, rate: float) -> None:
        with pytest.raises(InputError, match=r"0 to 0\.5"):
            overruled(np.zeros(15), {}, rate)

    def test_an_unknown_sign_is_refused(self) -> None:
        with pytest.raises(InputError, match="an unknown sign"):
            overruled(np.zeros(15), {"nose": Score.YES})


def test_overrides_by_an_oracle_help_in_any_order_and_informed_ones_more(cohort: Cohort) -> None:
    signs, malignant = cohort
    logits = seen(signs, separation=1.8)
    head, _ = choose_head(logits, malignant, np.arange(len(malignant)))
    fresh = seen(signs, separation=1.8, seed=9)
    rng = np.random.default_rng(2)

    def accuracy(steps: int, informed: bool) -> float:
        right = 0
        for row in range(0, len(signs), 3):
            answers: dict[str, Score] = {}
            for _ in range(steps):
                wanted = verdict(head, overruled(fresh[row], answers), answers).check_next
                left = [sign for sign in SIGN_IDENTIFIERS if sign not in answers]
                sign = wanted if informed and wanted else str(rng.choice(left))
                answers[sign] = Score.YES if signs[row, PLACE[sign]] else Score.NO
            right += (verdict(head, overruled(fresh[row], answers)).probability >= 0.5) == malignant[row]
        return right / len(range(0, len(signs), 3))

    alone, informed, at_random = accuracy(0, True), accuracy(3, True), accuracy(3, False)
    assert informed > at_random >= alone - 0.02
    assert informed > alone + 0.03


class TestCalibration:
    """Lines from evidence to log-odds."""

    def test_stretched_evidence_is_brought_back(self, cohort: Cohort) -> None:
        signs, _ = cohort
        line = SignCalibration.fit(3 * seen(signs) + 2, signs)
        place = PLACE["diffuse_signal_change"]
        assert line.slopes[place] == pytest.approx(1 / 3, abs=0.08)
        chances = 1 / (1 + np.exp(-line.apply(3 * seen(signs, seed=8) + 2)))
        assert chances[:, place].mean() == pytest.approx(signs[:, place].mean(), abs=0.03)

    def test_a_sign_that_no_case_shows_is_left_out_by_name(self, cohort: Cohort) -> None:
        signs = cohort[0].copy()
        signs[:, 8] = 0
        line = SignCalibration.fit(seen(cohort[0]), signs)
        assert line.left_out == (SIGN_IDENTIFIERS[8],)
        assert np.isnan(line.apply(seen(cohort[0]))[:, 8]).all()
        again = SignCalibration.from_json(json.loads(json.dumps(line.to_json())))
        assert again.left_out == line.left_out
        assert again.positives == tuple(count if place != 8 else 0 for place, count in enumerate(line.positives))

    def test_a_rare_sign_keeps_its_scale(self) -> None:
        signs = np.zeros((60, 15))
        signs[:2], signs[30:, 1:] = 1, 1
        evidence = np.random.default_rng(1).normal(0, 1, signs.shape) + 2 * signs
        line = SignCalibration.fit(evidence, signs)
        assert line.slopes[0] == 1
        assert np.isfinite(line.intercepts).all()

    def test_misleading_evidence_is_not_turned_round(self, cohort: Cohort) -> None:
        signs, _ = cohort
        line = SignCalibration.fit(-seen(signs), signs)
        assert (line.slopes >= 0).all()

    def test_signs_that_are_not_assessed_are_missing_not_absent(self, cohort: Cohort) -> None:
        signs = cohort[0].copy()
        signs[::2, 0] = np.nan
        line = SignCalibration.fit(seen(cohort[0]), signs)
        assert line.assessed[0] == len(signs) // 2
        assert line.assessed[1] == len(signs)


def test_one_suspicious_vertebra_among_many_is_enough() -> None:
    calm = noisy_or(np.full(12, 0.005))
    assert calm < -1.5
    assert noisy_or(np.array([*np.full(11, 0.005), 0.95])) > 2.5
    assert np.isnan(noisy_or(np.array([])))
    assert np.isfinite(noisy_or(np.ones(10)))

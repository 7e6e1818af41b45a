"""Table 1, error analyses and the sign model against the paper's counts, R, and what was simulated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spinefx.cases.reading import SignScores
from spinefx.errors import InputError
from spinefx.statistics.logistic import fit_logistic
from spinefx.statistics.signmodel import fit_sign_model
from spinefx.statistics.signs import (
    compare_sign_counts,
    compare_signs,
    error_analysis,
    scores_by_case,
    sign_table,
    single_sign_baseline,
)
from spinefx.statistics.twogroups import chi_square_p, fisher_exact, fisher_p
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis, Score

M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN
Reference = Callable[[str], Any]
ReferenceTable = Callable[[str], list[dict[str, str]]]

# Yeh 2022, Table 1: with the sign, of 50 malignant and of 140 benign; in the order of the vocabulary.
TABLE_1 = dict(
    zip(
        SIGN_IDENTIFIERS,
        (
            *((17, 3), (7, 77), (25, 54), (14, 59), (0, 48), (0, 37), (2, 44), (5, 14), (1, 8), (44, 31), (11, 0)),
            *((16, 19), (22, 1), (5, 0), (39, 8)),
        ),
        strict=True,
    )
)
TRUTH = {f"m{i:02d}": M for i in range(50)} | {f"b{i:03d}": B for i in range(140)}


def scored(yes: dict[str, set[str]], cases: dict[str, Diagnosis] = TRUTH) -> dict[str, dict[str, Score]]:
    """Scores by case from the cases that have each sign."""
    return {
        case: {name: Score.YES if case in yes.get(name, set()) else Score.NO for name in SIGN_IDENTIFIERS}
        for case in cases
    }


def paper_scores() -> dict[str, dict[str, Score]]:
    """Table 1's counts exactly, the first cases of each class having the sign."""
    malignant, benign = ([case for case in TRUTH if TRUTH[case] == d] for d in (M, B))
    return scored({name: {*malignant[:k], *benign[:j]} for name, (k, j) in TABLE_1.items()})


def simulated(rng: np.random.Generator) -> dict[str, dict[str, Score]]:
    """Signs drawn independently within each class with Table 1's shares."""
    yes: dict[str, set[str]] = {}
    for name, (k, j) in TABLE_1.items():
        yes[name] = {case for case, d in TRUTH.items() if rng.random() < (k / 50 if d == M else j / 140)}
    return scored(yes)


def test_table_1_as_r_tests_it(reference: Reference) -> None:
    """R 4.2.2 fisher.test for p; its interval limits carry root-finder error (README), so those of our audit count."""
    r, audit = reference("yeh2022_expected")["table1_fisher"], reference("yeh2022_published")["table1"]
    compared = compare_signs(paper_scores(), [c for c in TRUTH if TRUTH[c] == M], [c for c in TRUTH if TRUTH[c] == B])
    assert [one.identifier for one in compared] == list(SIGN_IDENTIFIERS)
    for one, by_r, by_audit in zip(compared, r.values(), audit.values(), strict=True):
        assert (one.first.k, one.second.k) == (by_r["malignant"], by_r["benign"])
        assert one.test.p == pytest.approx(by_r["p"], rel=1e-10)
        assert one.holm_p == pytest.approx(by_audit["holm_p"], rel=1e-10)
        limits = [float(limit) for limit in (by_audit["or_conditional"], *by_audit["ci"])]
        estimate = one.test.estimate
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(limits, rel=1e-7)
        assert (estimate.low, estimate.high) == pytest.approx([float(limit) for limit in by_r["ci"]], rel=5e-2)
    assert sum(one.test.p < 0.001 for one in compared) == 9
    assert sum(one.holm_p < 0.05 for one in compared) == 11


def test_error_analysis_of_the_first_year_resident(reference: Reference) -> None:
    """Yeh 2022, Error analysis: 54 false positives against 86 true negatives, three signs printed."""
    expected = reference("yeh2022_expected")["r1_error_analysis"]
    names = {
        "homogeneous_marrow": "homogeneous_marrow",
        "diffuse_signal": "diffuse_signal_change",
        "band_edema": "band_pattern_oedema",
    }
    benign = [case for case in TRUTH if TRUTH[case] == B]
    wrong, right = benign[:54], benign[54:]
    yes = {ours: {*wrong[: expected[n]["fp"]], *right[: expected[n]["tn"]]} for n, ours in names.items()}
    answers = TRUTH | dict.fromkeys(wrong, M) | {f"m{i:02d}": B for i in range(11)}
    false_positives, false_negatives = error_analysis(scored(yes), answers, TRUTH)
    by_name = {one.identifier: one for one in false_positives}
    for name, ours in names.items():
        one, wanted = by_name[ours], expected[name]
        assert one.test.p == pytest.approx(wanted["fisher"], rel=1e-10)
        assert one.test.estimate.value == pytest.approx(wanted["or"], rel=1e-3)
        assert (one.test.estimate.low, one.test.estimate.high) == pytest.approx(wanted["ci"], rel=1e-3)
        cells = (wanted["fp"], 54, wanted["tn"], 86)
        assert chi_square_p(*cells) == pytest.approx(wanted["chi2"], rel=1e-9)
        assert chi_square_p(*cells, corrected=True) == pytest.approx(wanted["chi2_yates"], rel=1e-9)
    assert false_negatives[0].first.n == 11
    flawless, _ = error_analysis(scored(yes), TRUTH, TRUTH)
    assert all(np.isnan(one.test.p) and "without a case" in one.test.note for one in flawless)


@given(st.integers(0, 9), st.integers(0, 9), st.data())
def test_fisher_is_what_enumeration_gives(n1: int, n2: int, data: st.DataObject) -> None:
    from math import comb

    k1, k2 = data.draw(st.integers(0, n1)), data.draw(st.integers(0, n2))
    m = k1 + k2
    chances = {k: comb(n1, k) * comb(n2, m - k) for k in range(max(0, m - n2), min(n1, m) + 1)}
    wanted = sum(c for c in chances.values() if c <= chances[k1]) / sum(chances.values())
    assert fisher_p(k1, n1, k2, n2) == pytest.approx(wanted)
    found = fisher_exact(k1, n1, k2, n2)
    assert found.note if np.isnan(found.estimate.value) else found.estimate.low <= found.estimate.high
    assert 0 <= chi_square_p(k1, n1, k2, n2) <= chi_square_p(k1, n1, k2, n2, corrected=True) <= 1


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_conditional_odds_ratio_is_scipys(n1: int, n2: int, data: st.DataObject) -> None:
    k1, k2 = data.draw(st.integers(0, n1)), data.draw(st.integers(0, n2))
    if 0 < k1 + k2 < n1 + n2:
        oracle = stats.contingency.odds_ratio([[k1, n1 - k1], [k2, n2 - k2]])
        limits, found = oracle.confidence_interval(0.95), fisher_exact(k1, n1, k2, n2).estimate
        wanted = (oracle.statistic, limits.low, limits.high)
        assert (found.value, found.low, found.high) == pytest.approx(wanted, rel=1e-7)


def test_impossible_counts_and_scores_are_refused() -> None:
    with pytest.raises(InputError, match="two groups"):
        fisher_exact(4, 3, 0, 1)
    signs = dict.fromkeys(SIGN_IDENTIFIERS, Score.NO)
    two = [SignScores("a", "r1", signs), SignScores("a", "r2", signs)]
    with pytest.raises(InputError, match="2 readers"):
        scores_by_case(two)
    with pytest.raises(InputError, match="r3"):
        scores_by_case(two, "r3")
    with pytest.raises(InputError, match="twice"):
        scores_by_case([two[0], two[0]])
    assert list(scores_by_case(two, "r2")) == ["a"]
    with pytest.raises(InputError, match="without a truth"):
        error_analysis({}, {"x": M}, {})


def test_what_cannot_be_assessed_is_in_no_share() -> None:
    scores = paper_scores()
    scores["m00"]["ap_protrusion"] = scores["b000"]["ap_protrusion"] = Score.NOT_ASSESSABLE
    del scores["b139"]
    compared = compare_signs(scores, [c for c in TRUTH if TRUTH[c] == M], [c for c in TRUTH if TRUTH[c] == B])
    one = next(c for c in compared if c.identifier == "ap_protrusion")
    assert (one.first.k, one.first.n, one.second.k, one.second.n, one.not_assessable) == (15, 49, 18, 138, 2)
    text = sign_table(compared).to_tsv()
    assert "n/a" not in text.splitlines()[1]
    nobody = compare_signs(scores, [], [c for c in TRUTH if TRUTH[c] == B])
    assert np.isnan(nobody[0].test.p)
    assert sign_table(nobody).to_text()[0][1] == "n/a"


def test_firth_matches_brglm2(reference: Reference, reference_table: ReferenceTable) -> None:
    """brglm2 0.9 (AS_mean) on Heinze and Schemper's endometrial data, where NV separates."""
    rows, wanted = reference_table("firth_endometrial"), reference("firth_endometrial_expected")
    features = [[float(row[name]) for name in ("NV", "PI", "EH")] for row in rows]
    grade = [row["HG"] == "1" for row in rows]
    fit = fit_logistic(features, grade)
    assert fit.coefficients == pytest.approx(list(wanted["coef"].values()), abs=1e-8)
    assert fit.errors == pytest.approx(list(wanted["se_expected_information"].values()), abs=1e-8)
    assert -2 * fit.log_likelihood == pytest.approx(wanted["deviance"], abs=1e-8)
    plain = fit_logistic(features, grade, "none")
    assert plain.separated
    assert np.isnan(plain.errors).all()


def test_firth_of_one_table_is_half_a_case_more() -> None:
    """For a saturated model Firth's penalty is Haldane's: half a case added to each cell."""
    x = np.repeat([0.0, 0.0, 1.0, 1.0], [9, 3, 0, 5])[:, None]
    y = np.repeat([False, True, False, True], [9, 3, 0, 5])
    fit = fit_logistic(x, y)
    assert fit.coefficients[1] == pytest.approx(np.log(5.5 * 9.5 / 0.5 / 3.5), abs=1e-8)


def test_penalised_fits_stand_at_their_maximum() -> None:
    """Two routes: no step in any direction raises what is maximised."""
    rng = np.random.default_rng(3)
    x = (rng.random((60, 4)) < 0.4).astype(float)
    y = rng.random(60) < 1 / (1 + np.exp(-(x @ [2, -1, 0.5, 0] - 0.3)))
    design = np.column_stack([np.ones(60), x])

    def goal(beta: np.ndarray, penalty: str) -> float:
        logit = design @ beta
        p = 1 / (1 + np.exp(-logit))
        information = (design.T * p * (1 - p)) @ design
        extra = {
            "firth": 0.5 * np.linalg.slogdet(information)[1],
            "l2": -0.5 * float(beta[1:] @ beta[1:]),
            "none": 0.0,
        }
        return float(y @ logit - np.logaddexp(0, logit).sum() + extra[penalty])

    for penalty in ("firth", "l2", "none"):
        beta = fit_logistic(x, y, penalty).coefficients
        best = goal(beta, penalty)
        assert all(goal(beta + rng.normal(0, 1e-3, 5), penalty) < best for _ in range(50))


def test_what_the_others_determine_has_no_say() -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((40, 2)) < 0.5).astype(float)
    y = rng.random(40) < 0.3 + 0.4 * x[:, 0]
    wide = np.column_stack([x[:, 0], np.zeros(40), 1 - x[:, 0], x[:, 1]])
    narrow, found = fit_logistic(x, y), fit_logistic(wide, y)
    assert found.coefficients[[0, 1, 4]] == pytest.approx(narrow.coefficients, abs=1e-8)
    assert found.coefficients[[2, 3]] == pytest.approx([0, 0])
    assert np.isnan(found.errors[2])
    for bad in (lambda: fit_logistic(x, np.ones(40)), lambda: fit_logistic(x, y, "l1"), lambda: fit_logistic(x[:3], y)):
        with pytest.raises(InputError):
            bad()


def test_the_sign_model_repeats_the_simulations_of_the_claim() -> None:
    """Statistics B, independent signs, 500 replicates: Firth apparent .985, tenfold .944, AUC .979; L2 .974 and .961.

    Means of 8 replicates; replicates of the tenfold accuracy scatter by 0.015, their mean by 0.005.
    """
    found: dict[str, list[tuple[float, float, float]]] = {"firth": [], "l2": []}
    for seed in range(8):
        scores = simulated(np.random.default_rng(seed))
        for penalty, kept in found.items():
            model = fit_sign_model(scores, TRUTH, np.random.default_rng(seed), penalty=penalty, draws=0)
            area = model.auc["crossvalidated"].value
            kept.append((model.apparent.accuracy.value, model.crossvalidated.accuracy.value, area))
    assert np.mean(found["firth"], axis=0) == pytest.approx([0.985, 0.944, 0.979], abs=0.012)
    assert np.mean(found["l2"], axis=0)[:2] == pytest.approx([0.974, 0.961], abs=0.012)


def test_optimism_is_taken_off_and_random_signs_know_nothing() -> None:
    model = fit_sign_model(simulated(np.random.default_rng(1)), TRUTH, np.random.default_rng(1), draws=30)
    apparent, corrected = model.apparent.accuracy.value, model.corrected_accuracy
    assert apparent - 0.06 < corrected.value < apparent
    assert np.isnan(corrected.low)
    assert corrected.value == pytest.approx(0.946, abs=0.025)
    table = model.table()
    assert [row[0] for row in table.rows][1] == "10-fold, by patient"
    assert len(model.coefficients().rows) == 16
    rng = np.random.default_rng(5)
    noise = scored({name: {case for case in TRUTH if rng.random() < 0.3} for name in SIGN_IDENTIFIERS})
    lost = fit_sign_model(noise, TRUTH, rng, draws=20)
    assert lost.auc["apparent"].value > 0.6
    assert abs(lost.auc["crossvalidated"].value - 0.5) < 0.12
    assert abs(lost.auc["optimism-corrected"].value - 0.5) < 0.12


def test_patients_stay_together_and_gaps_are_said() -> None:
    truth = {f"{'m' if i < 6 else 'b'}{i}{side}": M if i < 6 else B for i in range(14) for side in "xy"}
    rng = np.random.default_rng(2)
    yes = {name: {case for case in truth if rng.random() < (0.7 if truth[case] == M else 0.2)} for name in TABLE_1}
    scores = scored(yes, truth)
    scores["b9x"] = scores["b9x"] | {"skip_lesions": Score.NOT_ASSESSABLE}
    owner = {case: case[:-1] for case in truth}
    model = fit_sign_model(scores, truth, np.random.default_rng(0), participants=owner, draws=5)
    assert model.left_out == ("b9x",)
    assert model.folds == 6
    assert len(model.crossvalidated_probabilities) == 27
    assert np.isfinite(model.crossvalidated_probabilities).all()
    with pytest.raises(InputError, match="both diagnoses"):
        fit_sign_model(scores, truth, rng, participants=dict.fromkeys(truth, "one"))
    with pytest.raises(InputError, match="two or more of each"):
        fit_sign_model(scores, dict.fromkeys(truth, B), rng)
    with pytest.raises(InputError, match="penalty"):
        fit_sign_model(scores, truth, rng, penalty="none")


def test_best_single_sign_is_the_papers() -> None:
    """Statistics B: the best single feature, a lesion in another vertebra, is right in 0.900."""
    name, seen, confusion = single_sign_baseline(paper_scores(), TRUTH)
    assert (name, seen) == ("skip_lesions", M)
    assert confusion.accuracy.value == pytest.approx(171 / 190)
    with pytest.raises(InputError, match="no case"):
        single_sign_baseline({}, TRUTH)


def test_counts_alone_are_enough() -> None:
    compared = compare_sign_counts({"diffuse_signal_change": (44, 50, 31, 140)})
    assert compared[0].holm_p == compared[0].test.p == pytest.approx(1.403007214674e-16, rel=1e-10)

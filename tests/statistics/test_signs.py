"""Table 1 and error analyses against the paper's counts and R."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spinefx.cases.reading import SignScores
from spinefx.errors import InputError
from spinefx.statistics.contingency import chi_square_p
from spinefx.statistics.signs import (
    compare_sign_counts,
    compare_signs,
    error_analysis,
    scores_by_case,
    sign_table,
    single_sign_baseline,
)
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis, Score

M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN
Reference = Callable[[str], Any]

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


def test_table_1_agrees_with_r(reference: Reference) -> None:
    """p-values are those of R 4.2.2 fisher.test; its limits are inexact (see the README), so SciPy's are compared."""
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


def test_error_analysis_of_the_first_year_resident_agrees_with_r(reference: Reference) -> None:
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
    diagnoses = TRUTH | dict.fromkeys(wrong, M) | {f"m{i:02d}": B for i in range(11)}
    false_positives, false_negatives = error_analysis(scored(yes), diagnoses, TRUTH)
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
    assert all(np.isnan(one.test.p) and one.test.note == "a group has no cases" for one in flawless)


def test_ambiguous_scores_are_refused() -> None:
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


def test_signs_that_cannot_be_assessed_are_in_no_proportion() -> None:
    scores = paper_scores()
    scores["m00"]["ap_protrusion"] = scores["b000"]["ap_protrusion"] = Score.NOT_ASSESSABLE
    del scores["b139"]
    compared = compare_signs(scores, [c for c in TRUTH if TRUTH[c] == M], [c for c in TRUTH if TRUTH[c] == B])
    one = next(c for c in compared if c.identifier == "ap_protrusion")
    assert (one.first.k, one.first.n, one.second.k, one.second.n, one.not_assessable) == (15, 49, 18, 138, 2)
    text = sign_table(compared).to_tsv()
    assert "n/a" not in text.splitlines()[1]
    empty = compare_signs(scores, [], [c for c in TRUTH if TRUTH[c] == B])
    assert np.isnan(empty[0].test.p)
    assert sign_table(empty).to_text()[0][1] == "n/a"


def test_the_best_single_sign_is_a_lesion_in_another_vertebra() -> None:
    """It alone has an accuracy of 0.900 (171 of 190)."""
    name, present, confusion = single_sign_baseline(paper_scores(), TRUTH)
    assert (name, present) == ("skip_lesions", M)
    assert confusion.accuracy.value == pytest.approx(171 / 190)
    with pytest.raises(InputError, match="no case with both"):
        single_sign_baseline({}, TRUTH)


def test_signs_are_compared_from_counts_alone() -> None:
    compared = compare_sign_counts({"diffuse_signal_change": (44, 50, 31, 140)})
    assert compared[0].holm_p == compared[0].test.p == pytest.approx(1.403007214674e-16, rel=1e-10)

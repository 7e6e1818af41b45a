"""The audit reproduces the verdicts on the paper, and refuses what it cannot read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.errors import TableError
from spinefx.statistics.audit.claims import AuditedClaim, Claim, Verdict, parse_number, parse_p
from spinefx.statistics.audit.recompute import audit, audit_table, claims_from, example_claims

Reference = Callable[[str], Any]

# The claims of the paper that are not simply confirmed, or are so for any table: verdict, and part of the result.
VERDICTS = {
    "sensitivity: R1 against MSK": (Verdict.IMPOSSIBLE, "0.0078 to 0.057"),
    "sensitivity: R1 against R4": (Verdict.IMPOSSIBLE, "0.0039 to 0.035"),
    "sensitivity: R1 against ResNet50": (Verdict.IMPOSSIBLE, "unpaired Fisher 0.041"),
    "specificity: ResNet50 against R4": (Verdict.IMPOSSIBLE, "0.016 to 0.14"),
    "specificity: ResNet50 against MSK": (Verdict.CONTRADICTED, "0.00098 to 0.0034"),
    "specificity: R1 against MSK": (Verdict.CONFIRMED, "to 2.4e-12"),
    "specificity: R1 against R4": (Verdict.CONFIRMED, "to 4.1e-10"),
    "specificity: R1 against ResNet50": (Verdict.CONFIRMED, "to 4.5e-07"),
    "Table 1: homogeneous marrow, benign": (Verdict.INCONSISTENT, "34.3%"),
    "Table 1: Fluid or necrotic cleft": (Verdict.NOT_REPRODUCED, "Fisher 0.45, chi-square 0.29"),
    "Table 1: Anterior/posterior protrusion": (Verdict.NOT_REPRODUCED, "Fisher 0.0058, chi-square 0.0039"),
    "Abstract: features with p < 0.001": (Verdict.INCONSISTENT, "9 of 15; 11 below 0.05, 11 after Holm"),
    "Results: features with p <= 0.001": (Verdict.CONFIRMED, "10 of 15"),
    "Table 1: Central concave deformity": (Verdict.CONFIRMED, "0.091"),
    "Table 2, text copy: TN + FP of R1": (Verdict.INCONSISTENT, "152, not 140"),
    "Table 2, text copy: TN + FP of MSK": (Verdict.POSSIBLE, "1 is missing"),
    "Results: specificity of ResNet50": (Verdict.IMPOSSIBLE, "91.4%"),
    "R1 errors, FP against TN: homogeneous marrow": (Verdict.CONFIRMED, "3.2e-06"),
    "R1 errors, FP against TN: diffuse signal change": (Verdict.CONFIRMED, "0.0014"),
    "R1 errors, FP against TN: band pattern edema": (Verdict.CONFIRMED, "after Holm 0.19"),
    "Mean age of all": (Verdict.INCONSISTENT, "66.93 (66.88 to 66.98"),
    "Logistic model of 15 features: accuracy": (Verdict.INCOMPLETE, "178 or 179 of 190"),
    "Per-slice AUC in all ten folds": (Verdict.INCOMPLETE, "if the area is 0.98"),
    "Abstract: model improved the sensitivity of R1": (Verdict.INCOMPLETE, "[1.5, 30.8]"),
}


@pytest.fixture(scope="module")
def audited() -> dict[str, AuditedClaim]:
    return {one.claim.claim: one for one in audit(example_claims())}


@pytest.mark.parametrize("name", VERDICTS)
def test_verdicts_on_the_paper(name: str, audited: dict[str, AuditedClaim]) -> None:
    verdict, recomputed = VERDICTS[name]
    assert audited[name].verdict == verdict
    assert recomputed in audited[name].recomputed


def test_all_other_claims_of_the_paper_are_confirmed(audited: dict[str, AuditedClaim]) -> None:
    others = [one for name, one in audited.items() if name not in VERDICTS]
    assert len(others) == 35
    assert all(one.verdict == Verdict.CONFIRMED for one in others)
    assert "1 shared: exact, mid-p, chi-square)" in audited["specificity: ResNet50 against MSK"].remark
    assert "[7.7, 28.5] with 3 shared" in audited["Abstract: model improved the sensitivity of R1"].recomputed
    assert "misplaced decimal point" in audited["Table 1: Fluid or necrotic cleft"].remark
    assert "significant at 0.05" in audited["Table 1: Anterior/posterior protrusion"].remark


def test_verdicts_from_the_counts_of_the_paper(reference: Reference) -> None:
    """The verdicts stored in yeh2022_published.json, which uses other words."""
    published = reference("yeh2022_published")
    n1, n2 = published["n_malignant"], published["n_benign"]
    claims, wanted = [], []
    for name, row in published["table1"].items():
        counts = f"{row['malignant']}/{n1} {row['benign']}/{n2}"
        claims.append(Claim(name, "groups", f"p {row['published_p']}", counts, family="signs"))
        wanted.append(Verdict.NOT_REPRODUCED if row["verdict"].startswith("typo") else Verdict.CONFIRMED)
    for name, row in published["mcnemar_claims"].items():
        counts = " ".join(f"{errors}/{row['n']}" for errors in row["errors"])
        text = row["verdict"]
        shared = "0" if "contradicted" in text else ""
        claims.append(Claim(name, "paired", row["published"], counts, shared=shared))
        words = {"impossible": Verdict.IMPOSSIBLE, "certain": Verdict.CONFIRMED}
        wanted.append(words.get(text, Verdict.CONTRADICTED))
    for name, row in published["r1_error_analysis"].items():
        claims.append(Claim(f"R1 {name}", "groups", f"p {row['published_p']}", f"{row['fp']}/54 {row['tn']}/86"))
        wanted.append(Verdict.CONFIRMED)
    for reader, (tp, tn, fn, fp) in published["table2_TP_TN_FN_FP"].items():
        claims.append(Claim(f"{reader} counts", "sum", f"{tp} + {tn} + {fn} + {fp}", "190"))
        wanted.append(Verdict.CONFIRMED)
    claims.append(Claim("abstract", "tally", "10", "p < 0.001", family="signs"))
    claims.append(Claim("specificity in the text", "share", "910%", "128/140"))
    claims.append(Claim("age", "mean", "66.5", "50*61.7 140*68.8"))
    claims.append(Claim("logistic", "share", "0.94", "?/190", needs="the scheme"))
    wanted += [Verdict.INCONSISTENT, Verdict.IMPOSSIBLE, Verdict.INCONSISTENT, Verdict.INCOMPLETE]
    assert [one.verdict for one in audit(claims)] == wanted
    ours = {claim.counts for claim in example_claims() if claim.kind == "groups" and claim.family == "Table 1"}
    assert ours == {claim.counts for claim in claims if claim.family == "signs" and claim.kind == "groups"}


def test_the_table_counts_untenable_claims(audited: dict[str, AuditedClaim]) -> None:
    table = audit_table(list(audited.values()))
    assert table.columns[:4] == ("claim", "published", "recomputed", "verdict")
    assert table.note.startswith("12 of 59 claims")
    assert len(table.to_tsv().splitlines()) == 60


def verdict(kind: str, printed: str, counts: str, **more: str) -> Verdict:
    return audit([Claim("x", kind, printed, counts, **more)])[0].verdict


@pytest.mark.parametrize(
    ("kind", "printed", "counts", "wanted"),
    [
        ("share", "34%", "48/140", Verdict.CONFIRMED),
        ("share", "0.5", "1/2", Verdict.CONFIRMED),
        ("share", "13%", "1/8", Verdict.CONFIRMED),  # 12.5 rounds either way
        ("share", "12%", "1/8", Verdict.CONFIRMED),
        ("share", "27%", "?/10", Verdict.IMPOSSIBLE),
        ("share", "30%", "?/10", Verdict.POSSIBLE),
        ("share", "0%", "0/140", Verdict.CONFIRMED),
        ("groups", "p = 0.16", "25/50 54/140", Verdict.POSSIBLE),  # chi-square's, not Fisher's
        ("groups", "p > 0.05", "25/50 54/140", Verdict.CONFIRMED),
        ("groups", "1", "0/5 0/7", Verdict.CONFIRMED),
        ("paired", "p = 0.0078", "11/50 3/50", Verdict.POSSIBLE),
        ("paired", "p < 0.05", "11/50 3/50", Verdict.POSSIBLE),
        ("paired", "p < 0.07", "11/50 3/50", Verdict.CONFIRMED),
        ("paired", "p > 0.2", "0/9 0/9", Verdict.CONFIRMED),
        ("sum", "86 + 54", "140", Verdict.CONFIRMED),
        ("sum", "_ + _ + 3", "140", Verdict.INCOMPLETE),
        ("sum", "150 + _", "140", Verdict.INCONSISTENT),
        ("mean", "66.9", "50*61.7 140*68.8", Verdict.CONFIRMED),
        ("gain", "78% 94%", "39/50 47/50", Verdict.CONFIRMED),
        ("gain", "79% 94%", "39/50 47/50", Verdict.INCONSISTENT),
        ("gain", "100% 100%", "5/5 5/5", Verdict.CONFIRMED),
        ("folds", "> 0.999", "10 5*3 14*3", Verdict.NOT_REPRODUCED),
    ],
)
def test_each_kind_of_claim(kind: str, printed: str, counts: str, wanted: Verdict) -> None:
    assert verdict(kind, printed, counts) == wanted


def test_a_stated_number_of_shared_errors_decides() -> None:
    paired = {"kind": "paired", "printed": "p < 0.001", "counts": "12/140 1/140"}
    assert verdict(**paired) == Verdict.POSSIBLE
    assert verdict(**paired, shared="1") == Verdict.POSSIBLE
    assert verdict(**paired, shared="0") == Verdict.CONTRADICTED


@given(st.integers(1, 400), st.data())
def test_a_correctly_rounded_percentage_is_confirmed(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    digits = data.draw(st.integers(0, 3))
    assert verdict("share", f"{100 * k / n:.{digits}f}%", f"{k}/{n}") == Verdict.CONFIRMED
    assert verdict("share", f"{100 * k / n:.{digits}f}%", f"?/{n}") == Verdict.POSSIBLE


@given(st.integers(1, 60), st.data())
def test_a_true_paired_p_value_is_never_impossible(n: int, data: st.DataObject) -> None:
    from spinefx.statistics.paired.mcnemar import attainable_mcnemar

    e1, e2 = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    table = data.draw(st.sampled_from(attainable_mcnemar(e1, e2, n).tables))
    method = data.draw(st.sampled_from(["exact", "midp", "chi2", "chi2cc"]))
    printed = f"p = {table.p[method]:.3f}"
    assert verdict("paired", printed, f"{e1}/{n} {e2}/{n}", shared=str(table.shared)) in {
        Verdict.POSSIBLE,
        Verdict.CONFIRMED,
    }


def test_printed_numbers_keep_their_precision() -> None:
    assert parse_number("41%", "x").half_unit == pytest.approx(0.005)
    assert parse_number("66.50", "x").half_unit == pytest.approx(0.005)
    for text, relation in (("p < = 0.001", "<="), ("P≥.05", ">="), ("0.7", "="), ("<1e-4", "<")):
        assert parse_p(text, "x").relation == relation


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "nonsense"},
        {"printed": ""},
        {"printed": "about 40%"},
        {"printed": "1.2.3"},
        {"printed": "1e999"},
        {"counts": "48"},
        {"counts": "150/140"},
        {"counts": "1/0"},
        {"counts": "-1/140"},
        {"counts": "1/99999999999"},
        {"kind": "groups", "printed": "p < x", "counts": "1/2 1/2"},
        {"kind": "groups", "printed": "0.1", "counts": "?/2 1/2"},
        {"kind": "paired", "printed": "0.1", "counts": "1/2 1/3"},
        {"kind": "gain", "printed": "10%", "counts": "1/2 1/2"},
        {"kind": "mean", "printed": "10", "counts": "5 6"},
        {"kind": "mean", "printed": "10", "counts": "0*5 0*6"},
        {"kind": "tally", "printed": "3", "counts": "< 0.05", "family": "none"},
        {"kind": "groups", "printed": "0.1", "counts": "1/2 1/2", "family": "a/b"},
        {"kind": "folds", "printed": "> 0.9", "counts": "10 5 14"},
        {"kind": "folds", "printed": "> 0.9", "counts": "10 5*x 14*3"},
        {"kind": "folds", "printed": "> 0.9", "counts": "10 0*3 14*3"},
    ],
)
def test_unreadable_claims_are_refused(fields: dict[str, str]) -> None:
    whole = {"claim": "x", "kind": "share", "printed": "34%", "counts": "48/140"} | fields
    with pytest.raises(TableError):
        audit(claims_from({"claims": [whole]}, "file"))


@pytest.mark.parametrize(
    "content", [{}, {"claims": []}, {"claims": [3]}, {"claims": [{"claim": 5}]}, {"claims": [{"colour": "red"}]}]
)
def test_files_without_claims_are_refused(content: dict[str, Any]) -> None:
    with pytest.raises(TableError):
        claims_from(json.loads(json.dumps(content)), "file")

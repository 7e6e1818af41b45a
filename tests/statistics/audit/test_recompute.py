"""The audit reproduces the verdicts on the paper, and refuses what it cannot read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spinefx.errors import TableError
from spinefx.statistics.audit.claims import AuditedClaim, Claim, PrintedNumber, PrintedP, Verdict, parse_number, parse_p
from spinefx.statistics.audit.listed_tests import tests_that_give as given_by
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


# SciPy's p-values of a table of two groups or of discordant pairs, as references for the listed tests.
def reference_p(test: str, b: int, c: int, n: int) -> float:
    alternative = "less" if b < c else "greater"
    e1, e2 = b, c
    if test == "one-sided exact McNemar":
        return float(stats.binomtest(b, b + c, 0.5, alternative=alternative).pvalue)
    if test == "one-sided chi-square McNemar":
        return float(stats.norm.sf(abs(b - c) / math.sqrt(b + c)))
    table = [[e1, n - e1], [e2, n - e2]]
    if test == "one-sided Fisher":
        return float(stats.fisher_exact(table, alternative=alternative).pvalue)
    if test == "one-sided chi-square":
        return float(stats.chi2_contingency(table, correction=False).pvalue) / 2
    if test == "corrected chi-square":
        return float(stats.chi2_contingency(table).pvalue)
    return float(stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").pvalue)


TESTS = (
    "one-sided exact McNemar",
    "one-sided chi-square McNemar",
    "one-sided Fisher",
    "one-sided chi-square",
    "corrected chi-square",
    "likelihood ratio",
)


@given(st.sampled_from(TESTS), st.integers(1, 25), st.integers(1, 25), st.integers(60, 90), st.booleans(), st.data())
def test_a_p_value_of_any_listed_test_is_never_impossible(
    test: str, b: int, c: int, n: int, truncated: bool, data: st.DataObject
) -> None:
    """Rounded or cut off, from unequal counts, with some errors shared where the readers are paired."""
    if b == c:
        c += 1
    p = reference_p(test, b, c, n)
    shared = data.draw(st.integers(0, n - b - c)) if "McNemar" in test and b + c <= n else 0
    digits = data.draw(st.integers(2, 4))
    shown = f"{math.floor(p * 10**digits) / 10**digits:.{digits}f}" if truncated else f"{p:.{digits}f}"
    found = audit([Claim("x", "paired", f"p = {shown}", f"{b + shared}/{n} {c + shared}/{n}")])[0]
    assert found.verdict in {Verdict.POSSIBLE, Verdict.CONFIRMED}
    printed = PrintedP("=", PrintedNumber(p, 1e-9))
    assert test in {one.test for one in given_by(printed, b + shared, n, c + shared, n, paired=True)}


def test_the_test_that_gives_a_p_value_is_named_with_its_table() -> None:
    p = stats.binomtest(5, 12, 0.5, alternative="less").pvalue
    found = audit([Claim("x", "paired", f"p = {p:.4f}", "9/50 11/50")])[0]
    assert found.verdict == Verdict.POSSIBLE
    assert found.remark == "given by: one-sided exact McNemar, b = 5, c = 7"
    p = stats.fisher_exact([[25, 25], [54, 86]], alternative="greater").pvalue
    found = audit([Claim("x", "groups", f"p = {p:.3f}", "25/50 54/140")])[0]
    assert found.remark.startswith("given by: one-sided Fisher")
    assert "Tests tried for a p-value: exact McNemar" in audit_table([found]).note
    cut = audit([Claim("x", "paired", "p = 0.03", "1/50 8/50")])[0]
    assert "truncated instead of rounded" in cut.remark


@pytest.mark.parametrize(
    ("kind", "printed", "counts", "wanted"),
    [
        ("share", "70.0% (55.4, 82.1)", "35/50", Verdict.CONFIRMED),
        ("share", "70.0% (55.4,82.1)", "35/50", Verdict.CONFIRMED),
        ("share", "70.0 [55.4-82.1]", "35/50", Verdict.CONFIRMED),
        ("share", "70,0% (95% CI: 55,4; 82,1)", "35/50", Verdict.CONFIRMED),
        ("share", "47/50 (94%)", "47/50", Verdict.CONFIRMED),
        ("share", "94% (47/50)", "47/50", Verdict.CONFIRMED),
        ("share", "47 of 50 (94%)", "?/50", Verdict.CONFIRMED),
        ("share", "47/50 (94%)", "46/50", Verdict.INCONSISTENT),
        ("share", "47/50 (96%)", "47/50", Verdict.INCONSISTENT),
        ("share", "94,0%", "47/50", Verdict.CONFIRMED),
        ("share", "94", "47/50", Verdict.CONFIRMED),
        ("share", "93", "47/50", Verdict.INCONSISTENT),
        ("share", "0·94", "47/50", Verdict.CONFIRMED),
        ("share", "12.3%", "1,234/10,000", Verdict.CONFIRMED),
        ("share", "1,234/10,000 (12.3%)", "1,234/10,000", Verdict.CONFIRMED),
        ("share", "12.3%", "1\u202f234/10\u202f000", Verdict.CONFIRMED),
        ("share", "910", "128/140", Verdict.IMPOSSIBLE),
        ("groups", "0·45", "1/50 8/140", Verdict.CONFIRMED),
        ("groups", "0,45", "1/50 8/140", Verdict.CONFIRMED),
        ("groups", "<.001", "17/50 3/140", Verdict.CONFIRMED),
        ("groups", "P value < 0.001*", "17/50 3/140", Verdict.CONFIRMED),
        ("groups", "8.4 × 10⁻⁹", "17/50 3/140", Verdict.CONFIRMED),
        ("groups", "NS", "25/50 54/140", Verdict.CONFIRMED),
        ("groups", "n.s.", "25/50 54/140", Verdict.CONFIRMED),
        ("groups", "NS", "17/50 3/140", Verdict.NOT_REPRODUCED),
        ("paired", "NS", "54/140 1/140", Verdict.IMPOSSIBLE),
        ("gain", "78 to 94", "39/50 47/50", Verdict.CONFIRMED),
        ("sum", "1,200 + 34", "1,234", Verdict.CONFIRMED),
    ],
)
def test_what_papers_print_is_read(kind: str, printed: str, counts: str, wanted: Verdict) -> None:
    assert verdict(kind, printed, counts) == wanted


@given(st.integers(1, 30_000), st.data())
def test_every_way_of_printing_a_share_is_read_alike(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    percent = f"{100 * k / n:.1f}"
    ways = [
        f"{percent}%",
        percent,
        percent.replace(".", ",") + "%",
        percent.replace(".", "·") + " %",
        f"{k}/{n} ({percent}%)",
        f"{k:,}/{n:,} ({percent}%)",
        f"{percent}% ({k}/{n})",
        f"{percent}% (0.1, 99.9)",
    ]
    for way in ways:
        assert verdict("share", way, f"{k:,}/{n:,}") == Verdict.CONFIRMED, way


@pytest.mark.parametrize(
    ("limits", "name"), [("83.8, 97.9", "Wilson"), ("83.5, 98.7", "Clopper-Pearson"), ("1, 2", "none")]
)
def test_the_interval_of_a_share_is_named(limits: str, name: str) -> None:
    assert name in audit([Claim("x", "share", f"94.0% ({limits})", "47/50")])[0].remark


def test_the_audit_goes_on_after_a_line_that_it_cannot_read() -> None:
    lines = [
        {"claim": "good", "kind": "share", "printed": "34%", "counts": "48/140"},
        {"claim": "no kind", "kind": "nonsense", "printed": "34%", "counts": "48/140"},
        {"claim": "no number", "kind": "share", "printed": "about a third", "counts": "48/140"},
        {"claim": "no count", "kind": "groups", "printed": "0.1", "counts": "?/2 1/2", "family": "f"},
        {"colour": "red"},
        3,
        {"claim": "wrong", "kind": "share", "printed": "41%", "counts": "48/140"},
    ]
    audited = audit(claims_from({"claims": lines}, "file"))
    verdicts = [one.verdict for one in audited]
    assert verdicts == [Verdict.CONFIRMED, *[Verdict.UNREADABLE] * 5, Verdict.INCONSISTENT]
    assert all(one.remark for one in audited[1:6])
    assert "5 could not be read" in audit_table(audited).note


def test_twenty_planted_slips_are_found_and_none_in_the_clean_copy() -> None:
    clean = [
        ("share", "34.3%", "48/140"),
        ("share", "78%", "39/50"),
        ("share", "0.92", "175/190"),
        ("share", "47/50 (94%)", "47/50"),
        ("groups", "p < 0.001", "17/50 3/140"),
        ("groups", "0.45", "1/50 8/140"),
        ("groups", "0.0058", "16/50 19/140"),
        ("groups", "NS", "25/50 54/140"),
        ("paired", "p < 0.001", "54/140 1/140"),
        ("paired", "p = 0.0078", "11/50 3/50"),
        ("sum", "86 + 54", "140"),
        ("sum", "47 + 128 + 3 + 12", "190"),
        ("mean", "66.9", "50*61.7 140*68.8"),
        ("gain", "78% 94%", "39/50 47/50"),
        ("share", "91.4 (85.6, 95.0)", "128/140"),
    ]
    slips = [
        ("share", "41%", "48/140"),
        ("share", "43.3%", "48/140"),
        ("share", "87%", "39/50"),
        ("share", "0.29", "175/190"),
        ("share", "910%", "128/140"),
        ("share", "47/50 (49%)", "47/50"),
        ("share", "46/50 (92%)", "47/50"),
        ("groups", "p < 0.001", "1/50 8/140"),
        ("groups", "0.045", "1/50 8/140"),
        ("groups", "0.07", "16/50 19/140"),
        ("groups", "NS", "17/50 3/140"),
        ("groups", "p > 0.05", "44/50 31/140"),
        ("paired", "p < 0.001", "11/50 3/50"),
        ("paired", "p = 0.78", "11/50 3/50"),
        ("paired", "NS", "54/140 1/140"),
        ("sum", "98 + 54", "140"),
        ("sum", "47 + 128 + 3 + 21", "190"),
        ("mean", "66.5", "50*61.7 140*68.8"),
        ("gain", "87% 94%", "39/50 47/50"),
        ("share", "31.4 (85.6, 95.0)", "128/140"),
    ]

    def judge(lines: list[tuple[str, str, str]]) -> list[Verdict]:
        return [one.verdict for one in audit([Claim(f"{n}", *line) for n, line in enumerate(lines)])]

    assert all(one.is_tenable and one is not Verdict.UNREADABLE for one in judge(clean))
    assert not any(one.is_tenable for one in judge(slips))

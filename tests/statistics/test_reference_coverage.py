"""Reference data are complete: every file is reproduced by a test, and the comparison itself can fail."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
BESIDE = HERE.parents[2] / "shared"
Tree = Any
Table = Callable[[str], list[dict[str, str]]]

# The decimals of the project's statistics notes, part C3, item by item in their order, as paths of expected values.
J, S = "RRRC_jackknife.", "binary_sens_rating_ge_3."
TEST, GAP, MEANS = "test_equality.0.", "test_diffs.0.", "test_means"
AHR, PAIRED1 = "paired_ci.fagerland_AHR.RD.", "DTComPair_Paired1.tests."
C3: dict[int, tuple[str, list[str]]] = {
    1: (
        "mrmc_vandyke",
        [
            *(f"{J}{MEANS}.{i}.Estimate" for i in (0, 1)),
            *(f"{J}{GAP}Estimate", f"{J}{TEST}F", f"{J}{TEST}df2", f"{J}{TEST}p-value"),
            *(f"{J}{GAP}{key}" for key in ("StdErr", "ci_lo", "ci_hi")),
            *(f"RRRC_{kind}.{TEST}{key}" for kind in ("DeLong", "unbiased") for key in ("F", "df2", "p-value")),
            *(f"{J}variance_components.{i}.Estimate" for i in (0, 1, 3, 4, 5, 2)),
            *(f"OR_DBM_MRMC_2.51_printed.DBM_components.{key}" for key in ("VarC", "VarTC", "VarRC", "VarTRC_err")),
            *(f"FRRC_jackknife_MRMCaov.{TEST}{key}" for key in ("X2", "p-value")),
            *(
                f"{name}.{TEST}{key}"
                for name in ("RRFC", "case_nested_in_reader_jackknife")
                for key in ("F", "p-value")
            ),
            *(f"case_nested_in_treatment_jackknife.{TEST}{key}" for key in ("F", "df2", "p-value")),
            *(f"{S}{MEANS}.{i}.Estimate" for i in (0, 1)),
            *(f"{S}{TEST}{key}" for key in ("F", "df2", "p-value")),
        ],
    ),
    2: (
        "ai_vs_readers_cad",
        [
            *(f"1T-RRFC.{key}" for key in ("fomCAD", "avgRadFom", "avgDiffFom", "Tstat", "pval")),
            *(f"1T-RRRC.{key}" for key in ("Tstat", "df", "pval", "CIAvgDiffFom.0", "CIAvgDiffFom.1")),
        ],
    ),
    3: (
        "paired_binary",
        [
            *(f"mcnemar.fagerland_AHR.{key}" for key in ("exact", "midp", "chi2", "chi2_cc")),
            f"{AHR}Wald.1",
            *(f"{AHR}{name}.{i}" for name in ("Tango score", "MOVER-NW", "Bonett-Price") for i in (0, 2)),
            *(f"{PAIRED1}sesp.mcnemar.{name}.test.statistic" for name in ("sensitivity", "specificity")),
            *(f"{PAIRED1}pv.wgs.{name}.{key}" for name in ("ppv", "npv") for key in ("test.statistic", "p.value")),
            *(f"{PAIRED1}pv.gs.{name}.test.statistic" for name in ("ppv", "npv")),
            *(f"{PAIRED1}pv.rpv.ppv.{key}" for key in ("rppv", "p.value")),
            f"{PAIRED1}generalized_mcnemar.0",
        ],
    ),
    4: (
        "roc_asah",
        [
            *(f"single.{name}.auc" for name in ("wfns", "s100b", "ndka")),
            *(f"paired.wfns - s100b.{key}" for key in ("z", "p", "ci.0", "ci.1")),
            *(f"paired.{pair}.{key}" for pair in ("wfns - ndka", "ndka - s100b") for key in ("z", "p")),
            *(f"single.ndka.ci_delong.{i}" for i in (0, 1)),
        ],
    ),
    5: (
        "clustered_mitotic",
        [
            "scanner.A_sum_of_5_observers.no_cluster.auc",
            *(f"scanner.A_sum_of_5_observers.{name}.auc.se" for name in ("no_cluster", "cluster_roi", "cluster_wsi")),
        ],
    ),
    6: ("mrmc_vandyke", [f"sample_size_RJafroc.{name}.power" for name in ("RRRC", "FRRC", "RRFC")]),
    7: (
        "mrmc_imrmc_example",
        [f"Ustat.2.{key}" for key in ("AUCA", "AUCB", "varAUCAminusAUCB", "dfBDG", "pValueBDG")],
    ),
    8: (
        "calibration_nri",
        [
            *(f"calibration.p_over.slope.{key}" for key in ("est", "se")),
            *(f"category_free_NRI_IDI.{key}" for key in ("nri", "se.nri", "idi", "se.idi")),
            *(f"firth_endometrial: coef.{key}" for key in ("(Intercept)", "NV", "PI", "EH")),
        ],
    ),
    # The audit of the paper, which audit/test_recompute.py checks line by line.
    9: ("paired_binary", []),
}
# Decimals of C3 that are not results: the version of a program, and the effect for which the power was computed.
NO_RESULTS = {1: ["2.51"], 6: ["0.0438"]}


def test_every_file_of_expected_values_is_reproduced() -> None:
    folders = (HERE.parent / "data" / "statistics", BESIDE / "data" / "statistics")
    present = {path.name.rpartition("_expected")[0] for folder in folders for path in folder.glob("*_expected.*")}
    tests = "\n".join(path.read_text(encoding="utf-8") for path in HERE.rglob("test_reference.py"))
    assert len(present) >= 5
    assert present <= set(re.findall(r'reproduce\(\s*"(\w+)"', tests))


def test_a_changed_a_missing_and_a_needlessly_excused_value_are_reported(reproduce: Callable[..., None]) -> None:
    def with_change(*path: str, change: float = 1.0) -> Callable[[Table, Tree], Tree]:
        def build(_: Table, expected: Tree) -> Tree:
            changed = {**expected, path[0]: {**expected[path[0]]}}
            node = changed[path[0]]
            for key in path[1:-1]:
                node[key] = {**node[key]}
                node = node[key]
            if change:
                node[path[-1]] *= 1 + change
            else:
                del node[path[-1]]
            return changed

        return build

    leaf = ("table1_fisher", "anterior_wedge", "or_cmle")
    reproduce("yeh2022", with_change(*leaf, change=1e-12))
    with pytest.raises(AssertionError, match=r"1 of .* values differ"):
        reproduce("yeh2022", with_change(*leaf, change=1e-7))
    reproduce("yeh2022", with_change(*leaf, change=1e-7), looser={r".*wedge\.or_cmle": (1e-6, 0, "to test the test")})
    with pytest.raises(AssertionError, match="1 values are not reproduced"):
        reproduce("yeh2022", with_change(*leaf, change=0))
    with pytest.raises(AssertionError, match="exceptions that apply to no value"):
        reproduce("yeh2022", lambda _, expected: expected, left_out={"nothing": "to test the test"})


def test_the_numbers_of_the_statistics_notes_are_expected_values(
    expected: Callable[[str], Tree], leaves_of: Any
) -> None:
    """Each decimal agrees to half a unit of its last digit; a decimal added to the notes fails until it is listed."""
    notes = BESIDE / "statistics.md"
    if not notes.is_file():
        pytest.skip("the project's statistics notes are not distributed with spinefx")
    section = notes.read_text(encoding="utf-8").partition("### C3.")[2].partition("### C4.")[0]
    items = re.split(r"(?m)^(?=\d+\. )", section)[1:]
    assert len(items) == len(C3)
    for number, ((name, paths), item) in enumerate(zip(C3.values(), items, strict=True), 1):
        printed = re.findall(r"(?<![\w.])-?\d+\.\d+(?:e-?\d+)?(?!\d|\.\d)", item)
        for other in NO_RESULTS.get(number, []):
            printed.remove(other)
        assert len(printed) == len(paths), f"item {number}: {printed}"
        for path, shown in zip(paths, printed, strict=True):
            file, _, leaf = path.rpartition(": ")
            digits, _, power = shown.partition("e")
            half_unit = 0.51 * 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))
            found = leaves_of(expected(file or name))[leaf]
            assert float(found) == pytest.approx(float(shown), rel=0, abs=half_unit), f"item {number}: {path}"

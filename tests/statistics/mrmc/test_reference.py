"""Every reference value of reader studies reproduced: MRMCaov, OR-DBM MRMC, RJafroc and iMRMC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from spinefx.statistics.effect import Effect
from spinefx.statistics.mrmc.anova import mrmc
from spinefx.statistics.mrmc.covariance import covariance_matrix, structural_components
from spinefx.statistics.mrmc.panel import ai_vs_readers
from spinefx.statistics.mrmc.power import mrmc_power
from spinefx.statistics.mrmc.scores import ReaderStudy
from spinefx.statistics.mrmc.ustatistic import ustat_mrmc

Tree = Any
Table = Callable[[str], list[dict[str, str]]]


def test_a_model_and_a_panel_are_reproduced(reproduce: Callable[..., None]) -> None:
    reproduce("ai_vs_readers_cad", ai_vs_readers_cad, left_out={r"(source|note|conventions|.*\.(source|note))": "text"})


def test_two_modalities_are_reproduced(reproduce: Callable[..., None]) -> None:
    reproduce(
        "mrmc_vandyke",
        mrmc_vandyke,
        left_out={
            r"(source|note|conventions|.*\.(source|note))": "text",
            r".*\.covariance": "names the method",
            r".*\._row": "R's name of a row",
            r"sample_size_RJafroc\.\w+\.[JK]": "input numbers of readers and cases",
        },
        looser={r"OR_DBM_MRMC_2.51_printed\..*": (0, None, "half a unit of the last printed digit")},
    )


def test_ustatistics_are_reproduced(reproduce: Callable[..., None]) -> None:
    reproduce(
        "mrmc_imrmc_example",
        mrmc_imrmc_example,
        left_out={r".*\.UstatOrMLE": "names the method"},
        looser={r"varDecomp.*": (1e-8, 1e-11, "differences of moments near 1")},
    )


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])


def study_of(rows: list[dict[str, str]], truth: Sequence[bool], **names: str) -> ReaderStudy:
    columns: dict[str, Any] = {ours: [row[theirs] for row in rows] for ours, theirs in names.items() if ours != "score"}
    return ReaderStudy.from_columns(**columns, malignant=truth, score=column(rows, names["score"]).tolist())


def ai_vs_readers_cad(table: Table, _: Tree) -> Tree:
    """RJafroc 2.1.3, StCadVsRad(datasetCadLroc, FOM = "Wilcoxon"): 1T-RRFC, 1T-RRRC, 2T-RRRC."""
    rows = table("ai_vs_readers_cad")
    study = study_of(rows, [row["truth"] == "1" for row in rows], reader="reader", case="case", score="rating")
    tree: dict[str, Any] = {}
    for name, analysis, interval in (("1T-RRFC", "RRFC", "CIAvgRadFom"), ("1T-RRRC", "RRRC", "CIAvgRad")):
        found = ai_vs_readers(study, "CAD", analysis=analysis)  # type: ignore[arg-type]
        gap, own = found.difference, found.model.estimate.value
        tree[name] = {
            "fomCAD": own,
            "fomRAD": [reader.estimate.value + own for reader in found.readers],
            "avgRadFom": found.panel.estimate.value,
            # RJafroc moves the interval of the difference to the panel's mean.
            interval: [gap.estimate.low + own, gap.estimate.high + own],
            "avgDiffFom": gap.estimate.value,
            "CIAvgDiffFom": [gap.estimate.low, gap.estimate.high],
            "varR": found.reader_variance,
            "varError": found.error,
            "cov2": found.cov2,
            "Tstat": gap.statistic,
            "df": gap.df,
            "pval": gap.p_value,
        }
    readers = study.scores[0, 1:]
    doubled = np.stack([np.repeat(study.scores[0, :1], len(readers), axis=0), readers])
    pair = ReaderStudy(doubled, study.malignant, ("CAD", "readers"), study.readers[1:], study.cases)
    two = mrmc(pair, scale="plain")
    assert two.test is not None
    assert two.components is not None
    (gap,), parts = two.differences, two.components
    matrix = covariance_matrix(structural_components(doubled.reshape(18, -1), study.malignant), "jackknife")
    off = ~np.eye(9, dtype=bool)
    tree["2T-RRRC"] = {key: tree["1T-RRRC"][key] for key in ("fomCAD", "fomRAD", "avgRadFom", "avgDiffFom")} | {
        "varDiffFom": tree["1T-RRRC"]["varR"],
        "ciDiffFom": {
            "Estimate": -gap.estimate.value,
            "StdErr": gap.standard_error,
            "DF": gap.df,
            "t": -gap.statistic,
            "PrGTt": gap.p_value,
            "CILower": -gap.estimate.high,
            "CIUpper": -gap.estimate.low,
        },
        "ciAvgRdrEachTrt": {
            "Estimate": [mean.estimate.value for mean in two.means],
            "StdErr": [mean.standard_error for mean in two.means],
            "DF": [mean.df for mean in two.means],
            "CILower": [mean.estimate.low for mean in two.means],
            "CIUpper": [mean.estimate.high for mean in two.means],
            "Cov2": [matrix[s, s][off].mean() for s in (slice(0, 9), slice(9, 18))],
        },
        "varR": parts.reader,
        "varTR": parts.modality_reader,
        "cov1": parts.cov1,
        "cov2": parts.cov2,
        "cov3": parts.cov3,
        "varError": parts.error,
        "FStat": two.test.statistic,
        "ndf": two.test.df1,
        "df": two.test.df2,
        "pval": two.test.p_value,
    }
    return tree


VANDYKE: dict[str, tuple[str, dict[str, Any]]] = {
    "RRRC_jackknife": ("case", {}),
    "RRRC_DeLong": ("case", {"covariance": "delong"}),
    "RRRC_unbiased": ("case", {"covariance": "unbiased"}),
    "FRRC_jackknife_MRMCaov": ("case", {"analysis": "FRRC"}),
    "RRFC": ("case", {"analysis": "RRFC"}),
    "binary_sens_rating_ge_3": ("case", {"endpoint": "sensitivity", "threshold": 3}),
    "binary_spec_rating_ge_3": ("case", {"endpoint": "specificity", "threshold": 3}),
    "case_nested_in_reader_jackknife": ("case2", {}),
    "case_nested_in_treatment_jackknife": ("case3", {}),
}


def mrmc_vandyke(table: Table, expected: Tree) -> Tree:
    """MRMCaov 0.3.0 @ d79e49bc; OR-DBM MRMC 2.51 and RJafroc @ 44b0e39e, its stored output and its sample sizes."""
    rows = table("mrmc_vandyke")
    truth = [row["truth"] == "1" for row in rows]
    studies = {
        case: study_of(rows, truth, reader="reader", modality="treatment", case=case, score="rating")
        for case in ("case", "case2", "case3")
    }
    tree: dict[str, Any] = {
        name: mrmcaov(studies[case], expected[name], settings) for name, (case, settings) in VANDYKE.items()
    }
    printed: dict[str, Any] = {}
    for analysis in ("RRRC", "FRRC", "RRFC"):
        found = mrmc(studies["case"], analysis=analysis, scale="plain")  # type: ignore[arg-type]
        test, (gap,) = found.test, found.differences
        assert test is not None
        printed[analysis] = {
            **dict.fromkeys(("F", "chi2"), test.statistic),
            **dict.fromkeys(("df", "df1"), test.df1),
            "df2": test.df2,
            "p": test.p_value,
            "error_term": test.error_term,
            "diff": gap.estimate.value,
            "se": gap.standard_error,
            **dict.fromkeys(("t", "z"), gap.statistic),
            "ci": [gap.estimate.low, gap.estimate.high],
        }
    pilot = mrmc(studies["case"]).components
    assert pilot is not None
    printed["OR_components"] = {
        "VarR": pilot.reader,
        "VarTR": pilot.modality_reader,
        "Cov1": pilot.cov1,
        "Cov2": pilot.cov2,
        "Cov3": pilot.cov3,
        "VarErr": pilot.error,
    }
    dbm = pilot.dbm
    printed["DBM_components"] = {
        "VarR": dbm.reader,
        "VarC": dbm.case,
        "VarTR": dbm.modality_reader,
        "VarTC": dbm.modality_case,
        "VarRC": dbm.reader_case,
        "VarTRC_err": dbm.error,
    }
    sizes = {}
    for analysis, row in expected["sample_size_RJafroc"].items():
        if analysis == "source":
            continue
        planned = mrmc_power(pilot, difference=-0.043800322, readers=row["J"], cases=row["K"], analysis=analysis)
        sizes[analysis] = {
            "power": planned.power,
            "ncp": planned.noncentrality,
            "df2": planned.df2,
            "Fcrit": planned.critical,
        }
    return tree | {"OR_DBM_MRMC_2.51_printed": printed, "sample_size_RJafroc": sizes}


def mrmcaov(study: ReaderStudy, wanted: Tree, settings: dict[str, Any]) -> Tree:
    """One analysis as MRMCaov prints it; it clips limits of means to 0 and 1, this project does not."""
    found, readers = mrmc(study, scale="plain", **settings), len(study.readers)
    test, parts = found.test, found.components
    assert test is not None
    (fom,) = {key for key in wanted["foms"][0] if key not in ("treatment", "reader")}
    cells = [cell.label.split(", ") for cell in found.cells]
    values = np.array([cell.estimate.value for cell in found.cells]).reshape(-1, readers)
    components = structural_components(
        study.scores[study.cells],
        study.malignant,
        endpoint=settings.get("endpoint", "auc"),
        threshold=settings.get("threshold"),
    )
    matrix = covariance_matrix(components, settings.get("covariance", "jackknife"))
    blocks = [matrix[i : i + readers, i : i + readers] for i in (0, readers)]
    off = ~np.eye(readers, dtype=bool)

    def effect(one: Effect, *, clipped: bool = False) -> dict[str, Any]:
        low, high = one.estimate.low, one.estimate.high
        return {
            "Estimate": one.estimate.value,
            "StdErr": one.standard_error,
            "df": one.df,
            "ci_lo": max(low, 0) if clipped else low,
            "ci_hi": min(high, 1) if clipped else high,
            "p-value": one.p_value,
            **dict.fromkeys(("t", "z"), one.statistic),
        }

    def named(label: list[str]) -> dict[str, str]:
        return {"reader": label[0], "treatment": label[1]}

    tree: dict[str, Any] = {
        "foms": [named(label) | {fom: c.estimate.value} for label, c in zip(cells, found.cells, strict=True)],
        "test_equality": [
            {
                "MS(T)": test.ms_modality,
                "MS(T:R)": test.ms_error,
                "Denominator": test.error_term,
                **dict.fromkeys(("F", "X2"), test.statistic),
                **dict.fromkeys(("df", "df1"), test.df1),
                "df2": test.df2,
                "p-value": test.p_value,
            }
        ],
        "test_diffs": [{"Comparison": one.label} | effect(one) for one in found.differences],
        "test_means": [
            effect(mean, clipped=True)
            | {"MS(R)": row.var(ddof=1), "Cov2": block[off].mean(), "Var(Error)": np.diag(block).mean()}
            for mean, row, block in zip(found.means, values, blocks, strict=True)
        ],
        "reader_test_diffs": [
            dict(zip(("Reader", "Comparison"), one.label.split(", "), strict=True)) | effect(one)
            for one in found.reader_differences
        ],
        "reader_means": [
            named(label) | {fom: one.estimate.value} | effect(one, clipped=True)
            for label, one in zip(cells, found.cells, strict=True)
        ],
    }
    if parts is not None:
        covariances = {"Cov1": parts.cov1, "Cov2": parts.cov2, "Cov3": parts.cov3}
        tree["test_equality"][0] |= covariances
        # A covariance's correlation; the three variances have none.
        own = {"reader": parts.reader, "treatment:reader": parts.modality_reader, "Error": parts.error} | covariances
        tree["variance_components"] = [
            {
                "component": name,
                "Estimate": np.nan_to_num(value),
                "Correlation": np.nan_to_num(value) / parts.error if name in covariances else None,
            }
            for name, value in own.items()
        ]
    return tree


def mrmc_imrmc_example(table: Table, expected: Tree) -> Tree:
    """iMRMC 2.1.2 @ ad589e57, doIMRMC(dfMRMC_example)."""
    rows = table("mrmc_imrmc_example")
    malignant = {row["caseID"]: row["score"] == "1" for row in rows if row["readerID"] == "truth"}
    rows = [row for row in rows if row["readerID"] != "truth"]
    truth = [malignant[row["caseID"]] for row in rows]
    study = study_of(rows, truth, reader="readerID", modality="modalityID", case="caseID", score="score")
    counts = {"NR": len(study.readers), "N0": int((~study.malignant).sum()), "N1": int(study.malignant.sum())}
    names = study.modalities
    sides = [(names[0], "NO_MOD"), (names[1], "NO_MOD"), names]
    tree: dict[str, Any] = {}
    for key, estimator in (("Ustat", "unbiased"), ("MLEstat", "mle")):
        found = ustat_mrmc(study, estimator=estimator, scale="plain")  # type: ignore[arg-type]
        normal = ustat_mrmc(study, estimator=estimator, df="normal", scale="plain")  # type: ignore[arg-type]
        effects = zip((*found.means, *found.differences), (*normal.means, *normal.differences), sides, strict=True)
        tree[key] = [
            counts
            | areas_of(effect, side, found.means)
            | {
                "pValueNormal": plain.p_value,
                "botCInormal": plain.estimate.low,
                "topCInormal": plain.estimate.high,
                "rejectNormal": int(plain.p_value < 0.05),
                "dfBDG": effect.df,
                "pValueBDG": effect.p_value,
                "botCIBDG": effect.estimate.low,
                "topCIBDG": effect.estimate.high,
                "rejectBDG": int(effect.p_value < 0.05),
            }
            for effect, plain, side in effects
        ]
    parts = ustat_mrmc(study, estimator="unbiased").components
    for key, kinds, labels in (
        ("varDecomp_BDG_Ustat", ("moments", "moment_coefficients"), [f"M{i}" for i in range(1, 9)]),
        ("varDecomp_BCK_Ustat", ("components", "component_coefficients"), ["N", "D", "ND", "R", "NR", "DR", "RND"]),
    ):
        tree[key] = {
            short: [
                {"modalityID.1": part.modalities[0], "modalityID.2": part.modalities[1]}
                | dict(zip(labels, getattr(part, kind), strict=True))
                for part in parts
            ]
            for short, kind in zip(("comp", "coeff"), kinds, strict=True)
        }
    single = mrmc(study, covariance="unbiased", scale="plain")
    of_reader = {name: [c for c in single.cells if c.label.startswith(f"{name}, ")] for name in study.readers}
    per_reader = [
        (name, side, of_reader[name][i] if i < 2 else single.reader_differences[j])
        for i, side in enumerate(sides)
        for j, name in enumerate(study.readers)
    ]
    tree["perReader"] = [
        {"readerID": name, "N0": counts["N0"], "N1": counts["N1"]} | areas_of(effect, side, of_reader[name])
        for name, side, effect in per_reader
    ]
    return tree


def areas_of(effect: Effect, side: tuple[str, ...], means: Sequence[Effect]) -> dict[str, Any]:
    """One modality's area, or two and their difference, as iMRMC lays them out."""
    paired = side[1] != "NO_MOD"
    first = means[0] if paired else effect
    found: dict[str, Any] = {
        "modalityA": side[0],
        "modalityB": side[1],
        "AUCA": first.estimate.value,
        "varAUCA": first.standard_error**2,
    }
    rest = (means[1], effect) if paired else (None, None)
    for name, one in zip(("AUCB", "AUCAminusAUCB"), rest, strict=True):
        found[name] = None if one is None else one.estimate.value
        found[f"var{name}"] = None if one is None else one.standard_error**2
    return found

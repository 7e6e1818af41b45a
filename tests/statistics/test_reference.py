"""Every other reference value reproduced: pROC, rms, Hmisc, brglm2, dcurves, mitoticFigureCounts and base R."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spinefx.statistics.accuracy import Confusion, diagnostic_odds_ratio, likelihood_ratios
from spinefx.statistics.benefit import (
    decision_curve,
    discrimination_by_class,
    discrimination_improvement,
    reclassification,
)
from spinefx.statistics.calibration import calibrate
from spinefx.statistics.clustered import ClusteredResult, clustered_auc, clustered_auc_difference
from spinefx.statistics.contingency import chi_square_p, fisher_exact
from spinefx.statistics.delong import areas_with_covariance, auc_difference, auc_difference_unpaired, auc_estimate
from spinefx.statistics.estimate import Estimate, clopper_pearson, normal_quantile
from spinefx.statistics.logistic import fit_logistic
from spinefx.statistics.roc_power import (
    BinormalCurve,
    auc_difference_power,
    auc_difference_sample_size,
    auc_power,
    binormal_covariance,
    fit_binormal,
)
from spinefx.statistics.roc_regions import partial_auc, youden_point

Tree = Any
Table = Callable[[str], list[dict[str, str]]]
Z = normal_quantile(0.95)
TEXT = r"(source|note|conventions|.*\.(source|note))"


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])


def limits(estimate: Estimate) -> list[float]:
    return [estimate.low, estimate.value, estimate.high]


def error_of(low: float, high: float) -> float:
    return (high - low) / 2 / Z


def test_roc_curves_and_their_power_are_reproduced(reproduce: Callable[..., None]) -> None:
    reproduce(
        "roc_asah",
        roc_asah,
        left_out={TEXT: "text"},
        looser={r"power\.(two|nca|nco).*": (5e-7, 0, "printed to 7 digits")},
    )


def test_calibration_and_reclassification_are_reproduced(reproduce: Callable[..., None]) -> None:
    reproduce(
        "calibration_nri",
        calibration_nri,
        left_out={TEXT: "text", r"categorical_NRI\.cuts\.\d": "input cuts"},
        looser={
            r".*\.(Emax|E90|Eavg)": (0, 1e-3, "R's lowess interpolates between close neighbours"),
            r".*\.(se|wald_ci\.\d|profile_ci\.\d)": (0, 5e-5, "R stops its fits at a deviance change of 1e-8"),
            r".*\.(est|Slope|Intercept|U:Chi-sq|U:p)": (0, 2e-8, "the same"),
        },
    )


def test_firths_penalty_is_reproduced(reproduce: Callable[..., None]) -> None:
    reproduce(
        "firth_endometrial",
        firth_endometrial,
        left_out={TEXT: "text"},
        looser={r".*": (1e-8, 1e-8, "R stops its fit at a score of 1e-8")},
    )


def test_decision_curves_are_reproduced(reproduce: Callable[..., None]) -> None:
    reproduce(
        "dca_df_binary",
        dca_df_binary,
        left_out={
            r".*\.(label|harm)": "a label, and the harm, which none of the three strategies has",
            r"(0|51|102)\.net_intervention_avoided": "divided by a threshold of 0, undefined here",
        },
        looser={r".*net_intervention_avoided": (1e-8, 1e-9, "divided by small thresholds")},
    )


def test_clustered_areas_are_reproduced(reproduce: Callable[..., None]) -> None:
    reproduce("clustered_mitotic", clustered_mitotic, left_out={TEXT: "text"})


def test_the_counts_of_the_paper_are_reproduced(
    reproduce: Callable[..., None], reference: Callable[[str], Tree]
) -> None:
    table2 = reference("yeh2022_published")["table2_TP_TN_FN_FP"]
    reproduce(
        "yeh2022",
        lambda _, expected: yeh2022(table2, expected),
        left_out={
            TEXT: "text",
            r"(table1_fisher|r1_error_analysis)\.\w+\.(malignant|benign|fp|tn)": "input counts",
        },
        looser={
            r"table1_fisher\.\w+\.ci\.\d": (5e-2, 0, "R's root finder: 4412 instead of 4537"),
            r"(table1_fisher\.\w+\.or_cmle|r1_error_analysis\.\w+\.(or|ci\.\d))": (1e-3, 0, "R's root finder"),
        },
    )


def roc_asah(table: Table, _: Tree) -> Tree:
    """pROC 1.18.0 on its aSAH data, and its tests test-roc.test.R and test-power.roc.test.R."""
    rows = table("asah")
    truth = column(rows, "y").astype(bool)
    scores = {name: column(rows, name) for name in ("wfns", "s100b", "ndka")}
    single, paired, unpaired = {}, {}, {}
    for name, values in scores.items():
        area = auc_estimate(values, truth, scale="plain")
        single[name] = {
            "auc": area.value,
            "var_delong": areas_with_covariance(values, truth)[1][0, 0],
            "ci_delong": [area.low, area.high],
            "var_obuchowski": binormal_covariance(values, truth, [mirrored(values, truth)])[0, 0],
        }
    for one, other in (("wfns", "s100b"), ("wfns", "ndka"), ("ndka", "s100b")):
        found = auc_difference(scores[one], scores[other], truth)
        z = found.statistic or 0.0
        paired[one, other] = {
            "z": z,
            "p": found.p,
            "cov": areas_with_covariance([scores[one], scores[other]], truth)[1][0, 1],
            "diff": found.estimate.value,
            "ci": [found.estimate.low, found.estimate.high],
            "p_greater": found.p / 2 if z > 0 else 1 - found.p / 2,
        }
        apart = auc_difference_unpaired(scores[one], truth, scores[other], truth)
        unpaired[f"{one}_{other}"] = {"D": apart.statistic, "p": apart.p}
    best = youden_point(scores["s100b"], truth)
    both = np.array([scores["ndka"], scores["wfns"]])
    areas, covariance = areas_with_covariance(both, truth)
    size = auc_difference_sample_size(areas, covariance, malignant=41, benign=72, power=0.9)
    old = binormal_covariance(both, truth, [mirrored(values, truth) for values in both])
    ndka = auc_estimate(scores["ndka"], truth, scale="plain")
    return {
        "single": single,
        "paired": {" - ".join(names): found for names, found in paired.items()},
        "partial_auc_s100b": {
            f"{short}_.9_1{'_corrected' * corrected}": partial_auc(
                scores["s100b"], truth, region=region, corrected=corrected
            ).value
            for short, region in (("spec", "specificity"), ("sens", "sensitivity"))
            for corrected in (False, True)
        },
        "youden_s100b": {
            "threshold": best.threshold,
            "specificity": best.confusion.specificity.value,
            "sensitivity": best.confusion.sensitivity.value,
        },
        "power": {
            "one_curve_s100b": auc_power(auc_estimate(scores["s100b"], truth).value, 41, 72),
            "auc.73_41_72": auc_power(0.73, 41, 72),
            "two_curves_ndka_wfns_delong": auc_difference_power(areas, covariance),
            "two_curves_obuchowski": auc_difference_power(areas, old),
            "ncases_for_power.9_delong": size[0],
            "ncontrols": size[1],
        },
        "repo_values": {
            **{"_".join(names): {key: found[key] for key in ("z", "p", "ci")} for names, found in paired.items()},
            "unpaired": unpaired,
            "ci_auc_ndka": limits(ndka),
        },
    }


def mirrored(scores: np.ndarray, truth: np.ndarray) -> BinormalCurve:
    """What pROC 1.18.0 took for a curve's parameters: those with the classes changed over (later releases do not)."""
    curve = fit_binormal(scores, truth)
    return BinormalCurve(curve.separation / curve.ratio, 1 / curve.ratio)


def calibration_nri(table: Table, expected: Tree) -> Tree:
    """rms 6.5.0 val.prob, Hmisc 4.8.0 improveProb, R 4.2.2 glm."""
    rows = table("asah")
    y = column(rows, "y").astype(bool)
    p = {name: column(rows, name) for name in ("p_base", "p_new", "p_over")}
    calibration = {}
    for name, values in p.items():
        found = calibrate(values, y)
        d, u, q = found.indices
        slope = found.slope
        calibration[name] = {
            "val_prob": {
                "Dxy": 2 * found.auc.value - 1,
                "C (ROC)": found.auc.value,
                "R2": found.nagelkerke,
                "D": d,
                "D:Chi-sq": found.likelihood_gain,
                "D:p": None,
                "U": u,
                "U:Chi-sq": found.unreliability.statistic,
                "U:p": found.unreliability.p,
                "Q": q,
                "Brier": found.brier.value,
                "Intercept": found.slope_intercept,
                "Slope": slope.value,
                "Emax": found.max_error,
                "E90": found.error_90,
                "Eavg": found.mean_error,
                "S:z": found.spiegelhalter.statistic,
                "S:p": found.spiegelhalter.p,
            },
            "calibration_in_the_large": {
                "est": found.intercept.value,
                "se": error_of(found.intercept.low, found.intercept.high),
            },
            "slope": {
                "est": slope.value,
                "se": found.slope_standard_error,
                "wald_ci": [slope.value + sign * Z * found.slope_standard_error for sign in (-1, 1)],
                "profile_ci": [slope.low, slope.high],
            },
            "hosmer_lemeshow_g10": {
                "chi2": found.hosmer_lemeshow.statistic,
                "df": found.hosmer_lemeshow.df,
                "p": found.hosmer_lemeshow.p,
            },
            "brier": found.brier.value,
        }
    free = reclassification(p["p_base"], p["p_new"], y)
    cut = reclassification(p["p_base"], p["p_new"], y, expected["categorical_NRI"]["cuts"])
    gain, parts = (
        discrimination_improvement(p["p_base"], p["p_new"], y),
        discrimination_by_class(p["p_base"], p["p_new"], y),
    )
    of = {"nri": free.net.estimate, "nri.ev": free.malignant, "nri.ne": free.benign, "idi": gain.estimate}
    return {
        "calibration": calibration,
        "category_free_NRI_IDI": {name: estimate.value for name, estimate in of.items()}
        | {f"se.{name}": error_of(estimate.low, estimate.high) for name, estimate in of.items()}
        | {"z.nri": free.net.statistic, "z.idi": gain.statistic}
        | {"improveSens": parts[0].value, "improveSpec": parts[1].value},
        "categorical_NRI": {
            "up_ev": cut.up_malignant,
            "down_ev": cut.down_malignant,
            "up_ne": cut.up_benign,
            "down_ne": cut.down_benign,
            "nri": cut.net.estimate.value,
        },
    }


def firth_endometrial(table: Table, expected: Tree) -> Tree:
    """brglm2 0.9 (AS_mean, Firth) on Heinze and Schemper's data."""
    rows = table("firth_endometrial")
    names = list(expected["coef"])
    fit = fit_logistic(np.column_stack([column(rows, name) for name in names[1:]]), column(rows, "HG").astype(bool))
    return {
        "coef": dict(zip(names, fit.coefficients, strict=True)),
        "se_expected_information": dict(zip(names, fit.standard_errors, strict=True)),
        "deviance": -2 * fit.log_likelihood,
    }


def dca_df_binary(table: Table, expected: Tree) -> Tree:
    """dcurves @ 168c8b65, tests/benchmark_data/r_case1_results.csv: each row of each column."""
    rows = table("dca_df_binary")
    cancer = np.array([row["cancer"] == "TRUE" for row in rows])
    scores = {"famhistory": column(rows, "famhistory"), "all": np.ones(len(rows)), "none": np.zeros(len(rows))}
    tree: list[Tree] = []
    for name, group in ((row["variable"], row) for row in expected):
        at = float(group["threshold"])
        found = decision_curve(scores[name], cancer, [at])
        tree.append(
            {
                "variable": name,
                "n": found.n,
                "threshold": at,
                "pos_rate": cancer.mean(),
                "test_pos_rate": found.positive_rate[0],
                "tp_rate": found.true_positive_rate[0],
                "fp_rate": found.false_positive_rate[0],
                "net_benefit": found.benefit[0],
            }
            | ({"net_intervention_avoided": found.interventions_avoided[0]} if at else {})
        )
    return tree


def clustered_mitotic(table: Table, _: Tree) -> Tree:
    """DIDSR/mitoticFigureCounts @ 5675b0be, R/doAUCcluster.R (Obuchowski 1997), scanner A."""
    rows = [row for row in table("clustered_mitotic") if row["modalityID"] == "scanner.A"]
    truth = column(rows, "truth").astype(bool)
    observer = {number: column(rows, f"observer.{number}") for number in range(1, 6)}
    member = {
        "no_cluster": [str(number) for number in range(len(rows))],
        "cluster_roi": [row["roiID"] for row in rows],
        "cluster_wsi": [row["wsiName"] for row in rows],
    }

    def as_printed(result: ClusteredResult, suffix: str = "") -> Tree:
        effect = result.effect
        return {
            f"auc{suffix}": effect.estimate.value,
            f"auc.var{suffix}": effect.standard_error**2,
            f"auc.se{suffix}": effect.standard_error,
            f"ci.bot{suffix}": effect.estimate.low,
            f"ci.top{suffix}": effect.estimate.high,
        }

    def area(values: np.ndarray, cluster: str, suffix: str = "") -> Tree:
        return as_printed(clustered_auc(values, truth, member[cluster], scale="plain"), suffix)

    pairs = {}
    for cluster in ("cluster_roi", "cluster_wsi"):
        apart = clustered_auc_difference(observer[1], observer[4], truth, member[cluster], distribution="normal")
        pairs[cluster] = (
            area(observer[1], cluster, ".A")
            | area(observer[4], cluster, ".B")
            | as_printed(apart, ".AminusB")
            | {"p.value": apart.effect.p_value}
        )
    total = np.sum(list(observer.values()), axis=0)
    return {
        "scanner.A_sum_of_5_observers": {cluster: area(total, cluster) for cluster in member},
        "scanner.A_observer.1": {"cluster_roi": area(observer[1], "cluster_roi")},
        "scanner.A_observer.1_vs_observer.4": pairs,
    }


def yeh2022(table2: dict[str, list[int]], expected: Tree) -> Tree:
    """R 4.2.2 fisher.test, prop.test, binom.test and epiR 2.0.57 on the counts of Yeh 2022."""
    table1 = {}
    for name, row in expected["table1_fisher"].items():
        found = fisher_exact(row["malignant"], 50, row["benign"], 140)
        low, value, high = limits(found.estimate)
        table1[name] = {"p": found.p, "or_cmle": value, "ci": [low, high]}
    errors = {}
    for name, row in expected["r1_error_analysis"].items():
        cells = (row["fp"], 54, row["tn"], 86)
        found = fisher_exact(*cells)
        low, value, high = limits(found.estimate)
        chi2 = {"chi2": chi_square_p(*cells), "chi2_yates": chi_square_p(*cells, corrected=True)}
        errors[name] = {"fisher": found.p, "or": value, "ci": [low, high]} | chi2
    by_reader = {name: epi(Confusion(*counts)) for name, counts in table2.items()}
    return {"table1_fisher": table1, "table2": by_reader, "r1_error_analysis": errors}


def epi(confusion: Confusion) -> Tree:
    """Table 2's shares with both intervals, and epiR's measures; some of those are complements of others."""
    tree: dict[str, Any] = {}
    for short, name in (("sens", "sensitivity"), ("spec", "specificity"), ("acc", "accuracy")):
        wilsons, exact = getattr(confusion, name), confusion.exact(name)
        tree[short] = {
            "k": wilsons.k,
            "n": wilsons.n,
            "wilson": [wilsons.low, wilsons.high],
            "clopper_pearson": [exact.low, exact.high],
        }
    se, sp, ppv, npv = (limits(confusion.exact(name)) for name in ("sensitivity", "specificity", "ppv", "npv"))
    called, ill = confusion.tp + confusion.fp, confusion.tp + confusion.fn
    total = ill + confusion.tn + confusion.fp
    positive, negative = likelihood_ratios(confusion)
    apparent = limits(clopper_pearson(called, total))
    youden = [a + b - 1 for a, b in zip(se, sp, strict=True)]
    measures = {
        "ap": apparent,
        "tp": limits(clopper_pearson(ill, total)),
        "se": se,
        "sp": sp,
        "diag.ac": limits(confusion.exact("accuracy")),
        "diag.or": limits(diagnostic_odds_ratio(confusion)),
        "nndx": [1 / part for part in reversed(youden)],
        "youden": youden,
        "pv.pos": ppv,
        "pv.neg": npv,
        "lr.pos": limits(positive),
        "lr.neg": limits(negative),
        "p.rin": apparent,
    }
    for name, share in (("p.rout", apparent), ("p.tpdn", sp), ("p.tndp", se), ("p.dntp", ppv), ("p.dptn", npv)):
        measures[name] = [1 - part for part in reversed(share)]
    named = {name: dict(zip(("lo", "est", "hi"), values, strict=True)) for name, values in measures.items()}
    return tree | {"epi_tests": named}

"""Every number of other programs that lies beside the checkout, reproduced; a number that nobody reproduces fails.

``data/statistics/*_expected.*`` hold what R packages, OR-DBM MRMC, RJafroc, iMRMC and dcurves gave (the README there
names program, version and commit of each; so does each function here). A function here builds the same tree from this
package; its leaves are compared with theirs, and a leaf that it lacks has to stand in LEFT_OUT with the reason.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinefx.statistics.accuracy import Confusion, diagnostic_odds_ratio, likelihood_ratios
from spinefx.statistics.benefit import (
    decision_curve,
    discrimination_by_class,
    discrimination_improvement,
    reclassification,
)
from spinefx.statistics.calibration import calibrate
from spinefx.statistics.clustered import ClusteredResult, clustered_auc, clustered_auc_difference
from spinefx.statistics.delong import areas_with_covariance, auc_difference, auc_difference_unpaired, auc_estimate
from spinefx.statistics.effect import Effect
from spinefx.statistics.estimate import Estimate, clopper_pearson, delta_variance, normal_quantile, normal_test
from spinefx.statistics.logistic import fit_logistic
from spinefx.statistics.mrmc.anova import mrmc
from spinefx.statistics.mrmc.covariance import covariance_matrix, structural_components
from spinefx.statistics.mrmc.panel import ai_vs_readers
from spinefx.statistics.mrmc.power import mrmc_power
from spinefx.statistics.mrmc.scores import ReaderStudy
from spinefx.statistics.mrmc.ustatistic import ustat_mrmc
from spinefx.statistics.paired.mcnemar import MCNEMAR_METHODS, generalised_mcnemar, mcnemar, mcnemar_p
from spinefx.statistics.paired.predictive import (
    compare_likelihood_ratios,
    compare_predictive_values,
    relative_predictive_values,
)
from spinefx.statistics.paired.table import (
    PairedAccuracy,
    PairedTable,
    paired_difference,
    paired_odds_ratio,
    paired_ratio,
)
from spinefx.statistics.roc_power import (
    BinormalCurve,
    auc_difference_power,
    auc_difference_sample_size,
    auc_power,
    binormal_covariance,
    fit_binormal,
)
from spinefx.statistics.roc_regions import partial_auc, youden_point
from spinefx.statistics.twogroups import chi_square_p, fisher_exact

Tree = Any
Z = normal_quantile(0.95)
FILES: dict[str, Callable[[Path, Tree], Tree]] = {}

# What is no result: which leaves (of which file), and why they are not compared.
LEFT_OUT = {
    r".*: (source|note|conventions|.*\.(source|note))": "words",
    r"mrmc_vandyke: .*\.covariance": "names the method that the test calls",
    r"mrmc_vandyke: .*\._row": "R's name of a row",
    r"mrmc_imrmc_example: .*\.UstatOrMLE": "names the method that the test calls",
    r"paired_binary: .*\.(method|alpha\.0)": "names the method, or its level of 0.05",
    r"paired_binary: (mcnemar\.\w+\.[bc]|paired_ci\.\w+\.x\.\d|DTComPair_\w+\.counts\.\w+\.\d)": "counts that go in",
    r"yeh2022: (table1_fisher|r1_error_analysis)\.\w+\.(malignant|benign|fp|tn)": "counts that go in",
    r"calibration_nri: categorical_NRI\.cuts\.\d": "cuts that go in",
    r"mrmc_vandyke: sample_size_RJafroc\.\w+\.[JK]": "readers and cases that go in",
    r"dca_df_binary: .*\.(label|harm)": "a label; and harm, which none of the three strategies has",
    r"dca_df_binary: (0|51|102)\.net_intervention_avoided": "divided by a threshold of 0, undefined here",
    r"paired_binary: paired_ci\.yeh_R1_vs_ResNet_sens_k3\.OR\.Wald\.0": "R's exp(-Inf) of a zero cell: no limit here",
}
# Where 1e-8 (relative, or 1e-12) asks more than the other program gives: tolerance (relative, absolute), and why.
LOOSER = {
    r"paired_binary: paired_ci\.\w+\.(RD|RR)\.MOVER-.*": (0, 5e-7, "ratesci prints MOVER to 6 decimals"),
    r"paired_binary: paired_ci\.[fy]\w+\.(RD|RR|OR)\..*": (0, 6e-9, "ratesci prints 8 decimals"),
    r"paired_binary: paired_ci\.published_.*RR_tang.*": (0, 5.1e-5, "printed to 4 decimals"),
    r"paired_binary: paired_ci\.published_.*": (0, 5.1e-4, "printed to 3 decimals"),
    r"paired_binary: .*diff_ci_tango.*": (0, 2e-6, "PropCIs stops its search at 1e-6 or so"),
    r"roc_asah: power\.(two|nca|nco).*": (5e-7, 0, "printed to 7 digits"),
    r"calibration_nri: .*\.(Emax|E90|Eavg)": (0, 1e-3, "R's lowess interpolates between close neighbours"),
    r"calibration_nri: .*\.(se|wald_ci\.\d|profile_ci\.\d)": (0, 5e-5, "R stops its fits at a deviance change of 1e-8"),
    r"calibration_nri: .*\.(est|Slope|Intercept|U:Chi-sq|U:p)": (0, 2e-8, "the same"),
    r"mrmc_vandyke: OR_DBM_MRMC_2.51_printed\..*": (0, None, "half a unit of the last digit that it prints"),
    r"mrmc_imrmc_example: varDecomp.*": (1e-8, 1e-11, "differences of moments near 1"),
    r"yeh2022: table1_fisher\.\w+\.ci\.\d": (5e-2, 0, "R's root finder: 4412 for 4537 (README)"),
    r"yeh2022: (table1_fisher\.\w+\.or_cmle|r1_error_analysis\.\w+\.(or|ci\.\d))": (1e-3, 0, "R's root finder"),
    r"firth_endometrial: .*": (1e-8, 1e-8, "R stops its fit at a score of 1e-8"),
    r"dca_df_binary: .*net_intervention_avoided": (1e-8, 1e-9, "divided by small thresholds"),
}


def mirror(name: str) -> Callable[[Callable[[Path, Tree], Tree]], Callable[[Path, Tree], Tree]]:
    """Enter a function that builds the tree of ``NAME_expected``."""

    def enter(build: Callable[[Path, Tree], Tree]) -> Callable[[Path, Tree], Tree]:
        FILES[name] = build
        return build

    return enter


def leaves(node: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield from leaves(child, (*path, str(key)))
    elif isinstance(node, Sequence) and not isinstance(node, str):
        yield from leaves(dict(enumerate(node)), path)
    else:
        yield ".".join(path), node


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])


def around(estimate: Estimate) -> list[float]:
    return [estimate.low, estimate.value, estimate.high]


def flipped(limits: list[float]) -> list[float]:
    """Second minus first instead of first minus second."""
    return [-limit for limit in reversed(limits)]


def error_of(low: float, high: float) -> float:
    return (high - low) / 2 / Z


@mirror("paired_binary")
def paired_binary(_: Path, expected: Tree) -> Tree:
    """R 4.2.2 mcnemar.test and binom.test; ratesci @ dbe2ab79, PropCIs; Fagerland 2014; DTComPair 1.2.2 @ 4517a7cd."""
    tests = ("exact", "midp", "chi2", "chi2_cc")
    tree: dict[str, Any] = {
        "mcnemar": {
            name: {
                theirs: float(mcnemar_p(entry["b"], entry["c"], ours))
                for theirs, ours in zip(tests, MCNEMAR_METHODS, strict=True)
            }
            for name, entry in expected["mcnemar"].items()
        },
        "paired_ci": {
            name: ratesci(PairedTable(*entry["x"])) for name, entry in expected["paired_ci"].items() if "x" in entry
        },
    }
    ahr = PairedTable(1, 1, 7, 12)
    published = {
        "tango": (paired_difference, "tango"),
        "newcombe_method10": (paired_difference, "newcombe10"),
        "wald": (paired_difference, "wald"),
        "wald_cc": (paired_difference, "wald_cc"),
        "bonett_price": (paired_difference, "bonett_price"),
        "RR_wald": (paired_ratio, "wald"),
        "RR_bonett_price": (paired_ratio, "bonett_price"),
        "RR_tang": (paired_ratio, "tang"),
        "OR_midp": (paired_odds_ratio, "midp"),
        "OR_cp": (paired_odds_ratio, "exact"),
        "OR_wilson": (paired_odds_ratio, "wilson"),
    }
    tree["paired_ci"]["published_fagerland_2014_3dp"] = {
        name: around(function(ahr, method))[::2] for name, (function, method) in published.items()
    }
    for name in ("DTComPair_Paired1", "DTComPair_small"):
        tree[name] = dtcompair(expected[name]["counts"])
    return tree


def ratesci(table: PairedTable) -> Tree:
    names = {
        "RD": (
            paired_difference,
            {
                "SCAS": "scas",
                "SCASu": "scas_uncorrected",
                "Tango score": "tango",
                "MOVER-NW": "newcombe10",
                "MOVER-NJ": "mover_jeffreys",
                "Wald": "wald",
                "Agresti-Min": "agresti_min",
                "Bonett-Price": "bonett_price",
            },
        ),
        "RR": (
            paired_ratio,
            {
                "SCAS": "scas",
                "SCASu": "scas_uncorrected",
                "Tang score": "tang",
                "MOVER-W": "mover_wilson",
                "MOVER-NW": "mover_newcombe",
                "MOVER-NJ": "mover_jeffreys",
                "Wald": "wald",
                "Bonett-Price": "bonett_price",
                "Bonett-Price-J": "bonett_price_jeffreys",
            },
        ),
        "OR": (
            paired_odds_ratio,
            {
                "Transformed SCASp": "scas",
                "Transformed midp": "midp",
                "Transformed Wilson": "wilson",
                "Transformed Jeffreys": "jeffreys",
                "Wald": "wald",
            },
        ),
    }
    found: Tree = {
        kind: {theirs: around(function(table, ours)) for theirs, ours in methods.items()}
        for kind, (function, methods) in names.items()
    }
    if np.isnan(found["OR"]["Wald"][0]):
        del found["OR"]["Wald"][0]
        found["OR"]["Wald"] = dict(enumerate(found["OR"]["Wald"], start=1))
    return found


def dtcompair(counts: dict[str, list[int]]) -> Tree:
    """DTComPair orders cells T1+T2+, T1-T2+, T1+T2-, T1-T2-; in benign cases a positive call is wrong."""
    both, second, first, neither = counts["diseased"]
    wrong, first_right, second_right, right = counts["non_diseased"]
    pair = PairedAccuracy(
        PairedTable(both, first, second, neither), PairedTable(right, first_right, second_right, wrong)
    )
    confusions = [
        Confusion(both + one, right + own, other + neither, others + wrong)
        for one, own, other, others in (
            (first, first_right, second, second_right),
            (second, second_right, first, first_right),
        )
    ]
    one, other = confusions
    tests: dict[str, Any] = {"generalized_mcnemar": [generalised_mcnemar(pair).statistic, generalised_mcnemar(pair).p]}
    for name, table in (("sensitivity", pair.malignant), ("specificity", pair.benign)):
        shares = {
            "test1": table.first.value,
            "test2": table.second.value,
            "diff": table.second.value - table.first.value,
        }
        for method, kind in (("mcnemar", "chi2"), ("exactbinom", "exact")):
            found = mcnemar(table, kind)
            entry = shares | {"test.statistic": found.statistic, "p.value": found.p}
            tests.setdefault(f"sesp.{method}", {})[name] = entry
        ratio, label = paired_ratio(table, "wald"), f"rel.{name[:4]}"
        error = error_of(np.log(ratio.low), np.log(ratio.high))
        tests.setdefault("sesp.rel", {})[name] = shares | {
            label: 1 / ratio.value,
            f"se.log.{label}": error,
            f"lcl.{label}": 1 / ratio.high,
            f"ucl.{label}": 1 / ratio.low,
            f"pval.{label}": normal_test(np.log(ratio.value) / error),
        }
        for method in ("wald", "agresti-min", "tango"):
            low, _, high = flipped(around(paired_difference(table, method.replace("-", "_"))))
            if method == "agresti-min":
                # DTComPair takes their width but centres it on the plain difference; ratesci does as they did.
                low, high = (shares["diff"] + sign * (high - low) / 2 for sign in (-1, 1))
            # PropCIs gives Tango's limits no standard error.
            error_given = None if method == "tango" else error_of(low, high)
            tests.setdefault(f"diff_ci_{method}", {})[name] = shares | {
                "diff.se": error_given,
                "diff.lcl": low,
                "diff.ucl": high,
            }
    tests |= predictive_tests(pair, one, other)
    return {"acc": {f"Test{i}": accuracies(confusion) for i, confusion in enumerate(confusions, 1)}, "tests": tests}


def predictive_tests(pair: PairedAccuracy, one: Confusion, other: Confusion) -> Tree:
    tests: dict[str, Any] = {}
    values = {name: {"test1": getattr(one, name).value, "test2": getattr(other, name).value} for name in ("ppv", "npv")}
    for method in ("gs", "wgs"):
        tests[f"pv.{method}"] = {
            name: values[name] | {"diff": -found.estimate.value, "test.statistic": found.statistic, "p.value": found.p}
            for found, name in zip(compare_predictive_values(pair, method), ("ppv", "npv"), strict=True)
        }
    relative, errors = {}, []
    for found, name in zip(relative_predictive_values(pair), ("ppv", "npv"), strict=True):
        errors.append(error_of(np.log(found.estimate.low), np.log(found.estimate.high)))
        # DTComPair 1.2.2 gives second over first.
        relative[name] = values[name] | {
            f"r{name}": 1 / found.estimate.value,
            f"se.log.r{name}": errors[-1],
            f"lcl.r{name}": 1 / found.estimate.high,
            f"ucl.r{name}": 1 / found.estimate.low,
            "test.statistic": -(found.statistic or 0.0),
            "p.value": found.p,
        }

    def log_ratios(cells: np.ndarray, sign: int) -> complex:
        """Log ratio of positive predictive values, plus or less that of negative ones, second over first."""
        m_both, m_first, m_second, m_none, b_both, b_first, b_second, b_none = cells
        first_ppv = (m_both + m_first) / (m_both + m_first + b_none + b_second)
        second_ppv = (m_both + m_second) / (m_both + m_second + b_none + b_first)
        first_npv = (b_both + b_first) / (b_both + b_first + m_none + m_second)
        second_npv = (b_both + b_second) / (b_both + b_second + m_none + m_first)
        return complex(np.log(second_ppv / first_ppv) + sign * np.log(second_npv / first_npv))

    cells = [*pair.malignant.cells, *pair.benign.cells]
    summed, apart = (delta_variance(lambda c, s=sign: log_ratios(c, s), cells) for sign in (1, -1))
    shared = (summed - apart) / 4
    tests["pv.rpv"] = relative | {"Sigma": [errors[0] ** 2, shared, shared, errors[1] ** 2]}
    likelihood = [likelihood_ratios(confusion) for confusion in (one, other)]
    tests["dlr.regtest"] = {
        name: {
            "test1": likelihood[0][i].value,
            "test2": likelihood[1][i].value,
            "ratio": found.estimate.value,
            "se.log": error_of(np.log(found.estimate.low), np.log(found.estimate.high)),
            "test.statistic": found.statistic,
            "p.value": found.p,
            "lcl": found.estimate.low,
            "ucl": found.estimate.high,
        }
        for i, (found, name) in enumerate(zip(compare_likelihood_ratios(pair), ("pdlr", "ndlr"), strict=True))
    }
    return tests


def accuracies(confusion: Confusion) -> Tree:
    """Shares with Wald limits, put together from the delta method, and likelihood ratios."""
    tree: dict[str, Any] = {}
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        share: Estimate = getattr(confusion, name)
        k, n = share.k or 0, share.n or 0
        error = np.sqrt(delta_variance(lambda c: complex(c[0] / (c[0] + c[1])), [k, n - k]))
        tree[name] = {"est": share.value, "se": error, "lcl": share.value - Z * error, "ucl": share.value + Z * error}
    for name, found in zip(("pdlr", "ndlr"), likelihood_ratios(confusion), strict=True):
        error = error_of(np.log(found.low), np.log(found.high))
        tree[name] = {"est": found.value, "se.ln": error, "lcl": found.low, "ucl": found.high}
    return tree


@mirror("roc_asah")
def roc_asah(folder: Path, _: Tree) -> Tree:
    """pROC 1.18.0 on its aSAH data, and its tests test-roc.test.R and test-power.roc.test.R."""
    rows = rows_of(folder, "asah")
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
            "ci_auc_ndka": around(ndka),
        },
    }


def mirrored(scores: np.ndarray, truth: np.ndarray) -> BinormalCurve:
    """What pROC 1.18.0 took for a curve's parameters: those with the classes changed over (later releases do not)."""
    curve = fit_binormal(scores, truth)
    return BinormalCurve(curve.separation / curve.ratio, 1 / curve.ratio)


@mirror("calibration_nri")
def calibration_nri(folder: Path, expected: Tree) -> Tree:
    """rms 6.5.0 val.prob, Hmisc 4.8.0 improveProb, R 4.2.2 glm."""
    rows = rows_of(folder, "asah")
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
                "Emax": found.worst_error,
                "E90": found.error_90,
                "Eavg": found.expected_error,
                "S:z": found.spiegelhalter.statistic,
                "S:p": found.spiegelhalter.p,
            },
            "calibration_in_the_large": {
                "est": found.intercept.value,
                "se": error_of(found.intercept.low, found.intercept.high),
            },
            "slope": {
                "est": slope.value,
                "se": found.slope_error,
                "wald_ci": [slope.value + sign * Z * found.slope_error for sign in (-1, 1)],
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


@mirror("firth_endometrial")
def firth_endometrial(folder: Path, expected: Tree) -> Tree:
    """brglm2 0.9 (AS_mean, Firth) on Heinze and Schemper's data."""
    rows = rows_of(folder, "firth_endometrial")
    names = list(expected["coef"])
    fit = fit_logistic(np.column_stack([column(rows, name) for name in names[1:]]), column(rows, "HG").astype(bool))
    return {
        "coef": dict(zip(names, fit.coefficients, strict=True)),
        "se_expected_information": dict(zip(names, fit.errors, strict=True)),
        "deviance": -2 * fit.log_likelihood,
    }


@mirror("dca_df_binary")
def dca_df_binary(folder: Path, expected: Tree) -> Tree:
    """dcurves @ 168c8b65, tests/benchmark_data/r_case1_results.csv: each row of each column."""
    rows = rows_of(folder, "dca_df_binary")
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


@mirror("clustered_mitotic")
def clustered_mitotic(folder: Path, _: Tree) -> Tree:
    """DIDSR/mitoticFigureCounts @ 5675b0be, R/doAUCcluster.R (Obuchowski 1997), scanner A."""
    rows = [row for row in rows_of(folder, "clustered_mitotic") if row["modalityID"] == "scanner.A"]
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
        apart = clustered_auc_difference(observer[1], observer[4], truth, member[cluster], reach="normal")
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


def study_of(rows: list[dict[str, str]], truth: Sequence[bool], **names: str) -> ReaderStudy:
    columns: dict[str, Any] = {ours: [row[theirs] for row in rows] for ours, theirs in names.items() if ours != "score"}
    return ReaderStudy.from_columns(**columns, malignant=truth, score=column(rows, names["score"]).tolist())


@mirror("ai_vs_readers_cad")
def ai_vs_readers_cad(folder: Path, _: Tree) -> Tree:
    """RJafroc 2.1.3, StCadVsRad(datasetCadLroc, FOM = "Wilcoxon"): 1T-RRFC, 1T-RRRC, 2T-RRRC."""
    rows = rows_of(folder, "ai_vs_readers_cad")
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


@mirror("mrmc_vandyke")
def mrmc_vandyke(folder: Path, expected: Tree) -> Tree:
    """MRMCaov 0.3.0 @ d79e49bc; OR-DBM MRMC 2.51 and RJafroc @ 44b0e39e, its stored output and its sample sizes."""
    rows = rows_of(folder, "mrmc_vandyke")
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


@mirror("mrmc_imrmc_example")
def mrmc_imrmc_example(folder: Path, expected: Tree) -> Tree:
    """iMRMC 2.1.2 @ ad589e57, doIMRMC(dfMRMC_example)."""
    rows = rows_of(folder, "mrmc_imrmc_example")
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


@mirror("yeh2022")
def yeh2022(folder: Path, expected: Tree) -> Tree:
    """R 4.2.2 fisher.test, prop.test, binom.test and epiR 2.0.57 on the counts of Yeh 2022."""
    published = json.loads((folder / "yeh2022_published.json").read_text(encoding="utf-8"))
    table1 = {}
    for name, row in expected["table1_fisher"].items():
        found = fisher_exact(row["malignant"], 50, row["benign"], 140)
        low, value, high = around(found.estimate)
        table1[name] = {"p": found.p, "or_cmle": value, "ci": [low, high]}
    errors = {}
    for name, row in expected["r1_error_analysis"].items():
        cells = (row["fp"], 54, row["tn"], 86)
        found = fisher_exact(*cells)
        low, value, high = around(found.estimate)
        chi2 = {"chi2": chi_square_p(*cells), "chi2_yates": chi_square_p(*cells, corrected=True)}
        errors[name] = {"fisher": found.p, "or": value, "ci": [low, high]} | chi2
    table2 = {name: epi(Confusion(*counts)) for name, counts in published["table2_TP_TN_FN_FP"].items()}
    return {"table1_fisher": table1, "table2": table2, "r1_error_analysis": errors}


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
    se, sp, ppv, npv = (around(confusion.exact(name)) for name in ("sensitivity", "specificity", "ppv", "npv"))
    called, ill = confusion.tp + confusion.fp, confusion.tp + confusion.fn
    total = ill + confusion.tn + confusion.fp
    positive, negative = likelihood_ratios(confusion)
    apparent = around(clopper_pearson(called, total))
    youden = [a + b - 1 for a, b in zip(se, sp, strict=True)]
    measures = {
        "ap": apparent,
        "tp": around(clopper_pearson(ill, total)),
        "se": se,
        "sp": sp,
        "diag.ac": around(confusion.exact("accuracy")),
        "diag.or": around(diagnostic_odds_ratio(confusion)),
        "nndx": [1 / part for part in reversed(youden)],
        "youden": youden,
        "pv.pos": ppv,
        "pv.neg": npv,
        "lr.pos": around(positive),
        "lr.neg": around(negative),
        "p.rin": apparent,
    }
    for name, share in (("p.rout", apparent), ("p.tpdn", sp), ("p.tndp", se), ("p.dntp", ppv), ("p.dptn", npv)):
        measures[name] = [1 - part for part in reversed(share)]
    named = {name: dict(zip(("lo", "est", "hi"), values, strict=True)) for name, values in measures.items()}
    return tree | {"epi_tests": named}


# The numbers of statistics.md C3 in their order there, item by item, as leaves of the trees above.
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
    # The audit, which test_audit.py holds to A1, line by line.
    9: ("paired_binary", []),
}
# Decimals of C3 that are no results: a program's version, and the effect that power was asked for.
NO_RESULTS = {1: ["2.51"], 6: ["0.0438"]}


@cache
def trees(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Leaves by path: theirs, ours."""
    path = folder / f"{name}_expected.json"
    theirs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else rows_of(folder, f"{name}_expected")
    return dict(leaves(theirs)), dict(leaves(FILES[name](folder, theirs)))


@pytest.fixture(scope="module")
def statistics(shared_data: Path) -> Path:
    return shared_data / "statistics"


def tolerances(where: str, wanted: float) -> dict[str, float]:
    for pattern, (relative, absolute, _) in LOOSER.items():
        if re.fullmatch(pattern, where):
            if absolute is None:
                return {"rel": 0, "abs": half_unit(repr(wanted))}
            return {"rel": relative, "abs": absolute}
    return {"rel": 1e-8, "abs": 1e-12}


def half_unit(printed: str) -> float:
    """Half a unit of the last digit, and a little for rounding."""
    digits, _, power = printed.lower().partition("e")
    return 0.51 * 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))


def test_every_file_of_expected_values_has_its_mirror(statistics: Path) -> None:
    lying = {path.name.rpartition("_expected")[0] for path in statistics.glob("*_expected.*")}
    assert lying == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_every_expected_value_is_reproduced(statistics: Path, name: str) -> None:
    """The source of each number is in the docstring of the function that reproduces it."""
    theirs, ours = trees(statistics, name)
    unread, apart = [], []
    for path, wanted in theirs.items():
        where = f"{name}: {path}"
        if path not in ours:
            if not any(re.fullmatch(pattern, where) for pattern in LEFT_OUT):
                unread.append(where)
            continue
        found = ours[path]
        if wanted is None or wanted == "NA":
            same = found is None or not np.isfinite(found)
        elif found is None or isinstance(found, str):
            same = found == wanted
        else:
            same = float(found) == pytest.approx(float(wanted), **tolerances(where, float(wanted)))
        if not same:
            apart.append(f"{where}: {found}, not {wanted}")
    assert not unread, f"{len(unread)} values that nobody reproduces, the first: {unread[:5]}"
    assert not apart, f"{len(apart)} of {len(theirs)} values differ, the first: {apart[:5]}"


def test_nothing_is_excused_that_is_compared_or_not_there(statistics: Path) -> None:
    compared, left = [], []
    for name in FILES:
        theirs, ours = trees(statistics, name)
        compared += [f"{name}: {path}" for path in theirs if path in ours]
        left += [f"{name}: {path}" for path in theirs if path not in ours]
    assert len(compared) > 3500
    for pattern in LEFT_OUT:
        assert any(re.fullmatch(pattern, where) for where in left), f"nothing left to excuse: {pattern}"
    for pattern in LOOSER:
        assert any(re.fullmatch(pattern, where) for where in compared), f"no value is so loosely compared: {pattern}"
    assert all(reason for reason in LEFT_OUT.values())


def test_an_unread_and_a_changed_value_would_be_seen(statistics: Path) -> None:
    """A guard that cannot fail guards nothing."""
    theirs, ours = trees(statistics, "roc_asah")
    path = "single.ndka.auc"
    assert float(ours[path]) != pytest.approx(theirs[path] * (1 + 1e-7), **tolerances(f"roc_asah: {path}", 0.6))
    assert not any(re.fullmatch(pattern, "roc_asah: single.ndka.auc_new") for pattern in LEFT_OUT)


def test_the_numbers_of_the_project_statistics_are_these(shared_data: Path, statistics: Path) -> None:
    """Statistics C3, each decimal to half a unit of its last digit; a decimal added there fails until it is here."""
    text = (shared_data.parent / "statistics.md").read_text(encoding="utf-8")
    section = text.partition("### C3.")[2].partition("### C4.")[0]
    items = re.split(r"(?m)^(?=\d+\. )", section)[1:]
    assert len(items) == len(C3)
    for number, ((name, paths), item) in enumerate(zip(C3.values(), items, strict=True), 1):
        printed = re.findall(r"(?<![\w.])-?\d+\.\d+(?:e-?\d+)?(?!\d|\.\d)", item)
        for other in NO_RESULTS.get(number, []):
            printed.remove(other)
        assert len(printed) == len(paths), f"item {number}: {printed}"
        for path, shown in zip(paths, printed, strict=True):
            file, _, leaf = path.rpartition(": ")
            found = trees(statistics, file or name)[1][leaf]
            assert float(found) == pytest.approx(float(shown), rel=0, abs=half_unit(shown)), f"item {number}: {path}"

"""Every reference value of paired comparisons reproduced: R, ratesci, PropCIs, Fagerland 2014 and DTComPair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spinefx.statistics.accuracy import Confusion, likelihood_ratios
from spinefx.statistics.estimate import Estimate, delta_variance, normal_quantile, normal_test
from spinefx.statistics.paired.intervals import paired_difference, paired_odds_ratio, paired_ratio
from spinefx.statistics.paired.mcnemar import MCNEMAR_METHODS, generalised_mcnemar, mcnemar, mcnemar_p
from spinefx.statistics.paired.predictive import (
    compare_likelihood_ratios,
    compare_predictive_values,
    relative_predictive_values,
)
from spinefx.statistics.paired.table import PairedAccuracy, PairedTable

Tree = Any
Table = Callable[[str], list[dict[str, str]]]
Z = normal_quantile(0.95)


def limits(estimate: Estimate) -> list[float]:
    return [estimate.low, estimate.value, estimate.high]


def negated(values: list[float]) -> list[float]:
    """Second minus first instead of first minus second."""
    return [-value for value in reversed(values)]


def error_of(low: float, high: float) -> float:
    return (high - low) / 2 / Z


def test_paired_values_are_reproduced(reproduce: Callable[..., None]) -> None:
    reproduce(
        "paired_binary",
        paired_binary,
        left_out={
            r"(note|conventions|.*\.(source|note))": "text",
            r".*\.(method|alpha\.0)": "names the method, or its level of 0.05",
            r"(mcnemar\.\w+\.[bc]|paired_ci\.\w+\.x\.\d|DTComPair_\w+\.counts\.\w+\.\d)": "input counts",
            r"paired_ci\.yeh_R1_vs_ResNet_sens_k3\.OR\.Wald\.0": "R's exp(-Inf) of an empty cell: no limit here",
        },
        looser={
            r"paired_ci\.\w+\.(RD|RR)\.MOVER-.*": (0, 5e-7, "ratesci prints MOVER to 6 decimals"),
            r"paired_ci\.[fy]\w+\.(RD|RR|OR)\..*": (0, 6e-9, "ratesci prints 8 decimals"),
            r"paired_ci\.published_.*RR_tang.*": (0, 5.1e-5, "printed to 4 decimals"),
            r"paired_ci\.published_.*": (0, 5.1e-4, "printed to 3 decimals"),
            r".*diff_ci_tango.*": (0, 2e-6, "PropCIs stops its search at about 1e-6"),
        },
    )


def paired_binary(_: Table, expected: Tree) -> Tree:
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
        name: limits(function(ahr, method))[::2] for name, (function, method) in published.items()
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
        kind: {theirs: limits(function(table, ours)) for theirs, ours in methods.items()}
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
            low, _, high = negated(limits(paired_difference(table, method.replace("-", "_"))))
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

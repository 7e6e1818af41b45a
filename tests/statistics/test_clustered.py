"""Clustered areas and proportions against closed forms; the values of mitoticFigureCounts are in test_reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from spinefx.errors import InputError
from spinefx.statistics.clustered import (
    clustered_auc,
    clustered_proportion,
    clustered_proportion_difference,
    clustered_sensitivity,
    clustered_specificity,
)
from spinefx.statistics.estimate import wilson
from spinefx.statistics.mrmc.covariance import delong_covariance, structural_components


def test_few_clusters_are_counted_by_class_with_a_warning(
    reference_table: Callable[[str], list[dict[str, str]]],
) -> None:
    rows = reference_table("clustered_mitotic")
    rows = [row for row in rows if row["modalityID"] == "scanner.A"]
    scores, truth = [float(row["observer.1"]) for row in rows], [row["truth"] == "1" for row in rows]
    result = clustered_auc(scores, truth, [row["wsiName"] for row in rows])
    assert (result.findings, result.clusters, result.malignant_clusters, result.benign_clusters) == (155, 4, 4, 4)
    assert result.notes[0].startswith("Only 4 clusters with malignant findings")


def test_one_finding_per_cluster_has_delongs_variance() -> None:
    rng = np.random.default_rng(1)
    truth = np.arange(50) < 20
    scores = truth + rng.normal(0, 1, 50)
    variance = delong_covariance(structural_components(scores, truth))[0, 0]
    assert clustered_auc(scores, truth, range(50)).effect.standard_error ** 2 == pytest.approx(variance)


def test_the_logit_interval_stays_within_0_and_1_with_the_same_standard_error() -> None:
    rng = np.random.default_rng(4)
    truth, patient = np.arange(60) < 24, np.repeat(np.arange(20), 3)
    scores = 3 * truth + rng.normal(0, 1, 60)
    plain, logit = (clustered_auc(scores, truth, patient, scale=scale).effect for scale in ("plain", "logit"))
    assert plain.estimate.high > 1 > logit.estimate.high > logit.estimate.value == plain.estimate.value
    assert logit.standard_error == pytest.approx(plain.standard_error)
    assert logit.df == 7
    limits = np.array([logit.estimate.low, logit.estimate.high])
    half = np.diff(np.log(limits / (1 - limits)))[0] / 2
    slope = logit.estimate.value * (1 - logit.estimate.value)
    assert half == pytest.approx(2.364624251592785 * logit.standard_error / slope)


def test_copies_of_findings_within_clusters_add_nothing() -> None:
    """With every finding three times in its cluster, estimates and standard errors are the same."""
    rng = np.random.default_rng(2)
    truth = np.arange(60) < 25
    scores = truth + rng.normal(0, 1, 60)
    once = clustered_auc(scores, truth, range(60)).effect
    often = clustered_auc(np.repeat(scores, 3), np.repeat(truth, 3), np.repeat(range(60), 3)).effect
    assert often.estimate.value == pytest.approx(once.estimate.value)
    assert often.standard_error == pytest.approx(once.standard_error)
    right = scores > 0.5
    single, tripled = (
        clustered_proportion(right, range(60)),
        clustered_proportion(np.repeat(right, 3), np.repeat(range(60), 3)),
    )
    assert tripled.effect.standard_error == pytest.approx(single.effect.standard_error)
    assert tripled.effect.estimate.low == pytest.approx(single.effect.estimate.low)


def test_a_proportion_of_one_finding_per_cluster_is_binomial() -> None:
    right = np.arange(80) < 60
    result = clustered_proportion(right, range(80), "sensitivity", distribution="normal")
    assert result.effect.standard_error == pytest.approx(np.sqrt(0.75 * 0.25 / 79))
    assert result.effect.estimate.low == pytest.approx(wilson(60, 80).low, abs=1e-3)
    assert (result.effect.estimate.k, result.effect.estimate.n, result.clusters) == (60, 80, 80)


def test_the_ratio_estimator_follows_rao_and_scott() -> None:
    """The variance is m / (m - 1) / n^2 times the sum of squared residuals of cluster totals."""
    right = [1, 1, 0, 1, 1, 1, 0, 0, 1, 1]
    patient = ["a", "a", "a", "b", "b", "c", "c", "d", "d", "d"]
    p, residuals = 0.7, np.array([2 - 0.7 * 3, 2 - 0.7 * 2, 1 - 0.7 * 2, 2 - 0.7 * 3])
    result = clustered_proportion(right, patient)
    assert result.effect.estimate.value == pytest.approx(p)
    assert result.effect.standard_error == pytest.approx(np.sqrt(4 / 3 * (residuals**2).sum() / 100))
    assert result.notes == ("Only 4 clusters: with fewer than 20 the standard error itself is uncertain.",)


def test_sensitivity_and_specificity_count_findings_of_their_class() -> None:
    called = [1, 1, 0, 1, 0, 0, 1, 0]
    malignant = [1, 1, 1, 1, 0, 0, 0, 0]
    patient = ["a", "a", "b", "c", "c", "d", "d", "e"]
    sensitivity, specificity = (f(called, malignant, patient) for f in (clustered_sensitivity, clustered_specificity))
    assert (sensitivity.effect.estimate.k, sensitivity.effect.estimate.n, sensitivity.clusters) == (3, 4, 3)
    assert (specificity.effect.estimate.k, specificity.effect.estimate.n, specificity.clusters) == (3, 4, 3)
    assert (sensitivity.malignant_clusters, sensitivity.benign_clusters) == (3, 3)
    with pytest.raises(InputError, match="no findings"):
        clustered_sensitivity([1, 0], [0, 0], ["a", "b"])


def test_if_all_findings_are_correct_each_cluster_counts_once() -> None:
    result = clustered_proportion([True] * 40, np.repeat(range(10), 4), distribution="normal")
    assert result.effect.estimate.high == pytest.approx(1)
    assert result.effect.estimate.low == pytest.approx(wilson(10, 10).low)


def test_the_difference_of_paired_proportions() -> None:
    rng = np.random.default_rng(3)
    patient = np.repeat(range(30), 2)
    first, second = rng.random(60) < 0.9, rng.random(60) < 0.6
    result = clustered_proportion_difference(first, second, patient)
    totals = np.bincount(patient, first.astype(float) - second - (first.mean() - second.mean()))
    assert result.effect.estimate.value == pytest.approx(first.mean() - second.mean())
    assert result.effect.standard_error == pytest.approx(np.sqrt(30 / 29 * (totals**2).sum()) / 60)
    same = clustered_proportion_difference(first, first, patient).effect
    assert same.estimate.value == 0
    assert np.isnan(same.p_value)


def test_too_few_clusters_or_classes_are_refused() -> None:
    with pytest.raises(InputError, match="findings of one class"):
        clustered_auc([1, 2], [True, True], ["a", "b"])
    with pytest.raises(InputError, match="a class with a single cluster"):
        clustered_auc([1, 2, 3], [True, False, False], ["a", "b", "c"])
    with pytest.raises(InputError, match="scale 'log'"):
        clustered_auc([1, 2], [True, False], ["a", "b"], scale="log")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no findings"):
        clustered_proportion([], [])
    with pytest.raises(InputError, match="a single cluster"):
        clustered_proportion([1, 0], ["a", "a"])
    perfect = clustered_auc([1, 2, 8, 9], [False, False, True, True], ["a", "b", "a", "b"])
    assert perfect.effect.estimate.value == 1
    assert np.isnan(perfect.effect.estimate.low)
    assert perfect.notes[-1].startswith("No variance")
    missing = clustered_auc([1, np.nan, 2, 8, 1, 9], [0, 0, 0, 1, 1, 1], ["a", "x", "b", "a", "b", "b"])
    assert (missing.findings, missing.clusters) == (5, 2)

"""Structural components and their covariances against brute force and against each other."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.errors import InputError
from spinefx.statistics.accuracy import Roc
from spinefx.statistics.mrmc.covariance import (
    covariance_matrix,
    delong_covariance,
    jackknife_covariance,
    pair_moments,
    structural_components,
    unbiased_covariance,
)

TRUTH = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0], bool)


def win(positive: float, negative: float) -> float:
    return float(positive > negative) + 0.5 * float(positive == negative)


def area(scores: np.ndarray, truth: np.ndarray) -> float:
    read = np.isfinite(scores)
    return float(np.mean([win(p, n) for p, n in product(scores[truth & read], scores[~truth & read])]))


def draw(seed: int, *holes: tuple[int, int]) -> np.ndarray:
    scores = np.random.default_rng(seed).integers(0, 5, (3, TRUTH.size)).astype(float)
    for hole in holes:
        scores[hole] = np.nan
    return scores


HOLES = ((0, 1), (1, 5), (2, 5), (2, 8))


@given(st.integers(0, 1000), st.booleans())
def test_unbiased_covariance_agrees_with_brute_force(seed: int, holes: bool) -> None:
    """The product of areas minus the mean product over pairs without a common case, with ties and missing readings."""
    scores = draw(seed, *(HOLES if holes else ()))
    ours = unbiased_covariance(structural_components(scores, TRUTH))
    malignant, benign = np.flatnonzero(TRUTH), np.flatnonzero(~TRUTH)
    for a, b in product(range(3), repeat=2):
        products = [
            win(scores[a, i], scores[a, j]) * win(scores[b, k], scores[b, m])
            for i, j, k, m in product(malignant, benign, malignant, benign)
            if i != k and j != m and np.isfinite([scores[a, i], scores[a, j], scores[b, k], scores[b, m]]).all()
        ]
        wanted = area(scores[a], TRUTH) * area(scores[b], TRUTH) - np.mean(products)
        assert ours[a, b] == pytest.approx(wanted, abs=1e-12)


@given(st.integers(0, 1000))
def test_centred_moments_are_moments_of_shifted_wins(seed: int) -> None:
    scores, centre = draw(seed, *HOLES), np.array([0.5, 0.7, 0.4])
    ours = pair_moments(structural_components(scores, TRUTH), centre)
    wins = np.array([[[win(p, n) for n in row[~TRUTH]] for p in row[TRUTH]] for row in scores]) - centre[:, None, None]
    read = np.isfinite(scores[:, TRUTH, None]) & np.isfinite(scores[:, None, ~TRUTH])
    wins = np.where(read, wins, 0)
    for sums, values in ((ours.sums, wins), (ours.counts, read.astype(float))):
        wanted = (
            np.einsum("aij,bij->ab", values, values),
            np.einsum("ai,bi->ab", values.sum(2), values.sum(2)),
            np.einsum("aj,bj->ab", values.sum(1), values.sum(1)),
            np.outer(values.sum((1, 2)), values.sum((1, 2))),
        )
        assert sums == pytest.approx(np.stack(wanted))


@given(st.integers(0, 1000), st.sampled_from(["auc", "sensitivity", "specificity"]))
def test_the_jackknife_agrees_with_leaving_out_each_case(seed: int, endpoint: str) -> None:
    scores, threshold = draw(seed, *HOLES), None if endpoint == "auc" else 3.0
    ours = jackknife_covariance(structural_components(scores, TRUTH, endpoint=endpoint, threshold=threshold))  # type: ignore[arg-type]
    needed = {"auc": TRUTH | True, "sensitivity": TRUTH, "specificity": ~TRUTH}[endpoint]
    left_out = []
    for case in np.flatnonzero(needed):
        kept = np.arange(TRUTH.size) != case
        parts = structural_components(scores[:, kept], TRUTH[kept], endpoint=endpoint, threshold=threshold)  # type: ignore[arg-type]
        left_out.append(parts.values)
    wanted = np.cov(np.array(left_out).T, ddof=0) * (len(left_out) - 1)
    assert ours == pytest.approx(wanted, abs=1e-12)


def test_delongs_variance_is_that_of_the_interval_of_the_curve() -> None:
    """The logit interval of the curve implies the variance in the matrix."""
    rng = np.random.default_rng(8)
    truth = rng.random(60) < 0.4
    scores = np.round(truth + rng.normal(0, 1, 60), 1)
    auc = Roc.of(scores, truth).auc
    logits = np.log([auc.low / (1 - auc.low), auc.high / (1 - auc.high)])
    error = np.diff(logits)[0] / 2 / 1.959963984540054 * auc.value * (1 - auc.value)
    components = structural_components(scores, truth)
    assert components.values[0] == pytest.approx(auc.value)
    assert delong_covariance(components)[0, 0] == pytest.approx(error**2)


def test_all_methods_agree_for_proportions_and_converge_for_areas() -> None:
    rng = np.random.default_rng(9)
    truth = np.arange(400) < 200
    scores = truth + rng.normal(0, 1, (2, 1)) * 0.1 + rng.normal(0, 1, 400) + rng.normal(0, 0.5, (2, 400))
    binary = structural_components(scores, truth, endpoint="sensitivity", threshold=1.0)
    calls = (scores[:, truth] >= 1).astype(float)
    for method in (jackknife_covariance, delong_covariance, unbiased_covariance):
        assert method(binary) == pytest.approx(np.cov(calls) / 200)
    areas = structural_components(scores, truth)
    assert jackknife_covariance(areas) == pytest.approx(delong_covariance(areas), rel=0.01)
    assert unbiased_covariance(areas) == pytest.approx(delong_covariance(areas), rel=0.02)


def test_cells_that_share_no_case_are_independent() -> None:
    scores = draw(1).repeat(2, axis=1)
    truth = TRUTH.repeat(2)
    scores[0, ::2], scores[1, 1::2] = np.nan, np.nan
    for method in ("jackknife", "delong", "unbiased"):
        matrix = covariance_matrix(structural_components(scores, truth), method)  # type: ignore[arg-type]
        assert matrix[0, 1] == 0
        assert matrix[0, 2] != 0


def test_sums_in_blocks_include_every_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = draw(3, *HOLES)
    whole = pair_moments(structural_components(scores, TRUTH)).sums
    monkeypatch.setattr("spinefx.statistics.mrmc.covariance.BLOCK", 1)
    assert np.array_equal(pair_moments(structural_components(scores, TRUTH)).sums, whole)


def test_invalid_inputs_are_refused() -> None:
    scores = draw(2)
    holed = np.where((np.arange(3) == 1)[:, None] & TRUTH, np.nan, scores)
    with pytest.raises(InputError, match="r2: no malignant case read, so no auc"):
        structural_components(holed, TRUTH, names=("r1", "r2", "r3"))
    single = structural_components(scores[:, 3:], TRUTH[3:])
    with pytest.raises(InputError, match="single malignant case"):
        jackknife_covariance(single)
    with pytest.raises(InputError, match="threshold None for sensitivity"):
        structural_components(scores, TRUTH, endpoint="sensitivity")
    with pytest.raises(InputError, match=r"threshold 3\.0 for auc"):
        structural_components(scores, TRUTH, threshold=3.0)
    with pytest.raises(InputError, match="endpoint 'kappa'"):
        structural_components(scores, TRUTH, endpoint="kappa")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="covariance method 'bootstrap'"):
        covariance_matrix(structural_components(scores, TRUTH), "bootstrap")  # type: ignore[arg-type]

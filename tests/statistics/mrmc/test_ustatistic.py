"""U-statistic analyses of any design; the values of iMRMC are in test_reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from spinefx.statistics.mrmc.anova import mrmc
from spinefx.statistics.mrmc.roe_metz import RoeMetz
from spinefx.statistics.mrmc.scores import ReaderStudy
from spinefx.statistics.mrmc.ustatistic import ustat_mrmc

Variation = Callable[..., ReaderStudy]


def test_ustatistics_and_analysis_of_variance_agree_in_balanced_designs(with_scores: Variation) -> None:
    """From products of wins over different cases and readers, and from mean squares with unbiased covariances."""
    study = RoeMetz((1.2, 1.5)).draw(np.random.default_rng(6), readers=6, malignant=36, benign=36)
    modality, reader, case = np.ogrid[:2, :6, :72]
    for keep in (case >= 0, case % 2 == modality, reader % 2 == modality, case % 6 == reader):
        scores = np.where(keep & np.isfinite(study.scores), study.scores, np.nan)
        thinned = with_scores(scores, study)
        ours = mrmc(thinned, covariance="unbiased")
        assert ours.components is not None
        shared = np.nan_to_num(ours.components.cov2 - ours.components.cov3)
        assert shared >= -1e-15, "otherwise the floor of the analysis of variance applies"
        (difference,) = ustat_mrmc(thinned).differences
        assert difference.standard_error == pytest.approx(ours.differences[0].standard_error)


def test_centring_keeps_variances_positive_if_a_reader_lacks_a_modality(without: Variation) -> None:
    """Both estimate the same variance, but without centring it is negative in three of ten studies."""
    rng, model = np.random.default_rng(4), RoeMetz((1.2, 1.5), reader=0.03, modality_reader=0.03)
    variances = []
    for _ in range(60):
        study = model.draw(rng, readers=5, malignant=30, benign=30)
        results = [ustat_mrmc(without(study, (0, 0)), estimator=name) for name in ("centred", "unbiased")]
        of = [[part.value for part in result.components] for result in results]
        variances.append([first + second - 2 * both for first, second, both in of])
    centred, plain = np.array(variances).T
    assert centred.min() > 0
    assert (plain < 0).mean() > 0.1
    assert centred.mean() == pytest.approx(plain.mean(), abs=3 * plain.std() / np.sqrt(60))


def test_very_unequal_readers_leave_one_degree_of_freedom(study: ReaderStudy, without: Variation) -> None:
    pair = study.only(readers=["reader 1", "reader 2"])
    effect = ustat_mrmc(without(pair, (slice(None), 1, slice(2, 18)), (slice(None), 1, slice(22, 50)))).means[0]
    assert effect.df >= 1


def test_binary_endpoints_have_the_variance_of_proportions(study: ReaderStudy) -> None:
    """From pairs of malignant and benign cases, and from the U-statistic of the proportions."""
    for endpoint, of_class in (("sensitivity", study.malignant), ("specificity", ~study.malignant)):
        result = ustat_mrmc(study, endpoint=endpoint, threshold=1.0)  # type: ignore[arg-type]
        called = study.scores[..., of_class] >= 1
        right = called if endpoint == "sensitivity" else ~called
        for mean, calls in zip(result.means, right, strict=True):
            assert mean.estimate.value == pytest.approx(calls.mean())
            # Unbiased: square of the mean less mean product over different readers and different cases.
            readers, cases = calls.shape
            total = calls.sum() ** 2 - (calls.sum(0) ** 2).sum() - (calls.sum(1) ** 2).sum() + calls.sum()
            wanted = calls.mean() ** 2 - total / (readers * (readers - 1) * cases * (cases - 1))
            assert mean.standard_error**2 == pytest.approx(wanted, rel=1e-6)


def test_centring_changes_nothing_in_a_crossed_design(study: ReaderStudy) -> None:
    centred, plain = (ustat_mrmc(study, estimator=name) for name in ("centred", "unbiased"))  # type: ignore[arg-type]
    for one, other in zip((*centred.means, *centred.differences), (*plain.means, *plain.differences), strict=True):
        assert (one.standard_error, one.df, one.estimate.low) == pytest.approx(
            (other.standard_error, other.df, other.estimate.low)
        )

"""Obuchowski-Rockette analyses in every design, beyond the values of other programs in test_reference."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spinefx.errors import InputError
from spinefx.statistics.mrmc.anova import mrmc
from spinefx.statistics.mrmc.covariance import delong_covariance, structural_components
from spinefx.statistics.mrmc.roe_metz import RoeMetz
from spinefx.statistics.mrmc.scores import Design, ReaderStudy
from spinefx.statistics.mrmc.ustatistic import ustat_mrmc

Variation = Callable[..., ReaderStudy]


def test_the_examples_of_the_documentation_run() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "multi-reader-studies.md"
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted > 15
    assert result.failed == 0


def test_f_is_the_square_of_t_in_every_design(study: ReaderStudy, blocks: ReaderStudy, without: Variation) -> None:
    apart = without(study, (0, slice(0, 1)), (1, slice(1, 4)))
    for varied, design in (
        (study, Design.FACTORIAL),
        (blocks, Design.SPLIT_PLOT),
        (apart, Design.READERS_IN_MODALITIES),
    ):
        assert varied.design == design
        for analysis in ("RRRC", "FRRC") if design == Design.READERS_IN_MODALITIES else ("RRRC", "FRRC", "RRFC"):
            if design == Design.READERS_IN_MODALITIES and analysis == "RRRC":
                with pytest.raises(InputError, match="a single random reader"):
                    mrmc(varied, analysis="RRRC")
                continue
            result = mrmc(varied, analysis=analysis)  # type: ignore[arg-type]
            assert result.test is not None
            assert result.test.statistic == pytest.approx(result.differences[0].statistic ** 2)
            assert result.test.p_value == pytest.approx(result.differences[0].p_value)


def test_fixed_readers_have_the_variance_of_a_contrast(
    study: ReaderStudy, blocks: ReaderStudy, without: Variation
) -> None:
    """From averaged components without the floor, and from the contrast applied to the whole covariance matrix."""
    uneven = without(study, (slice(None), 0, slice(0, None, 2)), (slice(None), slice(1, 4), slice(1, None, 2)))
    apart = without(study, (0, slice(0, 2)), (1, slice(2, 4)))
    holes = without(study, (0, 0, slice(0, 7)), (1, 2, slice(12, 25)))
    for varied in (study, blocks, uneven, apart, holes):
        read = varied.cells
        matrix = delong_covariance(structural_components(varied.scores[read], varied.malignant))
        weights = np.where(read, np.array([[1.0], [-1.0]]) / read.sum(axis=1, keepdims=True), 0)[read]
        (difference,) = mrmc(varied, analysis="FRRC", covariance="delong", floor=False).differences
        assert difference.standard_error**2 == pytest.approx(weights @ matrix @ weights)


def test_the_floor_matters_for_fixed_readers_only_if_cov2_is_below_cov3(study: ReaderStudy) -> None:
    """Modality B is A with the readers swapped, so different readers agree more between modalities than within."""
    rng = np.random.default_rng(2)
    first, second = (study.malignant + rng.normal(0, 1, 50) for _ in range(2))
    jitter = rng.normal(0, 0.2, (2, 2, 50))
    swapped = ReaderStudy(
        np.array([[first, second], [second, first]]) + jitter, study.malignant, ("A", "B"), ("r", "s"), study.cases
    )
    floored, plain = (mrmc(swapped, analysis="FRRC", floor=floor) for floor in (True, False))
    components = floored.components
    assert components is not None
    assert components.cov2 < components.cov3
    assert plain.test is not None
    assert floored.test is not None
    assert floored.test.error_term == pytest.approx(components.error - components.cov1)
    assert plain.test.error_term == pytest.approx(floored.test.error_term + components.cov2 - components.cov3)
    random = mrmc(swapped)
    assert random.test is not None
    assert random.test.error_term == pytest.approx(random.test.ms_error)
    assert random.test.df2 == pytest.approx(1)
    assert mrmc(study, analysis="FRRC").test == mrmc(study, analysis="FRRC", floor=False).test


def test_the_error_term_of_a_split_plot_is_computed_within_blocks(blocks: ReaderStudy) -> None:
    """Differences between the blocks of readers do not enter it."""
    assert list(blocks.reader_blocks) == [0, 0, 1, 1]
    result = mrmc(blocks)
    assert result.test is not None
    assert result.test.df_error == 2
    values = np.array([cell.estimate.value for cell in result.cells]).reshape(2, 4)
    within = [
        ((half - half.mean(0) - half.mean(1, keepdims=True) + half.mean()) ** 2).sum()
        for half in np.split(values, 2, 1)
    ]
    assert result.test.ms_error == pytest.approx(sum(within) / 2)


def test_readers_nested_in_modalities_follow_hillis(study: ReaderStudy, without: Variation) -> None:
    """Hillis 2014, Stat Med 33:330, Table VII: MS(T) / (MS[R(T)] + r max(Cov2 - Cov3, 0)), df t(r-1) scaled."""
    nested = without(study, (0, slice(0, 2)), (1, slice(2, 4)))
    result = mrmc(nested)
    assert result.test is not None
    assert result.components is not None
    values = np.array([cell.estimate.value for cell in result.cells]).reshape(2, 2)
    means = values.mean(axis=1)
    square = ((values - means[:, None]) ** 2).sum() / 2
    term = square + 2 * max(result.components.cov2 - result.components.cov3, 0)
    assert result.test.statistic == pytest.approx(2 * means.var(ddof=1) / term)
    assert result.test.df2 == pytest.approx(term**2 / (square**2 / 2))
    assert np.isnan(result.components.cov1)
    assert np.isnan(result.components.modality_reader)


def test_three_modalities_are_compared_in_every_pair() -> None:
    study = RoeMetz((1.0, 1.3, 2.0)).draw(np.random.default_rng(3), readers=4, malignant=30, benign=30)
    result = mrmc(study)
    assert [effect.label for effect in result.differences] == ["A - B", "A - C", "B - C"]
    assert result.test is not None
    assert result.test.df1 == 2
    mean_square = np.mean([effect.statistic**2 for effect in result.differences])
    assert result.test.statistic == pytest.approx(mean_square)
    assert "p" in result.table.columns


def test_one_modality_has_means_and_no_test(study: ReaderStudy) -> None:
    result = mrmc(study.only(modalities=["A"]))
    assert result.test is None
    assert result.differences == ()
    assert result.notes == ("There is only one modality, so there is nothing to compare.",)
    (mean,), (same, _) = result.means, mrmc(study).means
    # The jackknife's factor counts cases, so one modality alone gives the very same interval.
    assert mean == same


def test_a_single_reader_can_be_fixed_but_not_random(study: ReaderStudy) -> None:
    single = study.only(readers=["reader 1"])
    for analysis in ("RRRC", "RRFC"):
        with pytest.raises(InputError, match="a single random reader"):
            mrmc(single, analysis=analysis)  # type: ignore[arg-type]
    result = mrmc(single, analysis="FRRC")
    assert result.differences[0].p_value == pytest.approx(result.reader_differences[0].p_value)
    with pytest.raises(InputError, match="FRRC"):
        ustat_mrmc(single)


def test_missing_readings_are_counted(study: ReaderStudy, without: Variation) -> None:
    half = without(study, (0, 1, slice(0, None, 2)))
    result = mrmc(half)
    assert result.counts.missing == 25
    assert "25 readings are missing" in result.notes[0]
    alone = mrmc(half.only(readers=["reader 2"], modalities=["A"]), analysis="FRRC").cells[0]
    (cell,) = [cell for cell in result.cells if cell.label == "reader 2, A"]
    assert cell.estimate.value == pytest.approx(alone.estimate.value)
    assert ustat_mrmc(half).means[0].standard_error > 0


def test_arbitrary_designs_are_left_to_ustatistics(study: ReaderStudy, without: Variation) -> None:
    patchy = without(study, (0, 0), (1, 2, slice(0, 9)))
    assert patchy.design == Design.ARBITRARY
    with pytest.raises(InputError, match="ustat_mrmc"):
        mrmc(patchy)
    (difference,) = ustat_mrmc(patchy).differences
    assert difference.estimate.low < difference.estimate.value < difference.estimate.high


def test_without_malignant_cases_only_specificity_can_be_analysed(study: ReaderStudy) -> None:
    kept = slice(20, None)
    benign = ReaderStudy(
        study.scores[..., kept], study.malignant[kept], study.modalities, study.readers, study.cases[kept]
    )
    for endpoint, threshold in (("auc", None), ("sensitivity", 1.0)):
        with pytest.raises(InputError, match="reader 1, A: no malignant case read"):
            mrmc(benign, endpoint=endpoint, threshold=threshold)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cases of one class"):
        ustat_mrmc(benign, endpoint="specificity", threshold=1.0)
    result = mrmc(benign, endpoint="specificity", threshold=1.0)
    assert result.counts.malignant == 0
    assert np.isfinite(result.differences[0].p_value)


def test_a_single_malignant_case_leaves_no_variance(study: ReaderStudy) -> None:
    kept = slice(19, None)
    single = ReaderStudy(
        study.scores[..., kept], study.malignant[kept], study.modalities, study.readers, study.cases[kept]
    )
    with pytest.raises(InputError, match="single malignant case"):
        mrmc(single)
    with pytest.raises(InputError, match="a single case of a class"):
        ustat_mrmc(single)
    assert np.isfinite(mrmc(single, analysis="RRFC").differences[0].p_value)


def test_perfect_separation_has_a_value_but_no_interval(study: ReaderStudy, with_scores: Variation) -> None:
    result = mrmc(with_scores(study.scores + 50 * study.malignant))
    assert [mean.estimate.value for mean in result.means] == [1, 1]
    assert np.isnan(result.differences[0].p_value)
    assert np.isnan(result.differences[0].estimate.low)
    assert result.test is not None
    assert np.isnan(result.test.p_value)
    assert any("without an interval: A, B, A - B" in note for note in result.notes)
    assert any(
        "zero or negative" in note for note in ustat_mrmc(with_scores(study.scores + 50 * study.malignant)).notes
    )


def test_equal_modalities_are_not_different(study: ReaderStudy, with_scores: Variation) -> None:
    (difference,) = mrmc(with_scores(np.stack([study.scores[0]] * 2))).differences
    assert difference.estimate.value == 0
    assert np.isnan(difference.p_value)


def test_negative_components_are_reported_unchanged(study: ReaderStudy, with_scores: Variation) -> None:
    """Readers who are nearly copies of one another vary less than expected from the variance over cases."""
    scores = np.repeat(study.scores[:, :1], 4, axis=1) + np.random.default_rng(1).normal(0, 0.4, study.scores.shape)
    result = mrmc(with_scores(scores))
    assert result.components is not None
    assert min(result.components.reader, result.components.modality_reader) < 0
    assert any("negative" in note and "unchanged" in note for note in result.notes)


def test_logit_intervals_stay_within_0_and_1(study: ReaderStudy, with_scores: Variation) -> None:
    shifted = with_scores(study.scores + 2 * study.malignant)
    plain, logit = (mrmc(shifted, scale=scale) for scale in ("plain", "logit"))
    assert plain.differences == logit.differences
    assert plain.reader_differences == logit.reader_differences
    assert max(mean.estimate.high for mean in plain.cells) > 1
    for before, after in zip((*plain.means, *plain.cells), (*logit.means, *logit.cells), strict=True):
        assert after.standard_error == before.standard_error
        assert after.estimate.value == before.estimate.value
        if after.standard_error:
            assert 0 < after.estimate.low < after.estimate.value < after.estimate.high < 1
    with pytest.raises(InputError, match="scale 'log'"):
        mrmc(study, scale="log")  # type: ignore[arg-type]


def test_ties_only_have_an_area_of_one_half(study: ReaderStudy, with_scores: Variation) -> None:
    result = mrmc(with_scores(np.ones_like(study.scores)))
    assert result.means[0].estimate.value == 0.5


def test_non_inferiority_agrees_with_the_interval(study: ReaderStudy) -> None:
    """p is below 0.025 if and only if the lower 95% limit is above minus the margin."""
    (difference,) = mrmc(study).differences
    assert difference.non_inferiority(-difference.estimate.low) == pytest.approx(0.025)
    assert difference.non_inferiority(1.0) < 0.025 < difference.non_inferiority(0.0)

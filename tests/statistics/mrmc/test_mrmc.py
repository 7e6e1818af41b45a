"""Reader studies against the stored output of MRMCaov, OR-DBM MRMC, RJafroc and iMRMC."""

from __future__ import annotations

import csv
import doctest
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinefx.errors import InputError
from spinefx.statistics.effect import Effect
from spinefx.statistics.mrmc.anova import VarianceComponents, mrmc
from spinefx.statistics.mrmc.covariance import delong_covariance, structural_components
from spinefx.statistics.mrmc.panel import ai_vs_readers
from spinefx.statistics.mrmc.power import mrmc_power, mrmc_sample_size
from spinefx.statistics.mrmc.roe_metz import RoeMetz
from spinefx.statistics.mrmc.scores import Design, ReaderStudy
from spinefx.statistics.mrmc.ustatistic import ustat_mrmc

CLOSE = {"rel": 1e-8, "abs": 1e-12}


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "statistics" / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def expected_of(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "statistics" / f"{name}_expected.json").read_text())
    return content


def vandyke(folder: Path, case: str = "case") -> ReaderStudy:
    """VanDyke (MRMCaov, GPL-3: read where it lies, never copied); case2, case3 name cases apart by reader, test."""
    rows = rows_of(folder, "mrmc_vandyke")
    return ReaderStudy.from_columns(
        reader=[row["reader"] for row in rows],
        modality=[row["treatment"] for row in rows],
        case=[row[case] for row in rows],
        malignant=[row["truth"] == "1" for row in rows],
        score=[float(row["rating"]) for row in rows],
    )


def imrmc_example(folder: Path) -> ReaderStudy:
    rows = rows_of(folder, "mrmc_imrmc_example")
    truth = {row["caseID"]: row["score"] == "1" for row in rows if row["readerID"] == "truth"}
    rows = [row for row in rows if row["readerID"] != "truth"]
    return ReaderStudy.from_columns(
        reader=[row["readerID"] for row in rows],
        modality=[row["modalityID"] for row in rows],
        case=[row["caseID"] for row in rows],
        malignant=[truth[row["caseID"]] for row in rows],
        score=[float(row["score"]) for row in rows],
    )


def cad_study(folder: Path) -> ReaderStudy:
    rows = rows_of(folder, "ai_vs_readers_cad")
    return ReaderStudy.from_columns(
        reader=[row["reader"] for row in rows],
        case=[row["case"] for row in rows],
        malignant=[row["truth"] == "1" for row in rows],
        score=[float(row["rating"]) for row in rows],
    )


def matches(effect: Effect, published: dict[str, Any], clipped: bool = False) -> None:
    """An effect as MRMCaov prints it; it clips limits of means to 0 and 1, this project does not."""
    low, high = effect.estimate.low, effect.estimate.high
    assert effect.estimate.value == pytest.approx(published["Estimate"], **CLOSE)
    assert effect.standard_error == pytest.approx(published["StdErr"], **CLOSE)
    assert effect.df == pytest.approx(published.get("df", np.inf), **CLOSE)
    assert (max(low, 0) if clipped else low) == pytest.approx(published["ci_lo"], **CLOSE)
    assert (min(high, 1) if clipped else high) == pytest.approx(published["ci_hi"], **CLOSE)
    if "p-value" in published:
        assert effect.statistic == pytest.approx(published.get("t", published.get("z")), **CLOSE)
        assert effect.p_value == pytest.approx(published["p-value"], **CLOSE)


VANDYKE_ANALYSES = [
    ("RRRC_jackknife", "case", {}),
    ("RRRC_DeLong", "case", {"covariance": "delong"}),
    ("RRRC_unbiased", "case", {"covariance": "unbiased"}),
    ("FRRC_jackknife_MRMCaov", "case", {"analysis": "FRRC"}),
    ("RRFC", "case", {"analysis": "RRFC"}),
    ("binary_sens_rating_ge_3", "case", {"endpoint": "sensitivity", "threshold": 3}),
    ("binary_spec_rating_ge_3", "case", {"endpoint": "specificity", "threshold": 3}),
    ("case_nested_in_reader_jackknife", "case2", {}),
    ("case_nested_in_treatment_jackknife", "case3", {}),
]


@pytest.mark.parametrize(("name", "case", "settings"), VANDYKE_ANALYSES, ids=[row[0] for row in VANDYKE_ANALYSES])
def test_vandyke_matches_mrmcaov(shared_data: Path, name: str, case: str, settings: dict[str, Any]) -> None:
    """MRMCaov 0.3.0, mrmc(empirical_auc(truth, rating), treatment, reader, case, data = VanDyke) and its kin."""
    published = expected_of(shared_data, "mrmc_vandyke")[name]
    result = mrmc(vandyke(shared_data, case), scale="plain", **settings)
    table, test = published["test_equality"][0], result.test
    assert test is not None
    assert test.ms_modality == pytest.approx(table["MS(T)"], **CLOSE)
    assert test.statistic == pytest.approx(table.get("F", table.get("X2")), **CLOSE)
    assert test.p_value == pytest.approx(table["p-value"], **CLOSE)
    assert test.df1 == table.get("df1", table.get("df"))
    assert test.df2 == pytest.approx(table.get("df2", np.inf), **CLOSE)
    assert test.error_term == pytest.approx(table.get("Denominator", test.ms_error), **CLOSE)
    assert test.ms_error == pytest.approx(table.get("MS(T:R)", test.ms_error), **CLOSE)
    matches(result.differences[0], published["test_diffs"][0])
    for mean, row in zip(result.means, published["test_means"], strict=True):
        matches(mean, row, clipped=True)
    (fom,) = {key for key in published["foms"][0] if key not in ("treatment", "reader")}
    for cell, row in zip(result.cells, published["foms"], strict=True):
        assert cell.label == f"{row['reader']}, {row['treatment']}"
        assert cell.estimate.value == pytest.approx(row[fom], **CLOSE)
    if result.components is not None:
        ours, theirs = result.components, {row["component"]: row for row in published["variance_components"]}
        for value, key in (
            (ours.reader, "reader"),
            (ours.modality_reader, "treatment:reader"),
            (ours.error, "Error"),
            (ours.cov1, "Cov1"),
            (ours.cov2, "Cov2"),
            (ours.cov3, "Cov3"),
        ):
            assert value == pytest.approx(theirs[key]["Estimate"], **CLOSE)


def test_each_vandyke_reader_matches_mrmcaov(shared_data: Path) -> None:
    """MRMCaov 0.3.0, reader-wise means and differences of its fixed-reader summary."""
    published = expected_of(shared_data, "mrmc_vandyke")["FRRC_jackknife_MRMCaov"]
    result = mrmc(vandyke(shared_data), analysis="FRRC", scale="plain")
    for difference, row in zip(result.reader_differences, published["reader_test_diffs"], strict=True):
        matches(difference, row)
    for cell, row in zip(result.cells, published["reader_means"], strict=True):
        matches(cell, {"Estimate": row["empirical_auc"], **row}, clipped=True)


def test_vandyke_matches_the_print_of_or_dbm_mrmc(shared_data: Path) -> None:
    """OR-DBM MRMC 2.51 (Iowa), VanDyke: text output stored by RJafroc, compared to half its last digit."""
    printed = expected_of(shared_data, "mrmc_vandyke")["OR_DBM_MRMC_2.51_printed"]
    for analysis in ("RRRC", "FRRC", "RRFC"):
        result = mrmc(vandyke(shared_data), analysis=analysis, scale="plain")  # type: ignore[arg-type]
        (difference,), row = result.differences, printed[analysis]
        assert difference.standard_error == pytest.approx(row["se"], abs=6e-6)
        assert difference.p_value == pytest.approx(row["p"], abs=6e-5)
        assert [difference.estimate.low, difference.estimate.high] == pytest.approx(row["ci"], abs=6e-6)
    components = mrmc(vandyke(shared_data)).components
    assert components is not None
    assert components.dbm.case == pytest.approx(printed["DBM_components"]["VarC"], abs=6e-9)
    assert components.dbm.modality_case == pytest.approx(printed["DBM_components"]["VarTC"], abs=6e-9)
    assert components.dbm.reader_case == pytest.approx(printed["DBM_components"]["VarRC"], abs=6e-9)
    assert components.dbm.error == pytest.approx(printed["DBM_components"]["VarTRC_err"], abs=6e-9)
    assert components.dbm.modality_reader == pytest.approx(printed["DBM_components"]["VarTR"], abs=6e-8)


@pytest.mark.parametrize("estimator", ["centred", "unbiased", "mle"])
def test_ustatistics_match_imrmc(shared_data: Path, estimator: str) -> None:
    """iMRMC 2.1.2, doIMRMC(dfMRMC_example): U-statistic and MLE variances, BDG degrees of freedom, normal intervals."""
    published = expected_of(shared_data, "mrmc_imrmc_example")["MLEstat" if estimator == "mle" else "Ustat"]
    study = imrmc_example(shared_data)
    result = ustat_mrmc(study, estimator=estimator, scale="plain")  # type: ignore[arg-type]
    normal = ustat_mrmc(study, estimator=estimator, df="normal", scale="plain")  # type: ignore[arg-type]
    effects, normals = (*result.means, *result.differences), (*normal.means, *normal.differences)
    for effect, plain, row in zip(effects, normals, published, strict=True):
        of_pair = row["AUCB"] is not None
        value, variance = ("AUCAminusAUCB", "varAUCAminusAUCB") if of_pair else ("AUCA", "varAUCA")
        assert effect.estimate.value == pytest.approx(row[value], **CLOSE)
        assert effect.standard_error**2 == pytest.approx(row[variance], **CLOSE)
        assert effect.df == pytest.approx(row["dfBDG"], **CLOSE)
        assert effect.p_value == pytest.approx(row["pValueBDG"], **CLOSE)
        assert (effect.estimate.low, effect.estimate.high) == pytest.approx((row["botCIBDG"], row["topCIBDG"]), **CLOSE)
        assert plain.p_value == pytest.approx(row["pValueNormal"], **CLOSE)
        limits = (row["botCInormal"], row["topCInormal"])
        assert (plain.estimate.low, plain.estimate.high) == pytest.approx(limits, **CLOSE)


def test_variance_decompositions_match_imrmc(shared_data: Path) -> None:
    """iMRMC 2.1.2, doIMRMC(dfMRMC_example)$varDecomp, BDG and BCK; 1e-8 of the stored 13 digits."""
    published = expected_of(shared_data, "mrmc_imrmc_example")
    result = ustat_mrmc(imrmc_example(shared_data), estimator="unbiased")
    for number, ours in enumerate(result.components):
        bdg, bck = published["varDecomp_BDG_Ustat"], published["varDecomp_BCK_Ustat"]
        for values, row in (
            (ours.moments, bdg["comp"]),
            (ours.moment_coefficients, bdg["coeff"]),
            (ours.components, bck["comp"]),
            (ours.component_coefficients, bck["coeff"]),
        ):
            assert list(values) == pytest.approx(list(row[number].values())[2:], rel=1e-8, abs=1e-11)
        assert ours.value == pytest.approx(float(ours.components @ ours.component_coefficients), rel=1e-8)


def test_each_reader_matches_imrmc(shared_data: Path) -> None:
    """iMRMC 2.1.2, doIMRMC(dfMRMC_example)$perReader: unbiased variances and covariances."""
    published = expected_of(shared_data, "mrmc_imrmc_example")["perReader"]
    result = mrmc(imrmc_example(shared_data), covariance="unbiased", scale="plain")
    ours = {effect.label: effect for effect in (*result.cells, *result.reader_differences)}
    for row in published:
        if row["AUCB"] is None:
            effect, keys = ours[f"{row['readerID']}, {row['modalityA']}"], ("AUCA", "varAUCA")
        else:
            effect = ours[f"{row['readerID']}, {row['modalityA']} - {row['modalityB']}"]
            keys = ("AUCAminusAUCB", "varAUCAminusAUCB")
        assert effect.estimate.value == pytest.approx(row[keys[0]], **CLOSE)
        assert effect.standard_error**2 == pytest.approx(row[keys[1]], **CLOSE)


def test_a_cad_system_against_nine_radiologists(shared_data: Path) -> None:
    """RJafroc 2.1.3, StCadVsRad(datasetCadLroc, FOM = "Wilcoxon"), 1T-RRFC and 1T-RRRC: opposite conclusions."""
    published, study = expected_of(shared_data, "ai_vs_readers_cad"), cad_study(shared_data)
    for method, analysis in (("1T-RRFC", "RRFC"), ("1T-RRRC", "RRRC")):
        row, result = published[method], ai_vs_readers(study, "CAD", analysis=analysis, scale="plain")  # type: ignore[arg-type]
        difference = result.difference
        assert result.model.estimate.value == pytest.approx(row["fomCAD"], **CLOSE)
        assert result.panel.estimate.value == pytest.approx(row["avgRadFom"], **CLOSE)
        assert difference.estimate.value == pytest.approx(row["avgDiffFom"], **CLOSE)
        assert (difference.estimate.low, difference.estimate.high) == pytest.approx(tuple(row["CIAvgDiffFom"]), **CLOSE)
        assert difference.statistic == pytest.approx(row["Tstat"], **CLOSE)
        assert difference.df == pytest.approx(row["df"], **CLOSE)
        assert difference.p_value == pytest.approx(row["pval"], **CLOSE)
        assert result.reader_variance == pytest.approx(row["varR"], **CLOSE)
        apart = [effect.estimate.value + row["fomCAD"] for effect in result.readers]
        assert apart == pytest.approx(row["fomRAD"], **CLOSE)
    assert result.error == pytest.approx(published["1T-RRRC"]["varError"], **CLOSE)
    assert result.cov2 == pytest.approx(published["1T-RRRC"]["cov2"], **CLOSE)
    # RJafroc moves the interval of the difference to the panel's mean; for fixed cases that is the panel's own.
    fixed = ai_vs_readers(study, "CAD", analysis="RRFC", scale="plain").panel.estimate
    assert (fixed.low, fixed.high) == pytest.approx(tuple(published["1T-RRFC"]["CIAvgRadFom"]), **CLOSE)


def test_a_doubled_model_as_second_modality_says_the_same(shared_data: Path) -> None:
    """RJafroc 2.1.3, StCadVsRad 2T-RRRC: the model copied once a reader, an ordinary analysis of two modalities."""
    published, study = expected_of(shared_data, "ai_vs_readers_cad")["2T-RRRC"], cad_study(shared_data)
    readers = study.scores[0, 1:]
    scores = np.stack([np.repeat(study.scores[0, :1], len(readers), axis=0), readers])
    result = mrmc(
        ReaderStudy(scores, study.malignant, ("CAD", "readers"), study.readers[1:], study.cases), scale="plain"
    )
    assert result.test is not None
    assert result.components is not None
    assert result.test.statistic == pytest.approx(published["FStat"], **CLOSE)
    assert result.test.df2 == pytest.approx(published["df"], **CLOSE)
    assert result.test.p_value == pytest.approx(published["pval"], **CLOSE)
    components = ("varR", "varTR", "cov1", "cov2", "cov3", "varError")
    ours = (
        result.components.reader,
        result.components.modality_reader,
        result.components.cov1,
        result.components.cov2,
        result.components.cov3,
        result.components.error,
    )
    assert ours == pytest.approx([published[name] for name in components], **CLOSE)
    row = published["ciDiffFom"]
    assert -result.differences[0].estimate.value == pytest.approx(row["Estimate"], **CLOSE)
    assert result.differences[0].standard_error == pytest.approx(row["StdErr"], **CLOSE)
    means = published["ciAvgRdrEachTrt"]
    assert [mean.standard_error for mean in result.means] == pytest.approx(means["StdErr"], **CLOSE)
    assert [mean.estimate.low for mean in result.means] == pytest.approx(means["CILower"], **CLOSE)
    assert [mean.estimate.high for mean in result.means] == pytest.approx(means["CIUpper"], **CLOSE)
    assert [mean.df for mean in result.means] == pytest.approx([np.inf, means["DF"][1]], **CLOSE)


@pytest.mark.parametrize("analysis", ["RRRC", "FRRC", "RRFC"])
def test_power_matches_rjafroc(shared_data: Path, analysis: str) -> None:
    """RJafroc, tests/testthat/test-SsSampleSizeRoc.R and goodValues361/SsPower, VanDyke, effect -0.043800322."""
    published = expected_of(shared_data, "mrmc_vandyke")["sample_size_RJafroc"][analysis]
    pilot = mrmc(vandyke(shared_data)).components
    assert pilot is not None
    plan: dict[str, Any] = {"difference": -0.043800322, "readers": published["J"], "analysis": analysis}
    planned = mrmc_power(pilot, cases=published["K"], **plan)
    assert planned.power == pytest.approx(published["power"], **CLOSE)
    assert planned.noncentrality == pytest.approx(published["ncp"], **CLOSE)
    assert planned.df2 == pytest.approx(published.get("df2", np.inf), **CLOSE)
    assert planned.critical == pytest.approx(published.get("Fcrit", planned.critical), **CLOSE)
    fewest = mrmc_sample_size(pilot, **plan)
    assert fewest.cases <= published["K"]
    assert fewest.power >= 0.8 > mrmc_power(pilot, cases=fewest.cases - 1, **plan).power


def test_the_worked_example_of_the_docs_gives_what_it_shows() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "multi-reader-studies.md"
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted > 15
    assert result.failed == 0


# What holds without any reference: designs, floors, edges.

STUDY = RoeMetz((1.2, 1.5)).draw(np.random.default_rng(5), readers=4, malignant=20, benign=30)


def with_scores(scores: np.ndarray, study: ReaderStudy = STUDY) -> ReaderStudy:
    return ReaderStudy(scores, study.malignant, study.modalities, study.readers, study.cases)


def unread(study: ReaderStudy, *places: tuple[Any, ...]) -> ReaderStudy:
    scores = study.scores.copy()
    for place in places:
        scores[place] = np.nan
    return with_scores(scores, study)


BLOCKS = unread(STUDY, (slice(None), slice(0, 2), slice(0, None, 2)), (slice(None), slice(2, 4), slice(1, None, 2)))


def test_f_is_the_square_of_t_whatever_the_design() -> None:
    apart = unread(STUDY, (0, slice(0, 1)), (1, slice(1, 4)))
    for study, design in (
        (STUDY, Design.FACTORIAL),
        (BLOCKS, Design.SPLIT_PLOT),
        (apart, Design.READERS_IN_MODALITIES),
    ):
        assert study.design == design
        for analysis in ("RRRC", "FRRC") if design == Design.READERS_IN_MODALITIES else ("RRRC", "FRRC", "RRFC"):
            if design == Design.READERS_IN_MODALITIES and analysis == "RRRC":
                with pytest.raises(InputError, match="one reader cannot stand"):
                    mrmc(study, analysis="RRRC")
                continue
            result = mrmc(study, analysis=analysis)  # type: ignore[arg-type]
            assert result.test is not None
            assert result.test.statistic == pytest.approx(result.differences[0].statistic ** 2)
            assert result.test.p_value == pytest.approx(result.differences[0].p_value)


def test_fixed_readers_are_the_quadratic_form_of_the_covariances() -> None:
    """Two routes: averaged components without floor, and the contrast applied to the whole covariance matrix."""
    uneven = unread(STUDY, (slice(None), 0, slice(0, None, 2)), (slice(None), slice(1, 4), slice(1, None, 2)))
    apart = unread(STUDY, (0, slice(0, 2)), (1, slice(2, 4)))
    holes = unread(STUDY, (0, 0, slice(0, 7)), (1, 2, slice(12, 25)))
    for study in (STUDY, BLOCKS, uneven, apart, holes):
        read = study.cells
        matrix = delong_covariance(structural_components(study.scores[read], study.malignant))
        weights = np.where(read, np.array([[1.0], [-1.0]]) / read.sum(axis=1, keepdims=True), 0)[read]
        (difference,) = mrmc(study, analysis="FRRC", covariance="delong", floor=False).differences
        assert difference.standard_error**2 == pytest.approx(weights @ matrix @ weights)


def test_the_floor_lifts_fixed_readers_only_where_cov2_is_below_cov3() -> None:
    """Modality B is A with the readers swapped, so different readers agree more across modalities than within."""
    rng = np.random.default_rng(2)
    first, second = (STUDY.malignant + rng.normal(0, 1, 50) for _ in range(2))
    jitter = rng.normal(0, 0.2, (2, 2, 50))
    study = ReaderStudy(
        np.array([[first, second], [second, first]]) + jitter, STUDY.malignant, ("A", "B"), ("r", "s"), STUDY.cases
    )
    floored, plain = (mrmc(study, analysis="FRRC", floor=floor) for floor in (True, False))
    components = floored.components
    assert components is not None
    assert components.cov2 < components.cov3
    assert plain.test is not None
    assert floored.test is not None
    assert floored.test.error_term == pytest.approx(components.error - components.cov1)
    assert plain.test.error_term == pytest.approx(floored.test.error_term + components.cov2 - components.cov3)
    random = mrmc(study)
    assert random.test is not None
    assert random.test.error_term == pytest.approx(random.test.ms_error)
    assert random.test.df2 == pytest.approx(1)
    assert mrmc(STUDY, analysis="FRRC").test == mrmc(STUDY, analysis="FRRC", floor=False).test


def test_blocks_of_one_study_with_copied_cases_keep_its_interaction() -> None:
    """A split plot analyses within blocks: shifting one block's values cannot change the error term."""
    assert list(BLOCKS.reader_blocks) == [0, 0, 1, 1]
    result = mrmc(BLOCKS)
    assert result.test is not None
    assert result.test.df_error == 2
    values = np.array([cell.estimate.value for cell in result.cells]).reshape(2, 4)
    within = [
        ((half - half.mean(0) - half.mean(1, keepdims=True) + half.mean()) ** 2).sum()
        for half in np.split(values, 2, 1)
    ]
    assert result.test.ms_error == pytest.approx(sum(within) / 2)


def test_readers_nested_in_modalities_follow_hillis() -> None:
    """Hillis 2014, Stat Med 33:330, Table VII: MS(T) / (MS[R(T)] + r max(Cov2 - Cov3, 0)), df t(r-1) scaled."""
    study = unread(STUDY, (0, slice(0, 2)), (1, slice(2, 4)))
    result = mrmc(study)
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


def test_three_modalities_give_every_pair() -> None:
    study = RoeMetz((1.0, 1.3, 2.0)).draw(np.random.default_rng(3), readers=4, malignant=30, benign=30)
    result = mrmc(study)
    assert [effect.label for effect in result.differences] == ["A - B", "A - C", "B - C"]
    assert result.test is not None
    assert result.test.df1 == 2
    mean_square = np.mean([effect.statistic**2 for effect in result.differences])
    assert result.test.statistic == pytest.approx(mean_square)
    assert "p" in result.table.columns


def test_one_modality_has_means_and_no_test() -> None:
    result = mrmc(STUDY.only(modalities=["A"]))
    assert result.test is None
    assert result.differences == ()
    assert result.notes == ("One modality: nothing to compare.",)
    (mean,), (same, _) = result.means, mrmc(STUDY).means
    # The jackknife's factor counts cases, so one modality alone gives the very same interval.
    assert mean == same


def test_one_reader_is_refused_as_random_and_answered_as_fixed() -> None:
    study = STUDY.only(readers=["reader 1"])
    for analysis in ("RRRC", "RRFC"):
        with pytest.raises(InputError, match="one reader cannot stand"):
            mrmc(study, analysis=analysis)  # type: ignore[arg-type]
    result = mrmc(study, analysis="FRRC")
    assert result.differences[0].p_value == pytest.approx(result.reader_differences[0].p_value)
    with pytest.raises(InputError, match="FRRC"):
        ustat_mrmc(study)


def test_missing_readings_are_counted_and_a_reader_may_have_read_half() -> None:
    half = unread(STUDY, (0, 1, slice(0, None, 2)))
    result = mrmc(half)
    assert result.counts.missing == 25
    assert "25 readings are missing" in result.notes[0]
    alone = mrmc(half.only(readers=["reader 2"], modalities=["A"]), analysis="FRRC").cells[0]
    (cell,) = [cell for cell in result.cells if cell.label == "reader 2, A"]
    assert cell.estimate.value == pytest.approx(alone.estimate.value)
    assert ustat_mrmc(half).means[0].standard_error > 0


def test_arbitrary_designs_go_to_ustatistics() -> None:
    patchy = unread(STUDY, (0, 0), (1, 2, slice(0, 9)))
    assert patchy.design == Design.ARBITRARY
    with pytest.raises(InputError, match="ustat_mrmc"):
        mrmc(patchy)
    (difference,) = ustat_mrmc(patchy).differences
    assert difference.estimate.low < difference.estimate.value < difference.estimate.high


def test_analysis_of_variance_and_ustatistics_have_one_variance_where_readings_are_balanced() -> None:
    """Two routes: mean squares with unbiased covariances, and products of wins over different cases and readers."""
    study = RoeMetz((1.2, 1.5)).draw(np.random.default_rng(6), readers=6, malignant=36, benign=36)
    modality, reader, case = np.ogrid[:2, :6, :72]
    for keep in (case >= 0, case % 2 == modality, reader % 2 == modality, case % 6 == reader):
        scores = np.where(keep & np.isfinite(study.scores), study.scores, np.nan)
        thinned = with_scores(scores, study)
        ours = mrmc(thinned, covariance="unbiased")
        assert ours.components is not None
        shared = np.nan_to_num(ours.components.cov2 - ours.components.cov3)
        assert shared >= -1e-15, "only then the floor of the analysis of variance changes nothing"
        (difference,) = ustat_mrmc(thinned).differences
        assert difference.standard_error == pytest.approx(ours.differences[0].standard_error)


def test_centring_keeps_a_variance_above_nil_where_a_reader_lacks_a_modality() -> None:
    """Both estimate the same; without centring three studies in ten have no positive variance."""
    rng, model = np.random.default_rng(4), RoeMetz((1.2, 1.5), reader=0.03, modality_reader=0.03)
    variances = []
    for _ in range(60):
        study = model.draw(rng, readers=5, malignant=30, benign=30)
        results = [ustat_mrmc(unread(study, (0, 0)), estimator=name) for name in ("centred", "unbiased")]
        of = [[part.value for part in result.components] for result in results]
        variances.append([first + second - 2 * both for first, second, both in of])
    centred, plain = np.array(variances).T
    assert centred.min() > 0
    assert (plain < 0).mean() > 0.1
    assert centred.mean() == pytest.approx(plain.mean(), abs=3 * plain.std() / np.sqrt(60))


def test_no_malignant_case_is_a_named_refusal_unless_specificity_is_asked() -> None:
    kept = slice(20, None)
    benign = ReaderStudy(
        STUDY.scores[..., kept], STUDY.malignant[kept], STUDY.modalities, STUDY.readers, STUDY.cases[kept]
    )
    for endpoint, threshold in (("auc", None), ("sensitivity", 1.0)):
        with pytest.raises(InputError, match="reader 1, A: no malignant case"):
            mrmc(benign, endpoint=endpoint, threshold=threshold)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cases of one class"):
        ustat_mrmc(benign, endpoint="specificity", threshold=1.0)
    result = mrmc(benign, endpoint="specificity", threshold=1.0)
    assert result.counts.malignant == 0
    assert np.isfinite(result.differences[0].p_value)


def test_a_single_malignant_case_leaves_no_variance() -> None:
    kept = slice(19, None)
    single = ReaderStudy(
        STUDY.scores[..., kept], STUDY.malignant[kept], STUDY.modalities, STUDY.readers, STUDY.cases[kept]
    )
    with pytest.raises(InputError, match="single malignant case"):
        mrmc(single)
    with pytest.raises(InputError, match="a single case of a class"):
        ustat_mrmc(single)
    assert np.isfinite(mrmc(single, analysis="RRFC").differences[0].p_value)


def test_very_unequal_readers_keep_a_degree_of_freedom() -> None:
    study = STUDY.only(readers=["reader 1", "reader 2"])
    effect = ustat_mrmc(unread(study, (slice(None), 1, slice(2, 18)), (slice(None), 1, slice(22, 50)))).means[0]
    assert effect.df >= 1


def test_perfect_separation_gives_the_value_and_says_why_no_interval() -> None:
    result = mrmc(with_scores(STUDY.scores + 50 * STUDY.malignant))
    assert [mean.estimate.value for mean in result.means] == [1, 1]
    assert np.isnan(result.differences[0].p_value)
    assert np.isnan(result.differences[0].estimate.low)
    assert result.test is not None
    assert np.isnan(result.test.p_value)
    assert any("No variance, so no interval: A, B, A - B" in note for note in result.notes)
    assert any("nil or negative" in note for note in ustat_mrmc(with_scores(STUDY.scores + 50 * STUDY.malignant)).notes)


def test_equal_modalities_are_not_different() -> None:
    (difference,) = mrmc(with_scores(np.stack([STUDY.scores[0]] * 2))).differences
    assert difference.estimate.value == 0
    assert np.isnan(difference.p_value)


def test_negative_components_are_reported_as_they_are() -> None:
    """Readers who are copies of one another vary less than cases let expect."""
    scores = np.repeat(STUDY.scores[:, :1], 4, axis=1) + np.random.default_rng(1).normal(0, 0.4, STUDY.scores.shape)
    result = mrmc(with_scores(scores))
    assert result.components is not None
    assert min(result.components.reader, result.components.modality_reader) < 0
    assert any("negative" in note and "as it is" in note for note in result.notes)


def test_the_logit_scale_keeps_limits_within_bounds_and_moves_no_test() -> None:
    study = with_scores(STUDY.scores + 2 * STUDY.malignant)
    plain, logit = (mrmc(study, scale=scale) for scale in ("plain", "logit"))
    assert plain.differences == logit.differences
    assert plain.reader_differences == logit.reader_differences
    assert max(mean.estimate.high for mean in plain.cells) > 1
    for before, after in zip((*plain.means, *plain.cells), (*logit.means, *logit.cells), strict=True):
        assert after.standard_error == before.standard_error
        assert after.estimate.value == before.estimate.value
        if after.standard_error:
            assert 0 < after.estimate.low < after.estimate.value < after.estimate.high < 1
    with pytest.raises(InputError, match="the scale 'log'"):
        mrmc(STUDY, scale="log")  # type: ignore[arg-type]


def test_ties_alone_are_a_coin() -> None:
    result = mrmc(with_scores(np.ones_like(STUDY.scores)))
    assert result.means[0].estimate.value == 0.5


def test_a_panel_of_one_is_refused_as_random_and_is_delong_as_fixed() -> None:
    study = STUDY.only(modalities=["A"], readers=["reader 1", "reader 2"])
    with pytest.raises(InputError, match="one reader cannot stand"):
        ai_vs_readers(study, "reader 1")
    fixed = ai_vs_readers(study, "reader 1", analysis="FRRC", covariance="delong")
    assert fixed.difference.p_value == pytest.approx(fixed.readers[0].p_value)
    with pytest.raises(InputError, match="no 'GPT' beside readers"):
        ai_vs_readers(study, "GPT")
    with pytest.raises(InputError, match="2 modalities"):
        ai_vs_readers(STUDY, "reader 1")


def test_panel_answers_binary_endpoints_and_perfect_models() -> None:
    study = STUDY.only(modalities=["A"])
    result = ai_vs_readers(study, "reader 4", endpoint="sensitivity", threshold=1.0)
    assert result.counts.readers == 3
    assert result.difference.label == "readers - reader 4"
    assert "readers - reader 4" in result.table.to_tsv()
    scores = study.scores.copy()
    scores[0, 3] = study.malignant
    perfect = ai_vs_readers(with_scores(scores, study), "reader 4")
    assert perfect.model.estimate.value == 1
    assert np.isfinite(perfect.difference.p_value)


def test_ustatistics_of_binary_endpoints_are_the_proportions() -> None:
    """Two routes: pairs of malignant and benign cases, and the proportions' own U-statistic."""
    for endpoint, of_class in (("sensitivity", STUDY.malignant), ("specificity", ~STUDY.malignant)):
        result = ustat_mrmc(STUDY, endpoint=endpoint, threshold=1.0)  # type: ignore[arg-type]
        called = STUDY.scores[..., of_class] >= 1
        right = called if endpoint == "sensitivity" else ~called
        for mean, calls in zip(result.means, right, strict=True):
            assert mean.estimate.value == pytest.approx(calls.mean())
            # Unbiased: square of the mean less mean product over different readers and different cases.
            readers, cases = calls.shape
            total = calls.sum() ** 2 - (calls.sum(0) ** 2).sum() - (calls.sum(1) ** 2).sum() + calls.sum()
            wanted = calls.mean() ** 2 - total / (readers * (readers - 1) * cases * (cases - 1))
            assert mean.standard_error**2 == pytest.approx(wanted, rel=1e-6)


def test_power_refuses_what_it_cannot_plan() -> None:
    pilot = VarianceComponents(0.001, 0.002, 0.0008, 0.0003, 0.0003, 0.0002, cases=100)
    with pytest.raises(InputError, match="Add readers"):
        mrmc_sample_size(pilot, difference=0.05, readers=2)
    with pytest.raises(InputError, match="1 readers"):
        mrmc_power(pilot, difference=0.05, readers=1, cases=100)
    bare = VarianceComponents(0.001, np.nan, 0.0008, np.nan, 0.0003, np.nan, cases=100)
    with pytest.raises(InputError, match="two modalities"):
        mrmc_power(bare, difference=0.05, readers=5, cases=100)
    with pytest.raises(InputError, match="the analysis 'both'"):
        mrmc_power(pilot, difference=0.05, readers=5, cases=100, analysis="both")  # type: ignore[arg-type]
    powers = [mrmc_power(pilot, difference=0.05, readers=readers, cases=200).power for readers in (4, 8, 16)]
    assert powers == sorted(powers)
    assert mrmc_power(pilot, difference=0.0, readers=5, cases=200).power == pytest.approx(0.05)


def test_non_inferiority_is_the_one_sided_interval() -> None:
    """p is below 0.025 exactly where the lower 95% limit is above minus the margin."""
    (difference,) = mrmc(STUDY).differences
    assert difference.non_inferiority(-difference.estimate.low) == pytest.approx(0.025)
    assert difference.non_inferiority(1.0) < 0.025 < difference.non_inferiority(0.0)

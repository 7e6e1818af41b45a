"""Every door takes the ratings and truths that reader studies hold, and every result has its table."""

from __future__ import annotations

import csv
import importlib
import io
import math
import pkgutil

import numpy as np
import pytest

import spinefx.statistics
from spinefx.errors import SpinefxError
from spinefx.statistics.accuracy import Confusion, Roc, kappa
from spinefx.statistics.clustered import clustered_auc
from spinefx.statistics.delong import auc_difference, auc_estimate
from spinefx.statistics.estimate import bare_p
from spinefx.statistics.mrmc.anova import mrmc
from spinefx.statistics.mrmc.roe_metz import RoeMetz
from spinefx.statistics.mrmc.scores import ReaderStudy
from spinefx.statistics.mrmc.ustatistic import ustat_mrmc
from spinefx.statistics.performance import agreement_table, measure_table
from spinefx.statistics.ratings import finite_ratings
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Diagnosis


def rated(seed: int, lowest: float) -> tuple[np.ndarray, np.ndarray]:
    """Ratings of 40 cases of which a third have no mark, written as ``lowest``."""
    rng = np.random.default_rng(seed)
    truth = np.arange(40) % 2 == 0
    ratings = np.round(rng.normal(50 + 15 * truth, 15))
    return np.where(rng.random(40) < 0.3, lowest, ratings), truth


@pytest.mark.parametrize("seed", range(5))
def test_minus_infinity_is_the_lowest_rating_at_every_door(seed: int) -> None:
    infinite, truth = rated(seed, -np.inf)
    finite, _ = rated(seed, -1000.0)
    clusters = [n // 2 for n in range(40)]
    assert auc_estimate(infinite, truth) == auc_estimate(finite, truth)
    other = rated(seed + 100, -np.inf)[0]
    assert auc_difference(infinite, other, truth) == auc_difference(finite, finite_ratings(other), truth)
    assert clustered_auc(infinite, truth, clusters) == clustered_auc(finite, truth, clusters)
    assert Roc.of(infinite, truth).auc == Roc.of(finite, truth).auc
    studies = [
        ReaderStudy.from_columns(
            reader=["R1"] * 40 + ["R2"] * 40,
            case=[*range(40), *range(40)],
            malignant=np.concatenate([truth, truth]),
            score=np.concatenate([rated(seed, lowest)[0], rated(seed + 50, lowest)[0]]),
        )
        for lowest in (-np.inf, -1000.0)
    ]
    assert mrmc(studies[0]).means == mrmc(studies[1]).means
    assert ustat_mrmc(studies[0]).means == ustat_mrmc(studies[1]).means


def test_minus_infinity_keeps_its_order_and_missing_ratings_stay_missing() -> None:
    made = finite_ratings([1.0, -np.inf, np.nan, 3.0, 1.0])
    assert np.isnan(made[2])
    assert made[1] < made[0] == made[4] < made[3]
    assert np.isfinite(finite_ratings([-np.inf, -np.inf])).all()


@pytest.mark.parametrize(
    "words", [("benign", "malignant"), (" Benign ", "MALIGNANT"), (False, True), (0, 1), (0.0, 1.0)]
)
def test_the_truth_of_a_reader_study_may_be_written_in_any_usual_way(words: tuple[object, object]) -> None:
    rows = [
        {"reader_id": reader, "case_id": case, "malignant": words[case % 2], "score": (7 * case) % 10}
        for reader in ("R1", "R2")
        for case in range(12)
    ]
    study = ReaderStudy.from_table(rows)
    assert study.malignant.tolist() == [False, True] * 6
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    made = ReaderStudy.from_columns(
        reader=columns["reader_id"], case=columns["case_id"], malignant=columns["malignant"], score=columns["score"]
    )
    assert (made.malignant == study.malignant).all()


@pytest.mark.parametrize("words", [("0", "1"), ("False", "TRUE"), ("benign", "malignant")])
def test_the_truth_may_be_any_of_these_texts_in_a_file(words: tuple[str, str]) -> None:
    rows = [
        {"reader_id": reader, "case_id": str(case), "malignant": words[case % 2], "score": str(case)}
        for reader in ("R1", "R2")
        for case in range(4)
    ]
    assert ReaderStudy.from_table(rows).malignant.tolist() == [False, True] * 2


@pytest.mark.parametrize("wrong", ["perhaps", 2, -1, 0.5, "", None])
def test_any_other_truth_is_refused(wrong: object) -> None:
    with pytest.raises(SpinefxError):
        ReaderStudy.from_table(
            [{"reader_id": "R1", "case_id": n, "malignant": wrong if n == 3 else n % 2, "score": n} for n in range(6)]
        )


def test_table_is_a_property_of_every_result() -> None:
    found = set()
    for info in pkgutil.walk_packages(spinefx.statistics.__path__, "spinefx.statistics."):
        module = importlib.import_module(info.name)
        for name, kind in vars(module).items():
            if isinstance(kind, type) and kind.__module__ == info.name and "table" in vars(kind):
                assert isinstance(vars(kind)["table"], property), name
                found.add(name)
    assert found >= {
        "AttainableMcNemar",
        "Calibration",
        "ClusteredResult",
        "DecisionCurve",
        "MrmcResult",
        "PanelResult",
    }


@pytest.mark.parametrize("seed", range(20))
def test_p_values_in_tsv_are_not_rounded(seed: int) -> None:
    p = float(10 ** -np.random.default_rng(seed).uniform(0, 320))
    table = ResultTable("t", "t", ("a", "p"), (("x", bare_p(p)), ("y", bare_p(math.nan))))
    rows = list(csv.DictReader(io.StringIO(table.to_tsv()), delimiter="\t"))
    assert float(rows[0]["p"]) == p
    assert rows[1]["p"] == "n/a"


def test_the_u_statistic_says_how_it_departs_from_imrmc() -> None:
    study = RoeMetz((1.0, 1.4), 0.02, 0.02).draw(np.random.default_rng(0), readers=3, malignant=15, benign=15)
    assert 'estimator="unbiased"' in ustat_mrmc(study).table.note
    assert "iMRMC" not in ustat_mrmc(study, estimator="unbiased").table.note


def test_the_interval_of_kappa_is_named_beside_every_kappa() -> None:
    truth = {f"c{n}": Diagnosis.MALIGNANT if n % 2 else Diagnosis.BENIGN for n in range(20)}
    diagnoses = {"R1": truth, "R2": dict.fromkeys(truth, Diagnosis.BENIGN) | {"c1": Diagnosis.MALIGNANT}}
    for table in (measure_table(truth, diagnoses), agreement_table(diagnoses)):
        assert "Fisher's z" in table.note
    assert not math.isnan(kappa(Confusion(tp=8, fn=2, fp=1, tn=9)).low)

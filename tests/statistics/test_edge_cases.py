"""Every analysis copes with every degenerate cohort: it returns a result, notes on what is missing, or a named error.

No other exception may be raised (warnings count as exceptions), and no value may be missing without a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.reading import Prediction, Reading, SignScores, patient_readings
from spinefx.cli import main
from spinefx.errors import SpinefxError
from spinefx.learning.recipe import Recipe
from spinefx.report import subgroups
from spinefx.statistics import (
    accuracy,
    benefit,
    calibration,
    clustered,
    delong,
    performance,
    sign_model,
    signs,
)
from spinefx.statistics.effect import Effect
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.evaluation import Evaluation
from spinefx.statistics.mrmc import power as mrmc_power
from spinefx.statistics.mrmc.anova import mrmc
from spinefx.statistics.mrmc.panel import ai_vs_readers
from spinefx.statistics.mrmc.scores import ReaderStudy
from spinefx.statistics.mrmc.ustatistic import ustat_mrmc
from spinefx.statistics.paired import intervals, mcnemar, predictive, sample_size
from spinefx.statistics.paired.table import PairedAccuracy, PairedTable
from spinefx.statistics.readings import confidences_of, diagnoses_by_reader
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Diagnosis, Score, TruthSource
from spinefx.workspace.experiment import Experiment
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import (
    LesionRecord,
    Participant,
    sidecar_path,
    write_lesions,
    write_participants,
    write_readings,
    write_signs,
)

M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN
READERS = ("model", "R1", "R2", "R3")


@dataclass(frozen=True)
class World:
    """A small study: truth, readings of readers and of one model in both arms, and the model's slices."""

    truth: Mapping[str, Diagnosis]
    readings: tuple[Reading, ...]
    folds: Mapping[str, int] = field(default_factory=dict)

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """Two slices per case, from the model's unaided confidence."""
        own = [one for one in self.readings if one.reader_id == "model" and one.arm == Arm.UNAIDED]
        return tuple(
            Prediction(one.case_id, one.case_id, index, p := (one.confidence or 0) / 100, p / 2, self.fold(one), "d")
            for one in own
            for index in range(2)
        )

    def fold(self, reading: Reading) -> int:
        return self.folds.get(reading.case_id, 1 + int(reading.case_id[-3:]) % 2)

    @property
    def signs(self) -> tuple[SignScores, ...]:
        """One sign that indicates malignancy, one that is sometimes not assessable, and no others."""
        return tuple(
            SignScores(
                case,
                "R1",
                dict.fromkeys(SIGN_IDENTIFIERS, Score.NO)
                | {"skip_lesions": Score.YES if kind == M else Score.NO}
                | ({"dark_patch": Score.NOT_ASSESSABLE} if case.endswith("3") else {}),
            )
            for case, kind in self.truth.items()
        )

    def scores(self, reader: str, arm: Arm = Arm.UNAIDED) -> tuple[list[float], list[bool]]:
        found = confidences_of([one for one in self.readings if (one.reader_id, one.arm) == (reader, arm)])
        return list(found.values()), [self.truth[case] == M for case in found]

    def diagnoses(self, reader: str) -> dict[str, Diagnosis]:
        return diagnoses_by_reader(self.readings, self.truth).get(reader, {})

    def study(self, score: str = "confidence") -> ReaderStudy:
        return ReaderStudy.from_readings(self.readings, self.truth, score)  # type: ignore[arg-type]


def world(
    malignant: int = 8,
    benign: int = 12,
    readers: Sequence[str] = READERS,
    score: Callable[[np.random.Generator, bool, str, Arm], float | None] | None = None,
    kept: Callable[[Reading], bool] = lambda one: True,
    folds: Mapping[str, int] | None = None,
) -> World:
    """Create a world from the way in which readers score; a score of 50 or more is a malignant diagnosis."""
    rng = np.random.default_rng(3)

    def usual(rng: np.random.Generator, is_malignant: bool, reader: str, arm: Arm) -> float:
        return float(np.clip(50 + (12 if is_malignant else -12) + 25 * rng.standard_normal(), 0, 100))

    truth = {f"sub-{number:03d}": M if number < malignant else B for number in range(malignant + benign)}
    readings = []
    for arm in Arm:
        for reader in readers:
            for case, kind in truth.items():
                found = (score or usual)(rng, kind == M, reader, arm)
                called = M if (50 if found is None else found) >= 50 else B
                readings.append(Reading(case, reader, arm, called, found))
    return World(truth, tuple(one for one in readings if kept(one)), folds or {})


def perfect(rng: np.random.Generator, is_malignant: bool, reader: str, arm: Arm) -> float:
    return 90.0 if is_malignant else 10.0


def number_of(one: Reading) -> int:
    return int(one.case_id[-3:])


WORLDS: dict[str, World] = {
    "as it should be": world(),
    "no malignant case": world(malignant=0),
    "no benign case": world(benign=0),
    "one case of each class": world(1, 1),
    "one malignant case": world(1, 12),
    "no readings": world(readers=()),
    "only the model": world(readers=("model",)),
    "one reader": world(readers=("model", "R1")),
    "zero cells: all called malignant": world(score=lambda rng, kind, *_: 50.0 + 50 * rng.random()),
    "zero cells: no miss": world(score=lambda rng, kind, *_: 60.0 + 30 * rng.random() if kind else 100 * rng.random()),
    "ties": world(score=lambda *_: 50.0),
    "perfect separation": world(score=perfect),
    "always wrong": world(score=lambda rng, kind, *_: 10.0 if kind else 90.0),
    "identical readings in both arms": world(score=lambda rng, kind, *_: 70.0 if kind else 40.0),
    "confidences of 0 and 100": world(score=lambda rng, kind, *_: 100.0 * (rng.random() < (0.8 if kind else 0.2))),
    "missing readings": world(kept=lambda one: (number_of(one) * 7 + READERS.index(one.reader_id)) % 5 > 0),
    "no confidences": world(score=lambda *_: None),
    "some confidences": world(score=lambda rng, kind, *_: None if rng.random() < 0.3 else 100 * rng.random()),
    "a reader who scored half": world(kept=lambda one: one.reader_id != "R2" or number_of(one) % 2 == 0),
    "a reader of one class only": world(kept=lambda one: one.reader_id != "R2" or number_of(one) < 8),
    "unequal case sets": world(kept=lambda one: number_of(one) % 4 == READERS.index(one.reader_id)),
    "one arm": world(kept=lambda one: one.arm == Arm.UNAIDED),
    "a reader without an arm": world(kept=lambda one: one.arm == Arm.UNAIDED or one.reader_id != "R3"),
    "negative components": world(
        score=lambda rng, kind, reader, arm: 50 + (15 if kind else -15) + 35 * float(np.tanh(rng.standard_normal()))
    ),
    "a fold with one class": world(folds={f"sub-{number:03d}": 7 for number in range(10, 14)}),
}

Analysis = Callable[[World], Any]


def of_scores(call: Callable[..., Any], *readers: str) -> Analysis:
    """Analyse scores as probabilities, with the truth of the first reader's cases."""

    def analysis(w: World) -> Any:
        columns = [np.array(w.scores(reader)[0]) / 100 for reader in readers]
        return call(*columns, w.scores(readers[0])[1])

    return analysis


def of_pair(call: Callable[[PairedTable], Any], among: Diagnosis | None = M) -> Analysis:
    return lambda w: call(PairedTable.of(w.diagnoses("model"), w.diagnoses("R1"), w.truth, among))


def of_accuracy(call: Callable[[PairedAccuracy], Any]) -> Analysis:
    return lambda w: call(
        PairedAccuracy(*(PairedTable.of(w.diagnoses("model"), w.diagnoses("R1"), w.truth, kind) for kind in (M, B)))
    )


def of_confusion(call: Callable[[accuracy.Confusion], Any], reader: str = "R1") -> Analysis:
    return lambda w: call(accuracy.Confusion.of(w.diagnoses(reader), w.truth))


def of_findings(call: Callable[..., Any], *, called: bool = False, pair: bool = False, own: bool = False) -> Analysis:
    """Analyse slices as findings, two per patient."""

    def analysis(w: World) -> Any:
        values = np.array([one.probability for one in w.predictions])
        malignant = [w.truth[one.case_id] == M for one in w.predictions]
        first = values >= 0.5 if called else values
        patient = [one.participant_id for one in w.predictions]
        columns = [first, first[::-1]] if pair else [first]
        return call(*columns, patient) if own else call(*columns, malignant, patient)

    return analysis


def model_of(w: World) -> performance.ModelResult:
    return performance.ModelResult("model", w.predictions, patient_readings(w.predictions, reader_id="model"))


def evaluation(w: World) -> Evaluation:
    return Evaluation.of(w.readings, w.truth, w.signs)


def sensitivity_of(w: World, reader: str) -> float:
    return accuracy.Confusion.of(w.diagnoses(reader), w.truth).sensitivity.value


def by_case(w: World) -> dict[str, Mapping[str, Score]]:
    return signs.scores_by_case(w.signs)


ANALYSES: dict[str, Analysis] = {
    "performance": lambda w: evaluation(w).performance,
    "measures": lambda w: evaluation(w).measures(prevalence=0.1),
    "agreement": lambda w: evaluation(w).agreement,
    "comparisons": lambda w: evaluation(w).comparisons(),
    "comparisons, model": lambda w: evaluation(w).comparisons(against="model"),
    "calibration": lambda w: evaluation(w).calibration("model"),
    "calibration of a reader": lambda w: evaluation(w).calibration("R2"),
    "decision": lambda w: evaluation(w).decision("model"),
    "table 1": lambda w: evaluation(w).signs(),
    "agreement table": lambda w: performance.agreement_table(diagnoses_by_reader(w.readings, w.truth)),
    "comparison table": lambda w: mcnemar.comparison_table(w.truth, w.readings),
    "baseline": lambda w: accuracy.majority_baseline(w.truth),
    "rates": of_confusion(lambda c: (c.sensitivity, c.specificity, c.accuracy, c.ppv, c.npv, c.exact("sensitivity"))),
    "likelihood ratios": of_confusion(accuracy.likelihood_ratios),
    "diagnostic odds ratio": of_confusion(accuracy.diagnostic_odds_ratio),
    "predictive values": of_confusion(lambda c: accuracy.predictive_values(c, 0.1)),
    "kappa": of_confusion(accuracy.kappa),
    "mcc": of_confusion(accuracy.mcc),
    "roc": lambda w: accuracy.Roc.of(*w.scores("R1")),
    "auc": of_scores(delong.auc_estimate, "R1"),
    "auc, plain": of_scores(lambda s, y: delong.auc_estimate(s, y, scale="plain"), "R1"),
    "auc, paired": of_scores(delong.auc_difference, "model", "R1"),
    "auc, unpaired": lambda w: delong.auc_difference_unpaired(*w.scores("model"), *w.scores("R1")),
    "nri": of_scores(benefit.reclassification, "R1", "model"),
    "nri, categories": of_scores(lambda *a: benefit.reclassification(*a, cuts=[0.2, 0.5]), "R1", "model"),
    "idi": of_scores(benefit.discrimination_improvement, "R1", "model"),
    "calibrate": of_scores(calibration.calibrate, "R1"),
    "decision curve": of_scores(benefit.decision_curve, "R1"),
    "mcnemar": of_pair(lambda t: [mcnemar.mcnemar(t, method) for method in mcnemar.MCNEMAR_METHODS]),
    "difference": of_pair(
        lambda t: [intervals.paired_difference(t, method) for method in intervals.DIFFERENCE_METHODS]
    ),
    "ratio": of_pair(lambda t: [intervals.paired_ratio(t, method) for method in ("tang", "bonett_price", "wald")]),
    "odds ratio": of_pair(lambda t: [intervals.paired_odds_ratio(t, method) for method in ("exact", "midp", "wilson")]),
    "all cases": of_pair(mcnemar.mcnemar, None),
    "non-inferiority": of_pair(lambda t: mcnemar.non_inferiority(t, 0.1)),
    "non-inferiority of both": of_accuracy(lambda p: mcnemar.non_inferiority_of_both(p, 0.1, 0.1)[:2]),
    "generalised mcnemar": of_accuracy(mcnemar.generalised_mcnemar),
    "predictive values compared": of_accuracy(predictive.compare_predictive_values),
    "relative predictive values": of_accuracy(predictive.relative_predictive_values),
    "likelihood ratios compared": of_accuracy(predictive.compare_likelihood_ratios),
    "clustered auc": of_findings(clustered.clustered_auc),
    "clustered auc, plain": of_findings(lambda *a: clustered.clustered_auc(*a, scale="plain")),
    "clustered auc difference": of_findings(clustered.clustered_auc_difference, pair=True),
    "clustered sensitivity": of_findings(clustered.clustered_sensitivity, called=True),
    "clustered specificity": of_findings(clustered.clustered_specificity, called=True),
    "clustered proportion": of_findings(clustered.clustered_proportion, called=True, own=True),
    "clustered difference": of_findings(clustered.clustered_proportion_difference, called=True, own=True, pair=True),
    **{f"mrmc {kind}": lambda w, kind=kind: evaluation(w).mrmc(analysis=kind) for kind in ("RRRC", "FRRC", "RRFC")},
    **{
        f"mrmc {endpoint}": lambda w, endpoint=endpoint: evaluation(w).mrmc(endpoint=endpoint)
        for endpoint in ("sensitivity", "specificity")
    },
    **{
        f"mrmc {method}": lambda w, method=method: mrmc(w.study(), covariance=method, scale="plain", analysis="FRRC")
        for method in ("delong", "unbiased")
    },
    "ustat": lambda w: ustat_mrmc(w.study()),
    "ustat, unbiased": lambda w: ustat_mrmc(w.study(), estimator="unbiased"),
    "ustat, sensitivity": lambda w: ustat_mrmc(w.study("diagnosis"), endpoint="sensitivity", threshold=0.5),
    **{f"panel {kind}": lambda w, kind=kind: evaluation(w).panel("model", analysis=kind) for kind in ("RRRC", "FRRC")},
    "panel RRFC": lambda w: ai_vs_readers(w.study().only(modalities=["unaided"]), "model", analysis="RRFC"),
    "panel specificity": lambda w: evaluation(w).panel("model", endpoint="specificity"),
    "power from this pilot": lambda w: mrmc_power.mrmc_power(
        mrmc(w.study()).components,
        difference=0.1,
        readers=5,
        cases=100,  # type: ignore[arg-type]
    ),
    "panel power from this pilot": lambda w: mrmc_power.panel_sample_size(
        evaluation(w).panel("model").components, difference=0.1, readers=20
    ),
    "sample size from these shares": lambda w: sample_size.mcnemar_sample_size(
        *sample_size.discordant_shares(*(sensitivity_of(w, reader) for reader in READERS[:2]))
    ),
    "slices": lambda w: performance.slice_table(w.truth, [model_of(w)]),
    "folds": lambda w: performance.fold_table(w.truth, model_of(w)),
    "slice counts": lambda w: performance.slice_count_table(w.truth, model_of(w)),
    "case table": lambda w: performance.case_table(w.truth, model_of(w)),
    "patient auc": lambda w: performance.patient_auc(w.truth, model_of(w).readings),
    "subgroups": lambda w: subgroups.subgroup_table(
        w.truth, w.diagnoses("R1"), dict.fromkeys(list(w.truth)[:9], "some"), name="some"
    ),
    "error analysis": lambda w: signs.error_analysis(by_case(w), w.diagnoses("R1"), w.truth),
    "single sign": lambda w: signs.single_sign_baseline(by_case(w), w.truth),
    "sign model": lambda w: sign_model.fit_sign_model(by_case(w), w.truth, np.random.default_rng(0), draws=3, folds=2),
}


def unexplained(found: Any, note: str = "", place: str = "") -> Iterator[str]:
    """Yield every estimate, effect and p-value that lacks a value without a note in it or around it."""
    if isinstance(found, Estimate):
        if np.isnan([found.value, found.low, found.high]).any() and not (found.note or note):
            yield f"{place}: {found!r}"
        return
    if isinstance(found, ResultTable):
        for row in found.rows:
            yield from unexplained(row, found.note, f"{place}/{found.name}/{row[0]}")
        return
    if isinstance(found, Mapping):
        found = tuple(found.values())
    if isinstance(found, tuple | list):
        for number, one in enumerate(found):
            yield from unexplained(one, note, f"{place}/{number}")
        return
    if not is_dataclass(found):
        return
    own = [note, str(getattr(found, "note", "")), *map(str, getattr(found, "notes", ()))]
    around = "" if isinstance(found, Effect) else " ".join(own).strip()
    for one in fields(found):
        yield from unexplained(getattr(found, one.name), around or note, f"{place}/{one.name}")


@pytest.mark.parametrize("name", ANALYSES)
@pytest.mark.parametrize("edge", WORLDS)
def test_every_analysis_copes_with_every_cohort(name: str, edge: str) -> None:
    try:
        found = ANALYSES[name](WORLDS[edge])
    except SpinefxError:
        if edge == "as it should be":
            raise
        return
    assert list(unexplained(found)) == []
    for table in (found if isinstance(found, ResultTable) else getattr(found, "table", None),):
        if isinstance(table, ResultTable):
            assert {len(column) for column in table.to_columns().values()} <= {len(table.rows)}


def write_workspace(w: World, root: Path) -> Path:
    """Write a workspace with a world's readings, and the model's slices as a finished experiment, but no images."""
    workspace = Workspace.create(root / "study")
    kinds = w.truth.items()
    write_participants(workspace, [Participant(case, kind, TruthSource.BIOPSY, 70.0, "F") for case, kind in kinds])
    box = Box((0.0, 0.0, 0.0), 30.0)
    write_lesions(workspace, [LesionRecord(case, case, Lesion(box, 0, 1, "L1")) for case in w.truth])
    write_readings(workspace, [one for one in w.readings if one.reader_id != "model"])
    write_signs(workspace, list(w.signs))
    for case in w.truth:
        for weighting in ("T1w", "T2w"):
            place = sidecar_path(workspace, case, weighting)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text('{"VoxelSha256": "0"}', encoding="utf-8")
    experiment = Experiment(workspace.experiment_folder("honest"))
    experiment.start(Recipe.preset("honest").dump())
    environment = {"recipe": "honest", "cohort_digest": "sha256:0"}
    predictions = [(1, one) for one in w.predictions]
    experiment.finish(predictions=predictions, readings=[], folds=[], history=[], audit=[], environment=environment)
    return workspace.root


# The others take as long and test less.
INFORMATIVE = ("no malignant case", "one case of each class", "no readings", "ties", "a reader of one class only")


@pytest.mark.parametrize(
    "edge", [pytest.param(edge, marks=() if edge in INFORMATIVE else pytest.mark.slow) for edge in WORLDS]
)
def test_the_report_is_written_or_refused(
    edge: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Coarse figures and a short bootstrap run the same code in less time.
    monkeypatch.setattr("spinefx.report.figures.DOTS_PER_INCH", 30)
    monkeypatch.setattr("spinefx.report.sign_sections.fit_sign_model", partial(sign_model.fit_sign_model, draws=10))
    try:
        main(["report", str(write_workspace(WORLDS[edge], tmp_path))])
    except SystemExit as end:
        printed = capsys.readouterr()
        assert "internal error" not in printed.err
        if end.code not in (0, None):
            assert edge != "as it should be"
            assert "Error: " in printed.err
            return
    page = next(tmp_path.glob("study/experiments/honest/report/report.html")).read_text(encoding="utf-8")
    assert "Per-patient diagnosis" in page
    assert ">nan<" not in page.lower()

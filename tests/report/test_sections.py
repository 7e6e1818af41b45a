"""The sections of a report agree with their data: the counts of the paper, and data that are missing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from spinefx.cases.reading import Prediction, Reading, SignScores, patient_readings
from spinefx.report.accuracy_sections import comparison_section, panel_section, performance_section
from spinefx.report.checklist import Source, checklist_section
from spinefx.report.content import Finding, ParticipantSummary, ReportContent, Section
from spinefx.report.document import render_report
from spinefx.report.participant_sections import cohort_section, flow_section
from spinefx.report.probability_sections import calibration_section, decision_section
from spinefx.report.sections import build_sections
from spinefx.report.sign_sections import sign_section
from spinefx.statistics.performance import ModelResult
from spinefx.statistics.signs import PHANTOM_TRUTH
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Diagnosis, Score

M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN
MALIGNANT = [f"m{number:03d}" for number in range(50)]
BENIGN = [f"b{number:03d}" for number in range(140)]
TRUTH = dict.fromkeys(MALIGNANT, M) | dict.fromkeys(BENIGN, B)
# Yeh 2022, Table 1: with the sign of 50 malignant and of 140 benign.
TABLE_1 = (
    *((17, 3), (7, 77), (25, 54), (14, 59), (0, 48), (0, 37), (2, 44), (5, 14)),
    *((1, 8), (44, 31), (11, 0), (16, 19), (22, 1), (5, 0), (39, 8)),
)


def readings_of(reader: str, tp: int, tn: int, arm: Arm = Arm.UNAIDED, start: int = 0) -> list[Reading]:
    """Readings that are correct in the first cases of each class, counted from ``start``, with confidences."""
    readings = []
    for cases, right, good, bad in ((MALIGNANT, tp, M, B), (BENIGN, tn, B, M)):
        for place, case in enumerate(cases):
            diagnosis = good if (place - start) % len(cases) < right else bad
            confidence = 60 + 39 * ((place * 7) % len(cases)) / len(cases)
            readings.append(Reading(case, reader, arm, diagnosis, confidence if diagnosis == M else 100 - confidence))
    return readings


def model(name: str = "resnet50", tp: int = 47, tn: int = 128) -> ModelResult:
    predictions = tuple(
        Prediction(one.case_id, one.case_id, index, p := (one.confidence or 0) / 100, p / (2 - p), place % 10 + 1, "d")
        for place, one in enumerate(readings_of(name, tp, tn))
        for index in range(2)
    )
    return ModelResult(name, predictions, patient_readings(predictions, reader_id=name))


def signs_of(reader: str) -> list[SignScores]:
    scored = []
    for cases, column in ((MALIGNANT, 0), (BENIGN, 1)):
        for place, case in enumerate(cases):
            seen = {
                name: Score.YES if place < counts[column] else Score.NO
                for name, counts in zip(SIGN_IDENTIFIERS, TABLE_1, strict=True)
            }
            scored.append(SignScores(case, reader, seen))
    return scored


def study(**changes: object) -> ReportContent:
    content = ReportContent(
        title="spinefx: paper",
        truth=TRUTH,
        models=[model()],
        readings=[*readings_of("msk", 47, 139), *readings_of("r4", 47, 135), *readings_of("r1", 39, 86)],
        participants=[
            ParticipantSummary(case, truth, "biopsy", 50.0 + int(case[1:]) % 40, "FM"[truth == M])
            for case, truth in TRUTH.items()
        ],
        levels={case: ("T5", "T12", "L1", "L4")[int(case[1:]) % 4] for case in TRUTH},
        audit=[Finding("participant on two sides", True, "190 compared")],
        provenance={"recipe": "paper"},
    )
    return replace(content, **changes)  # type: ignore[arg-type]


def read(tsv: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(tsv), delimiter="\t"))


def rows_of(files: dict[str, bytes], name: str) -> list[dict[str, str]]:
    return read(files[f"{name}.tsv"].decode())


def tables_of(*sections: Section) -> dict[str, list[dict[str, str]]]:
    """Return the rows of the tables of some sections, by the table's name."""
    tables = [table for section in sections for table in (*section.tables, *section.folded)]
    return {table.name: read(table.to_tsv()) for table in tables}


@pytest.fixture(scope="module")
def paper(shortened: Callable[[pytest.MonkeyPatch], None]) -> dict[str, bytes]:
    """The report of a study with the counts of the paper, with empty figures."""
    with pytest.MonkeyPatch.context() as patch:
        shortened(patch)
        return render_report(study(signs=signs_of("msk")))


def test_tables_1_and_2_are_those_of_the_paper(paper: dict[str, bytes]) -> None:
    """As recomputed by R and SciPy; see docs/audit.md."""
    table1 = rows_of(paper, "table1")
    p = [float(row["p Fisher"]) for row in table1]
    assert p[:3] == pytest.approx([8.4e-9, 3.4e-7, 0.183], rel=0.02)
    assert p[8:12] == pytest.approx([0.449, 1.4e-16, 1.7e-7, 0.0058], rel=0.02)
    collapse = [float(table1[0][f"odds ratio{end}"]) for end in ("", "_low", "_high")]
    assert collapse == pytest.approx([23.0, 6.15, 129.6], rel=0.002)
    table2 = {row["reader"]: row for row in rows_of(paper, "table2")}
    assert [float(table2["r1"][f"sensitivity{end}"]) for end in ("", "_low", "_high")] == pytest.approx(
        [0.78, 0.648, 0.872], abs=0.0005
    )
    assert [table2["resnet50"][name] for name in ("TP", "TN", "FN", "FP")] == ["47", "128", "3", "12"]
    measures = {row["reader"]: row for row in rows_of(paper, "measures")}
    assert float(measures["resnet50"]["kappa"]) == pytest.approx(0.808, abs=0.0005)


def test_the_model_is_compared_with_every_reader_case_by_case(paper: dict[str, bytes]) -> None:
    """The p-value and Tango's interval are those that the audit of the paper has for three shared errors."""
    rows = {(row["reader 2"], row["measure"]): row for row in rows_of(paper, "comparison")}
    assert len(rows) == 6
    r1 = rows["r1", "sensitivity"]
    cells = ("both right", "only first right", "only second right", "both wrong")
    assert [r1[name] for name in cells] == ["39", "8", "0", "3"]
    assert float(r1["p exact"]) == 2 / 2**8
    assert [float(r1[f"difference (Tango){end}"]) for end in ("", "_low", "_high")] == pytest.approx(
        [0.16, 0.077, 0.285], abs=0.0005
    )
    tests = [row for row in rows_of(paper, "comparison_tests") if row["reader 2"] == "r1"]
    assert {row["test"] for row in tests} == {"McNemar, generalised", "weighted generalised score", "DeLong"}
    assert {(row["cases"], row["pairing"]) for row in tests} == {("190", "paired")}
    assert len(rows_of(paper, "comparison_all")) == 12


def test_subgroups_and_flow_count_every_case_once(paper: dict[str, bytes]) -> None:
    for name in ("collapse", "level", "age", "sex"):
        rows = rows_of(paper, f"subgroups_{name}")
        total = rows.pop()
        assert total[name] == "all"
        for group, number in (("malignant", 50), ("benign", 140)):
            assert sum(int(row[group]) for row in rows) == int(total[group]) == number
    collapsed = next(row for row in rows_of(paper, "subgroups_collapse") if row["collapse"] == "collapsed")
    assert (collapsed["malignant"], collapsed["benign"]) == ("33", "137")
    lost = study(
        participants=[*study().participants, ParticipantSummary("without a case", B, "follow_up")],
        readings=readings_of("msk", 47, 139)[:-5],
    )
    flow = {row["step"]: row for row in tables_of(flow_section(lost))["flow"]}
    assert (flow["Enrolled"]["all"], flow["No vertebra marked"]["all"]) == ("191", "1")
    assert (flow["Read by msk"]["benign"], flow["Read by msk"]["all"]) == ("135", "185")


def test_baselines_include_the_best_sign_and_the_sign_model(paper: dict[str, bytes]) -> None:
    rows = {row["answer"]: row for row in rows_of(paper, "baselines")}
    assert float(rows["always benign"]["accuracy"]) == pytest.approx(140 / 190)
    one_sign = next(row for name, row in rows.items() if name.startswith("Skipped nodular lesion"))
    assert float(one_sign["accuracy"]) == pytest.approx((39 + 132) / 190)
    assert {"signs together, Firth", "signs together, ridge"} < set(rows)


def test_errors_are_analysed_by_sign(paper: dict[str, bytes]) -> None:
    """R1's false positives are the last 54 benign cases, without homogeneous marrow, which the first 48 have."""
    rows = {
        (row["reader"], row["compared"], row["sign"]): row
        for row in rows_of(paper, "errors_all")
        if row["reader"] == "r1"
    }
    homogeneous = "Homogeneous marrow signal (no marrow edema or infiltration)"
    found = rows["r1", "false positives v true negatives", homogeneous]
    assert (float(found["wrong"]), float(found["right"])) == (0.0, pytest.approx(48 / 86))
    assert float(found["p Holm"]) < 1e-6


def test_calibration_and_decision_use_the_corrected_probability(tables_only: None) -> None:
    content = study()
    corrected = content.main.corrected_probabilities
    assert all(100 * corrected[one.case_id] < (one.confidence or 0) for one in content.main.readings)
    tables = tables_of(calibration_section(content), decision_section(content))
    brier = sum((p - (TRUTH[case] == M)) ** 2 for case, p in corrected.items()) / len(corrected)
    found = {row["measure"]: row["value"] for row in tables["calibration"]}
    assert float(found["Brier score"]) == pytest.approx(brier, rel=1e-5)
    at_half = next(row for row in tables["decision"] if float(row["threshold"]) == 0.5)
    called = [case for case, p in corrected.items() if p >= 0.5]
    net = sum(1 if TRUTH[case] == M else -1 for case in called) / 190
    assert float(at_half["net benefit"]) == pytest.approx(net, abs=1e-6)


def test_the_panel_and_the_arms_are_compared(paper: dict[str, bytes]) -> None:
    rows = {row["what"]: row for row in rows_of(paper, "panel_sensitivity")}
    assert float(rows["readers"]["estimate"]) == pytest.approx((47 + 47 + 39) / 150)
    assert float(rows["readers - resnet50"]["estimate"]) == pytest.approx(133 / 150 - 47 / 50)
    assert float(rows["readers"]["estimate_high"]) < 1
    unaided = [readings_of(f"r{n}", 40 + n, 100 + 5 * n, start=n) for n in range(3)]
    aided = [readings_of(f"r{n}", 43 + n, 110 + 5 * n, Arm.AIDED, start=n) for n in range(3)]
    content = study(readings=[one for own in (*unaided, *aided) for one in own])
    tables = tables_of(panel_section(content), performance_section(content))
    arms = {row["what"]: row for row in tables["arms_sensitivity"]}
    assert float(arms["unaided - aided"]["estimate"]) == pytest.approx(-3 / 50)
    assert {row["reader"] for row in tables["table2"]} >= {"r0", "r0, aided", "resnet50", "always benign"}


def test_signs_are_those_of_the_reference_reader() -> None:
    few = [one for one in signs_of("a") if one.case_id < "b100"]
    assert study(signs=[*few, *signs_of("msk")]).reference == "msk"
    assert study(signs=[*signs_of("msk"), *few]).reference == "msk"
    drawn = study(signs=[*signs_of("msk"), *signs_of(PHANTOM_TRUTH)], phantom=True)
    assert drawn.reference == PHANTOM_TRUTH
    text = "Signs as scored by phantom_truth (the true signs of the phantoms) in 190 cases. msk also scored signs."
    assert sign_section(drawn).text == (text,)


def only(cases: list[str]) -> dict[str, object]:
    """Changes that restrict the study to some cases."""
    whole = model()
    predictions = tuple(one for one in whole.predictions if one.case_id in cases)
    readings = patient_readings(predictions, reader_id="resnet50")
    return {
        "truth": {case: TRUTH[case] for case in cases},
        "models": [replace(whole, predictions=predictions, readings=readings)],
    }


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"readings": ()}, {"comparison", "panel"}),
        ({"readings": readings_of("msk", 47, 139)}, {"panel"}),
        ({"participants": (), "audit": (), "provenance": {}}, {"cohort", "audit", "provenance"}),
        ({"participants": (), "levels": {}}, {"cohort", "subgroups"}),
        (only(BENIGN[:20]), {"roc", "calibration", "decision"}),
        (only(MALIGNANT[:1]), {"roc", "calibration", "decision"}),
        (only([BENIGN[0], MALIGNANT[0]]), set()),
        (only([*BENIGN[:3], *MALIGNANT[:3]]) | {"signs": signs_of("msk")}, set()),
        ({"readings": [replace(one, confidence=None) for one in readings_of("msk", 50, 140)]}, {"panel"}),
        ({"models": [replace(model(), predictions=(), readings=())]}, {"roc", "calibration", "decision"}),
    ],
    ids=[
        *(
            "no readers",
            "one reader",
            "no participants",
            "no levels",
            "benign only",
            "one case",
            "two cases",
            "six cases",
        ),
        *("perfect reader", "no predictions"),
    ],
)
def test_sections_without_data_state_why(changes: dict[str, object], missing: set[str], tables_only: None) -> None:
    reasons = {section.key: section.absent for section in build_sections(study(**changes)) if section.absent}
    assert set(reasons) == missing | (set() if "signs" in changes else {"table1"})
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in reasons.values())


def test_the_page_shows_why_a_section_is_missing_and_no_phantom_notice(tables_only: None) -> None:
    page = render_report(study(readings=()))["report.html"].decode()
    assert set(re.findall(r'<h2 id="(\w+)">[^<]*</h2>\n<p class="absent">Not available\.', page)) == {
        *("table1", "comparison", "panel")
    }
    assert page.count('class="absent"') == page.count("(not available)") == 3
    assert "hantom" not in page


def test_a_model_with_the_name_of_a_reader_is_marked() -> None:
    content = study(readings=[*readings_of("resnet50", 39, 86), *readings_of("msk", 47, 139)])
    rows = {row["reader"]: row["TP"] for row in tables_of(performance_section(content))["table2"]}
    assert (rows["resnet50"], rows["resnet50 (model)"]) == ("39", "47")


def test_p_values_have_an_estimate_and_are_not_rounded_away(paper: dict[str, bytes]) -> None:
    for name in ("comparison_tests", "panel_auc", "errors"):
        for row in rows_of(paper, name):
            value = row.get("p", row.get("p Fisher", ""))
            assert value not in {"0", "0.000", "< 0.001"}
            if value not in {"n/a", ""}:
                assert row.get("estimate", row.get("odds ratio")) not in {None, ""}


def test_agreement_is_counted_case_by_case(paper: dict[str, bytes]) -> None:
    """R1 errs wherever the model does, so they agree in 39 + 3 malignant and in 86 + 12 benign cases."""
    rows = {(row["reader 1"], row["reader 2"]): row for row in rows_of(paper, "agreement")}
    assert len(rows) == 6
    found = rows["resnet50", "r1"]
    assert float(found["same answer"]) == pytest.approx((39 + 3 + 86 + 12) / 190)
    both, expected = 39 + 12, ((47 + 12) * (39 + 54) + (3 + 128) * (11 + 86)) / 190**2
    assert float(found["kappa"]) == pytest.approx(((both + 89) / 190 - expected) / (1 - expected), rel=1e-5)


def test_the_checklist_names_who_is_responsible_for_each_line() -> None:
    provenance = {"recipe: patch_size": "64", "recipe: epochs": "100", "recipe: threshold": "0.5"}
    content = study(provenance=provenance, readings=readings_of("msk", 47, 139)[:-5])
    rows = {row["asked"]: row for row in tables_of(checklist_section(content))["checklist"]}
    assert {row["who vouches"] for row in rows.values()} == set(Source)
    known = {asked: row["what this workspace says"] for asked, row in rows.items()}
    assert "0 participants without a marked vertebra, 5 readings missing" in known["missing data"]
    assert known["reference standard, and who established it"] == "Truth: 190 by biopsy."
    assert known["preprocessing, cropping, resampling"] == "patch size 64."
    assert known["training: augmentation, imbalance, loss, schedule, choice of the model"] == "epochs 100."
    assert known["partitions, level of the split, leaks"].startswith("10 folds, split by patient; 1 of 1")
    assert known["failure analysis"].startswith("15 cases were called wrongly.")
    assert known["readers with the model's help"].startswith("Nobody read with the model")
    assert all(known[asked] for asked, row in rows.items() if row["who vouches"] != Source.AUTHOR)


def test_two_models_are_compared_by_slice_and_by_reclassification() -> None:
    tables = tables_of(comparison_section(study(models=[model(), model("honest", 40, 120)])))
    tests = {row["quantity"]: row for row in tables["comparison_tests"] if row["reader 2"] == "honest"}
    by_slice = tests["difference of AUC of 380 slices, first minus second"]
    assert by_slice["test"] == "Obuchowski 1997, t"
    assert by_slice["cases"] == "190"
    assert float(by_slice["estimate_low"]) < float(by_slice["estimate"]) < float(by_slice["estimate_high"])
    assert float(tests["net reclassification improvement, first over second"]["estimate"]) > 0
    assert float(tests["integrated discrimination improvement, first over second"]["estimate"]) > 0
    paired = [row for row in tables["comparison"] if row["reader 2"] == "honest"]
    assert float(paired[0]["ratio (Tang)"]) == pytest.approx(47 / 40)


def test_every_reader_with_confidences_is_in_the_tables_of_probabilities(tables_only: None) -> None:
    """Each row follows from the reader's own probabilities; a reader of one class only also has a row."""
    confident = [*readings_of("msk", 47, 139), *readings_of("r4", 47, 135), *readings_of("r1", 39, 86)]
    silent = [replace(one, confidence=None) for one in readings_of("r0", 45, 130)]
    partly = [one for one in readings_of("r2", 40, 120) if one.case_id in BENIGN]
    other = replace(model("other", 40, 120), corrected=True)
    content = study(models=[model(), other], readings=[*confident, *silent, *partly])
    sections = (calibration_section(content), decision_section(content))
    tables = tables_of(*sections)
    names = ["resnet50", "other", "msk", "r1", "r4", "r2"]
    calibration = {row["reader"]: row for row in tables["calibration_all"]}
    benefit = {row["reader"]: row for row in tables["decision_all"]}
    assert list(calibration) == names
    assert list(benefit) == [*names, "acting on all (cases of resnet50)"]
    assert calibration["r2"]["slope"] == "n/a"
    assert calibration["r2"]["remark"].startswith("probabilities of one class only")
    msk = {one.case_id: (one.confidence or 0) / 100 for one in confident if one.reader_id == "msk"}
    for name, own in (("other", other.corrected_probabilities), ("msk", msk)):
        p, y = np.array(list(own.values())), np.array([TRUTH[case] == M for case in own])
        assert float(calibration[name]["Brier score"]) == pytest.approx(np.mean((p - y) ** 2), rel=1e-5)
        net = np.mean((p >= 0.3) & y) - np.mean((p >= 0.3) & ~y) * 0.3 / 0.7
        assert float(benefit[name]["net benefit at 0.3"]) == pytest.approx(net, rel=1e-5)
    act_on_all = 50 / 190 - 140 / 190 * 0.2 / 0.8
    assert float(benefit["acting on all (cases of resnet50)"]["net benefit at 0.2"]) == pytest.approx(
        act_on_all, abs=1e-6
    )
    for section in sections:
        (picture,) = section.pictures
        assert "Also drawn: other, msk, r1." in picture.alternative
        assert "1 more are in the table only." in picture.caption


def test_a_single_model_has_no_table_of_all_readers(tables_only: None) -> None:
    content = study(readings=())
    sections = (calibration_section(content), decision_section(content))
    assert set(tables_of(*sections)) == {"calibration", "decision"}
    assert not any("Also drawn" in picture.alternative for section in sections for picture in section.pictures)


def test_a_small_pilot_does_not_join_the_panel_or_the_arms() -> None:
    cohort = [one for n in range(3) for one in readings_of(f"r{n}", 40 + n, 100 + 5 * n, start=n)]
    aided = [one for n in range(3) for one in readings_of(f"r{n}", 43 + n, 110 + 5 * n, Arm.AIDED, start=n)]
    few = {*MALIGNANT[:2], *BENIGN[:2]}
    pilot = [
        one
        for n in range(3)
        for arm in (Arm.UNAIDED, Arm.AIDED)
        for one in readings_of(f"p{n}", 50, 140, arm)
        if one.case_id in few
    ]
    alone = panel_section(study(readings=[*cohort, *aided]))
    joined = panel_section(study(readings=[*cohort, *aided, *pilot]))
    assert [(one.name, one.rows) for one in joined.tables] == [(one.name, one.rows) for one in alone.tables]
    assert all("p0, p1, p2" in one.note for one in joined.tables)
    assert not any("Left out" in one.note for one in alone.tables)
    only = panel_section(study(readings=pilot))
    assert not only.tables
    assert "in common" in " ".join(only.text)


def test_perturbed_readings_stay_out_of_the_arms() -> None:
    readings = [one for n in range(3) for one in readings_of(f"r{n}", 40 + n, 100 + 5 * n, start=n)]
    aided = [one for n in range(3) for one in readings_of(f"r{n}", 50, 140, Arm.AIDED)]
    turned = [
        replace(
            one, arm=Arm.PERTURBED, diagnosis=B if one.diagnosis == M else M, confidence=100 - (one.confidence or 0)
        )
        if place % 4 == 0
        else one
        for place, one in enumerate(aided)
    ]
    content = study(readings=[*readings, *turned])
    tables = tables_of(panel_section(content), performance_section(content))
    arms = {row["what"]: row for row in tables["arms_sensitivity"]}
    assert float(arms["aided"]["estimate"]) == 1
    assert {"r0", "r0, aided", "r0, perturbed"} <= {row["reader"] for row in tables["table2"]}
    assert "flipped on purpose" in " ".join(performance_section(content).text)


@pytest.mark.usefixtures("tables_only")
def test_readers_without_a_model_get_a_report() -> None:
    readings = [one for n in range(3) for one in readings_of(f"r{n}", 40 + n, 100 + 5 * n, start=n)]
    aided = [one for n in range(3) for one in readings_of(f"r{n}", 43 + n, 110 + 5 * n, Arm.AIDED, start=n)]
    files = render_report(study(models=[], readings=[*readings, *aided], signs=signs_of("r0")))
    assert {"table1.tsv", "table2.tsv", "comparison.tsv", "arms_auc.tsv", "flow.tsv"} <= set(files)
    assert "panel_auc.tsv" not in files
    page = files["report.html"].decode()
    assert "without a model" in page
    assert "Run `spinefx train WORKSPACE`" in page
    assert "cross-validated by patient" not in page


def test_boxes_of_the_localiser_are_reported_with_their_distances() -> None:
    located = [
        *(("name", 1.0, True), ("name", 2.0, True), ("place", 6.0, False), ("place", 3.0, True), ("none", None, False))
    ]
    rows = tables_of(cohort_section(study(located=located, phantom=True)))["located_boxes"]
    assert {row["what"]: row["value"] for row in rows} == {
        "boxes that the localiser was to place": "5",
        "vertebra chosen by its name": "2",
        "no such name in the field: the vertebra that the table's box lies on": "2",
        "no vertebra found there: box of the table kept": "1",
        "distance from the table's box, median, mm": "2.5",
        "90th percentile, mm": "5.1",
        "greatest, mm": "6",
        "within 5 mm": "3 of 4",
        "sharing a lesion slice with the table's box": "3 of 4",
    }
    assert "located_boxes" not in tables_of(cohort_section(study()))
    assert len(tables_of(cohort_section(study(located=[("none", None, False)])))["located_boxes"]) == 4

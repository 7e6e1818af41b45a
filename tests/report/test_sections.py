"""The report says what its data hold: the paper's counts come out again, and what is missing is left out, and said."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from spinefx.cases.reading import Prediction, Reading, SignScores, patient_readings
from spinefx.report.checklist import Source
from spinefx.report.content import Finding, ParticipantSummary, ReportContent
from spinefx.report.document import render_report
from spinefx.statistics.performance import ModelResult
from spinefx.statistics.signs import PHANTOM_TRUTH
from spinefx.statistics.table import ResultTable
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
EVIL = "<img src=x onerror=alert(1)>\"'&--></svg><script>alert(2)</script>$x_{"


def readings_of(reader: str, tp: int, tn: int, arm: Arm = Arm.UNAIDED, start: int = 0) -> list[Reading]:
    """The first cases of each class rightly, from ``start`` on; confidence says how sure."""
    answers = []
    for cases, right, good, bad in ((MALIGNANT, tp, M, B), (BENIGN, tn, B, M)):
        for place, case in enumerate(cases):
            diagnosis = good if (place - start) % len(cases) < right else bad
            sure = 60 + 39 * ((place * 7) % len(cases)) / len(cases)
            answers.append(Reading(case, reader, arm, diagnosis, sure if diagnosis == M else 100 - sure))
    return answers


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


def rows_of(files: dict[str, bytes], name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files[f"{name}.tsv"].decode()), delimiter="\t"))


@pytest.fixture(scope="module")
def paper() -> dict[str, bytes]:
    """The whole report of a study with the paper's counts."""
    return render_report(study(signs=signs_of("msk")))


def test_the_papers_counts_give_its_tables_again(paper: dict[str, bytes]) -> None:
    """Yeh 2022 Tables 1 and 2, as recomputed by R and SciPy (the audit page of the docs)."""
    table1 = rows_of(paper, "table1")
    assert [row["p Fisher"] for row in table1[:3]] == ["8.4e-09", "3.4e-07", "0.18"]
    assert [row["p Fisher"] for row in table1[8:12]] == ["0.45", "1.4e-16", "1.7e-07", "0.0058"]
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
    """All three errors shared: the p and Tango's interval that the audit of the paper names for that table."""
    rows = {(row["reader 2"], row["measure"]): row for row in rows_of(paper, "comparison")}
    assert len(rows) == 6
    r1 = rows["r1", "sensitivity"]
    cells = ("both right", "only first right", "only second right", "both wrong")
    assert [r1[name] for name in cells] == ["39", "8", "0", "3"]
    assert r1["p exact"] == "0.0078"
    assert [float(r1[f"difference (Tango){end}"]) for end in ("", "_low", "_high")] == pytest.approx(
        [0.16, 0.077, 0.285], abs=0.0005
    )
    tests = [row for row in rows_of(paper, "comparison_tests") if row["reader 2"] == "r1"]
    assert {row["test"] for row in tests} == {"McNemar, generalised", "weighted generalised score", "DeLong"}
    assert {(row["cases"], row["pairing"]) for row in tests} == {("190", "paired")}
    assert len(rows_of(paper, "comparison_all")) == 12


def test_subgroups_and_flow_count_everybody_once(paper: dict[str, bytes]) -> None:
    for name in ("collapse", "level", "age", "sex"):
        rows = rows_of(paper, f"subgroups_{name}")
        everybody = rows.pop()
        assert everybody[name] == "all"
        for group, number in (("malignant", 50), ("benign", 140)):
            assert sum(int(row[group]) for row in rows) == int(everybody[group]) == number
    collapsed = next(row for row in rows_of(paper, "subgroups_collapse") if row["collapse"] == "collapsed")
    assert (collapsed["malignant"], collapsed["benign"]) == ("33", "137")
    lost = study(
        participants=[*study().participants, ParticipantSummary("nobody", B, "follow_up")],
        readings=readings_of("msk", 47, 139)[:-5],
    )
    flow = {row["step"]: row for row in rows_of(render_report(lost), "flow")}
    assert (flow["Enrolled"]["all"], flow["No vertebra marked"]["all"]) == ("191", "1")
    assert (flow["Read by msk"]["benign"], flow["Read by msk"]["all"]) == ("135", "185")


def test_baselines_stand_beside_the_model(paper: dict[str, bytes]) -> None:
    rows = {row["answer"]: row for row in rows_of(paper, "baselines")}
    assert float(rows["always benign"]["accuracy"]) == pytest.approx(140 / 190)
    one_sign = next(row for name, row in rows.items() if name.startswith("Skipped nodular lesion"))
    assert float(one_sign["accuracy"]) == pytest.approx((39 + 132) / 190)
    assert {"signs together, Firth", "signs together, ridge"} < set(rows)


def test_errors_are_set_against_signs(paper: dict[str, bytes]) -> None:
    """R1's false positives are the last 54 benign cases: none shows homogeneous marrow, which the first 48 have."""
    rows = {
        (row["reader"], row["compared"], row["sign"]): row
        for row in rows_of(paper, "errors_all")
        if row["reader"] == "r1"
    }
    homogeneous = "Homogeneous marrow signal (no marrow edema or infiltration)"
    found = rows["r1", "false positives v true negatives", homogeneous]
    assert (float(found["wrong"]), float(found["right"])) == (0.0, pytest.approx(48 / 86))
    assert float(found["p Holm"]) < 1e-6


def test_calibration_and_decision_use_the_corrected_probability() -> None:
    content = study()
    corrected = content.main.corrected_probabilities
    assert all(100 * corrected[one.case_id] < (one.confidence or 0) for one in content.main.readings)
    files = render_report(content)
    brier = sum((p - (TRUTH[case] == M)) ** 2 for case, p in corrected.items()) / len(corrected)
    found = {row["measure"]: row["value"] for row in rows_of(files, "calibration")}
    assert float(found["Brier score"]) == pytest.approx(brier, rel=1e-5)
    at_half = next(row for row in rows_of(files, "decision") if float(row["threshold"]) == 0.5)
    called = [case for case, p in corrected.items() if p >= 0.5]
    net = sum(1 if TRUTH[case] == M else -1 for case in called) / 190
    assert float(at_half["net benefit"]) == pytest.approx(net, abs=1e-6)


def test_readers_become_a_panel_and_arms_are_compared(paper: dict[str, bytes]) -> None:
    rows = {row["what"]: row for row in rows_of(paper, "panel_sensitivity")}
    assert float(rows["readers"]["estimate"]) == pytest.approx((47 + 47 + 39) / 150)
    assert float(rows["readers - resnet50"]["estimate"]) == pytest.approx(133 / 150 - 47 / 50)
    assert float(rows["readers"]["estimate_high"]) < 1
    unaided = [readings_of(f"r{n}", 40 + n, 100 + 5 * n, start=n) for n in range(3)]
    aided = [readings_of(f"r{n}", 43 + n, 110 + 5 * n, Arm.AIDED, start=n) for n in range(3)]
    files = render_report(study(readings=[one for mine in (*unaided, *aided) for one in mine]))
    arms = {row["what"]: row for row in rows_of(files, "arms_sensitivity")}
    assert float(arms["unaided - aided"]["estimate"]) == pytest.approx(-3 / 50)
    assert {row["reader"] for row in rows_of(files, "table2")} >= {"r0", "r0, aided", "resnet50", "always benign"}


def test_signs_are_those_of_the_reference_reader() -> None:
    few = [one for one in signs_of("a") if one.case_id < "b100"]
    assert study(signs=[*few, *signs_of("msk")]).reference == "msk"
    assert study(signs=[*signs_of("msk"), *few]).reference == "msk"
    drawn = study(signs=[*signs_of("msk"), *signs_of(PHANTOM_TRUTH)], phantom=True)
    assert drawn.reference == PHANTOM_TRUTH
    page = render_report(drawn)["report.html"].decode()
    assert "Signs as scored by phantom_truth (the signs that the phantom was drawn with), in 190 cases." in page
    assert "Signs were also scored by msk." in page


def only(cases: list[str]) -> dict[str, object]:
    """A study of these cases alone."""
    whole = model()
    predictions = tuple(one for one in whole.predictions if one.case_id in cases)
    readings = patient_readings(predictions, reader_id="resnet50")
    return {
        "truth": {case: TRUTH[case] for case in cases},
        "models": [replace(whole, predictions=predictions, readings=readings)],
    }


@pytest.mark.parametrize(
    ("changes", "left_out"),
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
    ids=["no readers", "one", "nobody", "nothing", "benign only", "one case", "two", "six", "perfect", "no answers"],
)
def test_what_is_missing_is_left_out_and_said(changes: dict[str, object], left_out: set[str]) -> None:
    page = render_report(study(**changes))["report.html"].decode()
    said = dict(re.findall(r'<h2 id="(\w+)">[^<]*</h2>\n<p class="absent">Left out\. ([^<]*)</p>', page))
    assert set(said) == left_out | (set() if "signs" in changes else {"table1"})
    assert page.count('class="absent"') == len(said)
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in said.values())


def test_a_model_that_is_called_like_a_reader_is_told_apart() -> None:
    content = study(readings=[*readings_of("resnet50", 39, 86), *readings_of("msk", 47, 139)])
    rows = {row["reader"]: row["TP"] for row in rows_of(render_report(content), "table2")}
    assert (rows["resnet50"], rows["resnet50 (model)"]) == ("39", "47")


class Outline(HTMLParser):
    """Elements and attributes of a page, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_text_from_the_data_cannot_inject_markup(small_study: Callable[[str], ReportContent]) -> None:
    files = render_report(small_study(EVIL))
    page = files["report.html"].decode()
    outline = Outline(page)
    assert not outline.all("script")
    assert all((one["src"] or "").startswith("data:image/png;base64,") for one in outline.all("img"))
    assert not [name for _, attributes in outline.elements for name in attributes if name.startswith("on")]
    assert page.count("&lt;script&gt;") > 50
    for name in ("roc", "calibration", "decision"):
        drawn = ET.fromstring(files[f"{name}.svg"])
        assert not [one for one in drawn.iter() if one.tag.rpartition("}")[2] in {"script", "img", "image"}]


def test_the_page_can_be_read_by_everybody(paper: dict[str, bytes]) -> None:
    """Headings in order, captions, scopes, alternatives, no name twice, links that lead somewhere."""
    outline = Outline(paper["report.html"].decode())
    assert [tag for tag, _ in outline.elements if tag in {"h1", "h2", "h3"}][:2] == ["h1", "h2"]
    assert len(outline.all("h1")) == 1
    assert len(outline.all("caption")) == len(outline.all("table")) > 15
    assert all(one.get("scope") in {"col", "row"} for one in outline.all("th"))
    assert all(one.get("aria-label") for one in outline.all("div") if one.get("role"))
    assert len([one for one in outline.all("div") if one.get("role") == "img"]) == len(outline.all("svg")) == 3
    names = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for link in outline.all("a"):
        assert (link["href"] or "").removeprefix("#") in names
    used = [value for one in outline.all("use") for key, value in one.items() if "href" in key]
    assert used
    assert {str(value).removeprefix("#") for value in used} <= set(names)


def test_no_p_value_stands_alone_or_is_rounded_away(paper: dict[str, bytes]) -> None:
    for name in ("comparison_tests", "panel_auc", "errors"):
        for row in rows_of(paper, name):
            value = row.get("p", row.get("p Fisher", ""))
            assert value not in {"0", "0.000", "< 0.001"}
            if value not in {"n/a", ""}:
                assert row.get("estimate", row.get("odds ratio")) not in {None, ""}


def test_readers_agree_as_far_as_their_answers(paper: dict[str, bytes]) -> None:
    """R1 errs wherever the model does: the same answer in 39 + 3 malignant and in 86 + 12 benign cases."""
    rows = {(row["reader 1"], row["reader 2"]): row for row in rows_of(paper, "agreement")}
    assert len(rows) == 6
    found = rows["resnet50", "r1"]
    assert float(found["same answer"]) == pytest.approx((39 + 3 + 86 + 12) / 190)
    both, expected = 39 + 12, ((47 + 12) * (39 + 54) + (3 + 128) * (11 + 86)) / 190**2
    assert float(found["kappa"]) == pytest.approx(((both + 89) / 190 - expected) / (1 - expected), rel=1e-5)


def test_the_checklist_says_who_vouches_for_each_line() -> None:
    provenance = {"recipe: patch_size": "64", "recipe: epochs": "100", "recipe: threshold": "0.5"}
    content = study(provenance=provenance, readings=readings_of("msk", 47, 139)[:-5])
    rows = {row["asked"]: row for row in rows_of(render_report(content), "checklist")}
    assert {row["who vouches"] for row in rows.values()} == set(Source)
    told = {asked: row["what this study folder says"] for asked, row in rows.items()}
    assert "0 participants without a marked vertebra, 5 readings missing" in told["missing data"]
    assert told["reference standard, and who established it"] == "Truth: 190 by biopsy."
    assert told["preprocessing, cropping, resampling"] == "patch size 64."
    assert told["training: augmentation, imbalance, loss, schedule, choice of the model"] == "epochs 100."
    assert told["partitions, level of the split, leaks"].startswith("10 folds, split by patient; 1 of 1")
    assert told["failure analysis"].startswith("15 cases were called wrongly.")
    assert told["readers with the model's help"].startswith("Nobody read with the model")
    assert all(told[asked] for asked, row in rows.items() if row["who vouches"] != Source.AUTHOR)


def test_long_tables_are_folded_and_cut_with_a_word(paper: dict[str, bytes]) -> None:
    many = [one for number in range(11) for one in readings_of(f"r{number:02d}", 40 + number % 10, 100 + number)]
    page = render_report(study(readings=many))["report.html"].decode()
    assert "<summary>Further paired comparisons (44 rows)</summary>" in page
    assert "<summary>Further paired comparisons" not in paper["report.html"].decode()
    table = ResultTable("t", "T", ("a", "b"), tuple((number, 0) for number in range(7)), "Note.", page_columns=("b",))
    shown = table.for_page(5)
    assert (shown.columns, len(shown.rows), shown.note) == (("b",), 5, "Note. 2 more rows stand in t.tsv.")
    assert table.for_page().note == "Note."


def test_two_models_are_compared_by_slice_and_by_what_the_one_adds() -> None:
    files = render_report(study(models=[model(), model("honest", 40, 120)]))
    tests = {row["quantity"]: row for row in rows_of(files, "comparison_tests") if row["reader 2"] == "honest"}
    by_slice = tests["difference of AUC of 380 slices, first minus second"]
    assert by_slice["test"] == "Obuchowski 1997, t"
    assert by_slice["cases"] == "190"
    assert float(by_slice["estimate_low"]) < float(by_slice["estimate"]) < float(by_slice["estimate_high"])
    assert float(tests["net reclassification improvement, first over second"]["estimate"]) > 0
    assert float(tests["integrated discrimination improvement, first over second"]["estimate"]) > 0
    paired = [row for row in rows_of(files, "comparison") if row["reader 2"] == "honest"]
    assert float(paired[0]["ratio (Tang)"]) == pytest.approx(47 / 40)


def test_everybody_with_probabilities_is_judged_by_them() -> None:
    """Each row is what its own probabilities give; nobody loses a row to having read one class only."""
    sure = [*readings_of("msk", 47, 139), *readings_of("r4", 47, 135), *readings_of("r1", 39, 86)]
    silent = [replace(one, confidence=None) for one in readings_of("r0", 45, 130)]
    partly = [one for one in readings_of("r2", 40, 120) if one.case_id in BENIGN]
    other = replace(model("other", 40, 120), corrected=True)
    files = render_report(study(models=[model(), other], readings=[*sure, *silent, *partly]))
    names = ["resnet50", "other", "msk", "r1", "r4", "r2"]
    calibration = {row["reader"]: row for row in rows_of(files, "calibration_all")}
    benefit = {row["reader"]: row for row in rows_of(files, "decision_all")}
    assert list(calibration) == names
    assert list(benefit) == [*names, "acting on all (cases of resnet50)"]
    assert calibration["r2"]["slope"] == "n/a"
    assert calibration["r2"]["remark"].startswith("probabilities of one class only")
    for name, mine in (("other", other.corrected_probabilities), ("msk", None)):
        if mine is None:
            mine = {one.case_id: (one.confidence or 0) / 100 for one in sure if one.reader_id == name}
        p, y = np.array(list(mine.values())), np.array([TRUTH[case] == M for case in mine])
        assert float(calibration[name]["Brier score"]) == pytest.approx(np.mean((p - y) ** 2), rel=1e-5)
        net = np.mean((p >= 0.3) & y) - np.mean((p >= 0.3) & ~y) * 0.3 / 0.7
        assert float(benefit[name]["net benefit at 0.3"]) == pytest.approx(net, rel=1e-5)
    all_acted = 50 / 190 - 140 / 190 * 0.2 / 0.8
    assert float(benefit["acting on all (cases of resnet50)"]["net benefit at 0.2"]) == pytest.approx(
        all_acted, abs=1e-6
    )
    page = files["report.html"].decode()
    assert page.count("Beside it other, msk, r1.") == 2
    assert page.count("1 more stand in the table alone.") == 2


def test_one_model_alone_needs_no_table_of_everybody() -> None:
    files = render_report(study(readings=()))
    assert {"calibration.tsv", "decision.tsv"} <= set(files)
    assert not {"calibration_all.tsv", "decision_all.tsv"} & set(files)
    assert "Beside it" not in files["report.html"].decode()

"""A reader's own confusions, counted as in the report, and shown to no other reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from spinefx.app.access import add_user
from spinefx.app.users import Role, User, new_token, token_digest
from spinefx.cases.reading import Reading, SignScores
from spinefx.errors import InputError
from spinefx.reader_study.feedback import feedback, readers_of, training_series
from spinefx.statistics.signs import PHANTOM_TRUTH
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Diagnosis, Score
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort, read_readings, write_readings, write_signs


def planted(study: Path, *, sign: str = "nodular_lesion") -> Workspace:
    """Add a reader who calls every case with the sign malignant, and who misses the sign in one case."""
    workspace = Workspace.open(study)
    cases = read_cohort(workspace).cases
    seen = {case.case_id: number % 2 == 0 for number, case in enumerate(cases)}
    readings = [
        Reading(name, "P1", Arm.UNAIDED, Diagnosis.MALIGNANT if is_seen else Diagnosis.BENIGN, 50.0)
        for name, is_seen in seen.items()
    ]
    plain = dict.fromkeys(SIGN_IDENTIFIERS, Score.NO)
    truth = [SignScores(n, PHANTOM_TRUTH, plain | {sign: Score.YES if s else Score.NO}) for n, s in seen.items()]
    first = cases[0].case_id
    own = [SignScores(n, "P1", plain | {sign: Score.YES if s != (n == first) else Score.NO}) for n, s in seen.items()]
    write_readings(workspace, [*read_readings(workspace), *readings])
    write_signs(workspace, [*truth, *own])
    return workspace


def test_a_planted_confusion_is_found(study: Path) -> None:
    workspace = planted(study)
    found = feedback(workspace, "P1")
    truth = {case.case_id: case.diagnosis for case in read_cohort(workspace).cases}
    wrong = sorted(case for case, answer in found.answers.items() if truth[case] != answer)
    assert list(found.wrong) == wrong
    assert found.confusion.fp + found.confusion.fn == len(wrong)
    by_sign = {one.identifier: one for one in found.false_positives}
    if found.confusion.fp and found.confusion.tn:
        assert by_sign["nodular_lesion"].first.value == 1.0
        assert by_sign["nodular_lesion"].second.value == 0.0
    rows = {one.identifier: one for one in found.agreement}
    assert rows["nodular_lesion"].missed == (next(iter(sorted(truth))),)
    assert rows["nodular_lesion"].imagined == ()
    assert rows["dark_patch"].missed == ()


def test_feedback_leaves_out_hidden_cases(study: Path) -> None:
    workspace = planted(study)
    hidden = read_cohort(workspace).cases[0].case_id
    assert hidden not in feedback(workspace, "P1", may_see=lambda case: case != hidden).truth
    with pytest.raises(InputError, match="no finished reading"):
        feedback(workspace, "P1", may_see=lambda case: False)
    with pytest.raises(InputError, match="no finished reading"):
        feedback(workspace, "nobody")


def test_a_training_series_holds_both_classes_and_is_drawn_at_random(study: Path) -> None:
    workspace = planted(study)
    found = feedback(workspace, "P1")
    drawn = [training_series(workspace, found, 4, np.random.default_rng(seed)) for seed in range(200)]
    assert {len(set(one)) for one in drawn} <= {3, 4}
    assert drawn[7] == training_series(workspace, found, 4, np.random.default_rng(7))
    counts = {case: sum(case in one for one in drawn) for case in found.truth}
    for diagnosis in Diagnosis:
        mine = [case for case in found.truth if found.truth[case] == diagnosis]
        wrong = [counts[case] for case in mine if case in found.wrong]
        right = [counts[case] for case in mine if case not in found.wrong]
        if len(mine) > 2 and wrong and right:
            assert min(wrong) > max(right), "errors come back more often"
    with pytest.raises(InputError, match="series of 1"):
        training_series(workspace, found, 1, np.random.default_rng(0))


def test_a_reader_sees_only_their_own_feedback(client_of: Callable[..., TestClient], study: Path) -> None:
    planted(study)
    client = client_of(study)
    everybody = client.get("/api/teach").json()["readers"]
    assert "P1" in everybody
    assert set(everybody) == set(readers_of(Workspace.open(study)))
    token = new_token()
    log = client.app.state.server.log  # type: ignore[attr-defined]
    add_user(log, User("P1", frozenset({Role.READER})), token_digest(token), by="test")
    own = TestClient(client.app, base_url="http://127.0.0.1:8765", headers=dict(client.headers))
    own.post("/api/enter", json={"token": token})
    assert own.get("/api/teach").json()["readers"] == ["P1"]
    other = next(reader for reader in everybody if reader != "P1")
    assert own.get(f"/api/teach/feedback/{other}").status_code == 403
    assert own.get("/api/teach/feedback/P1").json()["reader"] == "P1"


def test_a_training_case_reveals_nothing_before_the_answer(client_of: Callable[..., TestClient], study: Path) -> None:
    workspace = planted(study)
    client = client_of(study)
    begun = client.post("/api/teach/series", json={"reader": "P1", "cases": 4}).json()
    names = [case.case_id for case in read_cohort(workspace).cases]
    for place in range(begun["cases"]):
        shown = client.get(f"/api/teach/series/{begun['series']}/{place}")
        assert not any(name in shown.text for name in [*names, "malignant", "benign", "nodular"])
        told = client.post(f"/api/teach/series/{begun['series']}/{place}/P1", json={"diagnosis": "malignant"}).json()
        assert told["right"] == (told["truth"] == "malignant")
        assert told["case"] in names
    assert client.get(f"/api/teach/series/{begun['series']}/{begun['cases']}").status_code == 403
    kept: list[Any] = client.app.state.server.log.entries(kind="training.answered")  # type: ignore[attr-defined]
    assert len(kept) == begun["cases"]


@pytest.mark.every_browser
def test_feedback_and_training_on_a_phantom_cohort(served: Any, page: Any) -> None:
    reader = readers_of(Workspace.open(served.study))[-1]
    page.goto(f"{served.address}/teach")
    page.get_by_role("link", name=reader, exact=True).click()
    found = feedback(Workspace.open(served.study), reader)
    counts = found.confusion
    page.get_by_test_id("counts").filter(has_text=f"{counts.tn} of {counts.tn + counts.fp} benign").wait_for()
    assert page.get_by_test_id("again").locator("li").count() == len(found.wrong)
    page.get_by_role("button", name="Train on").click()
    page.get_by_text("Linked by position").wait_for()
    page.keyboard.press("m")
    said = page.get_by_test_id("feedback").inner_text()
    assert ("Correct" in said) == ("is malignant" in said)
    page.evaluate("window.isSamePage = true")
    seen = page.get_by_label("T2W image").get_attribute("data-series")
    page.keyboard.press("n")
    page.get_by_role("heading", name="Training case 2").wait_for()
    page.get_by_text("Linked by position").wait_for()
    assert page.evaluate("window.isSamePage")
    assert page.get_by_label("T2W image").get_attribute("data-series") not in {None, seen}
    assert page.get_by_test_id("feedback").count() == 0
    assert page.url.endswith("/1")
    page.keyboard.press("e")
    page.get_by_test_id("feedback").wait_for()
    page.go_back()
    page.get_by_role("heading", name="Training case 1").wait_for()

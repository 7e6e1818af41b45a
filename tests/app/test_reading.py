"""The routes of reader studies: what a reader's browser gets, and what it never gets before the seal."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from spinefx.app import pairs
from spinefx.app.access import add_user
from spinefx.app.users import Role, User, new_token, token_digest
from spinefx.cases.reading import Reading
from spinefx.reader_study.clock import Clock
from spinefx.reader_study.session import unfinished_cases
from spinefx.reader_study.study import RegisteredStudy
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Diagnosis
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import (
    read_cohort,
    read_lesions,
    read_readings,
    read_signs,
    write_lesions,
    write_readings,
)

SIGNS = dict.fromkeys(SIGN_IDENTIFIERS, "n")
FIRST = {"key": "k1", "diagnosis": "malignant", "confidence": 70, "signs": SIGNS, "comment": ""}
AFTER = {"key": "k2", "diagnosis": "benign", "confidence": 30, "comment": "seen"}
OTHERS = "planted by another reader"


class Browser:
    """A signed-in client that keeps every response."""

    def __init__(self, client: TestClient, code: str, *roles: Role) -> None:
        token = new_token()
        log = client.app.state.server.log  # type: ignore[attr-defined]
        add_user(log, User(code, frozenset(roles)), token_digest(token), by="test")
        self.client = TestClient(client.app, base_url="http://127.0.0.1:8765", headers=dict(client.headers))
        assert self.client.post("/api/enter", json={"token": token}).status_code == 200
        self.log = log
        self.bodies: list[bytes] = []

    def ask(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        answer = self.client.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        self.bodies += [answer.content, str(dict(answer.headers)).encode()]
        return answer.json() if answer.headers["content-type"] == "application/json" else answer.content

    def current(self, session: int = 1) -> str:
        return str(self.ask("GET", f"/api/read/pilot/{session}")["case"]["handle"])

    def path(self, what: str, session: int = 1) -> str:
        return f"/api/read/pilot/{session}/{self.current(session)}/{what}"


@pytest.fixture
def reader(client_of: Callable[..., TestClient], study: Path) -> Callable[..., Browser]:
    client = client_of(study)
    return lambda code="R1", *roles: Browser(client, code, *(roles or (Role.READER,)))


def secrets_of(study: Path, reader_study: RegisteredStudy) -> list[bytes]:
    """List what a blinded reader must not get: identifiers, truth, predictions, other readers' comments, file names."""
    workspace = Workspace.open(study)
    cases = read_cohort(workspace).cases
    words = [*(case.case_id for case in cases), *(case.participant_id for case in cases), "sub-", ".nii", ".tsv"]
    words += ["0.8127", "0.2127", "0.1872", "0.7872", "cccc", OTHERS, "phantom_truth", "perturbed", "truth"]
    words += [str(study), reader_study.key, str(reader_study.seed) + "}", *(case.images_digest for case in cases)]
    return [word.encode() for word in words]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_no_response_before_the_reveal_holds_a_secret(
    reader: Callable[..., Browser], study: Path, registered: Callable[..., RegisteredStudy], share: float
) -> None:
    reader_study = registered(study, "second_read", readers=["R1", "R2"], perturbed_share=share)
    workspace = Workspace.open(study)
    named = read_cohort(workspace).cases[0].case_id
    write_readings(workspace, [*read_readings(workspace), Reading(named, "R9", Arm.UNAIDED, Diagnosis.BENIGN, 12.0)])
    other, mine = reader("R2"), reader("R1")
    for browser, answer in ((other, FIRST | {"comment": OTHERS}), (mine, FIRST)):
        opened = browser.ask("POST", browser.path("open"))
        assert opened["model"] is None
        for name in ("t2w", "t1w"):
            browser.ask("GET", f"/api/images/{opened['pair'][name]['handle']}/slices/3")
        browser.ask("PUT", browser.path("draft"), {"diagnosis": "benign", "confidence": 4})
        browser.ask("POST", browser.path("presence"), {"presence": "hidden"})
        browser.ask("POST", browser.path("reveal"), status=403)
        browser.ask("POST", browser.path("revise"), AFTER, status=403)
        browser.ask("GET", "/api/read")
        browser.ask("GET", "/api/me")
        browser.ask("GET", "/api/teach")
        sealed = browser.ask("POST", browser.path("seal"), answer)
        assert sealed["step"] == "sealed"
        assert sealed["own"]["digest"].startswith("sha256:")
    theirs = other.ask("GET", f"/api/images/{opened['pair']['t2w']['handle']}/slices/3", status=403)
    assert "Image not found" in theirs["message"]
    before = b"\n".join(mine.bodies)
    assert len(before) > 50_000
    for secret in secrets_of(study, reader_study):
        assert secret not in before, secret
    shown = mine.ask("POST", mine.path("reveal"))
    assert len(re.findall(r"0\.[18]\d{4}|0\.[27]\d{4}", str(shown["probability"]))) == 1
    assert b"perturbed" not in b"\n".join(mine.bodies)
    assert len(mine.log.entries(kind="model.refused")) == 2


def test_an_early_request_for_the_prediction_is_refused_and_logged(
    reader: Callable[..., Browser], study: Path, registered: Callable[..., RegisteredStudy]
) -> None:
    registered(study, "second_read", readers=["R1"])
    mine = reader()
    handle = mine.current()
    said = mine.ask("POST", mine.path("reveal"), status=403)
    assert said["error"] == "AccessError"
    (entry,) = mine.log.entries(kind="model.refused")
    assert (entry.person, entry.subject, entry.content["handle"]) == ("R1", "pilot/R1", handle)
    assert mine.log.entries(kind="model.revealed") == []


def test_a_second_read_session_from_sign_in_to_export(
    reader: Callable[..., Browser], study: Path, registered: Callable[..., RegisteredStudy]
) -> None:
    reader_study = registered(study, "second_read", readers=["R1"], box=False)
    mine, editor = reader(), reader("E1", Role.EDITOR)
    for number in range(6):
        opened = mine.ask("POST", mine.path("open"))
        assert (opened["place"], opened["of"], opened["practice"]) == (number + 1, 6, False)
        assert opened["lesion"] is None, "the design hides the box"
        mine.ask("POST", mine.path("seal"), FIRST | {"key": f"a{number}"})
        shown = mine.ask("POST", mine.path("reveal"))
        assert shown["lesion"]["box"]["side_mm"] > 8
        assert shown["slices"]
        again = mine.ask("POST", mine.path("open"))
        assert again["model"]["probability"] == shown["probability"]
        mine.ask("POST", mine.path("revise"), AFTER)
    assert mine.ask("GET", "/api/read/pilot/1") == {"case": None}
    assert mine.ask("GET", "/api/read")["studies"][0]["sessions"] == [
        {"session": 1, "cases": 6, "done": 6, "closed": ""}
    ]
    mine.ask("POST", "/api/read-studies/pilot/export", status=403)
    mine.ask("GET", "/api/read-studies", status=403)
    (row,) = editor.ask("GET", "/api/read-studies")["studies"][0]["readers"]
    assert row == {"reader": "R1", "done": 6, "of": 6, "early_requests": 0}
    packed = zipfile.ZipFile(io.BytesIO(editor.ask("POST", "/api/read-studies/pilot/export")))
    assert {"pilot/imrmc.csv", "pilot/mrmcaov.tsv", "pilot/rjafroc_tp.tsv", "pilot/study.json"} <= set(
        packed.namelist()
    )
    read = [one for one in read_readings(Workspace.open(study)) if one.reader_id == "R1"]
    assert {(one.case_id, one.arm, one.confidence) for one in read} == {
        (case, arm, sure) for case in reader_study.cases for arm, sure in ((Arm.UNAIDED, 70), (Arm.AIDED, 30))
    }
    assert sum(one.reader_id == "R1" for one in read_signs(Workspace.open(study))) == 6
    order = [entry.content["handle"] for entry in mine.log.entries(kind="answer.sealed")][::2]
    assert order == [task.handle for task in reader_study.tasks("R1", 1)]


def test_a_replayed_answer_counts_once_and_a_second_answer_is_refused(
    reader: Callable[..., Browser], study: Path, registered: Callable[..., RegisteredStudy]
) -> None:
    registered(study, "unaided", readers=["R1"], signs=False)
    mine = reader()
    path = mine.path("seal")
    answer = FIRST | {"signs": None}
    mine.ask("POST", path, answer, status=409)
    mine.ask("POST", mine.path("open"))
    assert mine.ask("POST", path, answer)["step"] == "done"
    assert mine.ask("POST", path, answer)["step"] == "done"
    refused = mine.ask("POST", path, answer | {"confidence": 1}, status=409)
    assert refused["error"] == "StaleError"
    assert "already has a sealed answer" in refused["message"]
    mine.ask("POST", path.replace("/seal", "/open"), status=409)
    mine.ask("PUT", path.replace("/seal", "/draft"), {}, status=409)
    assert len(mine.log.entries(kind="answer.sealed")) == 1


@pytest.mark.parametrize(
    "change",
    [{"confidence": 101}, {"diagnosis": "perhaps"}, {"signs": {}}, {"extra": 1}, {"comment": "=1+1"}, {"key": ""}],
)
def test_an_invalid_answer_is_refused(
    reader: Callable[..., Browser], study: Path, registered: Callable[..., RegisteredStudy], change: dict[str, Any]
) -> None:
    registered(study, "unaided", readers=["R1"])
    mine = reader()
    mine.ask("POST", mine.path("open"))
    mine.ask("POST", mine.path("seal"), FIRST | change, status=422)
    assert mine.log.entries(kind="answer.sealed") == []


def test_a_draft_is_stored_and_restored(
    reader: Callable[..., Browser], study: Path, registered: Callable[..., RegisteredStudy]
) -> None:
    registered(study, "unaided", readers=["R1"])
    mine = reader()
    mine.ask("POST", mine.path("open"))
    mine.ask("PUT", mine.path("draft"), {"confidence": 12, "signs": {"dark_patch": "u"}, "comment": "half"})
    kept = mine.ask("POST", mine.path("open"))["draft"]
    assert kept == {"diagnosis": None, "confidence": 12, "signs": {"dark_patch": "u"}, "comment": "half"}


def test_a_missing_image_is_reported_without_its_name(
    reader: Callable[..., Browser], study: Path, registered: Callable[..., RegisteredStudy]
) -> None:
    reader_study = registered(study, "unaided", readers=["R1"])
    workspace = Workspace.open(study)
    first = reader_study.tasks("R1", 1)[0].case_id
    owner = next(case.participant_id for case in read_cohort(workspace) if case.case_id == first)
    workspace.image(owner, "T1w").unlink()
    mine = reader()
    said = mine.ask("POST", mine.path("open"), status=409)
    assert owner not in str(said)
    assert "cannot be shown" in said["message"]
    assert mine.log.entries(kind="case.trouble")[0].content["error"] == "FileError"


def test_a_case_whose_box_has_changed_is_not_shown(
    reader: Callable[..., Browser], study: Path, registered: Callable[..., RegisteredStudy]
) -> None:
    registered(study, "unaided", readers=["R1"])
    workspace = Workspace.open(study)
    kept = read_lesions(workspace)
    moved = [
        replace(one, lesion=replace(one.lesion, box=replace(one.lesion.box, side_mm=1.05 * one.lesion.box.side_mm)))
        for one in kept
    ]
    mine = reader()
    write_lesions(workspace, moved)
    mine.ask("POST", mine.path("open"), status=409)
    assert mine.log.entries(kind="case.trouble")[0].content["error"] == "StaleError"
    write_lesions(workspace, kept)
    mine.ask("POST", mine.path("open"))


def test_the_second_session_of_a_crossover_opens_after_the_washout(
    reader: Callable[..., Browser], study: Path, registered: Callable[..., RegisteredStudy]
) -> None:
    reader_study = registered(study, "crossover", readers=["R1"], signs=False)
    mine = reader()
    for task in reader_study.tasks("R1", 1):
        assert mine.current() == task.handle
        mine.ask("POST", mine.path("open"))
        mine.ask("POST", mine.path("seal"), FIRST | {"signs": None})
        path = f"/api/read/pilot/1/{task.handle}/reveal"
        shown = mine.ask("POST", path, status=200 if task.arm is Arm.AIDED else 403)
        assert ("probability" in shown) == (task.arm is Arm.AIDED)
        if task.arm is Arm.AIDED:
            mine.ask("POST", mine.path("revise"), AFTER)
    assert "after the washout" in mine.ask("GET", "/api/read/pilot/2", status=403)["message"]
    (overview,) = mine.ask("GET", "/api/read")["studies"]
    assert "This session opens on" in overview["sessions"][1]["closed"]
    app: Any = mine.client.app
    app.state.clock = Clock(now=lambda: datetime.now(UTC) + timedelta(days=29))
    assert mine.current(2) == reader_study.tasks("R1", 2)[0].handle


def test_feedback_reveals_nothing_of_an_unfinished_study(
    reader: Callable[..., Browser], study: Path, registered: Callable[..., RegisteredStudy]
) -> None:
    workspace = Workspace.open(study)
    cases = [case.case_id for case in read_cohort(workspace).cases]
    told = [Reading(case, "R1", Arm.UNAIDED, Diagnosis.BENIGN, 12.0) for case in cases]
    write_readings(workspace, [*read_readings(workspace), *told])
    registered(study, "unaided", readers=["R1"], cases=cases[:5])
    mine, other = reader("R1"), reader("R2", Role.READER, Role.EDITOR)
    log = mine.log
    assert unfinished_cases(log, workspace, "R1") == frozenset(cases[:5])
    lesson = mine.ask("GET", "/api/teach/feedback/R1")
    counts = lesson["counts"]
    assert sum(counts.values()) == 1, "the one case that is not in the study"
    body = b"\n".join(mine.bodies).decode()
    assert not any(case in body for case in cases[:5])
    for case in cases[:5]:
        mine.ask("GET", f"/api/teach/feedback/R1/case/{case}", status=403)
    assert sum(other.ask("GET", "/api/teach/feedback/R1")["counts"].values()) == 6, "who does not read may see"
    for number in range(5):
        mine.ask("POST", mine.path("open"))
        assert sum(mine.ask("GET", "/api/teach/feedback/R1")["counts"].values()) == 1
        mine.ask("POST", mine.path("seal"), FIRST | {"key": str(number)})
    assert unfinished_cases(log, workspace, "R1") == frozenset()
    assert sum(mine.ask("GET", "/api/teach/feedback/R1")["counts"].values()) == 6


def test_a_training_series_begun_before_the_study_reveals_nothing_either(
    reader: Callable[..., Browser], study: Path, registered: Callable[..., RegisteredStudy]
) -> None:
    workspace = Workspace.open(study)
    told = [Reading(c.case_id, "R1", Arm.UNAIDED, Diagnosis.BENIGN) for c in read_cohort(workspace).cases]
    write_readings(workspace, told)
    mine = reader("R1")
    begun = mine.ask("POST", "/api/teach/series", {"reader": "R1", "cases": 2})
    cases = [case.case_id for case in read_cohort(workspace).cases]
    registered(study, "unaided", readers=["R1"], cases=cases[:5])
    statuses = {
        mine.client.post(f"/api/teach/series/{begun['series']}/{place}/R1", json={"diagnosis": "benign"}).status_code
        for place in range(begun["cases"])
    }
    assert statuses <= {403, 200}
    assert 403 in statuses


def test_the_server_prepares_the_next_case_without_showing_it(
    client_of: Callable[..., TestClient], study: Path, registered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    read_pair = pairs.read_pair
    monkeypatch.setattr(pairs, "read_pair", lambda *given: (read.append(given[1]), read_pair(*given))[1])
    reader_study = registered(study, "unaided", signs=False)
    first, second, _ = (task.handle for task in reader_study.tasks("local", 1)[:3])
    users = {case.case_id: case.participant_id for case in read_cohort(Workspace.open(study)).cases}
    order = [users[task.case_id] for task in reader_study.tasks("local", 1)]
    client = client_of(study)
    client.post(f"/api/read/pilot/1/{first}/open")
    assert read == order[:1]
    for confidence in (40, 50):
        kept = client.put(f"/api/read/pilot/1/{first}/draft", json={"confidence": confidence})
        assert kept.json() == {"kept": True}
        assert read == order[:2]
    assert client.post(f"/api/read/pilot/1/{second}/open").status_code == 409
    given = {"diagnosis": "benign", "confidence": 5, "signs": None, "comment": "", "key": "a"}
    assert client.post(f"/api/read/pilot/1/{first}/seal", json=given).status_code == 200
    assert client.post(f"/api/read/pilot/1/{second}/open").status_code == 200
    assert read == order[:2], "it was in memory"

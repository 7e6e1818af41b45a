"""Twenty users at once in one workspace: no work is lost or doubled (docs/threats.md, F4 and F10)."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import spinefx.reader_study.log as log_module
from spinefx.app.access import invite
from spinefx.app.state import ServeSettings
from spinefx.reader_study.log import Log
from spinefx.reader_study.study import RegisteredStudy
from spinefx.vocabulary import LEVELS
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions

PEOPLE, SAVES = 20, 10
CASE = "sub-001"


class Visitor(ABC):
    """One user with a browser of their own."""

    def __init__(self, address: str, token: str) -> None:
        self.address, self.cookie, self.troubles = address, "", ""
        self.cookie = self.ask("POST", "/api/enter", {"token": token})[2].split(";")[0]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any, str]:
        headers = {"Origin": self.address, "Cookie": self.cookie, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.address + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.status, json.loads(answer.read()), answer.headers.get("set-cookie", "")
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.loads(refusal.read()), ""

    def work(self) -> None:
        try:
            self.do()
        except Exception as error:
            self.troubles = repr(error)

    @abstractmethod
    def do(self) -> None:
        """Do what this user came for."""


def all_at_once(crowd: Sequence[Visitor]) -> None:
    threads = [threading.Thread(target=one.work) for one in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.troubles for one in crowd] == [""] * len(crowd)


class Annotator(Visitor):
    """An annotator who saves a box again and again."""

    def __init__(self, address: str, token: str, number: int, good: dict[str, Any]) -> None:
        super().__init__(address, token)
        self.number, self.good, self.saved, self.stale = number, good, 0, 0
        self.wanted: dict[str, Any] = {}

    def do(self) -> None:
        revision = "none"
        for turn in range(SAVES):
            level = LEVELS[(self.number + turn) % len(LEVELS)]
            box = self.good["box"] | {"side_mm": 30 + self.number / 10 + turn}
            self.wanted = self.good | {"box": box, "level": level}
            path = f"/api/annotate/{CASE}/lesion"
            status, told, _ = self.ask("PUT", path, self.wanted | {"revision": revision})
            assert status == 200, told
            self.saved += 1
            status, refused, _ = self.ask("PUT", path, self.wanted | {"revision": revision})
            assert (status, refused["error"]) == (409, "StaleError"), "the revision used before is stale now"
            self.stale += 1
            revision = told["revision"]


class Reader(Visitor):
    """A reader who finishes a study, retries while the server is unavailable, and sends each answer twice."""

    def __init__(self, address: str, token: str, number: int) -> None:
        super().__init__(address, token)
        self.number, self.sealed, self.refused = number, {}, 0

    def until_done(self, method: str, path: str, body: Any = None) -> Any:
        until = time.monotonic() + 60
        while True:
            status, told, _ = self.ask(method, path, body)
            if status == 200:
                return told
            assert (status, told["error"]) == (503, "UnavailableError"), told
            assert time.monotonic() < until, "the server does not come back"
            self.refused += 1
            time.sleep(0.05)

    def do(self) -> None:
        while (case := self.until_done("GET", "/api/read/pilot/1")["case"]) is not None:
            path = f"/api/read/pilot/1/{case['handle']}"
            self.until_done("POST", f"{path}/open")
            self.until_done("PUT", f"{path}/draft", {"confidence": self.number})
            words = f"R{self.number} on {case['place']}"
            answer = {"diagnosis": "malignant", "confidence": self.number, "comment": words}
            for _ in range(2):
                self.until_done("POST", f"{path}/seal", answer | {"key": str(case["place"])})
            self.sealed[case["handle"]] = words
            status, refused, _ = self.ask("POST", f"{path}/seal", answer | {"key": "2", "comment": "another"})
            assert (status, refused["error"]) in {(409, "StaleError"), (503, "UnavailableError")}, (
                "the first answer is kept"
            )


def check_sealed(log: Log, crowd: Sequence[Reader], cases: int) -> None:
    """Check that the log holds each answer once, as it was given, without a gap."""
    found = [
        (entry.person, entry.content["handle"], entry.content["answer"]["comment"])
        for entry in log.entries(kind="answer.sealed")
    ]
    assert len(found) == len(crowd) * cases
    assert sorted(found) == sorted((f"R{one.number}", *said) for one in crowd for said in one.sealed.items())
    assert log.verify(log.head()) == len(log.entries())


@pytest.mark.parametrize("servers", [1, 2])
def test_no_answer_is_lost_or_doubled_when_twenty_readers_seal_at_once(
    running: Any, study: Path, registered: Callable[..., RegisteredStudy], address: str, servers: int
) -> None:
    codes = [f"R{number}" for number in range(PEOPLE)]
    reader_study = registered(study, "unaided", address, readers=codes, signs=False)
    tokens = [invite(study, code, ["reader"], database=address) for code in codes]
    with ExitStack() as stack:
        served = [stack.enter_context(running(ServeSettings(study, database=address))) for _ in range(servers)]
        crowd = [Reader(served[number % servers].address, token, number) for number, token in enumerate(tokens)]
        all_at_once(crowd)
        check_sealed(served[0].app.state.server.log, crowd, len(reader_study.cases))
    assert sum(one.refused for one in crowd) == 0


def test_a_session_continues_after_postgresql_was_stopped_in_its_middle(
    running: Any, study: Path, registered: Callable[..., RegisteredStudy], postgres: Any
) -> None:
    name = postgres.new_database()
    address, codes = postgres.address(name), [f"R{number}" for number in range(4)]
    reader_study = registered(study, "unaided", address, readers=codes, signs=False)
    tokens = [invite(study, code, ["reader"], database=address) for code in codes]
    with running(ServeSettings(study, database=address)) as served:
        crowd = [Reader(served.address, token, number) for number, token in enumerate(tokens)]
        log = served.app.state.server.log

        def cut() -> None:
            # After some have sealed, and before any can have finished.
            while len(log.entries(kind="answer.sealed")) < 3:
                time.sleep(0.01)
            postgres.stop_at_once()
            time.sleep(0.5)
            postgres.start()

        with ThreadPoolExecutor(1) as thread:
            cutting = thread.submit(cut)
            all_at_once(crowd)
            cutting.result()
        check_sealed(log, crowd, len(reader_study.cases))
    postgres.drop(name)
    assert all(one.refused > 0 for one in crowd)


@pytest.mark.parametrize("servers", [1, 2])
def test_no_update_is_lost_when_twenty_annotators_mark_one_case(running: Any, study: Path, servers: int) -> None:
    workspace = Workspace.open(study)
    before = read_lesions(workspace)
    lesion = before[0].lesion
    good = {
        "box": {"centre_mm": list(lesion.box.centre_mm), "side_mm": 30.0},
        "first_slice": lesion.first_slice,
        "last_slice": lesion.last_slice,
    }
    with ExitStack() as stack:
        served = [stack.enter_context(running(ServeSettings(study))) for _ in range(servers)]
        tokens = [invite(study, f"A{number}", ["annotator"]) for number in range(PEOPLE)]
        crowd = [
            Annotator(served[number % servers].address, token, number, good) for number, token in enumerate(tokens)
        ]
        all_at_once(crowd)
        log = served[0].app.state.server.log
        assert log.verify() == len(log.entries())
        saved = log.entries(kind="box.saved")
    assert sum(one.stale for one in crowd) == len(saved) == PEOPLE * SAVES
    after = read_lesions(workspace)
    assert after[: len(before)] == before
    rows = {record.annotator: record.lesion for record in after[len(before) :]}
    assert len(after) == len(before) + PEOPLE
    for one in crowd:
        last = rows[f"A{one.number}"]
        assert last.level == one.wanted["level"]
        assert last.box.side_mm == pytest.approx(one.wanted["box"]["side_mm"], abs=1e-3)


def test_a_clock_that_is_set_back_changes_no_order(
    client_of: Callable[..., TestClient], study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Backwards(datetime):
        turns = 0

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            cls.turns += 1
            return datetime(2026, 10, 25, 3, tzinfo=UTC) - timedelta(hours=cls.turns)

    monkeypatch.setattr(log_module, "datetime", Backwards)
    client = client_of(study)
    for participant in ("sub-001", "sub-002", "sub-003"):
        assert client.get(f"/api/annotate/{participant}/others").status_code == 200
    log = client.app.state.server.log  # type: ignore[attr-defined]
    assert [entry.subject for entry in log.entries()] == ["sub-001", "sub-002", "sub-003"]
    written = [entry.written for entry in log.entries()]
    assert written == sorted(written, reverse=True)
    assert log.verify() == 3

"""Twenty people at once on one study and one case: nobody's work is lost (the attack list's F4 and F10)."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import spinefx.trial.log as log_module
from spinefx.app.access import invite
from spinefx.app.state import ServeSettings
from spinefx.vocabulary import LEVELS
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions

PEOPLE, SAVES = 20, 10
CASE = "sub-001"


class Annotator:
    """One person with a browser of their own, who saves a box again and again."""

    def __init__(self, address: str, token: str, number: int, good: dict[str, Any]) -> None:
        self.address, self.number, self.good = address, number, good
        self.cookie, self.saved, self.stale, self.troubles = "", 0, 0, ""
        self.cookie = self.ask("POST", "/api/enter", {"token": token})[2].split(";")[0]
        self.wanted: dict[str, Any] = {}

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
                assert (status, refused["error"]) == (409, "StaleError"), "what was seen before is stale now"
                self.stale += 1
                revision = told["revision"]
        except Exception as error:
            self.troubles = repr(error)


@pytest.mark.parametrize("servers", [1, 2])
def test_no_update_is_lost_when_twenty_mark_one_case(running: Any, study: Path, servers: int) -> None:
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
        threads = [threading.Thread(target=one.work) for one in crowd]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        log = served[0].app.state.server.log
        assert log.verify() == len(log.entries())
        saved = log.entries(kind="box.saved")
    assert [one.troubles for one in crowd] == [""] * PEOPLE
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

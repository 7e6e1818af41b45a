"""Long requests take turns without delaying others, and opened studies stay within their memory limit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi.concurrency import run_in_threadpool
from fastapi.testclient import TestClient

from spinefx.app import annotating, deciding, opened
from spinefx.app.imagery import Imagery, VolumePair
from spinefx.app.opened import MOST_STUDIES, OpenStudies
from spinefx.app.turns import Turns
from spinefx.errors import AccessError, UnavailableError
from spinefx.imaging.volume import Volume
from spinefx.second_opinion.intake import Opened
from spinefx.vocabulary import Weighting
from spinefx.workspace.layout import Workspace


class Works:
    """Works that wait until they are released, and count themselves."""

    def __init__(self) -> None:
        self.released, self.lock = threading.Event(), threading.Lock()
        self.running: list[str] = []
        self.most, self.most_of_one, self.done = 0, 0, list[str]()

    def of(self, user: str) -> Callable[[], str]:
        def work() -> str:
            with self.lock:
                self.running.append(user)
                self.most = max(self.most, len(self.running))
                self.most_of_one = max(self.most_of_one, self.running.count(user))
            assert self.released.wait(60)
            with self.lock:
                self.running.remove(user)
                self.done.append(user)
            return user

        return work


def run_apart(work: Coroutine[Any, Any, Any]) -> Any:
    """Run in a thread of its own: where browsers are driven, the tests' own thread has an event loop already."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def test_few_work_at_once_and_one_of_each_user() -> None:
    async def run() -> Works:
        turns, works = Turns(at_once=2), Works()
        asked = [asyncio.create_task(turns.take(user, works.of(user))) for user in "AAAABBBBCCCC"]
        await until(lambda: len(works.running) == 2)
        works.released.set()
        assert sorted(await asyncio.gather(*asked)) == sorted("AAAABBBBCCCC")
        return works

    works = run_apart(run())
    assert (works.most, works.most_of_one) == (2, 1)


def test_somebody_else_comes_before_the_second_of_forty() -> None:
    async def run() -> list[str]:
        turns, works = Turns(at_once=1), Works()
        asked = [asyncio.create_task(turns.take("many", works.of("many"))) for _ in range(40)]
        await until(lambda: len(works.running) == 1)
        asked.append(asyncio.create_task(turns.take("one", works.of("one"))))
        await asyncio.sleep(0)
        works.released.set()
        await asyncio.gather(*asked)
        return works.done

    assert run_apart(run()).index("one") == 1


def test_waiting_holds_no_thread() -> None:
    """Starlette has 40 threads; 90 requests that wait for a turn leave 38 of them to everybody else."""

    async def run() -> int:
        turns, works = Turns(at_once=2, most_waiting=100), Works()
        asked = [asyncio.create_task(turns.take(user, works.of(user))) for user in "ABC" * 30]
        await until(lambda: len(works.running) == 2)
        short = sum([await run_in_threadpool(lambda: 1) for _ in range(5)])
        assert not works.done
        works.released.set()
        await asyncio.gather(*asked)
        return short

    assert run_apart(run()) == 5


def test_too_many_of_one_user_are_refused_and_a_failed_work_frees_its_turn() -> None:
    async def run() -> None:
        turns, works = Turns(at_once=1, most_waiting=2), Works()
        asked = [asyncio.create_task(turns.take("A", works.of("A"))) for _ in range(2)]
        await until(lambda: len(works.running) == 1)
        with pytest.raises(UnavailableError, match="too many of your requests"):
            await turns.take("A", works.of("A"))
        works.released.set()
        await asyncio.gather(*asked)

        def fail() -> None:
            raise AccessError("no")

        for _ in range(5):
            with pytest.raises(AccessError, match="no"):
                await turns.take("A", fail)

    run_apart(run())


def volume(bytes_: int = 4000) -> Volume:
    return Volume(np.arange(bytes_ // 4, dtype=np.float32).reshape(1, 10, -1), np.diag([-1.0, 1.0, -1.0, 1.0]))


def pair() -> VolumePair:
    return VolumePair(volume(), volume())


def test_images_in_memory_stay_within_their_bytes() -> None:
    imagery = Imagery(most_bytes=40_000)
    for number in range(50):
        found = imagery.pair(number, pair)
        for one in (found.t2w, found.t1w):
            name = imagery.hand_out(f"user {number % 7}", one)
            assert imagery.shown(name, f"user {number % 7}").volume is one, "what was just asked for stays"
        assert imagery.held_bytes <= 40_000
    assert imagery.held_bytes > 24_000, "and what fits is kept"


def test_one_image_that_is_larger_than_the_memory_is_shown_all_the_same() -> None:
    imagery = Imagery(most_bytes=1000)
    found = imagery.pair("large", pair)
    names = [imagery.hand_out("user", one) for one in (found.t2w, found.t1w)]
    assert [imagery.shown(name, "user").volume for name in names] == [found.t2w, found.t1w]


def study() -> Opened:
    return Opened((), volumes={Weighting.T1W: volume(), Weighting.T2W: volume()})


@pytest.fixture
def studies() -> Iterator[OpenStudies]:
    """Room for five studies of 8000 bytes."""
    open_studies = OpenStudies(Imagery(), most_bytes=40_000)
    yield open_studies
    open_studies.close_all()


def held_bytes(studies: OpenStudies) -> int:
    return sum(one.voxel_bytes for one in studies._studies.values())


def test_open_studies_stay_within_their_bytes(studies: OpenStudies) -> None:
    for _ in range(20):
        studies.add("many", "", study())
    assert held_bytes(studies) == MOST_STUDIES * 8000
    for user in "ABC":
        studies.add(user, "", study())
    assert held_bytes(studies) == 40_000
    with pytest.raises(UnavailableError, match="take all the memory"):
        studies.add("D", "", study())
    assert held_bytes(studies) == 40_000, "a user who is working never loses a study to another user"
    first = next(iter(studies._studies.values()))
    studies.add(first.owner, "", study())  # their own goes instead
    assert held_bytes(studies) == 40_000


def test_a_study_whose_page_was_left_makes_room(studies: OpenStudies, monkeypatch: pytest.MonkeyPatch) -> None:
    added = [studies.add(user, "", study()) for user in "ABCDE"]
    added[2].touched_s -= 2 * opened.LEFT_S
    studies.add("F", "", study())
    assert held_bytes(studies) == 40_000
    with pytest.raises(AccessError, match="not open"):
        studies.find(added[2].name, "C")
    assert all(studies.find(one.name, one.owner) for one in added if one.owner != "C")


def test_a_study_larger_than_the_memory_opens_where_no_other_is_open(studies: OpenStudies) -> None:
    large = Opened((), volumes={Weighting.T2W: volume(80_000)})
    assert studies.add("A", "", large).voxel_bytes == 80_000
    with pytest.raises(UnavailableError, match="take all the memory"):
        studies.add("B", "", study())


def test_the_folder_of_a_failed_upload_is_removed_in_a_thread(
    client_of: Callable[..., TestClient], study_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removing 20,000 files on the event loop would stop every other request."""
    calls: list[str] = []

    def note(what: str) -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        calls.append(what)

    def folder() -> Any:
        note("made")
        return SimpleNamespace(name=str(tmp_path), cleanup=lambda: note("removed"))

    monkeypatch.setattr(deciding, "new_folder", folder)
    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert client_of(study_folder).post(deciding.UPLOAD_PATH, content=b"none", headers=kind).status_code == 422
    assert calls == ["made", "removed"]


@pytest.fixture
def study_folder(tmp_path: Path) -> Path:
    """An empty workspace."""
    return Workspace.create(tmp_path / "empty").root


@contextmanager
def busy(workspace: Workspace) -> Iterator[None]:
    with workspace.writing():
        yield


def test_a_box_is_stored_under_the_workspaces_lock(
    client_of: Callable[..., TestClient], study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, workspace = client_of(study), Workspace.open(study)
    own = client.get("/api/annotate/sub-001").json()["own"]
    other = client.get("/api/annotate/sub-001/others").json()["rows"][0]["lesion"]
    before = workspace.lesions_table.read_bytes()
    monkeypatch.setattr(annotating, "WAIT_S", 0.0)
    with busy(workspace):
        refused = client.put("/api/annotate/sub-001/lesion", json=other | {"revision": own["revision"]})
    assert refused.status_code == 409
    assert "another command is writing" in refused.text
    assert workspace.lesions_table.read_bytes() == before
    saved = client.put("/api/annotate/sub-001/lesion", json=other | {"revision": own["revision"]})
    assert saved.status_code == 200, saved.text
    assert workspace.lesions_table.read_bytes() != before

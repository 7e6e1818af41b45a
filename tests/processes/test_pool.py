"""Results keep the order of the items, errors stay with their items, and a dead worker is reported."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from spinefx.errors import FileError, InputError, InterruptedWrite, WorkerError
from spinefx.processes.pool import default_workers, each_finished, in_child, map_items, share_out


def square(number: int) -> int:
    if number == 3:
        raise InputError("three", where="item", allowed="any other")
    if number == 28:
        raise InterruptedWrite("the disk is full")
    if number == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


@pytest.mark.parametrize("workers", [1, 2])
def test_order_progress_and_errors(workers: int) -> None:
    told: list[tuple[int, int]] = []
    results = map_items(square, [5, 3, 1, 2], workers=workers, progress=lambda done, total: told.append((done, total)))
    assert [results[0], results[2], results[3]] == [25, 1, 4]
    assert isinstance(results[1], InputError)
    assert str(results[1]) == "item: three. Expected: any other."
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert map_items(square, [], workers=workers) == []
    assert default_workers() >= 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_stops_all_items(workers: int) -> None:
    with pytest.raises(InterruptedWrite, match="disk is full"):
        map_items(square, [1, 28, 2, 3], workers=workers)


def test_a_dead_worker_is_reported_by_name() -> None:
    with pytest.raises(WorkerError, match="a worker process died"):
        map_items(square, [1, 99, 2], workers=2)


def fragile(folder: Path, number: int) -> int:
    """End the process at 7 always, and at 5 the first time."""
    mark = folder / f"{number}-{len(list(folder.glob(f'{number}-*')))}"
    mark.touch()
    if number == 7 or mark.name == "5-0":
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


def test_only_the_item_of_a_killed_worker_is_tried_again(tmp_path: Path) -> None:
    results = dict(each_finished(partial(fragile, tmp_path), [1, 7, 5, 2, 3], workers=2, restarts=1))
    assert (results[1], results[5], results[2]) == (1, 25, 4)
    assert isinstance(results[7], WorkerError)
    assert "2 times on the same item" in str(results[7])
    assert isinstance(results[3], InputError)
    tries = sorted(path.name for path in tmp_path.iterdir())
    assert tries == ["1-0", "2-0", "3-0", "5-0", "5-1", "7-0", "7-1"]


def test_items_are_taken_only_as_workers_come_free() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(100, 140):
            taken += 1
            yield number

    for finished, (item, result) in enumerate(each_finished(square, items(), workers=2), 1):
        assert result == item * item
        assert taken <= finished + 2
    assert finished == taken == 40


def stay(folder: Path, number: int) -> None:
    (folder / str(os.getpid())).touch()
    if number:
        signal.pause()


def test_workers_end_when_the_iterator_is_closed(tmp_path: Path) -> None:
    results = each_finished(partial(stay, tmp_path), [1, 0], workers=2)
    next(results)
    while len(list(tmp_path.iterdir())) < 2:
        signal.sigtimedwait([], 0.05)
    results.close()  # type: ignore[attr-defined]
    pids = [int(path.name) for path in tmp_path.iterdir()]
    for _ in range(200):
        left = [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]
        if not left:
            break
        signal.sigtimedwait([], 0.05)
    assert not left


def count(number: int, report: Callable[..., None]) -> None:
    """Report each step to three; fail at 13, exit at 99, and go on without end at 7."""
    for step in range(3) if number != 7 else itertools.count():
        report(number, step)
        time.sleep(0.001)
    if number == 13:
        raise InputError("thirteen")
    if number == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 14:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("workers", [1, 2])
def test_long_work_reports_each_step(workers: int) -> None:
    steps: list[tuple[int, int]] = []
    share_out(count, [1, 2, 3], workers=workers, report=lambda *step: steps.append(step))
    assert sorted(steps) == [(number, step) for number in (1, 2, 3) for step in range(3)]


@pytest.mark.parametrize(
    ("number", "error", "text"),
    [(13, InputError, "thirteen"), (99, WorkerError, "died"), (14, OSError, "Input/output")],
)
def test_a_failure_ends_all_long_work(number: int, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        share_out(count, [7, number], workers=2, report=lambda *step: None)


def test_an_interruption_ends_all_long_work() -> None:
    def interrupt(*step: int) -> None:
        if step[1] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        share_out(count, [7, 7], workers=2, report=interrupt)


def test_an_unnamed_error_keeps_its_kind_and_its_traceback() -> None:
    with pytest.raises(OSError, match="Input/output") as caught:
        share_out(count, [14, 14], workers=2, report=lambda *step: None)
    assert "in count" in caught.value.__notes__[0]


def hostile(what: str) -> int:
    if what == "hang":
        time.sleep(60)
    if what == "die":
        os._exit(3)
    if what == "memory":
        return len(bytearray(2**33))
    if what == "nested":
        return hostile(what)
    if what == "secret":
        raise ValueError("MUSTERMANN")
    return nested_child() if what == "nested child" else len(what)


def nested_child() -> int:
    return in_child(hostile, "four", seconds=60, memory_bytes=2**31)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("hang", "took longer than 2 s"),
        ("die", "died"),
        ("memory", "more than 2.0 GiB"),
        ("nested", "nested too deeply"),
        ("secret", r"cannot be read \(ValueError\)"),
    ],
)
def test_a_child_fails_by_name(what: str, text: str) -> None:
    with pytest.raises(FileError, match=text) as caught:
        in_child(hostile, what, seconds=2 if what == "hang" else 60, memory_bytes=2**31)
    assert "MUSTERMANN" not in str(caught.value)


def test_a_worker_may_have_a_child_of_its_own() -> None:
    assert map_items(hostile, ["nested child", "three"], workers=2) == [4, 5]


def test_a_child_returns_results_and_named_errors() -> None:
    assert in_child(len, "four", seconds=60, memory_bytes=2**31) == 4
    with pytest.raises(InputError, match="three"):
        in_child(square, 3, seconds=60, memory_bytes=2**31)

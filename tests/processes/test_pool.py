"""Items come back in order, faults stay with their items, and a dead process is said."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from spinefx.errors import InputError, InterruptedWrite, SpinefxError, WorkerError
from spinefx.processes.pool import default_workers, each_finished, map_items


def square(number: int) -> int:
    if number == 3:
        raise InputError("three", where="item", allowed="any other")
    if number == 28:
        raise InterruptedWrite("the disk is full")
    if number == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


@pytest.mark.parametrize("workers", [1, 2])
def test_order_progress_and_faults(workers: int) -> None:
    told: list[tuple[int, int]] = []
    results = map_items(square, [5, 3, 1, 2], workers=workers, progress=lambda done, total: told.append((done, total)))
    assert [results[0], results[2], results[3]] == [25, 1, 4]
    assert isinstance(results[1], InputError)
    assert str(results[1]) == "item: three; allowed: any other"
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert map_items(square, [], workers=workers) == []
    assert default_workers() >= 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_stops_everything(workers: int) -> None:
    with pytest.raises(InterruptedWrite, match="disk is full"):
        map_items(square, [1, 28, 2, 3], workers=workers)


def test_a_dead_process_is_said_by_name() -> None:
    with pytest.raises(SpinefxError, match="a process ended by itself"):
        map_items(square, [1, 99, 2], workers=2)


def fragile(folder: Path, number: int) -> int:
    """End the process at 7 always, and at 5 the first time."""
    mark = folder / f"{number}-{len(list(folder.glob(f'{number}-*')))}"
    mark.touch()
    if number == 7 or mark.name == "5-0":
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


def test_a_killed_process_is_started_again_for_its_item_alone(tmp_path: Path) -> None:
    results = dict(each_finished(partial(fragile, tmp_path), [1, 7, 5, 2, 3], workers=2, restarts=1))
    assert (results[1], results[5], results[2]) == (1, 25, 4)
    assert isinstance(results[7], WorkerError)
    assert "2 times with the same item" in str(results[7])
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


def test_nothing_goes_on_working_when_nobody_waits(tmp_path: Path) -> None:
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

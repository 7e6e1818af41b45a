"""Items come back in order, faults stay with their items, and a dead process is said."""

from __future__ import annotations

import os
import signal

import pytest

from spinefx.errors import InputError, InterruptedWrite, SpinefxError
from spinefx.parallel import default_workers, map_items


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

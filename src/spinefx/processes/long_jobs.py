"""Sharing long work out to processes that report as they go, and can be stopped at any moment.

:func:`spinefx.processes.pool.map_items` is for many short items; here one item takes minutes, reports each step, and
must end at once when the user says so.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from spinefx.errors import ModelError, SpinefxError

__all__ = ["share_out"]


Item = TypeVar("Item")


def share_out(
    work: Callable[[Item, Callable[..., None]], None],
    items: Sequence[Item],
    *,
    workers: int,
    report: Callable[..., None],
) -> None:
    """Do a piece of work for every item.

    Parameters
    ----------
    work : callable
        Takes an item and a function to report progress with; leaves its result on the disk. Must pickle.
    items : sequence
    workers : int
        Processes; with one, everything happens in this process.
    report : callable
        Called in this process with what the work reports. What it raises stops all work.

    Raises
    ------
    SpinefxError
        The first that any work raised; the others are stopped.
    """
    if workers <= 1 or len(items) <= 1:
        for item in items:
            work(item, report)
        return
    waiting = list(items)
    crew = [_start(work) for _ in range(min(workers, len(items)))]
    busy = {connection: process for process, connection in crew}
    try:
        for connection in list(busy):
            connection.send(waiting.pop(0))
        while busy:
            ready = wait(list(busy))
            for connection in [one for one in busy if one in ready]:
                _listen(connection, busy, waiting, report)
    finally:
        # Every file is replaced whole, so a process may be stopped anywhere.
        for process, connection in crew:
            process.terminate()
            process.join()
            connection.close()


def _start(work: Callable[..., None]) -> tuple[SpawnProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _listen(
    connection: Connection, busy: dict[Connection, SpawnProcess], waiting: list[Any], report: Callable[..., None]
) -> None:
    try:
        kind, content = connection.recv()
    except EOFError:
        process = busy[connection]
        process.join()
        raise ModelError(
            f"a training process ended by itself (exit code {process.exitcode})",
            remedy="It may have run out of memory: use fewer workers, then run the same command again; "
            "finished epochs are kept.",
        ) from None
    if kind == "report":
        report(*content)
    elif kind == "failed":
        raise content
    elif waiting:
        connection.send(waiting.pop(0))
    else:
        del busy[connection]


def _serve(connection: Connection, work: Callable[..., None]) -> None:
    # Control-C reaches the whole group; the parent alone answers it, and stops us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            work(connection.recv(), lambda *content: connection.send(("report", content)))
            connection.send(("done", None))
    except SpinefxError as error:
        connection.send(("failed", error))
    except (EOFError, BrokenPipeError):
        return
    except Exception:  # a defect: its trace must reach the parent, which alone can show it
        connection.send(("failed", RuntimeError(traceback.format_exc())))

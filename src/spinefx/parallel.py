"""One function over many independent items, on as many processes as are wanted, in order, with progress."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import TypeVar

from spinefx.errors import FileError, InterruptedWrite, SpinefxError

__all__ = ["default_workers", "in_child", "map_items"]

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]


def default_workers() -> int:
    """Number of processes to use where nobody said: one for each usable core.

    Returns
    -------
    int
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def map_items(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int = 1, progress: Progress | None = None
) -> list[Result | SpinefxError]:
    """Apply a function to every item; a named error of one item takes its place and stops no other.

    Parameters
    ----------
    function : callable
        Importable by name, since other processes call it.
    items : sequence
    workers : int
        1 stays in this process.
    progress : callable, optional
        Called with the number done and the number in all.

    Returns
    -------
    list
        In the order of the items, whatever finished first; a :class:`SpinefxError` where the item failed by name.

    Raises
    ------
    InterruptedWrite
        When a file could not be written: that stops everything.
    SpinefxError
        When a process was ended from outside.
    """
    results: dict[int, Result | SpinefxError] = {}
    if workers <= 1 or len(items) <= 1:
        for number, item in enumerate(items):
            results[number] = _attempt(function, item)
            _tell(progress, len(results), len(items))
        return [results[number] for number in range(len(items))]
    # Spawned, not forked: a forked copy of a process with threads can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        min(workers, len(items)), mp_context=context, initializer=_begin_worker, initargs=(os.getpid(),)
    )
    try:
        pending: dict[Future[Result | SpinefxError], int] = {}
        queue = list(enumerate(items))[::-1]
        while queue or pending:
            # Few items wait in the pool, so that memory stays flat in the number of items.
            while queue and len(pending) < 2 * workers:
                number, item = queue.pop()
                pending[pool.submit(_attempt, function, item)] = number
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                results[pending.pop(future)] = future.result()
                _tell(progress, len(results), len(items))
    except BrokenProcessPool:
        raise SpinefxError(
            "a process ended by itself", remedy="It may have run out of memory: use fewer workers, then run again."
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return [results[number] for number in range(len(items))]


def in_child(function: Callable[[Item], Result], item: Item, *, seconds: float, memory_bytes: int) -> Result:
    """Call a function in a process of its own, which may die or hang without harm to this one.

    Parameters
    ----------
    function : callable
        Importable by name.
    item
        Its one argument.
    seconds : float
        After which the process is ended.
    memory_bytes : int
        Address space that it may take, where the system can limit that.

    Returns
    -------
    object
        What the function gave.

    Raises
    ------
    SpinefxError
        As the function raised it.
    FileError
        When the process ran out of time or memory, or ended by itself.
    """
    # Spawned, not forked: a forked copy of a process with threads can hang.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(theirs, function, item, memory_bytes), daemon=True)
    child.start()
    theirs.close()
    remedy = "Give one study of one patient; take out what is not MRI."
    try:
        if not ours.poll(seconds):
            raise FileError(f"reading took longer than {seconds:g} s", where="the given files", remedy=remedy)
        result: Result | SpinefxError = ours.recv()
    except EOFError:
        raise FileError("reading these files ended the reader", where="the given files", remedy=remedy) from None
    finally:
        child.kill()
        child.join()
        ours.close()
    if isinstance(result, SpinefxError):
        raise result
    return result


def _answer(pipe: Connection, function: Callable[[Item], Result], item: Item, memory_bytes: int) -> None:
    _begin_worker(os.getppid())
    with contextlib.suppress(ImportError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    result: Result | SpinefxError
    try:
        result = function(item)
    except SpinefxError as error:
        result = error
    except MemoryError:
        result = FileError("these files need more memory than is allowed", where="the given files")
    except RecursionError:
        result = FileError("a header nested beyond measure", where="the given files")
    except Exception as error:
        # Its text may quote the files.
        result = FileError(f"files that cannot be read ({type(error).__name__})", where="the given files")
    pipe.send(result)
    pipe.close()


def _attempt(function: Callable[[Item], Result], item: Item) -> Result | SpinefxError:
    try:
        return function(item)
    except InterruptedWrite:
        raise  # a full disk is no item's fault, and the next item would meet it too
    except SpinefxError as error:
        return error


def _begin_worker(parent: int) -> None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # Control-C reaches the whole group; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries read these when they are first loaded, which in a spawned process is later than this.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"


def _end_with(parent: int) -> None:
    # A killed parent cannot stop its workers, which would go on writing beside the next run.
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)

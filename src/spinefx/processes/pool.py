"""One function over many independent items, on as many processes as are wanted, in order, with progress."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import Connection
from typing import TypeVar

from spinefx.errors import FileError, InterruptedWrite, SpinefxError, WorkerError

__all__ = ["RESTARTS", "attempt", "default_workers", "each_finished", "in_child", "map_items", "worker_died"]

RESTARTS = 2

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
            results[number] = attempt(function, item)
            _tell(progress, len(results), len(items))
        return [results[number] for number in range(len(items))]
    numbered = partial(_numbered, function)
    for (number, _), result in each_finished(numbered, enumerate(items), workers=min(workers, len(items)), restarts=0):
        if isinstance(result, WorkerError):
            raise result
        results[number] = result
        _tell(progress, len(results), len(items))
    return [results[number] for number in range(len(items))]


def each_finished(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, restarts: int = RESTARTS
) -> Iterator[tuple[Item, Result | SpinefxError]]:
    """Apply a function to every item in processes of their own, and give each result as soon as it is there.

    Only as many items as there are workers are held at once, so that memory stays flat in their number. A process that
    ends by itself is started again for the item that it held.

    Parameters
    ----------
    function : callable
        Importable by name, since other processes call it.
    items : iterable
        Taken one by one, as workers come free.
    workers : int
        Processes; the function never runs in this one.
    restarts : int
        How often an item may be tried again after the process that held it has ended.

    Yields
    ------
    tuple of (item, result)
        In the order of finishing; a :class:`SpinefxError` where the item failed by name, a :class:`WorkerError` where
        it ended its process once more than ``restarts`` allows.

    Raises
    ------
    InterruptedWrite
        When a file could not be written: that stops everything.
    """
    waiting = ((item, 0) for item in items)
    # Spawned, not forked: a forked copy of a process with threads can hang.
    context = multiprocessing.get_context("spawn")
    lifeline, ours = context.Pipe(duplex=False)
    # One pool a process, so that a dead process is known by the item that it held.
    new_pool = partial(ProcessPoolExecutor, 1, mp_context=context, initializer=_begin_worker, initargs=(lifeline,))
    free = [new_pool() for _ in range(max(1, workers))]
    busy: dict[Future[Result | SpinefxError], tuple[ProcessPoolExecutor, Item, int]] = {}
    try:
        while True:
            while free and (following := next(waiting, None)) is not None:
                pool, future = _submit(free.pop(), new_pool, function, following[0])
                busy[future] = (pool, *following)
            if not busy:
                return
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                pool, item, deaths = busy.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    if deaths < restarts:
                        pool, future = _submit(pool, new_pool, function, item)
                        busy[future] = (pool, item, deaths + 1)
                        continue
                    result = worker_died(deaths + 1)
                free.append(pool)
                yield item, result
    finally:
        for pool in (*free, *(held[0] for held in busy.values())):
            pool.shutdown(wait=False, cancel_futures=True)
        ours.close()
        lifeline.close()


def _submit(
    pool: ProcessPoolExecutor,
    new_pool: Callable[[], ProcessPoolExecutor],
    function: Callable[[Item], Result],
    item: Item,
) -> tuple[ProcessPoolExecutor, Future[Result | SpinefxError]]:
    """Hand work to a pool, or to a new one where its process has ended."""
    try:
        return pool, pool.submit(attempt, function, item)
    except BrokenProcessPool:
        pool.shutdown(wait=False)
        pool = new_pool()
        return pool, pool.submit(attempt, function, item)


def worker_died(times: int) -> WorkerError:
    """Say that a process ended by itself.

    Parameters
    ----------
    times : int
        How often, with the same item.

    Returns
    -------
    WorkerError
    """
    often = "" if times == 1 else f", {times} times with the same item"
    return WorkerError(
        f"a process ended by itself{often}", remedy="It may have run out of memory: use fewer workers, then run again."
    )


def attempt(function: Callable[[Item], Result], item: Item) -> Result | SpinefxError:
    """Apply a function, with a named error for a result.

    Parameters
    ----------
    function : callable
    item : object

    Returns
    -------
    object
        What the function gives, or the :class:`SpinefxError` that it raised.

    Raises
    ------
    InterruptedWrite
        When a file could not be written.
    """
    try:
        return function(item)
    except InterruptedWrite:
        raise  # a full disk is no item's fault, and the next item would meet it too
    except SpinefxError as error:
        return error


def _numbered(function: Callable[[Item], Result], item: tuple[int, Item]) -> Result:
    return function(item[1])


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
    lifeline, held = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(theirs, lifeline, function, item, memory_bytes), daemon=True)
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
        for end in (ours, held, lifeline):
            end.close()
    if isinstance(result, SpinefxError):
        raise result
    return result


def _answer(
    pipe: Connection, lifeline: Connection, function: Callable[[Item], Result], item: Item, memory_bytes: int
) -> None:
    _begin_worker(lifeline)
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


def _begin_worker(lifeline: Connection) -> None:
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    # Control-C reaches the whole group; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries read these when they are first loaded, which in a spawned process is later than this.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"


def _end_with(lifeline: Connection) -> None:
    # The other end closes when nobody waits for results any more, and when the parent was killed: then nothing must go
    # on writing beside the next run.
    lifeline.poll(None)
    os._exit(1)


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)

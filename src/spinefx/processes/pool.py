"""Apply one function to many independent items in worker processes, with progress, interruption and limits.

Each worker is one spawned process at the end of one pipe. The pipe carries items one way, reports and results the other
way; a pipe that closes early means that the worker died, and which item it held is known.
"""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from spinefx.errors import FileError, InterruptedWrite, SpinefxError, WorkerError

__all__ = [
    "RESTARTS",
    "attempt",
    "default_workers",
    "each_finished",
    "in_child",
    "map_items",
    "share_out",
    "worker_died",
]

RESTARTS = 2
# What comes of waiting for a worker: a progress report, a result, an exception that is not a SpinefxError, the end of
# its pipe, or nothing in time.
REPORT, RESULT, DEFECT, DIED, LATE = "report", "result", "defect", "died", "late"

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
Report = Callable[..., None]


def default_workers() -> int:
    """Return the number of usable cores, the default number of worker processes.

    Returns
    -------
    int
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def map_items(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int = 1, progress: Progress | None = None
) -> list[Result | SpinefxError]:
    """Apply a function to every item; an item that fails with a named error does not stop the others.

    Parameters
    ----------
    function : callable
        Must be picklable.
    items : sequence
    workers : int
        With 1, the function runs in this process.
    progress : callable, optional
        Called with the number of finished items and the number of all items.

    Returns
    -------
    list
        One result per item, in the order of the items; a :class:`SpinefxError` where the item failed.

    Raises
    ------
    InterruptedWrite
        When a file cannot be written: the remaining items are not tried.
    WorkerError
        When a worker process dies.
    """
    results: dict[int, Result | SpinefxError] = {}
    finished: Iterable[tuple[tuple[int, Item], Result | SpinefxError]]
    if workers <= 1 or len(items) <= 1:
        finished = (((number, item), attempt(function, item)) for number, item in enumerate(items))
    else:
        workers = min(workers, len(items))
        finished = each_finished(partial(_numbered, function), enumerate(items), workers=workers, restarts=0)
    for (number, _), result in finished:
        if isinstance(result, WorkerError):
            raise result
        results[number] = result
        if progress is not None:
            progress(len(results), len(items))
    return [results[number] for number in range(len(items))]


def each_finished(
    function: Callable[..., Result],
    items: Iterable[Item],
    *,
    workers: int,
    restarts: int = RESTARTS,
    report: Report | None = None,
) -> Iterator[tuple[Item, Result | SpinefxError]]:
    """Apply a function to every item in worker processes and yield each result as soon as it is there.

    As many items as workers are held at once, so memory does not grow with the number of items. When the iterator is
    closed, all workers are killed, wherever they are.

    Parameters
    ----------
    function : callable
        Must be picklable. Takes the item; with ``report``, also a function that it calls to report progress.
    items : iterable
        Consumed one by one, as workers become free.
    workers : int
        Number of processes; the function never runs in this one.
    restarts : int
        How often an item is tried again after the worker that held it has died.
    report : callable, optional
        Called in this process with the arguments of each progress report.

    Yields
    ------
    tuple of (item, result)
        In the order of finishing. The result is a :class:`SpinefxError` where the item failed, a :class:`WorkerError`
        where its worker died once more than ``restarts`` allows.

    Raises
    ------
    InterruptedWrite
        When a file cannot be written: the remaining items are not tried.
    """
    waiting = ((item, 0) for item in items)
    idle: list[_Worker[Result]] = []
    busy: dict[Connection, tuple[_Worker[Result], Item, int]] = {}

    def give(worker: _Worker[Result], item: Item, deaths: int) -> None:
        busy[worker.pipe] = worker, item, deaths
        worker.give(item)

    try:
        while True:
            while len(busy) < max(1, workers) and (following := next(waiting, None)) is not None:
                give(idle.pop() if idle else _Worker(function, reports=report is not None), *following)
            if not busy:
                return
            for pipe in wait(list(busy)):
                worker, item, deaths = busy[pipe]  # type: ignore[index]
                kind, content = worker.receive()
                if kind == REPORT:
                    if report is not None:
                        report(*content)
                    continue
                del busy[worker.pipe]
                if kind == DIED:
                    worker.kill()
                    if deaths < restarts:
                        give(_Worker(function, reports=report is not None), item, deaths + 1)
                        continue
                    content = worker_died(deaths + 1)
                else:
                    idle.append(worker)
                if kind == DEFECT:
                    raise content
                yield item, content
    finally:
        for worker in (*idle, *(held[0] for held in busy.values())):
            worker.kill()


def in_child(function: Callable[[Item], Result], item: Item, *, seconds: float, memory_bytes: int) -> Result:
    """Call a function in a process of its own, which may die or hang without harm to this one.

    Parameters
    ----------
    function : callable
        Must be picklable.
    item
        Its only argument.
    seconds : float
        The process is killed after this time.
    memory_bytes : int
        Limit of its address space, where the operating system supports one.

    Returns
    -------
    object
        What the function returns.

    Raises
    ------
    SpinefxError
        Whatever named error the function raises.
    FileError
        When the process exceeds its time or memory, dies, or fails with any other error.
    """
    worker = _Worker[Result](function, memory_bytes=memory_bytes)
    try:
        worker.give(item)
        kind, content = worker.receive() if worker.pipe.poll(seconds) else (LATE, None)
    finally:
        worker.kill()
    if isinstance(content, SpinefxError):
        raise content
    if kind == RESULT:
        result: Any = content
        return result  # type: ignore[no-any-return]
    if kind == LATE:
        found = f"reading took longer than {seconds:g} s"
    elif kind == DIED:
        found = "the process that read these files died"
    elif isinstance(content, MemoryError):
        found = f"reading needs more than {memory_bytes / 2**30:.1f} GiB of memory"
    elif isinstance(content, RecursionError):
        found = "a header is nested too deeply"
    else:
        # Its text may quote the files.
        found = f"the files cannot be read ({type(content).__name__})"
    raise FileError(found, where="the given files", remedy="Give one study of one patient; remove all other files.")


def share_out(work: Callable[[Item, Report], None], items: Sequence[Item], *, workers: int, report: Report) -> None:
    """Do long pieces of work that report their progress and stop at once when interrupted.

    Parameters
    ----------
    work : callable
        Takes an item and a function to report progress with; writes its result to disk. Must be picklable.
    items : sequence
    workers : int
        With 1, the work is done in this process.
    report : callable
        Called in this process with each report; an exception that it raises stops all work.

    Raises
    ------
    SpinefxError
        The first named error of any item; the other workers are killed.
    """
    if workers <= 1 or len(items) <= 1:
        for item in items:
            work(item, report)
        return
    # Not tried again: what made a worker die after minutes, such as lack of memory, would come back.
    for _, result in each_finished(work, items, workers=min(workers, len(items)), restarts=0, report=report):
        if isinstance(result, SpinefxError):
            raise result


def worker_died(times: int) -> WorkerError:
    """Return the error for an item whose worker process died.

    Parameters
    ----------
    times : int
        How often a worker died while it held the item.

    Returns
    -------
    WorkerError
    """
    often = "" if times == 1 else f" {times} times on the same item"
    return WorkerError(
        f"a worker process died{often}",
        remedy="The machine may be out of memory. Use fewer workers (--workers), then run the same command again.",
    )


def attempt(function: Callable[[Item], Result], item: Item) -> Result | SpinefxError:
    """Call a function and return a named error as its result.

    Parameters
    ----------
    function : callable
    item : object

    Returns
    -------
    object
        What the function returns, or the :class:`SpinefxError` that it raises.

    Raises
    ------
    InterruptedWrite
        When a file cannot be written.
    """
    try:
        return function(item)
    except InterruptedWrite:
        raise  # a full disk is not the item's fault, and the next item would meet it too
    except SpinefxError as error:
        return error


class _Worker(Generic[Result]):
    """A spawned process that applies one function to the items it is given."""

    def __init__(self, function: Callable[..., Result], *, reports: bool = False, memory_bytes: int = 0) -> None:
        # Spawned, not forked: a forked copy of a process with threads can hang.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, function, reports, memory_bytes))
        self._process.start()
        theirs.close()

    def give(self, item: Any) -> None:
        # A worker that has died meanwhile is noticed when its answer is read.
        with contextlib.suppress(BrokenPipeError):
            self.pipe.send(item)

    def receive(self) -> tuple[str, Any]:
        try:
            kind, content = self.pipe.recv()
        except (EOFError, OSError):
            return DIED, None
        return kind, content

    def kill(self) -> None:
        # Every file is replaced whole, so a process may be killed anywhere.
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _serve(pipe: Connection, function: Callable[..., Any], reports: bool, memory_bytes: int) -> None:
    """Apply the function to each item from the pipe, until the pipe closes."""
    _begin(memory_bytes)

    def send(*content: Any) -> None:
        pipe.send((REPORT, content))

    # A pipe that is closed or broken says that nobody waits for results any more.
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            item = pipe.recv()
            try:
                answer = RESULT, attempt(partial(_with_report, function, send) if reports else function, item)
            except Exception as error:
                answer = DEFECT, _portable(error)
            pipe.send(answer)


def _with_report(function: Callable[..., Any], report: Report, item: Any) -> Any:
    return function(item, report)


def _portable(error: Exception) -> Exception:
    """Return an exception that survives the pipe, with the worker's traceback as a note."""
    text = traceback.format_exc()
    try:
        portable = copy.copy(error)  # made again from its arguments, as the pipe would
    except Exception:
        portable = RuntimeError(text)
    portable.add_note(text)
    return portable


def _begin(memory_bytes: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Control-C reaches the whole group; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries read these when they are first loaded, which in a spawned process is later than this.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    if memory_bytes:
        with contextlib.suppress(ImportError):  # not on every system
            import resource

            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _end_with_parent() -> None:
    # When the parent was killed, nothing must go on writing beside the next run.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _numbered(function: Callable[[Item], Result], item: tuple[int, Item]) -> Result:
    return function(item[1])

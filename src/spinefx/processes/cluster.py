"""Run a function on worker processes of this machine or on a Ray cluster, with results delivered in the same way.

There is no scheduler here. Ray places tasks where cores are free, and repeats those of a lost node.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from spinefx.errors import InputError, SpinefxError
from spinefx.processes.pool import RESTARTS, attempt, each_finished, worker_died

__all__ = ["LOCAL", "share_of", "spread"]

LOCAL = "local"
Item = TypeVar("Item")
Result = TypeVar("Result")


def share_of(text: str | None) -> tuple[int, int]:
    """Parse the share of the work that one job of an array takes.

    Parameters
    ----------
    text : str or None
        ``2/16`` is the second of sixteen shares; None is all of the work.

    Returns
    -------
    tuple of int
        Position from 0, and number of shares, as in ``items[position::number]``.

    Raises
    ------
    InputError
    """
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", "1/1" if text is None else text.strip())
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(
            f"--shard {(text or '')[:20]!r} is not a share", allowed="i/n with i from 1 to n, such as 2/16"
        )
    return int(found[1]) - 1, int(found[2])


def spread(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, on: str = LOCAL
) -> Iterator[tuple[Item, Result | SpinefxError]]:
    """Apply a function to every item in other processes, here or on a cluster, and yield results as they arrive.

    Parameters
    ----------
    function : callable
        Must be picklable. On a cluster, spinefx and the files that the function reads must be the same on every node.
    items : iterable
        Consumed one by one, as cores become free.
    workers : int
        Processes on this machine; a cluster uses all its cores.
    on : str
        ``local``; ``ray`` for the cluster in which this process runs; ``ray://host:port`` for another one.

    Returns
    -------
    iterator of (item, result)
        As from :func:`spinefx.processes.pool.each_finished`.

    Raises
    ------
    InputError
        For any other place, and where Ray is not installed or not reachable.
    """
    if on == LOCAL:
        return each_finished(function, items, workers=workers)
    if on != "ray" and not re.fullmatch(r"ray://[\w.\[\]:-]+:[0-9]{1,5}", on):
        raise InputError(f"--on {on[:40]!r} is not a place to work", allowed="local, ray, or ray://host:port")
    return _spread_on_ray(function, items, "auto" if on == "ray" else on)


def _spread_on_ray(
    function: Callable[[Item], Result], items: Iterable[Item], address: str
) -> Iterator[tuple[Item, Result | SpinefxError]]:
    ray = _connected(address)
    try:
        work = ray.remote(num_cpus=1, max_retries=RESTARTS)(attempt)
        room = max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting = iter(items)
        busy: dict[Any, Item] = {}
        while True:
            for item in islice(waiting, room - len(busy)):
                busy[work.remote(function, item)] = item
            if not busy:
                return
            for reference in ray.wait(list(busy), num_returns=1)[0]:
                item = busy.pop(reference)
                try:
                    result = ray.get(reference)
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError):
                    result = worker_died(RESTARTS + 1)
                yield item, result
    finally:
        ray.shutdown()


def _connected(address: str) -> Any:
    """Return the Ray library, connected, with its usage reports switched off."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise InputError("Ray is not installed", remedy="Run pip install 'spinefx[ray]', or omit --on.") from error
    try:
        ray.init(address=address, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(
            "no Ray cluster answers", where="--on", remedy="Start one with `ray start`, or omit --on."
        ) from error
    return ray

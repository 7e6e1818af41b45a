"""The same work on the processes of this machine, or on a Ray cluster: one function, one way of handing results back.

Nothing is planned here. Ray places tasks where cores are free, and starts those of a lost node again.
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
    """Read which share of the work one job of an array takes.

    Parameters
    ----------
    text : str or None
        ``2/16`` is the second of sixteen; None is all of it.

    Returns
    -------
    tuple of int
        Its position from 0, and the number of shares: for ``items[position::number]``.

    Raises
    ------
    InputError
    """
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", "1/1" if text is None else text.strip())
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--shard {(text or '')[:20]!r}", allowed="i/n with i from 1 to n: 2/16")
    return int(found[1]) - 1, int(found[2])


def spread(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, on: str = LOCAL
) -> Iterator[tuple[Item, Result | SpinefxError]]:
    """Apply a function to every item on other processes, here or elsewhere, and give each result as it comes.

    Parameters
    ----------
    function : callable
        Importable by name. On a cluster, spinefx and what the function reads must be the same on every node.
    items : iterable
        Taken one by one, as cores come free.
    workers : int
        Processes on this machine; a cluster has its own number.
    on : str
        ``local``; ``ray`` for the cluster that this process runs in; ``ray://host:port`` for one elsewhere.

    Returns
    -------
    iterator of (item, result)
        As :func:`spinefx.processes.pool.each_finished` gives them.

    Raises
    ------
    InputError
        For another place, or where Ray is not installed or not reached.
    """
    if on == LOCAL:
        return each_finished(function, items, workers=workers)
    if on != "ray" and not re.fullmatch(r"ray://[\w.\[\]:-]+:[0-9]{1,5}", on):
        raise InputError(f"--on {on[:40]!r}", allowed="local, ray, or ray://host:port")
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
    """Give the Ray library, connected; it is told to send nothing about its use to its makers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise InputError("Ray is not installed", remedy="pip install 'spinefx[ray]', or leave --on out.") from error
    try:
        ray.init(address=address, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(
            "no Ray cluster answers there", where="--on", remedy="Start one with `ray start`, or leave --on out."
        ) from error
    return ray

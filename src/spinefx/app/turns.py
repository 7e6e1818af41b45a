"""Who computes when: long requests of all users wait for each other without holding up anything else."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from fastapi.concurrency import run_in_threadpool

from spinefx.errors import UnavailableError

__all__ = ["Turns"]

# Reading a study or aligning one takes a processor core, and tens of megabytes, for about a second.
AT_ONCE, MOST_WAITING = 2, 100
Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")


class Turns:
    """The order in which long requests are worked on: few at once, and one of each user.

    A request that waits holds no thread, so that short requests are answered meanwhile; and somebody who sends forty
    requests waits for them alone, because everybody else's first request comes before the second of those forty.

    Parameters
    ----------
    at_once : int
        Requests of all users that are worked on at the same time.
    most_waiting : int
        Requests of one user that may wait.
    """

    def __init__(self, at_once: int = AT_ONCE, most_waiting: int = MOST_WAITING) -> None:
        self._at_once, self._most_waiting = at_once, most_waiting
        # A server has one event loop; tests have several, between which nothing of asyncio can be shared.
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()

    async def take(self, user: str, work: Callable[[], Value]) -> Value:
        """Wait for a user's turn, then work in a thread.

        Parameters
        ----------
        user : str
            Code of the user.
        work : callable

        Returns
        -------
        object
            What the work returned.

        Raises
        ------
        UnavailableError
            When too many requests of the user are waiting.
        """
        queue = self._queues.setdefault(asyncio.get_running_loop(), _Queue(self._at_once))
        if queue.waiting[user] >= self._most_waiting:
            raise UnavailableError("too many of your requests are waiting", remedy="Try again in a minute.")
        queue.waiting[user] += 1
        try:
            async with queue.of_user.setdefault(user, asyncio.Lock()), queue.of_all:
                return await run_in_threadpool(work)
        finally:
            queue.waiting[user] -= 1
            if not queue.waiting[user]:
                del queue.waiting[user], queue.of_user[user]

    def in_turn(self, route: Callable[Arguments, Value]) -> Callable[Arguments, Awaitable[Value]]:
        """Let a route's requests wait for their turn.

        Parameters
        ----------
        route : callable
            A function of a route, with a parameter ``user``.

        Returns
        -------
        callable
            The same route for the event loop.
        """

        @functools.wraps(route)
        async def waiting(*args: Arguments.args, **given: Arguments.kwargs) -> Value:
            user: Any = given["user"]
            return await self.take(user.code, functools.partial(route, *args, **given))

        return waiting


class _Queue:
    """What an event loop's requests wait for."""

    def __init__(self, at_once: int) -> None:
        self.of_all = asyncio.Semaphore(at_once)
        self.of_user: dict[str, asyncio.Lock] = {}
        self.waiting: Counter[str] = Counter()

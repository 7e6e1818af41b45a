"""Time that nobody at a browser can set: the server's monotonic clock, and what a reader did with it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

__all__ = ["Clock", "Presence", "Stopwatch", "Times"]

from enum import StrEnum

# A page that is looked at speaks every half minute; beyond this silence nobody knows, and it counts as idle.
LONGEST_SILENCE_MS = 75_000


class Presence(StrEnum):
    """What the page tells of the reader."""

    VISIBLE = "visible"
    IDLE = "idle"
    HIDDEN = "hidden"
    PAUSED = "paused"


def _elapsed_ms() -> int:
    # Where there is one, the clock that goes on while a laptop sleeps; neither ever goes back.
    kind = getattr(time, "CLOCK_BOOTTIME", None)
    return int(1000 * (time.monotonic() if kind is None else time.clock_gettime(kind)))


@dataclass(frozen=True)
class Clock:
    """A server process's two clocks.

    Parameters
    ----------
    now : callable
        Gives the date, UTC, as the machine believes it to be.
    elapsed_ms : callable
        Gives milliseconds that only grow, comparable within the process.
    process : str
        Names the process.
    """

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    elapsed_ms: Callable[[], int] = _elapsed_ms
    process: str = field(default_factory=lambda: secrets.token_hex(6))

    def stamp(self) -> dict[str, int | str]:
        """Give what an entry of the log needs to be timed by.

        Returns
        -------
        dict
        """
        return {"process": self.process, "at_ms": self.elapsed_ms()}


@dataclass(frozen=True)
class Times:
    """How a phase of a reading was spent.

    Parameters
    ----------
    active_ms, idle_ms, hidden_ms, paused_ms : int
        Looking and doing; page open but untouched or silent; another tab or window; paused on purpose.
    interruptions : int
        Restarts of the server, over which no time is known and none is counted.
    """

    active_ms: int = 0
    idle_ms: int = 0
    hidden_ms: int = 0
    paused_ms: int = 0
    interruptions: int = 0


class Stopwatch:
    """Add up the time between what happened, as it is read from the log."""

    def __init__(self) -> None:
        self._spent = dict.fromkeys(Presence, 0)
        self._interruptions = 0
        self._last: tuple[str, int] | None = None
        self._presence = Presence.VISIBLE

    def tell(self, process: str, at_ms: int, presence: Presence | None = None) -> None:
        """Take in that something happened.

        Parameters
        ----------
        process : str
        at_ms : int
            By that process's clock.
        presence : Presence, optional
            How the reader is from now on.
        """
        if self._last is not None and self._last[0] != process:
            self._interruptions += 1
        elif self._last is not None:
            spent = max(0, at_ms - self._last[1])
            beyond = max(0, spent - LONGEST_SILENCE_MS) if self._presence is Presence.VISIBLE else 0
            self._spent[self._presence] += spent - beyond
            self._spent[Presence.IDLE] += beyond
        self._last = (process, at_ms)
        self._presence = presence or self._presence

    def stop(self) -> Times:
        """Give what was added up, and begin anew.

        Returns
        -------
        Times
        """
        spent = self._spent
        times = Times(
            spent[Presence.VISIBLE],
            spent[Presence.IDLE],
            spent[Presence.HIDDEN],
            spent[Presence.PAUSED],
            self._interruptions,
        )
        self.__init__()  # type: ignore[misc]
        return times

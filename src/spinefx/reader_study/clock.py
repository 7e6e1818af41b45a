"""Reading times from the server's monotonic clock, which no browser can set."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

__all__ = ["Clock", "Presence", "Stopwatch", "Times"]

# A visible page reports every half minute; silence beyond this limit counts as idle.
LONGEST_SILENCE_MS = 75_000


class Presence(StrEnum):
    """Presence of the reader, as the page reports it."""

    VISIBLE = "visible"
    IDLE = "idle"
    HIDDEN = "hidden"
    PAUSED = "paused"


def _elapsed_ms() -> int:
    # The clock that keeps running while a laptop sleeps, where there is one; neither ever goes back.
    kind = getattr(time, "CLOCK_BOOTTIME", None)
    return int(1000 * (time.monotonic() if kind is None else time.clock_gettime(kind)))


@dataclass(frozen=True)
class Clock:
    """The two clocks of a server process.

    Parameters
    ----------
    now : callable
        Returns the date and time of the machine, UTC.
    elapsed_ms : callable
        Returns milliseconds that only increase, comparable within the process.
    process : str
        Identifier of the process.
    """

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    elapsed_ms: Callable[[], int] = _elapsed_ms
    process: str = field(default_factory=lambda: secrets.token_hex(6))

    def stamp(self) -> dict[str, int | str]:
        """Return the time stamp that a log entry carries.

        Returns
        -------
        dict
        """
        return {"process": self.process, "at_ms": self.elapsed_ms()}


@dataclass(frozen=True)
class Times:
    """How the time of one phase of a reading was spent.

    Parameters
    ----------
    active_ms, idle_ms, hidden_ms, paused_ms : int
        Page visible and in use; visible but untouched or silent; another tab or window in front; paused on purpose.
    interruptions : int
        Restarts of the server; the time across a restart is unknown and not counted.
    """

    active_ms: int = 0
    idle_ms: int = 0
    hidden_ms: int = 0
    paused_ms: int = 0
    interruptions: int = 0


class Stopwatch:
    """Adds up the time between log entries."""

    def __init__(self) -> None:
        self._spent = dict.fromkeys(Presence, 0)
        self._interruptions = 0
        self._last: tuple[str, int] | None = None
        self._presence = Presence.VISIBLE

    def tell(self, process: str, at_ms: int, presence: Presence | None = None) -> None:
        """Record an event.

        Parameters
        ----------
        process : str
        at_ms : int
            Time by the clock of that process.
        presence : Presence, optional
            Presence of the reader from now on.
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
        """Return the times added up so far, and start again from zero.

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

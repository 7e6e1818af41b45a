"""What all parts of the server share."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI

from spinefx.app.guard import Limits
from spinefx.app.imagery import Imagery
from spinefx.app.turns import Turns
from spinefx.errors import AccessError
from spinefx.reader_study.log import Log
from spinefx.workspace.layout import Workspace

__all__ = ["LOOPBACK", "USER_ADDED", "ServeSettings", "ServerState", "state_of"]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Kind of log entry; it keeps the word of the first logs, so that they stay readable.
USER_ADDED = "person.added"
# Attempts to sign in per minute and address, and how many addresses are remembered.
ATTEMPTS, ADDRESSES = 20, 1000


@dataclass(frozen=True)
class ServeSettings:
    """What a server serves, and to whom.

    Parameters
    ----------
    workspace : Path
    model : Path or None
        A model's or an experiment's folder, for second opinions and assisted readings.
    hosts : frozenset of str
        Host names under which the server may be reached; beyond loopback every user needs a token.
    database : str
        Address of the log's database; empty for a file in the workspace.
    is_secure : bool
        Whether the server is reached by HTTPS, so that cookies are marked secure.
    limits : Limits
    is_shared : bool
        Whether it listens beyond this machine; every user then needs a token, under whichever host name.
    """

    workspace: Path
    model: Path | None = None
    hosts: frozenset[str] = LOOPBACK
    database: str = ""
    is_secure: bool = False
    limits: Limits = field(default_factory=Limits)
    is_shared: bool = False


class ServerState:
    """The workspace, its log, and the images in memory.

    Parameters
    ----------
    settings : ServeSettings

    Raises
    ------
    WorkspaceError
        When the workspace or the log cannot be opened.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.workspace = Workspace.open(settings.workspace)
        self.log = Log(settings.database) if settings.database else Log.beside(self.workspace.log_file)
        self.imagery = Imagery()
        self.turns = Turns()
        # Called when the server shuts down, also after a signal: nothing else runs then.
        self.at_end: list[Callable[[], None]] = []
        self._attempts: OrderedDict[str, list[float]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def needs_token(self) -> bool:
        """Whether every user must sign in: beyond loopback, and as soon as any user has been added.

        A server that listens beyond this machine, or stands behind a proxy, can be reached under any name.
        """
        settings = self.settings
        is_beyond = settings.is_shared or settings.is_secure or not settings.hosts <= LOOPBACK
        return is_beyond or bool(self.log.entries(kind=USER_ADDED))

    def slow_down(self, address: str) -> None:
        """Refuse an address that tries many tokens.

        Parameters
        ----------
        address : str

        Raises
        ------
        AccessError
        """
        now = time.monotonic()
        with self._lock:
            recent = [moment for moment in self._attempts.pop(address, []) if now - moment < 60]
            is_slowed = len(recent) >= ATTEMPTS
            self._attempts[address] = recent if is_slowed else [*recent, now]
            while len(self._attempts) > ADDRESSES:
                self._attempts.popitem(last=False)
        if is_slowed:
            raise AccessError("Too many attempts to sign in", remedy="Wait for a minute, then try again.")

    def forget_attempts(self, address: str) -> None:
        """Forget the attempts of an address whose token was right: many readers may come through one proxy.

        Parameters
        ----------
        address : str
        """
        with self._lock:
            self._attempts.pop(address, None)


def state_of(app: FastAPI) -> ServerState:
    """Return the state that belongs to an application.

    Parameters
    ----------
    app : FastAPI

    Returns
    -------
    ServerState
    """
    state: ServerState = app.state.server
    return state

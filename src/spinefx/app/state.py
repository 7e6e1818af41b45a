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
from spinefx.errors import AccessError
from spinefx.reader_study.log import Log
from spinefx.workspace.layout import Workspace

__all__ = ["LOOPBACK", "ServeSettings", "ServerState", "state_of"]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Attempts to sign in within a minute, from one address; and addresses that are remembered.
ENTRANCES, ADDRESSES = 20, 1000


@dataclass(frozen=True)
class ServeSettings:
    """What a server serves, and to whom.

    Parameters
    ----------
    workspace : Path
        A study folder.
    model : Path or None
        A model folder or an experiment's, for second opinions and aided readings.
    hosts : frozenset of str
        Host names under which it may be addressed; beyond loopback everybody needs a token.
    database : str
        Address of the log's database; empty for a file in the study folder.
    is_secure : bool
        Whether the server is reached by HTTPS, so that cookies are marked so.
    limits : Limits
    is_shared : bool
        Whether it listens beyond this machine; then everybody needs a token, whatever name they call it by.
    """

    workspace: Path
    model: Path | None = None
    hosts: frozenset[str] = LOOPBACK
    database: str = ""
    is_secure: bool = False
    limits: Limits = field(default_factory=Limits)
    is_shared: bool = False


class ServerState:
    """The study, its log, and the images in memory.

    Parameters
    ----------
    settings : ServeSettings

    Raises
    ------
    WorkspaceError
        When the study folder or the log cannot be opened.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.workspace = Workspace.open(settings.workspace)
        self.log = Log(settings.database) if settings.database else Log.beside(self.workspace.log_file)
        self.imagery = Imagery()
        # What must be done before the process ends: a signal that ends it leaves nothing else to run.
        self.at_end: list[Callable[[], None]] = []
        self._entrances: OrderedDict[str, list[float]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def needs_token(self) -> bool:
        """Whether everybody must sign in: beyond loopback, and wherever users were let in by name.

        A server that listens beyond this machine, or has a proxy before it, is asked by others under any name.
        """
        settings = self.settings
        is_beyond = settings.is_shared or settings.is_secure or not settings.hosts <= LOOPBACK
        return is_beyond or bool(self.log.entries(kind="person.added"))

    def slow_down(self, address: str) -> None:
        """Refuse somebody who tries many tokens.

        Parameters
        ----------
        address : str

        Raises
        ------
        AccessError
        """
        now = time.monotonic()
        with self._lock:
            recent = [moment for moment in self._entrances.pop(address, []) if now - moment < 60]
            is_slowed = len(recent) >= ENTRANCES
            self._entrances[address] = recent if is_slowed else [*recent, now]
            while len(self._entrances) > ADDRESSES:
                self._entrances.popitem(last=False)
        if is_slowed:
            raise AccessError("too many attempts to sign in", remedy="Wait a minute.")

    def forget_attempts(self, address: str) -> None:
        """Begin anew for an address whose token was right: many readers may come through one proxy.

        Parameters
        ----------
        address : str
        """
        with self._lock:
            self._entrances.pop(address, None)


def state_of(app: FastAPI) -> ServerState:
    """Give the state that belongs to an application.

    Parameters
    ----------
    app : FastAPI

    Returns
    -------
    ServerState
    """
    state: ServerState = app.state.server
    return state

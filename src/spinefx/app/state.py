"""What all parts of the server share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI

from spinefx.app.guard import Limits
from spinefx.app.imagery import Imagery
from spinefx.errors import AccessError
from spinefx.trial.log import Log
from spinefx.workspace.layout import Workspace

__all__ = ["LOOPBACK", "ServeSettings", "ServerState", "state_of"]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Attempts to sign in within a minute, from one address.
ENTRANCES = 20


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
    """

    workspace: Path
    model: Path | None = None
    hosts: frozenset[str] = LOOPBACK
    database: str = ""
    is_secure: bool = False
    limits: Limits = field(default_factory=Limits)


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
        self._entrances: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    @property
    def needs_token(self) -> bool:
        """Whether everybody must sign in: beyond loopback, and wherever people were let in by name."""
        return not self.settings.hosts <= LOOPBACK or bool(self.log.entries(kind="person.added"))

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
            recent = [moment for moment in self._entrances.get(address, []) if now - moment < 60]
            self._entrances[address] = [*recent, now]
        if len(recent) >= ENTRANCES:
            raise AccessError("too many attempts to sign in", remedy="Wait a minute.")


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

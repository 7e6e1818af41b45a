"""Running the server: on this machine alone, unless somebody says otherwise."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from spinefx.app.server import create_app
from spinefx.app.state import ServeSettings, state_of
from spinefx.errors import WorkspaceError

__all__ = ["is_loopback", "serve", "server_config"]

# Connections at once: a further one takes the place of whichever has been waiting longest.
MOST_AT_ONCE = 200
# How long a head may take to arrive, and an answer to be taken.
HEAD_S, TAKEN_S = 10.0, 30.0


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine alone.

    Parameters
    ----------
    host : str
        Name or address to listen at.

    Returns
    -------
    bool
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(settings: ServeSettings, *, host: str, port: int, told: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Parameters
    ----------
    settings : ServeSettings
    host : str
        Address to listen at.
    port : int
        0 takes a free one.
    told : callable
        Gets the page's address once the server answers.

    Raises
    ------
    WorkspaceError
        When the port is taken or the address is not this machine's.
    """
    app = create_app(replace(settings, is_shared=settings.is_shared or not is_loopback(host)))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named: asyncio sends small answers at once on such sockets alone, others wait 40 ms each.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)  # from here on whoever comes is kept waiting, not refused
    except OSError as error:
        listener.close()
        raise WorkspaceError(
            f"the server cannot listen there ({error.strerror})", where=f"port {port}", remedy="Give another --port."
        ) from error
    shown = f"[{host}]" if ":" in host else host
    told(f"http://{shown}:{listener.getsockname()[1]}/")
    uvicorn.Server(server_config(app)).run(sockets=[listener])


def server_config(app: FastAPI, **settings: Any) -> uvicorn.Config:
    """Give the web server's settings.

    Parameters
    ----------
    app : FastAPI
        With its state.
    **settings
        Of uvicorn, such as host and port.

    Returns
    -------
    uvicorn.Config
    """
    return uvicorn.Config(
        app,
        http=_Connection,
        ws="none",  # whatever else is installed
        log_level="warning",
        access_log=False,  # addresses of requests say who read what
        server_header=False,
        # A proxy before it says who asks; without one, anybody could say so.
        proxy_headers=state_of(app).settings.is_secure,
        timeout_keep_alive=10,
        h11_max_incomplete_event_size=16_384,
        **settings,
    )


class _Connection(H11Protocol):
    """A connection that is let go when no head arrives, or when nobody takes the answer: uvicorn waits for ever."""

    _waits_since_s = 0.0
    _head_timer: asyncio.TimerHandle | None = None
    _taken_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waits_since_s = self.loop.time()
        self._head_timer = self.loop.call_later(HEAD_S, self._let_go)
        here = [one for one in self.connections if isinstance(one, _Connection) and not one.transport.is_closing()]
        if len(here) > MOST_AT_ONCE:
            # Who holds many connections open without asking loses them first, not who comes next and asks.
            idle = [one for one in here if one._is_idle and one is not self]
            min(idle, key=lambda one: one._waits_since_s, default=self).transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._is_idle:
            self._stop()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self._let_go)

    def on_response_complete(self) -> None:
        self._waits_since_s = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taken_timer = self.loop.call_later(TAKEN_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._taken_timer is not None:
            self._taken_timer.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop()
        if self._taken_timer is not None:
            self._taken_timer.cancel()

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _stop(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _let_go(self) -> None:
        self._head_timer = None
        if self._is_idle:
            self.transport.abort()

"""Running the server: on this machine alone, unless told otherwise."""

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

# Connections at once: a further one replaces whichever has been idle for longest.
MOST_AT_ONCE = 200
# Seconds that a head may take to arrive, and that a client may take to accept a response.
HEAD_S, TAKEN_S = 10.0, 30.0


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone.

    Parameters
    ----------
    host : str
        Name or address to listen on.

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
        Address to listen on.
    port : int
        0 takes a free one.
    told : callable
        Called with the address of the pages once the server answers.

    Raises
    ------
    WorkspaceError
        When the port is in use, or the address is not one of this machine.
    """
    app = create_app(replace(settings, is_shared=settings.is_shared or not is_loopback(host)))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio disables Nagle's delay, 40 ms per small response, on such sockets alone.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)  # from here on clients wait instead of being refused
    except OSError as error:
        listener.close()
        raise WorkspaceError(
            f"the server cannot listen here ({error.strerror})", where=f"Port {port}", remedy="Choose another --port."
        ) from error
    shown = f"[{host}]" if ":" in host else host
    told(f"http://{shown}:{listener.getsockname()[1]}/")
    uvicorn.Server(server_config(app)).run(sockets=[listener])


def server_config(app: FastAPI, **settings: Any) -> uvicorn.Config:
    """Return the settings of the web server.

    Parameters
    ----------
    app : FastAPI
        With its state.
    **settings
        Further settings of uvicorn, such as host and port.

    Returns
    -------
    uvicorn.Config
    """
    return uvicorn.Config(
        app,
        http=_Connection,
        ws="none",  # even where a library for web sockets is installed
        log_level="warning",
        access_log=False,  # paths would say who read what
        server_header=False,
        # A proxy in front names the client; without a proxy, any client could name another.
        proxy_headers=state_of(app).settings.is_secure,
        timeout_keep_alive=10,
        h11_max_incomplete_event_size=16_384,
        **settings,
    )


class _Connection(H11Protocol):
    """A connection that is closed when no head arrives or no client accepts the response; uvicorn would wait."""

    _waits_since_s = 0.0
    _head_timer: asyncio.TimerHandle | None = None
    _taken_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waits_since_s = self.loop.time()
        self._head_timer = self.loop.call_later(HEAD_S, self._close_idle)
        here = [one for one in self.connections if isinstance(one, _Connection) and not one.transport.is_closing()]
        if len(here) > MOST_AT_ONCE:
            # A client that holds many connections without a request loses them before a new client is turned away.
            idle = [one for one in here if one._is_idle and one is not self]
            min(idle, key=lambda one: one._waits_since_s, default=self).transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._is_idle:
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self._close_idle)

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
        self._stop_timer()
        if self._taken_timer is not None:
            self._taken_timer.cancel()

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close_idle(self) -> None:
        self._head_timer = None
        if self._is_idle:
            self.transport.abort()

"""Running the server: on this machine alone, unless somebody says otherwise."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

import uvicorn

from spinefx.app.server import create_app
from spinefx.app.state import ServeSettings
from spinefx.errors import WorkspaceError

__all__ = ["is_loopback", "serve"]

# Connections at once beyond which the server answers 503 instead of growing.
MOST_AT_ONCE = 200


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
    app = create_app(settings)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise WorkspaceError(
            f"the server cannot listen there ({error.strerror})", where=f"port {port}", remedy="Give another --port."
        ) from error
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # addresses of requests say who read what
        server_header=False,
        limit_concurrency=MOST_AT_ONCE,
        timeout_keep_alive=10,
        h11_max_incomplete_event_size=16_384,
    )
    shown = f"[{host}]" if ":" in host else host
    told(f"http://{shown}:{listener.getsockname()[1]}/")
    uvicorn.Server(config).run(sockets=[listener])

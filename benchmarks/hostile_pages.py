"""Rows of ``hostile.py`` about the web app: a storm of hostile requests while another person asks."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from hostile_row import Row
from spinefx.workspace.layout import Workspace

SEED = 20250314
AT_ONCE = 8
ROUTES = (
    *("/api/decide/studies", "/api/decide/opinion", "/api/decide/saliency", "/api/decide/participants/sub-001"),
    *("/api/annotate/sub-001/lesion", "/api/images/x/slices/1", "/api/read/x/1/y/open", "/api/teach/series"),
    *("/", "/../../etc/passwd", "/api/%00", "/api/decide/pictures/%2e%2e"),
)
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW")
BODIES = (
    b"",
    b"{",
    b"[" * 100_000,
    b'{"box": {"centre_mm": [1e999, 0, 0], "side_mm": NaN}}',
    b'{"study": "' + b"a" * 200_000 + b'"}',
    b"--x\r\ncontent-disposition: form-data; filename=a.dcm\r\n\r\n" + bytes(132) + b"DICM\r\n--x--\r\n",
    b"--x\r\ncontent-disposition: form-data; filename=../../a.zip\r\n\r\nPK\x03\x04\r\n--x--\r\n",
    b"--x\r\n" + b"a: b\r\n" * 10_000,
)
KINDS = ("application/json", "multipart/form-data; boundary=x", "multipart/form-data", "text/plain", "x" * 3000)


@dataclass(frozen=True)
class Running:
    """A server of this process."""

    port: int


def prepare(folder: Path) -> None:
    """Make an empty workspace."""
    Workspace.create(folder / "workspace")


@cache
def server(folder: Path) -> Running:
    """Start a server once."""
    import uvicorn

    from spinefx.app.running import server_config
    from spinefx.app.server import create_app
    from spinefx.app.state import ServeSettings

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = uvicorn.Server(
        server_config(create_app(ServeSettings(folder / "workspace")), host="127.0.0.1", port=port)
    )
    threading.Thread(target=running.run, daemon=True).start()
    while not running.started:
        time.sleep(0.01)
    return Running(port)


def ask(port: int, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> tuple[int, bytes]:
    """Send one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"origin": f"http://127.0.0.1:{port}", "content-type": kind}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def hostile(port: int, rng: np.random.Generator) -> int:
    """Send one hostile request; return the status of its answer, 0 where the server closed the connection."""
    method, path = METHODS[int(rng.integers(len(METHODS)))], ROUTES[int(rng.integers(len(ROUTES)))]
    body, kind = BODIES[int(rng.integers(len(BODIES)))], KINDS[int(rng.integers(len(KINDS)))]
    if rng.random() < 0.3:
        body = bytes(rng.integers(0, 256, int(rng.integers(1, 5000)), dtype=np.uint8))
    try:
        return ask(port, method, path, body, kind)[0]
    except (ConnectionError, http.client.HTTPException):
        return 0


def storm(folder: Path, number: int) -> str:
    """Send several hostile requests at once, and meanwhile a good one, which must be answered as ever."""
    port = server(folder).port
    rngs = [np.random.default_rng([SEED, number, one]) for one in range(AT_ONCE)]
    wanted = good(folder)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sent = [pool.submit(hostile, port, rng) for rng in rngs]
        found = ask(port, "GET", "/api/decide")
        statuses = [one.result() for one in sent]
    if any(status >= 500 for status in statuses):
        raise RuntimeError(f"the server answered with {max(statuses)}")
    return "equal" if found == wanted else "changed"


@cache
def good(folder: Path) -> tuple[int, bytes]:
    """What the good request is answered without a storm."""
    status, body = ask(server(folder).port, "GET", "/api/decide")
    if status != 200:
        raise RuntimeError(f"the good request was answered with {status}: {body[:200]!r}")
    return status, body


ROWS = (Row("storm", 40, 3, prepare, storm, sample=8),)

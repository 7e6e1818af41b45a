"""What every request must pass before it reaches a route, and what every response carries."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

__all__ = ["Guard", "Limits"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

# Nothing from other hosts and no inline script. Drawings set their styles through the object model, which is allowed.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "worker-src 'self' blob:; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
SAFE = {"GET", "HEAD", "OPTIONS"}
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
# Sent twice, the proxy might believe one of them and the server the other.
ONCE = (b"host", b"origin", b"content-length", b"transfer-encoding", b"sec-fetch-site")
# Bytes of the URL's query and of all headers.
HEAD_BYTES = 16_384
# A slower sender merely occupies a connection.
SLOWEST_BYTES_PER_S = 10_000
OWN_PAGE = "Changes must come from this server's own pages."


@dataclass(frozen=True)
class Limits:
    """How much one request may send, and how slowly.

    Parameters
    ----------
    body_bytes : int
        Most of a request with JSON.
    upload_bytes : int
        Most of a request with files.
    silence_s : float
        Longest pause of the sender, seconds.
    """

    body_bytes: int = 256_000
    upload_bytes: int = 2_000_000_000
    silence_s: float = 30.0


class Guard:
    """Check host, origin and size of each request, and add the security headers to each response.

    Parameters
    ----------
    application : callable
        ASGI application behind the guard.
    hosts : frozenset of str
        Names under which the server may be reached; an attacker's name that resolves to this machine is refused.
    limits : Limits
    upload_paths : tuple of str
        Where files may be uploaded.
    """

    def __init__(
        self, application: Application, *, hosts: frozenset[str], limits: Limits, upload_paths: tuple[str, ...]
    ) -> None:
        self.application, self.limits, self.upload_paths = application, limits, upload_paths
        self.hosts = frozenset(name.lower() for name in hosts)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection.

        Parameters
        ----------
        scope, receive, send
            As ASGI defines them.
        """
        if scope["type"] == "lifespan":
            await self.application(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the client gets a 403
            return
        objection = self._objection(scope)
        if objection is not None:
            await _refuse(_sealed(send, scope), *objection)
            return
        counted = _Counted(receive, self._most(scope), self.limits.silence_s)
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.application(scope, counted, _sealed(watched, scope))
        except ClientDisconnect:
            return
        except _TooMuch as refusal:
            if not begun:
                await _refuse(_sealed(send, scope), refusal.status_code, refusal.detail)
        except Exception as error:
            # Caught here, because the framework's own error page would lack the headers, and its traceback would
            # repeat the request. The log gets the error's type and place alone.
            _log(error)
            if not begun:
                message = f"Internal error ({type(error).__name__}). This request has stored nothing."
                await _refuse(_sealed(send, scope), 500, message, named="InternalError")

    def _most(self, scope: MutableMapping[str, Any]) -> int:
        is_upload = str(scope["path"]).startswith(self.upload_paths) if self.upload_paths else False
        return self.limits.upload_bytes if is_upload else self.limits.body_bytes

    def _objection(self, scope: MutableMapping[str, Any]) -> tuple[int, str] | None:
        names = [name for name, _ in scope["headers"]]
        if any(names.count(name) > 1 for name in ONCE) or {b"content-length", b"transfer-encoding"} <= {*names}:
            return 400, "The request contradicts itself."
        if (
            len(scope.get("query_string", b"")) + sum(len(name) + len(value) for name, value in scope["headers"])
            > HEAD_BYTES
        ):
            return 431, f"The URL's query and headers are longer than {HEAD_BYTES} bytes."
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "").lower()
        parts = HOST.fullmatch(host)
        if parts is None or parts[1].strip("[]") not in self.hosts:
            return 421, "This server does not answer under this host name. Add the name with `spinefx serve --name`."
        length = headers.get("content-length", "0")
        # A few ASCII digits: Python accepts other digits too, and takes long to read thousands of them.
        if not re.fullmatch(r"[0-9]{1,18}", length) or int(length) > self._most(scope):
            return 413, "The request is larger than this server accepts."
        site = headers.get("sec-fetch-site", "same-origin")
        if scope["method"] in SAFE:
            # Another site's page cannot read the response, but its request might be logged as if the user had looked.
            is_foreign = str(scope["path"]).startswith("/api/") and site not in {"same-origin", "none"}
            return (403, "Only this server's own pages may request this.") if is_foreign else None
        if headers.get("origin", "") not in {f"http://{host}", f"https://{host}"} or site != "same-origin":
            return 403, OWN_PAGE
        return None


class _TooMuch(HTTPException):
    """A subclass of the framework's own error, because its body parser turns all others into a plain 400."""


class _Counted:
    """Count the bytes received: a length header may lie, and a sender may fall silent or send a byte now and then."""

    def __init__(self, receive: Receive, most: int, silence_s: float) -> None:
        self.receive, self.most, self.silence_s, self.seen, self.is_whole = receive, most, silence_s, 0, False
        self.begun_s: float | None = None

    async def __call__(self) -> Message:
        if self.is_whole:
            return await self.receive()  # waits until the connection ends, however long that takes
        now_s = asyncio.get_running_loop().time()
        self.begun_s = now_s if self.begun_s is None else self.begun_s
        left_s = self.begun_s + self.silence_s + self.seen / SLOWEST_BYTES_PER_S - now_s
        try:
            message = await asyncio.wait_for(self.receive(), min(left_s, self.silence_s))
        except TimeoutError:
            raise _TooMuch(408, "The request did not arrive completely in time.") from None
        if message["type"] == "http.request":
            self.seen += len(message.get("body", b""))
            self.is_whole = not message.get("more_body", False)
        if self.seen > self.most:
            raise _TooMuch(413, "The request is larger than this server accepts.")
        return message


def _sealed(send: Send, scope: MutableMapping[str, Any]) -> Send:
    is_asset = str(scope["path"]).startswith("/assets/")
    cache = b"public, max-age=31536000, immutable" if is_asset else b"no-store"

    async def sealed(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name for name, _ in (*HEADERS, (b"cache-control", b""))} | {b"server"}
            kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in own]
            message = {**message, "headers": [*kept, *HEADERS, (b"cache-control", cache)]}
        await send(message)

    return sealed


def _log(error: Exception) -> None:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_name}, line {place.tb_lineno}" if place is not None else "nowhere"
    logging.getLogger(__name__).error("internal error: %s in %s", type(error).__name__, where)


async def _refuse(send: Send, status: int, message: str, *, named: str = "AccessError") -> None:
    body = json.dumps({"error": named, "message": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

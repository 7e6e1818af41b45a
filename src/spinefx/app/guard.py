"""What every request must pass before any route sees it, and what every answer carries."""

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

# Nothing from outside, no inline script; drawings set their styles through the object model, which this allows.
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
# Said twice, the two ends of a proxy may each believe another one.
ONCE = (b"host", b"origin", b"content-length", b"transfer-encoding", b"sec-fetch-site")
# Bytes of an address's query and of all headers.
HEAD = 16_384
# A sender slower than this holds a connection for nothing.
SLOWEST_BYTES_PER_S = 10_000
OWN_PAGE = "A change must come from this server's own page."


@dataclass(frozen=True)
class Limits:
    """How much one request may ask for.

    Parameters
    ----------
    body_bytes : int
        Of a request with JSON.
    upload_bytes : int
        Of a request with files.
    silence_s : float
        Longest pause of a sender, seconds.
    """

    body_bytes: int = 256_000
    upload_bytes: int = 2_000_000_000
    silence_s: float = 30.0


class Guard:
    """Check host, origin and size of each request; seal each answer with headers.

    Parameters
    ----------
    application : callable
        ASGI application behind the guard.
    hosts : frozenset of str
        Names under which the server may be addressed: an attacker's name that resolves to this machine is refused.
    limits : Limits
    upload_paths : tuple of str
        Where files may be sent to.
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
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the asker gets a 403
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
            # Here, inside the seal: the framework's own error page would go out without the headers, and its
            # trace would repeat what was asked. What went wrong is told by type and place alone.
            _tell(error)
            if not begun:
                words = f"Internal error ({type(error).__name__}). Nothing was stored by this request."
                await _refuse(_sealed(send, scope), 500, words, named="InternalError")

    def _most(self, scope: MutableMapping[str, Any]) -> int:
        is_upload = str(scope["path"]).startswith(self.upload_paths) if self.upload_paths else False
        return self.limits.upload_bytes if is_upload else self.limits.body_bytes

    def _objection(self, scope: MutableMapping[str, Any]) -> tuple[int, str] | None:
        names = [name for name, _ in scope["headers"]]
        if any(names.count(name) > 1 for name in ONCE) or {b"content-length", b"transfer-encoding"} <= {*names}:
            return 400, "The request contradicts itself."
        if len(scope.get("query_string", b"")) + sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD:
            return 431, "The request's head is larger than is allowed."
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "").lower()
        parts = HOST.fullmatch(host)
        if parts is None or parts[1].strip("[]") not in self.hosts:
            return 421, "This server does not answer under that host name."
        length = headers.get("content-length", "0")
        # Digits alone, and few: others say numbers to Python, or none that it reads in time.
        if not re.fullmatch(r"[0-9]{1,18}", length) or int(length) > self._most(scope):
            return 413, "The request is larger than is allowed."
        site = headers.get("sec-fetch-site", "same-origin")
        if scope["method"] in SAFE:
            # A foreign page cannot read an answer, but what is asked for may be logged as seen.
            is_foreign = str(scope["path"]).startswith("/api/") and site not in {"same-origin", "none"}
            return (403, "This may be asked for by this server's own page alone.") if is_foreign else None
        if headers.get("origin", "") not in {f"http://{host}", f"https://{host}"} or site != "same-origin":
            return 403, OWN_PAGE
        return None


class _TooMuch(HTTPException):
    """Of the framework's own kind: whoever parses a body lets it pass, where another error became a plain 400."""


class _Counted:
    """Count what comes in: a length header may lie, and a sender may fall silent or send a byte now and then."""

    def __init__(self, receive: Receive, most: int, silence_s: float) -> None:
        self.receive, self.most, self.silence_s, self.seen, self.is_whole = receive, most, silence_s, 0, False
        self.begun_s: float | None = None

    async def __call__(self) -> Message:
        if self.is_whole:
            return await self.receive()  # waits for the end of the connection, however long that takes
        now_s = asyncio.get_running_loop().time()
        self.begun_s = now_s if self.begun_s is None else self.begun_s
        left_s = self.begun_s + self.silence_s + self.seen / SLOWEST_BYTES_PER_S - now_s
        try:
            message = await asyncio.wait_for(self.receive(), min(left_s, self.silence_s))
        except TimeoutError:
            raise _TooMuch(408, "The request did not arrive whole in time.") from None
        if message["type"] == "http.request":
            self.seen += len(message.get("body", b""))
            self.is_whole = not message.get("more_body", False)
        if self.seen > self.most:
            raise _TooMuch(413, "The request is larger than is allowed.")
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


def _tell(error: Exception) -> None:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_name}, line {place.tb_lineno}" if place is not None else "nowhere"
    logging.getLogger(__name__).error("internal error: %s in %s", type(error).__name__, where)


async def _refuse(send: Send, status: int, words: str, *, named: str = "AccessError") -> None:
    body = json.dumps({"error": named, "message": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

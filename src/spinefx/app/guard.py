"""What every request must pass before any route sees it, and what every answer carries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Guard", "Limits"]

from dataclasses import dataclass

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

    body_bytes: int = 1_000_000
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
        self.application, self.hosts, self.limits, self.upload_paths = application, hosts, limits, upload_paths

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
            return  # no web sockets here
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
        except _TooMuch as refusal:
            if not begun:
                await _refuse(_sealed(send, scope), refusal.status, refusal.words)

    def _most(self, scope: MutableMapping[str, Any]) -> int:
        is_upload = str(scope["path"]).startswith(self.upload_paths) if self.upload_paths else False
        return self.limits.upload_bytes if is_upload else self.limits.body_bytes

    def _objection(self, scope: MutableMapping[str, Any]) -> tuple[int, str] | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if urlsplit(f"//{host}").hostname not in self.hosts:
            return 421, "This server does not answer under that host name."
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._most(scope):
            return 413, "The request is larger than is allowed."
        if scope["method"] in SAFE:
            return None
        origin = headers.get("origin")
        if origin is None or urlsplit(origin).netloc != host:
            return 403, "A change must come from this server's own page."
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return 403, "A change must come from this server's own page."
        return None


class _TooMuch(Exception):
    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


class _Counted:
    """Count what comes in: a length header may lie, and a sender may fall silent."""

    def __init__(self, receive: Receive, most: int, silence_s: float) -> None:
        self.receive, self.most, self.silence_s, self.seen, self.is_whole = receive, most, silence_s, 0, False

    async def __call__(self) -> Message:
        if self.is_whole:
            return await self.receive()  # waits for the end of the connection, however long that takes
        try:
            message = await asyncio.wait_for(self.receive(), self.silence_s)
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


async def _refuse(send: Send, status: int, words: str) -> None:
    body = json.dumps({"error": "AccessError", "message": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

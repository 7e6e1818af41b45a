"""What no request may do, whatever its route (docs/threats.md, S6, S10 and S12)."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from spinefx.app.guard import Guard, Limits


def asked(path: str = "/", **headers: str) -> dict[str, Any]:
    pairs = {"host": "127.0.0.1:8765"} | {name.replace("_", "-"): value for name, value in headers.items()}
    method = headers.pop("method", "GET")
    pairs.pop("method", None)
    encoded = [(name.encode(), value.encode()) for name, value in pairs.items()]
    return {"type": "http", "method": method, "path": path, "headers": encoded}


def answer_to(scope: dict[str, Any], *bodies: bytes, limits: Limits | None = None, silent: bool = False) -> int:
    """Return the status of a guarded application that reads the whole body."""
    sent: list[Any] = []
    waiting = [
        {"type": "http.request", "body": body, "more_body": silent or number + 1 < len(bodies)}
        for number, body in enumerate(bodies or (b"",))
    ]

    async def application(_: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    async def receive() -> Any:
        if waiting:
            return waiting.pop(0)
        await asyncio.sleep(60)
        raise AssertionError("nobody waits that long")

    async def send(message: Any) -> None:
        sent.append(message)

    guard = Guard(
        application,
        hosts=frozenset({"127.0.0.1", "localhost"}),
        limits=limits or Limits(),
        upload_paths=("/api/decide/studies",),
    )
    # In a thread of its own: after a browser test, Playwright's event loop still runs in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(guard(scope, receive, send))).result()
    return int(sent[0]["status"])


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8765", "", "localhost.evil.example"])
def test_another_host_name_is_refused_so_that_rebinding_fails(host: str) -> None:
    assert answer_to(asked(host=host)) == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8765", "localhost:1"])
def test_the_names_of_this_machine_are_accepted(host: str) -> None:
    assert answer_to(asked(host=host)) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1:8765", "sec_fetch_site": "cross-site"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_change_from_another_page_is_refused(method: str, headers: dict[str, str]) -> None:
    assert answer_to(asked(method=method, **headers)) == 403


def test_a_change_from_the_servers_own_page_passes() -> None:
    assert answer_to(asked(method="POST", origin="http://127.0.0.1:8765")) == 200


def test_a_body_declared_too_large_is_refused_unread() -> None:
    assert answer_to(asked(method="POST", origin="http://127.0.0.1:8765", content_length="4000000000")) == 413
    assert answer_to(asked(method="POST", origin="http://127.0.0.1:8765", content_length="-1")) == 413
    assert answer_to(asked(method="POST", origin="http://127.0.0.1:8765", content_length="12abc")) == 413


def test_a_body_that_lies_about_its_length_is_cut_off() -> None:
    scope = asked(method="POST", origin="http://127.0.0.1:8765", content_length="10")
    assert answer_to(scope, b"x" * 600, b"x" * 600, limits=Limits(body_bytes=1000)) == 413


def test_uploads_may_be_larger() -> None:
    limits = Limits(body_bytes=10, upload_bytes=5000)
    headers = {"method": "POST", "origin": "http://127.0.0.1:8765", "content_length": "4000"}
    assert answer_to(asked("/api/decide/studies", **headers), b"x" * 4000, limits=limits) == 200
    assert answer_to(asked("/api/other", **headers), b"x" * 4000, limits=limits) == 413


def test_a_silent_sender_is_cut_off() -> None:
    scope = asked(method="POST", origin="http://127.0.0.1:8765")
    assert answer_to(scope, b"x", limits=Limits(silence_s=0.05), silent=True) == 408


def test_every_response_carries_the_content_policy(client_of: Any, study: Path) -> None:
    client = client_of(study)
    for path in ("/", "/api/me", "/api/nowhere", "/assets/nothing.js", "/annotate/%3Cscript%3E"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
    assert client.get("/api/me").headers["cache-control"] == "no-store"

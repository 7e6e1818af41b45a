"""Who may do what: every route names the role that it requires, and no route is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from spinefx.app.access import add_user, users
from spinefx.app.users import Role, User, new_token, token_digest, token_matches
from spinefx.errors import AccessError, TableError
from spinefx.reader_study.log import Log

OPEN = {("POST", "/api/enter"), ("POST", "/api/leave"), ("GET", "/{path:path}")}
ANY_ROLE = {("GET", "/api/me"), ("GET", "/api/images/{name}/slices/{index}"), ("GET", "/api/openapi.json")}


def role_of(route: APIRoute) -> Role | None:
    found = [getattr(one.call, "role", None) for one in route.dependant.dependencies]
    roles = [role for role in found if role is not None]
    assert len(roles) <= 1, "at most one role per route"
    return roles[0] if roles else None


def routes_of(app: Any) -> Iterator[tuple[str, str, APIRoute]]:
    for route in app.routes:
        if isinstance(route, APIRoute):
            for method in route.methods:
                yield method, route.path, route


def filled(path: str) -> str:
    for name, value in {"participant_id": "sub-001", "name": "nothing", "index": "0"}.items():
        path = path.replace("{" + name + "}", value)
    return path.replace("{", "").replace("}", "")


def let_in(client: TestClient, code: str, *roles: Role) -> TestClient:
    """Add a user, and sign them in with a client of their own."""
    token = new_token()
    add_user(client.app.state.server.log, User(code, frozenset(roles)), token_digest(token), by="test")  # type: ignore[attr-defined]
    own = TestClient(client.app, base_url="http://127.0.0.1:8765")
    own.headers["origin"] = "http://127.0.0.1:8765"
    assert own.post("/api/enter", json={"token": token}).status_code == 200
    return own


def test_every_route_names_who_may_use_it(client_of: Callable[..., TestClient], study: Path) -> None:
    named = list(routes_of(client_of(study).app))
    assert len(named) > 8
    for method, path, route in named:
        if (method, path) not in OPEN | ANY_ROLE:
            assert role_of(route) is not None, f"{method} {path} has no role"


@pytest.mark.parametrize("role", Role)
def test_the_matrix_of_roles_and_routes(client_of: Callable[..., TestClient], study: Path, role: Role) -> None:
    client = client_of(study)
    user = let_in(client, "P1", role)
    stranger = TestClient(client.app, base_url="http://127.0.0.1:8765", headers={"origin": "http://127.0.0.1:8765"})
    for method, path, route in routes_of(client.app):
        if (method, path) in OPEN:
            continue
        assert stranger.request(method, filled(path), json={}).status_code == 401, f"{method} {path} requires no token"
        needed = role_of(route)
        answer = user.request(method, filled(path), json={})
        words = answer.json().get("message", "") if answer.status_code == 403 else ""
        assert (f"P1 does not have the role {needed}" in words) == (needed is not None and needed != role), (
            f"{method} {path}"
        )


def test_a_wrong_token_is_refused_logged_and_slowed(client_of: Callable[..., TestClient], study: Path) -> None:
    client = client_of(study)
    let_in(client, "P1", Role.READER)
    statuses = [client.post("/api/enter", json={"token": f"guess{number}"}) for number in range(25)]
    assert {one.status_code for one in statuses} == {403}
    assert "Too many" in statuses[-1].json()["message"]
    log: Log = client.app.state.server.log  # type: ignore[attr-defined]
    assert len(log.entries(kind="entrance.refused")) <= 20
    assert "guess" not in str([entry.to_json() for entry in log.entries()])


def test_signing_in_makes_a_new_secret_and_signing_out_ends_it(
    client_of: Callable[..., TestClient], study: Path
) -> None:
    client = client_of(study)
    user = let_in(client, "P1", Role.READER)
    secret = user.cookies["spinefx"]
    assert user.get("/api/me").json()["code"] == "P1"
    planted = TestClient(client.app, base_url="http://127.0.0.1:8765", cookies={"spinefx": "planted"})
    assert planted.get("/api/me").status_code == 401
    assert user.post("/api/leave").status_code == 200
    user.cookies.set("spinefx", secret)
    assert user.get("/api/me").status_code == 401


def test_another_page_cannot_sign_anybody_out(client_of: Callable[..., TestClient], study: Path) -> None:
    client = client_of(study)
    user, other = let_in(client, "P1", Role.READER), let_in(client, "P2", Role.READER)
    for origin in ("http://evil.example", "null", ""):
        assert user.post("/api/leave", headers={"origin": origin}).status_code == 403
    assert user.get("/api/leave").status_code == 403
    assert user.get("/api/me").json() | {"version": ""} == {
        "code": "P1",
        "roles": ["reader"],
        "signed_in": True,
        "workspace": "study",
        "phantom": True,
        "version": "",
        "notice": "Research use only, not a medical device.",
    }
    assert user.post("/api/leave").status_code == 200
    assert other.get("/api/me").json()["code"] == "P2", "each browser by itself"


def test_signing_out_is_part_of_the_described_api(client_of: Callable[..., TestClient], study: Path) -> None:
    paths = client_of(study).get("/api/openapi.json").json()["paths"]
    assert list(paths["/api/leave"]) == ["post"]
    assert "cookie" in paths["/api/leave"]["post"]["description"]


def test_scripts_cannot_read_the_cookie_and_other_sites_cannot_send_it(
    client_of: Callable[..., TestClient], study: Path
) -> None:
    client = client_of(study, is_secure=True)
    token = new_token()
    add_user(client.app.state.server.log, User("P1", frozenset(Role)), token_digest(token), by="test")  # type: ignore[attr-defined]
    cookie = client.post("/api/enter", json={"token": token}).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" in cookie


def test_unknown_fields_are_refused(client_of: Callable[..., TestClient], study: Path) -> None:
    client = client_of(study)
    answer = client.post("/api/enter", json={"token": "x", "roles": ["editor"]})
    assert answer.status_code == 422
    assert "editor" not in answer.text


def test_tokens_are_kept_as_digests_only(tmp_path: Path) -> None:
    log = Log.beside(tmp_path / "log.sqlite")
    token = new_token()
    add_user(log, User("P1", frozenset({Role.READER})), token_digest(token), by="test")
    user, digest = users(log)["P1"]
    log.close()
    assert user.roles == {Role.READER}
    assert token_matches(token, digest)
    assert not token_matches(token + "x", digest)
    assert token.encode() not in (tmp_path / "log.sqlite").read_bytes()


def test_codes_must_be_plain_and_roles_are_checked() -> None:
    with pytest.raises(TableError, match="code"):
        User("Dr. Who <script>", frozenset())
    with pytest.raises(AccessError, match="R1 does not have the role editor"):
        User("R1", frozenset({Role.READER})).refuse_unless(Role.EDITOR)

"""Attacks on the routes themselves (docs/threats.md, S7, S10, S12, S14 and S16), and random requests."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from pydantic import BaseModel
from starlette.routing import Mount, Route
from starlette.websockets import WebSocketDisconnect

import spinefx.app.access as access_module
import spinefx.app.state as state_module
from spinefx.app.access import invite
from spinefx.app.imagery import Imagery
from spinefx.app.state import ADDRESSES, ATTEMPTS, ServerState, ServeSettings
from spinefx.app.users import Role, User
from spinefx.errors import AccessError, TableError
from spinefx.imaging.nifti import read_nifti
from spinefx.tables.rows import read_table
from spinefx.tables.writing import tsv_text
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions

from .test_access import OPEN, let_in, role_of, routes_of

HOME = "http://127.0.0.1:8765"
CHANGES = {"POST", "PUT", "DELETE", "PATCH"}


def stranger(client: TestClient, **headers: str) -> TestClient:
    return TestClient(client.app, base_url=HOME, headers={"origin": HOME, **headers}, follow_redirects=False)


# --- roles and routes (S10, S16) ---


def test_no_route_is_missing_from_the_matrix(client_of: Callable[..., TestClient], study: Path) -> None:
    others = [route for route in client_of(study).app.routes if not isinstance(route, APIRoute)]  # type: ignore[attr-defined]
    assert {route.path for route in others if isinstance(route, Mount | Route)} == {"/assets"}
    assert len(others) == 1


@pytest.mark.parametrize(
    "shared", [{"is_shared": True}, {"is_secure": True}, {"hosts": {"127.0.0.1", "spine.example"}}]
)
@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost", "spine.example"])
def test_a_shared_server_requires_a_token_under_every_host_name(
    client_of: Callable[..., TestClient], study: Path, shared: dict[str, Any], host: str
) -> None:
    client = client_of(study, **shared)
    for method, path, _ in routes_of(client.app):
        if (method, path) not in OPEN:
            asked = client.request(method, path, json={}, headers={"host": host, "origin": f"http://{host}"})
            assert asked.status_code in {401, 421}, f"{method} {path} for {host}"


def test_a_new_token_or_role_replaces_the_old_one_at_once(client_of: Callable[..., TestClient], study: Path) -> None:
    client = client_of(study)
    user = let_in(client, "P1", Role.EDITOR, Role.ANNOTATOR)
    assert user.get("/api/annotate/worklist").status_code == 200
    again = let_in(client, "P1", Role.READER)
    assert user.get("/api/annotate/worklist").status_code == 401
    assert again.get("/api/me").json()["roles"] == ["reader"]


def test_a_user_without_requests_for_half_a_day_is_signed_out(
    client_of: Callable[..., TestClient], study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(access_module.time, "monotonic", lambda: clock[0])
    user = let_in(client_of(study), "P1", Role.READER)
    for _ in range(5):
        clock[0] += access_module.IDLE_S - 1
        assert user.get("/api/me").status_code == 200
    clock[0] += access_module.IDLE_S + 1
    assert user.get("/api/me").status_code == 401


def test_the_number_of_browsers_per_user_is_limited(client_of: Callable[..., TestClient], study: Path) -> None:
    client = client_of(study, is_shared=True)
    token = invite(study, "P1", ["reader"])
    secrets = []
    for _ in range(access_module.BROWSERS + 15):
        secrets.append(stranger(client).post("/api/enter", json={"token": token}).cookies["spinefx"])
    answers = [stranger(client, cookie=f"spinefx={secret}").get("/api/me").status_code for secret in secrets]
    assert answers == [401] * 15 + [200] * access_module.BROWSERS
    assert len(set(secrets)) == len(secrets)


def test_a_planted_cookie_is_not_adopted(client_of: Callable[..., TestClient], study: Path) -> None:
    client = client_of(study, is_shared=True)
    token = invite(study, "P1", ["reader"])
    entered = stranger(client, cookie="spinefx=planted").post("/api/enter", json={"token": token})
    assert entered.cookies["spinefx"] != "planted"
    assert stranger(client, cookie="spinefx=planted").get("/api/me").status_code == 401


def test_there_is_no_default_token(client_of: Callable[..., TestClient], study: Path) -> None:
    client = client_of(study, is_shared=True)
    for guess in ("admin", "spinefx", "local", "password", "None", " ", "0" * 43):
        assert stranger(client).post("/api/enter", json={"token": guess}).status_code == 403


def test_attempts_are_limited_and_their_table_stays_small(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(state_module.time, "monotonic", lambda: clock[0])
    state = ServerState(ServeSettings(study))
    refused = 0
    for _ in range(10_000):
        try:
            state.slow_down("10.0.0.1")
        except AccessError:
            refused += 1
    assert refused == 10_000 - ATTEMPTS
    assert len(state._attempts["10.0.0.1"]) == ATTEMPTS
    clock[0] += 61
    state.slow_down("10.0.0.1")  # after a minute one may try again, however long the attack lasted
    for number in range(10_000):
        state.slow_down(f"10.1.{number // 256}.{number % 256}")
    assert len(state._attempts) == ADDRESSES
    state.log.close()


def test_many_readers_behind_one_proxy_can_all_sign_in(client_of: Callable[..., TestClient], study: Path) -> None:
    client = client_of(study, is_shared=True)
    for number in range(ATTEMPTS + 5):
        token = invite(study, f"R{number}", ["reader"])
        assert stranger(client).post("/api/enter", json={"token": token}).status_code == 200


def test_a_code_that_a_table_would_read_as_empty_is_refused() -> None:
    for code in ("na", "NA", "nan", "NaN"):
        with pytest.raises(TableError, match="code"):
            User(code, frozenset())


# --- requests that are not what they seem (S10) ---


def test_a_route_answers_to_its_own_methods_only(client_of: Callable[..., TestClient], study: Path) -> None:
    client = client_of(study)
    before = snapshot(study)
    allowed: dict[str, set[str]] = {}
    for method, path, _ in routes_of(client.app):
        allowed.setdefault(path, set()).add(method)
    override = {"x-http-method-override": "DELETE", "x-method-override": "DELETE", "x-http-method": "DELETE"}
    for path, methods in allowed.items():
        for method in {"HEAD", "OPTIONS", "TRACE", "PROPFIND", "GET", *CHANGES} - methods:
            if method == "GET" and path.startswith("/api/"):
                continue  # the route of all pages, checked below
            answer = client.request(method, path, json={})
            assert answer.status_code in {405, 404}, f"{method} {path}: {answer.status_code}"
            assert "access-control-allow-origin" not in answer.headers
        client.request("GET", f"{path}?_method=DELETE", headers=override)
    assert snapshot(study) == before


def test_another_site_gets_no_permission_and_leaves_no_trace(client_of: Callable[..., TestClient], study: Path) -> None:
    client = client_of(study)
    log = client.app.state.server.log  # type: ignore[attr-defined]
    asks = {"origin": "http://evil.example", "access-control-request-method": "DELETE"}
    preflight = client.options("/api/annotate/sub-001/lesion", headers=asks)
    assert not [name for name in preflight.headers if name.startswith("access-control")]
    for site in ("cross-site", "same-site"):
        for path in ("/api/annotate/sub-001/others", "/api/me", "/api/openapi.json"):
            assert client.get(path, headers={"sec-fetch-site": site}).status_code == 403
    assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200
    assert log.entries(kind="box.others_shown") == []


def test_a_web_socket_is_closed_before_it_is_accepted(client_of: Callable[..., TestClient], study: Path) -> None:
    with pytest.raises(WebSocketDisconnect) as closed, client_of(study).websocket_connect("/api/me"):
        pass
    assert closed.value.code == 1008


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "/\\evil.example/..",
        "/%5cevil.example",
        "/?next=http://evil.example",
        "/assets",
        "/assets//evil.example",
        "/api/annotate/",
        "/api/me/",
        "/api/enter/",
    ],
)
def test_nothing_redirects(client_of: Callable[..., TestClient], study: Path, path: str) -> None:
    client = stranger(client_of(study))
    for method in ("GET", "POST"):
        answer = client.request(method, path)
        assert answer.status_code not in range(300, 400)
        assert "location" not in answer.headers


def test_no_path_leads_out_of_the_pages_folder(client_of: Callable[..., TestClient], study: Path) -> None:
    client = client_of(study)
    front = client.get("/").content
    secret = (study / "participants.tsv").read_bytes()
    for step in ("..", "%2e%2e", "..%2f..", "%2e%2e%2f", "..%5c", "....//", "..;", "%00", "%c0%ae%c0%ae"):
        for depth in range(1, 9, 3):
            for start in ("/assets/", "/", "/api/images/"):
                for target in ("participants.tsv", "etc/passwd", "server.py"):
                    answer = client.get(start + f"{step}/" * depth + target)
                    is_page = answer.content == front
                    assert is_page or answer.status_code in {403, 404, 405, 422}, answer.url
                    assert secret not in answer.content
    # An absolute path, which would name the file itself if it were simply joined.
    assert client.get(f"/assets/{study}/participants.tsv").status_code == 404


def models_in(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from models_in(kind)


def bodies(app: Any) -> dict[tuple[str, str], type[BaseModel]]:
    found = {}
    for method, path, route in routes_of(app):
        kind = route.body_field.field_info.annotation if route.body_field else None
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found[method, path] = kind
    return found


def test_no_request_model_accepts_unknown_fields(client_of: Callable[..., TestClient], study: Path) -> None:
    found = bodies(client_of(study).app)
    assert len(found) >= 6
    for where, body in found.items():
        for model in models_in(body):
            assert model.model_config.get("extra") == "forbid", f"{where}: {model.__name__}"


# --- what is kept in memory, what is revealed (S12, S14) ---


def test_one_user_can_neither_fill_the_memory_nor_drop_anothers_images(study: Path) -> None:
    volume = read_nifti(Workspace.open(study).image("sub-001", "T2w"))
    imagery = Imagery(names=12)
    mine = imagery.hand_out("mine", volume)
    names = [imagery.hand_out("flood", volume) for _ in range(2000)]
    assert imagery.shown(mine, "mine").volume is volume
    assert len(imagery._names) == 13
    assert imagery.shown(names[-1], "flood").volume is volume
    with pytest.raises(AccessError):
        imagery.shown(names[0], "flood")


def test_training_series_are_bounded(client_of: Callable[..., TestClient], study: Path) -> None:
    client = client_of(study)
    reader = client.get("/api/teach").json()["readers"][0]
    numbers = [client.post("/api/teach/series", json={"reader": reader, "cases": 2}).json() for _ in range(25)]
    states = [client.get(f"/api/teach/series/{one['series']}/0").status_code for one in numbers]
    assert states == [403] * 5 + [200] * 20


def test_the_text_of_a_url_never_reaches_the_log(client_of: Callable[..., TestClient], study: Path) -> None:
    client = client_of(study)
    for words in ("DOE^JANE", "sub-999", "%3Cscript%3E", "=1+1", "sub-001%00"):
        for path in ("", "/others"):
            answer = client.get(f"/api/annotate/{words}{path}")
            assert answer.status_code in {403, 404, 409, 422}
            assert "DOE" not in answer.text
            assert str(study) not in answer.text
    log = client.app.state.server.log  # type: ignore[attr-defined]
    assert log.entries() == []


def test_an_internal_error_carries_the_headers_and_reveals_nothing(
    client_of: Callable[..., TestClient], study: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(study)

    def broken(name: str) -> None:
        raise KeyError(f"DOE^JANE {name}")

    client.app.add_api_route("/api/broken/{name}", broken)  # type: ignore[attr-defined]
    client.app.router.routes.insert(0, client.app.router.routes.pop())  # type: ignore[attr-defined]
    with caplog.at_level(logging.DEBUG):
        answer = client.get("/api/broken/PLANTED")
    assert answer.status_code == 500
    assert answer.json()["error"] == "InternalError"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "KeyError in broken" in caplog.text
    assert not any(word in caplog.text.replace("/api/broken/PLANTED", "") + answer.text for word in ("DOE", "PLANTED"))


# --- tables (S7) ---

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "  =1", "-", "=", "-1e"]


@pytest.mark.parametrize("cell", FORMULAS)
def test_no_written_text_is_a_formula_and_reading_restores_it(tmp_path: Path, cell: str) -> None:
    text = tsv_text("t.tsv", ("id", "words"), [("a", cell)])
    assert text.splitlines()[1].split("\t")[1].startswith("'")
    (tmp_path / "t.tsv").write_text(text, encoding="utf-8")
    (row,) = read_table(tmp_path / "t.tsv", required=("id", "words")).rows
    assert row.text("words") == cell.strip()


@given(some.one_of(some.floats(allow_nan=False, allow_infinity=False), some.integers()))
def test_numbers_stay_numbers(number: float) -> None:
    for cell in (number, str(number), np.float64(number)):
        written = tsv_text("t.tsv", ("n",), [(cell,)]).splitlines()[1]
        assert math.isclose(float(written), number, abs_tol=1e-6)


@given(some.text(some.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
def test_any_text_stays_in_its_cell(tmp_path_factory: pytest.TempPathFactory, words: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tsv"
    path.write_text(tsv_text("any.tsv", ("id", "words", "end"), [("a", words, "z"), ("b", "x", "z")]), encoding="utf-8")
    table = read_table(path, required=("id", "words", "end"))
    assert [(row.text("id"), row.text("end")) for row in table.rows] == [("a", "z"), ("b", "z")]
    assert table.rows[0].text("words")[:1] != "\t"


# --- random requests ---

HOSTILE = [
    "",
    "n/a",
    "sub-001",
    "sub-002",
    "none",
    "benign",
    "L1",
    "y",
    "=1+1",
    "<script>",
    "\0",
    "\ud800",
    "../..",
    "x" * 300,
]
SCALARS = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(-(10**400), 10**400),
    some.sampled_from([0, 1, 3, 7, 40, 10**18, -1, 1e308, -1e308, 5e-324, 10**400]),
    some.floats(-200, 200),
    some.sampled_from(HOSTILE),
    some.text(max_size=12),
)
JSON = some.recursive(
    SCALARS,
    lambda inner: some.one_of(
        some.lists(inner, max_size=4), some.dictionaries(some.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


def like(kind: Any) -> some.SearchStrategy[Any]:
    """Draw something like what a field takes: half of the time a value of its type, otherwise anything."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = {name: like(field.annotation) for name, field in kind.model_fields.items()}
        return some.one_of(some.fixed_dictionaries(fields), JSON)
    arguments = getattr(kind, "__args__", ())
    if arguments and getattr(kind, "__origin__", None) is tuple:
        return some.one_of(some.tuples(*(like(one) for one in arguments if one is not ...)).map(list), JSON)
    if kind is int:
        return some.one_of(some.integers(-2, 20), SCALARS)
    if kind is float:
        return some.one_of(some.floats(-100, 100), SCALARS)
    return SCALARS


def snapshot(study: Path) -> dict[str, bytes]:
    """Return the content of every table of a workspace; the log does not count."""
    files = [path for path in study.rglob("*") if path.is_file() and not path.name.startswith("log.sqlite")]
    kept = [path for path in files if path.suffix not in {".gz", ".lock"}]
    return {str(path.relative_to(study)): path.read_bytes() for path in kept}


PARTS = [
    "sub-001",
    "sub-002",
    "sub-999",
    "0",
    "1",
    "-1",
    "9" * 30,
    "none",
    "%00",
    "..",
    "=1",
    "%3Cb%3E",
    "phantom_truth",
]


@pytest.mark.parametrize("role", Role)
def test_random_requests_break_nothing(client_of: Callable[..., TestClient], study: Path, role: Role) -> None:
    client = client_of(study)
    user = let_in(client, "P1", role)
    routes = [one for one in routes_of(client.app) if one[0] in CHANGES and one[1] != "/api/leave"]
    own = [one for one in routes if role_of(one[2]) == role]
    kinds = bodies(client.app)
    kept = {"tables": snapshot(study)}
    seen: set[int] = set()

    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(some.data())
    def attack(data: Any) -> None:
        # Mostly routes that the role may use: the others are refused at once.
        method, path, _ = data.draw(some.sampled_from(own * 3 + routes))
        for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
            path = path.replace("{" + name + "}", data.draw(some.sampled_from(PARTS)))
        kind = kinds.get((method, _template(routes, path)))
        body = data.draw(like(kind) if kind else JSON)
        sent = json_bytes(body)
        answer = user.request(method, path, content=sent, headers={"content-type": "application/json"})
        seen.add(answer.status_code)
        assert answer.status_code < 500, f"{method} {path} {sent[:300]!r}: {answer.text}"
        if answer.status_code in range(200, 300):
            kept["tables"] = snapshot(study)
        assert snapshot(study) == kept["tables"], f"{method} {path} was refused and changed a table"

    attack()
    assert 422 in seen
    read_lesions(Workspace.open(study))
    assert user.get("/api/me").status_code == 200


def _template(routes: list[tuple[str, str, APIRoute]], path: str) -> str:
    return next((pattern for _, pattern, route in routes if route.path_regex.match(path)), path)


def leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a JSON value: its container, and its key."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(inner, dict | list):
            yield from leaves(inner)


EXTREMES = [
    None,
    True,
    [],
    {},
    "",
    "x",
    -1,
    0,
    10**18,
    10**400,
    1e308,
    -1e308,
    5e-324,
    float("nan"),
    float("inf"),
    "\0",
]


def test_one_extreme_value_in_a_valid_request_breaks_nothing(client_of: Callable[..., TestClient], study: Path) -> None:
    client = client_of(study)
    lesion = read_lesions(Workspace.open(study))[0].lesion
    box = {"centre_mm": list(lesion.box.centre_mm), "side_mm": lesion.box.side_mm}
    good: dict[str, Any] = {
        "box": box,
        "first_slice": lesion.first_slice,
        "last_slice": lesion.last_slice,
        "level": "L1",
        "revision": "none",
    }
    before = snapshot(study)
    refused = 0
    for method, path, body in (("PUT", "lesion", good), ("POST", "alignment", box)):
        for holder, key in list(leaves(body)):
            kept = holder[key]
            for extreme in EXTREMES:
                holder[key] = extreme
                answer = client.request(method, f"/api/annotate/sub-001/{path}", content=json_bytes(body))
                assert answer.status_code < 500, f"{method} {key} = {extreme!r}"
                if method == "PUT" and answer.status_code == 200:
                    stored = answer.json()["revision"]
                    assert client.request("DELETE", answer.url.path, json={"revision": stored}).status_code == 200
                refused += answer.status_code != 200
                assert snapshot(study) == before
            holder[key] = kept
    assert refused > 100


def json_bytes(body: Any) -> bytes:
    return json.dumps(body).encode("utf-8", "surrogatepass")

"""The contracts between server and pages: every route has one, and the pages' types are made from the present ones."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import Response
from fastapi.testclient import TestClient
from pydantic import BaseModel

from spinefx.app.contracts.base import RequestBody, ResponseBody
from spinefx.app.openapi import api_description

from .test_access import routes_of
from .test_attacks import models_in

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"
# These return no JSON of ours: the pages themselves, and the description of the API.
UNTYPED = {"/{path:path}", "/api/openapi.json"}


def test_the_committed_description_of_the_api_is_fresh() -> None:
    committed = (WEB / "openapi.json").read_text(encoding="utf-8")
    assert committed == api_description(), "run: python -m spinefx.app.openapi > web/openapi.json"


def test_every_route_returns_what_its_contract_names(client_of: Callable[..., TestClient], study: Path) -> None:
    for method, path, route in routes_of(client_of(study).app):
        if path in UNTYPED:
            continue
        where = f"{method} {path}"
        if route.response_field is None:
            assert isinstance(route.response_class, type), where
            assert issubclass(route.response_class, Response), where
            assert route.response_class.media_type, f"{where} names no media type"
            continue
        annotation = route.response_field.field_info.annotation
        kinds = [annotation] if isinstance(annotation, type) else annotation.__args__
        for kind in kinds:
            assert all(issubclass(model, ResponseBody | RequestBody) for model in models_in(kind)), where


def test_no_response_takes_a_field_that_its_contract_does_not_name() -> None:
    kinds: list[type[BaseModel]] = [*ResponseBody.__subclasses__(), *RequestBody.__subclasses__()]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        assert kind.model_config.get("extra") == "forbid", kind.__name__


def test_a_contract_shares_its_name_with_no_other_class() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "src" / "spinefx").rglob("*.py")]
    names = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    schemas = json.loads(api_description())["components"]["schemas"]
    assert len(schemas) > 50
    assert {name: names[name] for name in schemas if names[name] != 1} == {}


@pytest.fixture(scope="module")
def npm() -> str:
    """The program npm, with the packages of web/ installed; tests that need it skip, visibly, without them."""
    found = shutil.which("npm")
    if found is None:
        pytest.skip("npm is not installed")
    if not (WEB / "node_modules" / "vitest").is_dir():
        pytest.skip("the packages of web/ are not installed: run `npm ci --ignore-scripts` there")
    return found


@pytest.mark.parametrize(
    "script", [pytest.param("check", id="types agree"), pytest.param("logic", id="logic holds without a browser")]
)
def test_the_pages(npm: str, script: str) -> None:
    done = subprocess.run([npm, "run", script], cwd=WEB, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]

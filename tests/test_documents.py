"""JSON and TOML are read within limits: whatever a document holds, it is read or refused by name, and quickly."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.commands.audit import read_claims
from spinefx.documents import check_keys, parse_json, parse_toml, read_json, read_toml
from spinefx.errors import DesignError, ModelError, RecipeError, SpinefxError, TableError, WorkspaceError
from spinefx.learning.card import read_json_object
from spinefx.learning.recipe import Recipe
from spinefx.reader_study.design import StudyDesign
from spinefx.workspace.layout import read_json as read_workspace_json

HOSTILE_JSON = {
    "deep lists": "[" * 100_000 + "]" * 100_000,
    "deep objects": '{"a":' * 200 + "1" + "}" * 200,
    "many digits": '{"a": ' + "9" * 5000 + "}",
    "many digits, some behind the point": '{"a": 0.' + "9" * 5000 + "}",
    "too large a number": '{"a": 1e999}',
    "no number": '{"a": NaN}',
    "cut": '{"a": ',
    "no object": "[1]",
    "lone surrogate": '{"a": "\ud800"}',
    "empty": "",
}
HOSTILE_TOML = {
    "deep lists": "a = " + "[" * 5000 + "]" * 5000,
    "deep tables": "[" + ".".join("a" * 1 for _ in range(500)) + "]",
    "many digits": "a = " + "9" * 5000,
    "many digits, some behind the point": "a = 0." + "9" * 5000,
    "too large a number": "a = 1e999",
    "no number": "a = nan",
    "cut": "a = ",
}
JSON_READERS: dict[str, tuple[Callable[[Path], Any], type[SpinefxError]]] = {
    "workspace": (read_workspace_json, WorkspaceError),
    "model": (lambda path: read_json_object(path, remedy=""), ModelError),
    "claims": (read_claims, TableError),
}
TOML_READERS: dict[str, tuple[Callable[[Path], Any], type[SpinefxError]]] = {
    "recipe": (Recipe.load, RecipeError),
    "design": (StudyDesign.load, DesignError),
}


@pytest.mark.parametrize("reader", JSON_READERS)
@pytest.mark.parametrize("kind", HOSTILE_JSON)
def test_hostile_json_is_refused_by_name(tmp_path: Path, kind: str, reader: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(HOSTILE_JSON[kind].encode("utf-8", "surrogatepass"))
    read, error = JSON_READERS[reader]
    with pytest.raises(error):
        read(path)


@pytest.mark.parametrize("reader", TOML_READERS)
@pytest.mark.parametrize("kind", HOSTILE_TOML)
def test_hostile_toml_is_refused_by_name(tmp_path: Path, kind: str, reader: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(HOSTILE_TOML[kind], encoding="utf-8")
    read, error = TOML_READERS[reader]
    with pytest.raises(error):
        read(path)


@pytest.mark.parametrize("read", [read_json, read_toml])
def test_only_regular_files_of_bounded_size_are_read(tmp_path: Path, read: Callable[..., dict[str, Any]]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text("a" * 2000)
    for name, message in (
        ("pipe", "regular"),
        ("large", "larger than"),
        ("absent", "cannot be read"),
        (".", "regular"),
    ):
        with pytest.raises(WorkspaceError, match=message):
            read(tmp_path / name, WorkspaceError, most_bytes=1000)


@given(st.text(max_size=60), st.sampled_from(["json", "toml"]))
def test_any_text_is_read_or_refused_by_name(text: str, kind: str) -> None:
    try:
        parse_json(text, TableError, where="x") if kind == "json" else parse_toml(text, TableError, where="x")
    except TableError as error:
        assert str(error).startswith("x: broken")  # noqa: PT017  either way is right


def test_unknown_and_missing_keys_are_named() -> None:
    with pytest.raises(TableError, match=r"unknown key 'sed'; did you mean 'seed'\?"):
        check_keys({"sed": 1}, ("seed", "name"), TableError, where="x")
    with pytest.raises(TableError, match="missing keys: name"):
        check_keys({"seed": 1}, ("seed", "name"), TableError, where="x", needed=("name", "seed"))

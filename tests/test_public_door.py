"""What `spinefx` itself names: all of it is documented, importable alone, and shown at work on one page."""

from __future__ import annotations

import ast
import doctest
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import spinefx

PAGE = Path(__file__).resolve().parents[1] / "docs" / "from-python.md"


def test_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 50
    assert found.failed == 0


@pytest.mark.parametrize("name", spinefx.__all__)
def test_every_public_name_is_documented_and_shown(name: str) -> None:
    named = getattr(spinefx, name)
    assert inspect.getdoc(named)
    assert re.search(rf"\bspinefx\.{name}\b", PAGE.read_text(encoding="utf-8"))


def test_names_types_and_homes_agree() -> None:
    """The lazy homes, what type checkers see, and `__all__` are one list."""
    assert spinefx.__all__ == sorted(spinefx._HOMES)
    assert set(spinefx.__all__) <= set(dir(spinefx))
    seen = {
        alias.name: node.module
        for node in ast.walk(ast.parse(inspect.getsource(spinefx)))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spinefx.")
        for alias in node.names
    }
    assert seen == spinefx._HOMES
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        spinefx.nonsense  # noqa: B018


def test_importing_the_package_loads_no_room() -> None:
    code = "import json, sys, spinefx; print(json.dumps([name for name in sys.modules if name.startswith('spinefx.')]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []

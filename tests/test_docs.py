"""The documentation is true: generated pages are fresh; commands parse; links, columns, files and functions exist."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from cyclopts import App
from rich.console import Console

from spinefx import errors
from spinefx.cli import app
from spinefx.learning.recipe import Recipe
from spinefx.vocabulary import RESEARCH_USE_ONLY, SIGN_IDENTIFIERS
from spinefx.workspace import enrolment

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY"))]
)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands_of(program: App, before: str = "") -> Iterator[str]:
    """Name every command of the shell, those below another by both their words."""
    for name in program:
        if not name.startswith("-"):
            below = list(commands_of(program[name], f"{before}{name} "))
            yield from below or [f"{before}{name}"]


def test_generated_pages_are_fresh(generator: ModuleType) -> None:
    for name, page in generator.PAGES.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == page(), f"run docs/generate.py: {name} is stale"


def test_every_command_and_error_and_field_is_documented(generator: ModuleType) -> None:
    assert set(commands_of(app)) == set(generator.COMMANDS)
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert all(name in page for name, _ in inspect.getmembers(errors, inspect.isclass) if name in errors.__all__)
    recipes = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in recipes for key in Recipe.meanings() if key != "name")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_shown_commands_parse(page: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    for line in "\n".join(blocks).splitlines():
        if line.startswith("spinefx "):
            app.parse_args(shlex.split(line, comments=True)[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} points to {target}"


def test_every_column_of_the_door_is_documented() -> None:
    page = (ROOT / "docs" / "own-cohort.md").read_text(encoding="utf-8")
    for column in (*enrolment.OPTIONAL, *SIGN_IDENTIFIERS):
        assert f"`{column}`" in page, column


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:tests|docs|benchmarks|src|web)/[\w/.-]+)`", text):
        assert (ROOT / name).exists(), f"{page.name} names {name}"
    known = {path.stem for path in (ROOT / "tests").rglob("*.py")}
    tests = re.findall(r"`(?:tests/[\w/]+/)?(test_\w+)\.py`", text)
    if page.name == "web-app-security.md":
        tests += re.findall(r"`(test_\w+)`", text)
    for name in tests:
        assert name in known, f"{page.name} names {name}"


def test_named_functions_exist() -> None:
    page = (ROOT / "docs" / "which-test-when.md").read_text(encoding="utf-8")
    modules = {path.stem for path in (ROOT / "src" / "spinefx" / "statistics").rglob("*.py")}
    names = [name for name in re.findall(r"`([a-z_]+(?:\.\w+)+)`", page) if name.split(".")[-2] in modules]
    assert len(names) > 40
    for name in names:
        module, _, function = name.rpartition(".")
        home = module if module.startswith("spinefx.") else f"spinefx.statistics.{module}"
        assert hasattr(importlib.import_module(home), function), name


def test_cited_rows_of_the_protocol_exist() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    rows = {int(number) for number in re.findall(r'<span id="row-(\d+)"></span>\1\. ', page)}
    assert rows == set(range(1, 26))
    meanings = " ".join(Recipe.meanings().values())
    cited = {int(number) for number in re.findall(r"\(row (\d+)\)", meanings)}
    for path in (ROOT / "src").rglob("*.py"):
        for numbers in re.findall(r"protocol rows? ([\d, to]+(?:and \d+)?)", path.read_text(encoding="utf-8")):
            cited |= {int(number) for number in re.findall(r"\d+", numbers)}
    assert len(cited) > 15
    assert cited <= rows


def test_research_use_is_stated_in_the_docs_and_the_shell() -> None:
    """The tests of the report and of the web app check their pages."""
    sentence = RESEARCH_USE_ONLY.removesuffix(".")
    for page in ("README.md", "docs/index.md"):
        assert sentence in (ROOT / page).read_text(encoding="utf-8"), page
    text = io.StringIO()
    with contextlib.suppress(SystemExit):
        app(["--help"], console=Console(file=text, width=110, no_color=True, force_terminal=False))
    assert RESEARCH_USE_ONLY in " ".join(text.getvalue().split())


def test_research_use_has_one_source() -> None:
    source = ROOT / "src" / "spinefx"
    files = [path for path in source.rglob("*") if path.suffix in {".py", ".html"} and "pages" not in path.parts]
    stating = [path.name for path in files if "not a medical device" in path.read_text(encoding="utf-8").lower()]
    assert stating == ["vocabulary.py"]

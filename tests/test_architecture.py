"""The house rules, each one a test."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "spinefx"
MODULES = sorted(SOURCE.rglob("*.py"))
# Lower lines may import higher ones, never the other way round.
ORDER = (
    ("errors", "vocabulary"),
    ("documents", "files", "processes"),
    ("tables",),
    ("imaging",),
    ("cases",),
    ("phantom",),
    ("learning",),
    ("localisation",),
    ("statistics",),
    ("signs",),
    ("report",),
    ("workspace",),
    ("reader_study",),
    ("second_opinion",),
    ("commands",),
    ("app",),
    ("cli",),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
WALLS = {(room, "learning") for room in ("statistics", "report", "workspace", "reader_study")}
WALLS |= {(room, "phantom") for room in LEVEL if room not in {"phantom", "commands", "app", "cli"}}
WALLS |= {(room, "imaging") for room in ("report", "reader_study")}
# A heavy third party has one home.
HOMES = {
    "pydicom": ("imaging/dicom",),
    "gdcm": ("imaging/dicom",),
    "nibabel": ("imaging/nifti",),
    "torch": (
        *("learning/", *(f"localisation/{name}" for name in ("fitting", "graph", "network", "samples"))),
        *(f"signs/{name}" for name in ("appearance", "crossvalidation", "fitting", "graph", "network")),
    ),
    "google": ("learning/onnx_reading",),
    "onnx": ("learning/onnx_export", "localisation/graph", "signs/graph"),
    "onnxruntime": ("learning/onnx_model", "learning/onnx_export", "localisation/", "signs/inference", "signs/model"),
    "safetensors": ("learning/", "localisation/storage", "localisation/fitting", "signs/crossvalidation"),
    "matplotlib": ("report/figures",),
    "docx": ("report/word",),
    "jinja2": ("report/document", "app/opinion_report"),
    "weasyprint": ("app/opinion_report",),
    "python_multipart": ("app/receiving",),
    "PIL": ("cases/sheet", "localisation/picture"),
    "rich": ("cli/terminal",),
    "cyclopts": ("cli/",),
    "ray": ("processes/cluster",),
    "SimpleITK": ("imaging/simpleitk",),
    "pandas": ("statistics/table",),
    "pydantic": ("app/",),
    "fastapi": ("app/",),
    "starlette": ("app/",),
    "uvicorn": ("app/",),
    "sqlalchemy": ("reader_study/log",),
    "openpyxl": ("tables/workbook",),
}
FORBIDDEN_WORDS = {"utils", "util", "helper", "helpers", "manager", "factory", "handler", "process", "common", "misc"}
LONGEST_FUNCTION, LONGEST_MODULE = 60, 500


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert all(alias.name != "*" for alias in node.names), "no star imports"
            yield from [node.module or ""]


def definitions_of(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_only(path: Path) -> None:
    here = name_of(path).split("/", maxsplit=1)[0]
    if here in {"__init__", "__main__"}:
        here = "cli"
    for imported in imports_of(tree_of(path)):
        parts = imported.split(".")
        if parts[0] != "spinefx" or len(parts) == 1:
            continue
        there = parts[1]
        assert LEVEL[there] <= LEVEL[here], f"{here} must not import {there}"
        assert (here, there) not in WALLS, f"a wall stands between {here} and {there}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_heavy_third_parties_have_one_home(path: Path) -> None:
    for imported in imports_of(tree_of(path)):
        homes = HOMES.get(imported.split(".")[0])
        assert homes is None or name_of(path).startswith(homes), f"{imported} is at home in {homes}"
        assert imported.split(".")[0] not in {"torchvision", "pickle", "cv2"}


def test_no_import_cycles() -> None:
    known = {"spinefx." + name_of(path).replace("/", "."): path for path in MODULES}
    graph = {name: {found for found in imports_of(tree_of(path)) if found in known} for name, path in known.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"a cycle: {' -> '.join((*trail, name))}"
        if name not in done:
            for found in graph[name]:
                visit(found, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "__init__.py"], ids=name_of)
def test_all_lists_the_public_names_exactly(path: Path) -> None:
    public, listed = set(), None
    for node in tree_of(path).body:
        is_verb = isinstance(node, ast.FunctionDef) and any("command" in ast.dump(d) for d in node.decorator_list)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and not is_verb:
            public.add(node.name)
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            listed = [ast.literal_eval(item) for item in node.value.elts]  # type: ignore[attr-defined]
    assert listed is not None, "no __all__"
    assert len(listed) == len(set(listed))
    assert public <= set(listed), f"public but not listed: {public - set(listed)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_public_names_are_documented(path: Path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree), "no module docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            text = ast.get_docstring(node) or ""
            arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            missing = [name for name in arguments if name not in text]
            assert name_of(path).startswith("cli/") or not missing, f"{node.name} does not describe {missing}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_and_modules_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST_MODULE
    for node in definitions_of(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = [child for child in node.body if not isinstance(child, ast.Expr) or not _is_text(child)]
            length = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


def _is_text(node: ast.Expr) -> bool:
    return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def test_no_two_classes_share_a_name() -> None:
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for node in definitions_of(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(name_of(path))
    shared = {name: modules for name, modules in homes.items() if len(modules) > 1}
    assert not shared, f"give one of each another name: {shared}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_names_say_what_they_are(path: Path) -> None:
    words = set(path.stem.split("_"))
    for node in definitions_of(tree_of(path)):
        words |= set(node.name.lower().split("_"))
    assert not words & FORBIDDEN_WORDS


@pytest.mark.parametrize(
    "module",
    [
        *("spinefx", "spinefx.cli", "spinefx.report.document", "spinefx.workspace.records", "spinefx.cases.patch"),
        *("spinefx.imaging.study", "spinefx.learning.recipe", "spinefx.learning.onnx_model"),
        *("spinefx.commands.ingest", "spinefx.commands.predict"),
    ],
)
def test_importing_brings_no_torch(module: str) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert not {"torch", "torchvision"} & set(modules)


def test_the_shell_imports_no_room() -> None:
    code = "import json, sys, spinefx.cli; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert not {"numpy", "scipy", "pydicom", "matplotlib", "pandas"} & set(modules)


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("benchmarks/*.py"), *ROOT.glob("docs/*.py")]),
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_scripts_import_what_exists(path: Path) -> None:
    """No type checker reads these, and a benchmark that is run once a year must not rot meanwhile."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spinefx"):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                assert hasattr(module, alias.name) or importlib.util.find_spec(name), f"{name} does not exist"

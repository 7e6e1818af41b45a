"""Record a benchmark's table as JSON beside the script: figures, machine, versions and commit."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["processor", "record"]

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("numpy", "scipy", "torch", "nibabel", "pydicom")
GOAL_KEYS = {"goal", "wanted", "measured", "unit"}


def record(
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    note: str = "",
    goals: Sequence[Mapping[str, object]] = (),
    *,
    script: str = "",
    card: str = "",
    folder: Path = RESULTS,
) -> None:
    """Print a table and save it for the docs page.

    Parameters
    ----------
    name : str
        File name without its ending; the script's own.
    title : str
    columns : sequence of str
    rows : sequence of sequence
    note : str
    goals : sequence of mapping
        What was reached of the goals of speed, for the page that lists them: each ``{"goal": "G3", "wanted":
        ">= 1.25", "measured": 1.3, "unit": "x"}``, where a measured value may be text.
    script : str
        The script's name, where it writes several tables.
    card : str
        The graphics card, where one was used.
    folder : Path
        Another than that of the docs page.
    """
    for one in goals:
        if set(one) != GOAL_KEYS:
            raise ValueError(f"a goal with {sorted(one)}: its keys are {sorted(GOAL_KEYS)}")
    shown = [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    print(title)
    for line in (list(columns), *shown):
        print("  ".join(f"{cell:>16}" for cell in line))
    content = {
        "title": title,
        "command": f"python benchmarks/{script or name}.py",
        "columns": list(columns),
        "rows": shown,
        "note": note,
        "machine": f"{f'{card}, ' if card else ''}{processor()}, {os.cpu_count()} cores visible, {platform.system()} "
        f"{platform.machine()}",
        "versions": {"python": platform.python_version()} | _versions(),
        "commit": _commit(),
    }
    if goals:
        content["goals"] = [dict(one) for one in goals]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):  # a GPU machine has only what training needs
            found[package] = version(package)
    return found


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def _commit() -> str:
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=RESULTS.parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()

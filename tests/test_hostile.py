"""The short form of the scoreboard of hostile inputs: a few inputs of each row that takes seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "hostile.py"


@pytest.mark.parametrize(
    "rows",
    [
        ("cut", "stored-bit", "bit"),
        ("mutant-jpeg", "codestream", "decoder", "crash-files"),
        ("table-cases", "table-readings", "table-signs", "table-manifest", "graph"),
        ("killed-at-write", "two-writers", "full-disk", "storm"),
    ],
)
def test_no_row_of_the_short_form_fails(rows: tuple[str, ...]) -> None:
    if not BENCHMARK.is_file():
        pytest.skip("the benchmarks are not here")
    asked = [sys.executable, str(BENCHMARK), "--short", "--jobs", "1", "--only", *rows]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout

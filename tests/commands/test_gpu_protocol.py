"""The GPU benchmark's script runs, though its figures need a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_protocol.py"


def run(study: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(study), "--work", str(folder / "work"), *more]
    environment = os.environ | {"OUT": str(folder / "out")}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU here")
def test_without_a_gpu_it_says_so_in_one_line(patched: Path, tmp_path: Path) -> None:
    done = run(patched, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("gpu_protocol needs a CUDA GPU")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_smoke_does_every_part_and_goes_on_where_its_minutes_ended(study: Path, tmp_path: Path) -> None:
    first = run(study, tmp_path, "--cpu-smoke", "--seeds", "1", "--minutes", "0")
    assert first.returncode == 0, first.stderr
    assert "goes on from here" in first.stdout
    done = run(study, tmp_path, "--cpu-smoke", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    assert "goes on from here" not in done.stdout
    scores = json.loads((tmp_path / "out" / "gpu_scores.json").read_text())
    assert scores["title"].startswith("SMOKE TEST")
    assert [row[0] for row in scores["rows"]] == ["honest, seed 2022", "paper, seed 2022"]
    speed = json.loads((tmp_path / "out" / "gpu_protocol.json").read_text())
    assert len(speed["rows"]) == 10
    assert "goals" not in speed
    again = run(study, tmp_path, "--cpu-smoke", "--seeds", "1")
    assert "measuring" not in again.stdout  # nothing is measured twice

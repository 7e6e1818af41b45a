"""Reference numbers and data of other programs, beside the checkout."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def reference(shared_data: Path) -> Callable[[str], Any]:
    """Read ``NAME_expected.json`` of ../shared/data/statistics (its README names program and version of each)."""
    return lambda name: json.loads((shared_data / "statistics" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def reference_table(shared_data: Path) -> Callable[[str], list[dict[str, str]]]:
    """Read one CSV of ../shared/data/statistics."""

    def read(name: str) -> list[dict[str, str]]:
        with (shared_data / "statistics" / f"{name}.csv").open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    return read

"""Reference values of other programs: where they are, and how whole files of them are compared."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TESTS = Path(__file__).resolve().parents[1]
# What may be redistributed comes with the tests; the rest is read from beside the checkout if it is there.
BUNDLED, BESIDE = TESTS / "data" / "statistics", TESTS.parents[1] / "shared" / "data" / "statistics"
NOT_DISTRIBUTED = {
    "mrmc_vandyke": "MRMCaov and RJafroc (GPL-3)",
    "ai_vs_readers_cad": "RJafroc (GPL-3)",
    "asah": "pROC (GPL-3)",
    "roc_asah": "pROC (GPL-3)",
    "calibration_nri": "pROC (GPL-3)",
    "firth_endometrial": "brglm2 (GPL-3)",
}
Tree = Any
Table = Callable[[str], list[dict[str, str]]]
Looser = tuple[float, float | None, str]


def path_of(name: str, *endings: str) -> Path:
    for folder in (BUNDLED, BESIDE):
        for ending in endings:
            if (folder / f"{name}{ending}").is_file():
                return folder / f"{name}{ending}"
    assert name in NOT_DISTRIBUTED, f"there are no reference data called {name}"
    pytest.skip(f"reference data of {NOT_DISTRIBUTED[name]} are not distributed with spinefx")


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_expected(name: str) -> Tree:
    path = path_of(name, "_expected.json", "_expected.csv")
    return json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else read_rows(path)


def leaves(node: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield from leaves(child, (*path, str(key)))
    elif isinstance(node, Sequence) and not isinstance(node, str):
        yield from leaves(dict(enumerate(node)), path)
    else:
        yield ".".join(path), node


def half_unit(printed: str) -> float:
    """Return half a unit of the last printed digit, and a little for rounding."""
    digits, _, power = printed.lower().partition("e")
    return 0.51 * 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))


def agrees(found: Any, wanted: Any, tolerance: Looser | None) -> bool:
    if wanted is None or wanted == "NA":
        return found is None or not np.isfinite(found)
    if found is None or isinstance(found, str):
        return bool(found == wanted)
    relative, absolute, _ = tolerance or (1e-8, 1e-12, "")
    absolute = half_unit(repr(float(wanted))) if absolute is None else absolute
    return bool(float(found) == pytest.approx(float(wanted), rel=relative, abs=absolute))


def compare(theirs: Tree, ours: Tree, left_out: Mapping[str, str], looser: Mapping[str, Looser]) -> None:
    """Compare every leaf of two trees; a leaf that ours lacks must be left out on purpose, and for a reason."""
    expected, found = dict(leaves(theirs)), dict(leaves(ours))
    missing, different, used = [], [], set()
    for path, wanted in expected.items():
        if path not in found:
            reasons = [pattern for pattern in left_out if re.fullmatch(pattern, path)]
            missing += [] if reasons else [path]
            used |= set(reasons)
            continue
        pattern = next((pattern for pattern in looser if re.fullmatch(pattern, path)), None)
        used |= {pattern} - {None}
        if not agrees(found[path], wanted, looser[pattern] if pattern else None):
            different.append(f"{path}: {found[path]}, expected {wanted}")
    assert not missing, f"{len(missing)} values are not reproduced, the first being {missing[:5]}"
    assert not different, f"{len(different)} of {len(expected)} values differ, the first being {different[:5]}"
    unused = ({*left_out} | {*looser}) - used
    assert not unused, f"exceptions that apply to no value: {unused}"


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Tree]:
    """Read ``NAME.json`` of the reference data."""
    return lambda name: json.loads(path_of(name, ".json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def reference_table() -> Table:
    """Read ``NAME.csv`` of the reference data."""
    return lambda name: read_rows(path_of(name, ".csv"))


@pytest.fixture(scope="session")
def expected() -> Callable[[str], Tree]:
    """Read the expected values ``NAME_expected.json`` or ``.csv``."""
    return read_expected


@pytest.fixture(scope="session")
def leaves_of() -> Callable[[Tree], dict[str, Any]]:
    """Return the leaves of a tree by their dotted paths."""
    return lambda tree: dict(leaves(tree))


@pytest.fixture(scope="session")
def reproduce(reference_table: Table) -> Callable[..., None]:
    """Compare every value of ``NAME_expected`` with the tree that a function builds from the data and those values.

    Values are compared to a relative 1e-8; ``looser`` gives other tolerances (relative and absolute, None being half a
    unit of the last digit printed) by pattern, ``left_out`` the values that are no results, both with reasons.
    """

    def check(
        name: str,
        build: Callable[[Table, Tree], Tree],
        left_out: Mapping[str, str] | None = None,
        looser: Mapping[str, Looser] | None = None,
    ) -> None:
        theirs = read_expected(name)
        compare(theirs, build(reference_table, theirs), left_out or {}, looser or {})

    return check

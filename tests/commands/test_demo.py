"""The newcomer's one command: from nothing to a report, and again without doing anything twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from spinefx.commands.demo import demo
from spinefx.commands.propose import LOCALISER
from spinefx.errors import WorkspaceError
from spinefx.learning.recipe import Recipe
from spinefx.workspace.layout import Workspace
from spinefx.workspace.located_boxes import read_located_boxes
from spinefx.workspace.records import read_lesions


def test_the_demo_ends_with_a_report_and_continues_where_it_stopped(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    small = Recipe.preset("quick").changed(folds=2, epochs=1, copies_benign=1, copies_malignant=2)
    recipe.write_text(small.dump(), encoding="utf-8")
    steps: list[str] = []
    arguments = {"patients": 8, "seed": 2, "recipe": str(recipe)}
    written = demo(tmp_path / "demo", **arguments, progress=lambda step, done, total: steps.append(step))  # type: ignore[arg-type]
    assert list(dict.fromkeys(steps))[:5] == [
        "rendering phantoms",
        "reading headers",
        "converting images",
        "finding vertebrae",
        "cutting patches",
    ]
    # Half of the boxes are the localiser's, and the report says how far they lie from the truth.
    workspace = Workspace.open(tmp_path / "demo" / "study")
    located = read_located_boxes(workspace)
    found = [one for one in located if one.distance_mm is not None]
    assert len(located) == 4
    assert len(found) >= 3
    assert sum(one.annotator == LOCALISER for one in read_lesions(workspace)) == len(found)
    # By name, a vertebra may be the wrong one.
    assert sum((one.distance_mm or 0.0) < 8 for one in found) >= 3
    assert "Boxes placed by the localiser" in written.page.read_text(encoding="utf-8")
    assert written.page == tmp_path / "demo" / "study" / "experiments" / "quick" / "report" / "report.html"
    assert "Phantom." in written.page.read_text(encoding="utf-8")
    assert [row[0] for row in written.table.rows][-2:] == ["quick", "always benign"]
    weights = tmp_path / "demo" / "study" / "experiments" / "quick" / "models" / "fold-01" / "weights.safetensors"
    before = (weights.stat().st_mtime_ns, written.page.read_bytes())
    demo(tmp_path / "demo", **arguments)  # type: ignore[arg-type]
    assert (weights.stat().st_mtime_ns, written.page.read_bytes()) == before
    with pytest.raises(WorkspaceError, match="a demo with other settings"):
        demo(tmp_path / "demo", patients=9, seed=2, recipe=str(recipe))

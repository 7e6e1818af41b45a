"""The phantom's pages: every picture is there and small, and what differs from a real spine is said."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from spinefx.phantom.showcase import DISTRACTORS
from spinefx.vocabulary import SIGN_IDENTIFIERS, SIGNS

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images" / "phantom"


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("phantom_gallery", ROOT / "docs" / "phantom_gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_gallery_shows_every_sign_and_distractor(gallery: ModuleType) -> None:
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert page == gallery.page(), "run docs/phantom_gallery.py"
    assert all(sign.label in page for sign in SIGNS)
    assert {path.stem for path in IMAGES.glob("*.png")} == {*SIGN_IDENTIFIERS, *DISTRACTORS}
    sizes = [path.stat().st_size for path in IMAGES.glob("*.png")]
    assert max(sizes) <= 60_000
    assert sum(sizes) < 1_000_000


def test_the_script_still_draws_what_the_page_shows(gallery: ModuleType) -> None:
    # Another processor may round a grey the other way; another phantom gives another picture.
    kept = np.asarray(Image.open(IMAGES / "central_concave.png"), float)
    assert np.abs(np.asarray(gallery.draw("central_concave"), float) - kept).mean() < 0.5, "run docs/phantom_gallery.py"


def test_what_differs_from_a_real_spine_is_said(gallery: ModuleType) -> None:
    page = (ROOT / "docs" / "is-it-real.md").read_text(encoding="utf-8")
    assert page == gallery.with_table(page), "run docs/phantom_gallery.py"
    table = json.loads((ROOT / "benchmarks" / "results" / "phantom_realism.json").read_text(encoding="utf-8"))
    apart = table["columns"].index("sd apart")
    differing = [row[0] for row in table["rows"] if abs(float(row[apart])) > 2]
    assert len(table["rows"]) >= 12
    prose = page.partition("## What differs by more than two standard deviations")[2]
    assert not [name for name in differing if name not in prose]
    assert all(f"| {row[0]} |" in page for row in table["rows"])

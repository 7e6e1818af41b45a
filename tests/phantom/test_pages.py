"""The phantom's pages: every picture exists and is small, and the pages state what differs from a real spine."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from spinefx.vocabulary import SIGN_IDENTIFIERS, SIGNS

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images" / "phantom"


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        return importlib.import_module("phantom_gallery")


def test_the_gallery_shows_every_sign_and_distractor(gallery: ModuleType) -> None:
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert page == gallery.page(), "run docs/phantom_gallery.py"
    assert all(sign.label in page for sign in SIGNS)
    assert {path.stem for path in IMAGES.glob("*.png")} == {*SIGN_IDENTIFIERS, *gallery.DISTRACTORS}
    sizes = [path.stat().st_size for path in IMAGES.glob("*.png")]
    assert max(sizes) <= 60_000
    assert sum(sizes) < 1_000_000


def test_the_script_draws_the_picture_that_the_page_shows(gallery: ModuleType) -> None:
    # Another processor may round a grey value differently, but a changed phantom changes the picture.
    kept = np.asarray(Image.open(IMAGES / "central_concave.png"), float)
    assert np.abs(np.asarray(gallery.draw("central_concave"), float) - kept).mean() < 0.5, "run docs/phantom_gallery.py"


def test_the_page_states_every_difference_from_a_real_spine(gallery: ModuleType) -> None:
    page = (ROOT / "docs" / "is-it-real.md").read_text(encoding="utf-8")
    assert page == gallery.with_table(page), "run docs/phantom_gallery.py"
    table = json.loads((ROOT / "benchmarks" / "results" / "phantom_realism.json").read_text(encoding="utf-8"))
    apart = table["columns"].index("sd apart")
    differing = [row[0] for row in table["rows"] if abs(float(row[apart])) > 2]
    assert len(table["rows"]) >= 12
    prose = page.partition("## What differs by more than two standard deviations")[2]
    assert not [name for name in differing if name not in prose]
    assert all(f"| {row[0]} |" in page for row in table["rows"])

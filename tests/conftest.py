"""What all rooms' tests share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

from spinefx.imaging.volume import Volume

# A busy machine is no defect, and a run that fails fails again: no deadlines, and the same examples every time.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

PROGRAMS = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "firefox": ("firefox-esr", "firefox"),
}
CHROMIUM = [
    # A container's root has no sandbox to drop into, and little shared memory.
    *("--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"),
    # Images are drawn in software where there is no GPU.
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real spine MRI beside the checkout; tests that need it skip, visibly, where it is missing."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real test images (../shared/data) are not here")
    return folder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask what is asked of one browser of every browser, unless a test is marked as one for Chromium alone."""
    if "browser" in metafunc.fixturenames:
        alone = metafunc.definition.get_closest_marker("chromium_alone")
        metafunc.parametrize("browser", ["chromium"] if alone else list(PROGRAMS), indirect=True, scope="session")


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A browser of the system, started once and steered by Playwright; tests that need it skip, visibly, without it."""
    engine = request.param
    program = next(filter(None, map(shutil.which, PROGRAMS[engine])), None)
    if program is None:
        pytest.skip(f"no {engine.title()} is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    # Firefox as it ships speaks WebDriver BiDi, which Playwright calls a channel.
    how = {"chromium": {"args": CHROMIUM}, "firefox": {"channel": "moz-firefox"}}[engine]
    with playwright.sync_playwright() as driver:
        started = getattr(driver, engine).launch(executable_path=program, **how)
        yield started
        started.close()


def read_png_stack(folder: Path) -> tuple[Volume, dict[str, NDArray[np.float64]]]:
    """A lumbar series of ../shared/data and its clicked vertebra centres, LPS mm; the frame of reference is unknown.

    Slices are taken to run to the right; which way they run was not recorded.
    """
    notes = json.loads((folder / "annotation.json").read_text(encoding="utf-8"))
    slices = [np.asarray(Image.open(path).convert("L"), np.float32) for path in sorted(folder.glob("slice_*.png"))]
    row_mm, column_mm = notes["in_plane_spacing_mm"]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = [-notes["slice_spacing_mm"], 0, 0], [0, 0, -row_mm], [0, column_mm, 0]
    volume = Volume(np.stack(slices), affine)
    centres = {
        centre["level"]: volume.to_mm([centre["slice"], centre["row"], centre["column"]])
        for centre in notes["vertebra_centres"]
    }
    return volume, centres


@pytest.fixture(scope="session")
def png_stack(shared_data: Path) -> Callable[[str], tuple[Volume, dict[str, NDArray[np.float64]]]]:
    """Read one real lumbar series by its folder's name, ``t2_AKs5`` and the like."""

    def read(name: str) -> tuple[Volume, dict[str, NDArray[np.float64]]]:
        (folder,) = shared_data.glob(f"lumbar_*/{name}")
        return read_png_stack(folder)

    return read

"""What all rooms' tests share."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

from spinefx.commands.ingest import IngestReport, ingest
from spinefx.commands.patch import patch
from spinefx.commands.train import train
from spinefx.imaging.volume import Volume
from spinefx.learning.recipe import Recipe
from spinefx.phantom.cohort import PhantomSettings, write_cohort

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

PATIENTS, MALIGNANT = 9, 3

POSTGRES = Path("/usr/lib/postgresql/15/bin")
# PostgreSQL refuses to be run by root.
WHO = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real spine MRI beside the checkout; the tests that need it are skipped if it is missing."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real test images are not distributed with spinefx")
    return folder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a browser test in Chromium; in every browser if it is marked so, or if SPINEFX_BROWSERS=all."""
    if "browser" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker
        is_wanted = marker("every_browser") or os.environ.get("SPINEFX_BROWSERS") == "all"
        engines = list(PROGRAMS) if is_wanted and not marker("chromium_alone") else ["chromium"]
        metafunc.parametrize("browser", engines, indirect=True, scope="session")


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


@dataclass
class Postgres:
    """A PostgreSQL server of our own in a folder, reached by a socket there."""

    folder: Path
    _names: Iterator[int] = field(default_factory=itertools.count)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def control(self, *words: str) -> None:
        said = [*WHO, POSTGRES / "pg_ctl", "-D", self.data, "-w", "-l", self.folder / "log", *words]
        subprocess.run(said, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self) -> None:
        # Processes are killed here, the machine is not: what the system's memory holds need not reach the disk.
        self.control("-o", f"-k {self.folder} -c listen_addresses='' -c fsync=off", "start")

    def stop_at_once(self) -> None:
        """Stop as a power cut would: nothing is written that was not; the next start recovers."""
        self.control("-m", "immediate", "stop")

    def wait(self) -> None:
        """Wait until it answers: after a crash of one of its processes it recovers by itself."""
        said = [POSTGRES / "pg_isready", "-q", "-h", self.folder, "-t", "30"]
        until = time.monotonic() + 30
        while subprocess.run(said, check=False).returncode:
            assert time.monotonic() < until, "PostgreSQL does not come back"
            time.sleep(0.05)

    def run(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements as the superuser; gives the last one's rows."""
        import psycopg

        with psycopg.connect(f"host={self.folder} user=spinefx dbname={database}", autocommit=True) as connection:
            for statement in statements:
                done = connection.execute(statement)  # type: ignore[call-overload]
            return list(done.fetchall()) if done.description else []

    def address(self, database: str, user: str = "spinefx") -> str:
        return f"postgresql+psycopg://{user}@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """Make an empty database; gives its name."""
        name = f"study{next(self._names)}"
        self.run(f"CREATE DATABASE {name}")
        return name

    def drop(self, database: str) -> None:
        self.run(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """PostgreSQL; tests that need it skip, visibly, where it is missing."""
    if not (POSTGRES / "initdb").is_file():
        pytest.skip("PostgreSQL 15 is not installed")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    # A socket's path has to be short.
    server = Postgres(Path(tempfile.mkdtemp(prefix="spinefx-postgres-")))
    if WHO:
        shutil.chown(server.folder, "nobody")
    made = [*WHO, POSTGRES / "initdb", "-D", server.data, "-A", "trust", "-U", "spinefx"]
    subprocess.run(made, check=True, capture_output=True)
    server.start()
    try:
        yield server
    finally:
        server.stop_at_once()
        shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def new_address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Give addresses of empty databases, of each kind in turn."""
    if request.param == "sqlite":
        names = itertools.count()
        yield lambda: f"sqlite:///{tmp_path}/log{next(names)}.sqlite"
        return
    server: Postgres = request.getfixturevalue("postgres")
    made: list[str] = []

    def make() -> str:
        made.append(server.new_database())
        return server.address(made[-1])

    yield make
    for name in made:
        server.drop(name)


@pytest.fixture
def address(new_address: Callable[[], str]) -> str:
    """Address of an empty database, of each kind in turn."""
    return new_address()


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom export of nine patients, three malignant, on small matrices. Read only."""
    folder = tmp_path_factory.mktemp("export") / "export"
    write_cohort(folder, PhantomSettings(patients=PATIENTS, seed=5, malignant=MALIGNANT, matrix=192))
    return folder


@pytest.fixture(scope="session")
def ingested(export: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, IngestReport, Path]:
    """Study folder, report and key of the export. Read only."""
    folder = tmp_path_factory.mktemp("ingested")
    report = ingest(
        folder / "study",
        export,
        table=export / "cases.csv",
        signs=export / "signs.csv",
        readings=export / "readings.csv",
        key=folder / "key.csv",
    )
    return folder / "study", report, folder / "key.csv"


@pytest.fixture(scope="session")
def patched(ingested: tuple[Path, IngestReport, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study folder with patches. Read only."""
    study = tmp_path_factory.mktemp("patched") / "study"
    shutil.copytree(ingested[0], study)
    patch(study)
    return study


@pytest.fixture
def study(patched: Path, tmp_path: Path) -> Path:
    """A copy of the patched study folder that a test may spoil."""
    copy = tmp_path / "study"
    shutil.copytree(patched, copy)
    return copy


@pytest.fixture(scope="session")
def trained(patched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study folder with a finished experiment of two folds and one epoch. Read only."""
    study = tmp_path_factory.mktemp("trained") / "study"
    shutil.copytree(patched, study)
    recipe = Recipe.preset("quick").changed(folds=2, epochs=1, copies_benign=1, copies_malignant=2)
    train(study, recipe, device="cpu")
    return study

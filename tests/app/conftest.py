"""A small phantom workspace, a real server, and a real browser."""

from __future__ import annotations

import csv
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from spinefx.app.running import server_config
from spinefx.app.server import PAGES, create_app
from spinefx.app.state import ServeSettings
from spinefx.cases.reading import Prediction
from spinefx.commands.ingest import ingest
from spinefx.commands.patch import patch
from spinefx.commands.reader_study import open_log, register_design
from spinefx.commands.train import train
from spinefx.imaging.selection import choose_series
from spinefx.imaging.study import open_study
from spinefx.learning.recipe import Recipe
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.random_streams import PhantomSettings
from spinefx.reader_study.design import StudyDesign
from spinefx.reader_study.study import RegisteredStudy
from spinefx.workspace.experiment import Experiment
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort


@pytest.fixture(scope="session")
def phantom_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six phantom patients and their simulated readers, ingested from DICOM. Read only: see `study`."""
    folder = tmp_path_factory.mktemp("pages")
    export = folder / "export"
    write_cohort(export, PhantomSettings(patients=6, seed=5, matrix=192))
    tables = {name: export / f"{name}.csv" for name in ("signs", "readings")}
    ingest(folder / "study", export, table=export / "cases.csv", **tables)
    return folder / "study"


@dataclass(frozen=True)
class Trained:
    """A workspace with a finished experiment, its DICOM export, and a patient of the export who is not in it."""

    study: Path
    export: Path
    patients: dict[str, str]  # folder in the export, by participant
    stranger: str
    lesion: dict[str, Any]  # the stranger's box and slices, as the page sends them


def _lesion_of(row: dict[str, str], folder: Path) -> dict[str, Any]:
    """Return the lesion of a row of cases.csv, in millimetres and slices by position."""
    series = choose_series(open_study(folder)).marked
    slices = sorted(series.instances.index(series.instance(uid)) for uid in row["lesion_sop_uids"].split())
    left, top, right, bottom = (float(row[f"box_{edge}"]) for edge in ("left", "top", "right", "bottom"))
    affine = series.instance(row["box_sop_uid"]).affine
    centre = affine @ [0, (top + bottom) / 2, (left + right) / 2, 1]
    side_mm = max((bottom - top) * series.spacing_mm[1], (right - left) * series.spacing_mm[2])
    box = {"centre_mm": [float(mm) for mm in centre[:3]], "side_mm": side_mm}
    return {"box": box, "first_slice": slices[0], "last_slice": slices[-1]}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Twelve phantom patients, half of them malignant, cross-validated in two folds. Read only."""
    folder = tmp_path_factory.mktemp("trained")
    export, table = folder / "export", folder / "cases.csv"
    write_cohort(export, PhantomSettings(patients=13, seed=9, malignant=6, matrix=144), readers=False)
    rows = (export / "cases.csv").read_text(encoding="utf-8").splitlines()
    benign = next(row for row in reversed(rows) if ",benign," in row)
    table.write_text("\n".join(row for row in rows if row != benign) + "\n", encoding="utf-8")
    ingest(folder / "study", export, table=table, key=folder / "key.csv")
    recipe = Recipe.preset("quick").changed(folds=2, epochs=2, copies_benign=1, copies_malignant=2)
    patch(folder / "study", recipe.patch_settings)
    train(folder / "study", recipe)
    with (folder / "key.csv").open(encoding="utf-8") as file:
        patients = {row["participant_id"]: row["patient"] for row in csv.DictReader(file)}
    stranger = next(row for row in csv.DictReader(rows) if row["patient"] == benign.split(",")[0])
    lesion = _lesion_of(stranger, export / stranger["patient"])
    return Trained(folder / "study", export, patients, stranger["patient"], lesion)


@pytest.fixture
def study(phantom_study: Path, tmp_path: Path) -> Path:
    """A copy of the phantom workspace that a test may change."""
    return Path(shutil.copytree(phantom_study, tmp_path / "study"))


def told_probability(place: int) -> float:
    """Return the prediction of `registered` for a case: digits that are found wherever they leak."""
    return 0.81273 + place / 1e5 if place % 2 else 0.21273 + place / 1e5


@pytest.fixture
def registered() -> Callable[..., RegisteredStudy]:
    """Add an experiment of known predictions to a workspace, and register a reader study of all its cases."""

    def make(study: Path, kind: str, database: str = "", **more: Any) -> RegisteredStudy:
        workspace = Workspace.open(study)
        if kind != "unaided":
            more = {"experiment": "quick"} | more
            experiment = Experiment(workspace.experiment_folder("quick"))
            experiment.start(Recipe.preset("quick").dump())
            predictions = [
                (
                    1,
                    Prediction(
                        case.case_id,
                        case.participant_id,
                        index,
                        *[told_probability(place)] * 2,
                        1,
                        "sha256:" + "c" * 64,
                    ),
                )
                for place, case in enumerate(read_cohort(workspace).cases)
                for index in case.lesion.slices
            ]
            experiment.finish(predictions=predictions, readings=[], folds=[], history=[], audit=[], environment={})
        design = StudyDesign.from_mapping({"name": "pilot", "design": kind, "readers": ["local"], "seed": 5} | more)
        log = open_log(workspace, database)
        reader_study = register_design(workspace, log, design, by="E1")
        log.close()
        return reader_study

    return make


@pytest.fixture(scope="session")
def built_pages() -> Path:
    """The pages as they ship."""
    if not (PAGES / "index.html").is_file():
        pytest.skip("the pages were not built: run `npm ci --ignore-scripts && npm run build` in web/")
    return PAGES


@pytest.fixture
def client_of(built_pages: Path) -> Iterator[Callable[..., TestClient]]:
    """Make a client that the server takes for one of its own pages."""
    opened = []

    def make(workspace: Path, **settings: Any) -> TestClient:
        client = TestClient(create_app(ServeSettings(workspace, **settings)), base_url="http://127.0.0.1:8765")
        client.headers["origin"] = "http://127.0.0.1:8765"
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.app.state.server.log.close()  # type: ignore[attr-defined]
        client.close()


@dataclass
class Served:
    """A running server, and its workspace."""

    address: str
    study: Path
    app: Any


@contextmanager
def _running(settings: ServeSettings) -> Iterator[Served]:
    """Run a server in a thread on a free port."""
    app = create_app(settings)
    server = uvicorn.Server(server_config(app, host="127.0.0.1", port=0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended before it began"
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Served(f"http://127.0.0.1:{port}", settings.workspace, app)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        app.state.server.log.close()


@pytest.fixture
def running(built_pages: Path) -> Callable[[ServeSettings], Any]:
    """Run a server with given settings, as a context."""
    return _running


@pytest.fixture
def served(study: Path, built_pages: Path) -> Iterator[Served]:
    """The phantom workspace, served."""
    with _running(ServeSettings(study)) as server:
        yield server


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that reports what a user would not see: script errors, and requests that leave this machine."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    opened = context.new_page()
    errors, outside = [], []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", lambda asked: outside.append(asked.url) if not asked.url.startswith(LOCAL) else None)
    yield opened
    context.close()
    assert errors == []
    assert outside == []


LOCAL = ("http://127.0.0.1:", "data:", "blob:")

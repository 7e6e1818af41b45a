"""A small phantom study behind a real server, and a real browser before it."""

from __future__ import annotations

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

from spinefx.app.server import PAGES, create_app
from spinefx.app.state import ServeSettings
from spinefx.cases.reading import Prediction
from spinefx.learning.recipe import Recipe
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.draws import PhantomSettings
from spinefx.trial.design import StudyDesign
from spinefx.trial.study import Trial
from spinefx.verbs.ingest import ingest
from spinefx.verbs.trials import open_log, register_design
from spinefx.workspace.experiment import Experiment
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort

FLAGS = ["--no-sandbox", "--disable-background-networking", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="session")
def phantom_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six phantom patients and their simulated readers, ingested from DICOM; not to be changed: see `study`."""
    folder = tmp_path_factory.mktemp("pages")
    export = folder / "export"
    write_cohort(export, PhantomSettings(patients=6, seed=5, matrix=192))
    tables = {name: export / f"{name}.csv" for name in ("signs", "readings")}
    ingest(folder / "study", export, table=export / "cases.csv", **tables)
    return folder / "study"


@pytest.fixture
def study(phantom_study: Path, tmp_path: Path) -> Path:
    """A copy of the phantom study for one test to change."""
    return Path(shutil.copytree(phantom_study, tmp_path / "study"))


def told_probability(place: int) -> float:
    """What the model of `registered` says of the case at a place: numbers that are found wherever they leak."""
    return 0.81273 + place / 1e5 if place % 2 else 0.21273 + place / 1e5


@pytest.fixture
def registered() -> Callable[..., Trial]:
    """Give a study folder an experiment of known answers, and register a reader study of all its cases."""

    def make(study: Path, kind: str, **more: Any) -> Trial:
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
        log = open_log(workspace)
        trial = register_design(workspace, log, design, by="E1")
        log.close()
        return trial

    return make


@pytest.fixture(scope="session")
def built_pages() -> Path:
    """The pages as they ship."""
    if not (PAGES / "index.html").is_file():
        pytest.skip("the pages were not built: neither npm nor Node's wheel was at hand")
    return PAGES


@pytest.fixture
def client_of(built_pages: Path) -> Iterator[Callable[..., TestClient]]:
    """Make a client as the page itself is one, for a server with given settings."""
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
    """A server that runs, and the study behind it."""

    address: str
    study: Path
    app: Any


@contextmanager
def _running(settings: ServeSettings) -> Iterator[Served]:
    """Run a server in a thread on a free port."""
    app = create_app(settings)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False))
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
    """The phantom study behind a server of its own."""
    with _running(ServeSettings(study)) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a window; drawn in software where there is no GPU."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield chromium
        chromium.close()


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

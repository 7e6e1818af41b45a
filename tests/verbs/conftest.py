"""One small phantom export and its study folder, made once for all tests of the verbs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from spinefx.learning.recipe import Recipe
from spinefx.phantom.cohort import PhantomSettings, write_cohort
from spinefx.verbs.ingest import IngestReport, ingest
from spinefx.verbs.patching import patch
from spinefx.verbs.training import train

PATIENTS, MALIGNANT = 9, 3


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

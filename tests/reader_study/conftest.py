"""A log in each database, a clock that tests can set, and a workspace of tables without images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.reading import Prediction
from spinefx.learning.recipe import Recipe
from spinefx.reader_study.clock import Clock
from spinefx.reader_study.log import Log
from spinefx.vocabulary import Diagnosis, TruthSource
from spinefx.workspace.experiment import Experiment
from spinefx.workspace.layout import Workspace, write_json
from spinefx.workspace.records import (
    LesionRecord,
    Participant,
    sidecar_path,
    write_lesions,
    write_participants,
)


@dataclass
class Hands:
    """A clock that tests set: the date and the elapsed time, independently."""

    process: str = "p1"
    ms: int = 1_000_000
    date: datetime = field(default_factory=lambda: datetime.now(UTC))

    def clock(self) -> Clock:
        return Clock(lambda: self.date, lambda: self.ms, self.process)

    def pass_s(self, seconds: float) -> None:
        self.ms += round(1000 * seconds)
        self.date += timedelta(seconds=seconds)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def log(address: str, hands: Hands) -> Iterator[Log]:
    """An empty log, in SQLite and in PostgreSQL, whose dates the test sets."""
    with contextlib.closing(Log(address, now=lambda: hands.date)) as opened:
        yield opened


CASES = tuple(f"case{number:02d}" for number in range(12))


def truth_of(case: str) -> Diagnosis:
    return Diagnosis.MALIGNANT if int(case[4:]) % 3 == 0 else Diagnosis.BENIGN


def probability_of(case: str) -> float:
    """Return the model's probability: the truth except for two cases, in digits that show wherever they leak."""
    wrong = case in {"case03", "case05"}
    return (0.8765 if (truth_of(case) is Diagnosis.MALIGNANT) != wrong else 0.1235) + int(case[4:]) / 1e6


@pytest.fixture
def tables(tmp_path: Path) -> Workspace:
    """A workspace of twelve cases with an experiment named quick, without voxels."""
    workspace = Workspace.create(tmp_path / "study")
    people = [f"sub-{number:03d}" for number in range(1, 13)]
    write_participants(
        workspace, [Participant(p, truth_of(c), TruthSource.PHANTOM) for p, c in zip(people, CASES, strict=True)]
    )
    lesion = Lesion(Box((0.0, 0.0, 0.0), 30.0), 4, 6)
    write_lesions(workspace, [LesionRecord(c, p, lesion) for c, p in zip(CASES, people, strict=True)])
    for person in people:
        for weighting in ("T1w", "T2w"):
            write_json(sidecar_path(workspace, person, weighting), {"VoxelSha256": person + weighting})
    write_experiment(workspace, dict(zip(CASES, people, strict=True)))
    return workspace


def write_experiment(workspace: Workspace, owners: dict[str, str], *, fold: int = 1) -> None:
    recipe = Recipe.preset("quick")
    experiment = Experiment(workspace.experiment_folder("quick"))
    experiment.start(recipe.dump())
    predictions = [
        (
            1,
            Prediction(
                case, person, place, *[probability_of(case) - 0.01 * (place != 5)] * 2, fold, "sha256:" + "ab" * 32
            ),
        )
        for case, person in owners.items()
        for place in (4, 5, 6)
    ]
    experiment.finish(predictions=predictions, readings=[], folds=[], history=[], audit=[], environment={})

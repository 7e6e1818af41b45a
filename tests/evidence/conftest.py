"""Reference numbers and data of other programs, beside the checkout."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spinefx.cases.reading import Prediction, Reading, SignScores, patient_readings
from spinefx.evidence.content import Finding, Person, ReportContent
from spinefx.evidence.tables import ModelResult
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Diagnosis, Score

M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN
# A picture of one grey dot.
DOT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")


@pytest.fixture(scope="session")
def reference(shared_data: Path) -> Callable[[str], Any]:
    """Read ``NAME_expected.json`` of ../shared/data/statistics (its README names program and version of each)."""
    return lambda name: json.loads((shared_data / "statistics" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def reference_table(shared_data: Path) -> Callable[[str], list[dict[str, str]]]:
    """Read one CSV of ../shared/data/statistics."""

    def read(name: str) -> list[dict[str, str]]:
        with (shared_data / "statistics" / f"{name}.csv").open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    return read


@pytest.fixture(scope="session")
def small_study() -> Callable[[str], ReportContent]:
    """A phantom study of thirty cases and three readers in which every part of a report can be made.

    All its names, stamps and remarks are the text given.
    """
    return _small_study


def _small_study(text: str) -> ReportContent:
    cases = {f"{text}{number}": M if number % 3 == 0 else B for number in range(30)}
    readings = [
        Reading(case, f"{text}{reader}", Arm.UNAIDED, truth if place % 4 else B, 10.0 * (place % 10))
        for reader in range(3)
        for place, (case, truth) in enumerate(cases.items())
    ]
    predictions = tuple(
        Prediction(case, case, 0, (i % 10) / 10, (i % 10) / 20, 1, text) for i, case in enumerate(cases)
    )
    return ReportContent(
        title=text,
        truth=cases,
        models=[
            ModelResult(text, predictions, patient_readings(predictions, reader_id=text), stamps=(text,), rule="max")
        ],
        readings=readings,
        people=[Person(case, truth, text, 60.0, text, text) for case, truth in cases.items()],
        levels=dict.fromkeys(cases, text),
        signs=[SignScores(case, text, dict.fromkeys(SIGN_IDENTIFIERS, Score.YES)) for case in cases],
        refused={text: 3},
        audit=[Finding(text, False, text)],
        provenance={text: text},
        sheet=lambda case: DOT,
        phantom=True,
        stale=True,
    )

"""Small studies, rendered once for all tests of the report."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cache, partial

import pytest

from spinefx.cases.reading import Prediction, Reading, SignScores, patient_readings
from spinefx.report.content import Finding, ParticipantSummary, ReportContent
from spinefx.report.document import render_report
from spinefx.report.figures import Drawing
from spinefx.statistics.performance import ModelResult
from spinefx.statistics.sign_model import fit_sign_model
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Diagnosis, Score

M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN
# A PNG of one grey pixel.
DOT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")
# Names with what LaTeX and markup treat specially, and names that are hostile and too long for a line.
HOSTILE = (
    '<img src=https://example.invalid/x onerror="window.ran=1">"\'&--></svg><script>window.ran=2</script>$x_{'
    + "of_a_long_name_" * 6
)
TEXTS = {"plain": "r_1 ", "hostile": HOSTILE}


def small_study(text: str) -> ReportContent:
    """Create a phantom study of 30 cases and three readers that has every section, with one text for all its names."""
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
        participants=[ParticipantSummary(case, truth, text, 60.0, text, text) for case, truth in cases.items()],
        levels=dict.fromkeys(cases, text),
        signs=[SignScores(case, text, dict.fromkeys(SIGN_IDENTIFIERS, Score.YES)) for case in cases],
        refused={text: 3},
        audit=[Finding(text, False, text)],
        provenance={text: text},
        sheet=lambda case: DOT,
        phantom=True,
        stale=True,
    )


@pytest.fixture(scope="session")
def small() -> ReportContent:
    """The small study with plain names."""
    return small_study(TEXTS["plain"])


@pytest.fixture(scope="session")
def rendered() -> Callable[[str], dict[str, bytes]]:
    """Return the files of the small study with ``plain`` or ``hostile`` names; each is rendered once."""

    @cache
    def files(kind: str) -> dict[str, bytes]:
        return render_report(small_study(TEXTS[kind]))

    return files


@pytest.fixture(scope="session")
def shortened() -> Callable[[pytest.MonkeyPatch], None]:
    """Replace figures by empty ones and shorten the bootstrap, which take most of the time of tests of tables."""

    def shorten(patch: pytest.MonkeyPatch) -> None:
        patch.setattr("spinefx.report.figures._drawn", lambda *_, **__: Drawing("<svg></svg>", b""))
        patch.setattr("spinefx.report.sign_sections.fit_sign_model", partial(fit_sign_model, draws=10))

    return shorten


@pytest.fixture
def tables_only(monkeypatch: pytest.MonkeyPatch, shortened: Callable[[pytest.MonkeyPatch], None]) -> None:
    """Build sections with empty figures and a short bootstrap."""
    shortened(monkeypatch)

"""One self-contained page, and the tables and curves beside it. Home of Jinja."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import jinja2

from spinefx.cases.reading import Reading
from spinefx.evidence.figures import roc_svg
from spinefx.evidence.table import ResultTable
from spinefx.evidence.tables import (
    ModelResult,
    case_table,
    fold_table,
    performance_table,
    slice_count_table,
    slice_table,
)
from spinefx.vocabulary import Diagnosis

__all__ = ["Finding", "ReportContent", "render_report"]

WRONG_CASES_SHOWN = 24


@dataclass(frozen=True)
class Finding:
    """One line of the leak audit.

    Parameters
    ----------
    check : str
        What was asked.
    passed : bool
    detail : str
        What was compared and found.
    """

    check: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class ReportContent:
    """Everything that a report says.

    Parameters
    ----------
    title : str
    truth : mapping of str to Diagnosis
        By case.
    models : sequence of ModelResult
        The one reported on first, others of the same study folder after it.
    readings : sequence of Reading
        Human ones.
    cohort : ResultTable
        Who is in the study.
    audit : sequence of Finding
    provenance : mapping of str to str
        Recipe, digests, versions.
    sheets : mapping of str to bytes
        Contact sheets (PNG) by case.
    phantom : bool
        Whether any case is a phantom; then every figure says so.
    stale : bool
        Whether the study folder has changed since training; then the page says so.
    """

    title: str
    truth: Mapping[str, Diagnosis]
    models: Sequence[ModelResult]
    readings: Sequence[Reading]
    cohort: ResultTable
    audit: Sequence[Finding] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    sheets: Mapping[str, bytes] = field(default_factory=dict)
    phantom: bool = False
    stale: bool = False


def render_report(content: ReportContent) -> dict[str, bytes]:
    """Make all files of a report.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    dict of str to bytes
        By file name: one TSV a table, ``roc.svg`` and ``report.html``, which needs no other file and no network.
    """
    main = content.models[0]
    tables = [
        performance_table(content.truth, content.readings, content.models),
        slice_table(content.truth, content.models),
        fold_table(content.truth, main),
        slice_count_table(content.truth, main),
        case_table(content.truth, main),
    ]
    stamp = "phantom" if content.phantom else ""
    curve = roc_svg(content.truth, content.models, content.readings, stamp=stamp)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spinefx.evidence", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report.html").render(
        content=content,
        main=main,
        cohort=content.cohort,
        performance=tables[0],
        others=tables[1:4],
        cases=tables[4],
        curve=curve[curve.index("<svg") :],
        wrong=_wrong_cases(content, main),
    )
    files = {f"{table.name}.tsv": table.to_tsv().encode() for table in (content.cohort, *tables)}
    return files | {"roc.svg": curve.encode(), "report.html": page.encode()}


def _wrong_cases(content: ReportContent, main: ModelResult) -> list[dict[str, str]]:
    """Contact sheets of wrong answers, the most confident first, as data addresses."""
    wrong = [reading for reading in main.readings if reading.diagnosis != content.truth[reading.case_id]]
    wrong.sort(key=lambda reading: -abs((reading.confidence or 50.0) - 50.0))
    shown = [reading for reading in wrong if reading.case_id in content.sheets][:WRONG_CASES_SHOWN]
    return [
        {
            "case": reading.case_id,
            "caption": f"truth {content.truth[reading.case_id]}, model {reading.diagnosis}, "
            f"probability of malignancy {(reading.confidence or 0.0) / 100:.2f}",
            "picture": "data:image/png;base64," + base64.b64encode(content.sheets[reading.case_id]).decode("ascii"),
        }
        for reading in shown
    ]

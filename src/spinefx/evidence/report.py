"""One self-contained page, and the tables and figures beside it. Home of Jinja."""

from __future__ import annotations

import base64

import jinja2

from spinefx.evidence.accuracy import majority_baseline
from spinefx.evidence.content import ReportContent
from spinefx.evidence.sections import build_sections
from spinefx.evidence.tables import performance_table
from spinefx.vocabulary import Diagnosis

__all__ = ["render_report"]

# A longer table is folded, and the page shows so many rows of it; its file holds them all.
ROWS_OPEN, ROWS_SHOWN = 40, 500


def render_report(content: ReportContent) -> dict[str, bytes]:
    """Make all files of a report.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    dict of str to bytes
        By file name: one TSV a table (LaTeX too, of those that the page shows at once), each figure as SVG
        and PNG, and ``report.html``, which needs no other file and no network.
    """
    sections = tuple(build_sections(content))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spinefx.evidence", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    page = environment.get_template("report.html").render(
        content=content, sections=sections, summary=_summary(content), rows_open=ROWS_OPEN, rows_shown=ROWS_SHOWN
    )
    tables = [table for section in sections for table in (*section.tables, *section.folded)]
    files = {f"{table.name}.tsv": table.to_tsv().encode() for table in tables}
    files |= {f"{one.name}.tex": one.for_page().to_latex().encode() for section in sections for one in section.tables}
    for one in (picture for section in sections for picture in section.pictures):
        files |= {f"{one.name}.svg": one.drawing.svg.encode(), f"{one.name}.png": one.drawing.png}
    return files | {"report.html": page.encode()}


def _summary(content: ReportContent) -> str:
    """The finding in two sentences, with its intervals and what it must be held against."""
    table = performance_table(content.truth, (), [content.main])
    row = dict(zip(table.columns, table.rows[0], strict=True))
    commoner, majority = majority_baseline(content.truth)
    malignant = len(content.cases_of(Diagnosis.MALIGNANT))
    area = "" if row["AUC"] is None else f", area under the ROC curve {row['AUC']}"
    return (
        f"{len(content.truth)} cases, {malignant} malignant. {content.main.name}: sensitivity {row['sensitivity']}, "
        f"specificity {row['specificity']}, accuracy {row['accuracy']}{area} (95% intervals). Always answering "
        f"{commoner} has an accuracy of {majority.accuracy}."
    )

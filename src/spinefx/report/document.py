"""The report as one self-contained HTML page with its tables and figures as files. Home of Jinja."""

from __future__ import annotations

import base64
from dataclasses import replace

import jinja2

from spinefx.report.content import ReportContent
from spinefx.report.sections import build_sections
from spinefx.statistics.accuracy import majority_baseline
from spinefx.statistics.performance import performance_table
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import RESEARCH_USE_ONLY, Diagnosis

__all__ = ["PHANTOM_NOTICE", "render_report"]

PHANTOM_NOTICE = "Phantom: synthetic images; these figures say nothing about patients."
# A table with more rows is folded, and the page shows at most this many of them; its file holds all.
ROWS_OPEN, ROWS_SHOWN = 40, 500


def render_report(content: ReportContent) -> dict[str, bytes]:
    """Render all files of a report.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    dict of str to bytes
        By file name: every table as TSV (those that are not folded also as LaTeX), all tables as one Word document,
        every figure as SVG and PNG, and ``report.html``, which needs no other file and no network.
    """
    sections = tuple(build_sections(content))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spinefx.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    page = environment.get_template("report.html").render(
        content=content,
        sections=sections,
        summary=_summary(content),
        research_use_only=RESEARCH_USE_ONLY,
        rows_open=ROWS_OPEN,
        rows_shown=ROWS_SHOWN,
    )
    # Imported here because loading python-docx takes longer than rendering a table.
    from spinefx.report.word import word_document

    def for_paper(table: ResultTable) -> ResultTable:
        """Return the table for use outside the page, with ``(phantom)`` in its title if it is of one."""
        shown = table.for_page(ROWS_SHOWN)
        return replace(shown, title=f"{shown.title} (phantom)") if content.phantom else shown

    tables = [table for section in sections for table in (*section.tables, *section.folded)]
    files = {f"{table.name}.tsv": table.to_tsv().encode() for table in tables}
    files |= {f"{one.name}.tex": for_paper(one).to_latex().encode() for part in sections for one in part.tables}
    parts = [(part.title, [for_paper(one) for one in (*part.tables, *part.folded)]) for part in sections]
    stamps = (*([PHANTOM_NOTICE] if content.phantom else []), RESEARCH_USE_ONLY)
    files |= {"tables.docx": word_document(content.title, parts, stamps)}
    for one in (picture for section in sections for picture in section.pictures):
        files |= {f"{one.name}.svg": one.drawing.svg.encode(), f"{one.name}.png": one.drawing.png}
    return files | {"report.html": page.encode()}


def _summary(content: ReportContent) -> str:
    """Summarise the result in two sentences, with intervals and the majority baseline."""
    diagnosis, baseline = majority_baseline(content.truth)
    malignant = len(content.cases_of(Diagnosis.MALIGNANT))
    if not content.models:
        return (
            f"{len(content.truth)} cases, {malignant} malignant, and {len(content.human_readings)} readers, without a "
            f"model. Always diagnosing {diagnosis} would have an accuracy of {baseline.accuracy}."
        )
    table = performance_table(content.truth, (), [content.main])
    row = dict(zip(table.columns, table.rows[0], strict=True))
    area = "" if row["AUC"] is None else f", area under the ROC curve {row['AUC']}"
    return (
        f"{len(content.truth)} cases, {malignant} malignant. {content.main.name}: sensitivity {row['sensitivity']}, "
        f"specificity {row['specificity']}, accuracy {row['accuracy']}{area} (95% intervals). Always diagnosing "
        f"{diagnosis} would have an accuracy of {baseline.accuracy}."
    )

"""One self-contained page, and the tables and figures beside it. Home of Jinja."""

from __future__ import annotations

import base64
from dataclasses import replace

import jinja2

from spinefx.report.content import ReportContent
from spinefx.report.sections import build_sections
from spinefx.statistics.accuracy import majority_baseline
from spinefx.statistics.performance import performance_table
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Diagnosis

__all__ = ["render_report"]

PHANTOM = "Phantom: synthetic images; these figures say nothing about patients."
RESEARCH = "Research use only. Not a medical device."
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
        By file name: one TSV a table (LaTeX too, of those that the page shows at once), all tables as one Word
        document, each figure as SVG and PNG, and ``report.html``, which needs no other file and no network.
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
        content=content, sections=sections, summary=_summary(content), rows_open=ROWS_OPEN, rows_shown=ROWS_SHOWN
    )
    # Loading python-docx takes longer than any table.
    from spinefx.report.word import word_document

    def for_paper(table: ResultTable) -> ResultTable:
        """What leaves the page takes with it that it is of a phantom."""
        shown = table.for_page(ROWS_SHOWN)
        return replace(shown, title=f"{shown.title} (phantom)") if content.phantom else shown

    tables = [table for section in sections for table in (*section.tables, *section.folded)]
    files = {f"{table.name}.tsv": table.to_tsv().encode() for table in tables}
    files |= {f"{one.name}.tex": for_paper(one).to_latex().encode() for part in sections for one in part.tables}
    parts = [(part.title, [for_paper(one) for one in (*part.tables, *part.folded)]) for part in sections]
    stamps = (*([PHANTOM] if content.phantom else []), RESEARCH)
    files |= {"tables.docx": word_document(content.title, parts, stamps)}
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

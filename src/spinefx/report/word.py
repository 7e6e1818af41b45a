"""The tables of a report as one Word document, byte for byte reproducible. Home of python-docx."""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Sequence
from xml.sax.saxutils import escape

import docx
from docx.document import Document
from docx.enum.section import WD_ORIENT, WD_SECTION
from docx.enum.style import WD_STYLE_TYPE
from docx.oxml.ns import nsdecls, qn
from docx.oxml.parser import parse_xml
from docx.shared import Mm, Pt, RGBColor
from docx.text.paragraph import Paragraph

from spinefx.statistics.table import ResultTable
from spinefx.statistics.typesetting import column_widths, fits, is_numeric, printable
from spinefx.vocabulary import RESEARCH_USE_ONLY

__all__ = ["word_document"]

LANGUAGE = "en-GB"
# A Word document records its date of creation; a constant keeps the bytes reproducible.
MADE = datetime.datetime(1980, 1, 1)
TWIPS_PER_MM = 1440 / 25.4
SHORT_EDGE_MM, LONG_EDGE_MM, MARGIN_MM = 210, 297, 18
# Padding at either side of a cell.
GAP_TWIPS = 60
# Paragraph styles of table text: name, size in points, characters per millimetre of a line.
SIZES = (("Table Text", 9.0, 0.52), ("Table Text Small", 7.0, 0.67))
FONT = "Arial"
# A table with no more rows than this is kept on one page.
ROWS_TOGETHER = 20
RULE, HEAVY_RULE = (f'w:val="single" w:sz="{eighths}" w:space="0" w:color="000000"' for eighths in (4, 10))


def word_document(title: str, parts: Sequence[tuple[str, Sequence[ResultTable]]], stamps: Sequence[str]) -> bytes:
    """Write tables under headings in a Word document (Office Open XML, ISO/IEC 29500).

    Parameters
    ----------
    title : str
    parts : sequence of (str, sequence of ResultTable)
        Headings with the tables under each; a heading without tables is left out.
    stamps : sequence of str
        Notices to print on every page.

    Returns
    -------
    bytes
        Content of a ``.docx`` file: three-line tables with numbered captions, headers repeated on each page and notes
        below; pages with wide tables are landscape.
    """
    document = docx.Document()
    _describe(document, printable(title))
    _add_styles(document)
    _orient(document, landscape=False)
    _stamp(document, [printable(title), *map(printable, stamps)])
    document.add_paragraph(printable(title), "Title")
    number, landscape = 0, False
    for heading, tables in parts:
        for place, table in enumerate(tables):
            rows = [list(table.columns), *table.to_text()]
            wide = not fits(rows, _line_width(rows, False, SIZES[0][2]))
            if wide != landscape:
                document.add_section(WD_SECTION.NEW_PAGE)
                _orient(document, landscape=wide)
                landscape = wide
            if place == 0:
                document.add_heading(printable(heading), 1)
            number += 1
            caption = document.add_paragraph(style="Caption")
            _add_field(caption, "Table ", "SEQ Table \\* ARABIC", str(number))
            caption.add_run(f". {printable(table.title)}")
            _add_table(document, table, rows, wide)
            document.add_paragraph(printable(table.note), "Table Note")
    return _packed(document)


def _line_width(rows: Sequence[Sequence[str]], landscape: bool, density: float) -> int:
    """Return the number of characters in a line, not counting the gaps between columns."""
    line_mm = (LONG_EDGE_MM if landscape else SHORT_EDGE_MM) - 2 * MARGIN_MM
    return int((line_mm - len(rows[0]) * 2 * GAP_TWIPS / TWIPS_PER_MM) * density)


def _describe(document: Document, title: str) -> None:
    core = document.core_properties
    core.title, core.author, core.last_modified_by, core.language = title[:255], "spinefx", "spinefx", LANGUAGE
    core.comments, core.created, core.modified, core.revision = RESEARCH_USE_ONLY, MADE, MADE, 1
    for language in document.styles.element.iter(qn("w:lang")):
        language.set(qn("w:val"), LANGUAGE)


def _add_styles(document: Document) -> None:
    for name, size, _ in (*SIZES, ("Table Note", 8.0, 0.0)):
        style = document.styles.add_style(name, WD_STYLE_TYPE.PARAGRAPH)
        style.base_style = document.styles["Normal"]
        style.font.size = Pt(size)
        style.paragraph_format.space_before = Pt(1)
        style.paragraph_format.space_after = Pt(14 if name == "Table Note" else 1)
        style.paragraph_format.line_spacing = 1.0
    for name in ("Normal", "Title", "Heading 1", "Caption"):
        font = document.styles[name].font
        font.name, font.color.rgb = FONT, RGBColor(0, 0, 0)
        # A theme font would take precedence over the named one.
        fonts = document.styles[name].element.rPr.rFonts
        for theme in [key for key in fonts.attrib if "Theme" in key]:
            del fonts.attrib[theme]
    document.styles["Title"].font.size = Pt(18)
    document.styles["Caption"].paragraph_format.keep_with_next = True
    document.styles["Caption"].paragraph_format.space_after = Pt(4)


def _orient(document: Document, *, landscape: bool) -> None:
    """Set the orientation of the last section's pages."""
    section = document.sections[-1]
    section.orientation = WD_ORIENT.LANDSCAPE if landscape else WD_ORIENT.PORTRAIT
    edges = (LONG_EDGE_MM, SHORT_EDGE_MM) if landscape else (SHORT_EDGE_MM, LONG_EDGE_MM)
    section.page_width, section.page_height = map(Mm, edges)
    section.left_margin = section.right_margin = section.top_margin = section.bottom_margin = Mm(MARGIN_MM)


def _stamp(document: Document, notices: Sequence[str]) -> None:
    """Write header and footer of every page; later sections inherit them."""
    section = document.sections[0]
    head, foot = section.header.paragraphs[0], section.footer.paragraphs[0]
    head.style = foot.style = document.styles["Table Text Small"]
    head.add_run(" · ".join(notices))
    foot.add_run(f"{' · '.join(notices[1:])} · ")
    _add_field(foot, "Page ", "PAGE", "1")
    _add_field(foot, " of ", "NUMPAGES", "1")


def _add_field(paragraph: Paragraph, before: str, instruction: str, shown: str) -> None:
    """Add text followed by a number that Word keeps up to date."""
    paragraph.add_run(before)
    xml = f'<w:fldSimple {nsdecls("w")} w:instr="{instruction}"><w:r><w:t>{shown}</w:t></w:r></w:fldSimple>'
    paragraph._p.append(parse_xml(xml))


def _add_table(document: Document, table: ResultTable, rows: Sequence[Sequence[str]], wide: bool) -> None:
    """Add a table as XML, because python-docx takes a minute to add some thousand rows cell by cell."""
    style, _, density = next((one for one in SIZES if fits(rows, _line_width(rows, wide, one[2]))), SIZES[-1])
    line_width = _line_width(rows, wide, density)
    shares = column_widths(rows, line_width)
    # If even the longest words do not fit, all columns shrink in proportion.
    letter = TWIPS_PER_MM / density * min(1.0, line_width / sum(shares))
    widths = [int(letter * share) + 2 * GAP_TWIPS for share in shares]
    numeric = [is_numeric(rows[1:], place) for place in range(len(widths))]
    caption = escape(printable(table.title), {'"': "&quot;"})
    # Keep the header with the first row and the last row with the note.
    kept = set(range(len(rows))) if len(rows) <= ROWS_TOGETHER else {0, len(rows) - 1}
    gap = f'w:w="{GAP_TWIPS}" w:type="dxa"'
    grid = "".join(f'<w:gridCol w:w="{width}"/>' for width in widths)
    body = "".join(
        f"<w:tr><w:trPr><w:cantSplit/>{'' if place else '<w:tblHeader/>'}</w:trPr>"
        + "".join(
            _cell(*cell, style.replace(" ", ""), head=place == 0, keep=place in kept)
            for cell in zip(row, widths, numeric, strict=True)
        )
        + "</w:tr>"
        for place, row in enumerate(rows)
    )
    xml = (
        f'<w:tbl {nsdecls("w")}><w:tblPr><w:tblW w:w="{sum(widths)}" w:type="dxa"/>'
        f"<w:tblBorders><w:top {HEAVY_RULE}/><w:bottom {HEAVY_RULE}/></w:tblBorders>"
        f'<w:tblLayout w:type="fixed"/><w:tblCellMar><w:left {gap}/><w:right {gap}/></w:tblCellMar>'
        f'<w:tblLook w:val="0020" w:firstRow="1"/><w:tblCaption w:val="{caption}"/></w:tblPr>'
        f"<w:tblGrid>{grid}</w:tblGrid>{body}</w:tbl>"
    )
    # Insert it before the properties of the last section, which must come last.
    document.element.body._insert_tbl(parse_xml(xml))


def _cell(text: str, width_twips: int, right: bool, style: str, *, head: bool, keep: bool) -> str:
    side, keep_next = "right" if right else "left", "<w:keepNext/>" if keep else ""
    rule = f"<w:tcBorders><w:bottom {RULE}/></w:tcBorders>" if head else ""
    return (
        f'<w:tc><w:tcPr><w:tcW w:w="{width_twips}" w:type="dxa"/>{rule}'
        f'<w:vAlign w:val="{"bottom" if head else "top"}"/></w:tcPr>'
        f'<w:p><w:pPr><w:pStyle w:val="{style}"/>{keep_next}<w:jc w:val="{side}"/></w:pPr>'
        f"<w:r>{'<w:rPr><w:b/></w:rPr>' if head else ''}"
        f'<w:t xml:space="preserve">{escape(printable(text))}</w:t></w:r></w:p></w:tc>'
    )


def _packed(document: Document) -> bytes:
    """Return the file with its parts in a fixed order and with a fixed date."""
    written, packed = io.BytesIO(), io.BytesIO()
    document.save(written)
    with zipfile.ZipFile(written) as found, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as kept:
        for name in found.namelist():
            # Word expects the list of parts first, which is where python-docx puts it.
            kept.writestr(zipfile.ZipInfo(name, MADE.timetuple()[:6]), found.read(name), zipfile.ZIP_DEFLATED)
    return packed.getvalue()

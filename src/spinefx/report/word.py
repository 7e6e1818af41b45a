"""The tables of a report as one Word document, the same to the byte for the same data. Home of python-docx."""

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

from spinefx.statistics.columns import column_widths, fits, is_numeric, printable
from spinefx.statistics.table import ResultTable

__all__ = ["word_document"]

LANGUAGE = "en-GB"
# A document says when it was made; this one is made of its data alone.
MADE = datetime.datetime(1980, 1, 1)
TWIPS_PER_MM = 1440 / 25.4
SHORT_EDGE_MM, LONG_EDGE_MM, MARGIN_MM = 210, 297, 18
# At either side of a cell.
GAP_TWIPS = 60
# Letters of a table: points, and how many of them stand in a millimetre of a line.
SIZES = (("Table Text", 9.0, 0.52), ("Table Text Small", 7.0, 0.67))
FONT = "Arial"
# So short a table stands on one page.
ROWS_TOGETHER = 20
RULE, HEAVY_RULE = (f'w:val="single" w:sz="{eighths}" w:space="0" w:color="000000"' for eighths in (4, 10))


def word_document(title: str, parts: Sequence[tuple[str, Sequence[ResultTable]]], stamps: Sequence[str]) -> bytes:
    """Set tables under headings in a Word document (Office Open XML, ISO/IEC 29500).

    Parameters
    ----------
    title : str
    parts : sequence of (str, sequence of ResultTable)
        Headings and what stands under each; a heading without tables is left out.
    stamps : sequence of str
        What must be said on every page.

    Returns
    -------
    bytes
        Of a ``.docx``: numbered captions, three-line tables whose header comes again on each page, notes below; a
        page lies on its side where its table is wide.
    """
    document = docx.Document()
    _describe(document, printable(title))
    _add_styles(document)
    _turn(document, sideways=False)
    _stamp(document, [printable(title), *map(printable, stamps)])
    document.add_paragraph(printable(title), "Title")
    number, lying = 0, False
    for heading, tables in parts:
        for place, table in enumerate(tables):
            rows = [list(table.columns), *table.to_text()]
            wide = not fits(rows, _room(rows, False, SIZES[0][2]))
            if wide != lying:
                document.add_section(WD_SECTION.NEW_PAGE)
                _turn(document, sideways=wide)
                lying = wide
            if place == 0:
                document.add_heading(printable(heading), 1)
            number += 1
            caption = document.add_paragraph(style="Caption")
            _add_field(caption, "Table ", "SEQ Table \\* ARABIC", str(number))
            caption.add_run(f". {printable(table.title)}")
            _add_table(document, table, rows, wide)
            document.add_paragraph(printable(table.note), "Table Note")
    return _packed(document)


def _room(rows: Sequence[Sequence[str]], sideways: bool, density: float) -> int:
    """Characters in a line, less what stands between columns."""
    line_mm = (LONG_EDGE_MM if sideways else SHORT_EDGE_MM) - 2 * MARGIN_MM
    return int((line_mm - len(rows[0]) * 2 * GAP_TWIPS / TWIPS_PER_MM) * density)


def _describe(document: Document, title: str) -> None:
    said = document.core_properties
    said.title, said.author, said.last_modified_by, said.language = title[:255], "spinefx", "spinefx", LANGUAGE
    said.comments, said.created, said.modified, said.revision = "Research use only.", MADE, MADE, 1
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
        # A font of the theme would win over the one named.
        fonts = document.styles[name].element.rPr.rFonts
        for theme in [key for key in fonts.attrib if "Theme" in key]:
            del fonts.attrib[theme]
    document.styles["Title"].font.size = Pt(18)
    document.styles["Caption"].paragraph_format.keep_with_next = True
    document.styles["Caption"].paragraph_format.space_after = Pt(4)


def _turn(document: Document, *, sideways: bool) -> None:
    """Lay the last section's pages on their side, or stand them up."""
    section = document.sections[-1]
    section.orientation = WD_ORIENT.LANDSCAPE if sideways else WD_ORIENT.PORTRAIT
    edges = (LONG_EDGE_MM, SHORT_EDGE_MM) if sideways else (SHORT_EDGE_MM, LONG_EDGE_MM)
    section.page_width, section.page_height = map(Mm, edges)
    section.left_margin = section.right_margin = section.top_margin = section.bottom_margin = Mm(MARGIN_MM)


def _stamp(document: Document, said: Sequence[str]) -> None:
    """Head and foot of every page; later sections take them over."""
    section = document.sections[0]
    head, foot = section.header.paragraphs[0], section.footer.paragraphs[0]
    head.style = foot.style = document.styles["Table Text Small"]
    head.add_run(" · ".join(said))
    foot.add_run(f"{' · '.join(said[1:])} · ")
    _add_field(foot, "Page ", "PAGE", "1")
    _add_field(foot, " of ", "NUMPAGES", "1")


def _add_field(paragraph: Paragraph, before: str, instruction: str, shown: str) -> None:
    """Text, and a number that Word keeps up to date."""
    paragraph.add_run(before)
    xml = f'<w:fldSimple {nsdecls("w")} w:instr="{instruction}"><w:r><w:t>{shown}</w:t></w:r></w:fldSimple>'
    paragraph._p.append(parse_xml(xml))


def _add_table(document: Document, table: ResultTable, rows: Sequence[Sequence[str]], wide: bool) -> None:
    """Written as XML at once: python-docx's own cells take a minute for some thousand rows."""
    style, _, density = next((one for one in SIZES if fits(rows, _room(rows, wide, one[2]))), SIZES[-1])
    room = _room(rows, wide, density)
    shares = column_widths(rows, room)
    # Where even the longest words are too many, all columns give way alike.
    letter = TWIPS_PER_MM / density * min(1.0, room / sum(shares))
    widths = [int(letter * share) + 2 * GAP_TWIPS for share in shares]
    numeric = [is_numeric(rows[1:], place) for place in range(len(widths))]
    named = escape(printable(table.title), {'"': "&quot;"})
    # The header stays with the first row, the last row with the note.
    bound = set(range(len(rows))) if len(rows) <= ROWS_TOGETHER else {0, len(rows) - 1}
    gap = f'w:w="{GAP_TWIPS}" w:type="dxa"'
    grid = "".join(f'<w:gridCol w:w="{width}"/>' for width in widths)
    body = "".join(
        f"<w:tr><w:trPr><w:cantSplit/>{'' if place else '<w:tblHeader/>'}</w:trPr>"
        + "".join(
            _cell(*cell, style.replace(" ", ""), head=place == 0, bound=place in bound)
            for cell in zip(row, widths, numeric, strict=True)
        )
        + "</w:tr>"
        for place, row in enumerate(rows)
    )
    xml = (
        f'<w:tbl {nsdecls("w")}><w:tblPr><w:tblW w:w="{sum(widths)}" w:type="dxa"/>'
        f"<w:tblBorders><w:top {HEAVY_RULE}/><w:bottom {HEAVY_RULE}/></w:tblBorders>"
        f'<w:tblLayout w:type="fixed"/><w:tblCellMar><w:left {gap}/><w:right {gap}/></w:tblCellMar>'
        f'<w:tblLook w:val="0020" w:firstRow="1"/><w:tblCaption w:val="{named}"/></w:tblPr>'
        f"<w:tblGrid>{grid}</w:tblGrid>{body}</w:tbl>"
    )
    # Before the properties of the last section, which Word wants at the end.
    document.element.body._insert_tbl(parse_xml(xml))


def _cell(text: str, width_twips: int, right: bool, style: str, *, head: bool, bound: bool) -> str:
    side, keep = "right" if right else "left", "<w:keepNext/>" if bound else ""
    rule = f"<w:tcBorders><w:bottom {RULE}/></w:tcBorders>" if head else ""
    return (
        f'<w:tc><w:tcPr><w:tcW w:w="{width_twips}" w:type="dxa"/>{rule}'
        f'<w:vAlign w:val="{"bottom" if head else "top"}"/></w:tcPr>'
        f'<w:p><w:pPr><w:pStyle w:val="{style}"/>{keep}<w:jc w:val="{side}"/></w:pPr>'
        f"<w:r>{'<w:rPr><w:b/></w:rPr>' if head else ''}"
        f'<w:t xml:space="preserve">{escape(printable(text))}</w:t></w:r></w:p></w:tc>'
    )


def _packed(document: Document) -> bytes:
    """The file's parts in a fixed order and at a fixed time."""
    written, packed = io.BytesIO(), io.BytesIO()
    document.save(written)
    with zipfile.ZipFile(written) as found, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as kept:
        for name in found.namelist():
            # Word looks for the list of parts first, where python-docx puts it.
            kept.writestr(zipfile.ZipInfo(name, MADE.timetuple()[:6]), found.read(name), zipfile.ZIP_DEFLATED)
    return packed.getvalue()

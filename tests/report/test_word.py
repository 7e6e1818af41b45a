"""The Word document holds every table, and text from the data literally."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable

from spinefx.report.word import word_document
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import RESEARCH_USE_ONLY

Rendered = Callable[[str], dict[str, bytes]]

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
SPECIAL = (
    "~ ^ \\ & % $ # _ { } < > | ` \" ' [1] * -- ± − ≤ κ Σ é ß ł 王 Þ \u2028 \x00\x0b\ud800\ufffe <w:p/> ]]> \\input{x}"
)
TABLE = ResultTable(
    "t_1",
    f"A {SPECIAL}",
    ("reader", f"c {SPECIAL}", "sensitivity"),
    ((f"[{SPECIAL}", f"*{SPECIAL}\n\n{SPECIAL}", Estimate(0.5, 0.2, 0.8, 1, 2)), ("b" * 90, "", None)),
    f"Note {SPECIAL}",
)


def parts_of(document: bytes) -> dict[str, ET.Element]:
    with zipfile.ZipFile(io.BytesIO(document)) as packed:
        assert packed.testzip() is None
        assert {one.date_time for one in packed.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        return {
            name: ET.fromstring(packed.read(name)) for name in packed.namelist() if name.endswith((".xml", ".rels"))
        }


def text_of(element: ET.Element) -> str:
    return "".join(one.text or "" for one in element.iter(f"{W}t"))


def grids_of(document: bytes) -> list[list[list[str]]]:
    """Return the rows of each table, read from the XML."""
    body = parts_of(document)["word/document.xml"]
    return [
        [[text_of(cell) for cell in row.iter(f"{W}tc")] for row in table.iter(f"{W}tr")]
        for table in body.iter(f"{W}tbl")
    ]


def test_every_table_has_the_rows_of_its_tsv(rendered: Rendered) -> None:
    files = rendered("plain")
    grids = grids_of(files["tables.docx"])
    tsv = [name for name in files if name.endswith(".tsv")]
    assert len(grids) == len(tsv) > 20
    (table2,) = [grid for grid in grids if grid[0][:2] == ["reader", "kind"] and "TP" in grid[0]]
    expected = [line.split("\t")[:7] for line in files["table2.tsv"].decode().splitlines()]
    assert [row[:7] for row in table2] == expected
    body = parts_of(files["tables.docx"])["word/document.xml"]
    styled = {text_of(one): one.find(f"{W}pPr/{W}pStyle") for one in body.iter(f"{W}p")}
    captions = [text for text, style in styled.items() if style is not None and style.get(f"{W}val") == "Caption"]
    assert [text.split(".")[0] for text in captions] == [f"Table {number}" for number in range(1, len(tsv) + 1)]
    assert all(text.endswith("(phantom)") for text in captions)


def test_notices_are_on_every_page(rendered: Rendered) -> None:
    files = rendered("plain")
    parts = parts_of(files["tables.docx"])
    for place in ("header1", "footer1"):
        text = text_of(parts[f"word/{place}.xml"])
        assert "Phantom: synthetic images" in text
        assert RESEARCH_USE_ONLY in text
    # The first section has the header and the footer; later sections inherit them.
    sections = list(parts["word/document.xml"].iter(f"{W}sectPr"))
    assert [len(one.findall(f"{W}headerReference")) for one in sections] == [1, *[0] * (len(sections) - 1)]
    shapes = {one.find(f"{W}pgSz").get(f"{W}orient", "portrait") for one in sections}  # type: ignore[union-attr]
    assert shapes == {"portrait", "landscape"}
    assert {one.get(f"{W}val") for one in parts["word/styles.xml"].iter(f"{W}lang")} == {"en-GB"}
    core = {one.tag.rpartition("}")[2]: one.text for one in parts["docProps/core.xml"]}
    assert (core["title"], core["language"], core["modified"]) == ("r_1 ", "en-GB", "1980-01-01T00:00:00Z")


def test_tables_have_three_rules_and_repeat_their_header(rendered: Rendered) -> None:
    files = rendered("plain")
    for table in parts_of(files["tables.docx"])["word/document.xml"].iter(f"{W}tbl"):
        rows = list(table.iter(f"{W}tr"))
        assert [len(list(row.iter(f"{W}tblHeader"))) for row in rows] == [1, *[0] * (len(rows) - 1)]
        (borders,) = table.iter(f"{W}tblBorders")
        assert [one.tag for one in borders] == [f"{W}top", f"{W}bottom"]
        assert all(
            len(list(row.iter(f"{W}tcBorders"))) == (len(row.findall(f"{W}tc")) if n == 0 else 0)
            for n, row in enumerate(rows)
        )
        width = sum(int(one.get(f"{W}w", "0")) for one in table.iter(f"{W}gridCol"))
        assert 0 < width <= (297 - 36) * 1440 / 25.4


def test_any_text_is_written_reproducibly() -> None:
    document = word_document(SPECIAL, [(SPECIAL, [TABLE]), ("nothing under it", [])], [SPECIAL])
    assert document == word_document(SPECIAL, [(SPECIAL, [TABLE]), ("nothing under it", [])], [SPECIAL])
    (grid,) = grids_of(document)
    shown = SPECIAL.replace("\u2028", " ")
    shown = re.sub("[\x00\ud800\ufffe]", "\ufffd", shown.replace("\x0b", " "))
    assert grid[0] == ["reader", f"c {shown}", "sensitivity"]
    assert grid[1] == [f"[{shown}", f"*{shown} {shown}", "50% (1/2) [20, 80]"]
    body = text_of(parts_of(document)["word/document.xml"])
    assert body.count(shown) == 8
    assert "nothing under it" not in body

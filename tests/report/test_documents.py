"""Tables for Word and LaTeX: what the data hold stands in them as it is, whole, and the same again."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from spinefx.report.content import ReportContent
from spinefx.report.document import render_report
from spinefx.report.word import word_document
from spinefx.statistics.columns import column_widths, is_numeric
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.latex import escape
from spinefx.statistics.table import ResultTable

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
PREAMBLE = r"\documentclass[a4paper]{article}\usepackage{array,booktabs,longtable,lscape}\begin{document}"


@pytest.fixture(scope="module")
def files(small_study: Callable[[str], ReportContent]) -> dict[str, bytes]:
    return render_report(small_study("r_1 "))


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
    """Rows of each table, as another reader than the writer sees them."""
    body = parts_of(document)["word/document.xml"]
    return [
        [[text_of(cell) for cell in row.iter(f"{W}tc")] for row in table.iter(f"{W}tr")]
        for table in body.iter(f"{W}tbl")
    ]


def test_word_holds_every_table_with_the_same_rows(files: dict[str, bytes]) -> None:
    grids = grids_of(files["tables.docx"])
    tsv = [name for name in files if name.endswith(".tsv")]
    assert len(grids) == len(tsv) > 20
    (table2,) = [grid for grid in grids if grid[0][:2] == ["reader", "kind"] and "TP" in grid[0]]
    expected = [line.split("\t")[:7] for line in files["table2.tsv"].decode().splitlines()]
    assert [row[:7] for row in table2] == expected
    body = parts_of(files["tables.docx"])["word/document.xml"]
    styled = {text_of(one): one.find(f"{W}pPr/{W}pStyle") for one in body.iter(f"{W}p")}
    captions = [said for said, style in styled.items() if style is not None and style.get(f"{W}val") == "Caption"]
    assert [said.split(".")[0] for said in captions] == [f"Table {number}" for number in range(1, len(tsv) + 1)]
    assert all(said.endswith("(phantom)") for said in captions)


def test_word_says_on_every_page_what_it_is_of(files: dict[str, bytes]) -> None:
    parts = parts_of(files["tables.docx"])
    for place in ("header1", "footer1"):
        said = text_of(parts[f"word/{place}.xml"])
        assert "Phantom: synthetic images" in said
        assert "Research use only." in said
    # One header and footer for all sections: the first has them, later ones take them over.
    sections = list(parts["word/document.xml"].iter(f"{W}sectPr"))
    assert [len(one.findall(f"{W}headerReference")) for one in sections] == [1, *[0] * (len(sections) - 1)]
    shapes = {one.find(f"{W}pgSz").get(f"{W}orient", "portrait") for one in sections}  # type: ignore[union-attr]
    assert shapes == {"portrait", "landscape"}
    assert {one.get(f"{W}val") for one in parts["word/styles.xml"].iter(f"{W}lang")} == {"en-GB"}
    core = {one.tag.rpartition("}")[2]: one.text for one in parts["docProps/core.xml"]}
    assert (core["title"], core["language"], core["modified"]) == ("r_1 ", "en-GB", "1980-01-01T00:00:00Z")


def test_word_sets_tables_with_three_lines_and_a_header_on_each_page(files: dict[str, bytes]) -> None:
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


def test_word_is_the_same_again_and_takes_any_text() -> None:
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


def test_tsv_keeps_its_rows_whatever_the_cells_hold() -> None:
    lines = TABLE.to_tsv()[:-1].split("\n")
    assert [line.count("\t") for line in lines] == [4, 4, 4]
    assert "\x00" not in TABLE.to_tsv()


@pytest.mark.parametrize(
    ("text", "set_as"),
    [
        ("50% & x_1 #2 $3", r"50\% \& x\_1 \#2 \$3"),
        ("{y} a\\b", r"\{y\} a\textbackslash{}b"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
        ("a < b > c | d", r"a \textless{} b \textgreater{} c \textbar{} d"),
        ("[1] *", r"{[}1{]} {*}"),
        ("a--b---c ''", r"a-{}-b-{}-{}-c '{}'"),
        ('1–2 "q" `', r"1--2 ''q'' \textasciigrave{}"),
        ("0.5 ± 0.1, −2 ≤ κ", r"0.5 \ensuremath{\pm} 0.1, \ensuremath{-}2 \ensuremath{\leq} \ensuremath{\kappa}"),
        ("ΑΩ λ", r"A\ensuremath{\Omega} \ensuremath{\lambda}"),
        ("é ü ł", "é ü ł"),
        ("王", r"\ifdefined\Umathchar 王\else U+738B\fi{}"),
        ("a\tb\r\n\r\nc\x00", r"a b c" + r"\ifdefined\Umathchar " + "\ufffd" + r"\else U+FFFD\fi{}"),
        ("abcdefghijklmnopq", r"abcd\allowbreak efgh\allowbreak ijkl\allowbreak mnop\allowbreak q"),
    ],
)
def test_latex_sets_text_as_it_stands(text: str, set_as: str) -> None:
    assert escape(text) == set_as


def test_latex_has_as_many_cells_in_each_row(files: dict[str, bytes]) -> None:
    tex = [name for name in files if name.endswith(".tex")]
    assert len(tex) > 12
    for name in tex:
        text = files[name].decode()
        assert r"(phantom)}\label" in text
        lines = [line.replace(r"\&", "") for line in text.splitlines() if r" \\" in line]
        assert len({line.count("&") for line in lines}) == 1
        # The header stands there twice, for the first page and for those that follow.
        assert len(lines) == files[name.replace(".tex", ".tsv")].count(b"\n") + 1


def test_columns_share_a_line_fairly() -> None:
    rows = [["name", "n", "remark"], ["a", "10", "word " * 40], ["b", "9", ""]]
    assert column_widths(rows, 60) == [5, 3, 52]
    assert column_widths(rows, 9) == [5, 3, 7]
    assert column_widths([["a", "b"], ["1", "2"]], 60) == [2, 2]
    assert [is_numeric([["1", "94% (47/50) [84, 98]", "12 of L1"], ["2", "–", "none"]], n) for n in range(3)] == [
        False,
        True,
        False,
    ]


def test_latex_compiles_and_nothing_sticks_out(files: dict[str, bytes], tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    tables = [TABLE.to_latex(), *(data.decode() for name, data in sorted(files.items()) if name.endswith(".tex"))]
    (tmp_path / "all.tex").write_text("\n".join((PREAMBLE, *tables, r"\end{document}")), encoding="utf-8")
    run = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, timeout=300, check=False)
    said = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, said[-2000:]
    assert (tmp_path / "all.pdf").read_bytes().startswith(b"%PDF")
    assert not re.findall(r"^(?:!|Overfull|Missing character).*", said, flags=re.M)

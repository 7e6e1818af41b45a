"""The page of a report is complete, accessible and safe, and reproducible to the byte."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from spinefx.report.content import ReportContent
from spinefx.report.document import render_report
from spinefx.vocabulary import RESEARCH_USE_ONLY

Rendered = Callable[[str], dict[str, bytes]]


class Outline(HTMLParser):
    """The elements of a page with their attributes, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_text_from_the_data_cannot_inject_markup(rendered: Rendered) -> None:
    files = rendered("hostile")
    page = files["report.html"].decode()
    outline = Outline(page)
    assert not outline.all("script")
    assert all((one["src"] or "").startswith("data:image/png;base64,") for one in outline.all("img"))
    assert not [name for _, attributes in outline.elements for name in attributes if name.startswith("on")]
    assert page.count("&lt;script&gt;") > 50
    for name in ("roc", "calibration", "decision"):
        drawn = ET.fromstring(files[f"{name}.svg"])
        assert not [one for one in drawn.iter() if one.tag.rpartition("}")[2] in {"script", "img", "image"}]


def test_the_page_is_accessible(rendered: Rendered) -> None:
    """It has headings in order, captions, scopes, text alternatives, unique identifiers and working links."""
    outline = Outline(rendered("plain")["report.html"].decode())
    assert [tag for tag, _ in outline.elements if tag in {"h1", "h2", "h3"}][:2] == ["h1", "h2"]
    assert len(outline.all("h1")) == 1
    assert len(outline.all("caption")) == len(outline.all("table")) > 15
    assert all(one.get("scope") in {"col", "row"} for one in outline.all("th"))
    assert all(one.get("aria-label") for one in outline.all("div") if one.get("role"))
    assert len([one for one in outline.all("div") if one.get("role") == "img"]) == len(outline.all("svg")) == 3
    names = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for link in outline.all("a"):
        assert (link["href"] or "").removeprefix("#") in names
    used = [value for one in outline.all("use") for key, value in one.items() if "href" in key]
    assert used
    assert {str(value).removeprefix("#") for value in used} <= set(names)


def test_the_same_data_give_the_same_bytes(small: ReportContent, rendered: Rendered) -> None:
    assert render_report(small) == rendered("plain")


def test_the_page_is_complete_and_needs_no_network(small: ReportContent, rendered: Rendered) -> None:
    files = rendered("plain")
    tables = {"table2.tsv", "slices.tsv", "folds.tsv", "cases.tsv", "cohort.tsv"}
    assert set(files) >= {"report.html", "roc.svg", "roc.png", "tables.docx", *tables}
    page = files["report.html"].decode()
    assert "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*\"", re.sub(r"<svg.*?</svg>", "", page, flags=re.S))
    assert 'lang="en"' in page
    wrong = sum(one.diagnosis != small.truth[one.case_id] for one in small.main.readings)
    assert page.count("<img") == min(wrong, 24) > 0


def test_the_page_has_its_notices(rendered: Rendered) -> None:
    page = rendered("plain")["report.html"].decode()
    assert page.count(RESEARCH_USE_ONLY) == page.count("Phantom.") == page.count("Out of date.") == 1
    assert "(phantom)" in page


def test_long_tables_are_folded(
    small: ReportContent, rendered: Rendered, tables_only: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of twelve rows is open if twelve rows are allowed, and folded if eleven are."""
    folded = "<summary>Further paired comparisons (12 rows)</summary>"
    assert folded not in rendered("plain")["report.html"].decode()
    monkeypatch.setattr("spinefx.report.document.ROWS_OPEN", 11)
    assert folded in render_report(small)["report.html"].decode()
    monkeypatch.setattr("spinefx.report.document.ROWS_OPEN", 12)
    assert folded not in render_report(small)["report.html"].decode()

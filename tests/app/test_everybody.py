"""The pages without a mouse: a whole case, the order of Tab, and the list of routes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions

FOCUSED = """() => { const one = document.activeElement, style = getComputedStyle(one);
    return { tag: one.tagName, name: one.getAttribute('aria-label') || one.textContent.trim().slice(0, 40),
             outline: style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth) }; }"""


def focused(page: Any) -> dict[str, Any]:
    return dict(page.evaluate(FOCUSED))


@pytest.mark.every_browser
def test_a_whole_case_without_a_mouse(served: Any, page: Any) -> None:
    page.goto(f"{served.address}/annotate")
    page.get_by_test_id("next").wait_for()
    for _ in range(20):
        page.keyboard.press("Tab")
        now = focused(page)
        assert now["outline"] >= 1, now
        if now["name"].startswith("Continue with"):
            break
    page.keyboard.press("Enter")
    page.get_by_text("Not marked yet").wait_for()
    assert focused(page)["name"] == "T2W image"
    for key in ("b", "b", *["Alt+ArrowUp"] * 3, "Alt+Shift+ArrowUp", "ArrowDown", "]", "v"):
        page.keyboard.press(key)
        page.wait_for_timeout(120)
    assert focused(page)["name"] == "Level of the vertebra"
    page.keyboard.type("L3")
    page.keyboard.press("Enter")
    assert focused(page)["name"] == "T2W image"
    page.wait_for_timeout(500)
    page.get_by_text("Saved", exact=True).wait_for()
    lesion = next(one.lesion for one in read_lesions(Workspace.open(served.study)) if one.annotator == "local")
    assert (lesion.level, lesion.last_slice - lesion.first_slice) == ("L3", 1)
    page.keyboard.press("Control+z")
    page.wait_for_timeout(700)
    assert page.get_by_label("Level of the vertebra").input_value() == ""  # both letters were one step
    page.keyboard.press("Control+y")
    page.wait_for_timeout(700)
    # From the images to a button of the panel, which handles Space itself, and back.
    page.keyboard.press("Tab")
    assert focused(page)["name"] == "T1W image"
    page.keyboard.press("F6")
    assert focused(page)["name"] == "Box and level"
    for _ in range(20):
        page.keyboard.press("Tab")
        if focused(page)["name"].startswith("T1W: registered or unregistered"):
            break
    page.keyboard.press("Space")
    page.get_by_test_id("sync").filter(has_text="placed by its header").wait_for()
    page.keyboard.press("F6")
    assert focused(page)["name"] == "T1W image"
    page.keyboard.press("PageDown")
    page.get_by_role("heading", name="sub-002").wait_for()
    again = next(one.lesion for one in read_lesions(Workspace.open(served.study)) if one.annotator == "local")
    assert again == lesion


def test_tab_reaches_the_whole_page_and_shows_where_it_is(served: Any, page: Any) -> None:
    page.goto(f"{served.address}/annotate/sub-001")
    page.get_by_text("Not marked yet").wait_for()
    page.keyboard.press("F6")
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(focused(page))
        if seen[-1]["name"] == "API":
            break
    names = [one["name"] for one in seen]
    assert all(one["outline"] >= 1 for one in seen)
    wanted = ["Worklist", "Draw box (B)", "Undo", "Redo", "First slice ([)", "Last slice (])"]
    wanted += ["Level of the vertebra", "T1W: registered or unregistered (T)", "Delete box", "Show other boxes"]
    assert [name for name in names if name in wanted] == wanted
    assert names[-1] == "API"
    page.keyboard.press("F6")
    page.keyboard.press("Shift+Tab")
    assert re.search("Teach|images", focused(page)["name"])  # backwards from the images to the header


def test_the_api_page_lists_the_servers_own_routes(served: Any, page: Any) -> None:
    page.goto(f"{served.address}/api/")
    page.get_by_role("heading", name="API").wait_for()
    paths = served.app.openapi()["paths"]
    rows = page.locator("tbody tr")
    assert rows.count() == sum(len(operations) for operations in paths.values())
    listed = {(row.locator("td").nth(0).inner_text(), row.locator("td").nth(1).inner_text()) for row in rows.all()}
    assert listed == {(method.upper(), path) for path, operations in paths.items() for method in operations}
    assert "revision: string" in page.get_by_role("row", name="PUT /api/annotate/").inner_text()

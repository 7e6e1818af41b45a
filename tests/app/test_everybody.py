"""The pages for everybody: an audit by axe-core, and a whole case without a mouse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from spinefx.app.access import add_user
from spinefx.app.state import ServeSettings
from spinefx.app.teaching import readers_of
from spinefx.app.users import Role, User, new_token, token_digest
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions

FOCUSED = """() => { const one = document.activeElement, style = getComputedStyle(one);
    return { tag: one.tagName, name: one.getAttribute('aria-label') || one.textContent.trim().slice(0, 40),
             outline: style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth) }; }"""
PLANTED = "document.querySelector('main').innerHTML = '<p id=planted style=color:#444>dim <img src=data:,></p>'"
HARM = {"serious", "critical", "moderate"}


@pytest.fixture
def audited(browser: Any) -> Any:
    """A page without its content policy, so that axe-core can be put into it."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, bypass_csp=True)
    yield context.new_page()
    context.close()


def harms(axe: Any, page: Any) -> list[tuple[str, str, str]]:
    found = axe.run(page).response["violations"]
    return [(one["id"], one["impact"], one["nodes"][0]["html"][:160]) for one in found if one["impact"] in HARM]


@pytest.mark.chromium_alone("axe judges elements and styles, and they are the same for every browser")
def test_axe_finds_nothing_that_bars_anybody(served: Any, audited: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page, address = audited, served.address
    reader = readers_of(Workspace.open(served.study))[-1]
    seen = {}

    def audit(name: str) -> None:
        seen[name] = harms(axe, page)

    page.goto(f"{address}/")
    page.get_by_role("heading", level=1).wait_for()
    audit("home")
    page.goto(f"{address}/annotate")
    page.get_by_test_id("next").wait_for()
    audit("worklist")
    page.goto(f"{address}/annotate/sub-001")
    page.get_by_text("Not marked yet").wait_for()
    page.keyboard.press("b")
    page.keyboard.press("b")
    page.get_by_text("Saved", exact=True).wait_for()
    page.get_by_role("button", name="Show other boxes").click()
    page.get_by_role("button", name="Look").first.click()
    page.locator("summary").click()
    audit("case")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    audit("keys")
    page.keyboard.press("Escape")
    page.keyboard.press(",")
    page.get_by_role("dialog", name="Settings").wait_for()
    audit("settings")
    page.keyboard.press("Escape")
    page.route("**/lesion", lambda route: route.abort())
    page.keyboard.press("Alt+ArrowLeft")
    page.get_by_text("sent again every").wait_for()
    audit("not saved")
    page.unroute("**/lesion")
    page.get_by_text("Saved", exact=True).wait_for()
    page.goto(f"{address}/annotate")
    page.get_by_role("heading", name="Agreement of annotators").wait_for()
    audit("two annotators")
    page.goto(f"{address}/annotate/sub-999")
    page.get_by_role("alert").get_by_text("Open a participant").wait_for()
    audit("no such study")
    page.goto(f"{address}/nowhere")
    page.get_by_text("Page not found").wait_for()
    audit("no such page")
    page.goto(f"{address}/api/")
    page.get_by_role("heading", name="API").wait_for()
    audit("addresses")
    page.goto(f"{address}/teach")
    page.get_by_role("heading", level=1).wait_for()
    audit("teach")
    page.get_by_role("link", name=reader, exact=True).click()
    page.get_by_test_id("counts").wait_for()
    audit("feedback")
    page.get_by_role("button", name="Train on").click()
    page.get_by_text("Linked by position").wait_for()
    audit("training")
    page.evaluate(PLANTED)
    caught = {one[0] for one in harms(axe, page)}
    assert {"image-alt", "color-contrast"} <= caught
    assert {name: found for name, found in seen.items() if found} == {}


@pytest.mark.chromium_alone("axe judges elements and styles, and they are the same for every browser")
def test_axe_finds_nothing_that_bars_a_reader(study: Path, running: Any, registered: Any, audited: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    registered(study, "second_read", readers=["R1"])
    page, seen = audited, {}
    with running(ServeSettings(study)) as served:
        token = new_token()
        user = User("R1", frozenset({Role.READER, Role.EDITOR}))
        add_user(served.app.state.server.log, user, token_digest(token), by="test")
        page.goto(f"{served.address}/read")
        page.get_by_label("The token").wait_for()
        seen["enter"] = harms(axe, page)
        page.get_by_label("The token").fill(token)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="pilot").wait_for()
        seen["studies"] = harms(axe, page)
        page.get_by_test_id("go").click()
        page.get_by_text("Linked by position").wait_for()
        seen["case"] = harms(axe, page)
        page.keyboard.press("f")
        page.wait_for_timeout(300)
        seen["form"] = harms(axe, page)
    assert {name: found for name, found in seen.items() if found} == {}


def focused(page: Any) -> dict[str, Any]:
    return dict(page.evaluate(FOCUSED))


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
    assert page.get_by_label("Level of the vertebra").input_value() == ""  # both letters were one choice
    page.keyboard.press("Control+y")
    page.wait_for_timeout(700)
    # Out of the images, to a button of the panel, which keeps its own Space; and back.
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


def test_tab_goes_through_the_whole_page_and_shows_where_it_is(served: Any, page: Any) -> None:
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
    wanted = ["Worklist", "Draw box (B)", "Undo", "Redo", "First slice of lesion ([)", "Last slice (])"]
    wanted += ["Level of the vertebra", "T1W: registered or unregistered (T)", "Delete box", "Show other boxes"]
    assert [name for name in names if name in wanted] == wanted
    assert names[-1] == "API"
    page.keyboard.press("F6")
    page.keyboard.press("Shift+Tab")
    assert re.search("Teach|images", focused(page)["name"])  # backwards out of the images, to the head of the page


def test_the_list_of_addresses_is_the_servers_own(served: Any, page: Any) -> None:
    page.goto(f"{served.address}/api/")
    page.get_by_role("heading", name="API").wait_for()
    paths = served.app.openapi()["paths"]
    rows = page.locator("tbody tr")
    assert rows.count() == sum(len(operations) for operations in paths.values())
    listed = {(row.locator("td").nth(0).inner_text(), row.locator("td").nth(1).inner_text()) for row in rows.all()}
    assert listed == {(method.upper(), path) for path, operations in paths.items() for method in operations}
    assert "revision: string" in page.get_by_role("row", name="PUT /api/annotate/").inner_text()

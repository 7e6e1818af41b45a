"""The page in a browser: everybody can read it, on paper and on a telephone; nothing leaves it, nothing in it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spinefx.report.content import ReportContent
from spinefx.report.document import render_report

EVIL = '<img src=https://example.invalid/x onerror="window.ran=1"><script>window.ran=2</script>\'--></svg>{'
LONG = "of_a_long_name_" * 6
OPEN_ALL = "for (const one of document.querySelectorAll('details')) one.open = true"
# Rows of one table are alike: three stand for all, and axe looks at every cell.
FEWER_ROWS = "for (const one of document.querySelectorAll('tbody tr:nth-child(n+4)')) one.remove()"
PLANTED = "document.querySelector('main').innerHTML = '<p id=planted style=color:#ccc>pale <img src=data:,></p>'"


@pytest.fixture(scope="module")
def written(small_study: Callable[[str], ReportContent], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of one study, its names plain, or hostile and too long for a line."""
    folder = tmp_path_factory.mktemp("pages")
    pages = {}
    for kind, text in (("plain", "reader "), ("hostile", EVIL + LONG)):
        pages[kind] = folder / f"{kind}.html"
        pages[kind].write_bytes(render_report(small_study(text))["report.html"])
    return pages


@pytest.fixture
def visit(browser: Any, written: dict[str, Path]) -> Iterator[Callable[..., tuple[Any, list[str]]]]:
    """Open a page without its content security policy; give it with what it asked for beside itself."""
    contexts = []

    def opened(kind: str, width: int = 1280) -> tuple[Any, list[str]]:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, bypass_csp=True))
        page, asked = contexts[-1].new_page(), list[str]()
        address = written[kind].as_uri()

        def judge(route: Any) -> None:
            if route.request.url == address:
                return route.continue_()
            asked.append(route.request.url)
            return route.abort()

        page.route("**/*", judge)
        page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
        page.goto(address)
        return page, asked

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.chromium_alone("axe judges elements and styles, and they are the same for every browser")
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_that_bars_anybody(visit: Callable[..., Any], width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page, _ = visit("plain", width)
    page.evaluate(OPEN_ALL)
    page.evaluate(FEWER_ROWS)
    for medium in ("screen", "print"):
        page.emulate_media(media=medium, color_scheme="light")
        found = axe.run(page).response["violations"]
        assert not [(medium, one["id"], one["impact"], one["nodes"][0]["html"][:200]) for one in found]
    page.evaluate(PLANTED)
    assert {one["id"] for one in axe.run(page, "#planted").response["violations"]} == {"image-alt", "color-contrast"}


@pytest.mark.parametrize("kind", ["plain", "hostile"])
def test_a_narrow_screen_need_not_scroll_sideways(visit: Callable[..., Any], kind: str) -> None:
    page, _ = visit(kind, 360)
    page.evaluate(OPEN_ALL)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    assert page.evaluate("Math.max(...[...document.querySelectorAll('table')].map(one => one.scrollWidth))") > 360


@pytest.mark.chromium_alone("BiDi cannot lift a page's content security policy")
def test_nothing_leaves_the_page_and_nothing_in_the_data_runs(visit: Callable[..., Any]) -> None:
    page, asked = visit("hostile")
    page.evaluate(OPEN_ALL)
    page.wait_for_load_state("networkidle")
    assert not [one for one in asked if not one.startswith("data:image/png;base64,")]
    assert page.evaluate("window.ran ?? null") is None
    assert page.evaluate("document.querySelectorAll('script').length") == 0
    assert page.evaluate("document.body.innerText").count("<script>window.ran=2</script>") > 20
    with page.expect_event("requestfailed"):
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=https://example.invalid/planted>')")
    assert asked[-1:] == ["https://example.invalid/planted"]

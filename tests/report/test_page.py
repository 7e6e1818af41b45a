"""The page in a browser: accessible on screen, phone and paper; it requests nothing and runs no code from the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

OPEN_ALL = "for (const one of document.querySelectorAll('details')) one.open = true"
# axe checks every cell, and the rows of a table are alike: three of each are enough.
FEWER_ROWS = "for (const one of document.querySelectorAll('tbody tr:nth-child(n+4)')) one.remove()"
PLANTED = "document.querySelector('main').innerHTML = '<p id=planted style=color:#ccc>pale <img src=data:,></p>'"


@pytest.fixture(scope="module")
def written(rendered: Callable[[str], dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of the small study with plain names, and with hostile and very long ones."""
    folder = tmp_path_factory.mktemp("pages")
    pages = {}
    for kind in ("plain", "hostile"):
        pages[kind] = folder / f"{kind}.html"
        pages[kind].write_bytes(rendered(kind)["report.html"])
    return pages


@pytest.fixture
def visit(browser: Any, written: dict[str, Path]) -> Iterator[Callable[..., tuple[Any, list[str]]]]:
    """Open a page without its content security policy; return it and the other addresses that it requested."""
    contexts = []

    def opened(kind: str, width: int = 1280) -> tuple[Any, list[str]]:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, bypass_csp=True))
        page, requested = contexts[-1].new_page(), list[str]()
        address = written[kind].as_uri()

        def intercept(route: Any) -> None:
            if route.request.url == address:
                return route.continue_()
            requested.append(route.request.url)
            return route.abort()

        page.route("**/*", intercept)
        page.on("dialog", lambda dialog: (requested.append(dialog.message), dialog.dismiss()))
        page.goto(address)
        return page, requested

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.chromium_alone("axe checks elements and styles, which are the same in every browser")
@pytest.mark.parametrize(("width", "media"), [(360, ["screen"]), (1280, ["screen", "print"])])
def test_axe_finds_no_violation(visit: Callable[..., Any], width: int, media: list[str]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page, _ = visit("plain", width)
    page.evaluate(OPEN_ALL)
    page.evaluate(FEWER_ROWS)
    for medium in media:
        page.emulate_media(media=medium, color_scheme="light")
        found = axe.run(page).response["violations"]
        assert not [(medium, one["id"], one["impact"], one["nodes"][0]["html"][:200]) for one in found]
    page.evaluate(PLANTED)
    assert {one["id"] for one in axe.run(page, "#planted").response["violations"]} == {"image-alt", "color-contrast"}


@pytest.mark.parametrize("kind", ["plain", "hostile"])
def test_a_narrow_screen_needs_no_horizontal_scrolling(visit: Callable[..., Any], kind: str) -> None:
    page, _ = visit(kind, 360)
    page.evaluate(OPEN_ALL)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    assert page.evaluate("Math.max(...[...document.querySelectorAll('table')].map(one => one.scrollWidth))") > 360


@pytest.mark.chromium_alone("BiDi cannot lift a page's content security policy")
def test_the_page_requests_nothing_and_runs_no_code_from_the_data(visit: Callable[..., Any]) -> None:
    page, requested = visit("hostile")
    page.evaluate(OPEN_ALL)
    page.wait_for_load_state("networkidle")
    assert not [one for one in requested if not one.startswith("data:image/png;base64,")]
    assert page.evaluate("window.ran ?? null") is None
    assert page.evaluate("document.querySelectorAll('script').length") == 0
    assert page.evaluate("document.body.innerText").count("<script>window.ran=2</script>") > 20
    with page.expect_event("requestfailed"):
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=https://example.invalid/planted>')")
    assert requested[-1:] == ["https://example.invalid/planted"]

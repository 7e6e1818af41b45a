"""An audit of every page by axe-core: each state of a page is drawn once and checked by all rules at once.

What axe judges, elements and styles, is the same for every browser, so Chromium alone is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spinefx.app.access import add_user
from spinefx.app.state import ServeSettings
from spinefx.app.teaching import readers_of
from spinefx.app.users import Role, User, new_token, token_digest
from spinefx.workspace.layout import Workspace

from .test_decide_page import mark, of_table, opened_by, opinion_on
from .test_read_page import answer, wait_for_case

# Adds an image without a text alternative, and text with too little contrast.
BARRIERS = "document.querySelector('main').innerHTML = '<p style=color:#444>dim <img src=data:,></p>'"
IMPACTS = ["moderate", "serious", "critical"]
RUN = "axe.run(document, {resultTypes: ['violations']})"

Audit = Callable[[str], None]


class Auditor:
    """A page into which axe-core is put, and what it has found there so far."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.found: dict[str, list[tuple[str, str]]] = {}

    def audit(self, state: str) -> None:
        """Check the page as it is shown now."""
        self.found[state] = self.barriers()

    def barriers(self) -> list[tuple[str, str]]:
        """List each rule that is violated, with the first element that violates it."""
        violations = self.page.evaluate(RUN)["violations"]
        return [(one["id"], one["nodes"][0]["html"][:160]) for one in violations if one["impact"] in IMPACTS]

    def check(self) -> None:
        """Fail with every barrier of every state."""
        assert {state: found for state, found in self.found.items() if found} == {}


@pytest.fixture
def auditor(browser: Any) -> Iterator[Auditor]:
    """A page without its content policy, which would keep axe-core out."""
    axe = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed")
    context = browser.new_context(viewport={"width": 1280, "height": 720}, bypass_csp=True)
    context.add_init_script(axe.AXE_SCRIPT)
    yield Auditor(context.new_page())
    context.close()


def test_home_annotate_teach_and_api_have_no_barrier(served: Any, auditor: Auditor) -> None:
    page, address, audit = auditor.page, served.address, auditor.audit
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
    audit("participant")
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
    audit("agreement")
    page.goto(f"{address}/annotate/sub-999")
    page.get_by_role("alert").get_by_text("Choose one from the worklist").wait_for()
    audit("unknown participant")
    page.goto(f"{address}/nowhere")
    page.get_by_text("Page not found").wait_for()
    audit("page not found")
    page.goto(f"{address}/api/")
    page.get_by_role("heading", name="API").wait_for()
    audit("API")
    page.goto(f"{address}/teach")
    page.get_by_role("link", name=readers_of(Workspace.open(served.study))[-1], exact=True).wait_for()
    audit("teach")
    page.get_by_role("link", name=readers_of(Workspace.open(served.study))[-1], exact=True).click()
    page.get_by_test_id("counts").wait_for()
    audit("feedback")
    page.get_by_role("button", name="Train on").click()
    page.get_by_text("Linked by position").wait_for()
    audit("training")
    page.evaluate(BARRIERS)
    assert {"image-alt", "color-contrast"} <= {rule for rule, _ in auditor.barriers()}, "axe finds planted barriers"
    auditor.check()


def test_a_reader_study_has_no_barrier(study: Path, running: Any, registered: Any, auditor: Auditor) -> None:
    page, audit = auditor.page, auditor.audit
    registered(study, "second_read", readers=["R1"])
    with running(ServeSettings(study)) as served:
        token = new_token()
        user = User("R1", frozenset({Role.READER, Role.EDITOR}))
        add_user(served.app.state.server.log, user, token_digest(token), by="test")
        page.goto(f"{served.address}/read")
        page.get_by_label("The token").wait_for()
        audit("sign in")
        page.get_by_label("The token").fill(token)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="pilot").wait_for()
        audit("studies")
        page.get_by_test_id("go").click()
        wait_for_case(page, "Case 1 of 6")
        audit("case")
        answer(page, "m", 64, "n")
        page.keyboard.press("f")
        page.locator(".signs.on").wait_for()
        audit("form")
        page.keyboard.press("Control+Enter")
        page.get_by_test_id("model").wait_for()
        audit("prediction")
        page.context.clear_cookies()
        page.keyboard.press("m")
        page.get_by_role("heading", name="Sign in again").wait_for()
        audit("signed out")
    auditor.check()


def test_deciding_has_no_barrier(trained: Any, auditor: Auditor, running: Any) -> None:
    page, audit = auditor.page, auditor.audit
    with running(ServeSettings(trained.study)) as served:
        page.goto(f"{served.address}/decide")
        page.get_by_test_id("model").filter(has_text="2 models").wait_for()
        audit("nothing open")
        opened = opened_by(page, "participants/sub-004", page.get_by_role("link", name="sub-004").click)
        page.get_by_text("Mark the vertebra").wait_for()
        audit("open")
        mark(page, opened["pair"], of_table(trained.study, "sub-004"))
        opinion_on(page)
        page.get_by_test_id("number").wait_for()
        page.keyboard.press("s")
        page.get_by_test_id("saliency").first.wait_for(timeout=30_000)
        audit("opinion")
        for _ in range(60):
            page.keyboard.press("Alt+ArrowLeft")
        assert "probability" not in opinion_on(page)
        page.get_by_text("Cannot tell").first.wait_for()
        audit("cannot tell")
    auditor.check()

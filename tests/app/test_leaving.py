"""Signing out in a real browser: nothing stays open, and no unsaved work is lost without a question."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from spinefx.app.access import invite
from spinefx.app.state import ServeSettings
from spinefx.reader_study.study import RegisteredStudy


@dataclass
class Session:
    """A reader who is signed in, and their page."""

    served: Any
    page: Any
    token: str

    def open_case(self, page: Any) -> None:
        page.goto(f"{self.served.address}/read/pilot/1")
        page.get_by_role("heading", name="Case 1 of 6").wait_for()
        page.get_by_test_id("box-T2W").first.wait_for(state="attached")

    def enter(self, page: Any, token: str) -> None:
        page.get_by_label("The token").fill(token)
        page.keyboard.press("Enter")

    def drafts(self) -> list[Any]:
        return [entry.content["draft"]["confidence"] for entry in self.log.entries(kind="draft.saved")]

    @property
    def log(self) -> Any:
        return self.served.app.state.server.log


@pytest.fixture
def session_of(study: Path, running: Any, registered: Callable[..., RegisteredStudy], page: Any) -> Iterator[Session]:
    registered(study, "unaided", readers=["R1", "R2"], signs=False)
    token = invite(study, "R1", ["reader"])
    with running(ServeSettings(study)) as served:
        found = Session(served, page, token)
        page.goto(f"{served.address}/read")
        found.enter(page, token)
        page.get_by_role("heading", name="pilot").wait_for()
        yield found


def say(page: Any, confidence: str) -> None:
    page.keyboard.press("c")
    page.keyboard.type(confidence)
    page.keyboard.press("Enter")


@pytest.mark.every_browser
def test_signing_out_by_keyboard_makes_the_cookie_worthless(session_of: Session) -> None:
    page = session_of.page
    (cookie,) = page.context.cookies()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Sign out":
            break
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Sign in").wait_for()
    assert page.evaluate("document.activeElement.id") == "token"
    assert page.context.cookies() == []
    kept = {"Cookie": f"{cookie['name']}={cookie['value']}"}
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(urllib.request.Request(f"{session_of.served.address}/api/me", headers=kept))
    page.go_back()
    page.get_by_role("heading", name="Sign in").wait_for()
    assert "pilot" not in page.content()


def test_signing_out_saves_the_form_and_ends_the_reading_time(session_of: Session) -> None:
    page = session_of.page
    session_of.open_case(page)
    say(page, "64")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    assert session_of.drafts()[-1] == 64
    assert session_of.log.entries(kind="presence.told")[-1].content["presence"] == "hidden"
    session_of.enter(page, session_of.token)
    page.get_by_text("· R1").wait_for()
    session_of.open_case(page)
    page.get_by_text("Your unfinished answer").wait_for()
    assert page.get_by_test_id("confidence").inner_text() == "64"


def test_another_tab_is_covered_at_its_next_request_until_its_user_is_back(session_of: Session) -> None:
    page, other = session_of.page, session_of.page.context.new_page()
    session_of.open_case(other)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    say(other, "37")
    other.get_by_role("heading", name="Sign in again").wait_for()
    for _ in range(3):
        other.keyboard.press("Escape")
    other.get_by_role("heading", name="Sign in again").wait_for()
    assert not other.get_by_role("heading", name="Case 1 of 6").is_visible()
    assert not other.locator("[data-pane=T2W]").is_visible()
    assert 37 not in session_of.drafts()
    session_of.enter(other, "a guess")
    other.get_by_text("Unknown token").wait_for()
    session_of.enter(other, session_of.token)
    other.locator("[data-testid=status][data-kept=true]").wait_for()
    assert other.get_by_test_id("confidence").inner_text() == "37"
    assert session_of.drafts()[-1] == 37
    other.keyboard.press("m")
    other.keyboard.press("Control+Enter")
    other.get_by_role("heading", name="Case 2 of 6").wait_for()
    other.close()


def test_another_user_who_signs_in_at_a_covered_page_gets_their_own(session_of: Session) -> None:
    page, other = session_of.page, session_of.page.context.new_page()
    session_of.open_case(other)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    say(other, "37")
    other.get_by_role("heading", name="Sign in again").wait_for()
    session_of.enter(other, invite(session_of.served.study, "R2", ["reader"]))
    other.get_by_text("· R2").wait_for()
    other.get_by_role("heading", name="Case 1 of 6").wait_for()
    other.get_by_test_id("box-T2W").first.wait_for(state="attached")
    assert other.get_by_test_id("confidence").inner_text() == "not set"
    other.close()


def test_signing_out_with_unsaved_work_asks_first(session_of: Session) -> None:
    page = session_of.page
    session_of.open_case(page)
    page.route("**/draft", lambda route: route.abort())
    say(page, "64")
    page.get_by_text("Not saved yet").wait_for()
    asked: list[str] = []
    answers = [False, True]

    def reply(dialog: Any) -> None:
        asked.append(dialog.message)
        if answers.pop(0):
            dialog.accept()
        else:
            dialog.dismiss()

    page.on("dialog", reply)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_timeout(300)
    assert page.get_by_test_id("confidence").inner_text() == "64"
    assert page.evaluate("fetch('/api/me').then((one) => one.status)") == 200
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    assert asked == ["Your last change is not saved yet. Sign out anyway?"] * 2


def test_a_form_that_the_server_could_not_store_is_sent_again(session_of: Session) -> None:
    page = session_of.page
    session_of.open_case(page)
    away = {"error": "UnavailableError", "message": "the log's database does not answer"}
    page.route("**/draft", lambda route: route.fulfill(status=503, json=away))
    say(page, "64")
    page.get_by_text("Not saved yet: the log's database does not answer").wait_for()
    page.unroute("**/draft")
    page.get_by_text("Saved", exact=True).wait_for()
    assert session_of.drafts()[-1] == 64


def test_without_a_token_there_is_no_button_to_sign_out(served: Any, page: Any) -> None:
    page.goto(served.address)
    page.get_by_text("· local").wait_for()
    assert page.get_by_role("button", name="Sign out").count() == 0

"""The read page in a real browser, by keyboard alone: from the token to the exported answers."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spinefx.app.access import add_user
from spinefx.app.state import ServeSettings
from spinefx.app.users import Role, User, new_token, token_digest
from spinefx.reader_study.session import Phase
from spinefx.reader_study.study import RegisteredStudy
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Score
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort, read_readings, read_signs

# One answer per case: key of the diagnosis, confidence, and key for every sign.
ANSWERS = [("m", 91, "n"), ("e", 7, "y"), ("m", 55, "u"), ("e", 0, "n"), ("m", 100, "y"), ("e", 33, "n")]


@pytest.fixture
def begin(study: Path, running: Any, registered: Callable[..., RegisteredStudy]) -> Iterator[Callable[..., Any]]:
    """Register a study, serve it, and sign its reader in."""
    opened: list[Any] = []

    def make(page: Any, kind: str, **more: Any) -> tuple[Any, RegisteredStudy]:
        reader_study = registered(study, kind, readers=["R1"], **more)
        context = running(ServeSettings(study))
        served = context.__enter__()
        opened.append(context)
        token = new_token()
        user = User("R1", frozenset({Role.READER, Role.EDITOR}))
        add_user(served.app.state.server.log, user, token_digest(token), by="test")
        page.goto(f"{served.address}/read")
        page.get_by_label("The token").fill("a guess")
        page.keyboard.press("Enter")
        page.get_by_text("Unknown token").wait_for()
        page.get_by_label("The token").fill(token)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="pilot").wait_for()
        return served, reader_study

    yield make
    for context in opened:
        context.__exit__(None, None, None)


def wait_for_case(page: Any, words: str) -> None:
    page.get_by_role("heading", name=words, exact=True).wait_for()
    page.get_by_text("Linked by position").wait_for()
    page.get_by_test_id("box-T2W").first.wait_for(state="attached")


def answer(page: Any, diagnosis: str, sure: int, sign: str = "") -> None:
    """Fill in an answer by keys alone."""
    page.keyboard.press(diagnosis)
    page.keyboard.press("c")
    page.keyboard.type(str(sure))
    page.keyboard.press("Enter")
    if sign:
        page.keyboard.press("f")
        for _ in SIGN_IDENTIFIERS:
            page.keyboard.press(sign)
            page.keyboard.press("Enter")


def exported(page: Any) -> dict[str, str]:
    """Press the editor's button, and unpack the export."""
    # By BiDi, Firefox does not report a download that the page itself has made.
    is_told = page.context.browser.browser_type.name == "chromium"
    with page.expect_download() if is_told else page.expect_response("**/export") as coming:
        page.get_by_role("button", name="Export pilot").click()
    body = Path(coming.value.path()).read_bytes() if is_told else coming.value.body()
    page.get_by_text("Exported. The answers were").wait_for()
    packed = zipfile.ZipFile(io.BytesIO(body))
    return {Path(name).name: packed.read(name).decode() for name in packed.namelist()}


@pytest.mark.every_browser
def test_an_unaided_session_by_keyboard_from_sign_in_to_export(begin: Any, page: Any) -> None:
    served, reader_study = begin(page, "unaided")
    page.get_by_test_id("go").focus()
    page.keyboard.press("Enter")
    for number, (diagnosis, sure, sign) in enumerate(ANSWERS, 1):
        wait_for_case(page, f"Case {number} of 6")
        answer(page, diagnosis, sure, sign)
        page.keyboard.press("Control+Enter")
    page.get_by_role("heading", name="This session is finished").wait_for()
    page.get_by_role("link", name="Back to your studies").click()
    page.get_by_text("Session 1: 6 of 6 cases").wait_for()
    files = exported(page)
    workspace = Workspace.open(served.study)
    order = [task.case_id for task in reader_study.tasks("R1", 1)]
    wanted = {case: (key, sure, sign) for case, (key, sure, sign) in zip(order, ANSWERS, strict=True)}
    read = {one.case_id: one for one in read_readings(workspace) if one.reader_id == "R1"}
    assert set(read) == set(order)
    for case, (key, sure, sign) in wanted.items():
        assert read[case].diagnosis == {"m": "malignant", "e": "benign"}[key]
        assert read[case].confidence == sure
        assert 0 < (read[case].seconds or 0) < 120
        scores = next(one.scores for one in read_signs(workspace) if (one.case_id, one.reader_id) == (case, "R1"))
        assert set(scores.values()) == {Score(sign)}
    rows = list(csv.DictReader(files["imrmc.csv"].splitlines()))
    assert {r["caseID"]: int(r["score"]) for r in rows if r["readerID"] == "R1"} == {c: a[1] for c, a in wanted.items()}
    assert served.app.state.server.log.verify() >= 2 * 6 + 3


def test_a_second_read_session_by_keyboard_shows_the_prediction_only_after_the_seal(begin: Any, page: Any) -> None:
    bodies: list[tuple[int, str]] = []
    served, reader_study = begin(page, "second_read")
    log = served.app.state.server.log
    page.on("response", lambda got: bodies.append((len(log.entries(kind="answer.sealed")), got.url)))
    page.goto(f"{served.address}/read/pilot/1")
    for number, (diagnosis, sure, sign) in enumerate(ANSWERS, 1):
        wait_for_case(page, f"Case {number} of 6")
        assert page.get_by_test_id("model").count() == 0
        answer(page, diagnosis, sure, sign)
        page.keyboard.press("Control+Enter")
        told = page.get_by_test_id("model").inner_text()
        task = reader_study.tasks("R1", 1)[number - 1]
        shown = log.entries(kind="model.revealed")[-1]
        assert shown.content["handle"] == task.handle
        assert f"{shown.content['shown']['probability']:.2f}" in told
        assert page.locator("meter").count() == len(shown.content["shown"]["slices"])
        assert page.locator(".box.other").count() == 2, "the model's box on both series"
        if number % 2:
            answer(page, "m", 60 + number)
        page.keyboard.press("Control+Enter")
    page.get_by_role("heading", name="This session is finished").wait_for()
    sealed = [(entry.content["handle"], entry.content["phase"]) for entry in log.entries(kind="answer.sealed")]
    tasks = reader_study.tasks("R1", 1)
    assert sealed == [(task.handle, phase) for task in tasks for phase in Phase]
    reveals = [entry.number for entry in log.entries(kind="model.revealed")]
    firsts = [entry.number for entry in log.entries(kind="answer.sealed")][::2]
    assert all(first < shown for first, shown in zip(firsts, reveals, strict=True))
    assert all(count % 2 == 1 for count, url in bodies if url.endswith("/reveal"))
    page.goto(f"{served.address}/read")
    exported(page)
    read = {(one.case_id, one.arm): one for one in read_readings(Workspace.open(served.study)) if one.reader_id == "R1"}
    for number, (task, (_, sure, _)) in enumerate(zip(tasks, ANSWERS, strict=True), 1):
        assert read[task.case_id, Arm.UNAIDED].confidence == sure
        assert read[task.case_id, Arm.AIDED].confidence == (60 + number if number % 2 else sure)
        aided, alone = (read[task.case_id, arm].seconds for arm in (Arm.AIDED, Arm.UNAIDED))
        assert aided > alone > 0


def test_a_reload_restores_the_unfinished_form_and_changes_can_be_undone(begin: Any, page: Any) -> None:
    served, _ = begin(page, "unaided")
    page.goto(f"{served.address}/read/pilot/1")
    wait_for_case(page, "Case 1 of 6")
    answer(page, "m", 64)
    page.keyboard.press("f")
    page.keyboard.press("1")
    page.keyboard.press("2")
    page.get_by_text("or a corner is pushed").wait_for()
    picture = page.locator(".sign-definition img")
    assert picture.bounding_box()["width"] > 200
    page.keyboard.press("y")
    page.keyboard.press("Escape")
    page.locator("[data-testid=status][data-kept=true]").wait_for()
    page.reload()
    page.get_by_text("Your unfinished answer").wait_for()
    assert page.get_by_test_id("confidence").inner_text() == "64"
    assert page.locator("[aria-checked=true]").evaluate_all("all => all.map((one) => one.textContent)") == [
        "Malignant (M)",
        "Y",
    ]
    page.keyboard.press("e")
    page.keyboard.press("Control+z")
    assert page.locator("[aria-checked=true]").first.inner_text() == "Malignant (M)"
    page.keyboard.press("Control+Enter")
    page.get_by_text("14 signs are not scored yet").wait_for()
    assert served.app.state.server.log.entries(kind="answer.sealed") == []


def test_a_pause_hides_the_images_and_is_not_counted_as_reading(begin: Any, page: Any) -> None:
    served, reader_study = begin(page, "unaided", signs=False)
    page.goto(f"{served.address}/read/pilot/1")
    wait_for_case(page, "Case 1 of 6")
    page.keyboard.press("p")
    page.get_by_text("Paused").wait_for()
    assert not page.locator("[data-pane=T2W]").is_visible()
    page.keyboard.press("m")
    assert page.locator(".chosen").count() == 0
    page.wait_for_timeout(400)
    page.keyboard.press("p")
    page.locator("[data-pane=T2W]").wait_for()
    answer(page, "m", 64)
    page.keyboard.press("Control+Enter")
    page.get_by_role("heading", name="Case 2 of 6").wait_for()
    from spinefx.reader_study.export import states_of

    first = states_of(served.app.state.server.log, reader_study)[0][1].first
    assert first.times.paused_ms >= 350
    assert first.times.active_ms > 0


def test_two_tabs_and_the_back_button_leave_one_answer(begin: Any, page: Any) -> None:
    served, _ = begin(page, "unaided", signs=False)
    page.goto(f"{served.address}/read/pilot/1")
    wait_for_case(page, "Case 1 of 6")
    other = page.context.new_page()
    other.goto(f"{served.address}/read/pilot/1")
    wait_for_case(other, "Case 1 of 6")
    page.bring_to_front()
    answer(page, "m", 64)
    page.keyboard.press("Control+Enter")
    page.get_by_role("heading", name="Case 2 of 6").wait_for()
    other.bring_to_front()
    answer(other, "e", 3)
    other.keyboard.press("Control+Enter")
    other.get_by_text("sealed answer already, and it stands").wait_for()
    page.go_back()
    page.goto(f"{served.address}/read/pilot/1")
    wait_for_case(page, "Case 2 of 6")
    (entry,) = served.app.state.server.log.entries(kind="answer.sealed")
    assert entry.content["answer"]["confidence"] == 64


def test_nothing_on_the_page_identifies_a_case(begin: Any, page: Any) -> None:
    served, _ = begin(page, "unaided")
    page.goto(f"{served.address}/read/pilot/1")
    wait_for_case(page, "Case 1 of 6")
    cases = read_cohort(Workspace.open(served.study)).cases
    kept = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.title, location.href])")
    seen = page.content() + kept
    assert not any(word in seen for case in cases for word in (case.case_id, case.participant_id))


def test_the_next_case_appears_on_the_same_page_and_only_after_the_seal(begin: Any, page: Any) -> None:
    _, reader_study = begin(page, "second_read")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    page.goto(f"{page.url}/pilot/1")
    page.evaluate("window.isSamePage = true")
    handles = [task.handle for task in reader_study.tasks("R1", 1)]
    series: set[str] = set()
    for number in (1, 2):
        wait_for_case(page, f"Case {number} of 6")
        page.wait_for_timeout(800)
        assert any(handles[number - 1] in url for url in asked)
        assert not any(later in url for url in asked for later in handles[number:])
        images = {url.split("/images/")[1].split("/")[0] for url in asked if "/images/" in url}
        assert len(images - series) == 2, "of one case alone"
        series = images
        assert page.get_by_test_id("confidence").inner_text() == "not set"
        assert page.locator("[aria-checked=true]").count() == page.locator(".box.other").count() == 0
        assert page.get_by_label("Comment (optional)").input_value() == ""
        assert page.evaluate("document.activeElement.ariaLabel") == "T2W image"
        answer(page, "m", 64, "n")
        page.get_by_label("Comment (optional)").fill("seen")
        page.keyboard.press("Control+Enter")
        page.get_by_test_id("model").wait_for()
        page.get_by_label("T2W image").focus()
        page.keyboard.press("f")  # the form is gone
        page.keyboard.press("ArrowDown")
        assert page.locator(".signs").count() == 0
        page.wait_for_timeout(600)
        page.keyboard.press("Control+Enter")
    wait_for_case(page, "Case 3 of 6")
    assert page.evaluate("window.isSamePage")
    page.keyboard.press("Control+z")
    page.get_by_text("Nothing to undo").wait_for()


def test_the_seal_button_stays_visible_and_hides_no_sign(begin: Any, page: Any) -> None:
    begin(page, "unaided")
    page.goto(f"{page.url}/pilot/1")
    wait_for_case(page, "Case 1 of 6")
    seal = page.get_by_role("button", name="Seal the answer")
    panel = page.locator("aside").bounding_box()
    page.keyboard.press("f")
    for _ in SIGN_IDENTIFIERS:
        row = page.locator(".sign-row.here").bounding_box()
        button = seal.bounding_box()
        assert panel["y"] <= row["y"]
        assert row["y"] + row["height"] <= button["y"]
        assert button["y"] + button["height"] <= panel["y"] + panel["height"]
        page.keyboard.press("n")
        page.keyboard.press("ArrowDown")

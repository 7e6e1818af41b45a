"""The images in a real browser: mouse, undo, marks, failures of the network, sizes of the screen."""

from __future__ import annotations

import base64
import io
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spinefx.app.state import ServeSettings
from spinefx.imaging.nifti import read_nifti, write_nifti
from spinefx.imaging.volume import Volume
from spinefx.vocabulary import VOXEL_DIGEST
from spinefx.workspace.layout import Workspace, read_json, write_json
from spinefx.workspace.records import read_lesions, sidecar_path

SETTLED_MS = 150
# As on a remote desktop, or with a blocked graphics card.
NO_WEBGL = """
const own = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
  return kind.includes("webgl") ? null : own.call(this, kind, ...more);
};
"""


def open_case(page: Any, address: str, said: str = "Not marked yet") -> None:
    page.goto(f"{address}/annotate/sub-001")
    page.get_by_text(said).wait_for()
    page.locator("[aria-busy]").first.wait_for(state="detached")


def pane(page: Any, name: str = "T2W") -> dict[str, float]:
    """Return what a pane shows: slice, height along the normal, window, zoom."""
    section = page.get_by_label(f"{name} image")
    return {key: float(section.get_attribute(f"data-{key}")) for key in ("slice", "height", "low", "high", "zoom")}


def width_and_middle(page: Any) -> tuple[float, float]:
    now = pane(page)
    return now["high"] - now["low"], (now["high"] + now["low"]) / 2


def middle_of(page: Any, name: str = "T2W") -> tuple[float, float]:
    edge = page.locator(f"[data-pane={name}]").bounding_box()
    return edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2


def drag(page: Any, right: float, down: float, button: str = "left", held: str = "") -> None:
    x, y = middle_of(page)
    page.mouse.move(x, y)
    if held:
        page.keyboard.down(held)
    page.mouse.down(button=button)
    page.mouse.move(x + right / 2, y + down / 2)
    page.mouse.move(x + right, y + down)
    page.mouse.up(button=button)
    if held:
        page.keyboard.up(held)
    page.wait_for_timeout(SETTLED_MS)


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(SETTLED_MS)


def corners(page: Any, name: str = "T2W") -> np.ndarray:
    """Return the corners of the box on the screen."""
    points = page.get_by_test_id(f"box-{name}").get_attribute("points").split()
    return np.array([[float(number) for number in point.split(",")] for point in points])


def volume_of(study: Path, weighting: str) -> Volume:
    return read_nifti(Workspace.open(study).image("sub-001", weighting)).to_sagittal()


def mm_per_pixel(page: Any, study: Path) -> float:
    edge, volume = page.locator("[data-pane=T2W]").bounding_box(), volume_of(study, "T2w")
    sides = [count * spacing for count, spacing in zip(volume.shape[1:], volume.spacing_mm[1:], strict=True)]
    return float(max(sides[0] / edge["height"], sides[1] / edge["width"]) / pane(page)["zoom"])


def own_lesion(study: Path) -> Any:
    return next((one.lesion for one in read_lesions(Workspace.open(study)) if one.annotator == "local"), None)


def until(told: Callable[[], Any], page: Any, seconds: float = 20) -> Any:
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while not (found := told()):
        assert time.monotonic() < end, "it did not become true"
        page.wait_for_timeout(100)
    return found


@pytest.mark.every_browser
def test_each_button_does_what_radiology_viewers_do_and_each_drag_is_one_step(served: Any, page: Any) -> None:
    open_case(page, served.address)
    press(page, "b", "b")
    came, start = pane(page), corners(page)
    width, middle = width_and_middle(page)
    drag(page, 60, 0)  # starts inside the box: moves it
    page.get_by_test_id("did").filter(has_text="box moved").wait_for()
    press(page, "Control+z", "ArrowDown", "ArrowUp")
    page.keyboard.press("Delete")
    drag(page, 60, -30)
    assert width_and_middle(page) == pytest.approx((width * 1.2, middle - width * 0.1), rel=0.01)
    press(page, "Control+z")
    assert width_and_middle(page) == pytest.approx((width, middle), abs=0.1)
    press(page, "Control+y", "Control+z", "Control+z")
    for button, held in (("middle", ""), ("left", "Shift")):
        drag(page, 40, 24, button, held)
        assert corners(page) - start == pytest.approx(np.tile([40, 24], (4, 1)), abs=1.5)
        press(page, "Control+z")
        assert corners(page) == pytest.approx(start, abs=1.5)
    for button, held in (("right", ""), ("left", "Control")):
        drag(page, 0, -120, button, held)
        assert pane(page)["zoom"] == pytest.approx(2 * came["zoom"], rel=1e-3)
        assert np.ptp(corners(page), axis=0) == pytest.approx(2 * np.ptp(start, axis=0), rel=0.01)
        press(page, "Control+z")
        assert pane(page)["zoom"] == pytest.approx(came["zoom"], rel=1e-6)
    page.mouse.wheel(0, 100)
    page.wait_for_timeout(SETTLED_MS)
    assert pane(page)["slice"] == came["slice"] + 1


def test_images_pan_and_zoom_while_a_box_is_drawn(served: Any, page: Any) -> None:
    open_case(page, served.address)
    press(page, "b")
    drag(page, 50, 10, "middle")
    drag(page, 0, -60, "right")
    drag(page, -20, 0, "left", "Shift")
    zoom = pane(page)["zoom"]
    assert zoom == pytest.approx(2**0.5, rel=1e-3)
    assert page.get_by_test_id("box-T2W").count() == 0
    x, y = middle_of(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 70, y + 50)
    page.mouse.down(button="middle")
    page.mouse.move(x + 90, y + 80)
    page.mouse.up(button="middle")
    assert page.get_by_test_id("did").inner_text() != "box drawn"
    page.mouse.up()
    page.get_by_text("Saved", exact=True).wait_for()
    # The first corner moved with the image; the other one followed the mouse.
    assert np.ptp(corners(page), axis=0) == pytest.approx([70, 70], abs=2.5)
    assert own_lesion(served.study).box.side_mm == pytest.approx(70 * mm_per_pixel(page, served.study), rel=0.04)


def test_mouse_settings_hold_for_all_studies(served: Any, page: Any) -> None:
    open_case(page, served.address)
    before = pane(page)
    page.keyboard.press(",")
    page.get_by_role("button", name="Like a PACS: left button scrolls").click()
    assert page.get_by_label("Drag with the left button").input_value() == "slices"
    page.get_by_label("Moving right (or up)").select_option("narrower")
    page.get_by_label("Moving up (or right)").select_option("darker")
    page.get_by_label("Left and right arrow keys").select_option("series")
    page.keyboard.press("Escape")
    page.reload()
    page.get_by_text("Not marked yet").wait_for()
    drag(page, 0, 36)
    assert pane(page)["slice"] == before["slice"] + 3
    assert pane(page)["high"] == before["high"]
    width, middle = width_and_middle(page)
    drag(page, 60, -30, "right")
    assert width_and_middle(page) == pytest.approx((width * 0.8, middle + width * 0.1), rel=0.01)
    press(page, "ArrowRight")
    assert "active" in page.get_by_label("T1W image").get_attribute("class")
    press(page, "ArrowLeft")
    assert "active" in page.get_by_label("T2W image").get_attribute("class")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Restore defaults").click()
    page.get_by_label("Window width").select_option("upright")
    page.get_by_label("Series on the left").select_option("T1W")
    page.get_by_role("button", name="Close").click()
    assert middle_of(page, "T1W")[0] < middle_of(page, "T2W")[0]
    width, middle = width_and_middle(page)
    drag(page, 0, -60)
    came = before["high"] - before["low"]
    assert width_and_middle(page) == pytest.approx((width + came * 0.2, middle), rel=0.01)


@pytest.mark.chromium_alone("two clicks by BiDi are no double click to Firefox")
def test_a_double_click_shows_one_series_alone_or_does_nothing_and_never_resets(served: Any, page: Any) -> None:
    open_case(page, served.address)
    press(page, "3", "+")
    before = pane(page)
    narrow = page.locator("[data-pane=T2W]").bounding_box()["width"]
    page.mouse.dblclick(*middle_of(page))
    page.wait_for_timeout(300)
    assert page.locator("[data-pane=T2W]").bounding_box()["width"] > 1.9 * narrow
    assert not page.locator("[data-pane=T1W]").is_visible()
    page.keyboard.press("ArrowDown")
    page.mouse.dblclick(*middle_of(page))
    page.wait_for_timeout(300)
    assert page.locator("[data-pane=T2W]").bounding_box()["width"] == pytest.approx(narrow, abs=1)
    assert pane(page) == pytest.approx(
        before | {"slice": before["slice"] + 1, "height": pane(page)["height"]}, rel=0.01
    )
    page.keyboard.press(",")
    page.get_by_label("Double-click").select_option("nothing")
    page.keyboard.press("Escape")
    page.mouse.dblclick(*middle_of(page))
    page.wait_for_timeout(300)
    assert page.locator("[data-pane=T1W]").is_visible()
    assert pane(page)["zoom"] == pytest.approx(before["zoom"], rel=0.01)


def test_reset_level_link_and_accepted_boxes_can_be_undone_too(served: Any, page: Any) -> None:
    open_case(page, served.address)
    came = pane(page)
    press(page, "3", "+", "+")
    changed = pane(page)
    press(page, "Space")
    assert pane(page) == pytest.approx(came, rel=1e-3)
    press(page, "Control+z")
    assert pane(page) == pytest.approx(changed, rel=1e-3)
    x, y = middle_of(page)
    page.mouse.move(x, y)
    page.keyboard.down("Control")
    for _ in range(4):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_timeout(SETTLED_MS)
    assert pane(page)["zoom"] == pytest.approx(changed["zoom"] * 1.1**4, rel=1e-3)
    press(page, "Control+z")
    assert pane(page)["zoom"] == pytest.approx(changed["zoom"], rel=1e-3)
    press(page, "l")
    assert page.get_by_test_id("sync").get_attribute("data-linked") == "false"
    press(page, "Control+z")
    assert page.get_by_test_id("sync").get_attribute("data-linked") == "true"
    page.get_by_role("button", name="Show other boxes").click()
    page.get_by_role("button", name="Accept").first.click()
    page.get_by_text("Saved", exact=True).wait_for()
    accepted = own_lesion(served.study)
    page.get_by_label("Level of the vertebra").select_option("L2")
    until(lambda: own_lesion(served.study).level == "L2", page)
    press(page, "Control+z")
    until(lambda: own_lesion(served.study).level == accepted.level, page)
    press(page, "Control+z")
    until(lambda: own_lesion(served.study) is None, page)
    assert page.get_by_label("Level of the vertebra").input_value() == ""
    press(page, "Control+y")
    assert until(lambda: own_lesion(served.study), page) == accepted


@pytest.mark.every_browser
def test_directions_and_a_scale_are_drawn_on_each_image(served: Any, page: Any) -> None:
    open_case(page, served.address)
    for zoom, name in ((1.0, "T2W"), (4.0, "T2W"), (1.0, "T1W")):
        if zoom > 1:
            drag(page, 0, -240, "right")
        edge = page.locator(f"[data-pane={name}]").bounding_box()
        marks = page.get_by_label(f"{name} image").locator("text.mark:not(.end)")
        letters = {one.inner_html(): one.bounding_box() for one in marks.all()}
        assert set(letters) == {"A", "P", "S", "I"}
        assert letters["A"]["x"] - edge["x"] < 30 < edge["width"] - 40 < letters["P"]["x"] - edge["x"]
        assert letters["S"]["y"] < letters["I"]["y"]
        path = page.get_by_test_id(f"scale-{name}")
        drawn = re.match(r"M\S+ (\S+)h12M\S+ \S+V(\S+?)M", path.get_attribute("d"))
        assert drawn is not None
        top, bottom = map(float, drawn.groups())
        if name == "T2W":
            shown = (bottom - top) * mm_per_pixel(page, served.study)
            assert shown == pytest.approx(float(path.get_attribute("data-mm")), rel=0.01)
        assert bottom - top < edge["height"] * 0.31


def turned(study: Path, degrees: float) -> None:
    """Turn T1W's slices about the patient's axis, through T1W's own middle."""
    workspace = Workspace.open(study)
    path = workspace.image("sub-001", "T1w")
    volume = read_nifti(path)
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    centre = volume.to_mm((np.array(volume.shape) - 1) / 2)
    affine = volume.affine.copy()
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = turn @ (affine[:3, 3] - centre) + centre
    write_nifti(path, replace(volume, affine=affine), read_json(sidecar_path(workspace, "sub-001", "T1w")))


def test_crossing_planes_show_where_they_cross(study: Path, page: Any, running: Any) -> None:
    turned(study, 20)
    with running(ServeSettings(study)) as served:
        open_case(page, served.address)
        page.get_by_test_id("sync").filter(has_text="different planes").wait_for()
        t2w, t1w = volume_of(study, "T2w"), volume_of(study, "T1w")
        for step in (0, 3):
            if step:
                press(page, "Shift+ArrowDown")
            line = page.get_by_test_id("crossing-T2W")
            drawn = [float(line.get_attribute(name)) for name in ("x1", "x2")]
            # Turned about the long axis: nearly upright over two metres.
            assert drawn[0] == pytest.approx(drawn[1], abs=8)
            index, other = int(pane(page)["slice"]), int(pane(page, "T1W")["slice"])
            corner, across = t2w.to_mm((index, 0, 0)), t2w.directions[:, 2]
            normal = t1w.directions[:, 0]
            column_mm = (t1w.to_mm((other, 0, 0)) - corner) @ normal / (across @ normal)
            off_centre = column_mm - (t2w.shape[2] - 1) / 2 * t2w.spacing_mm[2]
            wide = page.locator("[data-pane=T2W]").bounding_box()["width"]
            assert sum(drawn) / 2 == pytest.approx(wide / 2 + off_centre / mm_per_pixel(page, study), abs=1.5)
        assert page.get_by_test_id("crossing-T1W").count() == 1
        assert page.get_by_label("T2W image").get_by_text(f"T1W slice {other + 1}").count() == 1


def test_parallel_planes_mark_the_mouse_in_the_other_series(served: Any, page: Any) -> None:
    open_case(page, served.address)
    x, y = middle_of(page)
    page.mouse.move(x + 30, y + 40)
    mark = page.get_by_label("T1W image").locator(".cursor").bounding_box()
    t1w = middle_of(page, "T1W")
    t2w, other = volume_of(served.study, "T2w"), volume_of(served.study, "T1w")
    centres = [one.to_mm((np.array(one.shape) - 1) / 2)[1:] for one in (t2w, other)]
    shift = (centres[0] - centres[1]) / mm_per_pixel(page, served.study) * [1, -1]
    place = mark["x"] + mark["width"] / 2 - t1w[0], mark["y"] + mark["height"] / 2 - t1w[1]
    assert page.get_by_test_id("crossing-T2W").count() == 0
    assert place == pytest.approx((30 + shift[0], 40 + shift[1]), abs=6)


def test_the_page_explains_which_series_are_shown_and_which_are_not_used(served: Any, page: Any) -> None:
    open_case(page, served.address)
    told = page.get_by_test_id("about")
    told.locator("summary").click()
    workspace = Workspace.open(served.study)
    for weighting in ("T2w", "T1w"):
        sidecar = read_json(sidecar_path(workspace, "sub-001", weighting))
        tr, te = (f"{1000 * sidecar[key]:.0f} ms" for key in ("RepetitionTime", "EchoTime"))
        assert f"{weighting.upper()}: TR {tr}, TE {te}" in told.inner_text()
    assert told.locator("li").count() == 2
    assert "fat-suppressed (STIR)" in told.inner_text()
    assert "a localizer" in told.inner_text()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"status": 404, "json": {"error": "InputError", "message": "The image is not there."}}, "is not there"),
        ({"status": 500, "body": "no JSON"}, "The server answered with status 500"),
        ({"status": 200, "body": b"\0" * 4001}, "is incomplete"),
        (None, "The server does not answer"),
    ],
    ids=["404", "500", "truncated", "gone"],
)
def test_a_slice_that_fails_to_load_is_reported_and_can_be_retried(
    served: Any, page: Any, answer: dict[str, Any] | None, said: str
) -> None:
    left = {"slices/0": 1, "slices/7": 1}  # one is loaded later, one may be the first

    def judge(route: Any) -> None:
        key = next((one for one in left if route.request.url.endswith(one)), None)
        if key is None or not left[key]:
            return route.continue_()
        left[key] -= 1
        return route.abort() if answer is None else route.fulfill(**answer)

    page.route("**/api/images/**", judge)
    page.goto(f"{served.address}/annotate/sub-001")
    note = page.locator(".note").filter(has_text="Retry")
    while sum(left.values()) or note.count():
        note.first.wait_for()
        assert said in note.first.inner_text()
        note.first.get_by_role("button").click()
        page.wait_for_timeout(300)
    page.get_by_text("Not marked yet").wait_for()
    until(lambda: page.locator("[aria-busy]").count() == 0, page)
    press(page, "Home")
    assert pane(page)["slice"] == 0
    assert page.locator(".note").all_inner_texts() == ["", ""]


def test_a_study_that_fails_to_open_is_reported_with_a_next_step(served: Any, page: Any) -> None:
    page.goto(f"{served.address}/annotate/sub-999")
    alert = page.get_by_role("alert")
    alert.get_by_text("Choose one from the worklist").wait_for()
    assert "participant" in alert.inner_text()
    page.route("**/api/annotate/sub-001", lambda route: route.fulfill(status=500, body="{}"))
    page.goto(f"{served.address}/annotate/sub-001")
    alert.get_by_text("then press Retry").wait_for()
    assert page.get_by_label("T2W image").is_visible()
    page.unroute("**/api/annotate/sub-001")
    alert.get_by_role("button", name="Retry").click()
    page.get_by_text("Not marked yet").wait_for()
    assert alert.inner_text() == ""
    assert pane(page)["slice"] == (len(volume_of(served.study, "T2w").array) - 1) // 2


def test_a_slow_network_never_leaves_the_page_empty(served: Any, page: Any) -> None:
    held: list[Any] = []
    free: list[bool] = []
    page.route(re.compile(r"assets/.*\.js|/api/"), lambda one: one.continue_() if free else held.append(one))
    page.goto(f"{served.address}/annotate/sub-001", wait_until="commit")
    page.get_by_text("Loading the page").wait_for()

    def let(pattern: str) -> None:
        until(lambda: any(re.search(pattern, one.request.url) for one in held), page)
        for one in [one for one in held if re.search(pattern, one.request.url)]:
            held.remove(one)
            one.continue_()

    let("index.*js")
    let("api/me")
    page.get_by_text("Opening the study").wait_for()
    let("worklist")
    page.get_by_label("T2W image").get_by_text("Waiting for images").wait_for()
    let("sub-001$")
    page.get_by_text(re.compile(r"Loading T2W: 0 of \d+ slices")).wait_for()
    free.append(True)
    for one in held:
        one.continue_()
    page.get_by_text("Not marked yet").wait_for()


def test_loading_a_study_again_keeps_link_undo_and_panel(served: Any, page: Any) -> None:
    open_case(page, served.address)
    press(page, "b", "b")
    page.get_by_text("Saved", exact=True).wait_for()
    saved = own_lesion(served.study)
    press(page, "l", "3", "+", "ArrowDown")
    before = pane(page)
    # Another page changes the box, and this page loads it: the study is requested again.
    second = page.context.new_page()
    open_case(second, served.address, "Your saved box")
    press(second, "Alt+ArrowRight")
    second.get_by_text("Saved", exact=True).wait_for()
    second.close()
    theirs = own_lesion(served.study)
    press(page, "Alt+ArrowDown")
    alert = page.get_by_role("alert")
    alert.get_by_text("saved a box for this participant").wait_for()
    assert own_lesion(served.study) == theirs
    alert.get_by_role("button", name="Load the other page's box").click()
    page.get_by_text("Showing the other page's box").wait_for()
    assert pane(page) == pytest.approx(before, rel=1e-6)
    assert page.get_by_test_id("sync").get_attribute("data-linked") == "false"
    press(page, "Control+z")
    t2w = volume_of(served.study, "T2w")
    until(lambda: own_lesion(served.study) != theirs, page)
    moved = t2w.to_index(own_lesion(served.study).box.centre_mm) - t2w.to_index(saved.box.centre_mm)
    assert moved == pytest.approx([0, 1, 0], abs=0.02)
    press(page, *["Control+z"] * 5)
    until(lambda: own_lesion(served.study) is None, page)
    assert page.get_by_test_id("sync").get_attribute("data-linked") == "true"


def test_of_two_pages_the_second_may_keep_its_own_box(served: Any, page: Any) -> None:
    open_case(page, served.address)
    second = page.context.new_page()
    open_case(second, served.address)
    press(page, "b", "b")
    page.get_by_text("Saved", exact=True).wait_for()
    press(second, "b", "b")
    press(second, "Alt+Shift+ArrowUp")
    alert = second.get_by_role("alert")
    alert.get_by_text("Both boxes are kept").wait_for()
    assert own_lesion(served.study).box.side_mm == pytest.approx(40, abs=0.01)
    alert.get_by_role("button", name="Keep mine instead").click()
    second.get_by_text("Saved", exact=True).wait_for()
    side = 40 + 2 * volume_of(served.study, "T2w").spacing_mm[1]
    assert own_lesion(served.study).box.side_mm == pytest.approx(side, abs=0.01)
    second.close()


@contextmanager
def process(study: Path, port: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server in a process of its own, which can be killed."""
    command = [sys.executable, "-m", "spinefx", "serve", str(study), "--port", str(port)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert running.poll() is None, "the server ended before it began"
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", running
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.chromium_alone("it waits for servers to start; Firefox is asked the same of a page that is closed")
def test_a_killed_server_gets_the_change_once_it_is_back(study: Path, page: Any, built_pages: Path) -> None:
    port = free_port()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    with process(study, port) as (address, _):
        open_case(page, address)
        press(page, "b", "b")
        page.get_by_text("Saved", exact=True).wait_for()
        first = own_lesion(study)
    press(page, "Alt+ArrowRight")
    page.get_by_text("sent again every").first.wait_for()
    assert own_lesion(study) == first
    with process(study, port):
        page.get_by_text("Saved", exact=True).wait_for()
        t2w = volume_of(study, "T2w")
        moved = t2w.to_index(own_lesion(study).box.centre_mm) - t2w.to_index(first.box.centre_mm)
        assert moved == pytest.approx([0, 0, 1], abs=0.02)
        page.reload()
        page.get_by_text("Your saved box").wait_for()
        assert asked == []  # everything was saved, so nothing is asked
    press(page, "Alt+ArrowDown")
    page.get_by_text("sent again every").first.wait_for()
    with process(study, port):
        page.goto(f"{address}/annotate/sub-001")  # at once: the change may not have been sent yet
        page.get_by_text(re.compile("^(Saved|Your saved box)$")).first.wait_for()
        until(lambda: own_lesion(study).box != first.box, page)
        down = t2w.to_index(own_lesion(study).box.centre_mm) - t2w.to_index(first.box.centre_mm)
        assert down == pytest.approx([0, 1, 1], abs=0.02)
    assert set(asked) <= {"beforeunload"}


@pytest.mark.every_browser
def test_a_change_that_a_closed_page_could_not_save_is_restored(served: Any, page: Any) -> None:
    open_case(page, served.address)
    page.route("**/lesion", lambda route: route.abort())
    press(page, "b", "b")
    page.get_by_text("sent again every").first.wait_for()
    assert own_lesion(served.study) is None
    second = page.context.new_page()
    page.close(run_before_unload=False)
    second.goto(f"{served.address}/annotate/sub-001")
    second.get_by_text("Your unsaved change was restored").wait_for()
    second.get_by_text("Saved", exact=True).wait_for()
    assert own_lesion(served.study).box.side_mm == pytest.approx(40, abs=0.01)


def test_every_screen_shows_the_same_numbers(served: Any, browser: Any) -> None:
    seen, pictures = [], {}
    for width, height in ((1280, 720), (1920, 1080)):
        for ratio in (1, 2):
            context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=ratio)
            page = context.new_page()
            open_case(page, served.address)
            until(lambda page=page: page.locator("[aria-busy]").count() == 0, page)
            press(page, "Home", "ArrowDown", "ArrowDown", "3", "b", "b")
            canvas = page.locator("[data-pane=T2W] canvas")
            edge = canvas.bounding_box()
            size = canvas.evaluate("one => [one.width, one.height]")
            assert size == pytest.approx([edge["width"] * ratio, edge["height"] * ratio], abs=2)
            assert page.evaluate("document.scrollingElement.scrollWidth") <= width
            seen.append({**pane(page), "t1w": pane(page, "T1W")["slice"]})
            place = re.search(r"= (.*) mm; slices 3 to 3", page.get_by_test_id("numbers").inner_text())
            seen[-1] |= dict(zip("lps", map(float, place.group(1).split(", ")), strict=True))  # type: ignore[union-attr]
            image = Image.open(io.BytesIO(page.locator("[data-pane=T2W]").screenshot())).convert("L")
            pictures[width, ratio] = np.asarray(image.reduce(ratio), float)
            page.get_by_text("Saved", exact=True).wait_for()
            press(page, "Delete")
            until(lambda: own_lesion(served.study) is None, page)
            context.close()
    for one in seen[1:]:
        assert one == pytest.approx(seen[0], abs=0.6)
        assert one["slice"] == seen[0]["slice"]
    for width in (1280, 1920):
        one, other = pictures[width, 1], pictures[width, 2]
        assert one.std() > 20
        assert np.abs(one - other).mean() < 4


def at(page: Any, number: int, said: str = "Not marked yet") -> None:
    """Wait for a study, and for all of its slices."""
    page.get_by_role("heading", name=f"sub-{number:03d}", exact=True).wait_for()
    page.get_by_text(said, exact=True).wait_for()
    until(lambda: page.locator("[aria-busy]").count() == 0, page)


def left_series(page: Any) -> str:
    return "T2W" if middle_of(page, "T2W")[0] < middle_of(page, "T1W")[0] else "T1W"


def lesion_of(study: Path, number: int) -> Any:
    records = read_lesions(Workspace.open(study))
    found = [one.lesion for one in records if one.annotator == "local" and one.participant_id == f"sub-{number:03d}"]
    return found[0] if found else None


def picture(page: Any) -> np.ndarray:
    """Return the drawn T2W image. For a screenshot, Playwright would add a style that the content policy forbids."""
    drawn = page.evaluate("document.querySelector('[data-pane=T2W] canvas').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn.split(",")[1]))).convert("L"), float)


def test_the_sides_are_remembered_for_each_kind_of_study(study: Path, page: Any, running: Any) -> None:
    table = Workspace.open(study).refused_series_table
    rows = table.read_text(encoding="utf-8").splitlines()
    plain = [row for row in rows if not (row.startswith("sub-002\t") and "STIR" in row)]
    assert len(plain) == len(rows) - 1
    table.write_text("\n".join(plain) + "\n", encoding="utf-8")
    with running(ServeSettings(study)) as served:
        open_case(page, served.address)
        assert left_series(page) == "T2W"
        press(page, "x")
        assert left_series(page) == "T1W"
        press(page, "Control+z")
        assert left_series(page) == "T2W"
        press(page, "Control+y", "PageDown")
        at(page, 2)  # no STIR: another kind of study
        assert left_series(page) == "T2W"
        press(page, "PageDown")
        at(page, 3)
        assert left_series(page) == "T1W"
        page.reload()
        at(page, 3)
        assert left_series(page) == "T1W"
        press(page, "PageUp")
        at(page, 2)
        press(page, ",")
        page.get_by_label("Series on the left").select_option("T1W")
        press(page, "Escape", "PageUp")
        at(page, 1)
        press(page, "x", "PageDown")
        at(page, 2)
        assert left_series(page) == "T1W"
        press(page, ",")
        page.get_by_role("button", name="Restore defaults").click()
        press(page, "Escape")
        assert left_series(page) == "T2W"
        page.reload()
        at(page, 2)
        assert left_series(page) == "T2W"


def test_the_next_study_opens_afresh_without_a_page_load(served: Any, page: Any) -> None:
    open_case(page, served.address)
    page.evaluate("window.isSamePage = true")
    press(page, "b", "b", "3", "+", "ArrowDown", "l")
    page.get_by_text("Saved", exact=True).wait_for()
    page.get_by_label("Level of the vertebra").select_option("L2")
    until(lambda: lesion_of(served.study, 1).level == "L2", page)
    left, first_picture = pane(page), picture(page)
    press(page, "Escape", "PageDown")
    at(page, 2)
    assert page.url.endswith("/annotate/sub-002")
    assert page.get_by_test_id("where").inner_text() == "Participant 2 of 6"
    assert page.title().startswith("sub-002")
    assert page.evaluate("document.activeElement.ariaLabel") == "T2W image"
    assert page.get_by_test_id("sync").get_attribute("data-linked") == "true"
    assert page.get_by_test_id("numbers").inner_text() == "No box"
    assert page.get_by_label("Level of the vertebra").input_value() == ""
    assert page.get_by_test_id("box-T2W").count() == 0
    press(page, "Control+z")
    assert page.get_by_test_id("did").inner_text() == "Nothing to undo"
    in_page, seen = pane(page), picture(page)
    assert page.evaluate("window.isSamePage")
    page.reload()
    at(page, 2)
    assert pane(page) == pytest.approx(in_page, rel=1e-6)
    assert np.abs(picture(page) - seen).mean() < 1 < np.abs(first_picture - seen).mean()
    press(page, "z")
    assert not page.get_by_label("T1W image").is_visible()
    page.get_by_role("link", name="Next").click()
    at(page, 3)
    assert page.get_by_label("T1W image").is_visible()
    page.go_back()
    at(page, 2)
    page.go_back()
    at(page, 1, "Your saved box")
    assert pane(page) == pytest.approx(left, rel=0.01)
    assert page.get_by_label("Level of the vertebra").input_value() == "L2"
    page.go_forward()
    at(page, 2)
    press(page, "b", "b")
    until(lambda: lesion_of(served.study, 2), page)
    assert lesion_of(served.study, 1).level == "L2"
    assert lesion_of(served.study, 3) is None


def test_the_user_may_page_through_studies_faster_than_they_load(served: Any, page: Any) -> None:
    open_case(page, served.address)
    for key in ("PageDown", "PageDown", "PageDown", "PageUp", "PageDown", "PageDown"):
        page.keyboard.press(key)
        page.keyboard.press("3")
        page.keyboard.press("ArrowDown")
    at(page, 5)
    shown = pane(page)["height"]
    series = read_nifti(Workspace.open(served.study).image("sub-005", "T2w")).to_sagittal()
    assert shown == pytest.approx(series.slice_positions_mm[int(pane(page)["slice"])], abs=0.01)
    press(page, "Space")
    seen = picture(page)
    page.reload()
    at(page, 5)
    assert np.abs(picture(page) - seen).mean() < 1


def test_a_study_fetched_ahead_shows_its_present_box(served: Any, page: Any) -> None:
    with page.expect_response(lambda got: got.url.endswith("/api/annotate/sub-002")):
        open_case(page, served.address)
    page.wait_for_load_state("networkidle")
    second = page.context.new_page()
    second.goto(f"{served.address}/annotate/sub-002")
    second.get_by_text("Not marked yet").wait_for()
    press(second, "b", "b")
    second.get_by_text("Saved", exact=True).wait_for()
    second.close()
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url.removeprefix(served.address)))
    press(page, "PageDown")
    at(page, 2, "Your saved box")
    until(lambda: "/api/annotate/sub-003" in asked, page)
    before_next = asked[: asked.index("/api/annotate/sub-003")]
    assert [one for one in before_next if one.startswith(("/api/images", "/api/annotate/sub-002"))] == [
        "/api/annotate/sub-002/lesion",
        "/api/annotate/sub-002/alignment",
    ]
    assert page.get_by_test_id("numbers").inner_text().startswith("Box 40.0 mm")


def test_leaving_a_study_with_an_unsaved_change_asks_first(served: Any, page: Any) -> None:
    open_case(page, served.address)
    press(page, "PageDown")
    at(page, 2)
    page.route("**/lesion", lambda one: one.abort() if one.request.method == "PUT" else one.continue_())
    press(page, "b", "b")
    page.get_by_text("sent again every").wait_for()
    alert = page.get_by_role("alert")
    for leave in (lambda: press(page, "PageDown"), page.go_back, page.get_by_role("link", name="Next").click):
        leave()
        alert.get_by_text("not saved yet, so this page stays").wait_for()
        page.wait_for_timeout(300)
        assert page.url.endswith("/annotate/sub-002")
        assert page.get_by_test_id("numbers").inner_text().startswith("Box 40.0 mm")
    alert.get_by_role("button", name="Keep it in this browser").click()
    at(page, 3)
    assert lesion_of(served.study, 2) is None
    page.unroute("**/lesion")
    page.wait_for_timeout(2500)
    assert lesion_of(served.study, 2) is None
    press(page, "PageUp")
    at(page, 2, "Saved")
    assert page.get_by_test_id("did").inner_text() == "Your unsaved change was restored"
    assert lesion_of(served.study, 2).box.side_mm == pytest.approx(40, abs=0.01)
    assert lesion_of(served.study, 3) is None


def test_keys_pressed_before_the_images_are_loaded_do_no_harm(served: Any, page: Any) -> None:
    held: list[Any] = []
    free: list[bool] = []
    page.route("**/api/images/**", lambda one: one.continue_() if free else held.append(one))
    page.goto(f"{served.address}/annotate/sub-001")
    page.get_by_text(re.compile("Loading T2W: 0 of")).wait_for()
    page.mouse.move(*middle_of(page))
    page.mouse.wheel(0, 100)
    press(
        page, *"35+-bb[]ljzztx", "Space", "Home", "End", "ArrowDown", "Alt+ArrowUp", "Alt+Shift+ArrowUp", "Delete", "x"
    )
    assert page.get_by_test_id("numbers").inner_text() == "No box"
    free.append(True)
    for one in held:
        one.continue_()
    at(page, 1)
    assert pane(page)["slice"] == (len(volume_of(served.study, "T2w").array) - 1) // 2
    assert page.get_by_test_id("sync").get_attribute("data-linked") == "true"


def nearest_t1w(study: Path, t2w_slice: int) -> int:
    """Return the T1W slice nearest to the centre of a T2W slice."""
    t2w, t1w = volume_of(study, "T2w"), volume_of(study, "T1w")
    centre = t2w.to_mm((t2w_slice, (t2w.shape[1] - 1) / 2, (t2w.shape[2] - 1) / 2))
    return int(np.abs(t1w.slice_positions_mm - centre @ t1w.directions[:, 0]).argmin())


def test_link_undo_and_panel_survive_swapped_sides_another_layout_and_a_replaced_series(served: Any, page: Any) -> None:
    open_case(page, served.address)
    press(page, "t")  # unregistered: the headers alone decide which slices belong together

    def linked(*keys: str) -> None:
        start = pane(page)["slice"]
        press(page, *keys)
        assert pane(page)["slice"] != start
        t2w, t1w = (int(pane(page, name)["slice"]) for name in ("T2W", "T1W"))
        assert t1w == nearest_t1w(served.study, t2w)
        assert pane(page)["height"] == pytest.approx(volume_of(served.study, "T2w").slice_positions_mm[t2w], abs=0.01)
        assert pane(page, "T1W")["height"] == pytest.approx(
            volume_of(served.study, "T1w").slice_positions_mm[t1w], abs=0.01
        )

    def numbers() -> str:
        return page.get_by_test_id("numbers").inner_text()

    press(page, "b", "b")
    first = numbers()
    press(page, "Alt+ArrowRight")
    moved = numbers()
    assert moved != first
    linked("ArrowDown")
    press(page, "x")
    assert left_series(page) == "T1W"
    linked("ArrowDown")
    press(page, "z")
    linked("Shift+ArrowUp")
    press(page, "z")
    linked("ArrowDown")
    assert page.get_by_test_id("box-T2W").count() == page.get_by_test_id("box-T1W").count() == 1
    press(page, "Control+z", "Control+z")
    assert (left_series(page), numbers()) == ("T2W", first)
    t2w = volume_of(served.study, "T2w")
    page.get_by_text("Saved", exact=True).wait_for()
    middle = lesion_of(served.study, 1)
    press(page, "Control+y")
    assert numbers() == moved
    until(lambda: lesion_of(served.study, 1) != middle, page)
    step = t2w.to_index(lesion_of(served.study, 1).box.centre_mm) - t2w.to_index(middle.box.centre_mm)
    assert step == pytest.approx([0, 0, 1], abs=0.02)
    # While the user looks at another study, T1W is replaced by every second slice in reverse order.
    press(page, "PageDown")
    at(page, 2)
    workspace = Workspace.open(served.study)
    path = workspace.image("sub-001", "T1w")
    volume, sidecar = read_nifti(path), read_json(sidecar_path(workspace, "sub-001", "T1w"))
    affine = volume.affine.copy()
    affine[:3, 3] = volume.to_mm(((len(volume.array) - 1) // 2 * 2, 0, 0))
    affine[:3, 0] *= -2
    bare = {key: value for key, value in sidecar.items() if key != VOXEL_DIGEST}
    write_nifti(path, replace(volume, array=volume.array[::2][::-1], affine=affine), bare)
    write_json(sidecar_path(workspace, "sub-001", "T1w"), bare | {VOXEL_DIGEST: read_nifti(path).voxel_digest})
    press(page, "PageUp")
    at(page, 1, "Your saved box")
    press(page, "t")
    assert numbers() == moved
    linked("Home")
    for _ in range(len(t2w.array) - 1):
        linked("ArrowDown")
    press(page, "Alt+ArrowLeft")
    assert numbers() == first
    press(page, "Control+z")
    assert numbers() == moved


@pytest.mark.every_browser
def test_a_drawn_box_is_the_same_in_millimetres_on_every_screen(served: Any, browser: Any) -> None:
    drawn = {}
    for width, height in ((1280, 720), (1920, 1080)):
        for ratio in (1, 2):
            context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=ratio)
            page = context.new_page()
            open_case(page, served.address)
            until(lambda page=page: page.locator("[aria-busy]").count() == 0, page)
            edge = page.locator("[data-pane=T2W]").bounding_box()
            volume = volume_of(served.study, "T2w")
            # From 10 mm above the middle of the image, 40 mm to the right and down.
            pixels = 1 / mm_per_pixel(page, served.study)
            x, y = edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2 - 10 * pixels
            press(page, "b")
            page.mouse.move(x, y)
            page.mouse.down()
            page.mouse.move(x + 20 * pixels, y + 20 * pixels)
            page.mouse.move(x + 40 * pixels, y + 40 * pixels)
            page.mouse.up()
            box = until(lambda: lesion_of(served.study, 1), page).box
            rows, columns = volume.shape[1:]
            middle = volume.to_mm((0, (rows - 1) / 2, (columns - 1) / 2))
            off = volume.directions[:, 1:].T @ (np.array(box.centre_mm) - middle)
            drawn[width, ratio] = [*off, box.side_mm]
            press(page, "Delete")
            until(lambda: lesion_of(served.study, 1) is None, page)
            context.close()
    for found in drawn.values():
        # The mouse moves in whole pixels of the screen.
        assert found == pytest.approx([10, 20, 40], abs=0.5)
    for width in (1280, 1920):
        assert drawn[width, 1] == pytest.approx(drawn[width, 2], abs=1e-3)


def test_escape_cancels_drags_drawing_and_fields_and_w_lets_the_mouse_window_again(served: Any, page: Any) -> None:
    open_case(page, served.address)
    until(lambda: page.locator("[aria-busy]").count() == 0, page)
    press(page, "b", "b")
    page.get_by_text("Saved", exact=True).wait_for()
    saved, came, drawn = lesion_of(served.study, 1), pane(page), corners(page)
    x, y = middle_of(page)
    for button in ("left", "right", "middle"):  # in the box: moves it, zooms, pans
        page.mouse.move(x, y)
        page.mouse.down(button=button)
        page.mouse.move(x + 50, y - 40)
        assert np.abs(corners(page) - drawn).max() > 5
        press(page, "Escape")
        page.mouse.up(button=button)
        page.wait_for_timeout(SETTLED_MS)
        assert corners(page) == pytest.approx(drawn, abs=0.5)
        assert pane(page) == pytest.approx(came, rel=1e-3)
    press(page, "b")
    assert "armed" in page.get_by_label("T2W image").get_attribute("class")
    press(page, "Escape")
    assert "armed" not in page.get_by_label("T2W image").get_attribute("class")
    page.wait_for_timeout(600)
    assert lesion_of(served.study, 1) == saved
    press(page, "Control+z")
    until(lambda: lesion_of(served.study, 1) is None, page)  # a cancelled drag is no step
    press(page, "v", "Escape")
    assert page.evaluate("document.activeElement.ariaLabel") == "T2W image"
    press(page, ",")
    page.get_by_role("button", name="Like a PACS").click()
    press(page, "Escape")
    drag(page, 0, 36)
    assert pane(page)["slice"] == came["slice"] + 3
    press(page, "b", "w")
    assert "armed" not in page.get_by_label("T2W image").get_attribute("class")
    drag(page, 60, 0)
    assert pane(page)["slice"] == came["slice"] + 3
    assert pane(page)["high"] > came["high"]


def test_the_table_of_keys_opens_at_its_top(served: Any, page: Any) -> None:
    open_case(page, served.address)
    press(page, "?")
    dialog = page.get_by_role("dialog", name="Keys")
    edge = dialog.bounding_box()
    for name in ("Close", "Restore defaults"):
        button = dialog.get_by_role("button", name=name).bounding_box()
        assert edge["y"] < button["y"] < edge["y"] + 200
    assert dialog.get_by_text("Previous slice").bounding_box()["y"] < edge["y"] + edge["height"]
    dialog.get_by_label("Keys for: Choose the level").scroll_into_view_if_needed()
    assert dialog.get_by_role("button", name="Close").bounding_box()["y"] >= edge["y"]


def test_what_could_not_be_fetched_ahead_is_requested_again_when_needed(served: Any, page: Any) -> None:
    failed: list[str] = []

    def fail_once(route: Any) -> None:
        if route.request.url in failed:
            return route.continue_()
        failed.append(route.request.url)
        return route.fulfill(status=500, body="{}")

    handles: list[str] = []
    dropped: list[str] = []

    def learn(route: Any) -> None:
        answer = route.fetch()
        handles.extend(one["handle"] for one in answer.json()["pair"].values() if isinstance(one, dict))
        route.fulfill(response=answer)

    def drop_once(route: Any) -> None:
        url = route.request.url
        if url in dropped or not any(url.endswith(f"{one}/slices/3") for one in handles):
            return route.continue_()
        dropped.append(url)
        return route.abort()

    page.route("**/api/annotate/sub-002", fail_once)
    page.route("**/api/annotate/sub-003", learn)
    page.route("**/api/images/**", drop_once)
    open_case(page, served.address)
    until(lambda: failed, page)
    press(page, "PageDown")
    at(page, 2)
    until(lambda: len(dropped) == 2, page)  # one of each series, while it is fetched ahead
    press(page, "PageDown")
    at(page, 3)
    press(page, "Home", *["ArrowDown"] * 3)
    assert pane(page)["slice"] == 3
    assert page.locator(".note").all_inner_texts() == ["", ""]


def test_all_steps_made_before_their_slices_are_loaded_count(served: Any, page: Any) -> None:
    held: list[Any] = []
    free: list[bool] = []
    first = (len(volume_of(served.study, "T2w").array) - 1) // 2

    def hold(route: Any) -> None:
        if free or route.request.url.endswith(f"/slices/{first}"):
            return route.continue_()
        return held.append(route)

    page.route("**/api/images/**", hold)
    page.goto(f"{served.address}/annotate/sub-001")
    until(lambda: page.get_by_label("T2W image").get_attribute("data-slice"), page)
    press(page, *["ArrowDown"] * 3)
    assert pane(page)["slice"] == first
    free.append(True)
    for one in held:
        one.continue_()
    at(page, 1)
    page.wait_for_timeout(SETTLED_MS)
    assert pane(page)["slice"] == first + 3


@pytest.mark.chromium_alone("Firefox draws without WebGL throughout, where there is no graphics card")
def test_an_image_is_placed_the_same_with_and_without_webgl(served: Any, browser: Any) -> None:
    seen: list[dict[str, Any]] = []
    for script in ("", NO_WEBGL):
        context = browser.new_context(viewport={"width": 1280, "height": 720}, device_scale_factor=2)
        context.add_init_script(script)
        page = context.new_page()
        open_case(page, served.address)
        until(lambda page=page: page.locator("[aria-busy]").count() == 0, page)
        assert page.evaluate("!document.createElement('canvas').getContext('webgl2')") == bool(script)
        seen.append({})

        def look(name: str, page: Any = page) -> None:
            page.wait_for_timeout(SETTLED_MS)
            image = Image.open(io.BytesIO(page.locator("[data-pane=T2W] canvas").screenshot())).convert("L")
            seen[-1][name] = pane(page), corners(page), np.asarray(image, float)

        press(page, "Home", "ArrowDown", "ArrowDown", "b", "b")
        look("whole")
        drag(page, 120, 90, "middle")
        drag(page, 0, -60, "right")
        look("moved and larger")
        press(page, "ArrowDown", "ArrowDown", "ArrowUp")
        look("another slice")
        page.mouse.dblclick(*middle_of(page))
        look("alone")
        press(page, "Space")
        look("alone and whole")
        page.mouse.dblclick(*middle_of(page))
        look("whole again")
        page.get_by_text("Saved", exact=True).wait_for()
        press(page, "Delete")
        until(lambda: own_lesion(served.study) is None, page)
        context.close()
    assert seen[0]["whole"][0]["zoom"] == 1
    assert seen[0]["moved and larger"][0]["zoom"] == pytest.approx(2**0.5, rel=1e-3)
    for name, (numbers, box, image) in seen[0].items():
        others, other_box, other_image = seen[1][name]
        assert others == pytest.approx(numbers, rel=2e-3), name
        assert other_box == pytest.approx(box, abs=0.75), name
        assert image.std() > 20, name
        assert np.abs(image - other_image).mean() < 2, name

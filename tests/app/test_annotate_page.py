"""The annotate page in a real browser: what the user does, and what is stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinefx.app.state import ServeSettings
from spinefx.imaging.nifti import read_nifti, write_nifti
from spinefx.imaging.volume import Volume
from spinefx.vocabulary import VOXEL_DIGEST
from spinefx.workspace.layout import Workspace, read_json, write_json
from spinefx.workspace.records import read_lesions, sidecar_path

READY = "[data-pane=T2W]"


def open_case(page: Any, address: str, case: str = "sub-001") -> None:
    page.goto(f"{address}/annotate/{case}")
    page.get_by_text("Not marked yet").wait_for()
    page.locator("[aria-busy]").first.wait_for(state="detached")


def pane(page: Any, name: str) -> dict[str, float]:
    """Return what a pane shows: slice, height along the normal, window, zoom."""
    section = page.get_by_label(f"{name} image")
    return {key: float(section.get_attribute(f"data-{key}")) for key in ("slice", "height", "low", "high", "zoom")}


def shown(study: Path, weighting: str) -> Volume:
    return read_nifti(Workspace.open(study).image("sub-001", weighting)).to_sagittal()


def heights_mm(study: Path, weighting: str) -> np.ndarray:
    return shown(study, weighting).slice_positions_mm


def gaps_mm(study: Path, t2w_slice: int) -> np.ndarray:
    """Return the distance of each T1W slice from the centre of a T2W slice, along T1W's normal."""
    t2w, t1w = shown(study, "T2w"), shown(study, "T1w")
    centre = t2w.to_mm((t2w_slice, (t2w.shape[1] - 1) / 2, (t2w.shape[2] - 1) / 2))
    return np.abs(t1w.slice_positions_mm - centre @ t1w.directions[:, 0])


def own_lesion(study: Path) -> Any:
    return next(one.lesion for one in read_lesions(Workspace.open(study)) if one.annotator == "local")


def draw_box(page: Any) -> tuple[float, float, float]:
    """Drag a square on T2W; return its left, top and side on the screen."""
    edge = page.locator(READY).bounding_box()
    left, top = edge["x"] + edge["width"] * 0.42, edge["y"] + edge["height"] * 0.4
    page.keyboard.press("b")
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(left + 30, top + 20, steps=3)
    page.mouse.move(left + 60, top + 60, steps=3)
    page.mouse.up()
    page.get_by_text("Saved", exact=True).wait_for()
    return left - edge["x"], top - edge["y"], 60.0


@pytest.mark.every_browser
def test_from_the_worklist_to_a_saved_box(served: Any, page: Any) -> None:
    page.goto(f"{served.address}/annotate")
    page.get_by_test_id("next").click()
    page.get_by_text("Not marked yet").wait_for()
    draw_box(page)
    page.get_by_label("Level of the vertebra").select_option("L6")
    page.get_by_text("numbering variant. It is saved").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("]")
    page.get_by_test_id("numbers").filter(has_text="slices").wait_for()
    page.wait_for_timeout(600)
    page.get_by_text("Saved", exact=True).wait_for()
    lesion = own_lesion(served.study)
    assert lesion.level == "L6"
    assert lesion.last_slice == lesion.first_slice + 1
    drawn = page.get_by_test_id("box-T2W").get_attribute("points").split()
    corners = np.array([[float(number) for number in corner.split(",")] for corner in drawn])
    assert np.ptp(corners, axis=0) == pytest.approx([60, 60], abs=1.5)
    t2w = read_nifti(Workspace.open(served.study).image("sub-001", "T2w"))
    assert lesion.box.side_mm == pytest.approx(60 * shown_mm_per_pixel(page, t2w), rel=0.03)


def shown_mm_per_pixel(page: Any, volume: Any) -> float:
    """Return the millimetres of one screen pixel: the whole image fits the shorter side of the pane."""
    edge = page.locator(READY).bounding_box()
    height_mm = volume.shape[1] * volume.spacing_mm[1]
    width_mm = volume.shape[2] * volume.spacing_mm[2]
    return max(height_mm / edge["height"], width_mm / edge["width"]) / pane(page, "T2W")["zoom"]


@pytest.mark.every_browser
def test_both_series_scroll_by_the_position_of_their_slices(served: Any, page: Any) -> None:
    open_case(page, served.address)
    places = {name: heights_mm(served.study, name) for name in ("T2w", "T1w")}
    assert len(places["T2w"]) != len(places["T1w"]) or not np.allclose(places["T2w"], places["T1w"])
    seen = set()
    for key in ("Home", *["ArrowDown"] * 6, "End", "Shift+ArrowUp"):
        page.keyboard.press(key)
        page.wait_for_timeout(120)
        t2w, t1w = pane(page, "T2W"), pane(page, "T1W")
        assert t2w["height"] == pytest.approx(places["T2w"][int(t2w["slice"])], abs=0.01)
        gaps = gaps_mm(served.study, int(t2w["slice"]))
        assert gaps[int(t1w["slice"])] == pytest.approx(gaps.min(), abs=1e-6)
        seen.add(int(t2w["slice"]))
    assert len(seen) >= 8


def test_a_different_spacing_a_shift_and_another_order_change_nothing(study: Path, page: Any, running: Any) -> None:
    workspace = Workspace.open(study)
    path = workspace.image("sub-001", "T1w")
    volume, sidecar = read_nifti(path), read_json(sidecar_path(workspace, "sub-001", "T1w"))
    thinned = volume.array[::2][::-1]
    affine = volume.affine.copy()
    affine[:3, 3] = volume.to_mm(((len(volume.array) - 1) // 2 * 2, 0, 0))
    affine[:3, 0] *= -2
    # As if it had been ingested so: the record of its voxels goes with it.
    bare = {key: value for key, value in sidecar.items() if key != VOXEL_DIGEST}
    write_nifti(path, replace(volume, array=thinned, affine=affine), bare)
    write_json(sidecar_path(workspace, "sub-001", "T1w"), bare | {VOXEL_DIGEST: read_nifti(path).voxel_digest})
    with running(ServeSettings(study)) as served:
        open_case(page, served.address)
        seen = []
        page.keyboard.press("Home")
        for _ in range(len(heights_mm(study, "T2w"))):
            page.wait_for_timeout(100)
            gaps = gaps_mm(study, int(pane(page, "T2W")["slice"]))
            assert gaps[int(pane(page, "T1W")["slice"])] == pytest.approx(gaps.min(), abs=1e-6)
            seen.append(float(page.get_by_test_id("sync").get_attribute("data-gap")))
            assert seen[-1] == pytest.approx(gaps.min(), abs=0.01)
            page.keyboard.press("ArrowDown")
        assert max(seen) > 1.5


def test_series_without_a_shared_frame_are_linked_manually(study: Path, page: Any, running: Any) -> None:
    workspace = Workspace.open(study)
    sidecar = sidecar_path(workspace, "sub-001", "T1w")
    volume = read_nifti(workspace.image("sub-001", "T1w"))
    told = read_json(sidecar) | {"FrameOfReference": "another"}
    write_nifti(workspace.image("sub-001", "T1w"), replace(volume, frame_of_reference="another"), told)
    with running(ServeSettings(study)) as served:
        open_case(page, served.address)
        page.get_by_test_id("sync").filter(has_text="no shared frame of reference").wait_for()
        page.keyboard.press("l")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("j")
        page.get_by_test_id("sync").filter(has_text="aligned manually").wait_for()
        before = pane(page, "T2W")["slice"], pane(page, "T1W")["slice"]
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(200)
        after = pane(page, "T2W")["slice"], pane(page, "T1W")["slice"]
        assert after[0] == before[0] + 1
        assert after[1] in {before[1], before[1] + 1}


@pytest.mark.every_browser
def test_everything_can_be_undone_and_a_reload_brings_it_back(served: Any, page: Any) -> None:
    open_case(page, served.address)
    draw_box(page)
    first = own_lesion(served.study)
    page.keyboard.press("Alt+ArrowRight")
    page.wait_for_timeout(700)
    moved = own_lesion(served.study)
    t2w = read_nifti(Workspace.open(served.study).image("sub-001", "T2w"))
    shift = t2w.to_index(moved.box.centre_mm) - t2w.to_index(first.box.centre_mm)
    assert shift == pytest.approx([0, 0, 1], abs=0.02)
    page.keyboard.press("Control+z")
    page.wait_for_timeout(700)
    assert own_lesion(served.study).box.centre_mm == pytest.approx(first.box.centre_mm, abs=0.002)
    page.keyboard.press("Control+y")
    page.wait_for_timeout(700)
    assert own_lesion(served.study).box.centre_mm == pytest.approx(moved.box.centre_mm, abs=0.002)
    page.keyboard.press("3")
    page.keyboard.press("+")
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(200)
    kept = pane(page, "T2W")
    page.reload()
    page.get_by_text("Your saved box").wait_for()
    page.wait_for_timeout(400)
    assert pane(page, "T2W") == pytest.approx(kept, abs=0.01)
    page.keyboard.press("Delete")
    page.get_by_text("No box").wait_for()
    page.wait_for_timeout(700)
    assert all(one.annotator != "local" for one in read_lesions(Workspace.open(served.study)))


def test_a_drag_changes_the_window_and_a_double_click_does_not_reset_it(served: Any, page: Any) -> None:
    open_case(page, served.address)
    before = pane(page, "T2W")
    edge = page.locator(READY).bounding_box()
    middle = edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1], steps=4)
    page.mouse.up()
    page.wait_for_timeout(150)
    wider = pane(page, "T2W")
    assert wider["high"] - wider["low"] > 1.05 * (before["high"] - before["low"])
    page.mouse.dblclick(*middle)
    page.wait_for_timeout(150)
    assert pane(page, "T2W")["high"] == pytest.approx(wider["high"], rel=0.02)
    page.keyboard.press("Space")
    page.wait_for_timeout(150)
    assert pane(page, "T2W")["high"] == pytest.approx(before["high"], rel=1e-3)


def test_keys_work_wherever_the_focus_is_but_not_while_typing(served: Any, page: Any) -> None:
    open_case(page, served.address)
    page.get_by_role("button", name="Undo").focus()
    start = pane(page, "T2W")["slice"]
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(150)
    assert pane(page, "T2W")["slice"] == start + 1
    page.keyboard.press("?")
    page.get_by_label("Keys for: Next slice").select_text()
    page.keyboard.type("N")
    page.keyboard.press("Tab")
    page.get_by_text("Saved: Next slice").wait_for()
    page.get_by_label("Keys for: Previous slice").select_text()
    page.keyboard.type("L")
    page.keyboard.press("Tab")
    page.get_by_text("Already used by: Scroll together").wait_for()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("n")
    page.wait_for_timeout(150)
    assert pane(page, "T2W")["slice"] == start + 2
    page.goto(f"{served.address}/annotate")
    page.get_by_label("Find a participant").fill("?")
    assert page.get_by_label("Find a participant").input_value() == "?"


def test_an_unreachable_server_is_reported_and_nothing_is_lost(served: Any, page: Any) -> None:
    open_case(page, served.address)
    page.context.set_offline(True)
    page.keyboard.press("b")
    page.keyboard.press("b")
    page.get_by_text("Not saved").wait_for()
    page.context.set_offline(False)
    page.keyboard.press("Alt+ArrowLeft")
    page.get_by_text("Saved", exact=True).wait_for()
    assert own_lesion(served.study).box.side_mm == pytest.approx(40, abs=0.01)

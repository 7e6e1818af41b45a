"""The decide page in a real browser: a study is dropped, marked, and gets the numbers of `predict`."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from spinefx.app.state import ServeSettings
from spinefx.commands.predict import predict
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions


def zipped(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


def drop(page: Any, name: str, data: bytes) -> None:
    """Drop a file on the page."""
    dropped = page.evaluate_handle(
        """([name, data]) => {
            const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name));
            return transfer;
        }""",
        [name, base64.b64encode(data).decode()],
    )
    page.get_by_test_id("dropzone").dispatch_event("drop", {"dataTransfer": dropped})


def drop_paths(page: Any, *paths: Path, beside: bool = False) -> None:
    """Drop files and folders of the disk on the page as a desktop does, on the zone or beside it."""
    edge = page.get_by_test_id("dropzone").bounding_box()
    place = {"x": edge["x"] + edge["width"] / 2, "y": edge["y"] + (edge["height"] + 20 if beside else 20)}
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "data": data} | place)


def mark(page: Any, pair: dict[str, Any], lesion: dict[str, Any]) -> None:
    """Draw a lesion's box with the mouse, and set its slices by keys."""
    page.get_by_text("Mark the vertebra: a box on T2W").wait_for(timeout=60_000)
    t2w, box = pair["t2w"], lesion["box"]
    edge = page.locator("[data-pane=T2W]").bounding_box()
    zoom = float(page.get_by_label("T2W image").get_attribute("data-zoom"))
    sizes_mm = (t2w["columns"] * t2w["column_spacing_mm"], t2w["rows"] * t2w["row_spacing_mm"])
    mm_per_pixel = max(sizes_mm[0] / edge["width"], sizes_mm[1] / edge["height"]) / zoom
    from_first = np.array(box["centre_mm"]) - t2w["positions_mm"][0]
    steps_mm = (t2w["column_spacing_mm"], t2w["row_spacing_mm"])
    cosines = (t2w["row_cosines"], t2w["column_cosines"])
    places_mm = [
        from_first @ cosine - (size - step) / 2 for cosine, size, step in zip(cosines, sizes_mm, steps_mm, strict=True)
    ]
    x, y = edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2
    x, y, half = x + places_mm[0] / mm_per_pixel, y + places_mm[1] / mm_per_pixel, box["side_mm"] / mm_per_pixel / 2
    page.keyboard.press("Home")
    for _ in range(lesion["first_slice"]):
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(40)
    page.get_by_label("T2W image").and_(page.locator(f"[data-slice='{lesion['first_slice']}']")).wait_for()
    page.keyboard.press("b")
    page.mouse.move(x - half, y - half)
    page.mouse.down()
    page.mouse.move(x + half, y + half, steps=3)
    page.mouse.up()
    for _ in lesion_slices(lesion)[1:]:
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(40)
    page.keyboard.press("]")
    page.get_by_test_id("numbers").filter(has_text=f"to {lesion['last_slice'] + 1}").wait_for()
    page.get_by_test_id("sync").filter(has_text="T1W registered").wait_for()


def lesion_slices(lesion: dict[str, Any]) -> range:
    return range(lesion["first_slice"], lesion["last_slice"] + 1)


def of_table(study: Path, case_id: str) -> dict[str, Any]:
    lesion = next(one.lesion for one in read_lesions(Workspace.open(study)) if one.case_id == case_id)
    box = {"centre_mm": lesion.box.centre_mm, "side_mm": lesion.box.side_mm}
    return {"box": box, "first_slice": lesion.first_slice, "last_slice": lesion.last_slice}


def opened_by(page: Any, path: str, act: Callable[[], Any]) -> dict[str, Any]:
    """What the server returns for the study that an action opens."""
    with page.expect_response(f"**/api/decide/{path}", timeout=60_000) as waiting:
        act()
    return dict(waiting.value.json())


def opinion_on(page: Any) -> dict[str, Any]:
    with page.expect_response("**/api/decide/opinion") as waiting:
        page.keyboard.press("a")
    return dict(waiting.value.json())


@pytest.mark.every_browser
def test_a_dropped_study_is_marked_and_gets_an_opinion(trained: Any, page: Any, running: Any) -> None:
    with running(ServeSettings(trained.study)) as served:
        page.goto(f"{served.address}/decide")
        page.get_by_test_id("model").filter(has_text="2 models").wait_for()
        archive = zipped(trained.export / trained.stranger)
        opened = opened_by(page, "studies", lambda: drop(page, "DOE JANE.zip", archive))
        mark(page, opened["pair"], trained.lesion)
        assert re.search("/decide/opened/[A-Za-z0-9_-]+$", page.url)
        assert page.get_by_test_id("series").locator("li").count() == 4
        told = opinion_on(page)
        lesion = told["lesion"]
        assert lesion["centre_mm"] == pytest.approx(trained.lesion["box"]["centre_mm"], abs=2.5)
        assert lesion["side_mm"] == pytest.approx(trained.lesion["box"]["side_mm"], abs=2.5)
        expected = predict(
            trained.study / "experiments" / "quick",
            trained.export / trained.stranger,
            box=",".join(f"{number:.9f}" for number in (*lesion["centre_mm"], lesion["side_mm"])),
            slices=f"{lesion['first_slice']}-{lesion['last_slice']}",
        )
        own, trained_on = (100 * expected["patient"][name] for name in ("corrected_probability", "probability"))
        page.get_by_test_id("own-number").filter(has_text=f"{own:.0f}% (as trained {trained_on:.0f}%)").wait_for()
        assert page.get_by_test_id("number").inner_text() == told["probability"]["text"]
        assert page.get_by_test_id("number-at-box").text_content() == told["probability"]["text"]
        rows = page.get_by_role("region", name="Opinion", exact=True).locator("table").first.locator("tbody tr")
        shown = [rows.nth(row).locator("td").all_inner_texts() for row in range(rows.count())]
        assert shown == [
            [str(one["slice"] + 1), f"{100 * one['corrected_probability']:.0f}%", f"{100 * one['probability']:.0f}%"]
            for one in expected["slices"]
        ]
        below = told["histogram"]["malignant"]["below"]
        assert page.get_by_test_id("below-malignant").inner_text() == f"6 malignant: {below} below this probability"
        assert page.get_by_test_id("proven").count() == 6
        assert page.get_by_text("Research use only", exact=False).first.is_visible()
        page.keyboard.press("s")
        page.get_by_test_id("saliency").filter(has_text=f"Slice {lesion['last_slice'] + 1}").wait_for(timeout=30_000)
        assert page.get_by_test_id("saliency").locator("rect").count() == 4 * 64
        said = page.get_by_test_id("check").all_inner_texts()
        assert [words.split(":")[0].partition(". ")[2] for words in said] == [
            "With the pixels of the image shuffled",
            "With the weights of the network shuffled",
        ]
        all_passed = all(words.startswith("Passed") for words in said)
        assert page.get_by_test_id("verdict").inner_text().startswith("Both checks are passed") is all_passed
        for picture in page.locator("img.tile").all():
            picture.scroll_into_view_if_needed()
        page.wait_for_timeout(300)
        assert {one.evaluate("picture => picture.naturalWidth") for one in page.locator("img.tile").all()} == {264}


def test_a_click_on_a_found_vertebra_makes_it_the_box(trained: Any, page: Any, running: Any) -> None:
    with running(ServeSettings(trained.study)) as served:
        page.goto(f"{served.address}/decide/sub-004")
        page.get_by_text("Mark the vertebra: a box on T2W").wait_for(timeout=60_000)
        with page.expect_response("**/vertebrae", timeout=60_000) as waiting:
            page.keyboard.press("f")
        rows = waiting.value.json()["rows"]
        page.get_by_text("Click a vertebra to mark it").wait_for()
        offered = page.locator("polygon.offered")
        offered.first.wait_for()
        assert offered.count() == len(rows) >= 3
        chosen = rows[len(rows) // 2]["lesion"]
        offered.nth(len(rows) // 2).click()
        place = ", ".join(f"{mm:.1f}" for mm in chosen["box"]["centre_mm"])
        slices = f"slices {chosen['first_slice'] + 1} to {chosen['last_slice'] + 1}"
        page.get_by_test_id("numbers").filter(has_text=f"L, P, S = {place} mm; {slices}").wait_for()
        assert offered.count() == 0
        told = opinion_on(page)
        # The server moves the box along the normal onto the middle slice.
        assert told["lesion"]["centre_mm"] == pytest.approx(chosen["box"]["centre_mm"], abs=2.5)
        # By keyboard: the list holds the same boxes, and a step back takes the choice away.
        page.get_by_role("button", name="Undo").click()
        page.get_by_test_id("numbers").filter(has_text="No box").wait_for()
        page.get_by_role("button", name="Find vertebrae (F)").press("Enter")
        found = page.get_by_role("region", name="Found vertebrae")
        found.get_by_role("button", name="Accept").first.press("Enter")
        side = f"Box {rows[0]['lesion']['box']['side_mm']:.1f} mm"
        page.get_by_test_id("numbers").filter(has_text=side).wait_for()


def shown_percent(probability: float) -> str:
    """A probability as the page writes it: never as certain."""
    rounded = int(np.floor(100 * probability + 0.5))
    return "<1%" if rounded < 1 else ">99%" if rounded > 99 else f"{rounded}%"


def test_the_signs_are_read_and_overruled_by_keyboard_and_mouse(trained: Any, page: Any, running: Any) -> None:
    with running(ServeSettings(trained.study)) as served:
        page.goto(served.address + "/decide")
        archive = zipped(trained.export / trained.stranger)
        opened = opened_by(page, "studies", lambda: drop(page, "study.zip", archive))
        mark(page, opened["pair"], trained.lesion)
        with page.expect_response("**/api/decide/signs") as waiting:
            page.keyboard.press("g")
        read = waiting.value.json()
        number = page.get_by_test_id("signs-number")
        number.wait_for()
        assert number.text_content() == shown_percent(read["probability"])
        assert page.get_by_test_id("signs").locator("li").count() == 15
        button = page.get_by_test_id("overrule-epidural_paraspinal_mass-y")
        with page.expect_response("**/api/decide/signs/overruled") as waiting:
            button.focus()
            page.keyboard.press("Enter")
        overruled = waiting.value.json()
        assert overruled["probability"] > read["probability"] or overruled["probability"] > 0.99
        page.locator("[data-testid=overrule-epidural_paraspinal_mass-y][aria-pressed=true]").wait_for()
        assert number.text_content() == shown_percent(overruled["probability"])
        focused = page.evaluate("document.activeElement.dataset.key")
        assert focused == "epidural_paraspinal_mass-y", "the table is redrawn, and the keyboard stays where it was"
        with page.expect_response("**/api/decide/signs/overruled") as waiting:
            button.click()
        assert waiting.value.json()["probability"] == pytest.approx(read["probability"])
        page.get_by_test_id("reliability").select_option("0.2")
        # Another box is another question: the signs of the old one disappear.
        page.keyboard.press("[")
        page.get_by_test_id("signs").wait_for(state="detached")


def test_a_number_disappears_with_its_box_and_a_reload_restores_the_box(trained: Any, page: Any, running: Any) -> None:
    with running(ServeSettings(trained.study)) as served:
        page.goto(f"{served.address}/decide")
        opened = opened_by(page, "participants/sub-004", page.get_by_role("link", name="sub-004").click)
        page.get_by_text("Mark the vertebra: a box on T2W").wait_for()
        page.keyboard.press("a")
        page.get_by_text("Mark the vertebra first").wait_for()
        page.reload()
        mark(page, opened["pair"], of_table(trained.study, "sub-004"))
        told = opinion_on(page)
        assert "which was not trained on this case" in told["answered_by"]
        page.get_by_test_id("number").wait_for()
        page.keyboard.press("Alt+ArrowRight")
        page.get_by_text("The box has changed. Ask").wait_for()
        assert page.get_by_test_id("number").count() == 0
        assert page.get_by_test_id("number-at-box").count() == 0
        place = page.get_by_test_id("numbers").inner_text()
        page.reload()
        page.get_by_text("Your box was restored").wait_for()
        assert page.get_by_test_id("numbers").inner_text() == place
        stored = json.dumps([page.evaluate("() => ({...sessionStorage})"), page.evaluate("() => ({...localStorage})")])
        assert "PHANTOM" not in stored


def test_cannot_tell_is_shown_without_any_number(trained: Any, page: Any, running: Any) -> None:
    with running(ServeSettings(trained.study)) as served:
        page.goto(f"{served.address}/decide/sub-001")
        page.get_by_text("Mark the vertebra: a box on T2W").wait_for()
        page.keyboard.press("b")
        page.keyboard.press("b")
        for _ in range(30):
            page.keyboard.press("Alt+Shift+ArrowUp")
        answer = opinion_on(page)
        assert answer["cannot_tell"]["kind"] == "UnlikeTrainingError"
        page.get_by_test_id("reason").filter(has_text="side of the box").wait_for()
        assert page.get_by_test_id("number").count() == 0
        assert "%" not in page.get_by_role("region", name="Opinion", exact=True).inner_text()
        page.goto(f"{served.address}/decide")
        drop(page, "letter.txt", b"no image at all")
        page.get_by_test_id("opening").filter(has_text="no study").wait_for(timeout=60_000)


def test_scripts_in_dicom_text_never_run(trained: Any, page: Any, running: Any, tmp_path: Path) -> None:
    marker = "<img src=x onerror=alert(1)><script>alert(1)</script>"
    source = trained.export / trained.stranger
    for number, path in enumerate(sorted(one for one in source.rglob("*") if one.is_file())):
        dataset = pydicom.dcmread(path)
        dataset.PatientName = dataset.SeriesDescription = dataset.StudyDescription = marker
        dataset.InstitutionName = dataset.ProtocolName = marker
        dataset.save_as(tmp_path / f"{number}.dcm")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    with running(ServeSettings(trained.study)) as served:
        page.goto(f"{served.address}/decide")
        opened = opened_by(page, "studies", lambda: drop(page, f"{marker}.zip", zipped(tmp_path)))
        mark(page, opened["pair"], trained.lesion)
        told = opinion_on(page)
        page.get_by_test_id("number").wait_for()
        page.goto(f"{served.address}/api/decide/opinions/{told['opinion']}/report")
        page.get_by_text("Second opinion on one vertebra").wait_for()
        assert page.locator(".number").evaluate("one => getComputedStyle(one).fontWeight") == "700"
    assert dialogs == []


def with_junk(source: Path, folder: Path) -> Path:
    """Copy a patient's files two folders deep, among files that operating systems leave."""
    shutil.copytree(source, folder / "IMAGES" / "1")
    junk = {".DS_Store": b"\0\0\0\1Bud1", "Thumbs.db": b"\xd0\xcf", "letter.txt": b"Dear colleague", "empty": b""}
    for name, data in junk.items():
        (folder / name).write_bytes(data)
        (folder / "IMAGES" / name).write_bytes(data)
    return folder


@pytest.mark.chromium_alone("only its DevTools let real folders be dragged")
@pytest.mark.parametrize("way", ["plain", "among junk", "two folders", "zip in it", "beside the zone"])
def test_a_dropped_folder_is_read_marked_and_gets_an_opinion(
    trained: Any, page: Any, running: Any, tmp_path: Path, way: str
) -> None:
    source, folder = trained.export / trained.stranger, tmp_path / "Doe^John"
    paths = [folder]
    if way == "among junk":
        with_junk(source, folder)
    elif way == "two folders":
        files = sorted(one for one in source.rglob("*") if one.is_file())
        paths = [tmp_path / "first", tmp_path / "second"]
        for number, path in enumerate(files):
            paths[number % 2].mkdir(exist_ok=True)
            shutil.copy(path, paths[number % 2] / f"{number}")
    elif way == "zip in it":
        (folder / "sent").mkdir(parents=True)
        (folder / "sent" / "Doe.zip").write_bytes(zipped(source))
    else:
        shutil.copytree(source, folder)
    with running(ServeSettings(trained.study)) as served:
        page.goto(f"{served.address}/decide")
        opened = opened_by(page, "studies", lambda: drop_paths(page, *paths, beside=way == "beside the zone"))
        assert sorted(one["use"] for one in opened["series"] if one["use"]) == ["T1W", "T2W"]
        assert sum(opened["refused_files"].values()) == (8 if way == "among junk" else 0)
        mark(page, opened["pair"], trained.lesion)
        told = opinion_on(page)
        page.get_by_test_id("number").filter(has_text=told["probability"]["text"]).wait_for()
        lesion = told["lesion"]
        expected = predict(
            trained.study / "experiments" / "quick",
            source,
            box=",".join(f"{number:.9f}" for number in (*lesion["centre_mm"], lesion["side_mm"])),
            slices=f"{lesion['first_slice']}-{lesion['last_slice']}",
        )
        given = [one["probability"] for one in told["slices"]]
        assert given == pytest.approx([one["probability"] for one in expected["slices"]], abs=1e-5)
        assert "Doe" not in page.content()


@pytest.mark.chromium_alone("only its DevTools let real folders be dragged")
def test_folders_without_exactly_one_study_are_refused_and_another_may_follow(
    trained: Any, page: Any, running: Any, tmp_path: Path
) -> None:
    other = next(name for name in trained.patients.values() if name != trained.stranger)
    two, empty, junk = (tmp_path / name for name in ("two", "empty", "junk"))
    for name in (trained.stranger, other):
        shutil.copytree(trained.export / name, two / name)
    (empty / "inside").mkdir(parents=True)
    junk.mkdir()
    (junk / "letter.txt").write_bytes(b"Dear colleague")
    status = page.get_by_test_id("opening")
    with running(ServeSettings(trained.study)) as served:
        page.goto(f"{served.address}/decide")
        refusals = {empty: "No files found", junk: "no study", two: "2 studies of 2 patients"}
        for folder, message in refusals.items():
            drop_paths(page, folder)
            status.filter(has_text=message).wait_for(timeout=60_000)
            assert "alarm" in status.get_attribute("class"), status.inner_text()
            assert trained.stranger not in status.inner_text()
        opened = opened_by(page, "studies", lambda: drop_paths(page, two / trained.stranger))
        assert opened["pair"] is not None
        page.get_by_text("Mark the vertebra").wait_for(timeout=60_000)


def test_t2w_alone_is_shown_with_what_is_missing_and_panes_never_wait_for_ever(
    trained: Any, page: Any, running: Any, tmp_path: Path
) -> None:
    study = Path(shutil.copytree(trained.export / trained.stranger, tmp_path / "study"))
    for path in study.rglob("*.dcm"):
        if pydicom.dcmread(path, stop_before_pixels=True).EchoTime < 30:
            path.unlink()
    with running(ServeSettings(trained.study)) as served:
        page.goto(f"{served.address}/decide")
        page.get_by_test_id("dropzone").wait_for()
        drop(page, "study.zip", zipped(study))
        page.get_by_text("No usable T1W series").wait_for()
        page.get_by_label("T2W image").and_(page.locator("[data-slice]")).wait_for()
        assert "no T1w series" in page.get_by_test_id("reason").inner_text()
        assert page.get_by_text("Waiting for images").count() == 0
        assert page.get_by_text("Phantom study").count() == 0
        stir = page.get_by_label("Series to use as T2W").locator("option").all_inner_texts()
        place = next(number for number, text in enumerate(stir) if text.endswith("STIR"))
        page.get_by_label("Series to use as T2W").select_option(index=place)
        page.get_by_text("Use these two").click()
        page.get_by_text("It shows:").wait_for()
        assert page.locator(".pane .title").all_inner_texts() == ["T2W", "T1W"]
        assert page.get_by_text("No images; see the panel for the reason").count() == 2
        assert page.get_by_test_id("number").count() == 0

"""Photograph the web app on a phantom workspace: the pages Annotate, Read, Decide and Teach, as Chromium shows them.

Run ``python docs/web_app_pictures.py WORKSPACE`` on phantoms with simulated readers and an experiment. The workspace is
copied, not changed.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from PIL import Image
from playwright.sync_api import sync_playwright

from spinefx.app.server import create_app
from spinefx.app.state import ServeSettings
from spinefx.commands.reader_study import register
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions

IMAGES = Path(__file__).resolve().parent / "images"
FLAGS = ["--no-sandbox", "--disable-background-networking", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SIZE = {"width": 1440, "height": 810}


def annotate(page: Any, address: str, workspace: Path) -> None:
    """Open a case and accept the cohort's own box."""
    case = read_lesions(Workspace.open(workspace))[0].participant_id
    page.goto(f"{address}/annotate/{case}")
    page.get_by_text("Linked by position").wait_for()
    page.get_by_role("button", name="Show other boxes").click()
    page.get_by_role("button", name="Accept").first.click()
    page.get_by_text("T1W registered").wait_for()
    page.keyboard.press("+")
    page.keyboard.press("+")


def read(page: Any, address: str, workspace: Path) -> None:
    """Open a case of a second-read study and score its signs by keyboard."""
    design = workspace.parent / "pilot.toml"
    design.write_text('name = "pilot"\ndesign = "second_read"\nreaders = ["local"]\nexperiment = "quick"\n')
    register(workspace, design)
    page.goto(f"{address}/read/pilot/1")
    page.get_by_text("T1W registered").wait_for()
    page.keyboard.press("f")
    for number in range(15):
        page.keyboard.press("y" if number in {1, 5, 6} else "n")
        page.keyboard.press("Enter")
    page.keyboard.press("Escape")


def decide(page: Any, address: str, workspace: Path) -> None:
    """Open a participant, draw the box where the cohort's table has it, and ask the model."""
    record = read_lesions(Workspace.open(workspace))[4]
    lesion = record.lesion
    page.goto(f"{address}/decide")
    with page.expect_response(f"**/api/decide/participants/{record.participant_id}") as waiting:
        page.get_by_role("link", name=record.participant_id).click()
    series = waiting.value.json()["pair"]["t2w"]
    page.get_by_text("Mark the vertebra").wait_for()
    pane = page.get_by_label("T2W image").and_(page.locator("[data-zoom]"))
    pane.wait_for()
    page.wait_for_timeout(1500)
    page.keyboard.press("Home")
    for _ in range(lesion.first_slice):
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(60)
    edge = page.locator("[data-pane=T2W]").bounding_box()
    steps = np.array([series["column_spacing_mm"], series["row_spacing_mm"]])
    sizes = steps * [series["columns"], series["rows"]]
    mm_per_pixel = max(sizes / [edge["width"], edge["height"]]) / float(pane.get_attribute("data-zoom"))
    axes = np.array([series["row_cosines"], series["column_cosines"]])
    from_middle = axes @ (np.array(lesion.box.centre_mm) - series["positions_mm"][0]) - (sizes - steps) / 2
    x, y = np.array([edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2]) + from_middle / mm_per_pixel
    half = lesion.box.side_mm / mm_per_pixel / 2
    page.keyboard.press("b")
    page.mouse.move(x - half, y - half)
    page.mouse.down()
    page.mouse.move(x + half, y + half, steps=3)
    page.mouse.up()
    for _ in lesion.slices[1:]:
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(60)
    page.keyboard.press("]")
    page.get_by_text("T1W registered").wait_for()
    page.keyboard.press("a")
    page.get_by_test_id("number").wait_for()


def teach(page: Any, address: str, workspace: Path) -> None:
    """Answer the first training case of a simulated resident."""
    page.goto(f"{address}/teach/feedback/resident_r1")
    page.get_by_role("button", name="Train on").click()
    page.get_by_text("T1W registered").wait_for()
    page.keyboard.press("m")
    page.get_by_test_id("feedback").wait_for()


PICTURES: dict[str, Callable[[Any, str, Path], None]] = {
    "web-app-annotate": annotate,
    "web-app-decide": decide,
    "web-app-teach": teach,
    # Last, because Teach leaves out cases that are still to be read.
    "web-app-read": read,
}


def main() -> None:
    """Serve a copy of the workspace and photograph each page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    workspace = parser.parse_args().workspace
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(workspace, Path(folder) / "demo"))
        app = create_app(ServeSettings(copy))
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            for name, draw in PICTURES.items():
                page = browser.new_page(viewport=SIZE)
                draw(page, address, copy)
                page.wait_for_timeout(800)
                picture = IMAGES / f"{name}.png"
                page.screenshot(path=picture)
                page.close()
                small = Image.open(picture).convert("P", palette=Image.Palette.ADAPTIVE, colors=128)
                small.save(picture, optimize=True)
                print(picture.name)
            browser.close()
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    main()

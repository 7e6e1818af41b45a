"""Photograph the page on a phantom study: annotate, read, decide and teach, as Chromium draws them.

Run as ``python docs/page_pictures.py STUDY`` on a study folder of phantoms with simulated readers and an experiment; it
is copied, not changed.
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

import uvicorn
from PIL import Image
from playwright.sync_api import sync_playwright

from spinefx.app.server import create_app
from spinefx.app.state import ServeSettings
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions

IMAGES = Path(__file__).resolve().parent / "images"
FLAGS = ["--no-sandbox", "--disable-background-networking", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SIZE = {"width": 1280, "height": 720}


def annotate(page: Any, address: str, study: Path) -> None:
    """A case with the cohort's own box accepted."""
    case = read_lesions(Workspace.open(study))[0].participant_id
    page.goto(f"{address}/annotate/{case}")
    page.get_by_text("Linked by position").wait_for()
    page.get_by_role("button", name="Show others' boxes").click()
    page.get_by_role("button", name="Accept").first.click()
    page.get_by_text("through the registration").wait_for()
    page.keyboard.press("+")
    page.keyboard.press("+")


def teach(page: Any, address: str, study: Path) -> None:
    """The first training case of a simulated resident, answered."""
    page.goto(f"{address}/teach/lesson/resident_r1")
    page.get_by_role("button", name="Train on").click()
    page.get_by_text("through the registration").wait_for()
    page.keyboard.press("m")
    page.get_by_test_id("feedback").wait_for()


PICTURES: dict[str, Callable[[Any, str, Path], None]] = {"page-annotate": annotate, "page-teach": teach}


def main() -> None:
    """Serve a copy of the study, and photograph each page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    study = parser.parse_args().study
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(study, Path(folder) / "demo"))
        app = create_app(ServeSettings(copy))
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run)
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

"""Draw the README's pictures from a study folder: a contact sheet, and the top of the report as a browser shows it.

Run as ``python docs/pictures.py STUDY [EXPERIMENT]`` on phantom patients; needs Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).resolve().parent / "images"
WIDTH, HEIGHT = 1100, 1500
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")


def screenshot(page: Path, picture: Path) -> None:
    """Let Chromium draw the top of a page.

    Parameters
    ----------
    page, picture : Path
    """
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as profile:
        given = (f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}")
        subprocess.run([browser, *QUIET, *given, page.resolve().as_uri()], check=True, capture_output=True)
    Image.open(picture).convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(picture, optimize=True)


def main() -> None:
    """Copy the first case's sheet and photograph the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("experiment", nargs="?", default="quick")
    parser.add_argument("--case", default="sub-001", help="whose contact sheet")
    arguments = parser.parse_args()
    sheet = next((arguments.study / "derivatives" / "patches" / arguments.case).glob("*_sheet.png"))
    shutil.copyfile(sheet, IMAGES / "contact-sheet.png")
    screenshot(arguments.study / "experiments" / arguments.experiment / "report" / "report.html", IMAGES / "report.png")


if __name__ == "__main__":
    main()

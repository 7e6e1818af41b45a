"""Draw two pictures for the docs from a workspace: a contact sheet, and the report's Table 2 as a browser shows it.

Run ``python docs/pictures.py WORKSPACE [EXPERIMENT]`` on phantom patients; needs Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).resolve().parent / "images"
WIDTH, HEIGHT = 1280, 1500
ONLY = "nav, section:has(> h2:not(#table2, #roc)) { display: none; }"
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--hide-scrollbars",
)


def screenshot(page: Path, picture: Path) -> None:
    """Photograph the summary, Table 2 and the ROC curve of a report in Chromium.

    Parameters
    ----------
    page, picture : Path
    """
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    shown = page.read_text(encoding="utf-8").replace("</style>", ONLY + "</style>", 1)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "report.html"
        copy.write_text(shown, encoding="utf-8")
        given = (f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}")
        subprocess.run([browser, *QUIET, *given, copy.as_uri()], check=True, capture_output=True)
    Image.open(picture).convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(picture, optimize=True)


def main() -> None:
    """Copy the contact sheet of a case and photograph the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("experiment", nargs="?", default="quick")
    parser.add_argument("--case", default="sub-001", help="whose contact sheet")
    arguments = parser.parse_args()
    sheet = next((arguments.workspace / "derivatives" / "patches" / arguments.case).glob("*_sheet.png"))
    shutil.copyfile(sheet, IMAGES / "contact-sheet.png")
    screenshot(
        arguments.workspace / "experiments" / arguments.experiment / "report" / "report.html", IMAGES / "report.png"
    )


if __name__ == "__main__":
    main()

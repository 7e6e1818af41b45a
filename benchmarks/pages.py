"""Speed of the web app in Debian's Chromium without a graphics card: images, slices, many users, a long worklist.

Run as ``python benchmarks/pages.py``, with the package installed together with its pages and its extra ``test``.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
from playwright.sync_api import sync_playwright

from record import record
from spinefx.app.access import invite
from spinefx.commands.ingest import ingest
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.random_streams import PhantomSettings

STUDIES, SIDE, CHANGES = 8, 512, 200
PEOPLE, LISTED = 20, 5000
FLAGS = ["--no-sandbox", "--disable-background-networking", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
# Times are taken in the page: until the first slice is shown, and from each key to the frame after the slice changes,
# or after the first slice of the next study is shown.
WATCH = """
window.seen = { first: 0, both: 0, changes: [], next: [] };
let pressed = 0;
let left = "";
addEventListener("keydown", () => { pressed = performance.now(); }, true);
new MutationObserver((changes) => {
  const panes = document.querySelectorAll(".pane[data-slice]").length;
  if (panes >= 1 && !seen.first) requestAnimationFrame(() => { seen.first ||= performance.now(); });
  if (panes >= 2 && !seen.both) requestAnimationFrame(() => { seen.both ||= performance.now(); });
  const series = document.querySelector("[data-pane=T2W]")?.parentElement.dataset.series;
  if (series && series !== left) {
    const from = pressed;
    if (left && from) requestAnimationFrame(() => setTimeout(() => seen.next.push(performance.now() - from)));
    left = series;
    pressed = 0;
  }
  const isT2w = ({ target, attributeName, oldValue }) =>
    attributeName === "data-slice" && target.querySelector("[data-pane=T2W]") &&
    ![oldValue, undefined].includes(target.dataset.slice);
  if (pressed && changes.some(isT2w)) {
    const from = pressed;
    pressed = 0;
    requestAnimationFrame(() => setTimeout(() => seen.changes.push(performance.now() - from)));
  }
}).observe(document, { subtree: true, attributeFilter: ["data-slice", "data-series"], attributeOldValue: true });
"""


@contextmanager
def served(study: Path) -> Iterator[str]:
    """Serve a workspace in a separate process.

    Parameters
    ----------
    study : Path

    Yields
    ------
    str
        Address.
    """
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "spinefx", "serve", str(study), "--port", str(port)], stdout=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def opened(page: Any, address: str, case: int) -> tuple[float, float]:
    """Open a case, and return when its first image and both images were shown.

    Parameters
    ----------
    page : playwright page
    address : str
    case : int

    Returns
    -------
    tuple of float
        Milliseconds from the start of the navigation.
    """
    page.goto(f"{address}/annotate/sub-{case:03d}")
    page.get_by_text("Not marked yet").wait_for()
    page.locator("[aria-busy]").first.wait_for(state="detached")
    page.wait_for_timeout(500)
    first, both = page.evaluate("[seen.first, seen.both]")
    return first, both


def leafed(page: Any, address: str) -> list[float]:
    """Go from case to case by Page Down, three seconds each, and return how long each next case took.

    Parameters
    ----------
    page : playwright page
    address : str

    Returns
    -------
    list of float
        Milliseconds from the key to the frame with the first image.
    """
    opened(page, address, 1)
    for case in range(2, STUDIES + 1):
        page.wait_for_timeout(3000)
        page.keyboard.press("PageDown")
        page.get_by_role("heading", name=f"sub-{case:03d}").wait_for()
        page.locator("[aria-busy]").first.wait_for(state="detached")
    page.wait_for_timeout(500)
    return list(page.evaluate("seen.next"))


def changed(page: Any) -> list[float]:
    """Scroll up and down, and return how long each change took.

    Parameters
    ----------
    page : playwright page

    Returns
    -------
    list of float
        Milliseconds.
    """
    page.keyboard.press("Home")
    page.wait_for_timeout(300)
    page.evaluate("seen.changes.length = 0")
    for press in range(CHANGES):
        page.keyboard.press("ArrowDown" if press // 12 % 2 == 0 else "ArrowUp")
        page.wait_for_timeout(60)
    return list(page.evaluate("seen.changes"))


def crowd(address: str, tokens: list[str]) -> list[float]:
    """Return the milliseconds of each request of users who open cases and scroll through them simultaneously."""

    def user(number: int) -> list[float]:
        cookie, spent = "", []

        def ask(path: str, body: bytes | None = None) -> bytes:
            nonlocal cookie
            headers = {"Origin": address, "Content-Type": "application/json", "Cookie": cookie}
            began = time.perf_counter()
            with urlopen(Request(address + path, data=body, headers=headers), timeout=60) as answer:
                content: bytes = answer.read()
                cookie = answer.headers.get("Set-Cookie", cookie).partition(";")[0]
            spent.append(1000 * (time.perf_counter() - began))
            return content

        ask("/api/enter", json.dumps({"token": tokens[number]}).encode())
        ask("/api/annotate/worklist")
        for turn in range(3):
            time.sleep(0.5)
            found = json.loads(ask(f"/api/annotate/sub-{(number + turn) % STUDIES + 1:03d}"))
            series = found["pair"]["t2w"]
            for index in range(len(series["positions_mm"])):
                time.sleep(0.1)
                ask(f"/api/images/{series['handle']}/slices/{index}")
        return spent

    with ThreadPoolExecutor(PEOPLE) as pool:
        return [ms for each in pool.map(user, range(PEOPLE)) for ms in each]


def listed(browser: Any, address: str, token: str) -> list[float]:
    """Return the milliseconds until a long worklist is shown."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    page.get_by_label("Token").fill(token)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Annotate").first.wait_for()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        page.goto(f"{address}/annotate")
        page.locator("tbody tr").first.wait_for()
        times.append(1000 * (time.perf_counter() - began))
    context.close()
    return times


def main() -> None:
    """Measure and record."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cohort(folder / "export", PhantomSettings(patients=STUDIES, seed=5, matrix=SIDE))
        ingest(folder / "study", folder / "export", table=folder / "export" / "cases.csv")
        with served(folder / "study") as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            cold, warm = [], []
            for case in range(1, STUDIES + 1):
                context = browser.new_context(viewport={"width": 1280, "height": 720})
                context.add_init_script(WATCH)
                page = context.new_page()
                cold.append(opened(page, address, case))
                warm.append(opened(page, address, case % STUDIES + 1))
                if case < STUDIES:
                    context.close()
            changes = changed(page)
            leaves = leafed(page, address)
            browser.close()
        tokens = [invite(folder / "study", f"A{number}", ["annotator"]) for number in range(PEOPLE)]
        with served(folder / "study") as address, sync_playwright() as playwright:
            requests = crowd(address, tokens)
            for number in range(STUDIES + 1, LISTED + 1):
                (folder / "study" / f"sub-{number:04d}").mkdir()
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            worklists = listed(browser, address, tokens[0])
            browser.close()
    rows = [
        [what, len(times), float(np.median(times)), float(np.percentile(times, 95))]
        for what, times in (
            ("first image, browser's cache empty", [one for one, _ in cold]),
            ("both images, browser's cache empty", [one for _, one in cold]),
            ("first image, another study by its address", [one for one, _ in warm]),
            ("both images, another study by its address", [one for _, one in warm]),
            ("first image, next study by Page Down", leaves),
            ("change of slice in both series", changes),
            (f"a request, {PEOPLE} users at once", requests),
            (f"worklist of {LISTED:,} studies", worklists),
        )
    ]
    record(
        "pages",
        f"The annotator's page, series of {SIDE} x {SIDE}, drawn in software",
        ["what", "times", "median, ms", "95th percentile, ms"],
        rows,
        note="From the start of the navigation to the image; from a key to the frame with the next slice or study.",
    )


if __name__ == "__main__":
    main()

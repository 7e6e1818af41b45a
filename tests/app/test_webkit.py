"""The annotate page in WebKit, Safari's engine: images are drawn and scrolled by keys, and a box is saved.

Playwright cannot steer a WebKit as it ships; the few commands of W3C WebDriver that this takes are here.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spinefx.imaging.nifti import read_nifti
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions

HOME, DOWN = "\ue011", "\ue015"  # as WebDriver writes keys
PANES = "return [...document.querySelectorAll('section.pane')].map((one) => one.dataset)"
EDGE = "const {x, y, width, height} = document.querySelector('[data-pane=T2W]').getBoundingClientRect();"


class Session:
    """A window of WebKit's MiniBrowser."""

    def __init__(self, driver: str, program: Path) -> None:
        self.base = driver
        options = {"binary": str(program), "args": ["--automation"]}
        wanted = {"alwaysMatch": {"browserName": "MiniBrowser", "webkitgtk:browserOptions": options}}
        self.base = f"{driver}/session/{self.ask('/session', capabilities=wanted)['sessionId']}"

    def ask(self, path: str, method: str = "POST", **body: Any) -> Any:
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def run(self, script: str) -> Any:
        return self.ask("/execute/sync", script=script, args=[])

    def until(self, told: Callable[[], Any]) -> Any:
        end = time.monotonic() + 60
        while not (found := told()):
            assert time.monotonic() < end, "it did not come"
            time.sleep(0.1)
        return found

    def wait_for(self, words: str) -> None:
        self.until(lambda: self.run(f"return document.body.innerText.includes({json.dumps(words)})"))

    def press(self, *keys: str) -> None:
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("/actions", actions=[{"type": "key", "id": "keys", "actions": steps}])

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        moves = [{"type": "pointerMove", "duration": 50, "x": x, "y": y} for x, y in (start, end)]
        steps = [moves[0], {"type": "pointerDown", "button": 0}, moves[1], {"type": "pointerUp", "button": 0}]
        self.ask("/actions", actions=[{"type": "pointer", "id": "mouse", "actions": steps}])


@pytest.fixture
def webkit() -> Iterator[Session]:
    """Debian's WebKit on a virtual screen; tests skip, visibly, if a part of it is missing."""
    driver, screen = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    program = next(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"), None)
    if driver is None or program is None:
        pytest.skip("no WebKitWebDriver (webkit2gtk-driver) is installed")
    if screen is None:
        pytest.skip("no Xvfb is installed")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with ExitStack() as stack:

        def start(*command: str, **more: Any) -> subprocess.Popen[bytes]:
            process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL, **more))
            stack.callback(process.terminate)
            return process

        display = start(screen, "-displayfd", "1", "-screen", "0", "1400x900x24", stdout=subprocess.PIPE)
        assert display.stdout is not None
        # A container's root has no sandbox to drop into.
        environment = {"DISPLAY": f":{int(display.stdout.readline())}", "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"}
        start(driver, f"--port={port}", env=os.environ | environment)
        for _ in range(600):
            with socket.socket() as one:
                if not one.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.1)
        session = Session(f"http://127.0.0.1:{port}", program)
        stack.callback(session.ask, "", "DELETE")
        session.ask("/window/rect", width=1280, height=800)
        yield session


def test_a_box_is_drawn_and_both_series_scroll_in_webkit(served: Any, webkit: Session) -> None:
    workspace = Workspace.open(served.study)
    t2w, t1w = (read_nifti(workspace.image("sub-001", name)).to_sagittal() for name in ("T2w", "T1w"))
    webkit.ask("/url", url=f"{served.address}/annotate/sub-001")
    webkit.wait_for("Not marked yet")
    webkit.until(lambda: not webkit.run("return document.querySelectorAll('[aria-busy]').length"))

    for number, key in enumerate((HOME, DOWN, DOWN)):
        webkit.press(key)
        webkit.until(lambda number=number: webkit.run(PANES)[0]["slice"] == str(number))
        centre = t2w.to_mm((number, (t2w.shape[1] - 1) / 2, (t2w.shape[2] - 1) / 2))
        gaps = np.abs(t1w.slice_positions_mm - centre @ t1w.directions[:, 0])
        shown = webkit.run(PANES)
        assert float(shown[0]["height"]) == pytest.approx(t2w.slice_positions_mm[number], abs=0.01)
        assert gaps[int(shown[1]["slice"])] == pytest.approx(gaps.min(), abs=1e-6)

    left, top, width, height = webkit.run(EDGE + "return [x, y, width, height]")
    picture = base64.b64decode(webkit.ask("/screenshot", "GET"))
    drawn = np.asarray(Image.open(io.BytesIO(picture)).convert("L"), float)
    assert drawn[int(top) : int(top + height), int(left) : int(left + width)].std() > 20

    x, y = int(left + width * 0.42), int(top + height * 0.4)
    webkit.press("b")
    webkit.drag((x, y), (x + 60, y + 60))
    webkit.wait_for("Saved")
    (lesion,) = [one.lesion for one in read_lesions(workspace) if one.annotator == "local"]
    mm_per_pixel = max(t2w.shape[1] * t2w.spacing_mm[1] / height, t2w.shape[2] * t2w.spacing_mm[2] / width)
    assert lesion.box.side_mm == pytest.approx(60 * mm_per_pixel, rel=0.02)
    assert (lesion.first_slice, lesion.last_slice) == (2, 2)
    row, column = (t2w.to_index(lesion.box.centre_mm) - (np.array(t2w.shape) - 1) / 2)[1:]
    middle = x + 30 - left - width / 2, y + 30 - top - height / 2
    assert (column * t2w.spacing_mm[2], row * t2w.spacing_mm[1]) == pytest.approx(
        [pixels * mm_per_pixel for pixels in middle], abs=1
    )

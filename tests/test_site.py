"""The documentation site: its checks find planted faults; built pages have none, work offline and can be searched."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = "<html><head>{head}</head><body><h1 id='top'>Top</h1>{body}</body></html>"


def load(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its own module up.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


builder = load("build_site")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<a href='other.html'>", "other.html (no such file)"),
        ("<a href='#nowhere'>", "#nowhere (no such anchor)"),
        ("<a href='api/room.html#gone'>", "api/room.html#gone (no such anchor)"),
        ("<img src='images/gone.png'>", "images/gone.png (no such file)"),
        ("<a href='api/room.html#there'><a href='#top'><a href='https://example.org/gone#x'>", ""),
    ],
)
def test_broken_links_are_found(tmp_path: Path, body: str, fault: str) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "index.html").write_text(PAGE.format(head="", body=body), encoding="utf-8")
    (tmp_path / "api" / "room.html").write_text(PAGE.format(head="", body="<i id='there'>"), encoding="utf-8")
    assert builder.broken_links(tmp_path) == ([f"index.html: {fault}"] if fault else [])


@pytest.mark.parametrize(
    ("head", "style", "faults"),
    [
        ("<script src='https://cdn.example/a.js'></script>", "", 1),
        ("<link rel='stylesheet' href='//fonts.example/a.css'>", "", 1),
        ("<link rel='canonical' href='https://example.org/'>", "body { color: red }", 0),
        ("", "@import 'https://fonts.example/a.css'; b { background: url(https://pictures.example/a.png) }", 2),
        ("<div class='mermaid'></div>", "", 1),
    ],
)
def test_what_would_be_fetched_from_elsewhere_is_found(tmp_path: Path, head: str, style: str, faults: int) -> None:
    (tmp_path / "index.html").write_text(PAGE.format(head=head, body=""), encoding="utf-8")
    (tmp_path / "style.css").write_text(style, encoding="utf-8")
    assert len(builder.fetched_from_elsewhere(tmp_path)) == faults


def test_pages_that_the_navigation_misses_invents_or_repeats_are_found(tmp_path: Path) -> None:
    for name in ("index.md", "orphan.md"):
        (tmp_path / name).touch()
    navigation = [{"Home": "index.md"}, {"More": ["gone.md", {"Again": "index.md"}]}]
    assert builder.navigation_faults(navigation, tmp_path) == [
        "mkdocs.yml names gone.md, which does not exist",
        "mkdocs.yml does not name orphan.md",
        "mkdocs.yml names index.md twice",
    ]


def test_every_room_has_a_page_of_the_api_reference() -> None:
    rooms = set(load("rooms").rooms()) - {"cli"}
    pages = {path.stem for path in (ROOT / "docs" / "api").glob("*.md")} - {"index"}
    assert pages == rooms
    for name in rooms:
        assert f"::: spinefx.{name}\n" in (ROOT / "docs" / "api" / f"{name}.md").read_text(encoding="utf-8")


def test_the_picture_of_the_rooms_is_fresh() -> None:
    rooms = load("rooms")
    assert rooms.PICTURE.read_text(encoding="utf-8") == rooms.picture(), "run docs/rooms.py"


@pytest.fixture(scope="module")
def site() -> Path:
    """The built site."""
    pytest.importorskip("zensical", reason="The extra `docs` is not installed: make docs installs it.")
    assert builder.build() == []
    return Path(builder.SITE)


@pytest.mark.slow
def test_the_site_builds_strictly_without_a_broken_link(site: Path) -> None:
    assert len(list(site.rglob("*.html"))) > 40
    assert not list(site.rglob("*.py"))


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """A plain static server in front of the site."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietFiles, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.slow
def test_a_static_server_is_enough_and_search_finds_a_function(site: Path, address: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("Chromium is not installed: apt-get install chromium.")
    asked: list[str] = []
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        for name in ("index.html", "architecture.html", "gallery.html", "api/statistics.html"):
            page.goto(f"{address}/{name}", wait_until="networkidle")
        page.get_by_role("button", name="Search").first.click()
        page.keyboard.type("paired_difference")
        page.get_by_text("paired_difference(table").first.wait_for()
        page.keyboard.press("Enter")
        page.wait_for_url("**/api/statistics.html?*#*paired_difference")
        browser.close()
    elsewhere = {url for url in asked if urlsplit(url).scheme.startswith("http") and not url.startswith(address)}
    assert not elsewhere

"""Build the documentation site into ``site/`` and check it: ``python docs/build_site.py``, or ``make docs``.

Zensical's strict mode fails on links to missing pages and anchors and on unresolved references. It does not notice a
page that the navigation names but nobody wrote, a page that the navigation forgets, a missing image, a docstring that
cannot be parsed, or anything that a reader's browser would fetch from elsewhere. The checks below do.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
DOCS, SITE = ROOT / "docs", ROOT / "site"
# A browser fetches these when it shows the page; it follows the other links only when the reader asks it to.
FETCHED = {"img": "src", "script": "src", "source": "src", "iframe": "src", "video": "src", "audio": "src"}
FETCHED_RELATIONS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch"}
# The theme loads these from a content delivery network wherever a page holds one of them.
NEEDS_THE_NETWORK = ("mermaid", "glightbox", "pyodide", "asciinema")


@dataclass
class BuiltPage(HTMLParser):
    """What a built page links to, fetches, and offers as link targets."""

    path: Path
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    classes: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the links and targets of one element."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        self.classes |= set(values.get("class", "").split())
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and FETCHED_RELATIONS & set(values.get("rel", "").split()):
            self.fetched.append(values["href"])
        if tag in FETCHED and values.get(FETCHED[tag]):
            self.fetched.append(values[FETCHED[tag]])


def broken_links(site: Path) -> list[str]:
    """Return one line for each internal link, image or anchor of a built site that leads nowhere.

    Parameters
    ----------
    site : Path
        Folder of the built pages.
    """
    pages = {path.resolve(): BuiltPage(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    return [
        f"{page.path.relative_to(site)}: {link} ({why})"
        for page in pages.values()
        for link in (*page.links, *page.fetched)
        if (why := _fault(link, page, pages))
    ]


def _fault(link: str, page: BuiltPage, pages: dict[Path, BuiltPage]) -> str:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return ""
    target = page.path.resolve()
    if parts.path:
        target = (page.path.parent / unquote(parts.path)).resolve()
        if target.is_dir():
            target = target / "index.html"
    if not target.is_file():
        return "no such file"
    fragment = unquote(parts.fragment)
    if fragment and target in pages and fragment not in pages[target].anchors:
        return "no such anchor"
    return ""


def fetched_from_elsewhere(site: Path) -> list[str]:
    """Return one line for everything that a browser would fetch from another host when it shows a page.

    Parameters
    ----------
    site : Path
        Folder of the built pages.
    """
    faults = []
    for path in sorted(site.rglob("*.html")):
        page = BuiltPage(path)
        faults += [f"{path.relative_to(site)}: {link}" for link in page.fetched if urlsplit(link).netloc]
        faults += [f"{path.relative_to(site)}: a {name} block" for name in NEEDS_THE_NETWORK if name in page.classes]
    for path in sorted(site.rglob("*.css")):
        found = re.findall(r"(?:@import\s+|url\()[\"']?(https?:[^\"')]+)", path.read_text(encoding="utf-8"))
        faults += [f"{path.relative_to(site)}: {link}" for link in found]
    return faults


def navigation_faults(navigation: Any, docs: Path) -> list[str]:
    """Return one line for each page that the navigation names but is missing, forgets, or names twice.

    Parameters
    ----------
    navigation : list
        ``nav`` of ``mkdocs.yml``.
    docs : Path
        Folder of the Markdown pages.
    """
    named = list(_pages_of(navigation))
    written = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    return [
        *(f"mkdocs.yml names {name}, which does not exist" for name in sorted(set(named) - written)),
        *(f"mkdocs.yml does not name {name}" for name in sorted(written - set(named))),
        *(f"mkdocs.yml names {name} twice" for name in sorted({name for name in named if named.count(name) > 1})),
    ]


def _pages_of(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for child in entry.values() if isinstance(entry, dict) else entry:
            yield from _pages_of(child)


def build() -> list[str]:
    """Build the site and return what is wrong with it, one line each."""
    import yaml  # Comes with the extra `docs`, which the checks above do without.

    configuration = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    faults = navigation_faults(configuration["nav"], DOCS)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    output = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    faults += [line for line in output.splitlines() if line.startswith("griffe:")]
    if done.returncode:
        print(output)
        return [*faults, "zensical stopped: see above"]
    return [*faults, *broken_links(SITE), *fetched_from_elsewhere(SITE)]


def main() -> None:
    """Build, print what was found, and exit with 1 unless all is well."""
    faults = build()
    for fault in faults:
        print(fault, file=sys.stderr)
    pages = len(list(SITE.rglob("*.html")))
    print(f"{pages} pages in {SITE.name}/, {len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()

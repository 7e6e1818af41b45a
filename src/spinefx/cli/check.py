"""spinefx check: every file and row of a workspace."""

from __future__ import annotations

from pathlib import Path

from spinefx.cli.shell import app, fail

__all__: list[str] = []


@app.command
def check(workspace: Path) -> None:
    """Check every file and every row of a study folder; exit 1 with a list of what is wrong.

    Parameters
    ----------
    workspace
        A study folder.
    """
    from spinefx.commands.check import check as run

    problems = run(workspace)
    for problem in problems:
        print(problem)
    if problems:
        fail(f"{len(problems)} problems in {workspace.name}")
    print(f"{workspace.name}: nothing wrong found")

"""spinefx report: tables, curves and one page."""

from __future__ import annotations

from pathlib import Path

from spinefx.cli.shell import app, print_report

__all__: list[str] = []


@app.command
def report(workspace: Path, experiment: str | None = None) -> None:
    """Write tables, curves and one self-contained page.

    Parameters
    ----------
    workspace
        A study folder.
    experiment
        Its name; not needed where there is one only.
    """
    from spinefx.commands.report import report as run

    print_report(run(workspace, experiment))

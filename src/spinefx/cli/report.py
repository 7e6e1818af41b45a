"""spinefx report: tables, curves and one page."""

from __future__ import annotations

from pathlib import Path

from spinefx.cli.shell import app, print_report

__all__: list[str] = []


@app.command
def report(workspace: Path, experiment: str | None = None) -> None:
    """Write the report of an experiment: tables, curves and one self-contained page.

    Parameters
    ----------
    workspace
        Workspace folder.
    experiment
        Name of the experiment; optional where there is only one. Without an experiment the report is on the readers.
    """
    from spinefx.commands.report import write_report as run

    print_report(run(workspace, experiment))

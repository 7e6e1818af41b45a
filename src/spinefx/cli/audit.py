"""spinefx audit: printed numbers against the printed counts."""

from __future__ import annotations

from pathlib import Path

from spinefx.cli.shell import app, fail
from spinefx.cli.terminal import print_table

__all__: list[str] = []


@app.command
def audit(file: Path) -> None:
    """Check printed percentages, sums, means and p-values against the printed counts; exit code 1 if one is impossible.

    Parameters
    ----------
    file
        Claims as JSON or a table; yeh2022 is the worked example.
    """
    from spinefx.commands.audit import audit as run

    found = run(file)
    print_table(found.table)
    if found.fallen:
        fail(found.table.note)
    print(found.table.note)

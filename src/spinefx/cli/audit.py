"""spinefx audit: printed numbers against the printed counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from spinefx.cli.shell import app, fail
from spinefx.cli.terminal import print_table

__all__: list[str] = []


@app.command
def audit(file: Path, *, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """Check printed percentages, sums, means and p-values against the printed counts.

    The exit code is 1 if a claim cannot be true as printed, or could not be read.

    Parameters
    ----------
    file
        Claims as JSON or a table; yeh2022 is the worked example.
    as_json
        Print JSON.
    """
    from spinefx.commands.audit import audit as run

    found = run(file)
    if as_json:
        print(json.dumps(found.numbers, indent=2, allow_nan=False))
    else:
        print_table(found.table)
    if found.fallen or found.unread:
        fail(found.table.note)
    if not as_json:
        print(found.table.note)

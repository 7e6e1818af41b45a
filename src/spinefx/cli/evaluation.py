"""The verbs about evidence: report, audit, plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from spinefx.cli.shell import app, fail, print_report
from spinefx.cli.terminal import print_table
from spinefx.commands.plan import PlanOptions, Question

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
    from spinefx.commands.report import write_report as run

    print_report(run(workspace, experiment))


@app.command
def audit(file: Path) -> None:
    """Say which printed percentages, sums, means and p-values the printed counts allow; exit 1 where one cannot stand.

    Parameters
    ----------
    file
        Claims as JSON or TSV; yeh2022 is the worked example.
    """
    from spinefx.commands.audit import audit as run

    found = run(file)
    print_table(found.table)
    if found.fallen:
        fail(found.table.note)
    print(found.table.note)


@app.command
def plan(
    question: Question,
    *,
    options: Annotated[PlanOptions, Parameter(name="*")] = PlanOptions(),  # noqa: B008
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Say how many cases and readers a study needs, or what power it has.

    Parameters
    ----------
    question
        Two readers of the same cases: difference or non-inferiority; several readers: two modalities, or a panel beside
        one model.
    as_json
        Answer for a program.
    """
    from spinefx.commands.plan import plan as run

    answer = run(question, options)
    print(json.dumps(answer.numbers, indent=2, allow_nan=False) if as_json else "\n".join(answer.lines))

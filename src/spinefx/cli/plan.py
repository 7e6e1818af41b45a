"""spinefx plan: cases, readers and power of a study."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import Parameter

from spinefx.cli.shell import app
from spinefx.commands.plan import PlanOptions, Question

__all__: list[str] = []


@app.command
def plan(
    question: Question,
    *,
    options: Annotated[PlanOptions, Parameter(name="*")] = PlanOptions(),  # noqa: B008
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Compute how many cases and readers a study needs, or its power.

    Parameters
    ----------
    question
        Two readers of the same cases: difference or non-inferiority. Several readers: modalities (two of them) or
        panel (against one model).
    as_json
        Print JSON.
    """
    from spinefx.commands.plan import plan as run

    answer = run(question, options)
    print(json.dumps(answer.numbers, indent=2, allow_nan=False) if as_json else "\n".join(answer.lines))

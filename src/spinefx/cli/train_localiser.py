"""spinefx train-localiser: teach the localiser further on a group's own boxes or label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from spinefx.cli.shell import app
from spinefx.cli.terminal import print_table, progress_bars, say

__all__: list[str] = []


@app.command
def train_localiser(
    workspace: Path,
    *,
    start: Annotated[str, Parameter(name="--from")] = "shipped",
    labels: Path | None = None,
    out: Path | None = None,
    folds: int = 5,
    steps: int = 150,
) -> None:
    """Teach the localiser further on a workspace's own boxes or label maps, cross-validated by participant.

    Parameters
    ----------
    workspace
        Workspace folder with marked boxes: their centres are what is taught.
    start
        shipped, or the folder of another localiser.
    labels
        Folder with label maps, PARTICIPANT_dseg.nii.gz on the grid of the T2W series, coded as locate --masks writes
        them; participants without one teach by their boxes.
    out
        Folder to create for the localiser (by default WORKSPACE/localiser). spinefx locate --weights reads it.
    folds
        Parts into which the participants are divided; each is held out once.
    steps
        Steps of the optimiser for each fold, and for the final localiser.
    """
    from spinefx.commands.train_localiser import train_localiser as run

    with progress_bars() as progress:
        taught = run(workspace, start=start, labels=labels, out=out, folds=folds, steps=steps, progress=progress)
    print_table(taught.table)
    say(f"{taught.sentence}. Next: spinefx locate STUDY --weights {taught.folder}")

"""spinefx patch: align series, cut patches, draw contact sheets."""

from __future__ import annotations

from pathlib import Path

from spinefx.cli.shell import Workers, app, count
from spinefx.cli.terminal import progress_bars, say

__all__: list[str] = []


@app.command
def patch(workspace: Path, *, recipe: str = "honest", workers: Workers = None) -> None:
    """Align each series to T2W, cut patches, and draw a contact sheet for every case.

    Parameters
    ----------
    workspace
        Workspace folder.
    recipe
        Recipe whose patch settings to use: quick, honest, paper, or a TOML file.
    """
    from spinefx.commands.patch import patch as run
    from spinefx.learning.recipe import Recipe

    settings = Recipe.named(recipe).patch_settings
    with progress_bars() as steps:
        report = run(workspace, settings, workers=count(workers), progress=lambda done, n: steps("cutting", done, n))
    for note in report.notes:
        say(note, error=True)
    by_method = ", ".join(f"{report.methods.count(name)} {name}" for name in sorted(set(report.methods)))
    say(f"{report.cut} cases cut, {report.kept} already current, {report.slices} patches; registration: {by_method}")
    say(f"Contact sheets: {report.folder}/sub-*/*_sheet.png")

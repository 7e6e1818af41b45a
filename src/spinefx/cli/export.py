"""spinefx export: ONNX graphs for models of earlier versions."""

from __future__ import annotations

from spinefx.cli.shell import Paths, app
from spinefx.cli.terminal import say

__all__: list[str] = []


@app.command
def export(models: Paths) -> None:
    """Write the ONNX file of each model, compared with torch, so that it can be used without torch.

    Training writes it too; this command is for models of earlier versions.

    Parameters
    ----------
    models
        Model folders or experiment folders.
    """
    from spinefx.commands.export import export as run

    for one in run(models):
        errors = f"{one.card.probability_error:.1g} in probability, {one.card.log_odds_error:.1g} in log-odds"
        say(f"{one.name}: ONNX file written; largest difference from torch {errors}")

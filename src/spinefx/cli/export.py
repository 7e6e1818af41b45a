"""spinefx export: ONNX graphs for models of earlier versions."""

from __future__ import annotations

from spinefx.cli.shell import Paths, app

__all__: list[str] = []


@app.command
def export(models: Paths) -> None:
    """Write each model's ONNX graph, compared with torch, so that it answers where torch is not installed.

    Models of this version have theirs from training.

    Parameters
    ----------
    models
        Model folders, or experiments' folders.
    """
    from spinefx.commands.export import export as run

    for one in run(models):
        errors = f"{one.card.probability_error:.1g} in probability, {one.card.log_odds_error:.1g} in log-odds"
        print(f"{one.name}: graph written; largest difference to torch {errors}")

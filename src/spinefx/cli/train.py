"""spinefx train: cross-validation by patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from spinefx.cli.shell import Workers, app, count
from spinefx.cli.terminal import progress_bars, say

__all__: list[str] = []


@app.command
def train(
    workspace: Path,
    *,
    recipe: str = "honest",
    name: str | None = None,
    weights: Path | None = None,
    workers: Workers = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    shard: str | None = None,
    on: str = "local",
) -> None:
    """Cross-validate by patient; an interrupted run continues where it stopped.

    Parameters
    ----------
    workspace
        Workspace folder with patches.
    recipe
        quick, honest, paper, or a TOML file.
    name
        Name of the experiment; by default that of the recipe.
    weights
        Local ImageNet weights of ResNet50 in torchvision's format (.safetensors or .pth); never downloaded.
    device
        auto uses a CUDA GPU where a working one is found, and prints what it uses and why.
    shard
        i/n: train every n-th fold, beginning with the i-th; the job that finishes the last fold joins them.
    on
        local, ray (the cluster in which this process runs), or ray://host:port.
    """
    from spinefx.commands.train import train as run

    with progress_bars() as steps:
        where: dict[str, Any] = {"device": device, "shard": shard, "on": on}
        outcome = run(workspace, recipe, name=name, weights=weights, workers=count(workers), progress=steps, **where)
    say(outcome.route)
    for stamp in outcome.stamps:
        say(stamp)
    missing = f"{outcome.left} of {outcome.folds} folds are not finished; the job that finishes the last one joins them"
    say(missing if outcome.left else f"{outcome.folds} folds finished. Next: spinefx report {workspace} {outcome.name}")

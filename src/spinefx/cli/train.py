"""spinefx train: cross-validation by patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from spinefx.cli.shell import Workers, app, count
from spinefx.cli.terminal import progress_bars

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
    """Cross-validate by patient; a run that was cut off goes on where it stopped.

    Parameters
    ----------
    workspace
        A study folder with patches.
    recipe
        quick, honest, paper, or a TOML file.
    name
        Of the experiment; the recipe's name by default.
    weights
        Local ImageNet weights of ResNet50 in torchvision's format (.safetensors or .pth); never downloaded.
    device
        auto takes a CUDA GPU where a working one is, and says what it took and why.
    shard
        i/n: only every n-th fold, from the i-th; the job that finishes the last joins them.
    on
        local, ray (the cluster that this process runs in), or ray://host:port.
    """
    from spinefx.commands.train import train as run

    with progress_bars() as steps:
        where: dict[str, Any] = {"device": device, "shard": shard, "on": on}
        outcome = run(workspace, recipe, name=name, weights=weights, workers=count(workers), progress=steps, **where)
    print(outcome.route)
    for stamp in outcome.stamps:
        print(stamp)
    missing = f"{outcome.left} of {outcome.folds} folds are not done yet; the job that finishes the last joins them"
    print(missing if outcome.left else f"{outcome.folds} folds done; next: spinefx report {workspace} {outcome.name}")

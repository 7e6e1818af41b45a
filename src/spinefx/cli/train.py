"""spinefx train: cross-validation by patient."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from spinefx.cli.shell import Workers, app, count
from spinefx.cli.terminal import progress_bars, say
from spinefx.errors import InputError

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
    start: Annotated[Path | None, Parameter(name="--from")] = None,
    refine: Literal["frozen", "last", "all"] = "all",
    reader: str | None = None,
) -> None:
    """Cross-validate by patient; an interrupted run continues where it stopped.

    Parameters
    ----------
    workspace
        Workspace folder with patches.
    recipe
        quick, honest, paper, pretrained, or a TOML file; or signs: a model that reads the fifteen signs and diagnoses
        through them.
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
    start
        Recipe signs: model to start from, such as starter, which comes with spinefx; random weights by default.
    refine
        Recipe signs with --from: what your cases change: nothing but the calibration (frozen), the last layers, or all.
    reader
        Recipe signs: whose scores are learned, where several readers scored.
    """
    if recipe == "signs":
        _train_signs(workspace, name, count(workers), start, refine, reader)
        return
    if start is not None or reader is not None:
        raise InputError("--from and --reader with a recipe that has no use for them", allowed="--recipe signs")
    from spinefx.commands.train import train as run

    with progress_bars() as steps:
        where: dict[str, Any] = {"device": device, "shard": shard, "on": on}
        outcome = run(workspace, recipe, name=name, weights=weights, workers=count(workers), progress=steps, **where)
    say(outcome.route)
    for stamp in outcome.stamps:
        say(stamp)
    missing = f"{outcome.left} of {outcome.folds} folds are not finished; the job that finishes the last one joins them"
    say(missing if outcome.left else f"{outcome.folds} folds finished. Next: spinefx report {workspace} {outcome.name}")


def _train_signs(
    workspace: Path, name: str | None, workers: int, start: Path | None, refine: Any, reader: str | None
) -> None:
    from spinefx.commands.train_signs import train_signs

    with progress_bars() as steps:
        outcome = train_signs(
            workspace, name=name, start=start, refinement=refine, reader=reader, workers=workers, progress=steps
        )
    for stamp in outcome.stamps:
        say(stamp)
    say(f"{outcome.folds} folds finished. Next: spinefx report {workspace} {outcome.name}")

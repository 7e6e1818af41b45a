"""spinefx demo: the whole experiment on a phantom cohort."""

from __future__ import annotations

from pathlib import Path

from spinefx.cli.shell import Workers, app, count, print_report
from spinefx.cli.terminal import progress_bars, say

__all__: list[str] = []


@app.command
def demo(
    folder: Path = Path("demo"), *, patients: int = 80, seed: int = 1, recipe: str = "quick", workers: Workers = None
) -> None:
    """Run the paper's experiment on a phantom cohort, from DICOM to the report, in minutes on a CPU.

    Parameters
    ----------
    folder
        Folder for the phantom export and the workspace.
    patients
        Number of phantom patients.
    seed
        Seed of the cohort; another seed draws other patients.
    recipe
        quick, honest, paper, or a TOML file.
    """
    from spinefx.commands.demo import demo as run

    with progress_bars() as steps:
        written = run(folder, patients=patients, seed=seed, recipe=recipe, workers=count(workers), progress=steps)
    print_report(written)
    say(f"Web app: spinefx serve {folder / 'study'}")

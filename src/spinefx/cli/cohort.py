"""The verbs that make a cohort: demo, phantom, ingest, check, patch."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from spinefx.cli.shell import Workers, app, count, fail, print_report
from spinefx.cli.terminal import progress_bars

__all__: list[str] = []

Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")]
Pair = Annotated[tuple[float, float], Parameter(negative="")]


@app.command
def demo(
    folder: Path = Path("demo"), *, patients: int = 80, seed: int = 1, recipe: str = "quick", workers: Workers = None
) -> None:
    """Run the paper's experiment on a phantom cohort, from DICOM to the report, in minutes on a CPU.

    Parameters
    ----------
    folder
        Where to put the phantom export and the study folder.
    patients
        Phantom patients.
    seed
        Another seed draws other patients.
    recipe
        quick, honest, paper, or a TOML file.
    """
    from spinefx.commands.demo import demo as run

    with progress_bars() as steps:
        written = run(folder, patients=patients, seed=seed, recipe=recipe, workers=count(workers), progress=steps)
    print_report(written)
    print(f"the page: spinefx serve {folder / 'study'}")


@app.command
def phantom(
    folder: Path,
    *,
    patients: int = 190,
    seed: int = 1,
    difficulty: float = 0.6,
    malignant: float | None = None,
    only: Names = (),
    force: Names = (),
    forbid: Names = (),
    no_collapse: Annotated[tuple[float, float] | None, Parameter(negative="")] = None,
    cement: Pair = (0.06, 0.06),
    irradiation: Pair = (0.0, 0.08),
    healed: Pair = (0.23, 0.23),
    age: Pair = (66.0, 66.0),
    field: float = 1.5,
    vendor: str = "any",
    without: Names = (),
    motion: float = 1.0,
    noise: float = 1.0,
    matrix: int = 512,
    contrast: str = "physics",
    readers: bool = True,
    labels: Annotated[bool, Parameter(negative="")] = False,
    workers: Workers = None,
) -> None:
    """Write a phantom cohort as DICOM, with its truth as the tables that ingest takes.

    Flags that take two numbers take the benign patients' first, then the malignant patients'.

    Parameters
    ----------
    folder
        Where to write; absent or empty.
    patients
        50 of 190 malignant, with the signs of the paper's Table 1, counted.
    seed
        The same seed writes the same bytes.
    difficulty
        0 (as separable as quantitative fat fractions) to 1.
    malignant
        How many patients, or which share (0.5).
    only
        Cases to write, by name (phantom-017), the same as in the whole cohort.
    force
        Signs that every patient shows, in both classes.
    forbid
        Signs that no patient shows.
    no_collapse
        Share of vertebrae without collapse.
    cement
        Share of vertebrae with cement.
    irradiation
        Share with irradiated marrow.
    healed
        Chance of each of four healed fractures elsewhere.
    age
        Mean age.
    field
        1.5 or 3 tesla.
    vendor
        ge, siemens, philips, or any: drawn for each patient.
    without
        Artefacts to switch off: chemical_shift, coil, ghosts, partial_volume, saturation_band, zero_fill.
    motion
        Scales the patient's motion between the series; 0 is none.
    noise
        Scales the noise; 0 is none.
    matrix
        Side of the images in pixels.
    contrast
        physics, or random: tissues of drawn brightness, to train a localiser.
    readers
        Add what three simulated readers say: readings.csv, and their scores in signs.csv.
    labels
        Also write which tissue every T2W voxel holds, as NIfTI in labels/.
    """
    from spinefx.phantom.cohort import write_cohort
    from spinefx.phantom.settings import ByClass, PhantomSettings

    settings = PhantomSettings(
        patients=patients,
        seed=seed,
        difficulty=difficulty,
        malignant=malignant if malignant is None or malignant % 1 else int(malignant),
        motion=motion,
        noise=noise,
        matrix=matrix,
        force=tuple(force),
        forbid=tuple(forbid),
        no_collapse=ByClass(*no_collapse) if no_collapse else None,
        cement=ByClass(*cement),
        irradiation=ByClass(*irradiation),
        healed=ByClass(*healed),
        age_years=ByClass(*age),
        field_t=field,
        vendor=vendor,
        without=tuple(without),
        contrast=contrast,
    )
    processes = count(workers)
    with progress_bars() as steps:
        tell = partial(steps, "rendering phantoms")
        write_cohort(folder, settings, only=only, readers=readers, labels=labels, workers=processes, progress=tell)
    written = len(set(only)) or patients
    print(f"{written} phantom patients in {folder}; next: spinefx ingest WORKSPACE {folder} --table {folder}/cases.csv")


@app.command
def ingest(
    workspace: Path,
    export: Path,
    *,
    table: Path,
    signs: Path | None = None,
    readings: Path | None = None,
    key: Path | None = None,
    show_paths: Annotated[bool, Parameter(negative="")] = False,
    workers: Workers = None,
) -> None:
    """Bring DICOM or NIfTI and a spreadsheet of diagnoses into a new study folder.

    Parameters
    ----------
    workspace
        The study folder to make.
    export
        Folder, ZIP, DICOMDIR or NIfTI files.
    table
        cases.csv: patient, diagnosis, truth_source, and where known the box.
    signs
        signs.csv: patient, reader_id and the fifteen signs.
    readings
        readings.csv: patient, reader_id, arm, diagnosis, confidence, seconds.
    key
        Where to write which participant is which patient; nowhere by default, never into the study folder.
    show_paths
        Name refused files by path, which may hold patients' names, instead of by hash.
    """
    from spinefx.commands.ingest import ingest as run

    with progress_bars() as steps:
        report = run(
            workspace,
            export,
            table=table,
            signs=signs,
            readings=readings,
            key=key,
            workers=count(workers),
            show_paths=show_paths,
            progress=steps,
        )
    for note in report.notes:
        print(note, file=sys.stderr)
    for reason in sorted(set(report.refused_series)):
        print(f"{report.refused_series.count(reason)} series not used: {reason}")
    print(f"{report.participants} participants, {report.lesions} with a marked vertebra, in {workspace}")


@app.command
def check(workspace: Path) -> None:
    """Check every file and every row of a study folder; exit 1 with a list of what is wrong.

    Parameters
    ----------
    workspace
        A study folder.
    """
    from spinefx.workspace.checking import check as run

    problems = run(workspace)
    for problem in problems:
        print(problem)
    if problems:
        fail(f"{len(problems)} problems in {workspace.name}")
    print(f"{workspace.name}: nothing wrong found")


@app.command
def patch(workspace: Path, *, recipe: str = "honest", workers: Workers = None) -> None:
    """Register T1W to T2W, cut the patches, and draw a contact sheet for every case.

    Parameters
    ----------
    workspace
        A study folder.
    recipe
        Whose patch settings to use: quick, honest, paper, or a TOML file.
    """
    from spinefx.commands.patch import patch as run
    from spinefx.learning.recipe import Recipe

    settings = Recipe.named(recipe).patch_settings
    with progress_bars() as steps:
        report = run(workspace, settings, workers=count(workers), progress=lambda done, n: steps("cutting", done, n))
    for note in report.notes:
        print(note, file=sys.stderr)
    by_method = ", ".join(f"{report.methods.count(name)} {name}" for name in sorted(set(report.methods)))
    print(f"{report.cut} cases cut, {report.kept} already current, {report.slices} patches; registration: {by_method}")
    print(f"contact sheets: {report.folder}/sub-*/*_sheet.png")

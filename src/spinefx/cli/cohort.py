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
    folder: Path | None = None,
    *,
    patients: int | None = None,
    seed: int | None = None,
    malignant: float | None = None,
    difficulty: float | None = None,
    matrix: int | None = None,
    motion: float | None = None,
    contrast: str | None = None,
    field: float | None = None,
    vendor: str | None = None,
    dials: Path | None = None,
    only: Names = (),
    readers: bool = True,
    labels: Annotated[bool, Parameter(negative="")] = False,
    label_series: Names = ("t2w",),
    print_dials: Annotated[bool, Parameter(negative="")] = False,
    workers: Workers = None,
) -> None:
    """Write a phantom cohort as DICOM, with its truth as the tables that ingest reads.

    Parameters
    ----------
    folder
        Where to write: a new or empty folder, or an unfinished cohort of the same dials.
    patients
        Number of patients; 190 by default, 50 of them malignant, with the counts of the paper's Table 1.
    seed
        Another seed draws other patients; 1 by default. The same seed writes the same bytes.
    difficulty
        From 0 (as separable as quantitative fat fractions) to 1; 0.6 by default.
    malignant
        Number of malignant patients or, with a decimal point, their share.
    matrix
        Pixels per side of an image; 512 by default. Small images are faster.
    motion
        Factor on the patient's motion between the series; 1 by default, 0 for none.
    contrast
        physics (default), or random intensities of every tissue in every series.
    field
        1.5 (default) or 3 tesla.
    vendor
        ge, siemens, philips or any (default).
    dials
        TOML file with any of the other dials. The flags above override it.
    only
        Cases to write, by name (phantom-017), byte for byte as in the whole cohort.
    readers
        Add three simulated readers: readings.csv, and their scores in signs.csv.
    labels
        Also write label maps, as NIfTI in labels/: the structure and level of every voxel.
    label_series
        Series whose grids get label maps: t2w, t1w, stir.
    print_dials
        Print every dial with its meaning, range and default as TOML, and write nothing.
    """
    from spinefx.phantom.cohort import write_cohort
    from spinefx.phantom.dials import dials_toml, read_dials
    from spinefx.phantom.settings import PhantomSettings

    if print_dials:
        print(dials_toml(), end="")
        return
    if folder is None:
        fail("no folder to write to. Run spinefx phantom FOLDER, or spinefx phantom --print-dials to see all dials.")
    flags = {
        "patients": patients,
        "seed": seed,
        "malignant": malignant if malignant is None or malignant % 1 else int(malignant),
        "difficulty": difficulty,
        "matrix": matrix,
        "motion": motion,
        "contrast": contrast,
        "field_t": field,
        "vendor": vendor,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    settings = PhantomSettings.from_mapping({**(read_dials(dials) if dials else {}), **given})
    processes = count(workers)
    with progress_bars() as steps:
        write_cohort(
            folder,
            settings,
            only=only,
            readers=readers,
            labels=label_series if labels else (),
            workers=processes,
            progress=partial(steps, "rendering phantoms"),
        )
    written = len(set(only)) or settings.patients
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
    sequences: str = "T1w,T2w",
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
    sequences
        Series to keep of each participant, such as T1w,T2w,STIR; those beyond T1w and T2w where a participant has them.
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
            sequences=sequences.split(","),
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

"""spinefx phantom: a synthetic cohort as DICOM."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from spinefx.cli.shell import Workers, app, count, fail
from spinefx.cli.terminal import progress_bars

__all__: list[str] = []

Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")]


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
    sign_labels: Annotated[bool, Parameter(negative="")] = False,
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
    sign_labels
        Also write where each of the fifteen signs lies on the T2W grid, as NIfTI in labels/.
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
            sign_labels=sign_labels,
            workers=processes,
            progress=partial(steps, "rendering phantoms"),
        )
    written = len(set(only)) or settings.patients
    print(f"{written} phantom patients in {folder}; next: spinefx ingest WORKSPACE {folder} --table {folder}/cases.csv")

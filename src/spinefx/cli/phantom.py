"""spinefx phantom: a synthetic cohort as DICOM."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from spinefx.cli.shell import Workers, app, count
from spinefx.cli.terminal import progress_bars

__all__: list[str] = []

Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")]
Pair = Annotated[tuple[float, float], Parameter(negative="")]


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

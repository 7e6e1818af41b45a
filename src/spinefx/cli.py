"""The shell: one program, verbs in the order of the story. The only place that prints.

Rooms are imported inside each verb, so that ``--help`` answers at once.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from spinefx import __version__
from spinefx.errors import MissingPackage, SpinefxError

if TYPE_CHECKING:
    from spinefx.evidence.table import ResultTable
    from spinefx.verbs.reporting import WrittenReport

__all__ = ["app", "main"]

RESEARCH_USE = "Research use only, not a medical device."
TRACEBACK_SWITCH = "SPINEFX_TRACEBACK"
# What the extra `train` installs, by the names that are imported.
TRAINING_PACKAGES = ("onnx", "safetensors", "torch")

app = App(
    name="spinefx",
    version=__version__,
    help=f"Benign or malignant vertebral fracture on spine MRI, honestly validated. {RESEARCH_USE}",
)

Workers = Annotated[int | None, Parameter(help="Processes at work; by default one for each core.")]
Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")]
Pair = Annotated[tuple[float, float], Parameter(negative="")]
Steps = Callable[[str, int, int], None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; the process ends with 0 done, 1 bad data or answer, 2 wrong usage, 130 interrupted.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line's by default.
    """
    # One thread: idle threads of NumPy's linear algebra double the time that it takes to start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app(arguments)
    except SpinefxError as error:
        _refuse(error)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on where this one stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or type(error).__name__)
        _fail(f"the operating system refused: {reason}")
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name in TRAINING_PACKAGES:
            _refuse(MissingPackage.for_training(error.name))
        # Its text may quote what it was given, so only its kind is shown unless the user asks.
        _fail(f"internal error ({type(error).__name__}); set {TRACEBACK_SWITCH}=1 to see it, and please report it")


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
    from spinefx.verbs.demo import demo as run

    with _steps() as steps:
        written = run(folder, patients=patients, seed=seed, recipe=recipe, workers=_count(workers), progress=steps)
    _print_report(written)


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
    count = _count(workers)
    with _steps() as steps:
        tell = partial(steps, "rendering phantoms")
        write_cohort(folder, settings, only=only, readers=readers, labels=labels, workers=count, progress=tell)
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
    from spinefx.verbs.ingest import ingest as run

    with _steps() as steps:
        report = run(
            workspace,
            export,
            table=table,
            signs=signs,
            readings=readings,
            key=key,
            workers=_count(workers),
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
        _fail(f"{len(problems)} problems in {workspace.name}")
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
    from spinefx.learning.recipe import Recipe
    from spinefx.verbs.patching import patch as run

    settings = Recipe.named(recipe).patch_settings
    with _steps() as steps:
        report = run(workspace, settings, workers=_count(workers), progress=lambda done, n: steps("cutting", done, n))
    for note in report.notes:
        print(note, file=sys.stderr)
    by_method = ", ".join(f"{report.methods.count(name)} {name}" for name in sorted(set(report.methods)))
    print(f"{report.cut} cases cut, {report.kept} already current, {report.slices} patches; registration: {by_method}")
    print(f"contact sheets: {report.folder}/sub-*/*_sheet.png")


@app.command
def train(
    workspace: Path,
    *,
    recipe: str = "honest",
    name: str | None = None,
    weights: Path | None = None,
    workers: Workers = None,
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
    """
    from spinefx.verbs.training import train as run

    with _steps() as steps:
        outcome = run(workspace, recipe, name=name, weights=weights, workers=_count(workers), progress=steps)
    for stamp in outcome.stamps:
        print(stamp)
    print(f"{outcome.folds} folds done; next: spinefx report {workspace} {outcome.name}")


@app.command
def report(workspace: Path, experiment: str | None = None) -> None:
    """Write tables, curves and one self-contained page.

    Parameters
    ----------
    workspace
        A study folder.
    experiment
        Its name; not needed where there is one only.
    """
    from spinefx.verbs.reporting import report as run

    _print_report(run(workspace, experiment))


@app.command
def predict(
    model: Path,
    study: Path,
    *,
    slices: str,
    box: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    box_pixels: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    t1w_series: str | None = None,
    t2w_series: str | None = None,
    sheet: Path | None = None,
    engine: Literal["onnxruntime", "torch"] | None = None,
) -> None:
    """Score one marked vertebra of one study; one JSON on standard output.

    Parameters
    ----------
    model
        A model folder, or an experiment's folder (then the mean of its folds' models answers).
    study
        Folder, file, ZIP, DICOMDIR or NIfTI of one patient.
    slices
        T2W slices that hold the lesion, from 0 at the patient's left: 6-8, or 7.
    box
        Centre and side in millimetres, LPS: left,posterior,superior,side.
    box_pixels
        Edges on the middle slice of the lesion, pixel centres at integers: left,top,right,bottom.
    t1w_series
        Series UID to use as T1W whatever the program would choose.
    t2w_series
        Series UID to use as T2W whatever the program would choose.
    sheet
        Where to write the contact sheet (PNG).
    engine
        What computes; by default torch only where a model has no graph.
    """
    from spinefx.verbs.predicting import predict as run

    try:
        answer = run(
            model,
            study,
            slices=slices,
            box=box,
            box_pixels=box_pixels,
            t1w_series=t1w_series,
            t2w_series=t2w_series,
            sheet=sheet,
            engine=engine,
        )
    except SpinefxError as error:
        refusal = {"refused": type(error).__name__, "reason": str(error), "note": RESEARCH_USE}
        print(json.dumps(refusal, indent=2, ensure_ascii=False))
        raise
    print(json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False))


@app.command
def export(models: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)]) -> None:
    """Write each model's ONNX graph, compared with torch, so that it answers where torch is not installed.

    Models of this version have theirs from training.

    Parameters
    ----------
    models
        Model folders, or experiments' folders.
    """
    from spinefx.verbs.exporting import export as run

    for one in run(models):
        errors = f"{one.card.probability_error:.1g} in probability, {one.card.log_odds_error:.1g} in log-odds"
        print(f"{one.name}: graph written; largest difference to torch {errors}")


@app.command
def audit(file: Path) -> None:
    """Say which printed percentages, sums, means and p-values the printed counts allow; exit 1 where one cannot stand.

    Parameters
    ----------
    file
        Claims as JSON or TSV; yeh2022 is the worked example.
    """
    from spinefx.verbs.auditing import audit as run

    found = run(file)
    _print_table(found.table)
    if found.fallen:
        _fail(found.table.note)
    print(found.table.note)


def _print_report(written: WrittenReport) -> None:
    _print_table(written.table, written.stamps)
    print(f"report: {written.page}")


def _print_table(table: ResultTable, stamps: Sequence[str] = ()) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A file or a pipe has no width: the table keeps its lines whole there.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    for stamp in stamps:
        console.print(stamp, style="bold", markup=False)
    grid = Table(title=table.title, title_justify="left")
    for column in table.columns:
        grid.add_column(column)
    for row in table.to_text():
        grid.add_row(*(Text(cell) for cell in row))
    console.print(grid)


def _count(workers: int | None) -> int:
    from spinefx.parallel import default_workers

    return default_workers() if workers is None else max(1, workers)


@contextlib.contextmanager
def _steps() -> Iterator[Steps]:
    """Progress bars on a terminal's standard error; nothing where there is no terminal."""
    if not sys.stderr.isatty():
        yield lambda step, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}

        def step(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done, total=total)

        yield step


def _refuse(error: SpinefxError) -> None:
    _fail(f"{type(error).__name__}: {error}")


def _fail(message: str) -> None:
    print(f"spinefx: {message}", file=sys.stderr)
    if os.environ.get(TRACEBACK_SWITCH):
        traceback.print_exc()
    sys.exit(1)

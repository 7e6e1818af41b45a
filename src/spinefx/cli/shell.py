"""The program that the verbs join, and how it speaks and ends."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

from cyclopts import App, Parameter

from spinefx import __version__
from spinefx.cli.terminal import print_table
from spinefx.errors import MissingPackage, SpinefxError
from spinefx.vocabulary import RESEARCH_USE_ONLY

if TYPE_CHECKING:
    from spinefx.commands.report import WrittenReport

__all__ = ["Paths", "Workers", "app", "count", "fail", "main", "print_report"]

TRACEBACK_SWITCH = "SPINEFX_TRACEBACK"
# What the extra `train` installs, by the names that are imported.
TRAINING_PACKAGES = ("onnx", "safetensors", "torch")

app = App(
    name="spinefx",
    version=__version__,
    help=f"Benign or malignant vertebral fracture on spine MRI, honestly validated. {RESEARCH_USE_ONLY}",
)

Workers = Annotated[int | None, Parameter(help="Processes at work; by default one for each core.")]
Paths = Annotated[tuple[Path, ...], Parameter(consume_multiple=True)]


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
        fail(f"the operating system refused: {reason}")
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name in TRAINING_PACKAGES:
            _refuse(MissingPackage.for_training(error.name))
        # Its text may quote what it was given, so only its kind is shown unless the user asks.
        fail(f"internal error ({type(error).__name__}); set {TRACEBACK_SWITCH}=1 to see it, and please report it")


def count(workers: int | None) -> int:
    """Turn the flag into a number of processes.

    Parameters
    ----------
    workers : int or None

    Returns
    -------
    int
    """
    from spinefx.processes.pool import default_workers

    return default_workers() if workers is None else max(1, workers)


def print_report(written: WrittenReport) -> None:
    """Print the main table, and where the page is.

    Parameters
    ----------
    written : WrittenReport
    """
    print_table(written.table, written.stamps)
    print(f"report: {written.page}")


def fail(message: str) -> NoReturn:
    """End the program with exit code 1.

    Parameters
    ----------
    message : str
        One line.
    """
    print(f"spinefx: {message}", file=sys.stderr)
    if os.environ.get(TRACEBACK_SWITCH):
        traceback.print_exc()
    sys.exit(1)


def _refuse(error: SpinefxError) -> NoReturn:
    fail(f"{type(error).__name__}: {error}")

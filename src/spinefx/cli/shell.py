"""The program that the commands join, its messages and exit codes."""

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
from spinefx.cli.terminal import print_table, say
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

Workers = Annotated[int | None, Parameter(help="Number of worker processes; by default one per core.")]
Paths = Annotated[tuple[Path, ...], Parameter(consume_multiple=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; the exit code is 0 for success, 1 for a failure, 2 for wrong usage, 130 for an interruption.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the command line.
    """
    # One thread: idle threads of NumPy's linear algebra double the time that it takes to start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app(arguments)
    except SpinefxError as error:
        _refuse(error)
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again to continue.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or type(error).__name__)
        fail(f"operating system error: {reason}")
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name in TRAINING_PACKAGES:
            _refuse(MissingPackage.for_training(error.name))
        # Its text may quote the input, so only its type is shown unless the user asks.
        fail(f"internal error ({type(error).__name__}). Please report it; {TRACEBACK_SWITCH}=1 shows the traceback.")


def count(workers: int | None) -> int:
    """Return the number of worker processes that a flag asks for.

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
    """Print the main table and the path of the page.

    Parameters
    ----------
    written : WrittenReport
    """
    print_table(written.table, written.stamps)
    say(f"Report: {written.page}")


def fail(message: str) -> NoReturn:
    """End the program with exit code 1.

    Parameters
    ----------
    message : str
        Each line is printed on its own.
    """
    first, *further = message.splitlines() or [""]
    for line in (f"spinefx: {first}", *further):
        say(line, error=True)
    if os.environ.get(TRACEBACK_SWITCH):
        traceback.print_exc()
    sys.exit(1)


def _refuse(error: SpinefxError) -> NoReturn:
    fail(f"{type(error).__name__}: {error}")

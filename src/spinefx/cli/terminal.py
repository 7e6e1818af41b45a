"""Lines, tables and progress bars on a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from spinefx.errors import one_line

if TYPE_CHECKING:
    from spinefx.statistics.table import ResultTable

__all__ = ["print_table", "progress_bars", "say"]

Steps = Callable[[str, int, int], None]


def say(text: str, *, error: bool = False) -> None:
    """Print one line; control characters from file names and headers do not reach the terminal.

    Parameters
    ----------
    text : str
    error : bool
        Print to standard error.
    """
    print(one_line(text), file=sys.stderr if error else sys.stdout)


def print_table(table: ResultTable, stamps: Sequence[str] = ()) -> None:
    """Print a table below the statements that must accompany it.

    Parameters
    ----------
    table : ResultTable
    stamps : sequence of str
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A file or a pipe has no width: lines are not broken there.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    for stamp in stamps:
        console.print(stamp, style="bold", markup=False)
    grid = Table(title=table.title, title_justify="left")
    for column in table.columns:
        grid.add_column(column)
    for row in table.to_text():
        grid.add_row(*(Text(cell) for cell in row))
    console.print(grid)


@contextlib.contextmanager
def progress_bars() -> Iterator[Steps]:
    """Show progress bars on standard error, if it is a terminal.

    Yields
    ------
    callable
        Takes the name of a step, the number done and the total.
    """
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

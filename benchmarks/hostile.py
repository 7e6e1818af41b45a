"""Broken and hostile inputs of every kind, and what becomes of them: one line for each row.

Run as ``python benchmarks/hostile.py [--short | --full] [--only ROW ...] [--jobs N] [--record]``; exits with 1 when a
row fails. Seeded, so that every run tries the same inputs. Of a row with many inputs a sample of equal steps is tried;
with ``--full`` all are.

Each row tries many inputs in a process of its own and counts what becomes of them: ``refused`` by a named error of one
line, ``equal`` to the unspoilt original, ``changed`` to something else, ``escaped`` as any other exception, ``crashed``
with the process or hung. ``worst_s`` is the longest single try in CPU seconds, and ``peak_MB`` the most memory above
what the process took before its first try, decoder included. A row fails where anything escaped, crashed, took more
than 20 s or 512 MB, where something changed that must not, or where nothing was tried. The same bytes go to pydicom or
nibabel on the lines below it, for comparison; these never fail.

Rows are in modules of their own (``hostile_images.py`` and so on), each a tuple ``ROWS``. Add a module to ``MODULES``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from hostile_row import Row, SkippedRow

MODULES = ("hostile_images", "hostile_tables", "hostile_graphs", "hostile_workspaces", "hostile_pages")
OUTCOMES = ("refused", "equal", "changed", "escaped", "crashed")
LONGEST_S, MOST_MB = 20.0, 512.0
# Wall time without an answer, after which a child hangs.
PATIENCE_S = 120.0


@dataclass
class Tally:
    """What became of a row's inputs."""

    outcomes: Counter[str] = field(default_factory=Counter)
    worst_s: float = 0.0
    peak_mb: float = 0.0
    examples: list[str] = field(default_factory=list)

    def line(self, name: str) -> str:
        """Return the row of the table."""
        counts = "".join(f"{self.outcomes[outcome]:>9}" for outcome in OUTCOMES)
        return f"{name:<34}{self.outcomes.total():>8}{counts}{self.worst_s:>9.2f}{self.peak_mb:>9.0f}"

    def fault(self, row: Row) -> str:
        """Say why a row fails; empty where it does not."""
        faults = [outcome for outcome in ("escaped", "crashed") if self.outcomes[outcome]]
        faults += ["changed"] if self.outcomes["changed"] and not row.may_change else []
        faults += [f"more than {LONGEST_S:g} s"] if self.worst_s > LONGEST_S else []
        faults += [f"more than {MOST_MB:g} MB"] if self.peak_mb > MOST_MB else []
        faults += [] if self.outcomes.total() else ["nothing tried"]
        return ", ".join(faults)


def all_rows() -> dict[str, Row]:
    """Return every row by its id."""
    sys.path.insert(0, str(Path(__file__).parent))
    return {row.id: row for name in MODULES for row in importlib.import_module(name).ROWS}


def memory_mb(name: str, process: str = "self") -> float:
    """Read a line of a process's memory from Linux's /proc; 0 elsewhere."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), 0.0)


def children_mb() -> float:
    """Return the most memory that living children of this process have taken."""
    try:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    except OSError:
        return 0.0
    return sum(memory_mb("VmHWM", child) for child in children)


def try_all(row: Row, attempt: Callable[[Path, int], str], folder: Path, numbers: range) -> None:
    """Try inputs one after another, in this process, and print what became of each. Run in a child."""
    from spinefx.errors import SpinefxError

    idle, told = memory_mb("VmRSS"), time.monotonic()
    for number in numbers:
        example, began, worked = "", time.monotonic(), time.process_time()
        try:
            outcome = attempt(folder, number)
        except SpinefxError as error:
            outcome = "refused" if str(error) and "\n" not in str(error) else "escaped"
        except Exception as error:
            outcome, example = "escaped", f"{number}: {type(error).__name__}: {error}"[:200]
        seconds = time.process_time() - worked
        peak = (
            memory_mb("VmHWM") - idle + children_mb() if row.alone or number == numbers[-1] or told < began - 1 else 0
        )
        told = began if peak else told
        print(json.dumps([number, outcome, seconds, peak, example]), flush=True)


def run_row(row: Row, program: str, folder: Path, numbers: range) -> Tally:
    """Try a row's inputs in children; one that dies is replaced, and its input is counted as crashed."""
    tally, first = Tally(), numbers.start
    while first < numbers.stop:
        last = first + 1 if row.alone else numbers.stop
        asked = [row.id, program, str(folder), str(first), str(last), str(numbers.step)]
        arguments = [sys.executable, __file__, "--child", *asked]
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        reached = first
        for number, outcome, seconds, peak, example in _answers(child):
            tally.outcomes[outcome] += 1
            tally.worst_s, tally.peak_mb = max(tally.worst_s, seconds), max(tally.peak_mb, peak)
            tally.examples += [example] if example else []
            reached = number + numbers.step
        if reached < last:
            tally.outcomes["crashed"] += 1
            tally.examples.append(f"{reached}: crashed with {child.returncode}")
            reached += numbers.step
        first = reached
    return tally


def _answers(child: subprocess.Popen[str]) -> Iterator[tuple[int, str, float, float, str]]:
    """Read a child's lines; end it where none comes for long."""
    assert child.stdout is not None
    watch = threading.Timer(PATIENCE_S, child.kill)
    watch.start()
    with child:
        for line in child.stdout:
            watch.cancel()
            if line.startswith("["):  # what a library prints is no answer
                yield tuple(json.loads(line))
            watch = threading.Timer(PATIENCE_S, child.kill)
            watch.start()
    watch.cancel()


def try_row(row: Row, form: str) -> tuple[list[str], str]:
    """Return the lines of a row and of the programs beside it, and why the row fails."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as place:
        folder = Path(place)
        try:
            row.prepare(folder)
        except SkippedRow as reason:
            return [f"{row.id:<34} skipped: {reason}"], ""
        count = row.count if isinstance(row.count, int) else row.count(folder)
        wanted = row.short if form == "short" else row.sample if form == "sample" else count
        numbers = range(0, count, max(1, -(-count // wanted)))
        tally = run_row(row, "", folder, numbers)
        lines = [tally.line(row.id)]
        fault = tally.fault(row)
        if fault:
            lines += [f"    FAILED: {fault}", *(f"    {example}" for example in tally.examples[:5])]
        lines += [
            run_row(row, name, folder, numbers).line(f"    by {name}")
            for name in ({} if form == "short" else row.others)
        ]
    return lines, fault


def record_table(lines: list[str], failed: int, seconds: float) -> None:
    """Save the table for the docs."""
    from record import record

    columns = ["id", "tried", *OUTCOMES, "worst_s", "peak_MB"]
    rows = []
    for line in lines:
        name, cells = line[:34].strip(), line[34:].split()
        rows.append([name, *cells] if len(cells) == len(columns) - 1 else [name, " ".join(cells), *[""] * 7])
    note = (
        f"{failed} rows failed; {seconds:.0f} s. Lines that begin with `by` are the same bytes read by another program."
    )
    record("hostile", "Broken and hostile inputs", columns, rows, note)


def main() -> int:
    """Try every row and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few inputs of each row, and no other programs")
    parser.add_argument("--full", action="store_true", help="every input of each row")
    parser.add_argument("--record", action="store_true", help="save the table for the docs")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="rows whose ids begin so")
    parser.add_argument("--jobs", type=int, default=2, help="rows tried at once")
    parser.add_argument("--child", nargs=6, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    rows = all_rows()
    if asked.child:
        name, program, folder, first, last, step = asked.child
        row = rows[name]
        attempt = row.others[program] if program else row.attempt
        try_all(row, attempt, Path(folder), range(int(first), int(last), int(step)))
        return 0
    chosen = [row for row in rows.values() if not asked.only or row.id.startswith(tuple(asked.only))]
    form = "short" if asked.short else "full" if asked.full else "sample"
    began, failed, table = time.monotonic(), 0, []
    print(f"{'id':<34}{'tried':>8}{''.join(f'{outcome:>9}' for outcome in OUTCOMES)}{'worst_s':>9}{'peak_MB':>9}")
    with ThreadPoolExecutor(max(1, asked.jobs)) as pool:
        for lines, fault in pool.map(lambda row: try_row(row, form), chosen):
            print("\n".join(lines), flush=True)
            failed += bool(fault)
            table += [line for line in lines if not line.startswith("    FAILED")]
    print(f"{len(chosen)} rows, {failed} failed, {time.monotonic() - began:.0f} s")
    if asked.record:
        record_table(table, failed, time.monotonic() - began)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

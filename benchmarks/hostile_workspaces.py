"""Rows of ``hostile.py`` about workspaces: writers that are killed, meet each other, or find the disk full."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from hostile_row import Row, SkippedRow
from spinefx.commands.check import check
from spinefx.commands.ingest import ingest
from spinefx.errors import SpinefxError
from spinefx.files import TEMPORARY_PREFIX, digest_of
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.settings import PhantomSettings

DONE, REFUSED, KILLED, ESCAPED = 0, 3, 9, 4
PATIENTS = 1


def prepare(folder: Path) -> None:
    """Write two exports, and ingest both undisturbed."""
    for name, seed in (("a", 5), ("b", 6)):
        write_cohort(folder / name, PhantomSettings(patients=PATIENTS, seed=seed, matrix=192))
        ingest_into(folder / f"clean-{name}", folder / name)


def prepare_full_disk(folder: Path) -> None:
    """The same, where a file system of a given size can be mounted."""
    with small_disk(folder / "tried", 64):
        pass
    prepare(folder)


def ingest_into(root: Path, export: Path) -> None:
    """Ingest an export with its tables."""
    tables = {name: export / f"{name}.csv" for name in ("signs", "readings")}
    ingest(root, export, table=export / "cases.csv", **tables)


@cache
def contents(root: Path) -> dict[str, str]:
    """Return the digest of every file of a finished workspace, computed once."""
    return contents_now(root)


def contents_now(root: Path) -> dict[str, str]:
    """Return the digest of every file of a workspace, but of locks and temporary files."""
    return {
        str(path.relative_to(root)): digest_of(path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(TEMPORARY_PREFIX) and not path.name.endswith(".lock")
    }


def problems(root: Path) -> list[str]:
    """What ``check`` finds, but the temporary files of the killed."""
    return [problem for problem in check(root) if "left behind by an interrupted command" not in problem]


def in_fork(work: Callable[[], None]) -> int:
    """Start work in a copy of this process; return its number."""
    child = os.fork()
    if child:
        return child
    end = ESCAPED
    try:
        work()
        end = DONE
    except SpinefxError:
        end = REFUSED
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(end)


def exit_of(child: int) -> int:
    """Wait for a copy of this process; return how it ended."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(write: int, *, after: bool) -> None:
    """Let this process die at its n-th write, before or after the new file takes the place of the old one."""
    count, replace = 0, os.replace

    def counted(source: object, target: object) -> None:
        nonlocal count
        if after:
            replace(source, target)  # type: ignore[arg-type]
        count += 1
        if count > write:
            os._exit(KILLED)
        if not after:
            replace(source, target)  # type: ignore[arg-type]

    os.replace = counted  # type: ignore[assignment]


def kill_and_resume(folder: Path, number: int) -> str:
    """Kill an ingest at a write; the same call must complete it to the same bytes."""
    root = folder / "tried" / "workspace"
    shutil.rmtree(root.parent, ignore_errors=True)
    root.parent.mkdir()

    def work() -> None:
        killed_at(number // 2, after=bool(number % 2))
        ingest_into(root, folder / "a")

    ended = exit_of(in_fork(work))
    if ended not in {DONE, KILLED}:
        raise RuntimeError(f"the killed ingest ended with {ended}")
    if ended == KILLED:
        ingest_into(root, folder / "a")
    return "equal" if contents_now(root) == contents(folder / "clean-a") and not problems(root) else "changed"


def two_writers(folder: Path, number: int) -> str:
    """Ingest two exports into one folder at once: one of them is in it afterwards, whole, or none."""
    root = folder / "tried" / "workspace"
    shutil.rmtree(root.parent, ignore_errors=True)
    root.parent.mkdir()
    order = ("a", "b") if number % 2 else ("b", "a")
    children = [in_fork(lambda name=name: ingest_into(root, folder / name)) for name in order]  # type: ignore[misc]
    ends = [exit_of(child) for child in children]
    if not set(ends) <= {DONE, REFUSED}:
        raise RuntimeError(f"the writers ended with {ends}")
    if DONE not in ends:
        return "refused"
    there = contents_now(root)
    is_one = there in (contents(folder / "clean-a"), contents(folder / "clean-b"))
    return "equal" if ends.count(DONE) == 1 and is_one and not problems(root) else "changed"


@contextlib.contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[None]:
    """Mount a file system of a given size."""
    place.mkdir(exist_ok=True)
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        raise SkippedRow("no file system can be mounted by this user") from None
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True, capture_output=True)


def full_disk(folder: Path, number: int) -> str:
    """Ingest onto a disk that becomes full; with room, the same call must complete it to the same bytes."""
    size = sum(path.stat().st_size for path in (folder / "clean-a").rglob("*")) // 1024
    place = folder / "tried"
    with small_disk(place, max(8, size * (number + 1) // 24)):
        with contextlib.suppress(SpinefxError):
            ingest_into(place / "workspace", folder / "a")
        subprocess.run(["mount", "-o", "remount,size=512m", str(place)], check=True, capture_output=True)
        ingest_into_or_find(place / "workspace", folder / "a")
        there = contents_now(place / "workspace")
        return "equal" if there == contents(folder / "clean-a") and not problems(place / "workspace") else "changed"


def ingest_into_or_find(root: Path, export: Path) -> None:
    """Complete an ingest, or do nothing where it is complete."""
    if not (root / "participants.tsv").is_file() or (root / ".ingest.json").exists():
        ingest_into(root, export)


def writes_of(folder: Path) -> int:
    """Twice the files of a clean workspace: each is written at least once."""
    return 2 * (len(contents(folder / "clean-a")) + 2)


ROWS = (
    Row("killed-at-write", writes_of, 6, prepare, kill_and_resume),
    Row("two-writers", 12, 2, prepare, two_writers),
    Row("full-disk", 24, 3, prepare_full_disk, full_disk),
)

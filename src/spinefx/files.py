"""Atomic writes, and digests that name content.

Every file of spinefx is written to a temporary file beside it, flushed to disk and renamed, so that a reader sees the
old file or the new one and never a part of either.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spinefx.errors import InterruptedWrite

__all__ = [
    "TEMPORARY_PREFIX",
    "canonical_json",
    "digest_of",
    "leftovers",
    "locked",
    "replacing",
    "sweep",
    "write_bytes",
    "write_text",
]

TEMPORARY_PREFIX = ".part-"
LOCK_POLL_S = 0.1


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it replaces ``path``, on failure it is removed.

    Parameters
    ----------
    path : Path
        The file to create or replace; its folder is created.

    Yields
    ------
    Path
        A path in the same folder, with the same suffixes (libraries choose formats by them).

    Raises
    ------
    InterruptedWrite
        When the disk is full, read-only or failing; the previous file is intact.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        raise InterruptedWrite(
            f"could not be written ({error.strerror or type(error).__name__})",
            where=path.name,
            remedy="Free disk space or check permissions, then run the same command again. No file is incomplete.",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def leftovers(folder: Path, *, older_than_s: float = 0.0) -> tuple[Path, ...]:
    """Find temporary files that a killed process left in a folder and the folders below it.

    Parameters
    ----------
    folder : Path
    older_than_s : float
        Younger ones may belong to a process that is still writing.

    Returns
    -------
    tuple of Path
    """
    found = []
    for path in sorted(folder.rglob(f"{TEMPORARY_PREFIX}*")):
        with contextlib.suppress(OSError):
            if path.is_file() and time.time() - path.stat().st_mtime >= older_than_s:
                found.append(path)
    return tuple(found)


def sweep(folder: Path, *, older_than_s: float = 0.0) -> None:
    """Remove what :func:`leftovers` finds.

    Parameters
    ----------
    folder : Path
    older_than_s : float
    """
    for path in leftovers(folder, older_than_s=older_than_s):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, *, wait_s: float = 0.0) -> Iterator[bool]:
    """Hold the exclusive lock of a lock file; the operating system releases it when the process ends, however it ends.

    Parameters
    ----------
    path : Path
        The lock file; it is created, and stays.
    wait_s : float
        How long to wait while another process holds the lock.

    Yields
    ------
    bool
        Whether the lock was obtained.
    """
    try:
        import fcntl
    except ImportError:  # not on every system; there the lock file excludes nothing
        yield True
        return
    until = time.monotonic() + wait_s
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= until:
                    yield False
                    return
                time.sleep(LOCK_POLL_S)
            else:
                yield True
                return


def write_bytes(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Write bytes completely or not at all.

    Parameters
    ----------
    path : Path
    data : bytes
    mode : int, optional
        Permissions of the file, from its first byte on; by default those of any new file.

    Raises
    ------
    InterruptedWrite
    """
    with replacing(path) as temporary:
        if mode is not None:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        temporary.write_bytes(data)


def write_text(path: Path, text: str, *, mode: int | None = None) -> None:
    """Write UTF-8 text with Unix line ends, completely or not at all.

    Parameters
    ----------
    path : Path
    text : str
    mode : int, optional
        As for :func:`write_bytes`.

    Raises
    ------
    InterruptedWrite
    """
    write_bytes(path, text.encode("utf-8"), mode=mode)


def canonical_json(value: Any) -> str:
    """Return a value as JSON in canonical form, whose digest is stable: sorted keys, no spaces, no NaN.

    Parameters
    ----------
    value : object
        Any JSON value.

    Returns
    -------
    str
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest_of(value: bytes | str) -> str:
    """Return the SHA-256 of content.

    Parameters
    ----------
    value : bytes or str
        Text is encoded as UTF-8.

    Returns
    -------
    str
        ``sha256:`` and 64 hexadecimal digits.
    """
    data = value.encode("utf-8") if isinstance(value, str) else value
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

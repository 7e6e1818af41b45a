"""Writing whole files or none, and naming content by its digest.

Every file of spinefx is written to a temporary neighbour, flushed to the disk and renamed, so that a reader sees the
old file or the new one and never a part.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spinefx.errors import InterruptedWrite

__all__ = ["canonical_json", "digest_of", "replacing", "write_bytes", "write_text"]

TEMPORARY_SUFFIX = ".part"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on success it takes the place of ``path``, on failure it is removed.

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
        When the disk is full, read-only or failing; the file that stood there still stands.
    """
    temporary = path.with_name(f"{TEMPORARY_SUFFIX}-{secrets.token_hex(4)}-{path.name}")
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
            remedy="Free space or check permissions, then run the same command again; nothing was half-written.",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes whole or not at all.

    Parameters
    ----------
    path : Path
    data : bytes

    Raises
    ------
    InterruptedWrite
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, whole or not at all.

    Parameters
    ----------
    path : Path
    text : str

    Raises
    ------
    InterruptedWrite
    """
    write_bytes(path, text.encode("utf-8"))


def canonical_json(value: Any) -> str:
    """Write a value as JSON in the one form whose digest is stable: sorted keys, no spaces, no NaN.

    Parameters
    ----------
    value : object
        Anything that JSON knows.

    Returns
    -------
    str
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest_of(value: bytes | str) -> str:
    """Name content by its SHA-256.

    Parameters
    ----------
    value : bytes or str
        Text is taken as UTF-8.

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

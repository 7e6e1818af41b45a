"""Writing files whole or not at all, reading delimited text, and naming content by its digest.

Every file of spinefx is written to a temporary neighbour, flushed to the disk and renamed, so that a reader sees the
old file or the new one and never a part.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from spinefx.errors import InterruptedWrite, TableError

__all__ = ["canonical_json", "delimited_rows", "digest_of", "replacing", "write_bytes", "write_text"]

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


def delimited_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Read the rows of a CSV or TSV; the header line tells whether comma, semicolon or tab separates the cells.

    Parameters
    ----------
    path : Path
        UTF-8, with or without a byte-order mark.

    Yields
    ------
    number : int
        Line on which the row ends, the first being line 1.
    cells : list of str
        As written; the header comes first, and empty rows are left out.

    Raises
    ------
    TableError
        If the file cannot be read, is binary, or is not UTF-8.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.reader(_text_lines(file, path.name), delimiter=max("\t;,", key=header.count))
            for cells in reader:
                number = reader.line_num
                if any(cell.strip() for cell in cells):
                    yield number, cells
    except OSError as error:
        raise TableError(f"cannot be read ({error.strerror})", where=path.name) from error
    except UnicodeDecodeError as error:
        raise TableError("text that is not UTF-8", where=path.name, remedy="Save the table as CSV UTF-8.") from error
    except csv.Error as error:
        raise TableError(f"not a table ({error})", where=f"{path.name}, row {number + 1}") from error


def _text_lines(file: TextIO, name: str) -> Iterator[str]:
    for line in file:
        if "\0" in line:
            raise TableError("binary content", where=name, allowed="CSV or TSV text")
        yield line


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""JSON and TOML documents, read within limits of size, depth and digits; keys checked against the known ones."""

from __future__ import annotations

import difflib
import json
import math
import stat
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn

from spinefx.errors import SpinefxError

__all__ = ["check_keys", "parse_json", "parse_toml", "read_json", "read_text", "read_toml"]

MOST_BYTES = 64 * 2**20
DEEPEST = 64
MOST_DIGITS = 400
Failure = type[SpinefxError]


def read_text(path: Path, failure: Failure, *, most_bytes: int = MOST_BYTES, remedy: str = "") -> str:
    """Read a UTF-8 text file.

    Parameters
    ----------
    path : Path
        A regular file.
    failure : type of SpinefxError
        Raised where it cannot be read.
    most_bytes : int
    remedy : str
        What to do then.

    Returns
    -------
    str

    Raises
    ------
    SpinefxError
        Of the given type.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise failure("not a regular file", where=path.name, remedy=remedy)
        if status.st_size > most_bytes:
            raise failure(f"the file is larger than {most_bytes / 2**20:g} MiB", where=path.name, remedy=remedy)
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise failure(f"cannot be read ({error.strerror})", where=path.name, remedy=remedy) from error
    except UnicodeDecodeError as error:
        raise failure("not UTF-8 text", where=path.name, remedy=remedy) from error


def read_json(path: Path, failure: Failure, *, most_bytes: int = MOST_BYTES, remedy: str = "") -> dict[str, Any]:
    """Read a JSON object from a file.

    Parameters
    ----------
    path : Path
    failure : type of SpinefxError
        Raised where it cannot be read.
    most_bytes : int
    remedy : str
        What to do then.

    Returns
    -------
    dict

    Raises
    ------
    SpinefxError
        Of the given type.
    """
    value = parse_json(read_text(path, failure, most_bytes=most_bytes, remedy=remedy), failure, where=path.name)
    if not isinstance(value, dict):
        raise failure("the JSON is not an object", where=path.name, remedy=remedy)
    return value


def parse_json(text: str, failure: Failure, *, where: str) -> Any:
    """Read JSON text.

    Parameters
    ----------
    text : str
    failure : type of SpinefxError
        Raised for broken JSON, NaN and infinity, numbers of too many digits, and nesting beyond measure.
    where : str
        What the text is called in errors.

    Returns
    -------
    object

    Raises
    ------
    SpinefxError
        Of the given type.
    """
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_no_number)
        _check_depth(value)
        return value
    except (ValueError, RecursionError) as error:
        raise failure(f"broken JSON ({_reason(error)})", where=where) from None


def read_toml(path: Path, failure: Failure, *, most_bytes: int = 2**20, remedy: str = "") -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    path : Path
    failure : type of SpinefxError
        Raised where it cannot be read.
    most_bytes : int
    remedy : str
        What to do then.

    Returns
    -------
    dict

    Raises
    ------
    SpinefxError
        Of the given type.
    """
    return parse_toml(read_text(path, failure, most_bytes=most_bytes, remedy=remedy), failure, where=path.name)


def parse_toml(text: str, failure: Failure, *, where: str) -> dict[str, Any]:
    """Read TOML text.

    Parameters
    ----------
    text : str
    failure : type of SpinefxError
        Raised for broken TOML, numbers of too many digits, and nesting beyond measure.
    where : str
        What the text is called in errors.

    Returns
    -------
    dict

    Raises
    ------
    SpinefxError
        Of the given type.
    """
    try:
        values: dict[str, Any] = tomllib.loads(text, parse_float=_number)
        _check_depth(values)
        return values
    except (ValueError, RecursionError) as error:
        raise failure(f"broken TOML ({_reason(error)})", where=where) from None


def check_keys(
    values: Mapping[str, Any], known: Collection[str], failure: Failure, *, where: str, needed: Collection[str] = ()
) -> None:
    """Refuse unknown and missing keys.

    Parameters
    ----------
    values : mapping
    known : collection of str
    failure : type of SpinefxError
        Raised for an unknown key, with the most similar known one, and for a missing one.
    where : str
        What the values are called in errors.
    needed : collection of str
        Those of the known keys that must be given.

    Raises
    ------
    SpinefxError
        Of the given type.
    """
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise failure(f"unknown key {str(key)[:40]!r}{hint}", where=where, allowed=", ".join(known))
    missing = [key for key in needed if key not in values]
    if missing:
        raise failure(f"missing keys: {', '.join(missing)}", where=where)


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _number(text: str) -> float:
    value = float(text) if len(text) <= MOST_DIGITS else math.inf
    if not math.isfinite(value):
        raise ValueError("a number that is not finite")
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _check_depth(value: Any) -> None:
    layer, depth = [value], 0
    while layer:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} deep")
        layer = [
            inner
            for one in layer
            for inner in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
        ]


def _reason(error: Exception) -> str:
    """Say where a document is broken, without its text."""
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return " ".join(str(error).split())[:80]

"""The dials of a cohort as a TOML file: read one, or write one that explains every dial."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from spinefx.documents import check_keys, read_toml
from spinefx.errors import RecipeError
from spinefx.phantom.settings import ByClass, PhantomSettings, Range

__all__ = ["dials_toml", "read_dials"]

_HEAD = """\
# Dials of a phantom cohort, each with its default. Keep those that you change and delete the rest, then run
#   spinefx phantom FOLDER --dials THIS_FILE
"""
# Shown, commented out, where a dial has no value of its own.
_EXAMPLES = {
    "no_collapse": ByClass(round(3 / 140, 4), 17 / 50),
    "slice_spacing_mm": Range(3.0, 5.0),
    "sacral_slope_deg": Range(15.0, 65.0),
}


def read_dials(path: Path) -> dict[str, Any]:
    """Read the dials that a TOML file sets.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to object
        Plain values for :meth:`PhantomSettings.from_mapping`; any subset of the dials.

    Raises
    ------
    RecipeError
        When the file cannot be read, is not TOML, or holds an unknown key; the nearest name is suggested.
    """
    remedy = "Give a TOML file; spinefx phantom --print-dials writes one."
    values = read_toml(path, RecipeError, remedy=remedy)
    check_keys(values, PhantomSettings.dials(), RecipeError, where=path.name)
    return values


def dials_toml(settings: PhantomSettings | None = None) -> str:
    """Write the dials as TOML, each below its meaning and what it accepts.

    Parameters
    ----------
    settings : PhantomSettings, optional
        The defaults where absent; dials whose default follows from others are then commented out.

    Returns
    -------
    str
        :func:`read_dials` and :meth:`PhantomSettings.from_mapping` give the settings back.
    """
    shown = settings or PhantomSettings()
    lines = [_HEAD]
    for name, dial in PhantomSettings.dials().items():
        value = getattr(shown, name)
        follows = settings is None and name == "malignant"
        value = _EXAMPLES[name] if value is None else value
        meaning = f"{dial.meaning} Allowed: {dial.allowed}."
        lines += textwrap.wrap(meaning, 110, initial_indent="# ", subsequent_indent="# ")
        unset = follows or getattr(shown, name) is None
        lines += [f"{'# ' if unset else ''}{name} = {_toml(value)}", ""]
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, ByClass):
        return f"{{ benign = {_toml(value.benign)}, malignant = {_toml(value.malignant)} }}"
    if isinstance(value, Range):
        return json.dumps([value.low, value.high])
    return json.dumps(list(value) if isinstance(value, tuple) else value)

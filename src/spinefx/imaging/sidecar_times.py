"""Times of a BIDS sidecar, which some writers give in milliseconds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

__all__ = ["is_positive", "time_ms"]

# Longer times than these occur on no scanner: the sidecar gives milliseconds where BIDS wants seconds.
LONGEST_SECONDS = {"RepetitionTime": 30.0, "EchoTime": 1.0, "InversionTime": 10.0}


def time_ms(sidecar: Mapping[str, Any], key: str) -> float | None:
    """Read a time of a sidecar.

    Parameters
    ----------
    sidecar : mapping
    key : str
        ``RepetitionTime``, ``EchoTime`` or ``InversionTime``.

    Returns
    -------
    float or None
        Milliseconds. The sidecar's number counts as seconds, unless no scanner has such a time in seconds.
    """
    known = {name: float(value) for name in LONGEST_SECONDS if is_positive(value := sidecar.get(name))}
    if key not in known:
        return None
    impossible = [name for name, value in known.items() if value > LONGEST_SECONDS[name]]
    # A writer that gave one time in milliseconds gave them all so, unless the value were too short for that.
    least = known.get("EchoTime", 1.0) if key == "RepetitionTime" else 1.0
    in_milliseconds = key in impossible or (bool(impossible) and known[key] >= max(1.0, least))
    return known[key] if in_milliseconds else 1000.0 * known[key]


def is_positive(value: object) -> TypeGuard[int | float]:
    """Return whether a value of a sidecar is a positive finite number.

    Parameters
    ----------
    value : object

    Returns
    -------
    bool
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0

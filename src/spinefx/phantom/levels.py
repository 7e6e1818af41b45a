"""Levels of the spine, and numbering variants."""

from __future__ import annotations

__all__ = ["LEVEL_NAMES", "NUMBERINGS", "level_rows"]

LEVEL_NAMES = tuple(
    [f"C{n}" for n in range(2, 8)] + [f"T{n}" for n in range(1, 13)] + [f"L{n}" for n in range(1, 6)]
    + [f"S{n}" for n in range(1, 6)]
)  # fmt: skip
"""Levels of the usual spine, cranial to caudal."""

NUMBERINGS = ("four_lumbar", "six_lumbar", "thirteen_thoracic", "transitional_l5", "transitional_s1")
"""Numbering variants: one lumbar vertebra less or more, a thirteenth thoracic one, a sacralised L5, a lumbarised S1."""


def level_rows(numbering: str) -> tuple[tuple[str, tuple[int, int]], ...]:
    """Return the levels of a numbering, each with the two rows of the usual table whose mean describes it.

    Parameters
    ----------
    numbering : str
        One of :data:`NUMBERINGS`, or ``usual``.

    Returns
    -------
    tuple of (str, tuple of int)
        Cranial to caudal.
    """
    names = list(LEVEL_NAMES)
    rows = [(index, index) for index in range(len(names))]
    last_lumbar, first_lumbar = names.index("L5"), names.index("L1")
    if numbering == "four_lumbar":
        del rows[names.index("L3")], names[last_lumbar]
    elif numbering == "six_lumbar":
        rows.insert(last_lumbar, (last_lumbar - 1, last_lumbar))
        names.insert(last_lumbar + 1, "L6")
    elif numbering == "thirteen_thoracic":
        rows.insert(first_lumbar, (first_lumbar - 1, first_lumbar))
        names.insert(first_lumbar, "T13")
    return tuple(zip(names, rows, strict=True))

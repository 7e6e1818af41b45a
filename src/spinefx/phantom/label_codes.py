"""The structures that label maps tell apart, and the integer code of each structure and level."""

from __future__ import annotations

from enum import IntEnum

from spinefx.phantom.levels import LEVEL_NAMES

__all__ = ["Structure", "label_names", "label_value"]

# From C2 on in order; the supernumerary levels follow, so that the codes of the others never change.
_LEVEL_CODES = {level: code for code, level in enumerate((*LEVEL_NAMES, "T13", "L6"), start=2)}


class Structure(IntEnum):
    """What a voxel holds; a label is 100 times this code plus the code of the level."""

    NOTHING = 0
    BODY = 1
    DISC = 2
    CANAL = 3
    CORD = 4
    POSTERIOR = 5
    LESION = 6
    MASS = 7


_WORDS = {
    Structure.BODY: "vertebral body",
    Structure.DISC: "disc below",
    Structure.CANAL: "thecal sac without cord, behind",
    Structure.CORD: "spinal cord behind",
    Structure.POSTERIOR: "posterior elements",
    Structure.LESION: "changed marrow of the lesion in",
    Structure.MASS: "mass outside the body of",
}


def label_value(kind: Structure, level: str) -> int:
    """Return the label of a structure: 100 times its code plus the code of the level.

    C1 has code 1, T1 8, L1 20 and S1 25; the supernumerary T13 and L6 have 30 and 31.

    Parameters
    ----------
    kind : Structure
    level : str

    Returns
    -------
    int
        0 for :attr:`Structure.NOTHING`.
    """
    return 100 * kind + _LEVEL_CODES[level] if kind else 0


def label_names() -> dict[int, str]:
    """Return every label that may occur, with its meaning.

    Returns
    -------
    dict of int to str
        In increasing order; 0 is background.
    """
    return {0: "background"} | {
        label_value(kind, level): f"{words} {level}" for kind, words in _WORDS.items() for level in _LEVEL_CODES
    }

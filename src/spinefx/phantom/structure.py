"""Names of what is painted, and the numbers that label maps give them."""

from __future__ import annotations

from enum import IntEnum

from spinefx.phantom.anatomy import LEVEL_NAMES

__all__ = ["Kind", "label_names", "label_value"]

_FIRST = 2  # the number of C2, with which LEVEL_NAMES begins


class Kind(IntEnum):
    """What a voxel holds; multiplied by 100 it is the first part of its label."""

    NOTHING = 0
    BODY = 1
    DISC = 2
    CANAL = 3
    CORD = 4
    POSTERIOR = 5
    LESION = 6
    MASS = 7


_WORDS = {
    Kind.BODY: "vertebral body",
    Kind.DISC: "disc below",
    Kind.CANAL: "thecal sac without cord, behind",
    Kind.CORD: "spinal cord behind",
    Kind.POSTERIOR: "posterior elements",
    Kind.LESION: "changed marrow of the lesion in",
    Kind.MASS: "mass outside the body of",
}


def label_value(kind: Kind, level: str) -> int:
    """Label of a structure: 100 times its kind, plus the level's number (C1 is 1, T1 8, L1 20, S1 25).

    Parameters
    ----------
    kind : Kind
    level : str

    Returns
    -------
    int
        0 for :attr:`Kind.NOTHING`.
    """
    return 100 * kind + LEVEL_NAMES.index(level) + _FIRST if kind else 0


def label_names() -> dict[int, str]:
    """Every label that may occur, and its meaning.

    Returns
    -------
    dict of int to str
        In increasing order; 0 is background.
    """
    return {0: "background"} | {
        label_value(kind, level): f"{words} {level}" for kind, words in _WORDS.items() for level in LEVEL_NAMES
    }

"""The order in which cases are read, and the arm of each: derived from the seed alone, so that nothing is stored.

A case's position depends on the seed, the reader, the session and the case, never on the other readers. Cases added
later come after all earlier ones, so that nothing that has been read ever moves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from spinefx.reader_study.design import DesignKind
from spinefx.vocabulary import Arm

__all__ = ["arms_of", "perturbed_cases", "reading_order"]

# Latin square: rows are halves of the cases, columns are sessions. Each half is read once in each arm, and each session
# has both arms.
SQUARE = ((Arm.UNAIDED, Arm.AIDED), (Arm.AIDED, Arm.UNAIDED))
Generations = Iterable[tuple[str, ...]]


def reading_order(seed: int, reader: str, session: int, generations: Generations) -> tuple[str, ...]:
    """Return one reader's order of cases in one session.

    Parameters
    ----------
    seed : int
    reader : str
    session : int
        From 1.
    generations : iterable of tuple of str
        Cases in the order in which they joined the study: those of the start, then each addition.

    Returns
    -------
    tuple of str
        Every order of a generation is equally likely.
    """
    return tuple(case for cases in generations for case in _sorted(cases, str(seed), "order", reader, str(session)))


def arms_of(kind: DesignKind, seed: int, reader: str, generations: Generations) -> dict[str, tuple[Arm, ...]]:
    """Return the arm in which a reader reads each case, by session.

    Parameters
    ----------
    kind : DesignKind
    seed : int
    reader : str
    generations : iterable of tuple of str

    Returns
    -------
    dict of str to tuple of Arm
        In a crossover, half of each generation is read without the model first and the other half with it; the halves
        are drawn for each reader. A second read is an aided reading whose first answer is the unaided one.
    """
    alone = (Arm.UNAIDED if kind is DesignKind.UNAIDED else Arm.AIDED,)
    rows: tuple[tuple[Arm, ...], ...] = SQUARE if kind is DesignKind.CROSSOVER else (alone, alone)
    given: dict[str, tuple[Arm, ...]] = {}
    for number, cases in enumerate(generations):
        words = (str(seed), "half", reader, str(number))
        start = _rank(*words) % 2
        for place, case in enumerate(_sorted(cases, *words)):
            given[case] = rows[(place + start) % 2]
    return given


def perturbed_cases(seed: int, reader: str, generations: Generations, share: float) -> frozenset[str]:
    """Return the cases in which one reader sees the model's answer flipped.

    Parameters
    ----------
    seed : int
    reader : str
    generations : iterable of tuple of str
    share : float
        0 to 0.5.

    Returns
    -------
    frozenset of str
        The rounded share of each generation.
    """
    chosen: set[str] = set()
    for number, cases in enumerate(generations):
        chosen.update(_sorted(cases, str(seed), "perturbed", reader, str(number))[: round(share * len(cases))])
    return frozenset(chosen)


def _sorted(cases: tuple[str, ...], *words: str) -> list[str]:
    return sorted(cases, key=lambda case: (_rank(*words, case), case))


def _rank(*words: str) -> int:
    """Return a number that looks random: part of the words' digest."""
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:12], "big")

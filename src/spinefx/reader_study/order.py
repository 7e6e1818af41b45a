"""Who reads which case when, and which arm it belongs to: drawn from the seed alone, and drawn again at any time.

A case's place depends on the seed, the reader, the session and the case, never on who else reads. Cases that are added
later come after all earlier ones, so that nothing that was read ever moves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from spinefx.reader_study.design import DesignKind
from spinefx.vocabulary import Arm

__all__ = ["arms_of", "perturbed_cases", "reading_order"]

# Latin square: rows are halves of the cases, columns are sessions. Each half meets each arm once, each session both.
SQUARE = ((Arm.UNAIDED, Arm.AIDED), (Arm.AIDED, Arm.UNAIDED))
Generations = Iterable[tuple[str, ...]]


def reading_order(seed: int, reader: str, session: int, generations: Generations) -> tuple[str, ...]:
    """Order one reader's cases in one session.

    Parameters
    ----------
    seed : int
    reader : str
    session : int
        From 1.
    generations : iterable of tuple of str
        Cases as they came into the study: first all at the start, then those added.

    Returns
    -------
    tuple of str
        Every order of a generation is as likely as any other.
    """
    return tuple(case for cases in generations for case in _sorted(cases, str(seed), "order", reader, str(session)))


def arms_of(kind: DesignKind, seed: int, reader: str, generations: Generations) -> dict[str, tuple[Arm, ...]]:
    """Give each case the arm in which a reader reads it, by session.

    Parameters
    ----------
    kind : DesignKind
    seed : int
    reader : str
    generations : iterable of tuple of str

    Returns
    -------
    dict of str to tuple of Arm
        For a crossover half of each generation is read without the model first, the other half with it; which half a
        case is in is the reader's own draw. A second read is an aided reading whose first answer is the unaided one.
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
    """Choose the cases whose model answer one reader sees turned round.

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
        Of each generation the share, rounded.
    """
    chosen: set[str] = set()
    for number, cases in enumerate(generations):
        chosen.update(_sorted(cases, str(seed), "perturbed", reader, str(number))[: round(share * len(cases))])
    return frozenset(chosen)


def _sorted(cases: tuple[str, ...], *words: str) -> list[str]:
    return sorted(cases, key=lambda case: (_rank(*words, case), case))


def _rank(*words: str) -> int:
    """A number that looks drawn: the words' digest."""
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:12], "big")

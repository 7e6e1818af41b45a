"""What the localiser tells apart, and how the codes of a label map become these classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinefx.errors import InputError

__all__ = ["CLASS_WEIGHTS", "VERTEBRAL", "CodeTable", "TissueClass"]


class TissueClass(IntEnum):
    """The structures that the network distinguishes."""

    BACKGROUND = 0
    BODY = 1
    S1 = 2
    SACRUM = 3
    DISC = 4
    CANAL = 5
    POSTERIOR = 6
    C2 = 7


VERTEBRAL = (TissueClass.BODY, TissueClass.S1, TissueClass.C2)
"""Classes whose pixels vote for the centre of a vertebra: any body down to S1."""

CLASS_WEIGHTS = tuple(
    {TissueClass.BACKGROUND: 0.3, TissueClass.S1: 2.5, TissueClass.SACRUM: 1.5, TissueClass.C2: 2.5}.get(one, 1.0)
    for one in TissueClass
)
"""Weight of every class in teaching: what is rare and decides the names counts more than what fills the picture.

The network's probabilities are in proportion to these weights; the masks divide by them again.
"""

_ANCHORS = {"S1": TissueClass.S1, "C2": TissueClass.C2}
_SACRAL = ("S2", "S3", "S4", "S5")


@dataclass(frozen=True)
class CodeTable:
    """Which codes of a label map stand for which structure.

    Parameters
    ----------
    bodies : mapping of int to str
        Level of every code of a vertebral body, S1 to S5 among them.
    structures : mapping of int to TissueClass
        Class of every other code. Codes that neither mapping names are background.
    ignored : frozenset of int
        Codes whose true class is unknown; training does not look at them.

    Raises
    ------
    InputError
        For a code with two meanings, or one below 1.
    """

    bodies: Mapping[int, str]
    structures: Mapping[int, TissueClass]
    ignored: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        codes = [*self.bodies, *self.structures, *self.ignored]
        if len(codes) != len(set(codes)) or min(codes, default=1) < 1:
            raise InputError("a table of label codes in which a code has two meanings or is below 1")

    @property
    def levels(self) -> tuple[str, ...]:
        """Return the levels that have bodies, in the order in which :meth:`levels_of` numbers them from 1."""
        return tuple(dict.fromkeys(self.bodies.values()))

    def classes_of(self, labels: ArrayLike) -> NDArray[np.int8]:
        """Return the class of every voxel.

        Parameters
        ----------
        labels : array_like of int
            Codes of a label map.

        Returns
        -------
        ndarray of int8
            Values of :class:`TissueClass`; -1 where the true class is unknown.
        """
        lookup = {code: _body_class(level) for code, level in self.bodies.items()}
        return self._translate(labels, lookup | dict(self.structures) | dict.fromkeys(self.ignored, -1))

    def levels_of(self, labels: ArrayLike) -> NDArray[np.int8]:
        """Return which vertebral body every voxel belongs to.

        Parameters
        ----------
        labels : array_like of int
            Codes of a label map.

        Returns
        -------
        ndarray of int8
            1 plus the index in :attr:`levels`; 0 outside the bodies.
        """
        numbers = {level: number for number, level in enumerate(self.levels, start=1)}
        return self._translate(labels, {code: numbers[level] for code, level in self.bodies.items()})

    @staticmethod
    def _translate(labels: ArrayLike, lookup: Mapping[int, int]) -> NDArray[np.int8]:
        codes = np.asarray(labels).astype(np.int64)
        values, places = np.unique(codes, return_inverse=True)
        table = np.array([lookup.get(int(value), 0) for value in values], np.int8)
        return table[places].reshape(codes.shape)


def _body_class(level: str) -> int:
    return TissueClass.SACRUM if level in _SACRAL else _ANCHORS.get(level, TissueClass.BODY)

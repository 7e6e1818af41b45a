"""Whether a box holds a vertebra in its middle: learned from a cohort's boxes, and from the same boxes moved away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.patch import Jitter, PatchStack
from spinefx.errors import PatchError

__all__ = ["FALSE_REFUSALS", "FEWEST", "BoxViews", "Placement"]

# With fewer participants a limit would be their chance.
FEWEST = 10
# Share of boxes as a second reader would draw them that may be refused. The limit is set on held-out participants.
FALSE_REFUSALS = 0.03
PARTS = 10
# Of a view: in sides of the box, for what lies round a vertebra tells its place as much as what is in it. Means over
# 8 x 8 blocks know where bone, canal and soft tissue lie, and little of the disease.
VIEW, BLOCKS, SAMPLES = 1.5, 8, 2
# How far two readers' boxes round one vertebra differ: standard deviations of the place, and of the side's logarithm.
MARKING_MM, MARKING_SIDE = 2.0, 0.05
# How far a box that misses is moved, in sides; from a quarter on its middle leaves the vertebra.
MISS = (0.25, 1.0)
MARKINGS, MISSES = 4, 8
# The penalty, in mean variances of a feature.
RIDGE = 2.0
SEED = 19360930


@dataclass(frozen=True, eq=False)
class BoxViews:
    """What is seen round a marked vertebra: through its box, through that box drawn again, and through boxes that miss.

    Parameters
    ----------
    case_id, participant_id : str
    marked : ndarray of float64, shape (features,)
    again : ndarray of float64, shape (up to MARKINGS, features)
    missed : ndarray of float64, shape (up to MISSES, features)
    """

    case_id: str
    participant_id: str
    marked: NDArray[np.float64]
    again: NDArray[np.float64]
    missed: NDArray[np.float64]

    @classmethod
    def of(cls, stack: PatchStack) -> BoxViews | None:
        """Look at the middle lesion slice of a case.

        Parameters
        ----------
        stack : PatchStack
            Its box was drawn by somebody who knew the vertebra.

        Returns
        -------
        BoxViews or None
            None where a channel holds one grey level only. The same for the same stack.
        """
        # Each case its own draws, whatever other cases there are.
        rng = np.random.default_rng([SEED, *stack.case_id.encode()])
        marked = list(_views(stack, [Jitter()]))
        again = list(_views(stack, [_drawn_again(rng, stack.side_mm) for _ in range(MARKINGS)]))
        missed = list(_views(stack, [_missing(rng) for _ in range(MISSES)]))
        if not (marked and again and missed):
            return None
        return cls(stack.case_id, stack.participant_id, marked[0], np.stack(again), np.stack(missed))


@dataclass(frozen=True, eq=False)
class _Discriminant:
    """A linear rule: near 1 for boxes on a vertebra, near -1 for boxes that miss."""

    mean: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, views: Sequence[BoxViews]) -> _Discriminant:
        """Fit by ridge regression, where both kinds count alike."""
        boxes = np.concatenate([np.vstack([one.marked, one.again]) for one in views])
        missed = np.concatenate([one.missed for one in views])
        rows = np.concatenate([boxes, missed])
        kinds = np.concatenate([np.ones(len(boxes)), -np.ones(len(missed))])
        shares = np.where(kinds > 0, 0.5 / len(boxes), 0.5 / len(missed))
        mean = shares @ rows
        centred = rows - mean
        covariance = (centred * shares[:, None]).T @ centred
        penalty = RIDGE * np.trace(covariance) / len(mean)
        towards = centred.T @ (shares * kinds)
        return cls(mean, np.linalg.solve(covariance + penalty * np.eye(len(mean)), towards))

    def scores(self, views: NDArray[np.float64]) -> NDArray[np.float64]:
        scores: NDArray[np.float64] = (views - self.mean) @ self.weights
        return scores


@dataclass(frozen=True, eq=False)
class Placement:
    """How a box lies among those of a cohort.

    Parameters
    ----------
    whole : _Discriminant
        Of all participants.
    parts : tuple of _Discriminant
        Each of those outside one part.
    part_of : mapping of str to int
        By participant.
    limit : float
        A score below it is a box that misses.
    own : mapping of str to float
        Score of each case's box as marked, by the rule that had not seen its participant.

    Notes
    -----
    The limit is a cross-conformal one (Vovk V. Ann Math Artif Intell 2015;74:9): in :data:`FALSE_REFUSALS` of cases
    like the cohort's, the box of somebody who differs from its readers by :data:`MARKING_MM` falls below.
    """

    whole: _Discriminant
    parts: tuple[_Discriminant, ...]
    part_of: Mapping[str, int]
    limit: float
    own: Mapping[str, float]

    @classmethod
    def of(cls, views: Sequence[BoxViews], fewest: int = FEWEST) -> Placement | None:
        """Learn from the boxes of a cohort.

        Parameters
        ----------
        views : sequence of BoxViews
            Of one patch setting.
        fewest : int
            Participants, at least two.

        Returns
        -------
        Placement or None
            None with fewer participants.
        """
        participants = sorted({one.participant_id for one in views})
        if len(participants) < fewest:
            return None
        part_of = {participant: number % PARTS for number, participant in enumerate(participants)}
        parts = tuple(
            _Discriminant.of([one for one in views if part_of[one.participant_id] != part]) for part in range(PARTS)
        )
        rules = [(one, parts[part_of[one.participant_id]]) for one in views]
        again = np.sort(np.concatenate([rule.scores(one.again) for one, rule in rules]))
        place = max(1, int(FALSE_REFUSALS * (len(again) + 1)))
        own = {one.case_id: float(rule.scores(one.marked)) for one, rule in rules}
        return cls(_Discriminant.of(views), parts, part_of, float(again[place - 1]), own)

    def score(self, stack: PatchStack, participant_id: str | None = None) -> float:
        """Say how far a box is like those of the cohort, and not like those that miss.

        Parameters
        ----------
        stack : PatchStack
        participant_id : str, optional
            Whose it is: somebody of the cohort is judged by the rule that has not seen them.

        Returns
        -------
        float
            About 1 for a box on a vertebra, about -1 for one that misses.

        Raises
        ------
        PatchError
            When a channel holds one grey level only.
        """
        part = None if participant_id is None else self.part_of.get(participant_id)
        rule = self.whole if part is None else self.parts[part]
        return float(rule.scores(_view(stack, Jitter())))


def _drawn_again(rng: np.random.Generator, side_mm: float) -> Jitter:
    row, column = rng.normal(0, MARKING_MM / side_mm, 2)
    return Jitter(float(row), float(column), float(np.exp(rng.normal(0, MARKING_SIDE))))


def _missing(rng: np.random.Generator) -> Jitter:
    """Beyond what a stack holds its edge is repeated: that is no vertebra either."""
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(*MISS)
    scale = float(np.exp(rng.normal(0, MARKING_SIDE)))
    return Jitter(float(distance * np.sin(angle)), float(distance * np.cos(angle)), scale)


def _views(stack: PatchStack, jitters: Sequence[Jitter]) -> Iterator[NDArray[np.float64]]:
    for jitter in jitters:
        try:
            yield _view(stack, jitter)
        except PatchError:
            continue  # nothing but edge: no box would lie there


def _view(stack: PatchStack, jitter: Jitter) -> NDArray[np.float64]:
    wide = Jitter(jitter.shift_row, jitter.shift_column, VIEW * jitter.scale)
    seen = stack.cut(len(stack.slices) // 2, wide, size=BLOCKS * SAMPLES).array
    blocks = seen.reshape(len(seen), BLOCKS, SAMPLES, BLOCKS, SAMPLES).astype(np.float64)
    features: NDArray[np.float64] = blocks.mean(axis=(2, 4)).ravel()
    return features

"""Check that a box holds a vertebra at its centre, by a rule learned from a cohort's boxes and shifted copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.patch import Jitter, PatchStack
from spinefx.errors import PatchError

__all__ = ["BLOCKS", "FALSE_REFUSALS", "FEWEST", "BoxPlace", "BoxViews", "Discriminant", "Placement", "box_view"]

# With fewer participants the limit would be a matter of chance.
FEWEST = 10
# Accepted share of false refusals among boxes as a second reader would draw them; set on held-out participants.
FALSE_REFUSALS = 0.03
PARTS = 10
# Size of a view, in sides of the box: the surroundings of a vertebra show its position as well as its inside does.
# Means over 8 x 8 blocks reflect where bone, canal and soft tissue lie, and little of the disease.
VIEW, BLOCKS, SAMPLES = 1.5, 8, 2
# Difference between two readers' boxes: standard deviations of the position, and of the logarithm of the side.
MARKING_MM, MARKING_SIDE = 2.0, 0.05
# Shift of a box that misses, in sides; from a quarter on, its centre leaves the vertebra.
MISS = (0.25, 1.0)
MARKINGS, MISSES = 4, 8
# Ridge penalty, in mean variances of a feature.
RIDGE = 2.0
SEED = 19360930


@dataclass(frozen=True)
class BoxPlace:
    """Where a box lies among the vertebrae that were found in its series.

    Parameters
    ----------
    on_vertebra : bool
        Whether its centre lies on one of them.
    sentence : str
        The same in words, for the user.
    """

    on_vertebra: bool
    sentence: str


@dataclass(frozen=True, eq=False)
class BoxViews:
    """Views around a marked vertebra: through its box, through redrawn boxes, and through boxes that miss.

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
        """Return the views of the middle lesion slice of a case.

        Parameters
        ----------
        stack : PatchStack
            Its box is assumed to be right.

        Returns
        -------
        BoxViews or None
            None where a channel is constant. The same stack always has the same views.
        """
        # Each case has random draws of its own, independent of other cases.
        rng = np.random.default_rng([SEED, *stack.case_id.encode()])
        marked = list(_views(stack, [Jitter()]))
        again = list(_views(stack, [_drawn_again(rng, stack.side_mm) for _ in range(MARKINGS)]))
        missed = list(_views(stack, [_missing(rng) for _ in range(MISSES)]))
        if not (marked and again and missed):
            return None
        return cls(stack.case_id, stack.participant_id, marked[0], np.stack(again), np.stack(missed))


@dataclass(frozen=True, eq=False)
class Discriminant:
    """A linear rule: about 1 for boxes on a vertebra, about -1 for boxes that miss.

    Parameters
    ----------
    mean, weights : ndarray of float64, shape (features,)
    """

    mean: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, views: Sequence[BoxViews]) -> Discriminant:
        """Fit the rule by ridge regression, with equal weight for both kinds.

        Parameters
        ----------
        views : sequence of BoxViews

        Returns
        -------
        Discriminant
        """
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
        """Return the scores of views.

        Parameters
        ----------
        views : ndarray of float64, shape (..., features)

        Returns
        -------
        ndarray of float64, shape (...)
        """
        scores: NDArray[np.float64] = (views - self.mean) @ self.weights
        return scores


@dataclass(frozen=True, eq=False)
class Placement:
    """The rule that separates boxes on a vertebra from boxes that miss, learned on a cohort.

    Parameters
    ----------
    whole : Discriminant
        Rule of all participants.
    parts : tuple of Discriminant
        Rules of all participants outside each part.
    part_of : mapping of str to int
        Part of each participant.
    limit : float
        A box with a lower score misses.
    own : mapping of str to float
        Score of each marked box, by the rule that was not learned from its participant.

    Notes
    -----
    The limit is cross-conformal (Vovk V. Ann Math Artif Intell 2015;74:9): in :data:`FALSE_REFUSALS` of cases like
    those of the cohort, the box of a reader who differs from its readers by :data:`MARKING_MM` scores below it.
    """

    whole: Discriminant
    parts: tuple[Discriminant, ...]
    part_of: Mapping[str, int]
    limit: float
    own: Mapping[str, float]

    @classmethod
    def of(cls, views: Sequence[BoxViews], fewest: int = FEWEST) -> Placement | None:
        """Learn the rule from the boxes of a cohort.

        Parameters
        ----------
        views : sequence of BoxViews
            Views of one patch setting.
        fewest : int
            Minimum number of participants, at least two.

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
            Discriminant.of([one for one in views if part_of[one.participant_id] != part]) for part in range(PARTS)
        )
        rules = [(one, parts[part_of[one.participant_id]]) for one in views]
        again = np.sort(np.concatenate([rule.scores(one.again) for one, rule in rules]))
        place = max(1, int(FALSE_REFUSALS * (len(again) + 1)))
        own = {one.case_id: float(rule.scores(one.marked)) for one, rule in rules}
        return cls(Discriminant.of(views), parts, part_of, float(again[place - 1]), own)

    def score(self, stack: PatchStack, participant_id: str | None = None) -> float:
        """Return how much a box resembles those on a vertebra rather than those that miss.

        Parameters
        ----------
        stack : PatchStack
        participant_id : str, optional
            The participant, if it is one: they are judged by the rule that was not learned from them.

        Returns
        -------
        float
            About 1 for a box on a vertebra, about -1 for one that misses.

        Raises
        ------
        PatchError
            When a channel is constant.
        """
        part = None if participant_id is None else self.part_of.get(participant_id)
        rule = self.whole if part is None else self.parts[part]
        return float(rule.scores(box_view(stack)))


def _drawn_again(rng: np.random.Generator, side_mm: float) -> Jitter:
    row, column = rng.normal(0, MARKING_MM / side_mm, 2)
    return Jitter(float(row), float(column), float(np.exp(rng.normal(0, MARKING_SIDE))))


def _missing(rng: np.random.Generator) -> Jitter:
    """Draw a shift that misses. Beyond a stack its edge is repeated, which is no vertebra either."""
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(*MISS)
    scale = float(np.exp(rng.normal(0, MARKING_SIDE)))
    return Jitter(float(distance * np.sin(angle)), float(distance * np.cos(angle)), scale)


def _views(stack: PatchStack, jitters: Sequence[Jitter]) -> Iterator[NDArray[np.float64]]:
    for jitter in jitters:
        try:
            yield box_view(stack, jitter)
        except PatchError:
            continue  # only edge: no box would lie there


def box_view(stack: PatchStack, jitter: Jitter | None = None) -> NDArray[np.float64]:
    """Return the view through a box on the middle lesion slice: means over blocks of it and its surroundings.

    Parameters
    ----------
    stack : PatchStack
    jitter : Jitter, optional
        None changes nothing.

    Returns
    -------
    ndarray of float64, shape (channels * BLOCKS * BLOCKS,)

    Raises
    ------
    PatchError
        When a channel is constant.
    """
    jitter = jitter or Jitter()
    wide = Jitter(jitter.shift_row, jitter.shift_column, VIEW * jitter.scale)
    seen = stack.cut(len(stack.slices) // 2, wide, size=BLOCKS * SAMPLES).array
    blocks = seen.reshape(len(seen), BLOCKS, SAMPLES, BLOCKS, SAMPLES).astype(np.float64)
    features: NDArray[np.float64] = blocks.mean(axis=(2, 4)).ravel()
    return features

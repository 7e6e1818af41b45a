"""What a model's training cases looked like, and which inputs are refused because they look like none of them.

Every door asks :func:`spinefx.learning.scoring.score`, and that asks these guards, so that a command, a table of many
studies, a Python program and a page refuse the same inputs with the same words. Training writes the guards into the
model's card: limits, and means over all training cases, from which no case can be recovered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.patch import PatchSettings, PatchStack
from spinefx.errors import MissedVertebraError, PatchError, UnlikeTrainingError
from spinefx.learning.box_check import BLOCKS, FALSE_REFUSALS, FEWEST, BoxPlace, BoxViews, Placement, box_view
from spinefx.learning.measures import LENGTHS, PIXEL, TIMES, patch_measures
from spinefx.vocabulary import MARKED

__all__ = [
    "CLEARLY_PLACED",
    "FEWEST_CASES",
    "HARD_FACTOR",
    "LEAST_LIKENESS",
    "LIKENESS",
    "MORE_IS_BETTER",
    "PLACEMENT",
    "TYPICAL",
    "BoxRule",
    "Guards",
    "TrainingRange",
    "TypicalView",
    "view_likeness",
]

# With fewer training cases a range would be a matter of chance.
FEWEST_CASES = 5
# Quantiles of the training cases that a range spans, and the factor beyond their extremes at which an input is refused.
QUANTILES = (0.01, 0.99)
HARD_FACTOR = 2.0
# Pixels may be coarser still, with a flag, as low-cost scans have them: within this factor a body keeps ten of them.
COARSEST_PIXEL_FACTOR = 5.0
# Below this share of the least likeness among the training cases, a box shows something other than they do.
LEAST_LIKENESS = 0.75
# Headers round their values; a value this close to a range lies in it.
ROUNDING = 1e-3
# Significant digits of stored numbers: the same on every machine, and far finer than any limit.
DIGITS = 6
PLACEMENT = "placement of the box on the vertebra"
# From this placement on, a box is taken to lie on a vertebra without looking for the vertebrae of the series.
CLEARLY_PLACED = 0.5
LIKENESS = "likeness to the nearest case"
TYPICAL = "likeness to the typical training case"
# Measures of which only low values are unusual.
MORE_IS_BETTER = {PLACEMENT, TYPICAL, LIKENESS}
UNLIKE = "Use images acquired like those of the training cases, or a model trained on images like these."
CENTRE_THE_BOX = "Centre the box on the vertebral body and try again."
OLD_MODEL = "the model does not record what its training cases looked like"
OLD_MODEL_REMEDY = "Train it again with this version of spinefx to have its input checked."


@dataclass(frozen=True)
class TrainingRange:
    """The values of one measure among the training cases.

    Parameters
    ----------
    cases : int
    least, low, high, most : float
        Minimum, 1st and 99th percentile, and maximum.
    """

    cases: int
    least: float
    low: float
    high: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> TrainingRange:
        """Return the range of some values.

        Parameters
        ----------
        values : sequence of float, length 1 or more

        Returns
        -------
        TrainingRange
        """
        low, high = np.quantile(values, QUANTILES)
        return cls(len(values), *_rounded([min(values), float(low), float(high), max(values)]))

    def holds(self, value: float, name: str = "", *, widest: bool = False) -> bool:
        """Return whether a value is usual.

        Parameters
        ----------
        value : float
        name : str
            Of the measure: of some, only low values are unusual, and of pixels only high ones.
        widest : bool
            Compare with the extremes instead of the percentiles.

        Returns
        -------
        bool
        """
        low, high = (self.least, self.most) if widest else (self.low, self.high)
        slack = ROUNDING * max(abs(low), abs(high))
        enough = name.endswith(PIXEL) or low - slack <= value
        return enough and (name in MORE_IS_BETTER or value <= high + slack)


@dataclass(frozen=True)
class BoxRule:
    """The rule that separates boxes on a vertebra from boxes that miss it, as :class:`Placement` learned it.

    Parameters
    ----------
    mean, weights : tuple of float
        Of the features of a view; the rule is linear.
    limit : float
        A box with a lower score misses.
    """

    mean: tuple[float, ...]
    weights: tuple[float, ...]
    limit: float

    def score(self, view: NDArray[np.float64]) -> float:
        """Return about 1 for a view through a box on a vertebra, about -1 for one that misses.

        Parameters
        ----------
        view : ndarray of float64, shape (features,)

        Returns
        -------
        float
        """
        return float((view - np.array(self.mean)) @ np.array(self.weights))


@dataclass(frozen=True)
class TypicalView:
    """The mean view of the training cases, and how like it a box must look.

    Parameters
    ----------
    view : tuple of float
        Means over blocks of the box and its surroundings, channel by channel.
    limit : float
        A box of less likeness shows something else.
    """

    view: tuple[float, ...]
    limit: float


@dataclass(frozen=True)
class Guards:
    """What the training cases of a model looked like.

    Parameters
    ----------
    ranges : mapping of str to TrainingRange
        By the name of the measure.
    placement : BoxRule or None
    typical : TypicalView or None
        None where fewer than :data:`spinefx.learning.box_check.FEWEST` participants had usable views.
    """

    ranges: Mapping[str, TrainingRange] = field(default_factory=dict)
    placement: BoxRule | None = None
    typical: TypicalView | None = None

    @classmethod
    def of(cls, measures: Sequence[Mapping[str, float]], views: Sequence[BoxViews]) -> Guards:
        """Learn the guards from the training cases.

        Parameters
        ----------
        measures : sequence of mapping of str to float
            One for each case, see the functions of :mod:`spinefx.learning.measures`; what is unknown is left out.
        views : sequence of BoxViews
            Of the cases whose box can be viewed.

        Returns
        -------
        Guards
        """
        names = dict.fromkeys(name for one in measures for name in one)
        found = {name: [one[name] for one in measures if name in one] for name in names}
        rule, typical = Placement.of(views), None
        if rule is not None:
            found[PLACEMENT] = list(rule.own.values())
            shown = [(one.participant_id, one.marked) for one in views]
            alike = [_likeness_to_others(shown, place) for place in range(len(shown))]
            found[TYPICAL] = alike
            limit = min(alike) - (1 - LEAST_LIKENESS) * abs(min(alike))
            mean = np.mean([view for _, view in shown], axis=0)
            typical = TypicalView(tuple(_rounded(mean)), _rounded([limit])[0])
        return cls(
            {name: TrainingRange.of(values) for name, values in found.items() if len(values) >= FEWEST_CASES},
            None
            if rule is None
            else BoxRule(
                tuple(_rounded(rule.whole.mean)), tuple(_rounded(rule.whole.weights)), _rounded([rule.limit])[0]
            ),
            typical,
        )

    @classmethod
    def of_stacks(cls, stacks: Sequence[PatchStack], measures: Mapping[str, Mapping[str, float]]) -> Guards:
        """Learn the guards from the patches of the training cases.

        Parameters
        ----------
        stacks : sequence of PatchStack
        measures : mapping of str to mapping of str to float
            Measures of the images by case, see :func:`spinefx.learning.measures.image_measures`; may be empty.

        Returns
        -------
        Guards
        """
        every, views = [], []
        for stack in stacks:
            known = dict(measures.get(stack.case_id, {}))
            try:
                known |= patch_measures(stack, stack.cut(len(stack.slices) // 2).array)
            except PatchError:
                every.append(known)
                continue
            every.append(known)
            seen = BoxViews.of(stack)
            views += [] if seen is None else [seen]
        return cls.of(every, views)

    def measure(self, stack: PatchStack) -> dict[str, float]:
        """Return the measures of a box and of its patches.

        Parameters
        ----------
        stack : PatchStack

        Returns
        -------
        dict of str to float

        Raises
        ------
        PatchError
            When a channel is constant.
        """
        measures = patch_measures(stack, stack.cut(len(stack.slices) // 2).array)
        if self.placement is not None and self.typical is not None:
            view = box_view(stack)
            measures[PLACEMENT] = self.placement.score(view)
            measures[TYPICAL] = view_likeness(view, np.array(self.typical.view))
        return measures

    def typical_marked(self, settings: PatchSettings) -> NDArray[np.float64] | None:
        """Return the T2W channels of the typical training case.

        Parameters
        ----------
        settings : PatchSettings
            Of the model.

        Returns
        -------
        ndarray of float64, shape (features,), or None
            None where it is not known.
        """
        if self.typical is None:
            return None
        first = settings.sequences.index(MARKED) * settings.slices_each
        rows = np.reshape(self.typical.view, (-1, BLOCKS * BLOCKS))[first : first + settings.slices_each]
        return np.asarray(rows.ravel(), np.float64)

    def refuse(self, measures: Mapping[str, float], place: BoxPlace | None = None) -> None:
        """Refuse an input that is far from every training case.

        Parameters
        ----------
        measures : mapping of str to float
        place : BoxPlace, optional
            Where the box lies among the vertebrae that were found. It decides whether the box is on one of them; the
            rule that was learned from the training cases decides where nothing could be said.

        Raises
        ------
        UnlikeTrainingError
            For a length or a time below half the minimum or above twice the maximum of the training cases, and for a
            box whose content resembles none of them. Pixels may be finer, because patches are smoothed down to their
            own, and up to five times as coarse.
        MissedVertebraError
            For a box on none of the vertebrae that were found, or, where that is not known, for one that resembles
            boxes moved off their vertebra more than those on it.
        """
        for name, value in measures.items():
            known = self.ranges.get(name)
            if known is None or not name.endswith((LENGTHS, TIMES)):
                continue
            low, high = known.least / HARD_FACTOR, known.most * HARD_FACTOR
            if name.endswith(PIXEL):
                low, high = 0.0, known.most * COARSEST_PIXEL_FACTOR
            if not low <= value <= high:
                raise UnlikeTrainingError(
                    f"{name}: {value:.3g}",
                    allowed=f"{low:.3g} to {high:.3g}, from the {known.cases} training cases",
                    remedy=UNLIKE,
                )
        if place is not None and not place.on_vertebra:
            raise MissedVertebraError(place.sentence, remedy=CENTRE_THE_BOX)
        if place is None and self.placement is not None and self.misses(measures):
            raise MissedVertebraError(
                f"{PLACEMENT}: {measures[PLACEMENT]:.2f}, on a scale from 1 (on a vertebra) to -1 (missing it)",
                allowed=f"{self.placement.limit:.2f} or more, as for {100 * (1 - FALSE_REFUSALS):.0f}% of good boxes",
                remedy=f"{CENTRE_THE_BOX} If the box is right, the images differ from those of the training cases.",
            )
        alike = measures.get(TYPICAL)
        if self.typical is not None and alike is not None and alike < self.typical.limit:
            raise UnlikeTrainingError(
                f"{TYPICAL}: {alike:.2f}",
                allowed=f"{self.typical.limit:.2f} or more",
                remedy="Check that the box fits the vertebra, and that each series is what it is taken for.",
            )

    def misses(self, measures: Mapping[str, float]) -> bool:
        """Return whether a box resembles boxes moved off their vertebra more than those on it.

        Parameters
        ----------
        measures : mapping of str to float

        Returns
        -------
        bool
            False where the model has no rule for it.
        """
        placed = measures.get(PLACEMENT)
        return self.placement is not None and placed is not None and placed < self.placement.limit

    def doubts(self, measures: Mapping[str, float]) -> bool:
        """Return whether to look for the vertebrae round a box: there is no rule, or it does not clearly see one.

        Parameters
        ----------
        measures : mapping of str to float

        Returns
        -------
        bool
        """
        placed = measures.get(PLACEMENT)
        return self.placement is None or placed is None or placed < CLEARLY_PLACED or self.misses(measures)

    def quality(self, measures: Mapping[str, float]) -> list[dict[str, Any]]:
        """Compare measures with those of the training cases.

        Parameters
        ----------
        measures : mapping of str to float

        Returns
        -------
        list of dict
            One per measure: what, value, range (1st to 99th percentile), cases, and state: ``in range``, ``outside``,
            or ``unknown`` where there are too few cases to compare with.
        """
        lines = []
        for name, value in measures.items():
            known = self.ranges.get(name)
            line: dict[str, Any] = {"what": name, "value": round(value, 4), "cases": 0, "state": "unknown"}
            if known is not None:
                inside = known.holds(value, name)
                line |= {"cases": known.cases, "low": round(known.low, 4), "high": round(known.high, 4)}
                line["state"] = "in range" if inside else "outside"
            lines.append(line)
        return lines

    def flags(self, measures: Mapping[str, float]) -> list[str]:
        """List the measures that no training case had.

        Parameters
        ----------
        measures : mapping of str to float

        Returns
        -------
        list of str
            One sentence each.
        """
        return [
            f"{name}: {value:.3g}, the training cases have {known.least:.3g} to {known.most:.3g}"
            for name, value in measures.items()
            if (known := self.ranges.get(name)) is not None and not known.holds(value, name, widest=True)
        ]

    def unavailable(self, measures: Mapping[str, float], place: BoxPlace | None = None) -> list[str]:
        """List the guards that could not be applied.

        Parameters
        ----------
        measures : mapping of str to float
            What was measured of the input.
        place : BoxPlace, optional
            Where the box lies among the vertebrae that were found.

        Returns
        -------
        list of str
            One sentence each, with the reason.
        """
        if not self.ranges:
            return [f"comparison with the training cases: {OLD_MODEL}. {OLD_MODEL_REMEDY}"]
        found = []
        voxels = [name for name in measures if name.endswith(LENGTHS)]
        unknown = [name for name in voxels if name not in self.ranges]
        if unknown:
            found.append(f"{', '.join(unknown)}: the model does not record the training cases' values")
        if self.placement is None:
            unknown_of_box = "looks" if place is not None else "lies on a vertebra and looks"
            found.append(
                f"whether the box {unknown_of_box} like the training cases: the model was trained on fewer than "
                f"{FEWEST} participants"
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a model's card.

        Returns
        -------
        dict
        """
        values: dict[str, Any] = {"ranges": {name: asdict(one) for name, one in self.ranges.items()}}
        for name, rule in (("placement", self.placement), ("typical", self.typical)):
            if rule is not None:
                values[name] = {key: list(one) if isinstance(one, tuple) else one for key, one in vars(rule).items()}
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Guards:
        """Read what :meth:`to_json` wrote.

        Parameters
        ----------
        values : mapping

        Returns
        -------
        Guards

        Raises
        ------
        KeyError, TypeError, ValueError
            For anything else.
        """
        placement, typical = values.get("placement"), values.get("typical")
        return cls(
            {str(name): TrainingRange(**one) for name, one in values["ranges"].items()},
            placement and BoxRule(tuple(placement["mean"]), tuple(placement["weights"]), placement["limit"]),
            typical and TypicalView(tuple(typical["view"]), typical["limit"]),
        )


def view_likeness(view: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the correlation of two views, averaged over their channels.

    Parameters
    ----------
    view, other : ndarray of float64, shape (features,)

    Returns
    -------
    float
        1 for identical views, about 0 for unrelated ones; a constant channel counts as unrelated.
    """
    one, two = (rows.reshape(-1, BLOCKS * BLOCKS) for rows in (view, other))
    one, two = (rows - rows.mean(axis=1, keepdims=True) for rows in (one, two))
    scale = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return float(np.mean(np.sum(one * two, axis=1) / np.maximum(scale, 1e-9)))


def _likeness_to_others(shown: Sequence[tuple[str, NDArray[np.float64]]], place: int) -> float:
    """Return the likeness of a training case to the mean of the other participants' cases."""
    participant, view = shown[place]
    return view_likeness(view, np.mean([other for who, other in shown if who != participant], axis=0))


def _rounded(values: Sequence[float] | NDArray[np.float64]) -> list[float]:
    return [float(f"{float(value):.{DIGITS}g}") for value in values]

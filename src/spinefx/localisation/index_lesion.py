"""The most abnormal vertebrae of a spine, ranked by shape and signal: a proposal of the index lesion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.lesion import Lesion
from spinefx.imaging.volume import Slices, Volume
from spinefx.localisation.measures import BodyMeasures, measure_bodies
from spinefx.localisation.spine import LocatedSpine
from spinefx.vocabulary import Weighting

__all__ = ["ABNORMAL_SCORE", "WEIGHTS", "LesionProposal", "abnormality", "evidence", "propose_lesions"]

WEIGHTS: Mapping[str, float] = {"height_loss": 11.0, "canal_loss": 7.0, "t1w_darker": 1.5, "t1w_darker_than_t2w": 12.0}
"""Weight of each kind of evidence: a conditional logistic regression, which of a spine's bodies is the index lesion, on
127 phantoms whose masks are the truth. The depth of the body, the unevenness of its signal, shares of changed voxels
and T2W alone added nothing."""
ABNORMAL_SCORE = 4.2
"""Score that 95% of the index lesions of those phantoms reach."""
# Evidence that is named as a reason, from this size on.
NAMED_LOSS, NAMED_SIGNAL = 0.2, 0.18


@dataclass(frozen=True)
class LesionProposal:
    """A vertebra that may be the index lesion.

    Parameters
    ----------
    rank : int
        1 for the most abnormal.
    measures : BodyMeasures
    lesion : Lesion
        Box, slices and level, as a reader would mark it; to be confirmed by one.
    score : float
        Weighted sum of the evidence; see :data:`WEIGHTS`.
    """

    rank: int
    measures: BodyMeasures
    lesion: Lesion
    score: float

    @property
    def abnormal(self) -> bool:
        """Whether the score reaches :data:`ABNORMAL_SCORE`."""
        return self.score >= ABNORMAL_SCORE

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is abnormal, in words; empty where nothing is by itself."""
        shape, found = self.measures.shape, []
        losses = {"anterior": shape.anterior_loss, "middle": shape.middle_loss, "posterior": shape.posterior_loss}
        lost = [f"{part} {loss:.0%}" for part, loss in losses.items() if loss >= NAMED_LOSS]
        if lost:
            found.append(f"height lost: {', '.join(lost)} (Genant-like grade {shape.genant})")
        if (shape.canal_loss or 0.0) >= NAMED_LOSS:
            found.append(f"canal narrower behind it ({shape.canal_loss:.0%})")
        for weighting, signal in self.measures.signals.items():
            if abs(signal.over_bodies) >= NAMED_SIGNAL:
                word = "darker" if signal.over_bodies < 0 else "brighter"
                found.append(f"{word} than its neighbours on {weighting.label} ({np.expm1(signal.over_bodies):+.0%})")
        return tuple(found)


def propose_lesions(
    classes: NDArray[np.integer], grid: Slices, spine: LocatedSpine, volumes: Mapping[Weighting, Volume]
) -> tuple[LesionProposal, ...]:
    """Rank the vertebral bodies of a spine by how abnormal they are.

    Parameters
    ----------
    classes : ndarray of int, shape (slice, row, column)
        Values of :class:`spinefx.localisation.labels.TissueClass`.
    grid : Slices
        The series that the masks lie on.
    spine : LocatedSpine
    volumes : mapping of Weighting to Volume
        T1W, T2W or both; see :func:`spinefx.localisation.measures.measure_bodies`.

    Returns
    -------
    tuple of LesionProposal
        Every body that could be measured, the most abnormal first. It is for a reader to say whether any is a lesion.

    Raises
    ------
    GeometryError
        When the masks have another shape than the grid.
    """
    measured = measure_bodies(classes, grid, spine, volumes)
    scores = abnormality(measured)
    order = sorted(range(len(measured)), key=lambda number: (-scores[number], number))
    return tuple(
        LesionProposal(
            rank,
            measured[number],
            spine.vertebrae[measured[number].position].marked_on(grid),
            round(float(scores[number]), 3),
        )
        for rank, number in enumerate(order, start=1)
    )


def abnormality(measured: Sequence[BodyMeasures]) -> NDArray[np.float64]:
    """Return how abnormal each body of a spine is.

    Parameters
    ----------
    measured : sequence of BodyMeasures
        Of one spine.

    Returns
    -------
    ndarray of float64, shape (body,)
    """
    rows = [[found[name] for name in WEIGHTS] for found in evidence(measured)]
    return np.asarray(np.array(rows).reshape(-1, len(WEIGHTS)) @ np.array(list(WEIGHTS.values())))


def evidence(measured: Sequence[BodyMeasures]) -> tuple[dict[str, float], ...]:
    """Return the evidence of abnormality of each body of a spine, by the names of :data:`WEIGHTS`.

    Parameters
    ----------
    measured : sequence of BodyMeasures
        Of one spine.

    Returns
    -------
    tuple of dict of str to float
        None of it below 0; a series that is missing contributes nothing.
    """
    return tuple(_evidence(one) for one in measured)


def _evidence(one: BodyMeasures) -> dict[str, float]:
    t1w, t2w = one.signals.get(Weighting.T1W), one.signals.get(Weighting.T2W)
    return {
        "height_loss": one.shape.height_loss,
        "canal_loss": max(one.shape.canal_loss or 0.0, 0.0),
        "t1w_darker": max(-t1w.over_bodies, 0.0) if t1w else 0.0,
        # Shading by the coil darkens both series alike; marrow that is replaced, T1W alone.
        "t1w_darker_than_t2w": max(t2w.over_bodies - t1w.over_bodies, 0.0) if t1w and t2w else 0.0,
    }

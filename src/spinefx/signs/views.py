"""What the signs are read from: the body, its surroundings, and every other vertebra of the stack.

All views are patches, sampled once from source voxels (:mod:`spinefx.cases.patch`). The body is the paper's box. The
surroundings are three boxes wide and reach two slices further to either side, where pedicles and paraspinal tissue are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.cutting import cut_patches
from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.patch import PatchSettings, PatchStack
from spinefx.errors import InputError, PatchError
from spinefx.vocabulary import MARKED

if TYPE_CHECKING:
    from spinefx.cases.alignment import AlignedSeries

__all__ = [
    "BODY",
    "OTHER_VERTEBRA",
    "SURROUNDINGS",
    "SignViews",
    "cut_other_vertebrae",
    "cut_views",
]

BODY = PatchSettings()
# Pedicles lie two slices beside the body's middle.
SURROUNDINGS = PatchSettings(margin_percent=200, size=96, reach=2)
# Wider than the box, so that the intact neighbours lend their height and their signal for comparison.
OTHER_VERTEBRA = PatchSettings(margin_percent=60)


@dataclass(frozen=True, eq=False)
class SignViews:
    """Two views of one marked vertebra.

    Parameters
    ----------
    body : PatchStack
        Cut with :data:`BODY`.
    surroundings : PatchStack
        Cut with :data:`SURROUNDINGS`.

    Raises
    ------
    PatchError
        For patches of other settings, or of two cases.
    """

    body: PatchStack
    surroundings: PatchStack

    def __post_init__(self) -> None:
        if self.body.settings != BODY or self.surroundings.settings != SURROUNDINGS:
            raise PatchError("patches that were not cut as the signs need them", where=self.body.case_id)
        if self.body.case_id != self.surroundings.case_id:
            raise PatchError("views of two cases", where=self.body.case_id)

    @property
    def case_id(self) -> str:
        """The case that both views show."""
        return self.body.case_id

    @property
    def participant_id(self) -> str:
        """The participant whose case it is."""
        return self.body.participant_id


def cut_views(lesion: Lesion, series: Sequence[AlignedSeries], *, case_id: str, participant_id: str) -> SignViews:
    """Cut both views of a marked vertebra.

    Parameters
    ----------
    lesion : Lesion
        Marked on the T2W series.
    series : sequence of AlignedSeries
        T1W and T2W.
    case_id, participant_id : str

    Returns
    -------
    SignViews

    Raises
    ------
    BoxError, PatchError, FileError, GeometryError
        As :func:`spinefx.cases.cutting.cut_patches` raises them.
    """
    names = {"case_id": case_id, "participant_id": participant_id}
    body, surroundings = (cut_patches(lesion, series, settings=one, **names) for one in (BODY, SURROUNDINGS))
    return SignViews(body, surroundings)


def cut_other_vertebrae(
    boxes: Iterable[Box], series: Sequence[AlignedSeries], settings: PatchSettings = OTHER_VERTEBRA
) -> tuple[tuple[int, ...], NDArray[np.float32]]:
    """Cut the patches of other vertebrae than the marked one.

    Parameters
    ----------
    boxes : iterable of Box
        Round vertebral bodies of the T2W series.
    series : sequence of AlignedSeries
        T1W and T2W.
    settings : PatchSettings, optional
        Wider ones for training, which crops them at random.

    Returns
    -------
    tuple of int
        Places of the boxes that every series shows whole.
    ndarray of float32, shape (box, slice, channel, size, size)
        Three slices each: through the centre, and one on either side.
    """
    marked = next(one.voxels for one in series if one.weighting is MARKED)
    places, found = [], []
    for place, box in enumerate(boxes):
        middle, row, column = marked.to_index(box.centre_mm)
        half = box.side_mm / 2 / np.array(marked.spacing_mm[1:])
        inside = half <= (row, column), (row, column) <= np.array(marked.shape[1:]) - 1 - half
        centre = min(max(round(float(middle)), 1), max(marked.shape[0] - 2, 1))
        if not np.all(inside) or marked.shape[0] < 3 or not -0.5 <= middle <= marked.shape[0] - 0.5:
            continue
        lesion = Lesion(box, centre - 1, centre + 1)
        try:
            stack = cut_patches(lesion, series, case_id="case", participant_id="case", settings=settings)
            patches = np.stack([stack.cut(position).array for position in range(len(stack.slices))])
        except InputError:
            continue  # another series does not show it; the others are read all the same
        places.append(place)
        found.append(patches)
    empty = np.zeros((0, 3, len(settings.channels), settings.size, settings.size), np.float32)
    return tuple(places), np.stack(found) if found else empty

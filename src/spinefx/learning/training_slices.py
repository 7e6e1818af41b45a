"""Which T2W slices trained a model, so that its answer on one of them is never taken for an independent one.

A card records digests of the slices that hold the training lesions. They identify an image only to somebody who has it,
and hold neither names nor pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from spinefx.cases.lesion import Lesion

if TYPE_CHECKING:
    from spinefx.imaging.volume import Slices

__all__ = ["UNKNOWN", "Familiarity", "familiarity", "familiarity_flag", "slice_digests"]

# 64 bits: among a million slices, the chance of two with the same digest is below one in ten million.
HEX_DIGITS = 16
UNKNOWN = (
    "whether the model was trained on this case: the model does not record its training slices. Cut the patches and "
    "train again with this version of spinefx, or compare the case with the experiment's folds.tsv."
)


class Familiarity(StrEnum):
    """Whether a case trained the models that answer."""

    TRAINED = "yes"
    NEW = "no"
    UNKNOWN = "not known"


def slice_digests(marked: Slices, lesion: Lesion) -> tuple[str, ...]:
    """Return a digest of each slice that holds a lesion.

    Parameters
    ----------
    marked : Slices
        The T2W series.
    lesion : Lesion
        Inside it.

    Returns
    -------
    tuple of str
        The first digits of SHA-256 over shape and voxels; slices of one value are left out, as they identify nothing.
    """
    found = []
    for image in marked.slab(lesion.first_slice, lesion.last_slice).array:
        if image.min() != image.max():
            # Adding 0 makes a negative zero, which not every file format keeps, a plain one.
            voxels = (image + 0).astype("<f4", copy=False).tobytes()
            found.append(hashlib.sha256(repr(image.shape).encode() + voxels).hexdigest()[:HEX_DIGITS])
    return tuple(found)


def familiarity(recorded: Iterable[frozenset[str] | None], shown: Sequence[str]) -> Familiarity:
    """Return whether models were trained on any of some slices.

    Parameters
    ----------
    recorded : iterable of frozenset of str, or None
        Digests of the training slices of each model; None where a model records none.
    shown : sequence of str
        Digests of the slices of the case.

    Returns
    -------
    Familiarity
    """
    known = list(recorded)
    if any(trained is not None and not trained.isdisjoint(shown) for trained in known):
        return Familiarity.TRAINED
    return Familiarity.UNKNOWN if None in known else Familiarity.NEW


def familiarity_flag(recorded: Iterable[frozenset[str] | None], shown: Sequence[str]) -> str:
    """Return the sentence that must accompany an answer on a training case.

    Parameters
    ----------
    recorded, shown
        As for :func:`familiarity`.

    Returns
    -------
    str
        Empty where no model is known to have been trained on the case.
    """
    trained = [one is not None and not one.isdisjoint(shown) for one in recorded]
    if not any(trained):
        return ""
    who = "The model was" if len(trained) == 1 else f"{sum(trained)} of {len(trained)} models were"
    return (
        f"{who} trained on this case: the probability says nothing about new patients. Use the experiment's own "
        f"prediction for it (predictions.tsv), which comes from the fold that did not train on it"
    )

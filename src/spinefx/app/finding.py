"""Found vertebrae as the pages list them: boxes to look at and accept."""

from __future__ import annotations

from spinefx.app.contracts.annotating import FoundVertebrae, LevelledLesion, OtherLesion
from spinefx.imaging.volume import Volume
from spinefx.localisation.spine import LocatedSpine

__all__ = ["found_vertebrae"]


def found_vertebrae(spine: LocatedSpine, t2w: Volume) -> FoundVertebrae:
    """Describe the vertebrae of a T2W series.

    Parameters
    ----------
    spine : LocatedSpine
    t2w : Volume
        The series that they were found in.

    Returns
    -------
    FoundVertebrae
    """
    rows = [
        OtherLesion(
            kind="model",
            by=f"localiser, {vertebra.level or f'vertebra {number} from the top'} ({vertebra.confidence:.0%})",
            lesion=LevelledLesion.of(vertebra.marked_on(t2w)),
        )
        for number, vertebra in enumerate(spine.vertebrae, start=1)
    ]
    return FoundVertebrae(rows=rows, notes=[*([spine.convention.sentence] if rows else []), *spine.notes])

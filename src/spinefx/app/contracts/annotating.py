"""The annotate page: worklist, boxes, and how well annotators agree."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from spinefx.app.contracts.base import RequestBody, ResponseBody
from spinefx.app.contracts.images import BoxShape, ImagePair, LesionExtent
from spinefx.cases.lesion import Lesion

__all__ = [
    "AgreementRow",
    "AgreementTable",
    "AnnotationCase",
    "DeleteRequest",
    "FoundVertebrae",
    "LevelledLesion",
    "OtherLesion",
    "OtherLesions",
    "SaveRequest",
    "SeriesChoice",
    "StoredLesion",
    "UnusedSeries",
    "Worklist",
    "WorklistRow",
]


class LevelledLesion(LesionExtent):
    """A lesion with its vertebral level; the level is empty where it was not counted."""

    level: str = Field(max_length=4)

    @classmethod
    def of(cls, lesion: Lesion) -> LevelledLesion:
        """Return the extent and the level of a lesion.

        Parameters
        ----------
        lesion : Lesion

        Returns
        -------
        LevelledLesion
        """
        return cls(
            box=BoxShape.of(lesion.box),
            first_slice=lesion.first_slice,
            last_slice=lesion.last_slice,
            level=lesion.level,
        )


class SaveRequest(LevelledLesion):
    """A lesion to save, and the revision that the page believes to be stored.

    Another page's change is thereby never overwritten unseen.
    """

    revision: str = Field(max_length=80)


class DeleteRequest(RequestBody):
    """The revision of the lesion to delete."""

    revision: str = Field(max_length=80)


class StoredLesion(ResponseBody):
    """A user's own lesion as it is stored.

    Parameters
    ----------
    lesion : LevelledLesion or None
        None where nothing is marked.
    revision : str
        Changes with every change of the lesion; ``none`` where nothing is marked.
    """

    lesion: LevelledLesion | None
    revision: str


class WorklistRow(ResponseBody):
    """One participant of the worklist.

    Parameters
    ----------
    participant_id : str
    status : {'open', 'marked', 'marked by others'}
    level : str
        The user's own; empty where the user has not marked or not counted.
    annotators : int
        How many people have marked this participant.
    """

    participant_id: str
    status: Literal["open", "marked", "marked by others"]
    level: str
    annotators: int


class Worklist(ResponseBody):
    """Every participant, and the vertebral levels to choose from.

    Parameters
    ----------
    levels : list of (str, bool)
        Each level, and whether it exists in a numbering variant only.
    rows : list of WorklistRow
    """

    levels: list[tuple[str, bool]]
    rows: list[WorklistRow]


class AgreementRow(ResponseBody):
    """How two annotators' boxes of one participant agree."""

    participant_id: str
    annotators: tuple[str, str]
    iou: float
    distance_mm: float
    same_slices: bool
    same_level: bool


class AgreementTable(ResponseBody):
    """Every two boxes that mark the same participant."""

    rows: list[AgreementRow]


class UnusedSeries(ResponseBody):
    """A series of the study that is not shown, and why."""

    series: str
    reason: str


class SeriesChoice(ResponseBody):
    """Why each series is shown where it is; neither names nor dates.

    Parameters
    ----------
    t2w, t1w : str
        Times of the pulse sequence, by which the series was recognised.
    refused : list of UnusedSeries
    beside : list of str
        Other kinds of image in the study, such as STIR; they tell one kind of study from another.
    """

    t2w: str
    t1w: str
    refused: list[UnusedSeries]
    beside: list[str]


class AnnotationCase(ResponseBody):
    """One participant, opened for marking."""

    pair: ImagePair
    own: StoredLesion
    about: SeriesChoice


class OtherLesion(ResponseBody):
    """A lesion that another annotator or a model has marked.

    Parameters
    ----------
    kind : {'annotator', 'model'}
    by : str
        Code of the annotator, or name of the model.
    lesion : LevelledLesion
    """

    kind: Literal["annotator", "model"]
    by: str
    lesion: LevelledLesion


class OtherLesions(ResponseBody):
    """Every lesion of one participant that the user has not marked."""

    rows: list[OtherLesion]


class FoundVertebrae(ResponseBody):
    """The vertebrae that the localiser finds in a T2W series, as boxes to look at and accept.

    Parameters
    ----------
    rows : list of OtherLesion
        Cranial to caudal.
    notes : list of str
        What the names rest on, and what a reader should know.
    """

    rows: list[OtherLesion]
    notes: list[str]

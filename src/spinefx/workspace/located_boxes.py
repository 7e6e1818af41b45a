"""How far boxes that the localiser placed lie from those that they replaced: ``annotations/located_boxes.tsv``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from spinefx.tables.rows import read_table
from spinefx.tables.writing import write_tsv
from spinefx.workspace.layout import Workspace, write_json

__all__ = ["ChosenBy", "LocatedBox", "read_located_boxes", "write_located_boxes"]

COLUMNS = ("case_id", "chosen_by", "distance_mm", "iou", "shared_slices")
MEANINGS = {
    "case_id": {"Description": "Case whose vertebra was looked for"},
    "chosen_by": {
        "Description": "How the vertebra was chosen among those found",
        "Levels": {
            "name": "its level",
            "place": "no vertebra had that name; the one that the table's box lies on, as if a person had clicked it",
            "none": "no vertebra was found there, and the table's box was kept",
        },
    },
    "distance_mm": {
        "Description": "Between the centres of both boxes, in the plane of the slices; n/a where the table's box "
        "was kept",
        "Units": "mm",
    },
    "iou": {"Description": "Intersection over union of both boxes, in the plane of the slices"},
    "shared_slices": {"Description": "Lesion slices that both have"},
}


class ChosenBy(StrEnum):
    """How a vertebra was chosen among those found."""

    NAME = "name"
    PLACE = "place"
    NONE = "none"


@dataclass(frozen=True)
class LocatedBox:
    """One row of ``located_boxes.tsv``.

    Parameters
    ----------
    case_id : str
    chosen_by : ChosenBy
        How the vertebra was chosen: by its level; by the table's box, which lies on it; or not at all.
    distance_mm : float or None
        Between the centres, in the plane of the slices; None where the box was kept.
    iou : float or None
        Intersection over union, 0 to 1.
    shared_slices : int
        Number of lesion slices that both have.
    """

    case_id: str
    chosen_by: ChosenBy = ChosenBy.NONE
    distance_mm: float | None = None
    iou: float | None = None
    shared_slices: int = 0


def read_located_boxes(workspace: Workspace) -> tuple[LocatedBox, ...]:
    """Read how far located boxes lie from those that they replaced.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    tuple of LocatedBox
        Empty where no box was replaced.

    Raises
    ------
    TableError
    """
    if not workspace.located_boxes_table.exists():
        return ()
    table = read_table(workspace.located_boxes_table, required=COLUMNS)
    return tuple(
        LocatedBox(
            row.required("case_id"),
            row.choice("chosen_by", ChosenBy, ChosenBy),
            row.number_in("distance_mm", 0, 5000),
            row.number_in("iou", 0, 1),
            row.integer_in("shared_slices", 0, 5000) or 0,
        )
        for row in table.rows
    )


def write_located_boxes(workspace: Workspace, boxes: Iterable[LocatedBox]) -> None:
    """Write ``located_boxes.tsv`` and the dictionary of its columns.

    Parameters
    ----------
    workspace : Workspace
    boxes : iterable of LocatedBox
    """
    rows = [
        (
            one.case_id,
            one.chosen_by,
            None if one.distance_mm is None else round(one.distance_mm, 3),
            None if one.iou is None else round(one.iou, 4),
            one.shared_slices,
        )
        for one in boxes
    ]
    write_tsv(workspace.located_boxes_table, COLUMNS, rows)
    write_json(workspace.located_boxes_table.with_suffix(".json"), MEANINGS)

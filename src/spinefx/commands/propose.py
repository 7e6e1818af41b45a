"""Propose a box for every participant whose level is known, and doubt boxes that lie elsewhere than their level."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial

from spinefx.cases.lesion import Lesion, box_agreement
from spinefx.errors import LevelError, SpinefxError
from spinefx.localisation.box_place import box_caution, vertebra_at
from spinefx.localisation.searching import shipped_localiser
from spinefx.processes.pool import map_items
from spinefx.vocabulary import MARKED
from spinefx.workspace.layout import Workspace
from spinefx.workspace.located_boxes import ChosenBy, LocatedBox, write_located_boxes
from spinefx.workspace.records import LesionRecord, read_lesions, write_lesions
from spinefx.workspace.volumes import read_image

__all__ = ["LOCALISER", "propose_boxes", "replace_boxes"]

LOCALISER = "spinefx-localiser"
"""Annotator of proposed boxes."""


@dataclass(frozen=True)
class _Job:
    workspace: Workspace
    participant_id: str
    level: str
    marked: Lesion | None


@dataclass(frozen=True)
class _Outcome:
    proposal: LesionRecord | None = None
    note: str = ""


def propose_boxes(
    workspace: Workspace,
    levels: Mapping[str, str],
    *,
    workers: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[str, ...]:
    """Find the vertebrae of a workspace's participants, and write boxes for those who have a level but no box.

    Parameters
    ----------
    workspace : Workspace
        Its lock is held by the caller.
    levels : mapping of str to str
        Level of each participant by the table of cases; empty where it names none.
    workers : int
        Processes.
    progress : callable, optional
        Called with the name of the step, the number done and the total.

    Returns
    -------
    tuple of str
        One line each: boxes that were proposed, levels that could not be found, and marked boxes that lie elsewhere
        than their level, or between two vertebrae.

    Notes
    -----
    Proposals go to ``annotations/proposals.tsv``. None is part of the cohort until a person accepts it on the page
    Annotate.
    """
    marked = {record.participant_id: record.lesion for record in read_lesions(workspace)}
    jobs = [
        _Job(workspace, folder.name, levels.get(folder.name, ""), marked.get(folder.name))
        for folder in workspace.participant_folders()
        if levels.get(folder.name) or folder.name in marked
    ]
    outcomes = map_items(_propose, jobs, workers=workers, progress=progress and partial(progress, "finding vertebrae"))
    notes = []
    proposals = []
    for job, outcome in zip(jobs, outcomes, strict=True):
        if isinstance(outcome, SpinefxError):
            notes.append(f"{job.participant_id}: no box is proposed: {outcome}")
        elif outcome.note:
            notes.append(f"{job.participant_id}: {outcome.note}")
        if isinstance(outcome, _Outcome) and outcome.proposal is not None:
            proposals.append(outcome.proposal)
    if proposals:
        write_lesions(workspace, proposals, proposed=True)
        notes.append(
            f"{len(proposals)} boxes are proposed in annotations/{workspace.proposals_table.name}. "
            "Look at each on the page Annotate and save it: until then it is not part of the cohort."
        )
    return tuple(notes)


def replace_boxes(
    workspace: Workspace,
    case_ids: Collection[str],
    *,
    workers: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[LocatedBox, ...]:
    """Replace marked boxes by those of the localiser, and write how far the two lie apart.

    The vertebra is chosen by the level of the marked box. Where no vertebra of the series has that name, as without the
    sacrum in the field, it is the one that the marked box lies on, as if a person had clicked it.

    Parameters
    ----------
    workspace : Workspace
        Of phantoms or other cases whose boxes serve as the truth to compare with.
    case_ids : collection of str
        Cases whose boxes are replaced; where no vertebra is found, the box stays.
    workers : int
        Processes.
    progress : callable, optional
        Called with the name of the step, the number done and the total.

    Returns
    -------
    tuple of LocatedBox
        In the order of the cases; also in ``annotations/located_boxes.tsv``.

    Raises
    ------
    SpinefxError
        When a table or an image of the workspace cannot be read or written.
    """
    with workspace.writing():
        records = read_lesions(workspace)
        jobs = [(workspace, record) for record in records if record.case_id in case_ids]
        outcomes = map_items(
            _replace, jobs, workers=workers, progress=progress and partial(progress, "finding vertebrae")
        )
        replaced: dict[str, LesionRecord] = {}
        boxes = []
        for outcome in outcomes:
            if isinstance(outcome, SpinefxError):
                raise outcome
            record, box = outcome
            replaced[record.case_id] = record
            boxes.append(box)
        write_lesions(workspace, [replaced.get(record.case_id, record) for record in records])
        write_located_boxes(workspace, boxes)
    return tuple(boxes)


def _replace(job: tuple[Workspace, LesionRecord]) -> tuple[LesionRecord, LocatedBox]:
    """Find the vertebra of one case; runs in a worker process."""
    workspace, record = job
    volume = read_image(workspace, record.participant_id, MARKED)
    spine, _ = shipped_localiser()(volume)
    named = record.lesion.level in spine.levels
    vertebra = spine.at_level(record.lesion.level) if named else vertebra_at(spine, record.lesion.box, volume)
    if vertebra is None:
        return record, LocatedBox(record.case_id)
    lesion = replace(vertebra.marked_on(volume), level=record.lesion.level)
    chosen_by = ChosenBy.NAME if named else ChosenBy.PLACE
    apart = box_agreement(record.lesion.box, lesion.box, volume.directions)
    shared = len(set(record.lesion.slices) & set(lesion.slices))
    box = LocatedBox(record.case_id, chosen_by, apart["distance_mm"], apart["iou"], shared)
    return replace(record, lesion=lesion, annotator=LOCALISER), box


def _propose(job: _Job) -> _Outcome:
    """Find the vertebrae of one participant; runs in a worker process."""
    volume = read_image(job.workspace, job.participant_id, MARKED)
    spine, _ = shipped_localiser()(volume)
    if job.marked is not None:
        return _Outcome(note=box_caution(spine, job.marked, volume))
    try:
        lesion = spine.at_level(job.level).marked_on(volume)
    except LevelError as error:
        return _Outcome(note=f"no box is proposed: {error}")
    return _Outcome(LesionRecord(job.participant_id, job.participant_id, lesion, LOCALISER))

"""Check every file and every row of a workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from spinefx.cases.patch import PROTOCOL_SEQUENCES
from spinefx.errors import SpinefxError, one_line
from spinefx.files import leftovers
from spinefx.vocabulary import MARKED, Plane
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import (
    LesionRecord,
    read_cohort,
    read_images,
    read_lesions,
    read_participants,
    read_readings,
    read_signs,
)
from spinefx.workspace.volumes import read_image

__all__ = ["check"]

Value = TypeVar("Value")


def check(root: Path) -> tuple[str, ...]:
    """Check everything in a workspace that was not derived from the rest.

    Parameters
    ----------
    root : Path

    Returns
    -------
    tuple of str
        One line per problem; empty when nothing is wrong.

    Raises
    ------
    WorkspaceError
        When the folder is not a workspace of a schema that this version knows.
    """
    workspace = Workspace.open(root)
    problems: list[str] = []
    participants = _attempt(problems, lambda: read_participants(workspace)) or ()
    known = {participant.participant_id for participant in participants}
    ingested = {
        (one.participant_id, one.series): one.voxel_sha256
        for one in _attempt(problems, lambda: read_images(workspace)) or ()
    }
    # One volume at a time is held: every lesion is checked while its image is in memory.
    unreadable: list[str] = []
    lesions = _attempt(unreadable, lambda: read_lesions(workspace)) or ()
    outside: dict[str, str] = {}
    for participant_id in sorted(known):
        own = [one for one in lesions if one.participant_id == participant_id]
        problems += _image_problems(workspace, participant_id, ingested, own, outside)
    for folder in workspace.participant_folders():
        if folder.name not in known:
            problems.append(f"{folder.name}: images of a participant who is not in participants.tsv")
    _attempt(problems, lambda: read_cohort(workspace))
    problems += unreadable
    problems += [outside[record.case_id] for record in lesions if record.case_id in outside]
    problems += _stray_answers(workspace, problems, {record.case_id for record in lesions} | known)
    if workspace.ingest_claim.exists():
        problems.append("an ingest was interrupted; run the same command again")
    for path in leftovers(root):
        problems.append(
            f"{path.parent.relative_to(root) / path.name}: left behind by an interrupted command; delete it"
        )
    return tuple(dict.fromkeys(problems))


def _image_problems(
    workspace: Workspace,
    participant_id: str,
    ingested: Mapping[tuple[str, str], str],
    lesions: Sequence[LesionRecord],
    outside: dict[str, str],
) -> Iterator[str]:
    """List missing, unreadable, altered and non-sagittal series; note by case which lesions lie outside the T2W."""
    for weighting in workspace.sequences:
        path = workspace.image(participant_id, weighting)
        if not path.is_file():
            if weighting in PROTOCOL_SEQUENCES:  # the others are kept where a participant has them
                yield f"{path.name}: missing"
            continue
        try:
            volume = read_image(workspace, participant_id, weighting)
        except SpinefxError as error:
            yield str(error)
            continue
        if ingested and ingested.get((participant_id, str(weighting))) != volume.voxel_digest:
            yield f"{path.name}: this series does not belong to what was ingested for {participant_id}"
        if volume.plane != Plane.SAGITTAL:
            yield f"{path.name}: {volume.plane}, not sagittal"
        for record in lesions if weighting is MARKED else ():
            try:
                record.lesion.check_inside(volume)
            except SpinefxError as error:
                outside[record.case_id] = f"{record.case_id}: {error}"


def _stray_answers(workspace: Workspace, problems: list[str], cases: set[str]) -> Iterator[str]:
    readings = _attempt(problems, lambda: read_readings(workspace)) or ()
    scores = _attempt(problems, lambda: read_signs(workspace)) or ()
    answered = {
        workspace.readings_table.name: {reading.case_id for reading in readings},
        workspace.signs_table.name: {score.case_id for score in scores},
    }
    for table, answers in answered.items():
        for stranger in sorted(answers - cases):
            yield f"{table}: {one_line(stranger)[:40]} is not a case of this workspace"


def _attempt(problems: list[str], action: Callable[[], Value]) -> Value | None:
    try:
        return action()
    except SpinefxError as error:
        problems.append(str(error))
        return None

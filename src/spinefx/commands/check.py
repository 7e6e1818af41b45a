"""Check every file and every row of a workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from spinefx.cases.patch import PROTOCOL_SEQUENCES
from spinefx.errors import SpinefxError, one_line
from spinefx.files import leftovers
from spinefx.imaging.nifti import read_nifti
from spinefx.imaging.volume import Volume
from spinefx.vocabulary import MARKED, Plane
from spinefx.workspace.layout import Workspace, read_json
from spinefx.workspace.records import (
    read_cohort,
    read_images,
    read_lesions,
    read_participants,
    read_readings,
    read_signs,
    sidecar_path,
)

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
    volumes: dict[str, Volume] = {}
    for participant_id in sorted(known):
        problems += _image_problems(workspace, participant_id, ingested, volumes)
    for folder in workspace.participant_folders():
        if folder.name not in known:
            problems.append(f"{folder.name}: images of a participant who is not in participants.tsv")
    _attempt(problems, lambda: read_cohort(workspace))
    cases = set()
    for record in _attempt(problems, lambda: read_lesions(workspace)) or ():
        cases.add(record.case_id)
        if record.participant_id in volumes:
            volume = volumes[record.participant_id]
            _attempt(problems, lambda record=record, volume=volume: record.lesion.check_inside(volume), record.case_id)  # type: ignore[misc]
    problems += _stray_answers(workspace, problems, cases | known)
    if workspace.ingest_claim.exists():
        problems.append("an ingest was interrupted; run the same command again")
    for path in leftovers(root):
        problems.append(
            f"{path.parent.relative_to(root) / path.name}: left behind by an interrupted command; delete it"
        )
    return tuple(dict.fromkeys(problems))


def _image_problems(
    workspace: Workspace, participant_id: str, ingested: Mapping[tuple[str, str], str], volumes: dict[str, Volume]
) -> Iterator[str]:
    """List missing, unreadable, altered and non-sagittal series; keep the T2W volume to check its lesion."""
    for weighting in workspace.sequences:
        path = workspace.image(participant_id, weighting)
        if not path.is_file():
            if weighting in PROTOCOL_SEQUENCES:  # the others are kept where a participant has them
                yield f"{path.name}: missing"
            continue
        try:
            volume = read_nifti(path)
            noted = read_json(sidecar_path(workspace, participant_id, weighting)).get("VoxelSha256")
        except SpinefxError as error:
            yield f"{path.name}: {error}"
            continue
        if noted != volume.voxel_digest:
            yield f"{path.name}: the voxels have changed since they were ingested"
        elif ingested and ingested.get((participant_id, str(weighting))) != noted:
            yield f"{path.name}: this series does not belong to what was ingested for {participant_id}"
        if volume.plane != Plane.SAGITTAL:
            yield f"{path.name}: {volume.plane}, not sagittal"
        if weighting is MARKED:
            volumes[participant_id] = volume


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


def _attempt(problems: list[str], action: Callable[[], Value], where: str = "") -> Value | None:
    try:
        return action()
    except SpinefxError as error:
        problems.append(f"{where}: {error}" if where else str(error))
        return None

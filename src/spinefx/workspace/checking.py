"""Every file and every row of a study folder, looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from spinefx.errors import SpinefxError
from spinefx.imaging.volume import Volume
from spinefx.vocabulary import Plane
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import (
    read_cohort,
    read_lesions,
    read_participants,
    read_readings,
    read_signs,
)
from spinefx.workspace.volumes import read_image

__all__ = ["check"]

Value = TypeVar("Value")


def check(root: Path) -> tuple[str, ...]:
    """Look at everything in a study folder that was not derived.

    Parameters
    ----------
    root : Path

    Returns
    -------
    tuple of str
        One line a problem; empty when nothing is wrong.

    Raises
    ------
    WorkspaceError
        When it is no study folder of a schema that this program knows.
    """
    workspace = Workspace.open(root)
    problems: list[str] = []
    participants = _attempt(problems, lambda: read_participants(workspace)) or ()
    known = {participant.participant_id for participant in participants}
    volumes: dict[str, Volume] = {}
    for participant_id in sorted(known):
        problems += _image_problems(workspace, participant_id, volumes)
    for folder in workspace.participant_folders():
        if folder.name not in known:
            problems.append(f"{folder.name}: images of somebody who is not in participants.tsv")
    _attempt(problems, lambda: read_cohort(workspace))
    cases = set()
    for record in _attempt(problems, lambda: read_lesions(workspace)) or ():
        cases.add(record.case_id)
        if record.participant_id in volumes:
            volume = volumes[record.participant_id]
            _attempt(problems, lambda record=record, volume=volume: record.lesion.check_inside(volume), record.case_id)  # type: ignore[misc]
    problems += _stray_answers(workspace, problems, cases | known)
    return tuple(dict.fromkeys(problems))


def _image_problems(workspace: Workspace, participant_id: str, volumes: dict[str, Volume]) -> Iterator[str]:
    """Complain about missing, unreadable, altered or non-sagittal series; keep the T2W volume for its lesion."""
    for weighting in ("T1w", "T2w"):
        path = workspace.image(participant_id, weighting)
        if not path.is_file():
            yield f"{path.name}: missing"
            continue
        try:
            volume = read_image(workspace, participant_id, weighting)
        except SpinefxError as error:
            yield str(error)
            continue
        if volume.plane != Plane.SAGITTAL:
            yield f"{path.name}: {volume.plane}, not sagittal"
        if weighting == "T2w":
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
            yield f"{table}: {stranger} is no case of this study"


def _attempt(problems: list[str], action: Callable[[], Value], where: str = "") -> Value | None:
    try:
        return action()
    except SpinefxError as error:
        problems.append(f"{where}: {error}" if where else str(error))
        return None

"""Marking the vertebra of each study: worklist, box, levels, two annotators side by side."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from spinefx.app.access import Annotator
from spinefx.app.imagery import VolumePair, describe_pair
from spinefx.app.state import state_of
from spinefx.imaging.nifti import read_nifti
from spinefx.workspace.layout import Workspace

__all__ = ["add_annotating", "read_pair"]


def add_annotating(app: FastAPI) -> None:
    """Add the annotators' routes.

    Parameters
    ----------
    app : FastAPI
        With its state.
    """
    state = state_of(app)

    @app.get("/api/studies/{participant_id}/pair")
    def pair(participant_id: str, person: Annotator) -> dict[str, Any]:
        found = state.imagery.pair(participant_id, lambda: read_pair(state.workspace, participant_id))
        return describe_pair(state.imagery, person.code, found)


def read_pair(workspace: Workspace, participant_id: str) -> VolumePair:
    """Read both series of a participant, laid as sagittal images are read.

    Parameters
    ----------
    workspace : Workspace
    participant_id : str

    Returns
    -------
    VolumePair

    Raises
    ------
    InputError
        When an image is missing or broken.
    WorkspaceError
        For anything that is no participant identifier.
    """
    t2w, t1w = (read_nifti(workspace.image(participant_id, weighting)) for weighting in ("T2w", "T1w"))
    return VolumePair(t2w.to_sagittal(), t1w.to_sagittal())

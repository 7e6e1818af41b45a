"""A marked case as readers and learners see it: both series, the box, and T1W's place under it."""

from __future__ import annotations

import threading
from typing import Any

from spinefx.app.annotating import alignment_json, pair_of
from spinefx.app.imagery import VolumePair, describe_pair
from spinefx.app.state import ServerState
from spinefx.app.users import User
from spinefx.cases.cohort import Case
from spinefx.cases.lesion import Box
from spinefx.errors import AccessError, RegistrationError
from spinefx.workspace.records import read_cohort

__all__ = ["case_of", "get_ready", "show_case"]

MOST_ALIGNMENTS = 2000
_lock = threading.Lock()
_alignments: dict[tuple[str, Box], dict[str, Any] | None] = {}


def case_of(state: ServerState, case_id: str) -> Case:
    """Find a case.

    Parameters
    ----------
    state : ServerState
    case_id : str

    Returns
    -------
    Case

    Raises
    ------
    AccessError
    """
    found = next((case for case in read_cohort(state.workspace).cases if case.case_id == case_id), None)
    if found is None:
        raise AccessError("there is no such case")
    return found


def show_case(state: ServerState, user: User, case: Case) -> dict[str, Any]:
    """Hand a case's images to a user; nothing in it says whose they are.

    Parameters
    ----------
    state : ServerState
    user : User
        Who alone may fetch them.
    case : Case

    Returns
    -------
    dict
        ``pair``, ``alignment`` (None where the series could not be brought together) and ``lesion``; LPS millimetres.

    Raises
    ------
    InputError
        When an image is missing or broken.
    """
    lesion, pair = case.lesion, pair_of(state, case.participant_id)
    return {
        "pair": describe_pair(state.imagery, user.code, pair),
        "alignment": _alignment(case, pair),
        "lesion": {
            "box": {"centre_mm": list(lesion.box.centre_mm), "side_mm": lesion.box.side_mm},
            "first_slice": lesion.first_slice,
            "last_slice": lesion.last_slice,
        },
    }


def get_ready(state: ServerState, case: Case) -> None:
    """Read a case's images into the server's memory and bring them together, so that showing it takes no time.

    Nothing of it is handed out: for that the case must have its turn.

    Parameters
    ----------
    state : ServerState
    case : Case

    Raises
    ------
    InputError
        When an image is missing or broken.
    """
    _alignment(case, pair_of(state, case.participant_id))


def _alignment(case: Case, pair: VolumePair) -> dict[str, Any] | None:
    """Found once for each pair of images and box: it is the same each time, and many read the same case."""
    key = (case.images_digest, case.lesion.box)
    with _lock:
        if key in _alignments:
            return _alignments[key]
    try:
        found = alignment_json(pair, case.lesion)
        told: dict[str, Any] | None = {"matrix": found["matrix"], "method": found["method"]}
    except RegistrationError:
        told = None
    with _lock:
        if len(_alignments) >= MOST_ALIGNMENTS:
            _alignments.clear()
        _alignments[key] = told
    return told

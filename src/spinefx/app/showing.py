"""A marked case as readers and learners see it: both series, the box, and where T1W lies under it."""

from __future__ import annotations

import threading

from spinefx.app.contracts.images import CaseImages, LesionExtent, SeriesMapping
from spinefx.app.imagery import VolumePair, describe_pair
from spinefx.app.pairs import align_pair, pair_of
from spinefx.app.state import ServerState
from spinefx.app.users import User
from spinefx.cases.cohort import Case
from spinefx.cases.lesion import Box
from spinefx.errors import AccessError, RegistrationError
from spinefx.workspace.records import read_cohort

__all__ = ["case_of", "prepare_case", "show_case"]

MOST_ALIGNMENTS = 2000
_lock = threading.Lock()
_alignments: dict[tuple[str, Box], SeriesMapping | None] = {}


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
        raise AccessError("Case not found")
    return found


def show_case(state: ServerState, user: User, case: Case) -> CaseImages:
    """Show a case to a user, without saying whose images they are.

    Parameters
    ----------
    state : ServerState
    user : User
        The only one who may fetch the images.
    case : Case

    Returns
    -------
    CaseImages

    Raises
    ------
    InputError
        When an image is missing or broken.
    """
    pair = pair_of(state, case.participant_id)
    return CaseImages(
        pair=describe_pair(state.imagery, user.code, pair),
        alignment=_alignment(case, pair),
        lesion=LesionExtent.of(case.lesion),
    )


def prepare_case(state: ServerState, case: Case) -> None:
    """Read and align a case's images ahead of time, so that showing the case takes none.

    Nothing is handed out: a user gets the case only when its turn has come.

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


def _alignment(case: Case, pair: VolumePair) -> SeriesMapping | None:
    """Align once for each pair of images and box: the result is always the same, and many users read the same case."""
    key = (case.images_digest, case.lesion.box)
    with _lock:
        if key in _alignments:
            return _alignments[key]
    try:
        explained = align_pair(pair, case.lesion)
        found: SeriesMapping | None = SeriesMapping(matrix=explained.matrix, method=explained.method)
    except RegistrationError:
        found = None
    with _lock:
        if len(_alignments) >= MOST_ALIGNMENTS:
            _alignments.clear()
        _alignments[key] = found
    return found

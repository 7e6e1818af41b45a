"""Both series of a participant: read, kept in memory, and aligned where a lesion is marked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from spinefx.app.contracts.images import ExplainedMapping, LesionExtent
from spinefx.app.imagery import VolumePair
from spinefx.app.state import ServerState
from spinefx.cases.alignment import align_lesion
from spinefx.cases.lesion import Box, Lesion
from spinefx.imaging.registration import Alignment
from spinefx.imaging.volume import Volume
from spinefx.workspace.layout import Workspace
from spinefx.workspace.volumes import read_image

__all__ = ["align_pair", "marked_lesion", "on_middle_slice", "pair_of", "read_pair", "to_mapping"]


def read_pair(workspace: Workspace, participant_id: str) -> VolumePair:
    """Read both series of a participant, turned the way sagittal images are read.

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
        When this is no participant identifier.
    """

    def read(weighting: str) -> Volume:
        return read_image(workspace, participant_id, weighting).to_sagittal()

    # In parallel: a user is waiting, and decompression releases the interpreter's lock.
    with ThreadPoolExecutor(2) as both:
        t2w, t1w = both.map(read, ("T2w", "T1w"))
    return VolumePair(t2w, t1w)


def pair_of(state: ServerState, participant_id: str) -> VolumePair:
    """Return both series of a participant from memory, or read them; a file that was replaced is read again.

    Parameters
    ----------
    state : ServerState
    participant_id : str

    Returns
    -------
    VolumePair

    Raises
    ------
    InputError
        When an image is missing or broken.
    WorkspaceError
        When this is no participant identifier.
    """
    paths = [state.workspace.image(participant_id, weighting) for weighting in ("T2w", "T1w")]
    key = (participant_id, *(path.stat().st_mtime_ns for path in paths if path.is_file()))
    return state.imagery.pair(key, lambda: read_pair(state.workspace, participant_id))


def align_pair(pair: VolumePair, lesion: Lesion) -> ExplainedMapping:
    """Find where T1W lies at a lesion of T2W.

    Parameters
    ----------
    pair : VolumePair
    lesion : Lesion

    Returns
    -------
    ExplainedMapping

    Raises
    ------
    RegistrationError
    """
    return to_mapping(align_lesion(lesion, pair.t2w, pair.t1w, method="rigid"))


def to_mapping(alignment: Alignment) -> ExplainedMapping:
    """Describe an alignment for a page.

    Parameters
    ----------
    alignment : Alignment

    Returns
    -------
    ExplainedMapping
    """
    return ExplainedMapping(matrix=alignment.matrix.tolist(), method=alignment.method, reason=alignment.reason)


def on_middle_slice(box: Box, first: int, last: int, t2w: Volume) -> Box:
    """Move a box onto the middle slice of its lesion, from whichever slice it was drawn on.

    Parameters
    ----------
    box : Box
    first, last : int
        Slices of the lesion.
    t2w : Volume

    Returns
    -------
    Box
    """
    index = t2w.to_index(box.centre_mm)
    left, posterior, superior = t2w.to_mm(((first + last) / 2, index[1], index[2]))
    return Box((float(left), float(posterior), float(superior)), box.side_mm)


def marked_lesion(wanted: LesionExtent, t2w: Volume) -> Lesion:
    """Return the lesion that a page marked.

    Parameters
    ----------
    wanted : LesionExtent
    t2w : Volume
        The series that it was marked on.

    Returns
    -------
    Lesion

    Raises
    ------
    BoxError
        When the box or its slices are impossible.
    """
    box = on_middle_slice(wanted.box.to_box(), wanted.first_slice, wanted.last_slice, t2w)
    return Lesion(box, wanted.first_slice, wanted.last_slice)

"""The images of a workspace: read through one function, and never other than those that were ingested."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spinefx.errors import FileError, GeometryError, WorkspaceError
from spinefx.files import digest_of
from spinefx.vocabulary import VOXEL_DIGEST
from spinefx.workspace.layout import Workspace, read_json
from spinefx.workspace.records import sidecar_path

if TYPE_CHECKING:
    from spinefx.imaging.volume import Volume

__all__ = ["check_images", "file_digests", "read_image"]

REMEDY = "Restore it from a copy, or ingest the participant again."


def read_image(workspace: Workspace, participant_id: str, weighting: str) -> Volume:
    """Read one series of a participant and compare its voxels with the digest recorded at ingest.

    Parameters
    ----------
    workspace : Workspace
    participant_id : str
    weighting : str
        A :class:`spinefx.vocabulary.Weighting`.

    Returns
    -------
    Volume
        In the order of :meth:`spinefx.imaging.volume.Volume.to_sagittal`.

    Raises
    ------
    FileError
        When the image is missing, broken, or not the one that was ingested.
    GeometryError
        When its place in the patient is impossible.
    WorkspaceError
        When its sidecar is missing, or records no digest.
    """
    from spinefx.imaging.nifti import read_nifti  # deferred: training must run where neither nibabel nor SciPy is

    path = workspace.image(participant_id, weighting)
    if not path.is_file():
        raise FileError("missing", where=path.name, remedy=REMEDY)
    sidecar = sidecar_path(workspace, participant_id, weighting)
    if not isinstance(read_json(sidecar).get(VOXEL_DIGEST), str):
        raise WorkspaceError(f"no digest of the voxels ({VOXEL_DIGEST})", where=sidecar.name, remedy=REMEDY)
    try:
        return read_nifti(path)
    except (FileError, GeometryError) as error:
        # The name of a workspace's file says no more than a pseudonym.
        raise type(error)(error.found, where=path.name, allowed=error.allowed, remedy=error.remedy or REMEDY) from None


def file_digests(workspace: Workspace, participant_id: str) -> dict[str, str]:
    """Return the digests of a participant's image files, as they lie on the disk.

    Parameters
    ----------
    workspace : Workspace
    participant_id : str

    Returns
    -------
    dict of str to str
        By weighting; only of the files that exist.

    Raises
    ------
    FileError
        When one cannot be read.
    """
    return {str(weighting): _digest(path) for weighting, path in workspace.images(participant_id).items()}


def check_images(workspace: Workspace, participant_id: str, known: Mapping[str, str]) -> None:
    """Check that the images of a participant are those that were ingested, as far as they are here.

    Training may run on a machine that was given the patches alone, which carry digests of their own.

    Parameters
    ----------
    workspace : Workspace
    participant_id : str
    known : mapping of str to str
        Digests of the files when they were last read whole, as :func:`file_digests` returned them. A file that still
        has its digest is not inflated again; any other is read and its voxels are compared.

    Raises
    ------
    FileError, GeometryError, WorkspaceError
        As :func:`read_image`.
    """
    for weighting, path in workspace.images(participant_id).items():
        if _digest(path) != known.get(str(weighting)):
            read_image(workspace, participant_id, weighting)


def _digest(path: Path) -> str:
    try:
        return digest_of(path.read_bytes())
    except OSError as error:
        raise FileError(f"cannot be read ({error.strerror})", where=path.name, remedy=REMEDY) from None

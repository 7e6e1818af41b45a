"""Patches on disk: one array file, one JSON and one contact sheet per case."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from spinefx.cases.cohort import Case
from spinefx.cases.patch import PatchSettings, PatchStack
from spinefx.errors import InputError, WorkspaceError
from spinefx.files import canonical_json, digest_of, replacing
from spinefx.workspace.layout import Workspace, read_json, write_json
from spinefx.workspace.records import read_cohort
from spinefx.workspace.volumes import check_images

__all__ = [
    "load_stack",
    "load_stacks",
    "recorded_alignment",
    "save_stack",
    "sheet_path",
    "source_digest",
    "stack_is_current",
]

# A lesion of 64 slices at 256 pixels takes 200 MB.
MAX_ARRAY_BYTES = 256 * 2**20


def save_stack(
    folder: Path, stack: PatchStack, source_digest: str, alignment: dict[str, Any], image_files: Mapping[str, str]
) -> None:
    """Write one case's patches.

    Parameters
    ----------
    folder : Path
        Of all patches with these settings.
    stack : PatchStack
    source_digest : str
        Digest of what the patches were made from: images, lesion and settings.
    alignment : dict
        How T1W was aligned to T2W, for the JSON beside.
    image_files : mapping of str to str
        Digests of the image files that were read, as :func:`spinefx.workspace.volumes.file_digests` returns them.
    """
    with replacing(_path(folder, stack, "patch.npz")) as temporary:
        np.savez_compressed(
            temporary, t1w=stack.t1w, t2w=stack.t2w, matrices=stack.matrices, slices=np.array(stack.slices)
        )
    write_json(
        _path(folder, stack, "patch.json"),
        {
            "case_id": stack.case_id,
            "participant_id": stack.participant_id,
            "source": source_digest,
            "image_files": dict(image_files),
            "arrays": digest_of(_path(folder, stack, "patch.npz").read_bytes()),
            "settings": asdict(stack.settings),
            "side_mm": stack.side_mm,
            "mm_per_pixel": stack.side_mm / stack.settings.size,
            "flags": list(stack.flags),
            "alignment": alignment,
        },
    )


def load_stack(folder: Path, participant_id: str, case_id: str) -> PatchStack:
    """Read one case's patches.

    Parameters
    ----------
    folder : Path
    participant_id, case_id : str

    Returns
    -------
    PatchStack

    Raises
    ------
    WorkspaceError
        When they are missing, or not those that were written.
    """
    base = folder / participant_id / case_id
    remedy = "Run `spinefx patch` on the study folder."
    described = read_json(base.with_name(f"{case_id}_patch.json")) if _exists(base) else None
    if described is None:
        raise WorkspaceError("no patches", where=case_id, remedy=remedy)
    path = base.with_name(f"{case_id}_patch.npz")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WorkspaceError(f"cannot be read ({error.strerror})", where=path.name, remedy=remedy) from None
    if digest_of(data) != described.get("arrays"):
        raise WorkspaceError("patches that are not those that were written", where=path.name, remedy=remedy)
    try:
        arrays = _read_arrays(data)
        return PatchStack(
            case_id=case_id,
            participant_id=participant_id,
            slices=tuple(int(number) for number in arrays["slices"]),
            t1w=arrays["t1w"],
            t2w=arrays["t2w"],
            matrices=arrays["matrices"],
            side_mm=float(described["side_mm"]),
            flags=tuple(described["flags"]),
            settings=PatchSettings(**described["settings"]),
        )
    except WorkspaceError:
        raise
    except Exception as error:  # whatever NumPy raises on broken bytes
        raise WorkspaceError("patches that cannot be read", where=path.name, remedy=remedy) from error


def load_stacks(workspace: Workspace, settings: PatchSettings) -> tuple[tuple[Case, ...], tuple[PatchStack, ...]]:
    """Read the patches of every case, and check that its images, lesion and settings are those they were cut from.

    Parameters
    ----------
    workspace : Workspace
    settings : PatchSettings

    Returns
    -------
    tuple
        Cases and their patches, in the same order.

    Raises
    ------
    InputError
        When patches are missing or were made from other images, boxes or settings; FileError when an image is no longer
        the one that was ingested.
    """
    folder = workspace.patches_folder(settings)
    cases = tuple(read_cohort(workspace))
    stale = [
        case.case_id
        for case in cases
        if not stack_is_current(folder, case.participant_id, case.case_id, source_digest(case, settings))
    ]
    if stale or not cases:
        flag = "" if settings == PatchSettings() else " --recipe RECIPE"
        raise InputError(
            f"{len(stale)} of {len(cases)} cases have no current patches (first: {stale[0] if stale else 'none'})",
            remedy=f"Run `spinefx patch WORKSPACE{flag}`; a case that cannot be cut must leave lesions.tsv.",
        )
    for case in cases:
        check_images(workspace, case.participant_id, _image_files(folder, case))
    return cases, tuple(load_stack(folder, case.participant_id, case.case_id) for case in cases)


def source_digest(case: Case, settings: PatchSettings) -> str:
    """Return the digest of all that a case's patches are made from: its images, its lesion and the settings.

    Parameters
    ----------
    case : Case
    settings : PatchSettings

    Returns
    -------
    str
    """
    source = {"images": case.images_digest, "lesion": asdict(case.lesion), "settings": settings.digest}
    return digest_of(canonical_json(source))


def stack_is_current(folder: Path, participant_id: str, case_id: str, source_digest: str) -> bool:
    """Return whether a case's patches exist and were made from the same source.

    Parameters
    ----------
    folder : Path
    participant_id, case_id : str
    source_digest : str

    Returns
    -------
    bool
    """
    base = folder / participant_id / case_id
    if not _exists(base):
        return False
    try:
        return read_json(base.with_name(f"{case_id}_patch.json")).get("source") == source_digest
    except WorkspaceError:
        return False


def recorded_alignment(folder: Path, participant_id: str, case_id: str) -> dict[str, Any]:
    """Read how T1W was aligned to T2W when a case was cut.

    Parameters
    ----------
    folder : Path
    participant_id, case_id : str

    Returns
    -------
    dict
        As :func:`save_stack` took it.

    Raises
    ------
    WorkspaceError
    """
    alignment: dict[str, Any] = read_json(folder / participant_id / f"{case_id}_patch.json")["alignment"]
    return alignment


def sheet_path(folder: Path, participant_id: str, case_id: str) -> Path:
    """Return the place of a case's contact sheet.

    Parameters
    ----------
    folder : Path
    participant_id, case_id : str

    Returns
    -------
    Path
    """
    return folder / participant_id / f"{case_id}_sheet.png"


def _path(folder: Path, stack: PatchStack, ending: str) -> Path:
    return folder / stack.participant_id / f"{stack.case_id}_{ending}"


def _exists(base: Path) -> bool:
    return all(base.with_name(f"{base.name}_patch.{ending}").is_file() for ending in ("npz", "json"))


def _image_files(folder: Path, case: Case) -> dict[str, str]:
    found = read_json(folder / case.participant_id / f"{case.case_id}_patch.json").get("image_files")
    return found if isinstance(found, dict) else {}  # patches of an earlier version name no files


def _read_arrays(data: bytes) -> dict[str, Any]:
    """Read the arrays of a patch file, which never unpack to more than a limit."""
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        if sum(entry.file_size for entry in opened.infolist()) > MAX_ARRAY_BYTES:
            raise ValueError
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in ("slices", "t1w", "t2w", "matrices")}

"""Patches on disk: one array file, one JSON file and one contact sheet per case."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from spinefx.cases.cohort import Case
from spinefx.cases.patch import PatchSettings, PatchSource, PatchStack
from spinefx.errors import InputError, WorkspaceError
from spinefx.files import canonical_json, digest_of, replacing
from spinefx.vocabulary import Weighting
from spinefx.workspace.layout import Workspace, read_json, write_json
from spinefx.workspace.records import read_cohort
from spinefx.workspace.volumes import check_images

__all__ = [
    "load_stack",
    "load_stacks",
    "recorded_alignments",
    "recorded_measures",
    "recorded_slice_digests",
    "save_stack",
    "sheet_path",
    "source_digest",
    "stack_is_current",
]

# A lesion of 64 slices at 256 pixels takes 200 MB.
MAX_ARRAY_BYTES = 256 * 2**20


def save_stack(
    folder: Path,
    stack: PatchStack,
    source_digest: str,
    alignments: dict[str, dict[str, Any]],
    image_files: Mapping[str, str],
    measures: Mapping[str, float] | None = None,
    slice_digests: Sequence[str] = (),
) -> None:
    """Write the patches of one case.

    Parameters
    ----------
    folder : Path
        Folder of all patches with these settings.
    stack : PatchStack
    source_digest : str
        Digest of the images, lesion and settings from which the patches were cut.
    alignments : dict
        How each series was brought to T2W, by weighting, for the JSON beside.
    image_files : mapping of str to str
        Digests of the image files that were read, as :func:`spinefx.workspace.volumes.file_digests` returns them.
    measures : mapping of str to float, optional
        Voxel sizes and times of the images: models record their ranges.
    slice_digests : sequence of str
        Digests of the lesion slices: models record those that they were trained on.
    """
    arrays: dict[str, Any] = {source.weighting.key: source.voxels for source in stack.sources}
    arrays |= {"matrices": stack.matrices, "slices": np.array(stack.slices)}
    with replacing(_path(folder, stack, "patch.npz")) as temporary:
        np.savez_compressed(temporary, **arrays)
    write_json(
        _path(folder, stack, "patch.json"),
        {
            "case_id": stack.case_id,
            "participant_id": stack.participant_id,
            "source": source_digest,
            "image_files": dict(image_files),
            "arrays": digest_of(_path(folder, stack, "patch.npz").read_bytes()),
            "settings": stack.settings.to_json(),
            "side_mm": stack.side_mm,
            "mm_per_pixel": stack.side_mm / stack.settings.size,
            "flags": list(stack.flags),
            "alignments": alignments,
            "measures": dict(measures or {}),
            "slice_digests": list(slice_digests),
        },
    )


def load_stack(folder: Path, participant_id: str, case_id: str) -> PatchStack:
    """Read the patches of one case.

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
        When they are missing or have been altered.
    """
    base = folder / participant_id / case_id
    remedy = "Run `spinefx patch` on the workspace."
    described = read_json(base.with_name(f"{case_id}_patch.json")) if _exists(base) else None
    if described is None:
        raise WorkspaceError("there are no patches", where=case_id, remedy=remedy)
    path = base.with_name(f"{case_id}_patch.npz")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WorkspaceError(f"cannot be read ({error.strerror})", where=path.name, remedy=remedy) from None
    if digest_of(data) != described.get("arrays"):
        raise WorkspaceError("the patches have been altered", where=path.name, remedy=remedy)
    try:
        settings = PatchSettings.from_json(described["settings"])
        arrays = _read_arrays(data, ("slices", "matrices", *(sequence.key for sequence in settings.sequences)))
        matrices = np.split(arrays["matrices"], len(settings.sequences), axis=1)
        return PatchStack(
            case_id=case_id,
            participant_id=participant_id,
            slices=tuple(int(number) for number in arrays["slices"]),
            sources=tuple(
                PatchSource(sequence, arrays[sequence.key], np.ascontiguousarray(places))
                for sequence, places in zip(settings.sequences, matrices, strict=True)
            ),
            side_mm=float(described["side_mm"]),
            flags=tuple(described["flags"]),
            settings=settings,
        )
    except Exception as error:  # whatever NumPy and zipfile raise on broken bytes
        raise WorkspaceError("the patches cannot be read", where=path.name, remedy=remedy) from error


def load_stacks(workspace: Workspace, settings: PatchSettings) -> tuple[tuple[Case, ...], tuple[PatchStack, ...]]:
    """Read the patches of every case, and check that they fit the present images, lesions and settings.

    Parameters
    ----------
    workspace : Workspace
    settings : PatchSettings

    Returns
    -------
    tuple
        The cases and their patches, in the same order.

    Raises
    ------
    InputError
        When patches are missing, or were cut from other images, boxes or settings; FileError when an image is no longer
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
            remedy=f"Run `spinefx patch WORKSPACE{flag}`. Remove a case that cannot be cut from lesions.tsv.",
        )
    for case in cases:
        check_images(workspace, case.participant_id, _image_files(folder, case))
    return cases, tuple(load_stack(folder, case.participant_id, case.case_id) for case in cases)


def source_digest(case: Case, settings: PatchSettings) -> str:
    """Return the digest of what a case's patches are cut from: images, lesion and settings.

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
    """Return whether a case's patches exist and were cut from the given source.

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
        described = read_json(base.with_name(f"{case_id}_patch.json"))
    except WorkspaceError:
        return False
    return described.get("source") == source_digest


def recorded_alignments(folder: Path, participant_id: str, case_id: str) -> dict[str, dict[str, Any]]:
    """Read how each series of a case was aligned to T2W when it was cut.

    Parameters
    ----------
    folder : Path
    participant_id, case_id : str

    Returns
    -------
    dict
        By weighting, as :func:`save_stack` took it.

    Raises
    ------
    WorkspaceError
    """
    described = read_json(folder / participant_id / f"{case_id}_patch.json")
    if "alignments" not in described:  # cut before other series than T1W and T2W could be read
        return {Weighting.T1W: described["alignment"]}
    alignments: dict[str, dict[str, Any]] = described["alignments"]
    return alignments


def recorded_measures(folder: Path, participant_id: str, case_id: str) -> dict[str, float]:
    """Read the voxel sizes and times of a case's images when it was cut.

    Parameters
    ----------
    folder : Path
    participant_id, case_id : str

    Returns
    -------
    dict of str to float
        Empty for patches of an earlier version.

    Raises
    ------
    WorkspaceError
    """
    found = read_json(folder / participant_id / f"{case_id}_patch.json").get("measures")
    return {str(name): float(value) for name, value in found.items()} if isinstance(found, dict) else {}


def recorded_slice_digests(folder: Path, participant_id: str, case_id: str) -> tuple[str, ...]:
    """Read the digests of a case's lesion slices when it was cut.

    Parameters
    ----------
    folder : Path
    participant_id, case_id : str

    Returns
    -------
    tuple of str
        Empty for patches of an earlier version.

    Raises
    ------
    WorkspaceError
    """
    found = read_json(folder / participant_id / f"{case_id}_patch.json").get("slice_digests")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def sheet_path(folder: Path, participant_id: str, case_id: str) -> Path:
    """Return the path of a case's contact sheet.

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


def _read_arrays(data: bytes, names: Iterable[str]) -> dict[str, Any]:
    """Read arrays of a patch file, which never unpack to more than a limit."""
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        if sum(entry.file_size for entry in opened.infolist()) > MAX_ARRAY_BYTES:
            raise ValueError
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in names}

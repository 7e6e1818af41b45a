"""NIfTI volumes: written with their sidecars, and read to the last byte, checked against what was recorded of them."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from spinefx.errors import FileError
from spinefx.files import replacing, write_text
from spinefx.imaging.archive import Member, MemberReader
from spinefx.imaging.inflating import GZIP_FORMAT, Content
from spinefx.imaging.nifti_header import (
    RAS_TO_LPS,
    NiftiHeader,
    is_nifti_name,
    read_nifti_header,
    sidecar_name,
    stem_of,
)
from spinefx.imaging.volume import Volume
from spinefx.vocabulary import VOXEL_DIGEST, Plane

__all__ = [
    "NiftiHeader",
    "is_nifti_name",
    "read_nifti",
    "read_nifti_header",
    "read_volume",
    "sidecar_name",
    "stem_of",
    "write_nifti",
]

# Voxels are read and converted some at a time, so that a volume is held once, in single precision.
STEP_BYTES = 2**20


def write_nifti(path: Path, volume: Volume, sidecar: Mapping[str, Any]) -> None:
    """Write a volume and its BIDS sidecar, each whole or not at all; the same volume makes the same bytes.

    Parameters
    ----------
    path : Path
        Ends in ``.nii`` or ``.nii.gz``; the sidecar is written beside it.
    volume : Volume
        Whole numbers that fit are stored in 16 bits, others as float32.
    sidecar : mapping
        BIDS keys (times in seconds). ``SliceEncodingDirection`` is added, and ``FrameOfReference`` where the volume
        has one.

    Raises
    ------
    InterruptedWrite
    FileError
        When the name is no NIfTI name.
    """
    if not is_nifti_name(path.name):
        raise FileError("is not named as a NIfTI file", where="the file to write", allowed=".nii or .nii.gz")
    affine = RAS_TO_LPS @ volume.affine[:, [2, 1, 0, 3]]
    make_header: Any = nibabel.Nifti1Header  # nibabel's own types are partial
    header = make_header()
    kind = _smallest_type(volume.array)
    header.set_data_shape(volume.shape[::-1])  # column fastest, slice last: the axis order that viewers take for slices
    header.set_data_dtype(kind)
    header.set_xyzt_units("mm", "sec")
    header.set_dim_info(slice=2)
    header.set_qform(affine, code="scanner")
    header.set_sform(affine, code="scanner")
    header.set_slope_inter(1, 0)
    header["vox_offset"] = header.single_vox_offset
    # No time of writing in the gzip header: the same voxels keep the same bytes. Level 1, for noise does not compress:
    # level 6 makes files 2% smaller and takes three times as long.
    press = zlib.compressobj(1, wbits=GZIP_FORMAT) if path.name.casefold().endswith(".gz") else None
    with replacing(path) as temporary, temporary.open("wb") as stream:
        for part in (header.binaryblock + bytes(4), *(np.ascontiguousarray(image, kind) for image in volume.array)):
            stream.write(press.compress(part) if press else part)
        stream.write(press.flush() if press else b"")
    content = {**sidecar, "SliceEncodingDirection": "k"}
    if volume.frame_of_reference:
        content["FrameOfReference"] = volume.frame_of_reference
    write_text(path.with_name(sidecar_name(path.name)), json.dumps(content, indent=2, sort_keys=True) + "\n")


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file and its sidecar, where there is one beside it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Volume
        As :func:`read_volume`.

    Raises
    ------
    FileError
        When the file is broken, cut off, longer than declared, four-dimensional or too large, or its voxels are not
        those that its sidecar records.
    """
    try:
        member = Member(path.name, path, path.stat().st_size)
        beside = path.with_name(sidecar_name(path.name))
        sidecar = Member(beside.name, beside, beside.stat().st_size) if beside.exists() else None
    except OSError as error:
        raise FileError(f"cannot be read ({error.strerror})", where="the NIfTI file") from None
    with MemberReader() as reader:
        return read_volume(reader, member, read_nifti_header(reader, member, sidecar))


def read_volume(reader: MemberReader, member: Member, header: NiftiHeader) -> Volume:
    """Read the voxels of a NIfTI file as real values, and compare them with the digest that its sidecar records.

    Every stored volume is read through here, whichever command or page asks for it.

    Parameters
    ----------
    reader : MemberReader
    member : Member
    header : NiftiHeader
        Of the same file.

    Returns
    -------
    Volume
        Sagittal ones come in the order of :meth:`spinefx.imaging.volume.Volume.to_sagittal`.

    Raises
    ------
    FileError
        When the file is cut off, broken or longer than declared, holds voxels that are not finite, or its voxels are
        not those that its sidecar records.
    """
    array = _read_voxels(reader, member, header)
    volume = Volume(array, header.affine, header.frame_of_reference, weighting=header.weighting)
    volume = volume.to_sagittal() if volume.plane is Plane.SAGITTAL else volume
    if VOXEL_DIGEST in header.sidecar and header.sidecar[VOXEL_DIGEST] != volume.voxel_digest:
        raise FileError(
            f"the voxels have changed since they were ingested ({VOXEL_DIGEST} in the sidecar)",
            where=member.label,
            remedy="Restore both files from a copy, or ingest the participant again.",
        )
    return volume


def _read_voxels(reader: MemberReader, member: Member, header: NiftiHeader) -> NDArray[np.float32]:
    """Read voxels into their place of an array, shape (slice, row, column), step by step."""
    array = np.empty(header.volume_shape, np.float32)
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in header.flips)
    target = array[steps].transpose(np.argsort(header.axes))
    plain = header.slope == 1 and header.intercept == 0
    lost = 0
    with reader.open(member) as stream:
        content = Content(stream, member)
        if len(content.read(header.data_offset)) < header.data_offset:
            raise FileError("has truncated voxels", where=member.label)
        for place, shape in _steps(header.shape, header.data_type.itemsize):
            data = content.read(math.prod(shape) * header.data_type.itemsize)
            if len(data) < math.prod(shape) * header.data_type.itemsize:
                raise FileError("has truncated voxels", where=member.label)
            stored = np.frombuffer(data, header.data_type).reshape(shape, order="F")
            with np.errstate(over="ignore", invalid="ignore"):  # counted below
                values = stored if plain else stored.astype(np.float64) * header.slope + header.intercept
                target[place] = values
            if not plain or header.data_type.kind == "f":
                lost += math.prod(shape) - int(np.count_nonzero(np.isfinite(target[place])))
        content.finish()
    if lost:
        raise FileError(
            f"holds {lost} voxels of {array.size} that are not finite numbers (NaN or infinite)",
            where=member.label,
            remedy="If they lie outside the body, set them to 0 (for example `fslmaths IN -nan OUT`) and try again.",
        )
    return array


def _steps(shape: tuple[int, int, int], item_bytes: int) -> Iterator[tuple[tuple[slice, ...], tuple[int, int, int]]]:
    """Divide stored voxels, the first axis fastest, into runs: their place along the axes, and their shape."""
    columns, rows, slices = shape
    at_once = max(1, STEP_BYTES // (columns * rows * item_bytes))
    rows_at_once = rows if columns * rows * item_bytes <= STEP_BYTES else max(1, STEP_BYTES // (columns * item_bytes))
    for first in range(0, slices, at_once):
        last = min(first + at_once, slices)
        for top in range(0, rows, rows_at_once):
            bottom = min(top + rows_at_once, rows)
            yield (slice(None), slice(top, bottom), slice(first, last)), (columns, bottom - top, last - first)


def _smallest_type(array: NDArray[np.float32]) -> np.dtype[Any]:
    """Choose the type that holds every value exactly: 16 bits for whole numbers, else float32."""
    if all(np.array_equal(np.rint(image), image) for image in array):
        low, high = float(array.min()), float(array.max())
        for kind in (np.int16, np.uint16):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return np.dtype(kind)
    return np.dtype(np.float32)

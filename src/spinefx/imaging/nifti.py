"""NIfTI files and their BIDS sidecars: the one place where RAS becomes LPS and back."""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from spinefx.errors import FileError
from spinefx.files import write_bytes, write_text
from spinefx.imaging.archive import Member, MemberReader
from spinefx.imaging.contrast import weighting_from_name, weighting_from_timing
from spinefx.imaging.sidecar_times import is_positive, time_ms
from spinefx.imaging.volume import ORTHOGONALITY_TOLERANCE, Volume, plane_of_normal
from spinefx.vocabulary import Plane, Weighting

__all__ = [
    "NiftiHeader",
    "is_nifti_name",
    "read_nifti",
    "read_nifti_header",
    "read_voxels",
    "sidecar_name",
    "stem_of",
    "write_nifti",
]

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
MAX_VOXEL_BYTES = 512 * 2**20
MAX_SIDECAR_BYTES = 2**20
MAX_SIDE = 4096
LABEL_INTENT = 1002
LABEL_TOKEN = re.compile(r"^(d?seg|labels?|labeled|labelled|msk|mask|roi)([-.].*)?$", re.I)
# Slices thicker than this, against the finer in-plane spacing, name the slice axis; fewer than this share of the next
# axis' voxels name it in an isotropic crop.
CLEARLY_THICKER, CLEARLY_FEWER = 1.25, 0.7


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """What a NIfTI file and its sidecar say.

    Parameters
    ----------
    shape : tuple of int
        Stored axes (i, j, k).
    axes : tuple of int
        Which stored axes are slice, row and column.
    flips : tuple of bool
        Which of slice, row and column run against the stored axis.
    affine : ndarray of float64, shape (4, 4)
        Maps (slice, row, column, 1) to LPS millimetres.
    data_type : numpy dtype
        As stored, with its byte order.
    data_offset : int
        Where the voxels start, bytes.
    slope, intercept : float
    is_label_map : bool
        By its intent code or its name.
    weighting_from_name : Weighting
    sidecar : dict
        Empty where there is none.
    """

    shape: tuple[int, int, int]
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    affine: NDArray[np.float64]
    data_type: np.dtype[Any]
    data_offset: int
    slope: float
    intercept: float
    is_label_map: bool
    weighting_from_name: Weighting
    sidecar: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def volume_shape(self) -> tuple[int, int, int]:
        """Number of slices, rows and columns."""
        slices, rows, columns = (self.shape[axis] for axis in self.axes)
        return slices, rows, columns

    @property
    def flip_angle_deg(self) -> float | None:
        """From the sidecar."""
        angle = self.sidecar.get("FlipAngle")
        return float(angle) if is_positive(angle) else None

    @property
    def repetition_time_ms(self) -> float | None:
        """From the sidecar, in seconds there; values that only milliseconds explain are taken as such."""
        return time_ms(self.sidecar, "RepetitionTime")

    @property
    def echo_time_ms(self) -> float | None:
        """From the sidecar, in seconds there; values that only milliseconds explain are taken as such."""
        return time_ms(self.sidecar, "EchoTime")

    @property
    def inversion_time_ms(self) -> float | None:
        """From the sidecar, in seconds there; values that only milliseconds explain are taken as such."""
        return time_ms(self.sidecar, "InversionTime")

    @property
    def weighting(self) -> Weighting:
        """By timing; by name where the sidecar has none."""
        timed = weighting_from_timing(self.repetition_time_ms, self.echo_time_ms, self.inversion_time_ms)
        return self.weighting_from_name if timed is Weighting.UNKNOWN else timed

    @property
    def frame_of_reference(self) -> str:
        """Pseudonymous key that the sidecar carries over; empty where there is none."""
        key = self.sidecar.get("FrameOfReference", "")
        return key if isinstance(key, str) and re.fullmatch(r"[0-9a-f]{16}", key) else ""

    def text(self, key: str) -> str:
        """Read a text of the sidecar.

        Parameters
        ----------
        key : str

        Returns
        -------
        str
            Empty where it is absent or no text.
        """
        value = self.sidecar.get(key, "")
        return value.strip() if isinstance(value, str) else ""

    def words(self, key: str) -> tuple[str, ...]:
        """Read a list of the sidecar, or a text whose parts ``_`` or ``\\`` join, as dcm2niix writes them.

        Parameters
        ----------
        key : str

        Returns
        -------
        tuple of str
            Upper case.
        """
        value = self.sidecar.get(key, "")
        parts = value if isinstance(value, list) else re.split(r"[_\\]", value) if isinstance(value, str) else []
        return tuple(part.strip().upper() for part in parts if isinstance(part, str) and part.strip())


def is_nifti_name(name: str) -> bool:
    """Tell whether a name ends in ``.nii`` or ``.nii.gz``.

    Parameters
    ----------
    name : str

    Returns
    -------
    bool
    """
    return name.casefold().endswith((".nii", ".nii.gz"))


def stem_of(name: str) -> str:
    """Strip ``.nii`` or ``.nii.gz``.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    return re.sub(r"\.nii(\.gz)?$", "", name, flags=re.I)


def sidecar_name(name: str) -> str:
    """Name the BIDS sidecar of a NIfTI file.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    return f"{stem_of(name)}.json"


def write_nifti(path: Path, volume: Volume, sidecar: Mapping[str, Any]) -> None:
    """Write a volume and its BIDS sidecar, each whole or not at all; the same volume gives the same bytes.

    Parameters
    ----------
    path : Path
        Ends in ``.nii`` or ``.nii.gz``; the sidecar stands beside it.
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
        raise FileError("a name that is no NIfTI name", allowed=".nii or .nii.gz")
    make_image: Any = nibabel.Nifti1Image  # nibabel's own types are partial
    order = (2, 1, 0)  # column fastest, slice last: the axis order that viewers take for slices
    affine = RAS_TO_LPS @ volume.affine[:, [2, 1, 0, 3]]
    image: Any = make_image(np.transpose(_smallest_type(volume.array), order), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_dim_info(slice=2)
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    data: bytes = image.to_bytes()
    # No time of writing in the gzip header: the same voxels keep the same bytes. Level 1, for noise does not compress:
    # level 6 makes files 2% smaller and takes three times as long.
    write_bytes(path, gzip.compress(data, compresslevel=1, mtime=0) if path.name.casefold().endswith(".gz") else data)
    content = {**sidecar, "SliceEncodingDirection": "k"}
    if volume.frame_of_reference:
        content["FrameOfReference"] = volume.frame_of_reference
    write_text(path.with_name(sidecar_name(path.name)), json.dumps(content, indent=2, sort_keys=True) + "\n")


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file and, where it stands beside it, its sidecar.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Volume
        Sagittal ones come in the order of :meth:`spinefx.imaging.volume.Volume.to_sagittal`.

    Raises
    ------
    FileError
        When the file is broken, cut off, four-dimensional or larger than 512 MiB.
    GeometryError
        When its axes are not at right angles.
    """
    try:
        member = Member(path.name, path, path.stat().st_size)
        beside = path.with_name(sidecar_name(path.name))
        sidecar = Member(beside.name, beside, beside.stat().st_size) if beside.is_file() else None
    except OSError as error:
        raise FileError(f"cannot be read ({error.strerror})", where="the NIfTI file") from None
    with MemberReader() as reader:
        header = read_nifti_header(reader, member, sidecar)
        volume = Volume(
            read_voxels(reader, member, header), header.affine, header.frame_of_reference, weighting=header.weighting
        )
    return volume.to_sagittal() if volume.plane is Plane.SAGITTAL else volume


def read_nifti_header(reader: MemberReader, member: Member, sidecar: Member | None) -> NiftiHeader:
    """Read the header of a NIfTI file and its sidecar; no voxel is touched.

    Parameters
    ----------
    reader : MemberReader
    member : Member
    sidecar : Member or None

    Returns
    -------
    NiftiHeader

    Raises
    ------
    FileError
    """
    with reader.open(member) as stream:
        start = _inflated(stream, member, 544)
    kind: Any = nibabel.Nifti2Header if _header_size(start) == 540 else nibabel.Nifti1Header
    if _header_size(start) not in {348, 540}:
        raise FileError("is no NIfTI file", where=member.label)
    try:
        header: Any = kind(start[: _header_size(start)], check=True)
        shape, affine = tuple(int(side) for side in header.get_data_shape()), header.get_best_affine()
        slope, intercept = header.get_slope_inter()
        data_type, offset = header.get_data_dtype(), int(header["vox_offset"])
        intent, said_axis = int(header["intent_code"]), header.get_dim_info()[2]
        placed = bool(int(header["qform_code"]) or int(header["sform_code"]))
    except (ArithmeticError, LookupError, TypeError, ValueError, HeaderDataError) as error:
        raise FileError(
            f"has a NIfTI header that cannot be read ({type(error).__name__})", where=member.label
        ) from None
    shape = shape[:3] if len(shape) > 3 and set(shape[3:]) == {1} else shape
    _check(shape, affine, data_type, offset, placed, member)
    content = _read_sidecar(reader, sidecar) if sidecar else {}
    axes = _slice_row_column(shape, affine, content.get("SliceEncodingDirection"), said_axis)
    affine, flips = _lps_affine(shape, affine, axes)
    name = stem_of(member.name.rpartition("/")[2])
    return NiftiHeader(
        (shape[0], shape[1], shape[2]),
        axes,
        flips,
        affine,
        data_type,
        offset,
        1.0 if slope is None else float(slope),
        0.0 if intercept is None else float(intercept),
        intent == LABEL_INTENT or _names_labels(name),
        # The BIDS suffix speaks first, the rest of the name where it is silent.
        _weighting_of_name(name),
        content,
    )


def read_voxels(reader: MemberReader, member: Member, header: NiftiHeader) -> NDArray[np.float32]:
    """Read the voxels of a NIfTI file as real values.

    Parameters
    ----------
    reader : MemberReader
    member : Member
    header : NiftiHeader

    Returns
    -------
    ndarray of float32, shape (slice, row, column)

    Raises
    ------
    FileError
        When the file is cut off.
    """
    count = math.prod(header.shape)
    expected = header.data_offset + count * header.data_type.itemsize
    with reader.open(member) as stream:
        data = _inflated(stream, member, expected, all_of_it=True)
    if len(data) < expected:
        raise FileError("has truncated voxels", where=member.label)
    stored = np.frombuffer(data, header.data_type, count, header.data_offset).reshape(header.shape, order="F")
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in header.flips)
    values = stored.transpose(header.axes)[steps].astype(
        np.float32 if header.slope == 1 and header.intercept == 0 else float
    )
    if header.slope != 1 or header.intercept != 0:
        values = values * header.slope + header.intercept
    return np.ascontiguousarray(values, dtype=np.float32)


def _names_labels(name: str) -> bool:
    """Tell whether a name is that of a label map; an image's suffix outweighs entities such as ``label-6``."""
    tokens = name.split("_")
    return not re.fullmatch(r"t[12]w?", tokens[-1], re.I) and any(LABEL_TOKEN.match(token) for token in tokens)


def _weighting_of_name(name: str) -> Weighting:
    whole = weighting_from_name(name)
    if whole is Weighting.STIR:  # BIDS writes it as a T2w suffix with a label of its own
        return whole
    suffix = weighting_from_name(name.split("_")[-1])
    return suffix if suffix is not Weighting.UNKNOWN else whole


def _header_size(start: bytes) -> int:
    sizes = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")} & {348, 540}
    return sizes.pop() if sizes and len(start) >= 348 else 0


def _check(
    shape: tuple[int, ...],
    affine: NDArray[np.float64],
    data_type: np.dtype[Any],
    offset: int,
    placed: bool,
    member: Member,
) -> None:
    if len(shape) != 3 or not all(1 <= side <= MAX_SIDE for side in shape):
        raise FileError(
            f"has {len(shape)} axes of {shape} voxels", where=member.label, allowed="three axes, one volume"
        )
    if data_type.kind not in "iuf" or data_type.itemsize > 8:
        raise FileError("holds voxels that are no real numbers", where=member.label)
    if not 0 <= offset <= MAX_SIDECAR_BYTES or math.prod(shape) * data_type.itemsize > MAX_VOXEL_BYTES:
        raise FileError("declares more voxels than the size limit", where=member.label)
    if not placed:
        raise FileError("says nowhere where it lies in the patient (qform and sform are 0)", where=member.label)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not (spacing > 0).all():
        raise FileError("has an impossible affine", where=member.label)
    cosines = (affine[:3, :3] / spacing).T @ (affine[:3, :3] / spacing) - np.eye(3)
    if np.abs(cosines).max() > ORTHOGONALITY_TOLERANCE:
        raise FileError("has axes that are not at right angles", where=member.label)
    stored_size = offset + math.prod(shape) * data_type.itemsize
    if not member.name.casefold().endswith(".gz") and member.size < stored_size:
        raise FileError("has truncated voxels", where=member.label)


def _slice_row_column(
    shape: tuple[int, ...], affine: NDArray[np.float64], encoded: object, said_axis: int | None
) -> tuple[int, int, int]:
    """Tell which stored axes are slice, row and column.

    The sidecar's slice encoding direction is believed first, then thickness, then count; the header's own slice axis
    only after them, because tools that reorder axes often leave it behind.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    fewer, more = sorted(shape)[:2]
    if isinstance(encoded, str) and encoded[:1] in {"i", "j", "k"}:
        slice_axis = "ijk".index(encoded[0])
    elif spacing.max() > CLEARLY_THICKER * np.median(spacing):
        slice_axis = int(np.argmax(spacing))
    elif fewer < CLEARLY_FEWER * more:
        slice_axis = int(np.argmin(shape))
    else:
        slice_axis = 2 if said_axis is None else said_axis
    first, second = (axis for axis in range(3) if axis != slice_axis)
    plane = plane_of_normal(affine[:3, slice_axis])
    down = 1 if plane is Plane.AXIAL else 2
    closeness = np.abs(affine[down, :3]) / spacing
    row, column = (first, second) if closeness[first] > closeness[second] else (second, first)
    return slice_axis, row, column


def _lps_affine(
    shape: tuple[int, ...], ras: NDArray[np.float64], axes: tuple[int, int, int]
) -> tuple[NDArray[np.float64], tuple[bool, bool, bool]]:
    """Turn the stored affine into (slice, row, column) -> LPS, each axis run the way radiologists read."""
    lps = RAS_TO_LPS @ ras
    affine = np.eye(4)
    affine[:3, 3] = lps[:3, 3]
    flips = []
    for target, axis in enumerate(axes):
        step = lps[:3, axis]
        nearest = int(np.argmax(np.abs(step)))
        # Columns run to the patient's left or back, rows to the back or down; sagittal slices to the right, others up
        # or back: the order of Volume.to_sagittal(), for every storage order.
        forward = nearest == 1 or (nearest == 0 and target != 0) or (nearest == 2 and target == 0)
        flip = bool((step[nearest] > 0) != forward)
        affine[:3, target] = -step if flip else step
        affine[:3, 3] += step * (shape[axis] - 1) if flip else 0.0
        flips.append(flip)
    return affine, (flips[0], flips[1], flips[2])


def _smallest_type(array: NDArray[np.float32]) -> NDArray[Any]:
    whole = array.astype(np.int64)
    if not np.array_equal(whole, array):
        return array
    for kind in (np.int16, np.uint16):
        if np.iinfo(kind).min <= whole.min() and whole.max() <= np.iinfo(kind).max:
            return whole.astype(kind)
    return array


def _inflated(stream: BinaryIO, member: Member, most: int, *, all_of_it: bool = False) -> bytes:
    """Read at most so many bytes of header or voxels: a gzip bomb is never inflated further."""
    try:
        if not member.name.casefold().endswith(".gz"):
            return stream.read(most)
        with gzip.GzipFile(fileobj=stream) as inflating:
            data = inflating.read(most)
            if all_of_it:
                inflating.read(1)  # at the end of the stream, and only there, the checksum is compared
            return data
    except (OSError, EOFError, zlib.error):
        raise FileError("is cut off or broken inside its compression", where=member.label) from None


def _read_sidecar(reader: MemberReader, sidecar: Member) -> dict[str, Any]:
    if sidecar.size > MAX_SIDECAR_BYTES:
        raise FileError("has a sidecar beyond the size limit", where=sidecar.label)
    with reader.open(sidecar) as stream:
        data = stream.read(MAX_SIDECAR_BYTES)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise FileError("has a sidecar that is no JSON", where=sidecar.label) from None
    if not isinstance(content, dict):
        raise FileError("has a sidecar that is no JSON object", where=sidecar.label)
    return content

"""NIfTI headers and their BIDS sidecars: the one place where RAS becomes LPS."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from spinefx.errors import FileError
from spinefx.imaging.archive import Member, MemberReader
from spinefx.imaging.contrast import weighting_from_name, weighting_from_timing
from spinefx.imaging.dicom_layout import MAX_VOXELS
from spinefx.imaging.inflating import GZIP_MAGIC, Content
from spinefx.imaging.sidecar_times import is_positive, time_ms
from spinefx.imaging.volume import ORTHOGONALITY_TOLERANCE, plane_of_normal
from spinefx.vocabulary import Plane, Weighting

__all__ = [
    "RAS_TO_LPS",
    "NiftiHeader",
    "is_nifti_name",
    "is_nifti_start",
    "read_nifti_header",
    "sidecar_name",
    "stem_of",
]

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
MAX_OFFSET_BYTES = 2**20
MAX_SIDECAR_BYTES = 2**20
MAX_SIDECAR_KEYS, MAX_SIDECAR_VALUES, MAX_SIDECAR_CHARACTERS = 500, 100, 1024
MAX_SIDE = 4096
SPACING_MM, FARTHEST_MM = (0.01, 100.0), 1e5
# Between qform and sform, of the smallest voxel side: less is rounding, or a shear that a quaternion cannot hold.
MOST_APART = 0.5
HEADER_BYTES = {348: b"n+1\0", 540: b"n+2\0\r\n\x1a\n"}
PAIR_MAGICS = (b"ni1\0", b"ni2\0")
LABEL_INTENT = 1002
METRE, MICROMETRE = 1, 3
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
    """Return whether a name ends in ``.nii`` or ``.nii.gz``.

    Parameters
    ----------
    name : str

    Returns
    -------
    bool
    """
    return name.casefold().endswith((".nii", ".nii.gz"))


def is_nifti_start(start: bytes) -> bool:
    """Return whether bytes begin as a NIfTI file, or as the header of a NIfTI pair.

    Parameters
    ----------
    start : bytes
        At least 348.

    Returns
    -------
    bool
    """
    return start[344:348] in {HEADER_BYTES[348], *PAIR_MAGICS} or start[4:8] in {HEADER_BYTES[540][:4], *PAIR_MAGICS}


def stem_of(name: str) -> str:
    """Strip ``.nii``, ``.nii.gz`` or ``.gz``.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    return re.sub(r"\.(nii(\.gz)?|gz)$", "", name, flags=re.I)


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


def read_nifti_header(reader: MemberReader, member: Member, sidecar: Member | None) -> NiftiHeader:
    """Read the header of a NIfTI file and its sidecar; no voxel is touched.

    Parameters
    ----------
    reader : MemberReader
    member : Member
        Compressed by gzip or not, whatever its name says.
    sidecar : Member or None

    Returns
    -------
    NiftiHeader

    Raises
    ------
    FileError
        When it is no single-file NIfTI, or its header is cut off, impossible or contradicts itself.
    """
    with reader.open(member) as stream:
        content = Content(stream, member)
        start = content.read(max(HEADER_BYTES))
    kind = _kind_of(start, member)
    try:
        header: Any = kind(start[: kind.sizeof_hdr], check=True)
        shape, affine = tuple(int(side) for side in header.get_data_shape()), header.get_best_affine()
        slope, intercept = header.get_slope_inter()
        data_type, offset = header.get_data_dtype(), _offset_of(header)
        intent, encoded_axis = int(header["intent_code"]), header.get_dim_info()[2]
        units = int(header["xyzt_units"]) & 7
        forms = header.get_qform(coded=True)[0], header.get_sform(coded=True)[0]
        scaling = float(header["scl_slope"]), float(header["scl_inter"])
    except Exception as error:  # whatever nibabel raises on broken bytes: one bad file stays one bad file
        raise FileError(
            f"has a NIfTI header that cannot be read ({type(error).__name__})", where=member.label
        ) from None
    shape = shape[:3] if len(shape) > 3 and set(shape[3:]) == {1} else shape
    _check_voxels(shape, data_type, offset, member)
    if any(math.isinf(value) for value in scaling):
        raise FileError("has a scaling that is infinite", where=member.label)
    _check_place(shape, affine, [form for form in forms if form is not None], units, member)
    size = offset + math.prod(shape) * data_type.itemsize
    if not content.is_compressed and member.size != size:
        kind_of_fault = "has truncated voxels" if member.size < size else "holds more bytes than its header declares"
        raise FileError(f"{kind_of_fault}: {member.size} of {size}", where=member.label)
    values = _read_sidecar(reader, sidecar) if sidecar else {}
    axes = _slice_row_column(shape, affine, values.get("SliceEncodingDirection"), encoded_axis)
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
        values,
    )


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


def _kind_of(start: bytes, member: Member) -> Any:
    """Return nibabel's class for a header, which is NIfTI-1 or NIfTI-2 with the voxels in the same file."""
    sizes = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")} & set(HEADER_BYTES)
    if start[:2] == GZIP_MAGIC:
        raise FileError("is compressed twice", where=member.label, remedy="Decompress it once.")
    if not sizes or len(start) < 348:
        raise FileError("is no NIfTI file", where=member.label)
    (size,) = sizes
    if len(start) < size:
        raise FileError(f"is cut off inside its header: {len(start)} of {size} bytes", where=member.label)
    magic = start[344:348] if size == 348 else start[4:12]
    if magic[:4] in PAIR_MAGICS:
        raise FileError(
            "keeps its voxels in another file (a pair of .hdr and .img)",
            where=member.label,
            remedy="Convert the pair to one .nii file.",
        )
    if magic != HEADER_BYTES[size]:
        raise FileError("is no NIfTI file (perhaps an Analyze header)", where=member.label)
    return nibabel.Nifti1Header if size == 348 else nibabel.Nifti2Header


def _offset_of(header: Any) -> int:
    offset = float(header["vox_offset"])
    if offset != int(offset) or offset < header.sizeof_hdr + 4:
        raise ValueError
    return int(offset)


def _check_voxels(shape: tuple[int, ...], data_type: np.dtype[Any], offset: int, member: Member) -> None:
    if len(shape) != 3 or not all(1 <= side <= MAX_SIDE for side in shape):
        raise FileError(
            f"has {len(shape)} axes of {shape} voxels", where=member.label, allowed="three axes, one volume"
        )
    if data_type.kind not in "iuf" or data_type.itemsize > 8:
        raise FileError("holds voxels that are no real numbers", where=member.label)
    if offset > MAX_OFFSET_BYTES or math.prod(shape) > MAX_VOXELS:
        raise FileError(
            "declares more voxels than the size limit", where=member.label, allowed=f"up to {MAX_VOXELS} voxels"
        )


def _check_place(
    shape: tuple[int, ...],
    affine: NDArray[np.float64],
    placings: list[NDArray[np.float64]],
    units: int,
    member: Member,
) -> None:
    """Check that the header places its voxels in the patient, in one place and within reason."""
    if not placings:
        raise FileError("does not say where it lies in the patient (qform and sform are 0)", where=member.label)
    if units in {METRE, MICROMETRE}:
        raise FileError("gives its places in metres or micrometres", where=member.label, allowed="millimetres")
    if not all(np.isfinite(form).all() and np.abs(form).max() < FARTHEST_MM for form in (affine, *placings)):
        raise FileError("has an impossible affine", where=member.label)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    least, most = SPACING_MM
    if not ((spacing >= least) & (spacing <= most)).all():
        raise FileError("has an impossible voxel size", where=member.label, allowed=f"{least:g} to {most:g} mm")
    cosines = (affine[:3, :3] / spacing).T @ (affine[:3, :3] / spacing) - np.eye(3)
    if np.abs(cosines).max() > ORTHOGONALITY_TOLERANCE:
        raise FileError("has axes that are not at right angles", where=member.label)
    corners = np.array([*product(*((0, side - 1) for side in shape))]) @ np.eye(3, 4) + np.eye(4)[3]
    apart = float(np.linalg.norm(corners @ (placings[0] - placings[-1]).T, axis=1).max())
    if apart > MOST_APART * spacing.min():
        raise FileError(
            f"has a qform and an sform that place its voxels up to {apart:.1f} mm apart",
            where=member.label,
            remedy="Keep the right one in both, for example with `fslorient -copysform2qform` or -copyqform2sform.",
        )


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
    kept = [key for key in content if len(key) <= MAX_SIDECAR_CHARACTERS][:MAX_SIDECAR_KEYS]
    return {key: _plain(content[key]) for key in kept}


def _plain(value: Any) -> Any:
    """Keep of a sidecar's value what a header may use: texts, numbers and short lists; an empty text for all else."""
    if isinstance(value, str):
        return value[:MAX_SIDECAR_CHARACTERS]
    if isinstance(value, list):
        return [_plain(item) for item in value[:MAX_SIDECAR_VALUES] if not isinstance(item, list | dict)]
    if isinstance(value, int) and abs(value) > 2**63:
        return ""
    return value if isinstance(value, bool | int | float) else ""

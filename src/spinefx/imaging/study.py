"""Studies, as a folder, a ZIP archive, a DICOMDIR or NIfTI files hold them: headers first, pixels on demand.

A file that cannot be used becomes one RefusedFile with one sentence, and the rest is read on. What identifies a patient
is replaced by its hash while the headers are sorted; no name and no date is kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import ArchiveError, FileError, InputError
from spinefx.imaging import contrast, nifti
from spinefx.imaging.archive import Listing, Member, MemberReader, list_members, list_referenced
from spinefx.imaging.contents import holds_nifti
from spinefx.imaging.dicom import Frame, Header, lenient_reading, read_directory, read_header
from spinefx.imaging.dicom_elements import NoDicomError
from spinefx.imaging.dicom_pixels import read_frames
from spinefx.imaging.series import Instance, Series
from spinefx.imaging.stack import fault_of_stack, order_along_normal, plane_of_stack, split_repeats, stack_affine
from spinefx.imaging.volume import plane_of_normal
from spinefx.vocabulary import Weighting

__all__ = ["Instance", "RefusedFile", "Scan", "Series", "Study", "only_study", "open_study", "pseudonym", "scan"]

# What the headers of an image and its file take in memory, measured on classic files: about 2.5 KiB of an image.
KEPT_PER_FILE, KEPT_PER_FRAME = 1600, 900
LOSSY = "images that were compressed with loss (Lossy Image Compression, 0028,2110)"


@dataclass(frozen=True)
class Study:
    """One examination of one patient.

    Parameters
    ----------
    uid : str
        Study Instance UID, kept to match tables, never shown.
    patient_key, folder_key : str
        Pseudonyms of the PatientID and of the top folder's name inside the export; empty where there is none.
    sex : str or None
        ``F``, ``M`` or ``O``.
    age_years : float or None
        Whole years; above 89 it is 90.
    series : tuple of Series
        Sorted by number, then UID.
    """

    uid: str = field(repr=False)
    patient_key: str
    folder_key: str
    sex: str | None
    age_years: float | None
    series: tuple[Series, ...]


@dataclass(frozen=True)
class RefusedFile:
    """A file that was not used.

    Parameters
    ----------
    label : str
        ``file`` and eight digits of a hash.
    reason : str
        One sentence without identifiers.
    path : Path
        Where it lies; it may hold a patient's name, so it is shown only when the user asks.
    """

    label: str
    reason: str
    path: Path = field(repr=False)


@dataclass(frozen=True)
class Scan:
    """What an export holds.

    Parameters
    ----------
    studies : tuple of Study
        Sorted by UID.
    refused : tuple of RefusedFile
    """

    studies: tuple[Study, ...]
    refused: tuple[RefusedFile, ...]


@dataclass(frozen=True, eq=False, slots=True)
class _Image:
    """One frame with the header of its file, while the headers are sorted."""

    header: Header
    frame: Frame
    member: Member

    @property
    def shape(self) -> tuple[int, int]:
        return self.header.pixels.layout.rows, self.header.pixels.layout.columns

    @property
    def affine(self) -> NDArray[np.float64]:
        return self.frame.affine


def pseudonym(identifier: str) -> str:
    """Replace a hospital identifier by a key that matches it again without telling it.

    Parameters
    ----------
    identifier : str
        Surrounding white space does not count.

    Returns
    -------
    str
        The first 16 hexadecimal digits of its SHA-256; empty for an empty identifier.
    """
    text = identifier.strip()
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16] if text else ""


def scan(path: Path, *, progress: Callable[[int, int], None] | None = None) -> Scan:
    """Read the headers of everything at a path and sort them into studies and series.

    Parameters
    ----------
    path : Path
        A folder, a ZIP archive, a DICOMDIR, or one DICOM or NIfTI file.
    progress : function, optional
        Called with (files done, files in all).

    Returns
    -------
    Scan

    Raises
    ------
    FileError
        When nothing is at the path.
    ArchiveError
        When the path is a broken or hostile ZIP archive.
    """
    path = Path(path)
    images: list[_Image] = []
    volumes: list[tuple[Member, nifti.NiftiHeader]] = []
    with MemberReader() as reader, lenient_reading():
        listing = _list(path, reader)
        refused = [RefusedFile(item.member.label, item.reason, item.member.path) for item in listing.refused]
        refused += _left_by_systems(listing, path)
        sidecars = _sidecars(listing.members)
        passed = set(sidecars.values())
        for done, member in enumerate(listing.members):
            if progress:
                progress(done, len(listing.members))
            if member in passed:
                continue
            try:
                found = _read_member(reader, member, sidecars)
                reader.keep(_kept_bytes(found))
            except ArchiveError:
                raise  # a limit of the whole export, not of one file
            except Exception as error:  # one bad file is one refused file, whatever it does to its reader
                refused.append(RefusedFile(member.label, _sentence(error), member.path))
                continue
            if isinstance(found, nifti.NiftiHeader):
                volumes.append((member, found))
            else:
                images += found
        if progress:
            progress(len(listing.members), len(listing.members))
        studies = [*_dicom_studies(_without_copies(images, reader)), *_nifti_studies(volumes)]
    return Scan(tuple(sorted(studies, key=lambda study: (study.uid, study.patient_key))), tuple(refused))


def open_study(path: Path) -> Study:
    """Read the headers of the one study at a path.

    Parameters
    ----------
    path : Path
        As for :func:`scan`.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        When there is no study, or more than one.
    """
    return only_study(scan(path))


def only_study(found: Scan) -> Study:
    """Give the one study of a scan.

    Parameters
    ----------
    found : Scan

    Returns
    -------
    Study

    Raises
    ------
    InputError
        When there is no study, or more than one.
    """
    if len(found.studies) == 1:
        return found.studies[0]
    if found.studies:
        patients = len({study.patient_key for study in found.studies})
        raise InputError(
            f"{len(found.studies)} studies of {patients} patient{'s' * (patients != 1)}",
            where="what was given",
            allowed="one study",
            remedy="Give the folder of one study.",
        )
    reasons = sorted({item.reason for item in found.refused})
    told = f"; {len(found.refused)} files were refused: {', '.join(reasons[:3])}" if reasons else ""
    raise FileError(f"no study{told}", where="what was given", allowed="DICOM or NIfTI images of one patient")


def _list(path: Path, reader: MemberReader) -> Listing:
    listing = list_members(path)
    if not path.is_file() or len(listing.members) != 1 or listing.members[0].zipped_as:
        return listing
    only = listing.members[0]
    try:
        with reader.open(only) as stream:
            file_ids = read_directory(stream, only)
    except FileError:
        return listing  # an image, or something that scan() refuses with its reason
    if not file_ids:
        raise FileError("a DICOMDIR that lists no files", where=only.label)
    return list_referenced(only, file_ids)


def _left_by_systems(listing: Listing, path: Path) -> list[RefusedFile]:
    """Say in one line how many files macOS or Windows left beside the images."""
    count = listing.left_by_systems
    files = "1 file" if count == 1 else f"{count} files"
    return [RefusedFile(files, "left by macOS or Windows beside the images", path)] if count else []


def _sidecars(members: Sequence[Member]) -> dict[str, Member]:
    """Find the sidecar of each NIfTI file by its name."""
    by_name = {member.name: member for member in members}
    pairs = ((name, nifti.sidecar_name(name)) for name in by_name if nifti.is_nifti_name(name))
    return {name: by_name[beside] for name, beside in pairs if beside in by_name}


def _read_member(
    reader: MemberReader, member: Member, sidecars: Mapping[str, Member]
) -> nifti.NiftiHeader | list[_Image]:
    """Read one file's headers: those of a NIfTI volume, or of DICOM images (none for a DICOMDIR)."""
    if not member.size:
        raise FileError("is empty")
    if nifti.is_nifti_name(member.name):
        return nifti.read_nifti_header(reader, member, sidecars.get(member.name))
    try:
        with reader.open(member) as stream:
            header = read_header(stream, member)
            reader.finish(stream, member)
    except NoDicomError:
        if holds_nifti(reader, member):  # under a name of another kind
            return nifti.read_nifti_header(reader, member, None)
        raise
    return [_Image(header, frame, member) for frame in header.frames] if header else []


def _kept_bytes(found: nifti.NiftiHeader | list[_Image]) -> int:
    """Estimate what the headers of one file take in memory."""
    if isinstance(found, nifti.NiftiHeader):
        texts = sum(len(str(value)) for value in found.sidecar.values())
        return KEPT_PER_FILE + found.volume_shape[0] * KEPT_PER_FRAME + texts
    if not found:
        return 0
    header = found[0].header
    return KEPT_PER_FILE + len(found) * KEPT_PER_FRAME + len(header.description) + len(header.patient_id)


def _sentence(error: Exception) -> str:
    if isinstance(error, InputError):
        allowed = f" (allowed: {error.allowed})" if error.allowed else ""
        return f"{error.found}{allowed}" + f". {error.remedy}" * bool(error.remedy)
    # The text of any other error may hold a path.
    return f"cannot be read ({getattr(error, 'strerror', None) or type(error).__name__})"


def _without_copies(images: Iterable[_Image], reader: MemberReader) -> list[_Image]:
    """Drop images that are there twice: the same UID, the same place, the same pixels, however they are encoded."""
    kept: dict[tuple[str, str, str, int], list[_Image]] = {}
    for image in images:
        header = image.header
        same = kept.setdefault((header.patient_id, header.study_uid, header.sop_uid, image.frame.number), [])
        if not any(_is_copy(image, other, reader) for other in same):
            same.append(image)
    return [image for same in kept.values() for image in same]


def _is_copy(image: _Image, other: _Image, reader: MemberReader) -> bool:
    if image.shape != other.shape or not np.allclose(image.affine, other.affine, atol=1e-6):
        return False
    try:
        first, second = (
            read_frames(reader, each.member, each.header.pixels, [each.frame.number])[0] for each in (image, other)
        )
    except FileError:
        return False  # loading the series names the file whose pixels cannot be read
    return np.array_equal(first, second)


def _dicom_studies(images: Iterable[_Image]) -> list[Study]:
    # The patient is part of the key: a study UID that two patients share must not mix them.
    studies: dict[tuple[str, str], dict[str, list[_Image]]] = {}
    for image in images:
        header = image.header
        series = studies.setdefault((header.study_uid, header.patient_id.strip()), {})
        series.setdefault(header.series_uid, []).append(image)
    return [_study(series) for series in studies.values()]


def _study(found: dict[str, list[_Image]]) -> Study:
    images = [image for series in found.values() for image in series]
    first = min(images, key=lambda image: (image.header.sop_uid, image.frame.number))
    made = [series for uid, group in found.items() for series in _make_series(uid, group)]
    ages = {image.header.age_years for image in images} - {None}
    sexes = {image.header.sex for image in images} & {"F", "M", "O"}
    return Study(
        uid=first.header.study_uid,
        patient_key=pseudonym(first.header.patient_id),
        folder_key=pseudonym(min(image.member.top_folder for image in images)),
        sex=sexes.pop() if len(sexes) == 1 else None,
        age_years=first.header.age_years if len(ages) != 1 else ages.pop(),
        series=tuple(sorted(made, key=_series_order)),
    )


def _series_order(series: Series) -> tuple[bool, int, str]:
    return series.number is None, series.number or 0, series.uid


def _make_series(uid: str, images: list[_Image]) -> list[Series]:
    # A rule, never the order of files, settles every tie, so that shuffled files give the same series.
    images = sorted(images, key=lambda image: (image.header.sop_uid, image.frame.number))
    stacks = split_repeats(
        images,
        (
            lambda image: image.frame.echo_time_ms,
            lambda image: image.frame.image_type,
            lambda image: image.frame.acquisition,
            lambda image: image.frame.temporal_position,
        ),
    )
    stacks.sort(key=_stack_order)
    names = [uid] if len(stacks) == 1 else [f"{uid}#{part}" for part in range(1, len(stacks) + 1)]
    return [_one_series(name, order_along_normal(stack)) for name, stack in zip(names, stacks, strict=True)]


def _stack_order(stack: list[_Image]) -> tuple[float, tuple[str, ...], int, int]:
    frame = stack[0].frame
    return frame.echo_time_ms or 0.0, frame.image_type, frame.acquisition or 0, frame.temporal_position or 0


def _one_series(uid: str, images: list[_Image]) -> Series:
    header, frame = images[0].header, images[0].frame
    image_type = tuple(word.upper() for word in frame.image_type)
    timed = contrast.weighting_from_timing(frame.repetition_time_ms, frame.echo_time_ms, frame.inversion_time_ms)
    named = contrast.weighting_from_name(header.description) if timed is Weighting.UNKNOWN else Weighting.UNKNOWN
    step = np.linalg.norm(stack_affine(images)[:3, :3], axis=0)
    fault = fault_of_stack(images) or LOSSY * any(image.header.lossy for image in images)
    thickness = header.slice_thickness_mm if fault or len(images) == 1 else None
    return Series(
        uid=uid,
        study_uid=header.study_uid,
        number=header.series_number,
        weighting=timed if named is Weighting.UNKNOWN else named,
        weighting_is_named=named is not Weighting.UNKNOWN,
        plane=plane_of_stack(images),
        repetition_time_ms=frame.repetition_time_ms,
        echo_time_ms=frame.echo_time_ms,
        inversion_time_ms=frame.inversion_time_ms,
        flip_angle_deg=frame.flip_angle_deg,
        fat_suppressed=contrast.fat_suppressed(
            scan_options=header.scan_options,
            scan_options_known=header.scan_options_known,
            scanning_sequence=header.scanning_sequence,
            inversion_time_ms=frame.inversion_time_ms,
            image_type=image_type,
            name=header.description,
        ),
        gradient_echo=contrast.gradient_echo(header.scanning_sequence),
        contrast_agent=header.contrast_agent,
        modality=header.modality,
        body_part=header.body_part,
        description=header.description,
        image_type=image_type,
        shape=images[0].shape,
        spacing_mm=(float(thickness or step[0]), float(step[1]), float(step[2])),
        frame_of_reference=pseudonym(header.frame_of_reference_uid),
        instances=tuple(
            Instance(
                image.header.sop_uid, image.frame.number, image.shape, image.affine, image.member, image.header.pixels
            )
            for image in images
        ),
        fault=fault,
    )


def _nifti_studies(volumes: Sequence[tuple[Member, nifti.NiftiHeader]]) -> list[Study]:
    folders: dict[str, list[tuple[Member, nifti.NiftiHeader]]] = {}
    for member, header in volumes:
        folders.setdefault(_subject_folder(member.name), []).append((member, header))
    studies = []
    for folder, group in folders.items():
        uid = f"nifti-{pseudonym(folder or 'top')}"
        ordered = sorted(group, key=lambda pair: pair[0].name)
        series = tuple(_nifti_series(uid, number, *pair) for number, pair in enumerate(ordered, start=1))
        studies.append(Study(uid, "", pseudonym(ordered[0][0].top_folder), None, None, series))
    return studies


def _subject_folder(name: str) -> str:
    """Name the folder that makes a study: a BIDS subject and session, else the file's own folder."""
    bids = re.match(r"(?:.*/)?sub-[^/]+(?:/ses-[^/]+)?(?=/)", name)
    return bids.group() if bids else name.rpartition("/")[0]


def _nifti_series(study_uid: str, number: int, member: Member, header: nifti.NiftiHeader) -> Series:
    uid = f"nifti-{pseudonym(member.name)}"
    slices, rows, columns = header.volume_shape
    normal = header.affine[:3, 0] / np.linalg.norm(header.affine[:3, 0])
    instances = []
    for index in range(slices):
        affine = np.column_stack([np.append(normal, 0), *header.affine[:, 1:].T])
        affine[:3, 3] += index * header.affine[:3, 0]
        instances.append(Instance(f"{uid}.{index}", index, (rows, columns), affine, member))
    timed = contrast.weighting_from_timing(header.repetition_time_ms, header.echo_time_ms, header.inversion_time_ms)
    name = nifti.stem_of(member.name.rpartition("/")[2]) + " " + header.text("SeriesDescription")
    spacing = np.linalg.norm(header.affine[:3, :3], axis=0)
    return Series(
        uid=uid,
        study_uid=study_uid,
        number=number,
        weighting=header.weighting,
        weighting_is_named=timed is Weighting.UNKNOWN and header.weighting is not Weighting.UNKNOWN,
        plane=plane_of_normal(normal),
        repetition_time_ms=header.repetition_time_ms,
        echo_time_ms=header.echo_time_ms,
        inversion_time_ms=header.inversion_time_ms,
        flip_angle_deg=header.flip_angle_deg,
        fat_suppressed=contrast.fat_suppressed(
            scan_options=header.words("ScanOptions"),
            scan_options_known=bool(header.words("ScanOptions")),
            scanning_sequence=header.words("ScanningSequence"),
            inversion_time_ms=header.inversion_time_ms,
            image_type=header.words("ImageType"),
            name=name,
        ),
        gradient_echo=contrast.gradient_echo(header.words("ScanningSequence")),
        contrast_agent=bool(header.text("ContrastBolusIngredient") or header.text("ContrastBolusAgent")),
        modality="SEG" if header.is_label_map else header.text("Modality") or "MR",
        body_part=header.text("BodyPartExamined").upper(),
        description=name,
        image_type=header.words("ImageType"),
        shape=(rows, columns),
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        frame_of_reference=header.frame_of_reference,
        instances=tuple(instances),
        nifti=header,
    )

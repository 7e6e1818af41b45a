"""Studies in a folder, a ZIP archive, a DICOMDIR or NIfTI files: headers first, pixels on demand.

A file that cannot be used becomes one RefusedFile with one sentence, and reading continues. Identifiers of patients are
replaced by hashes while the headers are sorted; names and dates are not kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from spinefx.errors import ArchiveError, FileError, InputError
from spinefx.imaging import nifti
from spinefx.imaging.archive import Listing, Member, MemberReader, list_members, list_referenced
from spinefx.imaging.assembly import Study, dicom_studies, nifti_studies, pseudonym
from spinefx.imaging.contents import holds_nifti
from spinefx.imaging.dicom import lenient_reading, read_directory, read_header
from spinefx.imaging.dicom_elements import NoDicomError
from spinefx.imaging.grouping import Image, without_copies
from spinefx.imaging.series import Instance, Series

__all__ = [
    "Instance",
    "RefusedFile",
    "Scan",
    "Series",
    "Study",
    "collapsed",
    "only_study",
    "open_study",
    "pseudonym",
    "scan",
]

COPY = "is an exact copy of another image: same place, same pixels, another UID"
FILE_NAMES = " NIfTI files of one patient share a folder and the first part of their names (P1_T1w, P1_T2w)."
MAX_LISTED = 4
# Memory that the headers of a file and of each of its images take, measured on classic files: 2.5 KiB per image.
KEPT_PER_FILE, KEPT_PER_FRAME = 1600, 900


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
        May contain a patient's name, so it is shown only on request.
    """

    label: str
    reason: str
    path: Path = field(repr=False)


@dataclass(frozen=True)
class Scan:
    """The contents of an export.

    Parameters
    ----------
    studies : tuple of Study
        Sorted by UID.
    refused : tuple of RefusedFile
    """

    studies: tuple[Study, ...]
    refused: tuple[RefusedFile, ...]


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
        When the path does not exist.
    ArchiveError
        When the path is a broken or hostile ZIP archive.
    """
    path = Path(path)
    images: list[Image] = []
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
        images, copies = without_copies(images, reader)
        studies, more = dicom_studies(images, reader)
        refused += [RefusedFile(image.member.label, COPY, image.member.path) for image in (*copies, *more)]
    studies += nifti_studies(volumes)
    return Scan(tuple(sorted(studies, key=lambda study: (study.uid, study.patient_key))), tuple(refused))


def collapsed(refused: Sequence[RefusedFile]) -> list[str]:
    """Return a line for each reason why files were refused.

    Parameters
    ----------
    refused : sequence of RefusedFile

    Returns
    -------
    list of str
        Files with the same reason share a line, in which they are counted.
    """
    times = Counter(file.reason for file in refused)
    first = {file.reason: file.label for file in reversed(refused)}
    return [f"{first[reason] if many == 1 else f'{many} files'}: {reason}" for reason, many in times.items()]


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
    """Return the only study of a scan.

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
        # Copies are among the study's own notes.
        left = sorted(collapsed(tuple(item for item in found.refused if item.reason != COPY)))
        note = (f"Files not read: {'; '.join(left)}",) if left else ()
        return replace(found.studies[0], notes=(*found.studies[0].notes, *note))
    if found.studies:
        patients = len({study.patient_key or study.uid for study in found.studies})
        raise InputError(
            f"{len(found.studies)} studies of {patients} patient{'s' * (patients != 1)} ({_listed(found.studies)})",
            where="input",
            allowed="one study",
            remedy="Give the folder of one study."
            + FILE_NAMES * any(study.series[0].nifti is not None for study in found.studies),
        )
    reasons = sorted({item.reason for item in found.refused})
    refused = f"; {len(found.refused)} files were refused: {', '.join(reasons[:3])}" if reasons else ""
    raise FileError(f"no study{refused}", where="input", allowed="DICOM or NIfTI images of one patient")


def _listed(studies: Sequence[Study]) -> str:
    """List what the first studies hold."""
    told = [f"study {number}: {', '.join(one.kinds)}" for number, one in enumerate(studies[:MAX_LISTED], start=1)]
    return "; ".join([*told, *([f"{len(studies) - MAX_LISTED} more"] if len(studies) > MAX_LISTED else [])])


def _list(path: Path, reader: MemberReader) -> Listing:
    listing = list_members(path)
    if not path.is_file() or len(listing.members) != 1 or listing.members[0].zipped_as:
        return listing
    only = listing.members[0]
    try:
        with reader.open(only) as stream:
            file_ids = read_directory(stream, only)
    except FileError:
        return listing  # an image, or a file that scan() refuses with a reason
    if not file_ids:
        raise FileError("a DICOMDIR without any files", where=only.label)
    return list_referenced(only, file_ids)


def _sidecars(members: Sequence[Member]) -> dict[str, Member]:
    """Return the sidecar of each NIfTI file by the file's name."""
    by_name = {member.name: member for member in members}
    pairs = ((name, nifti.sidecar_name(name)) for name in by_name if nifti.is_nifti_name(name))
    return {name: by_name[beside] for name, beside in pairs if beside in by_name}


def _left_by_systems(listing: Listing, path: Path) -> list[RefusedFile]:
    """Report in one line how many files macOS or Windows left beside the images."""
    count = listing.left_by_systems
    files = "1 file" if count == 1 else f"{count} files"
    return [RefusedFile(files, "left by macOS or Windows beside the images", path)] if count else []


def _read_member(
    reader: MemberReader, member: Member, sidecars: Mapping[str, Member]
) -> nifti.NiftiHeader | list[Image]:
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
        if holds_nifti(reader, member):  # under another kind of name
            return nifti.read_nifti_header(reader, member, None)
        raise
    return [Image(header, frame, member) for frame in header.frames] if header else []


def _kept_bytes(found: nifti.NiftiHeader | list[Image]) -> int:
    """Estimate the memory that the headers of one file take."""
    if isinstance(found, nifti.NiftiHeader):
        texts = sum(len(str(value)) for value in found.sidecar.values())
        return KEPT_PER_FILE + found.volume_shape[0] * KEPT_PER_FRAME + texts
    if not found:
        return 0
    header = found[0].header
    texts = len(header.patient_id) + len(header.words.description) + len(header.words.protocol)
    return KEPT_PER_FILE + len(found) * KEPT_PER_FRAME + texts


def _sentence(error: Exception) -> str:
    if isinstance(error, InputError):
        allowed = f" (allowed: {error.allowed})" if error.allowed else ""
        return f"{error.found}{allowed}" + f". {error.remedy}" * bool(error.remedy)
    # The text of any other error may contain a path.
    return f"cannot be read ({getattr(error, 'strerror', None) or type(error).__name__})"

"""Tell by its first bytes what a file is that is no DICOM image, whatever its name says."""

from __future__ import annotations

from spinefx.errors import FileError
from spinefx.imaging.archive import Member, MemberReader
from spinefx.imaging.inflating import Content
from spinefx.imaging.nifti_header import is_nifti_start

__all__ = ["holds_nifti"]

START_BYTES = 1024
NRRD_OR_META = "is an NRRD or MetaImage volume, which is not read. Convert it to NIfTI or export DICOM"
# By their first bytes, from longest to shortest.
KNOWN = {
    b"\x89PNG": "is a PNG picture, not an image series",
    b"PK\x03\x04": "is a ZIP archive or an Office document under another name. If it holds images, name it .zip",
    b"%PDF": "is a PDF document, not an image",
    b"NRRD": NRRD_OR_META,
    b"ObjectType": NRRD_OR_META,
    b"\xff\xd8\xff": "is a JPEG picture, not an image series",
    b"7z\xbc\xaf": "is a 7-Zip archive, which is not read. Unpack it",
    b"Rar!": "is a RAR archive, which is not read. Unpack it",
}
TAR_MAGIC, TAR_OFFSET = b"ustar", 257
DICOM_MAGIC, DICOM_OFFSET = b"DICM", 128


def holds_nifti(reader: MemberReader, member: Member) -> bool:
    """Return whether a file whose name and start are no DICOM holds NIfTI after all, compressed or not.

    Parameters
    ----------
    reader : MemberReader
    member : Member

    Returns
    -------
    bool

    Raises
    ------
    FileError
        When it is something else that has a name.
    """
    with reader.open(member) as stream:
        content = Content(stream, member)
        start = content.read(START_BYTES)
    if is_nifti_start(start):
        return True
    if start[TAR_OFFSET:].startswith(TAR_MAGIC):
        raise FileError("is a tar archive, which is not read", where=member.label, remedy="Unpack it.")
    if content.is_compressed:
        what = "a DICOM file" if start[DICOM_OFFSET:].startswith(DICOM_MAGIC) else "something that is no NIfTI volume"
        raise FileError(f"is {what} compressed by gzip", where=member.label, remedy="Decompress it.")
    for magic, sentence in KNOWN.items():
        if start.startswith(magic):
            found, _, remedy = sentence.partition(". ")
            raise FileError(found, where=member.label, remedy=f"{remedy}." if remedy else "")
    return False

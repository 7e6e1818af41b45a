"""Where an export's files lie: a folder, one file, a ZIP archive, or the list of a DICOMDIR.

Nothing is ever unpacked to the disk, no symbolic link or listed name leads out of the export, and no declared size is
believed: what a member may cost is capped before it is read (CVE-2026-5437 and its kind trusted such sizes).
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from spinefx.errors import ArchiveError, FileError, InputError

__all__ = ["Listing", "Member", "MemberReader", "RefusedMember", "list_members", "list_referenced"]

MAX_MEMBERS = 200_000
MAX_MEMBER_BYTES = 512 * 2**20
MAX_ARCHIVE_BYTES = 64 * 2**30
MAX_RATIO = 200
# Small members may shrink by any factor: an empty slice or a label map is no bomb.
FREE_BYTES = 2**20
MAX_NAME_CHARACTERS = 1000


@dataclass(frozen=True)
class Member:
    """One file of an export.

    Parameters
    ----------
    name : str
        Path inside the export, parts joined by ``/``. It may hold a patient's name: never shown.
    path : Path
        The file, or the ZIP archive that holds it. Never shown.
    size : int
        Bytes, as the file system or the archive declares them.
    zipped_as : str
        Name inside the ZIP archive; empty for a file.
    """

    name: str = field(repr=False)
    path: Path = field(repr=False)
    size: int
    zipped_as: str = field(default="", repr=False)

    @property
    def label(self) -> str:
        """What messages call the file: a hash of its place in the export."""
        return f"file {hashlib.sha256(self.name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"

    @property
    def top_folder(self) -> str:
        """Name of the first folder inside the export; empty for a file at its top."""
        first, _, rest = self.name.partition("/")
        return first if rest else ""


@dataclass(frozen=True)
class RefusedMember:
    """A file that is not opened at all.

    Parameters
    ----------
    member : Member
    reason : str
        One sentence.
    """

    member: Member
    reason: str


@dataclass(frozen=True)
class Listing:
    """What an export holds.

    Parameters
    ----------
    members : tuple of Member
        Sorted by name.
    refused : tuple of RefusedMember
    """

    members: tuple[Member, ...]
    refused: tuple[RefusedMember, ...] = ()


class MemberReader:
    """Opens members, each ZIP archive once; a context manager that closes what it opened."""

    def __init__(self) -> None:
        self._archives: dict[Path, zipfile.ZipFile] = {}

    def __enter__(self) -> MemberReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for archive in self._archives.values():
            archive.close()

    def open(self, member: Member) -> BinaryIO:
        """Open a member for reading; a zipped one is inflated into memory, never beyond its declared size.

        Parameters
        ----------
        member : Member

        Returns
        -------
        binary file
            Seekable; the caller closes it.

        Raises
        ------
        FileError
            When the file cannot be read, or inflates to another size than declared.
        """
        if member.size > MAX_MEMBER_BYTES:
            raise FileError("is larger than the size limit", where=member.label)
        try:
            if not member.zipped_as:
                return member.path.open("rb")
            with self._archive(member.path).open(member.zipped_as) as stream:
                data = stream.read(member.size + 1)
        except (
            OSError,
            RuntimeError,
            NotImplementedError,  # what zipfile says to a packing it does not know
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            KeyError,
        ) as error:
            raise FileError(f"cannot be read ({_kind_of(error)})", where=member.label) from None
        if len(data) != member.size:
            raise FileError("inflates to another size than the archive declares", where=member.label)
        return io.BytesIO(data)

    def _archive(self, path: Path) -> zipfile.ZipFile:
        if path not in self._archives:
            self._archives[path] = zipfile.ZipFile(path)
        return self._archives[path]


def list_members(path: Path) -> Listing:
    """List the files of a folder, a ZIP archive or a single file; ZIP archives inside a folder are looked into.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Listing

    Raises
    ------
    FileError
        When nothing is at the path.
    ArchiveError
        When the path is a ZIP archive that is broken, or whose sizes make it a bomb.
    """
    if path.is_dir():
        listings = [_expand(item) for item in _walk(path, path.resolve())]
    elif path.is_file():
        only = Member(path.name, path, path.stat().st_size)
        listings = [_list_zip(only, "") if _is_zip(only) else Listing((only,))]
    else:
        raise FileError("nothing there", where="what was given", allowed="a folder, a ZIP archive or an image file")
    members = sorted((member for listing in listings for member in listing.members), key=lambda member: member.name)
    return Listing(tuple(members), tuple(refused for listing in listings for refused in listing.refused))


def list_referenced(directory: Member, file_ids: Sequence[Sequence[str]]) -> Listing:
    """Find the files that a DICOMDIR lists, beside it or below it and nowhere else (CVE-2026-32711).

    Parameters
    ----------
    directory : Member
        The DICOMDIR.
    file_ids : sequence of sequences of str
        Referenced File ID (0004,1500) of every record: the parts of a path.

    Returns
    -------
    Listing
        A reference that leaves the folder, or names a missing file, is refused.
    """
    root = directory.path.parent
    folded = {member.name.casefold(): member for member in list_members(root).members}
    members: dict[str, Member] = {}
    refused: dict[str, RefusedMember] = {}
    for parts in file_ids:
        name = "/".join(parts)
        # DICOMDIR names are upper case (PS3.10 section 8.5); copies on a disk often are not.
        member = folded.get(name.casefold())
        if reason := _bad_name(name) or ("" if member else "is listed in the DICOMDIR but missing"):
            refused[name] = RefusedMember(Member(name, root, 0), reason)
        elif member:
            members[name] = member
    return Listing(tuple(members[name] for name in sorted(members)), tuple(refused.values()))


def _walk(folder: Path, root: Path) -> Iterator[Member | RefusedMember]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        for entry in sorted([*files, *(name for name in folders if os.path.islink(os.path.join(place, name)))]):
            path = Path(place, entry)
            name = path.relative_to(folder).as_posix()
            try:
                state = path.stat()
                inside = not path.is_symlink() or path.resolve().is_relative_to(root)
            except (OSError, RuntimeError):
                yield RefusedMember(Member(name, path, 0), "cannot be read")
                continue
            if not inside:
                yield RefusedMember(Member(name, path, 0), "is a symbolic link that leaves the folder")
            elif stat.S_ISREG(state.st_mode):
                yield Member(name, path, state.st_size)
            elif not stat.S_ISDIR(state.st_mode):
                yield RefusedMember(Member(name, path, 0), "is no regular file")


def _expand(found: Member | RefusedMember) -> Listing:
    if isinstance(found, RefusedMember):
        return Listing((), (found,))
    # By its name first: one look at the name saves opening every slice twice.
    if not found.name.casefold().endswith(".zip") or not _is_zip(found):
        return Listing((found,))
    try:
        return _list_zip(found, f"{found.name[: -len('.zip')]}/")
    except InputError as error:
        return Listing((), (RefusedMember(found, error.found),))


def _is_zip(member: Member) -> bool:
    try:
        with member.path.open("rb") as stream:
            return stream.read(4) in {b"PK\x03\x04", b"PK\x05\x06"}
    except OSError:
        return False


def _list_zip(archive: Member, prefix: str) -> Listing:
    try:
        with zipfile.ZipFile(archive.path) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ArchiveError(f"a ZIP archive that cannot be read ({_kind_of(error)})", where=archive.label) from None
    total = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_MEMBERS:
        raise ArchiveError(
            f"{len(entries)} files in a ZIP archive", where=archive.label, allowed=f"up to {MAX_MEMBERS}"
        )
    # The whole is held against the archive's own size, so that overlapping members count too.
    if total > MAX_ARCHIVE_BYTES or total > FREE_BYTES + MAX_RATIO * archive.size:
        raise ArchiveError(
            "a ZIP archive that inflates beyond measure",
            where=archive.label,
            allowed=f"up to {MAX_RATIO} times its size",
        )
    members, refused = [], []
    seen: set[str] = set()
    for entry in entries:
        member = Member(f"{prefix}{entry.filename}", archive.path, entry.file_size, entry.filename)
        if reason := _bad_entry(entry, seen):
            refused.append(RefusedMember(member, reason))
        else:
            members.append(member)
        seen.add(entry.filename)
    return Listing(tuple(members), tuple(refused))


def _bad_entry(entry: zipfile.ZipInfo, seen: set[str]) -> str:
    """Say why a ZIP member is not opened; empty where nothing speaks against it."""
    if reason := _bad_name(entry.filename):
        return reason
    if entry.filename in seen:
        return "has the name of another file of the archive"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a symbolic link"
    if entry.file_size > MAX_MEMBER_BYTES:
        return "inflates beyond the size limit"
    if entry.file_size > FREE_BYTES + MAX_RATIO * entry.compress_size:
        return "inflates beyond measure"
    if entry.filename.casefold().endswith(".zip"):
        return "is a ZIP archive inside a ZIP archive"
    return ""


def _bad_name(name: str) -> str:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0] or "\0" in name:
        return "has a name that leaves the folder"
    if not name or len(name) > MAX_NAME_CHARACTERS:
        return "has a name that is empty or too long"
    return ""


def _kind_of(error: Exception) -> str:
    """Name an error without its text, which may hold a path."""
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else type(error).__name__

"""List the files of an export and open them: a folder, one file, a ZIP archive, or what a DICOMDIR lists.

Nothing is unpacked to the disk, no symbolic link or listed name leads out of the export, and only regular files are
opened. Members of a ZIP archive are inflated as they are read; no declared size is believed (CVE-2026-5437 and similar
faults came from trusting such sizes).
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, cast

from spinefx.errors import ArchiveError, FileError, InputError

__all__ = ["Listing", "Member", "MemberReader", "RefusedMember", "list_members", "list_referenced"]

MAX_MEMBERS = 100_000
# What zipfile holds of each entry is some ten times its record in the archive's directory.
MAX_DIRECTORY_BYTES = 12 * 2**20
MAX_MEMBER_BYTES = 512 * 2**20
MAX_ARCHIVE_BYTES = 64 * 2**30
MAX_RATIO = 200
# Small members may shrink by any factor: an empty slice or a label map is no bomb.
FREE_BYTES = 2**20
MAX_NAME_CHARACTERS = 1000
# Of one export: about 100,000 images.
MAX_KEPT_BYTES = 256 * 2**20
SKIPPED_BYTES = 2**18

END_OF_DIRECTORY, LONG_END, LONG_LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
END_BYTES, LOCATOR_BYTES, LONG_END_BYTES, MAX_COMMENT_BYTES = 22, 20, 56, 2**16
UNPACKED = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
# What zipfile and zlib raise on broken bytes; NotImplementedError is for a version that zipfile does not know.
ZIP_ERRORS = (OSError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, ValueError)

# What systems leave beside the images.
JUNK_FOLDERS = frozenset({"__macosx", ".spotlight-v100", ".trashes", ".fseventsd", "$recycle.bin"})
JUNK_FILES = frozenset({".ds_store", ".localized", "thumbs.db", "ehthumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
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
        """How messages name the file: by a hash of its place in the export."""
        return f"file {hashlib.sha256(self.name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"

    @property
    def top_folder(self) -> str:
        """Name of the first folder inside the export; empty for a file at its top."""
        first, _, rest = self.name.partition("/")
        return first if rest else ""


@dataclass(frozen=True, slots=True)
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
    """The files of an export.

    Parameters
    ----------
    members : tuple of Member
        Sorted by name.
    refused : tuple of RefusedMember
    left_by_systems : int
        How many files macOS or Windows left beside the images; they are neither read nor refused.
    """

    members: tuple[Member, ...]
    refused: tuple[RefusedMember, ...] = ()
    left_by_systems: int = 0


class MemberReader:
    """Open members, each ZIP archive once; a context manager that closes the archives."""

    def __init__(self) -> None:
        self._archives: dict[Path, tuple[BinaryIO, zipfile.ZipFile]] = {}
        self._kept = 0

    def __enter__(self) -> MemberReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file, archive in self._archives.values():
            archive.close()
            file.close()

    def open(self, member: Member) -> BinaryIO:
        """Open a member for reading.

        Parameters
        ----------
        member : Member

        Returns
        -------
        binary file
            Seekable; the caller closes it. Reading a zipped member to its end checks its checksum and size, and a
            seek backwards inflates it again.

        Raises
        ------
        FileError
            When it is no regular file, or cannot be read.
        """
        if member.size > MAX_MEMBER_BYTES:
            raise FileError(f"is larger than {MAX_MEMBER_BYTES} bytes", where=member.label)
        try:
            if not member.zipped_as:
                return _open_regular(member)
            return cast(BinaryIO, _Unzipped(self._archive(member).open(member.zipped_as), member))
        except ZIP_ERRORS as error:
            raise FileError(f"cannot be read ({_kind_of(error)})", where=member.label) from None

    def finish(self, stream: BinaryIO, member: Member) -> None:
        """Read a zipped member to its end, where its checksum and size are compared; a file has neither.

        Parameters
        ----------
        stream : binary file
            As :meth:`open` returned it.
        member : Member

        Raises
        ------
        FileError
        """
        if member.zipped_as:
            stream.seek(member.size)

    def keep(self, size: int) -> None:
        """Count bytes that stay in memory for an export; all of them together have a limit.

        Parameters
        ----------
        size : int

        Raises
        ------
        ArchiveError
            When the export has too many images, or too much text in its headers.
        """
        self._kept += size
        if self._kept > MAX_KEPT_BYTES:
            raise ArchiveError(
                f"headers that take more than {MAX_KEPT_BYTES // 2**20} MiB of memory",
                where="the export",
                remedy="Give it in parts.",
            )

    def _archive(self, member: Member) -> zipfile.ZipFile:
        if member.path not in self._archives:
            file = _open_regular(member)
            try:
                self._archives[member.path] = file, zipfile.ZipFile(file)
            except BaseException:
                file.close()
                raise
        return self._archives[member.path][1]


class _Unzipped(io.BufferedIOBase):
    """A member of a ZIP archive, inflated as it is read."""

    def __init__(self, stream: IO[bytes], member: Member) -> None:
        self._stream, self._member = stream, member

    def read(self, size: int | None = -1) -> bytes:
        """Read so many bytes, or all; fewer only at the end, where checksum and size are compared."""
        wanted = self._member.size + 1 if size is None or size < 0 else size
        try:
            data = self._stream.read(wanted)
            place = self._stream.tell()
            if place >= self._member.size:
                self._stream.read(1)  # at the end, and only there, zipfile compares the checksum
        except ZIP_ERRORS as error:
            raise FileError(f"cannot be read ({_kind_of(error)})", where=self._member.label) from None
        if place < self._member.size and len(data) < wanted:
            raise FileError("inflates to another size than the archive declares", where=self._member.label)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset from the start."""
        position = self._stream.tell()
        if whence != os.SEEK_SET:
            raise io.UnsupportedOperation("a zipped member is sought from its start")
        if offset < position:
            self._stream.seek(0)
            position = 0
        while position < offset and (skipped := self.read(min(SKIPPED_BYTES, offset - position))):
            position += len(skipped)
        return position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        self._stream.close()
        super().close()


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
        When nothing is at the path, or something that is neither a folder nor a regular file.
    ArchiveError
        When the path is a ZIP archive that is broken, or whose sizes make it a bomb.
    """
    allowed = "a folder, a ZIP archive, a DICOMDIR or an image file"
    if path.is_dir():
        listings = [_expand(item) for item in _walk(path, path.resolve())]
    elif path.is_file():
        only = Member(path.name, path, path.stat().st_size)
        listings = [_list_zip(only, "") if _is_zip(only) else Listing((only,))]
    elif path.exists():
        raise FileError("is no regular file", where="the given path", allowed=allowed)
    else:
        raise FileError("not found", where="the given path", allowed=allowed)
    members = sorted((member for listing in listings for member in listing.members), key=lambda member: member.name)
    return Listing(
        tuple(member for member in members if not _is_junk(member.name)),
        tuple(refused for listing in listings for refused in listing.refused if not _is_junk(refused.member.name)),
        sum(_is_junk(member.name) for member in members),
    )


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


def _open_regular(member: Member) -> BinaryIO:
    """Open a file that is none of those that block or never end: a pipe, a device, a socket."""

    def opener(path: str, flags: int) -> int:
        return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))

    file = open(member.path, "rb", opener=opener)  # noqa: SIM115  the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FileError("is no regular file", where=member.label)
    return file


def _walk(folder: Path, root: Path) -> Iterator[Member | RefusedMember]:
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            yield RefusedMember(Member(place.relative_to(folder).as_posix(), place, 0), "is a folder that is not read")
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(place / entry.name)
            else:
                yield from _look_at(entry, place / entry.name, folder, root)


def _look_at(entry: os.DirEntry[str], path: Path, folder: Path, root: Path) -> Iterator[Member | RefusedMember]:
    name = path.relative_to(folder).as_posix()
    try:
        state = entry.stat()
        inside = not entry.is_symlink() or path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):
        yield RefusedMember(Member(name, path, 0), "cannot be read")
        return
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
        with _open_regular(member) as stream:
            return stream.read(4) in {b"PK\x03\x04", END_OF_DIRECTORY}
    except (OSError, FileError):
        return False


def _list_zip(archive: Member, prefix: str) -> Listing:
    try:
        with _open_regular(archive) as file:
            declared = _check_directory(file, archive)
            with zipfile.ZipFile(file) as opened:
                listed = opened.infolist()
    except ZIP_ERRORS as error:
        raise ArchiveError(f"a ZIP archive that cannot be read ({_kind_of(error)})", where=archive.label) from None
    if (len(listed) - declared) % 2**16:  # some writers count no further
        raise ArchiveError(f"a ZIP archive that lists {len(listed)} files of {declared}", where=archive.label)
    entries = [entry for entry in listed if not _name_of(entry).endswith("/")]
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
    names = Counter(_name_of(entry) for entry in entries)
    for entry in entries:
        member = Member(f"{prefix}{_name_of(entry)}", archive.path, entry.file_size, entry.filename)
        if reason := _bad_entry(entry, names):
            refused.append(RefusedMember(member, reason))
        else:
            members.append(member)
    return Listing(tuple(members), tuple(refused))


def _check_directory(file: BinaryIO, archive: Member) -> int:
    """Return how many entries an archive declares; refuse a list that is too long before zipfile reads it whole."""
    size = file.seek(0, os.SEEK_END)
    first = max(0, size - END_BYTES - MAX_COMMENT_BYTES)
    file.seek(first)
    tail = file.read(size - first)
    end = tail.rfind(END_OF_DIRECTORY)
    if end < 0 or end + END_BYTES > len(tail):
        raise zipfile.BadZipFile
    count, length = struct.unpack_from("<HI", tail, end + 10)
    if end >= LOCATOR_BYTES and tail[end - LOCATOR_BYTES :][:4] == LONG_LOCATOR:
        (place,) = struct.unpack_from("<Q", tail, end - LOCATOR_BYTES + 8)
        file.seek(min(place, size))
        record = file.read(LONG_END_BYTES)
        if len(record) == LONG_END_BYTES and record[:4] == LONG_END:
            count, length = struct.unpack_from("<QQ", record, 32)
    if length > MAX_DIRECTORY_BYTES:
        raise ArchiveError(
            f"a ZIP archive whose list of files takes {length} bytes",
            where=archive.label,
            allowed=f"up to {MAX_DIRECTORY_BYTES}",
            remedy="Unpack it, or split it into several archives.",
        )
    file.seek(0)
    return int(count)


def _name_of(entry: zipfile.ZipInfo) -> str:
    r"""Return a member's name with ``/`` between its parts; some programs on Windows write ``\``."""
    return entry.filename.replace("\\", "/")


def _bad_entry(entry: zipfile.ZipInfo, names: Counter[str]) -> str:
    """Say why a ZIP member is not opened; empty where nothing speaks against it."""
    name = _name_of(entry)
    if reason := _bad_name(name):
        return reason
    if names[name] > 1:
        return "has the name of another file of the archive"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a symbolic link"
    if entry.compress_type not in UNPACKED:
        return "is packed in a way that is not read; stored and deflated files are"
    if entry.file_size > MAX_MEMBER_BYTES:
        return "inflates beyond the size limit"
    if entry.file_size > FREE_BYTES + MAX_RATIO * entry.compress_size:
        return "inflates beyond measure"
    if name.casefold().endswith(".zip"):
        return "is a ZIP archive inside a ZIP archive"
    return ""


def _bad_name(name: str) -> str:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0] or "\0" in name:
        return "has a name that leaves the folder"
    if not name or len(name) > MAX_NAME_CHARACTERS:
        return "has a name that is empty or too long"
    return ""


def _is_junk(name: str) -> bool:
    *folders, last = name.casefold().split("/")
    return last in JUNK_FILES or last.startswith("._") or not JUNK_FOLDERS.isdisjoint(folders)


def _kind_of(error: Exception) -> str:
    """Name an error without its text, which may hold a path."""
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else type(error).__name__

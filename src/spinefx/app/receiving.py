"""Uploaded files: written as they arrive, under names of our own, into a folder that is deleted with the study."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

from spinefx.errors import FileError
from spinefx.imaging.nifti import is_nifti_name, stem_of

__all__ = ["receive"]

MOST_FILES = 20_000
# Parts of a NIfTI file's name that say what it shows; anything else may be a patient's name.
KIND_WORDS = frozenset({"t1", "t1w", "t2", "t2w", "stir", "flair", "pd", "label", "labels", "seg", "dseg", "mask"})
WHERE, REMEDY = "Upload", "Upload the files again."


async def receive(request: Request, folder: Path) -> int:
    """Write the files of a multipart request into a folder.

    Parameters
    ----------
    request : Request
        Its size and pace are limited before it gets here.
    folder : Path
        Empty, and used by nobody else.

    Returns
    -------
    int
        Number of files.

    Raises
    ------
    FileError
        When the request is no upload, is incomplete, or holds no files or too many.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
        raise FileError("this is no upload of files", where=WHERE, allowed="multipart/form-data", remedy=REMEDY)
    reception = _Reception(folder)
    try:
        parser = MultipartParser(boundary, reception.callbacks())
        async for chunk in request.stream():
            await run_in_threadpool(parser.write, chunk)
        parser.finalize()
    except FormParserError:
        raise FileError("the request is incomplete", where=WHERE, remedy=REMEDY) from None
    finally:
        reception.close()
    if not reception.is_whole or not reception.files:
        raise FileError("no complete files arrived", where=WHERE, remedy=REMEDY)
    return reception.files


class _Reception:
    """The callbacks of the multipart parser."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files, self.is_whole = folder, 0, False
        self._file: BinaryIO | None = None
        self._header, self._value, self._name = b"", b"", ""
        self._stems: dict[str, int] = {}

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._value_part,
            "on_header_end": self._header_done,
            "on_headers_finished": self._open,
            "on_part_data": self._write,
            "on_part_end": self.close,
            "on_end": self._end,
        }

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        self._header, self._value, self._name = b"", b"", ""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _value_part(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_done(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._name = options.get(b"filename", b"").decode("utf-8", "replace")
        self._header, self._value = b"", b""

    def _open(self) -> None:
        if not self._name:
            return  # a field, not a file; this route takes none
        self.files += 1
        if self.files > MOST_FILES:
            raise FileError(f"more than {MOST_FILES} files", where=WHERE, remedy="Upload one study of one patient.")
        self._file = (self.folder / self._own_name(self._name)).open("xb")

    def _write(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])

    def _end(self) -> None:
        self.is_whole = True

    def _own_name(self, name: str) -> str:
        """Return a number; a NIfTI file keeps its ending and the words that say what it shows, as does its sidecar."""
        is_sidecar = name.casefold().endswith(".json")
        if not is_sidecar and not is_nifti_name(name):
            return f"{self.files:06d}" + (".zip" if name.casefold().endswith(".zip") else "")
        stem = name[:-5] if is_sidecar else stem_of(name)
        number = self._stems.setdefault(stem, self.files)
        words = [word for word in re.split(r"[^a-z0-9]+", stem.casefold()) if word in KIND_WORDS]
        ending = ".json" if is_sidecar else name.casefold()[len(stem) :]
        path = "_".join([f"{number:06d}", *words]) + ending
        return path if not (self.folder / path).exists() else f"{self.files:06d}"

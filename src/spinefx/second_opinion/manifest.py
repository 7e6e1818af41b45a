"""The manifest of many studies: a table of studies, cases and marked vertebrae, read row by row."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spinefx.cases.lesion import Lesion
from spinefx.cases.patch import PROTOCOL_SEQUENCES
from spinefx.errors import InputError
from spinefx.tables.rows import Row, Table, stream_rows
from spinefx.vocabulary import SEQUENCES, Weighting
from spinefx.workspace.columns import BOX_COLUMNS, LESION_COLUMNS
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import lesion_of

__all__ = ["Manifest", "MarkedStudy", "short_digest"]

FILE = "manifest.tsv"
REQUIRED = ("study", "case_id", *BOX_COLUMNS)
SERIES_COLUMNS = {sequence: f"{sequence.key}_series" for sequence in SEQUENCES}
OPTIONAL = ("level", *SERIES_COLUMNS.values())


@dataclass(frozen=True)
class MarkedStudy:
    """One row of a manifest: a study and one marked vertebra in it.

    Parameters
    ----------
    case_id : str
        Appears in every output, so it must not be a hospital's number.
    study : str
        Path as in the manifest; appears in no output.
    lesion : Lesion
    series : mapping of Weighting to str
        UIDs of series to use instead of the automatic choice.
    """

    case_id: str
    study: str
    lesion: Lesion
    series: Mapping[Weighting, str] = field(default_factory=dict, repr=False)

    def content(self) -> list[Any]:
        """Return plain values, for a digest.

        Returns
        -------
        list
        """
        protocol = [self.series.get(sequence, "") for sequence in PROTOCOL_SEQUENCES]
        further = [[str(name), uid] for name, uid in self.series.items() if name not in PROTOCOL_SEQUENCES]
        return [self.case_id, self.study, asdict(self.lesion), *protocol, *further]


@dataclass(frozen=True)
class Manifest:
    """An existing manifest; its rows are read again for each pass and never held together in memory.

    Use :meth:`open`.

    Parameters
    ----------
    table : Path
        ``manifest.tsv``, or ``lesions.tsv`` of a workspace.
    base : Path
        Folder to which the paths of studies are relative.
    of_workspace : bool
        Whether the table belongs to a workspace.
    """

    table: Path
    base: Path
    of_workspace: bool

    @classmethod
    def open(cls, source: Path) -> Manifest:
        """Open the manifest at a path.

        Parameters
        ----------
        source : Path
            A ``.tsv``, a folder with ``manifest.tsv``, or a workspace with boxes.

        Returns
        -------
        Manifest

        Raises
        ------
        InputError
            When the path is none of these; the message describes a manifest.
        """
        if Workspace.is_at(source):
            workspace = Workspace.open(source)
            return cls(workspace.lesions_table, source, True)
        table = source / FILE if source.is_dir() else source
        if table.is_file() and table.suffix == ".tsv":
            return cls(table, table.parent, False)
        raise InputError(
            "the studies have no boxes",
            where="input",
            allowed=f"a manifest (.tsv), a folder with {FILE}, or a workspace with annotations/lesions.tsv",
            remedy="Mark the vertebrae by hand: write a tab-separated table with the columns "
            f"{', '.join(REQUIRED)} and one row per marked vertebra. Paths are relative to the table.",
        )

    @classmethod
    def is_at(cls, source: Path) -> bool:
        """Return whether a path is a manifest rather than one study.

        Parameters
        ----------
        source : Path

        Returns
        -------
        bool
        """
        return source.suffix == ".tsv" or (source / FILE).is_file() or Workspace.is_at(source)

    def rows(self) -> Iterator[Row]:
        """Read the rows as text.

        Yields
        ------
        Row

        Raises
        ------
        TableError
        """
        if self.of_workspace:
            return stream_rows(self.table, required=LESION_COLUMNS)
        return stream_rows(self.table, required=REQUIRED, optional=OPTIONAL)

    def studies(self) -> Iterator[MarkedStudy]:
        """Read the marked vertebrae row by row.

        Yields
        ------
        MarkedStudy

        Raises
        ------
        TableError
            For a row that cannot be read.
        """
        for row in self.rows():
            yield row.checked(lambda row=row: self._study(row))  # type: ignore[misc]

    def refuse_doubled(self, seen: array[int]) -> None:
        """Refuse a case that occurs in two rows.

        Parameters
        ----------
        seen : array of int
            :func:`short_digest` of every case: eight bytes each, where a set of names would exceed memory.

        Raises
        ------
        TableError
            Naming both rows.
        """
        values, times = np.unique(np.frombuffer(seen, np.uint64), return_counts=True)
        doubled = {int(value) for value in values[times > 1]}
        if doubled:
            rows = tuple(row for row in self.rows() if short_digest(row.text("case_id")) in doubled)
            Table(self.table.name, rows).refuse_duplicates("case_id")

    def _study(self, row: Row) -> MarkedStudy:
        row.required("case_id")
        study = f"{row.required('participant_id')}/anat" if self.of_workspace else row.required("study")
        given = {sequence: row.text(column) for sequence, column in SERIES_COLUMNS.items()}
        series = {sequence: uid for sequence, uid in given.items() if uid}
        return MarkedStudy(row.plain("case_id"), study, lesion_of(row), series)


def short_digest(text: str) -> int:
    """Return 64 bits of a text's digest.

    Parameters
    ----------
    text : str

    Returns
    -------
    int
    """
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")

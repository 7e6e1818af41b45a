"""The workspace: where each file lies, which schema it follows, and who may write.

This is the only module that knows the file names of a workspace. They follow BIDS where BIDS covers them; the rest is
listed in ``.bidsignore``.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from spinefx import __version__, documents
from spinefx.cases.patch import PROTOCOL_SEQUENCES, PatchSettings
from spinefx.errors import InputError, WorkspaceError
from spinefx.files import TEMPORARY_PREFIX, locked, sweep, write_text
from spinefx.vocabulary import RESEARCH_USE_ONLY, SEQUENCES, Weighting, sequence_named

__all__ = ["SCHEMA", "Workspace", "kept_sequences", "read_json", "write_json"]

SCHEMA = 1
BIDS_VERSION = "1.10.0"
PARTICIPANT = re.compile(r"sub-[0-9]{3,6}")
EXPERIMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,40}")
README = f"""# A spinefx workspace

- `participants.tsv`: the participants, with diagnosis and its source (`participants.json` explains the columns)
- `sub-*/anat`: the sagittal series of each participant, as NIfTI
- `annotations`: marked vertebrae (`lesions.tsv`), human readings (`readings.tsv`), sign scores (`signs.tsv`)
- `derivatives`, `experiments`: can be rebuilt from the above at any time with `spinefx patch` and `spinefx train`

{RESEARCH_USE_ONLY} This folder holds no patient's name, date or hospital identifier.
"""
LOCK = ".spinefx.lock"
# What :meth:`Workspace.create` writes before the marker that completes it.
FIRST_FILES = ("README.md", ".bidsignore", "dataset_description.json")
# A temporary file of this age belongs to no process that is still writing.
ABANDONED_S = 3600.0


@dataclass(frozen=True)
class Workspace:
    """A workspace that exists and follows a schema that this version knows.

    Use :meth:`create` or :meth:`open`.

    Parameters
    ----------
    root : Path
    """

    root: Path

    @staticmethod
    def is_at(root: Path) -> bool:
        """Return whether a folder is a workspace.

        Parameters
        ----------
        root : Path

        Returns
        -------
        bool
        """
        return (root / "workspace.json").is_file()

    @classmethod
    def create(cls, root: Path, sequences: Iterable[str] = PROTOCOL_SEQUENCES) -> Workspace:
        """Create an empty workspace, or open an existing one.

        Parameters
        ----------
        root : Path
            Absent, empty, a workspace, or what an interrupted call has left.
        sequences : iterable of str
            Series that a new workspace keeps of each participant; T1w and T2w are always among them.

        Returns
        -------
        Workspace

        Raises
        ------
        WorkspaceError
            When the folder holds anything else.
        """
        if cls.is_at(root):
            return cls.open(root)
        if root.exists() and not _is_begun(root):
            raise WorkspaceError("the folder is not empty", where=root.name, allowed="a new or empty folder")
        workspace = cls(root)
        write_text(root / "README.md", README)
        write_text(root / ".bidsignore", "workspace.json\nannotations/\nexperiments/\n")
        write_json(root / "dataset_description.json", _dataset_description("spinefx workspace", "raw"))
        marker: dict[str, Any] = {"schema": SCHEMA, "created_by": f"spinefx {__version__}"}
        kept = kept_sequences(sequences)
        if kept != PROTOCOL_SEQUENCES:
            marker["sequences"] = [str(sequence) for sequence in kept]
        write_json(root / "workspace.json", marker)
        return workspace

    def discard(self) -> None:
        """Remove what :meth:`create` wrote, and the folder where nothing else lies in it."""
        for name in ("README.md", ".bidsignore", "dataset_description.json", "workspace.json", LOCK):
            (self.root / name).unlink(missing_ok=True)
        folders = sorted((path for path in self.root.rglob("*") if path.is_dir()), reverse=True)
        for folder in (*folders, self.root):
            if not any(folder.iterdir()):
                folder.rmdir()

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """Open a workspace.

        Parameters
        ----------
        root : Path

        Returns
        -------
        Workspace

        Raises
        ------
        WorkspaceError
            When the folder is not a workspace, or follows another schema.
        """
        marker = root / "workspace.json"
        if not marker.is_file():
            raise WorkspaceError(
                "not a workspace (workspace.json is missing)",
                where=root.name,
                remedy="Create one with `spinefx ingest WORKSPACE EXPORT --table cases.csv`.",
            )
        schema = read_json(marker).get("schema")
        if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
            raise WorkspaceError(f"unknown schema {str(schema)[:20]!r}", where="workspace.json", allowed=f"{SCHEMA}")
        if schema > SCHEMA:
            raise WorkspaceError(
                f"the workspace follows schema {str(schema)[:20]}, which is newer than this program",
                where="workspace.json",
                allowed=f"up to {SCHEMA}",
                remedy="Install a newer version of spinefx. Nothing was changed.",
            )
        return cls(root)

    @cached_property
    def sequences(self) -> tuple[Weighting, ...]:
        """Series kept of each participant: T1w and T2w always, the others where a participant has them.

        Raises
        ------
        WorkspaceError
            When ``workspace.json`` cannot be read.
        """
        marker = self.root / "workspace.json"
        if not marker.is_file():
            return PROTOCOL_SEQUENCES
        try:
            return kept_sequences(read_json(marker).get("sequences", PROTOCOL_SEQUENCES))
        except (InputError, TypeError, AttributeError) as error:
            raise WorkspaceError("unknown sequences", where=marker.name, allowed=", ".join(SEQUENCES)) from error

    @contextlib.contextmanager
    def writing(self, *, wait_s: float = 0.0) -> Iterator[None]:
        """Hold the workspace's exclusive lock while writing tables or images.

        Temporary files that killed writers left behind are removed. Training needs no lock: each fold has files of its
        own.

        Parameters
        ----------
        wait_s : float
            How long to wait for another writer.

        Raises
        ------
        WorkspaceError
            When another process is writing.
        """
        with locked(self.root / LOCK, wait_s=wait_s) as is_ours:
            if not is_ours:
                raise WorkspaceError(
                    "another command is writing to this workspace",
                    where=self.root.name,
                    remedy="Wait until it has finished, then try again.",
                )
            sweep(self.root, older_than_s=ABANDONED_S)
            yield

    @property
    def ingest_claim(self) -> Path:
        """``.ingest.json``: what an unfinished ingest reads; removed when it is complete."""
        return self.root / ".ingest.json"

    @property
    def participants_table(self) -> Path:
        """``participants.tsv``."""
        return self.root / "participants.tsv"

    @property
    def lesions_table(self) -> Path:
        """``annotations/lesions.tsv``."""
        return self.root / "annotations" / "lesions.tsv"

    @property
    def proposals_table(self) -> Path:
        """``annotations/proposals.tsv``: boxes that a model proposes, in the columns of ``lesions.tsv``."""
        return self.root / "annotations" / "proposals.tsv"

    @property
    def located_boxes_table(self) -> Path:
        """``annotations/located_boxes.tsv``: how far boxes of the localiser lie from those that they replaced."""
        return self.root / "annotations" / "located_boxes.tsv"

    @property
    def readings_table(self) -> Path:
        """``annotations/readings.tsv``."""
        return self.root / "annotations" / "readings.tsv"

    @property
    def signs_table(self) -> Path:
        """``annotations/signs.tsv``."""
        return self.root / "annotations" / "signs.tsv"

    @property
    def images_table(self) -> Path:
        """``annotations/images.tsv``: the digest of each series of each participant, as ingested."""
        return self.root / "annotations" / "images.tsv"

    @property
    def refused_series_table(self) -> Path:
        """``annotations/refused_series.tsv``."""
        return self.root / "annotations" / "refused_series.tsv"

    @property
    def log_file(self) -> Path:
        """``annotations/log.sqlite``: the log of the web app."""
        return self.root / "annotations" / "log.sqlite"

    def image(self, participant_id: str, weighting: str) -> Path:
        """Return the path of one series.

        Parameters
        ----------
        participant_id : str
            ``sub-001`` and so on.
        weighting : str
            A :class:`spinefx.vocabulary.Weighting`.

        Returns
        -------
        Path

        Raises
        ------
        WorkspaceError
            When the identifier is not that of a participant.
        """
        if not PARTICIPANT.fullmatch(participant_id):
            raise WorkspaceError("not a participant identifier", allowed="sub-001, sub-002 and so on")
        name = f"{participant_id}_{Weighting(weighting).bids_ending}.nii.gz"
        return self.root / participant_id / "anat" / name

    def images(self, participant_id: str) -> dict[Weighting, Path]:
        """Return the existing series of a participant.

        Parameters
        ----------
        participant_id : str

        Returns
        -------
        dict of Weighting to Path
            In the order of :attr:`sequences`.
        """
        places = {weighting: self.image(participant_id, weighting) for weighting in self.sequences}
        return {weighting: path for weighting, path in places.items() if path.is_file()}

    def participant_folders(self) -> tuple[Path, ...]:
        """Return the folders of all participants, in order.

        Returns
        -------
        tuple of Path
        """
        return tuple(sorted(path for path in self.root.glob("sub-*") if path.is_dir()))

    def patches_folder(self, settings: PatchSettings) -> Path:
        """Return the folder of the patches cut with given settings.

        Parameters
        ----------
        settings : PatchSettings

        Returns
        -------
        Path
        """
        name = "patches" if not settings.name else f"patches-{settings.name}"
        return self.root / "derivatives" / name

    def describe_derivative(self, folder: Path, name: str, **extra: Any) -> None:
        """Write a derivative's ``dataset_description.json``.

        Parameters
        ----------
        folder : Path
        name : str
        **extra
            Additional keys.
        """
        write_json(folder / "dataset_description.json", _dataset_description(name, "derivative") | extra)

    def experiment_folder(self, name: str) -> Path:
        """Return the folder of an experiment.

        Parameters
        ----------
        name : str

        Returns
        -------
        Path

        Raises
        ------
        WorkspaceError
            When the name is not safe as the name of a folder.
        """
        if not EXPERIMENT.fullmatch(name):
            raise WorkspaceError(
                f"{name[:20]!r} is not a name for an experiment", allowed="up to 41 letters, digits, _ and -"
            )
        return self.root / "experiments" / name

    def experiment_names(self) -> tuple[str, ...]:
        """List the experiments that have at least a recipe, in alphabetical order.

        Returns
        -------
        tuple of str
        """
        return tuple(sorted(path.parent.name for path in (self.root / "experiments").glob("*/recipe.toml")))


def kept_sequences(names: Iterable[str]) -> tuple[Weighting, ...]:
    """Return the series that a workspace keeps: those of the protocol, then the named ones.

    Parameters
    ----------
    names : iterable of str

    Returns
    -------
    tuple of Weighting

    Raises
    ------
    InputError
        For an unknown name.
    """
    return tuple(dict.fromkeys((*PROTOCOL_SEQUENCES, *(sequence_named(name) for name in names))))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict

    Raises
    ------
    WorkspaceError
        When the file is missing or broken, or holds something other than an object.
    """
    return documents.read_json(path, WorkspaceError, remedy="Restore the file from a backup, or rebuild it.")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write an indented JSON object, completely or not at all.

    Parameters
    ----------
    path : Path
    value : dict
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _is_begun(root: Path) -> bool:
    """Return whether a folder is empty, or holds only what an interrupted :meth:`Workspace.create` has left."""
    if not root.is_dir():
        return False
    names = {path.name for path in root.iterdir() if not path.name.startswith(TEMPORARY_PREFIX)} - {LOCK}
    readme = root / "README.md"
    is_ours = readme.is_file() and readme.read_bytes().startswith(README.encode()[:11])
    return not names or (is_ours and names <= set(FIRST_FILES))


def _dataset_description(name: str, kind: str) -> dict[str, Any]:
    return {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": kind,
        "GeneratedBy": [{"Name": "spinefx", "Version": __version__, "Description": "Research use only."}],
    }

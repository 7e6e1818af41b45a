"""The study folder: what lies where, and which schema it follows.

This is the only place that knows a file name of a study folder. BIDS where BIDS speaks; the rest is listed in
``.bidsignore``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from spinefx import __version__, documents
from spinefx.cases.patch import PROTOCOL_SEQUENCES, PatchSettings
from spinefx.errors import InputError, WorkspaceError
from spinefx.files import write_text
from spinefx.vocabulary import RESEARCH_USE_ONLY, SEQUENCES, Weighting, sequences_of

__all__ = ["SCHEMA", "Workspace", "read_json", "write_json"]

SCHEMA = 1
BIDS_VERSION = "1.10.0"
PARTICIPANT = re.compile(r"sub-[0-9]{3,6}")
EXPERIMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,40}")
README = f"""# A spinefx study

- `participants.tsv`: who takes part, with the diagnosis and its source (`participants.json` explains the columns)
- `sub-*/anat`: sagittal T1W and T2W of each participant, as NIfTI
- `annotations`: the marked vertebrae (`lesions.tsv`), human readings (`readings.tsv`), sign scores (`signs.tsv`)
- `derivatives`, `experiments`: rebuilt from the above at any time by `spinefx patch` and `spinefx train`

{RESEARCH_USE_ONLY} No patient's name, date or hospital identifier is kept here.
"""


@dataclass(frozen=True)
class Workspace:
    """A study folder that exists and follows this version's schema.

    Use :meth:`create` or :meth:`open`.

    Parameters
    ----------
    root : Path
    """

    root: Path

    @staticmethod
    def is_at(root: Path) -> bool:
        """Tell whether a folder is a study folder.

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
        """Make an empty study folder, or open one that is there.

        Parameters
        ----------
        root : Path
            Absent, empty, or a study folder already.
        sequences : iterable of str
            Series that a new study folder keeps of each participant; T1w and T2w are always among them.

        Returns
        -------
        Workspace

        Raises
        ------
        WorkspaceError
            When the folder holds something else.
        """
        if cls.is_at(root):
            return cls.open(root)
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise WorkspaceError(
                "the place for the study folder is taken", where=root.name, allowed="a new or an empty folder"
            )
        workspace = cls(root)
        write_text(root / "README.md", README)
        write_text(root / ".bidsignore", "workspace.json\nannotations/\nexperiments/\n")
        write_json(root / "dataset_description.json", _dataset_description("spinefx study", "raw"))
        marker: dict[str, Any] = {"schema": SCHEMA, "created_by": f"spinefx {__version__}"}
        kept = _kept(sequences)
        if kept != PROTOCOL_SEQUENCES:
            marker["sequences"] = [str(sequence) for sequence in kept]
        write_json(root / "workspace.json", marker)
        return workspace

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """Open a study folder.

        Parameters
        ----------
        root : Path

        Returns
        -------
        Workspace

        Raises
        ------
        WorkspaceError
            When it is no study folder, or one of another schema.
        """
        marker = root / "workspace.json"
        if not marker.is_file():
            raise WorkspaceError(
                "no study folder (workspace.json is missing)",
                where=root.name,
                remedy="Make one with `spinefx ingest WORKSPACE EXPORT --table cases.csv`.",
            )
        schema = read_json(marker).get("schema")
        if not isinstance(schema, int) or schema < 1:
            raise WorkspaceError(f"schema {schema!r}", where="workspace.json", allowed=f"{SCHEMA}")
        if schema > SCHEMA:
            raise WorkspaceError(
                f"the study folder follows schema {schema}, newer than this program knows",
                where="workspace.json",
                allowed=f"up to {SCHEMA}",
                remedy="Install a newer spinefx; nothing was changed.",
            )
        return cls(root)

    @cached_property
    def sequences(self) -> tuple[Weighting, ...]:
        """Series that are kept of each participant: T1w and T2w always, the others where a participant has them.

        Raises
        ------
        WorkspaceError
            When ``workspace.json`` cannot be read.
        """
        marker = self.root / "workspace.json"
        if not marker.is_file():
            return PROTOCOL_SEQUENCES
        try:
            return _kept(read_json(marker).get("sequences", PROTOCOL_SEQUENCES))
        except (InputError, TypeError) as error:
            raise WorkspaceError("unknown sequences", where=marker.name, allowed=", ".join(SEQUENCES)) from error

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
    def readings_table(self) -> Path:
        """``annotations/readings.tsv``."""
        return self.root / "annotations" / "readings.tsv"

    @property
    def signs_table(self) -> Path:
        """``annotations/signs.tsv``."""
        return self.root / "annotations" / "signs.tsv"

    @property
    def refused_series_table(self) -> Path:
        """``annotations/refused_series.tsv``."""
        return self.root / "annotations" / "refused_series.tsv"

    @property
    def log_file(self) -> Path:
        """``annotations/log.sqlite``: what happened at the pages."""
        return self.root / "annotations" / "log.sqlite"

    def image(self, participant_id: str, weighting: str) -> Path:
        """Return the place of one series.

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
            For anything that is no participant identifier.
        """
        if not PARTICIPANT.fullmatch(participant_id):
            raise WorkspaceError(f"participant {participant_id[:20]!r}", allowed="sub-001, sub-002 and so on")
        name = f"{participant_id}_{Weighting(weighting).bids_ending}.nii.gz"
        return self.root / participant_id / "anat" / name

    def images(self, participant_id: str) -> dict[Weighting, Path]:
        """Return the series of a participant that are there.

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
        """Folders of participants that are there, ordered.

        Returns
        -------
        tuple of Path
        """
        return tuple(sorted(path for path in self.root.glob("sub-*") if path.is_dir()))

    def patches_folder(self, settings: PatchSettings) -> Path:
        """Folder of patches that were cut with given settings.

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
            Further keys.
        """
        write_json(folder / "dataset_description.json", _dataset_description(name, "derivative") | extra)

    def experiment_folder(self, name: str) -> Path:
        """Folder of one experiment.

        Parameters
        ----------
        name : str

        Returns
        -------
        Path

        Raises
        ------
        WorkspaceError
            For a name that would not be safe as a folder's.
        """
        if not EXPERIMENT.fullmatch(name):
            raise WorkspaceError(f"experiment {name[:20]!r}", allowed="up to 41 letters, digits, _ and -")
        return self.root / "experiments" / name

    def experiment_names(self) -> tuple[str, ...]:
        """Experiments that have at least a recipe, ordered by name.

        Returns
        -------
        tuple of str
        """
        return tuple(sorted(path.parent.name for path in (self.root / "experiments").glob("*/recipe.toml")))


def _kept(sequences: Iterable[str]) -> tuple[Weighting, ...]:
    """Return the sequences of a study folder, those of the protocol first."""
    return sequences_of([*PROTOCOL_SEQUENCES, *(name for name in sequences if name not in PROTOCOL_SEQUENCES)])


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
        When it is missing, broken, or no object.
    """
    return documents.read_json(path, WorkspaceError, remedy="Restore the file from a backup, or rebuild it.")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object for people to read, whole or not at all.

    Parameters
    ----------
    path : Path
    value : dict
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _dataset_description(name: str, kind: str) -> dict[str, Any]:
    return {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": kind,
        "GeneratedBy": [{"Name": "spinefx", "Version": __version__, "Description": "Research use only."}],
    }

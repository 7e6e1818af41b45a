"""One experiment of a study folder: what was asked, what came out, and how to know that it is whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinefx.cases.reading import Prediction, Reading
from spinefx.errors import WorkspaceError
from spinefx.files import digest_of, write_bytes, write_text
from spinefx.tables.rows import read_table
from spinefx.tables.writing import write_tsv
from spinefx.workspace.columns import READING_COLUMNS
from spinefx.workspace.layout import Workspace, read_json, write_json

__all__ = ["Experiment"]

PREDICTION_COLUMNS = (
    *("repeat", "case_id", "participant_id", "slice", "probability", "corrected_probability", "fold", "model_digest"),
)
HISTORY_COLUMNS = ("repeat", "fold", "epoch", "learning_rate", "training_loss", "validation_loss", "kept")
FILE_COLUMNS = ("file", "digest")
AUDIT_COLUMNS = ("check", "result", "compared", "detail")


FOLDS_FILE = "folds.tsv"


@dataclass(frozen=True)
class Experiment:
    """Files of one experiment.

    Parameters
    ----------
    folder : Path
    """

    folder: Path

    @classmethod
    def choose(cls, workspace: Workspace, name: str | None) -> Experiment:
        """Open an experiment by name, or the only one.

        Parameters
        ----------
        workspace : Workspace
        name : str or None

        Returns
        -------
        Experiment

        Raises
        ------
        WorkspaceError
            When there is none of that name, or none, or several and no name.
        """
        names = workspace.experiment_names()
        if name is None and len(names) == 1:
            return cls(workspace.experiment_folder(names[0]))
        if name not in names:
            found = f"no experiment {name!r}" if name else f"{len(names)} experiments and no name"
            raise WorkspaceError(
                found, allowed=", ".join(names) or "none yet", remedy="Run `spinefx train WORKSPACE`, or give a name."
            )
        return cls(workspace.experiment_folder(name))

    @property
    def name(self) -> str:
        """What the experiment is called."""
        return self.folder.name

    @property
    def models_folder(self) -> Path:
        """Where cross-validation keeps its folds."""
        return self.folder / "models"

    @property
    def recipe_path(self) -> Path:
        """The recipe, complete."""
        return self.folder / "recipe.toml"

    @property
    def report_folder(self) -> Path:
        """Where the report goes."""
        return self.folder / "report"

    def is_finished(self) -> bool:
        """Tell whether training came to its end.

        Returns
        -------
        bool
        """
        return (self.folder / "environment.json").is_file()

    def start(self, recipe_toml: str) -> None:
        """Write the recipe; a finished state of an earlier run is taken back first.

        Parameters
        ----------
        recipe_toml : str
        """
        (self.folder / "environment.json").unlink(missing_ok=True)
        write_text(self.recipe_path, recipe_toml)

    def finish(
        self,
        *,
        predictions: Sequence[tuple[int, Prediction]],
        readings: Sequence[Reading],
        folds: Sequence[tuple[object, ...]],
        history: Sequence[tuple[object, ...]],
        audit: Sequence[tuple[str, str, int, str]],
        environment: dict[str, Any],
    ) -> None:
        """Write all results; the environment last, which says that they are whole.

        Parameters
        ----------
        predictions : sequence of (repeat, Prediction)
        readings : sequence of Reading
            The model's, of the first repeat.
        folds : sequence of (repeat, participant_id, test fold, folds in whose inner split it was)
        history : sequence of (repeat, fold, epoch, learning rate, training loss, validation loss, kept)
        audit : sequence of (check, result, compared, detail)
        environment : dict
        """
        # Probabilities in full, so that what is read again is what was written.
        rows = [
            (repeat, p.case_id, p.participant_id, p.slice_index, *map(repr, _probabilities(p)), p.fold, p.model_digest)
            for repeat, p in predictions
        ]
        write_tsv(self.folder / "predictions.tsv", PREDICTION_COLUMNS, rows)
        answers = [(r.case_id, r.reader_id, r.arm, r.diagnosis, r.confidence, r.seconds) for r in readings]
        write_tsv(self.folder / "readings.tsv", READING_COLUMNS, answers)
        write_tsv(self.folder / FOLDS_FILE, ("repeat", "participant_id", "test_fold", "inner_split_of_folds"), folds)
        write_tsv(self.folder / "history.tsv", HISTORY_COLUMNS, history)
        write_tsv(self.folder / "audit.tsv", AUDIT_COLUMNS, audit)
        write_json(self.folder / "environment.json", environment)

    def read_predictions(self) -> tuple[tuple[int, Prediction], ...]:
        """Read slice predictions with the repeat they belong to.

        Returns
        -------
        tuple of (int, Prediction)

        Raises
        ------
        WorkspaceError
            When training has not come to its end.
        """
        if not self.is_finished():
            raise WorkspaceError(
                "training has not come to its end",
                where=f"experiment {self.name}",
                remedy="Run the same `spinefx train` again; it goes on where it stopped.",
            )
        table = read_table(self.folder / "predictions.tsv", required=PREDICTION_COLUMNS)
        return tuple(
            (
                int(row.required("repeat")),
                Prediction(
                    case_id=row.required("case_id"),
                    participant_id=row.required("participant_id"),
                    slice_index=int(row.required("slice")),
                    probability=row.number_in("probability", 0, 1) or 0.0,
                    corrected_probability=row.number_in("corrected_probability", 0, 1) or 0.0,
                    fold=int(row.required("fold")),
                    model_digest=row.required("model_digest"),
                ),
            )
            for row in table.rows
        )

    def read_test_folds(self) -> dict[str, int]:
        """Read in which fold of the first repeat each participant was tested.

        Returns
        -------
        dict of str to int
            By participant.

        Raises
        ------
        TableError
        """
        rows = read_table(self.folder / FOLDS_FILE, required=("repeat", "participant_id", "test_fold")).rows
        first = [row for row in rows if row.text("repeat") == "1"]
        return {row.required("participant_id"): int(row.required("test_fold")) for row in first}

    def read_audit(self) -> tuple[tuple[str, str, str], ...]:
        """Read the leak audit as (check, result, what was compared).

        Returns
        -------
        tuple of (str, str, str)
        """
        rows = read_table(self.folder / "audit.tsv", required=AUDIT_COLUMNS).rows
        return tuple((row.text("check"), row.text("result"), row.text("detail")) for row in rows)

    def read_environment(self) -> dict[str, Any]:
        """Read versions and digests.

        Returns
        -------
        dict
        """
        return read_json(self.folder / "environment.json")

    def write_report(self, files: dict[str, bytes]) -> Path:
        """Write a report's files, the page last, and take away what an earlier report wrote and this one does not.

        The report's own files are listed with their digests in ``files.tsv``; a file that is not listed, or was changed
        since, is somebody's own and stays.

        Parameters
        ----------
        files : dict of str to bytes

        Returns
        -------
        Path
            Of ``report.html``.
        """
        earlier, now = self._listed_files(), {(name, digest_of(data)) for name, data in files.items()}
        # Both are listed until the work is done: a report that was cut off is tidied by the next one.
        self._list_files(earlier | now)
        for name, data in sorted(files.items(), key=lambda item: item[0] == "report.html"):
            write_bytes(self.report_folder / name, data)
        for name in {name for name, _ in earlier} - set(files):
            path = self.report_folder / name
            if path.is_file() and (name, digest_of(path.read_bytes())) in earlier:
                path.unlink()
        self._list_files(now)
        return self.report_folder / "report.html"

    @property
    def _file_list(self) -> Path:
        return self.report_folder / "files.tsv"

    def _listed_files(self) -> set[tuple[str, str]]:
        """Name and digest of each file that a report wrote; names that lead out of the folder are nobody's."""
        if not self._file_list.is_file():
            return set()
        rows = read_table(self._file_list, required=FILE_COLUMNS).rows
        listed = {(row.required("file"), row.required("digest")) for row in rows}
        return {(name, digest) for name, digest in listed if name == Path(name).name}

    def _list_files(self, listed: Iterable[tuple[str, str]]) -> None:
        write_tsv(self._file_list, FILE_COLUMNS, sorted(listed))


def _probabilities(prediction: Prediction) -> tuple[float, float]:
    return prediction.probability, prediction.corrected_probability

"""One experiment of a workspace: its recipe, its results, and whether it is complete."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinefx.cases.reading import Prediction, Reading
from spinefx.errors import WorkspaceError
from spinefx.files import digest_of, write_bytes, write_text
from spinefx.tables.rows import Row, read_table
from spinefx.tables.writing import write_tsv
from spinefx.vocabulary import SIGN_IDENTIFIERS
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
SIGN_CHANCES_FILE = "signs.tsv"


@dataclass(frozen=True)
class Experiment:
    """The files of one experiment.

    Parameters
    ----------
    folder : Path
    """

    folder: Path

    @classmethod
    def choose(cls, workspace: Workspace, name: str | None) -> Experiment:
        """Open an experiment by name, or the only one there is.

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
            When there is no such experiment, or none at all, or several and no name is given.
        """
        names = workspace.experiment_names()
        if name is None and len(names) == 1:
            return cls(workspace.experiment_folder(names[0]))
        if name not in names:
            found = (
                f"there is no experiment {name[:40]!r}"
                if name
                else f"there are {len(names)} experiments, and no name is given"
            )
            raise WorkspaceError(
                found,
                allowed=", ".join(names) or "none yet",
                remedy="Run `spinefx train WORKSPACE`, or name an experiment.",
            )
        return cls(workspace.experiment_folder(name))

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.folder.name

    @property
    def models_folder(self) -> Path:
        """Folder of the folds of the cross-validation."""
        return self.folder / "models"

    @property
    def recipe_path(self) -> Path:
        """Path of the complete recipe."""
        return self.folder / "recipe.toml"

    @property
    def report_folder(self) -> Path:
        """Folder of the report."""
        return self.folder / "report"

    @property
    def reads_signs(self) -> bool:
        """Whether it is of a signs model, which has no recipe."""
        return (self.folder / SIGN_CHANCES_FILE).is_file()

    def read_sign_chances(self) -> dict[str, dict[str, float | None]]:
        """Read the held-out probability of each sign.

        Returns
        -------
        dict of str to dict
            By case, then by sign; None where a sign was left out or not assessed. Empty for a model of another kind.

        Raises
        ------
        TableError
        """
        if not self.reads_signs:
            return {}
        rows = read_table(self.folder / SIGN_CHANCES_FILE, required=("case_id", *SIGN_IDENTIFIERS)).rows
        return {row.required("case_id"): {sign: row.number_in(sign, 0, 1) for sign in SIGN_IDENTIFIERS} for row in rows}

    def is_finished(self) -> bool:
        """Return whether training is finished.

        Returns
        -------
        bool
        """
        return (self.folder / "environment.json").is_file()

    def start(self, recipe_toml: str) -> None:
        """Write the recipe, after marking the experiment as unfinished.

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
        """Write all results; the environment comes last and marks them as complete.

        Parameters
        ----------
        predictions : sequence of (repeat, Prediction)
        readings : sequence of Reading
            Readings of the model in the first repeat.
        folds : sequence of (repeat, participant_id, test fold, folds in whose inner split it was)
        history : sequence of (repeat, fold, epoch, learning rate, training loss, validation loss, kept)
        audit : sequence of (check, result, compared, detail)
        environment : dict
        """
        # Probabilities in full precision, so that reading returns what was written.
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
        """Read the predictions of all slices, each with its repeat.

        Returns
        -------
        tuple of (int, Prediction)

        Raises
        ------
        WorkspaceError
            When training is not finished.
        """
        if not self.is_finished():
            raise WorkspaceError(
                "training is not finished",
                where=f"experiment {self.name}",
                remedy="Run the same `spinefx train` command again; it continues where it stopped.",
            )
        table = read_table(self.folder / "predictions.tsv", required=PREDICTION_COLUMNS)
        return tuple(
            (
                _whole(row, "repeat"),
                Prediction(
                    case_id=row.required("case_id"),
                    participant_id=row.required("participant_id"),
                    slice_index=_whole(row, "slice"),
                    probability=row.number_in("probability", 0, 1) or 0.0,
                    corrected_probability=row.number_in("corrected_probability", 0, 1) or 0.0,
                    fold=_whole(row, "fold"),
                    model_digest=row.required("model_digest"),
                ),
            )
            for row in table.rows
        )

    def read_test_folds(self) -> dict[str, int]:
        """Read the test fold of each participant in the first repeat.

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
        return {row.required("participant_id"): _whole(row, "test_fold") for row in first}

    def read_audit(self) -> tuple[tuple[str, str, str], ...]:
        """Read the leak audit as (check, result, detail).

        Returns
        -------
        tuple of (str, str, str)
        """
        rows = read_table(self.folder / "audit.tsv", required=AUDIT_COLUMNS).rows
        return tuple((row.text("check"), row.text("result"), row.text("detail")) for row in rows)

    def read_environment(self) -> dict[str, Any]:
        """Read the software versions and digests.

        Returns
        -------
        dict
        """
        return read_json(self.folder / "environment.json")

    def write_report(self, files: dict[str, bytes]) -> Path:
        """Write the files of a report, the page last, and remove those of an earlier report that this one lacks.

        The files are listed with their digests in ``files.tsv``; a file that is not listed, or has been changed since,
        belongs to the user and stays.

        Parameters
        ----------
        files : dict of str to bytes

        Returns
        -------
        Path
            Of ``report.html``.
        """
        earlier, now = self._listed_files(), {(name, digest_of(data)) for name, data in files.items()}
        # Both are listed until the work is done, so that the next report tidies up after an interrupted one.
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
        """Return name and digest of each file of the report, ignoring names that lead out of the folder."""
        if not self._file_list.is_file():
            return set()
        rows = read_table(self._file_list, required=FILE_COLUMNS).rows
        listed = {(row.required("file"), row.required("digest")) for row in rows}
        return {(name, digest) for name, digest in listed if name == Path(name).name}

    def _list_files(self, listed: Iterable[tuple[str, str]]) -> None:
        write_tsv(self._file_list, FILE_COLUMNS, sorted(listed))


def _whole(row: Row, column: str) -> int:
    row.required(column)
    return row.integer_in(column, 0, 10**6) or 0


def _probabilities(prediction: Prediction) -> tuple[float, float]:
    return prediction.probability, prediction.corrected_probability

"""The experiment of Yeh 2022 with its own network, fold by fold: run, stopped and resumed at will, on one CPU core.

`run FOLDER` makes 190 phantom patients in FOLDER, trains one fold after the other and writes each finished fold to
benchmarks/results/protocol at once. A fold whose file is there is never trained again, on whichever machine it was
trained, so a fresh copy of the repository goes on where the last one stopped. Weights and checkpoints stay in FOLDER; a
run that is stopped loses at most the epoch it was in. `status` lists what is finished.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from record import RESULTS, processor
from spinefx.cases.cohort import Cohort
from spinefx.cases.patch import PatchStack
from spinefx.commands.ingest import ingest
from spinefx.commands.patch import patch
from spinefx.errors import InputError, SpinefxError, WorkspaceError
from spinefx.files import canonical_json, write_text
from spinefx.learning.card import read_card
from spinefx.learning.classifier import software_versions
from spinefx.learning.crossvalidation import AUDIT_FILE, FOLD_FILE, FoldResult, train_folds
from spinefx.learning.folds import Fold, split_folds
from spinefx.learning.leaks import AuditReport, audit_run
from spinefx.learning.recipe import Recipe
from spinefx.learning.training_data import IDENTITY_FILE
from spinefx.phantom.cohort import PhantomSettings, write_cohort
from spinefx.processes.pool import share_out
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort, read_readings, read_signs
from spinefx.workspace.stacks import load_stacks

KEPT = RESULTS / "protocol"
PATIENTS, COHORT_SEED, DEALING_SEED = 190, 5, 5
# In a pilot of fold 1 (recipe honest), the loss of the inner split was lowest after the first epoch (0.76) and more
# than twice as high by the eleventh (1.68), and rising. Five epochs without a lower loss show that it does not
# return; one series trains all its epochs without patience, to see whether it would.
PATIENCE = 5
LEAST_URGENT = 19
SCHEMA = "spinefx protocol 1"


@dataclass(frozen=True)
class Series:
    """One recipe and the folds that are trained of it.

    Parameters
    ----------
    recipe : Recipe
        Its name is the series'.
    folds : tuple of int
        From 1, in the order of training.
    dealt_anew : bool
        Whether the diagnoses are shuffled among the patients first, so that nothing is left to learn.
    """

    recipe: Recipe
    folds: tuple[int, ...]
    dealt_anew: bool = False

    @property
    def name(self) -> str:
        """What the series' folder is called."""
        return self.recipe.name


@dataclass(frozen=True)
class Job:
    """One fold of a series, the unit of work.

    Parameters
    ----------
    series : Series
    fold : int
        From 1.
    """

    series: Series
    fold: int

    @property
    def label(self) -> str:
        """Series and fold, as they name folders and files."""
        return f"{self.series.name}/fold-{self.fold:02d}"


def planned_series() -> tuple[Series, ...]:
    """Return every series of the experiment, in the order in which they are trained."""
    start = {"initialisation": "random", "dtype": "bfloat16", "patience": PATIENCE}
    honest, paper = (Recipe.preset(name).changed(**start) for name in ("honest", "paper"))
    quick = Recipe.preset("quick")
    every = tuple(range(1, honest.folds + 1))
    return (
        Series(honest, every),
        Series(paper, every),
        Series(honest.changed(name="dealt-anew"), (1, 2, 3), dealt_anew=True),
        Series(quick, every),
        Series(quick.changed(name="quick-geometry", registration="geometry"), every),
        Series(paper.changed(name="paper-100-epochs", patience=0), (1,)),
        Series(honest.changed(name="honest-float32", dtype="float32"), (1,)),
    )


def smoke_series() -> tuple[Series, ...]:
    """Return the same kinds of series with a small network and two folds: they test this script and give no figure."""
    small = {"folds": 2, "epochs": 2, "copies_benign": 1, "copies_malignant": 2, "inner_fraction": 0.3}
    small |= {"network": "small_resnet", "batch_size": 8}
    first, second, third = (one for one in planned_series() if one.name in {"honest", "paper", "dealt-anew"})
    return tuple(
        replace(one, recipe=one.recipe.changed(**small), folds=folds)
        for one, folds in ((first, (1, 2)), (second, (1, 2)), (third, (1,)))
    )


@dataclass(frozen=True)
class Kept:
    """The finished folds, one small text file each; what a new machine goes on from."""

    folder: Path

    def path_of(self, job: Job) -> Path:
        """Return where a fold's file belongs."""
        return self.folder / f"{job.label}.json"

    def read(self, job: Job) -> dict[str, Any] | None:
        """Read a finished fold.

        Parameters
        ----------
        job : Job

        Returns
        -------
        dict or None
            None where the fold is not finished; :meth:`FoldResult.from_json` reads its part.

        Raises
        ------
        WorkspaceError
            When the file is damaged, or of another recipe.
        """
        path = self.path_of(job)
        if not path.exists():
            return None
        remedy = "Restore the file from the repository, or remove it to train the fold again."
        try:
            values: dict[str, Any] = json.loads(path.read_text("utf-8"))
            FoldResult.from_json(values)
            recipe = dict(values["recipe"])
        except (ValueError, KeyError, TypeError) as error:
            raise WorkspaceError("expected a fold's file, got a damaged one", where=job.label, remedy=remedy) from error
        today = job.series.recipe.to_mapping()  # a field that recipes have gained since then changes nothing
        if any(key not in today or today[key] != value for key, value in recipe.items()):
            raise WorkspaceError("expected a fold of this recipe, got one of another", where=job.label, remedy=remedy)
        return values

    def read_cohort(self) -> dict[str, Any] | None:
        """Read who the patients are, with their truth, their signs and the simulated readers' answers.

        Returns
        -------
        dict or None
            None before the first run.
        """
        path = self.folder / "cohort.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else None

    def claim(self, cohort: Mapping[str, Any]) -> None:
        """Write down whose folds these are, or refuse a folder that belongs to other patients.

        Parameters
        ----------
        cohort : mapping
            As :func:`describe` returns it.

        Raises
        ------
        WorkspaceError
        """
        before, now = self.read_cohort(), json.loads(canonical_json(cohort))
        if before is None:
            write_text(self.folder / "cohort.json", in_lines(cohort))
        elif any(before[key] != now[key] for key in ("phantom", "participants", "truth")):
            raise WorkspaceError(
                "expected results of this phantom cohort, got results of another",
                where=self.folder.name,
                remedy="Give the same --patients and --seed, or another --results folder.",
            )

    def keep(self, job: Job, values: Mapping[str, Any]) -> None:
        """Write a finished fold, whole or not at all."""
        write_text(self.path_of(job), in_lines(values))


def in_lines(values: Mapping[str, Any]) -> str:
    """Write JSON with one line a key, which keeps files small and their changes readable."""
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {canonical_json(value)}" for key, value in values.items()) + "\n}\n"


@dataclass(frozen=True)
class Bench:
    """Where the patients, the unfinished folds and the finished ones are.

    Parameters
    ----------
    folder : Path
        Gets ``export``, ``study`` and ``models``; nothing in it belongs in the repository.
    kept : Kept
    phantom : PhantomSettings
        Of the patients.
    """

    folder: Path
    kept: Kept
    phantom: PhantomSettings

    @property
    def study(self) -> Path:
        """The study folder."""
        return self.folder / "study"

    def prepare(self, series: Sequence[Series], workers: int = 1) -> None:
        """Make the patients and cut their patches, as far as they are missing.

        Parameters
        ----------
        series : sequence of Series
        workers : int
            Processes.
        """
        export, unfinished = self.folder / "export", self.folder / "study-unfinished"
        write_cohort(export, self.phantom, workers=workers)
        if not self.study.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            tables = {kind: export / f"{kind}.csv" for kind in ("signs", "readings")}
            ingest(unfinished, export, table=export / "cases.csv", **tables, workers=workers)
            unfinished.rename(self.study)
        for settings in {one.recipe.patch_settings.digest: one.recipe.patch_settings for one in series}.values():
            patch(self.study, settings, workers=workers)
        self.kept.claim(describe(Workspace.open(self.study), self.phantom))

    def train(self, job: Job, report: Callable[..., None]) -> None:
        """Train one fold where it is not finished, and keep it.

        Parameters
        ----------
        job : Job
        report : callable
            Called with (label, epoch, epochs, CPU seconds) after each epoch.
        """
        if self.kept.read(job) is not None:
            return
        recipe, folder = job.series.recipe, self.folder / "models" / job.series.name
        cohort, stacks = self._data(job.series)
        clock = EpochClock(folder / f"fold-{job.fold:02d}" / "seconds.json")
        train_folds(
            stacks,
            cohort.truth,
            recipe,
            folder,
            cohort_digest=cohort.digest,
            share=(job.fold - 1, recipe.folds),
            progress=lambda label, epoch, epochs: report(job.label, epoch, epochs, clock.tick(epoch)),
        )
        self.kept.keep(job, self._finished(job, folder, cohort, stacks) | {"epoch_seconds": clock.seconds})

    def _data(self, series: Series) -> tuple[Cohort, tuple[PatchStack, ...]]:
        cases, stacks = load_stacks(Workspace.open(self.study), series.recipe.patch_settings)
        cohort = Cohort(cases)
        return deal_anew(cohort, DEALING_SEED) if series.dealt_anew else cohort, stacks

    def _finished(self, job: Job, folder: Path, cohort: Cohort, stacks: Sequence[PatchStack]) -> dict[str, Any]:
        """Describe a fold that has just been trained; one that fails its audit is not kept."""
        recipe, models = job.series.recipe, folder / f"fold-{job.fold:02d}"
        result = FoldResult.from_json(json.loads((models / FOLD_FILE).read_text("utf-8")))
        fold = fold_of(job, {case.participant_id: case.diagnosis for case in cohort})
        audit = AuditReport(audit_run((fold,), (result.facts,), stacks, recipe))
        audit.raise_for_leaks()
        before_training = json.loads((folder / AUDIT_FILE).read_text("utf-8"))
        card, identity = read_card(models), json.loads((folder / IDENTITY_FILE).read_text("utf-8"))
        return {
            "schema": SCHEMA,
            "series": job.series.name,
            **result.to_json(),
            "truth": {case.case_id: case.diagnosis for case in cohort if case.participant_id in fold.test},
            "recipe": recipe.to_mapping(),
            "recipe_digest": recipe.digest,
            "cohort_digest": cohort.digest,
            "patches_digest": identity["data_digest"],
            "weights_digest": card.weights_digest,
            "initialisation": card.initialisation.said,
            "audit": {"before training": before_training, "of this fold": audit.to_json()},
            "computed_with": {"device": "cpu", "threads": 1, "arithmetic": recipe.dtype, "processor": processor()},
            "versions": software_versions() | {name: version(name) for name in ("scipy", "nibabel", "pydicom")},
            "system": platform.system(),
        }


class EpochClock:
    """Writes down what each epoch takes, through any number of interruptions.

    Parameters
    ----------
    path : Path
        Beside the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._last = path, self._now()

    @property
    def seconds(self) -> dict[str, list[float]]:
        """CPU seconds and elapsed seconds by epoch; the first epoch after a start includes the preparation."""
        return json.loads(self._path.read_text("utf-8")) if self._path.exists() else {}

    def tick(self, epoch: int) -> float:
        """Write down that an epoch has ended.

        Parameters
        ----------
        epoch : int

        Returns
        -------
        float
            CPU seconds that it took.
        """
        now = self._now()
        spent = [round(after - before, 2) for after, before in zip(now, self._last, strict=True)]
        write_text(self._path, json.dumps(self.seconds | {str(epoch): spent}) + "\n")
        self._last = now
        return spent[0]

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.process_time(), time.perf_counter()


def deal_anew(cohort: Cohort, seed: int) -> Cohort:
    """Shuffle the diagnoses among the patients, so that no image says anything of its diagnosis.

    Parameters
    ----------
    cohort : Cohort
    seed : int

    Returns
    -------
    Cohort
        As many malignant patients as before.
    """
    diagnoses = {case.participant_id: case.diagnosis for case in cohort}
    order = np.random.default_rng(seed).permutation(len(diagnoses))
    given = list(diagnoses.values())
    dealt = {who: given[place] for who, place in zip(diagnoses, order, strict=True)}
    return Cohort(tuple(replace(case, diagnosis=dealt[case.participant_id]) for case in cohort))


def fold_of(job: Job, truth: Mapping[str, Diagnosis]) -> Fold:
    """Return who is on which side of a job's fold.

    Parameters
    ----------
    job : Job
    truth : mapping of str to Diagnosis
        By participant.

    Returns
    -------
    Fold
    """
    return split_folds(truth, job.series.recipe)[job.fold - 1]


def describe(workspace: Workspace, phantom: PhantomSettings) -> dict[str, Any]:
    """Describe the patients for the page of results, which is drawn where no image is at hand.

    Parameters
    ----------
    workspace : Workspace
    phantom : PhantomSettings

    Returns
    -------
    dict
        Plain values.
    """
    cohort = read_cohort(workspace)
    return {
        "phantom": asdict(phantom),
        "cohort_digest": cohort.digest,
        "participants": {case.case_id: case.participant_id for case in cohort},
        "truth": cohort.truth,
        "readings": [list(asdict(reading).values()) for reading in read_readings(workspace)],
        "signs": [
            [one.case_id, one.reader_id, [one.scores[sign] for sign in SIGN_IDENTIFIERS]]
            for one in read_signs(workspace)
        ],
    }


def run(bench: Bench, jobs: Sequence[Job], processes: int) -> None:
    """Train every fold that is not finished, in order.

    Parameters
    ----------
    bench : Bench
    jobs : sequence of Job
    processes : int
        Folds at work at once, one thread each.
    """
    os.nice(LEAST_URGENT)
    bench.folder.mkdir(parents=True, exist_ok=True)
    with (bench.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise WorkspaceError(
                "expected a folder that is free, got one at work", where=bench.folder.name, remedy="Stop the other run."
            ) from None
        todo = [job for job in jobs if bench.kept.read(job) is None]
        print(f"{len(jobs) - len(todo)} of {len(jobs)} folds are finished", flush=True)
        if todo:
            bench.prepare(list({job.series.name: job.series for job in todo}.values()), processes)
            share_out(bench.train, todo, workers=processes, report=print_progress)
    print("every fold is finished", flush=True)


def print_progress(label: str, epoch: int, epochs: int, seconds: float) -> None:
    """Print that an epoch has ended."""
    print(f"{label}: epoch {epoch} of at most {epochs}, {seconds:.0f} CPU seconds", flush=True)


def status(kept: Kept, series: Sequence[Series]) -> None:
    """Print how many folds of each series are finished."""
    for one in series:
        done = [number for number in one.folds if kept.read(Job(one, number)) is not None]
        print(f"{one.name:>18}  {len(done):2} of {len(one.folds):2} folds  {' '.join(map(str, done))}")


def main() -> int:
    """Run the experiment, or say how far it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=KEPT, help="finished folds; default: %(default)s")
    parser.add_argument("--smoke", action="store_true", help="a small network and two folds; tests this script alone")
    parser.add_argument("--series", action="append", metavar="NAME", help="only this one; may be given again")
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("run", help="train every fold that is not finished")
    training.add_argument("folder", type=Path, help="patients, checkpoints and weights")
    training.add_argument("--patients", type=int, default=PATIENTS)
    training.add_argument("--seed", type=int, default=COHORT_SEED, help="of the phantom cohort")
    training.add_argument("--processes", type=int, default=1, help="folds at work at once, one thread each")
    commands.add_parser("status", help="list the finished folds")
    arguments = parser.parse_args()
    series = smoke_series() if arguments.smoke else planned_series()
    kept = Kept(arguments.results)
    try:
        if arguments.smoke and arguments.results == KEPT:
            raise InputError("a smoke test among the results", remedy="Give --results another folder.")
        names = [one.name for one in series]
        unknown = sorted({*(arguments.series or [])} - {*names})
        if unknown:
            raise InputError(f"no series {unknown[0]!r}", allowed=", ".join(names))
        chosen = [one for one in series if one.name in (arguments.series or names)]
        if arguments.command == "status":
            status(kept, chosen)
        else:
            jobs = [Job(one, number) for one in chosen for number in one.folds]
            phantom = PhantomSettings(patients=arguments.patients, seed=arguments.seed)
            run(Bench(arguments.folder, kept, phantom), jobs, arguments.processes)
    except SpinefxError as error:
        print(f"protocol: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last whole epoch", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

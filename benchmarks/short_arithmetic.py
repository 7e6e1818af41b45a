"""Does training in bfloat16 change results: out-of-fold AUC and decisions against float32, paired by seed.

Run as ``python benchmarks/short_arithmetic.py FOLDER``; a run that was cut off goes on where it stopped, and what is
finished is recorded after every seed. The folder is that of ``quick_cohort.py``, or gets its cohort here. About an hour
of one core beside the cohort.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from record import record
from spinefx.cases.cohort import Cohort
from spinefx.cases.patch import PatchStack
from spinefx.cases.reading import patient_readings
from spinefx.commands.ingest import ingest
from spinefx.commands.patch import patch
from spinefx.learning.crossvalidation import cross_validate
from spinefx.learning.recipe import Recipe
from spinefx.phantom.cohort import PhantomSettings, write_cohort
from spinefx.statistics.accuracy import Roc
from spinefx.vocabulary import Diagnosis
from spinefx.workspace.layout import Workspace
from spinefx.workspace.stacks import load_stacks

# Goal G9: the whole 95% interval of the mean paired difference of AUCs within this.
LIMIT = 0.01
ARITHMETICS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Answers:
    """The out-of-fold results of one cross-validation.

    Parameters
    ----------
    auc : float
        Out of fold, of patients.
    is_malignant : tuple of bool
        Decisions, in the order of the cases.
    right : int
        Decisions that agree with the truth.
    cpu_s : float
        Of the training, where it was not there already.
    """

    auc: float
    is_malignant: tuple[bool, ...]
    right: int
    cpu_s: float


def run(stacks: Sequence[PatchStack], cohort: Cohort, recipe: Recipe, folder: Path) -> Answers:
    """Cross-validate, or read the result of an earlier run.

    Parameters
    ----------
    stacks : sequence of PatchStack
    cohort : Cohort
    recipe : Recipe
    folder : Path

    Returns
    -------
    Answers
    """
    started = time.process_time()
    found = cross_validate(stacks, cohort.truth, recipe, folder, cohort_digest=cohort.digest)
    spent = time.process_time() - started
    readings = patient_readings(
        found.predictions,
        reader_id=recipe.name,
        rule=recipe.patient_score,
        threshold=recipe.threshold,
        corrected=recipe.threshold_on == "corrected",
    )
    truth = [cohort.truth[reading.case_id] == Diagnosis.MALIGNANT for reading in readings]
    decided = tuple(reading.diagnosis == Diagnosis.MALIGNANT for reading in readings)
    area = Roc.of([reading.confidence for reading in readings], truth).auc.value
    return Answers(area, decided, sum(a == b for a, b in zip(decided, truth, strict=True)), spent)


def summarise(pairs: Sequence[tuple[Answers, Answers]], seeds: Sequence[int], what: str) -> None:
    """Record the finished seeds.

    Parameters
    ----------
    pairs : sequence of (Answers, Answers)
        In float32 and bfloat16, one pair a seed.
    seeds : sequence of int
    what : str
        Cohort and recipe, in words.
    """
    rows: list[list[object]] = []
    changed = []
    for seed, (long, short) in zip(seeds, pairs, strict=False):
        changed.append(sum(a != b for a, b in zip(long.is_malignant, short.is_malignant, strict=True)))
        right = f"{long.right}, {short.right} of {len(long.is_malignant)}"
        difference = f"{short.auc - long.auc:+.4f}"
        rows.append([seed, f"{long.auc:.4f}", f"{short.auc:.4f}", difference, changed[-1], right])
    differences = np.array([short.auc - long.auc for long, short in pairs])
    verdict, shown = "not decided: one seed", "no interval"
    if len(pairs) > 1:
        half = stats.t.ppf(0.975, len(pairs) - 1) * differences.std(ddof=1) / np.sqrt(len(pairs))
        low, high = differences.mean() - half, differences.mean() + half
        verdict = "inside" if max(abs(low), abs(high)) <= LIMIT else "NOT inside"
        shown = f"[{low:+.4f}, {high:+.4f}]"
        # The reference for decisions: how many change between two seeds of float32.
        other = [
            sum(a != b for a, b in zip(one.is_malignant, two.is_malignant, strict=True))
            for i, (one, _) in enumerate(pairs)
            for two, _ in pairs[:i]
        ]
        rows.append(["float32, two seeds", "", "", "", f"{np.mean(other):.1f} on average", ""])
    rows.append(["mean", "", "", f"{differences.mean():+.4f} {shown}", f"{np.mean(changed):.1f}", verdict])
    record(
        "short_arithmetic",
        "Training in bfloat16 against float32: out-of-fold AUC of patients, paired by seed (phantom)",
        ("seed", "AUC float32", "AUC bfloat16", "difference", "decisions changed", "right"),
        rows,
        f"{what} {len(pairs)} of {len(seeds)} seeds are finished. Folds, draws and first weights are the same in both "
        "arithmetics of a seed; scoring is always float32. 95% interval of the mean difference by Student's t over "
        f"seeds; wanted: all of it within {LIMIT} of zero. It is asked of the small network alone, so bfloat16 stays "
        "off in every preset.",
        [
            {
                "goal": "G9",
                "wanted": f"interval within +-{LIMIT}, 5 seeds",
                "measured": f"{differences.mean():+.4f} {shown}, {len(pairs)} seeds: {verdict}",
                "unit": "AUC",
            }
        ],
    )


def main() -> None:
    """Make the cohort where it is missing, train each seed twice, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder for cohort and models")
    parser.add_argument("--patients", type=int, default=190)
    parser.add_argument("--cohort-seed", type=int, default=5)
    # Five seeds gave +0.0019 [-0.0085, +0.0123]: inconclusive. Ten were then fixed and run, including those five.
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=12)
    arguments = parser.parse_args()
    quick = Recipe.preset("quick").changed(epochs=arguments.epochs)
    folder, study, export = arguments.folder, arguments.folder / "study", arguments.folder / "export"
    if not (study / "participants.tsv").exists():
        write_cohort(export, PhantomSettings(patients=arguments.patients, seed=arguments.cohort_seed))
        ingest(study, export, table=export / "cases.csv")
        patch(study, quick.patch_settings)
    cases, stacks = load_stacks(Workspace.open(study), quick.patch_settings)
    cohort = Cohort(cases)
    seeds = [quick.seed + number for number in range(arguments.seeds)]
    what = (
        f"{len(cases)} phantom patients (cohort seed {arguments.cohort_seed}), recipe quick (small_resnet) with "
        f"{quick.epochs} epochs, {quick.folds} folds."
    )
    pairs = []
    for seed in seeds:
        found = [
            run(stacks, cohort, quick.changed(seed=seed, dtype=dtype), folder / "arithmetic" / f"{seed}-{dtype}")
            for dtype in ARITHMETICS
        ]
        pairs.append((found[0], found[1]))
        summarise(pairs, seeds, what)
        print(f"CPU seconds of seed {seed}: {found[0].cpu_s:.0f} float32, {found[1].cpu_s:.0f} bfloat16", flush=True)


if __name__ == "__main__":
    main()

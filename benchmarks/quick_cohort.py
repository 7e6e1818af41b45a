"""Recipe `quick` on 190 phantom patients: tenfold, with T1W registered and with T1W by its header's geometry alone.

About ten minutes on two cores the first time; the cohort and its patches are kept in the folder that is given.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from record import record
from spinefx.learning.recipe import Recipe
from spinefx.parallel import default_workers
from spinefx.phantom.cohort import PhantomSettings, write_cohort
from spinefx.verbs.ingest import ingest
from spinefx.verbs.patching import patch
from spinefx.verbs.reporting import report
from spinefx.verbs.training import train


def main() -> None:
    """Make the cohort where it is missing, train twice, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the cohort is kept")
    parser.add_argument("--patients", type=int, default=190)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    workers = default_workers()
    export, study = arguments.folder / "export", arguments.folder / "study"
    write_cohort(export, PhantomSettings(patients=arguments.patients, seed=arguments.seed), workers=workers)
    if not (study / "participants.tsv").exists():
        tables = {name: export / f"{name}.csv" for name in ("signs", "readings")}
        ingest(study, export, table=export / "cases.csv", **tables, workers=workers)
    quick = Recipe.preset("quick")
    recipes = {
        "registered (rigid)": quick,
        "geometry alone": quick.changed(registration="geometry", name="quick-geometry"),
    }
    seconds = {}
    for label, recipe in recipes.items():
        patch(study, recipe.patch_settings, workers=workers)
        started = time.perf_counter()
        train(study, recipe, workers=workers)
        seconds[label] = time.perf_counter() - started
    rows = []
    for label, recipe in recipes.items():
        found = {row[0]: row for row in report(study, recipe.name).table.rows}[recipe.name]
        *_, sensitivity, specificity, accuracy, auc = found
        rows.append([label, f"{auc}", f"{accuracy}", f"{sensitivity}", f"{specificity}", f"{seconds[label]:.0f} s"])
    record(
        "quick_cohort",
        f"Recipe quick on {arguments.patients} phantom patients, tenfold by patient (phantom)",
        ("T1W", "AUC per patient", "accuracy", "sensitivity", "specificity", f"training, {workers} processes"),
        rows,
        "Training time alone; cohort and patches apart. 95% intervals: DeLong for the AUC, Wilson for proportions.",
    )


if __name__ == "__main__":
    main()

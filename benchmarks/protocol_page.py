"""Write docs/experiment.md from the finished folds in benchmarks/results/protocol, however many there are.

Every figure is computed here from the kept predictions by the package's own statistics; no image is needed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from protocol import KEPT, Kept, planned_series
from protocol_findings import Findings, Finished
from spinefx.cases.reading import patient_readings
from spinefx.statistics.accuracy import Confusion
from spinefx.statistics.audit.recompute import example_claims
from spinefx.statistics.delong import auc_difference
from spinefx.statistics.paired.intervals import paired_difference
from spinefx.statistics.paired.mcnemar import comparison_table
from spinefx.statistics.paired.table import PairedTable
from spinefx.statistics.performance import fold_table, patient_auc, performance_table, slice_table
from spinefx.statistics.readings import confidences_of, diagnoses_of
from spinefx.statistics.sign_model import fit_sign_model
from spinefx.statistics.signs import scores_by_case
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Diagnosis, Score

PAGE = Path(__file__).resolve().parents[1] / "docs" / "experiment.md"
NOTHING_YET = "No fold of this part is finished yet."
ALL_EPOCHS, FLOAT32, DEALT = "paper-100-epochs", "honest-float32", "dealt-anew"
MAIN = ("honest", "paper")
PAPER_READERS = {
    "MSK": "radiologist, 28 years",
    "R4": "resident, year 4",
    "R1": "resident, year 1",
    "ResNet50": "model",
}
SIMULATED = ("msk_senior", "resident_r4", "resident_r1")
# Written down before any fold was trained: what a network that sees the box alone should reach, and what it cannot.
EXPECTED_ACCURACY, SUSPICIOUS_ACCURACY = (0.84, 0.93), 0.95
SHOWN_EPOCHS = (1, 2, 3, 5, 10, 20, 30, 50, 70, 100)


def draw_page(found: Findings) -> str:
    """Write the whole page."""
    parts: list[str] = [OPENING]
    for title, section in SECTIONS.items():
        parts += ["", f"## {title}", "", *section(found)]
    return "\n".join(parts) + "\n" + CLOSING


def in_markdown(table: ResultTable, columns: Sequence[str] = ()) -> list[str]:
    """Write a table as Markdown, all its columns or the named ones, with its note below."""
    kept = [table.columns.index(name) for name in columns or table.columns]
    rows = [[table.columns[place] for place in kept], ["---"] * len(kept)]
    rows += [[cells[place].replace("|", "/") for place in kept] for cells in table.to_text()]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [*lines, "", table.note] if table.note else lines


def progress_section(found: Findings) -> list[str]:
    """Show what is finished and what it took."""
    rows = []
    for one in found.series.values():
        recipe = one.series.recipe
        epochs = sum(len(result.history.rows) for result in one.results)
        seconds = sum(cpu for file in one.files for cpu, _ in file["epoch_seconds"].values())
        rows.append(
            (
                one.series.name,
                recipe.network,
                recipe.dtype,
                f"{len(one.files)} of {len(one.series.folds)}",
                str(recipe.patience or "none"),
                str(epochs),
                f"{np.median(one.epoch_seconds):.0f}" if one.epoch_seconds else "–",
                f"{seconds / 3600:.1f}",
            )
        )
    columns = ("series", "network", "arithmetic", "folds finished", "patience", "epochs trained")
    table = ResultTable("progress", "", (*columns, "CPU s per epoch (median)", "CPU hours"), tuple(rows))
    machines = sorted({file["computed_with"]["processor"] for one in found.series.values() for file in one.files})
    digests = {file["cohort_digest"] for one in found.some(*MAIN) for file in one.files}
    lines = in_markdown(table)
    if machines:
        lines += ["", f"One thread per fold; processors: {', '.join(machines)}."]
    if len(digests) > 1:
        lines += ["", f"The cohort was made on {len(digests)} machines whose voxels differ in their last digits."]
    return lines


def table2_section(found: Findings) -> list[str]:
    """Set the paper's Table 2 beside ours."""
    if found.cohort is None:
        return [NOTHING_YET]
    lines = ["The paper's patients, from its printed counts:", "", *in_markdown(published_table())]
    models = [one.model for one in found.some(*MAIN)]
    table = performance_table(found.truth, found.readings, models)
    lines += ["", "Phantom patients, simulated readers and our models:", "", *in_markdown(table)]
    unfinished = [one for one in found.some(*MAIN) if not one.is_complete]
    if unfinished:
        lines += ["", "A recipe with unfinished folds is counted on the patients of its finished folds alone; its row"]
        lines += ["cannot be compared with those of all patients."]
    for one in found.some(*MAIN):
        if one.is_complete:
            lines += [
                "",
                f"`{one.label}`: {judged(Confusion.of(diagnoses_of(one.model.readings), found.truth).accuracy.value)}",
            ]
    return [*lines, "", *baseline_lines(found)]


def judged(accuracy: float) -> str:
    """Compare an accuracy with the range that was written down before training."""
    low, high = EXPECTED_ACCURACY
    said = f"an accuracy of {low} to {high} was expected before training; {accuracy:.3f} lies"
    if accuracy > SUSPICIOUS_ACCURACY:
        return f"{said} above {SUSPICIOUS_ACCURACY}, more than the signs in the box allow: look for a leak."
    return f"{said} {'below it' if accuracy < low else 'above it' if accuracy > high else 'within it'}."


def published_table() -> ResultTable:
    """Return Table 2 of Yeh 2022 from its printed counts, with intervals."""
    counts = {claim.claim: claim.counts for claim in example_claims()}
    rows = []
    for reader, label in PAPER_READERS.items():
        (tp, malignant), (tn, benign) = (
            map(int, counts[f"{reader}: {measure}"].split("/")) for measure in ("sensitivity", "specificity")
        )
        cells = Confusion(tp, tn, malignant - tp, benign - tn)
        shares = (cells.sensitivity, cells.specificity, cells.accuracy)
        rows.append((reader, label, malignant + benign, cells.tp, cells.tn, cells.fn, cells.fp, *shares))
    columns = ("reader", "kind", "cases", "TP", "TN", "FN", "FP", "sensitivity", "specificity", "accuracy")
    return ResultTable("published", "", columns, tuple(rows), "Wilson 95% intervals.")


def baseline_lines(found: Findings) -> list[str]:
    """Show what simple rules score on the phantoms' true signs."""
    true_signs = scores_by_case(found.signs, "phantom_truth")
    ticked = {
        case: Diagnosis.MALIGNANT if scores["skip_lesions"] == Score.YES else Diagnosis.BENIGN
        for case, scores in true_signs.items()
    }
    box = Confusion.of(ticked, found.truth)
    model = fit_sign_model(true_signs, found.truth, np.random.default_rng(1), draws=0)
    rows = (
        ("a lesion in another vertebra", box.sensitivity, box.specificity, box.accuracy, None),
        (
            f"logistic model of the 15 signs, {model.folds}-fold",
            model.crossvalidated.sensitivity,
            model.crossvalidated.specificity,
            model.crossvalidated.accuracy,
            model.auc["crossvalidated"],
        ),
    )
    columns = ("rule on the true signs", "sensitivity", "specificity", "accuracy", "AUC")
    note = (
        "These rules see what the box of the network cannot show: three of the fifteen signs lie outside it. "
        "If the signs of Table 1 were independent, the twelve inside it would allow an accuracy of at most 93.6%."
    )
    return in_markdown(ResultTable("baselines", "", columns, rows, note))


def fold_section(found: Findings) -> list[str]:
    """Show areas by fold and by slice."""
    shown = found.some(*MAIN)
    if not shown:
        return [NOTHING_YET]
    lines: list[str] = []
    for one in shown:
        lines += [f"Recipe {one.label}:", "", *in_markdown(fold_table(one.truth, one.model)), ""]
    return [
        *lines,
        "Pooled, each slice by itself:",
        "",
        *in_markdown(slice_table(found.truth, [o.model for o in shown])),
    ]


def reader_section(found: Findings) -> list[str]:
    """Compare the models with the simulated readers, patient by patient."""
    shown = [one for one in found.some(*MAIN) if one.is_complete]
    if not shown:
        return ["The comparison is made once a recipe has all its folds."]
    columns = ("reader 1", "reader 2", "measure", "cases", "only first right", "only second right")
    lines: list[str] = []
    for one in shown:
        table = comparison_table(found.truth, [*found.readings, *one.model.readings], against=one.label)
        lines += [*in_markdown(table, (*columns, "difference (Tango)", "p exact", "p exact, Holm")), ""]
    return lines[:-1]


def inflation_section(found: Findings) -> list[str]:
    """Show what the paper's protocol adds to the honest one."""
    honest, paper = (found.series[name] for name in MAIN)
    if not (honest.is_complete and paper.is_complete):
        return [
            "Inflation is `paper` minus `honest` on the same patients. It follows once both are complete; finished are "
            f"{paper.progress} of `paper` and {honest.progress} of `honest`."
        ]
    truth = found.truth
    rows: list[tuple[object, ...]] = [("AUC per patient", str(area_difference(paper, honest).estimate))]
    answers = [diagnoses_of(one.model.readings) for one in (paper, honest)]
    measures = (("sensitivity", Diagnosis.MALIGNANT), ("specificity", Diagnosis.BENIGN), ("accuracy", None))
    for measure, among in measures:
        rows.append((measure, str(paired_difference(PairedTable.of(*answers, truth, among)))))
    note = (
        "Paired by patient; 95% intervals by DeLong (AUC) and Tango (proportions). The two recipes differ in more than "
        "the fold that chooses the epoch: `honest` sets aside an inner split and so trains on fewer patients, draws "
        "anew in every epoch and leaves the unchanged slice out."
    )
    return in_markdown(ResultTable("inflation", "", ("measure", "paper minus honest"), tuple(rows), note))


def area_difference(first: Finished, second: Finished) -> Any:
    """Compare the areas of two series on the patients that both have tested.

    Parameters
    ----------
    first, second : Finished

    Returns
    -------
    PValue
        First minus second, by DeLong, paired by patient.
    """
    scores = [confidences_of(one.model.readings) for one in (first, second)]
    cases = [case for case in scores[0] if case in scores[1]]
    malignant = [first.truth[case] == Diagnosis.MALIGNANT for case in cases]
    return auc_difference(*([one[case] for case in cases] for one in scores), malignant)


def dealt_section(found: Findings) -> list[str]:
    """Show that nothing is found where nothing is to be found."""
    shown = found.some(DEALT)
    if not shown:
        return [NOTHING_YET]
    (one,) = shown
    area = patient_auc(one.truth, one.model.readings)
    assert area is not None
    verdict = "includes 0.5, as it must" if area.low <= 0.5 <= area.high else "does not include 0.5: look for a leak"
    return [
        f"Recipe `honest` on diagnoses shuffled among the patients, {one.progress}: AUC per patient {area} over "
        f"{len(one.truth)} patients. The interval {verdict}."
    ]


def history_section(found: Findings) -> list[str]:
    """Show which epoch was kept, and what a longer training brings."""
    shown = found.some(*MAIN, FLOAT32, ALL_EPOCHS)
    if not shown:
        return [NOTHING_YET]
    rows = []
    for one in shown:
        for result in one.results:
            history = result.history
            kept, last = history.rows[history.kept_epoch - 1], history.rows[-1]
            losses = (kept.training_loss, kept.validation_loss, last.training_loss, last.validation_loss)
            rows.append((one.series.name, str(result.fold), str(kept.epoch), str(last.epoch), *losses))
    columns = ("recipe", "fold", "epoch kept", "epochs trained")
    losses = ("training loss, kept", "validation loss, kept", "training loss, last", "validation loss, last")
    note = (
        "Cross-entropy, nats. The validation loss is that of the inner split in `honest`, of the test fold in `paper`."
    )
    lines = in_markdown(ResultTable("history", "", (*columns, *losses), tuple(rows), note))
    kept = [result.history.kept_epoch for one in found.some(*MAIN) for result in one.results]
    if kept:
        lines += [
            "",
            f"The kept epoch is the first in {kept.count(1)} of {len(kept)} folds of `honest` and `paper`; the median "
            f"is {np.median(kept):g}, the latest {max(kept)}. One epoch shows every benign slice 20 times and every "
            "malignant one 40 times, each time shifted, turned and scaled.",
        ]
    return [*lines, "", *all_epochs_lines(found)]


def all_epochs_lines(found: Findings) -> list[str]:
    """Show whether the loss falls again in the paper's hundred epochs."""
    shown = found.some(ALL_EPOCHS)
    if not shown:
        return ["Fold 1 of `paper` is also to be trained for all 100 epochs, without patience; it is not finished yet."]
    (result,) = shown[0].results
    rows = result.history.rows
    lowest = rows[result.history.kept_epoch - 1]
    picked = sorted({lowest.epoch, *(epoch for epoch in SHOWN_EPOCHS if epoch <= len(rows))})
    cells = tuple((str(n), rows[n - 1].training_loss, rows[n - 1].validation_loss) for n in picked)
    later = min(rows[10:], key=lambda row: row.validation_loss or 0.0, default=None)
    lines = in_markdown(ResultTable("epochs", "", ("epoch", "training loss", "validation loss"), cells))
    said = "Fold 1 of `paper` without patience: the validation loss is lowest after epoch "
    said += f"{lowest.epoch} ({lowest.validation_loss:.3f})"
    if later is not None:
        said += f"; after epoch 10 it never falls below {later.validation_loss:.3f} (epoch {later.epoch})"
    return [f"{said}.", "", *lines]


def arithmetic_section(found: Findings) -> list[str]:
    """Compare bfloat16 with float32 on fold 1."""
    shown = found.some(FLOAT32)
    honest = [one for one in found.some("honest") if one.results[0].fold == 1]
    if not shown or not honest:
        return ["Fold 1 of `honest` is also to be trained in float32; it is not finished yet."]
    short = Finished(honest[0].series, honest[0].files[:1])
    rows = []
    for one, arithmetic in ((short, "bfloat16"), (shown[0], "float32")):
        area = patient_auc(one.truth, one.model.readings)
        seconds = f"{np.median(one.epoch_seconds):.0f}" if one.epoch_seconds else "–"
        rows.append((arithmetic, str(one.results[0].history.kept_epoch), area, seconds))
    first, second = (diagnoses_of(one.model.readings) for one in (short, shown[0]))
    changed = sum(first[case] != second[case] for case in first)
    note = (
        f"{changed} of {len(first)} diagnoses differ; difference of AUC, bfloat16 minus float32: "
        f"{area_difference(short, shown[0]).estimate}. One fold cannot show that they are equivalent. Scoring is "
        "always float32."
    )
    columns = ("training in", "epoch kept", "AUC per patient, fold 1", "CPU s per epoch")
    return in_markdown(ResultTable("arithmetic", "", columns, tuple(rows), note))


def ablation_section(found: Findings) -> list[str]:
    """Show what the maximum over slices and the registration contribute."""
    rows: list[tuple[object, ...]] = []
    for one in [one for one in found.some(*MAIN) if one.is_complete]:
        for rule in ("max", "mean", "noisy_or"):
            readings = patient_readings(one.model.predictions, reader_id=rule, rule=rule)
            rows.append((one.series.name, f"patient score: {rule}", patient_auc(one.truth, readings)))
    quick = found.some("quick", "quick-geometry")
    for one in [one for one in quick if one.is_complete]:
        registration = {"rigid": "registered (rigid)", "geometry": "geometry of the headers alone"}
        said = registration[one.series.recipe.registration]
        rows.append(
            (f"{one.series.name} (small network)", f"T1W to T2W: {said}", patient_auc(one.truth, one.model.readings))
        )
    lines = in_markdown(ResultTable("ablation", "", ("recipe", "varied", "AUC per patient"), tuple(rows)))
    if len(quick) == 2 and all(one.is_complete for one in quick):
        lines += ["", f"Registered minus geometry alone, paired by patient: {area_difference(*quick).estimate}."]
    return lines if rows else [NOTHING_YET]


OPENING = """\
# The paper's experiment on phantoms

Yeh et al. 2022 trained a ResNet50 on 190 patients, ten folds by patient, with every benign slice augmented 20 times and
every malignant one 40 times. Here the same network is trained by the same protocol on 190 synthetic patients (50
malignant, 140 benign). **Figures on phantoms test the software and say nothing about patients.** Recipe `paper` takes
the text literally, so the fold that is reported also chooses the epoch; recipe `honest` chooses it on an inner split of
the training patients. Research use only, not a medical device.

`python benchmarks/protocol_page.py` draws this page from `benchmarks/results/protocol/`, which holds one file per
finished fold: predictions, losses of every epoch, seconds, and digests of patients, recipe, patches and weights."""

SECTIONS: dict[str, Callable[[Findings], list[str]]] = {
    "How much is finished": progress_section,
    "Table 2, the paper's and ours": table2_section,
    "Areas by fold and by slice": fold_section,
    "The models and the simulated readers": reader_section,
    "What the paper's protocol adds": inflation_section,
    "Diagnoses dealt anew": dealt_section,
    "How long the network learns": history_section,
    "bfloat16 and float32": arithmetic_section,
    "What single steps contribute": ablation_section,
}

CLOSING = """
## Limits

- The patients are phantoms, and the readers are simulated: see [Simulated readers](simulated-readers.md).
- The network starts from random weights, where the paper started from ImageNet.
- Training stops after five epochs without a lower validation loss, where the paper trained 100 epochs. The patience was
  chosen once, from a pilot of fold 1 of `honest`: the loss of its inner split was lowest after the first epoch and more
  than twice as high after the eleventh.
- Training computes in bfloat16. The benchmark that allows it was made with the small network, so fold 1 is repeated in
  float32.
- One seed: the spread between repeats of the whole cross-validation is not measured.

## Repeat it or continue it

```sh
python benchmarks/protocol.py run build/protocol
python benchmarks/protocol.py status
python benchmarks/protocol_page.py
```

The first command makes the phantom patients and trains the folds that have no file in `benchmarks/results/protocol/`,
one at a time, on one core at the lowest priority. Stop it at any moment: it continues from the last whole epoch.
"""


def main() -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=KEPT, help="finished folds; default: %(default)s")
    parser.add_argument("--page", type=Path, default=PAGE, help="where to write; default: %(default)s")
    arguments = parser.parse_args()
    found = Findings.read(Kept(arguments.results), planned_series())
    arguments.page.write_text(draw_page(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

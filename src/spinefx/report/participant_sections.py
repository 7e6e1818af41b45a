"""Sections on the participants: their flow, the cohort, and performance in subgroups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from spinefx.report.content import ParticipantSummary, ReportContent, Section
from spinefx.report.subgroups import subgroup_table
from spinefx.statistics.readings import confidences_of
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import LEVELS, Diagnosis, Score

__all__ = ["cohort_section", "flow_section", "subgroup_section"]

# Last level of each region, cranial to caudal; most of these fractures are at the thoracolumbar junction.
REGIONS = {"C7": "C1 to C7", "T10": "T1 to T10", "L2": "T11 to L2", "L6": "L3 to L6", "S5": "S1 to S5"}
AGES = ((60, "0 to 59 years"), (75, "60 to 74 years"), (np.inf, "75 years and over"))
GROUPS = (Diagnosis.MALIGNANT, Diagnosis.BENIGN)


def flow_section(content: ReportContent) -> Section:
    """Build the section on enrolment, exclusions and readings.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    diagnosis = {participant.participant_id: participant.diagnosis for participant in content.participants}
    owners = {content.owners.get(case, case) for case in content.truth}
    rows: list[tuple[object, ...]] = []

    def count(step: str, left: bool, keys: Sequence[str], truth: Mapping[str, Diagnosis], unit: str) -> None:
        numbers = [sum(truth[key] == group for key in keys) for group in GROUPS]
        rows.append((step, "left" if left else "in", *numbers, len(keys), unit))

    if diagnosis:
        count("Enrolled", False, list(diagnosis), diagnosis, "participants")
        count("No vertebra marked", True, [one for one in diagnosis if one not in owners], diagnosis, "participants")
    count("Vertebra marked", False, list(content.truth), content.truth, "cases")
    steps: list[tuple[str, tuple[str, ...]]] = []
    for step, kind, malignant, benign, total, unit in rows:
        text = f"{step}: {total} {unit} ({malignant} malignant, {benign} benign)"
        if kind == "in":
            steps.append((text, ()))
        elif total:
            steps[-1] = (steps[-1][0], (*steps[-1][1], text))
    before = len(rows)
    for label, own in content.diagnoses.items():
        count(f"Read by {label}", False, list(own), content.truth, "cases")
    # All readers and models read the same cases, so this is one last step and not a chain of steps.
    read = tuple(
        f"{step}: {total} of {len(content.truth)} ({malignant} malignant, {benign} benign)"
        for step, _, malignant, benign, total, _ in rows[before:]
    )
    steps.append(("Read, by reader or model", read))
    columns = ("step", "in or left", "malignant", "benign", "all", "counted")
    table = ResultTable("flow", "Flow of participants, as counts", columns, tuple(rows))
    refused = ", ".join(f"{number} for: {reason}" for reason, number in content.refused.items())
    paragraphs = (f"Series of these participants that were not used: {refused}.",) if refused else ()
    return Section("flow", "Flow of participants", paragraphs, folded=(table,), steps=tuple(steps))


def cohort_section(content: ReportContent) -> Section:
    """Build the section that describes the participants by diagnosis.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    if not content.participants:
        return Section("cohort", "Cohort", absent="There is no table of participants.")
    participants = [[one for one in content.participants if one.diagnosis == group] for group in GROUPS]
    columns = [*participants, list(content.participants)]
    ages = [[one.age for one in group if one.age is not None] for group in columns]
    rows: list[tuple[object, ...]] = [
        ("participants", *map(len, columns)),
        ("age in years: mean (SD)", *map(_mean, ages)),
        ("age in years: median (range)", *map(_median, ages)),
        ("age unknown", *(len(group) - len(known) for group, known in zip(columns, ages, strict=True))),
    ]
    for name, of in (
        ("sex", lambda one: one.sex or "unknown"),
        ("truth by", lambda one: one.truth_source.replace("_", " ")),
        ("primary tumour", lambda one: one.primary_tumor or "none recorded"),
    ):
        rows += _shares(name, columns, of)
    levels = [[_region(content.levels.get(case, "")) for case in content.cases_of(group)] for group in GROUPS]
    for region in (*REGIONS.values(), ""):
        counts = [of_group.count(region) for of_group in levels]
        if sum(counts) and any(content.levels.values()):
            rows.append((f"level: {region or 'not recorded'}, cases", *counts, sum(counts)))
    note = "Shares are of the participants of each column. Groups were not tested against each other."
    table = ResultTable("cohort", "Cohort", ("characteristic", "malignant", "benign", "all"), tuple(rows), note)
    return Section("cohort", "Cohort", tables=(table, *_located_table(content)))


def _located_table(content: ReportContent) -> tuple[ResultTable, ...]:
    """Say how far the localiser's boxes lie from those that they replaced, where it placed any."""
    found = [(distance, shared) for _, distance, shared in content.located if distance is not None]
    chosen = [way for way, _, _ in content.located]
    if not content.located:
        return ()
    far = np.array([distance for distance, _ in found])
    rows: list[tuple[object, ...]] = [
        ("boxes that the localiser was to place", len(content.located)),
        ("vertebra chosen by its name", chosen.count("name")),
        ("no such name in the field: the vertebra that the table's box lies on", chosen.count("place")),
        ("no vertebra found there: box of the table kept", chosen.count("none")),
    ]
    if len(found):
        rows += [
            ("distance from the table's box, median, mm", round(float(np.median(far)), 2)),
            ("90th percentile, mm", round(float(np.quantile(far, 0.9)), 2)),
            ("greatest, mm", round(float(far.max()), 2)),
            ("within 5 mm", f"{int((far <= 5).sum())} of {len(found)}"),
            ("sharing a lesion slice with the table's box", f"{sum(shared for _, shared in found)} of {len(found)}"),
        ]
    kind = "phantoms, whose table holds the truth" if content.phantom else "cases"
    note = f"Distances are between the centres, within the plane of the slices; {kind}."
    return (ResultTable("located_boxes", "Boxes placed by the localiser", ("what", "value"), tuple(rows), note),)


def subgroup_section(content: ReportContent) -> Section:
    """Build the section on the performance of the model and of every reader in subgroups.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    ages = {participant.participant_id: participant.age for participant in content.participants}
    sexes = {participant.participant_id: participant.sex for participant in content.participants}
    owner = {case: content.owners.get(case, case) for case in content.truth}
    divisions = {
        "collapse": {case: _collapse(scores["absence_of_collapse"]) for case, scores in content.scores.items()},
        "level": {case: _region(content.levels.get(case, "")) for case in content.truth},
        "age": {case: _age_group(ages.get(owner[case])) for case in content.truth},
        "sex": {case: sexes.get(owner[case], "") for case in content.truth},
    }
    known = {name: groups for name, groups in divisions.items() if any(groups.values())}
    if not known:
        return Section("subgroups", "Subgroups", absent="No levels, ages, sexes or signs were recorded.")
    shown, folded = [], []
    for name, groups in known.items():
        tables = {
            label: subgroup_table(
                content.truth,
                content.diagnoses[label],
                groups,
                name=name,
                scores=confidences_of(content.all_readings[label]),
            )
            for label in content.all_readings
        }
        shown.append(tables[content.lead])
        if len(tables) > 1:
            rows = tuple((label, *row) for label, table in tables.items() for row in table.rows)
            one = tables[content.lead]
            folded.append(
                ResultTable(f"{one.name}_all", f"{one.title}, every reader", ("reader", *one.columns), rows, one.note)
            )
    text = [f"Performance of {content.lead}{'; tables of every reader are folded below' if folded else ''}."]
    if "collapse" in known:
        text.append(f"Collapse was scored by {content.reference}. Vertebrae without collapse are easier to diagnose.")
    return Section("subgroups", "Subgroups", tuple(text), tuple(shown), tuple(folded))


def _shares(
    name: str, columns: Sequence[Sequence[ParticipantSummary]], of: Callable[[ParticipantSummary], str]
) -> list[tuple[object, ...]]:
    counts = [Counter(of(one) for one in group) for group in columns]
    return [
        (f"{name}: {value}", *(_share(each[value], len(group)) for each, group in zip(counts, columns, strict=True)))
        for value, _ in sorted(counts[-1].items(), key=lambda item: (-item[1], item[0]))
    ]


def _share(count: int, total: int) -> str:
    return f"{count} ({100 * count / total:.0f}%)" if total else "0"


def _mean(ages: Sequence[float]) -> str | None:
    if len(ages) < 2:
        return f"{ages[0]:.1f}" if ages else None
    return f"{np.mean(ages):.1f} ({np.std(ages, ddof=1):.1f})"


def _median(ages: Sequence[float]) -> str | None:
    return f"{np.median(ages):.0f} ({min(ages):.0f} to {max(ages):.0f})" if ages else None


def _region(level: str) -> str:
    if level not in LEVELS:
        return ""
    return next(region for last, region in REGIONS.items() if LEVELS.index(level) <= LEVELS.index(last))


def _age_group(age: float | None) -> str:
    return "" if age is None else next(label for below, label in AGES if age < below)


def _collapse(absent: Score) -> str:
    return {Score.YES: "not collapsed", Score.NO: "collapsed"}.get(absent, "")

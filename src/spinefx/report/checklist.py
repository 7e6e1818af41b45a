"""A draft checklist for reporting guidelines: filled from the data, drafted for confirmation, or left to the author.

CLAIM (2020), TRIPOD+AI (2024) and STARD-AI (2025) overlap; each row covers one item that they share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from spinefx.report.content import ReportContent, Section
from spinefx.statistics.performance import performance_table
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Arm, Diagnosis, Score

__all__ = ["Source", "checklist_section"]


class Source(StrEnum):
    """Who is responsible for a line of the checklist."""

    DATA = "filled from the data"
    DRAFT = "draft: confirm or correct"
    AUTHOR = "left to the author"


# Fields of a recipe by what they determine; all others determine the training.
PREPROCESSING = ("sequences", "neighbours", "registration", "margin_percent", "patch_size", "normalisation")
NETWORK = ("network", "stem", "mixing_bias", "dropout", "initialisation", "dtype")
EVALUATION = ("folds", "repeats", "patient_score", "threshold", "threshold_on")

# The item, its numbers in CLAIM 2020 (if checked against the list), who is responsible, and what is known.
Line = tuple[str, str, Source, str]


def checklist_section(content: ReportContent) -> Section:
    """Build the section with the draft of a reporting checklist.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    lines = (*_study_lines(content), *_method_lines(content), *_result_lines(content), *AUTHOR_LINES)
    counts = Counter(source for _, _, source, _ in lines)
    text = (
        "This is a draft for CLAIM, TRIPOD+AI and STARD-AI, not a finished checklist: "
        + ", ".join(f"{counts[source]} {source}" for source in Source)
        + ".",
    )
    note = "Item numbers are those of CLAIM 2020, where verified. Check the others, and the current editions, yourself."
    rows = tuple((item, str(source), known, numbers) for item, numbers, source, known in lines)
    columns = ("asked", "who vouches", "what this workspace says", "CLAIM 2020")
    table = ResultTable("checklist", "Reporting checklist, draft", columns, rows, note)
    return Section("checklist", "Reporting checklist (draft)", text, folded=(table,))


AUTHOR_LINES: tuple[Line, ...] = (
    ("where and when participants were found, and who was eligible", "7, 8", Source.AUTHOR, ""),
    ("robustness: scanners, noise, where the box was put", "", Source.AUTHOR, "Not looked at in this report."),
    ("explanation of the model's answers, and its check", "", Source.AUTHOR, "Not looked at in this report."),
    ("limitations, bias, generalisability", "", Source.AUTHOR, ""),
    ("intended use and role in practice", "", Source.AUTHOR, ""),
    ("registration, protocol, ethics, funding, conflicts of interest", "", Source.AUTHOR, ""),
)


def _study_lines(content: ReportContent) -> tuple[Line, ...]:
    cases, malignant = len(content.truth), len(content.cases_of(Diagnosis.MALIGNANT))
    table = performance_table(content.truth, (), [content.main])
    row = dict(zip(table.columns, table.rows[0], strict=True))
    readers = f"{len(content.human_readings)} readers" if content.human_readings else "no readers"
    sources = Counter(participant.truth_source.replace("_", " ") for participant in content.participants)
    truth = ", ".join(f"{count} by {source}" for source, count in sources.most_common()) or "not recorded"
    enrolled = {one.participant_id for one in content.participants}
    unmarked = len(enrolled - {content.owners.get(case, case) for case in content.truth})
    ages_unknown = sum(one.age is None for one in content.participants)
    unread = sum(len(content.truth) - len(own) for own in content.diagnoses.values())
    unassessed = sum(score == Score.NOT_ASSESSABLE for scores in content.scores.values() for score in scores.values())
    numbers = f"Sensitivity {row['sensitivity']}, specificity {row['specificity']}, AUC {row['AUC'] or 'none'}."
    design = (
        f"Diagnostic accuracy of a model beside {readers} on {cases} cases ({malignant} malignant). "
        "Say whether superiority or non-inferiority was meant, and by what margin."
    )
    missing = (
        f"{unmarked} participants without a marked vertebra, {unread} readings missing, "
        f"{unassessed} sign scores not assessable, {ages_unknown} ages unknown."
    )
    precision = (
        f"With {malignant} malignant cases the sensitivity is known to {row['sensitivity']}. Say how the size was set."
    )
    return (
        ("title and abstract with figures and intervals", "1, 2", Source.DRAFT, numbers),
        ("design, goal, hypothesis", "3 to 6", Source.DRAFT, design),
        ("flow of participants", "", Source.DATA, "See the flow of participants."),
        ("missing data", "13", Source.DATA, missing),
        ("reference standard, and who established it", "14 to 17", Source.DRAFT, f"Truth: {truth}."),
        ("sample size", "19", Source.DRAFT, precision),
        ("characteristics of participants by diagnosis", "", Source.DATA, "See the cohort."),
    )


def _method_lines(content: ReportContent) -> tuple[Line, ...]:
    recipe = {key.removeprefix("recipe: "): value for key, value in content.provenance.items() if "recipe: " in key}
    training = [name for name in recipe if name not in (*PREPROCESSING, *NETWORK, *EVALUATION)]

    def described(names: Iterable[str]) -> str:
        found = [f"{name.replace('_', ' ')} {recipe[name]}" for name in names if name in recipe]
        return f"{'; '.join(found)}." if found else "No recipe was kept."

    folds = len({prediction.fold for prediction in content.main.predictions})
    passed = sum(finding.passed for finding in content.audit)
    split = f"{folds} folds, split by patient; {passed} of {len(content.audit)} checks of the leak audit passed."
    software = content.provenance.get("trained with", "") or "not recorded"
    identity = "spinefx keeps pseudonyms only: no name, no date, ages above 89 as 90. Say what was done before ingest."
    metrics = (
        f"Malignant at a {'prior-corrected ' if content.main.corrected else ''}probability of "
        f"{content.main.threshold:g} or more, fixed by the recipe. Wilson and Clopper-Pearson intervals, McNemar's "
        "tests with Tango's interval, DeLong, Fisher with Holm's correction; two-sided, 95%."
    )
    return (
        ("preprocessing, cropping, resampling", "9 to 11", Source.DATA, described(PREPROCESSING)),
        ("de-identification", "12", Source.DRAFT, identity),
        ("partitions, level of the split, leaks", "20", Source.DATA, split),
        ("model, its parameters, libraries", "", Source.DATA, f"{described(NETWORK)} Software: {software}."),
        (
            "training: augmentation, imbalance, loss, schedule, choice of the model",
            "",
            Source.DATA,
            described(training),
        ),
        ("measures, threshold, tests, multiplicity", "", Source.DATA, metrics),
        (
            "internal or external testing",
            "",
            Source.DRAFT,
            "Internal: cross-validation on one cohort. No external test stands in this report.",
        ),
    )


def _result_lines(content: ReportContent) -> tuple[Line, ...]:
    aided = any(reading.arm == Arm.AIDED for reading in content.readings)
    wrong = sum(reading.diagnosis != content.truth[reading.case_id] for reading in content.main.readings)
    assistance = (
        "See readers as a panel."
        if aided
        else "Nobody read with the model: nothing is known of what its help would do."
    )
    version = content.provenance.get("reported with", "spinefx")
    return (
        ("agreement between readers", "18", Source.DATA, "See readers compared."),
        ("counts of every reader, paired tables", "", Source.DATA, "See per-patient diagnosis and readers compared."),
        ("failure analysis", "", Source.DATA, f"{wrong} cases were called wrongly. See errors."),
        ("calibration, decision curve", "", Source.DATA, "See calibration and decision curve."),
        ("subgroups", "", Source.DATA, "See subgroups."),
        ("readers with the model's help", "", Source.DATA, assistance),
        ("code and data", "", Source.DRAFT, f"Reported with {version}. Say where code and data can be had."),
    )

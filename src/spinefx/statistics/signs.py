"""The fifteen signs: how often each is seen in two groups, and which of them go with a reader's errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spinefx.cases.reading import SignScores
from spinefx.errors import InputError
from spinefx.statistics.accuracy import Confusion
from spinefx.statistics.estimate import Estimate, PValue, bare_p, holm, wilson
from spinefx.statistics.frames import signs_from
from spinefx.statistics.table import ResultTable
from spinefx.statistics.twogroups import fisher_exact
from spinefx.vocabulary import SIGNS, Diagnosis, Score

__all__ = [
    "PHANTOM_TRUTH",
    "SignComparison",
    "compare_sign_counts",
    "compare_signs",
    "error_analysis",
    "reference_reader",
    "scores_by_case",
    "sign_table",
    "single_sign_baseline",
]

# Who "scored" the signs that a phantom was drawn with.
PHANTOM_TRUTH = "phantom_truth"


@dataclass(frozen=True)
class SignComparison:
    """One sign in two groups of cases.

    Parameters
    ----------
    identifier, label : str
        As in :data:`spinefx.vocabulary.SIGNS`.
    first, second : Estimate
        Share with the sign, of the cases where it could be assessed, Wilson interval.
    not_assessable : int
        Cases of both groups that are in neither share.
    test : PValue
        Fisher's exact test with the conditional odds ratio.
    holm_p : float
        The same, corrected for all signs compared together.
    """

    identifier: str
    label: str
    first: Estimate
    second: Estimate
    not_assessable: int
    test: PValue
    holm_p: float


def reference_reader(scores: Iterable[SignScores]) -> str:
    """Choose whose sign scores stand for what is to be seen.

    Parameters
    ----------
    scores : iterable of SignScores

    Returns
    -------
    str
        The phantom's truth, else who scored most cases; empty where nobody scored.
    """
    counts = Counter(one.reader_id for one in scores)
    if PHANTOM_TRUTH in counts:
        return PHANTOM_TRUTH
    return min(counts, key=lambda name: (-counts[name], name), default="")


def scores_by_case(scores: object, reader_id: str | None = None) -> dict[str, Mapping[str, Score]]:
    """Take one reader's scores, by case.

    Parameters
    ----------
    scores : table, or iterable of SignScores
        See :func:`spinefx.statistics.frames.signs_from`.
    reader_id : str, optional
        Whose; not needed where one reader scored.

    Returns
    -------
    dict of str to mapping
        Sign scores by case.

    Raises
    ------
    InputError
        When several readers scored and none was chosen, the chosen one did not, or scored a case twice.
    """
    kept = signs_from(scores)
    readers = sorted({one.reader_id for one in kept})
    if reader_id is None and len(readers) > 1:
        raise InputError(f"sign scores of {len(readers)} readers", allowed=", ".join(readers), remedy="Choose one.")
    if reader_id is not None and reader_id not in readers:
        raise InputError(f"no sign scores of {reader_id}", allowed=", ".join(readers) or "no reader has scored")
    by_case: dict[str, Mapping[str, Score]] = {}
    for one in kept:
        if reader_id in {None, one.reader_id}:
            if one.case_id in by_case:
                raise InputError("signs scored twice by one reader", where=one.case_id)
            by_case[one.case_id] = one.scores
    return by_case


def compare_signs(
    scores: Mapping[str, Mapping[str, Score]], first: Iterable[str], second: Iterable[str]
) -> tuple[SignComparison, ...]:
    """Compare how often each sign is seen in two groups of cases.

    Parameters
    ----------
    scores : mapping of str to mapping
        One reader's, by case; see :func:`scores_by_case`. Cases without scores are left out.
    first, second : iterable of str
        Cases of the two groups.

    Returns
    -------
    tuple of SignComparison
        The fifteen signs in the order of Table 1.
    """
    groups = [[scores[case] for case in cases if case in scores] for cases in (first, second)]
    counts = {}
    for sign in SIGNS:
        seen = [[case[sign.identifier] for case in group] for group in groups]
        cells = [(each.count(Score.YES), len(each) - each.count(Score.NOT_ASSESSABLE)) for each in seen]
        counts[sign.identifier] = (*cells[0], *cells[1])
    unseen = {name: len(groups[0]) + len(groups[1]) - n1 - n2 for name, (_, n1, _, n2) in counts.items()}
    return compare_sign_counts(counts, unseen)


def compare_sign_counts(
    counts: Mapping[str, tuple[int, int, int, int]], not_assessable: Mapping[str, int] | None = None
) -> tuple[SignComparison, ...]:
    """Compare signs from counts alone, as a printed Table 1 gives them.

    Parameters
    ----------
    counts : mapping of str to tuple of int
        By sign: with the sign and all of the first group, with the sign and all of the second.
    not_assessable : mapping of str to int, optional

    Returns
    -------
    tuple of SignComparison
        In the order given; Holm's correction is over all of them.

    Raises
    ------
    InputError
        For impossible counts.
    """
    labels = {sign.identifier: sign.label for sign in SIGNS}
    tests = {name: fisher_exact(*cells) for name, cells in counts.items()}
    adjusted = holm([test.p for test in tests.values()])
    return tuple(
        SignComparison(
            name,
            labels.get(name, name),
            wilson(k1, n1),
            wilson(k2, n2),
            (not_assessable or {}).get(name, 0),
            tests[name],
            corrected,
        )
        for (name, (k1, n1, k2, n2)), corrected in zip(counts.items(), adjusted, strict=True)
    )


def sign_table(
    comparisons: Sequence[SignComparison],
    first: str = "malignant",
    second: str = "benign",
    *,
    name: str = "table1",
    title: str = "Imaging signs",
) -> ResultTable:
    """Set compared signs out as a table (Yeh 2022, Table 1).

    Parameters
    ----------
    comparisons : sequence of SignComparison
    first, second : str
        What the groups are called.
    name : str
        File name without its ending.
    title : str

    Returns
    -------
    ResultTable
    """
    rows = tuple(
        (
            one.label,
            one.first,
            one.second,
            one.not_assessable,
            one.test.estimate,
            bare_p(one.test.p),
            bare_p(one.holm_p),
        )
        for one in comparisons
    )
    columns = ("sign", first, second, "not assessable", "odds ratio", "p Fisher", "p Holm")
    note = (
        "Shares of assessable cases with Wilson 95% intervals; two-sided Fisher's exact tests; conditional odds ratios "
        "with exact 95% intervals, which reach 0 or infinity at an empty cell; Holm's correction over these signs."
    )
    return ResultTable(name, title, columns, rows, note)


def error_analysis(
    scores: Mapping[str, Mapping[str, Score]], answers: Mapping[str, Diagnosis], truth: Mapping[str, Diagnosis]
) -> tuple[tuple[SignComparison, ...], tuple[SignComparison, ...]]:
    """Compare the signs of a reader's wrong cases with those of its right cases (Yeh 2022, Error analysis).

    Parameters
    ----------
    scores : mapping of str to mapping
        Of the reader whose scores are the reference, by case.
    answers : mapping of str to Diagnosis
        Of the reader whose errors are in question; a model is one more reader.
    truth : mapping of str to Diagnosis

    Returns
    -------
    benign, malignant : tuple of SignComparison
        False positives against true negatives, and false negatives against true positives; Holm's correction within
        each. Where a reader made no such error the tests are without a p, and say why.

    Raises
    ------
    InputError
        For an answer without a truth.
    """
    strangers = sorted(set(answers) - set(truth))
    if strangers:
        raise InputError(f"{len(strangers)} answers without a truth, the first for {strangers[0]}")
    found = []
    for diagnosis in (Diagnosis.BENIGN, Diagnosis.MALIGNANT):
        mine = [case for case in answers if truth[case] == diagnosis]
        wrong = [case for case in mine if answers[case] != diagnosis]
        found.append(compare_signs(scores, wrong, [case for case in mine if answers[case] == diagnosis]))
    return found[0], found[1]


def single_sign_baseline(
    scores: Mapping[str, Mapping[str, Score]], truth: Mapping[str, Diagnosis]
) -> tuple[str, Diagnosis, Confusion]:
    """Find the one sign that alone would have been right most often.

    Parameters
    ----------
    scores : mapping of str to mapping
        One reader's, by case; a sign that is not assessable counts as not seen.
    truth : mapping of str to Diagnosis

    Returns
    -------
    identifier : str
        Of the sign; the first in Table 1's order where several are as good.
    seen : Diagnosis
        What the sign speaks for.
    confusion : Confusion
        Chosen on the cases that it is counted on, hence flattering.

    Raises
    ------
    InputError
        When no case has both scores and a truth.
    """
    cases = [case for case in scores if case in truth]
    if not cases:
        raise InputError("no case with signs and a diagnosis")
    candidates = []
    for sign in SIGNS:
        for seen, unseen in ((Diagnosis.MALIGNANT, Diagnosis.BENIGN), (Diagnosis.BENIGN, Diagnosis.MALIGNANT)):
            answers = {case: seen if scores[case][sign.identifier] == Score.YES else unseen for case in cases}
            candidates.append((sign.identifier, seen, Confusion.of(answers, truth)))
    return max(candidates, key=lambda candidate: candidate[2].tp + candidate[2].tn)

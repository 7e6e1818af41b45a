"""The fifteen signs: their frequencies in two groups of cases, and their association with a reader's errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spinefx.cases.reading import SignScores
from spinefx.errors import InputError
from spinefx.statistics.accuracy import Confusion, check_truth
from spinefx.statistics.contingency import fisher_exact
from spinefx.statistics.estimate import Estimate, PValue, bare_p, holm, wilson
from spinefx.statistics.inputs import signs_from
from spinefx.statistics.table import ResultTable
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

# Reader name under which the true signs of a phantom are stored.
PHANTOM_TRUTH = "phantom_truth"


@dataclass(frozen=True)
class SignComparison:
    """One sign in two groups of cases.

    Parameters
    ----------
    identifier, label : str
        As in :data:`spinefx.vocabulary.SIGNS`.
    first, second : Estimate
        Proportion of cases with the sign among those where it could be assessed, with Wilson's interval.
    not_assessable : int
        Cases of both groups where the sign could not be assessed; they are in neither proportion.
    test : PValue
        Fisher's exact test with the conditional odds ratio.
    holm_p : float
        p-value adjusted for all signs compared together.
    """

    identifier: str
    label: str
    first: Estimate
    second: Estimate
    not_assessable: int
    test: PValue
    holm_p: float


def reference_reader(scores: Iterable[SignScores]) -> str:
    """Return the reader whose sign scores serve as the reference.

    Parameters
    ----------
    scores : iterable of SignScores

    Returns
    -------
    str
        The true signs if the cases are phantoms, else the reader who scored most cases; empty if there are no scores.
    """
    counts = Counter(one.reader_id for one in scores)
    if PHANTOM_TRUTH in counts:
        return PHANTOM_TRUTH
    return min(counts, key=lambda name: (-counts[name], name), default="")


def scores_by_case(scores: object, reader_id: str | None = None) -> dict[str, Mapping[str, Score]]:
    """Return one reader's sign scores by case.

    Parameters
    ----------
    scores : table, or iterable of SignScores
        See :func:`spinefx.statistics.inputs.signs_from`.
    reader_id : str, optional
        The reader; needed only if several scored.

    Returns
    -------
    dict of str to mapping
        Sign scores by case.

    Raises
    ------
    InputError
        If several readers scored and none was chosen, or the chosen one did not score or scored a case twice.
    """
    given = signs_from(scores)
    readers = sorted({one.reader_id for one in given})
    if reader_id is None and len(readers) > 1:
        raise InputError(
            f"sign scores of {len(readers)} readers",
            allowed="those of one",
            remedy=f"Choose a reader: {', '.join(readers)}.",
        )
    if reader_id is not None and reader_id not in readers:
        raise InputError(f"no sign scores of {reader_id}", allowed=", ".join(readers) or "none: there are no scores")
    by_case: dict[str, Mapping[str, Score]] = {}
    for one in given:
        if reader_id in {None, one.reader_id}:
            if one.case_id in by_case:
                raise InputError("signs scored twice by one reader", where=one.case_id, allowed="once")
            by_case[one.case_id] = one.scores
    return by_case


def compare_signs(
    scores: Mapping[str, Mapping[str, Score]], first: Iterable[str], second: Iterable[str]
) -> tuple[SignComparison, ...]:
    """Compare the frequency of each sign in two groups of cases.

    Parameters
    ----------
    scores : mapping of str to mapping
        One reader's scores by case; see :func:`scores_by_case`. Cases without scores are left out.
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
    """Compare signs from counts alone, as in a published Table 1.

    Parameters
    ----------
    counts : mapping of str to tuple of int
        By sign: cases with the sign and all cases of the first group, then those of the second.
    not_assessable : mapping of str to int, optional
        By sign: cases where it could not be assessed.

    Returns
    -------
    tuple of SignComparison
        In the order given; Holm's correction is over all of them.

    Raises
    ------
    InputError
        If a count is negative or exceeds its total.
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
    """Tabulate compared signs (Yeh 2022, Table 1).

    Parameters
    ----------
    comparisons : sequence of SignComparison
    first, second : str
        Names of the groups.
    name : str
        File name without its extension.
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
    scores: Mapping[str, Mapping[str, Score]], diagnoses: Mapping[str, Diagnosis], truth: Mapping[str, Diagnosis]
) -> tuple[tuple[SignComparison, ...], tuple[SignComparison, ...]]:
    """Compare the signs of the cases that a reader got wrong and right (Yeh 2022, Error analysis).

    Parameters
    ----------
    scores : mapping of str to mapping
        Sign scores of the reference reader, by case.
    diagnoses : mapping of str to Diagnosis
        By case, of the reader or model whose errors are analysed.
    truth : mapping of str to Diagnosis
        By case.

    Returns
    -------
    benign, malignant : tuple of SignComparison
        False positives compared with true negatives, and false negatives with true positives; Holm's correction is
        within each. If the reader made no such error, the tests have no p-value and a note explains why.

    Raises
    ------
    InputError
        If a diagnosed case has no truth.
    """
    check_truth(diagnoses, truth)
    found = []
    for kind in (Diagnosis.BENIGN, Diagnosis.MALIGNANT):
        of_class = [case for case in diagnoses if truth[case] == kind]
        wrong = [case for case in of_class if diagnoses[case] != kind]
        found.append(compare_signs(scores, wrong, [case for case in of_class if diagnoses[case] == kind]))
    return found[0], found[1]


def single_sign_baseline(
    scores: Mapping[str, Mapping[str, Score]], truth: Mapping[str, Diagnosis]
) -> tuple[str, Diagnosis, Confusion]:
    """Find the single sign that separates the classes best.

    Parameters
    ----------
    scores : mapping of str to mapping
        One reader's scores by case; a sign that could not be assessed counts as absent.
    truth : mapping of str to Diagnosis
        By case.

    Returns
    -------
    identifier : str
        Identifier of the sign; the first in the order of Table 1 if several are equally good.
    present : Diagnosis
        The diagnosis that the sign indicates.
    confusion : Confusion
        On the same cases on which the sign was chosen, hence optimistic.

    Raises
    ------
    InputError
        If no case has both scores and a truth.
    """
    cases = [case for case in scores if case in truth]
    if not cases:
        raise InputError("no case with both sign scores and a truth", allowed="one or more")
    candidates = []
    for sign in SIGNS:
        for present, absent in ((Diagnosis.MALIGNANT, Diagnosis.BENIGN), (Diagnosis.BENIGN, Diagnosis.MALIGNANT)):
            diagnoses = {case: present if scores[case][sign.identifier] == Score.YES else absent for case in cases}
            candidates.append((sign.identifier, present, Confusion.of(diagnoses, truth)))
    return max(candidates, key=lambda candidate: candidate[2].tp + candidate[2].tn)

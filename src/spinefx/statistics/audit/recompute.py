"""The audit of published tables: which percentages, sums, means and p-values agree with the printed counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import resources
from typing import Any

import numpy as np
from scipy import stats

from spinefx.errors import TableError
from spinefx.statistics.audit.claims import (
    CLAIM_FIELDS,
    AuditedClaim,
    Claim,
    PrintedNumber,
    PrintedP,
    UnreadClaim,
    Verdict,
    parse_counts,
    parse_number,
    parse_p,
    parse_printed_share,
    parse_shares,
)
from spinefx.statistics.audit.listed_tests import LISTED_TESTS, name_tests, tests_that_give
from spinefx.statistics.contingency import chi_square_p, fisher_p
from spinefx.statistics.estimate import bare_p, clopper_pearson, holm, normal_quantile, wilson
from spinefx.statistics.inputs import rows_of
from spinefx.statistics.paired.intervals import paired_difference
from spinefx.statistics.paired.mcnemar import MCNEMAR_METHODS, attainable_mcnemar
from spinefx.statistics.paired.table import PairedTable
from spinefx.statistics.table import ResultTable

__all__ = ["EXAMPLE", "audit", "audit_table", "claims_from", "example_claims", "read_each"]

EXAMPLE = "yeh2022"
SHORT = {"exact": "exact", "midp": "mid-p", "chi2": "chi-square", "chi2cc": "chi-square corrected"}
MOST_COUNTS_NAMED = 4
# A paired claim is tested for every number of shared errors; this many take a few seconds.
MOST_SHARED_ERRORS = 10_000
FOLD_DRAWS = 2000
NORMAL_95 = normal_quantile(0.95)
Families = dict[str, dict[Claim, tuple[float, float]]]
# True areas assumed for claims about folds, and correlations assumed between slices of one patient.
ASSUMED_AREAS, ASSUMED_CORRELATIONS = (0.95, 0.98), (0.5, 0.9)


def claims_from(content: Mapping[str, Any], where: str) -> tuple[Claim | UnreadClaim, ...]:
    """Read claims from a JSON object with a list ``claims``.

    Parameters
    ----------
    content : mapping
        Each claim is an object of texts; see :class:`spinefx.statistics.audit.claims.Claim`.
    where : str
        Name of the source, for error messages.

    Returns
    -------
    tuple of Claim or UnreadClaim
        An unread one in place of a claim with an unknown field or a value that is not a text.

    Raises
    ------
    TableError
        If the list is missing, or none of its claims can be read.
    """
    listed = content.get("claims")
    if not isinstance(listed, list) or not listed:
        raise TableError("no list of claims", where=where, allowed='{"claims": [{"claim": ..., "kind": ...}, ...]}')
    return read_each([partial(_claim, fields, f"{where}, claim {number}") for number, fields in enumerate(listed, 1)])


def read_each(readers: Sequence[Callable[[], Claim]]) -> tuple[Claim | UnreadClaim, ...]:
    """Read claims one by one, and go on after one that cannot be read.

    Parameters
    ----------
    readers : sequence of callable
        Each returns a claim, or raises.

    Returns
    -------
    tuple of Claim or UnreadClaim

    Raises
    ------
    TableError
        The first error, if no claim can be read.
    """
    claims: list[Claim | UnreadClaim] = []
    errors = []
    for number, read in enumerate(readers, start=1):
        try:
            claims.append(read())
        except TableError as error:
            errors.append(error)
            claims.append(UnreadClaim(error.where or f"claim {number}", _reason(error)))
    if errors and len(errors) == len(claims):
        raise errors[0]
    return tuple(claims)


def _reason(error: TableError) -> str:
    return f"{error.found}{f'; expected {error.allowed}' if error.allowed else ''}"


def _claim(fields: object, place: str) -> Claim:
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise TableError("a claim that is not an object of texts", where=place, allowed=", ".join(CLAIM_FIELDS))
    unknown = sorted(set(fields) - set(CLAIM_FIELDS))
    if unknown:
        raise TableError("a field that is not known", where=place, allowed=", ".join(CLAIM_FIELDS))
    return Claim(**(dict.fromkeys(CLAIM_FIELDS[:4], "") | fields))


def example_claims() -> tuple[Claim, ...]:
    """Return the worked example: the claims of Yeh et al. 2022, transcribed from a text copy of the paper.

    Returns
    -------
    tuple of Claim
    """
    text = (resources.files("spinefx.statistics.audit") / "examples" / f"{EXAMPLE}.json").read_text(encoding="utf-8")
    return tuple(one for one in claims_from(json.loads(text), EXAMPLE) if isinstance(one, Claim))


def audit(claims: object) -> tuple[AuditedClaim, ...]:
    """Recompute every claim from the counts printed with it.

    Parameters
    ----------
    claims : sequence of Claim or UnreadClaim, DataFrame or other table
        The columns of a table are the fields of :class:`spinefx.statistics.audit.claims.Claim`; all cells are texts.

    Returns
    -------
    tuple of AuditedClaim
        In the order given; a claim whose numbers cannot be read is unreadable, and the others are judged. A verdict
        concerns the numbers as they were transcribed; it cannot tell an error of the
        authors from one of the printer or of the transcription.

    Raises
    ------
    TableError
        If none of the claims can be read.
    """
    listed = _claims(claims)
    families = _families(listed)
    audited = []
    errors = []
    for claim in listed:
        if isinstance(claim, UnreadClaim):
            audited.append(AuditedClaim(claim, "", Verdict.UNREADABLE, claim.reason))
            continue
        try:
            audited.append(_audited(claim, families))
        except TableError as error:
            errors.append(error)
            audited.append(AuditedClaim(claim, "", Verdict.UNREADABLE, _reason(error)))
    if errors and all(one.verdict is Verdict.UNREADABLE for one in audited):
        raise errors[0]
    return tuple(audited)


def _audited(claim: Claim, families: Families) -> AuditedClaim:
    checks = {"share": _share, "paired": _paired, "gain": _gain, "sum": _sum, "mean": _mean, "folds": _folds}
    if claim.kind == "groups":
        found = _groups(claim, families)
    elif claim.kind == "tally":
        found = _tally(claim, families)
    else:
        found = checks[claim.kind](claim)
    if claim.needs and found.verdict in {Verdict.CONFIRMED, Verdict.POSSIBLE}:
        remark = "; ".join(part for part in (found.remark, f"not printed: {claim.needs}") if part)
        return AuditedClaim(claim, found.recomputed, Verdict.INCOMPLETE, remark)
    return found


def audit_table(audited: Sequence[AuditedClaim]) -> ResultTable:
    """Tabulate claims with the recomputed results.

    Parameters
    ----------
    audited : sequence of AuditedClaim

    Returns
    -------
    ResultTable
    """
    rows = tuple(
        (
            one.claim.claim,
            one.claim.printed,
            one.recomputed,
            str(one.verdict),
            "; ".join(part for part in (one.remark, one.claim.note) if part),
        )
        for one in audited
    )
    untenable = sum(not one.verdict.is_tenable for one in audited)
    note = f"{untenable} of {len(rows)} claims cannot be true as printed, given the counts beside them."
    unread = sum(one.verdict is Verdict.UNREADABLE for one in audited)
    if unread:
        note += f" {unread} could not be read."
    note += f" Tests tried for a p-value: {LISTED_TESTS}."
    return ResultTable("audit", "Audit", ("claim", "published", "recomputed", "verdict", "remark"), rows, note)


def _claims(claims: object) -> tuple[Claim | UnreadClaim, ...]:
    if isinstance(claims, Sequence) and all(isinstance(one, Claim | UnreadClaim) for one in claims):
        return tuple(claims)
    rows = rows_of(claims, required=CLAIM_FIELDS[:2], where="claims")
    texts = [{name: str(cell) for name, cell in row.items() if cell is not None} for row in rows]
    return claims_from({"claims": texts}, "claims")


def _families(claims: Sequence[Claim | UnreadClaim]) -> Families:
    """Return the p-value of Fisher's test of every group claim, unadjusted and adjusted by Holm, by family."""
    members: dict[str, list[Claim]] = {}
    for claim in claims:
        if isinstance(claim, Claim) and claim.kind == "groups" and claim.family and _is_readable(claim):
            members.setdefault(claim.family_name, []).append(claim)
    families = {}
    for name, mine in members.items():
        p = [_group_p(claim)["Fisher"] for claim in mine]
        size = max([len(mine), *(claim.family_size or 0 for claim in mine)])
        adjusted = holm(p, size)
        families[name] = dict(zip(mine, zip(p, adjusted, strict=True), strict=True))
    return families


def _is_readable(claim: Claim) -> bool:
    try:
        return bool(_known(claim))
    except TableError:
        return False


def _group_p(claim: Claim) -> dict[str, float]:
    (k1, n1), (k2, n2) = _known(claim)
    return {
        "Fisher": fisher_p(k1, n1, k2, n2),
        "chi-square": chi_square_p(k1, n1, k2, n2),
        "chi-square corrected": chi_square_p(k1, n1, k2, n2, corrected=True),
    }


def _groups(claim: Claim, families: Families) -> AuditedClaim:
    printed, found = parse_p(claim.printed, claim.claim), _group_p(claim)
    recomputed = ", ".join(f"{name} {bare_p(p)}" for name, p in found.items())
    if claim.family:
        recomputed += f"; Fisher after Holm {bare_p(families[claim.family_name][claim][1])}"
    if printed.fits(found["Fisher"]):
        return AuditedClaim(claim, recomputed, Verdict.CONFIRMED)
    fitting = [name for name, p in found.items() if printed.fits(p)]
    if fitting:
        return AuditedClaim(
            claim, recomputed, Verdict.POSSIBLE, f"agrees with {' and '.join(fitting)}, not with Fisher"
        )
    (k1, n1), (k2, n2) = _known(claim)
    given = tests_that_give(printed, k1, n1, k2, n2, paired=False)
    if given:
        return AuditedClaim(claim, recomputed, Verdict.POSSIBLE, name_tests(given))
    remarks = []
    for power in (1, -1):
        moved = printed.shifted(power)
        fitting = [name for name, p in found.items() if moved.fits(p)] if printed.relation == "=" else []
        if fitting:
            remarks.append(f"{moved} would agree with {' and '.join(fitting)}: possibly a misplaced decimal point")
    if printed.relation == "=" and (printed.number.value < 0.05) != (found["Fisher"] < 0.05):
        remarks.append("significant at 0.05" if found["Fisher"] < 0.05 else "not significant at 0.05")
    return AuditedClaim(claim, recomputed, Verdict.NOT_REPRODUCED, "; ".join(remarks))


def _paired(claim: Claim) -> AuditedClaim:
    printed = parse_p(claim.printed, claim.claim)
    (e1, n), (e2, n2) = _known(claim)
    if n != n2:
        raise TableError(f"{n} and {n2} cases", where=claim.claim, allowed="the same cases for both readers")
    if min(e1, e2) > MOST_SHARED_ERRORS:
        raise TableError(
            f"{min(e1, e2)} errors that may be shared", where=claim.claim, allowed=f"up to {MOST_SHARED_ERRORS}"
        )
    attainable = attainable_mcnemar(e1, e2, n)
    ranges = {name: attainable.p_range(method) for method, name in SHORT.items()}
    recomputed = ", ".join(f"{name} {bare_p(low)} to {bare_p(high)}" for name, (low, high) in ranges.items())
    recomputed += f"; unpaired Fisher {bare_p(fisher_p(e1, n, e2, n))}"
    fits = {
        table.shared: [method for method in MCNEMAR_METHODS if printed.fits(table.p[method])]
        for table in attainable.tables
    }
    if not any(fits.values()):
        given = tests_that_give(printed, e1, n, e2, n, paired=True)
        if given:
            return AuditedClaim(claim, recomputed, Verdict.POSSIBLE, name_tests(given))
        remark = f"no number of shared errors gives {claim.printed} by any of the tests tried"
        return AuditedClaim(claim, recomputed, Verdict.IMPOSSIBLE, remark)
    if all(len(methods) == len(MCNEMAR_METHODS) for methods in fits.values()):
        return AuditedClaim(claim, recomputed, Verdict.CONFIRMED, "for any number of shared errors")
    when = "; ".join(
        f"{shared} shared: {', '.join(SHORT[method] for method in methods)}"
        for shared, methods in fits.items()
        if methods
    )
    remark = f"only with these numbers of shared errors ({when})"
    if claim.shared:
        stated = {int(part) for part in claim.shared.split() if part.isdecimal()}
        if not any(fits.get(shared) for shared in stated):
            remark += f"; the paper states {claim.shared}"
            return AuditedClaim(claim, recomputed, Verdict.CONTRADICTED, remark)
    return AuditedClaim(claim, recomputed, Verdict.POSSIBLE, remark)


def _share(claim: Claim) -> AuditedClaim:
    values, share = parse_printed_share(claim)
    ((k, n),) = parse_shares(claim, 1)
    if share.count is not None and (share.count[1] != n or k not in (None, share.count[0])):
        found = f"{share.count[0]}/{share.count[1]} printed, {claim.counts} counted"
        return AuditedClaim(claim, found, Verdict.INCONSISTENT)
    k = share.count[0] if share.count is not None and k is None else k
    if k is not None and k > n:
        raise TableError("a printed count above its total", where=claim.claim, allowed="counts from 0 to n")
    fitting = sorted({count for value in values for count in _counts_fitting(value, n)})
    named = _named(fitting, n)
    interval = _interval_remark(share.limits, k, n)
    if k is None:
        verdict = Verdict.POSSIBLE if fitting or not values else Verdict.IMPOSSIBLE
        return AuditedClaim(claim, named or f"no count of {n} gives {claim.printed}", verdict)
    recomputed = f"{100 * k / n:.1f}% ({k}/{n})"
    if not values or any(value.fits(k / n) for value in values):
        return AuditedClaim(claim, recomputed, Verdict.CONFIRMED, interval)
    if all(value.value - value.half_unit > 1 for value in values):
        return AuditedClaim(claim, recomputed, Verdict.IMPOSSIBLE, "more than 100%")
    remark = f"{claim.printed} would be {named}" if named else f"no count of {n} gives {claim.printed}"
    return AuditedClaim(claim, recomputed, Verdict.INCONSISTENT, "; ".join(filter(None, (remark, interval))))


def _interval_remark(limits: tuple[str, str] | None, k: int | None, n: int) -> str:
    """Name the usual 95% interval that gives the printed limits, which may be percentages or proportions."""
    if limits is None or k is None:
        return ""
    printed = [parse_number(one, "interval") for one in limits]
    scale = 1.0 if max(one.value for one in printed) <= 1 else 100.0
    half = NORMAL_95 * np.sqrt(k * (n - k) / n**3)
    intervals = {
        "Wilson": (wilson(k, n).low, wilson(k, n).high),
        "Clopper-Pearson": (clopper_pearson(k, n).low, clopper_pearson(k, n).high),
        "Wald": (max(0.0, k / n - half), min(1.0, k / n + half)),
    }
    for name, ends in intervals.items():
        if all(one.fits(scale * end) for one, end in zip(printed, ends, strict=True)):
            return f"interval by {name}"
    return "interval by none of Wilson, Clopper-Pearson and Wald"


def _gain(claim: Claim) -> AuditedClaim:
    printed = [parse_number(part, claim.claim) for part in claim.printed.replace(" to ", " ").split()]
    printed = [
        number if number.value <= 1 else PrintedNumber(number.value / 100, number.half_unit / 100) for number in printed
    ]
    (k1, n), (k2, n2) = _known(claim)
    if n != n2 or len(printed) != 2:
        found = "a claim that is not of two percentages of the same cases"
        raise TableError(found, where=claim.claim, allowed="such as 78% to 94%, with k/n k/n")
    attainable = attainable_mcnemar(n - k1, n - k2, n)
    ends = []
    for table in (attainable.tables[0], attainable.tables[-1]):
        # The paired table counts correct diagnoses: where only the second erred, only the first was right.
        both = n - table.shared - table.first_only - table.second_only
        interval = paired_difference(PairedTable(both, table.second_only, table.first_only, table.shared))
        ends.append(f"[{-100 * interval.high:.1f}, {-100 * interval.low:.1f}] with {table.shared} shared errors")
    recomputed = f"{100 * (k2 - k1) / n:+.1f} points, Tango 95% interval {' to '.join(dict.fromkeys(ends))}"
    fits = all(number.fits(k / n) for number, k in zip(printed, (k1, k2), strict=True))
    return AuditedClaim(claim, recomputed, Verdict.CONFIRMED if fits else Verdict.INCONSISTENT)


def _sum(claim: Claim) -> AuditedClaim:
    parts = [part.strip() for part in claim.printed.split("+")]
    blank = [part in {"", "_", "?"} for part in parts]
    known = [0.0 if empty else parse_number(part, claim.claim).value for part, empty in zip(parts, blank, strict=True)]
    total = parse_number(claim.counts, claim.claim).value
    rest = total - sum(known)
    if sum(blank) == 1 and rest >= 0:
        return AuditedClaim(claim, f"{rest:g} is missing", Verdict.POSSIBLE, "one number is illegible")
    if sum(blank) > 1:
        return AuditedClaim(claim, f"{rest:g} is missing", Verdict.INCOMPLETE, "several numbers are illegible")
    if any(blank) or abs(rest) > 1e-9:
        fitting = [f"{part + rest:g} for {part:g}" for part in known if part + rest >= 0]
        remark = f"{total:g} with {' or '.join(fitting)}" if fitting else ""
        return AuditedClaim(claim, f"{sum(known):g}, not {total:g}", Verdict.INCONSISTENT, remark)
    return AuditedClaim(claim, f"{total:g}", Verdict.CONFIRMED)


def _mean(claim: Claim) -> AuditedClaim:
    printed = parse_number(claim.printed, claim.claim)
    groups = [parse_counts(part, claim) for part in claim.counts.split()]
    sizes = [size for size, _ in groups]
    if sum(sizes) == 0:
        raise TableError("groups without cases", where=claim.claim, allowed="a group with one case or more")
    means = [parse_number(mean, claim.claim) for _, mean in groups]
    value, slack = (
        sum(size * part for size, part in zip(sizes, parts, strict=True)) / sum(sizes)
        for parts in ([mean.value for mean in means], [mean.half_unit for mean in means])
    )
    recomputed = f"{value:.2f} ({value - slack:.2f} to {value + slack:.2f} with rounding)"
    verdict = Verdict.CONFIRMED if printed.fits(value, slack) else Verdict.INCONSISTENT
    return AuditedClaim(claim, recomputed, verdict)


def _tally(claim: Claim, families: Families) -> AuditedClaim:
    bound, printed = parse_p(claim.counts, claim.claim), parse_number(claim.printed, claim.claim)
    members = families.get(claim.family_name)
    if not members:
        raise TableError("no group claims of the family in the column family", where=claim.claim, allowed="one or more")
    below = sum(bound.fits(p) for p, _ in members.values())
    conventional = PrintedP("<", PrintedNumber(0.05, 0.005))
    significant, after = (sum(conventional.fits(pair[i]) for pair in members.values()) for i in (0, 1))
    recomputed = f"{below} of {len(members)}; {significant} below 0.05, {after} after Holm"
    verdict = Verdict.CONFIRMED if printed.value == below else Verdict.INCONSISTENT
    return AuditedClaim(claim, recomputed, verdict)


def _folds(claim: Claim) -> AuditedClaim:
    """Simulate how probable it is that the area exceeds a bound in every fold, with correlated slices per patient."""
    floor = parse_p(claim.printed, claim.claim).number.value
    number, *classes = claim.counts.split()
    if not number.isdecimal() or len(classes) != 2:
        raise TableError("counts are not in the notation of the kind", where=claim.claim, allowed="such as 10 5*3 14*3")
    sizes = [parse_counts(part, claim) for part in classes]
    if not all(slices.isdecimal() for _, slices in sizes) or int(number) > 1000:
        raise TableError("counts are not in the notation of the kind", where=claim.claim, allowed="such as 10 5*3 14*3")
    shape = [(patients, int(slices)) for patients, slices in sizes]
    if not all(0 < patients * slices <= 1000 for patients, slices in shape):
        raise TableError("counts are out of range", where=claim.claim, allowed="1 to 1000 slices per class and fold")
    ranges, probabilities = [], []
    for area in ASSUMED_AREAS:
        found = sorted(_probability_above(floor, area, one, shape) ** int(number) for one in ASSUMED_CORRELATIONS)
        probabilities += found
        ranges.append(f"{found[0]:.2f} to {found[1]:.2f} if the area is {area:g}")
    verdict = Verdict.POSSIBLE if max(probabilities) > 0.001 else Verdict.NOT_REPRODUCED
    return AuditedClaim(claim, f"probability {', '.join(ranges)}", verdict, "by simulation")


def _probability_above(floor: float, area: float, correlation: float, shape: Sequence[tuple[int, int]]) -> float:
    rng = np.random.default_rng(0)
    shift = float(np.sqrt(2) * stats.norm.ppf(area))
    scores = []
    for (patients, slices), mean in zip(shape, (shift, 0.0), strict=True):
        of_slice = rng.standard_normal((FOLD_DRAWS, patients, slices)) * np.sqrt(1 - correlation)
        of_patient = rng.standard_normal((FOLD_DRAWS, patients, 1)) * np.sqrt(correlation)
        scores.append((mean + of_slice + of_patient).reshape(FOLD_DRAWS, -1))
    areas = np.array([(one[:, None] > other).mean() for one, other in zip(*scores, strict=True)])
    return float(np.mean(areas > floor))


def _known(claim: Claim) -> list[tuple[int, int]]:
    shares = parse_shares(claim, 2)
    known = [(k, n) for k, n in shares if k is not None]
    if len(known) != 2:
        raise TableError("a count that is not printed", where=claim.claim, allowed="k/n k/n with both counts")
    return known


def _counts_fitting(printed: PrintedNumber, n: int) -> list[int]:
    low = max(0, int(np.floor((printed.value - printed.half_unit) * n)) - 1)
    high = min(n, int(np.ceil((printed.value + printed.half_unit) * n)) + 1)
    return [k for k in range(low, high + 1) if printed.fits(k / n)]


def _named(counts: list[int], n: int) -> str:
    if len(counts) > MOST_COUNTS_NAMED:
        return f"{counts[0]} to {counts[-1]} of {n}"
    return f"{' or '.join(map(str, counts))} of {n}" if counts else ""

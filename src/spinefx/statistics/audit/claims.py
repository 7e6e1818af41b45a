"""Published claims with the counts printed beside them, and the precision of printed numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from spinefx.errors import TableError
from spinefx.statistics.audit.printed import PrintedShare, is_not_significant, plain_count, plain_number, split_share

__all__ = [
    "CLAIM_FIELDS",
    "KINDS",
    "AuditedClaim",
    "Claim",
    "PrintedNumber",
    "PrintedP",
    "UnreadClaim",
    "Verdict",
    "parse_counts",
    "parse_number",
    "parse_p",
    "parse_printed_share",
    "parse_shares",
]

KINDS = {
    "share": "k/n, or ?/n where the count is not printed",
    "groups": "k/n k/n: cases with the finding in each of two groups",
    "paired": "e/n e/n: errors of two readers of the same cases",
    "gain": "k/n k/n: correct diagnoses of two readers of the same cases",
    "sum": "the total to which the printed parts must add up",
    "mean": "n*mean n*mean: size and mean of each group behind an overall mean",
    "tally": "< p: the bound below which the group claims of the family are counted",
    "folds": "folds k*s k*s: number of folds, then patients times slices of each class per fold, behind the lowest AUC",
}
CLAIM_FIELDS = ("claim", "kind", "printed", "counts", "family", "shared", "needs", "note")
LARGEST_COUNT = 1_000_000
P_PATTERN = re.compile(r"(?:p(?:-?values?)?)?(<=|>=|≤|≥|<|>|=)?([0-9.]+(?:e-?[0-9]{1,3})?)", re.IGNORECASE)


class Verdict(StrEnum):
    """What the printed counts imply about a printed claim."""

    CONFIRMED = "confirmed"
    POSSIBLE = "possible"
    INCOMPLETE = "incomplete"
    NOT_REPRODUCED = "not reproduced"
    INCONSISTENT = "inconsistent"
    CONTRADICTED = "contradicted"
    IMPOSSIBLE = "impossible"
    UNREADABLE = "unreadable"

    @property
    def is_tenable(self) -> bool:
        """Whether the claim can be true as printed; one that could not be read was not judged."""
        return self in {Verdict.CONFIRMED, Verdict.POSSIBLE, Verdict.INCOMPLETE, Verdict.UNREADABLE}


@dataclass(frozen=True)
class Claim:
    """A printed claim and the counts with which it must agree.

    Parameters
    ----------
    claim : str
        What is claimed, and where.
    kind : str
        One of :data:`KINDS`.
    printed : str
        The value as printed: ``41%``, ``p < 0.001``, ``66.5``, ``86 + 54``.
    counts : str
        In the notation of the kind.
    family : str
        Name of the family of tests to be corrected together, with its size if not all are printed: ``R1 errors/15``.
    shared : str
        For ``paired``: the number of errors that both readers made, if the paper states it.
    needs : str
        What would have to be printed to verify the claim; a claim that could be true then counts as incomplete.
    note : str
        A remark for the reader of the audit.

    Raises
    ------
    TableError
        If the kind is unknown or a required field is empty.
    """

    claim: str
    kind: str
    printed: str
    counts: str
    family: str = ""
    shared: str = ""
    needs: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise TableError("kind is not one of the allowed words", where=self.claim, allowed=", ".join(KINDS))
        for name in ("claim", "printed", "counts"):
            if not getattr(self, name).strip():
                raise TableError(f"a claim without {name}", where=self.claim or "claims", allowed=KINDS[self.kind])

    @property
    def family_name(self) -> str:
        """Name of the family without its size."""
        return self.family.partition("/")[0].strip()

    @property
    def family_size(self) -> int | None:
        """Number of tests in the family; None if not stated."""
        size = self.family.partition("/")[2].strip()
        if not size:
            return None
        return _count(size, self.claim)


@dataclass(frozen=True)
class UnreadClaim:
    """A line that could not be read as a claim.

    Parameters
    ----------
    claim : str
        Where the line is.
    reason : str
        What is wrong with it.
    printed, note : str
        Empty: what a line holds that could not be read is not repeated.
    """

    claim: str
    reason: str
    printed: str = ""
    note: str = ""


@dataclass(frozen=True)
class AuditedClaim:
    """A claim with the result recomputed from its counts.

    Parameters
    ----------
    claim : Claim or UnreadClaim
    recomputed : str
    verdict : Verdict
    remark : str
        Under which condition the claim holds, or which value would agree; may be empty.
    """

    claim: Claim | UnreadClaim
    recomputed: str
    verdict: Verdict
    remark: str = ""


@dataclass(frozen=True)
class PrintedNumber:
    """A number and the precision to which it was printed.

    Parameters
    ----------
    value : float
    half_unit : float
        Half a unit of the last printed digit, the largest rounding error.
    """

    value: float
    half_unit: float

    def fits(self, value: float, slack: float = 0.0) -> bool:
        """Return whether a value could have been printed as this number.

        Parameters
        ----------
        value : float
        slack : float
            Uncertainty of the value itself.

        Returns
        -------
        bool
            A value exactly between two printed numbers agrees with both.
        """
        return abs(value - self.value) <= self.half_unit * (1 + 1e-9) + slack + 1e-15


@dataclass(frozen=True)
class PrintedP:
    """A printed p-value: a number or a bound.

    Parameters
    ----------
    relation : str
        ``=``, ``<``, ``<=``, ``>`` or ``>=``.
    number : PrintedNumber
    """

    relation: str
    number: PrintedNumber

    def fits(self, p: float) -> bool:
        """Return whether a p-value agrees with the printed one.

        Parameters
        ----------
        p : float

        Returns
        -------
        bool
            ``<=`` and ``>=`` allow for rounding of their bound; ``<`` and ``>`` do not.
        """
        bound = self.number.value
        if self.relation == "=":
            return self.number.fits(p)
        if self.relation == "<":
            return p < bound
        if self.relation == "<=":
            return p <= bound or self.number.fits(p)
        return p > bound or (self.relation == ">=" and self.number.fits(p))

    def is_truncation_of(self, p: float) -> bool:
        """Return whether the printed value is a p-value cut off after its last printed digit.

        Parameters
        ----------
        p : float

        Returns
        -------
        bool
            False for a bound, and for a value that agrees by rounding.
        """
        bound, unit = self.number.value, 2 * self.number.half_unit
        return (
            self.relation == "=" and not self.fits(p) and bound <= p * (1 + 1e-9) and p <= (bound + unit) * (1 + 1e-9)
        )

    def shifted(self, power: int) -> PrintedP:
        """Return the p-value with its decimal point moved.

        Parameters
        ----------
        power : int
            Power of ten by which to multiply.

        Returns
        -------
        PrintedP
        """
        factor = 10.0**power
        return PrintedP(self.relation, PrintedNumber(self.number.value * factor, self.number.half_unit * factor))

    def __str__(self) -> str:
        return f"{'' if self.relation == '=' else self.relation + ' '}{self.number.value:.3g}"


def parse_p(text: str, where: str) -> PrintedP:
    """Parse a printed p-value.

    Parameters
    ----------
    text : str
        For example ``p < 0.001``, ``<.001``, ``0.045``, ``0·045``, ``0,045``, ``p = 1`` or ``NS``, which is read as
        0.05 or more.
    where : str
        Place of the text, for error messages.

    Returns
    -------
    PrintedP

    Raises
    ------
    TableError
        If the text is not a p-value.
    """
    if is_not_significant(text):
        return PrintedP(">=", PrintedNumber(0.05, 0.0))
    match = P_PATTERN.fullmatch(plain_number(text))
    if match is None:
        raise TableError("printed is not a p-value", where=where, allowed="such as p < 0.001, 0.045 or p = 1")
    relation = {"≤": "<=", "≥": ">=", None: "="}.get(match[1], match[1]) or "="
    return PrintedP(relation, _exact(match[2], where))


def parse_number(text: str, where: str) -> PrintedNumber:
    """Parse a printed number or percentage.

    Parameters
    ----------
    text : str
        ``41%`` is read as 0.41; ``0.94``, ``66.5`` and ``66,5`` as they are.
    where : str
        Place of the text, for error messages.

    Returns
    -------
    PrintedNumber

    Raises
    ------
    TableError
        If the text is not a number.
    """
    bare = plain_number(text)
    number = _exact(bare.removesuffix("%"), where)
    if bare.endswith("%"):
        return PrintedNumber(number.value / 100, number.half_unit / 100)
    return number


def parse_printed_share(claim: Claim) -> tuple[tuple[PrintedNumber, ...], PrintedShare]:
    """Parse a printed proportion or percentage, with its counts and interval where they are printed too.

    Parameters
    ----------
    claim : Claim
        Printed as ``94%``, ``94``, ``0.94``, ``70.0% (55.4, 82.1)``, ``47/50 (94%)`` or ``47/50``.

    Returns
    -------
    values : tuple of PrintedNumber
        The proportions that may be meant: a number without sign may be a proportion or a percentage. Empty if only
        counts are printed.
    share : PrintedShare
        The parts.

    Raises
    ------
    TableError
        If it is written in another way.
    """
    share = split_share(claim.printed)
    if share is None:
        allowed = "such as 94%, 0.94, 47/50 (94%) or 70.0% (55.4, 82.1)"
        raise TableError("printed is not a share", where=claim.claim, allowed=allowed)
    if not share.value:
        return (), share
    number = parse_number(share.value, claim.claim)
    if share.value.endswith("%"):
        return (number,), share
    return (number, PrintedNumber(number.value / 100, number.half_unit / 100)), share


def parse_shares(claim: Claim, number: int) -> list[tuple[int | None, int]]:
    """Parse the counts of a claim written as ``k/n``.

    Parameters
    ----------
    claim : Claim
    number : int
        Number of counts expected.

    Returns
    -------
    list of tuple of int
        Pairs of ``k`` and ``n``; ``k`` is None if it is not printed (``?``).

    Raises
    ------
    TableError
        If the counts are not written so, or a count exceeds its total.
    """
    parts = plain_count(claim.counts).split()
    pairs = [part.partition("/") for part in parts]
    if len(parts) != number or any(not slash for _, slash, _ in pairs):
        raise TableError("counts are not in the notation of the kind", where=claim.claim, allowed=KINDS[claim.kind])
    shares = [(None if k == "?" else _count(k, claim.claim), _count(n, claim.claim)) for k, _, n in pairs]
    for k, n in shares:
        if n == 0 or (k is not None and k > n):
            raise TableError("counts are out of range", where=claim.claim, allowed="counts from 0 to n, with n above 0")
    return shares


def parse_counts(text: str, claim: Claim) -> tuple[int, str]:
    """Parse a count and its factor, written as ``50*61.7``.

    Parameters
    ----------
    text : str
    claim : Claim
        The claim that holds the text, for error messages.

    Returns
    -------
    count : int
    factor : str
        Text behind the asterisk.

    Raises
    ------
    TableError
        If the text is not written so.
    """
    count, star, rest = text.partition("*")
    if not star:
        raise TableError("counts are not in the notation of the kind", where=claim.claim, allowed=KINDS[claim.kind])
    return _count(count, claim.claim), rest


def _count(text: str, where: str) -> int:
    text = plain_count(text)
    if not text.strip().isdecimal() or int(text) > LARGEST_COUNT:
        raise TableError(
            "a count is not a whole number, or too large", where=where, allowed=f"a whole number up to {LARGEST_COUNT}"
        )
    return int(text)


def _exact(text: str, where: str) -> PrintedNumber:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise TableError("printed is not a number", where=where, allowed="such as 0.94, 41% or 66.5") from None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or not -300 < exponent < 300 or abs(number) > 10**12:
        raise TableError("printed is not a number", where=where, allowed="such as 0.94, 41% or 66.5")
    return PrintedNumber(float(number), 0.5 * 10.0**exponent)

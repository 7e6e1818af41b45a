"""What a paper prints, as it prints it: claims, the counts beside them, and how exact a printed number is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from spinefx.errors import TableError

__all__ = [
    "CLAIM_FIELDS",
    "KINDS",
    "AuditedClaim",
    "Claim",
    "PrintedNumber",
    "PrintedP",
    "Verdict",
    "parse_counts",
    "parse_number",
    "parse_p",
    "parse_shares",
]

KINDS = {
    "share": "k/n, or ?/n where the count is not printed",
    "groups": "k/n k/n: cases with the finding in two groups",
    "paired": "e/n e/n: errors of two readers of the same cases",
    "gain": "k/n k/n: cases that two readers of the same cases got right",
    "sum": "the total that the printed parts must make",
    "mean": "n*mean n*mean: the groups behind a mean of all",
    "tally": "< p: how many groups claims of the family fall below",
    "folds": "folds k*s k*s: patients and slices of two classes in every fold, behind the lowest area printed",
}
CLAIM_FIELDS = ("claim", "kind", "printed", "counts", "family", "shared", "needs", "note")
LARGEST_COUNT = 1_000_000
P_PATTERN = re.compile(r"p?(<=|>=|≤|≥|<|>|=)?([0-9.]+(?:e-?[0-9]{1,3})?)", re.IGNORECASE)


class Verdict(StrEnum):
    """What can be said of a printed claim from the counts printed with it."""

    CONFIRMED = "confirmed"
    POSSIBLE = "possible"
    INCOMPLETE = "incomplete"
    NOT_REPRODUCED = "not reproduced"
    INCONSISTENT = "inconsistent"
    CONTRADICTED = "contradicted"
    IMPOSSIBLE = "impossible"

    @property
    def stands(self) -> bool:
        """Whether the claim may be true as printed."""
        return self in {Verdict.CONFIRMED, Verdict.POSSIBLE, Verdict.INCOMPLETE}


@dataclass(frozen=True)
class Claim:
    """One printed claim, and the counts that it must agree with.

    Parameters
    ----------
    claim : str
        What is claimed, and where.
    kind : str
        One of :data:`KINDS`.
    printed : str
        As printed: ``41%``, ``p < 0.001``, ``66.5``, ``86 + 54``.
    counts : str
        In the notation of its kind.
    family : str
        Name of the tests that belong together, with their number where some are not printed: ``R1 errors/15``.
    shared : str
        Errors that both readers made, where the text says so; for ``paired``.
    needs : str
        What would have to be printed to judge the claim; makes a claim that could be true incomplete.
    note : str

    Raises
    ------
    TableError
        For an unknown kind or an empty field.
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
            raise TableError(f"the kind {self.kind[:30]!r}", where=self.claim, allowed=", ".join(KINDS))
        for name in ("claim", "printed", "counts"):
            if not getattr(self, name).strip():
                raise TableError(f"a claim without {name}", where=self.claim or "claims", allowed=KINDS[self.kind])

    @property
    def family_name(self) -> str:
        """Name of the family without its size."""
        return self.family.partition("/")[0].strip()

    @property
    def family_size(self) -> int | None:
        """Number of tests in the family, where stated."""
        size = self.family.partition("/")[2].strip()
        if not size:
            return None
        return _count(size, self.claim)


@dataclass(frozen=True)
class AuditedClaim:
    """A claim beside what its counts give.

    Parameters
    ----------
    claim : Claim
    recomputed : str
    verdict : Verdict
    remark : str
        Under what condition, or what would have fitted; empty where nothing need be said.
    """

    claim: Claim
    recomputed: str
    verdict: Verdict
    remark: str = ""


@dataclass(frozen=True)
class PrintedNumber:
    """A number and how finely it was printed.

    Parameters
    ----------
    value : float
    half_unit : float
        Half a step of the last printed digit: what rounding may have moved.
    """

    value: float
    half_unit: float

    def fits(self, value: float, slack: float = 0.0) -> bool:
        """Say whether a value could have been printed so.

        Parameters
        ----------
        value : float
        slack : float
            What the value itself is uncertain by.

        Returns
        -------
        bool
            A value exactly between two steps fits both.
        """
        return abs(value - self.value) <= self.half_unit * (1 + 1e-9) + slack + 1e-15


@dataclass(frozen=True)
class PrintedP:
    """A printed p-value: a number, or a bound.

    Parameters
    ----------
    relation : str
        ``=``, ``<``, ``<=``, ``>`` or ``>=``.
    number : PrintedNumber
    """

    relation: str
    number: PrintedNumber

    def fits(self, p: float) -> bool:
        """Say whether a p-value could have been printed so.

        Parameters
        ----------
        p : float

        Returns
        -------
        bool
            ``<=`` and ``>=`` allow for rounding at their bound, ``<`` and ``>`` do not.
        """
        bound = self.number.value
        if self.relation == "=":
            return self.number.fits(p)
        if self.relation == "<":
            return p < bound
        if self.relation == "<=":
            return p <= bound or self.number.fits(p)
        return p > bound or (self.relation == ">=" and self.number.fits(p))

    def shifted(self, power: int) -> PrintedP:
        """Give the same with the point moved.

        Parameters
        ----------
        power : int
            Of ten.

        Returns
        -------
        PrintedP
        """
        factor = 10.0**power
        return PrintedP(self.relation, PrintedNumber(self.number.value * factor, self.number.half_unit * factor))

    def __str__(self) -> str:
        return f"{'' if self.relation == '=' else self.relation + ' '}{self.number.value:.3g}"


def parse_p(text: str, where: str) -> PrintedP:
    """Read a printed p-value.

    Parameters
    ----------
    text : str
        ``p < 0.001``, ``0.045``, ``p = 1``.
    where : str
        For the complaint.

    Returns
    -------
    PrintedP

    Raises
    ------
    TableError
    """
    match = P_PATTERN.fullmatch(re.sub(r"\s", "", text))
    if match is None:
        raise TableError(f"a printed p of {text[:30]!r}", where=where, allowed="p < 0.001, 0.045, p = 1 and the like")
    relation = {"≤": "<=", "≥": ">=", None: "="}.get(match[1], match[1]) or "="
    return PrintedP(relation, _exact(match[2], where))


def parse_number(text: str, where: str) -> PrintedNumber:
    """Read a printed number or share.

    Parameters
    ----------
    text : str
        ``41%`` becomes 0.41, ``0.94`` and ``66.5`` stay.
    where : str
        For the complaint.

    Returns
    -------
    PrintedNumber

    Raises
    ------
    TableError
    """
    bare = text.strip().removesuffix("%").strip()
    number = _exact(bare, where)
    if text.strip().endswith("%"):
        return PrintedNumber(number.value / 100, number.half_unit / 100)
    return number


def parse_shares(claim: Claim, number: int) -> list[tuple[int | None, int]]:
    """Read counts written ``k/n``.

    Parameters
    ----------
    claim : Claim
    number : int
        How many there must be.

    Returns
    -------
    list of tuple of int
        ``None`` for a count that is not printed (``?``).

    Raises
    ------
    TableError
    """
    parts = claim.counts.split()
    pairs = [part.partition("/") for part in parts]
    if len(parts) != number or any(not slash for _, slash, _ in pairs):
        raise TableError(f"counts {claim.counts[:40]!r}", where=claim.claim, allowed=KINDS[claim.kind])
    shares = [(None if k == "?" else _count(k, claim.claim), _count(n, claim.claim)) for k, _, n in pairs]
    for k, n in shares:
        if n == 0 or (k is not None and k > n):
            raise TableError(f"counts {claim.counts[:40]!r}", where=claim.claim, allowed="0 to n of n, n above 0")
    return shares


def parse_counts(text: str, claim: Claim) -> tuple[int, str]:
    """Read a count and what it is multiplied with: ``50*61.7``.

    Parameters
    ----------
    text : str
    claim : Claim
        For the complaint.

    Returns
    -------
    tuple of int and str

    Raises
    ------
    TableError
    """
    count, star, rest = text.partition("*")
    if not star:
        raise TableError(f"counts {text[:40]!r}", where=claim.claim, allowed=KINDS[claim.kind])
    return _count(count, claim.claim), rest


def _count(text: str, where: str) -> int:
    if not text.strip().isdecimal() or int(text) > LARGEST_COUNT:
        raise TableError(f"a count of {text[:20]!r}", where=where, allowed=f"a whole number up to {LARGEST_COUNT}")
    return int(text)


def _exact(text: str, where: str) -> PrintedNumber:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise TableError(f"a printed number of {text[:30]!r}", where=where, allowed="0.94, 41%, 66.5") from None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or not -300 < exponent < 300 or abs(number) > 10**12:
        raise TableError(f"a printed number of {text[:30]!r}", where=where, allowed="0.94, 41%, 66.5")
    return PrintedNumber(float(number), 0.5 * 10.0**exponent)

"""Audit printed claims against the counts printed with them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from spinefx.documents import read_json
from spinefx.errors import TableError
from spinefx.statistics.audit.claims import CLAIM_FIELDS, Claim, UnreadClaim, Verdict
from spinefx.statistics.audit.listed_tests import LISTED_TESTS
from spinefx.statistics.audit.recompute import EXAMPLE, audit_table, claims_from, example_claims, read_each
from spinefx.statistics.audit.recompute import audit as audit_claims
from spinefx.statistics.table import ResultTable
from spinefx.tables.rows import Row, read_table

__all__ = ["ClaimAudit", "audit", "read_claims"]

SIZE_LIMIT_BYTES = 4 * 2**20


@dataclass(frozen=True)
class ClaimAudit:
    """Result of an audit.

    Parameters
    ----------
    table : ResultTable
        Each claim as published and recomputed, with its verdict.
    fallen : int
        Number of claims that cannot be true as printed.
    unread : int
        Number of claims that could not be read, and so were not judged.
    numbers : dict
        The same for a program.
    """

    table: ResultTable
    fallen: int
    unread: int
    numbers: dict[str, object]


def audit(source: Path) -> ClaimAudit:
    """Audit the claims of a file.

    Parameters
    ----------
    source : Path
        JSON, TSV, CSV or XLSX; or ``yeh2022`` for the worked example, unless a file has that name.

    Returns
    -------
    ClaimAudit

    Raises
    ------
    TableError
    """
    claims = example_claims() if str(source) == EXAMPLE and not source.exists() else read_claims(source)
    audited = audit_claims(claims)
    fallen = sum(not one.verdict.is_tenable for one in audited)
    unread = sum(one.verdict is Verdict.UNREADABLE for one in audited)
    rows = [
        {
            "claim": one.claim.claim,
            "kind": getattr(one.claim, "kind", ""),
            "printed": one.claim.printed,
            "counts": getattr(one.claim, "counts", ""),
            "recomputed": one.recomputed,
            "verdict": str(one.verdict),
            "remark": one.remark,
            "note": one.claim.note,
        }
        for one in audited
    ]
    numbers: dict[str, object] = {"claims": rows, "untenable": fallen, "unread": unread, "tests": LISTED_TESTS}
    return ClaimAudit(audit_table(audited), fallen, unread, numbers)


def read_claims(path: Path) -> tuple[Claim | UnreadClaim, ...]:
    """Read printed claims.

    Parameters
    ----------
    path : Path
        ``.json`` with a list ``claims``, or a table whose columns are the fields of a claim.

    Returns
    -------
    tuple of Claim or UnreadClaim
        An unread one in place of each line that is not a claim.

    Raises
    ------
    TableError
        When the file is missing, damaged or too large, or none of its claims can be read.
    """
    if path.suffix.lower() != ".json":
        table = read_table(path, required=CLAIM_FIELDS[:4], optional=CLAIM_FIELDS[4:])
        if not table.rows:
            raise TableError("the table has no claims", where=path.name)
        return read_each([partial(_claim, row) for row in table.rows])
    return claims_from(read_json(path, TableError, most_bytes=SIZE_LIMIT_BYTES), path.name)


def _claim(row: Row) -> Claim:
    return row.checked(lambda: Claim(**{name: row.text(name) for name in CLAIM_FIELDS}))

"""Audit printed claims against the counts printed with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spinefx.documents import read_json
from spinefx.errors import TableError
from spinefx.statistics.audit.claims import CLAIM_FIELDS, Claim
from spinefx.statistics.audit.recompute import EXAMPLE, audit_table, claims_from, example_claims
from spinefx.statistics.audit.recompute import audit as audit_claims
from spinefx.statistics.table import ResultTable
from spinefx.tables.rows import read_table

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
    """

    table: ResultTable
    fallen: int


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
    return ClaimAudit(audit_table(audited), sum(not one.verdict.is_tenable for one in audited))


def read_claims(path: Path) -> tuple[Claim, ...]:
    """Read printed claims.

    Parameters
    ----------
    path : Path
        ``.json`` with a list ``claims``, or a table whose columns are the fields of a claim.

    Returns
    -------
    tuple of Claim

    Raises
    ------
    TableError
        When the file is missing, damaged or too large, or a claim cannot be read.
    """
    if path.suffix.lower() != ".json":
        table = read_table(path, required=CLAIM_FIELDS[:4], optional=CLAIM_FIELDS[4:])
        if not table.rows:
            raise TableError("the table has no claims", where=path.name)
        return tuple(
            row.checked(lambda row=row: Claim(**{name: row.text(name) for name in CLAIM_FIELDS}))  # type: ignore[misc]
            for row in table.rows
        )
    return claims_from(read_json(path, TableError, most_bytes=SIZE_LIMIT_BYTES), path.name)

"""Who sits at the page, and what each may do."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum

from spinefx.errors import AccessError, TableError

__all__ = ["LOCAL", "Role", "User", "new_token", "token_digest", "token_matches"]


class Role(StrEnum):
    """What a user may do; one user may hold several."""

    READER = "reader"
    ANNOTATOR = "annotator"
    EDITOR = "editor"


@dataclass(frozen=True)
class User:
    """Somebody at the page.

    Parameters
    ----------
    code : str
        As in the tables' ``reader_id`` and ``annotator`` columns; never a name.
    roles : frozenset of Role
        An editor sets up and exports studies, and sees what readers must not.

    Raises
    ------
    TableError
        For a code that is not plain.
    """

    code: str
    roles: frozenset[Role]

    def __post_init__(self) -> None:
        is_plain = 0 < len(self.code) <= 40 and self.code.isascii() and self.code.replace("_", "a").isalnum()
        # In a table these two stand for an empty cell: the user's boxes would become the cohort's own.
        if not is_plain or self.code.lower() in {"na", "nan"}:
            raise TableError(f"a user's code {self.code[:40]!r}", allowed="up to 40 letters, digits and _; not NA")

    def refuse_unless(self, role: Role) -> None:
        """Check that the user holds a role.

        Parameters
        ----------
        role : Role

        Raises
        ------
        AccessError
        """
        if role not in self.roles:
            raise AccessError(f"{self.code} is no {role}", remedy="Ask the study's editor for the role.")


LOCAL = User("local", frozenset(Role))


def new_token() -> str:
    """Draw a token that nobody can guess.

    Returns
    -------
    str
        256 random bits, safe in an address.
    """
    return secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """Digest of a token, which alone is stored.

    Parameters
    ----------
    token : str

    Returns
    -------
    str
        A token has 256 random bits, so a plain SHA-256 cannot be searched.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def token_matches(token: str, digest: str) -> bool:
    """Compare a token with a stored digest in constant time.

    Parameters
    ----------
    token, digest : str

    Returns
    -------
    bool
    """
    return hmac.compare_digest(token_digest(token), digest)

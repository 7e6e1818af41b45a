"""Users, their roles, and their tokens."""

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
    """Someone who uses the web app.

    Parameters
    ----------
    code : str
        As in the tables' ``reader_id`` and ``annotator`` columns; never a name.
    roles : frozenset of Role
        An editor sets up and exports reader studies, and sees what readers must not.

    Raises
    ------
    TableError
        When the code is not plain.
    """

    code: str
    roles: frozenset[Role]

    def __post_init__(self) -> None:
        is_plain = 0 < len(self.code) <= 40 and self.code.isascii() and self.code.replace("_", "a").isalnum()
        # In a table these two mean an empty cell, and the user's boxes would become the cohort's own.
        if not is_plain or self.code.lower() in {"na", "nan"}:
            raise TableError("A user's code is not plain", allowed="up to 40 letters, digits and _, but not NA")

    def refuse_unless(self, role: Role) -> None:
        """Raise an error unless the user holds a role.

        Parameters
        ----------
        role : Role

        Raises
        ------
        AccessError
        """
        if role not in self.roles:
            raise AccessError(f"User {self.code} does not have the role {role}", remedy="Ask your editor for it.")


LOCAL = User("local", frozenset(Role))


def new_token() -> str:
    """Draw a token that cannot be guessed.

    Returns
    -------
    str
        256 random bits, safe in a URL.
    """
    return secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """Return the digest of a token; the token itself is never stored.

    Parameters
    ----------
    token : str

    Returns
    -------
    str
        A plain SHA-256: no search can find a token of 256 random bits.
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

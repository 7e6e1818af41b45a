"""Who is asking: the user behind a request, and the role that a route requires."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response

from spinefx.app.contracts.access import SignedIn, SignInRequest
from spinefx.app.contracts.base import Acknowledgement
from spinefx.app.state import USER_ADDED, state_of
from spinefx.app.users import LOCAL, Role, User, new_token, token_digest, token_matches
from spinefx.errors import AccessError, SignInError, TableError
from spinefx.reader_study.log import Log
from spinefx.workspace.layout import Workspace

__all__ = ["Annotator", "AnyUser", "Editor", "Reader", "add_access", "add_user", "invite", "users"]

COOKIE = "spinefx"
# Seconds without a request after which a user is signed out, and how many browsers of one user may be signed in: a
# further one signs out whichever has been silent for longest.
IDLE_S, BROWSERS = 12 * 3600.0, 20


def add_user(log: Log, user: User, digest: str, *, by: str) -> None:
    """Add a user; a later entry with the same code replaces an earlier one.

    Parameters
    ----------
    log : Log
    user : User
    digest : str
        Of the user's token.
    by : str
        Code of the user who adds them.
    """
    log.append(USER_ADDED, by, user.code, {"roles": sorted(user.roles), "token": digest})


def invite(workspace: Path, code: str, roles: Iterable[str], *, database: str = "") -> str:
    """Add a user and return their new token.

    Parameters
    ----------
    workspace : Path
    code : str
    roles : iterable of str
        At least one.
    database : str
        Address of the log's database; empty for the workspace's own file.

    Returns
    -------
    str
        The token. It is stored nowhere, so it cannot be shown again.

    Raises
    ------
    WorkspaceError
    TableError
        When the code is not plain, or no role is given.
    """
    user, token = User(code, frozenset(Role(role) for role in roles)), new_token()
    if not user.roles:
        raise TableError(f"User {code} has no role", allowed=", ".join(Role))
    log = Log(database) if database else Log.beside(Workspace.open(workspace).log_file)
    try:
        add_user(log, user, token_digest(token), by="shell")
    finally:
        log.close()
    return token


def users(log: Log) -> dict[str, tuple[User, str]]:
    """List the users who may sign in.

    Parameters
    ----------
    log : Log

    Returns
    -------
    dict of str to (User, str)
        By code, with the digest of the token.
    """
    return {
        entry.subject: (
            User(entry.subject, frozenset(Role(role) for role in entry.content["roles"])),
            str(entry.content["token"]),
        )
        for entry in log.entries(kind=USER_ADDED)
    }


@dataclass
class _Visit:
    code: str
    # Of the token that the user came with: a new token ends the visits of the old one.
    digest: str
    seen_s: float


class _Visits:
    """Who is signed in, by the secret in their cookie; a restart signs everybody out."""

    def __init__(self) -> None:
        self._visits: dict[str, _Visit] = {}
        self._lock = threading.Lock()

    def begin(self, code: str, digest: str) -> str:
        """Sign a user in.

        Parameters
        ----------
        code : str
        digest : str
            Of the user's token.

        Returns
        -------
        str
            A new secret, whatever cookie the browser sent: a planted cookie gains nothing.
        """
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._visits[secret] = _Visit(code, digest, time.monotonic())
            own = sorted((one.seen_s, name) for name, one in self._visits.items() if one.code == code)
            for _, name in own[:-BROWSERS]:
                del self._visits[name]
        return secret

    def of(self, secret: str) -> tuple[str, str] | None:
        """Find the user who holds a secret, and restart their idle time.

        Parameters
        ----------
        secret : str

        Returns
        -------
        tuple of str and str, or None
            Code, and digest of the token that the user came with.
        """
        now_s = time.monotonic()
        with self._lock:
            found = self._visits.get(secret)
            if found is None or now_s - found.seen_s > IDLE_S:
                self._visits.pop(secret, None)
                return None
            found.seen_s = now_s
            return found.code, found.digest

    def end(self, secret: str) -> None:
        """Sign a user out.

        Parameters
        ----------
        secret : str
        """
        with self._lock:
            self._visits.pop(secret, None)


def _who(request: Request) -> User:
    state = state_of(request.app)
    if not state.needs_token:
        return LOCAL
    visit = request.app.state.visits.of(request.cookies.get(COOKIE, ""))
    # Looked up on every request, so that new roles and a new token take effect at once.
    user, digest = users(state.log).get(visit[0], (None, "")) if visit else (None, "")
    if visit is None or user is None or digest != visit[1]:
        raise SignInError("You are not signed in", remedy="Sign in with the token that your editor gave you.")
    return user


def _holding(role: Role) -> Any:
    def holder(user: Annotated[User, Depends(_who)]) -> User:
        user.refuse_unless(role)
        return user

    holder.role = role  # type: ignore[attr-defined]  # read by the test that lists every route's role
    return Depends(holder)


AnyUser = Annotated[User, Depends(_who)]
Reader = Annotated[User, _holding(Role.READER)]
Annotator = Annotated[User, _holding(Role.ANNOTATOR)]
Editor = Annotated[User, _holding(Role.EDITOR)]


def add_access(app: FastAPI) -> None:
    """Add the routes for signing in and out.

    Parameters
    ----------
    app : FastAPI
        With its state.
    """
    state = state_of(app)
    app.state.visits = visits = _Visits()

    @app.post("/api/enter")
    def sign_in(given: SignInRequest, request: Request, response: Response) -> SignedIn:
        """Sign in with a token; the response sets the session's cookie."""
        address = request.client.host if request.client else ""
        state.slow_down(address)
        for user, digest in users(state.log).values():
            if token_matches(given.token, digest):
                visits.end(request.cookies.get(COOKIE, ""))
                state.forget_attempts(address)
                secret = visits.begin(user.code, digest)
                response.set_cookie(COOKIE, secret, httponly=True, samesite="strict", secure=state.settings.is_secure)
                return SignedIn(code=user.code)
        state.log.append("entrance.refused", "nobody")
        raise AccessError("Unknown token", remedy="Check that you copied all of it, or ask your editor for a new one.")

    @app.post("/api/leave")
    def sign_out(request: Request, response: Response) -> Acknowledgement:
        """Sign out: the session's cookie is worthless from now on, even to somebody who kept a copy."""
        visits.end(request.cookies.get(COOKIE, ""))
        response.delete_cookie(COOKIE)
        return Acknowledgement()

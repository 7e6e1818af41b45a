"""Who asks: the user behind a request, and the role that a route needs."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from spinefx.app.state import state_of
from spinefx.app.users import LOCAL, Role, User, new_token, token_digest, token_matches
from spinefx.errors import AccessError, SignInError, TableError
from spinefx.reader_study.log import Log
from spinefx.workspace.layout import Workspace

__all__ = ["Annotator", "Anyone", "Asking", "Editor", "Reader", "add_access", "add_user", "invite", "users"]

COOKIE = "spinefx"
# The kind keeps the word of the first logs, which stay readable.
USER_ADDED = "person.added"
# Somebody who asks for nothing that long is signed out; and so is the longest unseen of too many browsers of one.
IDLE_S, BROWSERS = 12 * 3600.0, 20


def add_user(log: Log, user: User, digest: str, *, by: str) -> None:
    """Let somebody in from now on; a later entry of the same code takes the place of an earlier one.

    Parameters
    ----------
    log : Log
    user : User
    digest : str
        Of the user's token.
    by : str
        Code of who lets them in.
    """
    log.append(USER_ADDED, by, user.code, {"roles": sorted(user.roles), "token": digest})


def invite(workspace: Path, code: str, roles: Iterable[str], *, database: str = "") -> str:
    """Let somebody in, with a new token.

    Parameters
    ----------
    workspace : Path
        Study folder.
    code : str
    roles : iterable of str
        At least one.
    database : str
        Address of the log's database; empty for the study folder's file.

    Returns
    -------
    str
        The token, which is stored nowhere.

    Raises
    ------
    WorkspaceError
    TableError
        For a code that is not plain, or without a role.
    """
    user, token = User(code, frozenset(Role(role) for role in roles)), new_token()
    if not user.roles:
        raise TableError(f"{code} has no role", allowed=", ".join(Role))
    log = Log(database) if database else Log.beside(Workspace.open(workspace).log_file)
    try:
        add_user(log, user, token_digest(token), by="shell")
    finally:
        log.close()
    return token


def users(log: Log) -> dict[str, tuple[User, str]]:
    """List who may come in.

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
    # Of the token they came with: a new token ends the visits of the old one.
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
            A new secret, whatever the browser brought: a planted one is worth nothing.
        """
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._visits[secret] = _Visit(code, digest, time.monotonic())
            own = sorted((one.seen_s, name) for name, one in self._visits.items() if one.code == code)
            for _, name in own[:-BROWSERS]:
                del self._visits[name]
        return secret

    def of(self, secret: str) -> tuple[str, str] | None:
        """Find who a secret belongs to, and take note that they are still there.

        Parameters
        ----------
        secret : str

        Returns
        -------
        tuple of str and str, or None
            Code, and digest of the token they came with.
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
        """Sign out.

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
    # Looked up each time: who was given other roles or another token meanwhile has them from now on.
    user, digest = users(state.log).get(visit[0], (None, "")) if visit else (None, "")
    if visit is None or user is None or digest != visit[1]:
        raise SignInError("you are not signed in", remedy="Enter with the token that the study's editor gave you.")
    return user


def _holding(role: Role) -> Any:
    def holder(user: Annotated[User, Depends(_who)]) -> User:
        user.refuse_unless(role)
        return user

    holder.role = role  # type: ignore[attr-defined]  # read by the test that lists every route's role
    return Depends(holder)


Asking = Annotated[User, Depends(_who)]
Reader = Annotated[User, _holding(Role.READER)]
Annotator = Annotated[User, _holding(Role.ANNOTATOR)]
Editor = Annotated[User, _holding(Role.EDITOR)]
# What may be asked by somebody who is not signed in; a route must say so.
Anyone = None


class _Entrance(BaseModel):
    """What is sent to sign in."""

    model_config = ConfigDict(extra="forbid", strict=True)
    token: str = Field(min_length=1, max_length=200)


def add_access(app: FastAPI) -> None:
    """Let users sign in and out.

    Parameters
    ----------
    app : FastAPI
        With its state.
    """
    state = state_of(app)
    app.state.visits = visits = _Visits()

    @app.post("/api/enter")
    def enter(entrance: _Entrance, request: Request, response: Response) -> dict[str, str]:
        address = request.client.host if request.client else ""
        state.slow_down(address)
        for user, digest in users(state.log).values():
            if token_matches(entrance.token, digest):
                visits.end(request.cookies.get(COOKIE, ""))
                state.forget_attempts(address)
                secret = visits.begin(user.code, digest)
                response.set_cookie(COOKIE, secret, httponly=True, samesite="strict", secure=state.settings.is_secure)
                return {"code": user.code}
        state.log.append("entrance.refused", "nobody")
        raise AccessError("that token is not known here", remedy="Ask the study's editor for a new one.")

    @app.post("/api/leave")
    def leave(request: Request, response: Response) -> dict[str, str]:
        """End this browser's session: its cookie is worth nothing from now on, whoever kept a copy."""
        visits.end(request.cookies.get(COOKIE, ""))
        response.delete_cookie(COOKIE)
        return {}

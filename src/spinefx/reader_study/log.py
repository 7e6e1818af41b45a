"""The log of a workspace: entries are added, never changed, and each holds the digest of the one before it.

By default an SQLite file in the workspace; a PostgreSQL database where several servers share a workspace.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, ProgrammingError, SQLAlchemyError

from spinefx.errors import LogError, UnavailableError, WorkspaceError
from spinefx.files import canonical_json, digest_of

__all__ = ["Entry", "Log"]

SCHEMA = "spinefx log 1"
BEGINNING = digest_of(SCHEMA)
# Two writers may want the same number; the later one takes the next number.
ATTEMPTS = 50
# Identifies the lock of PostgreSQL's writers within one database: "spinefx" in bytes.
TURN = int.from_bytes(b"spinefx")
# How long to wait for a connection to a remote database, seconds.
CONNECT_S = 10
# Exceptions that a broken database causes, among them the driver's own and those of bytes that are not text.
_BROKEN = (SQLAlchemyError, sqlite3.Error, ValueError, TypeError)

_METADATA = sql.MetaData()
_ENTRIES = sql.Table(
    "entries",
    _METADATA,
    sql.Column("number", sql.BigInteger, primary_key=True, autoincrement=False),
    sql.Column("written", sql.Text, nullable=False),
    sql.Column("kind", sql.Text, nullable=False),
    sql.Column("person", sql.Text, nullable=False),
    sql.Column("subject", sql.Text, nullable=False),
    sql.Column("content", sql.Text, nullable=False),
    sql.Column("previous", sql.Text, nullable=False),
    sql.Column("digest", sql.Text, nullable=False),
    sql.Index("entries_by_subject", "subject", "number"),
    sql.Index("entries_by_kind", "kind", "number"),
)


@dataclass(frozen=True)
class Entry:
    """One event.

    Parameters
    ----------
    number : int
        From 1, without gaps.
    written : str
        Time by the server's clock, UTC, ISO 8601. Entries are ordered by number, since a clock may be set back.
    kind : str
        Type of event, such as ``answer.sealed``.
    person : str
        Code of the user who caused it.
    subject : str
        What it belongs to, such as a reader's part of a study; empty for the whole workspace.
    content : mapping
        JSON values.
    previous : str
        Digest of the previous entry.
    """

    number: int
    written: str
    kind: str
    person: str
    subject: str
    content: Mapping[str, Any]
    previous: str

    @property
    def digest(self) -> str:
        """SHA-256 over everything above, the previous digest included: a change anywhere shows in all later entries."""
        return digest_of(canonical_json(self.to_json()))

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON values.

        Returns
        -------
        dict
        """
        return {**vars(self), "content": dict(self.content)}


class Log:
    """The log of a workspace.

    Parameters
    ----------
    address : str
        ``sqlite:///FILE`` or ``postgresql+psycopg://…``.
    now : callable, optional
        Returns the date and time of new entries, UTC; by default the machine's own.

    Raises
    ------
    WorkspaceError
        When the database cannot be opened. The message does not repeat the address, which may hold a password.
    """

    def __init__(self, address: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        try:
            self._engine = sql.create_engine(address, pool_pre_ping=True)
            if self._engine.dialect.name == "sqlite":
                sql.event.listen(self._engine, "connect", _prepare_sqlite)
                sql.event.listen(self._engine, "begin", _begin_at_once)
            else:
                sql.event.listen(self._engine, "do_connect", _limit_wait)
                sql.event.listen(self._engine, "begin", _take_turn)
            self._make_table()
        except (*_BROKEN, ModuleNotFoundError) as error:
            raise WorkspaceError(
                f"The database of the log cannot be opened ({type(error).__name__})",
                allowed="a writable folder, or postgresql+psycopg://USER@HOST/DATABASE with psycopg installed",
            ) from error

    @classmethod
    def beside(cls, file: Path) -> Log:
        """Open the log in an SQLite file.

        Parameters
        ----------
        file : Path
            Created where missing.

        Returns
        -------
        Log

        Raises
        ------
        WorkspaceError
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        return cls(f"sqlite:///{file}")

    def append(self, kind: str, person: str, subject: str = "", content: Mapping[str, Any] | None = None) -> Entry:
        """Append an entry; once this returns, it is on disk.

        Parameters
        ----------
        kind, person, subject : str
            See :class:`Entry`.
        content : mapping, optional

        Returns
        -------
        Entry

        Raises
        ------
        UnavailableError
            When the database does not answer. If the connection broke during the commit, the entry may have been
            stored: before repeating it, look first, as :meth:`spinefx.reader_study.session.Session.seal` does.
        WorkspaceError
            When nothing could be written.
        """
        return self.append_all([(kind, person, subject, content or {})])[0]

    def append_all(self, news: list[tuple[str, str, str, Mapping[str, Any]]]) -> list[Entry]:
        """Append several entries, all or none.

        Parameters
        ----------
        news : list of (kind, person, subject, content)

        Returns
        -------
        list of Entry

        Raises
        ------
        UnavailableError
        WorkspaceError
        """
        for attempt in range(ATTEMPTS):
            try:
                with self._engine.execution_options(writes=True).begin() as connection:
                    return self._append(connection, news)
            except IntegrityError:
                time.sleep(0.002 * (attempt + 1))
            except (SQLAlchemyError, sqlite3.Error) as error:
                if _is_away(error):
                    raise _away(error) from error
                raise WorkspaceError(
                    f"The log could not be written ({type(error).__name__})",
                    remedy="Check the disk space, then try again.",
                ) from error
        raise UnavailableError("The log is busy", remedy="Try again.")

    def entries(self, *, kind: str | None = None, subject: str | None = None, after: int = 0) -> list[Entry]:
        """Read entries, in order.

        Parameters
        ----------
        kind : str, optional
            Only entries of this kind.
        subject : str, optional
            Only entries of this subject.
        after : int
            Only entries after this number.

        Returns
        -------
        list of Entry

        Raises
        ------
        LogError
            When the database is damaged.
        UnavailableError
            When it does not answer.
        """
        wanted = sql.select(_ENTRIES).where(_ENTRIES.c.number > after).order_by(_ENTRIES.c.number)
        if kind is not None:
            wanted = wanted.where(_ENTRIES.c.kind == kind)
        if subject is not None:
            wanted = wanted.where(_ENTRIES.c.subject == subject)
        with self._reading() as connection:
            return [_entry(row) for row in connection.execute(wanted).mappings()]

    def head(self) -> tuple[int, str]:
        """Return number and digest of the last entry; stored elsewhere, they show whether entries were removed later.

        Returns
        -------
        tuple of int and str

        Raises
        ------
        LogError
            When the database is damaged.
        UnavailableError
            When it does not answer.
        """
        with self._reading() as connection:
            return _head(connection)

    def verify(self, head: tuple[int, str] | None = None) -> int:
        """Check every link of the chain.

        Parameters
        ----------
        head : tuple of int and str, optional
            An earlier result of :meth:`head`: that entry must still exist.

        Returns
        -------
        int
            Number of entries checked.

        Raises
        ------
        LogError
            Naming the first entry that was altered or is missing. A chain that was rewritten as a whole, with new
            digests, is detected only with the ``head``.
        UnavailableError
        """
        number, digest, is_met = 0, BEGINNING, head is None or head == (0, BEGINNING)
        with self._reading() as connection:
            for row in connection.execute(sql.select(_ENTRIES).order_by(_ENTRIES.c.number)).mappings():
                number += 1
                try:
                    entry = _entry(row)
                    written = _row(entry)
                except (ValueError, TypeError, RecursionError):
                    raise _broken(number, "cannot be read") from None
                if entry.number != number:
                    raise _broken(number, "is missing")
                # The whole row is compared: different text with the same meaning is a change too.
                if entry.previous != digest or dict(row) != written:
                    raise _broken(number, "has been altered")
                digest = written["digest"]
                is_met = is_met or head == (number, digest)
        if not is_met:
            raise LogError("the end of the log was removed or replaced", remedy="Restore the database from a backup.")
        return number

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def _make_table(self) -> None:
        if self._has_table():
            return
        try:
            _METADATA.create_all(self._engine.execution_options(writes=True))
        except (IntegrityError, ProgrammingError):
            # Another server may have created it meanwhile, which PostgreSQL reports in several ways.
            if not self._has_table():
                raise

    def _has_table(self) -> bool:
        return sql.inspect(self._engine).has_table(_ENTRIES.name)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sql.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except _BROKEN as error:
            if _is_away(error):
                raise _away(error) from error
            raise LogError(
                f"The database of the log cannot be read ({type(error).__name__})",
                remedy="Restore the database from a backup.",
            ) from error

    def _append(self, connection: sql.Connection, news: list[tuple[str, str, str, Mapping[str, Any]]]) -> list[Entry]:
        number, digest = _head(connection)
        added = []
        for kind, person, subject, content in news:
            number += 1
            written = self._now().isoformat(timespec="milliseconds")
            entry = Entry(number, written, kind, person, subject, dict(content), digest)
            row = _row(entry)
            digest = row["digest"]
            connection.execute(sql.insert(_ENTRIES).values(row))
            added.append(entry)
        return added


def _head(connection: sql.Connection) -> tuple[int, str]:
    last = sql.select(_ENTRIES.c.number, _ENTRIES.c.digest).order_by(_ENTRIES.c.number.desc()).limit(1)
    row = connection.execute(last).first()
    return (0, BEGINNING) if row is None else (int(row[0]), str(row[1]))


def _entry(row: Mapping[Any, Any]) -> Entry:
    content = json.loads(row["content"])
    return Entry(
        int(row["number"]), row["written"], row["kind"], row["person"], row["subject"], content, row["previous"]
    )


def _row(entry: Entry) -> dict[str, Any]:
    return entry.to_json() | {"content": canonical_json(entry.content), "digest": entry.digest}


def _is_away(error: Exception) -> bool:
    """Return whether a database is stopped, starting or busy, rather than damaged."""
    cause = getattr(error, "orig", error)
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    return isinstance(error, (OperationalError, InterfaceError, sql.exc.TimeoutError))


def _away(error: Exception) -> UnavailableError:
    return UnavailableError(
        f"The database of the log does not answer ({type(error).__name__})",
        remedy="Try again later; if the problem persists, restart the database.",
    )


def _broken(number: int, how: str) -> LogError:
    return LogError(f"entry {number} of the log {how}", remedy="Restore the database from a backup.")


def _prepare_sqlite(connection: Any, _: Any) -> None:
    # Python's driver would begin transactions late; they begin where SQLAlchemy says, see below.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_at_once(connection: sql.Connection) -> None:
    # A transaction that reads first and writes later fails with "database is locked"; one that announces writing waits.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _limit_wait(_: Any, __: Any, ___: Any, parameters: dict[str, Any]) -> None:
    # Without a limit a page would hang for minutes when the machine of the database is down.
    parameters.setdefault("connect_timeout", CONNECT_S)


def _take_turn(connection: sql.Connection) -> None:
    # Writers wait for each other rather than collide. A database configured to confirm a commit before it is on disk
    # would lose answers in a power failure, so that setting is overridden.
    if connection.get_execution_options().get("writes", False):
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (TURN,))
        connection.exec_driver_sql(
            "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
        )

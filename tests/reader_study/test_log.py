"""The log: no entry is lost, and no alteration goes undetected."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sql
from sqlalchemy.exc import ProgrammingError

import spinefx.reader_study.log as log_module
from spinefx.errors import LogError, UnavailableError, WorkspaceError
from spinefx.reader_study.log import Log

KILLER = Path(__file__).with_name("kill_points.py")


def filled(log: Log, count: int = 12) -> None:
    for number in range(count):
        log.append("answer.sealed", f"R{number % 3}", f"pilot/R{number % 3}", {"answer": {"confidence": number}})


@pytest.fixture
def twelve(log: Log) -> Log:
    """A log of twelve entries, in SQLite and in PostgreSQL."""
    filled(log)
    return log


@pytest.fixture
def tamper(address: str) -> Iterator[Callable[..., None]]:
    """Run statements behind the log's back, as an owner of the database can."""
    engine = sql.create_engine(address)

    def run(*statements: str, **values: object) -> None:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(sql.text(statement), values)

    yield run
    engine.dispose()


# The same table without its key, its types and its ban on empty cells.
LOOSE = ("CREATE TABLE loose AS SELECT * FROM entries", "DROP TABLE entries", "ALTER TABLE loose RENAME TO entries")


def test_entries_are_read_back_unchanged(log: Log) -> None:
    filled(log)
    assert log.verify() == 12
    assert [entry.number for entry in log.entries()] == list(range(1, 13))
    assert [entry.content["answer"]["confidence"] for entry in log.entries(subject="pilot/R1")] == [1, 4, 7, 10]
    assert [entry.number for entry in log.entries(kind="answer.sealed", after=10)] == [11, 12]
    first, second = log.entries()[:2]
    assert second.previous == first.digest
    assert log.head() == (12, log.entries()[-1].digest)


def test_several_entries_are_written_all_or_none(log: Log) -> None:
    log.append_all([("a", "R1", "", {}), ("b", "R1", "", {})])
    with pytest.raises(ValueError, match="JSON"):
        log.append_all([("c", "R1", "", {}), ("d", "R1", "", {"value": float("nan")})])
    assert [entry.kind for entry in log.entries()] == ["a", "b"]
    assert log.verify() == 2


def test_eight_simultaneous_writers_produce_one_chain(address: str) -> None:
    logs = [Log(address) for _ in range(8)]
    failures: list[BaseException] = []

    def write(log: Log, person: str) -> None:
        try:
            for number in range(15):
                log.append("answer.sealed", person, "pilot", {"n": number})
        except BaseException as failure:
            failures.append(failure)

    writers = [threading.Thread(target=write, args=(one, f"R{place}")) for place, one in enumerate(logs)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert logs[0].verify() == 120
    for place in range(8):
        mine = [entry.content["n"] for entry in logs[0].entries() if entry.person == f"R{place}"]
        assert mine == list(range(15))
    for log in logs:
        log.close()


def test_two_servers_can_open_an_empty_database_at_once(new_address: Callable[[], str]) -> None:
    for _ in range(5):
        address = new_address()
        with ThreadPoolExecutor(6) as threads:
            logs = list(threads.map(lambda _: Log(address), range(6)))  # noqa: B023  # called before the next turn
        for log in logs:
            log.append("a", "R1")
            log.close()
        with contextlib.closing(Log(address)) as log:
            assert log.verify() == 6


def test_a_log_continues_where_it_was_closed(address: str) -> None:
    for turn in range(1, 4):
        with contextlib.closing(Log(address)) as log:
            filled(log)
            head = log.head()
        with contextlib.closing(Log(address)) as log:
            assert log.head() == head
            assert log.verify(head) == 12 * turn


def test_a_flipped_bit_in_any_row_and_column_is_detected(twelve: Log, tamper: Callable[..., None]) -> None:
    rng = np.random.default_rng(1)
    for kept in [entry.to_json() for entry in twelve.entries()]:
        for column in ("number", "written", "kind", "person", "subject", "content", "previous", "digest"):
            ((value,),) = rows(twelve, f"SELECT {column} FROM entries WHERE number = {kept['number']}")
            if column == "number":
                # Above the twelve: a key that is taken cannot be given twice.
                changed: object = value ^ 1 << int(rng.integers(4, 62))
            else:
                place = int(rng.integers(len(value)))
                changed = value[:place] + chr(ord(value[place]) ^ 1 << int(rng.integers(5))) + value[place + 1 :]
            found = changed if column == "number" else kept["number"]
            tamper(
                f"UPDATE entries SET {column} = :changed WHERE number = :number", changed=changed, number=kept["number"]
            )
            with pytest.raises(LogError, match=rf"entry {kept['number']} of the log"):
                twelve.verify()
            tamper(f"UPDATE entries SET {column} = :value WHERE number = :found", value=value, found=found)
    assert twelve.verify() == 12


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE entries SET content = content || ' ' WHERE number = 4", "entry 4 of the log has been altered"),
        (
            "UPDATE entries SET content = replace(content, '{\"answer', '{\"answer\":0,\"answer')",
            "entry 1 .* has been altered",
        ),
        (
            "UPDATE entries SET content = replace(content, 'confidence', '\\u0063onfidence')",
            "entry 1 .* has been altered",
        ),
        ("UPDATE entries SET content = '{\"n\":NaN}' WHERE number = 4", "entry 4 of the log cannot be read"),
        ("UPDATE entries SET content = '[' WHERE number = 4", "entry 4 of the log cannot be read"),
        ("UPDATE entries SET content = '[]' WHERE number = 4", "entry 4 of the log has been altered"),
    ],
    ids=["a space", "a doubled key", "an escape", "no number", "no JSON", "a list"],
)
def test_different_text_with_the_same_meaning_is_detected(
    twelve: Log, tamper: Callable[..., None], statement: str, found: str
) -> None:
    tamper(statement.replace(":", r"\:"))
    with pytest.raises(LogError, match=found):
        twelve.verify()


@pytest.mark.parametrize(
    "columns", [("content",), ("content", "digest"), ("content", "previous", "digest"), ("number",)]
)
def test_swapped_entries_are_detected(twelve: Log, tamper: Callable[..., None], columns: tuple[str, ...]) -> None:
    if columns == ("number",):
        steps = [(4, 99), (8, 4), (99, 8)]
        tamper(*(f"UPDATE entries SET number = {after} WHERE number = {before}" for before, after in steps))
    else:
        other = "(SELECT {0} FROM entries AS o WHERE o.number = 12 - entries.number)"
        swapped = ", ".join(f"{column} = {other.format(column)}" for column in columns)
        tamper(f"UPDATE entries SET {swapped} WHERE number IN (4, 8)")
    with pytest.raises(LogError, match="entry 4 of the log has been altered"):
        twelve.verify()


@pytest.mark.parametrize("number", [1, 2, 5, 11])
def test_a_missing_entry_is_named(twelve: Log, tamper: Callable[..., None], number: int) -> None:
    tamper("DELETE FROM entries WHERE number = :number", number=number)
    with pytest.raises(LogError, match=f"entry {number} of the log is missing"):
        twelve.verify()
    tamper("UPDATE entries SET number = number - 1 WHERE number > :number", number=number)
    with pytest.raises(LogError, match=f"entry {number} of the log has been altered"):
        twelve.verify()


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("INSERT INTO entries SELECT * FROM entries WHERE number = 5", "entry 6 of the log is missing"),
        ("UPDATE entries SET content = NULL WHERE number = 5", "entry 5 of the log cannot be read"),
        ("UPDATE entries SET person = NULL WHERE number = 5", "entry 5 of the log has been altered"),
        ("UPDATE entries SET number = NULL WHERE number = 5", "of the log"),
        ("ALTER TABLE entries DROP COLUMN person", "The database of the log cannot be read"),
        ("DROP TABLE entries", "The database of the log cannot be read"),
    ],
    ids=["doubled", "without content", "without a person", "without a number", "without a column", "without a table"],
)
def test_damage_after_constraints_were_dropped_is_detected(
    twelve: Log, tamper: Callable[..., None], statement: str, found: str
) -> None:
    tamper(*LOOSE)
    assert twelve.verify() == 12
    tamper(statement)
    with pytest.raises(LogError, match=found):
        twelve.verify()


def test_a_removed_or_replaced_tail_is_detected(twelve: Log, tamper: Callable[..., None]) -> None:
    head = twelve.head()
    assert twelve.verify(head) == 12
    tamper("DELETE FROM entries WHERE number > 9")
    assert twelve.verify() == 9
    with pytest.raises(LogError, match="removed or replaced"):
        twelve.verify(head)
    filled(twelve, 3)
    with pytest.raises(LogError, match="removed or replaced"):
        twelve.verify(head)


def test_a_rewritten_chain_is_detected_only_with_the_head(twelve: Log, tamper: Callable[..., None]) -> None:
    kept, head = twelve.entries(), twelve.head()
    tamper("DELETE FROM entries")
    for entry in kept:
        changed = {"answer": {"confidence": 99}} if entry.number == 5 else entry.content
        twelve.append(entry.kind, entry.person, entry.subject, changed)
    assert twelve.verify() == 12, "the chain alone cannot know"
    with pytest.raises(LogError, match="removed or replaced"):
        twelve.verify(head)


def test_a_flipped_bit_in_the_file_changes_no_answer_undetected(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    with contextlib.closing(Log.beside(path)) as log:
        filled(log)
        kept, head = [entry.to_json() for entry in log.entries()], log.head()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    rng, seen = np.random.default_rng(3), 0
    for number in range(90):
        # A third of them on the first page, which says what the rest is.
        place = int(rng.integers((4096 if number % 3 == 0 else len(whole)) * 8))
        copy = tmp_path / f"flip{number}.sqlite"
        copy.write_bytes(flipped(whole, place))
        seen += is_seen(f"sqlite:///{copy}", kept, head)
    assert seen > 10


def test_a_flipped_bit_in_postgresqls_file_changes_no_answer_undetected(postgres: Any) -> None:
    name = postgres.new_database()
    with contextlib.closing(Log(postgres.address(name))) as log:
        filled(log)
        kept, head = [entry.to_json() for entry in log.entries()], log.head()
    ((where,),) = postgres.run("VACUUM entries", "SELECT pg_relation_filepath('entries')", database=name)
    postgres.run("CHECKPOINT")
    path = postgres.data / where
    whole = path.read_bytes()
    # Rows lie at the end of a page, its table of places at the beginning.
    used = [place for place, byte in enumerate(whole) if byte]
    rng, seen = np.random.default_rng(5), 0
    for number in range(24):
        path.write_bytes(flipped(whole, 8 * used[int(rng.integers(len(used)))] + int(rng.integers(8))))
        # A copy is made of the files, so that no page of it is in the server's memory already.
        copy = f"{name}_{number}"
        postgres.run(f"CREATE DATABASE {copy} TEMPLATE {name} STRATEGY file_copy")
        seen += is_seen(postgres.address(copy), kept, head)
        postgres.wait()
        postgres.drop(copy)
    assert seen > 14


def flipped(whole: bytes, place: int) -> bytes:
    broken = bytearray(whole)
    broken[place // 8] ^= 1 << place % 8
    return bytes(broken)


def is_seen(address: str, kept: list[dict[str, object]], head: tuple[int, str]) -> bool:
    """Return whether a damaged log is reported as such; where it is not, its entries must be intact."""
    try:
        with contextlib.closing(Log(address)) as log:
            log.verify(head)
            assert [entry.to_json() for entry in log.entries()] == kept
    except (LogError, WorkspaceError):
        return True
    return False


def rows(log: Log, statement: str) -> list[tuple[object, ...]]:
    with log._engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(statement)]


def test_a_database_that_cannot_be_opened_is_reported_without_its_address() -> None:
    with pytest.raises(WorkspaceError, match="cannot be opened") as caught:
        Log("sqlite:////nowhere/secret/log.sqlite")
    assert "secret" not in str(caught.value)


def killed(addresses: list[str]) -> dict[str, int]:
    """Let a process append in a loop and kill it repeatedly; return the numbers of promised and of lost answers."""
    ran = subprocess.run([sys.executable, str(KILLER), *addresses], check=True, capture_output=True, text=True)
    found: dict[str, int] = json.loads(ran.stdout)
    return found


def test_no_committed_answer_is_lost_when_the_writer_is_killed(new_address: Callable[[], str]) -> None:
    found = killed([new_address() for _ in range(2)])
    assert found["points"] == 40
    assert found["promised"] > 40
    assert (found["lost"], found["doubled"]) == (0, 0)


@pytest.mark.slow
def test_no_committed_answer_is_lost_at_a_thousand_kill_points(new_address: Callable[[], str]) -> None:
    found = killed([new_address() for _ in range(50)])
    assert found["points"] == 1000
    assert found["promised"] > 1000
    assert (found["lost"], found["doubled"]) == (0, 0)


def test_nothing_is_lost_or_duplicated_when_postgresql_crashes(postgres: Any) -> None:
    rng, promised, tried = np.random.default_rng(2), [], 0
    name = postgres.new_database()
    # The careless setting: whoever commits is answered before anything is written.
    postgres.run(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with contextlib.closing(Log(postgres.address(name))) as log, ThreadPoolExecutor(1) as thread:
        for turn in range(6):
            stopping = thread.submit(lambda: (time.sleep(float(rng.uniform(0.05, 0.3))), postgres.stop_at_once()))
            with pytest.raises(UnavailableError, match="does not answer"):  # noqa: PT012  # the last of many fails
                while True:
                    tried += 1
                    promised.append(log.append("answer.sealed", "R1", f"turn {turn}", {"name": tried}).content["name"])
            stopping.result()
            with pytest.raises(UnavailableError, match="does not answer"):
                log.entries()
            with pytest.raises(UnavailableError, match="does not answer"):
                log.append("answer.sealed", "R1")
            postgres.start()
            # The same log goes on.
            kept = [entry.content["name"] for entry in log.entries()]
            assert {*promised} <= {*kept}
            assert len({*kept}) == len(kept) == log.verify() <= tried
    assert len(promised) > 100


def test_a_server_needs_only_the_rights_to_select_and_insert(postgres: Any) -> None:
    name = postgres.new_database()
    Log(postgres.address(name)).close()
    postgres.run(f"CREATE ROLE page{name} LOGIN", f"GRANT SELECT, INSERT ON entries TO page{name}", database=name)
    with contextlib.closing(Log(postgres.address(name, f"page{name}"))) as log:
        filled(log)
        assert log.verify(log.head()) == 12
        for statement in ("UPDATE entries SET person = 'R9'", "DELETE FROM entries", "TRUNCATE entries"):
            with log._engine.begin() as connection, pytest.raises(ProgrammingError, match="permission denied"):
                connection.exec_driver_sql(statement)


def test_a_silent_database_is_reported_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    monkeypatch.setattr(log_module, "CONNECT_S", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(WorkspaceError, match="cannot be opened"):
        Log(f"postgresql+psycopg://spinefx@127.0.0.1:{silent.getsockname()[1]}/study")

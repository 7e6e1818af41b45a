"""The log: nothing that was written is lost, and nothing that was changed stays unseen."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spinefx.errors import LogError, WorkspaceError
from spinefx.trial.log import Log

KILLER = Path(__file__).with_name("kill_points.py")


def filled(log: Log, count: int = 12) -> None:
    for number in range(count):
        log.append("answer.sealed", f"R{number % 3}", f"pilot/R{number % 3}", {"answer": {"confidence": number}})


@pytest.fixture
def file_log(tmp_path: Path) -> Iterator[tuple[Log, Path]]:
    with contextlib.closing(Log.beside(tmp_path / "log.sqlite")) as log:
        filled(log)
        yield log, tmp_path / "log.sqlite"


def test_entries_come_back_as_they_were_written(log: Log) -> None:
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


def test_eight_writers_at_once_make_one_chain(address: str) -> None:
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


@pytest.mark.parametrize("column", ["number", "written", "kind", "person", "subject", "content", "previous", "digest"])
@pytest.mark.parametrize("number", [1, 6, 12])
def test_a_change_anywhere_is_seen(file_log: tuple[Log, Path], column: str, number: int) -> None:
    log, path = file_log
    rng = np.random.default_rng(number)
    with contextlib.closing(sqlite3.connect(path)) as database:
        (value,) = database.execute(f"SELECT {column} FROM entries WHERE number = ?", (number,)).fetchone()
        if column == "number":
            changed: object = value + 100
        else:
            place = int(rng.integers(len(value)))
            changed = value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]
        database.execute(f"UPDATE entries SET {column} = ? WHERE number = ?", (changed, number))
        database.commit()
    with pytest.raises(LogError, match=r"entry \d+ of the log"):
        log.verify()


def test_a_flipped_bit_in_the_file_changes_no_answer_unseen(file_log: tuple[Log, Path], tmp_path: Path) -> None:
    log, path = file_log
    kept, head = [entry.to_json() for entry in log.entries()], log.head()
    log.close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    rng, seen = np.random.default_rng(3), 0
    for number in range(90):
        # A third of them on the first page, which says what the rest is.
        place = int(rng.integers((4096 if number % 3 == 0 else len(whole)) * 8))
        broken = bytearray(whole)
        broken[place // 8] ^= 1 << place % 8
        copy = tmp_path / f"flip{number}.sqlite"
        copy.write_bytes(broken)
        try:
            with contextlib.closing(Log.beside(copy)) as flipped:
                flipped.verify(head)
                assert [entry.to_json() for entry in flipped.entries()] == kept
        except (LogError, WorkspaceError):
            seen += 1
    assert seen > 10


def test_a_tail_that_was_cut_off_or_replaced_is_seen(file_log: tuple[Log, Path]) -> None:
    log, path = file_log
    head = log.head()
    assert log.verify(head) == 12
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("DELETE FROM entries WHERE number > 9")
        database.commit()
    assert log.verify() == 9
    with pytest.raises(LogError, match="cut off"):
        log.verify(head)
    filled(log, 3)
    with pytest.raises(LogError, match="cut off or replaced"):
        log.verify(head)


def test_an_entry_that_is_missing_is_named(file_log: tuple[Log, Path]) -> None:
    log, path = file_log
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("DELETE FROM entries WHERE number = 5")
        database.commit()
    with pytest.raises(LogError, match="entry 5 of the log is missing"):
        log.verify()


def test_a_database_that_cannot_be_opened_is_named_without_its_address() -> None:
    with pytest.raises(WorkspaceError, match="cannot be opened") as caught:
        Log("sqlite:////nowhere/secret/log.sqlite")
    assert "secret" not in str(caught.value)


def killed(tmp_path: Path, points: int) -> dict[str, int]:
    """Let a process append in a loop and kill it, again and again; gives what was promised and what was lost."""
    ran = subprocess.run(
        [sys.executable, str(KILLER), str(tmp_path), str(points)], check=True, capture_output=True, text=True
    )
    found: dict[str, int] = json.loads(ran.stdout)
    return found


def test_no_committed_answer_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    found = killed(tmp_path, 40)
    assert found["points"] == 40
    assert found["promised"] > 40
    assert found["lost"] == 0


@pytest.mark.slow
def test_no_committed_answer_is_lost_at_a_thousand_kill_points(tmp_path: Path) -> None:
    found = killed(tmp_path, 1000)
    assert found["points"] == 1000
    assert found["promised"] > 1000
    assert found["lost"] == 0

"""The command that audits printed tables: files in, exit codes out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spinefx.cli import main
from spinefx.commands.audit import audit, read_claims
from spinefx.errors import TableError

ROWS = "claim\tkind\tprinted\tcounts\tnote\nmarrow\tshare\t41%\t48/140\tTable 1\nright\tshare\t34%\t48/140\tn/a\n"


def test_json_and_tsv_are_equivalent(tmp_path: Path) -> None:
    table, listed = tmp_path / "claims.tsv", tmp_path / "claims.json"
    table.write_text(ROWS, encoding="utf-8")
    cells = [
        dict(zip(ROWS.split("\n", 1)[0].split("\t"), line.split("\t"), strict=True)) for line in ROWS.split("\n")[1:-1]
    ]
    cells[1]["note"] = ""
    listed.write_text(json.dumps({"title": "mine", "claims": cells}), encoding="utf-8")
    assert read_claims(table) == read_claims(listed)
    found = audit(table)
    assert found.fallen == 1
    assert [row[3] for row in found.table.rows] == ["inconsistent", "confirmed"]


def test_exit_codes_report_an_impossible_claim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, code in ((ROWS, 1), ("\n".join(ROWS.split("\n")[::2]), 0)):
        (tmp_path / "claims.tsv").write_text(text, encoding="utf-8")
        with pytest.raises(SystemExit) as end:
            main(["audit", str(tmp_path / "claims.tsv")])
        assert int(end.value.code or 0) == code
        shown = capsys.readouterr()
        assert "34.3% (48/140)" in shown.out
        assert ("1 of 2 claims" in shown.err) == (code == 1)


def test_the_worked_example_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert audit(Path("yeh2022")).fallen == 12
    (tmp_path / "yeh2022").write_text(ROWS, encoding="utf-8")
    assert audit(Path("yeh2022")).fallen == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "{"),
        ("a.json", "[]"),
        ("a.json", "[" * 100_000),
        ("a.json", '{"claims": {}}'),
        ("a.tsv", "claim\tkind\n"),
        ("a.tsv", "claim\tkind\tprinted\tcounts\n"),
        ("a.tsv", ROWS.replace("share", "shares")),
        ("a.tsv", ""),
    ],
)
def test_broken_files_are_refused_by_name(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(TableError):
        audit(tmp_path / name)
    with pytest.raises(TableError):
        audit(tmp_path / "absent.json")


def test_counts_of_a_million_are_refused_or_audited_quickly(tmp_path: Path) -> None:
    path = tmp_path / "claims.tsv"
    for kind, printed, counts in (
        ("share", "50%", "?/1000000"),
        ("groups", "p = 0.04", "500000/1000000 500500/1000000"),
        ("share", "50%", "1/1000001"),
    ):
        path.write_text(f"claim\tkind\tprinted\tcounts\nX\t{kind}\t{printed}\t{counts}\n", encoding="utf-8")
        if counts.endswith("1"):
            with pytest.raises(TableError, match="X: "):
                audit(path)
        else:
            assert len(audit(path).table.rows) == 1
    path.write_text(
        "claim\tkind\tprinted\tcounts\nX\tpaired\tp = 0.04\t333333/1000000 333343/1000000\n", encoding="utf-8"
    )
    with pytest.raises(TableError, match="X: 333333 errors that may be shared"):
        audit(path)


def test_json_holds_the_verdicts_and_a_bad_line_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "claims.tsv"
    for extra, code, unread in (("", 1, 0), ("odd\tshares\t34%\t48/140\tn/a\n", 1, 1)):
        path.write_text(ROWS + extra, encoding="utf-8")
        with pytest.raises(SystemExit) as end:
            main(["audit", str(path), "--json"])
        assert int(end.value.code or 0) == code
        found = json.loads(capsys.readouterr().out)
        assert [one["verdict"] for one in found["claims"]] == ["inconsistent", "confirmed", "unreadable"][: 2 + unread]
        assert (found["untenable"], found["unread"]) == (1, unread)
    assert "kind" in found["claims"][2]["remark"]
    assert "one-sided" in found["tests"]

"""The phantom command: every dial of the file takes effect, flags override it, and errors take one line."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from spinefx.cli import main
from spinefx.phantom.settings import PhantomSettings

DIALS = """
patients = 9
seed = 8
malignant = 0.5
motion = 0.5
noise = 2
matrix = 64
force = ["dark_patch", "ap_protrusion"]
forbid = ["skip_lesions"]
no_collapse = { benign = 0.1, malignant = 0.2 }
cement = { benign = 0.5, malignant = 0 }
irradiation = { benign = 0.1, malignant = 0.3 }
healed = { benign = 0, malignant = 1 }
age_years = { benign = 70, malignant = 60 }
field_t = 3
vendor = "philips"
without = ["ghosts", "coil"]
contrast = "random"
"""


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["phantom", *arguments])
    return int(end.value.code or 0)


def test_every_dial_of_the_file_takes_effect_and_flags_override_it(tmp_path: Path) -> None:
    (tmp_path / "dials.toml").write_text(DIALS, encoding="utf-8")
    flags = ["--patients", "20", "--seed", "3", "--difficulty", "0.2", "--only", "phantom-003", "--workers", "1"]
    assert run(str(tmp_path / "c"), "--dials", str(tmp_path / "dials.toml"), *flags) == 0
    record = json.loads((tmp_path / "c" / "truth.json").read_text(encoding="utf-8"))
    plain = {"patients": 20, "seed": 3, "difficulty": 0.2, "malignant": 10, "motion": 0.5, "noise": 2.0, "matrix": 64}
    names = {"force": ["dark_patch", "ap_protrusion"], "forbid": ["skip_lesions"], "without": ["ghosts", "coil"]}
    scanner = {"field_t": 3.0, "vendor": "philips", "contrast": "random"}
    by_class = {
        "no_collapse": {"benign": 0.1, "malignant": 0.2},
        "cement": {"benign": 0.5, "malignant": 0.0},
        "irradiation": {"benign": 0.1, "malignant": 0.3},
        "healed": {"benign": 0.0, "malignant": 1.0},
        "age_years": {"benign": 70.0, "malignant": 60.0},
    }
    expected = plain | names | scanner | by_class
    assert record["settings"] == expected
    assert [case["truth"]["name"] for case in record["cases"]] == ["phantom-003"]
    assert record["cases"][0]["truth"]["signs"]["dark_patch"]


def test_the_printed_dials_are_a_complete_file_of_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--print-dials") == 0
    text = capsys.readouterr().out
    assert PhantomSettings.from_mapping(tomllib.loads(text)) == PhantomSettings()
    uncommented = tomllib.loads(re.sub(r"^# (?=\w+ = )", "", text, flags=re.M))
    assert list(uncommented) == list(PhantomSettings.dials())
    assert all(dial.meaning.split()[0] in text for dial in PhantomSettings.dials().values())


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        (
            'force = ["anterior_wedge", "entire_body_compression"]',
            "anterior_wedge and entire_body_compression.*exclude",
        ),
        ("field_t = 7", "field_t = 7.*Expected: 1.5, 3.0"),
        ("malignant = 12.5", "malignant.*12.5.*Expected: 0 to 1"),
        ('without = ["stripes"]', "stripes.*Expected: chemical_shift"),
        ("nois = 2", "unknown key 'nois'; did you mean 'noise'"),
        ('noise = "loud"', "noise = 'loud'.*Expected: a number, 0 to 20"),
        ("patients = true", "patients = True.*a whole number"),
        ("cement = 0.5", r"cement is not a pair.*\{ benign = \.\.\., malignant = \.\.\. \}"),
        ("cement = { benign = 0.5, malignant = 2 }", r"cement \(malignant\) = 2.*Expected: 0 to 1"),
        ("noise =", "dials.toml: broken TOML"),
    ],
)
def test_bad_dials_are_refused_in_one_line(
    dials: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dials.toml").write_text(dials, encoding="utf-8")
    assert run(str(tmp_path / "c"), "--dials", str(tmp_path / "dials.toml")) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(message, error)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "phantom-999"], "phantom-001 to phantom-190"),
        (["--dials", "nowhere.toml"], "nowhere.toml: cannot be read.*--print-dials"),
    ],
)
def test_bad_flags_are_refused_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(tmp_path / "c"), *arguments) == 1
    assert re.search(message, capsys.readouterr().err)


def test_a_missing_folder_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 1
    assert "spinefx phantom FOLDER" in capsys.readouterr().err

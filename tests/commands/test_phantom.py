"""The phantom verb: every dial arrives, and what cannot be had is refused in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from spinefx.cli import main

DIALS = """--patients 20 --seed 3 --difficulty 0.2 --malignant 0.5 --motion 0.5 --noise 2 --matrix 64 --only phantom-003
    --force dark_patch ap_protrusion --forbid skip_lesions --no-collapse 0.1 0.2 --cement 0.5 0 --irradiation 0.1 0.3
    --healed 0 1 --age 70 60 --field 3 --vendor philips --without ghosts coil --contrast random --workers 1"""


def test_every_dial_arrives(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        main(["phantom", str(tmp_path / "c"), *DIALS.split()])
    assert not end.value.code
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
    assert record["settings"] == plain | names | scanner | by_class
    assert [case["truth"]["name"] for case in record["cases"]] == ["phantom-003"]
    assert record["cases"][0]["truth"]["signs"]["dark_patch"]


@pytest.mark.parametrize(
    ("dials", "said"),
    [
        ("--force anterior_wedge entire_body_compression", "anterior_wedge and entire_body_compression.*exclude"),
        ("--field 7", "field_t = 7.0.*Expected: 1.5, 3.0"),
        ("--malignant 12.5", "malignant = 12.5.*Expected: 0 to 1"),
        ("--without stripes", "stripes.*Expected: chemical_shift"),
        ("--only phantom-999", "phantom-001 to phantom-190"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(
    dials: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["phantom", str(tmp_path / "c"), *dials.split()])
    assert end.value.code == 1
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1
    assert re.search(said, message)
    assert not (tmp_path / "c").exists()


def test_the_docs_name_every_dial() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "phantom.md").read_text(encoding="utf-8")
    assert all(f"`{flag}" in page for flag in re.findall(r"--[a-z-]+", DIALS) if flag != "--workers")

"""The shell: exit codes, one line a fault, nothing half-written, nothing told that must not be."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from spinefx import files
from spinefx.cli import main
from spinefx.workspace.layout import Workspace


class Shell:
    """Runs the program in this process."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self.capture = capture

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = self.capture.readouterr()
        return int(end.value.code or 0), out, err


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_help_is_fast() -> None:
    command = [sys.executable, "-m", "spinefx", "--help"]
    answer = subprocess.run(command, capture_output=True, check=True, text=True)
    assert all(verb in answer.stdout for verb in ("demo", "phantom", "ingest", "check", "patch", "train", "predict"))


def test_wrong_usage_is_exit_2(shell: Shell) -> None:
    for arguments in (("nonsense",), ("ingest",), ("train", "w", "--unknown-flag", "1")):
        assert shell(*arguments)[0] == 2


def newer_schema(study: Path) -> tuple[object, ...]:
    (study / "workspace.json").write_text('{"schema": 99}')
    return ("check", study)


def lesion_outside_the_stack(study: Path) -> tuple[object, ...]:
    table = study / "annotations" / "lesions.tsv"
    header, first, *rest = table.read_text().splitlines()
    cells = first.split("\t")
    cells[7:9] = ["90", "91"]
    table.write_text("\n".join([header, "\t".join(cells), *rest]) + "\n")
    return ("check", study)


def duplicate_participant(study: Path) -> tuple[object, ...]:
    table = study / "participants.tsv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, lines[1]]) + "\n")
    return ("patch", study)


def unknown_recipe_key(study: Path) -> tuple[object, ...]:
    recipe = study.parent / "mine.toml"
    recipe.write_text("learning_rat = 0.1\n")
    return ("train", study, "--recipe", recipe)


def unknown_recipe(study: Path) -> tuple[object, ...]:
    return ("train", study, "--recipe", "hones")


def empty_folder(study: Path) -> tuple[object, ...]:
    (study.parent / "empty").mkdir()
    return ("patch", study.parent / "empty")


def text_file_as_study(study: Path) -> tuple[object, ...]:
    (study.parent / "notes.txt").write_text("Doe, John")
    return ("predict", study, study.parent / "notes.txt", "--box", "0,0,0,30", "--slices", "3")


def missing_patches(study: Path) -> tuple[object, ...]:
    shutil.rmtree(study / "derivatives")
    return ("train", study, "--recipe", "quick")


def altered_voxels(study: Path) -> tuple[object, ...]:
    first, second = (Workspace(study).image(name, "T2w") for name in ("sub-001", "sub-002"))
    shutil.copy(first, second)
    return ("check", study)


def altered_patches(study: Path) -> tuple[object, ...]:
    path = study / "derivatives" / "patches" / "sub-001" / "sub-001_patch.npz"
    path.write_bytes(path.read_bytes()[:-20])
    return ("train", study, "--recipe", "quick")


def no_experiment(study: Path) -> tuple[object, ...]:
    return ("report", study, "absent")


def unknown_sequence(study: Path) -> tuple[object, ...]:
    return ("ingest", study / "new", study, "--table", study / "none.csv", "--sequences", "T1w,T2w,DWI")


def series_of_no_name(study: Path) -> tuple[object, ...]:
    return ("predict", study, study / "sub-001" / "anat", "--series", "T1w")


FAULTS: dict[Callable[[Path], tuple[object, ...]], str] = {
    unknown_sequence: "unknown sequence 'DWI'. Expected: T1w, T2w, STIR",
    series_of_no_name: "--series T1w. Expected: T1w=UID, T2w=UID, STIR=UID",
    newer_schema: "schema 99, which is newer than this program",
    lesion_outside_the_stack: "lesion slice 91 lies outside the T2W stack",
    duplicate_participant: "participant_id as in row 2",
    unknown_recipe_key: "unknown key 'learning_rat'; did you mean 'learning_rate'",
    unknown_recipe: "did you mean 'honest'",
    empty_folder: "not a workspace",
    text_file_as_study: "neither DICOM nor NIfTI|no model",
    missing_patches: "no current patches",
    altered_voxels: "the voxels have changed since they were ingested",
    altered_patches: "the patches have been altered",
    no_experiment: "there is no experiment 'absent'",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_bad_input_is_reported_in_one_clear_line(
    shell: Shell, study: Path, fault: Callable[[Path], tuple[object, ...]]
) -> None:
    arguments = fault(study)
    before = tree(study)
    code, out, err = shell(*arguments)
    assert code == 1
    assert any(part in out + err for part in FAULTS[fault].split("|")), out + err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in out + err
    assert "Doe" not in out + err
    assert tree(study) == before


def test_a_full_disk_is_reported_and_leaves_nothing(shell: Shell, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(study / "derivatives")
    before = tree(study)

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_flush", full)
    code, _, err = shell("patch", study, "--workers", "1")
    assert code == 1
    assert "No space left on device" in err
    assert tree(study) == before


def test_an_interrupted_write_leaves_the_previous_file(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    files.write_text(path, "old\n")
    with contextlib.suppress(KeyboardInterrupt), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old\n"
    assert [one.name for one in tmp_path.iterdir()] == ["table.tsv"]


def test_check_patch_and_report_on_a_good_workspace(shell: Shell, trained: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(trained, study)
    assert shell("check", study)[:2] == (0, "study: no problems found\n")
    code, out, _ = shell("patch", study)
    assert code == 0
    assert "0 cases cut, 9 already current" in out
    code, out, _ = shell("report", study)
    assert code == 0
    assert "Phantom: synthetic images" in out
    assert "always benign" in out
    assert (study / "experiments" / "quick" / "report" / "report.html").is_file()


def test_progress_is_quiet_where_there_is_no_terminal(shell: Shell, tmp_path: Path) -> None:
    code, out, err = shell("phantom", tmp_path / "c", "--patients", "1", "--workers", "1")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 1
    assert json.loads((tmp_path / "c" / "truth.json").read_text())["cases"]

"""Export the answers of a reader study for iMRMC, MRMCaov, RJafroc and people, tied to the log they come from."""

from __future__ import annotations

import hmac
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spinefx.cases.reading import Reading, SignScores
from spinefx.errors import FileError, LogError, WorkspaceError
from spinefx.files import digest_of, write_text
from spinefx.reader_study.design import DesignKind
from spinefx.reader_study.log import Log
from spinefx.reader_study.session import CaseState, Phase, case_states
from spinefx.reader_study.study import RegisteredStudy
from spinefx.tables.writing import write_tsv
from spinefx.vocabulary import SIGN_IDENTIFIERS, SIGNS, Arm, Diagnosis
from spinefx.workspace.layout import read_json, write_json

__all__ = [
    "MANIFEST",
    "check_export",
    "check_files",
    "check_signature",
    "read_key",
    "readings_of",
    "signs_of",
    "states_of",
    "write_export",
]

EXPORTED = "study.exported"
MANIFEST = "study.json"
# Its signatures lie beside it: ours, and any that a user adds.
SIGNATURE, SIGNED_BY = f"{MANIFEST}.hmac", "hmac-sha256:"
SHORTEST_KEY = 32
# Perturbed readings are not among them: each reader has them for other cases.
MODALITIES = {Arm.UNAIDED: 1, Arm.AIDED: 2}
# Columns of readings.tsv, and what each holds.
READING_MEANINGS: dict[str, dict[str, Any]] = {
    "reader_id": {"Description": "Code of the reader"},
    "session": {"Description": "Session, from 1"},
    "place": {"Description": "Position in the reader's order, from 1"},
    "case_id": {"Description": "Case"},
    "practice": {"Description": "Practice case, excluded from the results", "Levels": {"yes": "yes", "no": "no"}},
    "arm": {
        "Description": "Arm of the reading",
        "Levels": {
            "unaided": "without the model",
            "aided": "with it",
            "perturbed": "with the model's answer flipped on purpose; no part of the benefit",
        },
    },
    "phase": {"Description": "Answer", "Levels": {"first": "before the model is shown", "revised": "after it"}},
    "diagnosis": {"Description": "The reader's answer"},
    "confidence": {"Description": "Confidence that the fracture is malignant", "Units": "percent"},
    "comment": {"Description": "Comment of the reader"},
    "active_s": {"Description": "Time with the page in use, by the server's monotonic clock", "Units": "s"},
    "idle_s": {"Description": "Time with the page open but untouched or silent", "Units": "s"},
    "hidden_s": {"Description": "Time with another tab or window in front", "Units": "s"},
    "paused_s": {"Description": "Time paused on purpose", "Units": "s"},
    "interruptions": {"Description": "Restarts of the server; the time across a restart is not counted"},
    "sealed": {"Description": "Date and time at which the answer was sealed, by the server's clock, UTC"},
    "entry": {"Description": "Number of the log entry"},
    "digest": {"Description": "SHA-256 of the answer"},
    "model_probability": {"Description": "Probability of malignancy that was shown, 0 to 1"},
    "model_diagnosis": {"Description": "Diagnosis of the model, as shown"},
    "model_perturbed": {"Description": "Whether the model's answer was flipped", "Levels": {"yes": "", "no": ""}},
    "early_requests": {"Description": "Number of requests for the model's answer before the reader's own was sealed"},
}
SIGN_MEANINGS: dict[str, dict[str, Any]] = {
    **{name: READING_MEANINGS[name] for name in ("reader_id", "session", "case_id")},
    **{
        sign.identifier: {
            "Description": f"{sign.label}: {sign.definition}",
            "Levels": {"y": "yes", "n": "no", "u": "not assessable"},
        }
        for sign in SIGNS
    },
}


def states_of(log: Log, study: RegisteredStudy) -> list[tuple[str, CaseState]]:
    """Read the state of every case of every reader.

    Parameters
    ----------
    log : Log
    study : RegisteredStudy

    Returns
    -------
    list of (str, CaseState)
        Ordered by reader, session and position.
    """
    found = []
    for reader in study.design.readers:
        entries = log.entries(subject=study.subject(reader))
        for session in range(1, study.design.sessions + 1):
            found += [(reader, one) for one in case_states(entries, study.tasks(reader, session)).values()]
    return found


def readings_of(study: RegisteredStudy, states: Iterable[tuple[str, CaseState]]) -> tuple[Reading, ...]:
    """Return the readings that count, one per case, reader and arm.

    Parameters
    ----------
    study : RegisteredStudy
    states : iterable of (str, CaseState)
        As returned by :func:`states_of`.

    Returns
    -------
    tuple of Reading
        A second read yields two: the sealed first answer is the unaided reading, the revised answer the aided one. In a
        crossover the first answer of the aided session repeats the unaided reading and is left out. A revised answer
        to a flipped answer of the model belongs to the perturbed arm. Seconds count the time with the page in use;
        those of an aided or perturbed reading include both phases.
    """
    readings = []
    is_crossover = study.design.design is DesignKind.CROSSOVER
    for reader, state in states:
        if state.task.is_practice or state.first is None:
            continue
        case, first, revised = state.task.case_id, state.first, state.revised
        if state.task.arm is Arm.UNAIDED or not is_crossover:
            readings.append(_reading(case, reader, Arm.UNAIDED, first.answer, first.times.active_ms))
        if revised is not None:
            spent = first.times.active_ms + revised.times.active_ms
            readings.append(_reading(case, reader, _arm_of_revision(state), revised.answer, spent))
    return tuple(readings)


def signs_of(states: Iterable[tuple[str, CaseState]]) -> tuple[SignScores, ...]:
    """Return the sign scores, one set per case and reader: those of the unaided reading where there are two.

    Parameters
    ----------
    states : iterable of (str, CaseState)

    Returns
    -------
    tuple of SignScores
    """
    kept: dict[tuple[str, str], SignScores] = {}
    for reader, state in states:
        if state.task.is_practice or state.first is None or state.first.answer.signs is None:
            continue
        case = state.task.case_id
        if (reader, case) not in kept or state.task.arm is Arm.UNAIDED:
            kept[reader, case] = SignScores(case, reader, state.first.answer.signs)
    return tuple(kept.values())


def write_export(
    folder: Path, log: Log, study: RegisteredStudy, truth: Mapping[str, Diagnosis], *, by: str, key: bytes | None = None
) -> tuple[tuple[Reading, ...], tuple[SignScores, ...]]:
    """Write all files of a reader study, list their digests with the head of the log, and record the export in the log.

    Parameters
    ----------
    folder : Path
        New or empty.
    log : Log
    study : RegisteredStudy
    truth : mapping of str to Diagnosis
        By case.
    by : str
        Code of the user who exports.
    key : bytes, optional
        Key that signs the manifest and, through its digests, all files.

    Returns
    -------
    tuple of (tuple of Reading, tuple of SignScores)
        The readings and sign scores that count, as written.

    Raises
    ------
    LogError
        When the log has been altered.
    WorkspaceError
        When the folder is not empty.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise WorkspaceError("the folder is not empty", where=folder.name, allowed="a new or empty folder")
    head = log.head()
    log.verify(head)
    states = states_of(log, study)
    readings, signs = readings_of(study, states), signs_of(states)
    known = {case: truth[case] for case in study.cases if case in truth}
    _write_imrmc(folder / "imrmc.csv", readings, known)
    _write_mrmcaov(folder / "mrmcaov.tsv", readings, known)
    _write_rjafroc(folder, readings, known)
    write_tsv(folder / "readings.tsv", tuple(READING_MEANINGS), _long_rows(states))
    write_json(folder / "readings.json", READING_MEANINGS)
    rows = [
        (reader, state.task.session, state.task.case_id, *(state.first.answer.signs[name] for name in SIGN_IDENTIFIERS))
        for reader, state in states
        if state.first is not None and state.first.answer.signs is not None
    ]
    write_tsv(folder / "signs.tsv", tuple(SIGN_MEANINGS), rows)
    write_json(folder / "signs.json", SIGN_MEANINGS)
    files = {path.name: digest_of(path.read_bytes()) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    manifest = {
        "study": study.design.to_mapping(),
        "generations": [list(cases) for cases in study.generations],
        "model": None if study.model is None else asdict(study.model),
        "exported": {"by": by, "written": datetime.now(UTC).isoformat(timespec="milliseconds")},
        "log": {"entries": head[0], "digest": head[1]},
        "files": files,
    }
    write_json(folder / MANIFEST, manifest)
    if key is not None:
        write_text(folder / SIGNATURE, f"{_signature(folder, key)}\n")
    log.append(EXPORTED, by, study.name, {"manifest": digest_of((folder / MANIFEST).read_bytes())})
    return readings, signs


def read_key(path: Path) -> bytes:
    """Read the key that signs exports; anyone who holds it can sign.

    Parameters
    ----------
    path : Path
        A file of random text that only its owner may read.

    Returns
    -------
    bytes
        Without surrounding white space.

    Raises
    ------
    FileError
        When the file is missing, too short, or readable by other users.
    """
    remedy = "Create one with (umask 077; openssl rand -hex 32 > FILE), and keep it off the study's server."
    try:
        mode, key = path.stat().st_mode, path.read_bytes().strip()
    except OSError as error:
        raise FileError(f"the key cannot be read ({error.strerror})", where=path.name, remedy=remedy) from error
    if os.name == "posix" and mode & 0o077:
        raise FileError(
            "other users can read the key", where=path.name, allowed="mode 600", remedy="Run chmod 600 on the file."
        )
    if len(key) < SHORTEST_KEY:
        raise FileError(
            f"the key has {len(key)} bytes", where=path.name, allowed=f"{SHORTEST_KEY} bytes or more", remedy=remedy
        )
    return key


def check_signature(folder: Path, key: bytes) -> None:
    """Check the signature of a manifest.

    Parameters
    ----------
    folder : Path
    key : bytes

    Raises
    ------
    LogError
        When it was not signed, was signed with another key, or has changed since.
    """
    path = folder / SIGNATURE
    if not path.is_file():
        raise LogError(f"{SIGNATURE} is missing", remedy="Export the reader study again with --key.")
    # Compared as bytes: the file may hold anything.
    if not hmac.compare_digest(path.read_bytes().strip(), _signature(folder, key).encode()):
        raise LogError(f"{MANIFEST} has changed since it was signed, or was signed with another key")


def check_files(folder: Path) -> dict[str, Any]:
    """Check the files of an export against its manifest.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict
        The manifest. Whether the manifest itself is unchanged, only its signature or the log can show.

    Raises
    ------
    LogError
        When a file is missing, has changed, or is not part of the export.
    WorkspaceError
        When the manifest cannot be read.
    """
    manifest = read_json(folder / MANIFEST)
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise LogError(f"{MANIFEST} lists no files", where=folder.name, remedy="Export the reader study again.")
    for name, digest in files.items():
        path = folder / Path(name).name
        if not path.is_file():
            raise LogError(f"{path.name} is missing", remedy="Export the reader study again.")
        if digest_of(path.read_bytes()) != digest:
            raise LogError(f"{path.name} has changed since it was exported", remedy="Export the reader study again.")
    for path in sorted(folder.iterdir()):
        if path.name not in files and not path.name.startswith(MANIFEST):
            raise LogError(f"{path.name} is not part of the export", remedy="Move it elsewhere.")
    return manifest


def check_export(folder: Path, log: Log) -> int:
    """Check an export against the log it came from, and the log itself.

    Parameters
    ----------
    folder : Path
    log : Log

    Returns
    -------
    int
        Number of log entries checked.

    Raises
    ------
    LogError
        When anything disagrees, naming it.
    """
    exported = {entry.content["manifest"] for entry in log.entries(kind=EXPORTED)}
    if digest_of(_manifest_bytes(folder)) not in exported:
        raise LogError(f"{MANIFEST} was not exported from this log", remedy="Export the reader study again.")
    manifest = check_files(folder)
    return log.verify((int(manifest["log"]["entries"]), str(manifest["log"]["digest"])))


def _manifest_bytes(folder: Path) -> bytes:
    try:
        return (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise LogError(f"{MANIFEST} cannot be read ({error.strerror})", where=folder.name) from error


def _signature(folder: Path, key: bytes) -> str:
    return SIGNED_BY + hmac.digest(key, _manifest_bytes(folder), "sha256").hex()


def _reading(case: str, reader: str, arm: Arm, answer: Any, spent_ms: int) -> Reading:
    return Reading(case, reader, arm, answer.diagnosis, float(answer.confidence), spent_ms / 1000)


def _arm_of_revision(state: CaseState) -> Arm:
    return Arm.PERTURBED if (state.shown or {}).get("perturbed") else Arm.AIDED


def _score(reading: Reading) -> int:
    return round(reading.confidence or 0)


def _write_imrmc(path: Path, readings: Iterable[Reading], truth: Mapping[str, Diagnosis]) -> None:
    """Write iMRMC's input: one row per score, and one per case for reader and modality "truth", 1 for malignant."""
    lines = ["readerID,caseID,modalityID,score"]
    lines += [f"truth,{case},truth,{int(value is Diagnosis.MALIGNANT)}" for case, value in truth.items()]
    lines += [f"{one.reader_id},{one.case_id},{one.arm},{_score(one)}" for one in readings if one.case_id in truth]
    write_text(path, "\n".join(lines) + "\n")


def _write_mrmcaov(path: Path, readings: Iterable[Reading], truth: Mapping[str, Diagnosis]) -> None:
    rows = [
        (one.reader_id, one.arm, one.case_id, int(truth[one.case_id] is Diagnosis.MALIGNANT), _score(one))
        for one in readings
        if one.case_id in truth
    ]
    write_tsv(path, ("reader", "treatment", "case", "truth", "rating"), rows)


def _write_rjafroc(folder: Path, readings: Iterable[Reading], truth: Mapping[str, Diagnosis]) -> None:
    """Write RJafroc's three sheets, whose cases are numbers: a malignant case has one lesion, a benign one none.

    The truth sheet states that every reader read a case in every modality, so only such cases are listed.
    """
    kept = [one for one in readings if one.case_id in truth and one.arm in MODALITIES]
    arms = [arm for arm in MODALITIES if any(one.arm == arm for one in kept)]
    readers = tuple(dict.fromkeys(one.reader_id for one in kept))
    counts = Counter(one.case_id for one in kept)
    truth = {case: value for case, value in truth.items() if kept and counts[case] == len(readers) * len(arms)}
    kept = [one for one in kept if one.case_id in truth]
    numbers = {case: number for number, case in enumerate(truth, 1)}
    read_by, read_in = ", ".join(readers), ", ".join(str(MODALITIES[arm]) for arm in arms)
    sheets: dict[str, list[tuple[object, ...]]] = {"truth": [], "tp": [], "fp": []}
    for case, value in truth.items():
        lesion = int(value is Diagnosis.MALIGNANT)
        paradigm = ("ROC", "FCTRL")[len(sheets["truth"])] if len(sheets["truth"]) < 2 else None
        sheets["truth"].append((numbers[case], lesion, lesion, read_by, read_in, paradigm))
    for one in kept:
        row = (one.reader_id, MODALITIES[one.arm], numbers[one.case_id])
        if truth[one.case_id] is Diagnosis.MALIGNANT:
            sheets["tp"].append((*row, 1, _score(one)))
        else:
            sheets["fp"].append((*row, _score(one)))
    key = ("ReaderID", "ModalityID", "CaseID")
    truth_columns = ("CaseID", "LesionID", "Weight", "ReaderID", "ModalityID", "Paradigm")
    write_tsv(folder / "rjafroc_truth.tsv", truth_columns, sheets["truth"])
    write_tsv(folder / "rjafroc_tp.tsv", (*key, "LesionID", "TP_Rating"), sheets["tp"])
    write_tsv(folder / "rjafroc_fp.tsv", (*key, "FP_Rating"), sheets["fp"])
    write_tsv(
        folder / "rjafroc_cases.tsv", ("CaseID", "study_case"), [(number, case) for case, number in numbers.items()]
    )


def _long_rows(states: Iterable[tuple[str, CaseState]]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for reader, state in states:
        task, shown = state.task, state.shown or {}
        for phase in Phase:
            sealed = state.sealed(phase)
            if sealed is None:
                continue
            answer, times = sealed.answer, sealed.times
            spent = (times.active_ms, times.idle_ms, times.hidden_ms, times.paused_ms)
            arm = _arm_of_revision(state) if phase is Phase.REVISED else task.arm
            where = (reader, task.session, task.place, task.case_id, _yes(task.is_practice), arm, phase)
            said = (answer.diagnosis, answer.confidence, answer.comment, *(one / 1000 for one in spent))
            proof = (times.interruptions, sealed.written, sealed.number, answer.digest)
            model: tuple[object, ...] = (None, None, None)
            if phase is Phase.REVISED:
                model = (shown["probability"], shown["diagnosis"], _yes(shown["perturbed"]))
            rows.append((*where, *said, *proof, *model, state.refusals))
    return rows


def _yes(value: bool) -> str:
    return "yes" if value else "no"

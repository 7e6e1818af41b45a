"""A cohort of synthetic patients on disk: DICOM as a scanner would send it, and the truth beside it."""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from spinefx import files
from spinefx.errors import InterruptedWrite, RecipeError, SpinefxError, WorkspaceError
from spinefx.imaging.dicom_export import SeriesHeader, StudyHeader, write_series
from spinefx.imaging.volume import Volume
from spinefx.parallel import map_items
from spinefx.phantom.case import PhantomCase, RenderedCase, render_case, truth_of
from spinefx.phantom.draws import CaseDraw, PhantomSettings, Stream, draw_case
from spinefx.phantom.labels import write_labels
from spinefx.phantom.readers import READERS, read_case
from spinefx.phantom.scanner import Protocol
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, TruthSource

__all__ = ["CaseDraw", "PhantomCase", "PhantomSettings", "RenderedCase", "draw_case", "render_case", "write_cohort"]

_VERSION = 1
_FOLDERS = {"localizer": "S001_LOC", "t2w": "S002_SAG_T2", "t1w": "S003_SAG_T1", "stir": "S004_SAG_STIR"}


def write_cohort(
    folder: Path,
    settings: PhantomSettings,
    *,
    workers: int = 1,
    labels: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a cohort: one folder a patient, ``cases.csv``, ``signs.csv``, ``readings.csv`` and ``truth.json``.

    Parameters
    ----------
    folder : Path
        New or empty, or holding a cohort of the same settings that was cut off: finished patients are kept.
    settings : PhantomSettings
    workers : int
        Processes; the bytes written do not depend on it.
    labels : bool
        Whether to write a label map of each new patient, as :func:`spinefx.phantom.labels.write_labels` does.
    progress : callable, optional
        Called with the number of patients done and their total.

    Raises
    ------
    WorkspaceError
        Where the folder holds something else.
    RecipeError
        For a number of workers below one.
    InterruptedWrite
        When something could not be written; run again to go on.

    Notes
    -----
    ``cases.csv`` gives each box in pixels of its T2W image, its edges as the smallest rectangle round the vertebral
    body, whole numbers at pixel centres.
    """
    if workers < 1:
        raise RecipeError(f"{workers} workers", where="phantom", allowed="1 or more")
    _claim(folder, settings)
    numbers = range(1, settings.patients + 1)
    missing = [number for number in numbers if not (folder / draw_case(settings, number).patient_id).is_dir()]
    done = settings.patients - len(missing)

    def tell(more: int, _: int) -> None:
        if progress:
            progress(done + more, settings.patients)

    tell(0, 0)
    for outcome in map_items(partial(_write_case, folder, settings, labels), missing, workers=workers, progress=tell):
        if isinstance(outcome, SpinefxError):
            raise outcome
    draws = [draw_case(settings, number) for number in numbers]
    truths = [truth_of(draw) for draw in draws]
    files.write_text(folder / "cases.csv", _cases_table(truths))
    files.write_text(folder / "signs.csv", _signs_table(truths))
    files.write_text(folder / "readings.csv", _readings_table(draws, truths))
    files.write_text(folder / "truth.json", _truth_json(settings, draws, truths))


def _claim(folder: Path, settings: PhantomSettings) -> None:
    """Write down whose folder this is, or find that it is the same cohort's."""
    card = folder / "phantom.json"
    text = files.canonical_json({"phantom": _VERSION, "settings": asdict(settings)}) + "\n"
    if card.is_file():
        if card.read_text(encoding="utf-8") != text:
            raise WorkspaceError(
                "a phantom cohort of other settings",
                where=folder.name,
                remedy="Choose a new folder or the old settings.",
            )
        for leftover in folder.glob(".part-*"):  # of a run that was cut off
            shutil.rmtree(leftover, ignore_errors=True)
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise WorkspaceError("a folder that holds something else", where=folder.name, allowed="a new or empty folder")
    files.write_text(card, text)


def _write_case(folder: Path, settings: PhantomSettings, labels: bool, number: int) -> None:
    draw = draw_case(settings, number)
    final = folder / draw.patient_id
    temporary = folder / f".part-{secrets.token_hex(4)}-{draw.patient_id}"
    try:
        _write_images(temporary, draw, render_case(draw))
        if labels:
            write_labels(folder, draw)
        os.replace(temporary, final)
    except OSError as error:
        raise InterruptedWrite(
            f"could not be written ({error.strerror or type(error).__name__})",
            where=draw.name,
            remedy="Free space or check permissions, then run the same command again; finished patients are kept.",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_images(folder: Path, draw: CaseDraw, case: RenderedCase) -> None:
    study = _study_header(draw)
    for number, (name, subfolder) in enumerate(_FOLDERS.items(), start=1):
        protocol: Protocol = getattr(draw, name)
        header = _series_header(protocol, number)
        volumes: tuple[Volume, ...] = case.localizer if name == "localizer" else (getattr(case, name),)
        first = 1
        for part, volume in enumerate(volumes):
            order = list(range(volume.shape[0]))
            uids = [draw.uid(name, part + index) for index in order]
            write_series(
                folder / subfolder,
                volume,
                study,
                header,
                series_uid=draw.uid("series", name),
                sop_uids=uids,
                file_order=order[::-1] if protocol.reverse else order,
                first_instance=first,
            )
            first += volume.shape[0]


def _study_header(draw: CaseDraw) -> StudyHeader:
    birth_year = int(draw.study_date[:4]) - draw.age
    return StudyHeader(
        patient_id=draw.patient_id,
        patient_name=f"PHANTOM^{draw.number:03d}",
        sex=draw.sex,
        age_years=draw.age,
        birth_date=f"{birth_year}0101",
        study_date=draw.study_date,
        study_uid=draw.uid("study"),
        frame_of_reference_uid=draw.uid("frame"),
        study_description="SPINE MR (SYNTHETIC)",
        institution="SPINEFX PHANTOM",
        manufacturer="SPINEFX",
        model="DIGITAL PHANTOM",
        station="PHANTOM",
        field_strength_t=1.5,
        comment="Synthetic image of a digital phantom. No patient.",
    )


def _series_header(protocol: Protocol, number: int) -> SeriesHeader:
    sequence = protocol.sequence
    kinds = {
        "se": (("SE",), ("NONE",)),
        "fse": (("SE",), ("SK",)),
        "stir": (("SE", "IR"), ("SK",)),
        "gre": (("GR",), ("SS", "SP")),
    }
    scanning, variant = kinds[sequence.kind]
    return SeriesHeader(
        series_number=number,
        description=protocol.description,
        protocol_name=protocol.description,
        repetition_time_ms=round(sequence.repetition_ms, 1),
        echo_time_ms=round(sequence.echo_ms, 2),
        inversion_time_ms=sequence.inversion_ms if sequence.kind == "stir" else None,
        flip_angle_deg=sequence.flip_deg,
        slice_thickness_mm=protocol.thickness_mm,
        scanning_sequence=scanning,
        sequence_variant=variant,
        scan_options=("SAT_GEMS",) if protocol.saturation < 1 else (),
        image_type=("ORIGINAL", "PRIMARY", "OTHER"),
        echo_train_length=sequence.train_length,
        phase_encoding="ROW" if protocol.frequency_axis == "SI" else "COL",
        pixel_bandwidth_hz=round(protocol.bandwidth_hz, 2),
        acquisition_matrix=protocol.samples,
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def _cases_table(truths: Sequence[PhantomCase]) -> str:
    header = (
        "patient,diagnosis,truth_source,age,sex,level,box_sop_uid,box_left,box_top,box_right,box_bottom,lesion_sop_uids"
    )
    rows = [
        (
            item.patient_id,
            item.diagnosis.value,
            TruthSource.PHANTOM.value,
            item.age,
            item.sex,
            item.level,
            item.t2w_sop_uids[item.box_slice],
            *(f"{value:.2f}" for value in item.box_pixels),
            " ".join(item.t2w_sop_uids[index] for index in item.lesion_slices),
        )
        for item in truths
    ]
    return _table(header.split(","), rows)


def _signs_table(truths: Sequence[PhantomCase]) -> str:
    rows = [
        (item.patient_id, "phantom_truth", *(int(item.signs[sign]) for sign in SIGN_IDENTIFIERS)) for item in truths
    ]
    return _table(("patient", "reader_id", *SIGN_IDENTIFIERS), rows)


def _readings_table(draws: Sequence[CaseDraw], truths: Sequence[PhantomCase]) -> str:
    rows = []
    for draw, item in zip(draws, truths, strict=True):
        rng = draw.settings.generator(draw.number, Stream.READINGS)
        for reader in READERS:
            answer, confidence, seconds = read_case(reader, item.diagnosis, item.signs, rng)
            rows.append(
                (item.patient_id, reader.reader_id, Arm.UNAIDED.value, answer.value, confidence, f"{seconds:.1f}")
            )
    return _table(("patient", "reader_id", "arm", "diagnosis", "confidence", "seconds"), rows)


def _truth_json(settings: PhantomSettings, draws: Sequence[CaseDraw], truths: Sequence[PhantomCase]) -> str:
    cases = []
    for draw, item in zip(draws, truths, strict=True):
        drawn = asdict(draw)
        del drawn["settings"]
        cases.append({"truth": asdict(item), "drawn": drawn})
    record = {"phantom": _VERSION, "settings": asdict(settings), "cases": cases}
    return json.dumps(_plain(record), indent=1, sort_keys=True) + "\n"


def _plain(value: Any) -> Any:
    """Arrays to lists, for JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return value

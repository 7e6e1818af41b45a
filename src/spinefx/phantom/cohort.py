"""A cohort of synthetic patients on disk: DICOM as a scanner exports it, with the truth beside it."""

from __future__ import annotations

import contextlib
import csv
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from spinefx import files
from spinefx.errors import InterruptedWrite, RecipeError, SpinefxError, WorkspaceError
from spinefx.imaging.dicom_export import SeriesHeader, StudyHeader, write_series
from spinefx.imaging.volume import Volume
from spinefx.phantom.case import PhantomCase, RenderedCase, render_case, truth_of
from spinefx.phantom.labels import LABEL_SERIES, label_path, write_labels
from spinefx.phantom.random_streams import CaseDraw, draw_case
from spinefx.phantom.scanner import Protocol
from spinefx.phantom.settings import PhantomSettings, case_name, case_number, patient_id
from spinefx.phantom.sign_labels import sign_mask_path, write_sign_masks
from spinefx.phantom.simulated_readers import SimulatedReading, readings_of
from spinefx.phantom.vendors import VENDORS
from spinefx.processes.pool import map_items
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, TruthSource

__all__ = ["CaseDraw", "PhantomCase", "PhantomSettings", "RenderedCase", "draw_case", "render_case", "write_cohort"]

_VERSION = 2
_CASE_COLUMNS = (
    *("patient", "diagnosis", "truth_source", "age", "sex", "level"),
    *("box_sop_uid", "box_left", "box_top", "box_right", "box_bottom", "lesion_sop_uids"),
)
_READING_COLUMNS = ("patient", "reader_id", "arm", "diagnosis", "confidence", "seconds")
_FOLDERS = {"localizer": "S001_LOC", "t2w": "S002_SAG_T2", "t1w": "S003_SAG_T1", "stir": "S004_SAG_STIR"}

_SIGNS = "signs"  # among the label maps to write: the sign masks

_Row = tuple[object, ...]


def write_cohort(
    folder: Path,
    settings: PhantomSettings,
    *,
    only: Collection[str] = (),
    readers: bool = True,
    workers: int = 1,
    labels: bool | Collection[str] = False,
    sign_labels: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write one folder per patient, ``cases.csv``, ``signs.csv``, ``readings.csv`` and ``truth.json``.

    Parameters
    ----------
    folder : Path
        New, empty, or holding an unfinished cohort of the same settings, whose finished patients are kept.
    settings : PhantomSettings
    only : collection of str, optional
        Names of the cases to write, such as ``phantom-017``, byte for byte as in the whole cohort; all by default.
    readers : bool
        Whether the simulated readers read: ``readings.csv``, and their scores beside the true ones in ``signs.csv``.
    workers : int
        Number of processes; the bytes written do not depend on it.
    labels : bool or collection of str
        Whether to write label maps, as :func:`spinefx.phantom.labels.write_labels` does: True for the T2W grid, or the
        series whose grids are wanted (``t2w``, ``t1w``, ``stir``).
    sign_labels : bool
        Whether to write where each sign lies, as :func:`spinefx.phantom.sign_labels.write_sign_masks` does.
    progress : callable, optional
        Called with the number of finished patients and their total.

    Raises
    ------
    WorkspaceError
        When the folder holds something else.
    RecipeError
        For a number of workers below one, or a case outside the cohort.
    InterruptedWrite
        When a file cannot be written. Run the command again to continue.

    Notes
    -----
    ``cases.csv`` holds each box in pixels of its T2W image: the edges of the smallest rectangle around the vertebral
    body, with whole numbers at pixel centres. ``truth.json`` holds one case per line: the truth, and all that was
    drawn. Both list the patients that the folder holds. Memory does not grow with the number of patients.
    """
    if workers < 1:
        raise RecipeError(f"workers = {workers}", where="phantom", allowed="1 or more")
    numbers: Sequence[int] = sorted({case_number(name) for name in only}) or range(1, settings.patients + 1)
    if not 1 <= numbers[0] <= numbers[-1] <= settings.patients:
        raise RecipeError(
            "a case is not in this cohort", where="phantom", allowed=f"{case_name(1)} to {case_name(settings.patients)}"
        )
    wanted = ("t2w",) if labels is True else tuple(labels or ())
    for series in wanted:
        if series not in LABEL_SERIES:
            raise RecipeError(f"labels for {series!r}", where="phantom", allowed=", ".join(LABEL_SERIES))
    _claim_folder(folder, settings)
    if sign_labels:
        wanted = (*wanted, _SIGNS)
    missing = [number for number in numbers if not _is_written(folder, patient_id(number), wanted)]
    done = len(numbers) - len(missing)

    def report(more: int, _: int) -> None:
        if progress:
            progress(done + more, len(numbers))

    report(0, 0)
    for outcome in map_items(partial(_write_case, folder, settings, wanted), missing, workers=workers, progress=report):
        if isinstance(outcome, SpinefxError):
            raise outcome
    _write_tables(folder, settings, readers=readers)


def _write_tables(folder: Path, settings: PhantomSettings, *, readers: bool) -> None:
    """Recompute the truth of every finished patient, one at a time, and write the tables."""
    with contextlib.ExitStack() as stack:

        def opened(name: str) -> TextIO:
            path = stack.enter_context(files.replacing(folder / name))
            return stack.enter_context(path.open("w", encoding="utf-8", newline=""))

        def table(name: str, columns: Sequence[str]) -> Callable[[Iterable[_Row]], object]:
            writer = csv.writer(opened(name), lineterminator="\n")
            writer.writerow(columns)
            return writer.writerows

        add_cases = table("cases.csv", _CASE_COLUMNS)
        add_signs = table("signs.csv", ("patient", "reader_id", *SIGN_IDENTIFIERS))
        add_readings = table("readings.csv", _READING_COLUMNS) if readers else None
        add_weights = table("weights.csv", ("patient", "sampling_weight")) if settings.oversample else None
        truths = opened("truth.json")
        truths.write('{"cases": [')
        comma = ""
        for number in range(1, settings.patients + 1):
            if not (folder / patient_id(number)).is_dir():
                continue
            draw = draw_case(settings, number)
            truth, readings = truth_of(draw), readings_of(draw) if readers else {}
            add_cases([_case_row(draw, truth)])
            add_signs(_sign_rows(truth, readings))
            if add_weights:
                add_weights([(truth.patient_id, f"{draw.sampling_weight:.6g}")])
            if add_readings:
                add_readings(_reading_rows(truth, readings))
            truths.write(f"{comma}\n{_truth_line(draw, truth)}")
            comma = ","
        truths.write(f'\n], "phantom": {_VERSION}, "settings": {files.canonical_json(settings.to_mapping())}}}\n')
    if not readers:
        (folder / "readings.csv").unlink(missing_ok=True)  # left by an earlier run with readers


def _claim_folder(folder: Path, settings: PhantomSettings) -> None:
    """Record the settings in a new folder, or check that a known one has the same."""
    card = folder / "phantom.json"
    text = files.canonical_json({"phantom": _VERSION, "settings": settings.to_mapping()}) + "\n"
    if card.is_file():
        if card.read_text(encoding="utf-8") != text:
            raise WorkspaceError(
                "holds a phantom cohort of other settings",
                where=folder.name,
                remedy="Choose a new folder, or the settings in its phantom.json.",
            )
        for leftover in folder.glob(".part-*"):  # left by an interrupted run
            shutil.rmtree(leftover, ignore_errors=True)
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise WorkspaceError("holds other files", where=folder.name, allowed="a new or empty folder")
    files.write_text(card, text)


def _is_written(folder: Path, patient: str, labels: tuple[str, ...]) -> bool:
    paths = (
        sign_mask_path(folder, patient) if name == _SIGNS else label_path(folder, patient, name) for name in labels
    )
    return (folder / patient).is_dir() and all(path.is_file() for path in paths)


def _write_case(folder: Path, settings: PhantomSettings, labels: tuple[str, ...], number: int) -> None:
    draw = draw_case(settings, number)
    final = folder / draw.patient_id
    temporary = folder / f".part-{secrets.token_hex(4)}-{draw.patient_id}"
    try:
        for name in labels:
            if name == _SIGNS:
                write_sign_masks(folder, draw)
            else:
                write_labels(folder, draw, name)
        if not final.is_dir():
            _write_images(temporary, draw, render_case(draw))
            os.replace(temporary, final)
    except OSError as error:
        raise InterruptedWrite(
            f"cannot be written ({error.strerror or type(error).__name__})",
            where=draw.name,
            remedy="Free space or check permissions, then run the command again; finished patients are kept.",
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
    vendor = VENDORS[draw.vendor]
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
        manufacturer=vendor.manufacturer,
        model=vendor.model,
        station="PHANTOM",
        software=f"spinefx phantom {_VERSION}",
        field_strength_t=draw.t2w.sequence.field_t,
        is_phantom=True,
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
        scan_options=("SP",) if protocol.saturation < 1 else (),
        image_type=("ORIGINAL", "PRIMARY", "OTHER"),
        echo_train_length=sequence.train_length,
        phase_encoding="ROW" if protocol.frequency_axis == "SI" else "COL",
        pixel_bandwidth_hz=round(protocol.bandwidth_hz, 2),
        acquisition_matrix=protocol.samples,
        series_time=f"09{5 * number:02d}00",
    )


def _case_row(draw: CaseDraw, truth: PhantomCase) -> _Row:
    in_view = truth.box_in_view(draw.t2w.matrix)
    box = (
        truth.t2w_sop_uids[truth.box_slice],
        *(f"{value:.2f}" for value in truth.box_pixels),
        " ".join(truth.t2w_sop_uids[index] for index in truth.lesion_slices),
    )
    return (
        truth.patient_id,
        truth.diagnosis.value,
        TruthSource.PHANTOM.value,
        truth.age,
        truth.sex,
        truth.level,
        *(box if in_view else ("",) * len(box)),
    )


def _sign_rows(truth: PhantomCase, readings: Mapping[str, SimulatedReading]) -> Iterator[_Row]:
    yield (truth.patient_id, "phantom_truth", *(int(truth.signs[sign]) for sign in SIGN_IDENTIFIERS))
    for reader_id, reading in readings.items():
        yield (truth.patient_id, reader_id, *(reading.scores[sign].value for sign in SIGN_IDENTIFIERS))


def _reading_rows(truth: PhantomCase, readings: Mapping[str, SimulatedReading]) -> Iterator[_Row]:
    for reader_id, reading in readings.items():
        answer = (Arm.UNAIDED.value, reading.diagnosis.value, reading.confidence, f"{reading.seconds:.1f}")
        yield (truth.patient_id, reader_id, *answer)


def _truth_line(draw: CaseDraw, truth: PhantomCase) -> str:
    drawn = asdict(draw)
    del drawn["settings"]
    if draw.variation is None:  # absent from cohorts without these dials, as in earlier versions
        del drawn["variation"]
    if draw.field_centre == "lesion":
        del drawn["field_centre"]
    if not draw.settings.oversample:
        del drawn["sampling_weight"]
    return files.canonical_json(_plain({"truth": asdict(truth), "drawn": drawn}))


def _plain(value: Any) -> Any:
    """Convert arrays and NumPy scalars to plain values for JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return value

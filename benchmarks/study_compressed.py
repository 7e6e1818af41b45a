"""One study in every usual transfer syntax: CPU time with all slices decoded, and with only those that patches need.

Run as ``python benchmarks/study_compressed.py [patients]``; needs the extra ``train``. One thread, interleaved, in CPU
seconds of one process. The exports of phantom patients are encoded anew by GDCM. From headers to patches: scoring is
the same for all. Whether all encodings give the same bits is checked on the way.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import gdcm
import numpy as np
from numpy.typing import NDArray

from record import record
from registration import SETTINGS
from spinefx.cases.alignment import AlignedSeries
from spinefx.cases.cutting import cut_patches
from spinefx.cases.lesion import Box, Lesion
from spinefx.imaging.registration import align
from spinefx.imaging.selection import choose_series
from spinefx.imaging.study import open_study
from spinefx.imaging.volume import Slices
from spinefx.phantom.case import PhantomCase, truth_of
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.random_streams import draw_case
from spinefx.phantom.settings import case_name
from spinefx.vocabulary import Weighting

SYNTAXES = {
    "uncompressed": "",
    "RLE": "RLELossless",
    "JPEG lossless": "JPEGLosslessProcess14_1",
    "JPEG-LS": "JPEGLSLossless",
    "JPEG 2000": "JPEG2000Lossless",
}


def encode(source: Path, target: Path, syntax: str) -> None:
    """Write a patient's export in another transfer syntax."""
    for path in source.rglob("*.dcm"):
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        change.Change()
        written = target / path.relative_to(source)
        written.parent.mkdir(parents=True, exist_ok=True)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(written))
        if not writer.Write():
            raise OSError(f"GDCM could not encode {path.name} as {syntax}")


def lesion_of(t2w: Slices, truth: PhantomCase) -> Lesion:
    """Return the box on the slice of its centre and one slice on either side."""
    middle = round(float(t2w.to_index(truth.box_centre_mm)[0]))
    left, posterior, superior = (float(value) for value in truth.box_centre_mm)
    return Lesion(Box((left, posterior, superior), truth.box_side_mm), middle - 1, middle + 1)


def patches(folder: Path, truth: PhantomCase, *, lean: bool) -> NDArray[np.float32]:
    """Cut the patches of a study, reading and comparing all slices, or only those that the patches need."""
    found = choose_series(open_study(folder))
    voxels = found.slices() if lean else found.load()
    t1w, t2w = voxels[Weighting.T1W], voxels[Weighting.T2W]
    lesion = lesion_of(t2w, truth)
    beside = (lesion.first_slice, lesion.last_slice) if lean else None
    alignment = align(t2w, t1w, centre_mm=truth.box_centre_mm, side_mm=truth.box_side_mm, lesion_slices=beside)
    series = (AlignedSeries(Weighting.T1W, t1w, alignment), AlignedSeries(Weighting.T2W, t2w))
    stack = cut_patches(lesion, series, case_id="case", participant_id="case")
    return np.stack([stack.cut(position).array for position in range(len(lesion.slices))])


def timed(folder: Path, truth: PhantomCase, *, lean: bool) -> tuple[float, NDArray[np.float32]]:
    """Return the CPU seconds and the patches."""
    began = time.process_time()
    made = patches(folder, truth, lean=lean)
    return time.process_time() - began, made


def main(patients: int) -> None:
    """Run every study in every transfer syntax, and record the table."""
    seconds: dict[tuple[str, bool], list[float]] = {}
    bytes_of: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_cohort(folder / "cohort", SETTINGS, only=[case_name(number) for number in range(1, patients + 1)])
        draws = [draw_case(SETTINGS, number) for number in range(1, patients + 1)]
        for number, draw in enumerate(draws):
            truth, source = truth_of(draw), folder / "cohort" / draw.patient_id
            made: dict[bool, NDArray[np.float32]] = {}
            for name, syntax in SYNTAXES.items():
                study = folder / name / draw.patient_id if syntax else source
                if syntax:
                    encode(source, study, syntax)
                bytes_of.setdefault(name, []).append(sum(path.stat().st_size for path in study.rglob("*.dcm")))
                for lean in (False, True):
                    if number == 0:  # the first call of a library costs extra
                        patches(study, truth, lean=lean)
                    spent, found = timed(study, truth, lean=lean)
                    seconds.setdefault((name, lean), []).append(spent)
                    if not np.array_equal(found, made.setdefault(lean, found)):
                        raise AssertionError(f"{draw.name}: {name} gives other patches than {next(iter(SYNTAXES))}")
            print(draw.name, {key: round(spent[-1], 3) for key, spent in seconds.items()}, flush=True)
    report({key: float(np.median(spent)) for key, spent in seconds.items()}, bytes_of, patients)


def report(median_s: dict[tuple[str, bool], float], bytes_of: dict[str, list[int]], patients: int) -> None:
    """Record the table and the goals."""
    table = []
    for name in SYNTAXES:
        whole, lean = median_s[name, False], median_s[name, True]
        size = float(np.median(bytes_of[name]) / np.median(bytes_of["uncompressed"]))
        table.append([name, f"{size:.2f}", f"{whole * 1000:.0f} ms", f"{lean * 1000:.0f} ms", f"{whole / lean:.1f}x"])
    record(
        "study_compressed",
        f"One study from headers to patches in five encodings, {patients} phantom patients",
        ("encoding", "size", "all slices", "slices that the patches touch", "ratio"),
        table,
        "CPU milliseconds, one thread, medians, interleaved: headers of all series, pixels of two of 13 to 15 "
        "slices of 512 x 512, registration, patches; a lesion of three slices. All encodings gave the same patches bit "
        "for bit.",
        [
            {
                "goal": "G10",
                "wanted": wanted,
                "measured": round(median_s[name, True], 3),
                "unit": f"core-s a study before scoring, {name}",
            }
            for name, wanted in (("RLE", "<= 0.25"), ("JPEG-LS", "<= 0.35"), ("JPEG 2000", "<= 1.1"))
        ],
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)

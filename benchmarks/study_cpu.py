"""One study from two DICOM series and a box to three probabilities: CPU time beside a user's own script.

Run as ``python benchmarks/study_cpu.py [patients]``; needs the extras ``simpleitk`` and ``train``. One thread,
interleaved, in CPU seconds of one process, everything imported and every model loaded beforehand.

The plain path is written from SimpleITK's own examples: its series reader, rigid registration by Mattes' mutual
information, T1W resampled onto T2W, the box cut out of three slices, ``scipy.ndimage.zoom`` to 64 x 64, eager torch. It
is told which two folders hold the series; ours is given the whole study and finds them. The tuned path differs in its
registration alone. All three score with one random network.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from scipy import ndimage

from record import record
from registration import SETTINGS
from registration_peers import register_plain, register_tuned
from spinefx.cases.alignment import AlignedSeries
from spinefx.cases.cutting import cut_patches
from spinefx.cases.lesion import Box, Lesion
from spinefx.imaging.registration import Alignment, align
from spinefx.imaging.selection import choose_series
from spinefx.imaging.study import open_study
from spinefx.imaging.volume import Slices
from spinefx.learning.classifier import Classifier
from spinefx.learning.model import TrainedModel
from spinefx.learning.network import FractureNetwork
from spinefx.learning.onnx_export import export_graph
from spinefx.learning.pretrained import Initialisation
from spinefx.learning.recipe import Recipe
from spinefx.learning.scoring import load_models
from spinefx.phantom.case import PhantomCase, truth_of
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.random_streams import draw_case
from spinefx.phantom.settings import case_name
from spinefx.vocabulary import Weighting

STAGES = ("read", "register", "cut", "score")
SIZE = 64
torch.set_num_threads(1)
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
Register = Callable[[sitk.Image, sitk.Image], sitk.Transform]


@dataclass
class Run:
    """Cost and result of one path for one study."""

    seconds: dict[str, float] = field(default_factory=dict)
    patches: NDArray[np.float32] | None = None
    probabilities: tuple[float, ...] = ()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count a stage's CPU time."""
        began = time.process_time()
        yield
        self.seconds[name] = time.process_time() - began


def by_ours(folder: Path, truth: PhantomCase, model: TrainedModel) -> Run:
    """Run the path of ``spinefx predict``."""
    run = Run()
    with run.stage("read"):
        slices = choose_series(open_study(folder)).slices()
        t1w, t2w = slices[Weighting.T1W], slices[Weighting.T2W]
    lesion = lesion_of(t2w, truth)
    with run.stage("register"):  # slices are read on demand
        alignment = align(
            t2w,
            t1w,
            centre_mm=truth.box_centre_mm,
            side_mm=truth.box_side_mm,
            lesion_slices=(lesion.first_slice, lesion.last_slice),
        )
    with run.stage("cut"):
        settings = model.card.settings
        series = (AlignedSeries(Weighting.T1W, t1w, alignment), AlignedSeries(Weighting.T2W, t2w))
        stack = cut_patches(lesion, series, case_id="case", participant_id="case", settings=settings)
    with run.stage("score"):  # each slice is sampled here
        predictions = model.predict(stack)
    run.patches = np.stack([stack.cut(position).array for position in range(3)])
    run.probabilities = tuple(one.probability for one in predictions)
    return run


def true_patches(folder: Path, truth: PhantomCase) -> NDArray[np.float32]:
    """Return our patches under an exact registration of fat, which is what registration can see."""
    volumes = choose_series(open_study(folder)).load()
    t1w, t2w = volumes[Weighting.T1W], volumes[Weighting.T2W]
    before, after = np.eye(4), np.eye(4)
    before[:3, 3], after[:3, 3] = -truth.fat_shift_mm["t2w"], truth.fat_shift_mm["t1w"]
    exact = Alignment(after @ truth.t2w_to_t1w @ before, "rigid", 0.0, 0.0, 0.0, 0.0, True, "the truth")
    series = (AlignedSeries(Weighting.T1W, t1w, exact), AlignedSeries(Weighting.T2W, t2w))
    stack = cut_patches(lesion_of(t2w, truth), series, case_id="case", participant_id="case")
    return np.stack([stack.cut(position).array for position in range(3)])


def lesion_of(t2w: Slices, truth: PhantomCase) -> Lesion:
    """Return the box on the slice of its centre and one slice on either side."""
    middle = round(float(t2w.to_index(truth.box_centre_mm)[0]))
    left, posterior, superior = (float(value) for value in truth.box_centre_mm)
    return Lesion(Box((left, posterior, superior), truth.box_side_mm), middle - 1, middle + 1)


def read_series(folder: Path) -> sitk.Image:
    """Read a series as SimpleITK's example DicomSeriesReader does."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    reader.SetOutputPixelType(sitk.sitkFloat32)
    return reader.Execute()


def by_simpleitk(register: Register, folder: Path, truth: PhantomCase, network: torch.nn.Module) -> Run:
    """Run the path that a user would write."""
    run = Run()
    with run.stage("read"):
        (t1w_folder,), (t2w_folder,) = folder.glob("*_SAG_T1"), folder.glob("*_SAG_T2")
        t1w, t2w = read_series(t1w_folder), read_series(t2w_folder)
    with run.stage("register"):
        transform = register(t2w, t1w)
    with run.stage("cut"):
        onto = sitk.Resample(t1w, t2w, transform, sitk.sitkLinear, 0.0)
        volumes = [sitk.GetArrayViewFromImage(image) for image in (onto, t2w)]
        column, row, middle = t2w.TransformPhysicalPointToContinuousIndex(truth.box_centre_mm.tolist())
        # Slices run to the patient's right, as the network's channels do; GDCM may order them the other way.
        step = 1 if t2w.GetDirection()[2] < 0 else -1
        half = truth.box_side_mm / t2w.GetSpacing()[0] / 2
        rows, columns = (slice(round(at - half + 0.5), round(at + half + 0.5)) for at in (row, column))
        patches = np.empty((3, 6, SIZE, SIZE), np.float32)
        for position, centre in enumerate((-1, 0, 1)):
            for channel in range(6):
                index = round(middle) + step * (centre + channel % 3 - 1)
                cut = volumes[channel // 3][index, rows, columns]
                zoomed = ndimage.zoom(
                    cut, (SIZE / cut.shape[0], SIZE / cut.shape[1]), order=1, grid_mode=True, mode="nearest"
                )
                patches[position, channel] = (zoomed - zoomed.mean()) / zoomed.std()
    with run.stage("score"), torch.inference_mode():
        probabilities = torch.sigmoid(network(torch.from_numpy(patches))).tolist()
    run.patches, run.probabilities = patches, tuple(probabilities)
    return run


def random_model(folder: Path) -> tuple[TrainedModel, torch.nn.Module]:
    """Return one random network twice: loaded as `predict` loads it, and as plain torch."""
    torch.manual_seed(0)
    recipe = Recipe.preset("honest")
    network = FractureNetwork(recipe).eval()
    start = Initialisation("random initialisation, as the benchmark asks", "", (), ())
    Classifier.of(network, recipe, cohort_digest="sha256:none", fold=1, initialisation=start).save(folder)
    export_graph(folder)
    (model,) = load_models(folder, one_study=True)
    return model, network


def closeness(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the correlation of two studies' patches."""
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def main(patients: int) -> None:
    """Run every study on every path, and record the table."""
    runs: dict[str, list[Run]] = {}
    exact: list[NDArray[np.float32]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_cohort(folder / "cohort", SETTINGS, only=[case_name(number) for number in range(1, patients + 1)])
        model, network = random_model(folder / "model")
        paths: dict[str, Callable[[Path, PhantomCase], Run]] = {
            "ours": lambda study, truth: by_ours(study, truth, model),
            "plain": lambda study, truth: by_simpleitk(register_plain, study, truth, network),
            "tuned": lambda study, truth: by_simpleitk(register_tuned, study, truth, network),
        }
        draws = [draw_case(SETTINGS, number) for number in range(1, patients + 1)]
        for name in ("ours", "tuned"):  # the first call of a library costs extra
            paths[name](folder / "cohort" / draws[0].patient_id, truth_of(draws[0]))
        for draw in draws:
            truth = truth_of(draw)
            exact.append(true_patches(folder / "cohort" / draw.patient_id, truth))
            for name, path in paths.items():
                runs.setdefault(name, []).append(path(folder / "cohort" / draw.patient_id, truth))
            print(
                draw.name, {name: round(sum(found[-1].seconds.values()), 3) for name, found in runs.items()}, flush=True
            )
    report(runs, exact, " ".join(model.engine.values()))


def report(runs: dict[str, list[Run]], exact: list[NDArray[np.float32]], scorer: str) -> None:
    """Record the table and the goals."""
    whole = {name: float(np.median([sum(run.seconds.values()) for run in found])) for name, found in runs.items()}
    ours = [run.patches for run in runs["ours"]]

    def alike(found: list[Run], others: list[NDArray[np.float32]]) -> NDArray[np.float64]:
        return np.array([closeness(run.patches, other) for run, other in zip(found, others, strict=True)])

    table = []
    for name, found in runs.items():
        stages = [f"{np.median([run.seconds[stage] for run in found]) * 1000:.0f} ms" for stage in STAGES]
        likeness = [
            "" if others is ours and name == "ours" else f"{np.median(close):.3f} ({close.min():.3f})"
            for others in (ours, exact)
            for close in [alike(found, others)]
        ]
        ratio = f"{whole[name] / whole['ours']:.1f}x"
        table.append([name, *stages, f"{whole[name] * 1000:.0f} ms", ratio, *likeness])
    plain, tuned = (round(whole[name] / whole["ours"], 1) for name in ("plain", "tuned"))
    close = round(float(np.median(alike(runs["plain"], ours))), 3)
    record(
        "study_cpu",
        f"One study of two 512 x 512 series and a box to three probabilities, {len(exact)} phantom patients",
        ("path", *STAGES, "whole, median", "times ours", "patches like ours", "patches like exact ones"),
        table,
        "CPU milliseconds, one thread, medians, interleaved. Plain: SimpleITK's reader and registration (levels 4, 2, "
        "1, 10 %), SciPy's zoom, eager torch; tuned: the same, its registration averaged by 4 in plane. Our reading "
        "counts the headers of all series of the study, our registration the slices that it asks for; ours scores "
        f"through {scorer}. Likeness of patches: "
        "correlation, median (smallest); exact ones are cut as ours at the true motion and chemical shift.",
        [
            {"goal": "G1", "wanted": ">= 40", "measured": plain, "unit": "x CPU of the plain path"},
            {"goal": "G1", "wanted": ">= 6", "measured": tuned, "unit": "x CPU of the tuned path"},
            {"goal": "G1", "wanted": ">= 0.99", "measured": close, "unit": "correlation of patches, plain path"},
            {"goal": "G10", "wanted": "<= 0.25", "measured": round(whole["ours"], 3), "unit": "core-s a study, raw"},
        ],
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)

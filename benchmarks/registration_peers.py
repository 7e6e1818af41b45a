"""Our registration beside SimpleITK's: CPU time and error on phantom pairs of known motion and on a real pair.

Run as ``python benchmarks/registration_peers.py [patients] [lumbar_AK_t1_t2_tirm]``; needs the extra ``simpleitk``. The
folder of the real pair is optional: without it that part is left out. Everything runs on one thread, interleaved: one
pair after the other, all methods on each, in CPU seconds of one process.

SimpleITK is used twice: as its own example ImageRegistrationMethod4 has it, with the usual levels 4, 2, 1; and tuned
as well as we could: pixels averaged by 4 within slices beforehand (its levels would thin 15 slices to 3), one level.
Both start where the headers put the T1W series, as ours does.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from record import record
from registration import SETTINGS, corners_mm, true_places_mm
from spinefx.imaging.registration import align
from spinefx.imaging.volume import Volume
from spinefx.phantom.case import render_case
from spinefx.phantom.random_streams import draw_case

MOST_MOTION_MM, MOST_TURN_DEG = 8.0, 6.0
REAL_MOTIONS = 5
REAL_SIDE_MM = 40.0
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


@dataclass(frozen=True)
class Pair:
    """Two volumes, a box, and the true positions of its corners in the T1W volume."""

    t2w: Volume
    t1w: Volume
    centre_mm: NDArray[np.float64]
    side_mm: float
    corners_mm: NDArray[np.float64]
    wanted_mm: NDArray[np.float64]


def image_of(volume: Volume) -> sitk.Image:
    """Return a volume as SimpleITK reads it from DICOM."""
    image = sitk.GetImageFromArray(volume.array)
    image.SetOrigin(volume.affine[:3, 3].tolist())
    image.SetSpacing(volume.spacing_mm[::-1])
    image.SetDirection(volume.directions[:, ::-1].ravel().tolist())
    return image


def _method(share: float) -> sitk.ImageRegistrationMethod:
    """Return what both methods share: Mattes mutual information, and regular steps in millimetres."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(share, seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 200)
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _start(fixed: sitk.Image) -> sitk.Euler3DTransform:
    middle = [(extent - 1) / 2 for extent in fixed.GetSize()]
    return sitk.Euler3DTransform(fixed.TransformContinuousIndexToPhysicalPoint(middle))


def register_plain(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """Register whole volumes on three levels, with one voxel in ten."""
    method = _method(0.1)
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(_start(fixed), inPlace=False)
    return method.Execute(fixed, moving)


def register_tuned(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """Register on one level of pixels averaged by 4 within slices, with one voxel in five."""
    fixed, moving = (sitk.BinShrink(image, [4, 4, 1]) for image in (fixed, moving))
    method = _method(0.2)
    method.SetInitialTransform(_start(fixed), inPlace=False)
    return method.Execute(fixed, moving)


def by_simpleitk(register: Callable[[sitk.Image, sitk.Image], sitk.Transform], pair: Pair) -> Any:
    """Return the CPU seconds of a SimpleITK method without image conversion, and the positions that it maps."""
    fixed, moving = image_of(pair.t2w), image_of(pair.t1w)
    began = time.process_time()
    found = register(fixed, moving)
    seconds = time.process_time() - began
    return seconds, lambda places: np.array([found.TransformPoint(place.tolist()) for place in places])


def by_ours(pair: Pair) -> Any:
    """Return the CPU seconds of our method, and the positions that it maps."""
    began = time.process_time()
    found = align(pair.t2w, pair.t1w, centre_mm=pair.centre_mm, side_mm=pair.side_mm)
    return time.process_time() - began, found.apply


WAYS: Mapping[str, Callable[[Pair], Any]] = {
    "ours": by_ours,
    "SimpleITK, levels 4, 2, 1, 10 %": lambda pair: by_simpleitk(register_plain, pair),
    "SimpleITK, averaged by 4, 20 %": lambda pair: by_simpleitk(register_tuned, pair),
}


def phantom_pairs(patients: int) -> list[Pair]:
    """Return the first pairs with a motion of at most 8 mm and 6 degrees."""
    pairs: list[Pair] = []
    number = 0
    while len(pairs) < patients:
        number += 1
        draw = draw_case(SETTINGS, number)
        if np.linalg.norm(draw.motion_mm) > MOST_MOTION_MM or np.linalg.norm(draw.motion_deg) > MOST_TURN_DEG:
            continue
        case = render_case(draw)
        truth = case.truth
        corners = corners_mm(truth)
        wanted = true_places_mm(truth, corners)
        pairs.append(Pair(case.t2w, case.t1w, truth.box_centre_mm, truth.box_side_mm, corners, wanted))
    return pairs


def rms_mm(places: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """Return the root mean square distance."""
    return float(np.sqrt(np.square(places - wanted).sum(axis=-1).mean()))


def run_phantoms(patients: int) -> dict[str, NDArray[np.float64]]:
    """Return CPU seconds and rms error at the corners of the box by method, shape (pair, 2), ``headers`` included."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ("headers", *WAYS)}
    for pair in phantom_pairs(patients):
        found["headers"].append((0.0, rms_mm(pair.corners_mm, pair.wanted_mm)))
        for name, way in WAYS.items():
            seconds, place = way(pair)
            found[name].append((seconds, rms_mm(place(pair.corners_mm), pair.wanted_mm)))
        print("  ".join(f"{name} {rows[-1][0]:.2f} s {rows[-1][1]:.2f} mm" for name, rows in found.items()), flush=True)
    return {name: np.array(rows) for name, rows in found.items()}


def read_pngs(folder: Path, centres: bool = False) -> Any:
    """Read a series of the real pair, with slices assumed to run to the right; on request its clicked centres."""
    notes = json.loads((folder / "annotation.json").read_text(encoding="utf-8"))
    slices = [np.asarray(Image.open(path).convert("L"), np.float32) for path in sorted(folder.glob("slice_*.png"))]
    row_mm, column_mm = notes["in_plane_spacing_mm"]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = [-notes["slice_spacing_mm"], 0, 0], [0, 0, -row_mm], [0, column_mm, 0]
    volume = Volume(np.stack(slices), affine, "one sitting")
    if not centres:
        return volume
    clicked = {c["level"]: volume.to_mm([c["slice"], c["row"], c["column"]]) for c in notes["vertebra_centres"]}
    return volume, clicked


def run_real(folder: Path) -> dict[str, NDArray[np.float64]]:
    """Measure as on phantoms; the truth is each method's own result before the pair was displaced further.

    The T1W series is first laid onto the T2W series by our answer, so that 8 mm and 6 degrees are counted from there.
    """
    t2w, centres = read_pngs(folder / "t2_AKs5", centres=True)
    t1w = read_pngs(folder / "t1_AKs8")
    centre = centres["L3"]
    signs = np.array([[0, row, column] for row in (-0.5, 0.5) for column in (-0.5, 0.5)])
    corners = centre + REAL_SIDE_MM * signs @ t2w.directions.T
    laid = np.linalg.inv(align(t2w, t1w, centre_mm=centre, side_mm=REAL_SIDE_MM).matrix)
    still = Pair(t2w, replace(t1w, affine=laid @ t1w.affine), centre, REAL_SIDE_MM, corners, corners)
    answers = {name: way(still)[1](corners) for name, way in WAYS.items()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ("headers", *WAYS)}
    rng = np.random.default_rng(20)
    for _ in range(REAL_MOTIONS):
        motion = np.eye(4)
        axis, direction = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, 3)))
        turn = Rotation.from_rotvec(np.deg2rad(rng.uniform(1, MOST_TURN_DEG)) * axis).as_matrix()
        motion[:3, :3] = turn
        motion[:3, 3] = centre - turn @ centre + rng.uniform(1, MOST_MOTION_MM) * direction
        pair = replace(still, t1w=replace(still.t1w, affine=motion @ still.t1w.affine))

        def moved(places: NDArray[np.float64], motion: NDArray[np.float64] = motion) -> NDArray[np.float64]:
            return places @ motion[:3, :3].T + motion[:3, 3]

        found["headers"].append((0.0, rms_mm(corners, moved(corners))))
        for name, way in WAYS.items():
            seconds, place = way(pair)
            found[name].append((seconds, rms_mm(place(corners), moved(answers[name]))))
        print("  ".join(f"{name} {rows[-1][0]:.2f} s {rows[-1][1]:.2f} mm" for name, rows in found.items()), flush=True)
    return {name: np.array(rows) for name, rows in found.items()}


def table_of(found: Mapping[str, NDArray[np.float64]], where: str) -> list[list[str]]:
    """Return one row per method."""
    rows = []
    headers = found["headers"][:, 1]
    for name, values in found.items():
        seconds, errors = values.T
        loss = max(0.0, float(np.max(errors - headers)))
        ratio = np.median(seconds) / np.median(found["ours"][:, 0])
        rows.append(
            [
                where,
                name,
                f"{np.median(seconds):.3f} s" if name != "headers" else "",
                f"{ratio:.1f}x" if name != "headers" else "",
                f"{np.median(errors):.2f} mm",
                f"{np.sqrt(np.square(errors).mean()):.2f} mm",
                f"{errors.max():.2f} mm",
                f"{loss:.2f} mm" if name != "headers" else "",
            ]
        )
    return rows


def goals_of(found: Mapping[str, NDArray[np.float64]], where: str) -> list[dict[str, object]]:
    """Return goal G2 for each method that ours is compared with."""
    ours = found["ours"]
    goals: list[dict[str, object]] = []
    for name, wanted in zip(list(WAYS)[1:], (50, 7), strict=True):
        ratio = float(np.median(found[name][:, 0]) / np.median(ours[:, 0]))
        error = float(np.sqrt(np.square(ours[:, 1]).mean() / np.square(found[name][:, 1]).mean()))
        goals += [
            {"goal": "G2", "wanted": f">= {wanted}", "measured": round(ratio, 1), "unit": f"x CPU of {name}, {where}"},
            {"goal": "G2", "wanted": "<= 1.1", "measured": round(error, 2), "unit": f"x rms error of {name}, {where}"},
        ]
    loss = round(max(0.0, float(np.max(ours[:, 1] - found["headers"][:, 1]))), 2)
    return [*goals, {"goal": "G2", "wanted": "0", "measured": loss, "unit": f"mm worse than headers, {where}"}]


def main(patients: int, real: Path | None) -> None:
    """Register every pair by every method, and record the table."""
    phantoms = run_phantoms(patients)
    table, goals = table_of(phantoms, f"{patients} phantom pairs"), goals_of(phantoms, "phantom")
    if real is not None:
        found = run_real(real)
        table += table_of(found, f"real pair, moved {REAL_MOTIONS} times")
        goals += goals_of(found, "real pair")
    record(
        "registration_peers",
        "Registration beside SimpleITK, T1W onto T2W, 512 x 512, motion up to 8 mm and 6 degrees",
        (
            "where",
            "method",
            "CPU time, median",
            "times ours",
            "median error",
            "rms error",
            "largest",
            "worst to headers",
        ),
        table,
        f"SimpleITK {sitk.Version_VersionString()}, Euler transform, Mattes with 32 bins, regular steps, started at "
        "the headers; one thread, interleaved. Errors at the box's corners: on phantoms against the truth, the "
        "differential chemical shift counted; on the real pair, which has no truth, against each method's own answer "
        "before a known motion was added to the T1W series.",
        goals,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8, Path(sys.argv[2]) if len(sys.argv) > 2 else None)

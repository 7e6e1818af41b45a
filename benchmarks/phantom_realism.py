"""Real beside synthetic: intensities and textures of one real lumbar pair (AK) and of ten phantoms.

Run as ``python benchmarks/phantom_realism.py``; needs ``../shared/data``. AK is windowed to 8 bits, so only ratios
within a series are compared, and none that needs noise or absolute signal. Every quantity is a median over sound
vertebrae from T11 to L5 in the slice through their middle.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from record import record
from spinefx.imaging.volume import Volume
from spinefx.phantom.case import render_case
from spinefx.phantom.random_streams import PhantomSettings, draw_case

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "lumbar_AK_t1_t2_tirm"
SETTINGS = PhantomSettings(patients=190, seed=31, motion=0.0)
PHANTOMS = 10
LEVELS = ("T11", "T12", "L1", "L2", "L3", "L4", "L5")
STEP_MM = 0.7  # the pixel size of AK, below which neither has detail
Centres = dict[str, NDArray[np.float64]]
Measure = Callable[[Volume, Centres], float]


def real(name: str) -> tuple[Volume, Centres]:
    """Read one of AK's series with its clicked centres."""
    notes = json.loads((DATA / name / "annotation.json").read_text(encoding="utf-8"))
    slices = [np.asarray(Image.open(path).convert("L"), np.float32) for path in sorted((DATA / name).glob("*.png"))]
    row_mm, column_mm = notes["in_plane_spacing_mm"]
    affine = np.eye(4)
    affine[:3, :3] = np.array([[-notes["slice_spacing_mm"], 0, 0], [0, 0, column_mm], [0, -row_mm, 0]])
    volume = Volume(np.stack(slices), affine)
    places = {
        item["level"]: volume.to_mm([item["slice"], item["row"], item["column"]]) for item in notes["vertebra_centres"]
    }
    return volume, {level: places[level] for level in LEVELS if level in places}


def synthetic() -> list[tuple[tuple[Volume, Centres], tuple[Volume, Centres]]]:
    """Render T1W and T2W of phantoms with the lumbar spine in view, without their lesions."""
    found = []
    for number in range(1, SETTINGS.patients + 1):
        draw = draw_case(SETTINGS, number)
        if draw.level not in {"L1", "L2", "L3"}:
            continue
        case = render_case(draw)
        touched = {draw.level, *draw.healed, *(spot.level for spot in draw.spots)}
        centres = {
            level: place
            for level, place in case.truth.vertebrae_mm.items()
            if level in LEVELS and level not in touched and bool(case.t2w.contains(place).all())
        }
        if len(centres) >= 3:
            found.append(((case.t1w, centres), (case.t2w, centres)))
        if len(found) == PHANTOMS:
            break
    return found


def patch(volume: Volume, centre: NDArray[np.float64], down_mm: float, right_mm: float) -> NDArray[np.float64]:
    """Return a patch of square pixels around a point in its nearest slice, sampled by cubic splines."""
    index = volume.to_index(centre)
    image = volume.array[int(np.clip(np.rint(index[0]), 0, volume.shape[0] - 1))]
    down, right = (np.arange(-half, half + 1e-9, STEP_MM) for half in (down_mm / 2, right_mm / 2))
    rows, columns = index[1] + down / volume.spacing_mm[1], index[2] + right / volume.spacing_mm[2]
    # Cubic splines need a margin, not the whole image.
    top, left = max(int(rows[0]) - 12, 0), max(int(columns[0]) - 12, 0)
    part = image[top : int(rows[-1]) + 13, left : int(columns[-1]) + 13].astype(float)
    grid = np.meshgrid(rows - top, columns - left, indexing="ij")
    values: NDArray[np.float64] = ndimage.map_coordinates(part, grid, order=3, mode="nearest")
    return values


def marrow(volume: Volume, centres: Centres) -> float:
    """Return the median signal of the bodies."""
    return float(np.median([np.median(patch(volume, place, 11, 14)) for place in centres.values()]))


def disc(volume: Volume, centres: Centres) -> float:
    """Return the median signal of the discs between two visible bodies."""
    pairs = [(centres[a] + centres[b]) / 2 for a, b in pairwise(LEVELS) if a in centres and b in centres]
    return float(np.median([np.median(patch(volume, place, 2.8, 9)) for place in pairs]))


def behind(volume: Volume, centres: Centres, near_mm: float, far_mm: float, share: float) -> float:
    """Return a quantile of the signal at a distance behind the centres of the bodies."""
    offset = np.array([0.0, (near_mm + far_mm) / 2, 0.0])
    found = [np.quantile(patch(volume, place + offset, 4, far_mm - near_mm), share) for place in centres.values()]
    return float(np.median(found))


def unevenness(volume: Volume, centres: Centres) -> float:
    """Return the coefficient of variation of marrow after removal of linear trends."""
    return float(np.median([flat(patch(volume, place, 12, 15)).std() for place in centres.values()]))


def flat(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a patch divided by its mean, without its linear trend."""
    row, column = np.indices(values.shape)
    design = np.column_stack([np.ones(values.size), row.ravel(), column.ravel()])
    plane = design @ np.linalg.lstsq(design, values.ravel(), rcond=None)[0]
    result: NDArray[np.float64] = (values - plane.reshape(values.shape)) / values.mean()
    return result


def spectrum(volume: Volume, centres: Centres) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean power of marrow by frequency (cycles per millimetre), from windowed patches."""
    power, frequency = [], np.empty(0)
    for place in centres.values():
        values = flat(patch(volume, place, 12, 15))
        values = values * np.hanning(values.shape[0])[:, None] * np.hanning(values.shape[1])
        power.append(np.abs(np.fft.fft2(values)) ** 2)
        down, right = (np.fft.fftfreq(size, STEP_MM) for size in values.shape)
        frequency = np.hypot(down[:, None], right[None, :])
    return frequency, np.mean(power, axis=0)


def fine_share(volume: Volume, centres: Centres) -> float:
    """Return the share of marrow's power from 0.25 to 0.5 in that from 0.06 to 0.5 cycles per millimetre."""
    frequency, power = spectrum(volume, centres)
    fine = power[(frequency > 0.25) & (frequency < 0.5)].sum()
    return float(fine / power[(frequency > 0.06) & (frequency < 0.5)].sum())


def slope(volume: Volume, centres: Centres) -> float:
    """Return the exponent of marrow's power against frequency, 0.1 to 0.45 cycles per millimetre."""
    frequency, power = spectrum(volume, centres)
    used = (frequency > 0.1) & (frequency < 0.45)
    return float(np.polyfit(np.log(frequency[used]), np.log(power[used]), 1)[0])


def edge(volume: Volume, centres: Centres) -> float:
    """Return the 10 to 90% width of the edge from marrow to end plate, millimetres; both end plates."""
    widths = []
    for place in centres.values():
        for profile in patch(volume, place, 40, 8).T:
            middle = profile.size // 2
            for side in (profile[middle::-1], profile[middle:]):
                bottom = int(np.argmin(side[: round(19 / STEP_MM)]))
                top = float(np.median(side[: max(bottom - 3, 1)]))
                part = np.interp(np.arange(0, bottom + 1e-9, 0.1), np.arange(bottom + 1), side[: bottom + 1])
                share = (part - side[bottom]) / max(top - side[bottom], 1e-9)
                below = np.flatnonzero(share < 0.9)
                high = np.flatnonzero(share[::-1] > 0.9)
                low = np.flatnonzero(share < 0.1)
                if len(below) and len(high) and len(low):
                    last_high = len(share) - 1 - high[0]
                    first_low = low[low > last_high]
                    if len(first_low):
                        widths.append((first_low[0] - last_high) * 0.1 * STEP_MM)
    return float(np.median(widths))


MEASURES: dict[str, tuple[int, Measure]] = {
    "T1W marrow to disc": (0, lambda v, c: marrow(v, c) / disc(v, c)),
    "T2W marrow to disc": (1, lambda v, c: marrow(v, c) / disc(v, c)),
    "T1W canal to marrow": (0, lambda v, c: behind(v, c, 19, 27, 0.3) / marrow(v, c)),
    "T2W spinal fluid to marrow": (1, lambda v, c: behind(v, c, 16, 30, 0.9) / marrow(v, c)),
    "T1W fat under the skin to marrow": (0, lambda v, c: behind(v, c, 60, 110, 0.85) / marrow(v, c)),
    "T2W fat under the skin to marrow": (1, lambda v, c: behind(v, c, 60, 110, 0.85) / marrow(v, c)),
    "T1W before the bodies to marrow": (0, lambda v, c: behind(v, c, -60, -25, 0.5) / marrow(v, c)),
    "T2W before the bodies to marrow": (1, lambda v, c: behind(v, c, -60, -25, 0.5) / marrow(v, c)),
    "T1W unevenness of marrow": (0, unevenness),
    "T2W unevenness of marrow": (1, unevenness),
    "T1W fine share of marrow's texture": (0, fine_share),
    "T2W fine share of marrow's texture": (1, fine_share),
    "T1W slope of marrow's spectrum": (0, slope),
    "T2W slope of marrow's spectrum": (1, slope),
    "T1W width of end plates' edges, mm": (0, edge),
    "T2W width of end plates' edges, mm": (1, edge),
}


def main() -> None:
    """Measure, and record the table."""
    pair = real("t1_AKs8"), real("t2_AKs5")
    phantoms = synthetic()
    rows = []
    for name, (which, measure) in MEASURES.items():
        seen = measure(*pair[which])
        drawn = np.array([measure(*item[which]) for item in phantoms])
        mean, spread = float(drawn.mean()), float(drawn.std(ddof=1))
        rows.append([name, mean, spread, seen, (seen - mean) / spread])
    record(
        "phantom_realism",
        f"One real lumbar pair (AK) beside {len(phantoms)} phantoms",
        ("quantity", "phantoms, mean", "sd", "AK", "sd apart"),
        rows,
        "Medians over sound vertebrae T11 to L5 in the slice through their middle; texture from 12 x 15 mm of marrow. "
        "AK is one patient, windowed to 8 bits: ratios within a series survive where the window begins at no signal; "
        "noise, absolute signal and ratios between the series do not.",
    )


if __name__ == "__main__":
    main()

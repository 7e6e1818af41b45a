"""The spine as a chain of rigid vertebrae, and the canal behind them.

The spine frame counts millimetres along left, posterior and superior (LPS); its origin is the centre of the vertebra
that carries the lesion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinefx.phantom.levels import LEVEL_NAMES, level_rows
from spinefx.phantom.variation import Variation, vary_table
from spinefx.phantom.vertebra import Deformity, Vertebra

__all__ = ["LEVEL_NAMES", "TARGET_LEVELS", "Spine", "build_spine"]

# Columns: depth, posterior height, width, canal depth, disc below (mm), tilt (degrees, positive leans backward).
# After Panjabi 1991/1992, Jentzsch 2024 and Fletcher 2015; lordosis and kyphosis are those of the recumbent adult.
_TABLE = np.array(
    [
        [15.4, 19.5, 17.0, 16.0, 4.8, -2],
        [15.8, 13.6, 17.5, 14.5, 5.0, -5], [16.0, 13.3, 18.5, 14.5, 5.1, -8], [16.4, 13.0, 20, 14.6, 5.2, -11],
        [17.2, 13.0, 22, 14.8, 5.4, -16], [18.0, 13.6, 24, 15.0, 5.2, -21],
        [18.6, 14.8, 26, 16.2, 4.6, -23], [20.0, 15.3, 26, 15.9, 3.8, -22], [21.5, 15.9, 26, 15.6, 3.2, -20],
        [23.0, 16.4, 26, 15.8, 3.0, -17], [24.3, 16.9, 26, 15.9, 3.1, -13], [25.6, 17.6, 27, 16.0, 3.4, -9],
        [26.8, 18.3, 28.5, 16.1, 3.8, -5], [28.0, 18.9, 30, 16.2, 4.2, -1], [29.2, 19.5, 31.5, 15.8, 4.7, 3],
        [30.2, 20.6, 34, 15.6, 5.4, 6], [31.3, 21.8, 37, 16.4, 6.4, 8], [32.4, 23.0, 39.5, 17.8, 7.4, 9],
        [33.4, 24.5, 41.5, 18.5, 8.8, 9.5], [34.2, 25.2, 43, 18.0, 9.8, 8], [34.8, 25.2, 44.5, 17.5, 10.6, 4],
        [35.2, 25.0, 47, 18.0, 11.0, -4], [34.8, 23.6, 49, 18.0, 10.2, -17],
        [29.0, 28.0, 50, 14.5, 2.6, -37], [22.0, 23.0, 42, 10.0, 1.6, -46], [17.0, 19.0, 34, 7.0, 1.0, -40],
        [12.0, 16.0, 26, 5.0, 0.7, -26], [8.0, 14.0, 20, 3.0, 0.5, -10],
    ],
    dtype=float,
)  # fmt: skip
_ANTERIOR_RATIO = np.interp(np.arange(len(LEVEL_NAMES)), [0, 5, 12, 17, 21, 22, 27], [1, 1, 0.94, 0.97, 1.06, 1.17, 1])

TARGET_LEVELS: dict[str, float] = {
    "T5": 3, "T6": 4, "T7": 5, "T8": 5, "T9": 6, "T10": 7, "T11": 10, "T12": 16, "L1": 20, "L2": 12, "L3": 9, "L4": 7,
    "L5": 3,
}  # fmt: skip
"""Levels that can carry the lesion, with their relative frequency, which is the same in both classes."""


@dataclass(frozen=True, eq=False)
class Spine:
    """Vertebrae from cranial to caudal, and the canal behind them.

    Parameters
    ----------
    vertebrae : tuple of Vertebra
    target : int
        Index of the vertebra that carries the lesion.
    canal_table : ndarray, shape (n, 9)
        One row for every 2 mm of the superior coordinate, which is the first column and increases. The others are the
        lateral and posterior coordinate of the canal's anterior wall in the midline, the depth of the canal, the cosine
        of its tilt, the depth of the body, the smoothed posterior coordinate that the contour of the trunk follows,
        1 behind the middle of a body and 0 behind a disc, and the index of the vertebra whose body or disc below lies
        in front.
    conus_mm : float
        Superior coordinate of the tip of the conus medullaris.
    sac_end_mm : float
        Superior coordinate of the end of the thecal sac.
    flow_void : float
        0 to 1, share of signal that pulsating fluid behind the thoracic cord loses on fast spin echo.
    """

    vertebrae: tuple[Vertebra, ...]
    target: int
    canal_table: NDArray[np.float64]
    conus_mm: float
    sac_end_mm: float
    flow_void: float

    @property
    def lesion_vertebra(self) -> Vertebra:
        """Return the vertebra that carries the lesion."""
        return self.vertebrae[self.target]

    def find(self, level: str) -> int | None:
        """Return the index of a level, or None where the spine has no such level."""
        return next((index for index, item in enumerate(self.vertebrae) if item.level == level), None)


def build_spine(
    level: str,
    deformities: dict[str, Deformity],
    age: int,
    sex: str,
    rng: np.random.Generator,
    variation: Variation | None = None,
) -> Spine:
    """Build a spine outward from the target level, whose centre becomes the origin.

    Parameters
    ----------
    level : str
        One of :data:`TARGET_LEVELS`.
    deformities : dict of str to Deformity
        By level.
    age : int
        Years; discs degenerate with age.
    sex : str
        ``M`` or ``F``.
    rng : numpy.random.Generator
    variation : Variation, optional
        Anatomical variation; the usual spine by default.

    Returns
    -------
    Spine
    """
    varied = variation or Variation()
    levels, rows = zip(*level_rows(varied.numbering), strict=True)
    base = np.array(rows)
    table = _patient_table(sex, levels, (_TABLE[base[:, 0]] + _TABLE[base[:, 1]]) / 2, rng)
    vary_table(table, levels, varied)
    curve = _CoronalCurve(varied, rng)
    tilt = np.deg2rad(table[:, 5])
    target = levels.index(level)
    for index, name in enumerate(levels):
        if name in deformities:
            change = deformities[name]
            # A wedge tilts all levels above it forward; the discs compensate for part of it.
            wedge = (change.anterior - change.posterior) * table[index, 1] / table[index, 0]
            tilt[:index] -= 0.7 * 0.55 * wedge * (1 if index == target else 0.5)
    ratios = (_ANTERIOR_RATIO[base[:, 0]] + _ANTERIOR_RATIO[base[:, 1]]) / 2
    bodies = [_body(name, table[row], float(ratios[row]), age, rng) for row, name in enumerate(levels)]
    centres = _stack(bodies, tilt, target, deformities, varied)
    vertebrae = []
    for index, values in enumerate(bodies):
        centre = centres[index]
        centre[0] = curve(centre[2]) - curve(0.0)
        axes = _axes(tilt[index], (curve(centre[2] + 5) - curve(centre[2] - 5)) / 10)
        change = deformities.get(levels[index], Deformity())
        vertebrae.append(Vertebra(centre_mm=centre, axes=axes, deformity=change, **values))
    return _with_canal(tuple(vertebrae), target, rng)


def _patient_table(
    sex: str, levels: tuple[str, ...], table: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Vary a table of sizes from patient to patient; changes the table that is given."""
    stature = (1.035 if sex == "M" else 0.955) * (1 + 0.04 * rng.standard_normal())
    table[:, :5] *= stature
    rows = len(table)
    # Neighbours differ by a few percent: a spine of identical levels would have no unique registration.
    table[:, :5] *= 1 + 0.022 * rng.standard_normal((rows, 5))
    table[:, 4] *= np.clip(1 + 0.10 * rng.standard_normal(rows), 0.7, 1.3)
    lordosis = float(np.clip(1 + 0.3 * rng.standard_normal(), 0.35, 1.6))
    kyphosis = float(np.clip(1 + 0.25 * rng.standard_normal(), 0.5, 1.7))
    names = np.array([name[0] for name in levels])
    table[names == "T", 5] *= kyphosis
    table[names == "L", 5] *= lordosis
    table[names == "S", 5] = table[names == "S", 5] * 0.8 + 0.2 * table[names == "S", 5] * lordosis
    table[:, 5] += 1.4 * rng.standard_normal(rows)
    return table


class _CoronalCurve:
    """Lateral deviation of the spine as a function of height: slight in everyone, more in scoliosis."""

    def __init__(self, variation: Variation, rng: np.random.Generator) -> None:
        self._variation = variation
        self._amplitude = 2.0 * rng.standard_normal(2)
        self._phase = rng.uniform(0, 2 * np.pi, 2)
        self._wave_mm = rng.uniform([260, 140], [420, 240])
        self._slope = 0.008 * rng.standard_normal()

    def __call__(self, height_mm: float) -> float:
        angle = 2 * np.pi * height_mm / self._wave_mm + self._phase
        usual = float(np.sum(self._amplitude * [1.0, 0.4] * np.sin(angle)) + self._slope * height_mm)
        return usual + self._variation.lateral_mm(height_mm)


def _body(name: str, row: NDArray[np.float64], ratio: float, age: int, rng: np.random.Generator) -> dict[str, Any]:
    depth, posterior, width, canal, disc, _ = (float(value) for value in row)
    ratio = float(np.clip(ratio * (1 + 0.025 * rng.standard_normal()), 0.85, 1.25))
    lumbar = name[0] == "L" or name in {"T12", "T11"}
    grade = float(np.clip(rng.normal(1.6 + 0.028 * (age - 20) + (0.5 if name in {"L4", "L5"} else 0), 0.7), 1, 5))
    disc *= float(np.clip(1.05 - 0.10 * max(grade - 3, 0) * rng.uniform(0.6, 1.6), 0.5, 1.1))
    bulge = max(0.0, rng.normal(0.5 * (grade - 2), 0.7)) if lumbar else 0.0
    return {
        "level": name,
        "depth_mm": depth,
        "height_mm": posterior * (1 + ratio) / 2,
        "width_mm": width,
        "canal_mm": canal,
        "disc_mm": disc,
        "anterior_ratio": 1.0 if name[0] == "S" else ratio,
        "endplate_concavity_mm": float(rng.uniform(0.5, 1.7) * (1.0 if lumbar else 0.6)),
        "wall_concavity_mm": float(rng.uniform(0.5, 1.6)) * depth / 32,
        "disc_grade": grade,
        "disc_bulge_mm": float(bulge),
        "osteophyte_mm": float(np.clip(rng.normal(0.05 * (age - 50), 1.3), 0, 6)),
        "waves": tuple(
            (abs(rng.normal(0, 0.35)), rng.uniform(0, 6.28), abs(rng.normal(0, 0.18)), rng.uniform(0, 6.28))
            for _ in range(2)
        ),
    }


def _axes(tilt: float, slope: float) -> NDArray[np.float64]:
    up = np.array([slope, np.sin(tilt), np.cos(tilt)])
    up /= np.linalg.norm(up)
    back = np.array([0.0, np.cos(tilt), -np.sin(tilt)])
    left = np.cross(back, up)
    left /= np.linalg.norm(left)
    return np.stack([left, np.cross(up, left), up])


def _stack(
    bodies: list[dict[str, Any]],
    tilt: NDArray[np.float64],
    target: int,
    deformities: dict[str, Deformity],
    variation: Variation,
) -> list[NDArray[np.float64]]:
    def reach(index: int, upward: bool) -> float:
        """Distance from a body's origin to the middle of its end plate, with collapse and without concavity."""
        change = deformities.get(bodies[index]["level"], Deformity())
        mean_loss = (change.anterior + change.posterior) / 2 * bodies[index]["height_mm"]
        share = change.upper_share if upward else 1 - change.upper_share
        return float(bodies[index]["height_mm"] / 2 - mean_loss * share)

    def direction(angle: float) -> NDArray[np.float64]:
        return np.array([0.0, np.sin(angle), np.cos(angle)])

    def slip(upper: int, lower: int) -> NDArray[np.float64]:
        """Forward displacement of a vertebra on the one below, along the upper end plate of that one."""
        slipped = variation.slip_mm if bodies[upper]["level"] == variation.slip_level else 0.0
        return np.array([0.0, -np.cos(tilt[lower]), np.sin(tilt[lower])]) * slipped

    centres: list[NDArray[np.float64]] = [np.zeros(3) for _ in bodies]
    for index in range(target - 1, -1, -1):
        below = index + 1
        step = reach(below, True) * direction(tilt[below]) + reach(index, False) * direction(tilt[index])
        step += bodies[index]["disc_mm"] * direction((tilt[index] + tilt[below]) / 2)
        centres[index] = centres[below] + step + _wall_step(bodies, tilt, below, index) + slip(index, below)
    for index in range(target + 1, len(bodies)):
        above = index - 1
        step = reach(above, False) * direction(tilt[above]) + reach(index, True) * direction(tilt[index])
        step += bodies[above]["disc_mm"] * direction((tilt[index] + tilt[above]) / 2)
        centres[index] = centres[above] - step + _wall_step(bodies, tilt, above, index) - slip(above, index)
    return centres


def _wall_step(bodies: list[dict[str, Any]], tilt: NDArray[np.float64], near: int, far: int) -> NDArray[np.float64]:
    """Align posterior walls where neighbours differ in depth."""
    angle = (tilt[near] + tilt[far]) / 2
    shift = (bodies[near]["depth_mm"] - bodies[far]["depth_mm"]) / 2
    step: NDArray[np.float64] = np.array([0.0, np.cos(angle), -np.sin(angle)]) * shift
    return step


def _with_canal(vertebrae: tuple[Vertebra, ...], target: int, rng: np.random.Generator) -> Spine:
    canal_table = []
    for item in vertebrae:
        back = item.world(np.array([0.0, item.depth_mm / 2 + 0.3, 0.0]))
        canal_table.append([back[2], back[0], back[1], item.canal_mm, item.axes[1][1], item.depth_mm])
    order = np.array(canal_table)[::-1]
    order = order[np.concatenate([[True], np.diff(order[:, 0]) > 0.5])]
    # Smooth between the vertebrae, as the ligaments and the dura are.
    heights = np.arange(order[0, 0], order[-1, 0], 2.0)
    course = np.stack([np.interp(heights, order[:, 0], column) for column in order.T], -1)
    course[:, 1:] = ndimage.gaussian_filter1d(course[:, 1:], 2.5, axis=0, mode="nearest")
    envelope = ndimage.gaussian_filter1d(course[:, 2], 25, mode="nearest")
    behind_body = _behind_bodies(vertebrae, heights)
    course = np.column_stack([course, 0.75 * envelope + 0.25 * envelope.max(), *behind_body])
    conus_level = rng.choice(["T12", "L1", "L2"], p=[0.26, 0.51, 0.23])
    centres = {item.level: float(item.centre_mm[2]) for item in vertebrae}
    return Spine(
        vertebrae,
        target,
        course,
        conus_mm=centres[str(conus_level)] + float(rng.normal(0, 5)),
        sac_end_mm=centres["S2"] + float(rng.normal(0, 5)),
        flow_void=float(rng.uniform(0.1, 0.75)),
    )


def _behind_bodies(
    vertebrae: tuple[Vertebra, ...], heights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Whether a body (1) or a disc (0) lies in front of the canal at each height, and the index of its vertebra."""
    centres = np.array([item.world(np.array([0.0, item.depth_mm / 2, 0.0]))[2] for item in vertebrae])[::-1]
    discs = (centres[1:] + centres[:-1]) / 2
    places = np.sort(np.concatenate([centres, discs]))
    body = np.interp(heights, places, np.arange(len(places)) % 2 == 0)
    # A disc belongs to the vertebra above it, so a vertebra's section begins at its own upper end plate.
    above = [item.world(np.array([0.0, item.depth_mm / 2, item.height_mm / 2]))[2] for item in vertebrae]
    owner = len(vertebrae) - 1 - np.searchsorted(np.array(above)[::-1], heights)
    return body, np.maximum(owner, 0).astype(float)

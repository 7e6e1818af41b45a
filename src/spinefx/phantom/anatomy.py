"""Where vertebrae, discs and canal lie: a spine as a chain of rigid frames.

Spine frame: millimetres along left, posterior, superior (LPS). A vertebra's own frame has its origin at the body's
centre; its axes are lateral (towards the left), depth (towards the back) and height (upwards).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["LEVEL_NAMES", "TARGET_LEVELS", "Deformity", "Extent", "Spine", "Vertebra", "build_spine"]

LEVEL_NAMES = tuple(
    [f"C{n}" for n in range(2, 8)] + [f"T{n}" for n in range(1, 13)] + [f"L{n}" for n in range(1, 6)]
    + [f"S{n}" for n in range(1, 6)]
)  # fmt: skip
"""Levels of every phantom, from the top down."""

# Columns: depth, posterior height, width, canal depth, disc below (mm), tilt (degrees, positive leans back).
# Panjabi 1991/1992, Jentzsch 2024, Fletcher 2015; lordosis and kyphosis of the recumbent adult.
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
"""Levels that can carry the lesion, with their weights; the same for both classes."""


@dataclass(frozen=True)
class Deformity:
    """How far a body has collapsed, as shares of its height.

    Parameters
    ----------
    anterior, posterior, central : float
        Loss at the front and the back wall, and the extra loss at the centre.
    upper_share : float
        Part of the loss that the upper end plate takes.
    exponent : float
        Shape of the central loss, (1 - u^2)^exponent.
    bulge_mm : float
        Convexity of the back wall beyond its normal place.
    bulge_height : float
        Where the back wall bulges most: 0 mid-height, 1 at the upper corner.
    """

    anterior: float = 0.0
    posterior: float = 0.0
    central: float = 0.0
    upper_share: float = 0.8
    exponent: float = 1.2
    bulge_mm: float = 0.0
    bulge_height: float = 0.0


@dataclass(frozen=True)
class Extent:
    """How large a vertebral body is, after any collapse.

    Parameters
    ----------
    depth_mm, width_mm : float
        Front to back in the midline at mid-height; side to side at the end plates.
    front_mm, middle_mm, back_mm : float
        Heights in the midline at the front wall, the middle and the back wall.
    """

    depth_mm: float
    width_mm: float
    front_mm: float
    middle_mm: float
    back_mm: float


@dataclass(frozen=True, eq=False)
class Vertebra:
    """One vertebral body with what is attached to it.

    Parameters
    ----------
    level : str
    centre_mm : ndarray, shape (3,)
        Spine frame.
    axes : ndarray, shape (3, 3)
        Rows: lateral, depth and height directions in the spine frame.
    depth_mm, height_mm, width_mm, canal_mm, disc_mm : float
        Body depth, mid height before any collapse, body width, canal depth, height of the disc below.
    anterior_ratio : float
        Anterior over posterior height.
    plate_mm, waist_mm : float
        Concavity of the end plates and of the walls.
    disc_grade : float
        Pfirrmann grade of the disc below.
    disc_bulge_mm : float
        How far the disc below bulges into the canal.
    osteophyte_mm : float
        Size of the lip at the front corners.
    waves : tuple of tuple of float, shape (2, 4)
        Small irregularities of upper and lower end plate: amplitude (mm) and phase of a long and a short wave.
    deformity : Deformity
    """

    level: str
    centre_mm: NDArray[np.float64]
    axes: NDArray[np.float64]
    depth_mm: float
    height_mm: float
    width_mm: float
    canal_mm: float
    disc_mm: float
    anterior_ratio: float
    plate_mm: float
    waist_mm: float
    disc_grade: float
    disc_bulge_mm: float
    osteophyte_mm: float
    waves: tuple[tuple[float, ...], ...]
    deformity: Deformity = field(default_factory=Deformity)

    @property
    def sacral(self) -> bool:
        """Whether it is a segment of the sacrum."""
        return self.level.startswith("S")

    def plates(
        self, lateral: NDArray[np.float32], depth: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Heights of the lower and the upper end plate.

        Parameters
        ----------
        lateral, depth : ndarray, any one shape
            Millimetres in the vertebra's own frame.

        Returns
        -------
        lower, upper : ndarray of the same shape
            Millimetres above the vertebra's origin.
        """
        change = self.deformity
        along = np.clip(depth / (self.depth_mm / 2), -1, 1)
        across = np.clip(lateral / (self.width_mm / 2), -1, 1)
        hollow = 1 - along * along
        half = self.height_mm / 2
        tapered = half * (1 + (self.anterior_ratio - 1) * (-along) / 2)
        dish = self.plate_mm * hollow
        loss = change.posterior + (change.anterior - change.posterior) * (1 - along) / 2
        if change.central > 0:
            loss = loss + change.central * np.power(hollow, change.exponent) * (1 - 0.55 * across * across)
        lost = loss * self.height_mm
        upper = tapered - dish - lost * change.upper_share
        lower = -tapered + dish + lost * (1 - change.upper_share)
        for plate, (long_mm, long_phase, short_mm, short_phase) in zip((upper, lower), self.waves, strict=True):
            plate += long_mm * np.sin(3.1 * along + 1.7 * across + long_phase)
            plate += short_mm * np.sin(7.3 * along - 2.9 * across + short_phase)
        return lower, upper

    def walls(
        self, lateral: NDArray[np.float32], height: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Depths of the front and the back wall.

        Parameters
        ----------
        lateral, height : ndarray, any one shape
            Millimetres in the vertebra's own frame.

        Returns
        -------
        front, back : ndarray of the same shape
            Millimetres behind the vertebra's origin.
        """
        across = np.clip(np.abs(lateral) / (self.width_mm / 2), 0, 1)
        rise = np.clip(height / (self.height_mm / 2), -1.1, 1.1)
        half = self.depth_mm / 2
        square = across * across
        round_front = half * (1 - np.sqrt(1 - square * np.sqrt(across)))
        edge = np.maximum(across - 0.45, 0) / 0.55
        round_back = half * (0.9 * edge * edge - 0.09 * (1 - square))
        waist = self.waist_mm * (1 - rise * rise)
        sixth = np.square(rise * rise * rise)
        lip = self.osteophyte_mm * sixth
        front = -half + round_front + waist - lip
        change = self.deformity
        back = half - round_back - 0.6 * waist + 0.2 * lip
        if change.bulge_mm > 0:
            place = rise - 0.62 * change.bulge_height
            back += change.bulge_mm * np.exp(-(place * place) / (0.55 - 0.33 * change.bulge_height)) * (1 - square)
        return front, back

    def local(self, position_mm: NDArray[Any]) -> NDArray[np.float64]:
        """Coordinates in the vertebra's own frame.

        Parameters
        ----------
        position_mm : ndarray, shape (..., 3)
            Spine frame.

        Returns
        -------
        ndarray, shape (..., 3)
            Lateral, depth, height.
        """
        result: NDArray[np.float64] = (np.asarray(position_mm, float) - self.centre_mm) @ self.axes.T
        return result

    def world(self, local_mm: NDArray[Any]) -> NDArray[np.float64]:
        """Back to the spine frame; the inverse of :meth:`local`."""
        result: NDArray[np.float64] = np.asarray(local_mm, float) @ self.axes + self.centre_mm
        return result

    def extent(self) -> Extent:
        """Size of the body, measured on the surface that is painted.

        Returns
        -------
        Extent
        """
        depth = np.array([-0.5, 0.0, 0.5], np.float32) * np.float32(self.depth_mm)
        lower, upper = self.plates(np.zeros_like(depth), depth)
        middle = np.asarray((lower[1:2] + upper[1:2]) / 2, np.float32)
        front, back = self.walls(np.zeros_like(middle), middle)
        heights = (float(value) for value in upper - lower)
        return Extent(float(back[0] - front[0]), self.width_mm, *heights)

    def centroid(self) -> NDArray[np.float64]:
        """Centre of the body's midsagittal section, which a collapse moves away from the origin.

        Returns
        -------
        ndarray, shape (3,)
            Spine frame, millimetres.
        """
        depth = np.linspace(-0.6, 0.6, 121, dtype=np.float32)[:, None] * np.float32(self.depth_mm)
        height = np.linspace(-0.6, 0.6, 121, dtype=np.float32)[None, :] * np.float32(self.height_mm)
        lower, upper = self.plates(np.zeros_like(depth), depth)
        front, back = self.walls(np.zeros_like(height), height)
        depth, height = np.broadcast_arrays(depth, height)
        inside = (height > lower) & (height < upper) & (depth > front) & (depth < back)
        return self.world(np.array([0.0, depth[inside].mean(), height[inside].mean()]))

    def outline(self) -> NDArray[np.float64]:
        """Points on the body's midsagittal outline.

        Returns
        -------
        ndarray, shape (n, 3)
            Spine frame, millimetres.
        """
        depth = np.linspace(-self.depth_mm / 2, self.depth_mm / 2, 41, dtype=np.float32)
        zero = np.zeros_like(depth)
        lower, upper = self.plates(zero, depth)
        height = np.linspace(float(lower.min()), float(upper.max()), 41, dtype=np.float32)
        front, back = self.walls(np.zeros_like(height), height)
        points = [np.stack([zero, depth, lower], -1), np.stack([zero, depth, upper], -1)]
        for wall in (front, back):
            low, high = self.plates(np.zeros_like(height), wall)
            inside = (height >= low) & (height <= high)
            points.append(np.stack([np.zeros_like(height), wall, height], -1)[inside])
        return self.world(np.concatenate(points))


@dataclass(frozen=True, eq=False)
class Spine:
    """Vertebrae from the top down, and the canal behind them.

    Parameters
    ----------
    vertebrae : tuple of Vertebra
    target : int
        Index of the vertebra that carries the lesion.
    knots : ndarray, shape (n, 9)
        Every 2 mm of the superior coordinate (increasing, first column): lateral and posterior coordinate of the
        canal's front wall in the midline, canal depth, cosine of the canal's tilt, body depth, the posterior
        coordinate smoothed, which the trunk's front and back follow, 1 behind the middle of a body and 0 behind a
        disc, and the index of the vertebra whose body or disc below lies in front.
    conus_mm : float
        Superior coordinate of the cord's end.
    sac_end_mm : float
        Superior coordinate of the dural sac's end.
    flow_void : float
        0 to 1, how much pulsating fluid behind the thoracic cord loses on echo trains.
    """

    vertebrae: tuple[Vertebra, ...]
    target: int
    knots: NDArray[np.float64]
    conus_mm: float
    sac_end_mm: float
    flow_void: float

    @property
    def lesion_vertebra(self) -> Vertebra:
        """The vertebra that carries the lesion."""
        return self.vertebrae[self.target]

    def find(self, level: str) -> int | None:
        """Index of a level; None where the chain does not reach it."""
        return next((index for index, item in enumerate(self.vertebrae) if item.level == level), None)


def build_spine(level: str, deformities: dict[str, Deformity], age: int, sex: str, rng: np.random.Generator) -> Spine:
    """Stack vertebrae outward from the target, whose centre is the origin.

    Parameters
    ----------
    level : str
        One of :data:`TARGET_LEVELS`.
    deformities : dict of str to Deformity
        By level.
    age : int
        Years; discs degenerate with it.
    sex : str
        ``M`` or ``F``.
    rng : numpy.random.Generator

    Returns
    -------
    Spine
    """
    table = _patient_table(sex, rng)
    bow = _CoronalBow(rng)
    tilt = np.deg2rad(table[:, 5])
    target = LEVEL_NAMES.index(level)
    for index, name in enumerate(LEVEL_NAMES):
        if name in deformities:
            change = deformities[name]
            # A wedged body tips everything above it forward, and the discs give some of that back.
            wedge = (change.anterior - change.posterior) * table[index, 1] / table[index, 0]
            tilt[:index] -= 0.7 * 0.55 * wedge * (1 if index == target else 0.5)
    bodies = [_body(name, table[row], float(_ANTERIOR_RATIO[row]), age, rng) for row, name in enumerate(LEVEL_NAMES)]
    centres = _stack(bodies, tilt, target, deformities)
    vertebrae = []
    for index, values in enumerate(bodies):
        centre = centres[index]
        centre[0] = bow(centre[2]) - bow(0.0)
        axes = _axes(tilt[index], (bow(centre[2] + 5) - bow(centre[2] - 5)) / 10)
        change = deformities.get(LEVEL_NAMES[index], Deformity())
        vertebrae.append(Vertebra(centre_mm=centre, axes=axes, deformity=change, **values))
    return _with_canal(tuple(vertebrae), target, rng)


def _patient_table(sex: str, rng: np.random.Generator) -> NDArray[np.float64]:
    table = _TABLE.copy()
    stature = (1.035 if sex == "M" else 0.955) * (1 + 0.04 * rng.standard_normal())
    table[:, :5] *= stature
    rows = len(table)
    # Neighbours differ by a few percent each: a spine whose levels are copies has no unique registration.
    table[:, :5] *= 1 + 0.022 * rng.standard_normal((rows, 5))
    table[:, 4] *= np.clip(1 + 0.10 * rng.standard_normal(rows), 0.7, 1.3)
    lordosis = float(np.clip(1 + 0.3 * rng.standard_normal(), 0.35, 1.6))
    kyphosis = float(np.clip(1 + 0.25 * rng.standard_normal(), 0.5, 1.7))
    names = np.array([name[0] for name in LEVEL_NAMES])
    table[names == "T", 5] *= kyphosis
    table[names == "L", 5] *= lordosis
    table[names == "S", 5] = table[names == "S", 5] * 0.8 + 0.2 * table[names == "S", 5] * lordosis
    table[:, 5] += 1.4 * rng.standard_normal(rows)
    return table


class _CoronalBow:
    """Sideways course of the spine as a function of height: a slight scoliosis."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._amplitude = 2.0 * rng.standard_normal(2)
        self._phase = rng.uniform(0, 2 * np.pi, 2)
        self._wave_mm = rng.uniform([260, 140], [420, 240])
        self._slope = 0.008 * rng.standard_normal()

    def __call__(self, height_mm: float) -> float:
        angle = 2 * np.pi * height_mm / self._wave_mm + self._phase
        return float(np.sum(self._amplitude * [1.0, 0.4] * np.sin(angle)) + self._slope * height_mm)


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
        "plate_mm": float(rng.uniform(0.5, 1.7) * (1.0 if lumbar else 0.6)),
        "waist_mm": float(rng.uniform(0.5, 1.6)) * depth / 32,
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
    bodies: list[dict[str, Any]], tilt: NDArray[np.float64], target: int, deformities: dict[str, Deformity]
) -> list[NDArray[np.float64]]:
    def reach(index: int, upward: bool) -> float:
        """Distance from a body's origin to the middle of its end plate, collapse included, dish left out."""
        change = deformities.get(bodies[index]["level"], Deformity())
        mean_loss = (change.anterior + change.posterior) / 2 * bodies[index]["height_mm"]
        share = change.upper_share if upward else 1 - change.upper_share
        return float(bodies[index]["height_mm"] / 2 - mean_loss * share)

    def direction(angle: float) -> NDArray[np.float64]:
        return np.array([0.0, np.sin(angle), np.cos(angle)])

    centres: list[NDArray[np.float64]] = [np.zeros(3) for _ in bodies]
    for index in range(target - 1, -1, -1):
        below = index + 1
        step = reach(below, True) * direction(tilt[below]) + reach(index, False) * direction(tilt[index])
        step += bodies[index]["disc_mm"] * direction((tilt[index] + tilt[below]) / 2)
        centres[index] = centres[below] + step + _wall_step(bodies, tilt, below, index)
    for index in range(target + 1, len(bodies)):
        above = index - 1
        step = reach(above, False) * direction(tilt[above]) + reach(index, True) * direction(tilt[index])
        step += bodies[above]["disc_mm"] * direction((tilt[index] + tilt[above]) / 2)
        centres[index] = centres[above] - step + _wall_step(bodies, tilt, above, index)
    return centres


def _wall_step(bodies: list[dict[str, Any]], tilt: NDArray[np.float64], near: int, far: int) -> NDArray[np.float64]:
    """Keep back walls in line where neighbours differ in depth."""
    angle = (tilt[near] + tilt[far]) / 2
    shift = (bodies[near]["depth_mm"] - bodies[far]["depth_mm"]) / 2
    step: NDArray[np.float64] = np.array([0.0, np.cos(angle), -np.sin(angle)]) * shift
    return step


def _with_canal(vertebrae: tuple[Vertebra, ...], target: int, rng: np.random.Generator) -> Spine:
    knots = []
    for item in vertebrae:
        back = item.world(np.array([0.0, item.depth_mm / 2 + 0.3, 0.0]))
        knots.append([back[2], back[0], back[1], item.canal_mm, item.axes[1][1], item.depth_mm])
    order = np.array(knots)[::-1]
    order = order[np.concatenate([[True], np.diff(order[:, 0]) > 0.5])]
    # A smooth course between the vertebrae, as ligaments and dura take it.
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
    """Whether a body or a disc lies in front of the canal, smoothly, and which vertebra's."""
    centres = np.array([item.world(np.array([0.0, item.depth_mm / 2, 0.0]))[2] for item in vertebrae])[::-1]
    discs = (centres[1:] + centres[:-1]) / 2
    places = np.sort(np.concatenate([centres, discs]))
    body = np.interp(heights, places, np.arange(len(places)) % 2 == 0)
    # The disc below belongs to the upper of its two vertebrae: borders lie at the lower one's upper end plate.
    above = [item.world(np.array([0.0, item.depth_mm / 2, item.height_mm / 2]))[2] for item in vertebrae]
    owner = len(vertebrae) - 1 - np.searchsorted(np.array(above)[::-1], heights)
    return body, np.maximum(owner, 0).astype(float)

"""The shape and signal of every vertebral body, measured in its masks and beside its neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinefx.imaging.volume import Slices, Volume
from spinefx.localisation.instances import divide_bodies, divide_discs
from spinefx.localisation.labels import TissueClass
from spinefx.localisation.spine import LocatedSpine
from spinefx.vocabulary import Weighting

__all__ = ["BodyMeasures", "BodyShape", "BodySignal", "genant_grade", "measure_bodies"]

# Slices that cut the body's middle part; towards its sides it is lower and its edge is blurred.
CENTRAL_AREA = 0.6
# Parts of the depth, from the front, over which the anterior, middle and posterior height are averaged.
PARTS = ((0.05, 0.30), (0.37, 0.63), (0.70, 0.95))
# Neighbours on either side that say what a body would measure if it were intact.
NEIGHBOURS = 5
# Collapse only lowers a body: the height to expect lies above the middle of the others'.
INTACT_SHARE = 0.6
# Growth of a body's height from level to level where too few bodies are in view to measure it.
USUAL_GROWTH = 0.03
EDGE_MM = 1.5
FEWEST_VOXELS = 30
# A voxel is changed where it differs from the intact neighbours' mean by more than this (a factor of 1.4).
CHANGED = 0.35
# Genant et al., J Bone Miner Res 1993;8:1137: height lost for grades 1, 2 and 3.
GENANT = (0.20, 0.25, 0.40)


@dataclass(frozen=True)
class BodyShape:
    """Heights of one vertebral body, and the share of each that is lost.

    Parameters
    ----------
    anterior_mm, middle_mm, posterior_mm : float
        Mean height of the front, middle and back part of the depth, median over the central slices.
    depth_mm : float
        Anteroposterior depth.
    anterior_loss, middle_loss, posterior_loss : float
        1 minus the height over that which the neighbours let expect; below 0 for a higher body.
    depth_change : float
        Depth over that which the neighbours let expect, minus 1.
    canal_loss : float or None
        1 minus the depth of the spinal canal behind the body over that behind its neighbours; None without a canal.
    """

    anterior_mm: float
    middle_mm: float
    posterior_mm: float
    depth_mm: float
    anterior_loss: float
    middle_loss: float
    posterior_loss: float
    depth_change: float
    canal_loss: float | None = None

    @classmethod
    def beside(
        cls, sides_mm: NDArray[np.float64], usual_mm: NDArray[np.float64], canal_loss: float | None
    ) -> BodyShape:
        """Return the shape of a body from its sides and those that its neighbours let expect.

        Parameters
        ----------
        sides_mm, usual_mm : ndarray of float64, shape (4,)
            Anterior, middle and posterior height and the depth.
        canal_loss : float or None
            As in :class:`BodyShape`.

        Returns
        -------
        BodyShape
        """
        front, middle, back, depth = (float(side) for side in sides_mm)
        lost = [float(loss) for loss in 1 - sides_mm / usual_mm]
        return cls(front, middle, back, depth, lost[0], lost[1], lost[2], -lost[3], canal_loss)

    @property
    def height_loss(self) -> float:
        """The greatest of the three losses, not below 0."""
        return max(self.anterior_loss, self.middle_loss, self.posterior_loss, 0.0)

    @property
    def genant(self) -> int:
        """Genant-like grade, 0 to 3."""
        return genant_grade(self.height_loss)


@dataclass(frozen=True)
class BodySignal:
    """Signal of one vertebral body in one series, its edge left out.

    Parameters
    ----------
    over_bodies : float
        Mean natural logarithm of the signal, minus that which the neighbouring bodies let expect.
    over_discs, over_canal : float or None
        Mean signal over the median of the discs and of the canal nearby; None where the masks hold none.
    spread : float
        Interquartile range of the logarithm of the signal.
    darker, brighter : float
        Share of the voxels that differ from the expected signal by a factor of more than 1.4.
    """

    over_bodies: float
    over_discs: float | None
    over_canal: float | None
    spread: float
    darker: float
    brighter: float


@dataclass(frozen=True)
class BodyMeasures:
    """What was measured of one vertebra.

    Parameters
    ----------
    position : int
        Place in the located spine, from 0.
    level : str or None
    shape : BodyShape
    signals : mapping of Weighting to BodySignal
        For each series that shows the body.
    """

    position: int
    level: str | None
    shape: BodyShape
    signals: Mapping[Weighting, BodySignal]


def genant_grade(loss: float) -> int:
    """Return the Genant-like grade of a loss of height.

    Parameters
    ----------
    loss : float
        Share of the height that is lost.

    Returns
    -------
    int
        0 below 20%, 1 below 25%, 2 up to 40%, 3 beyond (Genant et al., J Bone Miner Res 1993;8:1137). The original
        grades are estimated by eye on radiographs, against the same vertebra's own and its neighbours' heights.
    """
    return sum(loss >= limit for limit in GENANT)


def measure_bodies(
    classes: NDArray[np.integer], grid: Slices, spine: LocatedSpine, volumes: Mapping[Weighting, Volume]
) -> tuple[BodyMeasures, ...]:
    """Measure the vertebral bodies below C2 and above the sacrum.

    Parameters
    ----------
    classes : ndarray of int, shape (slice, row, column)
        Values of :class:`spinefx.localisation.labels.TissueClass`.
    grid : Slices
        The series that the masks lie on.
    spine : LocatedSpine
    volumes : mapping of Weighting to Volume
        Series whose signal is measured, each in the patient frame of the grid; a small motion between them is blurred
        away by the edge that is left out.

    Returns
    -------
    tuple of BodyMeasures
        Cranial to caudal. Bodies that are cut by the edge of the field, or of which the masks hold next to nothing, are
        left out; so are all where fewer than three can be compared.

    Raises
    ------
    GeometryError
        When the masks have another shape than the grid.
    """
    bodies, discs = divide_bodies(classes, grid, spine), divide_discs(classes, grid, spine)
    regions = {
        number: _Region.of(bodies, place, number + 1)
        for number, (vertebra, place) in enumerate(zip(spine.vertebrae, ndimage.find_objects(bodies), strict=False))
        if place is not None and vertebra.level not in ("C1", "C2") and not (vertebra.level or "").startswith("S")
    }
    sides = {
        number: found
        for number, region in regions.items()
        if (found := _sides(region, grid, _axis(grid, spine, number))) is not None
    }
    if len(sides) < 3:
        return ()
    numbers, logs = np.array(list(sides)), np.log(list(sides.values()))
    usual = np.exp(np.stack([_expected(numbers, row, INTACT_SHARE) for row in logs.T], axis=1))
    measured = {number: regions[number] for number in sides}
    # Behind the last vertebra above the sacrum the sac tapers, and a chain that ends elsewhere may end there unnamed.
    last = [number for number, vertebra in enumerate(spine.vertebrae) if not (vertebra.level or "").startswith("S")][-1]
    canal = _canal_losses(classes, {number: region for number, region in measured.items() if number < last})
    signals = {weighting: _signals(classes, discs, grid, measured, volume) for weighting, volume in volumes.items()}
    return tuple(
        BodyMeasures(
            number,
            spine.vertebrae[number].level,
            BodyShape.beside(sides[number], usual[row], canal.get(number)),
            {weighting: found[number] for weighting, found in signals.items() if number in found},
        )
        for row, number in enumerate(sides)
    )


@dataclass(frozen=True, eq=False)
class _Region:
    """The voxels of one body: a mask within a block, and where the block starts."""

    place: tuple[slice, ...]
    inside: NDArray[np.bool_]

    @classmethod
    def of(cls, numbers: NDArray[np.int16], place: tuple[slice, ...], number: int) -> _Region:
        return cls(place, numbers[place] == number)

    @property
    def voxels(self) -> NDArray[np.intp]:
        """Slice, row and column of each voxel, shape (voxel, 3)."""
        return np.asarray(np.argwhere(self.inside) + np.array([edge.start for edge in self.place]))

    def without_edge(self, grid: Slices) -> _Region:
        steps = np.round(EDGE_MM / np.array(grid.spacing_mm[1:])).astype(int)
        kernel = np.ones((1, 2 * steps[0] + 1, 2 * steps[1] + 1), bool)
        return _Region(self.place, ndimage.binary_erosion(self.inside, kernel))


def _axis(grid: Slices, spine: LocatedSpine, number: int) -> NDArray[np.float64]:
    """Return the direction from the vertebra above to the one below, in millimetres along rows and columns."""
    above = spine.vertebrae[max(number - 1, 0)].centre_mm
    below = spine.vertebrae[min(number + 1, len(spine.vertebrae) - 1)].centre_mm
    along = grid.directions[:, 1:].T @ (np.array(below) - np.array(above))
    length = float(np.linalg.norm(along))
    return np.asarray(along / length) if length else np.array([1.0, 0.0])


def _sides(region: _Region, grid: Slices, axis: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return anterior, middle and posterior height and the depth, or None where they cannot be measured."""
    areas = region.inside.sum(axis=(1, 2))
    if areas.max() < FEWEST_VOXELS:
        return None
    pixel = np.array(grid.spacing_mm[1:])
    across = np.array([-axis[1], axis[0]])  # towards the back, since columns run that way
    found = []
    central = region.place[0].start + np.flatnonzero(areas >= CENTRAL_AREA * areas.max())
    voxels = region.voxels
    for number in central:
        places = voxels[voxels[:, 0] == number, 1:]
        if (places == 0).any() or (places == np.array(grid.shape[1:]) - 1).any():
            return None
        depth = places * pixel @ across
        front, back = np.percentile(depth, (1, 99))
        share = (depth - front) / max(back - front, 1e-6)
        counts = [((share >= low) & (share < high)).sum() / (high - low) for low, high in PARTS]
        found.append([*(np.maximum(counts, 1) * pixel.prod() / (back - front)), back - front])
    return np.asarray(np.median(found, axis=0))


def _canal_losses(classes: NDArray[np.integer], regions: Mapping[int, _Region]) -> dict[int, float]:
    """Return the share of the canal's depth that is lost behind each body, where there is a canal."""
    depths = {}
    for number, region in regions.items():
        areas = region.inside.sum(axis=(1, 2))
        central = region.place[0].start + np.flatnonzero(areas >= CENTRAL_AREA * areas.max())
        canal = classes[central, region.place[1]] == TissueClass.CANAL
        # In the slice that shows most of it: beside the midline the canal ends.
        depths[number] = float(canal.sum(axis=2).mean(axis=1).max())
    seen = {number: depth for number, depth in depths.items() if depth > 0}
    if len(seen) < 3:
        return {}
    usual = np.exp(_expected(np.array(list(seen)), np.log(list(seen.values()))))
    return {number: 1 - depth / float(expected) for (number, depth), expected in zip(seen.items(), usual, strict=True)}


def _expected(numbers: NDArray[np.integer], values: NDArray[np.float64], share: float = 0.5) -> NDArray[np.float64]:
    """Return what each value would be by the other bodies: a weighted quantile of theirs, moved along the trend."""
    apart = numbers[None, :] - numbers[:, None]
    upper = np.triu_indices(len(numbers), 1)
    slope = USUAL_GROWTH
    if len(numbers) > 4:
        slope = float(np.median((values[None, :] - values[:, None])[upper] / apart[upper]))
    found = np.empty(len(numbers), np.float64)
    for row in range(len(numbers)):
        near = (apart[row] != 0) & (np.abs(apart[row]) <= NEIGHBOURS)
        near = near if near.sum() >= 2 else apart[row] != 0
        moved, weights = values[near] - slope * apart[row][near], 1 / (1 + np.abs(apart[row][near]))
        order = np.argsort(moved)
        total = np.cumsum(weights[order])
        found[row] = np.interp(share * total[-1], total - weights[order] / 2, moved[order])
    return found


def _signals(
    classes: NDArray[np.integer],
    discs: NDArray[np.int16],
    grid: Slices,
    regions: Mapping[int, _Region],
    volume: Volume,
) -> dict[int, BodySignal]:
    """Return the signal of every body in one series, by place in the spine."""
    bright = float(np.percentile(volume.array[:: max(1, volume.shape[0] // 5)], 99))
    # Noise may reach 0: one part in a thousand of the series' bright end is below any tissue.
    least = 1e-3 * max(bright, 1e-6)

    def logarithms(voxels: NDArray[np.intp]) -> NDArray[np.float64]:
        places = grid.to_mm(voxels)
        values = volume.sample(places[volume.contains(places)]) if len(places) else np.zeros(0)
        return np.asarray(np.log(np.maximum(values.astype(np.float64), least)))

    inside = {
        number: logs
        for number, region in regions.items()
        if len(logs := logarithms(region.without_edge(grid).voxels)) >= FEWEST_VOXELS
    }
    if len(inside) < 3:
        return {}
    places = ndimage.find_objects(np.maximum(discs, 0))
    disc = {
        number: logarithms(_Region.of(discs, place, number + 1).voxels)
        for number, place in enumerate(places)
        if place is not None
    }
    known = np.array(list(inside))
    # Disease darkens marrow on T1W: what to expect lies above the middle of the others.
    share = INTACT_SHARE if volume.weighting is Weighting.T1W else 0.5
    expected = _expected(known, np.array([float(logs.mean()) for logs in inside.values()]), share)
    found = {}
    for number, usual in zip(known.tolist(), expected, strict=True):
        slices, rows, _ = regions[number].place
        block = (slices, rows, slice(0, grid.shape[2]))
        behind = logarithms(_Region(block, classes[block] == TissueClass.CANAL).voxels)
        near = np.concatenate([disc.get(number - 1, behind[:0]), disc.get(number, behind[:0])])
        found[number] = _signal(inside[number], float(usual), near, behind)
    return found


def _signal(
    logs: NDArray[np.float64], usual: float, discs: NDArray[np.float64], canal: NDArray[np.float64]
) -> BodySignal:
    low, middle, high = (float(value) for value in np.percentile(logs, (25, 50, 75)))

    def over(others: NDArray[np.float64]) -> float | None:
        return float(np.exp(middle - np.median(others))) if len(others) >= FEWEST_VOXELS else None

    return BodySignal(
        float(logs.mean()) - usual,
        over(discs),
        over(canal),
        high - low,
        float((logs < usual - CHANGED).mean()),
        float((logs > usual + CHANGED).mean()),
    )

"""One vertebral body: its size, its deformity, and the surface of its end plates and walls.

A vertebra's own frame has its origin at the centre of the body; its axes are lateral (towards the left), depth (towards
the back) and height (upwards). The spine frame counts millimetres along left, posterior and superior (LPS).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Deformity", "Extent", "Vertebra"]


@dataclass(frozen=True)
class Deformity:
    """How far a body has collapsed, in shares of its height.

    Parameters
    ----------
    anterior, posterior, central : float
        Height lost at the anterior and posterior wall, and the additional loss at the centre.
    upper_share : float
        Share of the loss that is taken from the upper end plate.
    exponent : float
        Exponent of the central loss, (1 - u^2)^exponent, where u runs from -1 to 1 along the depth.
    bulge_mm : float
        Convexity of the posterior wall beyond its normal position.
    bulge_height : float
        Where the posterior wall bulges most: 0 at mid-height, 1 at the upper corner.
    """

    anterior: float = 0.0
    posterior: float = 0.0
    central: float = 0.0
    upper_share: float = 0.8
    exponent: float = 1.2
    bulge_mm: float = 0.0
    bulge_height: float = 0.0

    def losses_mm(
        self, along: NDArray[np.float32], across: NDArray[np.float32], height_mm: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the height lost from the upper and from the lower end plate.

        Parameters
        ----------
        along, across : ndarray, any one shape
            Depth and lateral position in half extents of the body, -1 to 1.
        height_mm : float
            Height of the body before the collapse.

        Returns
        -------
        upper, lower : ndarray of the same shape
            Millimetres.
        """
        loss = self.posterior + (self.anterior - self.posterior) * (1 - along) / 2
        if self.central > 0:
            hollow = 1 - along * along
            loss = loss + self.central * np.power(hollow, self.exponent) * (1 - 0.55 * across * across)
        lost = np.asarray(loss * height_mm, np.float32)
        return lost * self.upper_share, lost * (1 - self.upper_share)

    def bulges(
        self, rise: NDArray[np.float32], across: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32] | float, NDArray[np.float32] | float]:
        """Return how far the anterior and the posterior wall bulge outward.

        Parameters
        ----------
        rise, across : ndarray, any one shape
            Height and signed lateral position in half extents of the body.

        Returns
        -------
        anterior, posterior : ndarray of the same shape, or 0
            Millimetres.
        """
        if self.bulge_mm == 0:
            return 0.0, 0.0
        place = rise - 0.62 * self.bulge_height
        square = across * across
        return 0.0, self.bulge_mm * np.exp(-(place * place) / (0.55 - 0.33 * self.bulge_height)) * (1 - square)


@dataclass(frozen=True)
class Extent:
    """Size of a vertebral body, after any collapse.

    Parameters
    ----------
    depth_mm, width_mm : float
        Anteroposterior depth in the midline at mid-height, and width at the end plates.
    front_mm, middle_mm, back_mm : float
        Anterior, middle and posterior height in the midline.
    """

    depth_mm: float
    width_mm: float
    front_mm: float
    middle_mm: float
    back_mm: float


@dataclass(frozen=True, eq=False)
class Vertebra:
    """One vertebral body, with the canal and the disc that belong to it.

    Parameters
    ----------
    level : str
    centre_mm : ndarray, shape (3,)
        Spine frame.
    axes : ndarray, shape (3, 3)
        Rows: lateral, depth and height directions in the spine frame.
    depth_mm, height_mm, width_mm, canal_mm, disc_mm : float
        Depth, middle height before any collapse and width of the body, depth of the canal, height of the disc below.
    anterior_ratio : float
        Anterior over posterior height.
    endplate_concavity_mm, wall_concavity_mm : float
        Depth of the normal concavity of the end plates and of the walls.
    disc_grade : float
        Pfirrmann grade of the disc below.
    disc_bulge_mm : float
        Bulge of the disc below into the canal.
    osteophyte_mm : float
        Size of the osteophytes at the anterior corners.
    waves : tuple of tuple of float, shape (2, 4)
        Small irregularities of the upper and the lower end plate: amplitude (mm) and phase of a long and a short wave.
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
    endplate_concavity_mm: float
    wall_concavity_mm: float
    disc_grade: float
    disc_bulge_mm: float
    osteophyte_mm: float
    waves: tuple[tuple[float, ...], ...]
    deformity: Deformity = field(default_factory=Deformity)

    @property
    def sacral(self) -> bool:
        """Return whether this is a segment of the sacrum."""
        return self.level.startswith("S")

    def end_plates(
        self, lateral: NDArray[np.float32], depth: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the heights of the lower and the upper end plate.

        Parameters
        ----------
        lateral, depth : ndarray, any one shape
            Millimetres in the vertebra's own frame.

        Returns
        -------
        lower, upper : ndarray of the same shape
            Millimetres above the vertebra's origin.
        """
        along = np.clip(depth / (self.depth_mm / 2), -1, 1)
        across = np.clip(lateral / (self.width_mm / 2), -1, 1)
        hollow = 1 - along * along
        half = self.height_mm / 2
        tapered = half * (1 + (self.anterior_ratio - 1) * (-along) / 2)
        dish = self.endplate_concavity_mm * hollow
        lost_above, lost_below = self.deformity.losses_mm(along, across, self.height_mm)
        upper = tapered - dish - lost_above
        lower = -tapered + dish + lost_below
        for plate, (long_mm, long_phase, short_mm, short_phase) in zip((upper, lower), self.waves, strict=True):
            plate += long_mm * np.sin(3.1 * along + 1.7 * across + long_phase)
            plate += short_mm * np.sin(7.3 * along - 2.9 * across + short_phase)
        return lower, upper

    def walls(
        self, lateral: NDArray[np.float32], height: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the depths of the anterior and the posterior wall.

        Parameters
        ----------
        lateral, height : ndarray, any one shape
            Millimetres in the vertebra's own frame.

        Returns
        -------
        anterior, posterior : ndarray of the same shape
            Millimetres behind the vertebra's origin.
        """
        signed = np.clip(lateral / (self.width_mm / 2), -1, 1)
        across = np.abs(signed)
        rise = np.clip(height / (self.height_mm / 2), -1.1, 1.1)
        half = self.depth_mm / 2
        square = across * across
        round_front = half * (1 - np.sqrt(1 - square * np.sqrt(across)))
        edge = np.maximum(across - 0.45, 0) / 0.55
        round_back = half * (0.9 * edge * edge - 0.09 * (1 - square))
        waist = self.wall_concavity_mm * (1 - rise * rise)
        sixth = np.square(rise * rise * rise)
        lip = self.osteophyte_mm * sixth
        front = -half + round_front + waist - lip
        back = half - round_back - 0.6 * waist + 0.2 * lip
        ahead, behind = self.deformity.bulges(rise, signed)
        return front - ahead, back + behind

    def local(self, position_mm: NDArray[Any]) -> NDArray[np.float64]:
        """Map positions from the spine frame to the vertebra's own frame.

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
        """Map positions from the vertebra's own frame to the spine frame; the inverse of :meth:`local`."""
        result: NDArray[np.float64] = np.asarray(local_mm, float) @ self.axes + self.centre_mm
        return result

    def extent(self) -> Extent:
        """Measure the body on the surface that is rendered.

        Returns
        -------
        Extent
        """
        depth = np.array([-0.5, 0.0, 0.5], np.float32) * np.float32(self.depth_mm)
        lower, upper = self.end_plates(np.zeros_like(depth), depth)
        middle = np.asarray((lower[1:2] + upper[1:2]) / 2, np.float32)
        front, back = self.walls(np.zeros_like(middle), middle)
        heights = (float(value) for value in upper - lower)
        return Extent(float(back[0] - front[0]), self.width_mm, *heights)

    def centroid(self) -> NDArray[np.float64]:
        """Return the centre of the body's midsagittal section, which a collapse moves away from the origin.

        Returns
        -------
        ndarray, shape (3,)
            Spine frame, millimetres.
        """
        depth = np.linspace(-0.6, 0.6, 121, dtype=np.float32)[:, None] * np.float32(self.depth_mm)
        height = np.linspace(-0.6, 0.6, 121, dtype=np.float32)[None, :] * np.float32(self.height_mm)
        lower, upper = self.end_plates(np.zeros_like(depth), depth)
        front, back = self.walls(np.zeros_like(height), height)
        depth, height = np.broadcast_arrays(depth, height)
        inside = (height > lower) & (height < upper) & (depth > front) & (depth < back)
        return self.world(np.array([0.0, depth[inside].mean(), height[inside].mean()]))

    def outline(self) -> NDArray[np.float64]:
        """Return points on the body's midsagittal outline.

        Returns
        -------
        ndarray, shape (n, 3)
            Spine frame, millimetres.
        """
        depth = np.linspace(-self.depth_mm / 2, self.depth_mm / 2, 41, dtype=np.float32)
        zero = np.zeros_like(depth)
        lower, upper = self.end_plates(zero, depth)
        height = np.linspace(float(lower.min()), float(upper.max()), 41, dtype=np.float32)
        front, back = self.walls(np.zeros_like(height), height)
        points = [np.stack([zero, depth, lower], -1), np.stack([zero, depth, upper], -1)]
        for wall in (front, back):
            low, high = self.end_plates(np.zeros_like(height), wall)
            inside = (height >= low) & (height <= high)
            points.append(np.stack([np.zeros_like(height), wall, height], -1)[inside])
        return self.world(np.concatenate(points))

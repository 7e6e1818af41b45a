"""Anatomical variation beyond the usual adult spine: numbering variants, slips, scoliosis, and the slope of the sacrum.

A localiser has to name vertebrae in such spines too. All of it is off by default; the dials of a cohort switch it on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.levels import NUMBERINGS, level_rows
from spinefx.phantom.settings import PhantomSettings

__all__ = ["Variation", "draw_variation", "vary_table"]

_TILT, _DISC, _WIDTH = 5, 4, 2  # columns of the patient's table
# Share of a change of the sacral slope that each lumbar level follows.
_FOLLOWING = {"L1": -0.05, "L2": 0.0, "L3": 0.12, "L4": 0.32, "L5": 0.62, "L6": 0.75}


@dataclass(frozen=True)
class Variation:
    """Anatomical variation of one patient.

    Parameters
    ----------
    numbering : str
        One of :data:`spinefx.phantom.levels.NUMBERINGS`, or ``usual``.
    slip_level : str
        Vertebra that has slipped forward on the one below; empty without a slip.
    slip_mm : float
        Forward displacement of that vertebra.
    sacral_slope_deg : float or None
        Angle of the upper end plate of S1 to the horizontal; None for that of the usual spine.
    scoliosis_mm, wavelength_mm, phase : float
        Lateral range, wavelength along the spine and phase of a scoliotic curve.
    """

    numbering: str = "usual"
    slip_level: str = ""
    slip_mm: float = 0.0
    sacral_slope_deg: float | None = None
    scoliosis_mm: float = 0.0
    wavelength_mm: float = 320.0
    phase: float = 0.0

    def lateral_mm(self, height_mm: float) -> float:
        """Return the lateral deviation of the scoliotic curve at a height of the spine frame, millimetres."""
        return self.scoliosis_mm / 2 * float(np.sin(2 * np.pi * height_mm / self.wavelength_mm + self.phase))


def draw_variation(settings: PhantomSettings, taken: Collection[str], rng: np.random.Generator) -> Variation | None:
    """Draw the anatomical variation of one patient.

    Parameters
    ----------
    settings : PhantomSettings
    taken : collection of str
        Levels with a lesion or another change, which the spine must have.
    rng : numpy.random.Generator

    Returns
    -------
    Variation or None
        None where no dial asks for variation.
    """
    low, high = settings.scoliosis_mm.low, settings.scoliosis_mm.high
    slope = settings.sacral_slope_deg
    if settings.numbering_variants == settings.spondylolisthesis == high == 0 and slope is None:
        return None
    # Every value is drawn whatever the dials, so that one dial does not change what another one draws.
    varied, slipped = rng.random(2)
    possible = [name for name in NUMBERINGS if set(taken) <= {level for level, _ in level_rows(name)}]
    numbering = str(rng.choice(possible))
    slip_level, slip_mm = str(rng.choice(["L3", "L4", "L4", "L5"])), float(rng.uniform(3, 11))
    sacral_slope = float(rng.uniform(slope.low, slope.high) if slope else rng.random())
    scoliosis = float(rng.uniform(low, high))
    wavelength, phase = float(rng.uniform(240, 420)), float(rng.uniform(0, 2 * np.pi))
    numbering = numbering if varied < settings.numbering_variants else "usual"
    if slipped >= settings.spondylolisthesis or slip_level not in {level for level, _ in level_rows(numbering)}:
        slip_level, slip_mm = "", 0.0
    return Variation(
        numbering=numbering,
        slip_level=slip_level,
        slip_mm=slip_mm,
        sacral_slope_deg=sacral_slope if slope else None,
        scoliosis_mm=scoliosis,
        wavelength_mm=wavelength,
        phase=phase,
    )


def vary_table(table: NDArray[np.float64], levels: tuple[str, ...], variation: Variation) -> None:
    """Apply a transitional vertebra and the slope of the sacrum to a patient's table of sizes, in place.

    Parameters
    ----------
    table : ndarray, shape (levels, 6)
        Depth, posterior height, width, canal depth and disc below (mm), tilt (degrees).
    levels : tuple of str
    variation : Variation
    """
    if variation.numbering == "transitional_l5":  # sacralised: a rudimentary disc, and a broad body
        row = levels.index("L5")
        table[row, _DISC] *= 0.35
        table[row, _WIDTH] *= 1.12
    if variation.numbering == "transitional_s1":  # lumbarised: a well-formed disc below a square body
        row = levels.index("S1")
        table[row, _DISC] = 0.65 * table[row - 1, _DISC]
        table[row, 0] *= 1.08
        table[row + 1, _TILT] = table[row, _TILT] - 6
    if variation.sacral_slope_deg is not None:
        change = -variation.sacral_slope_deg - table[levels.index("S1"), _TILT]
        for row, level in enumerate(levels):
            table[row, _TILT] += change * (1.0 if level[0] == "S" else _FOLLOWING.get(level, 0.0))

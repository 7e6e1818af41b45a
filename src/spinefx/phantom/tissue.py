"""Tissue composition, and the signal of each tissue under a sequence.

Every voxel is water plus fat, kept apart because scanners displace fat. Relaxation times and proton densities at 1.5 T
come from synthetic MRI, fat fraction and T2 mapping studies of the spine. At 3 T every T1 is longer and T2 is unchanged
(Stanisz 2006, ISMRM 14:2494); by how much T1 is longer is a design choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import InputError

__all__ = [
    "BONE_VOLUME",
    "TISSUES",
    "Pool",
    "Sequence",
    "TissueSignals",
    "disc_nucleus",
    "draw_random_contrast",
    "fat_signal",
    "water_signal",
]

BONE_VOLUME = 0.12
"""Share of a marrow voxel that is trabecular bone and has no signal."""

_FAT_T1_MS, _FAT_T2_SE_MS, _FAT_T2_FSE_MS, _FAT_DENSITY, _FAT_T1_RISE = 265.0, 75.0, 120.0, 0.95, 1.25
_STIMULATED_ECHO_GAIN = 1.06
_FAT_SATURATION_RESIDUE = 0.07
_FAT_ITSELF = "fat itself"  # the fat signal; the tissue "fat" also holds a little water
_DRAWN_REFERENCE = 0.2


@dataclass(frozen=True)
class Pool:
    """One water pool.

    Parameters
    ----------
    t1_ms, t2_ms : float
        Relaxation times at 1.5 T.
    density : float
        Proton density relative to water.
    fat : float
        Share of the voxel that is fat.
    t1_rise : float
        Ratio of T1 at 3 T to T1 at 1.5 T.
    """

    t1_ms: float
    t2_ms: float
    density: float
    fat: float = 0.0
    t1_rise: float = 1.25


TISSUES: MappingProxyType[str, Pool] = MappingProxyType(
    {
        "air": Pool(500, 5, 0.0),
        "lung": Pool(900, 20, 0.10),
        "marrow_water": Pool(850, 40, 0.85),
        "oedema": Pool(1380, 92, 0.90),
        "lytic": Pool(1120, 84, 0.90),
        "nodule": Pool(1180, 76, 0.86),
        "blastic": Pool(750, 42, 0.40),
        "cement": Pool(400, 5, 0.03),
        "blood": Pool(500, 60, 0.85),
        "fluid": Pool(3000, 700, 1.0, t1_rise=1.0),
        "annulus": Pool(650, 38, 0.50),
        "csf": Pool(4270, 1580, 1.07, t1_rise=1.0),
        "cord": Pool(790, 92, 0.75),
        "roots": Pool(850, 78, 0.75),
        "muscle": Pool(900, 40, 0.80, 0.05),
        "ligament": Pool(550, 18, 0.42),
        "flavum": Pool(500, 28, 0.55),
        "cortex": Pool(400, 6, 0.12),
        "haemangioma": Pool(900, 150, 0.9, 0.62),
        "bowel": Pool(1100, 70, 0.85, 0.15),
        "liver": Pool(580, 46, 0.75, 0.04),
        "skin": Pool(900, 35, 0.6, 0.2),
        "fat": Pool(900, 40, 0.8, 0.96),
    }
)


@dataclass(frozen=True)
class Sequence:
    """Contrast of one acquisition: its timing, or random tissue intensities.

    Parameters
    ----------
    kind : str
        ``se`` spin echo, ``fse`` fast spin echo, ``stir`` inversion recovery fast spin echo, ``gre`` spoiled
        gradient echo.
    repetition_ms, echo_ms : float
    inversion_ms : float
        Used by ``stir`` alone.
    train_length : int
    echo_spacing_ms : float
    flip_deg : float
        Used by ``gre`` alone.
    field_t : float
        1.5 or 3 tesla.
    brightness : tuple of (str, float)
        Random signal of every tissue's water and of fat; empty where signals follow from the timing.

    Raises
    ------
    InputError
        For an unknown kind.
    """

    kind: str
    repetition_ms: float
    echo_ms: float
    inversion_ms: float = 0.0
    train_length: int = 1
    echo_spacing_ms: float = 0.0
    flip_deg: float = 90.0
    field_t: float = 1.5
    brightness: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in {"se", "fse", "stir", "gre"}:
            raise InputError(f"unknown sequence kind {self.kind!r}", where="phantom", allowed="se, fse, stir, gre")


def _signal(t1_ms: float, t2_ms: float, density: float, sequence: Sequence) -> float:
    repetition, echo = sequence.repetition_ms, sequence.echo_ms
    if sequence.kind == "se":
        recovery = 1 - 2 * np.exp(-(repetition - echo / 2) / t1_ms) + np.exp(-repetition / t1_ms)
    elif sequence.kind == "gre":
        flip, decay = np.deg2rad(sequence.flip_deg), np.exp(-repetition / t1_ms)
        recovery = np.sin(flip) * (1 - decay) / (1 - np.cos(flip) * decay)
        t2_ms = t2_ms * 0.6  # T2* is shorter than T2, because trabeculae and cortex disturb the field
    else:
        left = repetition - sequence.train_length * sequence.echo_spacing_ms
        recovery = 1 - np.exp(-left / t1_ms)
        if sequence.kind == "stir":
            recovery = abs(1 - 2 * np.exp(-sequence.inversion_ms / t1_ms) + np.exp(-left / t1_ms))
    return float(density * recovery * np.exp(-echo / t2_ms))


def water_signal(pool: Pool, sequence: Sequence) -> float:
    """Return the signal of a voxel filled with the water of one pool.

    Parameters
    ----------
    pool : Pool
    sequence : Sequence

    Returns
    -------
    float
        Relative to free, fully relaxed water.
    """
    gain = _STIMULATED_ECHO_GAIN if sequence.kind in {"fse", "stir"} else 1.0
    return _signal(_at_field(pool.t1_ms, pool.t1_rise, sequence), pool.t2_ms * gain, pool.density, sequence)


def _at_field(t1_ms: float, rise: float, sequence: Sequence) -> float:
    return t1_ms * (rise if sequence.field_t > 2 else 1.0)


def fat_signal(sequence: Sequence) -> float:
    """Return the signal of a voxel filled with fat.

    Parameters
    ----------
    sequence : Sequence

    Returns
    -------
    float
        Relative to free, fully relaxed water. Fat decays more slowly on fast spin echo (Henkelman 1992).
    """
    t1_ms = _at_field(_FAT_T1_MS, _FAT_T1_RISE, sequence)
    apparent = _FAT_T2_SE_MS if sequence.kind in {"se", "gre"} else _FAT_T2_FSE_MS * _STIMULATED_ECHO_GAIN
    if sequence.kind == "stir":
        left = sequence.repetition_ms - sequence.train_length * sequence.echo_spacing_ms
        unsuppressed = _FAT_DENSITY * (1 - np.exp(-left / t1_ms)) * np.exp(-sequence.echo_ms / apparent)
        return float(_FAT_SATURATION_RESIDUE * unsuppressed)
    return _signal(t1_ms, apparent, _FAT_DENSITY, sequence)


_GRADES = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
_NUCLEUS: NDArray[np.float64] = np.array(
    [[1165, 1100, 800, 650, 560], [150, 112, 78, 58, 45], [0.92, 0.84, 0.70, 0.58, 0.48]]
)


def disc_nucleus(grade: float) -> Pool:
    """Return the water pool of a nucleus pulposus.

    Parameters
    ----------
    grade : float
        Pfirrmann grade, 1 to 5; fractions are interpolated.

    Returns
    -------
    Pool
    """
    t1_ms, t2_ms, density = (float(np.interp(grade, _GRADES, row)) for row in _NUCLEUS)
    return Pool(t1_ms, t2_ms, density)


class TissueSignals:
    """Signals of all tissues under one sequence.

    Parameters
    ----------
    sequence : Sequence
    """

    def __init__(self, sequence: Sequence) -> None:
        self.sequence = sequence
        self._water = dict(sequence.brightness)
        self.fat = self._water.pop(_FAT_ITSELF, 0.0)
        if not sequence.brightness:
            self.fat = fat_signal(sequence)
            self._water = {name: water_signal(pool, sequence) for name, pool in TISSUES.items()}

    @property
    def reference(self) -> float:
        """Return the signal that noise and stored values refer to: 0.6 of the mean of muscle and fat (STIR: muscle)."""
        if self.sequence.brightness:
            return _DRAWN_REFERENCE
        muscle = sum(self.pair("muscle"))
        return 0.6 * (muscle if self.sequence.kind == "stir" else (muscle + self.fat) / 2)

    def water(self, tissue: str | Pool) -> float:
        """Return the signal of a voxel filled with the water of a tissue."""
        if isinstance(tissue, str):
            return self._water[tissue]
        if not self.sequence.brightness:
            return water_signal(tissue, self.sequence)
        # A nucleus lies between annulus and fluid; the more water it holds, the nearer to fluid.
        return float(np.interp(tissue.t2_ms, [45, 150], [self._water["annulus"], self._water["fluid"]]))

    def pair(self, tissue: str) -> tuple[float, float]:
        """Return the water and the fat signal of a voxel filled with a tissue."""
        share = TISSUES[tissue].fat
        return self.water(tissue) * (1 - share), self.fat * share


def draw_random_contrast(rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    """Draw a random intensity for every tissue's water and for fat (domain randomisation, as in SynthSeg).

    Parameters
    ----------
    rng : numpy.random.Generator

    Returns
    -------
    tuple of (str, float)
        For ``Sequence.brightness``; air stays dark.
    """
    names = [name for name in TISSUES if name != "air"]
    drawn = rng.uniform(0.03, 0.60, len(names) + 1)
    return (("air", 0.0), *((name, float(value)) for name, value in zip([*names, _FAT_ITSELF], drawn, strict=True)))

"""A patient's soft tissues and normal marrow, as a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Habitus"]


@dataclass(frozen=True)
class Habitus:
    """A patient's soft tissues and marrow.

    Parameters
    ----------
    marrow_fat : float
        Fat fraction of normal marrow.
    marrow_texture : float
        Standard deviation of the fat fraction between spots of marrow.
    muscle_fat : float
        Fatty share of the paraspinal muscles.
    skin_mm : float
        Distance from the smoothed line of the posterior vertebral walls to the skin.
    subcutaneous_mm : float
        Thickness of the subcutaneous fat.
    epidural_fat : float
        0 to 1, amount of epidural fat.
    front_mm : float
        Distance from the anterior walls of the bodies to the front of the trunk.
    """

    marrow_fat: float
    marrow_texture: float
    muscle_fat: float
    skin_mm: float
    subcutaneous_mm: float
    epidural_fat: float
    front_mm: float

    @property
    def grain(self) -> float:
        """Return the factor on the correlation lengths of the marrow's texture."""
        return 1.0

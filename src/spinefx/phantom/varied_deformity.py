"""Deformities beyond the typical ones: other end plates, other walls, either side, and from mild to severe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.vertebra import Deformity

__all__ = ["VariedDeformity", "draw_varied_deformity", "draw_varied_healed"]

# Form of a protrusion, and its share in benign and in malignant fractures: convexity speaks for tumour, a corner that
# is driven backward for trauma. The shares are a design choice.
_BULGES = {"broad": (0.20, 0.45), "narrow": (0.10, 0.15), "corner": (0.55, 0.20), "anterior": (0.15, 0.20)}


@dataclass(frozen=True)
class VariedDeformity(Deformity):
    """A deformity of either end plate, either wall and either side.

    Parameters
    ----------
    central_upper_share : float
        Share of the central loss that is taken from the upper end plate: 1 and 0 leave one plate intact.
    apex : float
        Where along the depth the central loss is greatest, in half extents: -1 anterior, 1 posterior.
    asymmetry : float
        Share by which the loss is greater on the left than in the midline; negative on the right.
    bulge_reach : float
        Half the height of the protrusion; like ``bulge_height`` in half heights of the wall after the collapse.
    bulge_power : float
        Exponent of the protrusion's profile, (1 - u^2)^power.
    bulge_side : float
        Lateral position of the protrusion, in half widths.
    anterior_bulge : bool
        Whether the anterior wall protrudes instead of the posterior one.
    """

    central_upper_share: float = 0.8
    apex: float = 0.0
    asymmetry: float = 0.0
    bulge_reach: float = 0.6
    bulge_power: float = 1.0
    bulge_side: float = 0.0
    anterior_bulge: bool = False

    def losses_mm(
        self, along: NDArray[np.float32], across: NDArray[np.float32], height_mm: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the height lost from the upper and from the lower end plate; see :meth:`Deformity.losses_mm`."""
        slope = 1 + np.float32(self.asymmetry) * across
        loss = (self.posterior + (self.anterior - self.posterior) * (1 - along) / 2) * slope * height_mm
        ahead = along < self.apex
        place = (along - np.float32(self.apex)) / np.where(ahead, np.float32(1 + self.apex), np.float32(1 - self.apex))
        hollow = np.maximum(1 - place * place, 0)
        dent = self.central * np.power(hollow, self.exponent) * (1 - 0.55 * across * across) * slope * height_mm
        upper = loss * self.upper_share + dent * self.central_upper_share
        lower = loss * (1 - self.upper_share) + dent * (1 - self.central_upper_share)
        return upper, lower

    def bulges(
        self, rise: NDArray[np.float32], across: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32] | float, NDArray[np.float32] | float]:
        """Return how far the anterior and the posterior wall bulge outward; see :meth:`Deformity.bulges`."""
        if self.bulge_mm == 0:
            return 0.0, 0.0
        # Of what is left of the wall, which the collapse has made shorter.
        lost = self.anterior if self.anterior_bulge else self.posterior
        left = (rise - lost * (1 - 2 * self.upper_share)) / (1 - lost)
        profile = np.maximum(1 - np.square((left - self.bulge_height) / self.bulge_reach), 0)
        sideways = np.maximum(1 - np.square((across - self.bulge_side) / 0.9), 0)
        bulge: NDArray[np.float32] = np.float32(self.bulge_mm) * np.power(profile, self.bulge_power) * sideways
        return (bulge, 0.0) if self.anterior_bulge else (0.0, bulge)


def draw_varied_deformity(shape: str, protruding: bool, malignant: bool, rng: np.random.Generator) -> VariedDeformity:
    """Draw the deformity of a lesion vertebra.

    Parameters
    ----------
    shape : str
        One of :data:`spinefx.phantom.sign_rules.SHAPES`.
    protruding : bool
        Whether a wall protrudes.
    malignant : bool
    rng : numpy.random.Generator

    Returns
    -------
    VariedDeformity
        Losses of 20 to 66%, from Genant's mild to his severe grade.
    """
    anterior = posterior = central = 0.0
    if shape == "none":
        anterior, posterior = rng.uniform(0, 0.05), rng.uniform(0, 0.02)
    if shape.startswith("wedge"):
        anterior, posterior = rng.uniform(0.20, 0.66), rng.uniform(0, 0.07)
    if shape.startswith("entire"):
        anterior, posterior = rng.uniform(0.26, 0.62), rng.uniform(0.20, 0.50)
    if shape.endswith("concave"):
        central = rng.uniform(0.22, 0.48) if shape == "concave" else rng.uniform(0.13, 0.34)
    posterior, apex = min(posterior, anterior), rng.uniform(-0.4, 0.4)
    # The losses together must leave a visible body, and a concavity that can be told from a flat end plate.
    if shape.endswith("concave"):
        flat = posterior + (anterior - posterior) * (1 - apex) / 2
        shrink = min(1.0, 0.45 / flat) if flat else 1.0
        anterior, posterior = max(shrink * anterior, min(anterior, 0.2)), shrink * posterior
        central = max(min(central, 0.57 - shrink * flat), 0.13)
    return VariedDeformity(
        anterior=float(anterior),
        posterior=float(posterior),
        central=float(central),
        exponent=float(np.exp(rng.uniform(np.log(0.6), np.log(3.0)))),
        apex=float(apex),
        upper_share=_plates(rng, 0.55),
        central_upper_share=_plates(rng, 0.45),
        asymmetry=float(rng.uniform(-1, 1) * min(0.3, 0.68 / max(anterior, 0.1) - 1)),
        **_draw_bulge(protruding, malignant, rng),
    )


def draw_varied_healed(rng: np.random.Generator) -> VariedDeformity:
    """Draw the deformity of a healed fracture of another level.

    Parameters
    ----------
    rng : numpy.random.Generator

    Returns
    -------
    VariedDeformity
        A wedge, a biconcave or a flat body.
    """
    flat = rng.random() < 0.25
    anterior = rng.uniform(0.15, 0.55)
    return VariedDeformity(
        anterior=float(anterior),
        posterior=float(rng.uniform(0.5, 0.9) * anterior if flat else rng.uniform(0, 0.12)),
        central=float(rng.uniform(0, 0.3) * (1 - anterior)),
        exponent=float(np.exp(rng.uniform(np.log(0.6), np.log(3.0)))),
        apex=float(rng.uniform(-0.4, 0.4)),
        upper_share=_plates(rng, 0.55),
        central_upper_share=_plates(rng, 0.45),
        asymmetry=float(rng.uniform(-0.3, 0.3)),
    )


def _plates(rng: np.random.Generator, upper: float) -> float:
    """Share of a loss that the upper end plate takes: all of it with probability ``upper``, else none or a part."""
    kind, part = rng.random(), rng.uniform(0.3, 0.7)
    alone = 0.4 * (1 - upper)
    return 1.0 if kind < upper else 0.0 if kind < upper + alone else float(part)


def _draw_bulge(protruding: bool, malignant: bool, rng: np.random.Generator) -> dict[str, Any]:
    shares = np.array([pair[malignant] for pair in _BULGES.values()])
    form = str(rng.choice(list(_BULGES), p=shares / shares.sum()))
    end = 1.0 if rng.random() < 0.75 else -1.0  # the upper corner breaks off more often
    size, centre, side = rng.uniform(2.5, 7.0), rng.uniform(-0.35, 0.35), rng.uniform(-0.35, 0.35)
    # Half the height, such that a protrusion takes 40 to 100% of it; a corner and a narrow peak take less.
    reach = {"broad": rng.uniform(0.6, 1.1), "narrow": rng.uniform(0.3, 0.5)}.get(form, rng.uniform(0.4, 0.8))
    height = {"corner": 0.75 * end, "broad": 0.5 * centre}.get(form, centre)
    if not protruding:
        return {"bulge_mm": 0.0}
    return {
        "bulge_mm": float(size),
        "bulge_height": float(height),
        "bulge_reach": float(reach),
        "bulge_power": float(rng.uniform(0.7, 1.6)),
        "bulge_side": float(side),
        "anterior_bulge": form == "anterior",
    }

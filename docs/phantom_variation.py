"""Draw the picture of fields of view and anatomical variation on the phantom's page: T2W above the label maps.

Run as ``python docs/phantom_variation.py``; writes ``docs/images/phantom-variation.png``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spinefx.phantom.case import render_case
from spinefx.phantom.labels import render_labels
from spinefx.phantom.random_streams import CaseDraw, PhantomSettings, draw_case
from spinefx.phantom.variation import Variation

PICTURE = Path(__file__).resolve().parent / "images" / "phantom-variation.png"
PATIENT, PIXELS, COLOURS = 6, 256, 96
# Variation, what the field is centred on, and its side in millimetres.
SHOWN = (
    (Variation(slip_level="L5", slip_mm=10.0, sacral_slope_deg=60.0), "lumbar", 300.0),
    (Variation(sacral_slope_deg=18.0), "lumbar", 300.0),
    (Variation(numbering="six_lumbar"), "lumbar", 340.0),
    (Variation(numbering="transitional_s1"), "lumbar", 360.0),
    (Variation(), "cervical", 260.0),
    (Variation(scoliosis_mm=30.0, wavelength_mm=350.0), "whole_spine", 640.0),
)


def patient(variation: Variation, centre: str, side_mm: float) -> CaseDraw:
    """Return one patient with a variation and a field, centred exactly, with T2W alone at full size.

    Parameters
    ----------
    variation : Variation
    centre : str
    side_mm : float
    """
    draw = draw_case(PhantomSettings(matrix=PIXELS), PATIENT)
    few = {name: replace(getattr(draw, name), slices=1, painted=32) for name in ("t1w", "stir", "localizer")}
    return replace(
        draw,
        **few,
        t2w=replace(draw.t2w, fov_mm=side_mm, slices=15),
        coil=replace(draw.coil, length_mm=draw.coil.length_mm * side_mm / 300),
        spots=(),
        healed={},
        variation=variation,
        field_centre=centre,
        field_mm=dict.fromkeys(draw.field_mm, (0.0, 0.0, 0.0)),
        oblique_deg=dict.fromkeys(draw.oblique_deg, (0.0, 0.0, 0.0)),
    )


def tile(draw: CaseDraw) -> NDArray[np.uint8]:
    """Return the middle T2W slice above its label map, in colour.

    Parameters
    ----------
    draw : CaseDraw
    """
    image, labels = render_case(draw).t2w.array, render_labels(draw).array.astype(int)
    middle = len(image) // 2
    grey = np.clip(image[middle] / np.percentile(image[middle], 99) * 255, 0, 255).astype(np.uint8)
    colours = np.random.default_rng(0).integers(60, 255, (800, 3), dtype=np.uint8)
    colours[0] = 0
    return np.concatenate([np.repeat(grey[..., None], 3, axis=2), colours[labels[middle]]])


def main() -> None:
    """Draw all tiles side by side."""
    tiles = [tile(patient(*shown)) for shown in SHOWN]
    picture = Image.fromarray(np.concatenate(tiles, axis=1))
    picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=COLOURS).save(PICTURE, optimize=True)
    print(f"{PICTURE.name} {PICTURE.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()

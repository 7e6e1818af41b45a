"""Draw the phantom gallery: the clearest case of each sign and distractor, and the page that shows them.

Run as ``python docs/phantom_gallery.py``. It writes ``docs/images/phantom/*.png`` and ``docs/gallery.md``, inserts the
table that ``benchmarks/phantom_realism.py`` recorded into ``docs/is-it-real.md``, and copies the pictures of the
fifteen signs to the reading page.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from phantom_showcase import DISTRACTORS, clearest_case, place_of
from PIL import Image, ImageDraw

from spinefx.imaging.volume import Volume
from spinefx.phantom.case import render_case
from spinefx.vocabulary import SIGNS

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images" / "phantom"
PAGE_IMAGES = DOCS.parent / "web" / "src" / "signs"
PIXEL_MM = 0.5
WIDTH, HEIGHT = 200, 240
GREYS = 64  # enough for the eye, few enough for small files
FROM_BEHIND = {"ap_protrusion", "epidural_paraspinal_mass"}  # from the front the arrow would cover the sign

DEFINITIONS = {
    "absence_of_collapse": "At most 5% of the height is lost; here the marrow of an intact body is replaced.",
    "anterior_wedge": "The anterior height falls by 22 to 52%, the posterior height by at most 7%.",
    "entire_body_compression": "The anterior height falls by 28 to 60%, the posterior height by 22 to 45%.",
    "central_concave": "The central height falls by a further 14 to 32% (28 to 45% where nothing else is lost).",
    "homogeneous_marrow": "A collapsed body with the marrow of its neighbours: an old fracture.",
    "dark_line_band": "A wavy line of 1.4 to 2.5 mm below the broken end plate, dark on T1W and T2W: impacted bone.",
    "band_pattern_oedema": "Oedema along one end plate over 43 to 65% of the height; the rest of the marrow is normal.",
    "dark_patch": "An irregular patch, dark on T1W and T2W: cement (as here), or sclerosis, which is less dark.",
    "fluid_necrotic_cleft": "A cleft below the end plate, with fluid as bright as CSF on T2W, or with gas; in "
    "malignant bodies, central necrosis.",
    "diffuse_signal_change": "Oedema or tumour in more than three quarters of the marrow.",
    "nodular_lesion": "One or two lobulated nodules, dark on T1W.",
    "ap_protrusion": "The posterior wall bulges by 3 to 6 mm (malignant), or its upper corner is retropulsed (benign).",
    "epidural_paraspinal_mass": "Tumour anterior to the thecal sac, bilobed at the midline septum, and in front of the "
    "body; in benign fractures, a thin haematoma.",
    "pedicle_posterior_element": "One pedicle with its lamina and articular processes is replaced and expanded.",
    "skip_lesions": "Nodules in, or replacement of, other bodies.",
    "haemangioma": "Haemangioma: fat and slow blood, bright on T1W and T2W.",
    "schmorl": "Schmorl node: disc material herniated through an end plate.",
    "modic1": "Modic 1: oedema beside an end plate, dark on T1W and bright on T2W.",
    "modic2": "Modic 2: fat beside an end plate, bright on T1W and T2W.",
    "modic3": "Modic 3: sclerosis beside an end plate, dark on T1W and T2W.",
    "healed_fracture": "Healed fracture of another level: a wedge with normal marrow.",
    "osteophyte": "Osteophytes: bony spurs at the corners of ageing bodies.",
}


def draw(name: str) -> Image.Image:
    """Draw one sign: T1W and T2W side by side, the box, and an arrow whose tip ends just before the sign.

    Parameters
    ----------
    name : str
    """
    patient = clearest_case(name)
    case = render_case(patient)
    truth = case.truth
    place = place_of(patient, name)
    axes = case.t2w.directions
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    middle = truth.box_centre_mm + axes[:, 0] * ((place - truth.box_centre_mm) @ axes[:, 0])
    if name == "skip_lesions" or name in DISTRACTORS:
        middle = middle + axes[:, 1] * ((place - middle) @ axes[:, 1] / 2)
    middle = middle + axes[:, 2] * 12
    grid = (
        middle
        + (row - HEIGHT / 2)[..., None] * PIXEL_MM * axes[:, 1]
        + (column - WIDTH / 2)[..., None] * PIXEL_MM * axes[:, 2]
    )
    outside = name in DISTRACTORS
    sides = [_side(volume, grid) for volume in (case.t1w, case.t2w)]
    for image, words in zip(sides, ("T1W phantom", "T2W phantom"), strict=True):
        pen = ImageDraw.Draw(image)
        if not outside:
            _box(pen, truth, middle, axes, case.t2w)
        _arrow(pen, *_pixel(place, middle, axes), -1 if name in FROM_BEHIND else 1)
        pen.text((4, HEIGHT - 14), words, fill=255)
    both = Image.new("L", (2 * WIDTH + 4, HEIGHT), 255)
    both.paste(sides[0], (0, 0))
    both.paste(sides[1], (WIDTH + 4, 0))
    return both


def _pixel(place: NDArray[np.float64], middle: NDArray[np.float64], axes: NDArray[np.float64]) -> tuple[float, float]:
    down, right = (float((place - middle) @ axes[:, axis]) / PIXEL_MM for axis in (1, 2))
    return WIDTH / 2 + right, HEIGHT / 2 + down


def _side(volume: Volume, grid: NDArray[np.float64]) -> Image.Image:
    # An acquired slice, because interpolation between two slices would blur both.
    index = volume.to_index(grid)
    index[..., 0] = np.rint(np.median(index[..., 0]))
    values = volume.sample(volume.to_mm(index))
    grey = np.clip(values / np.percentile(values, 98.5), 0, 1) ** 0.8
    return Image.fromarray((np.round(grey * (GREYS - 1)) * (255 / (GREYS - 1))).astype(np.uint8))


def _box(
    pen: ImageDraw.ImageDraw, truth: object, middle: NDArray[np.float64], axes: NDArray[np.float64], t2w: Volume
) -> None:
    left, top, right, bottom = truth.box_pixels  # type: ignore[attr-defined]
    corners = [t2w.to_mm([truth.box_slice, *corner]) for corner in ((top, left), (bottom, right))]  # type: ignore[attr-defined]
    (x0, y0), (x1, y1) = (_pixel(corner, middle, axes) for corner in corners)
    pen.rectangle((x0, y0, x1, y1), outline=230)


def _arrow(pen: ImageDraw.ImageDraw, x: float, y: float, side: int) -> None:
    """Draw an arrow from below, in front (1) or behind (-1), whose tip ends two pixels before the point."""
    along = np.array([0.83 * side, -0.56])
    across = np.array([0.56, 0.83 * side])
    tip = np.array([x, y]) - 2 * along
    wings = [tip - 10 * along + turn * 5 * across for turn in (-1, 1)]
    shape = [tuple(point) for point in (tip, wings[0], tip - 8 * along, wings[1])]
    pen.line([tuple(tip - 8 * along), tuple(tip - 26 * along)], fill=0, width=4)
    pen.polygon(shape, fill=255, outline=0)
    pen.line([tuple(tip - 8 * along), tuple(tip - 25 * along)], fill=255, width=2)


def page() -> str:
    """Return the text of ``docs/gallery.md``."""
    lines = [
        "# Phantom gallery",
        "",
        "Synthetic images of one invented patient, T1W beside T2W. Each shows the clearest case of one of the fifteen",
        "signs of Yeh 2022, Table 1, without any other. Box and arrow come from the recorded truth: the arrow's tip",
        "ends just before the sign. Numbers are the ranges from which cohorts are drawn. [Is it real?](is-it-real.md)",
        "lists what does not look like a patient. `python docs/phantom_gallery.py` draws this page.",
        "",
        "## The fifteen signs",
        "",
    ]
    for sign in SIGNS:
        lines += _entry(sign.identifier, sign.label)
    lines += [
        "## Distractors",
        "",
        "No sign counts these findings. Both classes show them equally, so that focal signal alone does not reveal",
        "the class.",
        "",
    ]
    for name in DISTRACTORS:
        lines += _entry(name, DEFINITIONS[name].partition(":")[0])
    return "\n".join(lines)


def _entry(name: str, title: str) -> list[str]:
    return [f"### {title}", "", DEFINITIONS[name], "", f"![phantom: {name}](images/phantom/{name}.png)", ""]


def with_table(text: str) -> str:
    """Insert the recorded comparison with a real pair into a page, between its two markers.

    Parameters
    ----------
    text : str
    """
    path = DOCS.parent / "benchmarks" / "results" / "phantom_realism.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    lines = [f"| {' | '.join(row)} |" for row in (table["columns"], ["---"] * len(table["columns"]), *table["rows"])]
    block = "\n".join(("<!-- table -->", "", *lines, "", "<!-- end of table -->"))
    return re.sub("<!-- table -->.*<!-- end of table -->", lambda _: block, text, flags=re.S)


def main() -> None:
    """Draw all pictures and pages."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in (*(sign.identifier for sign in SIGNS), *DISTRACTORS):
        path = IMAGES / f"{name}.png"
        draw(name).save(path, optimize=True)
        if name not in DISTRACTORS:
            PAGE_IMAGES.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, PAGE_IMAGES / path.name)
        print(f"{path.name} {path.stat().st_size // 1024} kB")
    (DOCS / "gallery.md").write_text(page(), encoding="utf-8")
    real = DOCS / "is-it-real.md"
    real.write_text(with_table(real.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

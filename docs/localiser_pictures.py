"""Draw what the localiser finds: on phantoms, and on the real stacks of ../shared/data where they are at hand.

    python docs/localiser_pictures.py

Writes images/localiser-real.png and images/localiser-phantom.png. The real stacks are those of D. Zukic et al.,
Computer Graphics Forum 33 (2014), Apache-2.0, and the test image of the Spinal Cord Toolbox, MIT.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from spinefx.imaging.nifti import read_nifti
from spinefx.imaging.volume import Volume
from spinefx.localisation.locating import locate
from spinefx.localisation.picture import spine_picture
from spinefx.phantom.case import render_case
from spinefx.phantom.random_streams import draw_case
from spinefx.phantom.settings import PhantomSettings, Range

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "data"
HEIGHT = 460
PNG = ("lumbar_AK_t1_t2_tirm/t2_AKs5", "lumbar_AK_t1_t2_tirm/t1_AKs8", "lumbar_S01_t2_spondylolisthesis/t2_S01")


def read_png(folder: Path) -> Volume:
    """Read a stack of PNG images by the geometry beside it."""
    known = json.loads((folder / "annotation.json").read_text("utf-8"))
    images = [np.asarray(Image.open(one).convert("L"), np.float32) for one in sorted(folder.glob("*.png"))]
    row_mm, column_mm = known["in_plane_spacing_mm"]
    affine = np.eye(4)
    affine[:3, :3] = np.array([[-known["slice_spacing_mm"], 0, 0], [0, 0, column_mm], [0, -row_mm, 0]])
    return Volume(np.stack(images), affine)


def draw(volume: Volume) -> Image.Image:
    """Draw the first slice of the picture that spinefx locate writes."""
    upright = volume.to_sagittal()
    spine, classes = locate(upright)
    # One slice with all vertebrae: the one nearest to the middle of the spine.
    places = [upright.to_index(one.centre_mm)[0] for one in spine.vertebrae]
    middle = round(float(np.median(places)))
    flat = Volume(upright.array[middle : middle + 1], upright.slab(middle, middle).affine)
    picture = Image.open(io.BytesIO(spine_picture(flat, spine, classes[middle : middle + 1]))).convert("RGB")
    return picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT), Image.Resampling.LANCZOS)


def beside(pictures: list[Image.Image], path: Path) -> None:
    """Put pictures side by side, and write them with few colours."""
    sheet = Image.new("RGB", (sum(one.width for one in pictures), HEIGHT))
    left = 0
    for one in pictures:
        sheet.paste(one, (left, 0))
        left += one.width
    sheet.quantize(256, Image.Quantize.FASTOCTREE).save(path, optimize=True)


def phantom(centre: str, field_mm: float, seed: int, series: str) -> Volume:
    """Render one series of a phantom that did not teach the localiser."""
    settings = PhantomSettings(
        patients=1,
        seed=seed,
        matrix=320,
        field_centre=centre,
        field_of_view_mm=Range(field_mm, field_mm),
        sacral_slope_deg=Range(30.0, 55.0),
    )
    volume: Volume = getattr(render_case(draw_case(settings, 1)), series)
    return volume


def main() -> None:
    """Draw both sheets."""
    shown = [
        phantom("lumbar", 300.0, 71, "t2w"),
        phantom("thoracolumbar", 340.0, 72, "t1w"),
        phantom("whole_spine", 640.0, 73, "stir"),
        phantom("cervical", 280.0, 74, "t2w"),
    ]
    beside([draw(one) for one in shown], HERE / "images" / "localiser-phantom.png")
    if DATA.is_dir():
        real = [read_png(DATA / one) for one in PNG]
        real.append(read_nifti(DATA / "lumbar_sct_t2_isotropic" / "t2_lumbar.nii.gz"))
        beside([draw(one) for one in real], HERE / "images" / "localiser-real.png")


if __name__ == "__main__":
    main()

"""The shipped localiser: teach it on phantoms, and score it on phantoms and real stacks that it has not seen.

    python benchmarks/localiser.py cohort FOLDER     write the phantoms that teach and test it (about 60 CPU minutes)
    python benchmarks/localiser.py train FOLDER      teach it, and write its weights into the package
    python benchmarks/localiser.py score FOLDER      measure what docs/localisation.md reports

Each goes on where it was stopped. The last patients of every cohort are kept apart for scoring. Real stacks come from
../shared/data, where they are at hand; none of them teaches the network.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from record import record
from spinefx.imaging.nifti import read_nifti
from spinefx.imaging.study import open_study
from spinefx.imaging.volume import Volume
from spinefx.localisation.labels import VERTEBRAL, CodeTable, TissueClass
from spinefx.localisation.locating import locate
from spinefx.localisation.samples import TeachingStack, labelled_stack
from spinefx.localisation.spine import LocatedSpine
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.label_codes import Structure, label_value
from spinefx.phantom.levels import LEVEL_NAMES
from spinefx.phantom.settings import PhantomSettings, Range

WEIGHTS = Path(__file__).resolve().parent.parent / "src/spinefx/localisation/weights"
LEVELS = (*LEVEL_NAMES, "T13", "L6")
STRUCTURES = {
    Structure.DISC: TissueClass.DISC,
    Structure.CANAL: TissueClass.CANAL,
    Structure.CORD: TissueClass.CANAL,
    Structure.POSTERIOR: TissueClass.POSTERIOR,
}
TABLE = CodeTable(
    bodies={label_value(kind, level): level for kind in (Structure.BODY, Structure.LESION) for level in LEVELS},
    structures={label_value(kind, level): one for kind, one in STRUCTURES.items() for level in LEVELS},
    ignored=frozenset(label_value(Structure.MASS, level) for level in LEVELS),
)
# Word in file names, ending of the series' folder, and how often a stack of it is drawn.
SERIES = {"t2w": ("T2w", "SAG_T2", 3), "t1w": ("T1w", "SAG_T1", 2), "stir": ("STIR", "SAG_STIR", 2)}


@dataclass(frozen=True)
class PhantomSpines:
    """One cohort of phantoms: where its fields lie, how many patients it has, and how many are kept apart."""

    name: str
    patients: int
    apart: int
    seed: int
    field_centre: str
    field_of_view_mm: tuple[float, float]
    matrix: int

    @property
    def settings(self) -> PhantomSettings:
        """The dials of the phantom."""
        return PhantomSettings(
            patients=self.patients,
            seed=self.seed,
            field_centre=self.field_centre,
            field_of_view_mm=Range(*self.field_of_view_mm),
            slice_spacing_mm=Range(3.0, 5.5),
            scoliosis_mm=Range(0.0, 35.0),
            sacral_slope_deg=Range(15.0, 65.0),
            spondylolisthesis=0.2,
            numbering_variants=0.2,
            matrix=self.matrix,
        )


COHORTS = (
    PhantomSpines("lumbar", 120, 20, 1501, "lumbar", (250.0, 440.0), 256),
    PhantomSpines("any", 90, 14, 1502, "any", (250.0, 440.0), 256),
    PhantomSpines("whole", 24, 4, 1503, "whole_spine", (500.0, 720.0), 384),
)


def write_cohorts(folder: Path) -> None:
    """Write the phantoms with their label maps, as far as they are missing."""
    for cohort in COHORTS:
        write_cohort(folder / cohort.name, cohort.settings, readers=False, labels=tuple(SERIES), workers=2)


@dataclass(frozen=True, eq=False)
class LabelledSeries:
    """One series of a phantom, with its truth."""

    cohort: str
    patient: str
    series: str
    volume: Volume
    labels: Volume
    centres_mm: dict[str, list[float]]

    @property
    def visible_mm(self) -> dict[str, list[float]]:
        """Centres of the vertebrae down to S1 that lie in the field, a little inside its edge."""
        size = np.array(self.volume.shape)
        margin = np.array([0.5, *(6.0 / step for step in self.volume.spacing_mm[1:])])
        shown = {}
        for level, place in self.centres_mm.items():
            index = self.volume.to_index(place)
            inside = bool(((index >= margin - 0.5) & (index <= size - 0.5 - margin)).all())
            if inside and level not in ("S2", "S3", "S4", "S5"):
                shown[level] = place
        return shown


def labelled_series(folder: Path, *, apart: bool) -> Iterator[LabelledSeries]:
    """Read the phantoms that teach, or those that are kept apart."""
    for cohort in COHORTS:
        cases = json.loads((folder / cohort.name / "truth.json").read_text("utf-8"))["cases"]
        first_apart = cohort.patients - cohort.apart
        for case in cases[first_apart:] if apart else cases[:first_apart]:
            truth = case["truth"]
            patient = truth["patient_id"]
            matrix = np.array(truth["t2w_to_t1w"])
            for series, (word, ending, _) in SERIES.items():
                centres = {level: np.array(place) for level, place in truth["vertebrae_mm"].items()}
                if series == "t1w":
                    centres = {level: matrix[:3, :3] @ place + matrix[:3, 3] for level, place in centres.items()}
                labels = read_nifti(folder / cohort.name / "labels" / f"{patient}_{word}_dseg.nii.gz")
                images = next((folder / cohort.name / patient).glob(f"*_{ending}"))
                places = {level: place.tolist() for level, place in centres.items()}
                volume = open_study(images).series[0].load()
                yield LabelledSeries(cohort.name, patient, series, volume, labels, places)


def train(folder: Path) -> None:
    """Teach the localiser, and write its weights into the package."""
    import torch  # deferred: scoring does without

    from spinefx.localisation.fitting import Teaching, fit
    from spinefx.localisation.storage import write_localiser

    torch.set_num_threads(1)
    known: dict[tuple[str, str, str], TeachingStack] = {}
    for one in labelled_series(folder, apart=False):
        stack = labelled_stack(one.volume, one.labels, TABLE, one.centres_mm)
        known[one.cohort, one.patient, one.series] = stack
    # In alphabetical order: what is drawn follows from a stack's place.
    stacks = [known[key] for key in sorted(known) for _ in range(SERIES[key[2]][2])]
    print(f"{len(stacks)} stacks, the more telling ones more than once", flush=True)
    teaching, start = Teaching(steps=2600), time.process_time()

    def report(step: int, total: int, loss: float) -> None:
        print(f"step {step} of {total}, loss {loss:.3f}, {time.process_time() - start:.0f} CPU s", flush=True)

    network = fit(stacks, teaching, folder, progress=report)
    cohorts = [{**asdict(one), "taught": one.patients - one.apart} for one in COHORTS]
    taught = {"images": "phantoms only", "cohorts": cohorts, "teaching": asdict(teaching)}
    write_localiser(network, WEIGHTS, taught)


# Real stacks: the clicked centres of annotation.json are uncertain by 2 mm and by a slice.
REAL = ("lumbar_AK_t1_t2_tirm", "lumbar_S01_t2_spondylolisthesis")


def real_stacks() -> Iterator[tuple[str, Volume, dict[str, NDArray[np.float64]]]]:
    """Read the real stacks with their clicked centres, where they are at hand."""
    root = Path(__file__).resolve().parents[2] / "shared/data"
    for path in sorted(one for name in REAL for one in root.glob(f"{name}/*/annotation.json")):
        known = json.loads(path.read_text("utf-8"))
        images = [np.asarray(Image.open(one).convert("L"), np.float32) for one in sorted(path.parent.glob("*.png"))]
        row_mm, column_mm = known["in_plane_spacing_mm"]
        affine = np.zeros((4, 4))
        affine[0, 0], affine[2, 1], affine[1, 2], affine[3, 3] = known["slice_spacing_mm"], -row_mm, column_mm, 1
        volume = Volume(np.stack(images), affine)
        centres = {
            one["level"]: volume.to_mm((one["slice"], one["row"], one["column"])) for one in known["vertebra_centres"]
        }
        yield path.parent.name, volume, centres


@dataclass(frozen=True, eq=False)
class Score:
    """How one series was read.

    ``errors_mm`` are in plane, ``slices_mm`` across; an error of infinity is a vertebra that was not found. ``false``
    counts what was found where no vertebra is, between the first known vertebra and the last. ``named`` is True where
    every name is right, None where none was given. ``dice`` is that of the bodies down to S1, where masks are known.
    """

    errors_mm: NDArray[np.float64]
    slices_mm: NDArray[np.float64]
    false: int
    right: int
    named: bool | None
    dice: float = np.nan


def score_spine(
    spine: LocatedSpine, volume: Volume, centres: dict[str, NDArray[np.float64]], *, whole: bool = True
) -> Score:
    """Compare a located spine with the true centres of the vertebrae in view."""
    spacing = np.array(volume.spacing_mm)
    found = np.array([volume.to_index(one.centre_mm) for one in spine.vertebrae]).reshape(-1, 3) * spacing
    errors, across, right, used = [], [], 0, set()
    for level, place in centres.items():
        true = volume.to_index(place) * spacing
        apart = np.linalg.norm(found[:, 1:] - true[1:], axis=1)
        nearest = int(apart.argmin()) if len(apart) else -1
        near = nearest >= 0 and apart[nearest] < 12 and nearest not in used
        errors.append(float(apart[nearest]) if near else np.inf)
        across.append(float(abs(found[nearest, 0] - true[0])) if near else np.inf)
        if near:
            used.add(nearest)
            right += spine.vertebrae[nearest].level == level
    rows = [float(volume.to_index(place)[1] * spacing[1]) for place in centres.values()]
    outside = 25.0 if whole else 0.0
    false = sum(
        number not in used and min(rows, default=0) + outside < one[1] < max(rows, default=0) - 0.0
        for number, one in enumerate(found)
    )
    levels = spine.levels
    return Score(np.array(errors), np.array(across), false, right, (right == len(centres)) if levels else None)


def dice_of_bodies(classes: NDArray[np.uint8], labels: Volume) -> float:
    """Return the Dice coefficient of the vertebral bodies down to S1, where the true class is known."""
    truth = TABLE.classes_of(labels.array)
    true, found = (np.isin(one, VERTEBRAL) & (truth >= 0) for one in (truth, classes))
    return float(2 * (true & found).sum() / max(true.sum() + found.sum(), 1))


def _turned(volume: Volume, degrees: float) -> tuple[Volume, Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
    """Turn the patient within the sagittal plane; returns how points move."""
    from scipy import ndimage

    angle = np.deg2rad(degrees)
    pixel = np.array(volume.spacing_mm[1:])
    middle = (np.array(volume.shape[1:]) - 1) / 2
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.diag(1 / pixel) @ rotation @ np.diag(pixel)
    shift = middle - matrix @ middle
    turned = [
        ndimage.affine_transform(image, matrix, shift, order=1, mode="constant", cval=float(image.min()))
        for image in volume.array
    ]

    def move(place: NDArray[np.float64]) -> NDArray[np.float64]:
        index = volume.to_index(place)
        index[1:] = np.linalg.inv(matrix) @ (index[1:] - shift)
        return volume.to_mm(index)

    return replace(volume, array=np.stack(turned)), move


def disturbed(volume: Volume) -> Iterator[tuple[str, Volume, Callable[[NDArray[np.float64]], NDArray[np.float64]]]]:
    """Yield the same stack, made harder in one way each."""

    def stay(place: NDArray[np.float64]) -> NDArray[np.float64]:
        return place

    for degrees in (10.0, -10.0):
        yield f"turned by {degrees:.0f} degrees", *_turned(volume, degrees)
    mirror, last = np.array([-1, 1, 1]), np.array([volume.shape[0] - 1, 0, 0])
    backwards = replace(volume, array=volume.array[::-1].copy())
    yield "slices reversed", backwards, lambda place: volume.to_mm(mirror * volume.to_index(place) + last)
    thinned = volume.affine @ np.diag([2.0, 1, 1, 1])
    yield "every second slice", replace(volume, array=volume.array[::2].copy(), affine=thinned), stay
    rows, columns = (size // 2 for size in volume.shape[1:])
    blocks = volume.array[:, : 2 * rows, : 2 * columns].reshape(-1, rows, 2, columns, 2).mean(axis=(2, 4))
    coarse = volume.affine @ np.diag([1.0, 2, 2, 1])
    coarse[:3, 3] = volume.to_mm((0, 0.5, 0.5))
    yield "half resolution", replace(volume, array=blocks, affine=coarse), stay
    low, high = float(volume.array.min()), float(volume.array.max())
    scaled = (volume.array - low) / (high - low)
    yield "gamma 2", replace(volume, array=scaled**2), stay
    yield "inverted grey", replace(volume, array=1 - scaled), stay


def without_sacrum(volume: Volume, centres: dict[str, NDArray[np.float64]]) -> Iterator[Volume]:
    """Yield crops that end above the sacrum, at L5, L4 and so on."""
    index = {level: volume.to_index(place) for level, place in centres.items()}
    for above, below in (("L5", "S1"), ("L4", "L5"), ("L3", "L4"), ("L2", "L3")):
        last = round(float(index[above][1] + index[below][1]) / 2)
        yield replace(volume, array=volume.array[:, :last].copy())


def summary(scores: Sequence[Score]) -> list[object]:
    """Return within 5 mm, of, median, p90, largest error of those found, median across, false, named right, of."""
    errors = np.concatenate([one.errors_mm for one in scores])
    across = np.concatenate([one.slices_mm for one in scores])
    found = errors[np.isfinite(errors)]
    p50, p90, worst = (float(np.percentile(found, share)) for share in (50, 90, 100)) if len(found) else (np.nan,) * 3
    depth = float(np.median(across[np.isfinite(across)])) if len(found) else np.nan
    named = [one.named for one in scores]
    return [
        int((errors <= 5).sum()), len(errors), p50, p90, worst, depth, sum(one.false for one in scores),
        sum(one is True for one in named), sum(one is False for one in named), len(scores),
        float(np.mean([one.dice for one in scores])),
    ]  # fmt: skip


COLUMNS = (
    "stacks", "within 5 mm", "of", "median mm", "p90 mm", "worst mm", "across mm", "false",
    "named right", "named wrong", "series", "Dice",
)  # fmt: skip


def score(folder: Path) -> None:
    """Measure, print and record."""
    rows: list[list[object]] = []
    stacks = list(real_stacks())
    plain = [score_spine(locate(volume)[0], volume, centres) for _, volume, centres in stacks]
    rows += [[name, *summary([one])] for (name, _, _), one in zip(stacks, plain, strict=True)]
    if stacks:
        rows.append(["real, all", *summary(plain)])
        harder: dict[str, list[Score]] = {}
        for _, volume, centres in stacks:
            for word, other, move in disturbed(volume):
                moved = {level: move(np.array(place)) for level, place in centres.items()}
                harder.setdefault(word, []).append(score_spine(locate(other)[0], other, moved))
        rows += [[f"real, {word}", *summary(scores)] for word, scores in harder.items()]
        crops = [locate(crop)[0] for _, volume, centres in stacks for crop in without_sacrum(volume, centres)]
        claimed = sum("S1" in one.levels for one in crops)
        print(f"sacrum cropped away: S1 claimed in {claimed} of {len(crops)} crops")
        rows.append(["real, sacrum cropped away: S1 claimed", claimed, len(crops), *[""] * 9])
    groups: dict[str, list[Score]] = {}
    for one in labelled_series(folder, apart=True):
        visible = {level: np.array(place) for level, place in one.visible_mm.items()}
        spine, classes = locate(one.volume)
        result = score_spine(spine, one.volume, visible)
        result = replace(result, dice=dice_of_bodies(classes, one.labels))
        groups.setdefault(f"phantom {one.cohort} {one.series}", []).append(result)
    rows += [[name, *summary(scores)] for name, scores in groups.items()]
    rows.append(["phantom, all", *summary([one for scores in groups.values() for one in scores])])
    measured = subprocess.run([sys.executable, "-c", COST], check=True, capture_output=True, text=True)
    cost = json.loads(measured.stdout)
    note = (
        f"A stack of 20 slices of 512 x 512 pixels takes {cost['cpu_s']:.2f} CPU s on one core with the model loaded, "
        f"and {cost['peak_mib']:.0f} MiB at most, the interpreter and all libraries counted in."
    )
    print(note)
    record("localiser", "The localiser, taught by phantoms alone", COLUMNS, rows, note=note)


COST = """
import json, resource, time
import numpy as np
from scipy import ndimage
from spinefx.imaging.volume import Volume
from spinefx.localisation.locating import locate
from spinefx.phantom.case import render_case
from spinefx.phantom.random_streams import draw_case
from spinefx.phantom.settings import PhantomSettings, Range
settings = PhantomSettings(patients=1, seed=5, matrix=128, field_centre="lumbar", field_of_view_mm=Range(360.0, 360.0))
stack = render_case(draw_case(settings, 1)).t2w.array
zoom = (20 / len(stack), 512 / 128, 512 / 128)
affine = np.array([[-4.0, 0, 0, 0], [0, 0, 0.7, 0], [0, -0.7, 0, 0], [0, 0, 0, 1]])
volume = Volume(ndimage.zoom(stack, zoom, order=1), affine)
locate(Volume(volume.array[:3], affine))
start = time.process_time()
locate(volume)
cpu_s = time.process_time() - start
peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"cpu_s": cpu_s, "peak_mib": peak_mib}))
"""


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("cohort", "train", "score"))
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    {"cohort": write_cohorts, "train": train, "score": score}[given.what](given.folder)


if __name__ == "__main__":
    main()

"""What the guards against hostile bytes cost a good study: user CPU time beside another version of the package.

Run as ``python benchmarks/good_study.py [SOURCE_BEFORE] [--rounds N]``, where the first argument is the ``src`` folder
of another checkout (``git worktree add /tmp/before COMMIT``). One thread; the versions take turns, each round in a new
process, after everything was imported. Two things are timed: one phantom study scanned, chosen, loaded and scored with
the small network, and a scan of 3,000 tiny files.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from record import record
from scoring import ONE_THREAD, save_model
from spinefx.imaging.dicom_export import SeriesHeader, StudyHeader, write_series
from spinefx.imaging.selection import choose_series
from spinefx.imaging.study import open_study
from spinefx.imaging.volume import Volume
from spinefx.phantom.case import truth_of
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.random_streams import draw_case
from spinefx.phantom.settings import PhantomSettings
from spinefx.vocabulary import Weighting

ROOT = Path(__file__).resolve().parents[1]
TINY_FILES = 3000
# Uses only what every version of the package has.
TIMED = """
import json, resource, sys
from pathlib import Path
from spinefx.cases.lesion import Box, Lesion
from spinefx.imaging.selection import choose_series
from spinefx.imaging.study import open_study, scan
from spinefx.learning.scoring import load_models, score

def user():
    return sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))

what, model, folder, centre, side, first, last = json.loads(sys.argv[1])
folder = Path(folder)
began = user()
if what == "tiny":
    assert sum(len(series.instances) for study in scan(folder).studies for series in study.series) == 3000
else:
    volumes = choose_series(open_study(folder)).load()
    lesion = Lesion(Box(tuple(centre), side), first, last)
    print(score(load_models(Path(model), one_study=True), lesion, volumes).to_json()["patient"]["probability"])
print(user() - began)
"""


def write_tiny(folder: Path) -> None:
    """Write 3,000 slices of 16 x 12 pixels, a hundred to a series."""
    import numpy as np

    study = StudyHeader("X", "X^Y", "F", 66, "", "20250314", "1.2.826.0.1.77", "1.2.826.0.1.78")
    affine = np.array([[-4.4, 0, 0, 9.5], [0, 0, 0.6, -71.25], [0, -0.9, 0, 33], [0, 0, 0, 1]])
    voxels = np.random.default_rng(1).integers(0, 999, (TINY_FILES // 100, 100, 16, 12)).astype(np.float32)
    for number, series in enumerate(voxels, 1):
        uids = [f"1.2.826.0.1.{number}.{index + 1}" for index in range(100)]
        header = SeriesHeader(number, "T1 SAG", 400, 15)
        place = folder / str(number)
        for _ in write_series(
            place, Volume(series, affine), study, header, series_uid=f"1.2.826.0.1.{number}", sop_uids=uids
        ):
            pass


def write_study(folder: Path) -> tuple[Path, list[object]]:
    """Write a phantom study; return its folder, and its box and slices."""
    settings = PhantomSettings(patients=1, seed=3, matrix=512)
    write_cohort(folder, settings)
    (study,) = (path for path in folder.iterdir() if path.is_dir())
    truth = truth_of(draw_case(settings, 1))
    t2w = choose_series(open_study(study)).slices()[Weighting.T2W]
    middle = round(float(t2w.to_index(truth.box_centre_mm)[0]))
    return study, [[float(one) for one in truth.box_centre_mm], truth.box_side_mm, middle - 1, middle + 1]


def user_seconds(source: Path, arguments: list[object]) -> float:
    """Run one task in a new process and return its user CPU seconds."""
    environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(source)}
    command = [sys.executable, "-c", TIMED, json.dumps(arguments)]
    answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return float(answer.stdout.split()[-1])


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", nargs="?", type=Path, help="src folder of another checkout")
    parser.add_argument("--commit", default="", help="what the other checkout is")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    sources = {"before": asked.before} if asked.before else {}
    sources["now"] = ROOT / "src"
    with tempfile.TemporaryDirectory(prefix="good-study-") as place:
        folder = Path(place)
        save_model("quick", folder / "model")
        study, lesion = write_study(folder / "export")
        write_tiny(folder / "tiny")
        tasks = {
            "one phantom study: scan, choose, load, score": ["study", str(folder / "model"), str(study), *lesion],
            f"scan of {TINY_FILES} tiny files": ["tiny", "", str(folder / "tiny"), None, None, None, None],
        }
        rows = []
        for name, arguments in tasks.items():
            found: dict[str, list[float]] = {key: [] for key in sources}
            for _ in range(asked.rounds):
                for key, source in sources.items():
                    found[key].append(user_seconds(source, arguments))
            medians = {key: statistics.median(values) for key, values in found.items()}
            ratio = medians["now"] / medians["before"] if "before" in medians else float("nan")
            rows.append([name, medians.get("before", float("nan")), medians["now"], f"{100 * (ratio - 1):+.0f}%"])
    note = f"User CPU seconds, children included, medians of {asked.rounds}; one thread, versions in turn."
    note += f" Before: {asked.commit}." if asked.commit else ""
    record("good_study", "A good study's CPU time with the guards", ["task", "before", "now", "change"], rows, note)


if __name__ == "__main__":
    main()

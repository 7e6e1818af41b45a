"""Scoring by ONNX Runtime and by eager torch: one study, a batch, and the start of a new process.

Run as ``python benchmarks/scoring.py [rounds]``. One thread everywhere, CPU seconds, medians; the rivals take turns
within each round, so that what else the machine does meets them alike. The networks hold random weights: their speed
does not depend on what they learned.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from record import record
from spinefx.imaging.nifti import write_nifti
from spinefx.learning.classifier import Classifier
from spinefx.learning.network import build_network
from spinefx.learning.onnx_export import export_graph
from spinefx.learning.onnx_model import Scorer
from spinefx.learning.pretrained import initialise
from spinefx.learning.recipe import Recipe
from spinefx.phantom.case import render_case
from spinefx.phantom.random_streams import PhantomSettings, draw_case

STUDY, BATCH = 3, 96
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
COLD = {
    "torch": "from spinefx.learning.classifier import Classifier as Model",
    "onnx": "from functools import partial; from spinefx.learning.onnx_model import Scorer as Model; "
    "Model.load = partial(Model.load, one_study=True)",
}
COLD_END = "import sys; from pathlib import Path; import numpy; "
COLD_END += "Model.load(Path(sys.argv[1])).probabilities(numpy.load(sys.argv[2]))"

# Starts a command and reports what it used. A small process, because a child's peak memory starts at its parent's.
WATCH = """
import os, sys
silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
child = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ, file_actions=silent)
_, status, used = os.wait4(child, 0)
print(status, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


def save_model(name: str, folder: Path) -> None:
    """Write a model of random weights with normalisation statistics from noise, and its ONNX graph."""
    recipe = Recipe.preset(name)
    network = build_network(recipe, fold=1)
    with torch.no_grad():
        network.train()(torch.randn(8, 6, 64, 64, generator=torch.Generator().manual_seed(1)))
    start = initialise(network, recipe, None)
    Classifier.of(network, recipe, cohort_digest="", fold=1, initialisation=start).save(folder)
    export_graph(folder)


def in_turn(rivals: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Return the median of each engine's result, with the engines called in turn in each round."""
    found: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, run in rivals.items():
            found[name].append(run())
    return {name: float(np.median(values)) for name, values in found.items()}


def cpu_ms(call: Callable[[], object]) -> float:
    """Return the CPU milliseconds of one call."""
    began = time.process_time()
    call()
    return (time.process_time() - began) * 1e3


def warm(folder: Path, patches: NDArray[np.float32], rounds: int) -> tuple[dict[str, float], float]:
    """Return the CPU ms of each engine after warm-up, and its largest difference in log odds from torch."""
    plain, ours = Classifier.load(folder), Classifier.load(folder)
    plain.network.to(memory_format=torch.contiguous_format)
    inputs = torch.from_numpy(patches)

    def eager() -> object:
        with torch.inference_mode():
            return plain.network(inputs)

    quick, full = Scorer.load(folder, one_study=True), Scorer.load(folder)
    calls = {
        "eager torch, stock layout": eager,
        "eager torch, spinefx's layout": lambda: ours.log_odds(patches),
        "ONNX Runtime, one study": lambda: quick.log_odds(patches),
        "ONNX Runtime": lambda: full.log_odds(patches),
    }
    for call in calls.values():
        call()
    error = float(np.abs(full.log_odds(patches) - ours.log_odds(patches)).max())
    rivals = {name: (lambda call=call: cpu_ms(call)) for name, call in calls.items()}
    return in_turn(rivals, rounds), error


class Commands:
    """New processes, their CPU time and their peak memory."""

    def __init__(self) -> None:
        self.peak_mb: dict[str, float] = {}

    def rival(self, name: str, *arguments: str) -> Callable[[], float]:
        """Return a function that runs one command once and returns its CPU ms."""

        def run() -> float:
            command = [sys.executable, "-c", WATCH, *arguments]
            answer = subprocess.run(command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, check=True, text=True)
            status, seconds, peak_kb = map(float, answer.stdout.split())
            if status:
                raise RuntimeError(f"{name} failed")
            self.peak_mb[name] = max(self.peak_mb.get(name, 0.0), peak_kb / 1024)
            return seconds * 1e3

        return run


def cold(folder: Path, scratch: Path, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return CPU ms and peak MB of new processes up to the scores of the first study."""
    patches = scratch / "patches.npy"
    np.save(patches, np.random.default_rng(1).standard_normal((STUDY, 6, 64, 64), np.float32))
    case = render_case(draw_case(PhantomSettings(seed=20), 1))
    for name, volume in (("T1w", case.t1w), ("T2w", case.t2w)):
        write_nifti(scratch / "study" / f"sub-001_{name}.nii", volume, {})
    box = ",".join(f"{value:.2f}" for value in (*case.truth.box_centre_mm, case.truth.box_side_mm))
    study = (str(scratch / "study"), "--box", box, "--slices", f"{case.truth.box_slice - 1}-{case.truth.box_slice + 1}")
    commands = Commands()
    score = {key: ("-c", f"{code}; {COLD_END}", str(folder), str(patches)) for key, code in COLD.items()}
    predict = ("-m", "spinefx", "predict", str(folder), *study)
    lines = {
        "patches scored, torch": score["torch"],
        "patches scored, ONNX Runtime": score["onnx"],
        "whole `spinefx predict`, torch": (*predict, "--engine", "torch"),
        "whole `spinefx predict`, ONNX Runtime": predict,
        "`import torch`": ("-c", "import torch"),
        "`spinefx --help`": ("-m", "spinefx", "--help"),
        "`python -c pass`": ("-c", "pass"),
    }
    rivals = {name: commands.rival(name, *arguments) for name, arguments in lines.items()}
    for run in rivals.values():
        run()
    return in_turn(rivals, rounds), commands.peak_mb


def main(rounds: int) -> None:
    """Measure, and record the table with its goals."""
    torch.set_num_threads(1)
    rows: list[list[object]] = []
    gains: dict[tuple[str, str], float] = {}
    errors: list[float] = []
    for name, network in (("honest", "ResNet50"), ("quick", "small network")):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            save_model(name, folder)
            noise = np.random.default_rng(2).standard_normal((BATCH, 6, 64, 64), np.float32)
            for count, what in ((STUDY, "one study, 3 slices"), (BATCH, "batch of 96")):
                found, error = warm(folder, noise[:count], 3 * rounds if count == STUDY else rounds)
                errors.append(error)
                first = found["eager torch, stock layout"]
                gains[name, what] = first / found["ONNX Runtime"]
                for engine, spent in found.items():
                    rows.append([network, what, engine, f"{spent:.2f}", f"{first / spent:.1f}", ""])
            found, peak_mb = cold(folder, Path(scratch), rounds)
            for what, spent in found.items():
                start, _, engine = what.partition(", ")
                first = found[f"{start}, torch" if engine else "`import torch`"]
                row = [f"{spent:.0f}", f"{first / spent:.1f}", f"{peak_mb[what]:.0f}"]
                rows.append([network, "new process", what, *row])
                gains[name, what] = first / spent
    record(
        "scoring",
        "Scoring through ONNX Runtime and through torch, one thread",
        ("network", "task", "engine or command", "CPU ms", "times cheaper", "peak MB"),
        rows,
        f"Medians of {rounds} rounds (one study: {3 * rounds}), rivals in turn. Times cheaper: than the first engine "
        "of the same task; for commands alone, than `import torch`. `Patches scored` imports, checks digests, loads "
        "and scores one study; `spinefx predict` also reads NIfTI, registers and cuts, which both engines share. "
        f"Largest difference of log-odds between the engines: {max(errors):.1g}.",
        [
            _goal("G5", ">= 2.5", gains["honest", "one study, 3 slices"], "x cheaper, ResNet50, one study"),
            _goal("G6", ">= 5", gains["honest", "patches scored, ONNX Runtime"], "x cheaper cold start, ResNet50"),
            _goal("G6", "<= 0.3", 1 / gains["honest", "`spinefx --help`"], "of `import torch`, `spinefx --help`"),
        ],
    )


def _goal(name: str, wanted: str, measured: float, unit: str) -> dict[str, object]:
    return {"goal": name, "wanted": wanted, "measured": round(measured, 2), "unit": unit}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)

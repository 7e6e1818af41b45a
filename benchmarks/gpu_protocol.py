"""The whole protocol on a GPU: speed against an eager loop and against the memory's floor, and what the recipes score.

Run it on a machine with a CUDA GPU, NumPy, safetensors and torch, on a study folder with patches or a carried bundle
of one (docs/gpu.md says how to pack it). It stops after --minutes, keeps what is done in --work, and goes on when it is
run again; tables go to $OUT, or to --work. Speeds are measured over a bounded number of steps, and what is extrapolated
from them is called so; the recipes themselves are run whole.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from record import record
from spinefx.commands.train import train
from spinefx.errors import InputError
from spinefx.learning.augmentation import PatchBank
from spinefx.learning.device import choose_route
from spinefx.learning.fitting import Run
from spinefx.learning.folds import split_folds
from spinefx.learning.leaks import Ledger, Side
from spinefx.learning.lockstep import LockstepFold, fit_together
from spinefx.learning.network import FractureNetwork
from spinefx.learning.random_streams import plan_epoch
from spinefx.learning.recipe import Recipe
from spinefx.vocabulary import Diagnosis
from spinefx.workspace.experiment import Experiment
from spinefx.workspace.layout import Workspace
from spinefx.workspace.stacks import load_stacks

LARGEST_BUNDLE_BYTES = 60 * 2**20
# Bytes a parameter and step: weights, gradients and Adam's state read and written, in bfloat16 with its casts.
BYTES_PER_PARAMETER = {"float32": 40, "bfloat16": 38}
# Passes over each convolution's output, forward and backward, where everything that can be fused is.
PASSES, BYTES_PER_VALUE = 7, {"float32": 4, "bfloat16": 2}
# Changes that make a run short for the measurement alone; the patches and the step are the protocol's.
SHORT = {"early_stopping_on": "none", "patience": 0, "initialisation": "random"}


class TimeIsUp(Exception):
    """The minutes are spent; what is done is kept."""


@dataclasses.dataclass
class Bench:
    """What all parts share, and what is done already."""

    study: Path
    work: Path
    device: str
    deadline_s: float
    is_smoke: bool

    def __post_init__(self) -> None:
        self.path = self.work / "gpu_protocol_state.json"
        self.done: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.cases, self.stacks = load_stacks(Workspace.open(self.study), Recipe.preset("honest").patch_settings)
        self.malignant = {case.case_id: case.diagnosis == Diagnosis.MALIGNANT for case in self.cases}

    def part(self, name: str, work: Callable[[], Any]) -> None:
        """Do a part unless it is done, and keep its result at once."""
        if name in self.done:
            return
        self.check_time()
        print(f"measuring: {name}", flush=True)
        self.keep(name, work())

    def keep(self, name: str, value: Any) -> None:
        """Keep a result."""
        self.done[name] = value
        self.path.write_text(json.dumps(self.done, indent=1))

    def check_time(self) -> None:
        """End the run where its minutes are spent."""
        if time.monotonic() > self.deadline_s:
            raise TimeIsUp

    def short(self, dtype: str) -> Recipe:
        """The protocol's network and step on few copies; on a CPU a small network, to test this script."""
        recipe = Recipe.preset("honest").changed(**SHORT, dtype=dtype, epochs=3, copies_benign=6, copies_malignant=12)
        if not self.is_smoke:
            return recipe
        return recipe.changed(
            network="small_resnet", folds=2, epochs=2, copies_benign=1, copies_malignant=1, batch_size=4
        )

    def folds(self, recipe: Recipe, count: int, folder: Path) -> list[LockstepFold]:
        """Make folds ready to train."""
        bank = PatchBank(self.stacks, recipe.patch_size)
        people = {case.participant_id: case.diagnosis for case in self.cases}
        made = []
        for fold in split_folds(people, recipe)[:count]:
            side = Side("training", bank, fold.training, self.malignant, Ledger(fold.number))
            made.append(LockstepFold(side, None, Run(recipe, fold.number, "", "", folder / fold.label)))
        return made


def lockstep_ms(bench: Bench, recipe: Recipe, count: int, *, capture: bool) -> float:
    """Milliseconds a fold and step, host work included, after a first epoch that warms up and captures."""
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        folds = bench.folds(recipe, count, Path(folder))
        steps = len(plan_of(folds[0], recipe, 1).batches(recipe.batch_size))
        fit_together(
            folds,
            bench.device,
            finished=lambda *_: None,
            progress=lambda place, epoch, epochs: ends.append(time.perf_counter()),
            spacing_s=1e9,
            capture=capture,
        )
    spent = ends[-1] - ends[count - 1]
    return 1e3 * spent / (steps * count * (recipe.epochs - 1))


def plan_of(fold: LockstepFold, recipe: Recipe, epoch: int) -> Any:
    """The plan of one fold's epoch."""
    return plan_epoch(recipe, fold.training.keys, fold.training.malignant, fold=fold.run.fold, epoch=epoch)


class Slices(Dataset):  # type: ignore[type-arg]
    """An epoch's patches one by one, augmented on the CPU: what a tutorial would write."""

    def __init__(self, fold: LockstepFold, recipe: Recipe) -> None:
        self.side, self.plan = fold.training, plan_of(fold, recipe, 1)

    def __len__(self) -> int:
        return len(self.plan.rows)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
        row = self.plan.rows[place : place + 1]
        patch = self.side.bank.draw(self.side.numbers[row], self.plan.jitters[place : place + 1])
        return patch[0], self.side.answers(row)[0]


def loader_ms(bench: Bench, recipe: Recipe) -> float:
    """Milliseconds a step of a plain loop: DataLoader, CPU augmentation, stock Adam, the loss read every step."""
    torch.manual_seed(0)
    warm, most = (1, 3) if bench.is_smoke else (10, 90)
    with tempfile.TemporaryDirectory() as folder:
        slices = Slices(bench.folds(recipe, 1, Path(folder))[0], recipe)
    workers = 0 if bench.is_smoke else max(1, (os.cpu_count() or 2) - 2)
    loader = DataLoader(slices, recipe.batch_size, num_workers=workers, pin_memory=not bench.is_smoke)
    network = FractureNetwork(recipe).to(bench.device).train()
    optimiser = torch.optim.Adam(network.parameters(), recipe.learning_rate, (recipe.beta1, recipe.beta2))
    started = 0.0
    for step, (patches, answers) in enumerate(loader):
        if step == warm:
            started = time.perf_counter()
        patches, answers = patches.to(bench.device, non_blocking=True), answers.to(bench.device, non_blocking=True)
        with torch.autocast(bench.device, torch.bfloat16, enabled=recipe.dtype == "bfloat16"):
            logits = network(patches)
        loss = functional.binary_cross_entropy_with_logits(logits.float(), answers)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()
        if step + 1 == most:
            break
    return 1e3 * (time.perf_counter() - started) / (step + 1 - warm)


def bandwidth_tb_s(bench: Bench) -> float:
    """Terabytes a second that the card's memory reads and writes in a large copy."""
    values = 2**20 if bench.is_smoke else 2**28
    source = torch.ones(values, device=bench.device)
    target = torch.empty_like(source)
    spent = []
    for _ in range(8):
        wait(bench)
        started = time.perf_counter()
        target.copy_(source)
        wait(bench)
        spent.append(time.perf_counter() - started)
    return 2 * 4 * values / min(spent) / 1e12


def wait(bench: Bench) -> None:
    """Wait for the card."""
    if bench.device == "cuda":
        torch.cuda.synchronize()


def floor_bytes(recipe: Recipe) -> float:
    """Bytes that one step must move at the least."""
    network, sizes = FractureNetwork(recipe), []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.numel()))
    with torch.no_grad():
        network.eval()(torch.zeros(1, 6, recipe.patch_size, recipe.patch_size))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    moved = PASSES * BYTES_PER_VALUE[recipe.dtype] * sum(sizes) * recipe.batch_size
    return float(moved + BYTES_PER_PARAMETER[recipe.dtype] * parameters)


def profile_of(bench: Bench) -> str:
    """Where a step's time goes on the card: the heaviest kernels of captured steps."""
    kind = torch.profiler.ProfilerActivity.CUDA if bench.device == "cuda" else torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[kind]) as profile:
        lockstep_ms(bench, bench.short("bfloat16").changed(copies_benign=2, copies_malignant=4), 2, capture=True)
    order = "self_cuda_time_total" if bench.device == "cuda" else "self_cpu_time_total"
    return str(profile.key_averages().table(sort_by=order, row_limit=30, max_name_column_width=90))


def score(bench: Bench, name: str, seed: int) -> dict[str, Any]:
    """Train a recipe whole, over as many runs of this script as it takes, and score it by patient and by fold."""
    changes: dict[str, Any] = {"seed": seed}
    if bench.is_smoke:
        changes |= SHORT | {"network": "small_resnet", "folds": 2, "epochs": 2}
        changes |= {"copies_benign": 1, "copies_malignant": 2}
    experiment, spent_key = f"{name}-{seed}", f"seconds of {name}-{seed}"
    before, started = float(bench.done.get(spent_key, 0.0)), time.monotonic()

    def tell(label: str, epoch: int, epochs: int) -> None:
        bench.done[spent_key] = before + time.monotonic() - started
        bench.check_time()

    try:
        recipe = Recipe.preset(name).changed(**changes)
        outcome = train(bench.study, recipe, name=experiment, device=bench.device, progress=tell)
    finally:
        bench.keep(spent_key, before + time.monotonic() - started)
    folder = Experiment(Workspace.open(bench.study).experiment_folder(experiment))
    best: dict[str, tuple[float, int]] = {}
    for _, one in folder.read_predictions():
        best[one.case_id] = (max(best.get(one.case_id, (0.0, 0))[0], one.probability), one.fold)
    scores = np.array([best[case][0] for case in sorted(best)])
    folds = np.array([best[case][1] for case in sorted(best)])
    truth = np.array([bench.malignant[case] for case in sorted(best)])
    by_fold = [area(scores[folds == fold], truth[folds == fold]) for fold in sorted({*folds.tolist()})]
    pooled = area(scores, truth)
    return {"auc": pooled, "auc_by_fold": by_fold, "seconds": bench.done[spent_key], "route": outcome.route}


def area(scores: np.ndarray, malignant: np.ndarray) -> float | None:
    """Area under the ROC curve; None where a class is missing."""
    if malignant.all() or not malignant.any():
        return None
    above = scores[malignant][:, None] - scores[~malignant][None]
    return float(np.mean((above > 0) + 0.5 * (above == 0)))


def measure(bench: Bench, seeds: int) -> None:
    """Do every part that is not done."""
    bench.part("bandwidth, TB/s", lambda: bandwidth_tb_s(bench))
    count = 2 if bench.is_smoke else 10
    for dtype in ("float32", "bfloat16"):
        recipe = bench.short(dtype)
        few = recipe.changed(epochs=2)
        bench.part(f"{dtype}: DataLoader, eager", lambda recipe=recipe: loader_ms(bench, recipe))
        bench.part(f"{dtype}: data on GPU, eager", lambda few=few: lockstep_ms(bench, few, 1, capture=False))
        bench.part(f"{dtype}: graph, 1 fold", lambda recipe=recipe: lockstep_ms(bench, recipe, 1, capture=True))
        bench.part(
            f"{dtype}: graphs, {count} folds", lambda recipe=recipe: lockstep_ms(bench, recipe, count, capture=True)
        )
    bench.part("profile", lambda: profile_of(bench))
    for seed in range(2022, 2022 + seeds):
        for name in ("honest", "paper"):
            bench.part(f"score of {name}, seed {seed}", lambda name=name, seed=seed: score(bench, name, seed))


def tell_speed(bench: Bench, folder: Path, card: str) -> None:
    """Table of the speeds that are measured, with what follows for ten folds of a hundred epochs."""
    if "bandwidth, TB/s" not in bench.done:
        return
    full = Recipe.preset("honest").changed(**SHORT, folds=2 if bench.is_smoke else 10)
    steps = len(plan_of(bench.folds(full, 1, bench.work)[0], full, 1).batches(full.batch_size))
    rows, reached = [], {}
    for dtype in ("float32", "bfloat16"):
        floor_ms = 1e3 * floor_bytes(bench.short(dtype)) / (bench.done["bandwidth, TB/s"] * 1e12)
        rows.append([dtype, "floor: bytes over measured bandwidth", floor_ms, floor_ms * steps * 1000 / 6e4, "", ""])
        eager = bench.done.get(f"{dtype}: DataLoader, eager")
        for key in [key for key in bench.done if key.startswith(f"{dtype}: ")]:
            ms = bench.done[key]
            times = "" if eager is None else f"{eager / ms:.2f}"
            rows.append([dtype, key.split(": ", 1)[1], ms, ms * steps * 1000 / 6e4, times, f"{ms / floor_ms:.2f}"])
            reached[key] = (eager / ms if eager else None, ms / floor_ms)
    graphs = [value for key, value in reached.items() if "bfloat16: graphs" in key]
    goals = (
        []
        if bench.is_smoke or not graphs
        else [
            {"goal": "G7", "wanted": ">= 8", "measured": graphs[0][0], "unit": "x the eager GPU loop"},
            {"goal": "G7", "wanted": "<= 2.5", "measured": graphs[0][1], "unit": "x the byte floor"},
        ]
    )
    record(
        "gpu_protocol",
        smoke_or(bench, "A step of one fold on a GPU, and ten folds of a hundred epochs"),
        ("precision", "route", "ms a step", "10 x 100, minutes", "x eager loop", "x floor"),
        rows,
        f"Milliseconds are measured over 60 to 250 steps a fold; the minutes of {steps} steps x 10 folds x 100 epochs "
        "are extrapolated from them, early stopping left out. Host work is included.",
        goals,
        card=card,
        folder=folder,
    )


def tell_scores(bench: Bench, folder: Path, card: str) -> None:
    """Table of what the recipes score, each measured whole, and the paper's inflation beside the honest number."""
    found = {key.removeprefix("score of "): value for key, value in bench.done.items() if key.startswith("score of ")}
    rows = []
    for key, value in found.items():
        by_fold = " ".join("n/a" if one is None else f"{one:.2f}" for one in value["auc_by_fold"])
        honest = found.get(key.replace("paper", "honest"), {}).get("auc") if key.startswith("paper") else None
        inflation = "" if honest is None else f"{value['auc'] - honest:+.3f}"
        rows.append([key, f"{value['auc']:.3f}", by_fold, inflation, f"{value['seconds'] / 60:.1f}"])
    differences = np.array([float(row[3]) for row in rows if row[3]])
    spread = f", standard deviation {differences.std(ddof=1):.3f}" if len(differences) > 1 else ""
    said = f"Inflation on average {differences.mean():+.3f}{spread}. " if len(differences) else ""
    if rows:
        record(
            "gpu_scores",
            smoke_or(
                bench, f"Recipes honest and paper on {len(bench.cases)} phantom cases, tenfold by patient (phantom)"
            ),
            ("recipe, seed", "AUC by patient", "AUC by fold", "inflation", "training, minutes"),
            rows,
            said + "Minutes are measured, whole recipes with early stopping, testing and files included.",
            script="gpu_protocol",
            card=card,
            folder=folder,
        )


def smoke_or(bench: Bench, title: str) -> str:
    """A table's title; what a smoke test gave is no figure, and says so."""
    return "SMOKE TEST ON A CPU, no figure" if bench.is_smoke else title


def unpack(cohort: Path, work: Path) -> Path:
    """Give the study folder: the one named, or a bundle of one, unpacked once."""
    if cohort.is_dir():
        return cohort
    if cohort.stat().st_size > LARGEST_BUNDLE_BYTES:
        raise InputError(f"a bundle of {cohort.stat().st_size / 2**20:.0f} MiB", allowed="up to 60 MiB")
    study = work / "study"
    if not (study / "workspace.json").exists():
        with tarfile.open(cohort) as bundle:
            bundle.extractall(study, filter="data")
    return study


def main() -> int:
    """Measure what is not measured yet, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path, help="study folder with patches, or a bundle (.tar.gz) of one")
    parser.add_argument("--work", type=Path, default=Path("build/gpu-protocol"), help="kept between runs")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cpu-smoke", action="store_true", help="a few steps on a CPU: tests this script, no figure")
    arguments = parser.parse_args()
    deadline_s = time.monotonic() + 60 * arguments.minutes
    try:
        route = choose_route("cpu" if arguments.cpu_smoke else "cuda")
    except InputError as error:
        print(f"gpu_protocol needs a CUDA GPU: {error}", file=sys.stderr)
        return 1
    arguments.work.mkdir(parents=True, exist_ok=True)
    study = unpack(arguments.cohort, arguments.work)
    bench = Bench(study, arguments.work, route.device, deadline_s, arguments.cpu_smoke)
    folder = Path(os.environ.get("OUT") or arguments.work)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        measure(bench, arguments.seeds)
    except TimeIsUp:
        print("the minutes are spent: run the same command again, it goes on from here")
    card = "" if arguments.cpu_smoke else torch.cuda.get_device_name()
    tell_speed(bench, folder, card)
    tell_scores(bench, folder, card)
    (folder / "gpu_protocol_state.json").write_text(json.dumps(bench.done, indent=1))
    (folder / "gpu_protocol_profile.txt").write_text(bench.done.get("profile", "not measured yet") + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

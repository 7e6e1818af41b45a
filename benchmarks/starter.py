"""The starter weights of the signs model: teach them on phantoms, and measure them on phantoms they have not seen.

    python benchmarks/starter.py cohort FOLDER     draw the phantoms that teach and test it
    python benchmarks/starter.py train FOLDER      teach it, and write its weights into the package
    python benchmarks/starter.py score FOLDER      measure what docs/signs.md reports

Each goes on where it was stopped. Phantoms are rendered in memory and only their views are kept.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from record import record
from spinefx.cases.alignment import align_series
from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.patch import PatchSettings, PatchStack
from spinefx.errors import SpinefxError
from spinefx.files import digest_of, write_bytes, write_text
from spinefx.learning.classifier import software_versions
from spinefx.learning.guards import Guards
from spinefx.learning.measures import voxel_measures
from spinefx.localisation.locating import locate
from spinefx.phantom.case import PhantomCase, render_pair
from spinefx.phantom.random_streams import CaseDraw, draw_case
from spinefx.phantom.settings import PhantomSettings, Range
from spinefx.processes.pool import map_items
from spinefx.signs.appearance import MEDIUM
from spinefx.signs.calibration import SignCalibration, noisy_or
from spinefx.signs.crossvalidation import SEEN, member_weights
from spinefx.signs.diagnosis import choose_head
from spinefx.signs.fitting import MEMBERS, SignLessons, SignTeaching, VertebraLessons, fit_signs, fit_vertebrae
from spinefx.signs.inference import SKIP, SignNetworks
from spinefx.signs.model import SignCard, SignPredictor, load_sign_model, write_sign_model
from spinefx.signs.overruling import CERTAIN, overruled, verdict
from spinefx.signs.scoring import other_vertebrae
from spinefx.signs.views import BODY, OTHER_VERTEBRA, SignViews, cut_other_vertebrae, cut_views
from spinefx.vocabulary import SIGN_IDENTIFIERS, SIGNS, Diagnosis, Score, Weighting
from spinefx.workspace.stacks import load_stack, recorded_measures, save_stack

WEIGHTS = Path(__file__).resolve().parent.parent / "src/spinefx/signs/weights"
TEACHING = SignTeaching(epochs=30, batch_size=8, learning_rate=2e-3)
VERTEBRA_TEACHING = SignTeaching(epochs=6, batch_size=48)
# Wider than the network's own view, so that training can crop it at random.
UNCROPPED = PatchSettings(margin_percent=100, size=80)
SUSPICIOUS_SPOTS = {"metastasis", "replacement", "focus"}


def write_cohort(
    folder: Path, settings: PhantomSettings, patients: int, *, located: bool = False, workers: int = 1
) -> None:
    """Draw phantoms, and keep their views; those that are there already are kept."""
    numbers = range(1, patients + 1)
    todo = [(folder, settings, located, number) for number in numbers if not _truth_path(folder, number).exists()]

    def progress(done: int, number: int) -> None:
        if done % 20 == 0:
            print(f"{folder.name}: {done} of {number}", flush=True)

    for outcome in map_items(_write_patient, todo, workers=workers, progress=progress):
        if isinstance(outcome, SpinefxError):
            print(f"{folder.name}: {outcome}", flush=True)


def _truth_path(folder: Path, number: int) -> Path:
    return folder / "truth" / f"{number:05d}.json"


def _write_patient(job: tuple[Path, PhantomSettings, bool, int]) -> None:
    folder, settings, located, number = job
    draw = draw_case(settings, number)
    truth, t1w, t2w = render_pair(draw)
    series = {Weighting.T1W: t1w, Weighting.T2W: t2w}
    rng = np.random.default_rng([settings.seed, number, 16])
    lesion = _marked_again(truth, rng)
    placed = align_series(lesion, series, method=BODY.registration)
    views = cut_views(lesion, placed, case_id=draw.name, participant_id=draw.patient_id)
    if located:  # as a user has it: boxes from the localiser, the marked vertebra left out
        found = other_vertebrae(locate(t2w)[0], lesion)
        levels = [one.level or "" for one in found]
        places, patches = cut_other_vertebrae([one.box for one in found], placed)
    else:
        levels = [level for level in truth.extents_mm if level != "C2"]
        boxes = [Box(tuple(truth.vertebrae_mm[level]), _side(truth, level)) for level in levels]
        places, patches = cut_other_vertebrae(boxes, placed, UNCROPPED)
    measures = voxel_measures(series) | _times(draw)
    for kind, stack in (("body", views.body), ("surroundings", views.surroundings)):
        save_stack(folder / kind, stack, "phantom", {}, {}, measures)
    (folder / "vertebrae").mkdir(parents=True, exist_ok=True)
    np.save(folder / "vertebrae" / f"{number:05d}.npy", patches.astype(np.float16))
    described = {
        "case": draw.name,
        "participant": draw.patient_id,
        "malignant": truth.diagnosis is Diagnosis.MALIGNANT,
        "signs": [bool(truth.signs[sign]) for sign in SIGN_IDENTIFIERS],
        "levels": [levels[place] for place in places],
        "states": [] if located else [_state(draw, truth, levels[place]) for place in places],
        "marked": [levels[place] == truth.level for place in places],
        "vendor": draw.vendor,
        "field_t": settings.field_t,
        "weight": float(getattr(draw, "sampling_weight", 1.0)),
    }
    path = _truth_path(folder, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(described) + "\n")


def _marked_again(truth: PhantomCase, rng: np.random.Generator) -> Lesion:
    """Return the lesion as a second reader would mark it: 1.5 mm and 4% off."""
    centre = truth.box_centre_mm + np.array([0.0, *rng.normal(0, 1.5, 2)])
    side = truth.box_side_mm * float(np.exp(rng.normal(0, 0.04)))
    first, last = truth.lesion_slices[0], truth.lesion_slices[-1]
    return Lesion(Box((float(centre[0]), float(centre[1]), float(centre[2])), side), first, last, truth.level)


def _side(truth: PhantomCase, level: str) -> float:
    extent = truth.extents_mm[level]
    return 1.05 * max(extent.depth_mm, extent.front_mm, extent.back_mm)


def _times(draw: CaseDraw) -> dict[str, float]:
    times = {}
    for label, protocol in (("T1W", draw.t1w), ("T2W", draw.t2w)):
        times[f"{label} repetition time, ms"] = round(protocol.sequence.repetition_ms, 1)
        times[f"{label} echo time, ms"] = round(protocol.sequence.echo_ms, 2)
    return times


def _state(draw: CaseDraw, truth: PhantomCase, level: str) -> int:
    """Return 0 for a normal vertebra, 1 for a benign change, and 2 for one that is suspicious of malignancy."""
    if level == truth.level:
        return 2 if truth.diagnosis is Diagnosis.MALIGNANT else 1
    kinds = {spot.kind for spot in draw.spots if spot.level == level}
    if kinds & SUSPICIOUS_SPOTS:
        return 2
    return int(bool(kinds) or level in draw.healed)


FIELDS: dict[str, Any] = {
    "field_of_view_mm": Range(260.0, 380.0),
    "slice_spacing_mm": Range(3.0, 5.5),
    "scoliosis_mm": Range(0.0, 15.0),
    "sacral_slope_deg": Range(20.0, 55.0),
}
# Frequencies of signs in these are those of Table 1: they calibrate, and the diagnosis is fitted to them. With how many
# of each cohort's patients are drawn, the first ones.
NATURAL = {
    "first": (PhantomSettings(patients=240, seed=1600, matrix=384), 240),
    "second": (PhantomSettings(patients=200, seed=1601, matrix=384), 200),
    "varied": (PhantomSettings(patients=200, seed=1603, matrix=384, shapes="varied", **FIELDS), 153),
}
# More malignant patients than in life, for the signs that only they show.
RARE = {
    "varied-malignant": (
        PhantomSettings(patients=140, seed=1605, matrix=384, shapes="varied", malignant=0.7, **FIELDS),
        89,
    )
}
TESTS = {"home": (PhantomSettings(patients=190, seed=1690, matrix=384), 100)}
# Share of the natural cohorts that teaches; the rest calibrates.
TEACHES = 0.7


@dataclass(frozen=True, eq=False)
class Drawn:
    """One phantom as it was kept; its voxels stay on disk until they are needed."""

    folder: Path
    number: int
    truth: dict[str, Any]

    @property
    def names(self) -> tuple[str, str]:
        return self.truth["participant"], self.truth["case"]

    @property
    def signs(self) -> NDArray[np.float64]:
        return np.array(self.truth["signs"], float)

    def body(self) -> PatchStack:
        return load_stack(self.folder / "body", *self.names)

    def views(self) -> SignViews:
        return SignViews(self.body(), load_stack(self.folder / "surroundings", *self.names))

    def measures(self) -> dict[str, float]:
        return recorded_measures(self.folder / "body", *self.names)

    def vertebrae(self) -> NDArray[np.float16]:
        patches: NDArray[np.float16] = np.load(self.folder / "vertebrae" / f"{self.number:05d}.npy")
        return patches


def drawn_phantoms(folder: Path) -> list[Drawn]:
    """List the phantoms of a cohort."""
    paths = sorted((folder / "truth").glob("*.json"))
    return [Drawn(folder, int(path.stem), json.loads(path.read_text("utf-8"))) for path in paths]


def _shared_out(folder: Path) -> tuple[list[Drawn], list[Drawn]]:
    """Return the phantoms that teach, and those that calibrate."""
    taught, apart = [], []
    for name in NATURAL | RARE:
        drawn = drawn_phantoms(folder / name)
        share = round(TEACHES * len(drawn)) if name in NATURAL else len(drawn)
        taught += drawn[:share]
        apart += drawn[share:]
    return taught, apart


def train(folder: Path) -> None:
    """Teach the starter, calibrate it on phantoms kept apart, and write its weights into the package."""
    names = [*(one.name for one in MEMBERS), "vertebra"]
    for name in names:
        _teach(folder, name)
    tensors = {}
    for name in names:
        tensors |= safetensors.torch.load_file(folder / f"{name}.safetensors")
    _conclude(safetensors.torch.save(tensors), *_shared_out(folder))


def _teach(folder: Path, name: str) -> None:
    """Teach one network, unless it is taught already."""
    import torch  # deferred: scoring does without

    path = folder / f"{name}.safetensors"
    if path.exists():
        return
    torch.set_num_threads(1)
    taught, _ = _shared_out(folder)
    network: torch.nn.Module
    if name == "vertebra":
        patches = np.concatenate([one.vertebrae() for one in taught])
        states = np.concatenate([one.truth["states"] for one in taught]).astype(np.int64)
        lessons = VertebraLessons(patches, states)
        everyone = np.arange(len(states))
        network = fit_vertebrae(lessons, everyone, VERTEBRA_TEACHING, MEDIUM, progress=_progress(name))
    else:
        appearance = next(one for one in MEMBERS if one.name == name)
        views = [_renamed(one.views(), number) for number, one in enumerate(taught)]
        signs = SignLessons(views, np.array([one.signs[SEEN] for one in taught]))
        views.clear()  # the lessons hold their own copy
        network = fit_signs(signs, np.arange(len(taught)), TEACHING, appearance, progress=_progress(name))
    write_bytes(path, member_weights({name: network}))


def _conclude(weights: bytes, taught: list[Drawn], apart: list[Drawn]) -> None:
    """Calibrate on the phantoms kept apart, choose the head, and write the model."""
    read = SignNetworks({name: value.numpy() for name, value in safetensors.torch.load(weights).items()})
    evidence = np.array([_evidence(read, one) for one in apart])
    signs = np.array([one.signs for one in apart])
    malignant = np.array([one.truth["malignant"] for one in apart])
    calibration = SignCalibration.fit(evidence, signs)
    head, losses = choose_head(calibration.apply(evidence), malignant, np.arange(len(apart)))
    everyone = dict(enumerate(taught + apart))
    names = {number: {"case_id": f"case-{number}", "participant_id": f"sub-{number}"} for number in everyone}
    guards = Guards.of_stacks(
        [replace(one.body(), **names[number]) for number, one in everyone.items()],
        {f"case-{number}": one.measures() for number, one in everyone.items()},
    )
    card = SignCard(
        {
            "cohort": "phantoms only: no image of a patient taught or calibrated this model",
            "taught": len(taught),
            "calibrated": len(apart),
            "cohorts": {name: [one.fingerprint, drawn] for name, (one, drawn) in (NATURAL | RARE).items()},
            "teaching": asdict(TEACHING),
            "software": software_versions(),
        },
        calibration,
        head,
        losses,
        guards,
        digest_of(weights),
    )
    write_sign_model(WEIGHTS, card, weights)
    print(f"written: {head.name}, losses {losses}", flush=True)


def _evidence(networks: SignNetworks, one: Drawn) -> NDArray[np.float64]:
    """Return the log-odds of the fifteen signs of one phantom, not calibrated."""
    raw = np.full(len(SIGN_IDENTIFIERS), np.nan)
    raw[SEEN] = networks.read(one.views()).logits
    patches = one.vertebrae().astype(np.float32)
    edge = (patches.shape[-1] - OTHER_VERTEBRA.size) // 2
    inner = patches[..., edge : patches.shape[-1] - edge, edge : patches.shape[-1] - edge]
    others = inner[~np.array(one.truth["marked"], bool)] if one.truth["states"] else inner
    scaled = (others - others.mean((-2, -1), keepdims=True)) / others.std((-2, -1), keepdims=True).clip(1e-6)
    raw[SIGN_IDENTIFIERS.index(SKIP)] = noisy_or(networks.states_of(scaled.astype(np.float32))[:, -1])
    return raw


def _renamed(views: SignViews, number: int) -> SignViews:
    """Give a case of one of several cohorts a name of its own."""
    names = {"case_id": f"case-{number}", "participant_id": f"participant-{number}"}
    return SignViews(replace(views.body, **names), replace(views.surroundings, **names))


def _progress(name: str) -> Callable[[int, int, float], None]:
    began = time.process_time()

    def show(epoch: int, epochs: int, loss: float) -> None:
        print(f"{name}: epoch {epoch} of {epochs}, loss {loss:.4f}, {time.process_time() - began:.0f} s", flush=True)

    return show


def score(folder: Path) -> None:
    """Measure the shipped model on phantoms that neither taught nor calibrated it."""
    model = load_sign_model()
    rows: list[tuple[object, ...]] = []
    for name in TESTS:
        drawn = drawn_phantoms(folder / name)
        evidence = np.array([_evidence(model.networks, one) for one in drawn])
        signs, malignant = np.array([one.signs for one in drawn]), np.array([one.truth["malignant"] for one in drawn])
        logits = model.card.calibration.apply(evidence)
        for what, given in (("model", logits), ("true signs", np.where(signs > 0, CERTAIN, -CERTAIN))):
            parts, start = model.card.head.contributions(given)
            odds = parts.sum(axis=1) + start
            accuracy = float(np.mean((odds > 0) == malignant))
            rows.append((name, f"diagnosis, {what}: accuracy", int(malignant.sum()), f"{accuracy:.3f}"))
            rows.append((name, f"diagnosis, {what}: AUC", int(malignant.sum()), _auc(malignant, odds)))
        checked = _overrides(model, logits, signs, malignant)
        rows += [(name, f"accuracy after {steps} signs were checked", "", share) for steps, share in checked.items()]
        for place, sign in enumerate(SIGNS):
            shown = signs[:, place] > 0
            rows.append((name, f"{sign.label}: AUC", int(shown.sum()), _auc(shown, logits[:, place])))
    columns = ("phantoms", "what", "shown or malignant", "value")
    note = (
        "Phantoms that neither taught nor calibrated the model. Signs are checked by a reader who knows the truth, in "
        "the order that the model suggests."
    )
    record("starter", "The starter weights of the signs model", columns, rows, note)


def _overrides(
    model: SignPredictor, logits: NDArray[np.float64], signs: NDArray[np.float64], malignant: NDArray[np.bool_]
) -> dict[str, str]:
    """Return the accuracy after a reader who knows the truth has checked the signs that the model suggests."""
    right = dict.fromkeys(("0", "1", "3", "5"), 0)
    for row, truth, answer in zip(logits, signs, malignant, strict=True):
        answers: dict[str, Score] = {}
        for step in range(6):
            now = verdict(model.card.head, overruled(row, answers), answers)
            if str(step) in right:
                right[str(step)] += (now.probability >= model.card.threshold) == answer
            if now.check_next is None:
                break
            known = truth[SIGN_IDENTIFIERS.index(now.check_next)] > 0
            answers[now.check_next] = Score.YES if known else Score.NO
    return {steps: f"{count / len(malignant):.3f}" for steps, count in right.items()}


def _auc(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> str:
    if not 0 < positive.sum() < len(positive) or np.isnan(score).any():
        return "not given"
    ranks = rankdata(score)
    count = positive.sum()
    area = (ranks[positive].sum() - count * (count + 1) / 2) / (count * (~positive).sum())
    return f"{float(area):.3f}"


if __name__ == "__main__":
    verb, folder = sys.argv[1], Path(sys.argv[2])
    if verb == "cohort":
        for name, (settings, patients) in (NATURAL | RARE).items():
            write_cohort(folder / name, settings, patients)
        for name, (settings, patients) in TESTS.items():
            write_cohort(folder / name, settings, patients, located=True)
    elif verb == "train":
        train(folder)
    else:
        score(folder)

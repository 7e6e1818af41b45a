"""Networks that learn signs, folds that go on where they stopped, and refusals that say what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray

from spinefx.errors import InputError, ModelError
from spinefx.learning.card import WEIGHTS_FILE
from spinefx.learning.folds import Fold
from spinefx.signs.appearance import MILD, STRONG, Appearance, change_appearance
from spinefx.signs.crossvalidation import (
    SEEN,
    SignCases,
    concluded,
    cross_validate_signs,
    member_weights,
    read_members,
    with_vertebrae,
)
from spinefx.signs.fitting import SignLessons, SignTeaching, VertebraLessons, fit_signs, fit_vertebrae
from spinefx.signs.inference import SEEN_SIGNS, SKIP
from spinefx.signs.network import SignNetwork
from spinefx.signs.views import SignViews
from spinefx.vocabulary import SIGN_IDENTIFIERS

from .conftest import Patient

MASS = SIGN_IDENTIFIERS.index("epidural_paraspinal_mass")


def renamed(views: SignViews, number: int) -> SignViews:
    names = {"case_id": f"case-{number:02d}", "participant_id": f"sub-{number:02d}"}
    return SignViews(replace(views.body, **names), replace(views.surroundings, **names))


def brightened(views: SignViews, bright: bool) -> SignViews:
    """Plant a sign that pixels show: a bright square in front of the body, in every slice of both series."""
    if not bright:
        return views
    sources = []
    for source in views.surroundings.sources:
        voxels = source.voxels.copy()
        rows, columns = voxels.shape[1] // 2, voxels.shape[2] // 3
        voxels[:, rows - 20 : rows + 20, columns - 20 : columns + 20] = 4 * voxels.max()
        sources.append(replace(source, voxels=voxels))
    return SignViews(views.body, replace(views.surroundings, sources=tuple(sources)))


@pytest.fixture(scope="module")
def cases(patients: tuple[Patient, ...]) -> SignCases:
    """Twenty-four cases, every second one with a planted mass that makes it malignant."""
    shown = np.arange(24) % 2 == 1
    signs = np.zeros((24, 15))
    signs[:, MASS] = shown
    signs[3, 0] = np.nan
    signs[::4, 0] = 1
    views = [renamed(brightened(patients[number % 3].views, bool(shown[number])), number) for number in range(24)]
    return SignCases(tuple(views), signs, shown, np.where(shown, 1.0, -1.0))


TEACHING = SignTeaching(epochs=10, batch_size=6, surroundings=2)


@pytest.fixture(scope="module")
def half(cases: SignCases) -> tuple[Fold, ...]:
    """Folds in which both kinds are on both sides."""
    names = sorted(one.participant_id for one in cases.views)
    first = [name for number, name in enumerate(names) if number % 4 < 2]
    second = [name for name in names if name not in first]
    return Fold(1, tuple(second), (), tuple(first)), Fold(2, tuple(first), (), tuple(second))


def test_a_planted_sign_is_learned_and_held_out_cases_are_diagnosed_through_it(
    cases: SignCases, half: tuple[Fold, ...], tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    found, weights = cross_validate_signs(
        cases, half, TEACHING, tmp_path, data_digest="x", progress=lambda *seen: told.append(seen)
    )
    shown = cases.signs[:, MASS] > 0
    assert found.evidence[shown, MASS].min() > found.evidence[~shown, MASS].max(), "it holds for cases never seen"
    assert ((found.log_odds > 0) == cases.malignant).mean() >= 0.9
    assert np.isnan(found.calibrated[:, SIGN_IDENTIFIERS.index("nodular_lesion")]).all(), "no case shows it"
    assert np.array_equal(found.evidence[:, SIGN_IDENTIFIERS.index(SKIP)], cases.skips)
    assert {label for label, _, _ in told} == {"fold-01", "fold-02", "fold-00"}
    assert max(done for _, done, _ in told) == told[0][2] == 2 * TEACHING.epochs
    assert safetensors.torch.load(weights).keys() == read_weights(tmp_path / "fold-01").keys()

    # A second call reads what is finished, and another way of teaching does not.
    told.clear()
    again, _ = cross_validate_signs(
        cases, half, TEACHING, tmp_path, data_digest="x", progress=lambda *seen: told.append(seen)
    )
    assert np.array_equal(again.log_odds, found.log_odds)
    assert not told


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(safetensors.torch.load_file(folder / WEIGHTS_FILE))


@pytest.mark.parametrize("refinement", ["frozen", "last"])
def test_a_starter_keeps_what_may_not_change(
    cases: SignCases, half: tuple[Fold, ...], networks: dict[str, torch.nn.Module], tmp_path: Path, refinement: str
) -> None:
    weights = tmp_path / "starter.safetensors"
    weights.write_bytes(member_weights(networks))
    start = read_members(weights)
    short = replace(TEACHING, epochs=1)
    cross_validate_signs(
        cases,
        half,
        short,
        tmp_path,
        data_digest="x",
        start=start,
        refinement=refinement,  # type: ignore[arg-type]
    )
    before, after = safetensors.torch.load_file(weights), read_weights(tmp_path / "fold-01")
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    ends = ("body.19.weight", "body.19.bias", "surroundings.19.weight", "surroundings.19.bias", "sharpness")
    last = {f"{member}.{end}" for member in ("mild", "strong") for end in ends}
    assert changed <= (set() if refinement == "frozen" else last)
    assert bool(changed) == (refinement == "last")


def test_what_is_reported_for_a_fold_owes_nothing_to_its_signs(cases: SignCases, half: tuple[Fold, ...]) -> None:
    rng = np.random.default_rng(4)
    numbers = np.array([1 if one.participant_id in half[0].test else 2 for one in cases.views])
    evidence = rng.normal(0, 1, cases.signs.shape) + 2 * np.nan_to_num(cases.signs)
    found = concluded(cases, half, evidence, numbers)
    altered = cases.signs.copy()
    altered[numbers == 1] = rng.integers(0, 2, altered[numbers == 1].shape)
    malignant = cases.malignant.copy()
    malignant[numbers == 1] = ~malignant[numbers == 1]
    other = concluded(SignCases(cases.views, altered, malignant, cases.skips), half, evidence, numbers)
    assert np.array_equal(found.log_odds[numbers == 1], other.log_odds[numbers == 1])
    assert not np.array_equal(found.log_odds[numbers == 2], other.log_odds[numbers == 2])


def test_too_few_cases_and_one_diagnosis_are_refused(cases: SignCases) -> None:
    few = slice(0, 10)
    with pytest.raises(InputError, match=r"10 cases with signs.*20 or more.*Score the signs of more cases"):
        SignCases(cases.views[few], cases.signs[few], cases.malignant[few], cases.skips[few])
    with pytest.raises(InputError, match="cases of one diagnosis"):
        SignCases(cases.views, cases.signs, np.ones(24, bool), cases.skips)


def test_few_cases_and_signs_that_never_vary_are_said(cases: SignCases) -> None:
    said = " ".join(cases.cautions)
    assert "Only 24 cases have signs" in said
    assert "'Intravertebral mass-like or nodular lesion' is left out: no case shows it." in said


def test_a_model_keeps_the_starters_network_for_other_vertebrae(
    networks: dict[str, torch.nn.Module], tmp_path: Path
) -> None:
    starter = tmp_path / "starter.safetensors"
    starter.write_bytes(member_weights(networks))
    own = member_weights({"mild": networks["mild"], "strong": networks["strong"]})
    joined = safetensors.torch.load(with_vertebrae(own, starter))
    assert joined.keys() == safetensors.torch.load_file(starter).keys()


def test_weights_of_other_networks_cannot_be_a_start(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({"mild.body.0.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(ModelError, match="weights of another network"):
        read_members(path)


def test_a_sign_that_was_not_assessed_teaches_nothing(patients: tuple[Patient, ...]) -> None:
    views = [renamed(patients[0].views, number) for number in range(4)]
    unknown = np.full((4, len(SEEN_SIGNS)), np.nan)
    lessons = SignLessons(views, unknown)
    torch.manual_seed(0)
    start = SignNetwork()
    before = {name: value.clone() for name, value in start.named_parameters()}
    taught = fit_signs(lessons, np.arange(4), SignTeaching(epochs=1, batch_size=4, weight_decay=0), MILD, start=start)
    assert all(torch.equal(value, before[name]) for name, value in taught.named_parameters())
    assert len(SEEN) == len(SEEN_SIGNS)


def test_states_of_vertebrae_are_learned() -> None:
    rng = np.random.default_rng(5)
    states = np.arange(48) % 3
    patches = rng.normal(0, 1, (48, 3, 6, 80, 80)).astype(np.float16)
    for place, state in enumerate(states):
        patches[place, :, :, 30:50, 30:50] += np.float16(6 * (state - 1))
    lessons = VertebraLessons(patches, states)
    network = fit_vertebrae(lessons, np.arange(48), SignTeaching(epochs=12, batch_size=12), MILD)
    drawn, wanted = lessons.draw(np.arange(48), MILD, np.random.default_rng(9))
    with torch.no_grad():
        assert (network(drawn).argmax(1) == wanted).float().mean() > 0.9


@pytest.mark.parametrize("dials", [MILD, STRONG], ids=lambda one: one.name)
def test_other_appearances_keep_anatomy_and_differ_from_sample_to_sample(
    dials: Appearance, patients: tuple[Patient, ...]
) -> None:
    lessons = SignLessons([one.views for one in patients], np.zeros((3, len(SEEN_SIGNS))))
    body, _ = lessons.plain(0)
    many = body.repeat(16, 1, 1, 1, 1)
    changed = change_appearance(many, dials, torch.Generator().manual_seed(1))
    assert changed.shape == many.shape
    assert torch.isfinite(changed).all()
    alike = [_correlation(changed[number, 0, 1], body[0, 0, 1]) for number in range(16)]
    assert min(alike) > (0.75 if dials is MILD else 0.3)
    assert len({round(value, 4) for value in alike}) == 16
    same = change_appearance(many, dials, torch.Generator().manual_seed(1))
    assert torch.equal(same, changed)


def _correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    rows: NDArray[np.float64] = np.corrcoef(one.numpy().ravel(), other.numpy().ravel())
    return float(rows[0, 1])


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"learning_rate": 0.0}, {"seed": -1}, {"surroundings": 0}])
def test_impossible_ways_of_teaching_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="a way of teaching"):
        replace(SignTeaching(), **wrong)  # type: ignore[arg-type]

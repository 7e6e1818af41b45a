"""Synthetic cases for the tests of learning: blocks of voxels with a lesion whose kind follows the diagnosis."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from spinefx.cases.patch import Jitter, PatchSettings, PatchSource, PatchStack
from spinefx.learning.recipe import Recipe
from spinefx.vocabulary import Diagnosis, Weighting

SIDE = 40.0  # voxels along a box's side


def make_stack(number: int, *, malignant: bool, slices: int = 3, size: int = 64, strength: float = 1.0) -> PatchStack:
    """Make smooth noise, different for each participant, with a dark nodule (malignant) or band (benign) on T1W."""
    rng = np.random.default_rng([7, number])
    depth, extent = slices + 2, 72 + 2 * int(rng.integers(4))
    t1w = ndimage.gaussian_filter(rng.normal(size=(depth, extent, extent)), (0.7, 2.5, 2.5)) * 8
    t2w = ndimage.gaussian_filter(rng.normal(size=(depth, extent, extent)), (0.7, 2.5, 2.5)) * 8
    t1w += rng.normal(scale=0.15, size=t1w.shape)
    t2w += rng.normal(scale=0.15, size=t2w.shape)
    row, column = np.meshgrid(*[np.arange(extent) - extent / 2 + rng.normal() * 3 for _ in range(2)], indexing="ij")
    nodule = np.exp(-((row**2 + column**2) / 60))
    band = np.exp(-(row**2) / 12) * (np.abs(column) < 15)
    t1w -= strength * 2.5 * (nodule if malignant else band)
    matrices = np.zeros((slices, 6, 3, 3))
    for position in range(slices):
        for channel in range(6):
            centre = position + channel % 3
            tilt = rng.normal(scale=0.15) if channel < 3 else 0.0
            middle = (extent - 1) / 2
            matrices[position, channel] = [
                [tilt, -tilt / 2, centre],
                [SIDE, 0.4 * tilt, middle],
                [0.3 * tilt, SIDE, middle],
            ]
    name = f"sub-{number:03d}"
    settings = PatchSettings(size=size)
    return PatchStack(
        name,
        name,
        tuple(range(4, 4 + slices)),
        (
            PatchSource(Weighting.T1W, t1w.astype(np.float32), matrices[:, :3]),
            PatchSource(Weighting.T2W, t2w.astype(np.float32), matrices[:, 3:]),
        ),
        30.0,
        (),
        settings,
    )


def make_cohort(
    malignant: int, benign: int, *, slices: int = 2, size: int = 64, strength: float = 1.0
) -> tuple[list[PatchStack], dict[str, Diagnosis]]:
    """Make a cohort and its truth."""
    stacks = [
        make_stack(number, malignant=number < malignant, slices=slices, size=size, strength=strength)
        for number in range(malignant + benign)
    ]
    answers = [Diagnosis.MALIGNANT] * malignant + [Diagnosis.BENIGN] * benign
    return stacks, {stack.case_id: answer for stack, answer in zip(stacks, answers, strict=True)}


@pytest.fixture(scope="session")
def cohort() -> tuple[list[PatchStack], dict[str, Diagnosis]]:
    """Six malignant and eight benign participants, two slices each, patches of 32 pixels."""
    return make_cohort(6, 8, size=32)


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    """A recipe that trains in about a second."""
    return Recipe.preset("quick").changed(
        name="tiny", folds=2, epochs=2, patch_size=32, copies_benign=1, copies_malignant=2, batch_size=8
    )


@pytest.fixture(scope="session")
def stack_maker() -> Callable[..., PatchStack]:
    """Make one synthetic case."""
    return make_stack


@pytest.fixture(scope="session")
def cohort_maker() -> Callable[..., tuple[list[PatchStack], dict[str, Diagnosis]]]:
    """Make a synthetic cohort."""
    return make_cohort


@pytest.fixture
def jitters() -> list[Jitter]:
    """Jitters over all of the protocol's ranges, including the corners."""
    rng = np.random.default_rng(3)
    drawn = [
        Jitter(*(float(v) for v in (*rng.uniform(-0.1, 0.1, 2), rng.uniform(0.9, 1.1), rng.uniform(-15, 15))))
        for _ in range(30)
    ]
    return [*drawn, Jitter(0.1, 0.1, 1.1, 15.0), Jitter(-0.1, -0.1, 0.9, -15.0)]

"""Phantoms with their views, and a signs model that was taught nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from spinefx.cases.alignment import AlignedSeries, align_series
from spinefx.cases.lesion import Box, Lesion
from spinefx.files import digest_of
from spinefx.imaging.volume import Volume
from spinefx.learning.guards import Guards
from spinefx.phantom.case import PhantomCase, render_pair
from spinefx.phantom.random_streams import draw_case
from spinefx.phantom.settings import PhantomSettings
from spinefx.signs.calibration import SignCalibration
from spinefx.signs.crossvalidation import member_weights
from spinefx.signs.diagnosis import BayesHead
from spinefx.signs.model import SignCard, write_sign_model
from spinefx.signs.network import SignNetwork, VertebraNetwork
from spinefx.signs.views import BODY, SignViews, cut_views
from spinefx.vocabulary import Weighting


@dataclass(frozen=True, eq=False)
class Patient:
    """One phantom, marked and aligned."""

    truth: PhantomCase
    lesion: Lesion
    series: dict[Weighting, Volume]
    placed: tuple[AlignedSeries, ...]
    views: SignViews


@pytest.fixture(scope="session")
def patients() -> tuple[Patient, ...]:
    """Three phantoms."""
    settings = PhantomSettings(patients=12, seed=31, matrix=256)
    found = []
    for number in (1, 2, 3):
        truth, t1w, t2w = render_pair(draw_case(settings, number))
        left, posterior, superior = (float(value) for value in truth.box_centre_mm)
        lesion = Lesion(
            Box((left, posterior, superior), truth.box_side_mm), truth.lesion_slices[0], truth.lesion_slices[-1]
        )
        series = {Weighting.T1W: t1w, Weighting.T2W: t2w}
        placed = align_series(lesion, series, method=BODY.registration)
        views = cut_views(lesion, placed, case_id=f"case-{number}", participant_id=f"sub-{number}")
        found.append(Patient(truth, lesion, series, placed, views))
    return tuple(found)


@pytest.fixture(scope="session")
def networks() -> dict[str, torch.nn.Module]:
    """Networks with random weights, statistics and sharpness, so that nothing cancels."""
    torch.manual_seed(16)
    made: dict[str, torch.nn.Module] = {
        "mild": SignNetwork(),
        "strong": SignNetwork(),
        "vertebra": VertebraNetwork(),
    }
    for network in made.values():
        network.eval()
        for name, value in network.state_dict().items():
            if name.endswith(("running_mean", "sharpness")):
                value.normal_()
            elif name.endswith("running_var"):
                value.uniform_(0.5, 2)
    return made


@pytest.fixture(scope="session")
def model_folder(networks: dict[str, torch.nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signs model whose networks are random."""
    rng = np.random.default_rng(3)
    signs = (rng.random((80, 15)) < 0.4).astype(float)
    evidence, malignant = rng.normal(0, 1, signs.shape) + signs, signs[:, 12] > 0
    calibration = SignCalibration.fit(evidence, signs)
    head = BayesHead.fit(calibration.apply(evidence), malignant)
    weights = member_weights(networks)
    losses = {"bayes": 0.4, "logistic": 0.5}
    card = SignCard({"cohort": "none"}, calibration, head, losses, Guards(), digest_of(weights))
    folder = tmp_path_factory.mktemp("signs") / "model"
    write_sign_model(folder, card, weights)
    return folder

"""The whole spine without a mark: every vertebra has a state, and the most abnormal one is diagnosed."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from spinefx.errors import LevelError
from spinefx.signs.inference import SignNetworks
from spinefx.signs.model import SignPredictor, load_sign_model
from spinefx.signs.whole_spine import STATE_COLOURS, score_spine
from spinefx.vocabulary import MARKED

from .conftest import Patient


def stating(
    model: SignPredictor, probabilities: tuple[float, float, float], at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let the network state the given probabilities for one vertebra, and that the others are normal."""

    def states_of(self: SignNetworks, patches: NDArray[np.float32]) -> NDArray[np.float64]:
        rows = np.tile([0.96, 0.03, 0.01], (len(patches), 1))
        rows[min(at, len(rows) - 1)] = probabilities
        return rows

    monkeypatch.setattr(SignNetworks, "states_of", states_of)


def test_the_most_abnormal_vertebra_is_diagnosed(
    patients: tuple[Patient, ...], model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, one = load_sign_model(model_folder), patients[0]
    stating(model, (0.05, 0.15, 0.8), 2, monkeypatch)
    found = score_spine(model, one.series)
    assert found.most_abnormal == 2
    answer = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert [vertebra["index"] for vertebra in answer["vertebrae"]].count(True) == 1
    assert answer["vertebrae"][2]["state"] == "suspicious"
    assert answer["lesion"]["centre_mm"] == pytest.approx(found.vertebrae[2].vertebra.centre_mm)
    assert "no reader marked it" in answer["flags"][0]
    picture = np.array(Image.open(io.BytesIO(found.picture(one.series[MARKED]))).convert("RGB"))
    for state in ("normal", "suspicious"):
        assert (picture == STATE_COLOURS[state]).all(axis=-1).sum() > 100


def test_a_spine_without_a_changed_vertebra_gets_no_number(
    patients: tuple[Patient, ...], model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, one = load_sign_model(model_folder), patients[0]
    stating(model, (0.96, 0.03, 0.01), 0, monkeypatch)
    answer = score_spine(model, one.series).to_json()
    assert answer["patient"] is None
    assert "signs" not in answer
    assert "no proof" in answer["flags"][0]


def test_a_series_without_a_spine_is_refused(patients: tuple[Patient, ...], model_folder: Path) -> None:
    one = patients[0]
    noise = np.random.default_rng(1).normal(100, 20, one.series[MARKED].shape).astype(np.float32)
    series = one.series | {MARKED: replace(one.series[MARKED], array=noise)}
    with pytest.raises(LevelError, match="no vertebra was found"):
        score_spine(load_sign_model(model_folder), series)

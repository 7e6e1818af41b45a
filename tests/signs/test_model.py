"""A signs model on disk: computed as it was taught, and refused where it is not the one that its card names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from spinefx.errors import ModelError
from spinefx.files import digest_of
from spinefx.learning.card import MODEL_FILE, WEIGHTS_FILE
from spinefx.signs.calibration import noisy_or
from spinefx.signs.fitting import SignLessons
from spinefx.signs.graph import encoder_graph
from spinefx.signs.inference import ENCODERS, GRAPHS, SEEN_SIGNS, SKIP, STATES, SignNetworks
from spinefx.signs.model import is_sign_model, is_starter, load_sign_model
from spinefx.signs.network import SignNetwork
from spinefx.signs.scoring import score_signs
from spinefx.signs.views import cut_other_vertebrae
from spinefx.vocabulary import SIGN_IDENTIFIERS, Score

from .conftest import Patient


@pytest.mark.parametrize("name", ENCODERS)
def test_the_graphs_of_the_package_are_those_that_the_networks_describe(name: str) -> None:
    assert (GRAPHS / f"{name}.onnx").read_bytes() == encoder_graph(ENCODERS[name])


def test_onnx_runtime_reads_what_torch_reads(
    patients: tuple[Patient, ...], networks: dict[str, torch.nn.Module], model_folder: Path
) -> None:
    model = load_sign_model(model_folder)
    lessons = SignLessons([one.views for one in patients], np.zeros((len(patients), len(SEEN_SIGNS))))
    for place, patient in enumerate(patients):
        reading = model.networks.read(patient.views)
        with torch.no_grad():
            expected = sum(networks[name](*lessons.plain(place))[0] for name in ("mild", "strong")) / 2
        # Training samples views in the plane of their slices, which differs by thousandths from trilinear sampling.
        assert reading.logits == pytest.approx(expected.numpy(), abs=0.02)
        assert reading.body.shape[1] == reading.surroundings.shape[1] == len(SEEN_SIGNS)


def test_evidence_at_every_position_adds_up_where_pooling_is_a_mean(
    patients: tuple[Patient, ...], networks: dict[str, torch.nn.Module]
) -> None:
    tensors = {f"mild.{name}": value.numpy() for name, value in networks["mild"].state_dict().items()}
    tensors["mild.sharpness"] = np.full((2, len(SEEN_SIGNS)), -30, np.float32)
    reading = SignNetworks(tensors).read(patients[0].views)
    total = reading.body.sum(axis=(0, 2, 3)) + reading.surroundings.sum(axis=(0, 2, 3))
    assert total == pytest.approx(reading.logits, abs=1e-2)


def test_the_states_of_other_vertebrae_are_those_of_torch(
    patients: tuple[Patient, ...], networks: dict[str, torch.nn.Module], model_folder: Path
) -> None:
    one = patients[0]
    places, patches = cut_other_vertebrae([one.lesion.box], one.placed)
    assert places == (0,)
    found = load_sign_model(model_folder).networks.states_of(patches)
    with torch.no_grad():
        expected = torch.softmax(networks["vertebra"](torch.from_numpy(patches)), 1).numpy()
    assert found == pytest.approx(expected, abs=1e-4)
    assert found.shape == (1, len(STATES))


def test_an_answer_names_every_sign_and_leaves_out_what_it_did_not_see(
    patients: tuple[Patient, ...], model_folder: Path
) -> None:
    one = patients[0]
    scored = score_signs(load_sign_model(model_folder), one.lesion, one.series)
    answer = json.loads(json.dumps(scored.to_json(), allow_nan=False))
    assert list(answer["signs"]) == list(SIGN_IDENTIFIERS)
    assert len(answer["vertebrae"]) >= 3, "the localiser finds the neighbours"
    total = answer["patient"]["log_odds_without_signs"] + sum(sign["log_odds"] for sign in answer["signs"].values())
    assert answer["patient"]["probability"] == pytest.approx(1 / (1 + np.exp(-total)))
    suspicions = np.array([vertebra["probabilities"]["suspicious"] for vertebra in answer["vertebrae"]])
    raw = noisy_or(suspicions)
    place = SIGN_IDENTIFIERS.index(SKIP)
    line = load_sign_model(model_folder).card.calibration
    assert scored.logits[place] == pytest.approx(line.slopes[place] * raw + line.intercepts[place], abs=0.02)
    overruled = scored.verdict({"epidural_paraspinal_mass": Score.YES})
    assert overruled.signs["epidural_paraspinal_mass"] == pytest.approx(1, abs=1e-3)


def _changed_card(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / MODEL_FILE
    card = json.loads(path.read_text("utf-8"))
    change(card)
    path.write_text(json.dumps(card), "utf-8")


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card["calibration"]["nodular_lesion"].update(slope=9.0),
        lambda card: card["head"].update(start=5.0),
        lambda card: card.update(threshold=0.1),
        lambda card: card.pop("head"),
        lambda card: card["head"].update(name="oracle"),
        lambda card: card["head"]["base"].pop(),
        lambda card: card.update(calibration=[]),
        lambda card: card.update(guards=None),
    ],
)
def test_a_card_that_was_changed_is_refused(
    change: Callable[[dict[str, Any]], None], model_folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(model_folder, tmp_path / "copy"))
    _changed_card(copy, change)
    with pytest.raises(ModelError, match=r"card"):
        load_sign_model(copy)


def test_weights_that_are_not_those_of_the_card_are_refused(model_folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model_folder, tmp_path / "copy"))
    data = bytearray((copy / WEIGHTS_FILE).read_bytes())
    data[-5] ^= 1
    (copy / WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(ModelError, match="do not match the model card"):
        load_sign_model(copy)


@pytest.mark.parametrize("spoiled", ["another shape", "not finite", "one missing", "no sharpness", "empty"])
def test_weights_of_other_networks_are_refused(spoiled: str, networks: dict[str, torch.nn.Module]) -> None:
    tensors = {f"mild.{name}": value.numpy() for name, value in networks["mild"].state_dict().items()}
    if spoiled == "another shape":
        tensors["mild.body.0.weight"] = tensors["mild.body.0.weight"][:, :, :2].copy()
    elif spoiled == "not finite":
        tensors["mild.body.1.weight"] = np.full_like(tensors["mild.body.1.weight"], np.nan)
    elif spoiled == "one missing":
        del tensors["mild.surroundings.3.weight"]
    elif spoiled == "no sharpness":
        del tensors["mild.sharpness"]
    else:
        tensors = {}
    with pytest.raises(ModelError):
        SignNetworks(tensors)


def test_a_signs_model_is_known_by_its_card_and_the_starter_by_its_word(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_sign_model(model_folder)
    assert not is_sign_model(tmp_path)
    assert is_starter(Path("starter"))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model_folder, tmp_path / "starter")
    assert not is_starter(Path("starter")), "a folder of that name is meant, not the shipped model"
    assert load_sign_model(Path("starter")).digest == load_sign_model(model_folder).digest


def test_the_weights_hold_the_members_and_nothing_else(model_folder: Path) -> None:
    tensors = safetensors.numpy.load_file(model_folder / WEIGHTS_FILE)
    assert {name.split(".")[0] for name in tensors} == {"mild", "strong", "vertebra"}
    own = {name for name in SignNetwork().state_dict() if not name.endswith("num_batches_tracked")}
    assert {name.removeprefix("mild.") for name in tensors if name.startswith("mild.")} == own
    assert digest_of((model_folder / WEIGHTS_FILE).read_bytes()).startswith("sha256:")

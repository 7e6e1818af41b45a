"""A model comes back from its folder as it was, and refuses folders and inputs that are not its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from spinefx.cases.patch import PatchStack
from spinefx.cases.reading import correct_prior
from spinefx.errors import ModelError
from spinefx.files import canonical_json, digest_of
from spinefx.learning.card import ModelCard
from spinefx.learning.classifier import Classifier
from spinefx.learning.network import build_network
from spinefx.learning.pretrained import initialise
from spinefx.learning.recipe import Recipe


@pytest.fixture(scope="module")
def classifier(tiny: Recipe) -> Classifier:
    network = build_network(tiny, fold=3)
    start = initialise(network, tiny, None)
    return Classifier.of(network, tiny, cohort_digest="sha256:c", fold=3, initialisation=start)


@pytest.fixture
def folder(classifier: Classifier, tmp_path: Path) -> Path:
    classifier.save(tmp_path)
    return tmp_path


def test_prior_correction_has_known_values() -> None:
    assert correct_prior(0.5, 2.0) == pytest.approx(1 / 3)  # protocol row 6
    np.testing.assert_allclose(correct_prior([0.0, 1.0], 2.0), [0, 1])
    # By counting: 50 and 140 slices, copied 41 and 21 times, with no information.
    trained = 50 * 41 / (50 * 41 + 140 * 21)
    assert correct_prior(trained, 41 / 21) == pytest.approx(50 / 190)


@given(p=st.floats(0, 1), inflation=st.floats(0.05, 20))
def test_prior_correction_keeps_order_and_undoes_itself(p: float, inflation: float) -> None:
    there = correct_prior(p, inflation)
    assert 0 <= there <= 1
    assert (there <= p) == (inflation >= 1) or there == pytest.approx(p)
    assert correct_prior(there, 1 / inflation) == pytest.approx(p, abs=1e-9)


def test_a_saved_model_predicts_the_same_bits(
    classifier: Classifier, folder: Path, stack_maker: Callable[..., PatchStack]
) -> None:
    stack = stack_maker(1, malignant=True, size=32)
    loaded = Classifier.load(folder)
    assert loaded.digest == classifier.digest
    predictions = classifier.predict(stack)
    assert loaded.predict(stack) == predictions
    assert [prediction.slice_index for prediction in predictions] == list(stack.slices)
    first = predictions[0]
    assert (first.fold, first.model_digest) == (3, classifier.digest)
    assert first.corrected_probability == pytest.approx(float(correct_prior(first.probability, 2.0)))


def test_card_states_inputs_and_chain(classifier: Classifier, folder: Path, tiny: Recipe) -> None:
    card = json.loads((folder / "model.json").read_text())
    assert card["inputs"]["channels"] == ["T1W-1", "T1W0", "T1W+1", "T2W-1", "T2W0", "T2W+1"]
    assert card["inputs"]["plane"] == "sagittal"
    assert card["inputs"]["settings_digest"] == tiny.patch_settings.digest
    assert card["intended_use"].startswith("Research use only")
    assert card["weights_digest"] == digest_of((folder / "weights.safetensors").read_bytes())
    assert card["recipe_digest"] == tiny.digest
    assert card["prior_inflation"] == 2.0
    assert "random" in card["initialisation"]["said"]
    assert card["software"]["torch"] == str(torch.__version__)
    assert card.pop("digest") == digest_of(canonical_json(card)) == classifier.digest


def _resave(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the weights and forge the card, so that only the weights themselves give it away."""
    state = safetensors.torch.load((folder / "weights.safetensors").read_bytes())
    change(state)
    data = safetensors.torch.save(state)
    (folder / "weights.safetensors").write_bytes(data)
    card = json.loads((folder / "model.json").read_text())
    card["weights_digest"] = digest_of(data)
    del card["digest"]
    (folder / "model.json").write_text(json.dumps({**card, "digest": digest_of(canonical_json(card))}))


def test_missing_tensor_and_other_shape_are_refused(folder: Path) -> None:
    _resave(folder, lambda state: state.update({"body.fc.weight": torch.zeros(2, 96)}))
    with pytest.raises(ModelError, match=r"body\.fc\.weight"):
        Classifier.load(folder)
    _resave(folder, lambda state: [state.pop("mix.weight")])  # type: ignore[func-returns-value]
    with pytest.raises(ModelError, match=r"mix\.weight"):
        Classifier.load(folder)


@pytest.mark.parametrize("fault", ["weights", "card", "recipe", "schema", "missing", "no json", "list", "keys"])
def test_altered_folders_are_refused(fault: str, folder: Path) -> None:
    card_path, weights_path = folder / "model.json", folder / "weights.safetensors"
    card = json.loads(card_path.read_text())
    if fault == "weights":
        data = bytearray(weights_path.read_bytes())
        data[-5] ^= 1
        weights_path.write_bytes(data)
    elif fault == "missing":
        weights_path.unlink()
    elif fault == "no json":
        card_path.write_text(card_path.read_text()[:-40])
    elif fault == "list":
        card_path.write_text("[]")
    else:
        if fault == "card":
            card["cohort_digest"] = "sha256:other"
        elif fault == "recipe":
            card["recipe"]["threshold"] = 0.4
        elif fault == "schema":
            card["schema"] = "spinefx model 99"
        elif fault == "keys":
            del card["weights_digest"]
        card_path.write_text(json.dumps(card))
    with pytest.raises(ModelError):
        Classifier.load(folder)


def test_other_inputs_are_refused(classifier: Classifier, stack_maker: Callable[..., PatchStack]) -> None:
    with pytest.raises(ModelError, match=r"size = 64.*size = 32"):
        classifier.predict(stack_maker(1, malignant=True, size=64))
    with pytest.raises(ModelError, match="shape"):
        classifier.probabilities(np.zeros((1, 3, 32, 32), np.float32))


def test_a_card_from_before_sequences_is_read_with_its_digest() -> None:
    """Written by the version before recipes had sequences: it names the same model today."""
    text = (Path(__file__).parent / "data" / "model_before_sequences.json").read_text(encoding="utf-8")
    card = ModelCard.from_json(json.loads(text))
    assert card.digest == "sha256:354c560aa69558f7848ea1d8eef2b409dd947d74ff63ab7085163438191b28b1"
    assert json.dumps(card.to_json(), indent=2, ensure_ascii=False) + "\n" == text

"""A model's graph predicts as torch does, and is refused when it is not the model's own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper

from spinefx.cases.patch import PatchStack
from spinefx.errors import ModelError
from spinefx.files import canonical_json, digest_of
from spinefx.learning import onnx_export
from spinefx.learning.classifier import Classifier
from spinefx.learning.network import build_network
from spinefx.learning.onnx_export import export_graph
from spinefx.learning.onnx_model import DATA_FILE, GRAPH_CARD_FILE, GRAPH_FILE, Scorer, graph_is_current
from spinefx.learning.pretrained import initialise
from spinefx.learning.recipe import Recipe


def landscapes(count: int, size: int, *, seed: int) -> NDArray[np.float32]:
    """Make normalised patches with slopes and edges; on plain noise a network always predicts the same."""
    noise = np.random.default_rng(seed).standard_normal((count, 6, size, size))
    patches = noise + 0.2 * noise.cumsum(axis=2).cumsum(axis=3)
    patches -= patches.mean(axis=(2, 3), keepdims=True)
    return (patches / patches.std(axis=(2, 3), keepdims=True)).astype(np.float32)


def save_model(recipe: Recipe, folder: Path, *, fold: int = 1) -> Classifier:
    """Save a model of random weights with something to fold and predictions that differ, as after training."""
    network = build_network(recipe, fold=fold)
    generator = torch.Generator().manual_seed(fold)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 0.9
        norm.weight.data.uniform_(0.3, 1.2, generator=generator)
        norm.bias.data.normal_(0, 0.2, generator=generator)
    patches = torch.from_numpy(landscapes(12, recipe.patch_size, seed=fold))
    with torch.no_grad():
        network.train()(patches)
        answers = network.eval()(patches)
        network.body.fc.weight *= 2 / answers.std()
        network.body.fc.bias -= network(patches).mean()
    start = initialise(network, recipe, None)
    classifier = Classifier.of(network, recipe, cohort_digest="sha256:c", fold=fold, initialisation=start)
    classifier.save(folder)
    return classifier


@pytest.fixture(scope="module")
def exported(tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with its graph. Read only."""
    folder = tmp_path_factory.mktemp("exported")
    save_model(tiny, folder)
    export_graph(folder)
    return folder


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(exported, tmp_path / "model"))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *(("honest", {}), ("quick", {})),
        *(("quick", {"mixing_bias": False, "stem": "7x7_stride_2"}), ("quick", {"stem": "3x3_stride_1"})),
    ],
)
def test_both_engines_agree_on_a_hundred_inputs(name: str, changes: dict[str, object], tmp_path: Path) -> None:
    recipe = Recipe.preset(name).changed(**changes)
    classifier = save_model(recipe, tmp_path)
    card = export_graph(tmp_path)
    assert 0 < card.log_odds_error < 1e-4
    patches = landscapes(100, 64, seed=2)
    wanted = classifier.log_odds(patches)
    assert np.std(wanted) > 1, "answers that are all alike would agree whatever was exported"
    for one_study in (False, True):
        scorer = Scorer.load(tmp_path, one_study=one_study)
        np.testing.assert_allclose(scorer.log_odds(patches), wanted, atol=1e-4, rtol=0)
        np.testing.assert_allclose(scorer.probabilities(patches), classifier.probabilities(patches), atol=1e-4, rtol=0)
        assert scorer.digest == classifier.digest


def test_graph_and_torch_predict_the_same_slices(exported: Path, stack_maker: Callable[..., PatchStack]) -> None:
    stack = stack_maker(1, malignant=True, size=32)
    ours, torchs = Scorer.load(exported).predict(stack), Classifier.load(exported).predict(stack)
    for one, other in zip(ours, torchs, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-6)
        assert one.corrected_probability == pytest.approx(other.corrected_probability, abs=1e-6)
        assert (one.slice_index, one.model_digest, one.fold) == (other.slice_index, other.model_digest, other.fold)
    with pytest.raises(ModelError, match=r"size = 64.*size = 32"):
        Scorer.load(exported).predict(stack_maker(1, malignant=True, size=64))
    with pytest.raises(ModelError, match="shape"):
        Scorer.load(exported).probabilities(np.zeros((1, 3, 32, 32), np.float32))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit(path: Path, key: str, value: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "graph": (lambda model: flip(model / GRAPH_FILE), "SHA-256 differs"),
    "weights": (lambda model: flip(model / DATA_FILE), "SHA-256 differs"),
    "graph card": (lambda model: edit(model / GRAPH_CARD_FILE, "log_odds_error", 0.0), "changed after the export"),
    "graph card's keys": (lambda model: edit(model / GRAPH_CARD_FILE, "more", 1), "incomplete"),
    "schema": (lambda model: edit(model / GRAPH_CARD_FILE, "schema", "spinefx graph 99"), "graph 99"),
    "no JSON": (lambda model: (model / GRAPH_CARD_FILE).write_text("{"), "no readable graph.json"),
    "long": (lambda model: (model / GRAPH_CARD_FILE).write_text('"' + "a" * 2**21 + '"'), "no readable|no object"),
    "card": (lambda model: edit(model / "model.json", "cohort_digest", "sha256:d"), "changed after training"),
    "no graph": (lambda model: (model / GRAPH_FILE).unlink(), "no readable model.onnx"),
    "no weights": (lambda model: (model / DATA_FILE).unlink(), "no readable model.onnx.data"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_altered_graphs_are_refused_by_name(fault: str, folder: Path) -> None:
    spoil, message = FAULTS[fault]
    spoil(folder)
    with pytest.raises(ModelError, match=message):
        Scorer.load(folder)
    assert not graph_is_current(folder)


def test_a_graph_of_another_model_is_refused(tiny: Recipe, folder: Path, tmp_path: Path) -> None:
    save_model(tiny, tmp_path / "other", fold=2)
    for name in (GRAPH_FILE, DATA_FILE, GRAPH_CARD_FILE):
        shutil.copy(folder / name, tmp_path / "other")
    with pytest.raises(ModelError, match="of another model"):
        Scorer.load(tmp_path / "other")


def test_a_huge_file_is_refused_unread(folder: Path) -> None:
    with (folder / DATA_FILE).open("r+b") as file:
        file.truncate(2**33)  # of holes
    with pytest.raises(ModelError, match=r"bytes\. Expected"):
        Scorer.load(folder)


def forge(folder: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    """Change the graph and its card, as the author of a hostile model would."""
    model = onnx.load(folder / GRAPH_FILE, load_external_data=False)
    change(model)
    (folder / GRAPH_FILE).write_bytes(model.SerializeToString())
    card = json.loads((folder / GRAPH_CARD_FILE).read_text())
    del card["digest"]
    card["graph_digest"] = digest_of((folder / GRAPH_FILE).read_bytes())
    (folder / GRAPH_CARD_FILE).write_text(json.dumps(card | {"digest": digest_of(canonical_json(card))}))


def point_elsewhere(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].external_data[0].value = "../../somewhere"


def call_foreign_code(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("elsewhere", 1))
    model.graph.node[0].domain = "elsewhere"


def rename_output(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = model.graph.output[0].name = "score"


HOSTILE: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "weights of another file": (point_elsewhere, "other files"),
    "foreign operators": (call_foreign_code, "ONNX Runtime refuses"),
    "other answers": (rename_output, "score"),
    "nothing": (lambda model: model.Clear(), "ONNX Runtime refuses"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_graphs_are_refused_though_their_digests_fit(name: str, folder: Path) -> None:
    change, message = HOSTILE[name]
    forge(folder, change)
    with pytest.raises(ModelError, match=message):
        Scorer.load(folder)


def test_a_graph_that_predicts_otherwise_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_graph = onnx_export.graph_of

    def wrong_graph(*arguments: object) -> tuple[bytes, bytes, dict[str, list[int]]]:
        graph, data, filters = true_graph(*arguments)  # type: ignore[arg-type]
        return graph, data[:-4] + np.float32(0.5).tobytes(), filters  # the last bias

    monkeypatch.setattr(onnx_export, "graph_of", wrong_graph)
    with pytest.raises(ModelError, match="differs from torch by"):
        export_graph(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "weights.safetensors"]

"""A model's graph predicts as torch does, and is refused when it is not the model's own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from spinefx.cases.patch import PatchStack
from spinefx.errors import ModelError
from spinefx.files import canonical_json, digest_of
from spinefx.learning import onnx_export
from spinefx.learning.classifier import Classifier
from spinefx.learning.graph_cost import cost_of
from spinefx.learning.graph_plan import GraphStep
from spinefx.learning.network import build_network
from spinefx.learning.networks import NETWORKS
from spinefx.learning.onnx_export import export_graph
from spinefx.learning.onnx_layers import plan_of_network
from spinefx.learning.onnx_model import DATA_FILE, GRAPH_CARD_FILE, GRAPH_FILE, Scorer, graph_is_current
from spinefx.learning.onnx_reading import EXPORT_AGAIN
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
    "no JSON": (lambda model: (model / GRAPH_CARD_FILE).write_text("{"), "broken JSON"),
    "long": (lambda model: (model / GRAPH_CARD_FILE).write_text('"' + "a" * 2**23 + '"'), "larger than 8 MiB"),
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


def forge(folder: Path, change: Callable[[onnx.ModelProto, bytearray], object]) -> None:
    """Change the graph, its data and its card, as the author of a hostile model would."""
    model = onnx.load(folder / GRAPH_FILE, load_external_data=False)
    data = bytearray((folder / DATA_FILE).read_bytes())
    change(model, data)
    (folder / GRAPH_FILE).write_bytes(model.SerializeToString())
    (folder / DATA_FILE).write_bytes(data)
    card = json.loads((folder / GRAPH_CARD_FILE).read_text())
    del card["digest"]
    card["graph_digest"] = digest_of((folder / GRAPH_FILE).read_bytes())
    card["data_digest"] = digest_of((folder / DATA_FILE).read_bytes())
    (folder / GRAPH_CARD_FILE).write_text(json.dumps(card | {"digest": digest_of(canonical_json(card))}))


def insert(model: onnx.ModelProto, place: int, *nodes: onnx.NodeProto) -> None:
    """Insert nodes that work on what the node at a place returns."""
    before = model.graph.node[place]
    nodes[-1].output[0], before.output[0] = before.output[0], "before"
    rest = list(model.graph.node[place + 1 :])
    del model.graph.node[place + 1 :]
    model.graph.node.extend([*nodes, *rest])


def change_one_weight(model: onnx.ModelProto, data: bytearray) -> None:
    data[40] ^= 1


def change_last_bias(model: onnx.ModelProto, data: bytearray) -> None:
    data[-4:] = np.float32(3).tobytes()


def swap_weights(model: onnx.ModelProto, data: bytearray) -> None:
    """Exchange the data of two layers of one shape."""
    by_shape: dict[tuple[int, ...], list[TensorProto]] = {}
    for tensor in model.graph.initializer[:-1]:
        by_shape.setdefault(tuple(tensor.dims), []).append(tensor)
    one, other = next(tensors for tensors in by_shape.values() if len(tensors) > 1)[:2]
    one.external_data[1].value, other.external_data[1].value = (
        other.external_data[1].value,
        one.external_data[1].value,
    )


def swap_layers(model: onnx.ModelProto, data: bytearray) -> None:
    first, second = [node for node in model.graph.node if node.op_type == "Conv"][1:3]
    names = list(first.input[1:])
    first.input[1:], second.input[1:] = second.input[1:], names  # type: ignore[assignment]


def leave_out_a_layer(model: onnx.ModelProto, data: bytearray) -> None:
    place = next(place for place, node in enumerate(model.graph.node) if node.op_type == "Relu")
    (gone,), (kept,) = model.graph.node[place].output, model.graph.node[place].input
    del model.graph.node[place]
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = kept if name == gone else name


def answer_a_constant(model: onnx.ModelProto, data: bytearray) -> None:
    node = helper.make_node("Constant", [], ["log_odds"], value_floats=[3.0])
    model.graph.node[-1].output[0] = "unused"
    model.graph.node.append(node)


def answer_a_bias(model: onnx.ModelProto, data: bytearray) -> None:
    """Answer with a tensor of the file, by operators that a graph may have."""
    model.graph.node[-1].input[0] = model.graph.initializer[-2].name


def loop_for_ever(model: onnx.ModelProto, data: bytearray) -> None:
    true = helper.make_tensor("true", TensorProto.BOOL, [], [1])
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["goes_on"]), helper.make_node("Identity", ["was"], ["is"])],
        "body",
        [
            helper.make_tensor_value_info("count", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("was", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("is", TensorProto.FLOAT, None),
        ],
    )
    model.graph.initializer.append(true)
    insert(model, 0, helper.make_node("Loop", ["", "true", "before"], ["after"], body=body))


def branch(model: onnx.ModelProto, data: bytearray) -> None:
    branches = {
        name: helper.make_graph(
            [helper.make_node("Identity", ["before"], ["is"])],
            name,
            [],
            [helper.make_tensor_value_info("is", TensorProto.FLOAT, None)],
        )
        for name in ("then_branch", "else_branch")
    }
    model.graph.initializer.append(helper.make_tensor("true", TensorProto.BOOL, [], [1]))
    insert(model, 0, helper.make_node("If", ["true"], ["after"], **branches))


def resize(model: onnx.ModelProto, data: bytearray) -> None:
    model.graph.initializer.append(helper.make_tensor("to", TensorProto.INT64, [4], [1, 1, 10**6, 10**6]))
    insert(model, 0, helper.make_node("Resize", ["before", "", "", "to"], ["after"]))


def expand(model: onnx.ModelProto, data: bytearray) -> None:
    model.graph.initializer.append(helper.make_tensor("to", TensorProto.INT64, [4], [1, 1, 10**6, 10**6]))
    insert(model, 0, helper.make_node("Expand", ["before", "to"], ["after"]))


def pad(model: onnx.ModelProto, data: bytearray) -> None:
    """Blow the image up by an operator that a graph may have."""
    next(one for one in model.graph.node[0].attribute if one.name == "pads").ints[:] = [10**6] * 4


def point_elsewhere(model: onnx.ModelProto, data: bytearray) -> None:
    model.graph.initializer[0].external_data[0].value = "../../somewhere"


def point_behind(model: onnx.ModelProto, data: bytearray) -> None:
    model.graph.initializer[0].external_data[1].value = str(len(data))


def call_foreign_code(model: onnx.ModelProto, data: bytearray) -> None:
    model.graph.node[0].domain = "elsewhere"


def import_foreign_operators(model: onnx.ModelProto, data: bytearray) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def rename_output(model: onnx.ModelProto, data: bytearray) -> None:
    model.graph.node[-1].output[0] = model.graph.output[0].name = "score"


def rename_input(model: onnx.ModelProto, data: bytearray) -> None:
    model.graph.node[0].input[0] = model.graph.input[0].name = "image"


def add_function(model: onnx.ModelProto, data: bytearray) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    model.functions.append(helper.make_function("", "Conv", ["x"], ["y"], [node], [helper.make_opsetid("", 13)]))


def add_metadata(model: onnx.ModelProto, data: bytearray) -> None:
    model.metadata_props.add(key="session.custom_ops", value="evil.so")


def take_smaller_patches(model: onnx.ModelProto, data: bytearray) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 16


DOUBLE = helper.make_node("Add", ["before", "before"], ["after"])
HOSTILE: dict[str, tuple[Callable[[onnx.ModelProto, bytearray], object], str]] = {
    "one weight": (change_one_weight, "other values than weights.safetensors yields"),
    "last bias": (change_last_bias, "other values than weights.safetensors yields"),
    "weights of two layers": (swap_weights, "other values than weights.safetensors yields"),
    "weights behind the end": (point_behind, "other values than weights.safetensors yields"),
    "swapped layers": (swap_layers, "layers that are not those of network 'small_resnet'"),
    "a node inserted": (
        lambda model, data: insert(model, 3, onnx.NodeProto.FromString(DOUBLE.SerializeToString())),
        "layers that are not those of network 'small_resnet'",
    ),
    "a layer left out": (leave_out_a_layer, "layers that are not those of network 'small_resnet'"),
    "another attribute": (pad, "layers that are not those of network 'small_resnet'"),
    "a bias for an answer": (answer_a_bias, "layers that are not those of network 'small_resnet'"),
    "a constant for an answer": (answer_a_constant, "fields that no graph of this program has"),
    "a loop without end": (loop_for_ever, "fields that no graph of this program has"),
    "a branch": (branch, "fields that no graph of this program has"),
    "a function": (add_function, "fields that no graph of this program has"),
    "metadata": (add_metadata, "fields that no graph of this program has"),
    "a huge image": (resize, "operator 'Resize'"),
    "a huge copy": (expand, "operator 'Expand'"),
    "weights of another file": (point_elsewhere, "other files"),
    "foreign operators": (call_foreign_code, "operator 'Conv' of domain 'elsewhere'"),
    "foreign operator set": (import_foreign_operators, "operator sets '' 13, 'com.microsoft' 1"),
    "other input": (rename_input, r"a graph from \['image'\]"),
    "other output": (rename_output, "score"),
    "smaller patches": (take_smaller_patches, "patches of 6 x 16 x 32"),
    "nothing": (lambda model, data: model.Clear(), "operator sets none"),
    "no weights": (lambda model, data: data.clear(), "other values than weights.safetensors yields"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_graphs_are_refused_though_their_digests_fit(name: str, folder: Path) -> None:
    change, message = HOSTILE[name]
    forge(folder, change)
    with pytest.raises(ModelError, match=message) as refusal:
        Scorer.load(folder)
    assert refusal.value.remedy == EXPORT_AGAIN
    assert not graph_is_current(folder)


def test_an_honest_graph_written_again_still_loads(folder: Path) -> None:
    before = Scorer.load(folder).log_odds(landscapes(4, 32, seed=5))
    forge(folder, lambda model, data: None)
    assert np.array_equal(Scorer.load(folder).log_odds(landscapes(4, 32, seed=5)), before)


@pytest.mark.parametrize("kind", ["bit", "cut", "doubled"])
def test_no_change_of_the_bytes_of_a_graph_changes_an_answer(kind: str, folder: Path) -> None:
    """Digests fit throughout: an answer is the model's own, or there is none."""
    patches = landscapes(2, 32, seed=5)
    wanted, whole, rng = (
        Scorer.load(folder).log_odds(patches),
        (folder / GRAPH_FILE).read_bytes(),
        np.random.default_rng(len(kind)),
    )
    refused = 0
    for _ in range(150):
        data, place = bytearray(whole), int(rng.integers(len(whole)))
        if kind == "bit":
            data[place] ^= 1 << int(rng.integers(8))
        else:
            data[place : place + int(rng.integers(1, 200))] = b"" if kind == "cut" else data[place : place + 60] * 2
        (folder / GRAPH_FILE).write_bytes(data)
        values = json.loads((folder / GRAPH_CARD_FILE).read_text())
        del values["digest"]
        values["graph_digest"] = digest_of(bytes(data))
        (folder / GRAPH_CARD_FILE).write_text(json.dumps(values | {"digest": digest_of(canonical_json(values))}))
        try:
            assert np.array_equal(Scorer.load(folder).log_odds(patches), wanted)
        except ModelError:
            refused += 1
    assert refused > 100


def test_the_weights_are_needed_and_must_be_those_of_the_card(folder: Path) -> None:
    flip(folder / "weights.safetensors")
    with pytest.raises(ModelError, match=r"weights do not match the model card \(SHA-256 differs\)"):
        Scorer.load(folder)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no readable weights\.safetensors"):
        Scorer.load(folder)


@pytest.mark.parametrize("stem", ["3x3_stride_2", "7x7_stride_2", "3x3_stride_1"])
@pytest.mark.parametrize("preset", ["honest", "pretrained", "quick"])
def test_the_table_holds_the_plan_of_every_network(preset: str, stem: str) -> None:
    recipe = Recipe.preset(preset).changed(stem=stem)
    assert plan_of_network(build_network(recipe, fold=0).eval()) == NETWORKS[recipe.network].plans[stem]


COSTLY: dict[str, GraphStep] = {
    "many maps": GraphStep("Conv", ("patches", "weights_0"), "maps", {"pads": (4000,) * 4}),
    "many products": GraphStep("Conv", ("patches", "weights_1"), "maps", {"pads": (0, 0, 0, 0)}),
    "nothing left": GraphStep("MaxPool", ("patches",), "maps", {"kernel_shape": (99, 99)}),
    "no such map": GraphStep("Relu", ("nothing",), "maps"),
    "no step": GraphStep("MaxPool", ("patches",), "maps", {"kernel_shape": (2, 2), "strides": (0, 0)}),
}


@pytest.mark.parametrize("name", COSTLY)
def test_a_graph_that_takes_too_much_is_refused_from_its_shapes(name: str) -> None:
    shapes = {"weights_0": (64, 6, 1, 1), "weights_1": (2**12, 2**14, 1, 1)}
    with pytest.raises(ModelError, match=r"for one patch|do not fit"):
        cost_of([COSTLY[name]], shapes, "patches", (6, 64, 64))


def test_many_patches_are_computed_in_parts_alike(folder: Path) -> None:
    scorer, patches = Scorer.load(folder), landscapes(7, 32, seed=5)
    np.testing.assert_allclose(replace(scorer, at_once=3).log_odds(patches), scorer.log_odds(patches), atol=1e-6)
    assert len(replace(scorer, at_once=7).log_odds(patches)) == 7


def test_a_graph_that_predicts_otherwise_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_graph = onnx_export.graph_of

    def wrong_graph(*arguments: object) -> tuple[bytes, bytes, dict[str, list[int]]]:
        graph, data, filters = true_graph(*arguments)  # type: ignore[arg-type]
        return graph, data[:-4] + np.float32(0.5).tobytes(), filters  # the last bias

    monkeypatch.setattr(onnx_export, "graph_of", wrong_graph)
    with pytest.raises(ModelError, match="differs from torch by"):
        export_graph(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "weights.safetensors"]

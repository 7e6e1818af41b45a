"""The checks of a map, on real networks: one that looks at a place it was made for passes, random ones fail."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spinefx.errors import ModelError
from spinefx.learning.card import ModelCard, read_card
from spinefx.learning.classifier import Classifier
from spinefx.learning.model import shuffle_filters
from spinefx.learning.network import build_network
from spinefx.learning.onnx_export import export_graph
from spinefx.learning.onnx_model import DATA_FILE, GRAPH_FILE, INPUT, OUTPUT, Scorer
from spinefx.learning.pretrained import initialise
from spinefx.learning.recipe import Recipe
from spinefx.second_opinion.saliency import saliency

SIZE = 64


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five networks of random weights, with their graphs."""
    folders = []
    for fold in range(1, 6):
        recipe = Recipe.preset("quick")
        network = build_network(recipe, fold=fold)
        start = initialise(network, recipe, None)
        folder = tmp_path_factory.mktemp("untrained")
        Classifier.of(network, recipe, cohort_digest="", fold=fold, initialisation=start).save(folder)
        export_graph(folder)
        folders.append(folder)
    return folders


class Stack:
    """One slice that is smooth as tissue is, with a bright spot below and before its middle."""

    slices = (3,)

    def __init__(self, seed: int = 0) -> None:
        noise = np.random.default_rng(seed).standard_normal((6, SIZE, SIZE))
        noise = noise + 0.2 * noise.cumsum(axis=1).cumsum(axis=2) / 8
        noise[:, 40:48, 16:24] += 4
        noise -= noise.mean(axis=(1, 2), keepdims=True)
        self.array = (noise / noise.std(axis=(1, 2), keepdims=True)).astype(np.float32)

    def cut(self, position: int) -> Any:
        return SimpleNamespace(array=self.array)


def made_by_hand(
    folder: Path, card: ModelCard, nodes: list[onnx.NodeProto], weights: dict[str, NDArray[np.float64]]
) -> Scorer:
    """A graph whose weights lie in its other file."""
    tensors, data = [helper.make_tensor("any_length", TensorProto.INT64, [1], [-1])], b""
    filters = {}
    for name, values in weights.items():
        content = np.ascontiguousarray(values, np.float32).tobytes()
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=values.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", DATA_FILE), ("offset", len(data)), ("length", len(content))):
            tensor.external_data.add(key=key, value=str(value))
        if values.ndim > 1:
            filters[name] = [len(data), *values.shape]
        tensors, data = [*tensors, tensor], data + content
    graph = helper.make_graph(
        [*nodes, helper.make_node("Reshape", ["column", "any_length"], [OUTPUT])],
        "made by hand",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 6, SIZE, SIZE])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n"])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (folder / GRAPH_FILE).write_bytes(model.SerializeToString())
    (folder / DATA_FILE).write_bytes(data)
    return Scorer.open(folder, card, filters)


def test_a_network_built_to_find_a_bright_spot_passes(untrained: list[Path], tmp_path: Path) -> None:
    """Of 16 filters one knows the spot, and the answer is that filter's."""
    filters = 0.02 * np.random.default_rng(5).standard_normal((16, 6, 16, 16))
    filters[0] = -1 / 192
    filters[0, :, 4:12, 4:12] = 1 / 64
    answer = np.zeros((1, 16))
    answer[0, 0] = 40
    nodes = [
        helper.make_node("Conv", [INPUT, "filters", "bias"], ["found"], kernel_shape=[16, 16]),
        helper.make_node("Relu", ["found"], ["kept"]),
        helper.make_node("GlobalAveragePool", ["kept"], ["means"]),
        helper.make_node("Flatten", ["means"], ["features"]),
        helper.make_node("Gemm", ["features", "answer"], ["column"], transB=1),
    ]
    weights = {"filters": filters, "bias": np.full(16, -4.0), "answer": answer}
    scorer = made_by_hand(tmp_path, read_card(untrained[0]), nodes, weights)
    found = saliency((scorer,), Stack(), 0)  # type: ignore[arg-type]
    assert np.unravel_index(np.argmax(found.values), found.values.shape) == (5, 2)
    assert found.passes, found.checks


def sum_of_pixels(folder: Path, card: ModelCard) -> Scorer:
    nodes = [
        helper.make_node("Flatten", [INPUT], ["pixels"]),
        helper.make_node("Gemm", ["pixels", "weights"], ["column"], transB=1),
    ]
    return made_by_hand(folder, card, nodes, {"weights": np.ones((1, 6 * SIZE * SIZE))})


def test_a_network_with_equal_weights_for_all_pixels_fails(untrained: list[Path], tmp_path: Path) -> None:
    """Its map is the image's own, and no order of its weights is another."""
    scorer = sum_of_pixels(tmp_path, read_card(untrained[0]))
    found = saliency((scorer,), Stack(), 0)  # type: ignore[arg-type]
    assert [check.passes for check in found.checks] == [True, False]
    assert "rank correlation 1.00" in found.checks[1].said


def test_networks_of_random_weights_fail(untrained: list[Path]) -> None:
    models = [Scorer.load(folder) for folder in untrained]
    for number, stack in enumerate((Stack(1), Stack(2), Stack(3))):
        for model in models:
            found = saliency((model, models[number]), stack, 0)  # type: ignore[arg-type]
            assert not found.checks[1].passes, found.checks
            assert found.strength < 2


def test_torch_and_onnx_give_the_same_checks(untrained: list[Path]) -> None:
    classifier = Classifier.load(untrained[0])
    kept = classifier.log_odds(Stack().array[None])
    found = saliency((classifier,), Stack(), 0)  # type: ignore[arg-type]
    assert not found.checks[1].passes
    assert classifier.log_odds(Stack().array[None]) == kept


def test_shuffled_weights_are_those_that_onnx_reads_in_an_order_of_the_digest(untrained: list[Path]) -> None:
    folder, patches = untrained[0], np.stack([Stack(seed).array for seed in range(4)])
    scorer, again = Scorer.load(folder), Scorer.load(folder)
    model = onnx.load(str(folder / GRAPH_FILE))
    tensors = [one for one in model.graph.initializer if one.data_type == TensorProto.FLOAT and len(one.dims) > 1]
    rng = np.random.default_rng(int(scorer.digest.removeprefix("sha256:")[:16], 16))
    for tensor in tensors:
        values = numpy_helper.to_array(tensor)
        shuffled = shuffle_filters(values, rng)
        assert np.array_equal(np.sort(shuffled.reshape(len(values), -1)), np.sort(values.reshape(len(values), -1)))
        tensor.CopyFrom(numpy_helper.from_array(shuffled, tensor.name))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run([OUTPUT], {INPUT: patches})[0]
    assert scorer.unlearned.log_odds(patches) == pytest.approx(expected, abs=1e-4)
    assert np.array_equal(scorer.unlearned.log_odds(patches), again.unlearned.log_odds(patches))
    assert scorer.unlearned is scorer.unlearned
    assert not np.allclose(scorer.undecided.log_odds(patches), scorer.unlearned.log_odds(patches))
    assert not np.allclose(scorer.undecided.log_odds(patches), scorer.log_odds(patches))


def test_filters_lie_where_onnx_reads_them_or_are_refused(untrained: list[Path], tmp_path: Path) -> None:
    model = onnx.load(str(untrained[0] / GRAPH_FILE), load_external_data=False)
    expected = [
        (one.name, [int(next(item.value for item in one.external_data if item.key == "offset")), *one.dims])
        for one in model.graph.initializer
        if one.data_type == TensorProto.FLOAT and len(one.dims) > 1
    ]
    assert list(Scorer.load(untrained[0]).filters.items()) == expected
    scorer = sum_of_pixels(tmp_path, read_card(untrained[0]))
    (tmp_path / DATA_FILE).write_bytes(b"\0" * 64)
    with pytest.raises(ModelError, match="weights that cannot be read"):
        _ = scorer.unlearned

"""Rows of ``hostile.py`` about models: forged graphs whose digests all fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hostile_row import Row, SkippedRow
from spinefx.files import canonical_json, digest_of

SEED = 20250314


def prepare(folder: Path) -> None:
    """Write a small model with its graph."""
    try:
        from scoring import save_model
    except ModuleNotFoundError as error:
        raise SkippedRow(f"{error.name} (the extra train) is not installed") from None
    save_model("quick", folder / "model")


@cache
def patches() -> np.ndarray:
    """Two patches."""
    return np.random.default_rng(SEED).standard_normal((2, 6, 64, 64)).astype(np.float32)


@cache
def before(folder: Path) -> np.ndarray:
    """What the honest model answers."""
    from spinefx.learning.onnx_model import Scorer

    return Scorer.load(folder / "model").log_odds(patches())


def written(folder: Path, graph: bytes, data: bytes) -> Path:
    """Write a forged model: the graph, its data, and a card whose digests fit."""
    target = folder / "forged"
    if not target.is_dir():
        shutil.copytree(folder / "model", target)
    (target / "model.onnx").write_bytes(graph)
    (target / "model.onnx.data").write_bytes(data)
    card = json.loads((folder / "model" / "graph.json").read_text())
    del card["digest"]
    card |= {"graph_digest": digest_of(graph), "data_digest": digest_of(data)}
    (target / "graph.json").write_text(json.dumps(card | {"digest": digest_of(canonical_json(card))}))
    return target


def forged_bytes(folder: Path, number: int) -> tuple[bytes, bytes]:
    """Change bytes of the graph, or of its data."""
    rng = np.random.default_rng([SEED, number])
    parts = [(folder / "model" / name).read_bytes() for name in ("model.onnx", "model.onnx.data")]
    chosen = int(rng.integers(4) == 0)
    content = bytearray(parts[chosen])
    place, length = int(rng.integers(len(content))), int(rng.integers(1, 40))
    match int(rng.integers(4)):
        case 0 | 1:
            content[place] ^= 1 << int(rng.integers(8))
        case 2:
            del content[place : place + length]
        case _:
            content[place:place] = content[max(0, place - length) : place]
    parts[chosen] = bytes(content)
    return parts[0], parts[1]


def forged_steps(folder: Path, number: int) -> tuple[bytes, bytes]:
    """Change what a graph computes: nodes inserted, removed, exchanged, given other inputs, attributes or weights."""
    import onnx
    from onnx import TensorProto, helper

    rng = np.random.default_rng([SEED, number])
    model = onnx.load(folder / "model" / "model.onnx", load_external_data=False)
    nodes, tensors, data = (
        model.graph.node,
        model.graph.initializer,
        (folder / "model" / "model.onnx.data").read_bytes(),
    )
    place = int(rng.integers(len(nodes) - 1))

    def insert(node: Any) -> None:
        node.output[0], nodes[place].output[0] = nodes[place].output[0], "before"
        rest = list(nodes[place + 1 :])
        del nodes[place + 1 :]
        nodes.extend([node, *rest])

    huge = helper.make_tensor("to", TensorProto.INT64, [4], [1, 1, 10**6, 10**6])

    def loop() -> None:
        body = helper.make_graph(
            [helper.make_node("Identity", ["on"], ["goes_on"]), helper.make_node("Identity", ["was"], ["is"])],
            "body",
            [helper.make_tensor_value_info(name, kind, []) for name, kind in (("count", 7), ("on", 9), ("was", 1))],
            [helper.make_tensor_value_info(name, kind, []) for name, kind in (("goes_on", 9), ("is", 1))],
        )
        tensors.append(helper.make_tensor("true", TensorProto.BOOL, [], [1]))
        insert(helper.make_node("Loop", ["", "true", "before"], ["after"], body=body))

    def exchange() -> None:
        one, other = (int(rng.integers(len(tensors) - 1)) for _ in range(2))
        first, second = tensors[one].external_data[1], tensors[other].external_data[1]
        first.value, second.value = second.value, first.value
        if one == other:
            tensors[one].external_data[1].value = str(int(first.value) + 4)

    kinds: tuple[Callable[[], object], ...] = (
        lambda: insert(helper.make_node("Add", ["before", "before"], ["after"])),
        lambda: insert(helper.make_node(("Relu", "Neg", "Tanh", "Identity")[number % 4], ["before"], ["after"])),
        lambda: insert(helper.make_node("Constant", [], ["after"], value_floats=[3.0])),
        lambda: (tensors.append(huge), insert(helper.make_node("Expand", ["before", "to"], ["after"]))),
        lambda: (tensors.append(huge), insert(helper.make_node("Resize", ["before", "", "", "to"], ["after"]))),
        loop,
        lambda: nodes.remove(nodes[place]),
        lambda: nodes[place].input.__setitem__(0, nodes[int(rng.integers(len(nodes)))].output[0]),
        exchange,
        lambda: tensors[0].external_data[0].__setattr__("value", ("../x", "/etc/passwd")[number % 2]),
        lambda: nodes[place].__setattr__("domain", ("com.microsoft", "ai.onnx.ml", "x")[number % 3]),
        lambda: model.opset_import[0].__setattr__("version", 7 + number % 15),
        lambda: model.graph.output[0].__setattr__("name", "score"),
        lambda: model.metadata_props.add(key="session.custom_ops", value="evil.so"),
    )  # fmt: skip
    kinds[number % len(kinds)]()
    return model.SerializeToString(), data


def attempt(make: Callable[[Path, int], tuple[bytes, bytes]]) -> Callable[[Path, int], str]:
    """Load a forged model and let it answer."""

    def load(folder: Path, number: int) -> str:
        from spinefx.learning.onnx_model import Scorer

        found = Scorer.load(written(folder, *make(folder, number))).log_odds(patches())
        return "equal" if np.array_equal(found, before(folder)) else "changed"

    return load


def attempt_by_onnxruntime(folder: Path, number: int) -> str:
    """The same by ONNX Runtime alone."""
    import onnxruntime

    target = written(folder, *forged_bytes(folder, number))
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(str(target / "model.onnx"), options, providers=["CPUExecutionProvider"])
        found = session.run(None, {session.get_inputs()[0].name: patches()})[0]
    except Exception:
        return "refused"
    return "equal" if np.array_equal(found, before(folder)) else "changed"


ROWS = (
    Row("graph-bytes", 1500, 40, prepare, attempt(forged_bytes), others={"onnxruntime": attempt_by_onnxruntime}),
    Row("graph-steps", 420, 42, prepare, attempt(forged_steps)),
)

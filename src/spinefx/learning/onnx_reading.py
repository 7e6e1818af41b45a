"""Read ``model.onnx`` without onnx, and refuse whatever a graph that this program wrote cannot hold.

Protocol Buffers' own parser, which comes with ONNX Runtime, reads the file by the list of fields below. A field that is
not listed, such as a subgraph, a function, metadata or a quantisation, is refused whatever it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from spinefx.errors import ModelError
from spinefx.learning.graph_plan import ANY_LENGTH, INPUT, OUTPUT, Attribute, GraphStep

__all__ = [
    "DATA_FILE",
    "EXPORT_AGAIN",
    "FORMAT",
    "GRAPH_FILE",
    "OPERATORS",
    "OPSET",
    "Graph",
    "StoredTensor",
    "read_graph",
]

GRAPH_FILE, DATA_FILE = "model.onnx", "model.onnx.data"
# The oldest that has every operator used here in its present form, so that older runtimes read it too.
OPSET, FORMAT = 13, 8
OPERATORS = frozenset(
    ("Add", "BatchNormalization", "Clip", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "MaxPool", "Relu", "Reshape")
)
EXPORT_AGAIN = "Run `spinefx export MODEL` where torch is installed."

# Messages of onnx.proto with the fields that a graph of this program uses: name, number, type; a star where repeated.
FIELDS: dict[str, tuple[tuple[str, int, str], ...]] = {
    "Model": (
        *(("ir_version", 1, "int64"), ("producer_name", 2, "bytes"), ("producer_version", 3, "bytes")),
        *(("graph", 7, "Graph"), ("opset_import", 8, "*OperatorSet")),
    ),
    "OperatorSet": (("domain", 1, "bytes"), ("version", 2, "int64")),
    "Graph": (
        *(("node", 1, "*Node"), ("name", 2, "bytes"), ("initializer", 5, "*Tensor")),
        *(("input", 11, "*Value"), ("output", 12, "*Value")),
    ),
    "Node": (
        *(("input", 1, "*bytes"), ("output", 2, "*bytes"), ("op_type", 4, "bytes")),
        *(("attribute", 5, "*Attribute"), ("domain", 7, "bytes")),
    ),
    "Attribute": (
        *(("name", 1, "bytes"), ("f", 2, "float"), ("i", 3, "int64"), ("ints", 8, "*int64"), ("type", 20, "int32")),
    ),
    "Tensor": (
        *(("dims", 1, "*int64"), ("data_type", 2, "int32"), ("int64_data", 7, "*int64"), ("name", 8, "bytes")),
        *(("external_data", 13, "*Entry"), ("data_location", 14, "int32")),
    ),
    "Entry": (("key", 1, "bytes"), ("value", 2, "bytes")),
    "Value": (("name", 1, "bytes"), ("type", 2, "Type")),
    "Type": (("tensor_type", 1, "TensorType"),),
    "TensorType": (("elem_type", 1, "int32"), ("shape", 2, "Shape")),
    "Shape": (("dim", 1, "*Dimension"),),
    "Dimension": (("dim_value", 1, "int64"), ("dim_param", 2, "bytes")),
}
# ONNX's numbers of types of attributes, elements and places.
FLOAT_VALUE, INT_VALUE, INT_VALUES = 1, 2, 7
FLOAT, INT64, EXTERNAL = 1, 7, 1


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor of float32 is in ``model.onnx.data``.

    Parameters
    ----------
    name : str
    offset : int
        In bytes.
    shape : tuple of int
    """

    name: str
    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """What a graph holds.

    Parameters
    ----------
    steps : tuple of GraphStep
        In the order of computation.
    tensors : tuple of StoredTensor
    input_shape : tuple of int
        Channels, rows and columns of a patch.
    """

    steps: tuple[GraphStep, ...]
    tensors: tuple[StoredTensor, ...]
    input_shape: tuple[int, ...]


def read_graph(data: bytes) -> Graph:
    """Read a graph as this program writes it.

    Parameters
    ----------
    data : bytes
        Content of ``model.onnx``; a caller limits its length.

    Returns
    -------
    Graph

    Raises
    ------
    ModelError
        For broken bytes, and for every field, operator, domain, version, input, output, type or data file that a graph
        of this program does not have.
    """
    model = _messages()()
    try:
        model.ParseFromString(data)
        whole = model.ByteSize()
        model.DiscardUnknownFields()
        if model.ByteSize() != whole:
            raise _refused(
                "fields that no graph of this program has, such as subgraphs, functions, metadata or constants"
            )
        return _graph_of(model)
    except (DecodeError, ValueError) as error:  # the latter for text that is not UTF-8
        raise _refused("bytes that are not an ONNX graph") from error


def _graph_of(model: Any) -> Graph:
    versions = [(one.domain.decode(), one.version) for one in model.opset_import]
    if versions != [("", OPSET)] or model.ir_version != FORMAT:
        shown = ", ".join(f"{domain[:40]!r} {version}" for domain, version in versions[:3])
        raise _refused(
            f"operator sets {shown or 'none'} in format {model.ir_version}", f"ONNX's own {OPSET} in format {FORMAT}"
        )
    graph = model.graph
    inputs, outputs = ([_value_of(one) for one in values] for values in (graph.input, graph.output))
    if [(name, len(shape)) for name, shape in inputs] != [(INPUT, 4)] or [
        (name, len(shape)) for name, shape in outputs
    ] != [(OUTPUT, 1)]:
        shown = " to ".join(repr([name[:40] for name, _ in values[:3]]) for values in (inputs, outputs))
        raise _refused(f"a graph from {shown}", f"from ['{INPUT}'] to ['{OUTPUT}']")
    steps = tuple(_step_of(node) for node in graph.node)
    return Graph(steps, _tensors_of(graph.initializer), inputs[0][1][1:])


def _value_of(value: Any) -> tuple[str, tuple[int, ...]]:
    tensor = value.type.tensor_type
    if tensor.elem_type != FLOAT:
        raise _refused(f"an input or output of element type {tensor.elem_type}", "float32")
    return value.name.decode(), tuple(one.dim_value for one in tensor.shape.dim)


def _step_of(node: Any) -> GraphStep:
    domain, operator = node.domain.decode(), node.op_type.decode()
    if domain or operator not in OPERATORS:
        place = f" of domain {domain[:40]!r}" if domain else ""
        raise _refused(f"operator {operator[:40]!r}{place}", ", ".join(sorted(OPERATORS)))
    if len(node.output) != 1:
        raise _refused(f"operator {operator} with {len(node.output)} outputs", "1")
    attributes = {one.name.decode(): _attribute_of(one) for one in node.attribute}
    if len(attributes) != len(node.attribute):
        raise _refused(f"operator {operator} with an attribute twice")
    return GraphStep(operator, tuple(name.decode() for name in node.input), node.output[0].decode(), attributes)


def _attribute_of(attribute: Any) -> Attribute:
    kinds: dict[int, Any] = {FLOAT_VALUE: attribute.f, INT_VALUE: attribute.i, INT_VALUES: tuple(attribute.ints)}
    if attribute.type not in kinds:
        raise _refused(f"an attribute of type {attribute.type}", "a number or whole numbers")
    value: Attribute = kinds[attribute.type]
    return value


def _tensors_of(initializers: Sequence[Any]) -> tuple[StoredTensor, ...]:
    *weights, last = initializers or [None]
    names = [one.name.decode() for one in weights]
    if (
        last is None
        or last.name.decode() != ANY_LENGTH
        or names != [f"weights_{place}" for place in range(len(weights))]
    ):
        raise _refused("tensors of other names", f"weights_0, weights_1, ..., {ANY_LENGTH}")
    if (last.data_type, list(last.dims), list(last.int64_data)) != (INT64, [1], [-1]) or last.data_location:
        raise _refused(f"another {ANY_LENGTH} than -1")
    return tuple(_stored(one) for one in weights)


def _stored(tensor: Any) -> StoredTensor:
    name, entries = tensor.name.decode(), [(one.key.decode(), one.value.decode()) for one in tensor.external_data]
    keys, values = [key for key, _ in entries], [value for _, value in entries]
    if tensor.data_type != FLOAT or tensor.data_location != EXTERNAL or tensor.int64_data:
        raise _refused(f"{name} of another type, or within the graph", f"float32 in {DATA_FILE}")
    if keys != ["location", "offset", "length"] or values[0] != DATA_FILE:
        raise _refused(f"weights in other files than {DATA_FILE}")
    shape = tuple(tensor.dims)
    size = 4
    for one in shape:
        size *= one
    if not all(one.isascii() and one.isdecimal() and len(one) < 12 for one in values[1:]) or int(values[2]) != size:
        raise _refused(f"{name} with another length than its shape has")
    return StoredTensor(name, int(values[1]), shape)


@cache
def _messages() -> Any:
    """Return the class that parses a model."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="spinefx/graph.proto", package="spinefx", syntax="proto2")
    for message, fields in FIELDS.items():
        described = file.message_type.add(name=message)
        for name, number, kind in fields:
            one = described.field.add(name=name, number=number)
            one.label = kinds.LABEL_REPEATED if kind.startswith("*") else kinds.LABEL_OPTIONAL
            kind = kind.removeprefix("*")
            if kind in FIELDS:
                one.type, one.type_name = kinds.TYPE_MESSAGE, f".spinefx.{kind}"
            else:
                one.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("spinefx.Model"))


def _refused(found: str, allowed: str = "") -> ModelError:
    return ModelError(found, where=GRAPH_FILE, allowed=allowed, remedy=EXPORT_AGAIN)

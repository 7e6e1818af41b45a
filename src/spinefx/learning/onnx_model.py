"""A trained model that ONNX Runtime computes, for use without torch.

``weights.safetensors`` is accompanied by the same network as a standard ONNX graph (``model.onnx``), its weights
(``model.onnx.data``, mapped into memory, never copied) and ``graph.json``, which holds the digests of both and of the
model card that they belong to.

Whoever forges a graph forges ``graph.json`` with it, so the graph is bound to the model card, and to the weights whose
digest the card holds: before ONNX Runtime sees a byte, the steps of the graph must be those of the card's network, and
each of its tensors must hold the bits that the weights yield.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from spinefx.errors import ModelError
from spinefx.files import canonical_json, digest_of
from spinefx.learning.card import WEIGHTS_FILE, ModelCard, read_card, read_json_object
from spinefx.learning.graph_cost import cost_of
from spinefx.learning.graph_plan import INPUT, OUTPUT, GraphPlan, Tensors
from spinefx.learning.model import TrainedModel, shuffle_filters
from spinefx.learning.onnx_reading import DATA_FILE, EXPORT_AGAIN, GRAPH_FILE, Graph, StoredTensor, read_graph
from spinefx.learning.weights import read_weights

__all__ = [
    "DATA_FILE",
    "GRAPH_CARD_FILE",
    "GRAPH_FILE",
    "INPUT",
    "OUTPUT",
    "GraphCard",
    "Scorer",
    "graph_is_current",
    "has_graph",
]

SCHEMA = "spinefx graph 2"
GRAPH_CARD_FILE = "graph.json"
# ResNet50 takes 20 kB and 94 MB; a much larger file was not written by this program.
LARGEST_BYTES = {GRAPH_FILE: 2**20, DATA_FILE: 2**29}
# Values of the largest map of all patches that are computed at once.
MOST_VALUES_AT_ONCE = 2**26


@dataclass(frozen=True)
class GraphCard:
    """The content of ``graph.json``: the model that the graph belongs to, and how closely the two agree.

    Parameters
    ----------
    model_digest : str
        Digest of the model card.
    graph_digest, data_digest : str
        SHA-256 of ``model.onnx`` and ``model.onnx.data``.
    opset : int
        Version of ONNX's operators.
    software : mapping of str to str
        Versions at export.
    filters : mapping of str to sequence of int
        Where the weights of each layer are in ``model.onnx.data``, in the order of layers: offset in bytes, then shape,
        the first axis over filters. Biases are left out.
    inputs : int
        Number of seeded random patches that both engines predicted.
    probability_error : float
        Largest difference in probability.
    log_odds_error : float
        Largest difference in log-odds, relative where they exceed 1.
    """

    model_digest: str
    graph_digest: str
    data_digest: str
    opset: int
    software: Mapping[str, str]
    filters: Mapping[str, Sequence[int]]
    inputs: int
    probability_error: float
    log_odds_error: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``graph.json``.

        Returns
        -------
        dict
        """
        content = {"schema": SCHEMA} | asdict(self)
        return content | {"digest": digest_of(canonical_json(content))}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> GraphCard:
        """Read and check what :meth:`to_json` wrote.

        Parameters
        ----------
        values : mapping

        Returns
        -------
        GraphCard

        Raises
        ------
        ModelError
            For another schema, missing keys, or a content that does not match its digest.
        """
        if values.get("schema") != SCHEMA:
            raise ModelError(
                f"schema {values.get('schema')!r}", where=GRAPH_CARD_FILE, allowed=repr(SCHEMA), remedy=EXPORT_AGAIN
            )
        try:
            card = cls(**{key: value for key, value in values.items() if key not in {"schema", "digest"}})
            is_own = card.to_json() == dict(values)
        except (TypeError, ValueError) as error:
            raise ModelError("an incomplete graph card", where=GRAPH_CARD_FILE, remedy=EXPORT_AGAIN) from error
        if not is_own:
            raise ModelError(
                "it was changed after the export: it does not match its digest",
                where=GRAPH_CARD_FILE,
                remedy=EXPORT_AGAIN,
            )
        return card


@dataclass(frozen=True, eq=False)
class Scorer(TrainedModel):
    """A model's graph, loaded and ready to predict.

    Parameters
    ----------
    card : ModelCard
    session : onnxruntime.InferenceSession
        Maps patches of shape (n, channel, size, size) to n log-odds.
    folder : Path
        That holds the graph.
    filters : mapping of str to sequence of int
        As the graph's card has them.
    at_once : int
        Patches that are computed at the same time; more are computed one part after another.
    """

    session: onnxruntime.InferenceSession
    folder: Path
    filters: Mapping[str, Sequence[int]]
    at_once: int = 256

    @property
    def engine(self) -> dict[str, str]:
        """Name and version of what computes the network."""
        return {"name": "onnxruntime", "version": onnxruntime.__version__}

    def _compute(self, patches: Any) -> NDArray[np.float32]:
        parts = np.split(np.ascontiguousarray(patches, np.float32), range(self.at_once, len(patches), self.at_once))
        return np.concatenate([self.session.run([OUTPUT], {INPUT: part})[0] for part in parts])

    def _with_shuffled_weights(self, rng: np.random.Generator, *, last_only: bool) -> Scorer:
        chosen = list(self.filters.items())[-1:] if last_only else self.filters.items()
        try:
            stored = np.memmap(self.folder / DATA_FILE, np.float32, "r")
            shuffled = {
                name: shuffle_filters(stored[offset // 4 :][: math.prod(shape)].reshape(shape), rng)
                for name, (offset, *shape) in chosen
            }
        except (OSError, ValueError, TypeError) as error:
            raise ModelError("weights that cannot be read", where=DATA_FILE, remedy=EXPORT_AGAIN) from error
        session = _session(self.folder / GRAPH_FILE, self.card, 1, False, shuffled)
        return Scorer(self.card, session, self.folder, self.filters, self.at_once)

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1, one_study: bool = False) -> Scorer:
        """Read a model's graph, and check that it is the model's own.

        Parameters
        ----------
        folder : Path
            With ``model.json``, ``weights.safetensors``, ``graph.json``, ``model.onnx`` and ``model.onnx.data``.
        threads : int
            For one computation.
        one_study : bool
            Start sooner and compute more slowly: skips the rearrangement of weights, which pays off from about the
            twentieth study. Predictions differ by rounding only.

        Returns
        -------
        Scorer

        Raises
        ------
        ModelError
            When a file is missing, was altered or belongs to another model, when the graph does not compute the network
            of the model card with the weights of the model, or takes too much memory or time, and when ONNX Runtime
            refuses it.
        """
        card = read_card(folder)
        filters, values = _check_files(folder, card)
        session = _session(folder / GRAPH_FILE, card, threads, one_study)
        return cls(card, session, folder, filters, max(1, MOST_VALUES_AT_ONCE // values))

    @classmethod
    def open(
        cls,
        folder: Path,
        card: ModelCard,
        filters: Mapping[str, Sequence[int]],
        *,
        threads: int = 1,
        one_study: bool = False,
    ) -> Scorer:
        """Read a graph that was just written, without any check.

        Parameters
        ----------
        folder : Path
        card : ModelCard
        filters : mapping of str to sequence of int
            As the graph's card has them.
        threads, one_study
            As for :meth:`load`.

        Returns
        -------
        Scorer

        Raises
        ------
        ModelError
            When ONNX Runtime refuses the graph.
        """
        session = _session(folder / GRAPH_FILE, card, threads, one_study)
        return cls(card, session, folder, filters)


def has_graph(folder: Path) -> bool:
    """Return whether a model folder holds a graph, intact or not.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    bool
    """
    return (folder / GRAPH_CARD_FILE).is_file()


def graph_is_current(folder: Path) -> bool:
    """Return whether a model folder holds its own graph, complete and unaltered.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    bool
    """
    try:
        _check_files(folder, read_card(folder))
    except ModelError:
        return False
    return True


def _check_files(folder: Path, card: ModelCard) -> tuple[Mapping[str, Sequence[int]], int]:
    """Check that a graph is a model's own; return where its filters are, and the values of its largest map."""
    graph_card = GraphCard.from_json(read_json_object(folder / GRAPH_CARD_FILE, remedy=EXPORT_AGAIN))
    if graph_card.model_digest != card.digest:
        raise ModelError("the graph is of another model", where=GRAPH_CARD_FILE, remedy=EXPORT_AGAIN)
    data = _contents(folder, GRAPH_FILE)
    if digest_of(data.tobytes()) != graph_card.graph_digest:
        raise _altered(GRAPH_FILE)
    graph = read_graph(data.tobytes())
    plan = _check_steps(graph, card)
    weights = read_weights(folder, card.weights_digest)
    shapes = _check_shapes(graph, plan, weights)
    cost = cost_of(graph.steps, shapes, INPUT, graph.input_shape)
    stored = _contents(folder, DATA_FILE)
    for tensor, source in zip(graph.tensors, plan.sources, strict=True):
        if not _holds(stored, tensor, source.blocks(weights)):
            # Whether the file changed by accident or was written so, the user must do the same; the digest says which.
            if digest_of(stored.tobytes()) != graph_card.data_digest:
                raise _altered(DATA_FILE)
            raise ModelError(
                f"{tensor.name} with other values than {WEIGHTS_FILE} yields", where=DATA_FILE, remedy=EXPORT_AGAIN
            )
    filters = {one.name: [one.offset, *one.shape] for one in graph.tensors if len(one.shape) > 1}
    return filters, cost.values


def _contents(folder: Path, name: str) -> NDArray[np.uint8]:
    """Map a file of a graph into memory."""
    try:
        size = (folder / name).stat().st_size
        if size > LARGEST_BYTES[name]:
            raise ModelError(f"{size} bytes", where=name, allowed=f"up to {LARGEST_BYTES[name]}", remedy=EXPORT_AGAIN)
        return np.asarray(np.memmap(folder / name, np.uint8, "r")) if size else np.empty(0, np.uint8)
    except OSError as error:
        raise ModelError(f"no readable {name}", where="model folder", remedy=EXPORT_AGAIN) from error


def _altered(name: str) -> ModelError:
    return ModelError("a file that does not match the graph card (SHA-256 differs)", where=name, remedy=EXPORT_AGAIN)


def _check_steps(graph: Graph, card: ModelCard) -> GraphPlan:
    """Check that a graph computes the network of a model card; return what its tensors must be made of."""
    channels, size = len(card.settings.channels), card.settings.size
    if graph.input_shape != (channels, size, size):
        raise ModelError(
            f"a graph for patches of {' x '.join(map(str, graph.input_shape))}",
            where=GRAPH_FILE,
            allowed=f"{channels} x {size} x {size}",
            remedy=EXPORT_AGAIN,
        )
    name = card.recipe.network
    if card.plan is None:
        raise ModelError(
            f"a graph of network {name!r}, of which neither this program nor the model card says what it consists of",
            where=GRAPH_FILE,
            remedy="Train the model again, or score it with torch (`--engine torch`).",
        )
    if not card.plan.is_of(graph.steps):
        raise ModelError(
            f"{len(graph.steps)} layers that are not those of network {name!r}", where=GRAPH_FILE, remedy=EXPORT_AGAIN
        )
    return card.plan


def _check_shapes(graph: Graph, plan: GraphPlan, weights: Tensors) -> dict[str, tuple[int, ...]]:
    """Check that the tensors of a graph have the shapes that the weights demand; return them by name."""
    try:
        wanted = [source.shape(weights) for source in plan.sources]
    except KeyError as error:
        raise ModelError("no weights for a layer of the network", where=WEIGHTS_FILE) from error
    found = [tensor.shape for tensor in graph.tensors]
    if found != wanted:
        other = next((place for place, (one, two) in enumerate(zip(found, wanted, strict=False)) if one != two), None)
        raise ModelError(
            f"{len(found)} tensors" if other is None else f"weights_{other} of shape {found[other]}",
            where=GRAPH_FILE,
            allowed=f"{len(wanted)}" if other is None else f"{wanted[other]}",
            remedy=EXPORT_AGAIN,
        )
    return {tensor.name: tensor.shape for tensor in graph.tensors}


def _holds(stored: NDArray[np.uint8], tensor: StoredTensor, blocks: Iterable[NDArray[np.float32]]) -> bool:
    """Return whether the bytes at a tensor's place are exactly its values."""
    place = tensor.offset
    for block in blocks:
        here = stored[place : place + block.nbytes]
        # Bits, not numbers: 0 is not -0 here, and NaN is NaN.
        if len(here) != block.nbytes or not np.array_equal(here.view(np.int32), block.view(np.int32)):
            return False
        place += block.nbytes
    return True


def _session(
    path: Path,
    card: ModelCard,
    threads: int,
    one_study: bool,
    weights: Mapping[str, NDArray[np.float32]] | None = None,
) -> onnxruntime.InferenceSession:
    """Open a graph; given weights replace those of the same name in its file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors are raised; its warnings are for developers
    options.add_session_config_entry("session.load_model_format", "ONNX")
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED if one_study else levels.ORT_ENABLE_ALL
    try:
        if weights:
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(one) for one in weights.values()]
            options.add_external_initializers(list(weights), values)
        # No custom operators are registered, so a graph that uses others than ONNX's own is refused.
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base but Exception
        raise ModelError("a graph that ONNX Runtime refuses", where=GRAPH_FILE, remedy=EXPORT_AGAIN) from error
    inputs = [(one.name, one.type, one.shape[1:]) for one in session.get_inputs()]
    outputs = [(one.name, one.type, len(one.shape)) for one in session.get_outputs()]
    channels, size = len(card.settings.channels), card.settings.size
    if inputs != [(INPUT, "tensor(float)", [channels, size, size])] or outputs != [(OUTPUT, "tensor(float)", 1)]:
        raise ModelError(
            f"a graph from {inputs} to {outputs}",
            where=GRAPH_FILE,
            allowed=f"from ({INPUT}, float, n x {channels} x {size} x {size}) to ({OUTPUT}, float, n)",
        )
    return session

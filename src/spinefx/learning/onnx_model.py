"""A trained model that ONNX Runtime computes, for use without torch.

``weights.safetensors`` is accompanied by the same network as a standard ONNX graph (``model.onnx``), its weights
(``model.onnx.data``, mapped into memory, never copied) and ``graph.json``, which holds the digests of both and of the
model card that they belong to.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from spinefx.errors import ModelError
from spinefx.files import canonical_json, digest_of
from spinefx.learning.card import ModelCard, read_card, read_json_object
from spinefx.learning.model import TrainedModel, shuffle_filters

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
GRAPH_FILE, DATA_FILE, GRAPH_CARD_FILE = "model.onnx", "model.onnx.data", "graph.json"
INPUT, OUTPUT = "patches", "log_odds"
# ResNet50 takes 20 kB and 94 MB; a much larger file was not written by this program.
LARGEST_BYTES = {GRAPH_FILE: 2**20, DATA_FILE: 2**29}
EXPORT_AGAIN = "Run `spinefx export MODEL` where torch is installed."


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
    """

    session: onnxruntime.InferenceSession
    folder: Path
    filters: Mapping[str, Sequence[int]]

    @property
    def engine(self) -> dict[str, str]:
        """Name and version of what computes the network."""
        return {"name": "onnxruntime", "version": onnxruntime.__version__}

    def _compute(self, patches: Any) -> NDArray[np.float32]:
        log_odds: NDArray[np.float32] = self.session.run([OUTPUT], {INPUT: np.ascontiguousarray(patches, np.float32)})[
            0
        ]
        return log_odds

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
        return Scorer(self.card, session, self.folder, self.filters)

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1, one_study: bool = False) -> Scorer:
        """Read a model's graph, and check every link of its chain of digests.

        Parameters
        ----------
        folder : Path
            With ``model.json``, ``graph.json``, ``model.onnx`` and ``model.onnx.data``.
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
            When a file is missing, was altered or belongs to another model, or when ONNX Runtime refuses the graph.
        """
        card = read_card(folder)
        graph = _check_files(folder, card)
        return cls.open(folder, card, graph.filters, threads=threads, one_study=one_study)

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
        """Read a graph whose files have been checked, or just written.

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


def _check_files(folder: Path, card: ModelCard) -> GraphCard:
    """Check the chain of model card, graph card, graph and weights; return the graph card."""
    graph = GraphCard.from_json(read_json_object(folder / GRAPH_CARD_FILE, remedy=EXPORT_AGAIN))
    if graph.model_digest != card.digest:
        raise ModelError("the graph is of another model", where=GRAPH_CARD_FILE, remedy=EXPORT_AGAIN)
    for name, digest in ((GRAPH_FILE, graph.graph_digest), (DATA_FILE, graph.data_digest)):
        try:
            with (folder / name).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(0)
                found = (
                    "" if size > LARGEST_BYTES[name] else f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
                )
        except OSError as error:
            raise ModelError(f"no readable {name}", where="model folder", remedy=EXPORT_AGAIN) from error
        if not found:
            raise ModelError(f"{size} bytes", where=name, allowed=f"up to {LARGEST_BYTES[name]}", remedy=EXPORT_AGAIN)
        if found != digest:
            raise ModelError(
                "a file that does not match the graph card (SHA-256 differs)", where=name, remedy=EXPORT_AGAIN
            )
    # Whoever forged the graph would also have forged the digests, so the files that it opens are checked separately:
    # in ONNX's encoding each weight names its file after the key "location".
    structure = (folder / GRAPH_FILE).read_bytes()
    own = b"location\x12" + bytes([len(DATA_FILE)]) + DATA_FILE.encode()
    if structure.count(b"location") != structure.count(own):
        raise ModelError(f"weights in other files than {DATA_FILE}", where=GRAPH_FILE, remedy=EXPORT_AGAIN)
    return graph


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

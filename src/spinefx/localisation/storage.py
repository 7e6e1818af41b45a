"""The files of a localiser: weights, graph, and a card that binds them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch

from spinefx.errors import ModelError
from spinefx.files import canonical_json, digest_of, write_bytes, write_text
from spinefx.localisation.graph import write_graph
from spinefx.localisation.inference import CARD_FILE, GRAPH_FILE, SCHEMA, WEIGHTS_FILE
from spinefx.localisation.network import LocaliserNetwork
from spinefx.vocabulary import RESEARCH_USE_ONLY

__all__ = ["read_network", "write_localiser"]

# Counters of training that no answer depends on.
COUNTERS = "num_batches_tracked"


def write_localiser(network: LocaliserNetwork, folder: Path, taught_with: Mapping[str, Any]) -> None:
    """Write a localiser's three files; the card comes last, so that a folder without it is unfinished.

    Parameters
    ----------
    network : LocaliserNetwork
    folder : Path
        Created where missing.
    taught_with : mapping of str to object
        Plain values for the card: the images, the way of teaching.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().contiguous() for key, value in network.state_dict().items()}
    weights = safetensors.torch.save({key: value for key, value in state.items() if not key.endswith(COUNTERS)})
    graph = write_graph(network.eval(), weights, WEIGHTS_FILE)
    write_bytes(folder / WEIGHTS_FILE, weights)
    write_bytes(folder / GRAPH_FILE, graph)
    card = {
        "schema": SCHEMA,
        "use": RESEARCH_USE_ONLY,
        "taught_with": dict(taught_with),
        "parameters": sum(one.numel() for one in network.parameters()),
        "digests": {WEIGHTS_FILE: digest_of(weights), GRAPH_FILE: digest_of(graph)},
    }
    write_text(folder / CARD_FILE, json.dumps(json.loads(canonical_json(card)), indent=1) + "\n")


def read_network(folder: Path) -> LocaliserNetwork:
    """Read a localiser's weights into a network that can be taught further.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    LocaliserNetwork

    Raises
    ------
    ModelError
        When the file is missing or damaged, or its tensors are not the network's.
    """
    network = LocaliserNetwork()
    try:
        tensors = safetensors.torch.load_file(folder / WEIGHTS_FILE)
        own = {key: value for key, value in network.state_dict().items() if not key.endswith(COUNTERS)}
        if {key: value.shape for key, value in tensors.items()} != {key: value.shape for key, value in own.items()}:
            raise ModelError("weights of another network than the localiser's", where=WEIGHTS_FILE)
        network.load_state_dict(tensors, strict=False)
    except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise ModelError("a localiser whose weights cannot be read", where=WEIGHTS_FILE) from error
    return network

"""A trained model that torch computes: made by training, and checked when it is loaded."""

from __future__ import annotations

import copy
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import nn

from spinefx import __version__
from spinefx.errors import ModelError
from spinefx.files import digest_of, write_bytes, write_text
from spinefx.learning.card import MODEL_FILE, WEIGHTS_FILE, Initialisation, ModelCard, read_card
from spinefx.learning.guards import Guards
from spinefx.learning.model import TrainedModel, shuffle_filters
from spinefx.learning.network import FractureNetwork, build_network, in_channel_order
from spinefx.learning.networks import NETWORKS, Network
from spinefx.learning.onnx_layers import plan_of_network
from spinefx.learning.recipe import Recipe

__all__ = ["Classifier", "software_versions"]


def software_versions() -> dict[str, str]:
    """Return the versions of the software that results depend on, to the last bit.

    Returns
    -------
    dict of str to str
    """
    versions = {"spinefx": __version__, "torch": str(torch.__version__), "numpy": np.__version__}
    return versions | {"python": platform.python_version(), "machine": platform.machine()}


@dataclass(frozen=True, eq=False)
class Classifier(TrainedModel):
    """A trained network with its card.

    Parameters
    ----------
    card : ModelCard
    network : FractureNetwork
        Maps patches of shape (n, channel, size, size) to n log-odds; put into evaluation mode.
    """

    network: FractureNetwork

    def __post_init__(self) -> None:
        self.network.eval()

    @classmethod
    def of(
        cls,
        network: FractureNetwork,
        recipe: Recipe,
        *,
        cohort_digest: str,
        fold: int,
        initialisation: Initialisation,
        guards: Guards | None = None,
        trained_on: frozenset[str] | None = None,
    ) -> Classifier:
        """Make a classifier from a network that has just been trained.

        Parameters
        ----------
        network : FractureNetwork
        recipe : Recipe
        cohort_digest : str
        fold : int
        initialisation : Initialisation
        guards : Guards, optional
            What the training cases looked like.
        trained_on : frozenset of str, optional
            Digests of the training slices, see :mod:`spinefx.learning.training_slices`.

        Returns
        -------
        Classifier
        """
        weights_digest = digest_of(_serialised(network))
        plan = None
        if network.architecture.name not in NETWORKS:
            # A new network, because layers of the trained one may have been replaced for its training.
            plan = plan_of_network(build_network(recipe, fold=fold, network=network.architecture).eval())
        software = software_versions()
        card = ModelCard(
            recipe, cohort_digest, fold, initialisation, weights_digest, software, guards, plan, trained_on
        )
        return cls(card, network)

    @property
    def engine(self) -> dict[str, str]:
        """Name and version of what computes the network."""
        return {"name": "torch", "version": str(torch.__version__)}

    def _compute(self, patches: Any) -> NDArray[np.float32]:
        inputs = torch.as_tensor(patches, dtype=torch.float32)
        with torch.inference_mode():
            log_odds: NDArray[np.float32] = self.network(inputs.contiguous(memory_format=torch.channels_last)).numpy()
        return log_odds

    def _with_shuffled_weights(self, rng: np.random.Generator, *, last_only: bool) -> Classifier:
        network = copy.deepcopy(self.network)
        # Batch normalisation scales whole filters, so it stays as it is.
        filters = [one for one in network.parameters() if one.ndim > 1]
        with torch.no_grad():
            for one in [network.head.weight] if last_only else filters:
                one.copy_(torch.from_numpy(shuffle_filters(one.detach().numpy(), rng)))
        return Classifier(self.card, network)

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors`` and ``model.json``, each whole or not at all; the card last.

        Parameters
        ----------
        folder : Path
            Created where missing.

        Raises
        ------
        InterruptedWrite
        """
        write_bytes(folder / WEIGHTS_FILE, _serialised(self.network))
        write_text(folder / MODEL_FILE, json.dumps(self.card.to_json(), indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path, network: Network | None = None) -> Classifier:
        """Read a model, and check every link of its chain of digests.

        Parameters
        ----------
        folder : Path
            With ``weights.safetensors`` and ``model.json``.
        network : Network, optional
            The network that the model's recipe names, where it is not one of this package.

        Returns
        -------
        Classifier

        Raises
        ------
        ModelError
            When a file is missing, was altered, or does not fit the other.
        RecipeError
            When the recipe names a network that is not known.
        """
        card = read_card(folder)
        try:
            data = (folder / WEIGHTS_FILE).read_bytes()
        except OSError as error:
            raise ModelError(
                f"no readable {WEIGHTS_FILE}",
                where="model folder",
                remedy="Give a folder that `spinefx train` wrote, such as fold-01.",
            ) from error
        if digest_of(data) != card.weights_digest:
            raise ModelError(
                "the weights do not match the model card (SHA-256 differs)",
                where=WEIGHTS_FILE,
                remedy="Copy the model from its source again.",
            )
        return cls(card, _network_of(data, card.recipe, network))


def _serialised(network: nn.Module) -> bytes:
    return safetensors.torch.save({key: value.contiguous() for key, value in network.state_dict().items()})


def _network_of(data: bytes, recipe: Recipe, architecture: Network | None) -> FractureNetwork:
    with torch.random.fork_rng(devices=[]):  # the random weights are replaced; leave torch's generator alone
        network = FractureNetwork(recipe, architecture)
    own = network.state_dict()
    try:
        given = safetensors.torch.load(data)
    except SafetensorError as error:
        raise ModelError("a file that is not in the safetensors format", where=WEIGHTS_FILE) from error
    other = sorted(set(own) ^ set(given)) or [key for key in own if own[key].shape != given[key].shape]
    if other:
        raise ModelError(
            f"{len(other)} tensors that do not fit the recipe's network (first: {other[0]})", where=WEIGHTS_FILE
        )
    network.load_state_dict(given)
    return in_channel_order(network)

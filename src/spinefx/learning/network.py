"""The whole model: a 1x1 layer that mixes the channels of a patch, and the recipe's network behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from spinefx.errors import RecipeError
from spinefx.learning.networks import Network, network_named
from spinefx.learning.random_streams import Purpose, stream
from spinefx.learning.recipe import Recipe

__all__ = ["FractureNetwork", "build_network", "in_channel_order", "seeded"]


class FractureNetwork(nn.Module):
    """The whole model: a linear 1x1 layer from a patch's channels to the recipe's few, then a network with one output.

    Parameters
    ----------
    recipe : Recipe
    network : Network, optional
        The network that the recipe names, where it is not one of :data:`spinefx.learning.networks.NETWORKS`.

    Attributes
    ----------
    architecture : Network

    Raises
    ------
    RecipeError
        For an unknown network, or one whose head or dropout is not where it says.

    Notes
    -----
    Yeh 2022, Deep learning architecture: "a convolutional layer with 1 x 1 filter was added to extract inter-channel
    features and transform from six channels to three channels". Protocol rows 11 to 14.
    """

    def __init__(self, recipe: Recipe, network: Network | None = None) -> None:
        super().__init__()
        self.architecture = network_named(recipe.network, network)
        channels = len(recipe.patch_settings.channels)
        self.mix = nn.Conv2d(channels, recipe.mixing_channels, 1, bias=recipe.mixing_bias)
        self.body = self.architecture.build(stem=recipe.stem, inputs=recipe.mixing_channels, dropout=recipe.dropout)
        for path, kind in ((self.architecture.head, nn.Linear), (self.architecture.dropout, nn.Dropout)):
            if not isinstance(_layer(self.body, path), kind):
                raise RecipeError(
                    f"network {self.architecture.name!r} has no {kind.__name__} at {path!r}",
                    remedy="Correct the paths of your Network.",
                )

    @property
    def head(self) -> nn.Linear:
        """The last layer."""
        head = _layer(self.body, self.architecture.head)
        assert isinstance(head, nn.Linear)
        return head

    def replace_dropout(self, layer: nn.Module) -> None:
        """Put another layer in the place of the dropout.

        Parameters
        ----------
        layer : torch.nn.Module
        """
        self.body.set_submodule(self.architecture.dropout, layer)

    def forward(self, patches: Tensor) -> Tensor:
        """Score patches.

        Parameters
        ----------
        patches : Tensor, shape (n, channel, row, column)

        Returns
        -------
        Tensor, shape (n,)
            Log-odds of malignancy, as trained.
        """
        logits: Tensor = self.body(self.mix(patches))
        return logits[:, 0]


def build_network(recipe: Recipe, *, fold: int, network: Network | None = None) -> FractureNetwork:
    """Build a network with seeded random weights.

    Parameters
    ----------
    recipe : Recipe
    fold : int
        Each fold starts from its own weights.
    network : Network, optional
        As for :class:`FractureNetwork`.

    Returns
    -------
    FractureNetwork
        In the memory order in which convolutions run fastest on a CPU.
    """
    with seeded(stream(recipe.seed, Purpose.INITIAL_WEIGHTS, fold=fold)):
        built = FractureNetwork(recipe, network)
    return in_channel_order(built)


def in_channel_order(network: FractureNetwork) -> FractureNetwork:
    """Lay weights out in memory with channels last, as convolutions run fastest on a CPU.

    Parameters
    ----------
    network : FractureNetwork

    Returns
    -------
    FractureNetwork
        The same one.
    """
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


@contextlib.contextmanager
def seeded(rng: np.random.Generator) -> Iterator[None]:
    """Make torch draw from a given stream, and restore torch's generator afterwards.

    Parameters
    ----------
    rng : numpy.random.Generator

    Yields
    ------
    None
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(rng.integers(2**63)))
        yield


def _layer(module: nn.Module, path: str) -> nn.Module | None:
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None

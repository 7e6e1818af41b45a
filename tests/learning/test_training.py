"""A step is the textbook's; contrast changes series by series, patches are blended with their labels."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spinefx.cases.patch import PatchStack
from spinefx.learning.arithmetic import Adam
from spinefx.learning.augmentation import PatchBank
from spinefx.learning.leaks import Ledger, Side
from spinefx.learning.mixing import blended, draw_step, recontrasted
from spinefx.learning.network import build_network
from spinefx.learning.random_streams import plan_epoch
from spinefx.learning.recipe import Recipe
from spinefx.learning.training import train_epoch
from spinefx.vocabulary import Diagnosis


def test_losses_are_those_of_a_textbook_loop(
    cohort: tuple[list[PatchStack], dict[str, Diagnosis]], tiny: Recipe
) -> None:
    """In double precision, for in single precision Adam's first steps make rounding grow a thousandfold."""
    recipe = tiny.changed(dropout=0.0, mixup_alpha=0.0, contrast_jitter=0.0, learning_rate_schedule="constant")
    stacks, truth = cohort
    malignant = {case: answer == Diagnosis.MALIGNANT for case, answer in truth.items()}
    side = Side("training", PatchBank(stacks, recipe.patch_size, torch.float64), list(truth), malignant, Ledger(1))
    network = build_network(recipe, fold=1).double()
    weights = {key: value.detach().clone().contiguous() for key, value in network.named_parameters()}
    adam = Adam(
        network.parameters(),
        recipe.learning_rate,
        (recipe.beta1, recipe.beta2),
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    state = SimpleNamespace(network=network, optimiser=adam)
    textbook, steps = _Textbook(weights, recipe), 0
    answers = torch.from_numpy(side.malignant.astype(np.float64))
    for epoch in (1, 2):
        ours, _ = train_epoch(state, side, recipe, 1, epoch)
        plan = plan_epoch(recipe, side.keys, side.malignant, fold=1, epoch=epoch)
        total = 0.0
        for batch in plan.batches(recipe.batch_size):
            rows = plan.rows[batch]
            total += textbook.step(side.draw(rows, plan.jitters[batch]), answers[rows]) * len(rows)
            steps += 1
        assert ours == pytest.approx(total / len(plan.rows), rel=0, abs=1e-10)
    assert steps >= 8
    for key, value in network.named_parameters():
        torch.testing.assert_close(value.detach(), textbook.weights[key], rtol=0, atol=1e-8)
        assert not torch.equal(textbook.weights[key], weights[key])


class _Textbook:
    """The small network by its formulas, planes apart in memory, and Adam as Kingma and Ba wrote it (algorithm 1)."""

    def __init__(self, weights: dict[str, Tensor], recipe: Recipe) -> None:
        self.weights, self._recipe = weights, recipe
        self._first = {key: torch.zeros_like(value) for key, value in weights.items()}
        self._second = {key: torch.zeros_like(value) for key, value in weights.items()}
        self._steps = 0

    def step(self, patches: Tensor, answers: Tensor) -> float:
        weights = {key: value.clone().requires_grad_() for key, value in self.weights.items()}
        probability = torch.sigmoid(self._logits(patches, weights))
        loss = -(answers * probability.log() + (1 - answers) * (1 - probability).log()).mean()
        gradients = torch.autograd.grad(loss, list(weights.values()))
        self._steps += 1
        recipe, adapted = self._recipe, {}
        for (key, value), gradient in zip(self.weights.items(), gradients, strict=True):
            slope = gradient + recipe.weight_decay * value
            self._first[key] = recipe.beta1 * self._first[key] + (1 - recipe.beta1) * slope
            self._second[key] = recipe.beta2 * self._second[key] + (1 - recipe.beta2) * slope**2
            first = self._first[key] / (1 - recipe.beta1**self._steps)
            second = self._second[key] / (1 - recipe.beta2**self._steps)
            adapted[key] = value - recipe.learning_rate * first / (second.sqrt() + 1e-8)
        self.weights = adapted
        return float(loss.detach())

    def _logits(self, patches: Tensor, weights: dict[str, Tensor]) -> Tensor:
        def convolved(features: Tensor, name: str, stride: int) -> Tensor:
            weight = weights[f"body.{name}.weight"]
            return functional.conv2d(features, weight, None, stride, weight.shape[-1] // 2)

        def normalised(features: Tensor, name: str) -> Tensor:
            mean = features.mean((0, 2, 3), keepdim=True)
            spread = ((features - mean) ** 2).mean((0, 2, 3), keepdim=True) + 1e-5
            gain, shift = (weights[f"body.{name}.{part}"][:, None, None] for part in ("weight", "bias"))
            return (features - mean) / spread.sqrt() * gain + shift

        features = functional.conv2d(patches, weights["mix.weight"], weights["mix.bias"])
        features = normalised(convolved(features, "conv1", 2), "bn1").clamp(min=0)
        features = functional.max_pool2d(features, 3, 2, 1)
        for layer, stride in (("layer1", 1), ("layer2", 2), ("layer3", 2)):
            shortcut = normalised(convolved(features, f"{layer}.downsample.0", stride), f"{layer}.downsample.1")
            features = normalised(convolved(features, f"{layer}.conv1", stride), f"{layer}.bn1").clamp(min=0)
            features = normalised(convolved(features, f"{layer}.conv2", 1), f"{layer}.bn2")
            features = (features + shortcut).clamp(min=0)
        pooled = features.mean((2, 3))
        return (pooled @ weights["body.fc.weight"].T + weights["body.fc.bias"])[:, 0]


def test_contrast_changes_each_series_as_a_whole() -> None:
    torch.manual_seed(3)
    slice_of_t1w, slice_of_t2w = torch.randn(2, 8, 1, 16, 16)
    patches = torch.cat([slice_of_t1w] * 3 + [slice_of_t2w] * 3, dim=1)
    drawn = draw_step(Recipe.preset("quick").changed(contrast_jitter=0.2), 8).contrast
    assert drawn is not None
    changed = recontrasted(patches, drawn)
    assert changed.shape == patches.shape
    for series in (slice(0, 3), slice(3, 6)):
        first, *others = changed[:, series].unbind(1)
        assert all(torch.equal(first, other) for other in others)
    # A curve through every grey level: stretch, curve and shift within their limits, and other ones in each series.
    found = []
    for before, after in ((slice_of_t1w, changed[:, :1]), (slice_of_t2w, changed[:, 3:4])):
        grey = before.flatten(1)
        basis = torch.stack([grey, (grey.square() - 1) / 2, torch.ones_like(grey)], dim=-1)
        solved = torch.linalg.lstsq(basis, after.flatten(1)[..., None]).solution[..., 0]
        assert torch.allclose((basis @ solved[..., None])[..., 0], after.flatten(1), atol=1e-4)
        found.append(solved - torch.tensor([1.0, 0.0, 0.0]))
    assert torch.stack(found).abs().max() <= 0.2001
    assert torch.stack(found).abs().amax(dim=(0, 1)).min() > 0.1
    assert not torch.allclose(*found)
    assert torch.allclose(recontrasted(patches, 0 * drawn), patches)


def test_blending_weights_labels_as_patches() -> None:
    torch.manual_seed(1)
    answers = torch.tensor([0.0, 1.0] * 16)
    patches = answers[:, None, None, None].expand(32, 6, 4, 4)
    drawn = draw_step(Recipe.preset("quick").changed(mixup_alpha=0.3), 32)
    assert drawn.own is not None
    assert drawn.other is not None
    blends, blended_answers = blended(patches, answers, drawn.own, drawn.other)
    assert torch.allclose(blends[:, 0, 0, 0], blended_answers)
    assert torch.allclose(blended_answers.round(), answers)  # its own part is the larger
    assert ((blended_answers > 0.01) & (blended_answers < 0.99)).any()

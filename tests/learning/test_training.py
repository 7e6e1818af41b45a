"""What training does to its patches: contrast changed series by series, patches blended with their answers."""

from __future__ import annotations

import torch

from spinefx.learning.mixing import blended, draw_step, recontrasted
from spinefx.learning.recipe import Recipe


def test_contrast_changes_alike_within_a_series_and_apart_between_them() -> None:
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


def test_blending_gives_answers_the_share_of_their_patches() -> None:
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

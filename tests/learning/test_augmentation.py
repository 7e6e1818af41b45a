"""Batches hold the same patches as single cuts; draws follow from their keys; nothing is flipped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from spinefx.cases.patch import Jitter, PatchStack
from spinefx.errors import InputError, PatchError
from spinefx.learning.augmentation import PatchBank
from spinefx.learning.random_streams import Purpose, draw_jitters, plan_epoch, sample_key, stream, uniform_draws
from spinefx.learning.recipe import Recipe
from spinefx.learning.training import reproducible

Maker = Callable[..., PatchStack]


@pytest.fixture(scope="module")
def stacks(stack_maker: Maker) -> list[PatchStack]:
    return [stack_maker(number, malignant=number % 2 == 0, slices=1 + number % 3) for number in range(9)]


def drawn_and_cut(
    stacks: list[PatchStack], jitters: list[Jitter], size: int = 64
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The same patches from the bank and one by one, samples in turn."""
    bank = PatchBank(stacks, size)
    numbers = np.arange(len(jitters)) % len(bank.samples)
    of_case = {stack.case_id: stack for stack in stacks}
    cut = [
        of_case[bank.samples[number].case_id].cut(bank.samples[number].position, jitter, size).array
        for number, jitter in zip(numbers, jitters, strict=True)
    ]
    return bank.sample(numbers, jitters).numpy(), np.stack(cut)


def with_t1w(stack: PatchStack, slice_row: list[float], t1w: NDArray[np.float32] | None = None) -> PatchStack:
    """Return the stack with its T1W planes turned."""
    first, second = stack.sources
    turned = replace(first, matrices=first.matrices.copy(), voxels=first.voxels if t1w is None else t1w)
    turned.matrices[:, :, 0] = slice_row
    return replace(stack, sources=(turned, replace(second, matrices=second.matrices.copy())), case_id="turned")


def test_batch_equals_single_cuts(stacks: list[PatchStack], jitters: list[Jitter]) -> None:
    drawn, cut = drawn_and_cut(stacks, jitters)
    np.testing.assert_allclose(drawn[:, 3:], cut[:, 3:], atol=1e-4)
    # Planes turned as registration turns them.
    np.testing.assert_allclose(drawn[:, :3], cut[:, :3], atol=0.01)
    assert np.abs(drawn[:, :3] - cut[:, :3]).mean() < 5e-4


def test_planes_along_the_slices_equal_single_cuts(stacks: list[PatchStack], jitters: list[Jitter]) -> None:
    between = with_t1w(stacks[2], [0.0, 0.0, 1.3])
    drawn, cut = drawn_and_cut([between], jitters)
    np.testing.assert_allclose(drawn, cut, atol=1e-4)


def test_a_turned_plane_of_a_field_without_curvature_is_exact(stacks: list[PatchStack], jitters: list[Jitter]) -> None:
    """Mixing slices before or after sampling within the plane is the same in a linear field."""
    field = np.moveaxis(np.indices(stacks[2].sources[0].voxels.shape), 0, -1) @ np.array([3.0, 0.2, -0.3])
    drawn, cut = drawn_and_cut([with_t1w(stacks[2], [1.1, -0.4, 1.9], field.astype(np.float32))], jitters)
    np.testing.assert_allclose(drawn, cut, atol=1e-4)


def test_steep_planes_and_edges_are_near_single_cuts(stacks: list[PatchStack], jitters: list[Jitter]) -> None:
    steep = with_t1w(stacks[2], [3.0, 0.0, 1.5])  # crosses four slices and leaves the stack at both ends
    steep.sources[1].matrices[:, :, 1:, 2] += 40  # leaves the image
    drawn, cut = drawn_and_cut([stacks[0], steep], jitters, size=32)
    np.testing.assert_allclose(drawn[:, 3:], cut[:, 3:], atol=1e-4)
    assert np.abs(drawn[:, :3] - cut[:, :3]).mean() < 0.01


def test_planes_are_kept_once_and_channels_share_a_view(stacks: list[PatchStack]) -> None:
    turned = with_t1w(stacks[2], [0.2, 0.1, 0.0])
    first, second = turned.sources
    first.matrices[:, :, 1:] = second.matrices[0, 0, 1:]
    for position in range(len(turned.slices)):
        first.matrices[position, :, 0, 2] += position + np.arange(3) + 0.4
    t1w, t2w = PatchBank([turned], 64).sources
    assert len(t1w.array) == len(t2w.array) == len(turned.slices) + 2
    assert t1w.of_sample.tolist() == t2w.of_sample.tolist() == [[n, n + 1, n + 2] for n in range(len(turned.slices))]
    assert t2w.views.shape[1] == 1
    np.testing.assert_array_equal(t2w.array.numpy(), second.voxels)


def test_a_box_perpendicular_to_its_slices_is_refused(stacks: list[PatchStack]) -> None:
    upright = with_t1w(stacks[2], [4.0, 0.0, 1.0])
    upright.sources[0].matrices[:, :, 1:, 0] = 0  # rows of the patch run from slice to slice
    with pytest.raises(PatchError, match=r"turned: .*perpendicular"):
        PatchBank([upright], 64)


def test_originals_are_the_cuts_themselves(stacks: list[PatchStack]) -> None:
    bank = PatchBank(stacks, 64)
    moved = Jitter(shift_row=0.05)
    drawn = bank.draw(np.array([3, 0, 3]), [Jitter(), moved, moved])
    sample = bank.samples[3]
    stack = next(stack for stack in stacks if stack.case_id == sample.case_id)
    assert np.array_equal(drawn[0].numpy(), stack.cut(sample.position).array)
    assert not np.array_equal(drawn[2].numpy(), drawn[0].numpy())


def test_flat_channel_is_refused_by_case(stacks: list[PatchStack]) -> None:
    t1w, t2w = stacks[1].sources
    flat = replace(stacks[1], sources=(t1w, replace(t2w, voxels=np.full_like(t2w.voxels, 812.3))), case_id="flat")
    bank = PatchBank([stacks[0], flat], 64)
    with pytest.raises(PatchError, match=r"flat: channel T2W-1"):
        bank.draw(bank.numbers_of([flat.participant_id]), [Jitter(shift_row=0.01)] * len(flat.slices))
    with pytest.raises(InputError):
        PatchBank([stacks[0], stacks[0]], 64)


def test_batches_are_cheaper_than_single_cuts(stacks: list[PatchStack], jitters: list[Jitter]) -> None:
    bank = PatchBank(stacks, 64)
    numbers = np.arange(len(jitters)) % len(bank.samples)
    of_case = {stack.case_id: stack for stack in stacks}

    def cut_each() -> None:
        for number, jitter in zip(numbers, jitters, strict=True):
            of_case[bank.samples[number].case_id].cut(bank.samples[number].position, jitter)

    with reproducible():  # one thread, as in training
        ratio = _cpu_seconds(cut_each) / _cpu_seconds(lambda: bank.sample(numbers, jitters))
    assert ratio > 1.2, f"{ratio:.2f} times as quick"


def _cpu_seconds(work: Callable[[], object]) -> float:
    spent = []
    for _ in range(3):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def test_streams_depend_on_every_part_of_their_key() -> None:
    names = [
        {"fold": fold, "epoch": epoch, "sample": sample, "copy": copy}
        for fold in (1, 2)
        for epoch in (1, 2)
        for sample in (0, sample_key("sub-001", 3))
        for copy in (0, 1)
    ]
    first = {float(stream(seed, purpose, **name).random()) for seed in (1, 2) for purpose in Purpose for name in names}
    assert len(first) == 2 * len(Purpose) * len(names)
    assert stream(1, Purpose.JITTER, epoch=3).random() == stream(1, Purpose.JITTER, epoch=3).random()


def test_many_streams_at_once_equal_single_streams() -> None:
    rng = np.random.default_rng(8)
    samples = rng.integers(0, 2**64, 200, dtype=np.uint64, endpoint=False)
    samples[:3] = 0, 2**64 - 1, 2**32
    copies = rng.integers(0, 41, 200).astype(np.uint64)
    drawn = uniform_draws(2**31 - 1, Purpose.JITTER, fold=10, epoch=100, samples=samples, copies=copies)
    expected = [
        stream(2**31 - 1, Purpose.JITTER, fold=10, epoch=100, sample=int(sample), copy=int(copy)).random(4)
        for sample, copy in zip(samples, copies, strict=True)
    ]
    np.testing.assert_array_equal(drawn, expected)


def test_a_known_draw_does_not_change() -> None:
    # Guards stored experiments: if this number moves, old runs no longer replay.
    assert sample_key("sub-001", 3) == 0x3C297F5FD8DECF7C
    named = {"samples": np.array([sample_key("sub-001", 3)], np.uint64), "copies": np.ones(1, np.uint64)}
    (jitter,) = draw_jitters(Recipe.preset("honest"), fold=1, epoch=1, **named)
    assert _values(jitter) == pytest.approx([0.09102382, 0.0339772451, 1.07346337, 12.2584663])


def _values(jitter: Jitter) -> list[float]:
    return [jitter.shift_row, jitter.shift_column, jitter.scale, jitter.rotation_deg]


def test_draws_fill_the_ranges_without_flips() -> None:
    recipe = Recipe.preset("honest")
    drawn = draw_jitters(
        recipe, fold=1, epoch=1, samples=np.arange(4000, dtype=np.uint64), copies=np.ones(4000, np.uint64)
    )
    values = np.array([_values(jitter) for jitter in drawn])
    low, high = [-0.1, -0.1, 0.9, -15.0], [0.1, 0.1, 1.1, 15.0]
    assert (values >= low).all()
    assert (values <= high).all()
    assert (np.abs(values.mean(axis=0) - [0, 0, 1, 0]) < [0.004, 0.004, 0.004, 0.6]).all()
    np.testing.assert_allclose(values.std(axis=0), (np.array(high) - low) / np.sqrt(12), rtol=0.05)
    assert np.abs(np.corrcoef(values.T) - np.eye(4)).max() < 0.06
    assert all(np.linalg.det(jitter.matrix()[:2, :2]) > 0 for jitter in drawn)


@pytest.mark.parametrize("name", ["paper", "honest"])
def test_copies_of_an_epoch(name: str) -> None:
    recipe = Recipe.preset(name)
    keys = np.array([sample_key("a", index) for index in range(4)], dtype=np.uint64)
    malignant = np.array([True, False, False, True])
    plans = [plan_epoch(recipe, keys, malignant, fold=1, epoch=epoch) for epoch in (1, 2)]
    original = int(name == "paper")
    for plan in plans:
        np.testing.assert_array_equal(np.bincount(plan.rows), np.where(malignant, 40, 20) + original)
        assert sum(jitter.is_identity for jitter in plan.jitters) == 4 * original
    sets = [{(int(row), jitter) for row, jitter in zip(plan.rows, plan.jitters, strict=True)} for plan in plans]
    # The paper draws once for all epochs; the honest recipe draws anew.
    assert (sets[0] == sets[1]) is (name == "paper")
    assert not (sets[0] & sets[1]) or name == "paper"
    assert not np.array_equal(plans[0].rows, plans[1].rows)


def test_batches_cover_the_epoch_and_leave_no_single_patch() -> None:
    recipe = Recipe.preset("quick").changed(copies_benign=1, copies_malignant=1)
    for count in (2, 31, 32, 33, 64, 65, 97):
        plan = plan_epoch(recipe, np.arange(count, dtype=np.uint64), np.zeros(count, bool), fold=1, epoch=1)
        sizes = [part.stop - part.start for part in plan.batches(32)]
        assert sum(sizes) == count
        assert min(sizes) > 1
        assert max(sizes) <= 33

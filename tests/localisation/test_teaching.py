"""Teaching: samples keep their truth through every distortion, and an interrupted run goes on to the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spinefx.errors import InputError, ModelError
from spinefx.imaging.volume import Volume
from spinefx.localisation.labels import CodeTable, TissueClass
from spinefx.localisation.working_grid import PIXEL_MM, WorkingGrid

pytest.importorskip("torch")

from spinefx.localisation import fitting
from spinefx.localisation.fitting import Teaching, fit
from spinefx.localisation.samples import OFFSET_MM, TeachingStack, draw_sample, known_centres, labelled_stack

TABLE = CodeTable({101: "L5", 102: "S1", 103: "S2"}, {200: TissueClass.DISC}, frozenset({9}))


def stack_of_two_bodies() -> tuple[Volume, Volume, dict[str, tuple[float, float, float]]]:
    """L5 above S1 as discs about their centres, the rest empty."""
    affine = np.array([[4.0, 0, 0, 0], [0, 0, 1.5, 0], [0, -1.5, 0, 0], [0, 0, 0, 1]])
    labels = np.zeros((7, 120, 120), np.float32)
    grid = Volume(labels, affine)
    places = {"L5": (3.0, 45.0, 60.0), "S1": (3.0, 70.0, 64.0)}
    index = np.indices(labels.shape)
    for code, place in zip((101, 102), places.values(), strict=True):
        apart = [(index[axis] - place[axis]) * step for axis, step in enumerate((4.0, 1.5, 1.5))]
        labels[np.sqrt(sum(one**2 for one in apart)) < 14] = code
    noise = np.random.default_rng(0).normal(0, 0.05, labels.shape)
    image = (labels > 0) + noise.astype(np.float32)
    return (
        Volume(image.astype(np.float32), affine),
        Volume(labels, affine),
        {level: tuple(grid.to_mm(place)) for level, place in places.items()},
    )


@pytest.fixture(scope="module")
def stack() -> TeachingStack:
    volume, labels, centres = stack_of_two_bodies()
    return labelled_stack(volume, labels, TABLE, centres)


def test_codes_become_classes_and_levels() -> None:
    codes = np.array([[0, 101, 102], [103, 200, 9]])
    assert TABLE.classes_of(codes).tolist() == [[0, 1, 2], [3, 4, -1]]
    assert [TABLE.levels[number - 1] if number else "" for number in TABLE.levels_of(codes).ravel()] == [
        *("", "L5", "S1", "S2", "", "")
    ]


def test_a_code_with_two_meanings_is_refused() -> None:
    with pytest.raises(InputError, match="two meanings"):
        CodeTable({5: "L5"}, {5: TissueClass.DISC})


@pytest.mark.parametrize("seed", range(12))
def test_pixels_of_a_body_point_to_one_place_however_the_sample_is_bent(stack: TeachingStack, seed: int) -> None:
    sample = draw_sample(stack, 96, np.random.default_rng(seed))
    rows, columns = np.mgrid[:96, :96]
    for kind in (TissueClass.BODY, TissueClass.S1):
        voters = sample.votes & (sample.classes == kind)
        if voters.sum() < 20:
            continue
        row = rows[voters] + sample.offsets[0][voters] * OFFSET_MM / PIXEL_MM
        column = columns[voters] + sample.offsets[1][voters] * OFFSET_MM / PIXEL_MM
        assert np.ptp(row) < 1e-2
        assert np.ptp(column) < 1e-2
        if voters.sum() > 150 and 8 < row.mean() < 88 and 8 < column.mean() < 88:
            # A whole round body: its centre is the middle of its pixels.
            assert abs(rows[voters].mean() - row.mean()) < 4
            assert abs(columns[voters].mean() - column.mean()) < 4


def test_the_same_seed_draws_the_same_sample(stack: TeachingStack) -> None:
    one, other = (draw_sample(stack, 64, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.classes, other.classes)


def test_where_only_centres_are_known_the_rest_is_left_open() -> None:
    volume, _, centres = stack_of_two_bodies()
    sparse = known_centres(volume, centres)
    assert not sparse.complete
    assert set(np.unique(sparse.classes)) == {-1, TissueClass.BODY, TissueClass.S1}
    sample = draw_sample(sparse, 96, np.random.default_rng(2))
    assert (sample.classes < 0).any()
    assert ((sample.heat >= 0) == (sample.classes >= 0)).all()


def test_an_interrupted_run_goes_on_to_the_same_weights(
    stack: TeachingStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "BETWEEN_CHECKPOINTS", 2)
    teaching = Teaching(steps=4, batch_size=2, side=64)
    whole = fit([stack], teaching, tmp_path / "whole")

    class Interrupted(Exception):
        pass

    def stop(step: int, steps: int, loss: float) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        fit([stack], teaching, tmp_path / "cut", progress=stop)
    resumed = fit([stack], teaching, tmp_path / "cut")
    for name, tensor in whole.state_dict().items():
        assert bool((tensor == resumed.state_dict()[name]).all()), name
    with pytest.raises(ModelError, match="another way of teaching"):
        fit([stack], Teaching(steps=6, batch_size=2, side=64), tmp_path / "cut")


def test_teaching_without_stacks_or_with_odd_sizes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no stack"):
        fit([], Teaching(), tmp_path)
    with pytest.raises(InputError, match="multiples of 32"):
        Teaching(side=100)


def test_the_working_grid_goes_there_and_back() -> None:
    volume, labels, centres = stack_of_two_bodies()
    grid = WorkingGrid.of(labels, order=0)
    place = np.array(centres["L5"])
    np.testing.assert_allclose(grid.to_mm(grid.to_index(place)), place, atol=1e-9)
    back = grid.onto(volume, (grid.images == 101).astype(np.uint8))
    agreed = (back > 0) == (labels.array == 101)
    assert agreed.mean() > 0.999

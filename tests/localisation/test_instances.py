"""Masks are divided among the vertebrae as the phantom's label map has them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.localisation.conftest import KnownSpine

from spinefx.errors import GeometryError
from spinefx.localisation.instances import divide_bodies, divide_discs
from spinefx.localisation.labels import TissueClass
from spinefx.localisation.spine import Convention, LocatedSpine
from spinefx.phantom.label_codes import Structure, label_value
from spinefx.vocabulary import LEVELS


def test_every_body_is_its_vertebra_s(lumbar: KnownSpine) -> None:
    bodies = divide_bodies(lumbar.classes, lumbar.labels, lumbar.spine)
    assert {"L1", "L2", "L3", "L4", "L5", "S1"} <= set(lumbar.spine.levels)
    for number, vertebra in enumerate(lumbar.spine.vertebrae, start=1):
        true, found = lumbar.mask(vertebra.level or ""), bodies == number
        dice = 2 * (true & found).sum() / (true.sum() + found.sum())
        # The outermost vertebra also receives what the field shows of a body whose centre lies beyond its edge.
        assert dice > (0.97 if number > 1 else 0.5), vertebra.level


def test_every_disc_is_that_below_its_vertebra(lumbar: KnownSpine) -> None:
    discs = divide_discs(lumbar.classes, lumbar.labels, lumbar.spine)
    for number, level in enumerate(lumbar.spine.levels, start=1):
        true = lumbar.labels.array == label_value(Structure.DISC, level)
        if true.any():
            assert (discs[true] == number).mean() > 0.97, level
    first = lumbar.labels.array == label_value(Structure.DISC, LEVELS[LEVELS.index(lumbar.spine.levels[0]) - 1])
    assert not first.any() or (discs[first] == -1).mean() > 0.9


def test_bodies_that_run_into_each_other_are_divided_between_their_centres(lumbar: KnownSpine) -> None:
    fused = np.where(lumbar.classes == TissueClass.DISC, TissueClass.BODY, lumbar.classes)
    bodies = divide_bodies(fused, lumbar.labels, lumbar.spine)
    number = 1 + lumbar.spine.levels.index("L3")
    assert (bodies[lumbar.mask("L3")] == number).mean() > 0.9


def test_without_vertebrae_nothing_is_divided_and_other_shapes_are_refused(lumbar: KnownSpine) -> None:
    nothing = LocatedSpine((), Convention.UNNAMED)
    assert not divide_bodies(lumbar.classes, lumbar.labels, nothing).any()
    assert not divide_discs(lumbar.classes, lumbar.labels, nothing).any()
    alone = replace(lumbar.spine, vertebrae=lumbar.spine.vertebrae[:1])
    assert set(np.unique(divide_bodies(lumbar.classes, lumbar.labels, alone))) == {0, 1}
    with pytest.raises(GeometryError, match="shape"):
        divide_bodies(lumbar.classes[1:], lumbar.labels, lumbar.spine)

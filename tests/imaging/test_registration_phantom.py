"""Known rigid motion of phantom patients, up to 8 mm and 6 degrees.

Mutual information aligns fat, so the truth is where fat lies: each series' chemical shift counts.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from spinefx.imaging.registration import align
from spinefx.phantom.case import render_case
from spinefx.phantom.random_streams import PhantomSettings, draw_case

REACHES = (None, 1, 0)  # lesion slices on either side of the middle one; None compares all slices


def errors_mm(settings, number):
    """Mean error at the box's corners under geometry and under each alignment; None for motion beyond the bounds."""
    draw = draw_case(settings, number)
    if np.linalg.norm(draw.motion_mm) > 8 or np.linalg.norm(draw.motion_deg) > 6:
        return None
    case = render_case(draw)
    truth = case.truth
    axes = truth.affines["t2w"][:3, 1:3] / np.linalg.norm(truth.affines["t2w"][:3, 1:3], axis=0)
    signs = np.array(list(product((-0.5, 0.5), repeat=2)))
    corners = truth.box_centre_mm + truth.box_side_mm * signs @ axes.T
    still = corners - truth.fat_shift_mm["t2w"]
    wanted = still @ truth.t2w_to_t1w[:3, :3].T + truth.t2w_to_t1w[:3, 3] + truth.fat_shift_mm["t1w"]
    middle = round(float(case.t2w.to_index(truth.box_centre_mm)[0]))
    places = [corners]
    for reach in REACHES:
        beside = None if reach is None else (middle - reach, middle + reach)
        found = align(
            case.t2w, case.t1w, centre_mm=truth.box_centre_mm, side_mm=truth.box_side_mm, lesion_slices=beside
        )
        places.append(found.apply(corners))
    return [float(np.linalg.norm(place - wanted, axis=1).mean()) for place in places]


def test_six_patients():
    settings = PhantomSettings(patients=20, seed=4, motion=2.0, matrix=192)
    errors = [found for number in range(1, 7) if (found := errors_mm(settings, number))]
    assert len(errors) >= 4
    before, *afters = np.array(errors).T
    assert np.median(before) > 2
    for after in afters:
        assert after.max() < 1
        assert (after <= before + 0.5).all()


@pytest.mark.slow
def test_fifty_patients():
    settings = PhantomSettings(patients=190, seed=20, motion=2.0, matrix=512)
    errors = []
    for number in range(1, 191):
        if found := errors_mm(settings, number):
            errors.append(found)
        if len(errors) == 50:
            break
    before, *afters = np.array(errors).T
    for after in afters:
        assert (after < 1).mean() >= 0.95
        assert (after <= before + 0.5).all()
    assert np.median(afters[1]) <= np.median(
        afters[0]
    )  # with three slices and their neighbours the error is no larger than with all

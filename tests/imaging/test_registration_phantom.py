"""Known rigid motion of phantom patients, up to 8 mm and 6 degrees.

Mutual information aligns fat, so the truth is where fat lies: each series' chemical shift counts.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from spinefx.imaging.registration import align
from spinefx.phantom.case import render_case
from spinefx.phantom.draws import PhantomSettings, draw_case


def errors_mm(settings, number):
    """Mean error at the box's corners under geometry and under the alignment; None for a motion beyond the bounds."""
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
    found = align(case.t2w, case.t1w, centre_mm=truth.box_centre_mm, side_mm=truth.box_side_mm)
    return tuple(float(np.linalg.norm(p - wanted, axis=1).mean()) for p in (corners, found.apply(corners)))


def test_six_patients():
    settings = PhantomSettings(patients=20, seed=4, motion=2.0, matrix=192)
    errors = [pair for number in range(1, 7) if (pair := errors_mm(settings, number))]
    assert len(errors) >= 4
    before, after = np.array(errors).T
    assert np.median(before) > 2
    assert after.max() < 1
    assert (after <= before + 0.5).all()


@pytest.mark.slow
def test_fifty_patients():
    settings = PhantomSettings(patients=190, seed=20, motion=2.0, matrix=512)
    errors = []
    for number in range(1, 191):
        if pair := errors_mm(settings, number):
            errors.append(pair)
        if len(errors) == 50:
            break
    before, after = np.array(errors).T
    assert (after < 1).mean() >= 0.95
    assert (after <= before + 0.5).all()

"""One real patient: T2W to the T1W of the same visit and of another visit, judged by clicked centres.

Centres were clicked with an uncertainty of about 2 mm, which no measured error can undercut.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spinefx.errors import RegistrationError
from spinefx.imaging.registration import align

SIDE = 40.0
REGION_MM = 80.0  # an alignment is made for a box, and judged by the vertebrae within the region round it
LUMBAR = ("L1", "L2", "L3", "L4", "L5")
slow = pytest.mark.slow


def rms_mm(place, fixed_centres, moving_centres, near=None):
    """In-plane rms over the vertebrae that both annotations name: all of them, or those near one."""
    levels = [
        level
        for level in fixed_centres.keys() & moving_centres.keys()
        if near is None or abs(fixed_centres[level][2] - fixed_centres[near][2]) < REGION_MM
    ]
    errors = [(place(fixed_centres[level]) - moving_centres[level])[1:] for level in sorted(levels)]
    return float(np.sqrt(np.square(errors).sum(axis=1).mean()))


@pytest.fixture(scope="module")
def t2w(png_stack):
    return png_stack("t2_AKs5")


@pytest.mark.parametrize(
    ("level", "frame"),
    [
        *((level, "one sitting") for level in LUMBAR),
        *(pytest.param(level, "", marks=() if level == "L3" else slow) for level in LUMBAR),
    ],
)
def test_one_sitting(t2w, png_stack, level, frame):
    """With a known frame, and with an unknown one, where the wide search must return to about the identity."""
    judge_one_sitting(t2w, png_stack, level, frame, None)


@pytest.mark.parametrize("reach", [0, 1], ids=["one slice", "three slices"])
@pytest.mark.parametrize("level", LUMBAR)
def test_one_sitting_by_the_slices_of_a_lesion(t2w, png_stack, level, reach):
    """Most of the motion is across the slices, where few of them determine it only to about a millimetre."""
    middle = round(float(t2w[0].to_index(t2w[1][level])[0]))
    judge_one_sitting(t2w, png_stack, level, "one sitting", (middle - reach, middle + reach), limit_mm=9)


def judge_one_sitting(t2w, png_stack, level, frame, lesion_slices, limit_mm=8):
    (fixed, fixed_centres), (moving, moving_centres) = t2w, png_stack("t1_AKs8")
    assert rms_mm(np.asarray, fixed_centres, moving_centres) == pytest.approx(3.9, abs=0.05)
    found = align(
        replace(fixed, frame_of_reference=frame),
        replace(moving, frame_of_reference=frame),
        centre_mm=fixed_centres[level],
        side_mm=SIDE,
        lesion_slices=lesion_slices,
    )
    assert found.method == "rigid"
    assert rms_mm(found.apply, fixed_centres, moving_centres) < 3.0
    assert rms_mm(found.apply, fixed_centres, moving_centres, level) < 3.5
    assert found.largest_motion_mm < limit_mm
    assert found.same_frame_of_reference == bool(frame)


@pytest.mark.parametrize(
    "level", [pytest.param(level, marks=() if level in ("L1", "L5") else slow) for level in LUMBAR]
)
def test_another_exam_without_a_shared_frame(t2w, png_stack, level):
    """The stacks lie 28.7 mm apart and the spine is curved differently; the alignment holds around the box."""
    (fixed, fixed_centres), (moving, moving_centres) = t2w, png_stack("t1_AKa3")
    assert rms_mm(np.asarray, fixed_centres, moving_centres) == pytest.approx(28.7, abs=0.05)
    found = align(fixed, moving, centre_mm=fixed_centres[level], side_mm=SIDE)
    assert rms_mm(found.apply, fixed_centres, moving_centres, level) < 5.0
    assert "do not share a frame of reference" in found.reason


@pytest.mark.parametrize(("fixed_name", "moving_name"), [("t2_AKs5", "t2_S01"), ("t2_S01", "t1_AKs8")])
def test_another_patient_is_never_aligned(png_stack, fixed_name, moving_name):
    (fixed, fixed_centres), (moving, _) = png_stack(fixed_name), png_stack(moving_name)
    with pytest.raises(RegistrationError, match="no unambiguous alignment was found"):
        align(fixed, moving, centre_mm=fixed_centres["L3"], side_mm=SIDE)


@slow
def test_wide_shifts_are_found_or_refused_but_never_silently_wrong(t2w, png_stack):
    (fixed, fixed_centres) = t2w
    found, tried = 0, 40
    for seed in range(tried):
        rng = np.random.default_rng(seed)
        level = LUMBAR[seed % 5]
        moving, centres = png_stack(("t1_AKs8", "t1_AKa3")[seed % 2])
        shift = np.eye(4)
        shift[:3, 3] = rng.uniform(-1, 1, 3) * [12, 45, 80]
        shifted = {name: centre + shift[:3, 3] for name, centre in centres.items()}
        moving = replace(moving, affine=shift @ moving.affine)
        try:
            alignment = align(fixed, moving, centre_mm=fixed_centres[level], side_mm=SIDE)
        except RegistrationError:
            continue
        found += 1
        assert rms_mm(alignment.apply, fixed_centres, shifted, level) < 5.0, seed
    assert found >= tried // 3  # about half lie within the limits of the search

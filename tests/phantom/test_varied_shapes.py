"""Varied forms of the signs: what is present can be seen where its mask lies, and what is absent is not drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinefx.phantom.case import render_case, spine_of, truth_of
from spinefx.phantom.random_streams import CaseDraw, PhantomSettings, draw_case
from spinefx.phantom.sign_labels import read_sign_masks, render_sign_masks, write_sign_masks
from spinefx.phantom.varied_deformity import VariedDeformity
from spinefx.phantom.varied_lesion import VariedLesion
from spinefx.vocabulary import SIGN_IDENTIFIERS

SETTINGS = PhantomSettings(patients=600, seed=11, matrix=192, malignant=0.5, shapes="varied")
CONTRAST_TO_NOISE = 2.0
"""Least mean difference inside the mask, in one slice of T1W or T2W, over the standard deviation of the noise."""
# What a lesion holds instead of each sign. Absent collapse and homogeneous marrow are the lack of other signs.
WITHOUT: dict[str, dict[str, Any]] = {
    "band_pattern_oedema": {"marrow": "homogeneous"},
    "diffuse_signal_change": {"marrow": "homogeneous"},
    "nodular_lesion": {"nodules": ()},
    "epidural_paraspinal_mass": {"epidural": (0.0, 0.0, 0.0), "paraspinal_mm": 0.0, "lateral_mass": (0.0, 0.0)},
    "pedicle_posterior_element": {"pedicle": (0.0, 1.0, 0.0)},
    "dark_line_band": {},
    "dark_patch": {},
    "fluid_necrotic_cleft": {},
}
SHAPES: dict[str, dict[str, float]] = {
    "anterior_wedge": {"anterior": 0.0, "posterior": 0.0},
    "entire_body_compression": {"anterior": 0.0, "posterior": 0.0},
    "central_concave": {"central": 0.0},
    "ap_protrusion": {"bulge_mm": 0.0},
}
SEEN = (*WITHOUT, *SHAPES, "skip_lesions")


def patients(sign: str, count: int) -> Iterator[CaseDraw]:
    """Patients who have the sign, lying still, with only the series that are measured."""
    settings = replace(SETTINGS, oversample=(sign,), oversample_factor=20.0)
    found = (draw_case(settings, number) for number in range(1, settings.patients + 1))
    for draw in islice((draw for draw in found if draw.lesion.signs[sign]), count):
        rest = {name: replace(getattr(draw, name), slices=1, painted=32) for name in ("stir", "localizer")}
        yield replace(draw, motion_mm=(0, 0, 0), motion_deg=(0, 0, 0), **rest)  # type: ignore[arg-type]


def without(draw: CaseDraw, sign: str) -> CaseDraw:
    """The same patient without the sign."""
    lesion = draw.lesion
    if sign == "skip_lesions":
        return replace(draw, spots=tuple(s for s in draw.spots if s.kind not in {"metastasis", "replacement", "focus"}))
    change = dict(WITHOUT.get(sign, {}))
    if sign in SHAPES:
        change["deformity"] = replace(lesion.deformity, **SHAPES[sign])  # type: ignore[arg-type]
    return replace(draw, lesion=replace(lesion, signs={**lesion.signs, sign: False}, **change))


def contrast_to_noise(draw: CaseDraw, sign: str) -> float:
    """Mean difference that the sign makes inside its mask, in the slice and series that show it best, over noise."""
    mask = render_sign_masks(draw)[sign]
    silent = {name: replace(getattr(draw, name), noise=0.0, thin=1) for name in ("t1w", "t2w")}
    shown = render_case(replace(draw, **silent))  # type: ignore[arg-type]
    plain = render_case(replace(without(draw, sign), **silent))  # type: ignore[arg-type]
    best = 0.0
    for name in ("t2w", "t1w"):
        protocol = getattr(draw, name)
        one, other = getattr(shown, name), getattr(plain, name)
        for index in np.flatnonzero(mask.any(axis=(1, 2))):
            inside = [(index, *place) for place in np.argwhere(mask[index])]
            places = shown.t2w.to_mm(np.array(inside, float))
            change = np.abs(one.sample(places) - other.sample(places)).mean()
            best = max(best, float(change) / (protocol.noise * protocol.gain))
    return best


@pytest.mark.parametrize("sign", SEEN)
def test_a_sign_that_is_present_can_be_seen_in_its_mask(sign: str) -> None:
    for draw in patients(sign, 2):
        assert contrast_to_noise(draw, sign) > CONTRAST_TO_NOISE, draw.name


def test_every_present_sign_has_a_mask_and_no_absent_one() -> None:
    for number in range(1, 15):
        draw = draw_case(SETTINGS, number)
        masks = render_sign_masks(draw)
        assert list(masks) == list(SIGN_IDENTIFIERS)
        for sign, present in draw.lesion.signs.items():
            assert masks[sign].any() == present, (draw.name, sign)
        in_body = truth_of(draw).box_slice
        for sign in ("absence_of_collapse", "homogeneous_marrow"):
            assert masks[sign][in_body].any() == draw.lesion.signs[sign]


def test_masks_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    draw = draw_case(SETTINGS, 2)
    path = write_sign_masks(tmp_path, draw)
    assert path == tmp_path / "labels" / f"{draw.patient_id}_T2w_signs.nii.gz"
    for (sign, mask), (name, read) in zip(render_sign_masks(draw).items(), read_sign_masks(path).items(), strict=True):
        assert sign == name
        assert np.array_equal(mask, read)


def test_masks_of_skip_lesions_lie_in_other_bodies() -> None:
    for draw in patients("skip_lesions", 2):
        truth = truth_of(draw)
        mask = render_sign_masks(draw)["skip_lesions"]
        inverse = np.linalg.inv(truth.affines["t2w"])
        centre = inverse[:3, :3] @ truth.vertebrae_mm[draw.level] + inverse[:3, 3]
        near = np.abs(np.argwhere(mask)[:, 1] - centre[1]).min() * draw.t2w.fov_mm / draw.t2w.matrix
        assert near > 0.4 * truth.extents_mm[draw.level].middle_mm


def test_varied_forms_leave_signs_and_categories_as_they_are() -> None:
    for number in range(1, 40):
        one, other = draw_case(SETTINGS, number), draw_case(replace(SETTINGS, shapes="plain"), number)
        assert isinstance(one.lesion, VariedLesion)
        assert not isinstance(other.lesion, VariedLesion)
        assert (one.level, one.age, one.lesion.signs) == (other.level, other.age, other.lesion.signs)
        assert (one.lesion.shape, one.lesion.marrow) == (other.lesion.shape, other.lesion.marrow)
        assert one.lesion.residual_fat == other.lesion.residual_fat


def test_losses_keep_the_definitions_of_the_signs() -> None:
    for number in range(1, 200):
        draw = draw_case(SETTINGS, number)
        signs, change = draw.lesion.signs, draw.lesion.deformity
        assert (change.anterior >= 0.2) == (signs["anterior_wedge"] or signs["entire_body_compression"])
        assert (change.posterior > 0.07) == signs["entire_body_compression"]
        assert (change.central >= 0.13) == signs["central_concave"]
        assert (change.bulge_mm >= 2.5) == signs["ap_protrusion"] == (change.bulge_mm > 0)
        assert signs["absence_of_collapse"] == (change.anterior <= 0.05 and change.central == 0)
        assert bool(draw.lesion.nodules) == signs["nodular_lesion"]
        lower, upper = spine_of(draw).lesion_vertebra.end_plates(*2 * [np.linspace(-8, 8, 9, dtype=np.float32)])
        assert (upper - lower).min() > 2.5


def test_forms_cover_what_radiologists_describe() -> None:
    changes = [draw.lesion.deformity for draw in patients("ap_protrusion", 150)]
    assert all(isinstance(change, VariedDeformity) for change in changes)
    front = [change.anterior_bulge for change in changes]  # type: ignore[attr-defined]
    assert 0.08 < np.mean(front) < 0.35
    broad = [change.bulge_reach > 0.5 for change in changes]  # type: ignore[attr-defined]
    assert 0.4 < np.mean(broad) < 0.9
    assert min(change.bulge_height for change in changes) < -0.6  # the lower corner
    assert max(change.bulge_height for change in changes) > 0.6
    plates = [draw.lesion.deformity.central_upper_share for draw in patients("central_concave", 150)]  # type: ignore[attr-defined]
    assert {0.0, 1.0} < set(plates)
    lines = [draw.lesion for draw in patients("dark_line_band", 150)]
    levels = np.array([lesion.line[1] for lesion in lines])
    assert levels.min() < 0.15
    assert levels.max() > 0.4

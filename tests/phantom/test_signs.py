"""Every sign and distractor in its clearest case, measured: what changes, and by how much."""

from __future__ import annotations

import importlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from spinefx.errors import RecipeError
from spinefx.imaging.volume import Volume
from spinefx.phantom.case import render_case, spine_of, truth_of
from spinefx.phantom.random_streams import CaseDraw
from spinefx.phantom.vertebra import Deformity
from spinefx.vocabulary import SIGN_IDENTIFIERS

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(Path(__file__).resolve().parents[2] / "docs")
    showcase = importlib.import_module("phantom_showcase")
DISTRACTORS, clearest_case, place_of = showcase.DISTRACTORS, showcase.clearest_case, showcase.place_of


def quick(draw: CaseDraw) -> CaseDraw:
    """The same patient with few slices, no noise, and almost nothing of the series that are not measured."""
    slices = 9 if draw.lesion.pedicle[0] else 3
    series = {name: replace(getattr(draw, name), slices=slices, noise=0.0) for name in ("t1w", "t2w")}
    rest = {name: replace(getattr(draw, name), slices=1, painted=32) for name in ("stir", "localizer")}
    return replace(draw, **series, **rest)  # type: ignore[arg-type]


def without(draw: CaseDraw, name: str) -> CaseDraw:
    """The same patient without the sign: normal marrow in the same body, and nothing outside it."""
    signs = dict.fromkeys(SIGN_IDENTIFIERS, False)
    lesion = replace(
        draw.lesion,
        signs=signs,
        marrow="homogeneous" if name != "fluid_necrotic_cleft" else draw.lesion.marrow,
        nodules=(),
        epidural=(0.0, 0.0, 0.0),
        paraspinal_mm=0.0,
        pedicle=(0.0, 1.0, 0.0),
        deformity=replace(draw.lesion.deformity, bulge_mm=0.0),
    )
    return replace(draw, lesion=lesion, spots=())


@cache
def volumes(name: str, shown: bool) -> tuple[Volume, Volume]:
    draw = quick(clearest_case(name))
    case = render_case(draw if shown else replace(without(draw, name), t1w=draw.t1w, t2w=draw.t2w))
    return case.t1w, case.t2w


def change(name: str, offset_mm: tuple[float, float, float] = (0, 0, 0), reach_mm: float = 1.2) -> tuple[float, float]:
    """Ratio of the signal around the sign to the signal without the sign, T1W and T2W."""
    step = np.linspace(-reach_mm, reach_mm, 5)
    around = np.stack(np.meshgrid([0.0], step, step, indexing="ij"), -1).reshape(-1, 3)
    places = place_of(quick(clearest_case(name)), name) + np.array(offset_mm) + around
    shown, plain = volumes(name, True), volumes(name, False)
    one, two = (
        float(after.sample(places).mean() / before.sample(places).mean())
        for after, before in zip(shown, plain, strict=True)
    )
    return one, two


@pytest.mark.parametrize(
    ("name", "t1w", "t2w"),
    [
        ("dark_line_band", (0.2, 0.8), (0.2, 0.85)),
        ("band_pattern_oedema", (0.4, 0.8), (0.9, 1.6)),
        ("dark_patch", (0.0, 0.4), (0.0, 0.5)),
        ("fluid_necrotic_cleft", (0.2, 0.85), (1.35, 2.5)),
        ("diffuse_signal_change", (0.4, 0.75), (0.9, 1.5)),
        ("absence_of_collapse", (0.4, 1.0), (0.7, 1.7)),
        ("nodular_lesion", (0.4, 0.8), (0.8, 1.5)),
        ("epidural_paraspinal_mass", (0.9, 3.0), (0.3, 0.9)),  # tumour where fluid was
        ("pedicle_posterior_element", (0.3, 0.85), (0.7, 1.8)),
        ("skip_lesions", (0.4, 0.8), (0.8, 1.5)),
        ("haemangioma", (1.05, 2.0), (1.3, 2.5)),
        ("schmorl", (0.2, 0.8), (0.2, 0.95)),
        ("modic1", (0.4, 0.95), (1.03, 2.0)),
        ("modic2", (1.1, 2.0), (1.1, 2.0)),
        ("modic3", (0.2, 0.8), (0.2, 0.85)),
    ],
)
def test_signal_changes_as_the_sign_is_defined(name: str, t1w: tuple[float, float], t2w: tuple[float, float]) -> None:
    one, two = change(name)
    assert t1w[0] < one < t1w[1]
    assert t2w[0] < two < t2w[1]


def test_homogeneous_marrow_equals_that_of_an_intact_body() -> None:
    assert change("homogeneous_marrow", reach_mm=4) == pytest.approx((1, 1), abs=1e-3)


def test_band_oedema_spares_the_rest_of_the_body() -> None:
    one, _ = change("band_pattern_oedema", offset_mm=(0, 0, -12))
    assert one == pytest.approx(1, abs=0.12)


def test_a_protrusion_displaces_cerebrospinal_fluid() -> None:
    _, two = change("ap_protrusion", offset_mm=(0, -1.5, 0), reach_mm=0.8)
    assert two < 0.8


@pytest.mark.parametrize(
    ("name", "front", "middle", "back"),
    [
        ("absence_of_collapse", (0, 0.05), (0, 0.05), (0, 0.05)),
        ("anterior_wedge", (0.22, 0.52), (0.1, 0.4), (0, 0.07)),
        ("entire_body_compression", (0.28, 0.60), (0.25, 0.55), (0.22, 0.45)),
        ("central_concave", (0, 0.05), (0.28, 0.45), (0, 0.05)),
        ("healed_fracture", (0.15, 0.45), (0.1, 0.4), (0, 0.13)),
    ],
)
def test_height_loss_follows_the_definition_of_the_sign(
    name: str, front: tuple[float, float], middle: tuple[float, float], back: tuple[float, float]
) -> None:
    draw = clearest_case(name)
    level = next(iter(draw.healed), draw.level)
    sound = truth_of(replace(draw, healed={}, lesion=replace(draw.lesion, deformity=Deformity()))).extents_mm[level]
    found = truth_of(draw).extents_mm[level]
    for part, (low, high) in zip(("front_mm", "middle_mm", "back_mm"), (front, middle, back), strict=True):
        lost = 1 - getattr(found, part) / getattr(sound, part)
        # Losses are shares of the middle height, from which the anterior and posterior heights differ by a tenth.
        assert 0.88 * low - 1e-6 <= lost <= 1.12 * high + 1e-6, part


def test_osteophytes_project_from_the_anterior_corner() -> None:
    draw = clearest_case("osteophyte")
    item = spine_of(draw).vertebrae[spine_of(draw).target + 1]
    height = np.array([0.0, item.height_mm / 2], np.float32)
    front, _ = item.walls(np.zeros_like(height), height)
    assert front[0] - front[1] > 2.5


def test_a_clearest_case_shows_no_other_finding() -> None:
    for name in (*SIGN_IDENTIFIERS, *DISTRACTORS):
        draw = clearest_case(name)
        assert name in DISTRACTORS or draw.lesion.signs[name]
        assert draw.lesion.signs["nodular_lesion"] == bool(draw.lesion.nodules)
        assert len(draw.spots) == (name in {"skip_lesions", *DISTRACTORS} - {"healed_fracture", "osteophyte"})
    with pytest.raises(RecipeError, match="anterior_wedge"):
        clearest_case("wedge")
    with pytest.raises(RecipeError, match="anterior_wedge"):
        place_of(clearest_case("dark_patch"), "wedge")

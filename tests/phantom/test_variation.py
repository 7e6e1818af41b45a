"""Fields of view, slices and anatomical variation: the label map shows the geometry that was drawn."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from spinefx.errors import RecipeError
from spinefx.imaging.volume import Volume
from spinefx.phantom.case import render_case, spine_of, truth_of
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.label_codes import Structure, label_value
from spinefx.phantom.labels import render_labels
from spinefx.phantom.levels import LEVEL_NAMES, NUMBERINGS, level_rows
from spinefx.phantom.random_streams import CaseDraw, draw_case
from spinefx.phantom.settings import PhantomSettings, Range
from spinefx.phantom.variation import Variation, draw_variation

BASE = PhantomSettings(patients=30, seed=5, matrix=160)
VARIED = replace(
    BASE,
    malignant=8,
    field_centre="any",
    field_of_view_mm=Range(260.0, 440.0),
    slice_spacing_mm=Range(3.0, 5.0),
    scoliosis_mm=Range(0.0, 35.0),
    sacral_slope_deg=Range(15.0, 65.0),
    spondylolisthesis=0.5,
    numbering_variants=0.5,
)


def with_variation(variation: Variation, *, centre: str = "lumbar", side_mm: float = 300.0) -> CaseDraw:
    """One benign patient, intact elsewhere, with a given variation and a field without obliquity or inaccuracy."""
    draw = next(
        draw for draw in (draw_case(BASE, number) for number in range(1, 31)) if draw.level in {"T11", "T12", "L1"}
    )
    series = {name: replace(getattr(draw, name), fov_mm=side_mm) for name in ("t1w", "t2w", "stir")}
    return replace(
        draw,
        **series,  # type: ignore[arg-type]
        spots=(),
        healed={},
        variation=variation,
        field_centre=centre,
        field_mm=dict.fromkeys(draw.field_mm, (0.0, 0.0, 0.0)),
        oblique_deg=dict.fromkeys(draw.oblique_deg, (0.0, 0.0, 0.0)),
    )


@cache
def labelled(variation: Variation, centre: str = "lumbar", side_mm: float = 300.0) -> tuple[CaseDraw, Volume]:
    draw = with_variation(variation, centre=centre, side_mm=side_mm)
    return draw, render_labels(draw)


def voxels_mm(labels: Volume, structure: Structure, *levels: str) -> np.ndarray:
    """Positions of all voxels of some labels, LPS millimetres, shape (n, 3)."""
    values = [label_value(structure, level) for level in levels]
    return labels.to_mm(np.argwhere(np.isin(labels.array, values)))


def test_defaults_have_no_variation_and_the_usual_field() -> None:
    draw = draw_case(PhantomSettings(), 7)
    assert draw.variation is None
    assert draw.field_centre == "lesion"
    assert draw.t2w.fov_mm == 300
    assert not set(PhantomSettings().to_mapping()) & {"field_centre", "scoliosis_mm", "numbering_variants"}


def test_new_dials_change_identifiers_and_the_record() -> None:
    wide = replace(BASE, field_of_view_mm=Range(260.0, 440.0))
    assert draw_case(wide, 1).uid("study") != draw_case(BASE, 1).uid("study")
    assert wide.to_mapping()["field_of_view_mm"] == [260.0, 440.0]
    assert PhantomSettings.from_mapping(VARIED.to_mapping()) == VARIED


def test_drawn_fields_and_slices_cover_their_ranges() -> None:
    draws = [draw_case(VARIED, number) for number in range(1, 31)]
    assert {draw.field_centre for draw in draws} == {
        *("lesion", "cervical", "thoracic", "thoracolumbar", "lumbar", "whole_spine")
    }
    sides = [draw.t2w.fov_mm for draw in draws]
    assert 260 <= min(sides) < 300
    assert 400 < max(sides) <= 440
    assert all(draw.t1w.fov_mm == draw.t2w.fov_mm == draw.stir.fov_mm for draw in draws)
    assert all(3 <= draw.t2w.spacing_mm <= 5 for draw in draws)
    assert all(draw.t2w.thickness_mm == pytest.approx(0.9 * draw.t2w.spacing_mm, abs=0.01) for draw in draws)


def test_one_dial_leaves_what_the_others_draw() -> None:
    only = replace(VARIED, numbering_variants=0.0, spondylolisthesis=0.0)
    for number in range(1, 31):
        both, one = draw_case(VARIED, number).variation, draw_case(only, number).variation
        assert both is not None
        assert one is not None
        assert (one.numbering, one.slip_level) == ("usual", "")
        assert one.scoliosis_mm == both.scoliosis_mm
        assert one.sacral_slope_deg == both.sacral_slope_deg
        assert draw_case(only, number).lesion == draw_case(VARIED, number).lesion


@pytest.mark.parametrize(
    ("centre", "level"), [("cervical", "C5"), ("thoracic", "T7"), ("thoracolumbar", "T12"), ("lumbar", "L3")]
)
def test_the_field_is_centred_on_its_level(centre: str, level: str) -> None:
    draw, labels = labelled(Variation(), centre)
    found = np.median(voxels_mm(labels, Structure.BODY, level), axis=0)
    middle = labels.to_mm((np.array(labels.shape) - 1) / 2)
    assert np.abs(found - middle)[1:].max() < 6
    assert truth_of(draw).vertebrae_mm[level] == pytest.approx(found, abs=5)


def test_a_whole_spine_field_shows_every_presacral_level() -> None:
    _, labels = labelled(Variation(), "whole_spine", 640.0)
    for level in LEVEL_NAMES[:-5]:
        assert len(voxels_mm(labels, Structure.BODY, level)) > 20, level
    assert len(voxels_mm(labels, Structure.BODY, "S1")) > 20


def test_coil_and_saturation_band_follow_the_field() -> None:
    draw = with_variation(Variation(), centre="cervical")
    few = {name: replace(getattr(draw, name), slices=1, painted=32) for name in ("t1w", "stir", "localizer")}
    image = render_case(replace(draw, **few, t2w=replace(draw.t2w, slices=3, noise=0.0))).t2w  # type: ignore[arg-type]
    # Were the coil still at the lesion, some 300 mm lower, nothing would be left of the neck.
    cord = image.sample(truth_of(draw).canals_mm["C5"][None, :])
    assert cord[0] > 0.1 * np.percentile(image.array, 99)


@pytest.mark.parametrize("slope_deg", [18.0, 37.0, 60.0])
def test_the_sacral_slope_is_that_of_the_upper_end_plate_of_s1(slope_deg: float) -> None:
    draw, labels = labelled(Variation(sacral_slope_deg=slope_deg))
    spine = spine_of(draw)
    item = spine.vertebrae[spine.find("S1") or 0]
    assert np.degrees(np.arctan2(item.axes[1][2], item.axes[1][1])) == pytest.approx(slope_deg, abs=1.5)
    # In the frame of S1 the upper end of the labelled body is level, from front to back.
    place = item.local(voxels_mm(labels, Structure.BODY, "S1") - np.array(draw.table_mm))
    place = place[np.abs(place[:, 0]) < 8]
    depths = np.arange(-8.0, 9.0, 2.0)
    top = [place[np.abs(place[:, 1] - depth) < 1.5, 2].max() for depth in depths]
    assert np.degrees(np.arctan(np.polyfit(depths, top, 1)[0])) == pytest.approx(0, abs=8)
    assert np.median(top) == pytest.approx(item.height_mm / 2, abs=2.5)


def test_steeper_sacra_have_more_lordosis() -> None:
    def lordosis(slope_deg: float) -> float:
        spine = spine_of(with_variation(Variation(sacral_slope_deg=slope_deg)))
        upper, lower = (spine.vertebrae[spine.find(level) or 0].axes[2] for level in ("L1", "S1"))
        return float(np.degrees(np.arctan2(upper[1], upper[2]) - np.arctan2(lower[1], lower[2])))

    assert lordosis(60) - lordosis(20) == pytest.approx(40, abs=6)


@pytest.mark.parametrize(("level", "below"), [("L4", "L5"), ("L5", "S1")])
def test_a_slip_displaces_the_vertebra_forward_by_its_millimetres(level: str, below: str) -> None:
    def offset(slip_mm: float) -> float:
        spine = spine_of(with_variation(Variation(slip_level=level if slip_mm else "", slip_mm=slip_mm)))
        upper, lower = (spine.vertebrae[spine.find(name) or 0] for name in (level, below))
        return float(lower.local(upper.centre_mm)[1])

    assert offset(0.0) - offset(9.0) == pytest.approx(9.0, abs=0.1)  # towards the front is negative
    _, labels = labelled(Variation(slip_level=level, slip_mm=9.0))
    _, straight = labelled(Variation())
    step = [
        voxels_mm(one, Structure.BODY, level)[:, 1].mean() - voxels_mm(one, Structure.BODY, below)[:, 1].mean()
        for one in (labels, straight)
    ]
    assert 4 < step[1] - step[0] < 10


def test_scoliosis_has_the_drawn_lateral_range() -> None:
    curved = Variation(scoliosis_mm=35.0, wavelength_mm=300.0, phase=0.4)
    draw, labels = labelled(curved, "thoracolumbar", 420.0)
    centres = np.array([place for name, place in truth_of(draw).vertebrae_mm.items() if name[0] in "TL"])
    assert np.ptp(centres[:, 0]) == pytest.approx(35, abs=7)
    plain = spine_of(with_variation(Variation()))
    assert np.ptp([item.centre_mm[0] for item in plain.vertebrae]) < 15
    for level in ("T10", "L2", "L4"):
        found = voxels_mm(labels, Structure.CANAL, level)
        assert found[:, 0].mean() == pytest.approx(truth_of(draw).canals_mm[level][0], abs=3), level


@pytest.mark.parametrize(
    ("numbering", "thoracic", "lumbar"),
    [
        ("usual", 12, 5),
        ("four_lumbar", 12, 4),
        ("six_lumbar", 12, 6),
        ("thirteen_thoracic", 13, 5),
        ("transitional_l5", 12, 5),
        ("transitional_s1", 12, 5),
    ],
)
def test_numbering_variants_have_their_vertebrae(numbering: str, thoracic: int, lumbar: int) -> None:
    assert numbering == "usual" or numbering in NUMBERINGS
    levels = [level for level, _ in level_rows(numbering)]
    assert sum(level[0] == "T" for level in levels) == thoracic
    assert sum(level[0] == "L" for level in levels) == lumbar
    assert levels[-5:] == ["S1", "S2", "S3", "S4", "S5"]
    draw, labels = labelled(Variation(numbering=numbering), "lumbar", 380.0)
    values = set(np.unique(labels.array).astype(int))
    for level in levels[-5 - lumbar - 2 : -4]:
        assert label_value(Structure.BODY, level) in values, level
    for level in {"L5", "L6", "T13"} - set(levels):
        assert label_value(Structure.BODY, level) not in values, level
    heights = [truth_of(draw).vertebrae_mm[level][2] for level in levels]
    assert (np.diff(heights) < 0).all()


def test_a_transitional_l5_has_a_rudimentary_disc_and_a_transitional_s1_a_well_formed_one() -> None:
    def disc(numbering: str, level: str) -> float:
        spine = spine_of(with_variation(Variation(numbering=numbering)))
        return spine.vertebrae[spine.find(level) or 0].disc_mm

    assert disc("transitional_l5", "L5") == pytest.approx(0.35 * disc("usual", "L5"))
    assert disc("transitional_s1", "S1") > 2 * disc("usual", "S1")


def test_variants_keep_the_levels_that_carry_lesions() -> None:
    settings = replace(BASE, numbering_variants=1.0)
    rng = [np.random.default_rng(seed) for seed in range(40)]
    with_l5 = [draw_variation(settings, {"L5"}, one) for one in rng]
    assert all(one and one.numbering in set(NUMBERINGS) - {"four_lumbar"} for one in with_l5)
    for number in range(1, 31):
        draw = draw_case(settings, number)
        levels = {item.level for item in spine_of(draw).vertebrae}
        assert {draw.level, *draw.healed, *(spot.level for spot in draw.spots)} <= levels


@pytest.mark.parametrize("series", ["t1w", "t2w", "stir"])
def test_sacral_segments_are_labelled_on_the_grid_of_every_series(series: str) -> None:
    draw = with_variation(Variation(), side_mm=380.0)
    labels = render_labels(draw, series)
    assert np.array_equal(labels.affine, truth_of(draw).affines[series])
    for level in ("S1", "S2", "S3"):
        body = labels.array == label_value(Structure.BODY, level)
        assert body.sum() > 20, level
        centre = labels.to_mm(ndimage.center_of_mass(body))
        truth = truth_of(draw).vertebrae_mm[level]
        place = truth @ draw.t2w_to_t1w[:3, :3].T + draw.t2w_to_t1w[:3, 3] if series == "t1w" else truth
        assert centre == pytest.approx(place, abs=4), level


def test_random_contrast_has_the_labels_of_the_physics() -> None:
    draw = draw_case(replace(BASE, contrast="random"), 3)
    assert np.array_equal(render_labels(draw).array, render_labels(draw_case(BASE, 3)).array)


def test_a_varied_cohort_is_written_with_labels_of_every_series(tmp_path: Path) -> None:
    settings = replace(VARIED, patients=6, malignant=2, matrix=64, field_centre="cervical")
    write_cohort(tmp_path / "c", settings, labels=("t2w", "t1w", "stir"), only=["phantom-002"], readers=False)
    names = {path.name for path in (tmp_path / "c" / "labels").glob("*.nii.gz")}
    assert names == {f"PHANTOM002_{series}_dseg.nii.gz" for series in ("T2w", "T1w", "STIR")}
    with (tmp_path / "c" / "cases.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert not row["box_sop_uid"]  # the lesion lies outside the cervical field
    assert not row["box_left"]
    with pytest.raises(RecipeError, match="t2w, t1w, stir"):
        write_cohort(tmp_path / "d", settings, labels=("t3w",))


@pytest.mark.parametrize(
    "wrong",
    [
        {"field_of_view_mm": Range(400.0, 300.0)},
        {"field_of_view_mm": Range(100.0, 300.0)},
        {"slice_spacing_mm": Range(1.0, 3.0)},
        {"field_centre": "sacral"},
        {"scoliosis_mm": Range(0.0, 90.0)},
        {"numbering_variants": 1.5},
    ],
)
def test_dials_of_field_and_anatomy_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        PhantomSettings(**wrong)  # type: ignore[arg-type]

"""Which series are chosen, and why each other one is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinefx.errors import InputError, SelectionError
from spinefx.imaging.selection import choose_series, kinds_beside
from spinefx.imaging.study import open_study, scan
from spinefx.imaging.volume import Volume
from spinefx.vocabulary import Weighting

from .conftest import sagittal_volume

Write = Callable[..., Path]


def axial_volume() -> Volume:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, :3] = np.array([[0, 0, 0.9], [0, 0.9, 0], [4.0, 0, 0]])
    return Volume(sagittal_volume().array, affine)


DISTRACTORS: dict[str, tuple[dict[str, Any], str]] = {
    "localizer": ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "a localizer"),
    "axial": ({"volume": axial_volume()}, "axial, not sagittal"),
    "stir": (
        {"scanning_sequence": ("IR", "SE"), "inversion_time_ms": 160.0, "repetition_time_ms": 4000, "echo_time_ms": 60},
        "fat-suppressed (STIR)",
    ),
    "fat saturated": ({"scan_options": ("FS",)}, "fat-suppressed"),
    "gradient echo": ({"scanning_sequence": ("GR",), "echo_time_ms": 5.0}, "gradient echo"),
    "echo planar": ({"scanning_sequence": ("SE", "EP")}, "gradient echo or echo planar"),
    "enhanced": ({"contrast_agent": "Gadolinium"}, "contrast-enhanced"),
    "few": ({"volume": sagittal_volume(2)}, "too few slices (2"),
    "head": ({"body_part": "HEAD"}, "of the head"),
    "knee": ({"body_part": "KNEE"}, "not of the spine"),
    "wide": ({"volume": sagittal_volume(35)}, "from side to side"),
    "projection": ({"image_type": ("DERIVED", "SECONDARY", "PROJECTION IMAGE")}, "a projection"),
    "proton density": ({"repetition_time_ms": 2500, "echo_time_ms": 30}, "neither T1W nor T2W by its timing"),
}


@pytest.mark.parametrize("name", DISTRACTORS)
def test_each_distractor_is_refused_with_its_reason(write_study: Write, name: str) -> None:
    changes, reason = DISTRACTORS[name]
    found = choose_series(open_study(write_study({"t1": {}, f"t1 {name}": changes, "t2": {}, f"t2 {name}": changes})))
    assert (found[Weighting.T1W].number, found[Weighting.T2W].number) == (1, 3)
    assert [reason in refused.reason for refused in found.refused] == [True, True]
    assert found.refused[0].label.startswith("series 2 (")


def test_kinds_beside_the_chosen_series_are_named_without_numbers() -> None:
    reasons = [
        "fat-suppressed (STIR)",
        "a localizer",
        "axial, not sagittal",
        "fat-suppressed (STIR)",
        "contrast-enhanced, by its name",
        "neither T1W nor T2W by its timing (TR 900 ms, TE 60 ms)",
        "series 5 is preferred: it has more slices",
    ]
    assert kinds_beside(reasons) == ("axial", "contrast-enhanced", "fat-suppressed (STIR)")
    assert kinds_beside(reversed(reasons)) == kinds_beside(reasons)
    assert kinds_beside(["a localizer"]) == ()


@pytest.mark.parametrize("name", DISTRACTORS)
def test_without_a_usable_series_the_error_gives_every_reason(write_study: Write, name: str) -> None:
    changes, reason = DISTRACTORS[name]
    study = open_study(write_study({"t1": {}, "t2": changes}))
    with pytest.raises(SelectionError) as caught:
        choose_series(study)
    message = str(caught.value)
    assert message.startswith(
        "no T2w series among 2: series 1 (sagittal, TR 400 ms, TE 15 ms, 5 slices): usable as T1w"
    )
    assert reason in message
    assert "\n" not in message


def test_the_timing_outweighs_the_weighting_in_a_name(write_study: Write) -> None:
    swapped = {"t1": {"description": "T2 SAG"}, "t2": {"description": "T1 SAG"}}
    found = choose_series(open_study(write_study(swapped)))
    assert (found[Weighting.T1W].repetition_time_ms, found[Weighting.T2W].repetition_time_ms) == (400, 3200)


def test_an_enhanced_series_is_known_by_its_name_where_the_header_is_silent(write_study: Write) -> None:
    found = choose_series(open_study(write_study({"t1": {}, "t1 again": {"description": "T1 SAG +C"}, "t2": {}})))
    assert found[Weighting.T1W].number == 1
    assert found.refused[0].reason == "contrast-enhanced, by its name"


def test_three_tesla_t1_flair_counts_as_t1w(write_study: Write) -> None:
    flair = {
        "scanning_sequence": ("SE", "IR"),
        "repetition_time_ms": 2200,
        "echo_time_ms": 12,
        "inversion_time_ms": 860.0,
    }
    assert choose_series(open_study(write_study({"t1": flair, "t2": {}})))[Weighting.T1W].number == 1


def test_more_slices_then_finer_pixels_then_the_earlier_one(write_study: Write) -> None:
    fine = sagittal_volume()
    affine = fine.affine.copy()
    affine[:3, 1:3] *= 2
    series = {
        "t1 few": {"volume": sagittal_volume(4)},
        "t1": {},
        "t2 coarse": {"volume": Volume(fine.array, affine)},
        "t2": {},
        "t2 repeat": {},
    }
    found = choose_series(open_study(write_study(series)))
    assert (found[Weighting.T1W].number, found[Weighting.T2W].number) == (2, 4)
    reasons = {refused.label[:8]: refused.reason for refused in found.refused}
    assert "has more slices (5, this one 4)" in reasons["series 1"]
    assert "is finer (0.73 mm, this one 1.47 mm)" in reasons["series 3"]
    assert "has the lower number" in reasons["series 5"]


def test_the_chosen_series_cover_one_region(write_study: Write) -> None:
    lumbar = sagittal_volume()
    affine = lumbar.affine.copy()
    affine[2, 3] += 300
    cervical = Volume(lumbar.array, affine)
    found = choose_series(open_study(write_study({"t1": {}, "t1 neck": {"volume": cervical}, "t2": {}})))
    assert found[Weighting.T1W].number == 1
    assert "covers more" in found.refused[0].reason


def test_series_of_two_regions_are_refused(write_study: Write) -> None:
    lumbar = sagittal_volume()
    affine = lumbar.affine.copy()
    affine[2, 3] += 300
    with pytest.raises(SelectionError, match="do not overlap"):
        choose_series(open_study(write_study({"t1": {"volume": Volume(lumbar.array, affine)}, "t2": {}})))


def test_a_series_with_a_gap_gives_way_and_is_named(write_study: Write) -> None:
    folder = write_study({"t1": {}, "t1 gap": {}, "t2": {}})
    (folder / "t1 gap" / "IM0003.dcm").unlink()
    found = choose_series(open_study(folder))
    assert found[Weighting.T1W].number == 1
    assert "slice 3 is missing" in found.refused[0].reason


def test_a_doubtful_series_that_the_user_names_is_taken_and_reported(write_study: Write) -> None:
    study = open_study(write_study({"t1": {}, "t1 head": {"body_part": "HEAD"}, "t2": {}}))
    found = choose_series(study, named={Weighting.T1W: "1.2.826.0.1.2"})
    assert found[Weighting.T1W].number == 2
    assert "because it was named, although: of the head" in found.overrides[0]
    assert "was named" in found.refused[0].reason
    assert choose_series(study, named={Weighting.T1W: "1.2.826.0.1.1"}).overrides == ()


def test_an_unreadable_series_is_refused_even_when_named(write_study: Write) -> None:
    folder = write_study({"t1": {}, "t2": {}})
    (folder / "t2" / "IM0003.dcm").unlink()
    with pytest.raises(SelectionError, match="slice 3 is missing"):
        choose_series(open_study(folder), named={Weighting.T2W: "1.2.826.0.1.2"})
    with pytest.raises(SelectionError, match="no series named as T2w"):
        choose_series(open_study(folder), named={Weighting.T2W: "9.9"})


STIR: dict[str, Any] = DISTRACTORS["stir"][0]
THREE = (Weighting.T1W, Weighting.T2W, Weighting.STIR)


@pytest.mark.parametrize(
    "changes",
    [
        STIR,
        STIR | {"echo_time_ms": 85},
        {key: value for key, value in STIR.items() if key != "inversion_time_ms"} | {"description": "SAG STIR"},
    ],
    ids=["inversion time", "long echo", "name"],
)
def test_a_third_series_is_chosen_where_it_is_needed(write_study: Write, changes: dict[str, Any]) -> None:
    study = open_study(write_study({"t1": {}, "t2": {}, "t2 stir": changes, "t1 fat": {"scan_options": ("FS",)}}))
    found = choose_series(study, THREE)
    assert {weighting: series.number for weighting, series in found.chosen.items()} == dict(
        zip(THREE, (1, 2, 3), strict=True)
    )
    assert list(found.slices()) == list(THREE)
    assert [refused.reason for refused in found.refused] == ["fat-suppressed"]
    assert [refused.label[:8] for refused in choose_series(study).refused] == ["series 3", "series 4"]
    assert choose_series(study).refused[0].reason.startswith("fat-suppressed")


def test_a_missing_third_series_is_an_error_only_where_it_is_needed(write_study: Write) -> None:
    study = open_study(write_study({"t1": {}, "t2": {}}))
    with pytest.raises(SelectionError, match=r"^no STIR series among 2: series 1 .*usable as T1w; series 2 .*T2w"):
        choose_series(study, THREE)
    found = choose_series(study, optional=["STIR"])
    assert Weighting.STIR not in found.chosen
    assert found.marked.number == 2


def test_an_optional_series_of_another_region_is_left_out(write_study: Write) -> None:
    lumbar = sagittal_volume()
    affine = lumbar.affine.copy()
    affine[2, 3] += 300
    elsewhere = Volume(lumbar.array, affine)
    folder = write_study(
        {"t1": {}, "t2": {}, "t2 neck": {"volume": elsewhere}, "t2 stir": STIR | {"volume": elsewhere}}
    )
    found = choose_series(open_study(folder), optional=[Weighting.STIR])
    assert [series.number for series in found.chosen.values()] == [1, 2]
    assert "does not overlap series 2" in found.refused[1].reason


def test_the_marked_series_alone_can_be_chosen_and_is_always_needed(write_study: Write) -> None:
    study = open_study(write_study({"t1": {}, "t2": {}, "t2 repeat": {}}))
    found = choose_series(study, ["T2w"])
    assert list(found.chosen) == [Weighting.T2W]
    assert found.marked.number == 2
    assert "T1W, which is not needed" in found.refused[0].reason
    for wrong in (["T1w"], ["T2w", "T2w"], []):
        with pytest.raises(InputError, match="T2w always"):
            choose_series(study, wrong)
    with pytest.raises(InputError, match="unknown sequence 'PDw'"):
        choose_series(study, ["T2w", "PDw"])


def test_one_series_is_not_taken_for_two_weightings(write_study: Write) -> None:
    study = open_study(write_study({"t1": {}, "t2": {}}))
    same = {Weighting.T1W: "1.2.826.0.1.2", Weighting.T2W: "1.2.826.0.1.2"}
    with pytest.raises(SelectionError, match="named for two weightings"):
        choose_series(study, named=same)


def test_messages_carry_no_identifier(write_study: Write) -> None:
    study = open_study(write_study({"t1": {"description": "MUSTERMANN"}, "t2": {"scan_options": ("FS",)}}))
    with pytest.raises(SelectionError) as caught:
        choose_series(study)
    for planted in ("MUSTERMANN", "1.2.826"):
        assert planted not in str(caught.value)


def test_real_head_multistudy_and_phantom_are_refused(shared_data: Path) -> None:
    def reasons(folder: str) -> str:
        told = []
        for study in scan(shared_data / folder).studies:
            with pytest.raises(SelectionError) as caught:
                choose_series(study)
            told.append(str(caught.value))
        return "\n".join(told)

    assert "of the head" in reasons("dicom_head_sagittal_t1")
    several = reasons("dicom_multistudy_dicomdir")
    for reason in ("not MR", "a localizer", "a projection"):
        assert reason in several
    assert "axial, not sagittal" in reasons("dicom_enhanced_t1w_tse_phantom")
    assert "of the head" in reasons("dicom_enhanced_vs_classic_sagittal")
    assert "axial, not sagittal" in reasons("abdomen_mr_totalsegmentator")


def test_a_gradient_echo_is_refused_whatever_its_body_part(shared_data: Path) -> None:
    (study,) = scan(shared_data / "dicom_head_sagittal_t1").studies
    nameless = replace(study, series=tuple(replace(each, body_part="", description="") for each in study.series))
    with pytest.raises(SelectionError, match="gradient echo"):
        choose_series(nameless)


def test_real_nifti_pair_is_chosen_by_suffix(shared_data: Path) -> None:
    found = choose_series(open_study(shared_data / "cervical_sct_t1_t2_pair"))
    assert found[Weighting.T1W].load().shape == (42, 77, 76)
    assert found[Weighting.T2W].load().shape == (52, 55, 60)
    assert {refused.reason for refused in found.refused} == {"a label map, not an image"}


def test_real_lumbar_t2_alone_misses_its_t1w(shared_data: Path) -> None:
    with pytest.raises(SelectionError, match=r"^no T1w series among 1: series 1 \(sagittal, T2w by name, 38 slices\)"):
        choose_series(open_study(shared_data / "lumbar_sct_t2_isotropic"))


@pytest.mark.parametrize("suffix", ["_W", "_F", " f", "-opp", "_in"])
def test_a_series_named_like_a_part_of_a_dixon_gives_way_to_a_plain_one(write_study: Write, suffix: str) -> None:
    series = {"t1 part": {"description": f"tse sag{suffix}"}, "t1": {"description": "tse sag"}, "t2": {}}
    found = choose_series(open_study(write_study(series)))
    assert found[Weighting.T1W].number == 2


def test_a_weighting_at_the_end_of_a_name_is_no_part_of_a_dixon(write_study: Write) -> None:
    series = {"t1": {"description": "sag T1_W"}, "t1 again": {"description": "sag T1 TSE"}, "t2": {}}
    assert choose_series(open_study(write_study(series)))[Weighting.T1W].number == 1

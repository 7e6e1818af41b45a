"""The doors with the localiser that is shipped, on real stacks; see ../shared/data for their licence and credit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spinefx.commands.locate import locate
from spinefx.imaging.nifti import read_nifti, write_nifti
from spinefx.imaging.volume import Volume
from spinefx.localisation.formats import read_markups

Read = Callable[[str], tuple[Volume, dict[str, NDArray[np.float64]]]]
STACKS = {"t2_AKs5": "T2w", "t1_AKs8": "T1w", "t1_AKa3": "T1w", "t2_S01": "T2w"}


@pytest.mark.parametrize("name", STACKS)
def test_a_real_stack_is_located_from_a_nifti_file(png_stack: Read, tmp_path: Path, name: str) -> None:
    volume, clicked = png_stack(name)
    image = tmp_path / "in" / f"sub-001_{STACKS[name]}.nii.gz"
    write_nifti(image, volume, {})
    out, picture, masks = tmp_path / "spine.mrk.json", tmp_path / "spine.png", tmp_path / "masks_dseg.nii.gz"
    found = locate(image, out=out, picture=picture, masks=masks)
    assert set(clicked) <= set(found.spine.levels)
    markups = dict(read_markups(out))
    plane = volume.directions[:, 1:]
    for level, place in clicked.items():
        # Clicks are uncertain by 2 mm in the plane and by a slice across it.
        assert np.linalg.norm((np.array(markups[level]) - place) @ plane) < 6, level
    codes = read_nifti(masks).array
    for level, code in (("L3", 22), ("L5", 24)):
        centre = read_nifti(masks).to_mm(np.argwhere(codes == code).mean(axis=0))
        assert np.linalg.norm((centre - clicked[level]) @ plane) < 8, level
    assert picture.stat().st_size > 10_000


def test_a_real_pair_is_ranked_by_both_series(png_stack: Read, tmp_path: Path) -> None:
    for name, weighting in (("t2_AKs5", "T2w"), ("t1_AKs8", "T1w")):
        volume, _ = png_stack(name)
        shared = replace(volume, frame_of_reference="0123456789abcdef")
        write_nifti(tmp_path / f"sub-001_{weighting}.nii.gz", shared, {})
    found = locate(tmp_path)
    assert "T2w by name" in found.series
    assert {str(one) for one in found.proposals[0].measures.signals} == {"T1w", "T2w"}
    assert json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("plane", ["coronal", "axial"])
def test_the_same_voxels_in_another_plane_are_not_searched(png_stack: Read, tmp_path: Path, plane: str) -> None:
    volume, _ = png_stack("t2_AKs5")
    turn = {"coronal": [1, 0, 2], "axial": [2, 1, 0]}[plane]
    affine = volume.affine.copy()
    affine[:3] = affine[turn]
    write_nifti(tmp_path / "sub-001_T2w.nii.gz", Volume(volume.array, affine), {})
    found = locate(tmp_path)
    assert not found.spine.vertebrae
    assert any(f"{plane}, not sagittal" in note for note in found.spine.notes)

"""Dials as a file: what is written reads back as the same settings, and identifiers never change by accident."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from spinefx.errors import RecipeError
from spinefx.phantom.dials import dials_toml, read_dials
from spinefx.phantom.random_streams import draw_case
from spinefx.phantom.settings import ByClass, PhantomSettings

CHANGED = PhantomSettings(
    patients=7,
    malignant=3,
    noise=0.25,
    force=("dark_patch",),
    no_collapse=ByClass(0.2, 0.4),
    cement=ByClass(0.5, 0.0),
    vendor="ge",
    without=("ghosts", "coil"),
)


@pytest.mark.parametrize("settings", [PhantomSettings(), CHANGED], ids=["defaults", "changed"])
def test_written_dials_read_back_as_the_same_settings(settings: PhantomSettings, tmp_path: Path) -> None:
    path = tmp_path / "dials.toml"
    path.write_text(dials_toml(settings), encoding="utf-8")
    assert PhantomSettings.from_mapping(read_dials(path)) == settings


def test_a_whole_number_in_a_file_is_the_same_cohort_as_with_a_decimal_point() -> None:
    one, other = (PhantomSettings.from_mapping(tomllib.loads(text)) for text in ("noise = 0", "noise = 0.0"))
    assert draw_case(one, 1).uid("study") == draw_case(other, 1).uid("study")


def test_unknown_dials_of_a_mapping_are_refused() -> None:
    with pytest.raises(RecipeError, match="nois"):
        PhantomSettings.from_mapping({"nois": 1})


def test_identifiers_of_default_cohorts_are_stable() -> None:
    """Exports, workspaces and published results refer to these identifiers, so no new dial may change them."""
    assert draw_case(PhantomSettings(), 1).uid("study") == "2.25.119862633027539080577160804233780149041"
    assert draw_case(PhantomSettings(), 190).uid("study") == "2.25.264868540693718022085659072877256843696"

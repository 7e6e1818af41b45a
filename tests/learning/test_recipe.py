"""A recipe is complete, refuses what it does not know, and comes back from its file unchanged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.errors import RecipeError
from spinefx.learning.recipe import PRESETS, Recipe


@pytest.mark.parametrize("name", PRESETS)
def test_preset_file_is_comment_and_dump(name: str) -> None:
    recipe = Recipe.preset(name)
    assert recipe.name == name
    assert Recipe.parse(recipe.dump()) == recipe
    text = (Path(sys.modules[Recipe.__module__].__file__ or "").parent / "recipes" / f"{name}.toml").read_text()
    header, body = text.split("\n\n", 1)
    assert all(line.startswith("#") for line in header.splitlines())
    assert f"--recipe {name}" in header
    assert body == recipe.dump()


def test_paper_is_the_text_of_yeh_2022() -> None:
    paper = Recipe.preset("paper")
    stated = {"learning_rate": 1e-4, "beta1": 0.5, "batch_size": 32, "epochs": 100, "folds": 10, "threshold": 0.5}
    stated |= {"copies_benign": 20, "copies_malignant": 40, "patch_size": 64, "initialisation": "imagenet"}
    stated |= {"patient_score": "max", "network": "resnet50", "stem": "3x3_stride_2", "dropout": 0.5}
    assert {key: getattr(paper, key) for key in stated} == stated
    assert paper.inflation == pytest.approx(41 / 21)
    assert Recipe.preset("honest").inflation == 2.0


def test_only_paper_is_stamped_optimistic() -> None:
    assert "test_fold" in Recipe.preset("paper").optimistic
    assert not Recipe.preset("honest").optimistic
    assert not Recipe.preset("quick").optimistic


def test_unknown_key_names_the_nearest_and_the_list() -> None:
    text = Recipe.preset("honest").dump() + "learnig_rate = 0.1\n"
    with pytest.raises(RecipeError, match=r"'learnig_rate'.*'learning_rate'.*patient_score"):
        Recipe.parse(text)


def test_every_field_but_later_ones_must_be_written() -> None:
    for key in Recipe.meanings().keys() - {"sequences", "neighbours"}:
        lines = [line for line in Recipe.preset("paper").dump().splitlines() if not line.startswith(f"{key} =")]
        with pytest.raises(RecipeError, match=f"missing keys: {key}"):
            Recipe.parse("\n".join(lines))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("dropout", -0.1),
        ("rotation_deg", 16.0),
        ("stem", "5x5"),
        ("keep_original", 1),
        ("epochs", True),
        ("dropout", False),
        ("dropout", "0.5"),
        ("stem", ["3x3_stride_2"]),
        ("name", "ok\n"),
        ("threshold", float("nan")),
        ("name", "../up"),
        ("folds", "10"),
    ],
)
def test_value_out_of_range_says_what_is_allowed(key: str, value: object) -> None:
    with pytest.raises(RecipeError, match=rf"{key} = .*Expected: "):
        Recipe.preset("paper").changed(**{key: value})


def test_contradictions_are_refused() -> None:
    with pytest.raises(RecipeError, match="patience"):
        Recipe.preset("quick").changed(patience=3)
    with pytest.raises(RecipeError, match="scale_low"):
        Recipe.preset("quick").changed(scale_low=1.1, scale_high=0.9)
    with pytest.raises(RecipeError, match="small_resnet"):
        Recipe.preset("quick").changed(initialisation="imagenet")


def test_every_field_says_what_it_means_and_allows() -> None:
    for key, meaning in Recipe.meanings().items():
        assert meaning
        assert Recipe.allowed(key)


def test_digests_of_the_presets_do_not_change() -> None:
    """Models on users' disks identify their recipe by it; a change here changes the protocol and must be announced."""
    digests = {name: Recipe.preset(name).digest for name in PRESETS}
    assert digests == {
        "honest": "sha256:1325e8dc725c28df15fae1c0c8504d3234f566cd1dff7528c96b4900277cc4e0",
        "paper": "sha256:228ab71963c1151122482f5ba39cf70d8b3a90bde1e193759bf448e907dd6bde",
        "pretrained": "sha256:25298f3effad1b69f1793e429b6e4ee667582a2ed9989e49e07a035d2dd2b03b",
        "quick": "sha256:e83b42e5a020edcfbfc42985d6ef89fee77acc8376a645bdacc753630c2c3642",
    }


def test_recipes_from_before_sequences_mean_the_protocols(tmp_path: Path) -> None:
    for name in PRESETS:
        recipe = Recipe.preset(name)
        text = "\n".join(
            line for line in recipe.dump().splitlines() if not line.startswith(("sequences =", "neighbours ="))
        )
        assert Recipe.parse(text) == recipe
        assert not {"sequences", "neighbours"} & recipe.to_mapping().keys()
        assert recipe.patch_settings.channels == ("T1W-1", "T1W0", "T1W+1", "T2W-1", "T2W0", "T2W+1")


def test_a_recipe_chooses_its_series_and_neighbours() -> None:
    recipe = Recipe.preset("quick").changed(sequences=["T2w", "STIR"], neighbours=0, mixing_channels=2)
    assert recipe.channels == len(recipe.patch_settings.channels) == 2
    assert Recipe.parse(recipe.dump()) == recipe
    assert Recipe.from_mapping(recipe.to_mapping()) == recipe
    assert recipe.digest != Recipe.preset("quick").digest
    for wrong in (["T1w"], ["T2w", "T2w"], ["T2w", "PDw"], "T2w", [], [2]):
        with pytest.raises(RecipeError, match=r"sequences = .*'T2w' always"):
            Recipe.preset("quick").changed(sequences=wrong)
    with pytest.raises(RecipeError, match=r"mixing_channels = 3\. Expected: 1 to 2"):
        recipe.changed(mixing_channels=3)


def test_a_recipe_may_name_a_network_of_the_users() -> None:
    assert Recipe.preset("quick").changed(network="mine_2").network == "mine_2"
    assert Recipe.preset("honest").changed(network="mine_2", initialisation="imagenet").initialisation == "imagenet"


def test_a_recipe_is_a_value() -> None:
    recipe = Recipe.preset("honest")
    assert Recipe.from_mapping(recipe.to_mapping()) == recipe
    assert recipe.changed(dropout=0) == recipe.changed(dropout=0.0)
    assert isinstance(recipe.changed(dropout=0).dropout, float)
    with pytest.raises(AttributeError):
        recipe.epochs = 3  # type: ignore[misc]
    with pytest.raises(RecipeError, match="list"):
        Recipe.from_mapping([1])  # type: ignore[arg-type]


def test_digest_follows_the_values_alone() -> None:
    recipe = Recipe.preset("honest")
    assert Recipe.parse(recipe.dump()).digest == recipe.digest
    for key, value in {"seed": 1, "dtype": "bfloat16", "beta2": 0.99, "threshold_on": "corrected"}.items():
        assert recipe.changed(**{key: value}).digest != recipe.digest


@given(
    rate=st.floats(1e-7, 1.0),
    seed=st.integers(0, 2**31 - 1),
    shift=st.floats(0, 0.1),
    stem=st.sampled_from(["3x3_stride_1"]),
)
def test_any_recipe_survives_its_file(rate: float, seed: int, shift: float, stem: str) -> None:
    recipe = Recipe.preset("paper").changed(learning_rate=rate, seed=seed, shift_fraction=shift, stem=stem)
    assert Recipe.parse(recipe.dump()) == recipe


def test_repetitions_differ_in_seed_alone() -> None:
    recipe = Recipe.preset("honest").changed(repeats=3)
    assert [recipe.repetition(number).seed - recipe.seed for number in (1, 2, 3)] == [0, 1, 2]
    with pytest.raises(RecipeError, match="1 to 3"):
        recipe.repetition(4)


def test_bad_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="honest"):
        Recipe.load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError):
        Recipe.load(tmp_path / "bad.toml")
    with pytest.raises(RecipeError, match="TOML"):
        Recipe.parse("epochs = = 3")
    with pytest.raises(RecipeError, match="did you mean 'honest'"):
        Recipe.preset("onest")


def test_recipe_needs_no_torch() -> None:
    code = "import sys, spinefx.learning.recipe as r; r.Recipe.preset('quick'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

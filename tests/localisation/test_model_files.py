"""The files of the shipped localiser: what they are, what is refused, and that the graph computes what torch does."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from spinefx.errors import ModelError
from spinefx.localisation.inference import CARD_FILE, GRAPH_FILE, WEIGHTS_FILE, compute_maps, load_localiser
from spinefx.localisation.working_grid import WorkingGrid, local_contrast, three_slices

FOLDER = Path(str(resources.files("spinefx.localisation") / "weights"))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "weights"))


def test_the_card_says_phantoms_only_and_the_package_stays_small() -> None:
    card = json.loads((FOLDER / CARD_FILE).read_text("utf-8"))
    assert card["taught_with"]["images"] == "phantoms only"
    assert card["parameters"] <= 1_000_000
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 4_000_000


@pytest.mark.parametrize("name", [WEIGHTS_FILE, GRAPH_FILE])
def test_a_truncated_file_is_refused_by_name(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-100])
    with pytest.raises(ModelError, match=name):
        load_localiser(copy)


def test_one_altered_byte_of_the_weights_is_refused(copy: Path) -> None:
    content = bytearray((copy / WEIGHTS_FILE).read_bytes())
    content[-5] ^= 1
    (copy / WEIGHTS_FILE).write_bytes(bytes(content))
    with pytest.raises(ModelError, match=WEIGHTS_FILE):
        load_localiser(copy)


@pytest.mark.parametrize("name", [WEIGHTS_FILE, GRAPH_FILE, CARD_FILE])
def test_a_missing_file_is_refused_by_name(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ModelError, match=name):
        load_localiser(copy)


def test_a_card_of_another_kind_is_refused(copy: Path) -> None:
    (copy / CARD_FILE).write_text("[1, 2]", "utf-8")
    with pytest.raises(ModelError, match="card"):
        load_localiser(copy)


def test_the_graph_computes_what_torch_computes() -> None:
    torch = pytest.importorskip("torch")
    from spinefx.localisation.storage import read_network

    images = np.random.default_rng(3).normal(size=(3, 64, 96)).astype(np.float32)
    maps = compute_maps(load_localiser(), WorkingGrid(images, np.eye(4)))
    with torch.inference_mode():
        middle = three_slices(local_contrast(images), 1)
        expected = read_network(FOLDER).eval()(torch.from_numpy(middle)[None])[0].numpy()
    np.testing.assert_allclose(maps.offsets_mm[:, 1], 10 * expected[8:11], atol=2e-3)
    weights = np.exp(expected[:8] - expected[:8].max(axis=0))
    np.testing.assert_allclose(maps.probabilities[:, 1], weights / weights.sum(axis=0), atol=1e-4)

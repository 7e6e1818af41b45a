"""The same work on a Ray cluster of two nodes on this machine: the same bytes as on local processes."""

from __future__ import annotations

import socket
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spinefx.errors import InputError
from spinefx.processes.cluster import share_of, spread


def test_what_is_no_place_to_work_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("dask://host:1", "ray://", "ray://host", "ray:/host:1", "elsewhere"):
        with pytest.raises(InputError, match="local, ray, or ray://host:port"):
            spread(abs, [1], workers=1, on=place)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="Ray is not installed"):
        list(spread(abs, [1], workers=1, on="ray://host:10001"))


def test_shares_part_the_work() -> None:
    items = list(range(17))
    shares = [share_of(f"{number}/5") for number in range(1, 6)]
    assert sorted(item for start, step in shares for item in items[start::step]) == items
    assert share_of(None) == (0, 1)


def node_of(number: int) -> str:
    import ray

    time.sleep(1.0)
    return str(ray.get_runtime_context().get_node_id())


def fail(number: int) -> int:
    raise InputError("never", where=f"item {number}")


@pytest.fixture(scope="module")
def address(monkeypatch_module: pytest.MonkeyPatch) -> Iterator[str]:
    """Where a cluster of two nodes with a core each is reached."""
    pytest.importorskip("ray", reason="Ray (the extra `ray`) is not installed here")
    monkeypatch_module.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # no node can import a test
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    head: dict[str, Any] = {"num_cpus": 1, "include_dashboard": False, "ray_client_server_port": port}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=1)
        yield f"ray://127.0.0.1:{port}"
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
        yield patch


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_two_nodes_share_the_work_and_give_the_same_table(address: str, trained: Path, tmp_path: Path) -> None:
    from spinefx.second_opinion.many_studies import predict_many

    nodes = dict(spread(node_of, range(6), workers=1, on=address))
    assert set(nodes) == set(range(6))
    assert len(set(nodes.values())) == 2
    assert all(isinstance(result, InputError) for _, result in spread(fail, [1, 2], workers=1, on=address))
    model = trained / "experiments" / "quick"
    for name, on in (("local", "local"), ("ray", address)):
        assert predict_many(model, trained, tmp_path / name, shard_size=2, workers=1, on=on).answered == 9
    tables = [(tmp_path / name / "predictions.tsv").read_bytes() for name in ("local", "ray")]
    assert tables[0] == tables[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_folds_on_two_nodes_are_those_of_this_machine(
    address: str, patched: Path, trained: Path, tmp_path: Path
) -> None:
    import shutil

    from spinefx.commands.train import train
    from spinefx.learning.recipe import Recipe

    study = tmp_path / "study"
    shutil.copytree(patched, study)
    train(study, Recipe.preset("quick").changed(folds=2, epochs=1, copies_benign=1, copies_malignant=2), on=address)
    name = Path("experiments", "quick", "predictions.tsv")
    assert (study / name).read_bytes() == (trained / name).read_bytes()

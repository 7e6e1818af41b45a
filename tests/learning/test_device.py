"""The route is chosen for a reason, and the reason is reported."""

from __future__ import annotations

import pytest
import torch

from spinefx.errors import InputError
from spinefx.learning.device import choose_route, single_precision_is_single


def test_cpu_is_taken_as_asked() -> None:
    route = choose_route("cpu")
    assert (route.device, route.name) == ("cpu", "cpu")
    assert "as asked" in route.said


@pytest.mark.parametrize(
    ("build", "reason"), [(None, "this build of torch has no CUDA"), ("13.0", "torch finds no CUDA GPU that works")]
)
def test_without_a_gpu_auto_falls_back_and_cuda_is_refused(
    build: str | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", build)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    route = choose_route()
    assert route.device == "cpu"
    assert route.said == f"Trained on the CPU: {reason}."
    with pytest.raises(InputError, match=f"no GPU to train on: {reason}"):
        choose_route("cuda")


def _pretend(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free_bytes, free_bytes))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card 9")
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *shape, device="cpu", **more: zeros(*shape, **more))


@pytest.mark.parametrize(("free_bytes", "at_once"), [(80 * 10**9, 32), (10 * 10**9, 4), (2 * 10**9, 1)])
def test_folds_at_once_are_those_that_fit(free_bytes: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, free_bytes)
    route = choose_route()
    assert (route.device, route.folds_at_once) == ("cuda", at_once)
    assert "Card 9" in route.said
    assert "Card 9" in route.name


def test_a_full_gpu_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, 10**9)
    assert choose_route().said == "Trained on the CPU: the GPU has 1.0 GB free, and a fold needs 2."


def test_a_gpu_that_does_not_compute_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, 10**10)

    def fail(*shape: int, **more: object) -> torch.Tensor:
        raise RuntimeError("no kernel image\nfurther lines")

    monkeypatch.setattr(torch, "zeros", fail)
    assert choose_route().said == "Trained on the CPU: the GPU does not compute (no kernel image)."


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(InputError, match="auto, cpu, cuda"):
        choose_route("gpu")


def test_tf32_is_off_within_and_restored_afterwards() -> None:
    before = (torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision)
    torch.use_deterministic_algorithms(True)
    try:
        with single_precision_is_single():
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
            assert torch.backends.cudnn.conv.fp32_precision == "ieee"
            assert torch.backends.cudnn.benchmark
            assert not torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert before == (torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision)

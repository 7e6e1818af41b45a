"""A simulated reader study, and variations of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spinefx.statistics.mrmc.roe_metz import RoeMetz
from spinefx.statistics.mrmc.scores import ReaderStudy


@pytest.fixture(scope="session")
def study() -> ReaderStudy:
    """A factorial study of two modalities, four readers, 20 malignant and 30 benign cases."""
    return RoeMetz((1.2, 1.5)).draw(np.random.default_rng(5), readers=4, malignant=20, benign=30)


@pytest.fixture(scope="session")
def with_scores(study: ReaderStudy) -> Callable[..., ReaderStudy]:
    """Return a study, by default the simulated one, with other scores."""

    def change(scores: np.ndarray, of: ReaderStudy = study) -> ReaderStudy:
        return ReaderStudy(scores, of.malignant, of.modalities, of.readers, of.cases)

    return change


@pytest.fixture(scope="session")
def without(with_scores: Callable[..., ReaderStudy]) -> Callable[..., ReaderStudy]:
    """Return a study without the readings at some indices of its scores."""

    def remove(of: ReaderStudy, *indices: tuple[Any, ...]) -> ReaderStudy:
        scores = of.scores.copy()
        for index in indices:
            scores[index] = np.nan
        return with_scores(scores, of)

    return remove


@pytest.fixture(scope="session")
def blocks(study: ReaderStudy, without: Callable[..., ReaderStudy]) -> ReaderStudy:
    """A split-plot study: two blocks of two readers, each with every other case."""
    every = slice(None)
    return without(study, (every, slice(0, 2), slice(0, None, 2)), (every, slice(2, 4), slice(1, None, 2)))

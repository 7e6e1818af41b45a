"""A model against a panel; the values of RJafroc are in test_reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from spinefx.errors import InputError
from spinefx.statistics.mrmc.panel import ai_vs_readers
from spinefx.statistics.mrmc.scores import ReaderStudy

Variation = Callable[..., ReaderStudy]


def test_a_panel_of_one_reader_can_be_fixed_but_not_random(study: ReaderStudy) -> None:
    pair = study.only(modalities=["A"], readers=["reader 1", "reader 2"])
    with pytest.raises(InputError, match="a single random reader"):
        ai_vs_readers(pair, "reader 1")
    fixed = ai_vs_readers(pair, "reader 1", analysis="FRRC", covariance="delong")
    assert fixed.difference.p_value == pytest.approx(fixed.readers[0].p_value)
    with pytest.raises(InputError, match="no 'GPT' beside other readers"):
        ai_vs_readers(pair, "GPT")
    with pytest.raises(InputError, match="2 modalities"):
        ai_vs_readers(study, "reader 1")


def test_binary_endpoints_and_perfect_models_are_analysed(study: ReaderStudy, with_scores: Variation) -> None:
    unaided = study.only(modalities=["A"])
    result = ai_vs_readers(unaided, "reader 4", endpoint="sensitivity", threshold=1.0)
    assert result.counts.readers == 3
    assert result.difference.label == "readers - reader 4"
    assert "readers - reader 4" in result.table.to_tsv()
    scores = unaided.scores.copy()
    scores[0, 3] = unaided.malignant
    perfect = ai_vs_readers(with_scores(scores, unaided), "reader 4")
    assert perfect.model.estimate.value == 1
    assert np.isfinite(perfect.difference.p_value)

"""An answer among proven cases: calibration that is recovered, maps that point where they must, refusals that hold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spinefx.errors import LeakError, UnlikeTrainingError
from spinefx.learning.guards import Guards
from spinefx.second_opinion.opinion import Panel
from spinefx.second_opinion.reference_cases import FEWEST_EACH, LocalEvidence, ProvenCase, likeness
from spinefx.second_opinion.saliency import GRID, saliency
from spinefx.statistics.calibration import calibrate
from spinefx.vocabulary import Diagnosis, TruthSource

SIZE = 32


def case(number: int, probability: float, malignant: bool, **measures: float) -> ProvenCase:
    diagnosis = Diagnosis.MALIGNANT if malignant else Diagnosis.BENIGN
    name = f"sub-{number:03d}"
    return ProvenCase(name, name, diagnosis, TruthSource.PHANTOM, probability, diagnosis, measures)


def evidence_of(probabilities: NDArray[np.float64], malignant: NDArray[np.bool_]) -> LocalEvidence:
    pairs = zip(probabilities, malignant, strict=True)
    cases = tuple(case(number, float(p), bool(y)) for number, (p, y) in enumerate(pairs))
    return LocalEvidence("quick", cases, {one.participant_id: 1 for one in cases}, False)


def drawn(n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probabilities whose logits are twice too extreme and one too high: what recalibration must find out."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-0.5, 1.2, n)
    truth = rng.random(n) < 1 / (1 + np.exp(-logits))
    return 1 / (1 + np.exp(-(2 * logits + 1))), truth


def test_recalibration_recovers_a_known_distortion() -> None:
    found = evidence_of(*drawn(4000, 1)).recalibration
    assert found is not None
    for logit in (-2.0, 0.0, 1.5):
        answer = found.at(float(1 / (1 + np.exp(-(2 * logit + 1)))))
        right = 1 / (1 + np.exp(-logit))
        assert answer.low < right < answer.high
        assert answer.value == pytest.approx(right, abs=0.03)
    reference = calibrate(*drawn(4000, 1))
    assert found.slope.value == pytest.approx(reference.slope.value, abs=0.01)
    assert (found.slope.low, found.slope.high) == pytest.approx((reference.slope.low, reference.slope.high), abs=0.01)


def test_the_interval_covers_the_truth_at_its_nominal_rate() -> None:
    place, right = float(1 / (1 + np.exp(-1.0))), 0.5
    hits = 0
    for seed in range(300):
        found = evidence_of(*drawn(60, seed)).recalibration
        assert found is not None
        answer = found.at(place)
        hits += answer.low <= right <= answer.high
    # 95% of 300 is 285; six standard errors of a binomial count are 23.
    assert 262 <= hits <= 300


def test_a_participant_is_not_their_own_reference() -> None:
    whole = evidence_of(*drawn(40, 3))
    less = whole.without("sub-007")
    assert len(less.cases) == 39
    assert less.recalibration is not None
    assert whole.recalibration is not None
    assert less.recalibration.n == 39
    assert less.recalibration.at(0.5).value != whole.recalibration.at(0.5).value


def test_too_few_cases_of_a_class_are_not_calibrated() -> None:
    truth = np.arange(20) < FEWEST_EACH - 1
    assert evidence_of(np.linspace(0.9, 0.1, 20), truth).recalibration is None


def model(fold: int, cohort: str = "own") -> Any:
    return SimpleNamespace(card=SimpleNamespace(fold=fold, cohort_digest=cohort))


def test_the_model_that_answers_was_not_trained_on_the_case() -> None:
    evidence = LocalEvidence("quick", (), {"sub-001": 2, "sub-002": 9}, False)
    panel = Panel((model(1), model(2)), evidence, "own", phantom=True)
    assert panel.who_answers(None)[0] == panel.models
    assert panel.who_answers("sub-001")[0] == (panel.models[1],)
    assert panel.who_answers("sub-777")[0] == panel.models
    with pytest.raises(LeakError):
        panel.who_answers("sub-002")
    bare = Panel((model(1),), None, "own", phantom=True)
    with pytest.raises(LeakError):
        bare.who_answers("sub-001")
    assert Panel((model(1, "another"),), None, "own", phantom=True).who_answers("sub-001")[0]


def test_ranges_are_those_of_the_cohort_and_hard_limits_lie_beyond() -> None:
    name = "T2W slice step, mm"
    cases = tuple(case(number, 0.5, number % 2 == 0, **{name: 4 + number / 100}) for number in range(101))
    guards = Guards.of([one.measures for one in cases], [])
    states = [guards.quality({name: value})[0]["state"] for value in (3.9, 4.02, 4.5, 4.98, 5.1)]
    assert states == ["outside", "in range", "in range", "in range", "outside"]
    (line,) = guards.quality({name: 4.5})
    assert (line["low"], line["high"]) == pytest.approx((4.01, 4.99))
    guards.refuse({name: 2.01, "T1W to T2W correlation": -1})
    for far in (1.9, 10.1):
        with pytest.raises(UnlikeTrainingError, match="slice step") as told:
            guards.refuse({name: far})
        assert told.value.remedy
    assert guards.flags({name: 5.0}) == []
    assert guards.flags({name: 5.1}) == [f"{name}: 5.1, the training cases have 4 to 5"]
    assert Guards().quality({name: 900.0})[0]["state"] == "unknown"


def test_likeness_is_the_correlation_of_normalised_patches() -> None:
    rng = np.random.default_rng(2)
    patch = rng.standard_normal((6, SIZE, SIZE))
    patch = (patch - patch.mean(axis=(1, 2), keepdims=True)) / patch.std(axis=(1, 2), keepdims=True)
    other = np.roll(patch, 7, axis=2)
    expected = np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(patch, other, strict=True)])
    assert likeness(patch.astype(np.float32), patch.astype(np.float32)) == pytest.approx(1, abs=1e-6)
    assert likeness(patch.astype(np.float32), other.astype(np.float32)) == pytest.approx(expected, abs=1e-6)


class Stack:
    """One slice with a bright place among faint noise."""

    slices = (7,)

    def cut(self, position: int) -> Any:
        array = 0.1 * np.random.default_rng(4).standard_normal((6, SIZE, SIZE)).astype(np.float32)
        array[:, 20:24, 8:12] += 3
        return SimpleNamespace(array=array)


def answering(log_odds: Any, unlearned: Any, undecided: Any) -> tuple[Any]:
    """A model that answers by a function, and by others when its weights are shuffled."""
    others = {name: SimpleNamespace(log_odds=one) for name, one in (("unlearned", unlearned), ("undecided", undecided))}
    return (SimpleNamespace(log_odds=log_odds, **others),)


def brightest(patches: NDArray[np.float32], channel: int = 3) -> NDArray[np.float64]:
    blocks = patches[:, channel].reshape(len(patches), GRID, SIZE // GRID, GRID, SIZE // GRID).mean(axis=(2, 4))
    return np.log(np.exp(4 * blocks.astype(np.float64)).sum(axis=(1, 2)))


def elsewhere(patches: NDArray[np.float32]) -> NDArray[np.float64]:
    """Places by chance, and weakly."""
    weights = np.random.default_rng(3).standard_normal((SIZE, SIZE))
    return np.asarray((patches[:, 1] * weights).sum(axis=(1, 2)) / 1000, np.float64)


def test_the_map_shows_what_the_answer_depends_on_and_passes_its_checks() -> None:
    found = saliency(answering(brightest, elsewhere, elsewhere), Stack(), 0)  # type: ignore[arg-type]
    assert found.slice_index == 7
    row, column = np.unravel_index(np.argmax(found.values), found.values.shape)
    assert (row, column) == (5, 2)
    assert found.values[5, 2] > 10 * abs(found.shuffled).max()
    assert [check.passes for check in found.checks] == [True, True]
    assert found.passes
    assert "depends on this image" in found.checks[0].said
    assert "depends on what the network learned" in found.checks[1].said
    assert f"{found.strength:.0f} times as strong" in found.checks[1].said


def test_a_model_that_depends_on_position_alone_fails_the_check() -> None:
    weights = np.exp(-((np.arange(SIZE)[:, None] - 10) ** 2 + (np.arange(SIZE)[None] - 20) ** 2) / 200)

    def covered(patches: NDArray[np.float32]) -> NDArray[np.float64]:
        return -np.asarray(((patches[:, 0] == 0) * weights).sum(axis=(1, 2)), np.float64)

    found = saliency(answering(covered, elsewhere, elsewhere), Stack(), 0)  # type: ignore[arg-type]
    assert [check.passes for check in found.checks] == [False, True]
    assert "rank correlation 1.00" in found.checks[0].said
    assert "not this vertebra" in found.checks[0].said
    assert "Do not interpret" in found.verdict


@pytest.mark.parametrize("sign", [1, -1])
def test_a_map_that_shuffled_weights_reproduce_fails_the_check(sign: int) -> None:
    def edges(patches: NDArray[np.float32]) -> NDArray[np.float64]:
        """An edge detector: what it shows is the image's, whatever was learned."""
        return sign * np.abs(np.diff(patches[:, 3].astype(np.float64), axis=1)).sum(axis=(1, 2))

    found = saliency(answering(brightest, edges, elsewhere), Stack(), 0)  # type: ignore[arg-type]
    assert found.checks[1].passes
    found = saliency(answering(lambda patches: sign * edges(patches), edges, elsewhere), Stack(), 0)  # type: ignore[arg-type]
    assert not found.checks[1].passes
    assert "does not depend on what the network learned" in found.checks[1].said


def test_a_map_no_stronger_than_without_training_fails_the_check() -> None:
    def other(patches: NDArray[np.float32]) -> NDArray[np.float64]:
        return brightest(patches, channel=2)

    found = saliency(answering(brightest, elsewhere, other), Stack(), 0)  # type: ignore[arg-type]
    assert found.strength == pytest.approx(1, abs=0.2)
    assert [check.passes for check in found.checks] == [True, False]
    assert "as strong" in found.checks[1].said


def test_a_model_with_a_constant_answer_has_no_map() -> None:
    found = saliency(answering(*[lambda patches: np.zeros(len(patches))] * 3), Stack(), 0)  # type: ignore[arg-type]
    assert not found.values.any()
    assert found.to_json()["checks"] == []
    assert not found.passes
    assert "nothing" in found.verdict

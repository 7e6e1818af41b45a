"""What the kept folds of the experiment hold, as the package's own values: predictions, readings, signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from protocol import Job, Kept, Series
from spinefx.cases.reading import Reading, SignScores, patient_readings
from spinefx.learning.crossvalidation import FoldResult
from spinefx.statistics.performance import ModelResult
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Diagnosis, Score

__all__ = ["Findings", "Finished"]


@dataclass(frozen=True, eq=False)
class Finished:
    """The finished folds of one series.

    Parameters
    ----------
    series : Series
    files : tuple of dict
        As they were kept, in the order of the folds.
    """

    series: Series
    files: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, series: Series, kept: Kept) -> Finished:
        """Read what is finished of a series."""
        files = (kept.read(Job(series, number)) for number in series.folds)
        return cls(series, tuple(one for one in files if one is not None))

    @cached_property
    def results(self) -> tuple[FoldResult, ...]:
        """The folds as the package knows them."""
        return tuple(FoldResult.from_json(one) for one in self.files)

    @property
    def is_complete(self) -> bool:
        """Whether every planned fold is finished."""
        return len(self.files) == len(self.series.folds)

    @property
    def progress(self) -> str:
        """How much is finished, in words."""
        return f"{len(self.files)} of {len(self.series.folds)} folds"

    @property
    def label(self) -> str:
        """The series' name, with its progress where it is not complete."""
        return self.series.name if self.is_complete else f"{self.series.name} ({self.progress})"

    @property
    def truth(self) -> dict[str, Diagnosis]:
        """Diagnosis of each tested case, as the model was taught it."""
        return {case: Diagnosis(word) for one in self.files for case, word in one["truth"].items()}

    @property
    def model(self) -> ModelResult:
        """The answers on the tested cases."""
        recipe = self.series.recipe
        predictions = tuple(prediction for result in self.results for prediction in result.predictions)
        corrected = recipe.threshold_on == "corrected"
        readings = patient_readings(
            predictions,
            reader_id=self.label,
            rule=recipe.patient_score,
            threshold=recipe.threshold,
            corrected=corrected,
        )
        return ModelResult(
            self.label, predictions, readings, recipe.threshold, corrected, (recipe.optimistic,), recipe.patient_score
        )

    @property
    def epoch_seconds(self) -> list[float]:
        """CPU seconds of each epoch but the first of a fold, which holds its preparation."""
        return [seconds for one in self.files for epoch, (seconds, _) in one["epoch_seconds"].items() if epoch != "1"]


@dataclass(frozen=True, eq=False)
class Findings:
    """Everything that is finished.

    Parameters
    ----------
    cohort : dict or None
        The patients, as :meth:`protocol.Kept.read_cohort` returns them.
    series : dict of str to Finished
        By name.
    """

    cohort: dict[str, Any] | None
    series: dict[str, Finished]

    @classmethod
    def read(cls, kept: Kept, series: Sequence[Series]) -> Findings:
        """Read the kept files."""
        return cls(kept.read_cohort(), {one.name: Finished.of(one, kept) for one in series})

    def some(self, *names: str) -> list[Finished]:
        """Return those of the named series that have a finished fold."""
        return [self.series[name] for name in names if name in self.series and self.series[name].files]

    @property
    def truth(self) -> dict[str, Diagnosis]:
        """The patients' diagnoses."""
        assert self.cohort is not None
        return {case: Diagnosis(word) for case, word in self.cohort["truth"].items()}

    @property
    def readings(self) -> list[Reading]:
        """The simulated readers' answers."""
        assert self.cohort is not None
        return [
            Reading(case, reader, Arm(arm), Diagnosis(word), confidence, seconds)
            for case, reader, arm, word, confidence, seconds in self.cohort["readings"]
        ]

    @property
    def signs(self) -> list[SignScores]:
        """The fifteen signs, true ones and as the simulated readers saw them."""
        assert self.cohort is not None
        return [
            SignScores(case, reader, dict(zip(SIGN_IDENTIFIERS, map(Score, scores), strict=True)))
            for case, reader, scores in self.cohort["signs"]
        ]

"""A readings table and a truth table in, every analysis of readers and models out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spinefx.cases.reading import Reading, SignScores
from spinefx.errors import InputError
from spinefx.statistics.answers import answers_by_reader, confidences_of, readings_by_reader
from spinefx.statistics.benefit import DecisionCurve, decision_curve
from spinefx.statistics.calibration import Calibration, calibrate
from spinefx.statistics.frames import readings_from, signs_from, truth_from
from spinefx.statistics.measures import agreement_table, measure_table
from spinefx.statistics.mrmc.anova import MrmcResult, mrmc
from spinefx.statistics.mrmc.panel import PanelResult, ai_vs_readers
from spinefx.statistics.mrmc.scores import ReaderStudy
from spinefx.statistics.paired.mcnemar import comparison_table
from spinefx.statistics.performance import performance_table
from spinefx.statistics.signs import compare_signs, scores_by_case, sign_table
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Diagnosis

__all__ = ["Evaluation"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Readers and models on the same cases; make one with :meth:`of`.

    Parameters
    ----------
    readings : tuple of Reading
        Of people and of models, a model being one more reader; those of cases without a truth are left out everywhere.
    truth : mapping of str to Diagnosis
        By case.
    scores : tuple of SignScores
    """

    readings: tuple[Reading, ...]
    truth: Mapping[str, Diagnosis]
    scores: tuple[SignScores, ...] = ()

    @classmethod
    def of(cls, readings: object, truth: object, signs: object = None) -> Evaluation:
        """Take tables, whatever holds them: pandas, polars, Arrow, columns, rows, or the path of a CSV or TSV.

        Parameters
        ----------
        readings : table
            ``case_id``, ``reader_id``, ``diagnosis``, and where known ``arm``, ``confidence``, ``seconds``.
        truth : table, or mapping of case to diagnosis
            ``case_id``, ``diagnosis``.
        signs : table, optional
            ``case_id``, ``reader_id`` and the fifteen signs.

        Returns
        -------
        Evaluation

        Raises
        ------
        TableError
            For a column missing, a row given twice, or a word or number of another kind.
        InputError
            When no reading is of a case with a truth.
        """
        made = cls(readings_from(readings), truth_from(truth), () if signs is None else signs_from(signs))
        if not readings_by_reader(made.readings, made.truth):
            found = f"none of {len(made.readings)} readings is of one of {len(made.truth)} cases"
            raise InputError(found, where="readings", remedy="Are case_id of both tables the same names?")
        return made

    @property
    def performance(self) -> ResultTable:
        """Counts, sensitivity, specificity, accuracy and area of every reader: Table 2."""
        return performance_table(self.truth, self.readings)

    @property
    def agreement(self) -> ResultTable:
        """How far every two readers agree."""
        return agreement_table(answers_by_reader(self.readings, self.truth))

    def measures(self, *, prevalence: float | None = None) -> ResultTable:
        """Set all measures of accuracy of every reader side by side.

        Parameters
        ----------
        prevalence : float, optional
            Share of malignant cases elsewhere, for predictive values there.

        Returns
        -------
        ResultTable
        """
        return measure_table(self.truth, self.readings, prevalence=prevalence)

    def comparisons(self, *, against: str | None = None) -> ResultTable:
        """Compare readers pair by pair on the same cases.

        Parameters
        ----------
        against : str, optional
            One reader to compare all others with.

        Returns
        -------
        ResultTable
        """
        return comparison_table(self.truth, self.readings, against=against)

    def study(self, answer: str = "confidence") -> ReaderStudy:
        """Give the reader study, arms being modalities.

        Parameters
        ----------
        answer : {'confidence', 'diagnosis'}
            For areas, or for sensitivity and specificity at a threshold of 0.5.

        Returns
        -------
        ReaderStudy

        Raises
        ------
        InputError
            For another word.
        """
        if answer not in {"confidence", "diagnosis"}:
            raise InputError(f"the answer {answer!r}", allowed="confidence, diagnosis")
        return ReaderStudy.from_readings(self.readings, self.truth, answer)  # type: ignore[arg-type]

    def mrmc(self, *, readers: Sequence[str] | None = None, endpoint: str = "auc", **settings: Any) -> MrmcResult:
        """Compare the arms over readers and cases.

        Parameters
        ----------
        readers : sequence of str, optional
            Whose readings count; without it everybody's, a model's too.
        endpoint : {'auc', 'sensitivity', 'specificity'}
            The last two are of the diagnoses given.
        **settings
            Of :func:`spinefx.statistics.mrmc.anova.mrmc`.

        Returns
        -------
        MrmcResult
        """
        return mrmc(self._prepared(endpoint, settings).only(readers=readers), **settings)

    def panel(self, model: str, *, arm: str = "unaided", endpoint: str = "auc", **settings: Any) -> PanelResult:
        """Compare one model with the mean of the readers.

        Parameters
        ----------
        model : str
            Its reader_id.
        arm : str
            Which readings count.
        endpoint : {'auc', 'sensitivity', 'specificity'}
        **settings
            Of :func:`spinefx.statistics.mrmc.panel.ai_vs_readers`.

        Returns
        -------
        PanelResult
        """
        study = self._prepared(endpoint, settings)
        return ai_vs_readers(study.only(modalities=[arm]), model, **settings)

    def calibration(self, reader: str) -> Calibration:
        """Set one reader's or model's confidences, as probabilities, against what happened.

        Parameters
        ----------
        reader : str

        Returns
        -------
        Calibration
        """
        return calibrate(*self._probabilities(reader))

    def decision(self, reader: str) -> DecisionCurve:
        """Weigh what acting on one reader's or model's confidences, as probabilities, would bring.

        Parameters
        ----------
        reader : str

        Returns
        -------
        DecisionCurve
        """
        return decision_curve(*self._probabilities(reader))

    def signs(self, reader: str | None = None) -> ResultTable:
        """Compare the fifteen signs in malignant and benign cases: Table 1.

        Parameters
        ----------
        reader : str, optional
            Whose scores; not needed where one reader scored.

        Returns
        -------
        ResultTable
        """
        groups = [
            [case for case, truth in self.truth.items() if truth == kind]
            for kind in (Diagnosis.MALIGNANT, Diagnosis.BENIGN)
        ]
        return sign_table(compare_signs(scores_by_case(self.scores, reader), *groups))

    def _prepared(self, endpoint: str, settings: dict[str, Any]) -> ReaderStudy:
        """The study of what the endpoint needs; completes the settings."""
        settings["endpoint"] = endpoint
        if endpoint == "auc" or settings.get("threshold") is not None:
            return self.study()
        settings["threshold"] = 0.5
        return self.study("diagnosis")

    def _probabilities(self, reader: str) -> tuple[list[float], list[bool]]:
        by_reader = readings_by_reader(self.readings, self.truth)
        if reader not in by_reader:
            raise InputError(f"no readings of {reader!r}", allowed=", ".join(by_reader))
        confidences = confidences_of(by_reader[reader])
        if not confidences:
            raise InputError(f"no confidence given by {reader}", allowed="a confidence, 0 to 100, a case")
        malignant = [self.truth[case] == Diagnosis.MALIGNANT for case in confidences]
        return [confidence / 100 for confidence in confidences.values()], malignant

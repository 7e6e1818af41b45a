"""Every analysis of readers and models, from one table of readings and one of truths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spinefx.cases.reading import Reading, SignScores
from spinefx.errors import InputError
from spinefx.statistics.benefit import DecisionCurve, decision_curve
from spinefx.statistics.calibration import Calibration, calibrate
from spinefx.statistics.inputs import readings_from, signs_from, truth_from
from spinefx.statistics.mrmc.anova import MrmcResult, mrmc
from spinefx.statistics.mrmc.panel import PanelResult, ai_vs_readers
from spinefx.statistics.mrmc.scores import SMALLEST_CLASS, ReaderStudy
from spinefx.statistics.paired.mcnemar import comparison_table
from spinefx.statistics.performance import agreement_table, measure_table, performance_table
from spinefx.statistics.readings import confidences_of, diagnoses_by_reader, readings_by_reader
from spinefx.statistics.signs import compare_signs, scores_by_case, sign_table
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Arm, Diagnosis

__all__ = ["Evaluation"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Readers and models on the same cases; create one with :meth:`of`.

    Parameters
    ----------
    readings : tuple of Reading
        Of readers and models; a model counts as one more reader. Readings of cases without a truth are left out.
    truth : mapping of str to Diagnosis
        By case.
    scores : tuple of SignScores
        Scores of the fifteen signs; may be empty.
    models : frozenset of str
        Which of the ``reader_id`` are models.

    Raises
    ------
    InputError
        If there is no reading of a model.
    """

    readings: tuple[Reading, ...]
    truth: Mapping[str, Diagnosis]
    scores: tuple[SignScores, ...] = ()
    models: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        unknown = self.models - {one.reader_id for one in self.readings}
        if unknown:
            raise InputError(
                f"no readings of {len(unknown)} of the models", where="models", allowed="reader_id of the readings"
            )

    @classmethod
    def of(cls, readings: object, truth: object, signs: object = None, *, models: Sequence[str] = ()) -> Evaluation:
        """Create an evaluation from tables: pandas, polars, Arrow, columns, rows, or paths of CSV or TSV files.

        Parameters
        ----------
        readings : table
            Columns ``case_id``, ``reader_id``, ``diagnosis``, and if known ``arm``, ``confidence``, ``seconds``.
        truth : table, or mapping of case to diagnosis
            Columns ``case_id`` and ``diagnosis``.
        signs : table, optional
            Columns ``case_id``, ``reader_id`` and the fifteen signs.
        models : sequence of str
            The ``reader_id`` of each model; models have no part in comparisons over readers.

        Returns
        -------
        Evaluation

        Raises
        ------
        TableError
            If a column is missing, a row occurs twice, or a word or number is not valid.
        InputError
            If none of the readings is of a case with a truth, or a model has no reading.
        """
        scores = () if signs is None else signs_from(signs)
        made = cls(readings_from(readings), truth_from(truth), scores, frozenset(models))
        if not readings_by_reader(made.readings, made.truth):
            found = f"none of {len(made.readings)} readings is of one of the {len(made.truth)} cases with a truth"
            raise InputError(found, where="readings", remedy="Use the same case_id in both tables.")
        return made

    @property
    def performance(self) -> ResultTable:
        """Counts, sensitivity, specificity, accuracy and AUC of every reader (Table 2)."""
        return performance_table(self.truth, self.readings)

    @property
    def agreement(self) -> ResultTable:
        """Agreement of every two readers."""
        return agreement_table(diagnoses_by_reader(self.readings, self.truth))

    def measures(self, *, prevalence: float | None = None) -> ResultTable:
        """Tabulate every measure of accuracy by reader.

        Parameters
        ----------
        prevalence : float, optional
            Proportion of malignant cases at which predictive values are given besides those of this cohort.

        Returns
        -------
        ResultTable
        """
        return measure_table(self.truth, self.readings, prevalence=prevalence)

    def comparisons(self, *, against: str | None = None) -> ResultTable:
        """Compare every two readers on the same cases.

        Parameters
        ----------
        against : str, optional
            The reader with whom to compare all others; by default every two are compared.

        Returns
        -------
        ResultTable
        """
        return comparison_table(self.truth, self.readings, against=against)

    def study(self, score: str = "confidence", *, arms: Sequence[str] | None = None) -> ReaderStudy:
        """Return the readings as a reader study whose modalities are the arms.

        Parameters
        ----------
        score : {'confidence', 'diagnosis'}
            The confidence, for areas; or the diagnosis, for sensitivity and specificity at a threshold of 0.5.
        arms : sequence of str, optional
            By default unaided and aided, without perturbed readings.

        Returns
        -------
        ReaderStudy

        Raises
        ------
        InputError
            If the score is neither.
        """
        if score not in {"confidence", "diagnosis"}:
            raise InputError(f"score {score!r}", allowed="confidence, diagnosis")
        return ReaderStudy.from_readings(self.readings, self.truth, score, arms=arms)  # type: ignore[arg-type]

    def mrmc(self, *, readers: Sequence[str] | None = None, endpoint: str = "auc", **settings: Any) -> MrmcResult:
        """Compare the arms over readers and cases (multi-reader, multi-case).

        Parameters
        ----------
        readers : sequence of str, optional
            Whose readings to use; by default those of all readers but the models. Readers of some arms only are left
            out too, if two or more read in all of them.
        endpoint : {'auc', 'sensitivity', 'specificity'}
            Sensitivity and specificity are those of the diagnoses given.
        **settings
            Further arguments of :func:`spinefx.statistics.mrmc.anova.mrmc`.

        Returns
        -------
        MrmcResult
            Its notes name who was left out. Perturbed readings are never part of the comparison.
        """
        study, completed = self._prepared(endpoint, settings)
        notes: list[str] = []
        if readers is None:
            readers = [name for name in study.readers if name not in self.models]
            notes += _left_out("They are models", [name for name in study.readers if name in self.models])
            arms_of = dict(zip(study.readers, study.cells.sum(axis=0), strict=True))
            full = [name for name in readers if arms_of[name] == len(study.modalities)]
            if len(full) > 1:
                notes += _left_out("They read in some of the arms only", [one for one in readers if one not in full])
                readers = full
        # Unaided minus aided, whatever the order of the rows.
        arms = [str(arm) for arm in Arm if arm in study.modalities]
        found = mrmc(study.only(readers=readers, modalities=arms), **completed)
        return replace(found, notes=(*notes, *found.notes))

    def panel(
        self,
        model: str,
        *,
        arm: str = "unaided",
        endpoint: str = "auc",
        floor: int = SMALLEST_CLASS,
        **settings: Any,
    ) -> PanelResult:
        """Compare one model with the mean of the readers.

        Parameters
        ----------
        model : str
            Its ``reader_id``.
        arm : str
            The arm whose readings to use.
        endpoint : {'auc', 'sensitivity', 'specificity'}
        floor : int
            Smallest number of malignant, and of benign, cases that model and readers must have in common; see
            :meth:`spinefx.statistics.mrmc.scores.ReaderStudy.on_shared_cases`.
        **settings
            Further arguments of :func:`spinefx.statistics.mrmc.panel.ai_vs_readers`.

        Returns
        -------
        PanelResult
            Other models are not part of the panel. The notes name the readers and cases that were left out.

        Raises
        ------
        InputError
            If model and readers have too few cases in common.
        """
        study, completed = self._prepared(endpoint, settings, arms=[arm])
        if model not in study.readers:
            raise InputError(f"no {model!r} beside other readers", allowed=f"one of {', '.join(study.readers)}")
        others = [name for name in study.readers if name in self.models - {model}]
        study = study.only(readers=[name for name in study.readers if name not in others])
        study, note = study.on_shared_cases(floor=floor, keep=[model])
        found = ai_vs_readers(study, model, **completed)
        notes = (*_left_out("They are models", others), *([note] if note else []), *found.notes)
        return replace(found, notes=notes)

    def calibration(self, reader: str) -> Calibration:
        """Measure the calibration of one reader's or model's confidences, taken as probabilities.

        Parameters
        ----------
        reader : str
            Its ``reader_id``; followed by ``, aided`` for readings made with the model's assistance.

        Returns
        -------
        Calibration
        """
        return calibrate(*self._probabilities(reader))

    def decision(self, reader: str) -> DecisionCurve:
        """Return the decision curve of one reader's or model's confidences, taken as probabilities.

        Parameters
        ----------
        reader : str
            As for :meth:`calibration`.

        Returns
        -------
        DecisionCurve
        """
        return decision_curve(*self._probabilities(reader))

    def signs(self, reader: str | None = None) -> ResultTable:
        """Compare the fifteen signs between malignant and benign cases (Table 1).

        Parameters
        ----------
        reader : str, optional
            Whose scores to use; needed only if several readers scored.

        Returns
        -------
        ResultTable
        """
        groups = [
            [case for case, truth in self.truth.items() if truth == kind]
            for kind in (Diagnosis.MALIGNANT, Diagnosis.BENIGN)
        ]
        return sign_table(compare_signs(scores_by_case(self.scores, reader), *groups))

    def _prepared(
        self, endpoint: str, settings: dict[str, Any], arms: Sequence[str] | None = None
    ) -> tuple[ReaderStudy, dict[str, Any]]:
        """Return the reader study that an endpoint needs, and the settings completed with endpoint and threshold."""
        if endpoint == "auc" or settings.get("threshold") is not None:
            return self.study(arms=arms), settings | {"endpoint": endpoint}
        return self.study("diagnosis", arms=arms), settings | {"endpoint": endpoint, "threshold": 0.5}

    def _probabilities(self, reader: str) -> tuple[list[float], list[bool]]:
        by_reader = readings_by_reader(self.readings, self.truth)
        if reader not in by_reader:
            raise InputError(f"no readings of {reader!r}", allowed=", ".join(by_reader))
        confidences = confidences_of(by_reader[reader])
        if not confidences:
            raise InputError(f"no confidences of {reader}", allowed="a confidence of 0 to 100 per case")
        malignant = [self.truth[case] == Diagnosis.MALIGNANT for case in confidences]
        return [confidence / 100 for confidence in confidences.values()], malignant


def _left_out(why: str, names: Sequence[str]) -> list[str]:
    return [f"Left out of the readers: {', '.join(names)}. {why}."] if names else []

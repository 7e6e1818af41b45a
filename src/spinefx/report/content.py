"""What a report is made of, and the parts that it comes in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from spinefx.cases.reading import Reading, SignScores
from spinefx.report.figures import Drawing
from spinefx.statistics.answers import answers_of, readings_by_reader
from spinefx.statistics.performance import ModelResult
from spinefx.statistics.signs import reference_reader, scores_by_case
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Diagnosis, Score

__all__ = ["Finding", "ParticipantSummary", "Picture", "ReportContent", "Section", "Sheet"]


@dataclass(frozen=True)
class Finding:
    """One line of the leak audit.

    Parameters
    ----------
    check : str
        What was asked.
    passed : bool
    detail : str
        What was compared and found.
    """

    check: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class ParticipantSummary:
    """One participant, as far as a report needs to know.

    Parameters
    ----------
    participant_id : str
    diagnosis : Diagnosis
    truth_source : str
        How the diagnosis was established.
    age : float or None
        Years.
    sex, primary_tumor : str
        Empty where unknown.
    """

    participant_id: str
    diagnosis: Diagnosis
    truth_source: str
    age: float | None = None
    sex: str = ""
    primary_tumor: str = ""


@dataclass(frozen=True)
class Picture:
    """A drawn figure.

    Parameters
    ----------
    name : str
        File name without its ending.
    drawing : Drawing
    caption : str
    alternative : str
        What it shows, for those who cannot see it.
    """

    name: str
    drawing: Drawing
    caption: str
    alternative: str


@dataclass(frozen=True)
class Sheet:
    """The contact sheet of one case.

    Parameters
    ----------
    case_id : str
    caption : str
    png : bytes
    """

    case_id: str
    caption: str
    png: bytes


@dataclass(frozen=True)
class Section:
    """One part of a report.

    Parameters
    ----------
    key : str
        Its anchor on the page.
    title : str
    text : tuple of str
        Paragraphs before the rest.
    tables, folded : tuple of ResultTable
        Shown, and shown when asked for.
    pictures : tuple of Picture
    sheets : tuple of Sheet
    steps : tuple of (str, tuple of str)
        Of a flow diagram: what a box holds, and what left on the way to the next.
    absent : str
        Why there is nothing to show; empty where there is.
    """

    key: str
    title: str
    text: tuple[str, ...] = ()
    tables: tuple[ResultTable, ...] = ()
    folded: tuple[ResultTable, ...] = ()
    pictures: tuple[Picture, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    steps: tuple[tuple[str, tuple[str, ...]], ...] = ()
    absent: str = ""


@dataclass(frozen=True, eq=False)
class ReportContent:
    """Everything that a report is made of.

    Parameters
    ----------
    title : str
    truth : mapping of str to Diagnosis
        By case.
    models : sequence of ModelResult
        The one reported on first, others of the same study folder after it.
    readings : sequence of Reading
        Human ones, of any number of readers and arms; of other cases they are left out.
    participants : sequence of ParticipantSummary
        Everybody enrolled, with or without a case.
    owners : mapping of str to str
        Participant of each case; a case that is missing here is its participant.
    levels : mapping of str to str
        Vertebral level of each case.
    signs : sequence of SignScores
        Of any number of readers.
    refused : mapping of str to int
        Series that were not used, by reason.
    audit : sequence of Finding
    provenance : mapping of str to str
        Recipe, digests, versions.
    sheet : callable
        Gives the contact sheet (PNG) of a case, or None.
    phantom : bool
        Whether any case is a phantom; then every figure says so.
    stale : bool
        Whether the study folder has changed since training; then the page says so.
    """

    title: str
    truth: Mapping[str, Diagnosis]
    models: Sequence[ModelResult]
    readings: Sequence[Reading] = ()
    participants: Sequence[ParticipantSummary] = ()
    owners: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, str] = field(default_factory=dict)
    signs: Sequence[SignScores] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    audit: Sequence[Finding] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    sheet: Callable[[str], bytes | None] = lambda case_id: None
    phantom: bool = False
    stale: bool = False

    @cached_property
    def humans(self) -> dict[str, tuple[Reading, ...]]:
        """Readings by reader, ordered by name."""
        return dict(sorted(readings_by_reader(self.readings, self.truth).items()))

    @cached_property
    def named_models(self) -> tuple[ModelResult, ...]:
        """The models; one that is called like a reader is told apart."""
        return tuple(
            replace(model, name=f"{model.name} (model)") if model.name in self.humans else model
            for model in self.models
        )

    @property
    def main(self) -> ModelResult:
        """The model reported on."""
        return self.named_models[0]

    @cached_property
    def everyone(self) -> dict[str, tuple[Reading, ...]]:
        """Readings of readers and models, the model reported on first."""
        models = {model.name: model.readings for model in self.named_models}
        return {self.main.name: self.main.readings} | self.humans | models

    @cached_property
    def answers(self) -> dict[str, dict[str, Diagnosis]]:
        """Diagnoses by reader, then by case, ordered as :attr:`everyone`."""
        return {label: answers_of(readings) for label, readings in self.everyone.items()}

    @cached_property
    def reference(self) -> str:
        """Whose sign scores stand for what is to be seen: the phantom's truth, or who scored most cases; or nobody."""
        return reference_reader(scores for scores in self.signs if scores.case_id in self.truth)

    @cached_property
    def scores(self) -> dict[str, Mapping[str, Score]]:
        """Signs of the reference reader, by case; empty where nobody scored."""
        mine = [scores for scores in self.signs if scores.case_id in self.truth]
        return scores_by_case(mine, self.reference) if self.reference else {}

    def cases_of(self, diagnosis: Diagnosis) -> list[str]:
        """List the cases of one class.

        Parameters
        ----------
        diagnosis : Diagnosis

        Returns
        -------
        list of str
        """
        return [case for case, truth in self.truth.items() if truth == diagnosis]

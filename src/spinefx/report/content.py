"""The content of a report and the sections that are made from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from spinefx.cases.reading import Reading, SignScores
from spinefx.errors import InputError
from spinefx.report.figures import Drawing
from spinefx.statistics.performance import ModelResult
from spinefx.statistics.readings import diagnoses_of, readings_by_reader
from spinefx.statistics.signs import reference_reader, scores_by_case
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Diagnosis, Score

__all__ = ["Finding", "ParticipantSummary", "Picture", "ReportContent", "Section", "Sheet"]


@dataclass(frozen=True)
class Finding:
    """The result of one check of the leak audit.

    Parameters
    ----------
    check : str
        What was checked.
    passed : bool
    detail : str
        What was compared, and the result.
    """

    check: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class ParticipantSummary:
    """The data of one participant that a report needs.

    Parameters
    ----------
    participant_id : str
    diagnosis : Diagnosis
    truth_source : str
        How the diagnosis was established.
    age : float or None
        Age in years.
    sex, primary_tumor : str
        Empty if unknown.
    """

    participant_id: str
    diagnosis: Diagnosis
    truth_source: str
    age: float | None = None
    sex: str = ""
    primary_tumor: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure with its caption.

    Parameters
    ----------
    name : str
        File name without its extension.
    drawing : Drawing
    caption : str
    alternative : str
        Text alternative for readers who cannot see the figure.
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
    """One section of a report.

    Parameters
    ----------
    key : str
        Its anchor on the page.
    title : str
    text : tuple of str
        Paragraphs at the start of the section.
    tables, folded : tuple of ResultTable
        Tables that are shown, and tables that are shown on request.
    pictures : tuple of Picture
    sheets : tuple of Sheet
    steps : tuple of (str, tuple of str)
        Boxes of a flow diagram, each with what was excluded before the next.
    absent : str
        Why the section has no content; empty otherwise.
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
    """Everything from which a report is made.

    Parameters
    ----------
    title : str
    truth : mapping of str to Diagnosis
        By case.
    models : sequence of ModelResult
        The model reported on comes first, followed by others of the same workspace; empty for a report on readers.
    readings : sequence of Reading
        Readings of any number of readers and arms; those of other cases are left out.
    participants : sequence of ParticipantSummary
        All participants, with or without a case.
    owners : mapping of str to str
        Participant of each case; by default the participant has the identifier of the case.
    levels : mapping of str to str
        Vertebral level of each case.
    signs : sequence of SignScores
        Sign scores of any number of readers.
    located : sequence of (str, float or None, bool)
        For each box that the localiser was to place: how its vertebra was chosen (``name``, ``place`` or ``none``), how
        far its centre lies from the box that it replaced, in millimetres within the slices, and whether they share a
        slice.
    sign_chances : mapping of str to mapping
        Of a signs model: its held-out probability of each sign, by case; empty for a model of another kind.
    refused : mapping of str to int
        Number of series that were not used, by reason.
    audit : sequence of Finding
    provenance : mapping of str to str
        Recipe, digests, versions.
    sheet : callable
        Returns the contact sheet (PNG) of a case, or None.
    phantom : bool
        Whether any case is a phantom; every figure then says so.
    stale : bool
        Whether the workspace has changed since training; the page then says so.
    """

    title: str
    truth: Mapping[str, Diagnosis]
    models: Sequence[ModelResult]
    readings: Sequence[Reading] = ()
    participants: Sequence[ParticipantSummary] = ()
    owners: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, str] = field(default_factory=dict)
    signs: Sequence[SignScores] = ()
    located: Sequence[tuple[str, float | None, bool]] = ()
    sign_chances: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    audit: Sequence[Finding] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    sheet: Callable[[str], bytes | None] = lambda case_id: None
    phantom: bool = False
    stale: bool = False

    @cached_property
    def human_readings(self) -> dict[str, tuple[Reading, ...]]:
        """Readings by reader, sorted by name; models are not included."""
        return dict(sorted(readings_by_reader(self.readings, self.truth).items()))

    @cached_property
    def named_models(self) -> tuple[ModelResult, ...]:
        """The models; a model with the name of a reader is marked ``(model)``."""
        return tuple(
            replace(model, name=f"{model.name} (model)") if model.name in self.human_readings else model
            for model in self.models
        )

    @property
    def main(self) -> ModelResult:
        """The model reported on; an InputError if the report is on readers alone."""
        if not self.named_models:
            raise InputError("there is no model in this report", remedy="Run `spinefx train WORKSPACE`")
        return self.named_models[0]

    @property
    def lead(self) -> str:
        """Name of the model reported on or, without one, of the first reader; empty if there is neither."""
        return next(iter(self.all_readings), "")

    @cached_property
    def all_readings(self) -> dict[str, tuple[Reading, ...]]:
        """Readings by reader or model, the model reported on first."""
        models = {model.name: model.readings for model in self.named_models}
        first = dict(list(models.items())[:1])
        return first | self.human_readings | models

    @cached_property
    def diagnoses(self) -> dict[str, dict[str, Diagnosis]]:
        """Diagnoses by reader or model, then by case, in the order of :attr:`all_readings`."""
        return {label: diagnoses_of(readings) for label, readings in self.all_readings.items()}

    @cached_property
    def reference(self) -> str:
        """The reader whose sign scores serve as the reference; empty if there are none."""
        return reference_reader(scores for scores in self.signs if scores.case_id in self.truth)

    @cached_property
    def scores(self) -> dict[str, Mapping[str, Score]]:
        """Sign scores of the reference reader by case; empty if there are none."""
        scored = [scores for scores in self.signs if scores.case_id in self.truth]
        return scores_by_case(scored, self.reference) if self.reference else {}

    def cases_of(self, diagnosis: Diagnosis) -> list[str]:
        """Return the cases of one class.

        Parameters
        ----------
        diagnosis : Diagnosis

        Returns
        -------
        list of str
        """
        return [case for case, truth in self.truth.items() if truth == diagnosis]

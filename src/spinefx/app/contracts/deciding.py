"""The decide page: opening a study, the model's opinion on it or why there is none, and saliency maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from spinefx.app.contracts.base import RequestBody, ResponseBody
from spinefx.app.contracts.images import ImagePair, LesionExtent, Point, SeriesImage
from spinefx.vocabulary import Diagnosis

__all__ = [
    "CalibratedProbability",
    "CannotTell",
    "ClassHistogram",
    "DecideOverview",
    "EngineVersion",
    "InputMeasure",
    "ListedSeries",
    "LocalHistogram",
    "MapCheck",
    "ModelIdentity",
    "ModelProbability",
    "ModelSpread",
    "NearestCase",
    "OpenedStudy",
    "OpinionBox",
    "OpinionModel",
    "OpinionRequest",
    "PatientProbability",
    "RegistrationRecord",
    "SaliencyReply",
    "SaliencyRequest",
    "SecondOpinion",
    "SeriesRequest",
    "SliceProbability",
    "StillOpen",
    "ThresholdRule",
    "WhyNot",
]


class SeriesRequest(RequestBody):
    """Places, in the list of series, of those to use; STIR where the model reads it."""

    t1w: int = Field(ge=0)
    t2w: int = Field(ge=0)
    stir: int | None = Field(default=None, ge=0)


class OpinionRequest(LesionExtent):
    """A lesion of an open study, for the model to judge."""

    study: str = Field(max_length=40)


class SaliencyRequest(RequestBody):
    """Which slice of the lesion, counted from its first, to map for an opinion that was given."""

    opinion: str = Field(max_length=40)
    position: int = Field(ge=0)


class ModelIdentity(ResponseBody):
    """The models that answer, and the local cases that they are compared with.

    Parameters
    ----------
    recipe : str
    models : int
    digests : list of str
    cohort_digest : str
    experiment : str
        Empty where the models' out-of-fold predictions are not at hand; ``cases`` is 0 then.
    cases : int
    """

    recipe: str
    models: int
    digests: list[str]
    cohort_digest: str
    experiment: str
    cases: int


class DecideOverview(ResponseBody):
    """What the decide page starts from.

    Parameters
    ----------
    model : ModelIdentity or None
        None where no model can answer; ``trouble`` says why.
    trouble : str
    participants : list of str
        Of this workspace; shown to editors alone.
    upload_bytes : int
        Most that may be sent at once.
    can_print : bool
        Whether this server can write the report as PDF.
    """

    model: ModelIdentity | None
    trouble: str
    participants: list[str]
    upload_bytes: int
    can_print: bool


class ListedSeries(ResponseBody):
    """One series of a study: what it is used as, or why it is not, and what it shows."""

    label: str
    use: str
    reason: str
    kind: str


class OpenedStudy(ResponseBody):
    """A study that is open on the decide page.

    Parameters
    ----------
    study : str
        Random name, for this user alone.
    title : str
    can_choose : bool
        Whether the user may choose the series.
    series : list of ListedSeries
    refused_files : dict of str to int
        How many files were not used, by reason.
    trouble : str
        Why there is no pair; empty where there is one.
    pair : ImagePair or None
    alone : SeriesImage or None
        T2W where it is all that can be shown.
    notes : list of str
        What was mended in the study: copies left out, series joined, studies read as one.
    needed : list of str
        Labels of the series that are read: the two that are shown, and what the model reads besides.
    phantom : bool
        Whether this is known to be a phantom.
    """

    study: str
    title: str
    can_choose: bool
    series: list[ListedSeries]
    refused_files: dict[str, int]
    trouble: str
    pair: ImagePair | None
    alone: SeriesImage | None
    notes: list[str]
    needed: list[str]
    phantom: bool


class StillOpen(ResponseBody):
    """The study stays open, because its page says that it is there."""

    study: str


class ModelProbability(ResponseBody):
    """One model's probability of malignancy, as trained and corrected for the share of malignancy in training."""

    probability: float
    corrected_probability: float


class PatientProbability(ModelProbability):
    """The mean over the models, and the diagnosis at the recipe's threshold."""

    diagnosis: Diagnosis
    threshold: float
    threshold_on: str
    rule: str
    by_model: list[ModelProbability]


class SliceProbability(ModelProbability):
    """The probability of one T2W slice, counted from 0."""

    slice: int


class OpinionBox(ResponseBody):
    """The box that an opinion is for."""

    centre_mm: Point
    side_mm: float
    first_slice: int
    last_slice: int


class RegistrationRecord(ResponseBody):
    """How one series was aligned with T2W; the matrix is 4 x 4, from T2W millimetres to those of the series."""

    method: str
    similarity_before: float
    similarity_after: float
    largest_motion_mm: float
    rotation_deg: float
    same_frame_of_reference: bool
    reason: str
    matrix: list[list[float]]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> RegistrationRecord:
        """Return the record of :func:`spinefx.cases.alignment.alignment_record`, whose matrix names the series.

        Parameters
        ----------
        record : mapping

        Returns
        -------
        RegistrationRecord
        """
        return cls(**{"matrix" if name.startswith("t2w_mm_to_") else name: value for name, value in record.items()})


class EngineVersion(ResponseBody):
    """The library that computes the networks."""

    name: str
    version: str


class OpinionModel(ResponseBody):
    """Which models answered, by their digests."""

    digests: list[str]
    engine: EngineVersion
    recipe: str
    recipe_digest: str
    cohort_digest: str
    optimistic: str
    initialisation: str
    prior_inflation: float


class CalibratedProbability(ResponseBody):
    """The probability after recalibration on the local cases, with its 95% confidence interval."""

    value: float
    low: float
    high: float
    text: str
    slope: str
    said: str


class ModelSpread(ResponseBody):
    """Least and greatest probability among several models."""

    low: float
    high: float
    models: int


class ThresholdRule(ResponseBody):
    """The threshold, what it applies to, the diagnosis, and the accuracy among the local cases where it is known."""

    value: float
    on: str
    diagnosis: Diagnosis
    sensitivity: str | None
    specificity: str | None


class ClassHistogram(ResponseBody):
    """Out-of-fold probabilities of the local cases of one class, and how many lie below this one."""

    counts: list[int]
    cases: int
    below: int


class LocalHistogram(ResponseBody):
    """Where the probability lies among the local cases."""

    bins: int
    place: float
    benign: ClassHistogram
    malignant: ClassHistogram


class NearestCase(ResponseBody):
    """A proven local case that looks alike.

    Parameters
    ----------
    case : str
    diagnosis : Diagnosis
    truth_source : str
    probability : float
        Out-of-fold.
    likeness : float
    picture, sheet : str
        Names of its pictures; the sheet is there for cases that have one.
    """

    case: str
    diagnosis: Diagnosis
    truth_source: str
    probability: float
    likeness: float
    picture: str
    sheet: str | None = None


class InputMeasure(ResponseBody):
    """A measure of the input beside the cohort's range; without a range where too few cases are known."""

    what: str
    value: float
    cases: int
    state: Literal["in range", "outside", "unknown"]
    low: float | None = None
    high: float | None = None


class SecondOpinion(ResponseBody):
    """The model's opinion on one lesion, with all that belongs beside it.

    Parameters
    ----------
    opinion : str
        Random name, under which its report and its maps are requested.
    given : str
        When, by the server's clock.
    spinefx : str
        Version.
    note : str
    patient : PatientProbability
    slices : list of SliceProbability
    lesion : OpinionBox
    flags : list of str
    registration : RegistrationRecord or None
        Of T1W, or of the first series that the model reads beside T2W; None where it reads T2W alone.
    registrations : dict of str to RegistrationRecord
        By series, where the model reads several beside T2W.
    model : OpinionModel
    answered_by : str
    phantom : bool
        Whether the local cases are phantoms, so that no figure applies to patients.
    probability : CalibratedProbability or None
    spread : ModelSpread or None
    threshold : ThresholdRule
    histogram : LocalHistogram or None
    nearest : list of NearestCase
    nearest_by : str
    quality : list of InputMeasure
    not_checked : list of str
        Guards that could not be applied, each with its reason.
    training_case : str
        Whether this case trained the models: yes, no, or not known.
    cautions, stamps : list of str
    """

    opinion: str
    given: str
    spinefx: str
    note: str
    patient: PatientProbability
    slices: list[SliceProbability]
    lesion: OpinionBox
    flags: list[str]
    registration: RegistrationRecord | None
    registrations: dict[str, RegistrationRecord] | None = None
    model: OpinionModel
    answered_by: str
    phantom: bool
    probability: CalibratedProbability | None
    spread: ModelSpread | None
    threshold: ThresholdRule
    histogram: LocalHistogram | None
    nearest: list[NearestCase]
    nearest_by: str
    quality: list[InputMeasure]
    not_checked: list[str]
    training_case: str
    cautions: list[str]
    stamps: list[str]


class WhyNot(ResponseBody):
    """Why no probability is given.

    Parameters
    ----------
    kind : str
        Name of the error.
    words : str
        The same in plain words.
    remedy : str
        What to do next.
    reason : str
        What was found, and what was expected.
    """

    kind: str
    words: str
    remedy: str
    reason: str


class CannotTell(ResponseBody):
    """No number at all, but a reason."""

    cannot_tell: WhyNot


class MapCheck(ResponseBody):
    """One check of a saliency map: what was done, and what came of it."""

    passes: bool
    said: str


class SaliencyReply(ResponseBody):
    """A saliency map over one slice, with its checks.

    Parameters
    ----------
    slice : int
    values, shuffled, unlearned : list of list of float
        The map; the map of the image with its pixels shuffled; the map of networks with their weights shuffled.
    passes : bool
    checks : list of MapCheck
    verdict : str
    models : int
    picture : str
        Name of the patch's picture.
    """

    slice: int
    values: list[list[float]]
    shuffled: list[list[float]]
    unlearned: list[list[float]]
    passes: bool
    checks: list[MapCheck]
    verdict: str
    models: int
    picture: str

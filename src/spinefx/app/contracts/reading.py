"""The read page: reader studies, blinded cases, sealed answers, and the editor's tables."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from spinefx.app.contracts.base import RequestBody, ResponseBody
from spinefx.app.contracts.images import CaseImages, LesionExtent
from spinefx.reader_study.answer import Answer
from spinefx.reader_study.clock import Presence
from spinefx.reader_study.design import DesignKind
from spinefx.reader_study.session import Step
from spinefx.vocabulary import SIGNS, Diagnosis, Score

__all__ = [
    "AnswerRequest",
    "CurrentCase",
    "DraftForm",
    "DraftKept",
    "EditorTables",
    "ModelPrediction",
    "OpenedCase",
    "PresenceRequest",
    "ReaderProgress",
    "ReadingCase",
    "ReadingOverview",
    "SealedAnswer",
    "SessionProgress",
    "SignDefinition",
    "StudyProgress",
    "StudyTable",
]

Confidence = Annotated[int, Field(ge=0, le=100)]
Scores = Annotated[dict[str, Score], Field(max_length=len(SIGNS))]
Comment = Annotated[str, Field(max_length=400)]


class DraftForm(RequestBody):
    """An unfinished form, as far as it is filled in."""

    diagnosis: Diagnosis | None = None
    confidence: Confidence | None = None
    signs: Scores = Field(default_factory=dict)
    comment: Comment = ""


class AnswerRequest(RequestBody):
    """A finished form to seal.

    Parameters
    ----------
    key : str
        Drawn by the page for this answer, so that sending it twice seals it once.
    diagnosis : Diagnosis
    confidence : int
        That the fracture is malignant, 0 to 100.
    signs : dict of str to Score, or None
        All fifteen, or None where the design does not ask for them.
    comment : str
    """

    key: str = Field(min_length=1, max_length=64)
    diagnosis: Diagnosis
    confidence: Confidence
    signs: Scores | None = None
    comment: Comment = ""

    def to_answer(self) -> Answer:
        """Return the answer, or refuse one whose fields do not fit together.

        Returns
        -------
        Answer

        Raises
        ------
        InputError
        """
        return Answer(self.diagnosis, self.confidence, self.signs, self.comment)


class PresenceRequest(RequestBody):
    """Whether the reader is looking at the page."""

    presence: Presence


class DraftKept(ResponseBody):
    """The draft is stored."""

    kept: bool


class SignDefinition(ResponseBody):
    """One of the fifteen signs, and when to score it."""

    identifier: str
    label: str
    definition: str


class SessionProgress(ResponseBody):
    """How far a reader has come in one session.

    Parameters
    ----------
    session : int
        From 1.
    cases, done : int
    closed : str
        Why the session cannot be read yet; empty where it can.
    """

    session: int
    cases: int
    done: int
    closed: str


class StudyProgress(ResponseBody):
    """A reader study that the user takes part in."""

    study: str
    design: DesignKind
    sessions: list[SessionProgress]


class ReadingOverview(ResponseBody):
    """The user's reader studies, and the signs that they ask for."""

    signs: list[SignDefinition]
    studies: list[StudyProgress]


class SealedAnswer(ResponseBody):
    """The reader's own first answer, as it was sealed.

    Parameters
    ----------
    diagnosis : Diagnosis
    confidence : int
    signs : dict of str to Score, or None
    comment : str
    digest : str
        SHA-256 of the answer.
    entry : int
        Number of its entry in the log.
    """

    diagnosis: Diagnosis
    confidence: int
    signs: dict[str, Score] | None
    comment: str
    digest: str
    entry: int


class ReadingCase(ResponseBody):
    """What a reader may know of a case before its images.

    Parameters
    ----------
    handle : str
        Random name of the case in this session.
    place, of : int
        Position among the cases of the session, from 1.
    practice : bool
    step : Step
    draft : DraftForm or None
    own : SealedAnswer or None
        None before the first answer is sealed.
    """

    handle: str
    place: int
    of: int
    practice: bool
    step: Step
    draft: DraftForm | None
    own: SealedAnswer | None


class CurrentCase(ResponseBody):
    """The case whose turn it is; None when the session is finished."""

    case: ReadingCase | None


class ModelPrediction(ResponseBody):
    """The model's prediction, which a reader sees once their own answer is sealed.

    Parameters
    ----------
    probability : float
        Of malignancy, 0 to 1.
    diagnosis : Diagnosis
    slices : list of (int, float)
        T2W slice, from 0, and its probability.
    model : str
        Experiment, and the first characters of the weights' digest.
    lesion : LesionExtent
        The box that the prediction is for.
    """

    probability: float
    diagnosis: Diagnosis
    slices: list[tuple[int, float]]
    model: str
    lesion: LesionExtent


class OpenedCase(ReadingCase, CaseImages):
    """A case opened for reading.

    Parameters
    ----------
    signs : bool
        Whether the design asks for the fifteen signs.
    model : ModelPrediction or None
        None unless it was revealed before.
    """

    signs: bool
    model: ModelPrediction | None


class ReaderProgress(ResponseBody):
    """How far one reader has come, as the editor sees it.

    Parameters
    ----------
    reader : str
    done, of : int
    early_requests : int
        How often the model's prediction was requested before the seal.
    """

    reader: str
    done: int
    of: int
    early_requests: int


class StudyTable(ResponseBody):
    """One reader study, as its editor sees it; no answers.

    Parameters
    ----------
    study : str
    design : DesignKind
    cases : int
    model : str
        Experiment whose predictions are shown; empty where none are.
    readers : list of ReaderProgress
    """

    study: str
    design: DesignKind
    cases: int
    model: str
    readers: list[ReaderProgress]


class EditorTables(ResponseBody):
    """Every registered reader study."""

    studies: list[StudyTable]

"""A second opinion on one study: open it, mark the vertebra, and see the answer among the local cases, or why there is
none.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from spinefx.app.access import Editor, Reader
from spinefx.app.annotating import BoxRequest, on_middle_slice
from spinefx.app.opened import Answer, OpenStudies, OpenStudy, new_folder
from spinefx.app.opinion_report import STYLE, can_print, opinion_page, opinion_pdf
from spinefx.app.receiving import receive
from spinefx.app.state import ServerState, state_of
from spinefx.app.users import Role, User
from spinefx.cases.lesion import Lesion
from spinefx.cases.patch import PROTOCOL_SEQUENCES
from spinefx.cases.sheet import centre_picture
from spinefx.errors import AccessError, SpinefxError
from spinefx.learning.scoring import score
from spinefx.second_opinion.intake import Opened, open_safely, open_volumes
from spinefx.second_opinion.opinion import Opinion, Panel, load_panel, second_opinion
from spinefx.vocabulary import Weighting
from spinefx.workspace.stacks import sheet_path

__all__ = ["UPLOAD_PATH", "add_deciding"]

UPLOAD_PATH = "/api/decide/studies"
ASKED, STUDY_OPENED = "decide.asked", "decide.opened"
BROUGHT = "A study that you opened"
# At once in all: each takes a process with its own memory.
MOST_READING = 2
# Why no number is given, in plain words.
CANNOT_TELL = {
    "SelectionError": "Without a sagittal T1W and a sagittal T2W series there is nothing to score.",
    "RegistrationError": "T1W and T2W could not be brought together: the model would see two different places.",
    "BoxError": "The box or its slices do not lie on the image.",
    "PatchError": "In one of the series the box shows nothing that could be scored.",
    "MissedVertebraError": "By the boxes of this cohort, this one does not seem to hold a vertebra in its middle.",
    "UnlikeTrainingError": "Images or box are too far from all that the model was trained on.",
    "LeakError": "The model may have been trained on this very patient.",
    "ModelError": "There is no model here that can be trusted.",
    "WorkspaceError": "There is no model here.",
}


class _LesionRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    box: BoxRequest
    first_slice: int = Field(ge=0)
    last_slice: int = Field(ge=0)

    def to_lesion(self, study: OpenStudy) -> Lesion:
        box = on_middle_slice(self.box.to_box(), self.first_slice, self.last_slice, study.pair.t2w)
        return Lesion(box, self.first_slice, self.last_slice)


class _AnswerRequest(_LesionRequest):
    study: str = Field(max_length=40)


class _SeriesRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    t1w: int = Field(ge=0)
    t2w: int = Field(ge=0)


class _SaliencyRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    answer: str = Field(max_length=40)
    position: int = Field(ge=0)


def add_deciding(app: FastAPI) -> None:
    """Add the decide page's routes.

    Parameters
    ----------
    app : FastAPI
        With its state.
    """
    app.state.desk = desk = _Desk(state_of(app))
    _add_opening(app, desk)
    _add_answering(app, desk)


def _add_opening(app: FastAPI, desk: _Desk) -> None:
    @app.get("/api/decide")
    def overview(user: Reader) -> dict[str, Any]:
        return desk.overview(user)

    @app.post("/api/decide/participants/{participant_id}")
    def participant(participant_id: str, user: Editor) -> dict[str, Any]:
        # An editor's alone: who reads this study blinded must not meet the model's answer to its cases here.
        return desk.open_participant(user, participant_id)

    @app.post(UPLOAD_PATH)
    async def upload(request: Request, user: Reader) -> dict[str, Any]:
        folder = new_folder()
        try:
            await receive(request, Path(folder.name))
            return await run_in_threadpool(desk.open_folder, user, folder)
        except BaseException:
            folder.cleanup()
            raise

    @app.get("/api/decide/opened/{study}")
    def opened(study: str, user: Reader) -> dict[str, Any]:
        return desk.studies.find(study, user.code).describe(desk.state.imagery)

    @app.put("/api/decide/opened/{study}")
    def still_here(study: str, user: Reader) -> dict[str, Any]:
        return {"study": desk.studies.find(study, user.code).name}

    @app.delete("/api/decide/opened/{study}")
    def close(study: str, user: Reader) -> dict[str, Any]:
        desk.studies.close(study, user.code)
        return {}

    @app.post("/api/decide/opened/{study}/series")
    def choose(study: str, wanted: _SeriesRequest, user: Reader) -> dict[str, Any]:
        return desk.choose(desk.studies.find(study, user.code), wanted.t1w, wanted.t2w)


def _add_answering(app: FastAPI, desk: _Desk) -> None:
    @app.post("/api/decide/opened/{study}/alignment")
    def alignment(study: str, wanted: _LesionRequest, user: Reader) -> dict[str, Any]:
        found = desk.studies.find(study, user.code)
        aligned = found.aligned(wanted.to_lesion(found), desk.registration)
        placed = next(one.alignment for one in aligned if one.weighting is Weighting.T1W)
        assert placed is not None
        return {"matrix": placed.matrix.tolist(), "method": placed.method, "reason": placed.reason}

    @app.post("/api/decide/answer")
    def answer(wanted: _AnswerRequest, user: Reader) -> dict[str, Any]:
        return desk.answer(user, desk.studies.find(wanted.study, user.code), wanted)

    @app.post("/api/decide/saliency")
    def saliency(wanted: _SaliencyRequest, user: Reader) -> dict[str, Any]:
        study, given = desk.studies.answer(wanted.answer, user.code)
        found = given.map(wanted.position).to_json()
        stack = given.opinion.scored.stack
        patch = stack.cut(wanted.position).array
        return found | {"picture": study.show(partial(centre_picture, patch, stack.settings))}

    @app.get("/api/decide/pictures/{name}")
    def picture(name: str, user: Reader) -> Response:
        return Response(desk.studies.picture(name, user.code), media_type="image/png")

    @app.get("/api/decide/report.css")
    def style(user: Reader) -> Response:
        return Response(STYLE, media_type="text/css")

    @app.get("/api/decide/answers/{name}/report")
    def report(name: str, user: Reader) -> Response:
        study, given = desk.studies.answer(name, user.code)
        return Response(opinion_page(study, given), media_type="text/html; charset=utf-8")

    @app.get("/api/decide/answers/{name}/report.pdf")
    def pdf(name: str, user: Reader) -> Response:
        study, given = desk.studies.answer(name, user.code)
        said = {"content-disposition": 'attachment; filename="second-opinion.pdf"'}
        return Response(opinion_pdf(study, given), media_type="application/pdf", headers=said)


class _Desk:
    """What the routes of this page share: the models, loaded once, and the open studies."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.studies = OpenStudies(state.imagery)
        state.at_end.append(self.studies.close_all)
        self._panel: Panel | None = None
        self._loading = threading.Lock()
        self._reading = threading.BoundedSemaphore(MOST_READING)

    @property
    def panel(self) -> Panel:
        with self._loading:
            if self._panel is None:
                self._panel = load_panel(self.state.workspace, self.state.settings.model)
            return self._panel

    @property
    def registration(self) -> str:
        """How T1W is shown: as the model would get it."""
        try:
            return self.panel.models[0].card.settings.registration
        except SpinefxError:
            return "rigid"

    @property
    def sequences(self) -> tuple[Weighting, ...]:
        """The series that are read: the two that the page shows, and what the model reads besides."""
        try:
            needed = self.panel.models[0].card.settings.sequences
        except SpinefxError:
            needed = PROTOCOL_SEQUENCES
        return (*PROTOCOL_SEQUENCES, *(one for one in needed if one not in PROTOCOL_SEQUENCES))

    def overview(self, user: User) -> dict[str, Any]:
        try:
            model, trouble = self._identity(self.panel), ""
        except SpinefxError as error:
            model, trouble = None, str(error)
        is_editor = Role.EDITOR in user.roles
        return {
            "model": model,
            "trouble": trouble,
            "participants": [one.name for one in self.state.workspace.participant_folders()] if is_editor else [],
            "upload_bytes": self.state.settings.limits.upload_bytes,
            "can_print": can_print(),
        }

    def open_participant(self, user: User, participant_id: str) -> dict[str, Any]:
        folder = self.state.workspace.image(participant_id, "T2w").parent
        opened = open_volumes((folder, self.sequences, {}))
        self.state.log.append(STUDY_OPENED, user.code, participant_id)
        study = self.studies.add(user.code, participant_id, opened, participant_id)
        return study.describe(self.state.imagery)

    def open_folder(self, user: User, folder: tempfile.TemporaryDirectory[str]) -> dict[str, Any]:
        opened = self._read(Path(folder.name))
        study = self.studies.add(user.code, BROUGHT, opened, self._recognised(opened), folder)
        self.state.log.append(STUDY_OPENED, user.code)
        return study.describe(self.state.imagery)

    def choose(self, study: OpenStudy, t1w: int, t2w: int) -> dict[str, Any]:
        if study.folder is None:
            raise AccessError("the series of a participant are chosen already")
        study.opened = self._read(Path(study.folder.name), {Weighting.T1W: t1w, Weighting.T2W: t2w})
        study.participant_id = self._recognised(study.opened)
        study.alignments = {}
        return study.describe(self.state.imagery)

    def answer(self, user: User, study: OpenStudy, wanted: _AnswerRequest) -> dict[str, Any]:
        subject = study.participant_id if study.folder is None else None
        try:
            # Before anything else, so that a study without a pair is told from a box off the image.
            series, panel = study.volumes, self.panel
            models, said = panel.who_answers(study.participant_id)
            panel.refuse_far(study.opened.measures)
            lesion = wanted.to_lesion(study)
            aligned = study.aligned(lesion, models[0].card.settings.registration)
            scored = score(models, lesion, series, aligned=aligned)
            opinion = second_opinion(
                panel, scored, said=said, participant_id=study.participant_id, measures=study.opened.measures
            )
        except SpinefxError as error:
            kind = type(error).__name__
            self.state.log.append(ASKED, user.code, subject or "", {"refused": kind})
            return {"cannot_tell": {"kind": kind, "words": _plainly(error)} | _reason(error)}
        digests = [one.digest for one in models]
        self.state.log.append(ASKED, user.code, subject or "", {"models": digests})
        # A reader who may yet have to read these cases blinded is not shown them with their truth.
        if Role.EDITOR not in user.roles:
            opinion = Opinion(opinion.scored, opinion.content | {"nearest": []}, ())
        given = Answer(secrets.token_urlsafe(12), opinion, datetime.now().astimezone().isoformat(timespec="seconds"))
        study.keep(given)
        nearest = [
            told | self._pictures(study, opinion, place) for place, told in enumerate(opinion.content["nearest"])
        ]
        return opinion.content | {"answer": given.name, "given": given.given, "nearest": nearest}

    def _pictures(self, study: OpenStudy, opinion: Opinion, place: int) -> dict[str, str]:
        """Names under which the page fetches the pictures of a proven case."""
        case, settings = opinion.nearest[place], opinion.scored.recipe.patch_settings
        sheet = sheet_path(self.state.workspace.patches_folder(settings), case.participant_id, case.case_id)
        assert case.patch is not None  # only such cases are near
        named = {"picture": study.show(partial(centre_picture, case.patch, settings))}
        return named | ({"sheet": study.show(sheet.read_bytes)} if sheet.is_file() else {})

    def _read(self, folder: Path, places: Mapping[Weighting, int] | None = None) -> Opened:
        if not self._reading.acquire(timeout=60):
            raise AccessError("too many studies are being read", remedy="Try again in a minute.")
        try:
            return open_safely(folder, self.sequences, places)
        finally:
            self._reading.release()

    def _recognised(self, opened: Opened) -> str | None:
        try:
            # The marked series first: where two series belong to two participants, it decides.
            return self.panel.recognise(*sorted(opened.volumes.values(), key=lambda one: one is not opened.marked))
        except SpinefxError:
            return None  # without a model nothing is answered

    def _identity(self, panel: Panel) -> dict[str, Any]:
        card, evidence = panel.models[0].card, panel.evidence
        return {
            "recipe": card.recipe.name,
            "models": len(panel.models),
            "digests": [one.digest for one in panel.models],
            "cohort_digest": card.cohort_digest,
            "experiment": "" if evidence is None else evidence.experiment,
            "cases": 0 if evidence is None else len(evidence.cases),
        }


def _plainly(error: SpinefxError) -> str:
    kinds = [kind.__name__ for kind in type(error).__mro__]
    return next((CANNOT_TELL[kind] for kind in kinds if kind in CANNOT_TELL), "The input cannot be scored.")


def _reason(error: SpinefxError) -> dict[str, str]:
    """What to do, and apart from it what was found and what is allowed."""
    found = type(error)(error.found, where=error.where, allowed=error.allowed)
    return {"remedy": error.remedy, "reason": str(found)[:1].upper() + str(found)[1:]}

"""Reader studies at the page: blinded cases, sealed answers, the model after the seal, and the editor's export."""

from __future__ import annotations

import contextlib
import io
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import BackgroundTasks, FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field

from spinefx.app.access import Editor, Reader
from spinefx.app.showing import case_of, get_ready, show_case
from spinefx.app.state import ServerState, state_of
from spinefx.app.users import User
from spinefx.commands.reader_study import export_study
from spinefx.errors import AccessError, SpinefxError, StaleError, WorkspaceError
from spinefx.reader_study.answer import Answer
from spinefx.reader_study.assistance import ModelAnswer, model_answers
from spinefx.reader_study.clock import Clock, Presence
from spinefx.reader_study.export import states_of
from spinefx.reader_study.session import CaseState, Phase, Session, Step
from spinefx.reader_study.study import RegisteredStudy, find_study, mark_of, registered_studies
from spinefx.vocabulary import SIGNS, Diagnosis, Score

__all__ = ["add_reading"]

TROUBLE = "case.trouble"


class _Draft(BaseModel):
    """An unfinished form: whatever of it is there."""

    model_config = ConfigDict(extra="forbid")
    diagnosis: Diagnosis | None = None
    confidence: Annotated[int, Field(ge=0, le=100)] | None = None
    signs: Annotated[dict[str, Score], Field(max_length=len(SIGNS))] = {}
    comment: str = Field("", max_length=400)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    key: str = Field(min_length=1, max_length=64)
    diagnosis: Diagnosis
    confidence: int = Field(ge=0, le=100)
    signs: Annotated[dict[str, Score], Field(max_length=len(SIGNS))] | None = None
    comment: str = Field("", max_length=400)

    def to_answer(self) -> Answer:
        """Check what a model of fields cannot.

        Returns
        -------
        Answer
        """
        return Answer(self.diagnosis, self.confidence, self.signs, self.comment)


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")
    presence: Presence


def add_reading(app: FastAPI) -> None:
    """Add the routes of reader studies.

    Parameters
    ----------
    app : FastAPI
        With its state.
    """
    state = state_of(app)
    app.state.clock = Clock()

    def session_of(study: str, session: int, user: User) -> Session:
        return Session(state.log, find_study(state.log, study), user.code, session, app.state.clock)

    @app.get("/api/read")
    def overview(user: Reader) -> dict[str, Any]:
        signs = [{"identifier": s.identifier, "label": s.label, "definition": s.definition} for s in SIGNS]
        mine = [one for one in registered_studies(state.log).values() if user.code in one.design.readers]
        return {"signs": signs, "studies": [_progress(one, session_of, user) for one in mine]}

    @app.get("/api/read/{study}/{session}")
    def present(study: str, session: int, user: Reader) -> dict[str, Any]:
        there = session_of(study, session, user)
        there.refuse_unless_open()
        found = there.current()
        return {"case": None} if found is None else {"case": _case_json(found)}

    @app.post("/api/read/{study}/{session}/{handle}/open")
    def open_case(study: str, session: int, handle: str, user: Reader) -> dict[str, Any]:
        there = session_of(study, session, user)
        found = there.open(handle)
        return _case_json(found) | _shown(state, there, found, user)

    @app.put("/api/read/{study}/{session}/{handle}/draft")
    def keep(
        study: str, session: int, handle: str, draft: _Draft, user: Reader, afterwards: BackgroundTasks
    ) -> dict[str, Any]:
        there = session_of(study, session, user)
        there.save_draft(handle, draft.model_dump(mode="json"))
        # Whoever has begun to answer has the images: now there is time for the next case's.
        afterwards.add_task(_get_next_ready, state, there, handle)
        return {"kept": True}

    @app.post("/api/read/{study}/{session}/{handle}/presence")
    def presence(study: str, session: int, handle: str, told: _Told, user: Reader) -> dict[str, Any]:
        session_of(study, session, user).tell_presence(handle, told.presence)
        return {}

    @app.post("/api/read/{study}/{session}/{handle}/seal")
    def seal(study: str, session: int, handle: str, given: _Answer, user: Reader) -> dict[str, Any]:
        return _case_json(session_of(study, session, user).seal(handle, Phase.FIRST, given.key, given.to_answer()))

    @app.post("/api/read/{study}/{session}/{handle}/reveal")
    def reveal(study: str, session: int, handle: str, user: Reader) -> dict[str, Any]:
        there = session_of(study, session, user)
        model = there.reveal(handle, lambda case: _model_answer(state, there.study, case))
        return _model_json(state, there, handle, model)

    @app.post("/api/read/{study}/{session}/{handle}/revise")
    def revise(study: str, session: int, handle: str, given: _Answer, user: Reader) -> dict[str, Any]:
        return _case_json(session_of(study, session, user).seal(handle, Phase.REVISED, given.key, given.to_answer()))

    _add_editing(app, state)


def _add_editing(app: FastAPI, state: ServerState) -> None:
    @app.get("/api/read-studies")
    def all_studies(user: Editor) -> dict[str, Any]:
        return {"studies": [_table(state, one) for one in registered_studies(state.log).values()]}

    @app.post("/api/read-studies/{study}/export")
    def export(study: str, user: Editor) -> Response:
        packed = io.BytesIO()
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            export_study(state.workspace, state.log, study, Path(folder), by=user.code)
            for path in sorted(Path(folder).iterdir()):
                archive.write(path, f"{study}/{path.name}")
        return Response(packed.getvalue(), media_type="application/zip")


def _progress(study: RegisteredStudy, session_of: Any, user: User) -> dict[str, Any]:
    sessions = []
    for number in range(1, study.design.sessions + 1):
        there = session_of(study.name, number, user)
        states = list(there.states().values())
        left = sum(one.step is not Step.DONE for one in states)
        why = ""
        try:
            if left:
                there.refuse_unless_open()
        except AccessError as refusal:
            why = str(refusal)
        sessions.append({"session": number, "cases": len(states), "done": len(states) - left, "closed": why})
    return {"study": study.name, "design": str(study.design.design), "sessions": sessions}


def _case_json(state: CaseState) -> dict[str, Any]:
    """What a reader may know of a case before the images: its number, and how far it has come."""
    task = state.task
    first = state.first
    own = None
    if first is not None:
        own = first.answer.to_json() | {"digest": first.answer.digest, "entry": first.number}
    return {
        "handle": task.handle,
        "place": task.place,
        "of": task.of,
        "practice": task.is_practice,
        "step": str(state.step),
        "draft": state.draft,
        "own": own,
    }


def _shown(state: ServerState, there: Session, found: CaseState, user: User) -> dict[str, Any]:
    try:
        case = case_of(state, found.task.case_id)
        if mark_of(case) != there.study.marks[case.case_id]:
            raise StaleError("the case's images or box were changed since the study was registered")
        images = show_case(state, user, case)
    except SpinefxError as error:
        # An image's own complaint names files; the reader gets none of it, the editor finds it in the log.
        content = {"handle": found.task.handle, "session": there.session, "error": type(error).__name__}
        state.log.append(TROUBLE, user.code, there.study.name, content)
        raise WorkspaceError(
            "this case cannot be shown as it was registered", remedy="Tell the study's editor."
        ) from None
    design = there.study.design
    if not design.box and found.shown is None:
        images["lesion"] = None
    images["signs"] = design.signs
    images["model"] = None
    if found.shown is not None:
        model = {key: value for key, value in found.shown.items() if key != "perturbed"}
        images["model"] = _model_json(state, there, found.task.handle, model)
    return images


def _get_next_ready(state: ServerState, there: Session, handle: str) -> None:
    """Have the case after this one in memory before its turn comes; the reader is told nothing of it."""
    states = there.states()
    after = list(states)[list(states).index(handle) + 1 :]
    coming = next((states[one].task.case_id for one in after if states[one].step is not Step.DONE), None)
    if coming is not None:
        with contextlib.suppress(SpinefxError):  # it is said when the case has its turn
            get_ready(state, case_of(state, coming))


def _model_answer(state: ServerState, study: RegisteredStudy, case: str) -> ModelAnswer:
    if study.model is None:
        raise AccessError("this study shows no model")
    return model_answers(state.workspace, study.model)[case]


def _model_json(state: ServerState, there: Session, handle: str, model: dict[str, Any]) -> dict[str, Any]:
    """The model's answer with the box that it belongs to, and which model it is."""
    lesion = case_of(state, there.states()[handle].task.case_id).lesion
    pin = there.study.model
    return {
        "probability": model["probability"],
        "diagnosis": model["diagnosis"],
        "slices": model["slices"],
        "model": f"{pin.experiment if pin else ''} {model['model_digest'][7:19]}",
        "lesion": {
            "box": {"centre_mm": list(lesion.box.centre_mm), "side_mm": lesion.box.side_mm},
            "first_slice": lesion.first_slice,
            "last_slice": lesion.last_slice,
        },
    }


def _table(state: ServerState, study: RegisteredStudy) -> dict[str, Any]:
    """How far each reader of a study is, for its editor; no answer is in it."""
    states = states_of(state.log, study)
    return {
        "study": study.name,
        "design": str(study.design.design),
        "cases": len(study.cases),
        "model": study.model.experiment if study.model else "",
        "readers": [
            {
                "reader": reader,
                "done": sum(one.step is Step.DONE for who, one in states if who == reader),
                "of": sum(who == reader for who, _ in states),
                "early_requests": sum(one.refusals for who, one in states if who == reader),
            }
            for reader in study.design.readers
        ],
    }

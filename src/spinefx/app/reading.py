"""The read page: blinded cases, sealed answers, the model's prediction after the seal, and the editor's export."""

from __future__ import annotations

import contextlib
import io
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import BackgroundTasks, FastAPI

from spinefx.app.access import Editor, Reader
from spinefx.app.contracts.base import Acknowledgement
from spinefx.app.contracts.files import ZipResponse
from spinefx.app.contracts.images import LesionExtent
from spinefx.app.contracts.reading import (
    AnswerRequest,
    CurrentCase,
    DraftForm,
    DraftKept,
    EditorTables,
    ModelPrediction,
    OpenedCase,
    PresenceRequest,
    ReaderProgress,
    ReadingCase,
    ReadingOverview,
    SealedAnswer,
    SessionProgress,
    SignDefinition,
    StudyProgress,
    StudyTable,
)
from spinefx.app.showing import case_of, prepare_case, show_case
from spinefx.app.state import ServerState, state_of
from spinefx.app.users import User
from spinefx.commands.reader_study import export_study
from spinefx.errors import AccessError, SpinefxError, StaleError, WorkspaceError
from spinefx.reader_study.assistance import ModelAnswer, model_answers
from spinefx.reader_study.clock import Clock
from spinefx.reader_study.export import states_of
from spinefx.reader_study.session import CaseState, Phase, Session, Step
from spinefx.reader_study.study import RegisteredStudy, find_study, mark_of, registered_studies
from spinefx.vocabulary import SIGNS

__all__ = ["add_reading"]

TROUBLE = "case.trouble"

SessionOf = Callable[[str, int, User], Session]


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

    _add_cases(app, state, session_of)
    _add_answers(app, state, session_of)
    _add_editing(app, state)


def _add_cases(app: FastAPI, state: ServerState, session_of: SessionOf) -> None:
    @app.get("/api/read")
    def overview(user: Reader) -> ReadingOverview:
        """List your reader studies with your progress, and the fifteen signs."""
        signs = [SignDefinition(identifier=s.identifier, label=s.label, definition=s.definition) for s in SIGNS]
        mine = [one for one in registered_studies(state.log).values() if user.code in one.design.readers]
        return ReadingOverview(signs=signs, studies=[_progress(one, session_of, user) for one in mine])

    @app.get("/api/read/{study}/{session}")
    def current_case(study: str, session: int, user: Reader) -> CurrentCase:
        """Return the case whose turn it is."""
        reading = session_of(study, session, user)
        reading.refuse_unless_open()
        found = reading.current()
        return CurrentCase(case=None if found is None else _reading_case(found))

    @app.post("/api/read/{study}/{session}/{handle}/open")
    @state.turns.in_turn
    def open_case(study: str, session: int, handle: str, user: Reader) -> OpenedCase:
        """Open the case whose turn it is, and start its clock."""
        reading = session_of(study, session, user)
        return _opened(state, reading, reading.open(handle), user)

    @app.post("/api/read/{study}/{session}/{handle}/presence")
    def tell_presence(study: str, session: int, handle: str, given: PresenceRequest, user: Reader) -> Acknowledgement:
        """Tell whether you are looking at the case; the server's clock measures."""
        session_of(study, session, user).tell_presence(handle, given.presence)
        return Acknowledgement()


def _add_answers(app: FastAPI, state: ServerState, session_of: SessionOf) -> None:
    @app.put("/api/read/{study}/{session}/{handle}/draft")
    def keep_draft(
        study: str, session: int, handle: str, draft: DraftForm, user: Reader, afterwards: BackgroundTasks
    ) -> DraftKept:
        """Keep an unfinished form."""
        reading = session_of(study, session, user)
        reading.save_draft(handle, draft.model_dump(mode="json"))
        # A reader who has begun to answer has the images: now there is time for the next case's.
        afterwards.add_task(state.turns.take, user.code, partial(_prepare_next, state, reading, handle))
        return DraftKept(kept=True)

    @app.post("/api/read/{study}/{session}/{handle}/seal")
    def seal_answer(study: str, session: int, handle: str, given: AnswerRequest, user: Reader) -> ReadingCase:
        """Seal your first answer; it cannot be changed afterwards."""
        found = session_of(study, session, user).seal(handle, Phase.FIRST, given.key, given.to_answer())
        return _reading_case(found)

    @app.post("/api/read/{study}/{session}/{handle}/reveal")
    def reveal_prediction(study: str, session: int, handle: str, user: Reader) -> ModelPrediction:
        """Reveal the model's prediction, once your own answer is sealed."""
        reading = session_of(study, session, user)
        shown = reading.reveal(handle, lambda case: _model_answer(state, reading.study, case))
        return _prediction(state, reading, handle, shown)

    @app.post("/api/read/{study}/{session}/{handle}/revise")
    def seal_revision(study: str, session: int, handle: str, given: AnswerRequest, user: Reader) -> ReadingCase:
        """Seal your answer after the model's prediction, changed or not."""
        found = session_of(study, session, user).seal(handle, Phase.REVISED, given.key, given.to_answer())
        return _reading_case(found)


def _add_editing(app: FastAPI, state: ServerState) -> None:
    @app.get("/api/read-studies")
    def all_studies(user: Editor) -> EditorTables:
        """List every reader study with its readers' progress."""
        return EditorTables(studies=[_table(state, one) for one in registered_studies(state.log).values()])

    @app.post("/api/read-studies/{study}/export", response_class=ZipResponse)
    def export(study: str, user: Editor) -> ZipResponse:
        """Export a reader study as a ZIP archive, and add its answers to the workspace's tables."""
        packed = io.BytesIO()
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            export_study(state.workspace, state.log, study, Path(folder), by=user.code)
            for path in sorted(Path(folder).iterdir()):
                archive.write(path, f"{study}/{path.name}")
        return ZipResponse(packed.getvalue())


def _progress(registered: RegisteredStudy, session_of: SessionOf, user: User) -> StudyProgress:
    sessions = []
    for number in range(1, registered.design.sessions + 1):
        reading = session_of(registered.name, number, user)
        states = list(reading.states().values())
        left = sum(one.step is not Step.DONE for one in states)
        closed = ""
        try:
            if left:
                reading.refuse_unless_open()
        except AccessError as refusal:
            closed = str(refusal)
        sessions.append(SessionProgress(session=number, cases=len(states), done=len(states) - left, closed=closed))
    return StudyProgress(study=registered.name, design=registered.design.design, sessions=sessions)


def _reading_case(state: CaseState) -> ReadingCase:
    task, first = state.task, state.first
    own = None
    if first is not None:
        own = SealedAnswer(**first.answer.to_json(), digest=first.answer.digest, entry=first.number)
    return ReadingCase(
        handle=task.handle,
        place=task.place,
        of=task.of,
        practice=task.is_practice,
        step=state.step,
        draft=None if state.draft is None else DraftForm.model_validate(state.draft),
        own=own,
    )


def _opened(state: ServerState, reading: Session, found: CaseState, user: User) -> OpenedCase:
    try:
        case = case_of(state, found.task.case_id)
        if mark_of(case) != reading.study.marks[case.case_id]:
            raise StaleError("The case's images or box have changed since the study was registered")
        images = show_case(state, user, case)
    except SpinefxError as error:
        # The error's own message names files; the reader must not see it, and the editor finds its kind in the log.
        content = {"handle": found.task.handle, "session": reading.session, "error": type(error).__name__}
        state.log.append(TROUBLE, user.code, reading.study.name, content)
        raise WorkspaceError("This case cannot be shown as it was registered", remedy="Tell your editor.") from None
    design, shown = reading.study.design, found.shown
    if not design.box and shown is None:
        images = images.model_copy(update={"lesion": None})
    model = None if shown is None else _prediction(state, reading, found.task.handle, shown)
    return OpenedCase(**dict(_reading_case(found)), **dict(images), signs=design.signs, model=model)


def _prepare_next(state: ServerState, reading: Session, handle: str) -> None:
    """Load the next case into memory before its turn comes; nothing about it reaches the reader."""
    states = reading.states()
    after = list(states)[list(states).index(handle) + 1 :]
    coming = next((states[one].task.case_id for one in after if states[one].step is not Step.DONE), None)
    if coming is not None:
        with contextlib.suppress(SpinefxError):  # reported when the case has its turn
            prepare_case(state, case_of(state, coming))


def _model_answer(state: ServerState, registered: RegisteredStudy, case: str) -> ModelAnswer:
    if registered.model is None:
        raise AccessError("This study does not show a model's predictions")
    return model_answers(state.workspace, registered.model)[case]


def _prediction(state: ServerState, reading: Session, handle: str, shown: Mapping[str, Any]) -> ModelPrediction:
    lesion = case_of(state, reading.states()[handle].task.case_id).lesion
    pin = reading.study.model
    return ModelPrediction(
        probability=shown["probability"],
        diagnosis=shown["diagnosis"],
        slices=shown["slices"],
        model=f"{pin.experiment if pin else ''} {shown['model_digest'][7:19]}",
        lesion=LesionExtent.of(lesion),
    )


def _table(state: ServerState, registered: RegisteredStudy) -> StudyTable:
    states = states_of(state.log, registered)
    readers = [
        ReaderProgress(
            reader=reader,
            done=sum(one.step is Step.DONE for who, one in states if who == reader),
            of=sum(who == reader for who, _ in states),
            early_requests=sum(one.refusals for who, one in states if who == reader),
        )
        for reader in registered.design.readers
    ]
    return StudyTable(
        study=registered.name,
        design=registered.design.design,
        cases=len(registered.cases),
        model=registered.model.experiment if registered.model else "",
        readers=readers,
    )

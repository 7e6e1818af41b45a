"""The decide page: open a study, mark the vertebra, and get the model's opinion, or the reason why there is none."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import threading
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from spinefx.app.access import Editor, Reader
from spinefx.app.contracts.annotating import FoundVertebrae
from spinefx.app.contracts.base import Acknowledgement
from spinefx.app.contracts.deciding import (
    CannotTell,
    DecideOverview,
    ModelIdentity,
    OpenedStudy,
    OpinionRequest,
    RegistrationRecord,
    SaliencyReply,
    SaliencyRequest,
    SecondOpinion,
    SeriesRequest,
    StillOpen,
    WhyNot,
)
from spinefx.app.contracts.files import CssResponse, PdfResponse, PngResponse
from spinefx.app.contracts.images import ExplainedMapping, LesionExtent
from spinefx.app.finding import found_vertebrae
from spinefx.app.opened import GivenOpinion, OpenStudies, OpenStudy
from spinefx.app.opinion_report import STYLE, can_print, opinion_page, opinion_pdf
from spinefx.app.pairs import marked_lesion, to_mapping
from spinefx.app.receiving import receive
from spinefx.app.sign_reading import add_sign_reading
from spinefx.app.state import ServerState, state_of
from spinefx.app.study_folders import new_folder
from spinefx.app.users import Role, User
from spinefx.cases.patch import PROTOCOL_SEQUENCES
from spinefx.cases.sheet import centre_picture
from spinefx.errors import AccessError, SpinefxError
from spinefx.second_opinion.intake import Opened, open_safely, open_volumes
from spinefx.second_opinion.opinion import Opinion, Panel, load_panel, second_opinion
from spinefx.second_opinion.scoring import score
from spinefx.second_opinion.withheld import Withheld
from spinefx.vocabulary import TruthSource, Weighting
from spinefx.workspace.records import read_participants
from spinefx.workspace.stacks import sheet_path

__all__ = ["UPLOAD_PATH", "add_deciding"]

UPLOAD_PATH = "/api/decide/studies"
ASKED, STUDY_OPENED = "decide.asked", "decide.opened"
BROUGHT = "Your study"


def add_deciding(app: FastAPI) -> None:
    """Add the decide page's routes.

    Parameters
    ----------
    app : FastAPI
        With its state.
    """
    app.state.desk = desk = _Desk(state_of(app))
    _add_opening(app, desk)
    _add_opinions(app, desk)
    _add_reports(app, desk)
    add_sign_reading(app, desk.state, desk.studies)


def _add_opening(app: FastAPI, desk: _Desk) -> None:
    @app.get("/api/decide")
    def overview(user: Reader) -> DecideOverview:
        """Describe the model, and what may be opened."""
        return desk.overview(user)

    in_turn = desk.state.turns.in_turn

    @app.post("/api/decide/participants/{participant_id}")
    @in_turn
    def open_participant(participant_id: str, user: Editor) -> OpenedStudy:
        """Open a participant of the workspace; for editors alone, because readers must not meet predictions here."""
        return desk.open_participant(user, participant_id)

    @app.post(UPLOAD_PATH)
    async def upload_study(request: Request, user: Reader) -> OpenedStudy:
        """Upload the files of one study as multipart/form-data, and open it."""
        folder = await run_in_threadpool(new_folder)
        try:
            await receive(request, Path(folder.name))
            return await desk.state.turns.take(user.code, partial(desk.open_folder, user, folder))
        except BaseException:
            # In a thread, for a folder may hold 20,000 files; shielded, because a cancelled request must leave none.
            await asyncio.shield(run_in_threadpool(folder.cleanup))
            raise

    @app.get("/api/decide/opened/{study}")
    def opened_study(study: str, user: Reader) -> OpenedStudy:
        """Describe a study that you have opened."""
        return desk.studies.find(study, user.code).describe(desk.state.imagery)

    @app.put("/api/decide/opened/{study}")
    def keep_open(study: str, user: Reader) -> StillOpen:
        """Keep a study open; without this it is closed after five minutes."""
        return StillOpen(study=desk.studies.find(study, user.code).name)

    @app.delete("/api/decide/opened/{study}")
    def close_study(study: str, user: Reader) -> Acknowledgement:
        """Close a study, and delete the files that you uploaded."""
        desk.studies.close(study, user.code)
        return Acknowledgement()

    @app.post("/api/decide/opened/{study}/series")
    @in_turn
    def choose_series(study: str, wanted: SeriesRequest, user: Reader) -> OpenedStudy:
        """Choose the series yourself."""
        places = {Weighting.T1W: wanted.t1w, Weighting.T2W: wanted.t2w}
        places |= {} if wanted.stir is None else {Weighting.STIR: wanted.stir}
        return desk.choose(desk.studies.find(study, user.code), places)


def _add_opinions(app: FastAPI, desk: _Desk) -> None:
    in_turn = desk.state.turns.in_turn

    @app.post("/api/decide/opened/{study}/alignment")
    @in_turn
    def alignment(study: str, wanted: LesionExtent, user: Reader) -> ExplainedMapping:
        """Align T1W with T2W at a box, as the model gets it."""
        found = desk.studies.find(study, user.code)
        aligned = found.aligned(marked_lesion(wanted, found.pair.t2w), desk.registration)
        placed = next(one.alignment for one in aligned if one.weighting is Weighting.T1W)
        assert placed is not None
        return to_mapping(placed)

    @app.get("/api/decide/opened/{study}/vertebrae")
    @in_turn
    def vertebrae(study: str, user: Reader) -> FoundVertebrae:
        """Find the vertebrae of the T2W series, as boxes to look at and accept."""
        found = desk.studies.find(study, user.code)
        return found_vertebrae(found.spine(), found.pair.t2w)

    @app.post("/api/decide/opinion", response_model_exclude_unset=True)
    @in_turn
    def opinion(wanted: OpinionRequest, user: Reader) -> SecondOpinion | CannotTell:
        """Ask the model for its opinion on a lesion."""
        return desk.opinion(user, desk.studies.find(wanted.study, user.code), wanted)

    @app.post("/api/decide/saliency")
    @in_turn
    def saliency(wanted: SaliencyRequest, user: Reader) -> SaliencyReply:
        """Map which places of a slice the opinion rests on, and check the map."""
        study, given = desk.studies.opinion(wanted.opinion, user.code)
        found = given.map(wanted.position).to_json()
        stack = given.opinion.scored.stack
        patch = stack.cut(wanted.position).array
        return SaliencyReply(**found, picture=study.show(partial(centre_picture, patch, stack.settings)))


def _add_reports(app: FastAPI, desk: _Desk) -> None:
    @app.get("/api/decide/pictures/{name}", response_class=PngResponse)
    def picture(name: str, user: Reader) -> PngResponse:
        """Draw a picture whose name came with an opinion or a map."""
        return PngResponse(desk.studies.picture(name, user.code))

    @app.get("/api/decide/report.css", response_class=CssResponse)
    def report_style(user: Reader) -> CssResponse:
        """Return the style sheet of the printable report."""
        return CssResponse(STYLE)

    @app.get("/api/decide/opinions/{name}/report", response_class=HTMLResponse)
    def report(name: str, user: Reader) -> HTMLResponse:
        """Return the printable report of an opinion as HTML."""
        return HTMLResponse(opinion_page(*desk.studies.opinion(name, user.code)))

    @app.get("/api/decide/opinions/{name}/report.pdf", response_class=PdfResponse)
    def report_pdf(name: str, user: Reader) -> PdfResponse:
        """Return the printable report of an opinion as PDF."""
        headers = {"content-disposition": 'attachment; filename="second-opinion.pdf"'}
        return PdfResponse(opinion_pdf(*desk.studies.opinion(name, user.code)), headers=headers)


class _Desk:
    """What the routes of this page share: the models, loaded once, and the open studies."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.studies = OpenStudies(state.imagery)
        state.at_end.append(self.studies.close_all)
        self._panel: Panel | None = None
        self._loading = threading.Lock()

    @property
    def panel(self) -> Panel:
        with self._loading:
            if self._panel is None:
                self._panel = load_panel(self.state.workspace, self.state.settings.model)
            return self._panel

    @property
    def registration(self) -> str:
        """How T1W is aligned: as for the model."""
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

    def overview(self, user: User) -> DecideOverview:
        try:
            model, trouble = _identity(self.panel), ""
        except SpinefxError as error:
            model, trouble = None, str(error)
        is_editor = Role.EDITOR in user.roles
        return DecideOverview(
            model=model,
            trouble=trouble,
            participants=[one.name for one in self.state.workspace.participant_folders()] if is_editor else [],
            upload_bytes=self.state.settings.limits.upload_bytes,
            can_print=can_print(),
        )

    def open_participant(self, user: User, participant_id: str) -> OpenedStudy:
        folder = self.state.workspace.image(participant_id, "T2w").parent
        opened = open_volumes((folder, self.sequences, {}))
        self.state.log.append(STUDY_OPENED, user.code, participant_id)
        phantom = self._is_phantom(participant_id)
        study = self.studies.add(
            user.code, participant_id, opened, participant_id, needed=self.sequences, phantom=phantom
        )
        return study.describe(self.state.imagery)

    def open_folder(self, user: User, folder: tempfile.TemporaryDirectory[str]) -> OpenedStudy:
        opened = self._read(Path(folder.name))
        participant_id = self._recognised(opened)
        phantom = self._is_phantom(participant_id)
        study = self.studies.add(
            user.code, BROUGHT, opened, participant_id, folder, needed=self.sequences, phantom=phantom
        )
        self.state.log.append(STUDY_OPENED, user.code)
        return study.describe(self.state.imagery)

    def choose(self, study: OpenStudy, places: Mapping[Weighting, int]) -> OpenedStudy:
        if study.folder is None:
            raise AccessError("The series of a participant cannot be chosen here: the workspace names them")
        study.opened = self._read(Path(study.folder.name), places)
        study.participant_id = self._recognised(study.opened)
        study.phantom = self._is_phantom(study.participant_id)
        study.alignments = {}
        return study.describe(self.state.imagery)

    def opinion(self, user: User, study: OpenStudy, wanted: LesionExtent) -> SecondOpinion | CannotTell:
        subject = study.participant_id if study.folder is None else None
        try:
            # The series come first: a study without them is not the same trouble as a box that misses the image.
            series, panel = study.volumes, self.panel
            models, said = panel.who_answers(study.participant_id)
            lesion = marked_lesion(wanted, study.pair.t2w)
            scored = score(
                models,
                lesion,
                series,
                aligned=partial(study.aligned, lesion, models[0].card.settings.registration),
                measures=study.opened.measures,
                guards=panel.guards(study.participant_id),
                find_spine=study.spine,
            )
            found = second_opinion(panel, scored, said=said, participant_id=study.participant_id)
        except SpinefxError as error:
            kind = type(error).__name__
            self.state.log.append(ASKED, user.code, subject or "", {"refused": kind})
            return CannotTell(cannot_tell=WhyNot(**vars(Withheld.of(error))))
        self.state.log.append(ASKED, user.code, subject or "", {"models": [one.digest for one in models]})
        # A reader may still have to read these cases blinded, and must not see them with their truth.
        if Role.EDITOR not in user.roles:
            found = Opinion(found.scored, found.content | {"nearest": []}, ())
        return self._give(study, found)

    def _give(self, study: OpenStudy, found: Opinion) -> SecondOpinion:
        """Keep an opinion, and describe it with the names of its pictures."""
        given = GivenOpinion(
            secrets.token_urlsafe(12), found, datetime.now().astimezone().isoformat(timespec="seconds")
        )
        study.keep(given)
        nearest = [one | self._pictures(study, found, place) for place, one in enumerate(found.content["nearest"])]
        return _described(found.content | {"opinion": given.name, "given": given.given, "nearest": nearest})

    def _pictures(self, study: OpenStudy, opinion: Opinion, place: int) -> dict[str, str]:
        """Name the pictures of a proven case."""
        case, settings = opinion.nearest[place], opinion.scored.recipe.patch_settings
        sheet = sheet_path(self.state.workspace.patches_folder(settings), case.participant_id, case.case_id)
        assert case.patch is not None  # the nearest cases are those with a patch
        named = {"picture": study.show(partial(centre_picture, case.patch, settings))}
        return named | ({"sheet": study.show(sheet.read_bytes)} if sheet.is_file() else {})

    def _read(self, folder: Path, places: Mapping[Weighting, int] | None = None) -> Opened:
        return open_safely(folder, self.sequences, places)

    def _is_phantom(self, participant_id: str | None) -> bool:
        """Return whether a participant is known to be a phantom; False for an uploaded study of unknown origin."""
        return participant_id is not None and any(
            one.truth_source == TruthSource.PHANTOM
            for one in read_participants(self.state.workspace)
            if one.participant_id == participant_id
        )

    def _recognised(self, opened: Opened) -> str | None:
        try:
            # The marked series first: where two series belong to two participants, it decides.
            return self.panel.recognise(*sorted(opened.volumes.values(), key=lambda one: one is not opened.marked))
        except SpinefxError:
            return None  # there is no model, so there will be no opinion either


def _described(content: Mapping[str, Any]) -> SecondOpinion:
    aligned = content["registration"]
    shown: dict[str, Any] = {"registration": None if aligned is None else RegistrationRecord.of(aligned)}
    if "registrations" in content:
        shown["registrations"] = {name: RegistrationRecord.of(one) for name, one in content["registrations"].items()}
    return SecondOpinion.model_validate({**content, **shown})


def _identity(panel: Panel) -> ModelIdentity:
    card, evidence = panel.models[0].card, panel.evidence
    return ModelIdentity(
        recipe=card.recipe.name,
        models=len(panel.models),
        digests=[one.digest for one in panel.models],
        cohort_digest=card.cohort_digest,
        experiment="" if evidence is None else evidence.experiment,
        cases=0 if evidence is None else len(evidence.cases),
    )

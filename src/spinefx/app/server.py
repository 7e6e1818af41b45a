"""The server behind the page: one application made of its parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from spinefx import __version__
from spinefx.app.guard import Guard, Limits
from spinefx.app.imagery import Imagery, VolumePair, describe_pair
from spinefx.app.people import LOCAL, Person, Role
from spinefx.errors import AccessError, InputError, SpinefxError, WorkspaceError
from spinefx.imaging.nifti import read_nifti
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_participants

__all__ = ["ServeSettings", "create_app"]

PAGES = Path(__file__).resolve().parent / "pages"
NOTICE = "Research use only, not a medical device."
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class ServeSettings:
    """What a server serves, and to whom.

    Parameters
    ----------
    workspace : Path
        A study folder.
    hosts : frozenset of str
        Host names under which it may be addressed.
    limits : Limits
    """

    workspace: Path
    hosts: frozenset[str] = LOOPBACK
    limits: Limits = field(default_factory=Limits)


def create_app(settings: ServeSettings) -> FastAPI:
    """Make the application.

    Parameters
    ----------
    settings : ServeSettings

    Returns
    -------
    FastAPI

    Raises
    ------
    WorkspaceError
        When the study folder cannot be opened, or the pages were not built.
    """
    workspace = Workspace.open(settings.workspace)
    if not (PAGES / "index.html").is_file():
        raise WorkspaceError("the pages were not built", remedy="Install spinefx again where Node or npm is at hand.")
    app = FastAPI(title="spinefx", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.state.workspace, app.state.imagery = workspace, Imagery()
    app.add_middleware(Guard, hosts=settings.hosts, limits=settings.limits, upload_paths=())  # type: ignore[arg-type]
    _answer_errors(app)
    _add_images(app)
    app.mount("/assets", StaticFiles(directory=PAGES / "assets"))

    @app.get("/{path:path}", include_in_schema=False)
    def page(path: str) -> FileResponse:
        if path.startswith("api/"):
            raise AccessError("there is no such address")
        return FileResponse(PAGES / "index.html")

    return app


def _answer_errors(app: FastAPI) -> None:
    statuses = ((AccessError, 403), (InputError, 422), (WorkspaceError, 409), (SpinefxError, 400))

    async def named(_: Request, error: Exception) -> Response:
        status = next(status for kind, status in statuses if isinstance(error, kind))
        return JSONResponse({"error": type(error).__name__, "message": str(error)}, status)

    async def malformed(_: Request, error: Exception) -> Response:
        # Its own words quote the request, which may hold what must not be repeated.
        return JSONResponse({"error": "InputError", "message": "The request is not what this address takes."}, 422)

    async def unknown(_: Request, error: Exception) -> Response:
        words = f"Internal error ({type(error).__name__}). Nothing was stored by this request."
        return JSONResponse({"error": "InternalError", "message": words}, 500)

    app.add_exception_handler(SpinefxError, named)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(Exception, unknown)


def who(request: Request) -> Person:
    """Tell who asks.

    Parameters
    ----------
    request : Request

    Returns
    -------
    Person
    """
    return LOCAL


Asking = Annotated[Person, Depends(who)]


def _add_images(app: FastAPI) -> None:
    imagery: Imagery = app.state.imagery
    workspace: Workspace = app.state.workspace

    @app.get("/api/me")
    def me(person: Asking) -> dict[str, Any]:
        sources = {one.truth_source for one in read_participants(workspace)}
        return {
            "code": person.code,
            "roles": sorted(person.roles),
            "workspace": workspace.root.name,
            "phantom": sources == {"phantom"},
            "version": __version__,
            "notice": NOTICE,
        }

    @app.get("/api/studies/{participant_id}/pair")
    def pair(participant_id: str, person: Asking) -> dict[str, Any]:
        person.refuse_unless(Role.ANNOTATOR)
        return describe_pair(imagery, person.code, imagery.pair(participant_id, lambda: _read(workspace, participant_id)))

    @app.get("/api/images/{name}/slices/{index}")
    def pixels(name: str, index: int, person: Asking) -> Response:
        stored = imagery.shown(name, person.code).pixels(index)
        return Response(stored.astype("<u2").tobytes(), media_type="application/octet-stream")


def _read(workspace: Workspace, participant_id: str) -> VolumePair:
    t2w, t1w = (read_nifti(workspace.image(participant_id, weighting)) for weighting in ("T2w", "T1w"))
    return VolumePair(t2w.to_sagittal(), t1w.to_sagittal())

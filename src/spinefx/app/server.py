"""The server behind the page: one application made of its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from spinefx import __version__
from spinefx.app.access import Asking, add_access
from spinefx.app.annotating import add_annotating
from spinefx.app.deciding import UPLOAD_PATH, add_deciding
from spinefx.app.guard import Guard
from spinefx.app.reading import add_reading
from spinefx.app.state import ServerState, ServeSettings, state_of
from spinefx.app.teaching import add_teaching
from spinefx.errors import AccessError, InputError, SignInError, SpinefxError, UnavailableError, WorkspaceError
from spinefx.vocabulary import TruthSource
from spinefx.workspace.records import read_participants

__all__ = ["create_app"]

PAGES = Path(__file__).resolve().parent / "pages"
NOTICE = "Research use only, not a medical device."
STATUSES: tuple[tuple[type[SpinefxError], int], ...] = (
    (SignInError, 401),
    (AccessError, 403),
    (InputError, 422),
    (UnavailableError, 503),
    (WorkspaceError, 409),
    (SpinefxError, 400),
)
# Where files may be sent to; elsewhere a request is small.
UPLOADS = (UPLOAD_PATH,)


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
    if not (PAGES / "index.html").is_file():
        raise WorkspaceError("the pages were not built", remedy="Install spinefx again where npm or PyPI is at hand.")
    app = FastAPI(
        title="spinefx",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=_life,
        redirect_slashes=False,  # a redirect repeats what the request says of itself
    )
    app.state.server = ServerState(settings)
    app.add_middleware(Guard, hosts=settings.hosts, limits=settings.limits, upload_paths=UPLOADS)
    _answer_errors(app)
    add_access(app)
    _add_images(app)
    add_annotating(app)
    add_reading(app)
    add_teaching(app)
    add_deciding(app)
    app.mount("/assets", StaticFiles(directory=PAGES / "assets"))
    _add_pages(app)
    return app


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    yield
    for end in state_of(app).at_end:
        end()


def _answer_errors(app: FastAPI) -> None:
    async def named(_: Request, error: Exception) -> Response:
        status = next(status for kind, status in STATUSES if isinstance(error, kind))
        return JSONResponse({"error": type(error).__name__, "message": str(error)}, status)

    async def malformed(_: Request, __: Exception) -> Response:
        # The validator's own words quote the request, which may hold what must not be repeated.
        return JSONResponse({"error": "InputError", "message": "The request is not what this address takes."}, 422)

    async def refused(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 400
        return JSONResponse({"error": "AccessError", "message": str(getattr(error, "detail", ""))}, status)

    app.add_exception_handler(SpinefxError, named)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, refused)


def _add_images(app: FastAPI) -> None:
    state = state_of(app)

    @app.get("/api/me")
    def me(user: Asking) -> dict[str, Any]:
        sources = {one.truth_source for one in read_participants(state.workspace)}
        return {
            "code": user.code,
            "roles": sorted(user.roles),
            "signed_in": state.needs_token,
            "workspace": state.workspace.root.name,
            "phantom": sources == {TruthSource.PHANTOM},
            "version": __version__,
            "notice": NOTICE,
        }

    @app.get("/api/images/{name}/slices/{index}")
    def pixels(name: str, index: int, user: Asking) -> Response:
        stored = state.imagery.shown(name, user.code).pixels(index)
        return Response(stored.astype("<u2").tobytes(), media_type="application/octet-stream")


def _add_pages(app: FastAPI) -> None:
    @app.get("/{path:path}", include_in_schema=False)
    def page(path: str) -> FileResponse:
        # "/api/" itself is the page that lists these addresses.
        if path.startswith("api/") and path != "api/":
            raise AccessError("there is no such address")
        return FileResponse(PAGES / "index.html")

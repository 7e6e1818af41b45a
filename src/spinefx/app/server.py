"""The server behind the pages: one application made of its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from spinefx import __version__
from spinefx.app.access import AnyUser, add_access
from spinefx.app.annotating import add_annotating
from spinefx.app.contracts.access import CurrentUser
from spinefx.app.contracts.base import ErrorMessage
from spinefx.app.contracts.files import PixelsResponse
from spinefx.app.deciding import UPLOAD_PATH, add_deciding
from spinefx.app.guard import Guard
from spinefx.app.reading import add_reading
from spinefx.app.state import ServerState, ServeSettings, state_of
from spinefx.app.teaching import add_teaching
from spinefx.errors import AccessError, InputError, SignInError, SpinefxError, UnavailableError, WorkspaceError
from spinefx.vocabulary import RESEARCH_USE_ONLY, TruthSource
from spinefx.workspace.records import read_participants

__all__ = ["PAGES", "create_api", "create_app"]

PAGES = Path(__file__).resolve().parent / "pages"
STATUSES: tuple[tuple[type[SpinefxError], int], ...] = (
    (SignInError, 401),
    (AccessError, 403),
    (InputError, 422),
    (UnavailableError, 503),
    (WorkspaceError, 409),
    (SpinefxError, 400),
)


def create_app(settings: ServeSettings) -> FastAPI:
    """Make the application: the API, the pages, and the guard in front of both.

    Parameters
    ----------
    settings : ServeSettings

    Returns
    -------
    FastAPI

    Raises
    ------
    WorkspaceError
        When the workspace cannot be opened, or the pages were not built.
    """
    if not (PAGES / "index.html").is_file():
        raise WorkspaceError(
            "The pages were not built", remedy="Install spinefx again on a machine that has npm or can reach PyPI."
        )
    app = create_api(ServerState(settings))
    # Uploads may be large; every other request is small.
    app.add_middleware(Guard, hosts=settings.hosts, limits=settings.limits, upload_paths=(UPLOAD_PATH,))
    app.mount("/assets", StaticFiles(directory=PAGES / "assets"))
    _add_pages(app)
    return app


def create_api(state: ServerState) -> FastAPI:
    """Make the application of the API alone.

    Parameters
    ----------
    state : ServerState

    Returns
    -------
    FastAPI
    """
    app = FastAPI(
        title="spinefx",
        summary=RESEARCH_USE_ONLY,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # the description is a route below, which requires a user as the others do
        lifespan=_life,
        redirect_slashes=False,  # a redirect would repeat the host name that the request claims
        responses={"default": {"model": ErrorMessage}},
        separate_input_output_schemas=False,
    )
    app.state.server = state
    _answer_errors(app)
    _add_images(app)
    add_access(app)
    add_annotating(app)
    add_reading(app)
    add_teaching(app)
    add_deciding(app)
    return app


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    yield
    for end in state_of(app).at_end:
        end()


def _answer_errors(app: FastAPI) -> None:
    def reply(status: int, error: str, message: str) -> Response:
        return JSONResponse(ErrorMessage(error=error, message=message).model_dump(), status)

    async def named(_: Request, error: Exception) -> Response:
        status = next(status for kind, status in STATUSES if isinstance(error, kind))
        return reply(status, type(error).__name__, str(error))

    async def malformed(_: Request, __: Exception) -> Response:
        # The validator's own message quotes the request, which may hold what must not be repeated.
        return reply(422, "InputError", "The request does not fit this route. Its description is at /api/.")

    async def refused(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 400
        return reply(status, "AccessError", str(getattr(error, "detail", "")))

    app.add_exception_handler(SpinefxError, named)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, refused)


def _add_images(app: FastAPI) -> None:
    state = state_of(app)

    @app.get("/api/me")
    def current_user(user: AnyUser) -> CurrentUser:
        """Describe yourself and the workspace."""
        sources = {one.truth_source for one in read_participants(state.workspace)}
        return CurrentUser(
            code=user.code,
            roles=sorted(user.roles),
            signed_in=state.needs_token,
            workspace=state.workspace.root.name,
            phantom=sources == {TruthSource.PHANTOM},
            version=__version__,
            notice=RESEARCH_USE_ONLY,
        )

    @app.get("/api/images/{name}/slices/{index}", response_class=PixelsResponse)
    def slice_pixels(name: str, index: int, user: AnyUser) -> PixelsResponse:
        """Return a slice's stored numbers, row by row, as 16-bit little-endian integers."""
        stored = state.imagery.shown(name, user.code).pixels(index)
        return PixelsResponse(stored.astype("<u2").tobytes())

    @app.get("/api/openapi.json", include_in_schema=False)
    def description(user: AnyUser) -> JSONResponse:
        """Return the OpenAPI description of this API."""
        return JSONResponse(app.openapi())


def _add_pages(app: FastAPI) -> None:
    @app.get("/{path:path}", include_in_schema=False)
    def page(path: str) -> FileResponse:
        # "/api/" itself is the page that describes the API.
        if path.startswith("api/") and path != "api/":
            raise AccessError("Not found", remedy="Every route is listed at /api/.")
        return FileResponse(PAGES / "index.html")

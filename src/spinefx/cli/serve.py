"""spinefx serve: the web app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from spinefx.cli.shell import app
from spinefx.vocabulary import RESEARCH_USE_ONLY

__all__: list[str] = []


@app.command
def serve(
    workspace: Path,
    *,
    model: Path | None = None,
    port: int = 8765,
    host: str = "127.0.0.1",
    name: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    database: str = "",
    https: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Open the page for annotating, reading, deciding and teaching; it answers on this machine alone.

    Parameters
    ----------
    workspace
        Study folder.
    model
        Model or experiment folder for second opinions; by default the study folder's newest experiment.
    port
        0 takes a free one.
    host
        Address to listen at. Beyond this machine everybody needs a token: see `spinefx user add`.
    name
        Further host names under which the page is reached, such as spine.clinic.example.
    database
        postgresql+psycopg://USER@HOST/DATABASE where several servers share a study; by default a file in the study.
    https
        Say that a proxy in front speaks HTTPS, so that cookies are marked so.
    """
    from spinefx.app.running import serve as run
    from spinefx.app.state import LOOPBACK, ServeSettings

    hosts = LOOPBACK | {host, *name} - {"0.0.0.0", "::"}
    settings = ServeSettings(workspace, model, hosts, database, https)
    hint = f"(press Ctrl-C to stop)  {RESEARCH_USE_ONLY}"
    run(settings, host=host, port=port, told=lambda address: print(f"{address}  {hint}"))

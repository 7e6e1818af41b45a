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
    """Start the web app for annotation, reader studies, second opinions and feedback, by default for this machine only.

    Parameters
    ----------
    workspace
        Workspace folder.
    model
        Model or experiment folder for second opinions; by default the newest experiment of the workspace.
    port
        Port to listen on; 0 picks a free one.
    host
        Address to listen on. Users on other machines need a token: see `spinefx user add`.
    name
        Further host names of the web app, such as spine.clinic.example.
    database
        postgresql+psycopg://USER@HOST/DATABASE where several servers share a workspace; by default a file in it.
    https
        Mark cookies as secure, because a proxy in front provides HTTPS.
    """
    from spinefx.app.running import serve as run
    from spinefx.app.state import LOOPBACK, ServeSettings

    hosts = LOOPBACK | {host, *name} - {"0.0.0.0", "::"}
    settings = ServeSettings(workspace, model, hosts, database, https)
    hint = f"(press Ctrl-C to stop)  {RESEARCH_USE_ONLY}"
    run(settings, host=host, port=port, told=lambda address: print(f"{address}  {hint}"))

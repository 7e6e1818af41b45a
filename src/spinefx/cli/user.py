"""spinefx user: who may sign in to the web app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from spinefx.cli.shell import app

__all__: list[str] = []

users = App(name="user", help="Users who may sign in to the web app.")
app.command(users)

# As in spinefx.app.users, which is not loaded for a line of help.
Roles = Annotated[tuple[Literal["reader", "annotator", "editor"], ...], Parameter(name="--role", negative="")]


@users.command(name="add")
def add_user(workspace: Path, code: str, *, role: Roles, database: str = "") -> None:
    """Add a user who may sign in to the web app, and print a token that is shown only once.

    Parameters
    ----------
    workspace
        Workspace folder.
    code
        Code of the user, as in the reader_id of the tables; never a name.
    role
        reader, annotator or editor; several may be given. Adding the same code again replaces token and roles.
    database
        As for serve.
    """
    from spinefx.app.access import invite

    print(invite(workspace, code, role, database=database))

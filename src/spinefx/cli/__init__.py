"""The shell: one program, one file per command, and the only place that prints.

Rooms are imported inside each command, so that ``--help`` answers at once.
"""

from spinefx.cli import (  # noqa: F401  # each command joins the program when its file is imported; help lists them so
    audit,
    check,
    demo,
    export,
    ingest,
    locate,
    patch,
    phantom,
    plan,
    predict,
    reader_study,
    report,
    serve,
    train,
    train_localiser,
    user,
)
from spinefx.cli.shell import app, main

__all__ = ["app", "main"]

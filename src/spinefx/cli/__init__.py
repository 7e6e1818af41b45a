"""The shell: one program, verbs in the order of the story. The only place that prints.

Rooms are imported inside each verb, so that ``--help`` answers at once.
"""

from spinefx.cli import cohort, evaluation, model, pages  # noqa: F401  # their verbs join the program when they are imported
from spinefx.cli.shell import app, main

__all__ = ["app", "main"]

"""Private folders for the studies that users bring, and what killed servers have left of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

__all__ = ["FOLDER", "new_folder"]

FOLDER = "spinefx-study-"


def new_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a private folder for a user's files, and remove what killed servers have left behind.

    Returns
    -------
    tempfile.TemporaryDirectory
        Its name holds this process's number.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{FOLDER}[0-9]*-*") if hasattr(os, "getuid") else ():
        number = left.name.removeprefix(FOLDER).partition("-")[0]
        with contextlib.suppress(OSError):
            if number.isdecimal() and left.stat().st_uid == os.getuid() and not _is_alive(int(number)):
                shutil.rmtree(left)
    return tempfile.TemporaryDirectory(prefix=f"{FOLDER}{os.getpid()}-")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's process
    return True

"""The OpenAPI description from which the pages' types are generated: ``python -m spinefx.app.openapi``.

``web/openapi.json`` is this description, committed because the pages are built where spinefx cannot be imported; a test
keeps it fresh.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from spinefx.app.server import create_api
from spinefx.app.state import ServerState, ServeSettings
from spinefx.workspace.layout import Workspace

__all__ = ["api_description"]


def api_description() -> str:
    """Return the OpenAPI description of the API.

    Returns
    -------
    str
        JSON, indented, with a final newline. The models' docstrings are left out: they have no part in the types.
    """
    with tempfile.TemporaryDirectory() as folder:
        state = ServerState(ServeSettings(Workspace.create(Path(folder) / "workspace").root))
        try:
            found = create_api(state).openapi()
        finally:
            state.log.close()
    for schema in found["components"]["schemas"].values():
        schema.pop("description", None)
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(api_description())

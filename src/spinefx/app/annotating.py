"""Marking the vertebra of each study: worklist, box, level, proposals, and two annotators compared."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from spinefx.app.access import Annotator
from spinefx.app.imagery import VolumePair, describe_pair
from spinefx.app.people import Person
from spinefx.app.state import ServerState, state_of
from spinefx.cases.lesion import Box, Lesion, box_agreement
from spinefx.errors import StaleError, WorkspaceError
from spinefx.files import canonical_json, digest_of
from spinefx.imaging.selection import kinds_beside
from spinefx.imaging.volume import Volume
from spinefx.verbs.patching import align_lesion
from spinefx.vocabulary import LEVELS, is_anomalous_level
from spinefx.workspace.layout import Workspace, read_json
from spinefx.workspace.records import (
    LesionRecord,
    read_lesions,
    read_proposals,
    read_refused_series,
    sidecar_path,
    write_lesions,
)
from spinefx.workspace.volumes import read_image

__all__ = ["BoxRequest", "add_annotating", "alignment_json", "on_middle_slice", "pair_of", "read_pair"]

if sys.platform != "win32":
    import fcntl

BOX_SAVED, BOX_DELETED, OTHERS_SHOWN = "box.saved", "box.deleted", "box.others_shown"
NO_BOX = "none"


class BoxRequest(BaseModel):
    """A square on T2W, as the page sends it: LPS, millimetres."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    centre_mm: tuple[float, float, float]
    side_mm: float

    def to_box(self) -> Box:
        """Check the numbers.

        Returns
        -------
        Box

        Raises
        ------
        BoxError
        """
        return Box(self.centre_mm, self.side_mm)


class _LesionRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    box: BoxRequest
    first_slice: int = Field(ge=0)
    last_slice: int = Field(ge=0)
    level: str = Field("", max_length=4)
    # What the page believes to be stored, so that a second page's change is not lost.
    revision: str = Field(max_length=80)


class _DeleteRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    revision: str = Field(max_length=80)


def read_pair(workspace: Workspace, participant_id: str) -> VolumePair:
    """Read both series of a participant, laid as sagittal images are read.

    Parameters
    ----------
    workspace : Workspace
    participant_id : str

    Returns
    -------
    VolumePair

    Raises
    ------
    InputError
        When an image is missing or broken.
    WorkspaceError
        For anything that is no participant identifier.
    """

    def read(weighting: str) -> Volume:
        return read_image(workspace, participant_id, weighting).to_sagittal()

    with ThreadPoolExecutor(2) as both:  # somebody waits, and unpacking leaves the interpreter free
        t2w, t1w = both.map(read, ("T2w", "T1w"))
    return VolumePair(t2w, t1w)


def alignment_json(pair: VolumePair, lesion: Lesion) -> dict[str, Any]:
    """Say where T1W lies under a lesion of T2W.

    Parameters
    ----------
    pair : VolumePair
    lesion : Lesion

    Returns
    -------
    dict
        Matrix (T2W to T1W millimetres), method and reason.

    Raises
    ------
    RegistrationError
    """
    found = align_lesion(lesion, pair.t2w, pair.t1w, method="rigid")
    return {"matrix": np.asarray(found.matrix).tolist(), "method": found.method, "reason": found.reason}


def add_annotating(app: FastAPI) -> None:
    """Add the annotators' routes.

    Parameters
    ----------
    app : FastAPI
        With its state.
    """
    state = state_of(app)
    boxes = _Boxes(state)

    @app.get("/api/annotate/worklist")
    def worklist(person: Annotator) -> dict[str, Any]:
        return {"levels": [[level, is_anomalous_level(level)] for level in LEVELS], "rows": boxes.worklist(person)}

    @app.get("/api/annotate/agreement")
    def agreement(person: Annotator) -> dict[str, Any]:
        return {"rows": boxes.agreement()}

    @app.get("/api/annotate/{participant_id}")
    def study(participant_id: str, person: Annotator) -> dict[str, Any]:
        own = boxes.own(person, participant_id)  # first: it says so where there is no such participant
        described = describe_pair(state.imagery, person.code, boxes.pair(participant_id))
        return {"pair": described, "own": own, "about": _about(state.workspace, participant_id)}

    @app.get("/api/annotate/{participant_id}/others")
    def others(participant_id: str, person: Annotator) -> dict[str, Any]:
        rows = boxes.others(person, participant_id)
        state.log.append(OTHERS_SHOWN, person.code, participant_id)
        return {"rows": rows}

    @app.get("/api/annotate/{participant_id}/lesion")
    def own(participant_id: str, person: Annotator) -> dict[str, Any]:
        return boxes.own(person, participant_id)

    @app.post("/api/annotate/{participant_id}/alignment")
    def alignment(participant_id: str, box: BoxRequest, person: Annotator) -> dict[str, Any]:
        pair, marked = boxes.pair(participant_id), box.to_box()
        shown = int(np.clip(np.rint(pair.t2w.to_index(marked.centre_mm)[0]), 0, pair.t2w.shape[0] - 1))
        return alignment_json(pair, Lesion(marked, shown, shown))

    @app.put("/api/annotate/{participant_id}/lesion")
    def save(participant_id: str, wanted: _LesionRequest, person: Annotator) -> dict[str, Any]:
        return boxes.save(person, participant_id, wanted)

    @app.delete("/api/annotate/{participant_id}/lesion")
    def delete(participant_id: str, wanted: _DeleteRequest, person: Annotator) -> dict[str, Any]:
        return boxes.delete(person, participant_id, wanted.revision)


def pair_of(state: ServerState, participant_id: str) -> VolumePair:
    """Give both series of a participant from memory, or read them: also where a file was replaced meanwhile.

    Parameters
    ----------
    state : ServerState
    participant_id : str

    Returns
    -------
    VolumePair

    Raises
    ------
    InputError
        When an image is missing or broken.
    WorkspaceError
        For anything that is no participant identifier.
    """
    paths = [state.workspace.image(participant_id, weighting) for weighting in ("T2w", "T1w")]
    key = (participant_id, *(path.stat().st_mtime_ns for path in paths if path.is_file()))
    return state.imagery.pair(key, lambda: read_pair(state.workspace, participant_id))


def _about(workspace: Workspace, participant_id: str) -> dict[str, Any]:
    """Why each series stands where it does, by its times, and which were not taken; no name, no date."""
    refused = read_refused_series(workspace, participant_id)
    return {
        "t2w": _times(workspace, participant_id, "T2w"),
        "t1w": _times(workspace, participant_id, "T1w"),
        "refused": [{"series": series, "reason": reason} for series, reason in refused],
        "beside": kinds_beside(reason for _, reason in refused),
    }


def _times(workspace: Workspace, participant_id: str, weighting: str) -> str:
    path = sidecar_path(workspace, participant_id, weighting)
    told = read_json(path) if path.is_file() else {}
    words = []
    for key, name in (("RepetitionTime", "TR"), ("EchoTime", "TE"), ("InversionTime", "TI")):
        seconds = told.get(key)
        if isinstance(seconds, int | float) and not isinstance(seconds, bool):
            words.append(f"{name} {1000 * seconds:.0f} ms")
    return ", ".join(words) or "no times known: taken by its name"


class _Boxes:
    """``lesions.tsv``, one row a case and annotator, read and written by one at a time, of several servers too."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self._lock = threading.Lock()

    def worklist(self, person: Person) -> list[dict[str, Any]]:
        marked: dict[str, list[LesionRecord]] = {}
        for record in read_lesions(self.state.workspace):
            marked.setdefault(record.participant_id, []).append(record)
        rows = []
        for folder in self.state.workspace.participant_folders():
            records = marked.get(folder.name, [])
            own = next((record for record in records if record.annotator == person.code), None)
            rows.append(
                {
                    "participant_id": folder.name,
                    "status": "marked" if own else "marked by others" if records else "open",
                    "level": own.lesion.level if own else "",
                    "annotators": len(records),
                }
            )
        return rows

    def own(self, person: Person, participant_id: str) -> dict[str, Any]:
        record = self._find(read_lesions(self.state.workspace), person, participant_id)
        return _stored(record)

    def others(self, person: Person, participant_id: str) -> list[dict[str, Any]]:
        workspace = self.state.workspace
        self._refuse_unknown(participant_id)  # the log must hold no words of an address
        found = [("annotator", one) for one in read_lesions(workspace) if one.annotator != person.code]
        found += [("model", one) for one in read_proposals(workspace)]
        return [
            {"kind": kind, "by": one.annotator or "the cohort's table", "lesion": _lesion_json(one.lesion)}
            for kind, one in found
            if one.participant_id == participant_id
        ]

    def save(self, person: Person, participant_id: str, wanted: _LesionRequest) -> dict[str, Any]:
        t2w = self.pair(participant_id).t2w
        box = on_middle_slice(wanted.box.to_box(), wanted.first_slice, wanted.last_slice, t2w)
        lesion = Lesion(box, wanted.first_slice, wanted.last_slice, wanted.level)
        lesion.check_inside(t2w)
        record = LesionRecord(participant_id, participant_id, lesion, person.code)
        return self._put(person, participant_id, record, wanted.revision)

    def delete(self, person: Person, participant_id: str, revision: str) -> dict[str, Any]:
        return self._put(person, participant_id, None, revision)

    def agreement(self) -> list[dict[str, Any]]:
        by_case: dict[str, list[LesionRecord]] = {}
        for record in read_lesions(self.state.workspace):
            by_case.setdefault(record.participant_id, []).append(record)
        return [
            {
                "participant_id": participant_id,
                "annotators": [one.annotator or "the cohort's table", other.annotator or "the cohort's table"],
                **box_agreement(one.lesion.box, other.lesion.box, pair_of(self.state, participant_id).t2w.directions),
                "same_slices": one.lesion.slices == other.lesion.slices,
                "same_level": one.lesion.level == other.lesion.level,
            }
            for participant_id, records in by_case.items()
            for position, one in enumerate(records)
            for other in records[position + 1 :]
        ]

    def _put(self, person: Person, participant_id: str, record: LesionRecord | None, revision: str) -> dict[str, Any]:
        workspace = self.state.workspace
        with self._lock, _alone(workspace.lesions_table):
            records = list(read_lesions(workspace))
            present = self._find(records, person, participant_id)
            if _revision(present) != revision:
                raise StaleError(
                    "this box was changed on another page meanwhile", remedy="Load the case again, then change it."
                )
            if present is not None and record is not None:
                record = replace(record, case_id=present.case_id)
                records[records.index(present)] = record
            elif present is not None:
                records.remove(present)
            elif record is not None:
                # A case keeps its name, whoever marks it.
                named = next((one.case_id for one in records if one.participant_id == participant_id), participant_id)
                record = replace(record, case_id=named)
                records.append(record)
            write_lesions(workspace, records)
        kind = BOX_DELETED if record is None else BOX_SAVED
        self.state.log.append(kind, person.code, participant_id, {"revision": _revision(record)})
        return self.own(person, participant_id)

    def pair(self, participant_id: str) -> VolumePair:
        self._refuse_unknown(participant_id)
        return pair_of(self.state, participant_id)

    def _refuse_unknown(self, participant_id: str) -> None:
        if participant_id not in {folder.name for folder in self.state.workspace.participant_folders()}:
            raise WorkspaceError("there is no such participant", remedy="Choose one from the worklist.")

    def _find(self, records: Any, person: Person, participant_id: str) -> LesionRecord | None:
        self._refuse_unknown(participant_id)
        wanted = (participant_id, person.code)
        return next((one for one in records if (one.participant_id, one.annotator) == wanted), None)


@contextlib.contextmanager
def _alone(table: Path) -> Iterator[None]:
    if sys.platform == "win32":
        yield  # one server a study there
        return
    # Beside the table: the table itself is replaced whole, and a lock on it would go with the old file.
    with table.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def on_middle_slice(box: Box, first: int, last: int, t2w: Volume) -> Box:
    """Move a box along the slices: the page marks it on whichever slice is shown, and it lies on the lesion's middle.

    Parameters
    ----------
    box : Box
    first, last : int
        Slices of the lesion.
    t2w : Volume

    Returns
    -------
    Box
    """
    index = t2w.to_index(box.centre_mm)
    left, posterior, superior = t2w.to_mm(((first + last) / 2, index[1], index[2]))
    return Box((float(left), float(posterior), float(superior)), box.side_mm)


def _stored(record: LesionRecord | None) -> dict[str, Any]:
    return {"lesion": None if record is None else _lesion_json(record.lesion), "revision": _revision(record)}


def _revision(record: LesionRecord | None) -> str:
    return NO_BOX if record is None else digest_of(canonical_json(_lesion_json(record.lesion)))


def _lesion_json(lesion: Lesion) -> dict[str, Any]:
    return {
        "box": {"centre_mm": list(lesion.box.centre_mm), "side_mm": lesion.box.side_mm},
        "first_slice": lesion.first_slice,
        "last_slice": lesion.last_slice,
        "level": lesion.level,
    }

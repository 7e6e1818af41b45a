"""The annotate page: mark the vertebra of each participant, look at proposals, and compare annotators."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from fastapi import FastAPI

from spinefx.app.access import Annotator
from spinefx.app.contracts.annotating import (
    AgreementRow,
    AgreementTable,
    AnnotationCase,
    DeleteRequest,
    FoundVertebrae,
    LevelledLesion,
    OtherLesion,
    OtherLesions,
    SaveRequest,
    SeriesChoice,
    StoredLesion,
    UnusedSeries,
    Worklist,
    WorklistRow,
)
from spinefx.app.contracts.images import BoxShape, ExplainedMapping
from spinefx.app.finding import found_vertebrae
from spinefx.app.imagery import VolumePair, describe_pair
from spinefx.app.pairs import align_pair, on_middle_slice, pair_of
from spinefx.app.state import ServerState, state_of
from spinefx.app.users import User
from spinefx.cases.lesion import Lesion, box_agreement
from spinefx.errors import StaleError, WorkspaceError
from spinefx.files import canonical_json, digest_of
from spinefx.imaging.selection import kinds_beside
from spinefx.localisation.searching import shipped_localiser
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

__all__ = ["add_annotating"]

BOX_SAVED, BOX_DELETED, OTHERS_SHOWN = "box.saved", "box.deleted", "box.others_shown"
VERTEBRAE_SHOWN = "box.vertebrae_shown"
NO_BOX = "none"
# How long a box waits for a command that writes to the workspace.
WAIT_S = 20.0
# Who marked the rows that name no annotator.
TABLE = "the cohort's table"


def add_annotating(app: FastAPI) -> None:
    """Add the annotate page's routes.

    Parameters
    ----------
    app : FastAPI
        With its state.
    """
    state = state_of(app)
    boxes = _Boxes(state)
    _add_vertebrae(app, state, boxes)
    in_turn = state.turns.in_turn

    @app.get("/api/annotate/worklist")
    def worklist(user: Annotator) -> Worklist:
        """List the participants, how far each is marked, and the vertebral levels."""
        levels = [(level, is_anomalous_level(level)) for level in LEVELS]
        return Worklist(levels=levels, rows=boxes.worklist(user))

    @app.get("/api/annotate/agreement")
    @in_turn
    def agreement(user: Annotator) -> AgreementTable:
        """Compare every two boxes of the same participant."""
        return AgreementTable(rows=boxes.agreement())

    @app.get("/api/annotate/{participant_id}")
    @in_turn
    def open_participant(participant_id: str, user: Annotator) -> AnnotationCase:
        """Open a participant: images, your own box, and why these series are shown."""
        own = boxes.own(user, participant_id)  # first, because it refuses an unknown participant
        pair = describe_pair(state.imagery, user.code, boxes.pair(participant_id))
        return AnnotationCase(pair=pair, own=own, about=_series_choice(state.workspace, participant_id))

    @app.get("/api/annotate/{participant_id}/others")
    def others(participant_id: str, user: Annotator) -> OtherLesions:
        """Show the boxes of other annotators and of models; the request is logged."""
        rows = boxes.others(user, participant_id)
        state.log.append(OTHERS_SHOWN, user.code, participant_id)
        return OtherLesions(rows=rows)

    @app.get("/api/annotate/{participant_id}/lesion")
    def own_lesion(participant_id: str, user: Annotator) -> StoredLesion:
        """Return your own box as it is stored."""
        return boxes.own(user, participant_id)

    @app.post("/api/annotate/{participant_id}/alignment")
    @in_turn
    def alignment(participant_id: str, box: BoxShape, user: Annotator) -> ExplainedMapping:
        """Align T1W with T2W at a box."""
        pair, marked = boxes.pair(participant_id), box.to_box()
        nearest = int(np.clip(np.rint(pair.t2w.to_index(marked.centre_mm)[0]), 0, pair.t2w.shape[0] - 1))
        return align_pair(pair, Lesion(marked, nearest, nearest))

    @app.put("/api/annotate/{participant_id}/lesion")
    @in_turn
    def save_lesion(participant_id: str, wanted: SaveRequest, user: Annotator) -> StoredLesion:
        """Save your box, unless another page has changed it since."""
        return boxes.save(user, participant_id, wanted)

    @app.delete("/api/annotate/{participant_id}/lesion")
    def delete_lesion(participant_id: str, wanted: DeleteRequest, user: Annotator) -> StoredLesion:
        """Delete your box, unless another page has changed it since."""
        return boxes.put(user, participant_id, None, wanted.revision)


def _add_vertebrae(app: FastAPI, state: ServerState, boxes: _Boxes) -> None:
    """Add the route that finds vertebrae."""

    @app.get("/api/annotate/{participant_id}/vertebrae")
    def vertebrae(participant_id: str, user: Annotator) -> FoundVertebrae:
        """Find the vertebrae of the T2W series, as boxes to look at and accept; the request is logged."""
        boxes.own(user, participant_id)  # refuses an unknown participant, so that nothing a URL says reaches the log
        t2w = boxes.pair(participant_id).t2w
        found = found_vertebrae(shipped_localiser()(t2w)[0], t2w)
        state.log.append(VERTEBRAE_SHOWN, user.code, participant_id)
        return found


def _series_choice(workspace: Workspace, participant_id: str) -> SeriesChoice:
    refused = read_refused_series(workspace, participant_id)
    return SeriesChoice(
        t2w=_times(workspace, participant_id, "T2w"),
        t1w=_times(workspace, participant_id, "T1w"),
        refused=[UnusedSeries(series=series, reason=reason) for series, reason in refused],
        beside=list(kinds_beside(reason for _, reason in refused)),
    )


def _times(workspace: Workspace, participant_id: str, weighting: str) -> str:
    path = sidecar_path(workspace, participant_id, weighting)
    sidecar = read_json(path) if path.is_file() else {}
    times = []
    for key, name in (("RepetitionTime", "TR"), ("EchoTime", "TE"), ("InversionTime", "TI")):
        seconds = sidecar.get(key)
        if isinstance(seconds, int | float) and not isinstance(seconds, bool):
            times.append(f"{name} {1000 * seconds:.0f} ms")
    return ", ".join(times) or "no times recorded, so recognised by its name"


class _Boxes:
    """``lesions.tsv``, one row per case and annotator, changed under the workspace's exclusive lock, as by commands."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self._lock = threading.Lock()

    def worklist(self, user: User) -> list[WorklistRow]:
        marked: dict[str, list[LesionRecord]] = {}
        for record in read_lesions(self.state.workspace):
            marked.setdefault(record.participant_id, []).append(record)
        rows = []
        for folder in self.state.workspace.participant_folders():
            records = marked.get(folder.name, [])
            own = next((record for record in records if record.annotator == user.code), None)
            rows.append(
                WorklistRow(
                    participant_id=folder.name,
                    status="marked" if own else "marked by others" if records else "open",
                    level=own.lesion.level if own else "",
                    annotators=len(records),
                )
            )
        return rows

    def own(self, user: User, participant_id: str) -> StoredLesion:
        record = self._find(read_lesions(self.state.workspace), user, participant_id)
        return StoredLesion(
            lesion=None if record is None else LevelledLesion.of(record.lesion), revision=_revision(record)
        )

    def others(self, user: User, participant_id: str) -> list[OtherLesion]:
        workspace = self.state.workspace
        self._refuse_unknown(participant_id)  # so that nothing a URL says reaches the log
        marked = [one for one in read_lesions(workspace) if one.annotator != user.code]
        sources: tuple[tuple[Literal["annotator", "model"], Sequence[LesionRecord]], ...] = (
            ("annotator", marked),
            ("model", read_proposals(workspace)),
        )
        return [
            OtherLesion(kind=kind, by=one.annotator or TABLE, lesion=LevelledLesion.of(one.lesion))
            for kind, records in sources
            for one in records
            if one.participant_id == participant_id
        ]

    def save(self, user: User, participant_id: str, wanted: SaveRequest) -> StoredLesion:
        t2w = self.pair(participant_id).t2w
        box = on_middle_slice(wanted.box.to_box(), wanted.first_slice, wanted.last_slice, t2w)
        lesion = Lesion(box, wanted.first_slice, wanted.last_slice, wanted.level)
        lesion.check_inside(t2w)
        record = LesionRecord(participant_id, participant_id, lesion, user.code)
        return self.put(user, participant_id, record, wanted.revision)

    def put(self, user: User, participant_id: str, record: LesionRecord | None, revision: str) -> StoredLesion:
        workspace = self.state.workspace
        with self._lock, workspace.writing(wait_s=WAIT_S):
            records = list(read_lesions(workspace))
            present = self._find(records, user, participant_id)
            if _revision(present) != revision:
                raise StaleError("Another page has changed this box", remedy="Load the case again, then change it.")
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
        self.state.log.append(kind, user.code, participant_id, {"revision": _revision(record)})
        return self.own(user, participant_id)

    def agreement(self) -> list[AgreementRow]:
        by_participant: dict[str, list[LesionRecord]] = {}
        for record in read_lesions(self.state.workspace):
            by_participant.setdefault(record.participant_id, []).append(record)
        return [
            self._compared(participant_id, one, other)
            for participant_id, records in by_participant.items()
            for position, one in enumerate(records)
            for other in records[position + 1 :]
        ]

    def pair(self, participant_id: str) -> VolumePair:
        self._refuse_unknown(participant_id)
        return pair_of(self.state, participant_id)

    def _compared(self, participant_id: str, one: LesionRecord, other: LesionRecord) -> AgreementRow:
        directions = pair_of(self.state, participant_id).t2w.directions
        found = box_agreement(one.lesion.box, other.lesion.box, directions)
        return AgreementRow(
            participant_id=participant_id,
            annotators=(one.annotator or TABLE, other.annotator or TABLE),
            iou=found["iou"],
            distance_mm=found["distance_mm"],
            same_slices=one.lesion.slices == other.lesion.slices,
            same_level=one.lesion.level == other.lesion.level,
        )

    def _refuse_unknown(self, participant_id: str) -> None:
        if participant_id not in {folder.name for folder in self.state.workspace.participant_folders()}:
            raise WorkspaceError("Unknown participant", remedy="Choose one from the worklist.")

    def _find(self, records: Iterable[LesionRecord], user: User, participant_id: str) -> LesionRecord | None:
        self._refuse_unknown(participant_id)
        wanted = (participant_id, user.code)
        return next((one for one in records if (one.participant_id, one.annotator) == wanted), None)


def _revision(record: LesionRecord | None) -> str:
    return NO_BOX if record is None else digest_of(canonical_json(LevelledLesion.of(record.lesion).model_dump()))

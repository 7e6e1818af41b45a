"""The teaching page: a reader's own confusions by sign, cases to look at again, and a training series."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from spinefx.app.access import Reader
from spinefx.app.showing import case_of, show_case
from spinefx.app.state import ServerState, state_of
from spinefx.app.users import Role, User
from spinefx.errors import AccessError
from spinefx.reader_study.feedback import Feedback, SignAgreement, feedback, readers_of, training_series
from spinefx.reader_study.session import unfinished_cases
from spinefx.statistics.estimate import format_p
from spinefx.statistics.signs import SignComparison, scores_by_case
from spinefx.vocabulary import Diagnosis
from spinefx.workspace.records import read_signs

__all__ = ["add_teaching"]

TRAINING_BEGUN, TRAINING_ANSWERED = "training.begun", "training.answered"
# Of one user, kept at a time.
SERIES = 20


class _SeriesRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    reader: str = Field(max_length=60)
    cases: int = Field(8, ge=2, le=60)


class _AnswerRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    diagnosis: Diagnosis


def add_teaching(app: FastAPI) -> None:
    """Add the teaching page's routes.

    Parameters
    ----------
    app : FastAPI
        With its state.
    """
    state = state_of(app)
    # A series is practice: it is kept in memory, and a restart ends it. (user, number) -> cases in order.
    series: dict[tuple[str, int], tuple[str, ...]] = {}

    @app.get("/api/teach")
    def overview(user: Reader) -> dict[str, Any]:
        return {"readers": _open_to(state, user)}

    @app.get("/api/teach/lesson/{reader}")
    def learn(reader: str, user: Reader) -> dict[str, Any]:
        return _lesson_json(_lesson(state, user, reader))

    @app.get("/api/teach/lesson/{reader}/case/{case_id}")
    def look(reader: str, case_id: str, user: Reader) -> dict[str, Any]:
        solution = _solution(state, _lesson(state, user, reader), case_id)
        return _images(state, user, case_id) | solution

    @app.post("/api/teach/series")
    def begin(wanted: _SeriesRequest, user: Reader) -> dict[str, Any]:
        found = _lesson(state, user, wanted.reader)
        entry = state.log.append(TRAINING_BEGUN, user.code, "", {"cases": wanted.cases})
        drawn = training_series(state.workspace, found, wanted.cases, np.random.default_rng(entry.number))
        series[(user.code, entry.number)] = drawn
        for old in [key for key in series if key[0] == user.code][:-SERIES]:
            series.pop(old, None)
        return {"series": entry.number, "cases": len(drawn)}

    @app.get("/api/teach/series/{number}/{place}")
    def show(number: int, place: int, user: Reader) -> dict[str, Any]:
        # Images and box alone: what the case is comes with the answer.
        return _images(state, user, _at(series, user, number, place))

    @app.post("/api/teach/series/{number}/{place}/{reader}")
    def answer(number: int, place: int, reader: str, given: _AnswerRequest, user: Reader) -> dict[str, Any]:
        case_id = _at(series, user, number, place)
        solution = _solution(state, _lesson(state, user, reader), case_id)
        is_right = solution["truth"] == given.diagnosis
        content = {"series": number, "place": place, "diagnosis": str(given.diagnosis), "right": is_right}
        state.log.append(TRAINING_ANSWERED, user.code, "", content)
        return solution | {"right": is_right}


def _open_to(state: ServerState, user: User) -> list[str]:
    """Readers whose lessons a user may see: their own; an editor, who teaches, everybody's."""
    readers = readers_of(state.workspace)
    if Role.EDITOR in user.roles:
        return list(readers)
    return [reader for reader in readers if reader.removesuffix(", aided") == user.code]


def _lesson(state: ServerState, user: User, reader: str) -> Feedback:
    if reader not in _open_to(state, user):
        raise AccessError("that lesson is not yours, or there is none yet", remedy="Finish a reading series first.")
    # Whoever asks, an editor too, is told no truth of a case that they have still to read themselves.
    hidden = unfinished_cases(state.log, state.workspace, user.code)
    return feedback(state.workspace, reader, may_see=lambda case: case not in hidden)


def _at(series: dict[tuple[str, int], tuple[str, ...]], user: User, number: int, place: int) -> str:
    cases = series.get((user.code, number), ())
    if not 0 <= place < len(cases):
        raise AccessError("no such case in your series", remedy="Begin a new series.")
    return cases[place]


def _images(state: ServerState, user: User, case_id: str) -> dict[str, Any]:
    return show_case(state, user, case_of(state, case_id))


def _solution(state: ServerState, found: Feedback, case_id: str) -> dict[str, Any]:
    """Truth, the reader's own answer, and the signs as the reference and the reader scored them."""
    if case_id not in found.answers:
        raise AccessError("that case is not to be told yet", remedy="Finish your reader study first.")
    signs = [one for one in read_signs(state.workspace) if one.case_id == case_id]
    own = found.reader.removesuffix(", aided")
    scored = {
        name: {sign: str(score) for sign, score in scores_by_case(signs, who)[case_id].items()}
        for name, who in (("reference", found.reference), ("own", own))
        if who in {one.reader_id for one in signs}
    }
    return {
        "case": case_id,
        "truth": str(found.truth[case_id]),
        "answer": str(found.answers[case_id]),
        "signs": scored,
    }


def _lesson_json(found: Feedback) -> dict[str, Any]:
    counts = found.confusion
    return {
        "reader": found.reader,
        "reference": found.reference,
        "counts": {"tp": counts.tp, "tn": counts.tn, "fn": counts.fn, "fp": counts.fp},
        "sensitivity": str(counts.sensitivity),
        "specificity": str(counts.specificity),
        "false_positives": [_comparison(one) for one in found.false_positives],
        "false_negatives": [_comparison(one) for one in found.false_negatives],
        "agreement": [_agreement(one) for one in found.agreement],
        "look_again": [
            {"case": case, "truth": str(found.truth[case]), "answer": str(found.answers[case])} for case in found.wrong
        ],
    }


def _comparison(one: SignComparison) -> dict[str, Any]:
    return {
        "sign": one.label,
        "wrong": str(one.first),
        "right": str(one.second),
        "p": format_p(one.test.p),
        "p_holm": format_p(one.holm_p),
    }


def _agreement(one: SignAgreement) -> dict[str, Any]:
    return {
        "sign": one.label,
        "missed": len(one.missed),
        "imagined": len(one.imagined),
        "cases": one.cases,
        "look_at": [*one.missed, *one.imagined][:6],
    }

"""The teach page: a reader's own confusions by sign, cases to look at again, and training series."""

from __future__ import annotations

import numpy as np
from fastapi import FastAPI

from spinefx.app.access import Reader
from spinefx.app.contracts.images import CaseImages
from spinefx.app.contracts.teaching import (
    AnswerCounts,
    CaseSolution,
    FeedbackReaders,
    ReaderFeedback,
    SignContrast,
    SignDisagreement,
    SolvedCase,
    TrainingAnswer,
    TrainingRequest,
    TrainingResult,
    TrainingSeries,
    WrongCase,
)
from spinefx.app.showing import case_of, show_case
from spinefx.app.state import ServerState, state_of
from spinefx.app.users import Role, User
from spinefx.errors import AccessError
from spinefx.reader_study.feedback import Feedback, SignAgreement, feedback, readers_of, training_series
from spinefx.reader_study.session import unfinished_cases
from spinefx.statistics.estimate import format_p
from spinefx.statistics.signs import SignComparison, scores_by_case
from spinefx.vocabulary import Arm
from spinefx.workspace.records import read_signs

__all__ = ["add_teaching"]

TRAINING_BEGUN, TRAINING_ANSWERED = "training.begun", "training.answered"
# Training series kept per user.
MOST_SERIES = 20
# Cases to look at, listed per sign.
MOST_LOOKS = 6


def add_teaching(app: FastAPI) -> None:
    """Add the teach page's routes.

    Parameters
    ----------
    app : FastAPI
        With its state.
    """
    state = state_of(app)
    # Training is practice: its series are kept in memory, and a restart ends them. (user, number) -> cases in order.
    series: dict[tuple[str, int], tuple[str, ...]] = {}

    @app.get("/api/teach")
    def overview(user: Reader) -> FeedbackReaders:
        """List the readers whose feedback you may see."""
        return FeedbackReaders(readers=_open_to(state, user))

    @app.get("/api/teach/feedback/{reader}")
    def reader_feedback(reader: str, user: Reader) -> ReaderFeedback:
        """Compare a reader's answers with the truth, sign by sign."""
        return _reader_feedback(_feedback(state, user, reader))

    @app.get("/api/teach/feedback/{reader}/case/{case_id}")
    @state.turns.in_turn
    def solved_case(reader: str, case_id: str, user: Reader) -> SolvedCase:
        """Show a case with its solution."""
        solution = _solution(state, _feedback(state, user, reader), case_id)
        return SolvedCase(**dict(_images(state, user, case_id)), **dict(solution))

    @app.post("/api/teach/series")
    def begin_series(wanted: TrainingRequest, user: Reader) -> TrainingSeries:
        """Begin a training series, drawn from what a reader confuses."""
        found = _feedback(state, user, wanted.reader)
        entry = state.log.append(TRAINING_BEGUN, user.code, "", {"cases": wanted.cases})
        drawn = training_series(state.workspace, found, wanted.cases, np.random.default_rng(entry.number))
        series[(user.code, entry.number)] = drawn
        for old in [key for key in series if key[0] == user.code][:-MOST_SERIES]:
            series.pop(old, None)
        return TrainingSeries(series=entry.number, cases=len(drawn))

    @app.get("/api/teach/series/{number}/{place}")
    @state.turns.in_turn
    def training_case(number: int, place: int, user: Reader) -> CaseImages:
        """Show a training case: images and box alone, for the solution comes with the answer."""
        return _images(state, user, _at(series, user, number, place))

    @app.post("/api/teach/series/{number}/{place}/{reader}")
    def answer_training_case(
        number: int, place: int, reader: str, given: TrainingAnswer, user: Reader
    ) -> TrainingResult:
        """Answer a training case, and get its solution."""
        case_id = _at(series, user, number, place)
        solution = _solution(state, _feedback(state, user, reader), case_id)
        is_right = solution.truth == given.diagnosis
        content = {"series": number, "place": place, "diagnosis": str(given.diagnosis), "right": is_right}
        state.log.append(TRAINING_ANSWERED, user.code, "", content)
        return TrainingResult(**dict(solution), right=is_right)


def _open_to(state: ServerState, user: User) -> list[str]:
    """List the readers whose feedback a user may see: their own and, for an editor, who teaches, everybody's."""
    readers = readers_of(state.workspace)
    if Role.EDITOR in user.roles:
        return list(readers)
    return [reader for reader in readers if reader.removesuffix(", aided") == user.code]


def _feedback(state: ServerState, user: User, reader: str) -> Feedback:
    if reader not in _open_to(state, user):
        raise AccessError("No feedback for you under that name", remedy="Finish a session of a reader study first.")
    # Nobody, not even an editor, learns the truth of a case that they have still to read themselves.
    hidden = unfinished_cases(state.log, state.workspace, user.code)
    return feedback(state.workspace, reader, may_see=lambda case: case not in hidden)


def _at(series: dict[tuple[str, int], tuple[str, ...]], user: User, number: int, place: int) -> str:
    cases = series.get((user.code, number), ())
    if not 0 <= place < len(cases):
        raise AccessError("Training case not found", remedy="Begin a new series.")
    return cases[place]


def _images(state: ServerState, user: User, case_id: str) -> CaseImages:
    return show_case(state, user, case_of(state, case_id))


def _solution(state: ServerState, found: Feedback, case_id: str) -> CaseSolution:
    """Return the truth, the reader's own answer, and the signs as the reference and the reader scored them."""
    if case_id not in found.answers:
        raise AccessError("The solution of this case is hidden from you", remedy="Finish your reader study first.")
    signs = [one for one in read_signs(state.workspace) if one.case_id == case_id]
    own = found.reader
    for arm in Arm:
        own = own.removesuffix(f", {arm}")
    scored = {
        name: dict(scores_by_case(signs, who)[case_id])
        for name, who in (("reference", found.reference), ("own", own))
        if who in {one.reader_id for one in signs}
    }
    return CaseSolution(case=case_id, truth=found.truth[case_id], answer=found.answers[case_id], signs=scored)


def _reader_feedback(found: Feedback) -> ReaderFeedback:
    counts = found.confusion
    return ReaderFeedback(
        reader=found.reader,
        reference=found.reference,
        counts=AnswerCounts(tp=counts.tp, tn=counts.tn, fn=counts.fn, fp=counts.fp),
        sensitivity=str(counts.sensitivity),
        specificity=str(counts.specificity),
        false_positives=[_contrast(one) for one in found.false_positives],
        false_negatives=[_contrast(one) for one in found.false_negatives],
        agreement=[_disagreement(one) for one in found.agreement],
        look_again=[WrongCase(case=case, truth=found.truth[case], answer=found.answers[case]) for case in found.wrong],
    )


def _contrast(one: SignComparison) -> SignContrast:
    return SignContrast(
        sign=one.label,
        wrong=str(one.first),
        right=str(one.second),
        p=format_p(one.test.p),
        p_holm=format_p(one.holm_p),
    )


def _disagreement(one: SignAgreement) -> SignDisagreement:
    return SignDisagreement(
        sign=one.label,
        missed=len(one.missed),
        imagined=len(one.imagined),
        cases=one.cases,
        look_at=[*one.missed, *one.imagined][:MOST_LOOKS],
    )

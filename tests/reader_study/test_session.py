"""Sessions: sealed answers stay, early requests are refused and logged, and reading times cannot be forged."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from spinefx.commands.reader_study import register_design
from spinefx.errors import AccessError, DesignError, InputError, StaleError
from spinefx.reader_study.answer import Answer
from spinefx.reader_study.assistance import ModelAnswer, model_answers
from spinefx.reader_study.clock import Clock, Presence, Stopwatch, Times
from spinefx.reader_study.design import DesignKind, StudyDesign
from spinefx.reader_study.log import Log
from spinefx.reader_study.session import Phase, Session, Step, unfinished_cases
from spinefx.reader_study.study import RegisteredStudy, find_study, register_study
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Diagnosis, Score
from spinefx.workspace.layout import Workspace

from .conftest import CASES, Hands, probability_of, write_experiment

SIGNS = dict.fromkeys(SIGN_IDENTIFIERS, Score.NO)
YES = Answer(Diagnosis.MALIGNANT, 80, SIGNS)
NO = Answer(Diagnosis.BENIGN, 20, SIGNS)
AFTER = Answer(Diagnosis.MALIGNANT, 90)


def design(kind: DesignKind = DesignKind.SECOND_READ, **more: Any) -> StudyDesign:
    experiment = "" if kind is DesignKind.UNAIDED else "quick"
    values: dict[str, Any] = {"readers": ("R1", "R2"), "cases": CASES[:6], "experiment": experiment, "seed": 4}
    return StudyDesign(name="pilot", design=kind, **(values | more))


@pytest.fixture
def told(tables: Workspace) -> Any:
    """Return the model's answer to a case."""

    def answer_of(case: str) -> ModelAnswer:
        pin = answer_of.study.model  # type: ignore[attr-defined]
        return model_answers(tables, pin)[case]

    return answer_of


def begin(log: Log, tables: Workspace, hands: Hands, told: Any = None, **more: Any) -> Session:
    study = register_design(tables, log, design(**more), by="E1")
    if told is not None:
        told.study = study
    return Session(log, study, "R1", 1, hands.clock())


def next_handle(session: Session) -> str:
    found = session.current()
    assert found is not None
    return found.task.handle


def read_all(session: Session, told: Any) -> None:
    while (state := session.current()) is not None:
        handle = state.task.handle
        session.open(handle)
        session.seal(handle, Phase.FIRST, "k" + handle, NO)
        if state.task.arm is Arm.AIDED:
            session.reveal(handle, told)
            session.seal(handle, Phase.REVISED, "r" + handle, AFTER)


def test_a_case_proceeds_from_open_to_done(log: Log, tables: Workspace, hands: Hands, told: Any) -> None:
    session = begin(log, tables, hands, told)
    handle = next_handle(session)
    assert session.open(handle).step is Step.OPEN
    session.save_draft(handle, {"diagnosis": "benign"})
    assert session.states()[handle].draft == {"diagnosis": "benign"}
    sealed = session.seal(handle, Phase.FIRST, "key", NO)
    assert sealed.step is Step.SEALED
    assert sealed.draft is None
    entry = log.entries(kind="answer.sealed")[-1]
    assert entry.content["digest"] == NO.digest
    assert "model" not in str([one.to_json() for one in log.entries(subject="pilot/R1")])
    shown = session.reveal(handle, told)
    case = session.states()[handle].task.case_id
    assert shown["probability"] == pytest.approx(probability_of(case))
    assert [place for place, _ in shown["slices"]] == [4, 5, 6]
    assert session.seal(handle, Phase.REVISED, "key2", AFTER).step is Step.DONE
    assert next_handle(session) != handle
    assert log.verify() > 5


def test_an_early_request_is_refused_and_logged(log: Log, tables: Workspace, hands: Hands, told: Any) -> None:
    session = begin(log, tables, hands, told)
    handle = next_handle(session)
    asked: list[str] = []
    for _ in range(2):
        with pytest.raises(AccessError, match="Hidden until you have submitted your answer"):
            session.reveal(handle, lambda case: asked.append(case) or told(case))
    session.open(handle)
    with pytest.raises(AccessError, match="Hidden until"):
        session.reveal(handle, lambda case: asked.append(case) or told(case))
    with pytest.raises(AccessError, match="not been shown yet"):
        session.seal(handle, Phase.REVISED, "k", AFTER)
    assert asked == []
    assert len(log.entries(kind="model.refused")) == 3
    assert session.states()[handle].refusals == 3
    assert log.entries(kind="model.revealed") == []


def test_an_unaided_study_never_shows_a_model(log: Log, tables: Workspace, hands: Hands) -> None:
    session = begin(log, tables, hands, kind=DesignKind.UNAIDED)
    handle = next_handle(session)
    session.open(handle)
    assert session.seal(handle, Phase.FIRST, "k", YES).step is Step.DONE
    with pytest.raises(AccessError, match="Hidden until"):
        session.reveal(handle, lambda case: pytest.fail("asked"))
    assert len(log.entries(kind="model.refused")) == 1


def test_sealing_again_is_harmless_and_a_different_answer_is_refused(
    log: Log, tables: Workspace, hands: Hands, told: Any
) -> None:
    session = begin(log, tables, hands, told)
    handle = next_handle(session)
    with pytest.raises(StaleError, match="not been opened"):
        session.seal(handle, Phase.FIRST, "k", NO)
    session.open(handle)
    first = session.seal(handle, Phase.FIRST, "k", NO).first
    assert session.seal(handle, Phase.FIRST, "k", NO).first == first
    assert session.seal(handle, Phase.FIRST, "another tab", NO).first == first
    for key in ("k", "k2"):
        with pytest.raises(StaleError, match="already has a sealed answer"):
            session.seal(handle, Phase.FIRST, key, YES)
    assert len(log.entries(kind="answer.sealed")) == 1
    session.reveal(handle, told)
    assert session.reveal(handle, lambda case: pytest.fail("asked twice"))["diagnosis"]
    assert len(log.entries(kind="model.revealed")) == 1
    session.seal(handle, Phase.REVISED, "r", AFTER)
    with pytest.raises(StaleError, match="already has a sealed answer"):
        session.seal(handle, Phase.REVISED, "r", replace(AFTER, confidence=10))
    with pytest.raises(StaleError, match="finished"):
        session.open(handle)
    with pytest.raises(StaleError, match="finished"):
        session.save_draft(handle, {})


def test_two_tabs_that_seal_at_once_store_one_answer(log: Log, tables: Workspace, hands: Hands) -> None:
    session = begin(log, tables, hands)
    handle = next_handle(session)
    session.open(handle)
    outcomes: list[str] = []
    gate = threading.Barrier(6)

    def seal(number: int) -> None:
        gate.wait()
        try:
            session.seal(handle, Phase.FIRST, f"k{number}", replace(NO, confidence=number))
            outcomes.append("stood")
        except StaleError:
            outcomes.append("refused")

    tabs = [threading.Thread(target=seal, args=(number,)) for number in range(6)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert sorted(outcomes) == ["refused"] * 5 + ["stood"]
    kept = session.states()[handle].first
    assert kept is not None
    sealed = log.entries(kind="answer.sealed")
    assert kept.answer.confidence == sealed[0].content["answer"]["confidence"]


def test_cases_are_read_in_order_and_only_by_their_readers(log: Log, tables: Workspace, hands: Hands) -> None:
    session = begin(log, tables, hands)
    handles = list(session.states())
    with pytest.raises(StaleError, match="not next in order"):
        session.open(handles[1])
    other = replace(session, reader="R2")
    assert set(other.states()).isdisjoint(handles)
    with pytest.raises(AccessError, match="Not found"):
        other.open(handles[0])
    with pytest.raises(AccessError, match="Not found"):
        replace(session, reader="R3").states()
    with pytest.raises(AccessError, match="Not found"):
        replace(session, session=2).states()
    with pytest.raises(AccessError, match="There is no such reader study"):
        find_study(log, "another")
    assert not any(case in handle for case in CASES for handle in handles)


def test_an_answer_is_complete_or_refused_without_naming_the_case(log: Log, tables: Workspace, hands: Hands) -> None:
    session = begin(log, tables, hands)
    handle = next_handle(session)
    session.open(handle)
    with pytest.raises(InputError, match="The signs are missing"):
        session.seal(handle, Phase.FIRST, "k", AFTER)
    with pytest.raises(InputError, match="no key"):
        session.seal(handle, Phase.FIRST, "", NO)
    with pytest.raises(InputError, match="signs missing: skip_lesions"):
        Answer(Diagnosis.BENIGN, 5, dict.fromkeys(SIGN_IDENTIFIERS[:-1], Score.NO))
    for comment in ("=HYPERLINK()", "two\nlines", "x" * 201, " led by a space"):
        with pytest.raises(InputError, match="comment"):
            Answer(Diagnosis.BENIGN, 5, SIGNS, comment)
    with pytest.raises(InputError, match="confidence is 101"):
        Answer(Diagnosis.BENIGN, 101)
    with pytest.raises(InputError, match="incomplete"):
        Answer.from_json({"diagnosis": "perhaps", "confidence": 3, "signs": None, "comment": ""})
    assert Answer.from_json(YES.to_json()) == YES


def test_practice_comes_first_and_is_never_flipped(log: Log, tables: Workspace, hands: Hands, told: Any) -> None:
    session = begin(log, tables, hands, told, practice=("case10", "case11"), perturbed_share=0.5)
    tasks = [state.task for state in session.states().values()]
    assert [task.is_practice for task in tasks] == [True, True] + [False] * 6
    assert [(task.place, task.of) for task in tasks[:3]] == [(1, 2), (2, 2), (1, 6)]
    read_all(session, told)
    revealed = [entry.content["shown"] for entry in log.entries(kind="model.revealed")]
    assert [one["perturbed"] for one in revealed].count(True) == 3
    assert not any(one["perturbed"] for one in revealed[:2])
    for task in tasks:
        shown = session.states()[task.handle].shown
        assert shown is not None
        wanted = probability_of(task.case_id)
        assert shown["probability"] == pytest.approx(1 - wanted if shown["perturbed"] else wanted)
        says = Diagnosis.MALIGNANT if shown["probability"] > 0.5 else Diagnosis.BENIGN
        assert shown["diagnosis"] == says
    assert all("perturbed" not in session.reveal(task.handle, told) for task in tasks)


def test_a_crossover_waits_for_its_washout(log: Log, tables: Workspace, hands: Hands, told: Any) -> None:
    first = begin(log, tables, hands, told, kind=DesignKind.CROSSOVER)
    second = replace(first, session=2)
    with pytest.raises(AccessError, match="previous session is not finished"):
        second.refuse_unless_open()
    assert second.opens() is None
    read_all(first, told)
    hands.pass_s(10)
    with pytest.raises(AccessError, match="after the washout"):
        second.open(next(iter(second.states())))
    opens = second.opens()
    assert opens is not None
    assert timedelta(days=27, hours=23) < opens - hands.date <= timedelta(days=28)
    hands.pass_s(86_400 * 28 - 60)
    with pytest.raises(AccessError, match="after the washout"):
        second.refuse_unless_open()
    hands.pass_s(120)
    read_all(second, told)
    arms = [{s.task.case_id: s.task.arm for s in one.states().values()} for one in (first, second)]
    assert all(arms[0][case] != arms[1][case] for case in CASES[:6])
    assert unfinished_cases(log, tables, "R1") == frozenset()


def test_a_changed_clock_opens_no_session(log: Log, tables: Workspace, hands: Hands, told: Any) -> None:
    first = begin(log, tables, hands, told, kind=DesignKind.CROSSOVER)
    read_all(first, told)
    second = replace(first, session=2)
    hands.date += timedelta(days=30)
    with pytest.raises(AccessError, match="set forward"):
        second.refuse_unless_open()
    hands.date -= timedelta(days=60)
    with pytest.raises(AccessError, match="set back"):
        second.refuse_unless_open()
    restarted = replace(second, clock=Hands(process="p2", date=hands.date + timedelta(days=60)).clock())
    restarted.refuse_unless_open()


def test_times_are_the_servers_and_divided_by_presence(log: Log, tables: Workspace, hands: Hands) -> None:
    session = begin(log, tables, hands, kind=DesignKind.UNAIDED)
    handle = next_handle(session)
    session.open(handle)
    hands.pass_s(20)
    session.tell_presence(handle, Presence.HIDDEN)
    hands.pass_s(300)
    session.tell_presence(handle, Presence.VISIBLE)
    hands.pass_s(10)
    session.tell_presence(handle, Presence.PAUSED)
    hands.pass_s(1000)
    session.tell_presence(handle, Presence.VISIBLE)
    hands.pass_s(5)
    session.tell_presence(handle, Presence.IDLE)
    hands.pass_s(40)
    session.tell_presence(handle, Presence.VISIBLE)
    hands.pass_s(375)  # silent beyond what a living page ever is: a laptop that slept
    hands.date -= timedelta(days=400)  # the date does not matter
    session.seal(handle, Phase.FIRST, "k", NO)
    kept = session.states()[handle].first
    assert kept is not None
    assert kept.times == Times(20_000 + 10_000 + 5_000 + 75_000, 40_000 + 300_000, 300_000, 1_000_000, 0)
    session.tell_presence(handle, Presence.HIDDEN)
    assert len(log.entries(kind="presence.told")) == 6


def test_time_is_never_negative_and_a_restart_is_counted() -> None:
    watch = Stopwatch()
    watch.tell("p1", 1000)
    watch.tell("p1", 400)
    watch.tell("p2", 5)
    watch.tell("p2", 2005)
    assert watch.stop() == Times(2000, 0, 0, 0, 1)
    watch.tell("p2", 9000)
    assert watch.stop() == Times()
    clock = Clock()
    assert clock.stamp()["at_ms"] <= clock.stamp()["at_ms"]
    assert Clock().process != Clock().process


def test_a_study_may_only_grow(log: Log, tables: Workspace, hands: Hands, told: Any) -> None:
    session = begin(log, tables, hands, told, readers=("R1",))
    before = list(session.states())
    read_all(session, told)
    grown = register_design(tables, log, design(cases=CASES[:9]), by="E1")
    again = replace(session, study=grown)
    assert list(again.states())[:6] == before
    assert len(again.states()) == 9
    assert next_handle(again) == list(again.states())[6]
    assert register_design(tables, log, design(cases=CASES[:9]), by="E1") == grown
    assert len(log.entries(kind="study.registered")) == 2
    for change in ({"signs": False}, {"seed": 5}, {"washout_days": 3}):
        with pytest.raises(DesignError, match="differs from what study"):
            register_design(tables, log, design(cases=CASES[:9], **change), by="E1")
    with pytest.raises(DesignError, match="cases lacks case00"):
        register_design(tables, log, design(cases=CASES[1:9]), by="E1")
    with pytest.raises(DesignError, match="readers lacks R2"):
        register_design(tables, log, design(cases=CASES[:9], readers=("R1",)), by="E1")
    with pytest.raises(DesignError, match="not a case of this workspace"):
        register_design(tables, log, design(cases=("case99",)), by="E1")
    with pytest.raises(DesignError, match="the study has no case"):
        register_study(log, design(cases=()), None, {}, by="E1")


def test_no_model_judges_a_case_it_was_trained_on(log: Log, tables: Workspace, hands: Hands, told: Any) -> None:
    owners = {case: f"sub-{number:03d}" for number, case in enumerate(CASES, 1)}
    write_experiment(tables, owners, fold=0)
    with pytest.raises(DesignError, match="experiment quick has no out-of-fold prediction"):
        register_design(tables, log, design(), by="E1")
    write_experiment(tables, {case: owner for case, owner in owners.items() if case != "case02"})
    with pytest.raises(DesignError, match="no out-of-fold prediction for case02"):
        register_design(tables, log, design(), by="E1")
    write_experiment(tables, owners)
    session = begin(log, tables, hands, told)
    handle = next_handle(session)
    session.open(handle)
    session.seal(handle, Phase.FIRST, "k", NO)
    write_experiment(tables, owners, fold=2)
    with pytest.raises(Exception, match="changed since the reader study was registered"):
        session.reveal(handle, told)
    assert log.entries(kind="model.revealed") == []


def test_unfinished_cases_are_those_of_unfinished_studies(log: Log, tables: Workspace, hands: Hands, told: Any) -> None:
    assert unfinished_cases(log, tables, "R1") == frozenset()
    session = begin(log, tables, hands, told, practice=("case11",))
    assert unfinished_cases(log, tables, "R1") == {*CASES[:6], "case11"}
    assert unfinished_cases(log, tables, "E1") == frozenset()
    handle = next_handle(session)
    session.open(handle)
    session.seal(handle, Phase.FIRST, "k", NO)
    assert unfinished_cases(log, tables, "R1") == {*CASES[:6], "case11"}
    read_all_but_sealed(session, told)
    assert unfinished_cases(log, tables, "R1") == frozenset()
    assert unfinished_cases(log, tables, "R2") == {*CASES[:6], "case11"}


def read_all_but_sealed(session: Session, told: Any) -> None:
    handle = next_handle(session)
    session.reveal(handle, told)
    session.seal(handle, Phase.REVISED, "r", AFTER)
    read_all(session, told)


def test_a_drawn_seed_is_kept(log: Log, tables: Workspace) -> None:
    unseeded = replace(design(), seed=None)
    study: RegisteredStudy = register_design(tables, log, unseeded, by="E1")
    assert find_study(log, "pilot").seed == study.seed
    assert register_design(tables, log, replace(unseeded, cases=CASES[:7]), by="E1").seed == study.seed

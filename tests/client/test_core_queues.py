"""The client's core about queues and parties: what is said again after a reconnect, and what is over with a broker."""

import pytest

from server_room_system import Code, MatchCancelled
from server_room_system.protocol import Cancel, Enqueue, Error, Found, Resume
from server_room_system.protocol.queue_messages import Party, PartyState

from .fakes import Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()


def enqueue(stage: Stage) -> int:
    return stage.core.requests.ask(lambda ask: Enqueue(stage.core.home.ref, ask, "ranked", {}, [], {}, {}, 60.0, ""))


def said(stage: Stage) -> list[tuple[str, int]]:
    return [(type(one).__name__, one.ask) for one in stage.out.heard() if isinstance(one, Enqueue | Cancel)]


def test_a_ticket_is_asked_for_again_after_a_reconnect(stage: Stage) -> None:
    stage.connect()
    ask = enqueue(stage)
    assert said(stage) == [("Enqueue", ask)]
    stage.reconnect()
    assert said(stage) == [("Enqueue", ask)]


@pytest.mark.parametrize("when", ["here", "away"])
def test_a_cancel_is_said_behind_its_ticket_until_it_is_answered(stage: Stage, when: str) -> None:
    stage.connect()
    ask = enqueue(stage)
    if when == "here":
        stage.core.requests.cancel(ask)
        assert said(stage) == [("Enqueue", ask), ("Cancel", ask)]
        stage.reconnect()
    else:
        stage.lose()
        stage.core.requests.cancel(ask)
        stage.advance_to_dial()
        stage.welcome(stage.last(Resume).ask, resumed=True)
    # The broker may have heard the first of them, or both: in this order it has no ticket in the end.
    assert said(stage) == [("Enqueue", ask), ("Cancel", ask)]
    stage.say(Error(stage.core.home.ref, ask, int(Code.MATCH_CANCELLED), "", None))
    ((answered, error),) = stage.out.answers
    assert answered == ask
    assert isinstance(error, MatchCancelled)
    stage.reconnect()
    assert said(stage) == []


def test_what_is_found_is_told_to_who_waits(stage: Stage) -> None:
    stage.connect()
    ask = enqueue(stage)
    stage.say(Found(stage.core.home.ref, ask, 4, 2, 10.0))
    assert stage.out.told_of[-1] == (ask, Found(stage.core.home.ref, ask, 4, 2, 10.0))


def test_another_broker_knows_of_no_party(stage: Stage) -> None:
    stage.connect()
    stage.reconnect()
    assert stage.out.parties == []
    stage.reconnect(epoch=77)
    assert stage.out.parties == [{}]


def test_a_party_that_was_left_by_who_has_given_up_waiting_for_the_answer_is_left(stage: Stage) -> None:
    stage.connect()
    ask = stage.core.requests.ask(lambda ask: Party(stage.core.home.ref, ask, "leave", None))
    stage.core.requests.forget(ask)
    stage.say(PartyState(stage.core.home.ref, ask, {}))
    assert stage.out.parties == [{}]
    assert stage.out.answers == []

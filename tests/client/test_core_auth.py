"""Showing who we are: credentials in HELLO, and again when a broker that was started anew wants them."""

from server_room_system import (
    AuthRefused,
    AuthUnavailable,
    BrokerUnreachable,
    Code,
    CredentialsError,
    CredentialsWanted,
    WorkerLost,
)
from server_room_system.client.life import ClientState
from server_room_system.protocol import Error, Hello, JoinById, Resume
from server_room_system.transport.network import Failure

from .fakes import Stage

TOKEN = {"token": "secret"}


def refuse(stage: Stage, ask: int, code: Code, text: str = "no") -> None:
    stage.say(Error(0, ask, int(code), text, None))


def test_credentials_go_out_with_hello() -> None:
    stage = Stage(credentials=TOKEN)
    stage.open()
    assert stage.last(Hello).options == {"credentials": TOKEN, "enter": True}


def test_without_credentials_hello_is_what_it_was() -> None:
    stage = Stage()
    stage.open()
    assert stage.last(Hello).options == {"enter": True}


def test_who_is_refused_is_not_to_come_back() -> None:
    stage = Stage(credentials=TOKEN)
    stage.open()
    refuse(stage, stage.last(Hello).ask, Code.AUTH_REFUSED, "this account is closed")
    (error,) = stage.out.endings
    assert isinstance(error, AuthRefused)
    assert str(error) == "this account is closed"
    stage.advance(60)
    assert len(stage.out.dialled) == 1


def test_a_server_that_can_not_tell_is_asked_again_until_the_time_is_over() -> None:
    stage = Stage(credentials=TOKEN)
    stage.open()
    refuse(stage, stage.last(Hello).ask, Code.AUTH_UNAVAILABLE, "busy")
    assert stage.core.state is ClientState.WAITING
    assert stage.out.hung_up == 1
    while not stage.out.endings:
        stage.advance_to_dial()
        refuse(stage, stage.last(Hello).ask, Code.AUTH_UNAVAILABLE, "busy")
    assert len(stage.out.dialled) > 3
    (error,) = stage.out.endings
    assert isinstance(error, AuthUnavailable), "not that nobody was there"


def test_a_server_that_is_gone_after_it_could_not_tell_is_unreachable() -> None:
    stage = Stage(credentials=TOKEN)
    stage.open()
    refuse(stage, stage.last(Hello).ask, Code.AUTH_UNAVAILABLE)
    while not stage.out.endings:
        stage.advance(0.05)
        stage.core.down("refused", stage.now)
    assert isinstance(stage.out.endings[0], BrokerUnreachable)


def test_resume_shows_nothing_until_it_is_asked() -> None:
    stage = Stage(credentials=TOKEN)
    stage.connect()
    stage.lose()
    stage.advance_to_dial()
    resume = stage.last(Resume)
    assert resume.options == {"enter": True}
    refuse(stage, resume.ask, Code.CREDENTIALS_WANTED)
    again = stage.last(Resume)
    assert again == resume._replace(ask=again.ask, options={"credentials": TOKEN, "enter": True})
    assert again.ask != resume.ask
    stage.welcome(again.ask, resumed=True, epoch=502)
    assert stage.core.state is ClientState.ONLINE


def test_who_has_nothing_to_show_says_so_when_asked() -> None:
    stage = Stage()
    stage.connect()
    stage.lose()
    stage.advance_to_dial()
    refuse(stage, stage.last(Resume).ask, Code.CREDENTIALS_WANTED)
    assert stage.last(Resume).options == {"credentials": None, "enter": True}


def test_credentials_that_are_refused_at_a_resume_end_the_client() -> None:
    stage = Stage(credentials=TOKEN)
    stage.connect()
    stage.lose()
    stage.advance_to_dial()
    refuse(stage, stage.last(Resume).ask, Code.CREDENTIALS_WANTED)
    refuse(stage, stage.last(Resume).ask, Code.AUTH_REFUSED)
    assert isinstance(stage.out.endings[0], AuthRefused)


def test_wanting_credentials_of_a_hello_makes_no_sense_and_ends_it() -> None:
    stage = Stage()
    stage.open()
    refuse(stage, stage.last(Hello).ask, Code.CREDENTIALS_WANTED)
    assert isinstance(stage.out.endings[0], CredentialsWanted)


# From a function.


def test_a_function_is_asked_at_each_opening_that_needs_it() -> None:
    stage = Stage(fetches=True)
    stage.open()
    assert stage.out.heard() == []
    (ask,) = stage.out.fetching
    stage.core.introduce(ask, "fresh 1")
    assert stage.last(Hello).options == {"credentials": "fresh 1", "enter": True}
    stage.welcome(ask)
    stage.out.heard()
    stage.lose()
    stage.advance_to_dial()
    resume = stage.last(Resume)
    assert stage.out.fetching == [ask], "a session that is known is not asked"
    refuse(stage, resume.ask, Code.CREDENTIALS_WANTED)
    stage.core.introduce(stage.out.fetching[-1], "fresh 2")
    assert stage.last(Resume).options == {"credentials": "fresh 2", "enter": True}


def test_what_comes_too_late_is_not_shown_on_another_connection() -> None:
    stage = Stage(fetches=True)
    stage.open()
    (first,) = stage.out.fetching
    stage.lose()
    stage.core.introduce(first, "late")
    stage.advance_to_dial()
    stage.core.introduce(first, "late")
    assert stage.out.heard() == []
    stage.core.introduce(stage.out.fetching[-1], "in time")
    assert stage.last(Hello).options == {"credentials": "in time", "enter": True}
    stage.welcome(stage.out.fetching[-1])
    stage.out.heard()
    stage.core.introduce(stage.out.fetching[-1], "again")
    assert stage.out.heard() == []


def test_a_function_that_fails_ends_a_client_that_has_nothing_yet() -> None:
    stage = Stage(fetches=True)
    stage.open()
    error = CredentialsError("no")
    stage.core.not_introduced(stage.out.fetching[-1] + 1, error, stage.now)  # of another opening
    assert stage.out.endings == []
    stage.core.not_introduced(stage.out.fetching[-1], error, stage.now)
    assert stage.out.endings == [error]


def test_a_function_that_fails_does_not_cost_the_session() -> None:
    stage = Stage(fetches=True)
    stage.open()
    stage.core.introduce(stage.out.fetching[-1], "fresh")
    stage.welcome(stage.last(Hello).ask)
    stage.out.heard()
    stage.lose()
    stage.advance_to_dial()
    refuse(stage, stage.last(Resume).ask, Code.CREDENTIALS_WANTED)
    stage.core.not_introduced(stage.out.fetching[-1], CredentialsError("the issuer is down"), stage.now)
    assert stage.core.state is ClientState.WAITING
    assert stage.out.endings == []
    stage.advance_to_dial()
    assert stage.last(Resume)


# Ports with locks.


def test_a_key_that_is_refused_ends_the_client_and_says_whose_key() -> None:
    stage = Stage()
    stage.core.open(stage.now)
    stage.core.down("the server refused this client's key", stage.now, None, Failure.REFUSED)
    (error,) = stage.out.endings
    assert isinstance(error, AuthRefused)
    assert "this client's key" in str(error)


def test_why_a_port_did_not_open_is_told_when_the_time_is_over() -> None:
    stage = Stage()
    stage.core.open(stage.now)
    stage.core.down("the server asks for a key", stage.now, None, Failure.LOCKED)
    while not stage.out.endings:
        stage.advance(0.05)
        stage.core.down("the handshake failed", stage.now)
    (error,) = stage.out.endings
    assert isinstance(error, BrokerUnreachable)
    assert "the server asks for a key" in str(error)


def test_a_session_is_not_given_up_for_a_port_that_seems_locked() -> None:
    stage = Stage()
    stage.connect()
    stage.lose()
    stage.advance(0.3)
    stage.core.down("the server ended the handshake", stage.now, None, Failure.LOCKED)
    assert stage.core.state is ClientState.WAITING
    stage.advance_to_dial()
    assert stage.last(Resume)


def test_a_worker_that_refuses_our_key_costs_its_rooms_at_once() -> None:
    stage = Stage()
    stage.connect()
    ask = stage.core.requests.ask(lambda ask: JoinById(stage.core.home.ref, ask, "r1", {}))
    stage.assigned(ask, "r1", "tcp://192.0.2.1:7001#" + "0" * 40)
    (contact,) = stage.core.workers.values()
    stage.core.down("the server refused this client's key", stage.now, contact, Failure.REFUSED)
    ((answered, error),) = stage.out.answers
    assert answered == ask
    assert isinstance(error, WorkerLost)
    assert str(error) == "the room's worker at tcp://192.0.2.1:7001: the server refused this client's key"
    assert stage.core.workers == {}

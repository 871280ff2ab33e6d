"""The administrator's end of the conversation, mouth to ear with the broker's."""

from random import Random
from typing import Any

import pytest

from server_room_system import Code, RemoteError
from server_room_system.broker.administration import AdminDesk, Administration
from server_room_system.broker.placement import Load
from server_room_system.cli.admin_talk import AdminState, AdminTalk
from server_room_system.protocol import Error, Goodbye, Limits, Rooms, download_decoder, parse
from server_room_system.protocol.cluster import (
    Admit,
    Admitted,
    Challenge,
    ClusterMessage,
    Denied,
    Result,
    parse_cluster,
)
from server_room_system.protocol.errors import RoomNotFound, UnknownKind, WrongKey
from server_room_system.rooms.control import Failed, Inspect, Inspected, RoomUpdated

from .fakes import Bench, FakeOutbox

KEY = b"k" * 32
_decode = download_decoder(Limits())


class AdminOutbox(FakeOutbox):
    """The outbox of the broker, which has a load."""

    load = Load(0.002, 0.5, 1000, 7.0)


class Admin:
    """Administration and administrator, mouth to ear."""

    address = "10.9.9.9"

    def __init__(self, bench: Bench, key: bytes = KEY) -> None:
        out = AdminOutbox()
        out.alarms, out.now = bench.out.alarms, bench.out.now
        self.administration = Administration(KEY, bench.broker, out, Random(1).randbytes, "srs test")
        self.desk = AdminDesk(self)
        self.talk = AdminTalk(key, self, Random(2).randbytes)
        self.hung_up = False
        self.software: str | None = None
        self.error: RemoteError | None = None
        self.answers: dict[int, Any] = {}
        self.said: list[ClusterMessage] = []
        self.talk.up()

    def ask(self, name: str, **arguments: Any) -> Any:
        """What the broker answers at once; None if nothing."""
        return self.answers.get(self.talk.command(name, arguments))

    def refusal(self, name: str, **arguments: Any) -> tuple[int, str]:
        """Code and text of the error that it answers."""
        answer = self.ask(name, **arguments)
        assert isinstance(answer, RemoteError), answer
        return int(answer.code), answer.text

    # The connection, at the broker's end.

    def say_frame(self, frame: bytes) -> None:
        value = _decode(frame)
        self.talk.receive(parse_cluster(value) if value[0] >= 64 else parse(value))

    def hang_up(self) -> None:
        self.hung_up = True

    # The outbox of the administrator.

    def transmit(self, message: ClusterMessage) -> None:
        self.said.append(message)
        try:
            self.administration.on_message(self.desk, message)
        except RemoteError as error:
            self.talk.receive(Error(0, 0, int(error.code), error.text, None))

    def admitted(self, software: str) -> None:
        self.software = software

    def answered(self, ask: int, answer: Any) -> None:
        self.answers[ask] = answer

    def refused(self, error: RemoteError) -> None:
        self.error = error


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_who_has_the_key_is_let_in(bench: Bench) -> None:
    admin = Admin(bench)
    assert admin.software == "srs test"
    assert admin.talk.state is AdminState.TRUSTED
    assert admin.desk.trusted


def test_who_has_another_key_notices_first_and_proves_nothing(bench: Bench) -> None:
    admin = Admin(bench, b"x" * 32)
    assert isinstance(admin.error, WrongKey)
    assert "--key-file" in str(admin.error)
    assert not admin.desk.trusted
    assert not any(isinstance(message, Admit) for message in admin.said)


def test_a_server_that_knows_no_administrators_is_told_apart(bench: Bench) -> None:
    admin = Admin(bench)

    def unknown(desk: object, message: object) -> None:
        raise UnknownKind("not a message for this port")

    admin.administration.on_message = unknown  # type: ignore[method-assign]  # as a server of before has it
    admin.talk = AdminTalk(KEY, admin, Random(3).randbytes)
    admin.talk.up()
    assert isinstance(admin.error, UnknownKind)
    assert "port for clients" in str(admin.error)


def test_an_unknown_command_names_those_that_there_are(bench: Bench) -> None:
    code, text = Admin(bench).refusal("explode")
    assert code == Code.BAD_MESSAGE
    assert "workers, rooms, inspect, why, kick, close, drain" in text


def test_answers_find_their_commands(bench: Bench) -> None:
    for room in ("abcd1111", "abce2222"):
        bench.report(RoomUpdated(room, "duel", 1, 0, 1, False, {}))
    admin = Admin(bench)
    first = admin.talk.command("inspect", {"room": "abcd"})
    second = admin.talk.command("inspect", {"room": "abce"})
    assert admin.answers == {}
    questions = {asked.room: asked.ask for asked in bench.out.asked_for(Inspect)}
    admin.administration.inspected(Inspected(questions["abce2222"], {"state": "open"}))
    admin.administration.inspected(Failed(questions["abcd1111"], int(Code.ROOM_NOT_FOUND), "it ended"))
    assert admin.answers[second] == {"worker": "local", "state": "open"}
    assert isinstance(admin.answers[first], RoomNotFound)
    assert admin.talk.state is AdminState.TRUSTED


@pytest.mark.parametrize(
    "message",
    [
        Challenge(b"n" * 16, b"p" * 32),
        Admitted("again"),
        Denied(int(Code.WRONG_KEY), "no more"),
        Goodbye(0, int(Code.SERVER_STOPPING), "bye"),
        Error(0, 0, int(Code.RATE_LIMITED), "slowly", None),
        Rooms(1, 1, []),
    ],
)
def test_what_has_no_place_in_the_conversation_ends_it(bench: Bench, message: Any) -> None:
    admin = Admin(bench)
    admin.talk.receive(message)
    assert admin.talk.state is AdminState.OVER
    assert admin.error is not None
    admin.talk.lost()  # nothing more follows


def test_nothing_is_answered_before_the_broker_has_proved_itself(bench: Bench) -> None:
    admin = Admin(bench)
    admin.talk = AdminTalk(KEY, admin, Random(4).randbytes)
    admin.administration.on_message = lambda desk, message: None  # type: ignore[method-assign]  # it is silent
    admin.talk.up()
    admin.talk.receive(Result(1, {"rooms": []}))
    assert admin.answers == {}
    assert admin.talk.state is AdminState.OVER


def test_a_connection_that_is_lost_ends_it_at_any_time(bench: Bench) -> None:
    fresh = AdminTalk(KEY, Admin(bench), Random(5).randbytes)
    for talk in (fresh, Admin(bench).talk):
        talk.lost()
        assert talk.state is AdminState.OVER
        talk.lost()

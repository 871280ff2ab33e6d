"""Administrators: who is let in, and what each command does, spoken with the administrator's end of it."""

from random import Random
from typing import Any

import pytest

from server_room_system import ClientData, Code, RemoteError, RuleSet
from server_room_system.broker.administration import AdminDesk, Administration
from server_room_system.broker.placement import Load
from server_room_system.cli.admin_talk import AdminState, AdminTalk
from server_room_system.protocol import Error, Limits, download_decoder, parse
from server_room_system.protocol.cluster import Admit, ClusterMessage, Command, parse_cluster
from server_room_system.protocol.errors import UnknownKind, WrongKey
from server_room_system.protocol.messages import Create, Hello, Welcome
from server_room_system.rooms.control import (
    CloseRoom,
    Drain,
    Failed,
    Inspect,
    Inspected,
    Kick,
    OpenRoom,
    RoomUpdated,
    Seated,
)

from .fakes import Bench, FakeCaller, FakeOutbox, Guest, a_worker

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


def come(bench: Bench) -> Guest:
    caller = FakeCaller(bench.out)
    bench.say(caller, Hello(1, [1], "test", {}))
    (welcome,) = caller.heard()
    assert isinstance(welcome, Welcome)
    return Guest(bench, caller, welcome)


def a_room(bench: Bench) -> tuple[str, Guest]:
    """A room on the worker, and its one member."""
    guest = come(bench)
    guest.ask(Create(guest.ref, 10, RuleSet(1, room="duel").to_wire(), {}))
    wanted = bench.out.asked_for(OpenRoom)[-1]
    bench.grant(wanted)
    bench.seat(guest, wanted.room)
    return wanted.room, guest


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


def test_a_wrong_proof_is_refused_logged_and_hung_up_on(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    admin = Admin(bench, b"x" * 32)
    with pytest.raises(WrongKey):
        admin.administration.on_message(admin.desk, Command(1, "workers", {}))
    admin.administration.on_message(admin.desk, Admit(b"p" * 32))
    assert admin.hung_up
    assert not admin.desk.trusted
    assert "administrator from 10.9.9.9 refused: wrong cluster key" in caplog.text


def test_a_proof_is_good_once(bench: Bench) -> None:
    admin = Admin(bench)
    (proof,) = (message for message in admin.said if isinstance(message, Admit))
    admin.administration.on_message(admin.desk, proof)
    assert admin.hung_up


def test_workers_come_with_the_totals_and_the_broker_s_own_load(bench: Bench) -> None:
    a_room(bench)
    bench.broker.workers.add(a_worker("w7", bench.out, "tcp://127.0.0.1:9", host="box", pid=12))
    told = Admin(bench).ask("workers")
    assert (told["sessions"], told["rooms"], told["tickets"], told["software"]) == (1, 1, 0, "srs test")
    assert told["broker"] == {"lag": 0.002, "cpu": 0.5, "rss": 1000, "messages": 7.0}
    assert [(one["name"], one["rooms"], one["host"]) for one in told["workers"]] == [("local", 1, ""), ("w7", 0, "box")]


def test_rooms_come_in_pages_and_by_type(bench: Bench) -> None:
    for number in range(450):
        bench.report(RoomUpdated(f"{number:032}", "duel" if number % 2 else "talk", 1, 0, 1, False, {}))
    admin = Admin(bench)
    first, rest = admin.ask("rooms"), admin.ask("rooms", after=400)
    assert (len(first["rooms"]), first["all"], len(rest["rooms"])) == (400, 450, 50)
    assert admin.ask("rooms", type="duel")["all"] == 225
    assert admin.refusal("rooms", after=-1)[0] == Code.BAD_MESSAGE


def test_a_room_is_named_by_how_its_id_begins(bench: Bench) -> None:
    for room in ("abcd1111", "abcd2222", "abce3333"):
        bench.report(RoomUpdated(room, "duel", 1, 0, 1, False, {}))
    admin = Admin(bench)
    assert admin.ask("close", room="abce") == {"room": "abce3333"}
    assert admin.ask("close", room="abcd1111") == {"room": "abcd1111"}
    assert bench.out.asked_for(CloseRoom) == [
        CloseRoom("abce3333", Code.ROOM_CLOSED, ""),
        CloseRoom("abcd1111", Code.ROOM_CLOSED, ""),
    ]
    assert admin.refusal("close", room="abcd") == (
        Code.BAD_MESSAGE,
        "2 rooms have an id that begins with 'abcd': write more of it",
    )
    for unknown in ("abc", "abcf", "", 7, None):
        assert admin.refusal("close", room=unknown)[0] == Code.ROOM_NOT_FOUND


def test_an_id_that_is_the_beginning_of_another_names_its_own_room(bench: Bench) -> None:
    for room in ("abcd", "abcd2222"):
        bench.report(RoomUpdated(room, "duel", 1, 0, 1, False, {}))
    assert Admin(bench).ask("close", room="abcd") == {"room": "abcd"}


def test_a_member_is_kicked_and_nobody_else(bench: Bench) -> None:
    room, guest = a_room(bench)
    admin, number = Admin(bench), guest.welcome.client_id
    assert admin.ask("kick", room=room[:6], client=number, text="be nice") == {"room": room, "client": number}
    assert bench.out.asked_for(Kick) == [Kick(room, number, "be nice")]
    assert admin.refusal("kick", room=room, client=number + 1)[0] == Code.NOT_A_MEMBER
    assert admin.refusal("kick", room=room, client="1")[0] == Code.BAD_MESSAGE
    assert len(bench.out.asked_for(Kick)) == 1


def test_a_room_is_inspected_by_its_worker(bench: Bench) -> None:
    room, _ = a_room(bench)
    admin = Admin(bench)
    assert admin.ask("inspect", room=room) is None
    (question,) = bench.out.asked_for(Inspect)
    admin.administration.inspected(Inspected(question.ask, {"state": "open"}))
    assert list(admin.answers.values()) == [{"worker": "local", "state": "open"}]
    admin.ask("inspect", room=room)
    admin.administration.inspected(Failed(bench.out.asked_for(Inspect)[-1].ask, int(Code.ROOM_NOT_FOUND), "it ended"))
    assert str(list(admin.answers.values())[-1]) == "it ended"


def test_a_worker_that_does_not_answer_is_named(bench: Bench) -> None:
    room, _ = a_room(bench)
    admin = Admin(bench)
    admin.ask("inspect", room=room)
    bench.out.advance(3.1)
    (answer,) = admin.answers.values()
    assert str(answer) == "its worker local has not answered within 3 s"
    admin.administration.inspected(Inspected(bench.out.asked_for(Inspect)[0].ask, {}))  # too late: nobody waits
    assert list(admin.answers.values()) == [answer]


def test_a_worker_is_drained_by_name(bench: Bench) -> None:
    orders = FakeOutbox()
    bench.broker.workers.add(a_worker("w1", orders, "tcp://127.0.0.1:9"))
    admin = Admin(bench)
    assert admin.ask("drain", worker="w1", within=7) == {"worker": "w1", "generation": 0, "rooms": 0}
    assert orders.asked == [Drain(7.0, int(Code.WORKER_DRAINED))]
    assert [one["state"] for one in admin.ask("workers")["workers"]] == ["serving", "draining"]
    assert admin.refusal("drain", worker="w2")[1] == "no worker is named 'w2'; there are: w1"
    assert "stop it" in admin.refusal("drain", worker="local")[1]
    for within in (0, -1, 1e9, "5", True):
        assert admin.refusal("drain", worker="w1", within=within)[0] == Code.BAD_MESSAGE


def test_an_unknown_command_names_those_that_there_are(bench: Bench) -> None:
    code, text = Admin(bench).refusal("explode")
    assert code == Code.BAD_MESSAGE
    assert "workers, rooms, inspect, kick, close, drain" in text


def test_a_server_that_knows_no_administrators_is_told_apart(bench: Bench) -> None:
    admin = Admin(bench)

    def unknown(desk: object, message: object) -> None:
        raise UnknownKind("not a message for this port")

    admin.administration.on_message = unknown  # type: ignore[method-assign]  # as a server of before has it
    admin.talk = AdminTalk(KEY, admin, Random(3).randbytes)
    admin.talk.up()
    assert isinstance(admin.error, UnknownKind)
    assert "port for clients" in str(admin.error)


def test_members_of_a_worker_that_came_back_can_be_kicked(bench: Bench) -> None:
    room, _ = a_room(bench)
    other = come(bench)
    bench.report(Seated(room, other.welcome.session, ClientData(other.welcome.client_id, "")))
    assert Admin(bench).ask("kick", room=room, client=other.welcome.client_id)["client"] == other.welcome.client_id

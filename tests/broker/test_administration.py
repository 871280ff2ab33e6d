"""Who may administer a broker, and what each command does."""

from random import Random
from typing import Any

import pytest

from server_room_system import ClientData, Code
from server_room_system.broker.administration import AdminDesk, Administration
from server_room_system.broker.placement import Load
from server_room_system.protocol import (
    Admit,
    Admitted,
    Challenge,
    ClusterMessage,
    Command,
    Denied,
    Enquire,
    Error,
    Limits,
    Register,
    Renew,
    Result,
    UnknownKind,
    WrongKey,
    download_decoder,
    parse,
    parse_cluster,
    prove,
)
from server_room_system.rooms.control import (
    CloseRoom,
    Drain,
    Failed,
    Inspect,
    Inspected,
    Kick,
    RoomEnded,
    RoomUpdated,
    Seated,
    Unseated,
)

from .cluster_fakes import KEY, FakeConnection
from .fakes import Bench, FakeOutbox, a_worker
from .test_broker import come

ROOM = "a1b2c3d4" + "0" * 24
OTHER = "a1b2ffff" + "0" * 24
NONCE = b"a" * 16

_decode = download_decoder(Limits())


class AdminOutbox(FakeOutbox):
    load = Load(lag=0.01, cpu=0.5, rss=1000, messages=3.0)


class Office:
    """A broker with a worker and two rooms, and an administrator."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.out = AdminOutbox()
        self.administration = Administration(KEY, self.bench.broker, self.out, Random(2).randbytes, "test 1.0")
        self.worker_out = FakeOutbox()
        self.worker = a_worker("w1", self.worker_out, "tcp://127.0.0.1:7001", types=["duel"], pid=42, host="alpha")
        self.bench.broker.workers.add(self.worker)
        for room in (ROOM, OTHER):
            self.bench.broker.on_report(self.worker, RoomUpdated(room, "duel", 0, 2, 2, False, {"map": "forest"}))
        self.asks = 0

    def connect(self) -> "Admin":
        return Admin(self)

    def admit(self) -> "Admin":
        admin = self.connect()
        admin.admit()
        return admin


class Admin:
    """Somebody who wants to administer."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.connection = FakeConnection()
        self.desk = AdminDesk(self.connection)

    def say(self, message: ClusterMessage) -> list[Any]:
        self.office.administration.on_message(self.desk, message)
        return self.heard()

    def heard(self) -> list[Any]:
        values = map(_decode, self.connection.take())
        return [parse(value) if value[0] < 64 else parse_cluster(value) for value in values]

    def admit(self, key: bytes = KEY) -> Any:
        (challenge,) = self.say(Enquire(NONCE))
        (answer,) = self.say(Admit(prove(key, "admin", challenge.nonce, NONCE)))
        return answer

    def command(self, name: str, **arguments: Any) -> Any:
        """The answer that comes at once: data of a RESULT, an Error, or None."""
        self.office.asks += 1
        answers = self.say(Command(self.office.asks, name, arguments))
        if not answers:
            return None
        (answer,) = answers
        assert answer.ask == self.office.asks
        return answer.data if isinstance(answer, Result) else answer


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def admin(office: Office) -> Admin:
    return office.admit()


def refusal(answer: Any) -> tuple[int, str]:
    assert isinstance(answer, Error), answer
    return answer.code, answer.text


# Who is let in.


def test_both_sides_prove_that_they_have_the_key(office: Office) -> None:
    admin = office.connect()
    (challenge,) = admin.say(Enquire(NONCE))
    assert isinstance(challenge, Challenge)
    assert challenge.proof == prove(KEY, "broker", NONCE, challenge.nonce, b"admin")
    assert not admin.desk.trusted
    (answer,) = admin.say(Admit(prove(KEY, "admin", challenge.nonce, NONCE)))
    assert answer == Admitted("test 1.0")
    assert admin.desk.trusted


def test_a_wrong_key_is_refused_and_the_connection_closed(office: Office) -> None:
    admin = office.connect()
    answer = admin.admit(bytes(32))
    assert answer == Denied(Code.WRONG_KEY, WrongKey.meaning)
    assert office.out.refused_at == [admin.connection.address]
    assert admin.connection.hung_up
    assert not admin.desk.trusted


def test_a_proof_is_worth_nothing_twice_nor_elsewhere(office: Office) -> None:
    admin, thief = office.connect(), office.connect()
    (challenge,) = admin.say(Enquire(NONCE))
    proof = Admit(prove(KEY, "admin", challenge.nonce, NONCE))
    thief.say(Enquire(NONCE))
    assert isinstance(thief.say(proof)[0], Denied)
    assert isinstance(admin.say(proof)[0], Admitted)
    assert isinstance(admin.say(proof)[0], Denied)


def test_a_brokers_own_proof_lets_nobody_in(office: Office) -> None:
    admin = office.connect()
    (challenge,) = admin.say(Enquire(NONCE))
    assert isinstance(admin.say(Admit(challenge.proof))[0], Denied)


def test_a_proof_before_the_challenge_is_refused(office: Office) -> None:
    assert isinstance(office.connect().say(Admit(prove(KEY, "admin", b"", b"")))[0], Denied)


@pytest.mark.parametrize("asked", [False, True])
def test_nobody_commands_who_has_not_proved_it(office: Office, asked: bool) -> None:
    admin = office.connect()
    if asked:
        admin.say(Enquire(NONCE))
    with pytest.raises(WrongKey):
        admin.say(Command(1, "drain", {"worker": "w1"}))
    assert office.worker_out.asked == []
    assert not office.worker.draining


def test_who_asks_anew_must_prove_it_anew(office: Office, admin: Admin) -> None:
    admin.say(Enquire(NONCE))
    with pytest.raises(WrongKey):
        admin.say(Command(1, "workers", {}))


@pytest.mark.parametrize("message", [Register([1], "w2", NONCE), Renew(1, 1, {})], ids=lambda one: type(one).__name__)
def test_workers_register_elsewhere(admin: Admin, message: ClusterMessage) -> None:
    with pytest.raises(UnknownKind):
        admin.say(message)


# What they may ask.


def test_workers_are_told_with_their_load(office: Office, admin: Admin) -> None:
    office.worker.load = Load(lag=0.1, cpu=0.9, rss=5, messages=7.0)
    office.out.now += 60.0
    told = admin.command("workers")
    assert (told["rooms"], told["tickets"], told["software"], told["up"]) == (2, 0, "test 1.0", 60.0)
    assert told["broker"] == {"lag": 0.01, "cpu": 0.5, "rss": 1000, "messages": 3.0}
    (worker,) = (one for one in told["workers"] if one["name"] == "w1")
    assert {key: worker[key] for key in ("state", "endpoint", "pid", "host", "rooms", "seats", "lag", "cpu")} == {
        "state": "serving",
        "endpoint": "tcp://127.0.0.1:7001",
        "pid": 42,
        "host": "alpha",
        "rooms": 2,
        "seats": 0,
        "lag": 0.1,
        "cpu": 0.9,
    }
    office.worker.draining = True
    (worker,) = (one for one in admin.command("workers")["workers"] if one["name"] == "w1")
    assert worker["state"] == "draining"


def test_rooms_are_told_page_by_page(office: Office, admin: Admin) -> None:
    for number in range(900):
        room = RoomUpdated(f"r{number:04}", "chat", 0, 9, 9, False, {})
        office.bench.broker.on_report(office.worker, room)
    pages = [admin.command("rooms", type="chat", after=after) for after in (0, 400, 800, 900)]
    assert [len(page["rooms"]) for page in pages] == [400, 400, 100, 0]
    assert {page["all"] for page in pages} == {900}
    assert len({room["room"] for page in pages for room in page["rooms"]}) == 900
    (one, _) = admin.command("rooms", type="duel")["rooms"]
    assert (one["room"], one["worker"], one["max_clients"], one["metadata"]) == (ROOM, "w1", 2, {"map": "forest"})
    assert admin.command("rooms")["all"] == 902


@pytest.mark.parametrize("after", [-1, "0", 1.5, None, True])
def test_a_page_that_makes_no_sense_is_refused(admin: Admin, after: Any) -> None:
    assert refusal(admin.command("rooms", after=after))[0] == Code.BAD_MESSAGE


def test_a_room_is_told_of_by_its_worker(office: Office, admin: Admin) -> None:
    assert admin.command("inspect", room=ROOM) is None
    (order,) = office.worker_out.asked
    assert isinstance(order, Inspect)
    assert order.room == ROOM
    office.administration.inspected(Inspected(order.ask, {"members": []}))
    (answer,) = admin.heard()
    assert answer == Result(office.asks, {"worker": "w1", "members": []})
    office.administration.inspected(Inspected(order.ask, {"members": []}))
    office.administration.inspected(Inspected(77, {}))
    office.out.advance(60.0)
    assert admin.heard() == []


def test_a_room_that_its_worker_does_not_know_is_refused(office: Office, admin: Admin) -> None:
    admin.command("inspect", room=ROOM)
    (order,) = office.worker_out.asked
    assert isinstance(order, Inspect)
    office.administration.inspected(Failed(order.ask, int(Code.ROOM_NOT_FOUND), "no such room"))
    assert refusal(admin.heard()[0]) == (Code.ROOM_NOT_FOUND, "no such room")


def test_a_worker_that_does_not_answer_is_named(office: Office, admin: Admin) -> None:
    admin.command("inspect", room=ROOM)
    office.out.advance(2.9)
    assert admin.heard() == []
    office.out.advance(0.2)
    code, text = refusal(admin.heard()[0])
    assert code == Code.ROOM_NOT_FOUND
    assert "w1" in text


def test_only_so_many_questions_wait(office: Office, admin: Admin) -> None:
    for _ in range(1024):
        assert admin.command("inspect", room=ROOM) is None
    assert refusal(admin.command("inspect", room=ROOM))[0] == Code.BAD_MESSAGE
    office.out.advance(4.0)
    assert len(admin.heard()) == 1024
    assert admin.command("inspect", room=ROOM) is None


def test_a_member_is_kicked(office: Office, admin: Admin) -> None:
    guest = come(office.bench)
    entry = office.bench.broker.directory.get(ROOM)
    assert entry is not None
    entry.sessions.add(guest.welcome.session)
    client = guest.welcome.client_id
    assert admin.command("kick", room=ROOM, client=client, text="x" * 600) == {"room": ROOM, "client": client}
    assert office.worker_out.asked == [Kick(ROOM, client, "x" * 512)]
    assert refusal(admin.command("kick", room=OTHER, client=client))[0] == Code.NOT_A_MEMBER
    assert refusal(admin.command("kick", room=ROOM, client=client + 1))[0] == Code.NOT_A_MEMBER
    assert len(office.worker_out.asked) == 1


def test_a_room_is_closed(office: Office, admin: Admin) -> None:
    assert admin.command("close", room=ROOM, text="maintenance") == {"room": ROOM}
    assert office.worker_out.asked == [CloseRoom(ROOM, Code.ROOM_CLOSED, "maintenance")]


def test_a_kick_that_was_lost_with_its_connection_is_ordered_again(office: Office, admin: Admin) -> None:
    guest, broker, worker = come(office.bench), office.bench.broker, office.worker
    session, client = guest.welcome.session, guest.welcome.client_id
    for room in (ROOM, OTHER):
        broker.on_report(worker, Seated(room, session, ClientData(client, "")))
    admin.command("kick", room=ROOM, client=client, text="out")
    admin.command("kick", room=OTHER, client=client)
    kick, other = office.worker_out.asked
    worker.order_again()
    assert office.worker_out.asked == [kick, other] * 2, "it has told that both are still there"
    broker.on_report(worker, Unseated(ROOM, session))
    worker.order_again()
    assert office.worker_out.asked == [kick, other] * 2 + [other]
    broker.on_report(worker, Seated(ROOM, session, ClientData(client, "")))
    broker.on_report(worker, RoomEnded(OTHER))
    worker.order_again()
    assert len(office.worker_out.asked) == 5, "who was kicked and has come back since is not kicked again"
    assert not worker.to_go


def test_the_end_of_a_room_that_was_lost_with_its_connection_is_ordered_again(office: Office, admin: Admin) -> None:
    admin.command("close", room=ROOM, text="maintenance")
    office.worker.order_again()
    assert office.worker_out.asked == [CloseRoom(ROOM, Code.ROOM_CLOSED, "maintenance")] * 2
    office.bench.broker.on_report(office.worker, RoomEnded(ROOM))
    office.worker.order_again()
    assert len(office.worker_out.asked) == 2
    assert not office.worker.to_go


def test_a_worker_is_drained(office: Office, admin: Admin) -> None:
    assert admin.command("drain", worker="w1", within=5) == {"worker": "w1", "generation": 0, "rooms": 2}
    assert office.worker_out.asked == [Drain(5.0, Code.WORKER_DRAINED)]
    assert office.worker.draining, "it gets nothing new from now on, whether it has heard or not"


def test_a_room_may_be_named_by_how_its_id_begins(office: Office, admin: Admin) -> None:
    assert admin.command("close", room="a1b2c") == {"room": ROOM}
    code, text = refusal(admin.command("close", room="a1b2"))
    assert code == Code.BAD_MESSAGE
    assert "2 rooms" in text
    assert refusal(admin.command("close", room="a1b"))[0] == Code.ROOM_NOT_FOUND
    assert len(office.worker_out.asked) == 1


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("reboot", {}, Code.BAD_MESSAGE),
        ("", {}, Code.BAD_MESSAGE),
        ("inspect", {}, Code.ROOM_NOT_FOUND),
        ("inspect", {"room": 7}, Code.ROOM_NOT_FOUND),
        ("inspect", {"room": "nowhere"}, Code.ROOM_NOT_FOUND),
        ("kick", {"room": ROOM}, Code.BAD_MESSAGE),
        ("kick", {"room": ROOM, "client": "1"}, Code.BAD_MESSAGE),
        ("kick", {"room": ROOM, "client": -1}, Code.BAD_MESSAGE),
        ("kick", {"room": ROOM, "client": 1, "text": b"x"}, Code.BAD_MESSAGE),
        ("close", {"room": ROOM, "text": 1}, Code.BAD_MESSAGE),
        ("close", {"room": None}, Code.ROOM_NOT_FOUND),
        ("drain", {}, Code.BAD_MESSAGE),
        ("drain", {"worker": "w9"}, Code.BAD_MESSAGE),
        ("drain", {"worker": "local"}, Code.BAD_MESSAGE),
        ("drain", {"worker": ["w1"]}, Code.BAD_MESSAGE),
        ("drain", {"worker": "w1", "within": 0}, Code.BAD_MESSAGE),
        ("drain", {"worker": "w1", "within": float("nan")}, Code.BAD_MESSAGE),
        ("drain", {"worker": "w1", "within": 86_401}, Code.BAD_MESSAGE),
        ("drain", {"worker": "w1", "within": "5"}, Code.BAD_MESSAGE),
    ],
    ids=str,
)
def test_commands_that_make_no_sense_are_refused_and_do_nothing(
    office: Office, admin: Admin, name: str, arguments: dict[str, Any], code: Code
) -> None:
    assert refusal(admin.command(name, **arguments))[0] == code
    assert office.worker_out.asked == []
    assert not office.worker.draining


@pytest.mark.parametrize("name", ["inspect", "kick", "close", "drain"])
def test_a_worker_that_is_not_connected_can_be_told_nothing(office: Office, admin: Admin, name: str) -> None:
    guest = come(office.bench)
    entry = office.bench.broker.directory.get(ROOM)
    assert entry is not None
    entry.sessions.add(guest.welcome.session)
    office.worker.desk = None
    answer = admin.command(name, room=ROOM, client=guest.welcome.client_id, worker="w1")
    assert refusal(answer)[0] in (Code.ROOM_NOT_FOUND, Code.BAD_MESSAGE)
    assert not office.worker.draining


def test_the_answer_to_who_has_left_is_dropped(office: Office, admin: Admin) -> None:
    admin.command("inspect", room=ROOM)
    (order,) = office.worker_out.asked
    assert isinstance(order, Inspect)
    admin.desk.lost()
    office.administration.inspected(Inspected(order.ask, {}))
    office.out.advance(60.0)

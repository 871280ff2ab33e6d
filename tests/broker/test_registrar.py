"""Who is let in as a worker, how long a lease lasts, and what is believed of those who come back."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from server_room_system import ClientData, Code, IllegalTransition
from server_room_system.broker.workers import WORKER, WorkerEvent, WorkerState
from server_room_system.protocol import (
    Admit,
    Challenge,
    ClusterMessage,
    Denied,
    Leased,
    Orders,
    Prove,
    Register,
    Registered,
    Renew,
    Reports,
    prove,
    step,
)
from server_room_system.rooms.control import (
    CloseRoom,
    Draining,
    RoomEnded,
    RoomReport,
    RoomUpdated,
    Seated,
    Settled,
    Unseated,
    order_from_wire,
)

from .cluster_fakes import DESCRIPTION, ENDPOINT, KEY, Applicant, Office

ANN, BOB = ClientData(1, "10.0.0.1"), ClientData(2, "10.0.0.2")


def room(name: str, clients: int = 0) -> RoomUpdated:
    return RoomUpdated(name, "duel", clients, 2 - clients, 2, False, {})


def code(message: ClusterMessage | None) -> int:
    """With which code somebody was sent away."""
    assert isinstance(message, Denied), message
    return message.code


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.mark.parametrize("state", WorkerState)
@pytest.mark.parametrize("event", WorkerEvent)
def test_the_table_of_workers(state: WorkerState, event: WorkerEvent) -> None:
    allowed = {
        (WorkerState.SERVING, WorkerEvent.LOSE): WorkerState.MISSING,
        (WorkerState.SERVING, WorkerEvent.RETURN): WorkerState.SERVING,
        (WorkerState.SERVING, WorkerEvent.EXPIRE): WorkerState.GONE,
        (WorkerState.MISSING, WorkerEvent.RETURN): WorkerState.SERVING,
        (WorkerState.MISSING, WorkerEvent.EXPIRE): WorkerState.GONE,
    }
    if (state, event) in allowed:
        assert step(WORKER, state, event) is allowed[state, event]
        return
    with pytest.raises(IllegalTransition):
        step(WORKER, state, event)


# The challenge.


def test_both_sides_prove_that_they_have_the_key(office: Office) -> None:
    worker = office.connect()
    challenge = worker.challenge("w1")
    assert challenge.proof == prove(KEY, "broker", worker.nonce, challenge.nonce, b"w1")
    assert worker.say(Prove(worker.proof(challenge), ENDPOINT, 0, DESCRIPTION)) == []
    assert office.out.registered == [], "its endpoint is not known to be its own yet"
    assert not worker.desk.trusted
    worker.answer_probe()
    assert isinstance(worker.answer, Registered)
    assert worker.answer == Registered(office.record().generation, 5.0, False)
    assert office.out.registered == [office.record()]
    assert worker.desk.trusted


def test_each_challenge_is_a_new_one(office: Office) -> None:
    assert office.connect().challenge().nonce != office.connect().challenge().nonce


def test_a_wrong_key_is_refused(office: Office) -> None:
    worker = Applicant(office, key=bytes(32))
    worker.register()
    assert code(worker.answer) == Code.WRONG_KEY
    assert worker.connection.hung_up
    assert office.out.refused == [worker.connection.address]
    assert (office.out.probes, office.out.registered) == ([], [])


def test_a_proof_is_worth_nothing_on_another_connection(office: Office) -> None:
    honest, thief = office.connect(), office.connect()
    proof = honest.proof(honest.challenge("w1", b"a" * 16))
    thief.challenge("w1", b"a" * 16)
    (answer,) = thief.say(Prove(proof, ENDPOINT, 0, DESCRIPTION))
    assert code(answer) == Code.WRONG_KEY


def test_a_proof_is_worth_nothing_for_another_endpoint_or_name(office: Office) -> None:
    for name, endpoint in (("w2", ENDPOINT), ("w1", "tcp://127.0.0.1:6666")):
        worker = office.connect()
        challenge = worker.challenge("w1")
        worker.name = name
        proof = worker.proof(challenge, endpoint)
        (answer,) = worker.say(Prove(proof, ENDPOINT, 0, DESCRIPTION))
        assert code(answer) == Code.WRONG_KEY


def test_a_brokers_own_proof_is_not_a_workers(office: Office) -> None:
    worker = office.connect()
    challenge = worker.challenge()
    (answer,) = worker.say(Prove(challenge.proof, ENDPOINT, 0, DESCRIPTION))
    assert code(answer) == Code.WRONG_KEY


def test_a_proof_before_a_challenge_or_after_another_is_refused(office: Office) -> None:
    early = office.connect()
    empty = prove(KEY, "worker", b"", b"", b"", ENDPOINT.encode())
    (answer,) = early.say(Prove(empty, ENDPOINT, 0, DESCRIPTION))
    assert code(answer) == Code.WRONG_KEY
    twice = office.connect()
    proof = Prove(twice.proof(twice.challenge()), ENDPOINT, 0, DESCRIPTION)
    assert twice.say(proof) == []
    (answer,) = twice.say(proof)
    assert code(answer) == Code.WRONG_KEY
    assert office.out.registered == []


def test_a_connection_registers_one_worker(office: Office) -> None:
    worker = office.connect()
    worker.challenge("w1")
    (answer,) = worker.say(Register([1], "w2", b"m" * 16))
    assert code(answer) == Code.WORKER_REFUSED


def test_a_version_that_we_do_not_speak_is_refused(office: Office) -> None:
    (answer,) = office.connect().say(Register([2, 3], "w1", b"n" * 16))
    assert code(answer) == Code.VERSION_MISMATCH


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "\x1b[31m"])
def test_a_name_that_nobody_could_read_is_refused(office: Office, name: str) -> None:
    (answer,) = office.connect().say(Register([1], name, b"n" * 16))
    assert code(answer) == Code.WORKER_REFUSED


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "127.0.0.1:7001",
        "tcp://localhost:7001",
        "tcp://*:7001",
        "tcp://0.0.0.0:7001",
        "tcp://[::]:7001",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:65536",
        "tcp://999.0.0.1:7001",
        "ipc:///tmp/x",
        "tcp://127.0.0.1:7001;tcp://10.0.0.1:1",
        "tcp://127.0.0.1:7001\n",
    ],
)
def test_an_endpoint_that_clients_cannot_connect_to_is_refused(office: Office, endpoint: str) -> None:
    worker = office.connect()
    worker.register(endpoint=endpoint)
    assert code(worker.answer) == Code.WORKER_REFUSED
    assert office.out.probes == []


@pytest.mark.parametrize("endpoint", ["tcp://192.0.2.1:1", "tcp://[2001:db8::1]:7001"])
def test_an_endpoint_in_numbers_is_taken(office: Office, endpoint: str) -> None:
    assert office.register(endpoint=endpoint).office.record().endpoint == endpoint


def test_an_endpoint_where_nobody_answers_is_refused(office: Office) -> None:
    worker = office.connect()
    worker.register(probed=False)
    (endpoint, _, then) = office.out.probes.pop()
    assert endpoint == ENDPOINT
    then(None)
    (answer,) = worker.connection.heard()
    assert code(answer) == Code.WORKER_REFUSED
    assert "nobody answers" in answer.text  # type: ignore[union-attr]  # a Denied


def test_a_worker_with_rooms_that_does_not_answer_in_time_may_try_again(office: Office) -> None:
    """It was refused for good when a new broker asked it while it was busy: its rooms ended with its process."""
    worker = office.connect()
    worker.register(generation=7, probed=False)
    office.out.probes.pop()[2](None)
    assert worker.connection.heard() == []
    assert worker.connection.hung_up
    assert office.out.registered == []
    again = office.register(generation=7)
    assert again.answer == Registered(again.generation, 5.0, True)


@pytest.mark.parametrize(("name", "key"), [("w2", KEY), ("w1", bytes(32))])
def test_an_endpoint_that_is_somebody_elses_is_refused(office: Office, name: str, key: bytes) -> None:
    worker = office.connect()
    worker.register(probed=False)
    worker.answer_probe(name, key)
    assert code(worker.answer) == Code.WORKER_REFUSED
    assert office.out.registered == []


def test_what_an_endpoint_answers_when_its_worker_is_gone_is_not_heard(office: Office) -> None:
    worker = office.connect()
    worker.register(probed=False)
    worker.lose()
    worker.answer_probe()
    assert office.out.registered == []
    assert worker.connection.heard() == []


@pytest.mark.parametrize(
    "described",
    [
        {"types": "duel"},
        {"types": [1]},
        {"types": ["x" * 65]},
        {"labels": None},
        {"max_rooms": 0},
        {"max_rooms": True},
        {"isolated": 1},
        {"pid": "1"},
        {"host": "x" * 257},
        {"colour": "red"},
    ],
    ids=str,
)
def test_a_description_of_wrong_types_is_refused(office: Office, described: dict[str, Any]) -> None:
    worker = office.connect()
    worker.register(**described)
    assert code(worker.answer) == Code.WORKER_REFUSED


def test_a_description_with_something_missing_is_refused(office: Office) -> None:
    worker = office.connect()
    (answer,) = worker.say(Prove(worker.proof(worker.challenge()), ENDPOINT, 0, {"types": []}))
    assert code(answer) == Code.WORKER_REFUSED


def test_a_name_that_is_taken_is_refused_and_the_first_goes_on(office: Office) -> None:
    first = office.register()
    second = office.connect()
    second.register(endpoint="tcp://127.0.0.1:7002")
    assert code(second.answer) == Code.WORKER_REFUSED
    assert isinstance(first.say(Renew(first.generation, 1, {}))[0], Leased)
    assert office.out.gone == []


@pytest.mark.parametrize(
    "message", [Renew(7, 1, {}), Reports(7, []), Leased(7, 1), Admit(bytes(32))], ids=lambda one: type(one).__name__
)
def test_who_has_not_registered_is_not_heard(office: Office, message: ClusterMessage) -> None:
    stranger = office.connect()
    (answer,) = stranger.say(message)
    assert code(answer) in (Code.WRONG_KEY, Code.WORKER_REFUSED)
    assert stranger.connection.hung_up
    assert (office.out.reports, office.out.renewed) == ([], [])


# Generations.


def test_generations_grow(office: Office) -> None:
    given = [office.register(f"w{number}").generation for number in range(5)]
    assert given == sorted(set(given))
    assert given[0] > 1000


def test_what_comes_with_another_generation_has_no_effect(office: Office) -> None:
    worker = office.register()
    for message in (
        Renew(worker.generation - 1, 1, {}),
        Reports(worker.generation + 1, []),
        Reports(0, [[6, "r1"]]),
    ):
        stale = office.register(f"w{message.generation}", endpoint=ENDPOINT)
        (answer,) = stale.say(message)
        assert code(answer) == Code.STALE_GENERATION
    assert (office.out.reports, office.out.renewed) == ([], [])


def test_orders_carry_the_generation_and_leave_together(office: Office) -> None:
    worker = office.register()
    desk = office.record().desk
    assert desk is not None
    orders = [CloseRoom(f"r{number}", 2100, "") for number in range(1000)]
    for order in orders:
        desk.order(order)
    assert office.out.wants_flush
    assert worker.connection.heard() == []
    office.registrar.flush()
    heard = worker.connection.heard()
    assert [len(message.items) for message in heard if isinstance(message, Orders)] == [512, 488]
    assert {message.generation for message in heard if isinstance(message, Orders)} == {worker.generation}
    got = [order_from_wire(item) for message in heard if isinstance(message, Orders) for item in message.items]
    assert got == orders
    office.registrar.flush()
    assert worker.connection.heard() == []


def test_orders_for_a_worker_that_is_lost_meanwhile_go_nowhere(office: Office) -> None:
    worker = office.register()
    desk = office.record().desk
    assert desk is not None
    desk.order(CloseRoom("r1", 2100, ""))
    worker.lose()
    office.registrar.flush()
    assert worker.connection.heard() == []


# Reports.


def test_reports_are_told_in_order(office: Office) -> None:
    worker = office.register()
    reports: list[RoomReport] = [room("r1"), Seated("r1", "ann", ANN), Unseated("r1", "ann"), RoomEnded("r1")]
    assert worker.report(*reports) == []
    assert [report for _, report in office.out.reports] == reports


def test_a_worker_that_drains_gets_nothing_new(office: Office) -> None:
    office.register().report(Draining())
    assert office.record().draining
    assert office.workers.is_full(office.record())


@pytest.mark.parametrize(
    "garbage", [None, 1, [], [0], [99, "r1"], [6], [6, "x" * 33], [4, "r1", "ann", [1]], {"kind": 6}], ids=repr
)
def test_a_worker_that_reports_nonsense_is_given_up(office: Office, garbage: object) -> None:
    worker = office.register()
    answers = worker.say(Reports(worker.generation, [[6, "r1"], garbage, [6, "r2"]]))
    assert code(answers[0]) == Code.WORKER_REFUSED
    assert worker.connection.hung_up
    assert [report for _, report in office.out.reports] == [RoomEnded("r1")]
    assert [record.name for record in office.out.gone] == ["w1"]
    assert office.workers.get("w1") is None
    office.out.advance(60.0)
    assert len(office.out.gone) == 1


def test_a_load_of_wrong_types_counts_as_none(office: Office) -> None:
    worker = office.register()
    worker.say(Renew(worker.generation, 1, {"lag": 0.5, "cpu": "much", "rss": -1, "messages": float("nan")}))
    load = office.record().load
    assert (load.lag, load.cpu, load.rss, load.messages) == (0.5, 0.0, 0, 0.0)


# Leases.


def test_a_renewal_is_answered_with_its_number(office: Office) -> None:
    worker = office.register()
    assert worker.say(Renew(worker.generation, 42, {})) == [Leased(worker.generation, 42)]
    assert office.out.renewed == [office.record()]


def test_a_worker_that_falls_silent_is_given_up_after_its_lease(office: Office) -> None:
    worker = office.register()
    office.out.advance(3.0)
    worker.say(Renew(worker.generation, 1, {}))
    office.out.advance(4.9)
    assert office.out.gone == []
    office.out.advance(0.2)
    assert [record.name for record in office.out.gone] == ["w1"]
    (answer,) = worker.connection.heard()
    assert code(answer) == Code.STALE_GENERATION
    assert worker.connection.hung_up


def test_a_worker_that_renews_is_kept_for_ever(office: Office) -> None:
    worker = office.register()
    for number in range(200):
        office.out.advance(1.0)
        worker.say(Renew(worker.generation, number, {}))
    assert office.out.gone == []


def test_a_broker_that_stood_still_hears_before_it_judges(office: Office) -> None:
    """All leases seem over when it wakes; the renewals lie unread."""
    worker, silent = office.register("w1"), office.register("w2", endpoint="tcp://127.0.0.1:7002")
    office.out.advance(1.0)
    office.out.jump(10.0)
    office.out.ring()
    assert office.out.gone == []
    office.out.advance(0.5)
    worker.say(Renew(worker.generation, 1, {}))
    office.out.advance(0.6)
    assert [record.name for record in office.out.gone] == ["w2"]
    assert code(silent.connection.heard()[-1]) == Code.STALE_GENERATION


def test_a_broker_that_stood_still_hears_those_who_come_back_before_it_judges(office: Office) -> None:
    """The connection was lost right before; the return lies unread."""
    worker = office.register()
    worker.lose()
    office.out.jump(10.0)
    office.out.ring()
    assert office.out.gone == []
    back = office.connect()
    back.register(generation=worker.generation)
    office.out.advance(2.0)
    assert office.out.gone == []


# Coming back.


def test_a_worker_that_comes_back_in_time_keeps_its_rooms_and_its_generation(office: Office) -> None:
    worker = office.register()
    record = office.record()
    worker.lose()
    assert (record.state, record.desk) == (WorkerState.MISSING, None)
    office.out.advance(0.55)
    back = office.register(generation=worker.generation)
    assert back.answer == Registered(worker.generation, 5.0, True)
    assert (record.state, record.desk) == (WorkerState.SERVING, back.desk)
    assert office.out.returned == [record]
    office.out.advance(1.0)
    assert office.out.gone == []


def test_a_worker_that_does_not_come_back_is_gone_after_a_moment(office: Office) -> None:
    worker = office.register()
    record = office.record()
    worker.lose()
    office.out.advance(0.59)
    assert office.out.gone == []
    office.out.advance(0.02)
    assert office.out.gone == [record]
    back = office.connect()
    back.register(generation=worker.generation)
    assert code(back.answer) == Code.STALE_GENERATION
    again = office.register()
    assert again.generation > worker.generation
    assert again.answer == Registered(again.generation, 5.0, False)


def test_a_worker_whose_process_has_ended_is_gone_at_once(office: Office) -> None:
    worker = office.register()
    record = office.record()
    office.registrar.gone(record)
    assert office.out.gone == [record]
    office.registrar.gone(record)
    worker.lose()
    office.out.advance(60.0)
    assert office.out.gone == [record], "once"
    assert all(callback == office.registrar._beat for callback, _ in office.out.alarms._live)


def test_a_process_that_was_started_anew_takes_the_place_of_the_one_that_is_lost(office: Office) -> None:
    first = office.register()
    record = office.record()
    first.lose()
    second = office.register()
    assert office.out.gone == [record]
    assert second.generation > first.generation
    assert office.record() is not record


def test_a_worker_has_one_connection_and_it_is_the_last(office: Office) -> None:
    older = office.register()
    newer = office.register(generation=older.generation)
    assert code(older.connection.heard()[-1]) == Code.STALE_GENERATION
    assert older.connection.hung_up
    assert office.record().desk is newer.desk
    (answer,) = older.say(Renew(older.generation, 1, {}))
    assert isinstance(answer, Denied)
    office.out.advance(1.0)
    assert office.out.gone == []
    assert isinstance(newer.say(Renew(newer.generation, 1, {}))[0], Leased)


def test_what_a_returned_worker_does_not_name_again_has_ended(office: Office) -> None:
    worker = office.register()
    record = office.record()
    for report in (room("r1", 2), room("r2"), room("r3", 1)):
        office.directory.update(report, record)
    for name, sessions in (("r1", {"ann", "bob"}), ("r3", {"cid"})):
        entry = office.directory.get(name)
        assert entry is not None
        entry.sessions.update(sessions)
    worker.lose()
    back = office.register(generation=worker.generation)
    back.report(room("r1", 1), Seated("r1", "bob", BOB), room("r4"))
    told = [report for _, report in office.out.reports]
    assert told == [room("r1", 1), Seated("r1", "bob", BOB), room("r4")], "nothing is judged before all is told"
    office.out.reports.clear()
    assert office.out.settled == []
    back.report(Settled())
    assert office.out.settled == [record]
    rest = [report for _, report in office.out.reports]
    assert sorted(map(repr, rest)) == sorted(
        map(repr, [RoomEnded("r2"), RoomEnded("r3"), Unseated("r1", "ann"), Unseated("r3", "cid")])
    )
    office.out.reports.clear()
    back.report(Settled())
    assert office.out.reports == [], "that is said once"


def test_a_worker_of_a_broker_before_us_is_taken_over(office: Office) -> None:
    worker = office.connect()
    worker.register(generation=17)
    assert isinstance(worker.answer, Registered)
    assert worker.answer.keep
    assert worker.answer.generation > 17
    assert office.record().adopted
    fresh = office.register("w2", endpoint="tcp://127.0.0.1:7002")
    assert not office.record("w2").adopted
    assert fresh.generation > worker.generation


def test_generations_grow_though_a_broker_before_us_was_ahead(office: Office) -> None:
    ahead = office.register(generation=5_000_000)
    assert ahead.generation > 5_000_000
    assert office.register("w2", endpoint="tcp://127.0.0.1:7002").generation > ahead.generation


def test_there_are_only_so_many_workers(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server_room_system.broker.registrar._MOST_WORKERS", 2)
    office.register("w1")
    office.register("w2")
    third = office.connect()
    third.register("w3")
    assert code(third.answer) == Code.WORKER_REFUSED


# Nothing that is sent makes it raise.


def test_nothing_that_is_said_at_the_workers_address_raises(office: Office) -> None:
    random = Random(8)

    def anything(make: Callable[[], ClusterMessage]) -> ClusterMessage:
        return make()

    makers: list[Callable[[], ClusterMessage]] = [
        lambda: Register([random.randrange(3)], random.choice(["w1", "w2", "\n"]), random.randbytes(16)),
        lambda: Prove(random.randbytes(32), ENDPOINT, random.randrange(2000), {}),
        lambda: Renew(random.randrange(2000), 1, {"lag": None}),
        lambda: Reports(random.randrange(2000), [random.choice([None, [9], [6, "r1"]])]),
        lambda: Challenge(bytes(16), bytes(32)),
        lambda: Registered(1, 5.0, True),
    ]
    applicants = [office.register("w1"), office.register("w2", endpoint="tcp://127.0.0.1:7002")]
    for _ in range(3000):
        if random.random() < 0.3 or not applicants:
            applicants.append(office.connect())
        applicant = random.choice(applicants)
        applicant.say(anything(random.choice(makers)))
        applicants = [one for one in applicants if not one.connection.hung_up]
        office.out.advance(random.choice([0.0, 0.0, 0.1]))

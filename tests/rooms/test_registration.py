"""A worker's standing with its broker: the challenge, the lease by its own clock, and what the loss of either means."""

from random import Random
from typing import Any

import pytest

from server_room_system import Code, IllegalTransition
from server_room_system.protocol import (
    Challenge,
    ClusterMessage,
    Denied,
    Leased,
    Orders,
    Prove,
    Register,
    Registered,
    RemoteError,
    Renew,
    Reports,
    StaleGeneration,
    WorkerRefused,
    WrongKey,
    prove,
    step,
)
from server_room_system.rooms.registration import (
    REGISTRATION,
    Registration,
    RegistrationEvent,
    RegistrationState,
    WorkerDescription,
)

START = 1000.0
KEY = bytes(range(32))
ENDPOINT = "tcp://127.0.0.1:7001"
NONCE = b"b" * 16
LEASE = 5.0


class FakeOutbox:
    """Writes down what the registration wants."""

    def __init__(self) -> None:
        self.said: list[ClusterMessage] = []
        self.done: list[str] = []
        self.obeyed: list[Any] = []
        self.errors: list[RemoteError] = []

    def dial_later(self) -> None:
        self.done.append("dial")

    def hang_up(self) -> None:
        self.done.append("hang up")

    def transmit(self, message: ClusterMessage) -> None:
        self.said.append(message)

    def obey(self, items: list[Any]) -> None:
        self.obeyed += items

    def serving(self, keep: bool) -> None:
        self.done.append("serving, rooms kept" if keep else "serving")

    def drop_rooms(self) -> None:
        self.done.append("drop rooms")

    def over(self, error: RemoteError) -> None:
        self.errors.append(error)

    def take(self) -> list[str]:
        """What was wanted since the last time."""
        done, self.done = self.done, []
        return done

    def heard(self) -> list[ClusterMessage]:
        said, self.said = self.said, []
        return said


class Stage:
    """A registration, and a broker to play."""

    def __init__(self) -> None:
        self.now = START
        self.out = FakeOutbox()
        self.registration = Registration(
            "w1",
            KEY,
            ENDPOINT,
            lambda: WorkerDescription(["duel"], [], 10, False, 1, "alpha"),
            lambda: {"lag": 0.0},
            self.out,
            Random(1).randbytes,
        )

    def state(self) -> RegistrationState:
        return self.registration.state

    def up(self) -> Register:
        self.registration.up(self.now)
        (register,) = self.out.heard()
        assert isinstance(register, Register)
        return register

    def say(self, message: ClusterMessage) -> None:
        """The broker says something; as the shell does, a tick follows."""
        self.registration.receive(message, self.now)
        self.registration.tick(self.now)

    def prove(self) -> Prove:
        register = self.up()
        self.say(Challenge(NONCE, prove(KEY, "broker", register.nonce, NONCE, b"w1")))
        (proof,) = self.out.heard()
        assert isinstance(proof, Prove)
        return proof

    def register(self, generation: int = 7, *, keep: bool = False) -> Renew:
        """From nothing to serving; the first renewal."""
        self.prove()
        self.say(Registered(generation, LEASE, keep))
        (renew,) = self.out.heard()
        assert isinstance(renew, Renew)
        return renew

    def advance(self, seconds: float) -> list[Renew]:
        """Let time pass; the registration is called when it asked to be. What it renewed."""
        end, renewed = self.now + seconds, list[Renew]()
        while (when := self.registration.tick(self.now)) is not None and when <= end:
            renewed += [message for message in self.out.heard() if isinstance(message, Renew)]
            assert when > self.now, "it asks to be called at once, again and again"
            self.now = when
        renewed += [message for message in self.out.heard() if isinstance(message, Renew)]
        self.now = end
        return renewed

    def lose(self) -> None:
        self.registration.down(self.now)


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize("state", RegistrationState)
@pytest.mark.parametrize("event", RegistrationEvent)
def test_the_table_of_registrations(state: RegistrationState, event: RegistrationEvent) -> None:
    away, proving, serving, over = RegistrationState
    allowed = {
        (away, RegistrationEvent.UP): proving,
        (away, RegistrationEvent.STOP): over,
        (proving, RegistrationEvent.REGISTERED): serving,
        (proving, RegistrationEvent.LOST): away,
        (proving, RegistrationEvent.EXPIRE): away,
        (proving, RegistrationEvent.DENIED): over,
        (proving, RegistrationEvent.STOP): over,
        (serving, RegistrationEvent.LOST): away,
        (serving, RegistrationEvent.EXPIRE): away,
        (serving, RegistrationEvent.STOP): over,
    }
    if (state, event) in allowed:
        assert step(REGISTRATION, state, event) is allowed[state, event]
        return
    with pytest.raises(IllegalTransition):
        step(REGISTRATION, state, event)


# The challenge.


def test_a_worker_says_its_name_and_proves_itself_when_the_broker_has(stage: Stage) -> None:
    register = stage.up()
    assert (register.versions, register.name) == ([1], "w1")
    stage.say(Challenge(NONCE, prove(KEY, "broker", register.nonce, NONCE, b"w1")))
    (proof,) = stage.out.heard()
    wanted = prove(KEY, "worker", NONCE, register.nonce, b"w1", ENDPOINT.encode())
    assert proof == Prove(wanted, ENDPOINT, 0, WorkerDescription(["duel"], [], 10, False, 1, "alpha")._asdict())
    assert stage.state() is RegistrationState.PROVING
    stage.say(Registered(7, LEASE, False))
    assert stage.state() is RegistrationState.SERVING
    assert stage.registration.generation == 7
    assert stage.out.take() == ["serving"]


def test_each_connection_has_a_nonce_of_its_own(stage: Stage) -> None:
    first = stage.up()
    stage.lose()
    assert stage.up().nonce != first.nonce


@pytest.mark.parametrize(
    "proof",
    [
        bytes(32),
        prove(bytes(32), "broker", b"?", NONCE, b"w1"),
        prove(KEY, "worker", NONCE, NONCE, b"w1", ENDPOINT.encode()),
    ],
)
def test_a_broker_without_our_key_is_told_nothing(stage: Stage, proof: bytes) -> None:
    stage.up()
    stage.say(Challenge(NONCE, proof))
    assert stage.out.heard() == []
    assert stage.state() is RegistrationState.OVER
    assert [type(error) for error in stage.out.errors] == [WrongKey]
    assert stage.out.take() == ["hang up"]
    stage.lose()
    assert stage.out.take() == [], "it does not try again"


def test_a_proof_for_another_connection_of_ours_is_none(stage: Stage) -> None:
    earlier = stage.up()
    stage.lose()
    stage.up()
    stage.say(Challenge(NONCE, prove(KEY, "broker", earlier.nonce, NONCE, b"w1")))
    assert [type(error) for error in stage.out.errors] == [WrongKey]


def test_a_broker_that_does_not_answer_is_left(stage: Stage) -> None:
    stage.prove()
    assert stage.registration.tick(stage.now) == START + 5.0
    stage.advance(4.9)
    assert stage.out.take() == []
    stage.now += 0.2
    assert stage.registration.tick(stage.now) is None
    assert stage.state() is RegistrationState.AWAY
    assert stage.out.take() == ["hang up", "dial"]


@pytest.mark.parametrize("code", [Code.WRONG_KEY, Code.WORKER_REFUSED, Code.VERSION_MISMATCH])
def test_a_worker_that_the_broker_will_not_have_ends(stage: Stage, code: Code) -> None:
    stage.prove()
    stage.say(Denied(int(code), "no"))
    assert stage.state() is RegistrationState.OVER
    assert [(error.code, error.text) for error in stage.out.errors] == [(code, "no")]
    assert stage.out.take() == ["hang up"]


def test_a_worker_at_an_address_that_is_not_for_workers_ends_and_says_so(stage: Stage) -> None:
    stage.up()
    assert stage.registration.garbled()
    assert stage.state() is RegistrationState.OVER
    assert stage.out.take() == ["hang up"]
    (error,) = stage.out.errors
    assert isinstance(error, WorkerRefused)
    assert "--worker-address" in str(error)


def test_a_worker_with_rooms_goes_on_whatever_answers_where_its_broker_was(stage: Stage) -> None:
    stage.register()
    assert not stage.registration.garbled()
    stage.lose()
    stage.up()
    assert not stage.registration.garbled()
    assert stage.state() is RegistrationState.PROVING
    assert stage.out.errors == []


def test_what_was_not_asked_for_is_not_heard(stage: Stage) -> None:
    stage.say(Registered(7, LEASE, True))
    stage.say(Orders(0, [["order"]]))
    stage.say(Leased(0, 1))
    assert stage.state() is RegistrationState.AWAY
    stage.register()
    stage.say(Registered(9, LEASE, False))
    stage.say(Challenge(NONCE, bytes(32)))
    assert stage.registration.generation == 7
    assert stage.out.take() == ["serving"]
    assert stage.out.obeyed == []
    assert stage.out.errors == []


# The lease, by our own clock.


def test_a_lease_is_renewed_each_second(stage: Stage) -> None:
    first = stage.register()
    renewed = stage.advance(3.5)
    assert [message.number for message in (first, *renewed)] == [1, 2, 3, 4]
    assert {message.generation for message in renewed} == {7}
    assert renewed[0].load == {"lag": 0.0}


def test_a_worker_whose_broker_answers_serves_for_ever(stage: Stage) -> None:
    renewed = [stage.register()]
    for _ in range(300):
        for message in renewed:
            stage.say(Leased(7, message.number))
        renewed = stage.advance(1.0)
    assert stage.state() is RegistrationState.SERVING
    assert stage.out.take() == ["serving"]


def test_a_worker_whose_broker_is_silent_stops_before_the_lease_ends(stage: Stage) -> None:
    stage.register()
    stage.advance(LEASE - 0.6)
    assert stage.state() is RegistrationState.SERVING
    stage.advance(0.2)
    assert stage.state() is RegistrationState.AWAY
    assert stage.out.take() == ["serving", "drop rooms", "hang up", "dial"]
    assert stage.registration.generation == 0, "it comes back with empty hands"
    assert stage.prove().generation == 0


def test_a_lease_counts_from_when_the_renewal_was_sent(stage: Stage) -> None:
    first = stage.register()
    stage.advance(3.0)
    stage.say(Leased(7, first.number))  # late: it says nothing about the time since
    stage.advance(LEASE - 0.5 - 3.0 - 0.01)
    assert stage.state() is RegistrationState.SERVING
    stage.advance(0.02)
    assert stage.state() is RegistrationState.AWAY


def test_a_lease_counts_from_the_proof_and_not_from_when_the_answer_came(stage: Stage) -> None:
    """REGISTERED was under way for long: the broker had begun to count when it said it."""
    stage.prove()
    stage.now += 2.0
    stage.say(Registered(7, LEASE, False))
    stage.advance(LEASE - 0.5 - 2.0 + 0.01)
    assert stage.state() is RegistrationState.AWAY


def test_an_answer_that_comes_after_its_own_lease_is_asked_for_again_and_rooms_go_on(stage: Stage) -> None:
    stage.register()
    stage.lose()
    stage.prove()
    stage.out.take()
    stage.now += LEASE - 0.5
    stage.registration.receive(Registered(7, LEASE, True), stage.now)
    assert stage.state() is RegistrationState.AWAY
    assert stage.out.take() == ["hang up", "dial"]
    assert stage.prove().generation == 7


def test_an_answer_to_no_renewal_renews_nothing(stage: Stage) -> None:
    renew = stage.register()
    for message in (Leased(7, renew.number + 5), Leased(6, renew.number), Leased(7, renew.number)):
        stage.advance(1.0)
        stage.say(message)  # the last one comes after its number was used up by the one before
    stage.advance(LEASE - 3.0 - 0.4)
    assert stage.state() is RegistrationState.AWAY


def test_what_is_in_flight_is_bounded(stage: Stage) -> None:
    stage.register()
    stage.registration._lease_until = float("inf")
    stage.advance(100.0)
    assert len(stage.registration._sent_at) <= 16


@pytest.mark.parametrize("heard_first", ["turn", "orders", "loss", "tick"])
def test_a_worker_that_stood_still_for_ten_seconds_looks_at_its_clock_before_it_hears(
    stage: Stage, heard_first: str
) -> None:
    stage.register()
    stage.advance(1.0)
    stage.out.take()
    stage.now += 10.0
    if heard_first == "turn":
        assert not stage.registration.check(stage.now)
    elif heard_first == "orders":
        stage.registration.receive(Orders(7, [["order"]]), stage.now)
    elif heard_first == "loss":
        stage.lose()
    else:
        assert stage.registration.tick(stage.now) is None
    assert stage.out.obeyed == []
    assert stage.state() is RegistrationState.AWAY
    done = stage.out.take()
    assert done[:1] == ["drop rooms"]
    assert set(done) == {"drop rooms", "hang up", "dial"}
    assert stage.registration.generation == 0


def test_an_answer_that_lay_unread_while_it_stood_still_does_not_save_a_lease_that_is_over(stage: Stage) -> None:
    renew = stage.register()
    stage.now += 10.0
    stage.registration.receive(Leased(7, renew.number), stage.now)
    assert stage.state() is RegistrationState.AWAY
    assert "drop rooms" in stage.out.take()


def test_a_worker_that_stood_still_for_a_second_notices_nothing(stage: Stage) -> None:
    renew = stage.register()
    stage.say(Leased(7, renew.number))
    stage.now += 1.5
    assert stage.registration.check(stage.now)
    stage.say(Orders(7, [["order"]]))
    assert stage.state() is RegistrationState.SERVING
    assert stage.out.obeyed == [["order"]]
    assert stage.out.take() == ["serving"]


# The connection is lost.


def test_rooms_go_on_without_a_broker_for_as_long_as_it_takes(stage: Stage) -> None:
    stage.register()
    stage.lose()
    for _ in range(1000):
        stage.now += 3600.0
        assert stage.registration.check(stage.now)
        assert stage.registration.tick(stage.now) is None
        stage.lose()  # nobody listens there
    assert stage.out.take() == ["serving", *["dial"] * 1001]
    assert stage.prove().generation == 7


def test_a_worker_that_comes_back_keeps_its_rooms(stage: Stage) -> None:
    stage.register()
    stage.lose()
    stage.register(7, keep=True)
    assert stage.out.take() == ["serving", "dial", "serving, rooms kept"]


def test_a_broker_that_knows_nothing_takes_the_rooms_over(stage: Stage) -> None:
    stage.register(7)
    stage.lose()
    stage.register(900, keep=True)
    assert stage.registration.generation == 900
    assert stage.out.take() == ["serving", "dial", "serving, rooms kept"]
    stage.say(Orders(7, [["stale"]]))
    stage.say(Orders(900, [["fresh"]]))
    assert stage.out.obeyed == [["fresh"]]


def test_a_worker_that_was_given_up_meanwhile_begins_anew(stage: Stage) -> None:
    stage.register()
    stage.lose()
    stage.prove()
    stage.out.take()
    stage.say(Denied(int(Code.STALE_GENERATION), StaleGeneration.meaning))
    assert stage.state() is RegistrationState.AWAY
    assert stage.out.take() == ["drop rooms", "hang up", "dial"]
    assert stage.out.errors == []
    assert stage.prove().generation == 0


def test_a_registration_that_keeps_nothing_drops_what_is_there(stage: Stage) -> None:
    stage.register()
    stage.lose()
    stage.out.take()
    stage.register(8, keep=False)
    assert stage.out.take() == ["drop rooms", "serving"]


def test_a_worker_that_another_has_replaced_drops_its_rooms(stage: Stage) -> None:
    stage.register()
    stage.say(Denied(int(Code.STALE_GENERATION), ""))
    assert stage.state() is RegistrationState.AWAY
    assert stage.out.take() == ["serving", "drop rooms", "hang up", "dial"]
    stage.say(Denied(int(Code.STALE_GENERATION), ""))
    assert stage.out.take() == [], "it is told once"


def test_a_refusal_while_it_serves_is_for_the_loss_that_follows(stage: Stage) -> None:
    stage.register()
    stage.say(Denied(int(WorkerRefused.code), "nonsense among reports"))
    assert stage.state() is RegistrationState.SERVING
    assert stage.out.errors == []


def test_reports_wait_for_a_lease(stage: Stage) -> None:
    assert not stage.registration.report([["early"]])
    stage.register()
    assert stage.registration.report([["now"]])
    assert stage.out.heard() == [Reports(7, [["now"]])]
    stage.lose()
    assert not stage.registration.report([["late"]])
    assert stage.out.heard() == []


@pytest.mark.parametrize("where", ["away", "proving", "serving"])
def test_a_worker_may_end_at_any_time(stage: Stage, where: str) -> None:
    if where == "proving":
        stage.up()
    elif where == "serving":
        stage.register()
    stage.registration.stop()
    stage.registration.stop()
    assert stage.state() is RegistrationState.OVER
    stage.out.take()
    stage.say(Denied(int(Code.STALE_GENERATION), ""))
    stage.say(Denied(int(Code.WORKER_REFUSED), ""))
    stage.say(Registered(8, LEASE, True))
    stage.lose()
    assert stage.registration.tick(stage.now + 100.0) is None
    assert stage.out.take() == []

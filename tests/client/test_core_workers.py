"""The client core and workers: rooms behind connections of their own, brokers that are away, downlinks."""

from collections.abc import Sequence

import pytest

from server_room_system import Code, SessionUnknown, WorkerLost
from server_room_system.client.contact import Contact
from server_room_system.client.life import ClientState
from server_room_system.client.membership import Membership, MembershipState
from server_room_system.protocol import (
    Ack,
    BrokerUnreachable,
    Cancel,
    Deliver,
    Error,
    Goodbye,
    Item,
    Join,
    JoinById,
    Joined,
    Leave,
    LeftRoom,
    Match,
    Message,
    Ping,
    Pong,
    Recover,
    Rekeyed,
    Reset,
    Resume,
    RoomLost,
    Send,
    bundle,
    encode,
    mark_of,
    pack,
)

from .fakes import HOME_EPOCH, START, Stage, broadcast, direct, secret

W1, W2 = "tcp://10.0.0.2:7001", "tcp://10.0.0.3:7001"
TOKEN = secret(7777)


class Yard(Stage):
    """A client that is welcome, and rooms on workers."""

    def __init__(self, **fields: float) -> None:
        super().__init__(**fields)  # type: ignore[arg-type]  # seconds, all of them
        self.connect()

    def ask_for(self, room: str, endpoint: str = W1) -> int:
        """Ask for a seat, and get it assigned; the number of the request."""
        ask = self.core.requests.ask(lambda ask: JoinById(self.core.home.ref, ask, room, {}))
        self.assigned(ask, room, endpoint)
        self.out.heard(self.core.broker)
        return ask

    def worker(self, endpoint: str = W1) -> Contact:
        return self.core.workers[endpoint]

    def up(self, contact: Contact) -> None:
        self.core.up(self.now, contact)

    def enter(self, room: str, epoch: int, endpoint: str = W1, **fields: object) -> Membership:
        """The client enters a room on a worker. Nothing of it is left to be heard."""
        self.ask_for(room, endpoint)
        contact = self.worker(endpoint)
        if not contact.online:
            self.up(contact)
        (join,) = [message for message in self.out.heard(contact) if isinstance(message, Join)]
        self.joined(join.ask, room, epoch, contact, **fields)
        self.out.heard()
        return self.core.rooms[room]

    def lose_worker(self, contact: Contact) -> None:
        self.core.down("cut", self.now, contact)

    def redial(self, contact: Contact) -> list[Message]:
        """Let time pass until the client has connected to a server again; what it says there."""
        self.out.dials.clear()
        while contact not in self.out.dials:
            self.advance(0.05)
        self.out.heard()
        self.up(contact)
        return self.out.heard(contact)

    def advance_until_resume(self) -> Resume:
        """The client reaches the broker again; what it says first."""
        self.out.dials.clear()
        while self.core.broker not in self.out.dials:
            self.advance(0.05)
        self.out.heard()
        self.core.up(self.now)
        (resume,) = self.out.heard(self.core.broker)
        assert isinstance(resume, Resume)
        return resume


@pytest.fixture
def yard() -> Yard:
    return Yard()


def ended(membership: Membership) -> tuple[MembershipState, int]:
    assert membership.error is not None
    return membership.state, int(membership.error.code)


# Joining.


def test_a_seat_on_a_worker_is_taken_there(yard: Yard) -> None:
    ask = yard.core.requests.ask(lambda ask: JoinById(yard.core.home.ref, ask, "r1", {}))
    seat = yard.assigned(ask, "r1", W1)
    contact = yard.worker()
    assert yard.out.dials == [yard.core.broker, contact]
    assert contact.address == W1
    yard.out.heard(yard.core.broker)
    assert yard.out.heard() == [], "nothing is said before the connection stands"
    yard.up(contact)
    assert yard.out.heard(contact) == [Join(ask, "r1", seat.reservation, {})]
    joined = yard.joined(ask, "r1", 71, contact)
    membership = yard.core.rooms["r1"]
    assert yard.out.answers == [(ask, membership)]
    assert (membership.contact, membership.ref) == (contact, joined.ref)
    assert yard.out.heard(contact) == [Ack(joined.ref, 0)]
    assert yard.out.heard() == [], "the broker has nothing to do with it"


def test_what_is_said_in_a_room_goes_to_its_worker(yard: Yard) -> None:
    membership = yard.enter("r1", 71)
    yard.send(membership, "hello")
    (send,) = yard.out.heard(yard.worker())
    assert isinstance(send, Send)
    assert (send.ref, send.data) == (membership.ref, "hello")
    yard.deliver(membership, 0, broadcast("welcome"))
    assert yard.read(membership) == ["welcome"]


def test_rooms_of_one_worker_share_its_connection(yard: Yard) -> None:
    first, second, other = yard.enter("r1", 71), yard.enter("r2", 72), yard.enter("r3", 73, W2)
    assert first.contact is second.contact
    assert other.contact is not first.contact
    assert len(yard.out.dials) == 3, "one for the broker, one for each worker"


def test_a_reference_counts_on_its_own_connection_only(yard: Yard) -> None:
    first = yard.enter("r1", 71, W1, ref=5)
    second = yard.enter("r2", 72, W2, ref=5)
    yard.say(LeftRoom(5, int(Code.KICKED), "", 0, 0), yard.worker(W2))
    assert first.state is MembershipState.JOINED
    assert second.state is MembershipState.ENDED
    yard.say(Deliver(72, 5, 0, [broadcast("x")]), yard.worker(W1))
    assert yard.out.misrouted_epochs == [72]
    yard.say(Deliver(71, 0, 0, [broadcast("x")]))
    assert yard.out.misrouted_epochs == [72, 71], "nor does an epoch"


def test_a_worker_cannot_speak_for_the_broker(yard: Yard) -> None:
    membership, other = yard.enter("r1", 71), yard.enter("r2", 72, W2)
    contact = yard.worker()
    yard.say(RoomLost(yard.core.home.ref, "r2", int(Code.WORKER_LOST), ""), contact)
    yard.joined(99, "r2", 72, contact)
    assert other.state is MembershipState.JOINED
    assert other.contact is yard.worker(W2)
    assert membership.state is MembershipState.JOINED
    assert [type(message) for message in yard.out.heard(contact)] == [Leave]


def test_a_refused_join_hangs_up_on_a_worker_that_has_nothing_else(yard: Yard) -> None:
    ask = yard.ask_for("r1")
    contact = yard.worker()
    yard.up(contact)
    yard.say(Error(0, ask, int(Code.RESERVATION_REFUSED), "", None), contact)
    ((answered, error),) = yard.out.answers
    assert (answered, error.code) == (ask, Code.RESERVATION_REFUSED)  # type: ignore[union-attr]  # an error
    assert yard.core.workers == {}
    assert yard.out.hung_up_on == [contact]


def test_a_join_is_said_again_on_the_next_connection(yard: Yard) -> None:
    ask = yard.ask_for("r1")
    contact = yard.worker()
    yard.up(contact)
    yard.lose_worker(contact)
    (again,) = yard.redial(contact)
    assert isinstance(again, Join)
    assert again.ask == ask


def test_a_seat_that_is_not_wanted_any_more_is_given_up(yard: Yard) -> None:
    ask = yard.ask_for("r1")
    contact = yard.worker()
    yard.core.requests.forget(ask)
    assert yard.core.workers == {}
    assert yard.out.hung_up_on == [contact]
    late = yard.core.requests.ask(lambda ask: Match(yard.core.home.ref, ask, [2, None, {}], {}, 30.0))
    yard.core.requests.forget(late)
    yard.out.heard()
    yard.assigned(late, "r2", W1)
    assert yard.core.workers == {}
    assert yard.out.heard() == [Cancel(yard.core.home.ref, late)]


# Leaving.


def test_the_last_room_of_a_worker_closes_its_connection(yard: Yard) -> None:
    first, second = yard.enter("r1", 71), yard.enter("r2", 72)
    contact = yard.worker()
    yard.core.leave(first)
    assert yard.out.heard(contact) == [Leave(first.ref)]
    yard.say(LeftRoom(first.ref, int(Code.LEFT), "", 0, 0), contact)
    assert yard.out.hung_up_on == []
    yard.say(LeftRoom(second.ref, int(Code.ROOM_CLOSED), "", 0, 0), contact)
    assert yard.out.hung_up_on == [contact]
    assert (contact.state, yard.core.workers) == (ClientState.CLOSED, {})
    yard.advance(60.0)
    assert yard.out.dials.count(contact) == 1


def test_a_worker_that_was_left_is_dialled_anew_for_the_next_room(yard: Yard) -> None:
    membership = yard.enter("r1", 71)
    older = yard.worker()
    yard.say(LeftRoom(membership.ref, int(Code.LEFT), "", 0, 0), older)
    again = yard.enter("r2", 72)
    assert again.contact is yard.worker() is not older


def test_who_ends_its_session_leaves_rooms_on_workers(yard: Yard) -> None:
    here, there = yard.join("r0", 70), yard.enter("r1", 71)
    contact = yard.worker()
    yard.core.close()
    assert yard.out.heard(contact) == [Leave(there.ref)]
    assert [type(message) for message in yard.out.heard()] == [Goodbye]
    assert {here.state, there.state} == {MembershipState.ENDED}
    assert set(yard.out.hung_up_on) == {yard.core.broker, contact}
    assert yard.core.workers == {}
    assert yard.out.endings == [None]


# A worker's connection is lost.


def test_rooms_are_recovered_where_they_are(yard: Yard) -> None:
    membership, other = yard.enter("r1", 71), yard.enter("r2", 72, W2)
    yard.deliver(membership, 0, broadcast("one"))
    contact = yard.worker()
    yard.lose_worker(contact)
    assert (membership.state, other.state) == (MembershipState.AWAY, MembershipState.JOINED)
    assert yard.core.state is ClientState.ONLINE
    (recover,) = yard.redial(contact)
    assert isinstance(recover, Recover)
    assert (recover.room, recover.token, recover.epoch, recover.offset) == ("r1", membership.token, 71, 1)
    yard.recovered(recover, contact)
    assert membership.state is MembershipState.JOINED
    assert any("worker at" in reason for reason in yard.out.interruptions)


def test_messages_that_a_worker_has_not_acknowledged_are_sent_again(yard: Yard) -> None:
    membership = yard.enter("r1", 71)
    for number in range(3):
        yard.send(membership, number)
    contact = yard.worker()
    yard.lose_worker(contact)
    yard.send(membership, 3)
    (recover,) = yard.redial(contact)
    assert isinstance(recover, Recover)
    yard.recovered(recover, contact, uplink=1)
    sent = [message for message in yard.out.heard(contact) if isinstance(message, Send)]
    assert [(send.number, send.data) for send in sent] == [(2, 1), (3, 2), (4, 3)]
    assert {send.ref for send in sent} == {membership.ref}


def test_a_worker_that_cannot_be_reached_is_given_up_and_its_rooms_are_lost(yard: Yard) -> None:
    membership, other = yard.enter("r1", 71), yard.enter("r2", 72, W2)
    contact = yard.worker()
    ask = yard.ask_for("r3", W1)
    yard.lose_worker(contact)
    end = yard.now + 40.0
    while yard.now < end:
        yard.advance(0.1)
        if contact.state is ClientState.DIALING:
            yard.lose_worker(contact)  # nobody listens there
        if yard.worker(W2).ping_at <= yard.now + 0.2:
            yard.say(Pong(1), yard.worker(W2))
            yard.say(Pong(1))
        yard.say(Pong(1))
        yard.say(Pong(1), yard.worker(W2))
    assert ended(membership) == (MembershipState.ENDED, Code.WORKER_LOST)
    assert W1 in str(membership.error)
    answers = dict(yard.out.answers)
    assert isinstance(answers[ask], WorkerLost)
    assert list(yard.core.workers) == [W2]
    assert other.state is MembershipState.JOINED
    assert yard.core.state is ClientState.ONLINE


def test_a_worker_that_is_silent_is_given_up_like_any_server(yard: Yard) -> None:
    membership = yard.enter("r1", 71)
    contact = yard.worker()
    for _ in range(18):
        yard.advance(1.0)
        yard.say(Pong(1))
    assert membership.state is MembershipState.AWAY
    assert yard.core.state is ClientState.ONLINE
    assert contact in yard.out.hung_up_on
    pings = [message for message in yard.out.heard(contact) if isinstance(message, Ping)]
    assert len(pings) >= 2, "each connection is asked for signs of life"


def test_a_worker_that_says_goodbye_is_dialled_again(yard: Yard) -> None:
    membership = yard.enter("r1", 71)
    contact = yard.worker()
    yard.say(Goodbye(0, int(Code.CONNECTION_TIMED_OUT), ""), contact)
    assert membership.state is MembershipState.AWAY
    assert yard.core.state is ClientState.ONLINE, "the session is none of the worker's"
    assert [type(message) for message in yard.redial(contact)] == [Recover]


def test_a_worker_that_sends_nonsense_is_dialled_again(yard: Yard) -> None:
    membership = yard.enter("r1", 71)
    contact = yard.worker()
    yard.core.receive(b"\xc1", yard.now, contact)
    assert membership.state is MembershipState.AWAY
    assert contact in yard.out.hung_up_on
    assert yard.core.state is ClientState.ONLINE


@pytest.mark.parametrize(
    "code", [Code.ROOM_NOT_FOUND, Code.RESERVATION_REFUSED, Code.ROOM_CLOSED, Code.WORKER_LOST, Code.WORKER_DRAINED]
)
def test_a_room_that_is_gone_when_it_is_recovered_has_ended(yard: Yard, code: Code) -> None:
    membership = yard.enter("r1", 71)
    contact = yard.worker()
    yard.lose_worker(contact)
    (recover,) = yard.redial(contact)
    assert isinstance(recover, Recover)
    yard.say(Error(0, recover.ask, int(code), "", None), contact)
    assert ended(membership) == (MembershipState.ENDED, code)
    assert yard.core.workers == {}


# The broker says that a room is lost.


def test_a_room_that_is_lost_ends_once(yard: Yard) -> None:
    membership = yard.enter("r1", 71)
    contact = yard.worker()
    lost = RoomLost(yard.core.home.ref, "r1", int(Code.WORKER_LOST), "gone")
    yard.out.progress.clear()
    yard.say(lost)
    assert ended(membership) == (MembershipState.ENDED, Code.WORKER_LOST)
    assert str(membership.error) == "gone"
    assert yard.out.progress == [membership]
    assert yard.core.workers == {}
    yard.say(lost)
    yard.say(LeftRoom(membership.ref, int(Code.WORKER_LOST), "", 0, 0), contact)
    yard.lose_worker(contact)
    assert yard.out.progress == [membership], "once, whoever else says so"
    assert yard.core.state is ClientState.ONLINE


def test_a_room_that_is_lost_while_it_is_away_ends_at_once(yard: Yard) -> None:
    membership = yard.enter("r1", 71)
    contact = yard.worker()
    yard.lose_worker(contact)
    yard.say(RoomLost(yard.core.home.ref, "r1", int(Code.WORKER_LOST), ""))
    assert ended(membership) == (MembershipState.ENDED, Code.WORKER_LOST)
    yard.advance(60.0)
    assert yard.out.dials.count(contact) == 1


@pytest.mark.parametrize("connected", [False, True])
def test_a_room_that_is_lost_while_it_is_joined_answers_the_join_once(yard: Yard, connected: bool) -> None:
    ask = yard.ask_for("r1")
    contact = yard.worker()
    if connected:
        yard.up(contact)
    yard.say(RoomLost(yard.core.home.ref, "r1", int(Code.WORKER_LOST), ""))
    ((answered, error),) = yard.out.answers
    assert answered == ask
    assert isinstance(error, WorkerLost)
    yard.say(Error(0, ask, int(Code.ROOM_NOT_FOUND), "", None), contact)
    assert len(yard.out.answers) == 1
    assert yard.core.workers == {}


def test_what_is_lost_of_others_is_nothing_to_us(yard: Yard) -> None:
    membership = yard.enter("r1", 71)
    yard.say(RoomLost(yard.core.home.ref, "r2", int(Code.WORKER_LOST), ""))
    assert membership.state is MembershipState.JOINED


# The broker is away.


def refuse_dials(yard: Yard, seconds: float) -> None:
    """Nobody listens at the broker's address for so long; the workers are well."""
    end = yard.now + seconds
    while yard.now < end and yard.core.state is not ClientState.CLOSED:
        yard.advance(min(0.5, end - yard.now))
        if yard.core.state is ClientState.DIALING:
            yard.lose()
        for contact in yard.core.workers.values():
            if contact.online:
                yard.say(Pong(1), contact)


def test_rooms_go_on_while_the_broker_is_away_for_an_hour(yard: Yard) -> None:
    membership = yard.enter("r1", 71)
    yard.lose()
    refuse_dials(yard, 3600.0)
    assert membership.state is MembershipState.JOINED
    assert yard.out.endings == []
    yard.send(membership, "still here")
    assert any(isinstance(message, Send) for message in yard.out.heard(yard.worker()))
    yard.deliver(membership, 0, broadcast("you are"))
    assert yard.read(membership) == ["you are"]
    resume = yard.advance_until_resume()
    yard.welcome(resume.ask, resumed=True)
    assert yard.core.state is ClientState.ONLINE
    assert membership.state is MembershipState.JOINED
    assert not any(isinstance(message, Recover) for message in yard.out.heard())


def test_without_rooms_elsewhere_a_broker_that_is_away_is_given_up(yard: Yard) -> None:
    yard.lose()
    refuse_dials(yard, 60.0)
    (error,) = yard.out.endings
    assert isinstance(error, BrokerUnreachable)


def test_when_the_last_room_ends_the_broker_has_its_time_to_come_back(yard: Yard) -> None:
    membership = yard.enter("r1", 71)
    yard.lose()
    refuse_dials(yard, 300.0)
    yard.say(LeftRoom(membership.ref, int(Code.ROOM_CLOSED), "", 0, 0), yard.worker())
    refuse_dials(yard, 20.0)
    assert yard.out.endings == []
    refuse_dials(yard, 20.0)
    (error,) = yard.out.endings
    assert isinstance(error, BrokerUnreachable)
    assert error.waited < 40.0


def test_a_blip_of_the_worker_while_the_broker_is_away_ends_nothing(yard: Yard) -> None:
    """The broker was given up when an attempt to reach it failed while the worker's connection was being replaced."""
    membership = yard.enter("r1", 71)
    contact = yard.worker()
    yard.lose()
    refuse_dials(yard, 300.0)
    yard.lose_worker(contact)
    if yard.core.state is not ClientState.DIALING:
        yard.out.dials.clear()
        while yard.core.broker not in yard.out.dials and contact not in yard.out.dials:
            yard.advance(0.01)
    if yard.core.state is ClientState.DIALING:
        yard.lose()
    assert yard.out.endings == []
    if contact.state is not ClientState.DIALING:
        yard.out.dials.clear()
        while contact not in yard.out.dials:
            yard.advance(0.01)
            if yard.core.state is ClientState.DIALING:
                yard.lose()
    yard.out.heard()
    yard.up(contact)
    (recover,) = yard.out.heard(contact)
    assert isinstance(recover, Recover)
    yard.recovered(recover, contact)
    assert membership.state is MembershipState.JOINED
    assert yard.out.endings == []


def test_when_broker_and_worker_are_both_gone_the_client_ends(yard: Yard) -> None:
    membership = yard.enter("r1", 71)
    contact = yard.worker()
    yard.lose()
    yard.lose_worker(contact)
    end = yard.now + 90.0
    while yard.now < end and yard.core.state is not ClientState.CLOSED:
        yard.advance(0.5)
        if contact.state is ClientState.DIALING:
            yard.lose_worker(contact)
        if yard.core.state is ClientState.DIALING:
            yard.lose()
    assert ended(membership) == (MembershipState.ENDED, Code.WORKER_LOST)
    assert isinstance(yard.out.endings[0], BrokerUnreachable)


# A broker that was started anew.


def test_a_new_life_of_the_broker_begins_the_numbers_anew(yard: Yard) -> None:
    home = yard.core.home
    for number in range(3):
        yard.send(home, number)
    yard.acknowledge(home, 1)
    membership = yard.enter("r1", 71)
    yard.send(membership, "in the room")
    yard.lose()
    resume = yard.advance_until_resume()
    yard.welcome(resume.ask, resumed=True, epoch=HOME_EPOCH + 1, client_id=900, uplink=0, direct=0)
    assert yard.core.home is home
    assert [(where, number, type(error)) for where, number, error in yard.out.refusals] == [
        (home, 2, SessionUnknown),
        (home, 3, SessionUnknown),
    ]
    assert yard.core.data.ID == 900
    assert (home.unacked, home.acked) == (0, 0)
    yard.out.heard()
    yard.send(home, "anew")
    assert [(number, data) for _, number, data in yard.sent()] == [(1, "anew")]
    yard.say(Deliver(HOME_EPOCH + 1, home.ref, 0, [direct(1, "first of this life")]))
    assert yard.read(home) == ["first of this life"]
    assert (membership.unacked, membership.state) == (1, MembershipState.JOINED), "rooms have nothing to do with it"


def test_a_resume_of_the_same_life_repeats_what_is_not_acknowledged(yard: Yard) -> None:
    home = yard.core.home
    for number in range(3):
        yard.send(home, number)
    yard.reconnect(uplink=1)
    assert [(number, data) for _, number, data in yard.sent()] == [(2, 1), (3, 2)]
    assert yard.out.refusals == []


def test_what_was_asked_of_a_broker_is_asked_of_the_next(yard: Yard) -> None:
    ask = yard.core.requests.ask(lambda ask: Match(yard.core.home.ref, ask, [2, None, {}], {}, 30.0))
    yard.lose()
    resume = yard.advance_until_resume()
    yard.welcome(resume.ask, resumed=True, epoch=HOME_EPOCH + 1)
    (match,) = yard.heard(Match)
    assert (match.ask, match.ref) == (ask, yard.core.home.ref)


# Downlinks.


def enter_topic(yard: Yard, token: bytes = TOKEN) -> Membership:
    return yard.enter("r1", 71, downlink=[7002, token])


def below(
    yard: Yard, membership: Membership, offset: int, *items: Sequence[object], ref: int = 0, epoch: int = 71
) -> None:
    """A frame on the downlink."""
    yard.core.downlink_received(membership, bundle(epoch, ref, offset, [pack(item) for item in items]), yard.now)


def test_a_downlink_is_opened_where_joined_says(yard: Yard) -> None:
    membership = enter_topic(yard)
    assert yard.out.downlinks == {"r1": (7002, TOKEN)}
    below(yard, membership, 0, broadcast("to all"))
    below(yard, membership, 1, direct(1, "to me"), ref=mark_of(TOKEN) & 0xFFFFFFFF)
    assert yard.read(membership) == ["to all", "to me"]
    assert yard.out.misrouted_epochs == []


def test_what_is_not_ours_on_a_downlink_is_dropped_and_told(yard: Yard) -> None:
    membership = enter_topic(yard)
    below(yard, membership, 0, broadcast("another room"), epoch=72)
    below(yard, membership, 0, direct(1, "another member"), ref=mark_of(secret(1)) & 0xFFFFFFFF)
    below(yard, membership, 0, direct(1, "a reference of the other connection"), ref=membership.ref)
    assert yard.out.misrouted_epochs == [72, 71, 71]
    assert yard.read(membership) == []
    assert membership.state is MembershipState.JOINED


def test_a_gap_on_a_downlink_is_recovered_on_the_other_connection(yard: Yard) -> None:
    membership = enter_topic(yard)
    below(yard, membership, 0, broadcast("one"))
    below(yard, membership, 2, broadcast("three"))
    (recover,) = yard.out.heard(yard.worker())
    assert isinstance(recover, Recover)
    assert recover.offset == 1
    assert yard.out.downlinks == {"r1": (7002, TOKEN)}, "it stays open"
    below(yard, membership, 1, broadcast("two"), broadcast("three"), ref=mark_of(TOKEN) & 0xFFFFFFFF)
    yard.recovered(recover, yard.worker(), downlink=[7002, TOKEN])
    below(yard, membership, 3, broadcast("four"))
    assert yard.read(membership) == ["one", "two", "three", "four"]


def test_a_mark_and_a_beat_show_what_was_lost(yard: Yard) -> None:
    for frame in ([[int(Item.MARK), mark_of(TOKEN), 1]], []):
        yard = Yard()
        membership = enter_topic(yard)
        below(yard, membership, 0 if frame else 1, *frame)
        assert [type(message) for message in yard.out.heard(yard.worker())] == [Recover]


def test_marks_of_others_and_beats_in_time_are_nothing(yard: Yard) -> None:
    membership = enter_topic(yard)
    below(yard, membership, 0, [int(Item.MARK), mark_of(secret(1)), 5])
    below(yard, membership, 0)
    assert yard.out.heard() == []
    assert yard.read(membership) == []


def test_a_downlink_that_is_lost_is_asked_for_again_at_the_next_beat(yard: Yard) -> None:
    membership = enter_topic(yard)
    yard.out.downlinks.clear()
    yard.core.downlink_lost(membership)
    assert membership.state is MembershipState.JOINED
    yard.advance(1.1)
    (recover,) = [message for message in yard.out.heard(yard.worker()) if isinstance(message, Recover)]
    newer = secret(8888)
    yard.recovered(recover, yard.worker(), downlink=[7003, newer])
    assert yard.out.downlinks == {"r1": (7003, newer)}
    below(yard, membership, 0, broadcast("again"))
    assert yard.read(membership) == ["again"]


def test_nonsense_on_a_downlink_costs_the_downlink_alone(yard: Yard) -> None:
    for nonsense in (b"\xc1", encode(Pong(1)), bundle(71, 0, 0, [pack([99])]), b""):
        yard = Yard()
        membership = enter_topic(yard)
        yard.core.downlink_received(membership, nonsense, yard.now)
        assert yard.out.downlinks == {}
        assert membership.state is MembershipState.JOINED
        yard.advance(1.1)
        assert any(isinstance(message, Recover) for message in yard.out.heard(yard.worker()))


def test_a_downlink_that_was_given_to_somebody_else_is_replaced(yard: Yard) -> None:
    membership = enter_topic(yard)
    yard.say(Rekeyed(membership.ref), yard.worker())
    assert yard.out.downlinks == {}
    (recover,) = yard.out.heard(yard.worker())
    assert isinstance(recover, Recover)
    newer = secret(8888)
    yard.recovered(recover, yard.worker(), downlink=[7002, newer])
    assert yard.out.downlinks == {"r1": (7002, newer)}


@pytest.mark.parametrize("how", ["left", "lost", "worker lost", "closed"])
def test_a_downlink_does_not_outlive_its_connection_or_room(yard: Yard, how: str) -> None:
    membership = enter_topic(yard)
    if how == "left":
        yard.core.leave(membership)
        yard.say(LeftRoom(membership.ref, int(Code.LEFT), "", 0, 0), yard.worker())
    elif how == "lost":
        yard.lose_worker(yard.worker())
    elif how == "worker lost":
        yard.say(RoomLost(yard.core.home.ref, "r1", int(Code.WORKER_LOST), ""))
    else:
        yard.core.close()
    assert yard.out.downlinks == {}
    yard.core.downlink_lost(membership)
    below(yard, membership, 0, broadcast("too late"))
    assert yard.read(membership) == []


def test_the_last_words_of_a_room_come_down_before_its_end(yard: Yard) -> None:
    membership = enter_topic(yard)
    contact = yard.worker()
    yard.say(LeftRoom(membership.ref, int(Code.ROOM_CLOSED), "over", 1, 0), contact)
    assert membership.state is MembershipState.JOINED, "what it said before may still be under way"
    below(yard, membership, 0, broadcast("good bye"))
    assert yard.read(membership) == ["good bye"]
    assert ended(membership) == (MembershipState.ENDED, Code.ROOM_CLOSED)
    assert (yard.out.downlinks, yard.core.workers) == ({}, {})


@pytest.mark.parametrize("how", ["silent", "downlink lost", "connection lost"])
def test_a_room_whose_last_words_do_not_come_ends_all_the_same(yard: Yard, how: str) -> None:
    membership = enter_topic(yard)
    contact = yard.worker()
    yard.say(LeftRoom(membership.ref, int(Code.ROOM_CLOSED), "over", 1, 0), contact)
    if how == "downlink lost":
        yard.core.downlink_lost(membership)
    elif how == "connection lost":
        yard.lose_worker(contact)
    yard.advance(5.9)
    assert membership.state is MembershipState.JOINED
    if how == "connection lost":  # as long as it may come back, so may the rest
        while yard.now < START + 40.0 and contact.state is not ClientState.CLOSED:
            yard.advance(0.5)
            if contact.state is ClientState.DIALING:
                yard.lose_worker(contact)
    yard.advance(0.2)
    assert ended(membership) == (MembershipState.ENDED, Code.ROOM_CLOSED)
    assert (yard.out.downlinks, yard.core.workers) == ({}, {})


def test_a_room_with_a_downlink_is_recovered_with_it(yard: Yard) -> None:
    membership = enter_topic(yard)
    below(yard, membership, 0, broadcast("one"))
    contact = yard.worker()
    yard.lose_worker(contact)
    (recover,) = yard.redial(contact)
    assert isinstance(recover, Recover)
    newer = secret(8888)
    yard.recovered(recover, contact, downlink=[7002, newer])
    assert yard.out.downlinks == {"r1": (7002, newer)}
    yard.say(Reset(membership.ref, 71, 50, 0, {"board": 1}), contact)
    below(yard, membership, 50, broadcast("fifty-one"))
    assert yard.read(membership) == ["one", {"board": 1}, "fifty-one"]


def test_topic_rooms_of_the_brokers_own_process_have_downlinks_too(yard: Yard) -> None:
    ask = yard.core.requests.ask(lambda ask: JoinById(yard.core.home.ref, ask, "r1", {}))
    yard.assigned(ask, "r1")
    joined = yard.joined(yard.last(Join).ask, "r1", 71, downlink=[1235, TOKEN])
    assert isinstance(joined, Joined)
    assert yard.out.downlinks == {"r1": (1235, TOKEN)}


def test_a_worker_answers_nothing_that_the_broker_was_asked(yard: Yard) -> None:
    yard.enter("r1", 11)
    asks = [yard.core.requests.ask(lambda ask: JoinById(yard.core.home.ref, ask, "r2", {})) for _ in range(2)]
    yard.out.answers.clear()
    joined = yard.joined(asks[0], "r2", 12, yard.worker())
    yard.say(Error(0, asks[1], int(Code.ROOM_FULL), "made up", None), yard.worker())
    assert list(yard.core.rooms) == ["r1"]
    assert yard.out.answers == []
    assert Leave(joined.ref) in yard.out.heard(yard.worker())
    yard.joined(asks[0], "r2", 12, yard.core.broker)
    assert yard.core.rooms["r2"].contact is yard.core.broker
    assert yard.out.answers == [(asks[0], yard.core.rooms["r2"])]


def test_a_worker_lets_nobody_into_what_another_was_asked_for(yard: Yard) -> None:
    yard.enter("r1", 11, W1)
    ask = yard.ask_for("r2", W2)
    yard.up(yard.worker(W2))
    yard.joined(ask, "r2", 12, yard.worker(W1))
    assert list(yard.core.rooms) == ["r1"]
    yard.joined(ask, "r2", 12, yard.worker(W2))
    assert yard.core.rooms["r2"].contact is yard.worker(W2)

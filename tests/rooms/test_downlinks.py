"""Tokens for downlinks: what each is worth, for how long, and which publisher carries whom."""

from random import Random

import pytest

from server_room_system import AddressInUse, Limits
from server_room_system.protocol import mark_of
from server_room_system.rooms.beside import open_beside
from server_room_system.rooms.downlinks import Downlinks
from server_room_system.rooms.lines import Downlink
from server_room_system.transport import Lock, Publisher, PublisherSink, Vouched
from server_room_system.transport.locks import NOBODY

from .fakes import FakeNetwork, FakePublisher

ROOM = b"\x10" + b"r" * 16


class Holder:
    """Whom a token was given to."""

    def __init__(self, number: int) -> None:
        self.own = b"\x11" + bytes([number]) * 16
        self.told: list[tuple[str, Downlink]] = []

    owner: bytes | None = None

    def topics(self) -> tuple[bytes, bytes]:
        return ROOM, self.own

    def granted(self, downlink: Downlink) -> None:
        self.told.append(("granted", downlink))

    def ungranted(self, downlink: Downlink) -> None:
        self.told.append(("ungranted", downlink))


class Desk:
    """Downlinks with publishers that record."""

    def __init__(self) -> None:
        self.publishers: list[FakePublisher] = []
        self.wakes = 0
        self.downlinks = Downlinks(self.open, Random(6).randbytes, self.wake)

    def open(self, sink: PublisherSink) -> Publisher:
        self.publishers.append(FakePublisher(len(self.publishers)))
        return self.publishers[-1]

    def wake(self) -> None:
        self.wakes += 1


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_token_is_worth_the_rooms_topic_and_ones_own(desk: Desk) -> None:
    ann, bob = Holder(1), Holder(2)
    (port, token), (_, other) = desk.downlinks.offer(ann), desk.downlinks.offer(bob)
    assert port == 7000
    assert token != other
    assert desk.downlinks.presented(token, 5) == (ROOM, ann.own)
    assert desk.downlinks.presented(other, 6) == (ROOM, bob.own)


def test_a_grant_is_told_in_a_turn_of_its_own(desk: Desk) -> None:
    ann = Holder(1)
    _, token = desk.downlinks.offer(ann)
    desk.downlinks.presented(token, 5)
    assert (ann.told, desk.wakes) == ([], 1)
    desk.downlinks.pump()
    assert ann.told == [("granted", Downlink(0, 5, ann.own, mark_of(token)))]
    desk.downlinks.presented(token, 5)
    desk.downlinks.pump()
    assert len(ann.told) == 1, "it is presented again and again"
    assert desk.publishers[0].pumps == 2


def test_strangers_get_nothing(desk: Desk) -> None:
    desk.downlinks.offer(Holder(1))
    assert desk.downlinks.presented(bytes(16), 5) == ()
    desk.downlinks.gone(bytes(16), 5)
    assert desk.wakes == 0


def test_a_token_is_good_for_one_connection_at_a_time(desk: Desk) -> None:
    ann = Holder(1)
    _, token = desk.downlinks.offer(ann)
    desk.downlinks.presented(token, 5)
    assert desk.downlinks.presented(token, 6) == ()
    desk.downlinks.gone(token, 6)
    desk.downlinks.gone(token, 5)
    assert desk.downlinks.presented(token, 6) == (ROOM, ann.own)
    desk.downlinks.pump()
    assert [(what, downlink.peer) for what, downlink in ann.told] == [("granted", 5), ("ungranted", 5), ("granted", 6)]


def test_a_token_that_was_revoked_is_worth_nothing_and_its_connection_is_cut(desk: Desk) -> None:
    _, token = desk.downlinks.offer(Holder(1))
    desk.downlinks.presented(token, 5)
    assert desk.downlinks.revoke(token)
    assert desk.publishers[0].cuts == [5]
    assert desk.downlinks.presented(token, 7) == ()
    assert desk.downlinks.revoke(token), "once is enough"
    assert desk.publishers[0].cuts == [5]


def test_a_token_is_worth_nothing_on_a_connection_of_another_key(desk: Desk) -> None:
    ann, key = Holder(1), bytes(32)
    ann.owner = key
    _, token = desk.downlinks.offer(ann)
    for thief in (NOBODY, Vouched(key=b"\1" * 32), Vouched(user="ann")):
        assert desk.downlinks.presented(token, 5, thief) == ()
    assert desk.downlinks.presented(token, 6, Vouched(key=key)) == (ROOM, ann.own)
    bob = Holder(2)
    _, token = desk.downlinks.offer(bob)
    assert desk.downlinks.presented(token, 7, Vouched(key=key)) == ()


def test_a_token_that_nobody_has_presented_is_revoked_without_a_cut(desk: Desk) -> None:
    _, token = desk.downlinks.offer(Holder(1))
    assert desk.downlinks.revoke(token)
    assert desk.publishers[0].cuts == []


def test_a_connection_that_cannot_be_cut_is_told(desk: Desk) -> None:
    _, token = desk.downlinks.offer(Holder(1))
    desk.downlinks.presented(token, 5)
    desk.publishers[0].cut = lambda peer: False  # type: ignore[method-assign]  # it can't
    assert not desk.downlinks.revoke(token)


def test_a_publisher_carries_so_many_and_the_next_one_the_others(desk: Desk) -> None:
    tokens = [desk.downlinks.offer(Holder(1)) for _ in range(257)]
    assert [port for port, _ in tokens] == [7000] * 256 + [7001]
    assert len(desk.publishers) == 2
    desk.downlinks.revoke(tokens[0][1])
    assert desk.downlinks.offer(Holder(1))[0] == 7000
    assert desk.downlinks.offer(Holder(1))[0] == 7001


def test_frames_leave_where_they_are_sent(desk: Desk) -> None:
    for _ in range(257):
        desk.downlinks.offer(Holder(1))
    desk.downlinks.publish(1, ROOM, b"frame")
    assert [publisher.published for publisher in desk.publishers] == [[], [(ROOM, b"frame")]]
    desk.downlinks.close()
    assert all(publisher.is_closed for publisher in desk.publishers)


# Where publishers listen.


class Ports(FakeNetwork):
    """Ports of which some are taken."""

    def __init__(self, *taken: int) -> None:
        super().__init__()
        self.taken = taken
        self.tried: list[int] = []

    def publish(self, host: str, port: int, sink: PublisherSink, largest: int, lock: Lock | None = None) -> Publisher:
        self.tried.append(port)
        if port in self.taken:
            raise AddressInUse(f"tcp://{host}:{port}")
        return FakePublisher(port)


def test_a_publisher_listens_at_the_first_free_port_after_the_workers(desk: Desk) -> None:
    ports = Ports(7002, 7003)
    open_beside(ports, "127.0.0.1", 7001, desk.downlinks, Limits(), Lock())
    assert ports.tried == [7002, 7003, 7004]


def test_a_worker_at_any_port_publishes_at_any_port(desk: Desk) -> None:
    ports = Ports()
    open_beside(ports, "127.0.0.1", 0, desk.downlinks, Limits(), Lock())
    assert ports.tried == [0]


def test_a_publisher_without_a_free_port_is_refused(desk: Desk) -> None:
    ports = Ports(*range(7000, 8000))
    with pytest.raises(AddressInUse):
        open_beside(ports, "127.0.0.1", 7001, desk.downlinks, Limits(), Lock())
    assert len(ports.tried) < 200

"""The audience of a topic room: tokens that are worth nothing any more, and ports that are not there."""

import tracemalloc

import pytest

from server_room_system import AddressInUse, Code, Member
from server_room_system.protocol import Deliver, LeftRoom, Rekeyed
from server_room_system.rooms.control import Seated, Unseated
from server_room_system.rooms.lines import Downlink

from .fakes import Bench, Diary, read


class Hall(Diary):
    """A topic room."""

    fanout = "topic"


def test_a_grant_that_is_not_told_yet_does_not_outlive_its_topic() -> None:
    """Who was granted the old topic in the turn of a re-keying heard nothing of the room from then on."""
    bench = Bench(Hall())
    one, two = bench.join().listen(), bench.join().listen()
    old = bench.out.offers[one.joins[0].downlink[1]]  # type: ignore[index]  # a topic room's
    late = bench.out.offers[two.joins[0].downlink[1]]  # type: ignore[index]
    with bench.out.turn():
        old.granted(Downlink(0, 1, old.topic, 1))
    granted = late.topics()
    bench.out.can_cut = False
    with bench.out.turn():
        one.leave()
    assert late.topics() != granted
    assert bench.out.offers == {}
    told = [read(frame) for peer, frame in bench.out.frames if peer == two.caller.peer]
    assert told[-1] == Rekeyed(two.ref)
    with bench.out.turn():
        late.granted(Downlink(0, 2, late.topic, 2))
    assert two.member.line.downlink is None
    bench.out.can_cut = True
    with bench.out.turn():
        two.come_back()
    assert two.listen().joins[-1].downlink is not None


def test_who_cannot_be_given_a_downlink_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error left the turn, and the member sat there, heard nothing and had no answer."""
    bench = Bench(Hall())
    first = bench.join().listen()

    def offer(holder: object) -> tuple[int, bytes]:
        raise AddressInUse("tcp://127.0.0.1:7001")

    monkeypatch.setattr(bench.out, "offer", offer)
    second = bench.join().listen()
    assert [error.code for error in second.errors] == [Code.CAPACITY_REACHED]
    assert second.joins == []
    assert "no way to client 2" in caplog.text
    assert [len(bench.reported(kind)) for kind in (Seated, Unseated)] == [2, 1]
    assert len(bench.runner.seats) == 1
    first.drop()
    first.come_back()
    assert [error.code for error in first.listen().errors] == [Code.CAPACITY_REACHED]
    assert len(bench.runner.seats) == 1, "it is a member, and asks again"


def test_whose_downlink_comes_after_the_end_of_the_room_gets_the_rest_up_to_its_own_end_and_no_copy_waits_for_it() -> (
    None
):
    class Sad(Hall):
        max_clients = 20

        def on_leave(self, client: Member, reason: Code) -> None:
            self.broadcast("m", f"{client.id} is gone")

    room = Sad()
    bench = Bench(room)
    guests = [bench.join().listen() for _ in range(20)]
    offers = [bench.out.offers[guest.joins[0].downlink[1]] for guest in guests]  # type: ignore[index]
    with bench.out.turn():
        for _ in range(20):
            room.broadcast("m", bytes(50_000))
    tracemalloc.start()
    with bench.out.turn():
        room.close()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 2_000_000
    bench.out.published.clear()
    with bench.out.turn():
        offers[2].granted(Downlink(0, 1, offers[2].topic, 1))
    messages = [read(frame) for _, topic, frame in bench.out.published if topic == offers[2].topic]
    items = [item for message in messages if isinstance(message, Deliver) for item in message.items]
    assert [item[2] for item in items if item[2] != bytes(50_000)] == ["1 is gone", "2 is gone"]
    assert len(items) == 22
    assert isinstance(messages[-1], LeftRoom)
    assert messages[-1].offset == 22

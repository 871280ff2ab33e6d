"""The audience of a topic room: tokens that are worth nothing any more, and ports that are not there."""

import pytest

from server_room_system import AddressInUse, Code
from server_room_system.protocol import Rekeyed
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

"""The end of a membership: whoever misses something of what was said before gets it, and then the end again."""

import tracemalloc

import pytest

from server_room_system import Code, HistoryLimits, Member, ReservationRefused
from server_room_system.protocol import Deliver, Joined, LeftRoom, Message, Position, Reset, StreamReader
from server_room_system.rooms.control import RoomEnded
from server_room_system.rooms.fanout import UnicastFanout
from server_room_system.rooms.farewells import Farewell, Farewells
from server_room_system.rooms.lines import Line

from .fakes import Bench, Diary, FakeCaller, Gate, Guest

BEGINNING = 0, 0


def ask(bench: Bench, token: bytes, position: Position) -> list[Message]:
    """What is answered to who asks for the rest, on a connection of its own."""
    caller = FakeCaller(bench.out)
    farewell = bench.runner.farewells.find(token)
    assert farewell is not None
    bench.runner.flush()
    bench.runner.farewells.say(farewell, caller, 88, position)
    assert caller.refs == {}, "who is gone says nothing more"
    return caller.heard


def rest(answer: list[Message], position: Position) -> list[object]:
    """What a client reads out of an answer that begins with JOINED and ends with LEFT."""
    joined, *bundles, left = answer
    assert isinstance(joined, Joined)
    assert isinstance(left, LeftRoom)
    assert (joined.ask, joined.info, joined.downlink, left.ref) == (88, {"over": True}, None, joined.ref)
    reader, read = StreamReader(position), []
    for message in bundles:
        assert isinstance(message, Deliver)
        assert message.ref == joined.ref
        read += [item[-1] for item, _ in reader.read(message.offset, message.items)]
    assert reader.position[1:] == (left.offset, left.direct)
    return read


def farewell_of(guest: Guest) -> tuple[bytes, Position]:
    position = guest.position
    return guest.token, Position(position.epoch, *BEGINNING)


def test_who_is_kicked_gets_what_was_said_before_and_nothing_after() -> None:
    room = Diary()
    bench = Bench(room)
    ann, bob = bench.join(), bench.join()
    with bench.out.turn():
        room.broadcast("m", "one")
        bob.member.send("m", "for bob")
        room.broadcast("m", "two", except_=bob.member)
    token, position = farewell_of(bob)
    with bench.out.turn():
        room.broadcast("m", "three")
        bob.member.kick("out")
        room.broadcast("m", "after")
        ann.member.send("m", "for ann")
    assert bob.heard == ["one", "for bob", "three"]
    assert bob.left == LeftRoom(bob.ref, Code.KICKED, "out", *bob.position[1:])
    answer = ask(bench, token, position)
    assert rest(answer, position) == ["one", "for bob", "three"]
    assert rest(ask(bench, token, bob.position), bob.position) == []
    assert ann.heard == ["one", "two", "three", "after", "for ann"]


@pytest.mark.parametrize("fanout", ["unicast", "topic"])
def test_each_member_hears_the_room_as_far_as_it_was_in_it_when_it_ends(fanout: str) -> None:
    class Sad(Diary):
        def on_leave(self, client: Member, reason: Code) -> None:
            self.broadcast("m", f"{client.id} is gone")

    Sad.fanout = fanout
    room = Sad()
    bench = Bench(room)
    guests = [bench.join() for _ in range(3)]
    tickets = [farewell_of(guest) for guest in guests]
    with bench.out.turn():
        room.broadcast("m", "good night")
        room.close()
    heard = [rest(ask(bench, token, position), position) for token, position in tickets]
    assert heard == [["good night"], ["good night", "1 is gone"], ["good night", "1 is gone", "2 is gone"]]


@pytest.mark.parametrize("fanout", ["unicast", "topic"])
def test_who_is_kicked_where_only_the_newest_is_kept_gets_what_was_the_newest_then(fanout: str) -> None:
    class Map(Diary):
        slow_members = "latest"

    Map.fanout = fanout
    room = Map()
    bench = Bench(room)
    bench.join()
    bob = bench.join()
    token, position = farewell_of(bob)
    with bench.out.turn():
        for number in range(4):
            room.broadcast("at", number, key="ann")
        room.broadcast("m", "hello")
        room.broadcast("at", 100, key="carl")
        bob.member.kick()
    with bench.out.turn():
        room.broadcast("at", 5, key="ann")
        room.broadcast("m", "after")
    assert rest(ask(bench, token, position), position) == [3, "hello", 100]


def test_who_is_away_when_the_room_ends_hears_the_rest_within_a_minute() -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    token, position = farewell_of(ann)
    ann.drop()
    with bench.out.turn():
        room.broadcast("m", "you missed this")
        room.close("enough")
    answer = ask(bench, token, position)
    assert rest(answer, position) == ["you missed this"]
    assert answer[-1] == LeftRoom(answer[0].ref, Code.ROOM_CLOSED, "enough", 1, 0)  # type: ignore[union-attr]  # JOINED
    bench.out.advance(59.9)
    assert bench.runner.farewells.find(token) is not None
    bench.out.advance(0.2)
    assert bench.runner.farewells.find(token) is None
    assert len(bench.runner.farewells) == 0


def test_who_stayed_away_for_too_long_is_told_so_and_what_was_said_until_then() -> None:
    room = Diary()
    room.min_clients = 0
    bench = Bench(room)
    ann = bench.join()
    token, position = farewell_of(ann)
    ann.drop()
    with bench.out.turn():
        room.broadcast("m", "in time")
    bench.out.advance(16.0)
    with bench.out.turn():
        room.broadcast("m", "too late")
    answer = ask(bench, token, position)
    assert rest(answer, position) == ["in time"]
    assert tuple(answer[-1])[1] == Code.GRACE_EXPIRED


def test_the_token_that_was_shown_last_is_good_for_the_rest_as_well() -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    ann.confirm()
    older, position = farewell_of(ann)
    ann.come_back()
    newer = ann.token
    assert newer != older
    with bench.out.turn():
        room.close()
    assert bench.runner.farewells.find(newer, b"another's key") is None
    for token in (older, newer):
        assert rest(ask(bench, token, position), position) == []


@pytest.mark.parametrize(
    "place", [(1, 0, 0), (None, 99, 0), (None, 0, 99)], ids=["another life", "never said", "never told"]
)
def test_a_place_that_never_was_is_answered_with_a_reset_to_the_end(place: tuple[int | None, int, int]) -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    token, position = farewell_of(ann)
    with bench.out.turn():
        room.broadcast("m", "words")
        room.close()
    wrong = Position(place[0] or position.epoch, *place[1:])
    joined, reset, left = ask(bench, token, wrong)
    assert isinstance(joined, Joined)
    assert reset == Reset(joined.ref, position.epoch, 1, 0, None)
    assert left == LeftRoom(joined.ref, Code.ROOM_CLOSED, "", 1, 0)


@pytest.mark.parametrize("policy", ["recover", "latest"])
@pytest.mark.parametrize("fanout", ["unicast", "topic"])
@pytest.mark.parametrize(
    "place", [(1, 0, 0), (None, 99, 0), (None, 0, 0), (None, 1, 99)], ids=["life", "ahead", "before it came", "direct"]
)
def test_who_is_kicked_and_claims_a_place_that_never_was_hears_nothing_that_was_said_after(
    place: tuple[int | None, int, int], fanout: str, policy: str
) -> None:
    room = type("Other", (Diary,), {"fanout": fanout, "slow_members": policy})()
    bench = Bench(room)
    bench.join()
    with bench.out.turn():
        room.broadcast("m", "before")
    bob = bench.join()
    token, position = farewell_of(bob)
    with bench.out.turn():
        bob.member.kick()
    with bench.out.turn():
        for number in range(5):
            room.broadcast("m", number)
    answer = ask(bench, token, Position(place[0] or position.epoch, *place[1:]))
    joined, reset, left = answer
    assert isinstance(joined, Joined)
    assert reset == Reset(joined.ref, position.epoch, 1, 0, None)
    assert left == LeftRoom(joined.ref, Code.KICKED, "", 1, 0)


def test_what_members_got_alone_that_are_gone_is_bounded_in_a_room_that_goes_on() -> None:
    room = Diary()
    bench = Bench(room)
    bench.join()
    tokens = []
    for _ in range(30):
        bob = bench.join()
        tokens.append(farewell_of(bob)[0])
        with bench.out.turn():
            bob.member.send("m", bytes(200_000))
            bob.member.kick()
    farewells = bench.runner.farewells
    assert farewells.size < 5_000_000
    assert farewells.find(tokens[0]) is None
    assert all(farewells.find(token) is not None for token in tokens[-15:])
    bench.out.advance(61.0)
    assert (len(farewells), farewells.size) == (0, 0)


def test_what_was_the_newest_when_members_went_is_bounded_and_kept_once_for_all_who_went_together() -> None:
    class Map(Diary):
        slow_members = "latest"

    room = Map()
    bench = Bench(room)
    bench.join()
    tokens = []
    for _ in range(30):
        both = [bench.join(), bench.join()]
        tokens.append([farewell_of(one)[0] for one in both])
        with bench.out.turn():
            room.broadcast("m", bytes(200_000), key="big")
            for one in both:
                one.member.kick()
    farewells = bench.runner.farewells
    assert farewells.size < 5_000_000
    assert [farewells.find(token) for token in tokens[0]] == [None, None]
    assert all(farewells.find(token) is not None for pair in tokens[-18:] for token in pair)
    bench.out.advance(61.0)
    assert (len(farewells), farewells._alone) == (0, 0)


@pytest.mark.parametrize("policy", ["recover", "latest"])
def test_the_size_of_farewells_is_that_of_the_memory_that_they_take(policy: str) -> None:
    latest = policy == "latest"
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        fanout = UnicastFanout(1, HistoryLimits(), 1 << 16, latest=latest)
        farewells = Farewells("room", "type", fanout)
        for number in range(500):
            line = Line(number, 0, latest=latest)
            fanout.direct(line, b"%020d" % number, 0.0)
            token = b"%032d" % number
            farewells.keep(Farewell(token, None, line, fanout.end(line), 0, 3101, "", 60.0), [token, token[::-1]])
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.4 * farewells.size < after - before < farewells.size
    farewells.forget()
    assert farewells.size == 0


def test_what_the_history_has_lost_is_a_reset_before_the_end() -> None:
    room = Diary()
    room.history = HistoryLimits(count=3)
    bench = Bench(room)
    ann = bench.join()
    token, position = farewell_of(ann)
    with bench.out.turn():
        for number in range(9):
            room.broadcast("m", number)
        room.close()
    _, reset, left = ask(bench, token, position)
    assert isinstance(reset, Reset)
    assert (reset.offset, reset.snapshot) == (9, None)
    assert isinstance(left, LeftRoom)
    near = position._replace(offset=6)
    assert rest(ask(bench, token, near), near) == [6, 7, 8]


def test_who_leaves_by_its_own_wish_or_was_too_slow_gets_no_rest() -> None:
    bench = Bench(Diary())
    ann, bob = bench.join(), bench.join()
    bench.join()
    tokens = [ann.token, bob.token]
    ann.leave()
    with bench.out.turn():
        bench.runner.remove(bob.member, Code.TOO_SLOW, "")
    assert [bench.runner.farewells.find(token) for token in tokens] == [None, None]


def test_what_is_said_in_the_turn_in_which_the_time_to_dispose_is_over_is_for_those_who_are_there() -> None:
    class Stuck(Diary):
        async def on_leave(self, client: Member, reason: Code) -> None:
            await Gate()

    room = Stuck()
    bench = Bench(room)
    bench.join()
    bob = bench.join()
    token, position = farewell_of(bob)
    with bench.out.turn():
        room.close()
    bench.out.now += 5.0
    with bench.out.turn():
        room.broadcast("m", "last")
        bench.runner.dispose_now()
    assert bench.reported(RoomEnded)
    assert rest(ask(bench, token, position), position) == ["last"]


def test_no_more_members_are_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server_room_system.rooms.farewells._MOST", 3)
    room = Diary()
    bench = Bench(room, 8)
    guests = [bench.join() for _ in range(5)]
    tokens = [guest.token for guest in guests]
    with bench.out.turn():
        room.close()
    found = [bench.runner.farewells.find(token) is not None for token in tokens]
    assert found == [False, False, True, True, True]


def test_who_is_kicked_while_it_is_away_is_a_member_no_more_and_hears_so_when_it_is_back() -> None:
    room = Diary()
    bench = Bench(room)
    bench.join()
    bob = bench.join()
    token, position = farewell_of(bob)
    bob.drop()
    with bench.out.turn():
        room.broadcast("m", "you missed this")
        bob.member.kick("out")
    assert [member.id for member in room.clients] == [1]
    answer = ask(bench, token, position)
    assert rest(answer, position) == ["you missed this"]
    assert isinstance(answer[-1], LeftRoom)
    assert (answer[-1].code, answer[-1].text) == (Code.KICKED, "out")
    with pytest.raises(ReservationRefused):
        bench.runner.seats.reclaim(token, None)

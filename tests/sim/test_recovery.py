"""Recovery on a virtual clock: what takes long in life, and every kind of loss for both fan-outs."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server_room_system import (
    AsyncClient,
    BrokerUnreachable,
    ClientRoom,
    Code,
    GraceExpired,
    HistoryLimits,
    InRoom,
    Kicked,
    Member,
    NotInRoomError,
    RequestRefused,
    Room,
    RoomClosed,
    RuleSet,
    Server,
    on_message,
    on_request,
)
from server_room_system.testing import InMemorySystem, run, system


class Hall(Room):
    """Says what it is told, counts what it sells, and writes down who comes and goes."""

    max_clients = 4
    min_clients = 0
    message_rate: float | None = None
    history = HistoryLimits(count=40)
    presence = True

    def on_create(self, options: dict[str, Any]) -> None:
        self.sold = 0
        self.gate = asyncio.Event()
        self.presence_log: list[tuple[str, int, float]] = []

    def log(self, what: str, client: Member) -> None:
        self.presence_log.append((what, client.id, asyncio.get_running_loop().time()))

    def on_drop(self, client: Member) -> None:
        self.log("drop", client)

    def on_reconnect(self, client: Member) -> None:
        self.log("reconnect", client)

    def on_leave(self, client: Member, reason: Code) -> None:
        self.log("leave", client)

    def ready(self) -> None: ...

    def say(self, *numbers: int) -> None:
        """To all, and every third to each member alone."""
        for number in numbers:
            if number % 3:
                self.broadcast("number", number)
            else:
                for client in self.clients:
                    client.send("number", number)

    def snapshot(self) -> Any:
        return "all before"

    @on_request("buy")
    async def buy(self, client: Member, item: str) -> int:
        self.sold += 1
        if item == "slowly":
            await self.gate.wait()
        return self.sold

    @on_message("never")
    def never(self, client: Member, data: Any) -> None:
        raise RequestRefused("never", data)


class TopicHall(Hall):
    """The same, as a topic."""

    fanout = "topic"


each_fanout = pytest.mark.parametrize("room_class", [Hall, TopicHall], ids=["unicast", "topic"])
Play = Callable[[InMemorySystem, AsyncClient, ClientRoom, Hall], Awaitable[None]]


def play(room_class: type[Hall], what: Play, *, workers: int | None = None, **options: Any) -> None:
    """One client in one room."""

    async def main() -> None:
        async with system(Server(rooms={"hall": room_class}), workers=workers) as s:
            client = await s.client(**options)
            at = await client.create(RuleSet(2, room="hall"))
            hall = s.room(at.id)
            assert isinstance(hall, Hall)
            await s.sleep(0.5)
            await what(s, client, at, hall)

    run(main, seed=1)


def read(at: ClientRoom) -> list[Any]:
    """What waits to be read, without presence: the data, or ``reset`` and the snapshot."""
    inbox, heard = at._membership.inbox, []
    while inbox:
        message, _ = inbox.take()
        if message.kind != "presence":
            heard.append(message.data if message.kind != "reset" else ("reset", message.data))
    return heard


async def rest(at: ClientRoom) -> list[Any]:
    """All that is said until the room ends."""
    return [message.data async for message in at if message.kind != "presence"]


def what_happened(hall: Hall) -> list[str]:
    return [what for what, _, _ in hall.presence_log]


# Away.


@each_fanout
@pytest.mark.parametrize("workers", [None, 1], ids=["broker", "worker"])
def test_who_was_away_within_the_grace_period_gets_exactly_what_it_missed(
    room_class: type[Hall], workers: int | None
) -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        hall.say(1, 2, 3)
        s.unplug(client)
        hall.say(4)
        await s.sleep(14.0)
        hall.say(5, 6, 7)
        s.plug(client)
        await s.sleep(6.0)
        hall.say(8, 9)
        await s.sleep(0.1)
        assert read(at) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
        assert what_happened(hall) == ["drop", "reconnect"]

    class Patient(room_class):  # type: ignore[misc,valid-type]
        reconnect_grace = 20.0

    play(Patient, what, workers=workers)


@each_fanout
def test_a_network_that_is_gone_for_30_s_costs_nothing_where_the_grace_period_is_longer(
    room_class: type[Hall],
) -> None:
    class Patient(room_class):  # type: ignore[misc,valid-type]
        reconnect_grace = 40.0

    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        s.unplug(client)
        for number in range(1, 31):
            await s.sleep(1.0)
            hall.say(number)
        s.plug(client)
        await s.sleep(8.0)
        assert read(at) == list(range(1, 31))
        await at.send("never")
        assert await at.request("buy", "sword") == 1
        assert what_happened(hall) == ["drop", "reconnect"]

    play(Patient, what, workers=1, reconnect_timeout=60.0)


@each_fanout
def test_a_network_that_is_gone_for_30_s_ends_a_shorter_membership_and_the_client_is_told_why(
    room_class: type[Hall],
) -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        s.unplug(client)
        hall.say(1, 2, 3)
        await s.sleep(30.0)
        hall.say(4)
        s.plug(client)
        await s.sleep(8.0)
        assert what_happened(hall) == ["drop", "leave"]
        assert await rest(at) == [1, 2, 3]
        assert type(at.error) is GraceExpired
        assert not client.closed
        again = await client.create(RuleSet(2, room="hall"))
        assert again.joined

    play(room_class, what, workers=1, reconnect_timeout=60.0)


def test_a_client_gives_up_after_the_time_that_it_was_told() -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        s.unplug(client)
        began = s.now
        with pytest.raises((NotInRoomError, BrokerUnreachable)):
            await at.receive(timeout=60.0)
        assert 15.0 < s.now - began < 27.0, "it makes no attempt that would be too late, and they are 5 s apart"
        await s.sleep(6.0)
        assert client.closed

    play(Hall, what, reconnect_timeout=20.0)


def test_a_hundred_clients_that_lose_their_server_at_once_do_not_come_back_at_once() -> None:
    async def main() -> None:
        async with system(Server()) as s:
            clients = [await s.client() for _ in range(100)]
            for client in clients:
                s.drop(client)
            back: list[float] = []
            began = s.now
            while s.now < began + 1.0:
                await s.sleep(0.01)
                back.append(sum(client.connected for client in clients))
            assert back[-1] == 100
            steps = [later - earlier for earlier, later in itertools.pairwise(back)]
            assert max(steps) < 25, "within 10 ms"
            assert sum(step > 0 for step in steps) > 10

    run(main, seed=2)


# Half-open connections, and processes that stand still.


@each_fanout
@pytest.mark.parametrize("workers", [None, 1], ids=["broker", "worker"])
def test_a_connection_that_went_silent_is_noticed_by_both_sides_within_10_s_of_the_last_sign_of_life(
    room_class: type[Hall], workers: int | None
) -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        s.stall(client)
        began = s.now
        hall.say(1, 2, 3)
        while at.connected:
            await s.sleep(0.1)
        assert s.now - began <= 10.0
        s.unplug(client)  # until the server has noticed it too
        while not hall.presence_log:
            await s.sleep(0.1)
        assert s.now - began <= 10.0
        s.plug(client)
        await s.sleep(6.0)
        assert read(at) == [1, 2, 3]
        assert what_happened(hall) == ["drop", "reconnect"]

    play(room_class, what, workers=workers)


@each_fanout
def test_a_client_whose_process_stood_still_for_longer_than_the_time_limit_comes_back_by_itself(
    room_class: type[Hall],
) -> None:
    class Patient(room_class):  # type: ignore[misc,valid-type]
        reconnect_grace = 60.0

    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        s.freeze(client)
        for number in range(1, 31):
            await s.sleep(1.0)
            hall.say(number)
        assert what_happened(hall) == ["drop"]
        s.thaw(client)
        await s.sleep(10.0)
        assert read(at) == list(range(1, 31))
        assert at.connected
        assert what_happened(hall) == ["drop", "reconnect"]

    play(Patient, what, workers=1)


@each_fanout
def test_a_worker_that_stood_still_for_less_than_its_lease_loses_nobody(room_class: type[Hall]) -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        s.freeze("w1")
        asking = asyncio.ensure_future(at.request("buy", "sword"))
        await s.sleep(2.5)
        s.thaw("w1")
        assert await asking == 1
        hall.say(1, 2, 3)
        await s.sleep(8.0)
        assert read(at) == [1, 2, 3]
        assert at.connected
        assert "leave" not in what_happened(hall)

    play(room_class, what, workers=1)


# Presence.


@each_fanout
def test_a_crash_is_seen_in_under_100_ms(room_class: type[Hall]) -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        began = s.now
        await s.kill_client(client)
        await s.sleep(0.1)
        [(event, _, when)] = hall.presence_log
        assert (event, when - began < 0.1) == ("drop", True)
        await s.sleep(20.0)
        assert what_happened(hall) == ["drop", "leave"]
        assert hall.clients == []

    play(room_class, what, workers=1)


@each_fanout
def test_a_blip_is_never_reported_as_leaving(room_class: type[Hall]) -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        watcher = await s.client()
        watching = await watcher.join_by_id(at.id)
        for _ in range(20):
            s.drop(client)
            await s.sleep(1.0)
        assert set(what_happened(hall)) == {"drop", "reconnect"}
        seen = [message.type for message in watching._membership.inbox._messages if message.kind == "presence"]
        assert "leave" not in seen
        assert seen.count("drop") == seen.count("reconnect") > 0

    play(room_class, what)


@each_fanout
def test_after_the_grace_period_nobody_is_left_anywhere(room_class: type[Hall]) -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        others = [await s.client() for _ in range(2)]
        for other in others:
            await other.join_by_id(at.id)
        for one in (client, *others):
            await s.kill_client(one)
        await s.sleep(130.0)
        assert hall.clients == []
        assert len(s.host.broker.sessions) == 0
        worker = s.workers["w1"].worker
        assert [len(runner.seats) for runner in worker.rooms.values()] == [0]
        assert [len(runner.farewells) for runner in worker.rooms.values()] == [0]

    play(room_class, what, workers=1)


# Gaps.


@each_fanout
def test_a_bundle_that_was_lost_is_found_missing_at_the_next_message(room_class: type[Hall]) -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        lose_next(at)
        hall.say(1, 2, 3)
        await s.sleep(0.01)
        hall.say(4)
        await s.sleep(0.01)
        assert read(at) == [1, 2, 3, 4]

    play(room_class, what)


def test_the_end_of_what_was_said_that_was_lost_is_found_missing_at_the_next_beat_though_the_room_is_silent() -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        for silence, numbers in ((0.3, (1, 2)), (0.7, (4, 5)), (3.0, (7,)), (9.0, (8,)), (60.0, (10, 11))):
            await s.sleep(silence)
            lose_next(at)
            hall.say(*numbers)
            await s.sleep(1.1)
            assert read(at) == list(numbers)

    play(TopicHall, what)


def test_a_direct_message_that_was_lost_alone_is_found_missing_at_the_next_beat_of_a_silent_room() -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        await s.sleep(9.0)
        lose_next(at)
        hall.say(3)
        await s.sleep(1.1)
        assert read(at) == [3]

    play(TopicHall, what)


def lose_next(at: ClientRoom) -> None:
    """The next bundle of this room does not come."""
    core = at._shell.core
    deliver = core._deliver
    lost: list[Any] = []

    def lose(membership: Any, message: Any, now: float, size: int) -> None:
        if membership is at._membership and message.items and not lost:
            lost.append(message)
        else:
            deliver(membership, message, now, size)

    core._deliver = lose  # type: ignore[method-assign]


# Resets.


@each_fanout
def test_beyond_the_history_there_is_one_reset_and_nothing_older_after_it(room_class: type[Hall]) -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        hall.say(1, 2, 3)
        await s.sleep(0.1)
        s.unplug(client)
        for number in range(4, 104):
            hall.say(number)
            await s.sleep(0.01)
        s.plug(client)
        await s.sleep(5.0)
        hall.say(104, 105, 106)
        await s.sleep(0.1)
        assert read(at) == [1, 2, 3, ("reset", "all before"), 104, 105, 106]

    play(room_class, what)


@each_fanout
def test_what_is_said_while_the_reset_is_under_way_comes_once_and_after_it(room_class: type[Hall]) -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        s.unplug(client)
        number = 0
        for round_ in range(300):
            if round_ == 100:
                s.plug(client)
            hall.say(number := number + 1)
            await s.sleep(0.02)
        heard = read(at)
        assert heard.count(("reset", "all before")) == 1
        after = heard[heard.index(("reset", "all before")) + 1 :]
        assert after == list(range(after[0], number + 1))
        assert heard[0] == ("reset", "all before")

    play(room_class, what)


@each_fanout
def test_a_request_whose_reply_was_lost_beyond_the_history_is_answered_and_not_run_twice(
    room_class: type[Hall],
) -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        asking = [asyncio.ensure_future(at.request("buy", item, timeout=60.0)) for item in ("slowly", "fast")]
        await s.sleep(0.1)
        s.unplug(client)
        await s.sleep(0.1)
        hall.gate.set()
        for number in range(1, 1000):
            hall.say(number)
            await s.sleep(0.001)
        s.plug(client)
        assert await asyncio.gather(*asking) == [1, 2]
        assert hall.sold == 2
        assert read(at) == [("reset", "all before")]

    play(room_class, what)


# The end of a room.


@each_fanout
@pytest.mark.parametrize("workers", [None, 1], ids=["broker", "worker"])
def test_what_a_full_inbox_left_out_is_read_before_the_end(room_class: type[Hall], workers: int | None) -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        for number in range(1, 20):
            hall.say(number)
            await s.sleep(0.01)
        hall.close("enough")
        await s.sleep(1.0)
        assert await rest(at) == list(range(1, 20))
        assert str(at.error) == "enough"

    play(room_class, what, workers=workers, inbox=3)


@each_fanout
def test_who_is_away_when_the_room_ends_hears_the_rest_when_it_is_back(room_class: type[Hall]) -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        hall.say(1)
        s.unplug(client)
        hall.say(2, 3, 4)
        hall.close("enough")
        asking = asyncio.ensure_future(at.send("never", ack=True))
        await s.sleep(5.0)
        s.plug(client)
        assert await rest(at) == [1, 2, 3, 4]
        assert type(at.error) is RoomClosed
        with pytest.raises(NotInRoomError):
            await asking

    play(room_class, what, workers=1)


@each_fanout
def test_who_is_kicked_hears_all_that_was_said_before_and_nothing_after(room_class: type[Hall]) -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        mate = await s.client()
        with_mate = await mate.join_by_id(at.id)
        await s.sleep(0.5)
        hall.say(*range(1, 30))
        hall.clients[0].kick("out")
        hall.say(30, 31, 32)
        assert await rest(at) == list(range(1, 30))
        assert type(at.error) is Kicked
        await s.sleep(0.5)
        assert read(with_mate) == list(range(1, 33))

    play(room_class, what)


@each_fanout
def test_a_refusal_by_a_hook_reaches_the_sender_across_a_reset(room_class: type[Hall]) -> None:
    async def what(s: InMemorySystem, client: AsyncClient, at: ClientRoom, hall: Hall) -> None:
        for _ in range(10):
            sending = asyncio.ensure_future(at.send("never", 7, ack=True))
            await s.sleep(0.002)
            s.drop(client)
            with pytest.raises(RequestRefused, match="never") as refused:
                await sending
            assert refused.value.data == 7

    play(room_class, what)


# Outside of rooms.


class Counter(Server):
    """Listens to who is in no room, one at a time and slowly."""

    def __init__(self) -> None:
        super().__init__(rooms={"hall": Hall})
        self.heard: list[Any] = []

    async def handle_response(self, protocol: str, data: Any, sender: Any, client_data: Any) -> None:
        await asyncio.sleep(1.0)
        if data == "no":
            raise RequestRefused("not here", 5)
        self.heard.append(data)


def test_outside_of_rooms_too_what_is_acknowledged_is_applied_and_a_refusal_is_not_lost() -> None:
    async def main() -> None:
        server = Counter()
        async with system(server) as s:
            client = await s.client()
            first = asyncio.ensure_future(client.send("m", 1, ack=True))
            refused = asyncio.ensure_future(client.send("m", "no", ack=True))
            last = asyncio.ensure_future(client.send("m", 3, ack=True))
            for _ in range(7):
                await s.sleep(0.4)
                s.drop(client)
                assert first.done() <= (1 in server.heard)
                assert last.done() <= (3 in server.heard)
            await first
            with pytest.raises(RequestRefused, match="not here"):
                await refused
            await last
            assert server.heard == [1, 3]

    run(main, seed=3)


def test_whoever_enters_a_room_meanwhile_is_told_that_the_server_does_not_listen_also_across_a_reset() -> None:
    async def main() -> None:
        server = Counter()
        async with system(server, latency=(0.05, 0.05)) as s:
            client = await s.client()
            await client.create(RuleSet(2, room="hall"))
            sending = asyncio.ensure_future(client.send("m", 1, ack=True))
            await s.sleep(0.07)
            s.unplug(client)  # the refusal is on its way
            await s.sleep(1.0)
            s.plug(client)
            with pytest.raises(InRoom):
                await sending
            assert server.heard == []

    run(main, seed=3)

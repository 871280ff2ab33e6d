"""A member that stands still for a minute, in a room at 20 broadcasts a second: it costs little, and is right again."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from server_room_system import BrokerLimits, ClientRoom, Code, Limits, Member, Room, RuleSet, Server, TooSlow
from server_room_system.testing import run, system

STOPPED = 60
"""Seconds."""
RATE = 20
"""Broadcasts a second."""

Heard = list[tuple[str, int]]


class Track(Room):
    """Says where two runners are; each twentieth time there is news for all instead, and a word for each."""

    max_clients = 3
    min_clients = 0
    tick_rate = RATE
    reconnect_grace = 120.0

    def on_create(self, options: dict[str, Any]) -> None:
        self.said = 0
        self.left: list[Code] = []

    def on_tick(self, dt: float) -> None:
        self.said += 1
        if self.said % RATE == 0:
            self.broadcast("news", self.said)
            for client in self.clients:
                client.send("word", self.said)
        else:
            self.broadcast("at", self.said, key=self.said % 2)

    def on_leave(self, client: Member, reason: Code) -> None:
        self.left.append(reason)

    def snapshot(self) -> Any:
        return self.said


@dataclass
class Run:
    """Two members, one of which was stopped for a minute, and what the room and both have to say of it."""

    left: list[Code] = field(default_factory=list)
    heard: Heard = field(default_factory=list)
    """By the one that was stopped."""
    others: Heard = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    """Bytes that the room kept for both, at each second."""
    error: BaseException | None = None

    @property
    def end(self) -> int:
        """The last that both heard of, or one heard of while it was on its way to the other."""
        return min(self.heard[-1][1], self.others[-1][1])

    def of(self, type_: str) -> list[int]:
        """What the one that was stopped heard of a type."""
        return [data for heard, data in self.heard if heard == type_ and data <= self.end]


async def listen(room: ClientRoom, heard: Heard) -> None:
    async for message in room:
        if message.type != "command":
            heard.append((message.type, message.data))


def stopped(seconds: int, limits: Limits, **settings: Any) -> Run:
    """Let one of two members stand still."""
    told = Run()
    server = Server(
        rooms={"track": type("Track", (Track,), settings)},
        limits=limits,
        broker_limits=BrokerLimits(session_grace=120.0),
    )

    async def stand_still() -> None:
        async with system(server) as s:
            ann, bob = await s.client(), await s.client()
            at_ann = await ann.create(RuleSet(3, room="track"))
            at_bob = await bob.join_by_id(at_ann.id)
            reading = [
                asyncio.create_task(listen(at_ann, told.others)),
                asyncio.create_task(listen(at_bob, told.heard)),
            ]
            await s.sleep(2.0)
            (runner,) = s.host.worker.rooms.values()
            room = s.room(at_ann.id)
            assert isinstance(room, Track)
            s.freeze(bob)
            for _ in range(seconds):
                await s.sleep(1.0)
                lines = [member.line for member in runner.members.values()]
                told.kept.append(runner.fanout.history.size + sum(line.directs.size for line in lines))
            s.thaw(bob)
            await s.sleep(15.0)
            for task in reading:
                task.cancel()
            told.left = list(room.left)
            told.error = at_bob.error

    run(stand_still, seed=1)
    return told


SILENT = Limits()
"""Who stands still for a minute is cut meanwhile, and comes back."""
PATIENT = Limits(ping_timeout=300.0)
"""Who stands still for a minute keeps its connection, and its queue is full."""
BOTH = pytest.mark.parametrize("limits", [SILENT, PATIENT], ids=["cut", "full"])
FANOUTS = pytest.mark.parametrize("fanout", ["unicast", "topic"])


def all_of_it(first: int, last: int) -> Heard:
    """What the room says from one number to another."""
    said: Heard = []
    for number in range(first, last + 1):
        said += [("news", number), ("word", number)] if number % RATE == 0 else [("at", number)]
    return said


def until(end: int, heard: Heard) -> Heard:
    return [one for one in heard if one[1] <= end]


def assert_exactly_once_or_reset(told: Run) -> None:
    """All, or all but what one reset stands for; and nothing of the room's costs more than the history."""
    heard = until(told.end, told.heard)
    resets = [place for place, (kind, _) in enumerate(heard) if kind == "reset"]
    if resets:
        (place,) = resets
        before, (_, snapshot), after = heard[:place], heard[place], heard[place + 1 :]
        assert before == all_of_it(1, before[-1][1])
        assert after == all_of_it(snapshot + 1, told.end)
    else:
        assert heard == all_of_it(1, told.end)
    assert max(told.kept) < 1024 * 12 + 2 * 256 * 12


@BOTH
@FANOUTS
def test_by_default_it_gets_what_it_missed_or_one_reset(limits: Limits, fanout: str) -> None:
    told = stopped(STOPPED, limits, fanout=fanout)
    assert told.end > (STOPPED + 10) * RATE
    assert until(told.end, told.others) == all_of_it(1, told.end)
    assert_exactly_once_or_reset(told)
    assert told.error is None
    assert told.left == []


@BOTH
@FANOUTS
def test_where_the_newest_counts_it_gets_all_news_and_where_everybody_is_now(limits: Limits, fanout: str) -> None:
    told = stopped(STOPPED, limits, fanout=fanout, slow_members="latest")
    assert told.end > (STOPPED + 10) * RATE
    assert until(told.end, told.others) == all_of_it(1, told.end)
    news = list(range(RATE, told.end + 1, RATE))
    assert told.of("news") == told.of("word") == news
    positions = told.of("at")
    assert positions == sorted(set(positions))
    lately = all_of_it(told.end - 5 * RATE, told.end)
    assert until(told.end, told.heard)[-len(lately) :] == lately
    assert told.of("reset") == []
    assert len(positions) < len(told.others) - 600  # what is outdated is not sent
    assert max(told.kept) < 100 * 12 * 3
    assert told.error is None


@FANOUTS
def test_where_slow_members_are_removed_who_was_cut_comes_back_like_others(fanout: str) -> None:
    told = stopped(STOPPED, SILENT, fanout=fanout, slow_members="close")
    assert until(told.end, told.others) == all_of_it(1, told.end)
    assert_exactly_once_or_reset(told)
    assert told.left == []


def test_where_slow_members_are_removed_a_full_queue_is_not_waited_for() -> None:
    told = stopped(STOPPED, PATIENT, slow_members="close")
    assert_removed(told)


def test_in_a_topic_room_it_is_removed_when_it_asks_for_what_it_lost() -> None:
    told = stopped(8, PATIENT, fanout="topic", slow_members="close", most_lag=3.0, tick_rate=4 * RATE)
    assert_removed(told)


def assert_removed(told: Run) -> None:
    assert told.left == [Code.TOO_SLOW]
    assert isinstance(told.error, TooSlow)
    assert told.others[-1][1] > told.heard[-1][1] + 5 * RATE
    for heard in (told.heard, told.others):
        assert heard == all_of_it(heard[0][1], heard[-1][1])


@FANOUTS
@pytest.mark.parametrize("policy", ["recover", "latest", "close"])
def test_a_program_that_does_not_read_is_a_slow_member_too(policy: str, fanout: str) -> None:
    heard: Heard = []
    server = Server(rooms={"track": type("Track", (Track,), {"slow_members": policy, "fanout": fanout})})

    async def read_late() -> ClientRoom:
        async with system(server) as s:
            ann, bob = await s.client(), await s.client(inbox=100)
            at_ann = await ann.create(RuleSet(3, room="track"))
            at_bob = await bob.join_by_id(at_ann.id)
            await s.sleep(STOPPED)
            room = s.room(at_ann.id)
            assert isinstance(room, Track)
            missed = room.said
            reading = asyncio.create_task(listen(at_bob, heard))
            await s.sleep(1.0)
            assert reading.done() == (policy == "close")
            reading.cancel()
            heard[:] = until(missed, heard)
            assert room.left == ([Code.TOO_SLOW] if policy == "close" else [])
            return at_bob

    at_bob = run(read_late, seed=1)
    first = heard[0][1]
    if policy == "close":
        assert isinstance(at_bob.error, TooSlow)
        assert heard == all_of_it(first, heard[-1][1])
        assert 100 <= len(heard) < 110
    elif policy == "latest":
        assert heard[-1][1] >= STOPPED * RATE - 1
        assert len(heard) < 100 + 2 * STOPPED + 10
        assert "reset" not in dict(heard)
    else:
        assert [kind for kind, _ in heard].count("reset") == 1
        assert 100 <= len(heard) < 110

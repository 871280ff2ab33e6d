"""Seats that are taken at once, in a whole system on the virtual clock: whatever rooms do with who comes in."""

import asyncio
from typing import Any

import pytest

from server_room_system import (
    AsyncClient,
    ClientRoom,
    Code,
    JoinRefused,
    Kicked,
    Member,
    Placement,
    ReservationRefused,
    Room,
    RoomClosed,
    RoomLocked,
    RoomNeeds,
    RuleSet,
    Server,
    Session,
    SessionEnded,
    WorkerView,
)
from server_room_system.testing import run, system


class Hall(Room):
    max_clients = 4


class Closed(Room):
    """Lets nobody in."""

    def on_join(self, client: Member, options: dict[str, Any]) -> None:
        raise JoinRefused("not today")


class OneAtATime(Placement):
    """Has rooms wait for each other."""

    def choose(self, workers: Any, needs: RoomNeeds) -> WorkerView | None:
        (only,) = workers
        return None if only.rooms else only


def test_rooms_that_wait_for_each_other_are_not_made_inside_of_each_other() -> None:
    async def main() -> None:
        async with system(Server(rooms={"hall": Hall, "closed": Closed}, placement=OneAtATime())) as s:
            first, *others = [await s.client() for _ in range(61)]
            hall = await first.create(RuleSet(4, room="hall"))
            waiting = [asyncio.create_task(one.create(RuleSet(1, room="closed"))) for one in others]
            await s.sleep(1.0)
            await hall.leave()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            assert {(type(outcome), str(outcome)) for outcome in outcomes} == {(JoinRefused, "not today")}
            assert s.rooms == []

    run(main())


ONE_WAY = 0.001
"""Seconds of a message on its way."""


class Slow(Room):
    """Takes its time with each, and writes down who comes and goes."""

    max_clients = 4
    min_clients = 0
    takes = 0.0

    def on_create(self, options: dict[str, Any]) -> None:
        self.events: list[str] = []

    def on_join(self, client: Member, options: dict[str, Any]) -> Any:
        self.events.append("join")
        return asyncio.sleep(self.takes) if self.takes else None

    def on_leave(self, client: Member, reason: Code) -> None:
        self.events.append(f"leave {reason.name}")

    def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> None:
        sender.send("echo", data)


class Slower(Slow):
    takes = 0.0035


class Slowest(Slow):
    takes = 0.05


TWO = RuleSet(2, room="room")


async def enter(client: AsyncClient, way: str, room: str) -> ClientRoom:
    if way == "create":
        return await client.create(TWO)
    if way == "match":
        return await client.match(TWO)
    return await client.join_by_id(room) if way == "by id" else await client.join_or_create(TWO)


@pytest.mark.parametrize("kind", [Slow, Slower])
@pytest.mark.parametrize("way", ["create", "match", "by id", "open"])
def test_wherever_the_connection_breaks_there_is_one_seat_and_its_client_is_in_it(way: str, kind: type[Slow]) -> None:
    async def main(after: float, seed: int) -> bool:
        server = Server(rooms={"room": kind})
        async with system(server, seed=seed, latency=(ONE_WAY, ONE_WAY)) as s:
            ann, bob = await s.client(), await s.client()
            at_bob = await bob.create(TWO) if way in ("by id", "open") else None
            waiting = asyncio.create_task(bob.match(TWO)) if way == "match" else None
            await s.sleep(0.01)
            coming = asyncio.create_task(enter(ann, way, at_bob.id if at_bob is not None else ""))
            await s.sleep(after)
            s.drop(ann)
            in_time = coming.done()
            at_ann = await coming
            if waiting is not None:
                at_bob = await waiting
            await at_ann.send("say", "here")
            while (await at_ann.receive()).type != "echo":
                pass
            (room,) = s.rooms
            assert isinstance(room, Slow)
            assert room.events == ["join"] * (1 if at_bob is None else 2)
            assert at_bob is None or at_bob.id == at_ann.id
            (runner,) = s.host.worker.rooms.values()
            assert len(runner.seats) == len(room.clients) == len(room.events)
            return in_time

    outcomes = [run(main(step * ONE_WAY / 3, seed)) for step in range(36) for seed in (1, 2)]
    assert True in outcomes
    assert False in outcomes


def test_a_match_that_is_found_as_its_client_comes_back_is_told_once() -> None:
    """JOIN was refused to who asked again while ``on_join`` was at work, and JOINED came to nobody."""

    async def main() -> None:
        async with system(Server(rooms={"room": Slowest}), latency=(ONE_WAY, ONE_WAY)) as s:
            ann, bob = await s.client(), await s.client()
            waiting = asyncio.create_task(ann.match(TWO))
            await s.sleep(0.5)
            s.unplug(ann)
            await s.sleep(0.5)
            other = asyncio.create_task(bob.match(TWO))
            await s.sleep(0.5)
            s.plug(ann)
            at_ann, at_bob = await asyncio.gather(waiting, other)
            assert at_ann.id == at_bob.id
            (room,) = s.rooms
            assert isinstance(room, Slow)
            assert room.events == ["join", "join"]

    run(main())


def test_who_comes_back_after_its_grace_period_is_told_so_and_may_ask_for_another_room() -> None:
    async def main() -> None:
        async with system(Server(rooms={"room": Slower}), latency=(ONE_WAY, ONE_WAY)) as s:
            ann = await s.client()
            coming = asyncio.create_task(ann.create(TWO, timeout=60.0))
            await s.sleep(1.5 * ONE_WAY)
            s.unplug(ann)
            (room,) = s.rooms
            await s.sleep(Slower.reconnect_grace + 2.0)
            s.plug(ann)
            with pytest.raises(ReservationRefused, match="not kept for so long"):
                await coming
            assert isinstance(room, Slow)
            assert room.events == ["join", "leave GRACE_EXPIRED"]
            assert s.rooms == [room]
            assert (await ann.create(TWO)).id

    run(main())


def test_who_gave_up_while_it_was_away_leaves_nobody_sitting_there() -> None:
    async def main() -> None:
        async with system(Server(rooms={"room": Slower}), latency=(ONE_WAY, ONE_WAY)) as s:
            ann, bob = await s.client(), await s.client()
            other = asyncio.create_task(bob.match(TWO))
            await s.sleep(0.1)
            coming = asyncio.create_task(ann.match(TWO))
            await s.sleep(1.5 * ONE_WAY)
            s.unplug(ann)
            await s.sleep(0.1)
            coming.cancel()
            await s.sleep(0.1)
            s.plug(ann)
            (room,) = s.rooms
            assert isinstance(room, Slow)
            assert room.events == ["join", "join"]
            await s.sleep(1.0)
            assert room.events == ["join", "join", "leave LEFT"]
            assert [member.id for member in room.clients] == [bob.id]
            await (await other).leave()

    run(main())


class Moody(Slow):
    """Does what its options say with each who comes in."""

    def on_join(self, client: Member, options: dict[str, Any]) -> None:
        super().on_join(client, options)
        self.broadcast("comes", client.id)
        mood = options.get("mood")
        if mood == "raise":
            raise LookupError("a bug")
        if mood == "kick":
            client.kick("not you")
        if mood == "close":
            self.close("closing time")
        if mood == "lock":
            self.lock()
            self.invite(options["guest"])


@pytest.mark.parametrize(
    ("mood", "events"),
    [("raise", ["join"]), ("kick", ["join", "leave KICKED"]), ("close", ["join", "leave ROOM_CLOSED"])],
)
@pytest.mark.parametrize("there", [False, True], ids=["a new room", "a room that is there"])
def test_whatever_a_room_does_with_who_comes_in_it_is_told(mood: str, events: list[str], there: bool) -> None:
    async def main() -> None:
        async with system(Server(rooms={"room": Moody})) as s:
            ann, bob = await s.client(), await s.client()
            at_bob = await bob.create(TWO) if there else None
            options = {"mood": mood}
            coming = ann.create(TWO, options=options) if at_bob is None else ann.join_by_id(at_bob.id, options=options)
            if mood == "raise":
                with pytest.raises(JoinRefused):
                    await coming
            else:
                at_ann = await coming
                heard = [message.data async for message in at_ann if message.type == "comes"]
                assert heard == [ann.id]
                assert type(at_ann.error) is (Kicked if mood == "kick" else RoomClosed)
            await s.sleep(1.0)
            assert len(s.rooms) == (mood != "close")
            if at_bob is not None and mood != "close":
                room = s.room(at_bob.id)
                assert isinstance(room, Slow)
                assert room.events == ["join", *events]
                assert [member.id for member in room.clients] == [bob.id]
            assert (await ann.create(TWO)).id  # it may look for another

    run(main())


def test_a_room_may_lock_itself_and_invite_as_somebody_comes_in() -> None:
    async def main() -> None:
        async with system(Server(rooms={"room": Moody})) as s:
            ann, bob, eve = [await s.client() for _ in range(3)]
            at_ann = await ann.create(RuleSet(4, room="room"), options={"mood": "lock", "guest": bob.id})
            with pytest.raises(RoomLocked):
                await eve.join_by_id(at_ann.id)
            await bob.join_by_id(at_ann.id)
            (room,) = s.rooms
            assert [member.id for member in room.clients] == [ann.id, bob.id]

    run(main())


@pytest.mark.parametrize("way", ["create", "by id"])
def test_a_session_that_ends_as_it_comes_in_is_over_everywhere(way: str) -> None:
    async def main() -> None:
        sessions: dict[int, Session] = {}

        class Doorman(Server):
            def handle_response(self, protocol: str, data: Any, sender: Session, client_data: Any) -> None:
                sessions[sender.id] = sender

        class Bouncer(Slow):
            def on_join(self, client: Member, options: dict[str, Any]) -> None:
                super().on_join(client, options)
                if client.id in sessions:
                    sessions[client.id].end("not you")

        async with system(Doorman(rooms={"room": Bouncer})) as s:
            ann, bob = await s.client(), await s.client()
            await ann.send("here")
            at_bob = await bob.create(TWO)
            with pytest.raises(SessionEnded, match="not you"):
                await enter(ann, way, at_bob.id)
            await s.sleep(1.0)
            broker = s.host.broker
            assert len(broker.sessions) == len(broker._searches) == 1
            assert [member.id for room in s.rooms for member in room.clients] == [bob.id]

    run(main())

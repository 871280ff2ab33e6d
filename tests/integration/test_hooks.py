"""Hooks that raise, block, wait or return nonsense: they cost their own event, and nobody else notices."""

import asyncio
import contextlib
import time
from typing import Any

import pytest

from server_room_system import (
    Member,
    Room,
    RuleSet,
    Server,
    on_message,
)

from .proxy import Proxy
from .system import LOCAL, PATIENCE, Talk, clients, gathered, hear, matched, on_a_loop, over, raises, until

HOOKS = ["on_join", "ready", "on_drop", "on_leave", "on_message", "handle_response", "on_tick", "timer", "on_dispose"]


class Clumsy(Room):
    """Does something foolish in the hook that its options name."""

    max_clients = 2
    min_clients = 0
    reconnect_grace = 0.0
    tick_rate = 50.0
    errors: list[tuple[str, str]]

    def on_create(self, options: dict[str, Any]) -> None:
        self.where = options["where"]
        self.what = options["what"]
        self.errors = []
        self.ran: list[str] = []
        self.call_later(0.0, lambda: self.folly("timer"))

    def folly(self, hook: str) -> Any:
        self.ran.append(hook)
        if hook != self.where:
            return None
        if self.what == "raise":
            raise ValueError(f"in {hook}")
        if self.what == "exit":
            raise SystemExit(3)
        if self.what == "async raise":
            return self._raise_later(hook)
        return object()

    async def _raise_later(self, hook: str) -> None:
        await asyncio.sleep(0)
        raise ValueError(f"in {hook}")

    def on_join(self, client: Member, options: dict[str, Any]) -> Any:
        return self.folly("on_join") if len(self.clients) > 1 else None

    def ready(self) -> Any:
        return self.folly("ready")

    def on_drop(self, client: Member) -> Any:
        return self.folly("on_drop")

    def on_leave(self, client: Member, reason: Any) -> Any:
        return self.folly("on_leave")

    def on_tick(self, dt: float) -> Any:
        return self.folly("on_tick")

    def on_dispose(self) -> Any:
        return self.folly("on_dispose")

    @on_message("marked")
    def marked(self, client: Member, data: Any) -> Any:
        return self.folly("on_message")

    def handle_response(self, protocol: str, data: Any, sender: Any, client_data: Any) -> Any:
        if protocol == "close":
            self.close()
        elif protocol == "folly":
            return self.folly("handle_response")
        else:
            self.broadcast("message", data)
        return None

    def on_error(self, hook: str, error: BaseException) -> Any:
        self.errors.append((hook, type(error).__name__))
        raise RuntimeError("on_error as well")


@pytest.mark.parametrize("what", ["raise", "async raise", "exit", "nonsense"])
@on_a_loop
async def test_whatever_a_hook_does_the_room_goes_on(what: str, caplog: pytest.LogCaptureFixture) -> None:
    async with contextlib.AsyncExitStack() as stack:
        host = await stack.enter_async_context(Server(rooms={"clumsy": Clumsy}).listen(LOCAL, 0))
        proxy = await stack.enter_async_context(Proxy(host.address))
        a, bystander = await stack.enter_async_context(clients(host, 2))
        (b,) = await stack.enter_async_context(clients(proxy.address, 1))
        for where in HOOKS:
            caplog.clear()
            mine = await a.create(RuleSet(2), options={"where": where, "what": what})
            (runner,) = host.worker.rooms.values()
            room: Any = runner.room
            joining = await asyncio.gather(b.join_by_id(mine.id), return_exceptions=True)
            if where == "on_join" and what != "nonsense":
                assert type(joining[0]).__name__ == "JoinRefused"
            else:
                assert not isinstance(joining[0], BaseException)
                if where == "on_drop":
                    proxy.reset()
                    await over(joining[0])
                else:
                    await joining[0].leave()
            await mine.send("marked")
            await mine.send("folly", ack=True)
            await mine.send("message", "goes on", ack=True)
            assert await hear(mine) == "goes on"
            await until(lambda room=room: {"timer", "on_tick"} <= set(room.ran))  # type: ignore[misc]
            await mine.send("close")
            await over(mine)
            await until(lambda: not host.worker.rooms)
            expected = "SystemExit" if what == "exit" else "ValueError"
            if what == "nonsense":
                assert room.errors == []
            else:
                assert {error for _, error in room.errors} == {expected}
                assert where in room.errors[0][0] or room.errors[0][0].startswith("marked")
                assert f"room {room.id}: {room.errors[0][0]} raised {expected}" in caplog.text
                assert f"room {room.id}: on_error raised RuntimeError" in caplog.text
        assert await bystander.rooms() == []


@on_a_loop
async def test_nonsense_that_rooms_say_is_their_own_error() -> None:
    errors: list[tuple[str, str]] = []

    class Babbling(Room):
        max_clients = 2

        def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> None:
            nonsense: Any = object()
            if protocol == "metadata":
                self.metadata = nonsense
            elif protocol == "large metadata":
                self.metadata = {"x": "y" * 5000}
            elif protocol == "broadcast":
                self.broadcast("message", nonsense)
            elif protocol == "send":
                sender.send("message", {1: nonsense})
            elif protocol == "every":
                self.every(0.0, print)
            elif protocol == "later":
                self.call_later(-1.0, print)
            elif protocol == "except":
                self.broadcast("message", 1, except_=nonsense)
            elif protocol == "clients":
                self.clients.clear()  # a copy
            else:
                self.broadcast("message", data)

        def on_error(self, hook: str, error: BaseException) -> None:
            errors.append((hook, type(error).__name__))

    async with Server(rooms={"babbling": Babbling}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        (room,) = await gathered(a)
        for name in ("metadata", "large metadata", "broadcast", "send", "every", "later", "except", "clients"):
            await room.send(name, ack=True)
        await room.send("message", "sane", ack=True)
        assert await hear(room) == "sane"
        assert [error for _, error in errors] == [
            "PayloadError",
            "PayloadError",
            "PayloadError",
            "PayloadError",
            "ConfigError",
            "ConfigError",
            "TypeError",
        ]


@on_a_loop
async def test_a_hook_that_blocks_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    class Blocking(Talk):
        @on_message("think")
        def think(self, client: Member, data: float) -> None:
            time.sleep(data)

    async with Server(rooms={"blocking": Blocking, "talk": Talk}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        (room,) = await gathered(a, room="blocking")
        (other,) = await gathered(b, room="talk")
        for turn in range(2):
            caplog.clear()
            await room.send("think", 0.7, ack=True)
            await until(lambda: "held up" in caplog.text)
            (warning,) = [record for record in caplog.records if record.name == "server_room_system.watchdog"]
            assert warning.getMessage().startswith(f"room {room.id}: think ('think') has held up every room")
            assert "time.sleep(data)" in warning.getMessage()
            await asyncio.sleep(0.1 * turn)  # at another phase of the watchdog's own beat
        caplog.clear()
        await other.send("message", "late, but there", ack=True)
        assert await hear(other) == [b.id, "late, but there"]
        await room.send("think", 0.2, ack=True)
        await room.send("message", 1, ack=True)
        assert "held up" not in caplog.text


@on_a_loop
async def test_while_an_async_hook_waits_its_room_waits_and_the_others_go_on() -> None:
    gate = asyncio.Event()
    order: list[Any] = []

    class Gate(Room):
        max_clients = 2

        async def handle_response(self, protocol: str, data: Any, sender: Any, client_data: Any) -> None:
            order.append(("begin", data))
            if data == "wait":
                await gate.wait()
            order.append(("end", data))
            self.broadcast("message", data)

    async with Server(rooms={"gate": Gate, "talk": Talk}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        (waiting,) = await gathered(a, room="gate")
        (going,) = await gathered(b, room="talk")
        await waiting.send("message", "wait")
        await waiting.send("message", "next")
        for number in range(20):
            await going.send("message", number, ack=True)
        assert [await hear(going) for _ in range(20)] == [[b.id, number] for number in range(20)]
        assert order == [("begin", "wait")]
        gate.set()
        assert [await hear(waiting) for _ in range(2)] == ["wait", "next"]
        assert order == [("begin", "wait"), ("end", "wait"), ("begin", "next"), ("end", "next")]


@on_a_loop
async def test_async_joins_are_answered_in_order_and_hear_nothing_before() -> None:
    class Doorman(Room):
        max_clients = 3

        async def on_create(self, options: dict[str, Any]) -> None:
            await asyncio.sleep(0.02)

        async def on_join(self, client: Member, options: dict[str, Any]) -> None:
            self.broadcast("message", f"{options['name']} is at the door", except_=client)
            await asyncio.sleep(0.02)
            client.send("message", f"come in, {options['name']}")

        async def ready(self) -> None:
            await asyncio.sleep(0)
            self.broadcast("message", "welcome all")

    async with Server(rooms={"doorman": Doorman}).listen(LOCAL, 0) as host, clients(host, 3) as members:
        first = await members[0].create(RuleSet(3), options={"name": "a"})
        others = await asyncio.gather(
            *(
                member.join_by_id(first.id, options={"name": name})
                for member, name in zip(members[1:], "bc", strict=True)
            )
        )
        heard = {}
        for room in (first, *others):
            texts = [await hear(room)]
            while texts[-1] != "welcome all":
                texts.append(await hear(room))
            heard[texts[0][-1]] = texts
        assert set(heard) == {"a", "b", "c"}
        assert heard["a"][0] == "come in, a"
        assert heard["b"][0] == "come in, b"
        assert heard["c"][0] == "come in, c"
        assert {tuple(sorted(texts)) for texts in heard.values()} == {
            ("b is at the door", "c is at the door", "come in, a", "welcome all"),
            ("c is at the door", "come in, b", "welcome all"),
            ("come in, c", "welcome all"),
        }


@on_a_loop
async def test_ticks_and_timers_run_as_events_of_the_room_and_end_with_it() -> None:
    ran: list[Any] = []

    class Clock(Room):
        max_clients = 1
        tick_rate = 100.0

        def on_create(self, options: dict[str, Any]) -> None:
            self.call_later(0.03, lambda: ran.append("later"))
            self.call_later(0.03, lambda: ran.append("never")).cancel()
            self.beat = self.every(0.02, self.pulse)
            self.pulses = 0

        def pulse(self) -> None:
            self.pulses += 1
            ran.append("pulse")
            if self.pulses == 3:
                self.beat.cancel()

        def on_tick(self, dt: float) -> None:
            ran.append(dt)
            self.broadcast("tick", dt)

    async with Server(rooms={"clock": Clock}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        started = time.monotonic()
        (room,) = await gathered(a)
        ticks = [await hear(room, "tick") for _ in range(30)]
        elapsed = time.monotonic() - started
        assert 0.25 <= elapsed <= 3.0
        assert sum(ticks) == pytest.approx(elapsed, abs=0.25)
        assert ran.count("pulse") == 3
        assert ran.count("later") == 1
        assert "never" not in ran
        await room.leave()
        await until(lambda: not host.worker.rooms)
        count = len(ran)
        await asyncio.sleep(0.05)
        assert len(ran) == count


@on_a_loop
async def test_a_slow_tick_is_left_out_not_piled_up() -> None:
    class Slow(Room):
        max_clients = 1
        tick_rate = 200.0
        ticks = 0

        async def on_tick(self, dt: float) -> None:
            Slow.ticks += 1
            await asyncio.sleep(0.05)

        def handle_response(self, protocol: str, data: Any, sender: Any, client_data: Any) -> None:
            self.broadcast("message", data)

    async with Server(rooms={"slow": Slow}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        (room,) = await gathered(a)
        started, before = time.monotonic(), Slow.ticks
        for number in range(5):
            await room.send("message", number, ack=True)
        assert time.monotonic() - started < PATIENCE / 2
        assert Slow.ticks - before <= (time.monotonic() - started) / 0.05 + 2
        (runner,) = host.worker.rooms.values()
        assert len(runner.mailbox) <= 2


@on_a_loop
async def test_a_failing_hook_in_one_match_leaves_the_next_alone() -> None:
    class Coin(Talk):
        made = 0

        def on_create(self, options: dict[str, Any]) -> None:
            Coin.made += 1
            if Coin.made == 1:
                raise OSError("tails")

    async with Server(rooms={"coin": Coin}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        outcomes = await asyncio.gather(*(raises(member.match(RuleSet(2), timeout=PATIENCE)) for member in (a, b)))
        assert [type(outcome).__name__ for outcome in outcomes] == ["RoomFailed"] * 2
        rooms = await matched(a, b)
        await rooms[0].send("message", "heads", ack=True)
        assert await hear(rooms[1]) == [a.id, "heads"]

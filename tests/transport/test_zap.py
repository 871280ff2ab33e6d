"""The gatekeeper: it knows its own ports and nobody else's, answers each question once, and leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import wraps
from typing import Any

import pytest
import zmq

from server_room_system.transport import Caller, Lock, Verdict
from server_room_system.transport import zap as module
from server_room_system.transport.curve import make_pair
from server_room_system.transport.locks import Judge
from server_room_system.transport.zap import Gatekeeper

KEYS = make_pair()
ENFORCE_DOMAIN = 93


class Gate:
    """A gatekeeper, and sockets of its Context."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.keeper = Gatekeeper(self.context)

    def socket(self, kind: int) -> "zmq.Socket[bytes]":
        made = self.context.socket(kind)
        made.set(zmq.LINGER, 0)
        return made

    async def asks(self, domain: str, mechanism: bytes = b"NULL", *given: bytes, number: bytes = b"1") -> list[bytes]:
        """What libzmq would ask; the answer."""
        with self.socket(zmq.DEALER) as asker:
            asker.connect("inproc://zeromq.zap.01")
            asker.send_multipart([b"", b"1.0", number, domain.encode(), b"192.0.2.7", b"", mechanism, *given])
            async with asyncio.timeout(10):
                while not asker.poll(0):
                    await asyncio.sleep(0.002)
            return asker.recv_multipart()


@asynccontextmanager
async def gate() -> AsyncIterator[Gate]:
    made = Gate()
    try:
        yield made
    finally:
        made.context.destroy(linger=0)


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


def welcomes(caller: Caller) -> Verdict:
    return Verdict.WELCOME


@on_a_loop
async def test_where_no_port_asks_anything_there_is_nobody_to_ask() -> None:
    async with gate() as it:
        with it.socket(zmq.ROUTER) as free, it.socket(zmq.ROUTER) as port, it.socket(zmq.REP) as somebody_else:
            open_, asking = it.keeper.install(free, Lock()), it.keeper.install(port, Lock(judge=welcomes))
            assert (await it.asks(open_))[3] == b"200", "in one process with others, it is asked as well"
            it.keeper.remove(asking)
            somebody_else.bind("inproc://zeromq.zap.01")
            it.keeper.remove(open_)
            somebody_else.unbind("inproc://zeromq.zap.01")


@on_a_loop
async def test_a_domain_that_is_nobodys_lets_nobody_in() -> None:
    async with gate() as it:
        with it.socket(zmq.ROUTER) as port:
            domain = it.keeper.install(port, Lock(judge=welcomes))
            for unknown in ("", "x", "srs-", "srs-999", "srs-\u00b2", domain + " "):
                assert (await it.asks(unknown))[3] == b"400"
            assert (await it.asks(domain, number=b"77"))[:4] == [b"", b"1.0", b"77", b"200"]
            it.keeper.remove(domain)


@on_a_loop
async def test_who_comes_to_a_port_that_closes_is_to_come_again() -> None:
    async with gate() as it:
        with it.socket(zmq.ROUTER) as port, it.socket(zmq.ROUTER) as other:
            domains = [it.keeper.install(socket, Lock(judge=welcomes)) for socket in (port, other)]
            assert domains[0] != domains[1]
            it.keeper.remove(domains[0])
            assert (await it.asks(domains[0]))[3] == b"300"
            assert (await it.asks(domains[1]))[3] == b"200"
            it.keeper.remove(domains[1])


@on_a_loop
async def test_what_is_shown_must_be_of_the_kind_that_the_lock_asks_for() -> None:
    async with gate() as it:
        with it.socket(zmq.ROUTER) as curve, it.socket(zmq.ROUTER) as plain, it.socket(zmq.ROUTER) as none:
            keys, names, nothing = (
                it.keeper.install(socket, lock)
                for socket, lock in ((curve, Lock(KEYS)), (plain, Lock(plain=True)), (none, Lock()))
            )
            key = bytes(32)
            assert (await it.asks(keys, b"CURVE", key))[3:6] == [b"200", b"", key.hex().encode()]
            assert (await it.asks(names, b"PLAIN", b"ann", b"x"))[3:6] == [b"200", b"", b"ann"]
            assert (await it.asks(nothing))[3:6] == [b"200", b"", b""]
            for domain, *shown in (
                (keys, b"NULL"), (keys, b"PLAIN", b"ann", b"x"), (keys, b"CURVE", key[1:]), (keys, b"GSSAPI", b"ann"),
                (names, b"NULL"), (names, b"CURVE", key), (names, b"PLAIN", b"", b"x"),
                (names, b"PLAIN", b"a\0b", b"x"),
                (names, b"PLAIN", b"\xff", b"x"), (names, b"PLAIN", b"ann", b"\xff"),
                (names, b"PLAIN", b"a" * 65, b"x"),
                (nothing, b"PLAIN", b"ann", b"x"), (nothing, b"CURVE", key),
            ):  # fmt: skip
                assert (await it.asks(domain, *shown))[3:6] == [b"400", b"", b""], shown
            for domain in (keys, names, nothing):
                it.keeper.remove(domain)


@on_a_loop
async def test_so_many_are_judged_at_once_and_no_more() -> None:
    go = asyncio.Event()

    async def judge(caller: Caller) -> Verdict:
        await go.wait()
        return Verdict.WELCOME

    async with gate() as it:
        with it.socket(zmq.ROUTER) as port:
            domain = it.keeper.install(port, Lock(judge=judge))
            waiting = [asyncio.ensure_future(it.asks(domain)) for _ in range(256)]
            while len(it.keeper._waiting) < 256:
                await asyncio.sleep(0.002)
            assert (await it.asks(domain))[3] == b"300"
            go.set()
            assert {answer[3] for answer in await asyncio.gather(*waiting)} == {b"200"}
            it.keeper.remove(domain)


@on_a_loop
async def test_nothing_is_left_of_it_behind_the_last_port() -> None:
    async def never(caller: Caller) -> Verdict:
        await asyncio.Event().wait()
        raise AssertionError

    async with gate() as it:
        with it.socket(zmq.ROUTER) as port:
            domain = it.keeper.install(port, Lock(judge=never))
            asking = asyncio.ensure_future(it.asks(domain))
            while not it.keeper._waiting:
                await asyncio.sleep(0.002)
            it.keeper.remove(domain)
            async with asyncio.timeout(10):
                while it.keeper._waiting:
                    await asyncio.sleep(0.002)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        with it.socket(zmq.REP) as somebody_else:
            somebody_else.bind("inproc://zeromq.zap.01")
            somebody_else.unbind("inproc://zeromq.zap.01")
        with it.socket(zmq.ROUTER) as port:
            domain = it.keeper.install(port, Lock(judge=welcomes))
            assert port.get_string(zmq.ZAP_DOMAIN).rstrip("\0") == domain
            assert port.get(ENFORCE_DOMAIN) == 1
            assert (await it.asks(domain))[3] == b"200"
            it.keeper.remove(domain)


class Unmoved:
    """A judge's work that does not end when it is told to, but somewhat later."""

    def __init__(self) -> None:
        self.ended = False

    async def judge(self, caller: Caller) -> Verdict:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        for _ in range(20):
            await asyncio.sleep(0)
        self.ended = True
        return Verdict.WELCOME


@on_a_loop
async def test_whoever_waits_for_its_end_waits_for_the_judgements_that_it_gave_up() -> None:
    work = Unmoved()
    async with gate() as it:
        with it.socket(zmq.ROUTER) as port, it.socket(zmq.ROUTER) as next_port:
            domain = it.keeper.install(port, Lock(judge=work.judge))
            asking = asyncio.ensure_future(it.asks(domain))
            while not it.keeper._waiting:
                await asyncio.sleep(0.002)
            it.keeper.remove(domain)
            domain = it.keeper.install(next_port, Lock())
            said: list[bytes] = []
            it.keeper._say = lambda *answer: said.append(answer[1])  # type: ignore[method-assign]
            await it.keeper.ended()
            assert work.ended
            assert not it.keeper._waiting
            assert said == [], "what was asked at the one before is not answered at the next"
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            it.keeper.remove(domain)


def nobody_knows(caller: Caller) -> Any:
    return "200 but for s3cret"


async def nobody_knows_later(caller: Caller) -> Any:
    return b"200"


def exits(caller: Caller) -> Any:
    raise SystemExit


async def exits_later(caller: Caller) -> Any:
    raise SystemExit


@pytest.mark.parametrize("judge", [nobody_knows, nobody_knows_later, lambda caller: None, exits, exits_later],
                         ids=["text", "bytes, later", "nothing", "an exit", "an exit, later"])  # fmt: skip
def test_a_judge_that_returns_no_verdict_lets_nobody_in(judge: Judge, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with gate() as it:
            with it.socket(zmq.ROUTER) as port:
                domain = it.keeper.install(port, Lock(judge=judge))
                for _ in range(2):
                    assert (await it.asks(domain))[3:7] == [b"300", b"", b"", b""]
                it.keeper.remove(domain)

    asyncio.run(test())
    assert caplog.text.count("it could not be decided whether 192.0.2.7 may connect") == 2
    assert "s3cret" not in caplog.text


@on_a_loop
async def test_judges_that_never_end_do_not_keep_others_out_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST", 0.01)

    async def never(caller: Caller) -> Verdict:
        await asyncio.Event().wait()
        raise AssertionError

    async with gate() as it:
        with it.socket(zmq.ROUTER) as port:
            domain = it.keeper.install(port, Lock(judge=never))
            assert (await it.asks(domain))[3] == b"300"
            await asyncio.sleep(0)  # the task that has answered is about to be forgotten
            assert not it.keeper._waiting
            it.keeper.remove(domain)

"""Locks: who gets in with which key, who is told no, and what a port hears of whom it let in."""

import asyncio
from typing import Any

import pytest

from server_room_system import ConfigError
from server_room_system.transport import Caller, CurveKey, Key, Lock, PlainKey, Sent, Verdict, Vouched
from server_room_system.transport.curve import make_pair
from server_room_system.transport.locks import Judge
from server_room_system.transport.network import Failure

from .ground import Ground, Mouth, on_both

SERVER, OTHER_SERVER, ANN, BOB = make_pair(), make_pair(), make_pair(), make_pair()
TOKEN = bytes(16)
TOPIC = b"\x10" + bytes(16)


def only(*keys: bytes) -> Lock:
    """Lets in who has one of these keys."""
    return Lock(SERVER, judge=lambda caller: Verdict.WELCOME if caller.key in keys else Verdict.NEVER)


async def fails(ground: Ground, address: str, key: Key | None, *, topics: bool = False) -> tuple[Failure | None, str]:
    """Try to connect in vain; why."""
    made, mouth = ground.subscribe(address, key=key) if topics else ground.connect(address, key=key)
    await ground.until(lambda: mouth.reasons)
    assert mouth.ups == 0
    return made.failure, mouth.reasons[0]


def does_not_fit(ground: Ground, failure: Failure | None, reason: str, says: str) -> bool:
    """Whether a key was found not to fit the port's lock.

    Of a real socket it may be told first that the connection has ended: the two are in a race.
    """
    told = failure is Failure.LOCKED and says in reason
    return told or (ground.kind == "zeromq" and failure is None and "handshake" in reason)


async def gets_in(ground: Ground, address: str, key: Key | None) -> Mouth:
    link, mouth = ground.connect(address, key=key)
    await ground.until(lambda: mouth.ups)
    assert link.send(b"I am in") is Sent.TAKEN
    assert link.failure is None
    return mouth


@on_both
async def test_a_port_with_keys_hears_whose_key_it_let_in(ground: Ground) -> None:
    callers: list[Caller] = []

    def judge(caller: Caller) -> Verdict:
        callers.append(caller)
        return Verdict.WELCOME

    listener, ear = ground.listen(lock=Lock(SERVER, judge=judge))
    for count, pair in enumerate((ANN, BOB, ANN), 1):
        mouth = await gets_in(ground, listener.address, CurveKey(SERVER.public, pair))
        await ground.until(lambda count=count: len(ear.voices) == count)  # type: ignore[misc]
        assert listener.send(ear.voices[-1].peer, b"welcome") is Sent.TAKEN
        await ground.until(lambda mouth=mouth: mouth.frames == [b"welcome"])  # type: ignore[misc]
    assert [voice.vouched for voice in ear.voices] == [Vouched(key=pair.public) for pair in (ANN, BOB, ANN)]
    assert [voice.frames for voice in ear.voices] == [[b"I am in"]] * 3
    assert callers == [Caller("127.0.0.1", key=pair.public) for pair in (ANN, BOB, ANN)]


@on_both
async def test_a_publisher_with_keys_hears_whose_key_shows_a_token(ground: Ground) -> None:
    publisher, gate = ground.publish(lock=only(ANN.public))
    assert (await fails(ground, publisher.address, CurveKey(SERVER.public, BOB), topics=True))[0] is Failure.REFUSED
    assert does_not_fit(ground, *await fails(ground, publisher.address, None, topics=True), "server_key")
    gate.topics[TOKEN] = [TOPIC]
    subscription, mouth = ground.subscribe(publisher.address, key=CurveKey(SERVER.public, ANN))
    await ground.until(lambda: mouth.ups)
    subscription.present(TOKEN)
    await ground.until(lambda: gate.granted)
    await ground.heard_on(publisher, TOPIC, mouth)
    assert set(gate.vouched) == {Vouched(key=ANN.public)}


@on_both
async def test_who_is_refused_is_told_so_and_others_get_in(ground: Ground) -> None:
    listener, ear = ground.listen(lock=only(ANN.public))
    failure, reason = await fails(ground, listener.address, CurveKey(SERVER.public, BOB))
    assert failure is Failure.REFUSED
    assert "refused this client's key" in reason
    await gets_in(ground, listener.address, CurveKey(SERVER.public, ANN))
    await ground.until(lambda: ear.voices)
    assert [voice.vouched.key for voice in ear.voices] == [ANN.public]


@on_both
async def test_without_the_right_key_of_the_server_nobody_gets_in(ground: Ground) -> None:
    listener, ear = ground.listen(lock=Lock(SERVER))
    for key, says in (
        (CurveKey(OTHER_SERVER.public, ANN), "server_key its own"),
        (None, "server_key"),
        (PlainKey("ann", "secret"), "no user name and password"),
    ):
        assert does_not_fit(ground, *await fails(ground, listener.address, key), says)
    await ground.quiet()
    assert ear.voices == []


@on_both
async def test_a_port_without_a_lock_takes_no_keys(ground: Ground) -> None:
    listener, ear = ground.listen()
    for key, says in (
        (CurveKey(SERVER.public, ANN), "encrypt"),
        (PlainKey("ann", "secret"), "no user name and password"),
    ):
        assert does_not_fit(ground, *await fails(ground, listener.address, key), says)
    await gets_in(ground, listener.address, None)
    await ground.until(lambda: ear.voices)
    assert [voice.vouched for voice in ear.voices] == [Vouched()]


@on_both
async def test_plain_asks_for_name_and_password(ground: Ground) -> None:
    async def judge(caller: Caller) -> Verdict:
        await asyncio.sleep(0.01)
        return Verdict.WELCOME if (caller.user, caller.password) == ("ann", "gehe\u00efm") else Verdict.NEVER

    listener, ear = ground.listen(lock=Lock(plain=True, judge=judge))
    for key, failure in (
        (PlainKey("ann", "wrong"), Failure.REFUSED),
        (PlainKey("bob", "gehe\u00efm"), Failure.REFUSED),
        (None, Failure.LOCKED),
        (CurveKey(SERVER.public, ANN), Failure.LOCKED),
    ):
        why = await fails(ground, listener.address, key)
        assert why[0] is failure or does_not_fit(ground, *why, "")
    await gets_in(ground, listener.address, PlainKey("ann", "gehe\u00efm"))
    await ground.until(lambda: ear.voices)
    assert [voice.vouched for voice in ear.voices] == [Vouched(user="ann")]


@on_both
async def test_who_is_to_come_later_hears_nothing_until_the_connection_ends(ground: Ground) -> None:
    listener, ear = ground.listen(lock=Lock(judge=lambda caller: Verdict.LATER))
    failure, _ = await fails(ground, listener.address, None)
    assert failure is not Failure.REFUSED, "it is to come again"
    assert ear.voices == []


@on_both
async def test_many_are_judged_at_once_and_each_by_itself(ground: Ground) -> None:
    mine = [make_pair() for _ in range(5)]
    doors = {pair.public: asyncio.Event() for pair in mine}
    asked: set[bytes] = set()

    async def judge(caller: Caller) -> Verdict:
        assert caller.key is not None
        asked.add(caller.key)
        await doors[caller.key].wait()
        return Verdict.WELCOME

    listener, _ = ground.listen(lock=Lock(SERVER, judge=judge))
    mouths = [ground.connect(listener.address, key=CurveKey(SERVER.public, pair))[1] for pair in mine]
    for pair, mouth in reversed(list(zip(mine, mouths, strict=True))):  # who came last is let in first
        await ground.eventually(lambda: len(asked) == 5)
        assert mouth.ups == 0
        doors[pair.public].set()
        await ground.until(lambda mouth=mouth: mouth.ups)  # type: ignore[misc]


@on_both
async def test_a_judge_who_raises_lets_nobody_in_and_keeps_nobody_out(ground: Ground) -> None:
    async def late(caller: Caller) -> Verdict:
        raise RuntimeError("the database is away")

    def early(caller: Caller) -> Verdict:
        raise RuntimeError("the database is away")

    def no_verdict(caller: Caller) -> Any:
        return True

    async def no_verdict_later(caller: Caller) -> Any:
        return "200"

    judges: tuple[Judge, ...] = (early, late, no_verdict, no_verdict_later)
    ports = [ground.listen(lock=Lock(judge=judge)) for judge in judges]
    failures = await asyncio.gather(*(fails(ground, listener.address, None) for listener, _ in ports))
    assert Failure.REFUSED not in [failure for failure, _ in failures]
    assert [ear.voices for _, ear in ports] == [[]] * len(judges)


@on_both
async def test_each_port_has_a_lock_of_its_own(ground: Ground) -> None:
    locked, _ = ground.listen(lock=only(ANN.public))
    other, _ = ground.listen(lock=only(BOB.public))
    open_, _ = ground.listen()
    await gets_in(ground, locked.address, CurveKey(SERVER.public, ANN))
    await gets_in(ground, other.address, CurveKey(SERVER.public, BOB))
    await gets_in(ground, open_.address, None)
    assert (await fails(ground, other.address, CurveKey(SERVER.public, ANN)))[0] is Failure.REFUSED
    locked.close()
    await gets_in(ground, other.address, CurveKey(SERVER.public, BOB))


def test_a_lock_asks_for_keys_or_for_passwords() -> None:
    with pytest.raises(ConfigError, match="either"):
        Lock(SERVER, plain=True)


@pytest.mark.parametrize(("user", "password"), [("", "x"), ("x" * 65, "x"), ("a\0", "x"), ("ann", "x" * 256)])
def test_a_name_or_password_that_no_port_takes_is_refused(user: str, password: str) -> None:
    with pytest.raises(ConfigError) as raised:
        PlainKey(user, password)
    assert "x" * 65 not in str(raised.value)


def test_a_password_is_in_no_repr() -> None:
    assert "secret" not in repr(PlainKey("ann", "secret"))
    assert "secret" not in repr(Caller("127.0.0.1", user="ann", password="secret"))

"""Connections: how they begin and end, that everybody hears so once, and what is still heard before."""

import asyncio
from random import Random

import pytest

from server_room_system import AddressInUse, ConfigError
from server_room_system.transport import Link, Sent

from .ground import Ground, on_both


@on_both
async def test_a_link_that_is_closed_is_gone_once_and_hears_no_down(ground: Ground) -> None:
    listener, ear = ground.listen()
    link, mouth, voice = await ground.pair(listener, ear)
    link.close()
    link.close()
    await ground.until(lambda: voice.deaths)
    await ground.quiet()
    assert (voice.deaths, mouth.reasons) == (1, [])


@on_both
async def test_a_listener_that_closes_lets_its_links_down_once(ground: Ground) -> None:
    listener, ear = ground.listen()
    ends = [await ground.pair(listener, ear) for _ in range(5)]
    listener.close()
    listener.close()
    await ground.until(lambda: all(mouth.reasons for _, mouth, _ in ends))
    await ground.quiet()
    assert [mouth.reasons for _, mouth, _ in ends] == [["the connection was lost"]] * 5
    assert [link.send(b"x") for link, _, _ in ends] == [Sent.GONE] * 5


@on_both
async def test_a_peer_that_was_never_heard_is_not_mourned(ground: Ground) -> None:
    listener, ear = ground.listen()
    silent, _ = await ground.dial(listener)
    other, _, other_voice = await ground.pair(listener, ear)
    silent.close()
    await ground.quiet()
    await ground.round_trip(other, other_voice)
    assert ear.voices == [other_voice]
    assert other_voice.deaths == 0


@on_both
async def test_a_link_to_nobody_goes_down_once(ground: Ground) -> None:
    listener, _ = ground.listen()
    address = listener.address
    listener.close()
    await ground.quiet()
    _, mouth = ground.connect(address)
    await ground.until(lambda: mouth.reasons)
    await ground.quiet()
    assert (mouth.ups, mouth.reasons) == (0, ["nobody listens there"])


@on_both
async def test_a_link_that_is_closed_before_it_is_up_is_not_heard_of(ground: Ground) -> None:
    listener, ear = ground.listen()
    link, mouth = ground.connect(listener.address)
    link.close()
    other, _, other_voice = await ground.pair(listener, ear)
    await ground.quiet()
    await ground.round_trip(other, other_voice)
    assert (mouth.ups, mouth.reasons, ear.voices) == (0, [], [other_voice])


@on_both
async def test_a_peer_that_is_cut_hears_so_and_is_gone_once(ground: Ground) -> None:
    listener, ear = ground.listen()
    link, mouth, voice = await ground.pair(listener, ear)
    other, other_mouth, other_voice = await ground.pair(listener, ear)
    deaths: list[int] = []
    ear.on_flush = lambda: deaths.append(voice.deaths)
    listener.cut(voice.peer)
    assert voice.deaths == 0, "gone follows in a later turn"
    listener.cut(voice.peer)
    listener.cut(b"\0\1\2\3\4")
    await ground.until(lambda: voice.deaths and mouth.reasons)
    assert link.send(b"too late") is Sent.GONE
    listener.cut(voice.peer)
    await ground.quiet()
    await ground.round_trip(other, other_voice)
    assert (voice.deaths, mouth.reasons) == (1, ["the connection was lost"])
    assert (other_voice.deaths, other_mouth.reasons) == (0, [])


@on_both
async def test_nothing_is_heard_of_a_peer_after_it_was_cut(ground: Ground) -> None:
    listener, ear = ground.listen()
    link, mouth, voice = await ground.pair(listener, ear)
    other, _, other_voice = await ground.pair(listener, ear)
    voice.on_frame = lambda frame: listener.cut(voice.peer)
    for number in range(100):
        assert link.send(b"%d" % number) is Sent.TAKEN
    await ground.until(lambda: voice.deaths and mouth.reasons)
    await ground.round_trip(other, other_voice)
    assert (voice.frames, voice.deaths) == ([b"0"], 1)


@on_both
async def test_last_words_of_a_link_are_heard_before_it_is_gone(ground: Ground) -> None:
    listener, ear = ground.listen()
    for _ in range(20):
        link, _, voice = await ground.pair(listener, ear)
        assert link.send(b"first") is Sent.TAKEN
        assert link.send(b"last words") is Sent.TAKEN
        link.close()
        await ground.until(lambda voice=voice: voice.deaths)  # type: ignore[misc]
        assert voice.frames == [b"first", b"last words"]


@on_both
async def test_last_words_of_a_listener_are_heard_before_its_links_are_down(ground: Ground) -> None:
    for _ in range(5):
        listener, ear = ground.listen()
        ends = [await ground.pair(listener, ear) for _ in range(5)]
        for _, _, voice in ends:
            assert listener.send(voice.peer, b"last words") is Sent.TAKEN
        listener.close()
        await ground.until(lambda ends=ends: all(mouth.reasons for _, mouth, _ in ends))  # type: ignore[misc]
        assert [mouth.frames for _, mouth, _ in ends] == [[b"last words"]] * 5


@on_both
async def test_last_words_to_a_peer_that_is_cut_are_heard(ground: Ground) -> None:
    listener, ear = ground.listen()
    for _ in range(10):
        _, mouth, voice = await ground.pair(listener, ear)
        assert listener.send(voice.peer, b"last words") is Sent.TAKEN
        listener.cut(voice.peer)
        await ground.until(lambda mouth=mouth: mouth.reasons)  # type: ignore[misc]
        assert mouth.frames == [b"last words"]


@on_both
async def test_connections_on_which_nothing_is_said_are_cut(ground: Ground) -> None:
    listener, ear = ground.listen()
    _, spoken_to, voice = await ground.pair(listener, ear)
    _, silent = await ground.dial(listener)
    await ground.quiet()
    between = asyncio.get_running_loop().time()
    await ground.quiet()
    _, younger = await ground.dial(listener)
    listener.cut_silent(between)
    await ground.until(lambda: silent.reasons)
    await ground.quiet()
    assert (spoken_to.reasons, younger.reasons, voice.deaths) == ([], [], 0)
    assert ear.voices == [voice]


@on_both
async def test_what_a_peer_said_before_it_died_is_heard_however_much_it_is(ground: Ground) -> None:
    listener, ear = ground.listen()
    link, _, voice = await ground.pair(listener, ear)
    other, _, other_voice = await ground.pair(listener, ear)
    for number in range(250):  # all of it unread when it dies
        assert link.send(b"%d" % number) is Sent.TAKEN
    link.close()
    assert other.send(b"meanwhile") is Sent.TAKEN
    await ground.until(lambda: voice.deaths and other_voice.frames)
    assert voice.frames == [b"%d" % number for number in range(250)]
    assert (other_voice.frames, other_voice.deaths) == ([b"meanwhile"], 0)


@on_both
async def test_a_wake_makes_a_turn_without_arrivals(ground: Ground) -> None:
    listener, ear = ground.listen()
    _, mouth, voice = await ground.pair(listener, ear)
    await ground.quiet()
    before = ear.turns
    listener.wake()
    listener.wake()
    assert ear.turns == before, "soon, but not within the call"
    await ground.until(lambda: ear.turns > before)
    await ground.quiet()
    assert ear.turns <= before + 2
    assert voice.frames == []

    sent: list[Sent] = []

    def speak_at_the_third_turn() -> None:
        if ear.turns < before + 5:
            listener.wake()  # from within a turn: there is another one
        elif not sent:
            sent.append(listener.send(voice.peer, b"from a flush"))

    ear.on_flush = speak_at_the_third_turn
    listener.wake()
    await ground.until(lambda: mouth.frames)
    assert (sent, mouth.frames) == ([Sent.TAKEN], [b"from a flush"])


@on_both
async def test_a_closed_listener_has_no_more_turns(ground: Ground) -> None:
    listener, ear = ground.listen()
    link, _, voice = await ground.pair(listener, ear)
    link.send(b"unheard")
    listener.wake()
    listener.close()
    before = ear.turns, list(voice.frames)
    await ground.quiet()
    assert (ear.turns, voice.frames) == before


@on_both
async def test_a_sink_may_close_its_link(ground: Ground) -> None:
    listener, ear = ground.listen()
    link, mouth, voice = await ground.pair(listener, ear)
    mouth.on_frame = lambda frame: link.close()
    for number in range(3):
        listener.send(voice.peer, b"%d" % number)
    await ground.until(lambda: voice.deaths)
    assert (mouth.frames, mouth.reasons) == ([b"0"], [])


@on_both
async def test_every_death_is_of_the_right_peer_while_descriptors_are_reused(ground: Ground) -> None:
    listener, ear = ground.listen()
    random = Random(7)
    closed: set[bytes] = set()
    wrong: list[bytes] = []

    def look() -> None:
        wrong.extend(voice.frames[0] for voice in ear.voices if voice.deaths and voice.frames[0] not in closed)

    async def churn(who: int) -> None:
        for number in range(60):
            name = b"%d of %d" % (number, who)
            link, mouth = await ground.dial(listener)
            assert link.send(name) is Sent.TAKEN
            if random.random() < 0.5:  # else it dies before it is heard
                await ground.until(lambda name=name: ear.voice_of(name) is not None)  # type: ignore[misc]
                voice = ear.voice_of(name)
                assert voice is not None
                assert listener.send(voice.peer, name) is Sent.TAKEN
                await ground.until(lambda mouth=mouth: mouth.frames)  # type: ignore[misc]
                assert mouth.frames == [name]
            closed.add(name)
            link.close()

    ear.on_flush = look
    await asyncio.gather(*(churn(who) for who in range(8)))
    await ground.until(lambda: len(ear.voices) == 480 and all(voice.deaths for voice in ear.voices))
    assert wrong == []
    assert sorted(voice.frames[0] for voice in ear.voices) == sorted(closed)
    assert {len(voice.frames) for voice in ear.voices} == {1}


@on_both
async def test_a_port_has_one_listener(ground: Ground) -> None:
    listener, ear = ground.listen()
    port = int(listener.address.rpartition(":")[2])
    with pytest.raises(AddressInUse) as raised:
        ground.listen(port)
    assert raised.value.address == listener.address
    link, _, voice = await ground.pair(listener, ear)
    await ground.round_trip(link, voice)


@on_both
async def test_an_address_that_is_none_is_refused(ground: Ground) -> None:
    for address in ("", "nowhere", "tcp://", "tcp://127.0.0.1", "http://127.0.0.1:80", "127.0.0.1:80"):
        with pytest.raises(ConfigError, match="is no address"):
            ground.connect(address)


@on_both
async def test_everything_closes_in_any_order(ground: Ground) -> None:
    listener, ear = ground.listen()
    ends = [await ground.pair(listener, ear) for _ in range(4)]
    links: list[Link] = [link for link, _, _ in ends]
    links[0].close()
    listener.send(ends[1][2].peer, b"x")
    listener.cut(ends[1][2].peer)
    listener.close()
    links[2].close()
    await ground.until(lambda: ends[3][1].reasons)
    links[3].close()

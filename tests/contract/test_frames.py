"""Frames: in order, whole, refused where the peer is slow, never beyond the end of a connection."""

import re
from random import Random

from server_room_system.transport import Sent

from .ground import LARGEST, Ground, on_both, on_memory


@on_both
async def test_frames_arrive_in_order_both_ways(ground: Ground) -> None:
    listener, ear = ground.listen()
    link, mouth, voice = await ground.pair(listener, ear)
    wanted = [b"%d" % number for number in range(200)]
    for frame in wanted:
        assert link.send(frame) is Sent.TAKEN
        assert listener.send(voice.peer, frame) is Sent.TAKEN
    await ground.until(lambda: len(voice.frames) == 200 and len(mouth.frames) == 200)
    assert voice.frames == mouth.frames == wanted


@on_both
async def test_frames_arrive_as_they_were_sent(ground: Ground) -> None:
    listener, ear = ground.listen()
    link, mouth, voice = await ground.pair(listener, ear)
    random = Random(1)
    frames = [b"", b"\0", random.randbytes(255), random.randbytes(256), random.randbytes(LARGEST)]
    for frame in frames:
        assert link.send(frame) is Sent.TAKEN
        assert listener.send(voice.peer, frame) is Sent.TAKEN
    await ground.until(lambda: len(voice.frames) == len(frames) and len(mouth.frames) == len(frames))
    assert voice.frames == mouth.frames == frames
    assert {type(frame) for frame in voice.frames + mouth.frames} == {bytes}


@on_both
async def test_each_of_many_peers_gets_its_own(ground: Ground) -> None:
    listener, ear = ground.listen()
    pairs = [await ground.pair(listener, ear) for _ in range(100)]
    assert len({voice.peer for _, _, voice in pairs}) == 100
    assert {voice.address for _, _, voice in pairs} == {"127.0.0.1"}
    for number, (link, _, voice) in enumerate(pairs):
        assert link.send(b"up %d" % number) is Sent.TAKEN
        assert listener.send(voice.peer, b"down %d" % number) is Sent.TAKEN
    assert listener.send_all([voice.peer for _, _, voice in pairs], b"all") == []
    await ground.until(lambda: all(voice.frames and len(mouth.frames) == 2 for _, mouth, voice in pairs))
    for number, (_, mouth, voice) in enumerate(pairs):
        assert voice.frames == [b"up %d" % number]
        assert mouth.frames == [b"down %d" % number, b"all"]


@on_both
async def test_answers_leave_in_the_turn_that_heard_the_question(ground: Ground) -> None:
    listener, ear = ground.listen()
    link, mouth, voice = await ground.pair(listener, ear)
    heard: list[bytes] = []
    voice.on_frame = heard.append

    def answer() -> None:
        while heard:
            assert listener.send(voice.peer, b"re: " + heard.pop(0)) is Sent.TAKEN

    ear.on_flush = answer
    for number in range(50):
        link.send(b"%d" % number)
    await ground.until(lambda: len(mouth.frames) == 50)
    assert mouth.frames == [b"re: %d" % number for number in range(50)]
    mouth.on_frame = lambda frame: None if frame == b"re: end" else (link.send(frame[4:]), None)[1]
    link.send(b"end")  # a question that is asked where an answer is heard works as well
    await ground.until(lambda: mouth.frames[-1] == b"re: end")


@on_both
async def test_a_listener_that_sends_is_full_at_the_high_water_mark_and_recovers(ground: Ground) -> None:
    listener, ear = ground.listen()
    _, slow, voice = await ground.pair(listener, ear)
    _, other, other_voice = await ground.pair(listener, ear)
    body = bytes(8 * 1024)
    taken = ground.fill(lambda number: listener.send(voice.peer, b"%06d" % number + body))
    assert taken >= 256
    peers = [voice.peer, other_voice.peer]
    assert listener.send_all(peers, b"all") == [(voice.peer, Sent.FULL)]  # and names who it is
    await ground.until(lambda: len(slow.frames) == taken and other.frames)
    assert [int(frame[:6]) for frame in slow.frames] == list(range(taken))
    assert other.frames == [b"all"]
    assert listener.send_all(peers, b"again") == []
    await ground.until(lambda: len(slow.frames) == taken + 1)
    assert slow.frames[-1] == b"again"
    assert slow.reasons == []


@on_memory  # a real listener takes all in: see test_zeromq
async def test_a_link_that_sends_is_full_at_the_high_water_mark_and_recovers(ground: Ground) -> None:
    listener, ear = ground.listen()
    link, mouth, voice = await ground.pair(listener, ear)
    body = bytes(8 * 1024)
    taken = ground.fill(lambda number: link.send(b"%06d" % number + body))
    assert taken >= 256
    await ground.until(lambda: len(voice.frames) == taken)
    assert [int(frame[:6]) for frame in voice.frames] == list(range(taken))
    assert link.send(b"again") is Sent.TAKEN
    await ground.until(lambda: voice.frames[-1] == b"again")
    assert mouth.reasons == []


@on_both
async def test_who_is_not_there_is_gone(ground: Ground) -> None:
    listener, ear = ground.listen()
    nobody = b"\0\1\2\3\4"
    assert listener.send(nobody, b"x") is Sent.GONE
    assert listener.send_all([nobody], b"x") == [(nobody, Sent.GONE)]
    link, mouth = ground.connect(listener.address)
    assert link.send(b"too early") is Sent.GONE
    await ground.until(lambda: mouth.ups == 1)
    assert link.send(b"in time") is Sent.TAKEN
    await ground.until(lambda: ear.voices)
    (voice,) = ear.voices
    assert voice.frames == [b"in time"]
    link.close()
    assert link.send(b"too late") is Sent.GONE
    await ground.until(lambda: voice.deaths)
    await ground.eventually(lambda: listener.send(voice.peer, b"x") is Sent.GONE)
    assert listener.send_all([voice.peer], b"x") == [(voice.peer, Sent.GONE)]
    assert mouth.frames == []


@on_both
async def test_a_frame_over_the_limit_costs_its_sender_the_connection_and_nobody_else(ground: Ground) -> None:
    listener, ear = ground.listen(largest=1000)
    link, mouth, voice = await ground.pair(listener, ear)
    other, other_mouth, other_voice = await ground.pair(listener, ear)
    assert link.send(bytes(1000)) is Sent.TAKEN
    assert link.send(bytes(1001)) is Sent.TAKEN
    assert link.send(b"behind it") in (Sent.TAKEN, Sent.GONE)
    await ground.until(lambda: voice.deaths and mouth.reasons)
    assert voice.frames == [bytes(1000)]
    await ground.round_trip(other, other_voice)
    assert listener.send(other_voice.peer, b"still here") is Sent.TAKEN
    await ground.until(lambda: other_mouth.frames)
    assert (other_voice.deaths, other_mouth.reasons) == (0, [])


@on_both
async def test_a_link_takes_no_frame_over_its_limit(ground: Ground) -> None:
    listener, ear = ground.listen()
    _, mouth, voice = await ground.pair(listener, ear, largest=1000)
    listener.send(voice.peer, bytes(1000))
    listener.send(voice.peer, bytes(1001))
    await ground.until(lambda: voice.deaths and mouth.reasons)
    assert mouth.frames == [bytes(1000)]


@on_both
async def test_the_address_has_the_port_that_was_bound(ground: Ground) -> None:
    first, _ = ground.listen()
    second, _ = ground.listen()
    ports = [int(re.fullmatch(r"tcp://127\.0\.0\.1:(\d+)", each.address).group(1)) for each in (first, second)]  # type: ignore[union-attr]
    assert len({0, *ports}) == 3

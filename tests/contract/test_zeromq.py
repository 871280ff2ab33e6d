"""What only real sockets can be sent: by peers that are not ours."""

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator

import pytest
import zmq

from server_room_system import ConfigError
from server_room_system.transport import Sent, ZmqNetwork, descriptors, roll
from server_room_system.transport.listener import ZmqListener
from server_room_system.transport.publisher import ZmqPublisher

from .ground import HOST, LARGEST, Ear, Ground, on_zeromq, shout


@contextlib.contextmanager
def raw(kind: int) -> Iterator["zmq.Socket[bytes]"]:
    """A socket that does what we never do."""
    with zmq.Context() as context, context.socket(kind) as peer:
        peer.set(zmq.LINGER, 0)
        yield peer


def _answer_the_gate(ground: Ground) -> None:
    """Let in who waits at a port, without a turn of the loop."""
    assert isinstance(ground.network, ZmqNetwork)
    assert ground.network._gate is not None
    ground.network._gate._answer()


def _let_the_io_threads_work() -> None:
    time.sleep(0.02)


@on_zeromq
async def test_a_message_of_several_frames_is_a_violation_and_none_of_it_is_heard(ground: Ground) -> None:
    listener, ear = ground.listen()
    other, _, other_voice = await ground.pair(listener, ear)
    with raw(zmq.DEALER) as peer:
        peer.connect(listener.address)
        peer.send(b"one")
        await ground.until(lambda: ear.voice_of(b"one"))
        voice = ear.voice_of(b"one")
        assert voice is not None
        peer.send_multipart([b"two", b"frames"])
        peer.send_multipart([b""] * 1000)
        peer.send(b"one again")
        await ground.until(lambda: len(voice.frames) == 2)
        assert voice.rules == ["a message of more than one frame"] * 2
        assert voice.frames == [b"one", b"one again"]
        await ground.round_trip(other, other_voice)
        assert other_voice.rules == []
    await ground.until(lambda: voice.deaths)


@on_zeromq
async def test_of_who_begins_with_several_frames_nothing_is_heard(ground: Ground) -> None:
    listener, ear = ground.listen()
    with raw(zmq.REQ) as peer:
        peer.connect(listener.address)
        peer.send(b"a REQ puts an empty frame before this one")
        link, _, voice = await ground.pair(listener, ear)
        await ground.quiet()
        await ground.round_trip(link, voice)
        assert [each.frames for each in ear.voices] == [[]] * len(ear.voices)
        assert [each.rules for each in ear.voices if each is not voice] in (
            [],
            [["a message of more than one frame"]],
        )


@on_zeromq
async def test_when_descriptors_run_out_newcomers_are_turned_away(ground: Ground) -> None:
    """Whoever connected and stayed brought a server to its limit: it turned in circles, or was ended by libzmq."""
    listener, ear = ground.listen()
    publisher, _ = ground.publish()
    link, _, voice = await ground.pair(listener, ear)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(descriptors, "_SPARE", 1 << 40)
        patch.setattr(roll, "_PATIENCE", 1e6)
        for _, mouth in (ground.connect(listener.address), ground.subscribe(publisher.address)):
            await ground.until(lambda mouth=mouth: mouth.reasons)  # type: ignore[misc]
        await ground.round_trip(link, voice)
    await ground.pair(listener, ear)


@on_zeromq
async def test_what_comes_while_frames_are_handed_over_together_is_heard(ground: Ground) -> None:
    """Sending takes the sign of what has arrived away: whoever does not look is not told of it any more."""
    listener, ear = ground.listen()
    link, mouth, voice = await ground.pair(listener, ear)
    await ground.quiet()
    before = len(voice.frames), len(mouth.frames)

    def work() -> None:
        link.send(b"meanwhile")
        _let_the_io_threads_work()
        assert listener.send(voice.peer, b"one") is Sent.TAKEN
        assert listener.send_all([voice.peer], b"two") == []

    listener.together(work)
    await ground.until(lambda: voice.frames[before[0] :] == [b"meanwhile"])
    await ground.until(lambda: mouth.frames[before[1] :] == [b"one", b"two"])


@on_zeromq
async def test_what_is_read_after_a_standstill_is_of_a_turn_that_knows_the_time(ground: Ground) -> None:
    listener, ear = ground.listen()
    link, _, voice = await ground.pair(listener, ear)
    turns: list[tuple[int, float]] = []

    def hear(frame: bytes) -> None:
        if frame == b"0":
            time.sleep(0.3)  # the process stands still, or its owner's code holds it up
        turns.append((ear.turns, ear._last))

    voice.on_frame = hear
    for number in range(3):
        link.send(b"%d" % number)
    _let_the_io_threads_work()  # all of them are there before the first is read
    await ground.until(lambda: len(turns) == 3)
    assert turns[1][0] > turns[0][0]
    assert turns[1][1] - turns[0][1] >= 0.2
    assert turns[2] == turns[1]
    assert ear.mistakes == []


@on_zeromq
async def test_a_peer_that_names_itself_is_not_heard(ground: Ground) -> None:
    listener, ear = ground.listen()
    _, mouth, voice = await ground.pair(listener, ear)
    with raw(zmq.DEALER) as thief, raw(zmq.DEALER) as five_long:
        thief.set(zmq.ROUTING_ID, b"name")
        five_long.set(zmq.ROUTING_ID, b"\1" + voice.peer[1:])
        for peer in (thief, five_long):
            peer.connect(listener.address)
            peer.send(b"hear me")
        other, _, other_voice = await ground.pair(listener, ear)
        await ground.quiet()
        await ground.round_trip(other, other_voice)
        assert ear.voices == [voice, other_voice]
        assert listener.send(voice.peer, b"for the real one") is Sent.TAKEN
        await ground.until(lambda: mouth.frames)


@on_zeromq
async def test_a_death_is_not_taken_for_that_of_who_has_the_descriptor_now(ground: Ground) -> None:
    listener, ear = ground.listen()
    for round_ in range(5):
        names = [b"%d, peer %d" % (round_, number) for number in range(4)]
        with contextlib.ExitStack() as stack:
            for name in names:  # one after the other on one descriptor, and all before the listener has a turn
                peer = stack.enter_context(raw(zmq.DEALER))
                peer.connect(listener.address)
                peer.send(name)
                _let_the_io_threads_work()
                _answer_the_gate(ground)
                _let_the_io_threads_work()
                if name is not names[-1]:
                    peer.close()
                    _let_the_io_threads_work()
            await ground.until(lambda names=names: ear.voice_of(names[-1]))  # type: ignore[misc]
            voices = [voice for name in names if (voice := ear.voice_of(name)) is not None]
            assert len(voices) == 4
            await ground.until(lambda dead=voices[:-1]: all(voice.deaths for voice in dead))  # type: ignore[misc]
            assert voices[-1].deaths == 0
            for voice in voices[:-1]:
                listener.cut(voice.peer)
            assert listener.send(voices[-1].peer, b"still here") is Sent.TAKEN
            assert await asyncio.to_thread(peer.poll, 2000)  # pyright: ignore[reportPossiblyUnboundVariable]
            assert voices[-1].deaths == 0
        await ground.until(lambda last=voices[-1]: last.deaths)  # type: ignore[misc]


@on_zeromq
async def test_a_link_hangs_up_on_a_server_that_sends_several_frames(ground: Ground) -> None:
    with raw(zmq.ROUTER) as server:
        port = server.bind_to_random_port(f"tcp://{HOST}")
        link, mouth = ground.connect(f"tcp://{HOST}:{port}")
        await ground.until(lambda: mouth.ups)
        link.send(b"hello")
        name, _ = await asyncio.to_thread(server.recv_multipart)
        server.send_multipart([name, b"one"])
        server.send_multipart([name, b"two", b"frames"])
        server.send_multipart([name, b"three"])
        await ground.until(lambda: mouth.reasons)
        assert mouth.frames == [b"one"]
        assert mouth.reasons == ["the server sent a message of more than one frame"]


@on_zeromq
async def test_a_link_to_something_that_is_not_zeromq_goes_down_once(ground: Ground) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(64))
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        _, mouth = ground.connect(f"tcp://{HOST}:{port}")
        await ground.until(lambda: mouth.reasons)
        await ground.quiet()
        assert (mouth.ups, len(mouth.reasons)) == (0, 1)


@on_zeromq
async def test_bytes_that_are_no_handshake_do_not_harm_a_listener(ground: Ground) -> None:
    listener, ear = ground.listen()
    link, _, voice = await ground.pair(listener, ear)
    where = (HOST, int(listener.address.rpartition(":")[2]))
    for garbage in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, bytes(100), b"\xff" + bytes(8) + b"\x7f\3\0NULL"):
        with socket.create_connection(where) as peer:
            peer.sendall(garbage)
            await ground.round_trip(link, voice)
    await ground.quiet()
    assert ear.voices == [voice]
    assert voice.deaths == 0


@on_zeromq
async def test_a_host_that_cannot_be_bound_is_refused_and_leaves_nothing(ground: Ground) -> None:
    for host in ("203.0.113.1", "no such host", ""):
        with pytest.raises(ConfigError, match="can't listen on"):
            ground.network.listen(host, 0, Ear(asyncio.Event()), LARGEST)


@on_zeromq
async def test_a_port_that_is_none_is_refused(ground: Ground) -> None:
    for address in ("tcp://127.0.0.1:port", "tcp://127.0.0.1:70000"):
        with pytest.raises(ConfigError, match="is no address"):
            ground.connect(address)


@on_zeromq
async def test_in_one_go_only_so_many_tokens_are_granted_and_the_rest_when_they_come_again(ground: Ground) -> None:
    publisher, gate = ground.publish()
    tokens = [b"%016d" % number for number in range(150)]
    gate.topics = {token: [b"\x10" + token] for token in tokens}
    made = [await ground.attach(publisher) for _ in tokens]
    gate.on_shown = _let_the_io_threads_work  # they deliver meanwhile, so that there is always one more to read
    for token, (subscription, _) in zip(tokens, made, strict=True):
        subscription.present(token)
    _let_the_io_threads_work()
    publisher.pump()
    assert len(gate.granted) == 99
    gate.on_shown = lambda: None
    # Who hears something stops to show its token, and stands in nobody's way when the others come again.
    first = [token for token, _ in gate.granted]
    for token in first:
        publisher.publish(b"\x10" + token, token)
    await ground.until(lambda: len(gate.granted) == 150)
    for token in set(tokens) - set(first):
        publisher.publish(b"\x10" + token, token)
    await ground.until(lambda: all(mouth.frames for _, mouth in made))
    assert [mouth.frames for _, mouth in made] == [[token] for token in tokens]


@on_zeromq
async def test_behind_a_user_message_nothing_is_granted_until_all_is_read(ground: Ground) -> None:
    publisher, gate = ground.publish()
    token = b"a token, 16 long"
    gate.topics = {token: [b"\x10" + token]}
    hostile, _ = await ground.attach(publisher)
    subscription, _ = await ground.attach(publisher)
    shout(hostile, b"\x02 for a topic of another")
    _let_the_io_threads_work()
    subscription.present(token)
    _let_the_io_threads_work()
    publisher.pump()
    assert gate.granted == []
    await ground.until(lambda: gate.granted)


@on_zeromq
async def test_a_link_that_sends_is_full_where_nobody_reads_and_recovers(ground: Ground) -> None:
    with raw(zmq.ROUTER) as server:
        port = server.bind_to_random_port(f"tcp://{HOST}")
        link, mouth = ground.connect(f"tcp://{HOST}:{port}")
        await ground.until(lambda: mouth.ups)
        body = bytes(8 * 1024)
        taken = ground.fill(lambda number: link.send(b"%06d" % number + body))
        assert taken >= 256
        for number in range(taken):
            frames = await asyncio.to_thread(server.recv_multipart)
            assert frames[1][:6] == b"%06d" % number
        assert link.send(b"again") is Sent.TAKEN
        assert (await asyncio.to_thread(server.recv_multipart))[1] == b"again"
        assert mouth.reasons == []


@on_zeromq
async def test_a_connection_that_cannot_be_cut_is_said_to_stand(ground: Ground) -> None:
    publisher, gate = ground.publish()
    _, mouth, peer = await ground.admit(publisher, gate, b"a token, 16 long", b"\x10" + bytes(16))

    def no_descriptor_left(fd: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "dup", no_descriptor_left)
        assert not publisher.cut(peer)
    await ground.quiet()
    assert mouth.reasons == []
    assert publisher.cut(peer)
    await ground.until(lambda: mouth.reasons and gate.lost)


@on_zeromq
async def test_many_who_wait_in_silence_do_not_keep_the_io_thread_busy(ground: Ground) -> None:
    # Each answer to a heartbeat has libzmq walk over the timers of all connections of the socket. Timings are not
    # asserted, so: a port has no heartbeat, whose connections are judged by the port; a publisher has nothing else.
    listener, _ = ground.listen()
    publisher, _ = ground.publish()
    assert isinstance(listener, ZmqListener)
    assert isinstance(publisher, ZmqPublisher)
    assert listener._socket.get(zmq.HEARTBEAT_IVL) == 0
    assert publisher._socket.get(zmq.HEARTBEAT_IVL) == 5_000

"""The floor: a bare pyzmq loop that moves the same bytes as the system, and does nothing else.

It drains its ROUTER, decodes, encodes each broadcast once, and sends each
member one frame a turn. It has no sessions, checks, history, limits, timeouts
or user code, answers the way into a room with the least that a client needs,
and believes all that it hears: what the system costs more is what its
guarantees cost.

Run it with ``python -m benchmarks.bare PORT``. It uses pyzmq as its users do,
with ``recv_multipart`` and ``Socket.send``. With ``lean`` as a second argument
it makes two plain ``recv`` calls, which spares asking libzmq whether more
frames follow, and calls the ``send`` under pyzmq's own: nearly half of what a
message costs. That is right as long as all peers send one frame.
"""

import contextlib
import heapq
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgpack
import zmq
from zmq.backend import Socket as BareSocket

from server_room_system.protocol.ids import TOPIC_SIZE
from server_room_system.protocol.messages import Item, Kind, bundle

_unpack: Callable[[bytes], Any] = msgpack.unpackb

_BURST = 2048
_NOTHING: dict[str, Any] = {}
_TICK = 0.05
_RECEIVE = int(zmq.NOBLOCK)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
_LAST = int(zmq.NOBLOCK)
_SEND, _PING, _HELLO, _JOIN = (int(kind) for kind in (Kind.SEND, Kind.PING, Kind.HELLO, Kind.JOIN))
_MATCH = (int(Kind.MATCH), int(Kind.JOIN_OR_CREATE))
_BROADCAST = int(Item.BROADCAST)
_SUBSCRIBE = int(zmq.SUBSCRIBE)
_SHARD = 256
"""Connections on one publisher: of more, libzmq loses its pace when many come and go."""


class Room:
    """Members by address, and what the room says in this turn."""

    __slots__ = ("epoch", "items", "members", "offset", "size", "topic", "tuned_in")

    def __init__(self, epoch: int, size: int, topic: bytes | None) -> None:
        self.epoch = epoch
        self.size = size
        self.offset = 0
        self.members: list[bytes] = []
        self.items: list[bytes] = []
        self.topic = topic
        self.tuned_in: set[bytes] = set()
        """Tokens of those who hear the topic."""


class BareServer:
    """Rooms over one ROUTER, and one room's topic over as many XPUB as it needs.

    Args:
        port: where to listen on the loopback.
        lean: receive and send in the fastest way there is instead of the usual one.
    """

    def __init__(self, port: int, lean: bool) -> None:
        self._lean = lean
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.BACKLOG, 1024)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(f"tcp://127.0.0.1:{port}")
        self._send: Callable[[bytes, int], object] = self._socket.send
        if lean:
            self._send = partial(BareSocket.send, self._socket)
        self._pack: Callable[[object], bytes] = msgpack.Packer(use_bin_type=True, autoreset=True).pack
        self._waiting: dict[str, list[tuple[bytes, list[Any]]]] = {}
        self._rooms: dict[str, Room] = {}
        self._room_of: dict[int, Room] = {}
        self._speaking: list[Room] = []
        self._ticks: list[tuple[float, int, Room]] = []
        self._shards: list[zmq.Socket[bytes]] = []
        self._publishers: list[Callable[[bytes, int], object]] = []
        self._tokens: dict[bytes, Room] = {}
        self._poller = zmq.Poller()
        self._refs = 0

    def run(self) -> None:
        """Serve until the process is ended."""
        drain = self._drain_lean if self._lean else self._drain
        poller = self._poller
        poller.register(self._socket, zmq.POLLIN)
        while True:
            for ready, _ in poller.poll(self._tick() if self._ticks else None):
                if ready is not self._socket:
                    with contextlib.suppress(zmq.Again):
                        self._grant(ready)
            with contextlib.suppress(zmq.Again):
                drain()
            if self._speaking:
                self._flush()

    def _drain(self) -> None:
        receive, serve = self._socket.recv_multipart, self._serve
        for _ in range(_BURST):
            address, frame = receive(_RECEIVE)
            serve(address, frame)

    def _drain_lean(self) -> None:
        receive, serve = self._socket.recv, self._serve
        for _ in range(_BURST):
            address = receive(_RECEIVE)
            serve(address, receive(_RECEIVE))

    def _serve(self, address: bytes, frame: bytes) -> None:
        message = _unpack(frame)
        kind = message[0]
        if kind == _SEND:
            self._broadcast(self._room_of[message[1]], message[3], message[4])
        elif kind == _PING:
            self._answer(address, [int(Kind.PONG), message[1]])
        elif kind == _HELLO:
            self._welcome(address, message[1])
        elif kind in _MATCH:
            self._match(address, message)
        elif kind == _JOIN:
            self._join(address, message)

    def _broadcast(self, room: Room, name: str, data: object) -> None:
        if not room.items:
            self._speaking.append(room)
        room.items.append(self._pack((_BROADCAST, name, data)))

    def _flush(self) -> None:
        send = self._send
        for room in self._speaking:
            frame = bundle(room.epoch, 0, room.offset, room.items)
            if room.topic is not None:
                self._publish(room.topic + frame)
            for address in room.members:
                try:
                    send(address, _MORE)
                    send(frame, _LAST)
                except zmq.ZMQError:
                    continue
            room.offset += len(room.items)
            room.items.clear()
        self._speaking.clear()

    def _publish(self, frame: bytes) -> None:
        for publish in self._publishers:
            publish(frame, _LAST)

    def _tick(self) -> int:
        """Let the rooms whose time has come speak. Returns the milliseconds until the next one's."""
        ticks = self._ticks
        now = time.monotonic()
        while ticks[0][0] <= now:
            due, number, room = ticks[0]
            heapq.heapreplace(ticks, (due + _TICK, number, room))
            self._broadcast(room, "tick", {"t": time.monotonic_ns()})
        if self._speaking:
            self._flush()
        return int((ticks[0][0] - now) * 1000) + 1

    def _welcome(self, address: bytes, ask: int) -> None:
        self._refs += 1
        ref = self._refs
        session = ["0" * 32, bytes(16), ref, "127.0.0.1:1", 1, 0, 0, False, _NOTHING]
        self._answer(address, [int(Kind.WELCOME), ask, 1, ref, *session])

    def _match(self, address: bytes, message: list[Any]) -> None:
        size, name, _ = message[3]
        waiting = self._waiting.setdefault(name, [])
        waiting.append((address, message))
        if len(waiting) < size:
            return
        room_id = os.urandom(16).hex()
        room = self._rooms[room_id] = Room(
            len(self._rooms) + 1, size, os.urandom(TOPIC_SIZE) if name == "audience" else None
        )
        if name == "ticking":
            heapq.heappush(self._ticks, (time.monotonic() + _TICK, room.epoch, room))
        for each, (_, ref, ask, *_) in waiting:
            self._answer(each, [int(Kind.ASSIGNED), ref, ask, room_id, None, bytes(16), 15.0])
        waiting.clear()

    def _join(self, address: bytes, message: list[Any]) -> None:
        room = self._rooms[message[2]]
        self._refs += 1
        ref = self._refs
        self._room_of[ref] = room
        downlink = self._offer(room) if room.topic is not None else None
        if downlink is None:
            room.members.append(address)
        membership = [ref, message[2], "bare", room.epoch, room.offset, 0, 0, bytes(16), downlink, _NOTHING]
        self._answer(address, [int(Kind.JOINED), message[1], *membership])

    def _offer(self, room: Room) -> list[Any]:
        """Port and token for one more who is to hear the room's topic."""
        if len(self._tokens) == len(self._shards) * _SHARD:
            shard = self._context.socket(zmq.XPUB)
            shard.setsockopt(zmq.XPUB_MANUAL, 1)
            shard.setsockopt(zmq.LINGER, 0)
            shard.bind("tcp://127.0.0.1:*")
            self._poller.register(shard, zmq.POLLIN)
            self._shards.append(shard)
            self._publishers.append(partial(BareSocket.send, shard) if self._lean else shard.send)
        token = os.urandom(16)
        self._tokens[token] = room
        return [int(self._shards[-1].get_string(zmq.LAST_ENDPOINT).rstrip("\0").rpartition(":")[2]), token]

    def _grant(self, shard: "zmq.Socket[bytes]") -> None:
        while True:
            said = shard.recv(_RECEIVE)
            room = self._tokens.get(said[1:])
            if room is None or said[0] != 1:
                continue
            shard.setsockopt(_SUBSCRIBE, room.topic or b"")
            room.tuned_in.add(said[1:])
            if len(room.tuned_in) == room.size:
                self._broadcast(room, "ready", None)

    def _answer(self, address: bytes, message: list[Any]) -> None:
        self._send(address, _MORE)
        self._send(self._pack(message), _LAST)


if __name__ == "__main__":
    BareServer(int(sys.argv[1]), lean=sys.argv[2:] == ["lean"]).run()

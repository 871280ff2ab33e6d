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

from server_room_system.protocol.messages import Item, Kind, bundle

_unpack: Callable[[bytes], Any] = msgpack.unpackb

_BURST = 2048
_NOTHING: dict[str, Any] = {}
_TICK = 0.05
_RECEIVE = int(zmq.NOBLOCK)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
_LAST = int(zmq.NOBLOCK)
_SEND, _PING, _HELLO, _MATCH, _JOIN = (int(kind) for kind in (Kind.SEND, Kind.PING, Kind.HELLO, Kind.MATCH, Kind.JOIN))
_BROADCAST = int(Item.BROADCAST)


class Room:
    """Members by address, and what the room says in this turn."""

    __slots__ = ("epoch", "items", "members", "offset")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.offset = 0
        self.members: list[bytes] = []
        self.items: list[bytes] = []


class BareServer:
    """Rooms over one ROUTER.

    Args:
        port: where to listen on the loopback.
        lean: receive and send in the fastest way there is instead of the usual one.
    """

    def __init__(self, port: int, lean: bool) -> None:
        self._lean = lean
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = context.socket(zmq.ROUTER)
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
        self._refs = 0

    def run(self) -> None:
        """Serve until the process is ended."""
        drain = self._drain_lean if self._lean else self._drain
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        while True:
            poller.poll(self._tick() if self._ticks else None)
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
        elif kind == _MATCH:
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
            for address in room.members:
                try:
                    send(address, _MORE)
                    send(frame, _LAST)
                except zmq.ZMQError:
                    continue
            room.offset += len(room.items)
            room.items.clear()
        self._speaking.clear()

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
        room = self._rooms[room_id] = Room(len(self._rooms) + 1)
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
        room.members.append(address)
        membership = [ref, message[2], "bare", room.epoch, room.offset, 0, 0, bytes(16), _NOTHING]
        self._answer(address, [int(Kind.JOINED), message[1], *membership])

    def _answer(self, address: bytes, message: list[Any]) -> None:
        self._send(address, _MORE)
        self._send(self._pack(message), _LAST)


if __name__ == "__main__":
    BareServer(int(sys.argv[1]), lean=sys.argv[2:] == ["lean"]).run()

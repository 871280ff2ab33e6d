"""A port on a ROUTER socket: drained in turns, its peers' deaths told."""

import asyncio
import errno
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic

import zmq

from ..protocol.recent import Recent
from .descriptors import is_spare
from .doorway import Doorway
from .locks import SEALED, Lock
from .network import ListenerSink, PeerSink, Sent
from .sockets import (
    EVENTS,
    HEAD,
    MOST_A_TURN,
    NOBLOCK,
    POLLIN,
    BareSocket,
    Monitor,
    always_set,
    bind,
    never_stop_reading,
    open_socket,
    shut_down,
    turn_away,
)
from .watch import ByteWatch
from .zap import Gatekeeper, vouched

__all__ = ["ZmqListener"]

_REMEMBERED_DEAD = 4096
_DEAD_FOR = 60.0
"""Peers that are remembered when they are buried, and seconds for which they are: what libzmq's thread had read of them
may come after the word of their death."""
_LONG_TURN = 0.2
"""Seconds after which a turn is over, however much is left to read: the process stood still, or a hook held it up, and
what is read after that may be told to somebody whose time has run out."""
_LAST_WORDS = 0.1
"""Seconds that what was said to a peer last has to leave, before its connection is cut."""


def _age(one: bytes, other: bytes) -> int:
    """Over 0 if the first routing id was made after the other: libzmq counts up, modulo 2^32."""
    ahead = (int.from_bytes(one[1:], "big") - int.from_bytes(other[1:], "big")) & 0xFFFFFFFF
    return ahead if ahead < 1 << 31 else ahead - (1 << 32)


class _Deaf:
    """In the place of a peer that was cut: what it still says is not heard."""

    def __init__(self, sink: PeerSink) -> None:
        self.gone = sink.gone

    def receive(self, frame: bytes) -> None:
        pass

    def violated(self, rule: str) -> None:
        pass


class ZmqListener:
    """A ROUTER, drained in turns.

    Routing ids are addresses, never proof of who speaks: peers whose id libzmq
    did not make are not heard, and a peer is forgotten when its connection
    closes, so that nobody can take its place by claiming its id.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        gate: Gatekeeper,
        watch: ByteWatch,
        host: str,
        port: int,
        sink: ListenerSink,
        largest: int,
        lock: Lock,
    ) -> None:
        self._gate = gate
        self._lock = lock
        self._sink = sink
        self._largest = largest
        self._watch = watch
        self._doorway = Doorway(lock.porter)
        self._heard: dict[bytes, int] = {}
        """Bytes of the messages of each peer."""
        self._when_read: list[Callable[[], None]] = []
        self._peers: dict[bytes, PeerSink] = {}
        self._fd_of: dict[bytes, int] = {}
        self._peer_at: dict[int, bytes] = {}
        self._live: dict[int, float] = {}
        """Descriptors of connections that stand, and since when."""
        self._dying: list[bytes] = []
        """Peers whose connections are lost; they are buried when their last words are heard."""
        self._dead: Recent[bytes, None] = Recent(_REMEMBERED_DEAD, _DEAD_FOR)
        self._in_turn = False
        self._scheduled = False
        self._loop = asyncio.get_running_loop()
        self._socket = socket = open_socket(context, zmq.ROUTER)
        domain = ""
        try:
            always_set(socket, largest + (SEALED if lock.keys is not None else 0))
            never_stop_reading(socket)
            domain = gate.install(socket, lock)
            socket.set(zmq.ROUTER_MANDATORY, 1)  # say who is slow or gone, instead of dropping in silence
            socket.set(zmq.ROUTER_HANDOVER, 0)  # with it, a thief takes another's messages
            socket.set(zmq.BACKLOG, 1024)
            self._monitor = Monitor(socket, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED, self._on_event)
            bind(socket, host, port)
        except BaseException:
            if hasattr(self, "_monitor"):
                self._monitor.close()
            socket.close()
            if domain:
                gate.remove(domain)
            raise
        self._domain = domain
        # The bare method skips options that we never use, and is a third faster.
        self._send = partial(BareSocket.send, socket)
        self._fd = socket.fileno()
        self._loop.add_reader(self._fd, self._turn)
        self.wake()

    @property
    def address(self) -> str:
        return self._socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")

    def send(self, peer: bytes, frame: bytes) -> Sent:
        if not self._in_turn:
            self.wake()  # sending may swallow the edge that tells of arrivals
        try:
            self._send(peer, HEAD)
            self._send(frame, NOBLOCK)
        except zmq.Again:
            return Sent.FULL
        except zmq.ZMQError as error:
            if error.errno == errno.EHOSTUNREACH:
                return Sent.GONE
            raise
        return Sent.TAKEN

    def send_all(self, peers: Sequence[bytes], frame: bytes) -> list[tuple[bytes, Sent]]:
        send, head, last = self._send, HEAD, NOBLOCK
        failed: list[tuple[bytes, Sent]] = []
        for peer in peers:
            try:
                send(peer, head)
                send(frame, last)
            except zmq.Again:
                failed.append((peer, Sent.FULL))
            except zmq.ZMQError as error:
                if error.errno != errno.EHOSTUNREACH:
                    raise
                failed.append((peer, Sent.GONE))
        if not self._in_turn:
            self.wake()
        return failed

    def together(self, work: Callable[[], None]) -> None:
        self._in_turn = True
        try:
            work()
        finally:
            self._in_turn = False
            self._look()

    def cut(self, peer: bytes) -> None:
        self._monitor.pump()
        fd = self._fd_of.get(peer)
        if fd is None:
            return
        self._peers[peer] = _Deaf(self._peers[peer])
        self._loop.call_later(_LAST_WORDS, self._shut_down, peer)

    def _shut_down(self, peer: bytes) -> None:
        fd = self._fd_of.get(peer)
        if fd is not None and not self._socket.closed:
            shut_down(fd, partial(self._stands, fd, self._live[fd]))

    def cut_silent(self, before: float) -> None:
        self._monitor.pump()
        for fd, since in list(self._live.items()):
            if since < before and fd not in self._peer_at:
                shut_down(fd, partial(self._stands, fd, since))

    def _stands(self, fd: int, since: float) -> bool:
        self._monitor.pump()
        return self._live.get(fd) == since

    def wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def close(self) -> None:
        if self._socket.closed:
            return
        self._loop.remove_reader(self._fd)
        self._watch.forget(self)
        self._doorway.close()
        self._monitor.close()
        self._socket.close()
        self._gate.remove(self._domain)
        self._peers.clear()

    def _turn(self) -> None:
        if self._socket.closed:
            return
        self._scheduled = False
        self._in_turn = full_turn = True
        try:
            dying = len(self._dying)
            self._sink.begin(self._loop.time())
            full_turn = self._drain()
            if not full_turn:  # all that they said before they died has been heard
                for peer in self._dying[:dying]:
                    self._bury(peer)
                del self._dying[:dying]
                if self._when_read:
                    self._monitor.pump()  # while the loop was held up, others may have got the descriptors
                when_read, self._when_read = self._when_read, []
                for then in when_read:
                    then()
            self._sink.flush()
        finally:
            self._in_turn = False
            if full_turn:
                self.wake()
            else:
                self._look()

    def _look(self) -> None:
        # The descriptor is edge-triggered: after receiving and sending, only
        # EVENTS tells whether more has come meanwhile.
        if not self._socket.closed and int(self._socket.get(EVENTS)) & POLLIN:
            self.wake()

    def _drain(self) -> bool:
        receive, time = self._socket.recv, monotonic  # the loop's own clock costs three times as much
        began = time()
        peers, heard = self._peers, self._heard
        sealed = SEALED if self._lock.keys is not None else 0
        for _ in range(MOST_A_TURN):
            try:
                peer = receive(NOBLOCK)
            except zmq.Again:
                return False
            frame = receive(NOBLOCK, False)
            if time() - began > _LONG_TURN:
                self._sink.flush()
                self._sink.begin(self._loop.time())
                began = time()
            if frame.more:
                self._several_frames(peers.get(peer) or self._accept(peer, frame))
                continue
            known = peers.get(peer) or self._accept(peer, frame)
            if known is not None:
                message = frame.bytes
                size = len(message) + sealed
                heard[peer] += size + (2 if size < 256 else 9)  # as on_the_wire() has it, without the call
                known.receive(message)
        return True

    def _accept(self, peer: bytes, frame: zmq.Frame) -> PeerSink | None:
        if len(peer) != 5 or peer[0] != 0 or peer in self._dead:
            return None  # an id of the peer's own choice, or a late word of one who is buried
        known = self._peers[peer] = self._sink.accept(peer, str(frame.get("Peer-Address")), vouched(self._lock, frame))
        self._heard[peer] = 0
        self._tie(peer, int(frame.get("__fd")))
        return known

    def _tie(self, peer: bytes, fd: int) -> None:
        """Remember whose connection a descriptor is, to know who dies with it."""
        # Its number is given again as soon as it is free, and the last words of
        # whoever had it before may be read after that. So: read what has happened,
        # and of two peers that claim one number believe the younger.
        self._monitor.pump()
        other = self._peer_at.get(fd)
        if fd not in self._live or (other is not None and _age(peer, other) < 0):
            self._dying.append(peer)
            self.wake()
            return
        if other is not None:
            self._untie(fd)
        self._fd_of[peer] = fd
        self._peer_at[fd] = peer

    def _untie(self, fd: int) -> None:
        peer = self._peer_at.pop(fd, None)
        if peer is not None:
            del self._fd_of[peer]
            self._dying.append(peer)
            self.wake()

    def _several_frames(self, known: PeerSink | None) -> None:
        while self._socket.recv(NOBLOCK, False).more:
            pass
        if known is not None:
            known.violated("a message of more than one frame")

    def _on_event(self, event: int, fd: int) -> None:
        if event == zmq.EVENT_ACCEPTED:
            self._live[fd] = self._loop.time()
            self._watch.opened(self, fd, self._live[fd])
            if not self._doorway.opened(fd, self._live[fd]) or is_spare(fd):
                turn_away(fd)
        else:
            self._live.pop(fd, None)
            self._watch.closed(self, fd)
            self._doorway.closed(fd)
            self._untie(fd)

    def _bury(self, peer: bytes) -> None:
        self._dead.put(peer, None, self._loop.time())
        del self._heard[peer]
        self._peers.pop(peer).gone()

    # For the watch, see ``Watched``.

    def heard(self, fd: int) -> int:
        return self._heard.get(self._peer_at.get(fd, b""), 0)

    def largest(self, fd: int) -> int:
        return self._largest

    def when_read(self, then: Callable[[], None]) -> None:
        self._when_read.append(then)
        self.wake()

    def flooded(self, fd: int) -> None:
        since, peer = self._live[fd], self._peer_at.get(fd)
        self._doorway.flooded(fd, self._loop.time())
        if peer is not None:
            self._peers[peer].violated("bytes that are no messages")
        shut_down(fd, partial(self._stands, fd, since), reset=True)  # each moment more costs memory
